//! Rows: how one version of one key is named and stored.
//!
//! ```text
//!   key    8 bytes main, big endian · `_` · 8 bytes sub, big endian        (17 bytes)
//!   value  1 byte kind (0 put, 1 tombstone) · KeyValue as protobuf
//! ```
//!
//! The key is etcd's own, so rows sort by the order in which they were written. The protobuf has
//! its fields in the order of their numbers and no zero fields, and a tombstone holds only its
//! key, so that [`hash_kv`](super::Store::hash_kv) answers what etcd's `HashKV` answers.

use bytes::{BufMut, Bytes, BytesMut};
use etcd_api::mvccpb::KeyValue;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Length of an encoded [`RowKey`].
pub const ROW_KEY_BYTES: usize = 17;

/// The name of a row: the revision that wrote it and its place within that revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The revision; the first write of a fresh store is 2.
    pub main: i64,
    /// The write's place within its revision, from 0.
    pub sub: i64,
}

impl RowKey {
    /// Before every row.
    pub const MIN: Self = Self { main: 0, sub: 0 };
    /// After every row.
    pub const MAX: Self = Self { main: i64::MAX, sub: i64::MAX };

    /// The first name a row of revision `main` can have.
    pub fn first_of(main: i64) -> Self {
        Self { main, sub: 0 }
    }

    /// The 17 bytes under which the row is stored. Negative numbers are not meant to occur.
    pub fn encode(self) -> [u8; ROW_KEY_BYTES] {
        let mut bytes = [0; ROW_KEY_BYTES];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[8] = b'_';
        bytes[9..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ROW_KEY_BYTES] = bytes.try_into().ok()?;
        let (main, rest) = bytes.split_first_chunk::<8>()?;
        let (separator, sub) = rest.split_first()?;
        let key =
            Self { main: i64::from_be_bytes(*main), sub: i64::from_be_bytes(sub.try_into().ok()?) };
        (*separator == b'_' && key.main >= 0 && key.sub >= 0).then_some(key)
    }
}

/// Whether a row is a version of its key or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// The key has this value from here on.
    Put,
    /// The key is deleted from here on.
    Tombstone,
}

impl RowKind {
    /// The byte before a row's protobuf.
    pub fn number(self) -> u8 {
        match self {
            Self::Put => 0,
            Self::Tombstone => 1,
        }
    }

    /// A stored row's kind, and its protobuf; `None` if it has no kind.
    pub fn split(row: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = row.split_first()?;
        Some((Self::from_number(*kind)?, rest))
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Put),
            1 => Some(Self::Tombstone),
            _ => None,
        }
    }
}

/// Why stored bytes are not a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The kind byte is missing or of no known kind.
    #[error("the row's kind is unknown")]
    Kind,
    /// The protobuf after the kind does not parse.
    #[error("the row's content is malformed")]
    Content(#[source] prost::DecodeError),
}

/// Encodes a row, key and value in one allocation, and returns both parts.
pub(super) fn encode(key: RowKey, kind: RowKind, kv: &KeyValue) -> (Bytes, Bytes) {
    let mut buffer = BytesMut::with_capacity(ROW_KEY_BYTES + 1 + kv.encoded_len());
    buffer.put_slice(&key.encode());
    buffer.put_u8(kind.number());
    kv.encode(&mut buffer).expect("the buffer has room for the encoded length");
    let whole = buffer.freeze();
    (whole.slice(..ROW_KEY_BYTES), whole.slice(ROW_KEY_BYTES..))
}

/// Decodes a row's value. The key and value inside are slices of `row`, not copies.
pub fn decode_row(row: &Bytes) -> Result<(RowKind, KeyValue), RowError> {
    let kind = row.first().copied().and_then(RowKind::from_number).ok_or(RowError::Kind)?;
    let kv = KeyValue::decode(row.slice(1..)).map_err(RowError::Content)?;
    Ok((kind, kv))
}

/// What the index needs of a row; reading it copies nothing and skips the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowHead<'a> {
    pub(super) key: &'a [u8],
    pub(super) create_revision: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
}

/// Reads a row's kind and head out of its stored value.
pub(super) fn decode_head(row: &[u8]) -> Result<(RowKind, RowHead<'_>), RowError> {
    let (kind, mut rest) = RowKind::split(row).ok_or(RowError::Kind)?;
    let head = read_head(&mut rest).map_err(RowError::Content)?;
    Ok((kind, head))
}

fn read_head<'a>(rest: &mut &'a [u8]) -> Result<RowHead<'a>, prost::DecodeError> {
    let mut head = RowHead::default();
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(rest)?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => {
                let mut field = *rest;
                skip_field(wire_type, tag, rest, DecodeContext::default())?;
                // Skipping has proven that this many bytes are there.
                let length = usize::try_from(decode_varint(&mut field)?).unwrap_or(usize::MAX);
                head.key = field.get(..length).unwrap_or_default();
            }
            (2, WireType::Varint) => head.create_revision = decode_varint(rest)?.cast_signed(),
            (4, WireType::Varint) => head.version = decode_varint(rest)?.cast_signed(),
            (6, WireType::Varint) => head.lease = decode_varint(rest)?.cast_signed(),
            _ => skip_field(wire_type, tag, rest, DecodeContext::default())?,
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> KeyValue {
        KeyValue {
            key: Bytes::from_static(b"greeting"),
            create_revision: 2,
            mod_revision: 7,
            version: 3,
            value: Bytes::from_static(b"hello"),
            lease: -5,
        }
    }

    #[test]
    fn a_row_reads_back_whole_and_by_its_head() {
        let (key, value) = encode(RowKey { main: 7, sub: 1 }, RowKind::Put, &sample());
        assert_eq!(RowKey::decode(&key), Some(RowKey { main: 7, sub: 1 }));
        assert_eq!(decode_row(&value), Ok((RowKind::Put, sample())));
        let head = RowHead { key: b"greeting", create_revision: 2, version: 3, lease: -5 };
        assert_eq!(decode_head(&value), Ok((RowKind::Put, head)));
    }

    #[test]
    fn what_is_no_row_is_refused() {
        assert_eq!(RowKey::decode(b"short"), None);
        assert_eq!(RowKey::decode(&[b'x'; ROW_KEY_BYTES]), None);
        let (_, value) = encode(RowKey::MIN, RowKind::Put, &sample());
        assert_eq!(decode_head(b""), Err(RowError::Kind));
        assert_eq!(decode_row(&Bytes::from_static(b"\x09")), Err(RowError::Kind));
        for cut in 2..value.len() {
            // A cut either ends between two fields, and then the rest is a shorter message, or
            // it is seen; both readers agree.
            let cut = value.slice(..cut);
            assert_eq!(decode_head(&cut).is_err(), decode_row(&cut).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn row_keys_sort_as_they_were_written() {
        let keys = [(1, 9), (2, 0), (2, 1), (256, 0), (i64::MAX, 0)]
            .map(|(main, sub)| RowKey { main, sub }.encode());
        assert!(keys.is_sorted());
    }
}
