//! What a running lab writes down for shells beside it: where its members are, and how somebody
//! starts one by hand.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lab_protocol::MemberNo;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::directory::{TEMPORARY, is_file};
use super::{DirectoryError, LabDirectory, MARKER};

/// The file, in the lab's directory; it is there as long as the lab runs.
const FILE: &str = "running.json";

/// The version of [`Seats`].
const SCHEMA: u32 = 1;

/// All members that may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// Version of this record.
    pub schema: u32,
    /// The lab's directory.
    pub directory: PathBuf,
    /// Where the members' directories and other files lie.
    pub desk: PathBuf,
    /// The members, ascending.
    pub members: Vec<Seat>,
}

/// One member's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Which.
    pub member: MemberNo,
    /// Where clients reach it.
    pub client_url: String,
    /// What its peers call it.
    pub peer_url: String,
    /// Where it listens to them.
    pub listen_peer_url: String,
    /// Where its telemetry is read; empty of a member that has none.
    pub telemetry_url: String,
    /// The proxy through which it dials its peers.
    pub proxy_url: String,
    /// Its directory.
    pub data_dir: PathBuf,
    /// The words that start it.
    pub start: Vec<String>,
}

impl Seats {
    /// These members of the lab in this directory.
    pub fn new(directory: &Path, desk: PathBuf, members: Vec<Seat>) -> Self {
        Self { schema: SCHEMA, directory: directory.to_owned(), desk, members }
    }

    /// Writes it down in the lab's directory, for this user alone.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn write(&self, directory: &LabDirectory) -> Result<(), DirectoryError> {
        let text = serde_json::to_string_pretty(self).expect("seats have an encoding");
        directory.write_secret(FILE, &text).map(|_| ())
    }

    /// The lab ends: nobody is to start a member of it any more.
    pub fn forget(directory: &LabDirectory) {
        // Whoever reads a stale one sees by the lock that no lab runs.
        fs::remove_file(directory.root().join(FILE)).ok();
    }
}

/// Why no running lab was found.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FindError {
    #[error("no lab runs in {}; start one with `raft-lab up --dir {}`", .0.display(), .0.display())]
    NotRunning(PathBuf),
    #[error(
        "no lab without a directory of its own runs; start one with `raft-lab up`, or give --dir"
    )]
    None,
    #[error("several labs run; say which with --dir: {}", .0.join(", "))]
    Several(Vec<String>),
    #[error("cannot read {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} cannot be read as what a lab of this version writes down", .path.display())]
    Record { path: PathBuf, source: serde_json::Error },
}

/// The seats of the lab that runs in this directory; without one, of the only lab that runs in a
/// temporary directory.
///
/// # Errors
/// There is none, or there are several, or what it wrote down cannot be read.
pub fn find(dir: Option<&Path>) -> Result<Seats, FindError> {
    let dir = match dir {
        Some(dir) if runs(dir) => dir.to_owned(),
        Some(dir) => return Err(FindError::NotRunning(dir.to_owned())),
        None => {
            let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
            let mut running: Vec<_> = entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY))
                .map(|entry| entry.path())
                .filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()))
                .filter(|path| runs(path))
                .collect();
            running.sort();
            match running.as_slice() {
                [] => return Err(FindError::None),
                [one] => one.clone(),
                more => {
                    let more = more.iter().map(|path| path.display().to_string()).collect();
                    return Err(FindError::Several(more));
                }
            }
        }
    };
    let path = dir.join(FILE);
    let text =
        fs::read_to_string(&path).map_err(|source| FindError::Io { path: path.clone(), source })?;
    serde_json::from_str(&text).map_err(|source| FindError::Record { path, source })
}

/// Whether a lab holds this directory.
fn runs(dir: &Path) -> bool {
    is_file(&dir.join(MARKER))
        && File::open(dir.join("lab.lock"))
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}
