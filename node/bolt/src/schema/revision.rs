//! The key of a row in the bucket `key`: a revision, and whether it deletes.
//!
//! ```text
//!  0             8     9             17    18
//!  ┌─────────────┬─────┬─────────────┬─────┐
//!  │ main, big   │ `_` │ sub, big    │ `t` │   `t` only where the revision deletes
//!  │ endian      │     │ endian      │     │
//!  └─────────────┴─────┴─────────────┴─────┘
//! ```
//!
//! So rows in the order of their bytes are in the order of their revisions.

/// Bytes without the mark of a deletion.
const PLAIN_BYTES: usize = 17;
const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// When a pair was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionKey {
    /// The revision of the transaction; not negative.
    pub main: i64,
    /// The place within the transaction, from 0.
    pub sub: i64,
    /// Whether the key was deleted then.
    pub tombstone: bool,
}

/// The bytes are no revision.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{} are no revision", .0.escape_ascii())]
pub struct RevisionError(pub Vec<u8>);

impl RevisionKey {
    /// The bytes of the row's key, 17 or 18.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let Self { main, sub, tombstone } = self;
        let mut bytes = Vec::with_capacity(PLAIN_BYTES + 1);
        bytes.extend(main.to_be_bytes());
        bytes.push(SEPARATOR);
        bytes.extend(sub.to_be_bytes());
        if tombstone {
            bytes.push(TOMBSTONE);
        }
        bytes
    }

    /// Reads the key of a row.
    ///
    /// # Errors
    /// Bytes of another form, and negative numbers.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RevisionError> {
        let error = || RevisionError(bytes.to_vec());
        let (main, rest) = bytes.split_first_chunk::<8>().ok_or_else(error)?;
        let (between, rest) = rest.split_first().ok_or_else(error)?;
        let (sub, mark) = rest.split_first_chunk::<8>().ok_or_else(error)?;
        let (main, sub) = (i64::from_be_bytes(*main), i64::from_be_bytes(*sub));
        let tombstone = match mark {
            [] => false,
            [TOMBSTONE] => true,
            _ => return Err(error()),
        };
        if *between != SEPARATOR || main < 0 || sub < 0 {
            return Err(error());
        }
        Ok(Self { main, sub, tombstone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_bytes_of_etcd() {
        let key = RevisionKey { main: 0x0102, sub: 3, tombstone: false };
        assert_eq!(key.to_bytes(), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        let key = RevisionKey { tombstone: true, ..key };
        assert_eq!(key.to_bytes(), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t");
        assert_eq!(RevisionKey::from_bytes(&key.to_bytes()), Ok(key));
    }

    #[test]
    fn other_bytes_are_refused() {
        let right = RevisionKey { main: 7, sub: 0, tombstone: true }.to_bytes();
        for length in (0..right.len()).filter(|length| *length != PLAIN_BYTES) {
            assert!(RevisionKey::from_bytes(&right[..length]).is_err(), "{length} bytes");
        }
        for (at, byte) in [(0, 0x80), (8, b'-'), (9, 0xff), (17, b'u')] {
            let mut wrong = right.clone();
            wrong[at] = byte;
            assert!(RevisionKey::from_bytes(&wrong).is_err(), "byte {at}");
        }
        assert!(RevisionKey::from_bytes(&[right.as_slice(), b"t"].concat()).is_err());
    }
}
