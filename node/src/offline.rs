//! What is done to a data directory while no member runs on it.
//!
//! The lock is held meanwhile, so that no member starts. A directory without a state is left as it
//! is: nothing is created where somebody mistyped.

use std::path::{Path, PathBuf};

use crate::recover::Ground;
use crate::storage::{DataDirectory, DirectoryError, State, StateError};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// Nobody ever was here.
    #[error("there is no member's data in {}", dir.display())]
    NoState {
        /// The data directory.
        dir: PathBuf,
    },
    /// A member runs.
    #[error(
        "a member runs on {}: stop it first, or defragment it while it runs, by etcdctl defrag",
        dir.display()
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(DirectoryError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<DirectoryError> for OfflineError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::InUse { dir } => Self::InUse { dir },
            DirectoryError::Io { .. } => Self::Directory(error),
        }
    }
}

/// How much of the disk a state takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defragmented {
    /// Before it was written anew.
    pub before: u64,
    /// Since then.
    pub after: u64,
}

/// Writes the state in a data directory anew, without the room that removed rows have left.
///
/// # Errors
///
/// The state is the old one then, or, after an error of the last step, one of the two; a state that
/// is damaged is refused as at a member's start.
pub fn defragment(ground: &Ground, data_dir: &Path) -> Result<Defragmented, OfflineError> {
    let Ground { disk, options, controls: _ } = ground;
    if !State::exists(&**disk, &DataDirectory::member_dir_of(data_dir))? {
        return Err(OfflineError::NoState { dir: data_dir.to_path_buf() });
    }
    let directory = DataDirectory::lock(&**disk, data_dir)?;
    let state = State::open(disk, directory.member_dir(), options.state)?;
    let before = state.bytes_on_disk()?;
    state.defragment()?;
    let after = state.bytes_on_disk()?;
    Ok(Defragmented { before, after })
}
