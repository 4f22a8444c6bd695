//! The SHA-256 behind a saved snapshot.
//!
//! A database's length is a multiple of 512, so a file that is 32 bytes longer has one: the hash of
//! all bytes before. A copied `member/snap/db` has none.

use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

/// Bytes of the hash.
pub const HASH_BYTES: u64 = 32;

/// A database is a multiple of this long.
const UNIT_BYTES: u64 = 512;

/// A file, parted into the image and the hash behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Length of the image.
    pub image_bytes: u64,
    /// Its SHA-256, verified; none if the file has none.
    pub hash: Option<[u8; HASH_BYTES as usize]>,
}

/// Why a hash says nothing good.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The image is not the one that was saved, or the hash is damaged.
    #[error("the snapshot's hash is {}, and its bytes have {}", hex(expected), hex(found))]
    Mismatch {
        /// What stands at the end of the file.
        expected: [u8; HASH_BYTES as usize],
        /// That of the bytes before it.
        found: [u8; HASH_BYTES as usize],
    },
    /// The file cannot be read.
    #[error("failed to read the snapshot")]
    Io(#[from] io::Error),
}

/// Tells whether a file ends with a hash, and verifies it by reading all of the file.
///
/// # Errors
/// A hash that is there and wrong, and those of the file.
pub fn split_hash(file: &mut (impl Read + Seek)) -> Result<Split, HashError> {
    let length = file.seek(SeekFrom::End(0))?;
    if length % UNIT_BYTES != HASH_BYTES {
        return Ok(Split { image_bytes: length, hash: None });
    }
    let image_bytes = length - HASH_BYTES;
    file.seek(SeekFrom::Start(0))?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    let mut rest = image_bytes;
    while rest > 0 {
        let some = piece.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        file.read_exact(&mut piece[..some])?;
        digest.update(&piece[..some]);
        rest -= some as u64;
    }
    let mut expected = [0; HASH_BYTES as usize];
    file.read_exact(&mut expected)?;
    let found: [u8; HASH_BYTES as usize] = digest.finalize().into();
    if expected == found {
        Ok(Split { image_bytes, hash: Some(found) })
    } else {
        Err(HashError::Mismatch { expected, found })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Passes on what is written, and in the end its hash.
pub(crate) struct Hashing<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
}

impl<'a> Hashing<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, digest: Sha256::new() }
    }

    /// Writes the hash of all that was written.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.out.write_all(&self.digest.finalize())?;
        self.out.flush()
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_hash_is_found_by_the_length() {
        for (length, hashed) in [(0, false), (32, true), (512, false), (544, true), (40, false)] {
            let mut file = vec![7; length];
            if hashed {
                let image = length - HASH_BYTES as usize;
                let hash = Sha256::digest(&file[..image]);
                file[image..].copy_from_slice(&hash);
            }
            let split = split_hash(&mut Cursor::new(&file)).unwrap();
            assert_eq!(split.hash.is_some(), hashed, "{length}");
        }
    }

    #[test]
    fn a_wrong_hash_is_named() {
        let error = split_hash(&mut Cursor::new(vec![0; 544])).unwrap_err();
        assert!(error.to_string().starts_with("the snapshot's hash is 0000"), "{error}");
    }
}
