//! etcd's data directory: where what lies, and the two files beside the database.
//!
//! ```text
//!   DIR/member/snap/db                                     the database, see `node-bolt`
//!   DIR/member/snap/<term>-<index>.snap                    [`snap`]: the members as of an entry
//!   DIR/member/wal/<sequence>-<index>.wal                  [`wal`]: the log
//! ```
//!
//! Numbers in names have 16 digits in hex.

pub mod snap;
pub mod wal;
mod wire;

use std::path::{Path, PathBuf};

/// The database inside a data directory.
#[must_use]
pub fn database(data_dir: &Path) -> PathBuf {
    snap_dir(data_dir).join("db")
}

/// The folder of the database and of [`snap`]'s files.
#[must_use]
pub fn snap_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member").join("snap")
}

/// The folder of the log, if nobody chose another.
#[must_use]
pub fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member").join("wal")
}

/// The term of a restored cluster's first entries.
pub const FIRST_TERM: u64 = 1;
