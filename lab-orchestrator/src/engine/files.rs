//! Where a member of each kind keeps its files.

use std::fs;
use std::path::{Path, PathBuf};

use lab_protocol::MemberFile;

/// Names below a data directory.
#[derive(Clone, Copy, Debug)]
pub struct MemberFiles {
    /// The directory with the log's segments; the newest is the last by name.
    pub log: &'static str,
    /// How a segment's name ends.
    pub log_ending: &'static str,
    /// The state.
    pub state: &'static str,
    /// The directory with snapshots of it.
    pub snapshot: &'static str,
    /// How the path of one ends; the newest is the last by name.
    pub snapshot_ending: &'static str,
}

impl MemberFiles {
    /// Where a file of a member lies.
    ///
    /// # Errors
    /// For a person: there is none.
    pub fn find(&self, data_dir: &Path, file: MemberFile) -> Result<PathBuf, String> {
        let path = match file {
            MemberFile::Log => newest(data_dir.join(self.log), self.log_ending),
            MemberFile::State => data_dir.join(self.state),
            MemberFile::Snapshot => newest(data_dir.join(self.snapshot), self.snapshot_ending),
        };
        match path.is_file() {
            true => Ok(path),
            false => Err(format!("there is no such file: {}", path.display())),
        }
    }
}

/// The newest file in a directory whose path ends so; the directory itself if there is none.
fn newest(dir: PathBuf, ending: &str) -> PathBuf {
    let names = fs::read_dir(&dir).into_iter().flatten().flatten();
    let files =
        names.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(ending));
    // One that is only kept in reserve has nothing in it.
    let is_used =
        |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 0));
    files.filter(is_used).max().unwrap_or(dir)
}
