//! What `snapshot status` tells of a file.

use std::io;
use std::path::Path;

use node_bolt::Reader;
use node_bolt::schema::{KEY, RevisionKey};

use crate::file::{self, Integrity, RowsError};

/// What is in a snapshot, as etcd counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The crc32c of all buckets' names, keys and values, in their order: equal for equal content,
    /// whatever the pages look like.
    pub hash: u32,
    /// The newest revision of the key space; 0 if it is empty.
    pub revision: i64,
    /// Pairs in all buckets, the key space's old revisions, members and leases among them.
    pub total_keys: u64,
    /// Length of the image, in bytes.
    pub total_bytes: u64,
    /// What the hash behind the image says.
    pub integrity: Integrity,
}

/// Why a file has no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not etcd's database, or a damaged one.
    #[error(transparent)]
    Rows(#[from] RowsError),
}

impl Status {
    /// Reads all of a file: a saved snapshot, or a copy of `member/snap/db`.
    ///
    /// A wrong hash is no error: the status says so, and what it counts is what is there.
    ///
    /// # Errors
    /// A file that is no database, and damage of its pages.
    pub fn read(path: &Path) -> Result<Self, StatusError> {
        let (opened, integrity) = file::open(path)?;
        let mut image = Reader::open(opened).map_err(RowsError::from)?;
        let total_bytes = image.meta().pages * image.meta().page_size.bytes();
        let (mut hash, mut revision, mut total_keys) = (0, 0, 0);
        let names = image.buckets().map_err(RowsError::from)?;
        if !names.iter().any(|name| name == KEY) {
            return Err(RowsError::NoKeys.into());
        }
        for name in names {
            hash = crc32c::crc32c_append(hash, &name);
            file::pairs(&mut image, &name, |pair| {
                hash = crc32c::crc32c_append(hash, &pair.key);
                hash = crc32c::crc32c_append(hash, &pair.value);
                total_keys += 1;
                if name == KEY {
                    revision = RevisionKey::from_bytes(&pair.key)?.main;
                }
                Ok::<_, RowsError>(())
            })?;
        }
        Ok(Self { hash, revision, total_keys, total_bytes, integrity })
    }
}
