//! The lab's directory: who may use it, what it holds, what may be deleted from it.
//!
//! ```text
//!  D/raftlab-marker     this is ours; nothing is ever deleted where it is missing
//!  D/lab.lock           locked as long as a lab runs here; holds its process id
//!  D/lab.json           what the cluster is (LabRecord)
//!  D/running.json       how members are reached and started by hand, while a lab runs (mode 0600)
//!  D/token              the run's token for programs (mode 0600)
//!  D/desk/              where lines of the terminal act
//!  D/desk/m1.etcd       a member's own directory
//!  D/m1/output.log      what its processes print
//!  D/m1/control         where the member takes orders of the lab
//!  D/runs/<run>/        recordings
//! ```

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lab_protocol::MemberNo;
use rustix::fs::{FlockOperation, flock, statvfs};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{MemberPorts, PLACES};

/// The file that says a directory is the lab's.
pub const MARKER: &str = "raftlab-marker";

/// How the names of temporary labs begin.
pub(super) const TEMPORARY: &str = "raftlab-";

const MARKER_TEXT: &str = "This directory belongs to raft-lab, which may delete what is in it.\n";

/// The version of [`LabRecord`]: 2 knows members that were added and removed, with 3 their
/// directories are on the desk.
const SCHEMA: u32 = 3;

/// The folder of the terminal.
const DESK: &str = "desk";

/// The name of a member's own directory.
fn data_name(member: MemberNo) -> String {
    format!("{member}.etcd")
}

/// No lab starts with less free space on its disk.
const MIN_FREE_BYTES: u64 = 1024 * 1024 * 1024;

/// What is written down about a lab, so that its cluster can be resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabRecord {
    /// Version of this record.
    pub schema: u32,
    /// Number of members that the cluster began with.
    pub members: u8,
    /// The cluster token.
    pub token: String,
    /// The members' ports, ascending by member.
    pub ports: Vec<MemberPorts>,
    /// Members that were added since, ascending.
    #[serde(default)]
    pub added: Vec<Joined>,
    /// Members that were removed; their numbers are not used again.
    #[serde(default)]
    pub removed: BTreeSet<MemberNo>,
}

/// A member that was added to a running cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Which.
    pub member: MemberNo,
    /// The members at that time, itself included, as `--initial-cluster` takes them.
    pub initial_cluster: String,
}

impl LabRecord {
    /// A cluster that begins now.
    pub fn new(members: u8, token: String, ports: Vec<MemberPorts>) -> Self {
        Self { schema: SCHEMA, members, token, ports, added: Vec::new(), removed: BTreeSet::new() }
    }

    /// The members that may run, ascending.
    pub fn taking_part(&self) -> Vec<MemberNo> {
        (1..=self.members)
            .map(MemberNo)
            .chain(self.added.iter().map(|joined| joined.member))
            .filter(|member| !self.removed.contains(member))
            .collect()
    }

    /// The number that the next member gets, if there is a place for it.
    pub fn next(&self) -> Option<MemberNo> {
        let last = self.added.last().map_or(self.members, |joined| joined.member.0);
        (last < PLACES).then(|| MemberNo(last + 1))
    }
}

/// A directory that this process may use, and nobody else.
#[derive(Debug)]
pub struct LabDirectory {
    root: PathBuf,
    /// Deleted with the lab when nobody named a directory.
    temporary: Option<TempDir>,
    /// Holds the lock.
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DirectoryError {
    #[error("{} is not empty and not a lab's (it has no {MARKER}); give another --dir", .path.display())]
    Foreign { path: PathBuf },
    #[error("{} is in use by process {holder}; end that lab or give another --dir", .path.display())]
    InUse { path: PathBuf, holder: String },
    #[error(
        "only {} MiB are free where {} is, a lab needs {} MiB; make room or give another --dir",
        .free / 1024 / 1024, .path.display(), MIN_FREE_BYTES / 1024 / 1024
    )]
    Full { path: PathBuf, free: u64 },
    #[error(
        "{} was written by a newer raft-lab (schema {found}, this one knows {SCHEMA}); use that one",
        .path.display()
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("{} cannot be read as a lab's record; `--fresh` starts over and deletes the cluster there", .path.display())]
    Record { path: PathBuf, source: serde_json::Error },
    #[error(
        "{} holds a cluster of {found} members, not {asked}; leave --members away, or `--fresh` \
         deletes it and starts over", .path.display()
    )]
    OtherSize { path: PathBuf, found: u8, asked: u8 },
    #[error("{} is a symbolic link, which the lab does not follow", .path.display())]
    Symlink { path: PathBuf },
    #[error("cannot use {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io { path, source }
}

impl LabDirectory {
    /// Opens the directory, or a temporary one; makes it when it is missing. With `fresh` the
    /// cluster in it is deleted.
    pub fn open(dir: Option<&Path>, fresh: bool) -> Result<Self, DirectoryError> {
        let (root, temporary) = match dir {
            Some(dir) => {
                make_dir(dir)?;
                (fs::canonicalize(dir).map_err(io_at(dir))?, None)
            }
            None => {
                sweep(&std::env::temp_dir());
                let temporary = tempfile::Builder::new()
                    .prefix(TEMPORARY)
                    .tempdir()
                    .map_err(io_at(&std::env::temp_dir()))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let marker = root.join(MARKER);
        let ours = is_file(&marker);
        if !ours && fs::read_dir(&root).map_err(io_at(&root))?.next().is_some() {
            return Err(DirectoryError::Foreign { path: root });
        }
        // First the lock, then the marker: a directory with a marker and without a lock is nobody's
        // any more (see `sweep`).
        let lock = lock(&root)?;
        if !ours {
            fs::write(&marker, MARKER_TEXT).map_err(io_at(&marker))?;
        }
        let directory = Self { root, temporary, _lock: lock };
        if fresh {
            directory.wipe_all()?;
        }
        directory.move_old_data()?;
        directory.require_space()?;
        Ok(directory)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it is deleted at the end.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// What was written down here before; `None` in a new directory.
    ///
    /// Errors: another number of members than `asked`, a newer record, one that cannot be read.
    pub fn record(&self, asked: Option<u8>) -> Result<Option<LabRecord>, DirectoryError> {
        let path = self.root.join("lab.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DirectoryError::Io { path, source }),
        };
        let unreadable = |source| DirectoryError::Record { path: path.clone(), source };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(unreadable)?;
        let found = value["schema"].as_u64().and_then(|schema| u32::try_from(schema).ok());
        if let Some(found) = found.filter(|found| *found > SCHEMA) {
            return Err(DirectoryError::Newer { path, found });
        }
        let record: LabRecord = serde_json::from_value(value).map_err(unreadable)?;
        let record = LabRecord { schema: SCHEMA, ..record };
        match asked.filter(|asked| *asked != record.members) {
            Some(asked) => {
                let path = self.root.clone();
                Err(DirectoryError::OtherSize { path, found: record.members, asked })
            }
            None => Ok(Some(record)),
        }
    }

    /// Writes down what the cluster is: to a new file, which then replaces the old one.
    pub fn write_record(&self, record: &LabRecord) -> Result<(), DirectoryError> {
        let path = self.root.join("lab.json");
        let new = self.root.join("lab.json.new");
        let text = serde_json::to_string_pretty(record).expect("a record has an encoding");
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(io_at(&path))
    }

    /// Writes a file that only this user may read.
    pub fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf, DirectoryError> {
        let path = self.root.join(name);
        let write = || -> io::Result<()> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())
        };
        write().map_err(io_at(&path))?;
        Ok(path)
    }

    /// Where lines of the terminal act, and where the members' own directories are; made when
    /// missing.
    pub fn desk(&self) -> Result<PathBuf, DirectoryError> {
        let desk = self.root.join(DESK);
        make_dir(&desk)?;
        Ok(desk)
    }

    /// Where a member's own directory is, or would be.
    pub fn data_place(&self, member: MemberNo) -> PathBuf {
        self.root.join(DESK).join(data_name(member))
    }

    /// The directory of a member's output and its control socket; made when missing.
    pub fn own_dir(&self, member: MemberNo) -> Result<PathBuf, DirectoryError> {
        let own = self.root.join(member.to_string());
        make_dir(&own)?;
        Ok(own)
    }

    /// A member's data directory, under the name that `raft-node --name m1` gives it; made when
    /// missing.
    pub fn data_dir(&self, member: MemberNo) -> Result<PathBuf, DirectoryError> {
        self.own_dir(member)?;
        let data = self.desk()?.join(data_name(member));
        make_dir(&data)?;
        Ok(data)
    }

    /// The file for what a member's processes print. Its own directory is made first.
    pub fn output_path(&self, member: MemberNo) -> PathBuf {
        self.root.join(member.to_string()).join("output.log")
    }

    /// Where a member of the training program keeps what can be lost with its power.
    pub fn power_dir(&self, member: MemberNo) -> PathBuf {
        self.root.join(member.to_string()).join("power")
    }

    /// Where a member takes orders of the lab. Its own directory need not be there.
    pub fn control_socket(&self, member: MemberNo) -> PathBuf {
        self.root.join(member.to_string()).join("control")
    }

    /// Deletes a member's own directory.
    pub fn wipe(&self, member: MemberNo) -> Result<(), DirectoryError> {
        self.remove(&self.root.join(DESK).join(data_name(member)))
    }

    /// Deletes everything on the desk, the members' own directories among it.
    pub fn wipe_desk(&self) -> Result<(), DirectoryError> {
        self.remove(&self.root.join(DESK))
    }

    /// Moves what a lab of schema 2 kept elsewhere to where it is looked for.
    fn move_old_data(&self) -> Result<(), DirectoryError> {
        for member in (1..=PLACES).map(MemberNo) {
            let old = self.root.join(member.to_string()).join("data");
            let new = self.root.join(DESK).join(data_name(member));
            let is_dir = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
            if is_dir(&old) && !new.exists() {
                self.desk()?;
                fs::rename(&old, &new).map_err(io_at(&old))?;
            }
        }
        Ok(())
    }

    fn wipe_all(&self) -> Result<(), DirectoryError> {
        self.wipe_desk()?;
        for number in 1..=PLACES {
            self.remove(&self.root.join(MemberNo(number).to_string()))?;
        }
        let record = self.root.join("lab.json");
        match fs::remove_file(&record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at(&record)(error)),
            _ => Ok(()),
        }
    }

    /// Removes a directory under the root, if it is there. The parts of the path below the root
    /// must be real directories.
    fn remove(&self, dir: &Path) -> Result<(), DirectoryError> {
        if !is_file(&self.root.join(MARKER)) {
            return Err(DirectoryError::Foreign { path: self.root.clone() });
        }
        let below = dir.strip_prefix(&self.root).expect("only directories under the root");
        let mut path = self.root.clone();
        for part in below.components() {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(DirectoryError::Symlink { path }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(io_at(&path)(error)),
            }
        }
        fs::remove_dir_all(&path).map_err(io_at(&path))
    }

    fn require_space(&self) -> Result<(), DirectoryError> {
        let found = statvfs(&self.root).map_err(|error| io_at(&self.root)(error.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free < MIN_FREE_BYTES {
            return Err(DirectoryError::Full { path: self.root.clone(), free });
        }
        Ok(())
    }
}

/// Deletes temporary labs that were killed before they could do it: real directories of that name
/// with our marker, whose lock nobody holds.
fn sweep(temporary: &Path) {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let named =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
        let real = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if named
            && real
            && is_file(&path.join(MARKER))
            && let Ok(_lock) = lock(&path)
        {
            // What cannot be deleted now (another user's) stays.
            fs::remove_dir_all(&path).ok();
        }
    }
}

pub(super) fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Makes a directory that only this user may enter, unless a real one is there.
fn make_dir(path: &Path) -> Result<(), DirectoryError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(DirectoryError::Symlink { path: path.to_owned() }),
        Ok(_) => Ok(()),
        Err(_) => DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_at(path)),
    }
}

fn lock(root: &Path) -> Result<File, DirectoryError> {
    let path = root.join("lab.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(io_at(&path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder).ok(); // Without the number the message still helps.
        let holder = match holder.trim() {
            "" => "(unknown)".to_owned(),
            number => number.to_owned(),
        };
        return Err(DirectoryError::InUse { path: root.to_owned(), holder });
    }
    let write = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(io_at(&path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: MemberPorts = MemberPorts { client: 1, peer: 2, telemetry: 3 };

    #[test]
    fn a_foreign_directory_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("thesis.tex"), "years of work").expect("written");
        for fresh in [false, true] {
            let error = LabDirectory::open(Some(dir.path()), fresh).expect_err("refused");
            assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
        }
        assert!(dir.path().join("thesis.tex").exists());
    }

    #[test]
    fn one_lab_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let lab = LabDirectory::open(Some(dir.path()), false).expect("opens");
        let error = LabDirectory::open(Some(dir.path()), false).expect_err("refused");
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(lab);
        LabDirectory::open(Some(dir.path()), false).expect("free again");
    }

    #[test]
    fn only_abandoned_labs_are_swept() {
        let temporary = tempfile::tempdir().expect("a directory");
        let make = |name: &str| {
            let path = temporary.path().join(name);
            LabDirectory::open(Some(&path), false).expect("opens")
        };
        drop((make("raftlab-abandoned"), make("other-abandoned")));
        let _running = make("raftlab-running");
        fs::create_dir(temporary.path().join("raftlab-foreign")).expect("made");
        sweep(temporary.path());
        let left = |name: &str| temporary.path().join(name).exists();
        assert!(!left("raftlab-abandoned"));
        for name in ["other-abandoned", "raftlab-running", "raftlab-foreign"] {
            assert!(left(name), "{name}");
        }
    }

    #[test]
    fn the_record_reads_back_and_says_when_it_does_not_fit() {
        let dir = tempfile::tempdir().expect("a directory");
        let lab = LabDirectory::open(Some(dir.path()), false).expect("opens");
        assert_eq!(lab.record(Some(3)).expect("none yet"), None);
        let mut record = LabRecord::new(3, "t".into(), vec![PORTS; 3]);
        for number in 4..=9 {
            let member = MemberNo(number);
            assert_eq!(record.next(), Some(member));
            record.added.push(Joined { member, initial_cluster: "m1=http://m1.test:2380".into() });
        }
        assert_eq!(record.next(), None);
        record.removed = [1, 2, 4, 5, 6, 7, 8].map(MemberNo).into();
        assert_eq!(record.taking_part(), [MemberNo(3), MemberNo(9)]);
        lab.write_record(&record).expect("written");
        assert_eq!(lab.record(None).expect("reads"), Some(record));
        assert!(matches!(
            lab.record(Some(5)),
            Err(DirectoryError::OtherSize { found: 3, asked: 5, .. })
        ));
        fs::write(dir.path().join("lab.json"), r#"{"schema":99}"#).expect("written");
        assert!(matches!(lab.record(None), Err(DirectoryError::Newer { found: 99, .. })));
        fs::write(dir.path().join("lab.json"), "{").expect("written");
        assert!(matches!(lab.record(None), Err(DirectoryError::Record { .. })));
    }

    #[test]
    fn wiping_follows_no_symbolic_link() {
        let dir = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("a directory");
        fs::create_dir(elsewhere.path().join("m1.etcd")).expect("made");
        let lab = LabDirectory::open(Some(dir.path()), false).expect("opens");
        let desk = dir.path().join(DESK);
        std::os::unix::fs::symlink(elsewhere.path(), &desk).expect("linked");
        assert!(matches!(lab.wipe(MemberNo(1)), Err(DirectoryError::Symlink { .. })));
        assert!(matches!(lab.data_dir(MemberNo(1)), Err(DirectoryError::Symlink { .. })));
        assert!(elsewhere.path().join("m1.etcd").exists());
        fs::remove_file(&desk).expect("removed");

        let data = lab.data_dir(MemberNo(2)).expect("made");
        fs::write(data.join("wal"), "x").expect("written");
        lab.wipe(MemberNo(2)).expect("wiped");
        assert!(!data.exists());
        lab.wipe(MemberNo(3)).expect("nothing to do");

        // A lab of an earlier version is moved.
        drop(lab);
        fs::create_dir_all(dir.path().join("m4/data/member")).expect("made");
        let lab = LabDirectory::open(Some(dir.path()), false).expect("opens");
        assert!(dir.path().join("desk/m4.etcd/member").is_dir());
        fs::remove_file(dir.path().join(MARKER)).expect("removed");
        lab.data_dir(MemberNo(2)).expect("made");
        assert!(lab.wipe(MemberNo(2)).is_err(), "nothing is deleted without the marker");
    }
}
