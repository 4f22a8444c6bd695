//! HPACK, as much of it as it takes to replace one literal in a header block (RFC 7541).
//!
//! A header block is a row of field representations. Reading *which* fields they are takes the
//! dynamic table of the connection; reading *where each begins and ends* takes nothing but the
//! block. The latter is all that is done here, so nothing need be remembered between blocks.
//!
//! What replaces a value has as many bytes as the value had when decoded. An entry of the dynamic
//! table counts its decoded bytes (RFC 7541 §4.1), so the client's table and the server's hold and
//! evict the same entries, and a later reference to the entry finds the replaced value.

use http::uri::Authority;

/// Index of `:authority` in the static table (RFC 7541 appendix A).
const AUTHORITY: usize = 1;

/// Stands for a byte that may not be there.
const FILLER: u8 = b'-';

/// Returns the block with a sound `:authority` in place of an unsound one, or nothing if the
/// block can stay as it is: its first `:authority` is sound, or empty (nothing of the same length
/// is sound), or a reference to a table, or absent, or the block cannot be read, which is for the
/// server to say.
///
/// `block` is one whole header block. An authority whose *name* is spelled out or taken from the
/// dynamic table is not seen; encoders find that name in the static table.
pub(super) fn with_sound_authority(block: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor { block, at: 0 };
    loop {
        // The leading bits say which representation follows (RFC 7541 §6).
        let name = match *block.get(cursor.at)? {
            0x80.. => {
                cursor.integer(7)?;
                continue;
            }
            0x40.. => cursor.integer(6)?,
            0x20.. => {
                cursor.integer(5)?;
                continue;
            }
            _ => cursor.integer(4)?,
        };
        if name == 0 {
            cursor.string()?;
        }
        let start = cursor.at;
        let value = cursor.string()?;
        if name != AUTHORITY {
            continue;
        }
        let sound = sound_authority(&value.decoded()?)?;
        let mut replaced = Vec::with_capacity(block.len() + sound.len());
        replaced.extend_from_slice(&block[..start]);
        write_plain_string(&sound, &mut replaced);
        replaced.extend_from_slice(&block[cursor.at..]);
        return Some(replaced);
    }
}

/// Returns a sound authority as long as `value`, or nothing if `value` is sound or empty.
///
/// Letters, digits, dots and hyphens stay, so that a person still recognises the address. A colon
/// does not, since only some places allow one.
fn sound_authority(value: &[u8]) -> Option<Vec<u8>> {
    if value.is_empty() || Authority::try_from(value).is_ok() {
        return None;
    }
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    Some(value.iter().map(|&byte| if stays(byte) { byte } else { FILLER }).collect())
}

/// A place in a header block. Every step returns nothing if the block ends or errs there.
struct Cursor<'block> {
    block: &'block [u8],
    at: usize,
}

/// A string as it stands in a block.
struct Encoded<'block> {
    huffman: bool,
    bytes: &'block [u8],
}

impl<'block> Cursor<'block> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.block.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// An integer in the low `prefix` bits of a byte, and in further bytes if they are all ones
    /// (RFC 7541 §5.1). No integer of a block that can be read comes near 2²⁸, the limit here.
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let most = (1 << prefix) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Some(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A string: its length, and whether it is in Huffman's code, before it (RFC 7541 §5.2).
    fn string(&mut self) -> Option<Encoded<'block>> {
        let huffman = self.block.get(self.at)? & 0x80 != 0;
        let length = self.integer(7)?;
        let bytes = self.block.get(self.at..self.at + length)?;
        self.at += length;
        Some(Encoded { huffman, bytes })
    }
}

impl Encoded<'_> {
    fn decoded(&self) -> Option<Vec<u8>> {
        if self.huffman { from_huffman(self.bytes) } else { Some(self.bytes.to_vec()) }
    }
}

/// Appends a string that is not in Huffman's code.
fn write_plain_string(string: &[u8], block: &mut Vec<u8>) {
    const MOST: u8 = 0x7f;
    match u8::try_from(string.len()) {
        Ok(length) if length < MOST => block.push(length),
        _ => {
            block.push(MOST);
            let mut left = string.len() - usize::from(MOST);
            while left >= 0x80 {
                block.push((left & 0x7f) as u8 | 0x80);
                left >>= 7;
            }
            block.push(left as u8);
        }
    }
    block.extend_from_slice(string);
}

/// Length in bits of each byte's code (RFC 7541 appendix B).
///
/// The code is canonical: codes of one length are consecutive numbers in the order of their bytes,
/// and the first of a length follows from the last of the length before. So the lengths tell all.
#[rustfmt::skip]
const CODE_BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Bits of the longest code.
const MOST_CODE_BITS: usize = 30;

/// The codes of each length, by their length in bits.
const CODES: [Codes; MOST_CODE_BITS + 1] = codes();

/// The bytes in the order of their codes.
const BYTES_BY_CODE: [u8; 256] = bytes_by_code();

/// The codes of one length.
#[derive(Clone, Copy)]
struct Codes {
    first: u32,
    count: u32,
    /// Where the first one's byte stands in [`BYTES_BY_CODE`].
    rank: u32,
}

const fn codes() -> [Codes; MOST_CODE_BITS + 1] {
    let mut codes = [Codes { first: 0, count: 0, rank: 0 }; MOST_CODE_BITS + 1];
    let mut byte = 0;
    while byte < CODE_BITS.len() {
        codes[CODE_BITS[byte] as usize].count += 1;
        byte += 1;
    }
    let mut bits = 1;
    while bits < codes.len() {
        let shorter = codes[bits - 1];
        codes[bits].first = (shorter.first + shorter.count) << 1;
        codes[bits].rank = shorter.rank + shorter.count;
        bits += 1;
    }
    codes
}

const fn bytes_by_code() -> [u8; 256] {
    let mut bytes = [0; 256];
    let mut rank = 0;
    let mut bits = 1;
    while bits <= MOST_CODE_BITS {
        let mut byte = 0;
        while byte < CODE_BITS.len() {
            if CODE_BITS[byte] as usize == bits {
                bytes[rank] = byte as u8;
                rank += 1;
            }
            byte += 1;
        }
        bits += 1;
    }
    bytes
}

/// Decodes Huffman's code; nothing if it is not well formed (RFC 7541 §5.2).
fn from_huffman(encoded: &[u8]) -> Option<Vec<u8>> {
    // The shortest code has five bits.
    let mut decoded = Vec::with_capacity(encoded.len() * 8 / 5);
    let (mut code, mut bits) = (0_u32, 0_usize);
    for byte in encoded {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            bits += 1;
            // Beyond the last code there is only the end of string, which is an error.
            let Codes { first, count, rank } = *CODES.get(bits)?;
            let nth = code.checked_sub(first)?;
            if nth < count {
                decoded.push(BYTES_BY_CODE[(rank + nth) as usize]);
                (code, bits) = (0, 0);
            }
        }
    }
    // What is left of the last byte is filled with ones.
    (bits < 8 && code == (1 << bits) - 1).then_some(decoded)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Encodes with Huffman's code.
    pub(crate) fn to_huffman(plain: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in plain {
            let Codes { first, rank, .. } = CODES[usize::from(CODE_BITS[usize::from(*byte)])];
            let at = BYTES_BY_CODE.iter().position(|other| other == byte).expect("all are there");
            let code = first + at as u32 - rank;
            bits.extend((0..CODE_BITS[usize::from(*byte)]).rev().map(|bit| code >> bit & 1));
        }
        bits.resize(bits.len().next_multiple_of(8), 1);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | *bit as u8)).collect()
    }

    /// A literal field whose name has an index, its value in Huffman's code or not.
    pub(crate) fn literal(first: u8, value: &[u8], huffman: bool) -> Vec<u8> {
        let mut block = vec![first];
        let at = block.len();
        write_plain_string(&if huffman { to_huffman(value) } else { value.to_vec() }, &mut block);
        block[at] |= u8::from(huffman) << 7;
        block
    }

    #[test]
    fn huffmans_code_is_that_of_the_rfc() {
        // RFC 7541 appendix C.4.1, C.6.1 and C.6.3.
        for (plain, encoded) in [
            (&b"www.example.com"[..], "f1e3c2e5f23a6ba0ab90f4ff"),
            (b"Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            (
                b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b\
                 1063d5007",
            ),
        ] {
            let hex: String = to_huffman(plain).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, encoded);
            assert_eq!(from_huffman(&to_huffman(plain)).as_deref(), Some(plain));
        }
    }

    #[test]
    fn huffmans_code_must_end_well() {
        for (encoded, expected) in [
            (&[][..], Some(&b""[..])),
            (&[0x07], Some(b"0")),
            // Filled with other than ones.
            (&[0x00], None),
            // Filled with a whole byte.
            (&[0x07, 0xff], None),
            // The end of string itself.
            (&[0xff, 0xff, 0xff, 0xff], None),
        ] {
            assert_eq!(from_huffman(encoded).as_deref(), expected, "{encoded:02x?}");
        }
    }

    #[test]
    fn an_unsound_authority_is_replaced_and_nothing_else() {
        // `:method POST`, a table size, and `te: trailers` with a name spelled out.
        let before = [0x83, 0x3f, 0xe1, 0x1f];
        let after = b"\x40\x02te\x08trailers\xbe";
        let long: String = "/".repeat(300);
        for (value, expected) in [
            ("127.0.0.1:2379", None),
            ("[::1]:2379", None),
            ("", None),
            ("http://127.0.0.1:2379", Some("http---127.0.0.1-2379".to_owned())),
            ("#initially=[a:1;b:2]", Some("-initially--a-1-b-2-".to_owned())),
            ("a/b", Some("a-b".to_owned())),
            ("ä", Some("--".to_owned())),
            (&long, Some("-".repeat(300))),
        ] {
            for (first, huffman) in
                [0x41, 0x01, 0x11].into_iter().flat_map(|first| [(first, false), (first, true)])
            {
                let around = |field: &[u8]| [&before[..], field, after].concat();
                let block = around(&literal(first, value.as_bytes(), huffman));
                let expected = expected
                    .as_ref()
                    .map(|expected| around(&literal(first, expected.as_bytes(), false)));
                assert_eq!(with_sound_authority(&block), expected, "{value} {first:02x} {huffman}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_stays() {
        for block in [
            &b""[..],
            // Ends within a name's index, a length, a value.
            b"\x7f",
            b"\x41",
            b"\x41\x03a/",
            // A length without end.
            b"\x41\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            // A value that is not Huffman's code.
            b"\x41\x81\x00",
            // `:authority` of the static table, which is empty.
            b"\x81",
        ] {
            assert_eq!(with_sound_authority(block), None, "{block:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_from_huffmans_code(plain: Vec<u8>) {
            prop_assert_eq!(from_huffman(&to_huffman(&plain)), Some(plain));
        }

        #[test]
        fn a_replacement_is_sound_and_as_long(value: Vec<u8>) {
            if let Some(sound) = sound_authority(&value) {
                prop_assert_eq!(sound.len(), value.len());
                prop_assert!(Authority::try_from(&sound[..]).is_ok());
            }
        }

        #[test]
        fn a_replaced_block_needs_no_other(block: Vec<u8>) {
            if let Some(replaced) = with_sound_authority(&block) {
                prop_assert_eq!(with_sound_authority(&replaced), None);
            }
        }
    }
}
