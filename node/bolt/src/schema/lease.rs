//! The rows of the bucket `lease`.

use prost::Message;

/// A lease: the row's key is its id, the value this message.
///
/// Which keys hang on it is not in the row: each pair names its lease.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Lease {
    /// The lease's id.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// How long it lives, in seconds, as granted.
    #[prost(int64, tag = "2")]
    pub ttl_seconds: i64,
    /// How long it has left, in seconds, as a checkpoint last said; 0 without one.
    #[prost(int64, tag = "3")]
    pub remaining_ttl_seconds: i64,
}

/// A row is not as etcd writes it.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The key is not 8 bytes long.
    #[error("the key {} is no lease", .0.escape_ascii())]
    Key(Vec<u8>),
    /// The value is no lease.
    #[error("lease {id:x} cannot be read")]
    Value {
        /// The lease of the key.
        id: i64,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// The value is of another lease than the key.
    #[error("the row of lease {key:x} says {value:x}")]
    Other {
        /// The lease of the key.
        key: i64,
        /// The lease of the value.
        value: i64,
    },
}

impl Lease {
    /// The row's key: the id, big endian.
    #[must_use]
    pub fn key(&self) -> [u8; 8] {
        self.id.to_be_bytes()
    }

    /// The row's value.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// A row of another form.
    pub fn from_row(key: &[u8], value: &[u8]) -> Result<Self, LeaseError> {
        let id = key.try_into().map(i64::from_be_bytes);
        let id = id.map_err(|_| LeaseError::Key(key.to_vec()))?;
        let lease = Self::decode(value).map_err(|source| LeaseError::Value { id, source })?;
        if lease.id != id {
            return Err(LeaseError::Other { key: id, value: lease.id });
        }
        Ok(lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_bytes_of_etcd() {
        let lease = Lease { id: 0x1234, ttl_seconds: 300, remaining_ttl_seconds: 0 };
        assert_eq!(lease.key(), [0, 0, 0, 0, 0, 0, 0x12, 0x34]);
        assert_eq!(lease.value(), [0x08, 0xb4, 0x24, 0x10, 0xac, 0x02]);
        assert_eq!(Lease::from_row(&lease.key(), &lease.value()).unwrap(), lease);
    }

    #[test]
    fn other_rows_are_refused() {
        let lease = Lease { id: 1, ttl_seconds: 2, remaining_ttl_seconds: 3 };
        for (key, value) in [
            (&b"1"[..], lease.value()),
            (&[0, 0, 0, 0, 0, 0, 0, 2][..], lease.value()),
            (&lease.key()[..], vec![0x08]),
        ] {
            assert!(Lease::from_row(key, &value).is_err(), "{key:?} {value:?}");
        }
    }
}
