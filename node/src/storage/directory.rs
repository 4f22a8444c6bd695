//! The data directory: where what is, and the lock that keeps other processes out.

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::failpoint::{Failpoint, hit};

use super::disk::Disk;

/// Directory of one member, inside the data directory a person chose.
const MEMBER_DIR: &str = "member";
const WAL_DIR: &str = "wal";
const LOCK_FILE: &str = "lock";

/// A member's directory, held by this process.
#[derive(Debug)]
pub struct DataDirectory {
    member: PathBuf,
    wal: PathBuf,
    /// Holds the lock as long as it is open. `None` on a simulated disk.
    _lock: Option<File>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error(
        "another process uses the data directory {}; stop that one first, or choose another \
         directory with --data-dir",
        dir.display()
    )]
    InUse {
        /// Which directory.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DataDirectory {
    /// Creates the directories that are missing, readable by their owner alone, and takes the lock.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::InUse`] while another process holds the lock; it is given back by the
    /// operating system however that process ends.
    pub fn lock(disk: &dyn Disk, data_dir: &Path) -> Result<Self, DirectoryError> {
        let mut directory = Self::unlocked(disk, data_dir)?;
        let path = directory.member.join(LOCK_FILE);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DirectoryError::InUse { dir: data_dir.to_path_buf() });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
        }
        directory._lock = Some(file);
        Ok(directory)
    }

    /// The same without a lock, for a disk that only this process has.
    ///
    /// # Errors
    ///
    /// If a directory cannot be created.
    pub fn unlocked(disk: &dyn Disk, data_dir: &Path) -> Result<Self, DirectoryError> {
        let member = Self::member_dir_of(data_dir);
        let wal = member.join(WAL_DIR);
        disk.create_dir(&wal).map_err(io_error("create", &wal))?;
        disk.create_dir(&member).map_err(io_error("create", &member))?;
        hit(Failpoint::DirectoriesMade);
        for dir in [member.as_path(), data_dir] {
            disk.sync_dir(dir).map_err(io_error("sync", dir))?;
        }
        Ok(Self { member, wal, _lock: None })
    }

    /// Where the state of a data directory is, whether or not there is one.
    #[must_use]
    pub fn member_dir_of(data_dir: &Path) -> PathBuf {
        data_dir.join(MEMBER_DIR)
    }

    /// Where the state is.
    #[must_use]
    pub fn member_dir(&self) -> &Path {
        &self.member
    }

    /// Where the log is.
    #[must_use]
    pub fn wal_dir(&self) -> &Path {
        &self.wal
    }
}

fn io_error<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> DirectoryError + 'a {
    move |source| DirectoryError::Io { operation, path: path.to_path_buf(), source }
}
