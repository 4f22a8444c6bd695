//! A backup tried: whether its bytes are those that were saved, and whether they can be restored.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use node_identity::InitialCluster;
use node_identity::urls::Url;
use node_restore::{FillError, Integrity, Restore, RestoreError, Status, StatusError, directory};
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use crate::commands::restore::with_causes;
use crate::commands::stop::Stopped;

/// The one member of the cluster that nobody starts.
const MEMBER: &str = "verify";
const PEER_URL: &str = "http://127.0.0.1:2380";

/// Why a backup has not passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its bytes are not those of a snapshot, or cannot be read from the disk any more.
    Damaged(String),
    /// It could not be tried, which says nothing of it.
    Untried(String),
    /// Somebody wanted an end.
    Stopped,
}

impl From<Stopped> for Trouble {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

/// Reads all of a file: what is in it, and whether that is what was saved.
pub(super) fn look(file: &Path) -> Result<Status, Trouble> {
    forget(file);
    let status = Status::read(file).map_err(|error| match &error {
        StatusError::Io(cause) => by_cause(Some(cause), &error),
        StatusError::Rows(_) => by_cause(io_cause(&error), &error),
    })?;
    match status.integrity {
        Integrity::Verified => Ok(status),
        Integrity::Missing => Err(Trouble::Damaged("there is no hash behind it".to_owned())),
        Integrity::Wrong { .. } => {
            let text = "the hash behind it is that of another content";
            Err(Trouble::Damaged(text.to_owned()))
        }
    }
}

/// Restores a file whose status is known into `folder`, and reads what came of it; nothing is
/// left of the folder.
///
/// Once `stop` is set, it ends soon.
pub(super) fn restore(
    file: &Path,
    status: &Status,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<(), Trouble> {
    let untried = |error: &dyn Error| Trouble::Untried(with_causes(error));
    let _gone = Gone(folder.to_path_buf());
    let order = Restore {
        snapshot: file.to_path_buf(),
        data_dir: folder.to_path_buf(),
        wal_dir: None,
        name: MEMBER.to_owned(),
        initial_cluster: InitialCluster::parse(&format!("{MEMBER}={PEER_URL}"))
            .map_err(|error| untried(&error))?,
        token: MEMBER.to_owned(),
        advertised: Url::parse_list(PEER_URL).map_err(|error| untried(&error))?,
        skip_hash_check: false,
        bump: None,
    };
    let restored = order
        .run(&mut |_| match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
        .map_err(|error| judged(&error, file))?;
    let database = directory::database(folder);
    let made = Status::read(&database).map_err(|error| untried(&error))?;
    let revisions = [restored.revision, made.revision];
    if revisions != [status.revision; 2] {
        // The file is as it was saved: whoever restores is at fault.
        return Err(Trouble::Untried(format!(
            "it has revision {}, and what is restored of it {revisions:?}",
            status.revision
        )));
    }
    Ok(())
}

/// What a failed restore says of the file.
fn judged(error: &RestoreError, file: &Path) -> Trouble {
    let untried = || Trouble::Untried(with_causes(error));
    match error {
        RestoreError::Stopped => Trouble::Stopped,
        RestoreError::HashMissing | RestoreError::HashWrong { .. } => {
            Trouble::Damaged(with_causes(error))
        }
        // The disk to write on is another matter than the file.
        RestoreError::Snapshot { source: FillError::Write(cause), .. }
            if io_cause(cause).is_some() =>
        {
            Trouble::Untried(with_causes(cause))
        }
        RestoreError::Snapshot { source, .. } => by_cause(io_cause(source), source),
        RestoreError::Io { path, source, .. } if path == file => by_cause(Some(source), error),
        RestoreError::InitialCluster(_)
        | RestoreError::DataDir(_)
        | RestoreError::WalDir(_)
        | RestoreError::Io { .. } => untried(),
    }
}

/// Bytes that make no sense are damage, and so are bytes that the disk does not give back; a file
/// that is gone, or not ours to read, is not damaged.
fn by_cause(cause: Option<&io::Error>, error: &dyn Error) -> Trouble {
    let lost = |cause: &io::Error| {
        cause.raw_os_error() == Some(Errno::IO.raw_os_error())
            || cause.kind() == io::ErrorKind::UnexpectedEof
    };
    match cause {
        Some(cause) if !lost(cause) => Trouble::Untried(with_causes(error)),
        _ => Trouble::Damaged(with_causes(error)),
    }
}

/// The error of the system below an error.
fn io_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let below = |error: &&'a (dyn Error + 'static)| (*error).source();
    std::iter::successors(Some(error), below).find_map(|error| error.downcast_ref())
}

/// Has the system forget what it remembers of a file, so that reading asks the disk.
fn forget(file: &Path) {
    // A system that goes on remembering makes the trial easier, not wrong.
    File::open(file).map(|file| fadvise(&file, 0, None, Advice::DontNeed)).ok();
}

/// A folder that does not outlive its use.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        // It may not be there; one that stays is removed at the next start.
        fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_bolt::format::PageSize;
    use node_bolt::schema::{KEY, RevisionKey};
    use node_bolt::{HASH_BYTES, Image, Plan, WriteError};

    const ROWS: i64 = 40;
    /// Enough of them for a restore to report its progress.
    static VALUE: [u8; 64 << 10] = [b'v'; 64 << 10];

    /// A snapshot with rows up to a revision.
    fn snapshot(folder: &Path) -> PathBuf {
        let fill = |new: &mut Image<'_>| -> Result<(), WriteError> {
            new.bucket(KEY)?;
            for main in 2..=ROWS {
                let row = RevisionKey { main, sub: 0, tombstone: false };
                new.pair(&row.to_bytes(), &VALUE)?;
            }
            Ok(())
        };
        let path = folder.join("snapshot.db");
        let plan = Plan::measure(PageSize::default(), fill).expect("it fits");
        let mut file = File::create(&path).expect("a file");
        plan.write_with_hash(&mut file, fill).expect("written");
        path
    }

    fn flip(path: &Path, at: usize) {
        let mut bytes = fs::read(path).expect("bytes");
        bytes[at] ^= 1;
        fs::write(path, bytes).expect("written");
    }

    #[test]
    fn a_sound_one_passes_and_nothing_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, test) = (snapshot(folder.path()), folder.path().join("test"));
        let status = look(&file).expect("sound");
        assert_eq!(status.revision, ROWS);
        assert_eq!(restore(&file, &status, &test, &AtomicBool::new(false)), Ok(()));
        assert!(!test.exists());
    }

    #[test]
    fn a_word_ends_a_restore_and_nothing_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, test) = (snapshot(folder.path()), folder.path().join("test"));
        let status = look(&file).expect("sound");
        let ended = restore(&file, &status, &test, &AtomicBool::new(true));
        assert_eq!(ended, Err(Trouble::Stopped));
        assert!(!test.exists());
    }

    #[test]
    fn any_other_byte_is_damage() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = snapshot(folder.path());
        let length = fs::read(&file).expect("bytes").len();
        let in_a_value = length / 2;
        for at in [0, 4096, in_a_value, length - HASH_BYTES as usize - 1, length - 1] {
            flip(&file, at);
            let seen = look(&file);
            assert!(matches!(seen, Err(Trouble::Damaged(_))), "byte {at}: {seen:?}");
            flip(&file, at);
        }
        assert!(look(&file).is_ok());
    }

    #[test]
    fn a_file_cut_short_is_damage() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = snapshot(folder.path());
        let length = fs::metadata(&file).expect("its size").len();
        for left in [0, 100, length / 2, length - 1, length - HASH_BYTES] {
            File::options().write(true).open(&file).and_then(|f| f.set_len(left)).expect("cut");
            let seen = look(&file);
            assert!(matches!(seen, Err(Trouble::Damaged(_))), "{left} bytes: {seen:?}");
            snapshot(folder.path());
        }
    }

    #[test]
    fn what_could_not_be_tried_is_not_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = snapshot(folder.path());
        let gone = look(&folder.path().join("gone"));
        assert!(matches!(gone, Err(Trouble::Untried(_))), "{gone:?}");
        let status = look(&file).expect("sound");
        // There is no place for a folder below a file.
        let tested = restore(&file, &status, &file.join("test"), &AtomicBool::new(false));
        assert!(matches!(tested, Err(Trouble::Untried(_))), "{tested:?}");
        assert!(file.exists());
    }
}
