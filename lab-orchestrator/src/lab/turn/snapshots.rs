//! What the loop does about databases on the desk: looks at them, and damages one when asked.
//!
//! Looking means to read each file to its end, so it is done on a thread of its own, and a file is
//! read again only when its size or its time is another. Members' directories are left out: what
//! lies there is a member's business, and changes while it runs.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lab_protocol::{Event, Integrity, SnapshotFile};
use node_restore::Status;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::{Loop, blocking, in_full};
use crate::terminal::Desk;

/// Files that are told of; more are left out, the last by name.
const FILES: usize = 32;

/// Folders in folders that are looked into.
const DEPTH: usize = 3;

/// Where bbolt's first page has its magic number, and the number.
///
/// Source: `etcd-io/bbolt internal/common/meta.go`.
const MAGIC: (u64, [u8; 4]) = (16, 0xED0C_DAED_u32.to_le_bytes());

/// What was seen of the databases on the desk.
#[derive(Default)]
pub(super) struct Snapshots {
    looking: JoinSet<Seen>,
    /// Something may have changed while somebody looked.
    again: bool,
    found: Option<Seen>,
    known: Seen,
}

/// A file as it was when it was read.
#[derive(Clone, PartialEq, Eq)]
struct Known {
    bytes: u64,
    changed: Option<SystemTime>,
    file: SnapshotFile,
}

type Seen = BTreeMap<String, Known>;

impl Snapshots {
    /// Waits until somebody has looked. Cancel safe: what was found is kept.
    pub(super) async fn seen(&mut self) {
        if self.found.is_none() {
            match self.looking.join_next().await {
                Some(Ok(found)) => self.found = Some(found),
                Some(Err(_)) => {} // It was ended, or a file is beyond reading: look another time.
                None => std::future::pending().await,
            }
        }
    }
}

impl Loop {
    /// Has somebody look at the desk.
    pub(super) fn look(&mut self) {
        if !self.snapshots.looking.is_empty() {
            self.snapshots.again = true;
            return;
        }
        // A desk that cannot be made is told by whoever needs it.
        let Ok(root) = self.parts.directory.desk() else { return };
        let known = self.snapshots.known.clone();
        self.snapshots.looking.spawn_blocking(move || {
            let mut seen = Seen::new();
            look_into(&Desk::new(root.clone()), &root, DEPTH, &known, &mut seen);
            seen
        });
    }

    /// Somebody has looked; tells what is there if it is not what was there.
    pub(super) fn looked(&mut self) {
        if let Some(found) = self.snapshots.found.take() {
            let files = |seen: &Seen| seen.values().map(|it| it.file.clone()).collect::<Vec<_>>();
            let now = files(&found);
            let changed = now != files(&self.snapshots.known);
            self.snapshots.known = found;
            if changed {
                self.append(Event::Snapshots(now));
            }
        }
        if std::mem::take(&mut self.snapshots.again) {
            self.look();
        }
    }

    /// Flips one bit in the middle of a file; which one follows from the seed and the name.
    pub(super) async fn damage(&mut self, name: &str) -> Result<(), String> {
        let name = &self.names().put_in(name)?;
        let desk = Desk::new(self.parts.directory.desk().map_err(|error| in_full(&error))?);
        let place = self.unused(name, &desk)?;
        if !place.is_file() {
            return Err(format!("there is no file {name} on the desk"));
        }
        let letters = name
            .bytes()
            .fold(self.parts.seed, |sum, letter| sum.rotate_left(5) ^ u64::from(letter));
        let random = ChaCha8Rng::seed_from_u64(letters);
        let flipped = blocking(move || flip(&place, random)).await;
        flipped.map_err(|error| format!("{name} cannot be damaged: {error}"))?;
        self.append(Event::Note { text: format!("One bit of {name} is flipped.") });
        self.look();
        Ok(())
    }
}

/// Flips one bit in the middle half of a file.
fn flip(place: &Path, mut random: ChaCha8Rng) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(place)?;
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Err(std::io::Error::other("it is empty"));
    }
    let at = random.random_range(bytes / 4..(bytes - bytes / 4).max(bytes / 4 + 1));
    let bit = random.random_range(0..8u32);
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&[byte[0] ^ (1 << bit)])?;
    file.sync_all()
}

/// Collects the databases in a folder, and in the folders of it that are no member's.
fn look_into(desk: &Desk, folder: &Path, depth: usize, known: &Seen, seen: &mut Seen) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut places: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    places.sort();
    for place in places {
        let Ok(found) = fs::symlink_metadata(&place) else { continue };
        if found.is_dir() && depth > 0 && !is_members(&place) {
            look_into(desk, &place, depth - 1, known, seen);
        }
        if !found.is_file() || seen.len() >= FILES || !is_database(&place) {
            continue;
        }
        let name = desk.typed(&place);
        let (bytes, changed) = (found.len(), found.modified().ok());
        let same = |it: &&Known| it.bytes == bytes && it.changed == changed && changed.is_some();
        let one = known.get(&name).filter(same).cloned();
        let one = one.unwrap_or_else(|| Known { bytes, changed, file: read(&place, &name, bytes) });
        seen.insert(name, one);
    }
}

/// Whether a folder is a member's, or is about to be.
fn is_members(folder: &Path) -> bool {
    folder.extension().is_some_and(|end| end == "etcd") || folder.join("member").is_dir()
}

/// Whether a file is called a database, or begins as one.
fn is_database(place: &Path) -> bool {
    if place.extension().is_some_and(|end| end == "part") {
        return false; // It is being saved.
    }
    let begins = || {
        let (at, number) = MAGIC;
        let mut file = fs::File::open(place)?;
        let mut found = [0; 4];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut found)?;
        Ok::<_, std::io::Error>(found == number)
    };
    place.extension().is_some_and(|end| end == "db") || begins().unwrap_or(false)
}

/// What `snapshot status` tells of a file.
fn read(place: &Path, name: &str, bytes: u64) -> SnapshotFile {
    let unread = |integrity| SnapshotFile {
        name: name.to_owned(),
        bytes,
        integrity,
        hash: 0,
        revision: 0,
        keys: 0,
    };
    match Status::read(place) {
        Ok(status) => {
            let integrity = match status.integrity {
                node_restore::Integrity::Verified => Integrity::Verified,
                node_restore::Integrity::Missing => Integrity::NoHash,
                node_restore::Integrity::Wrong { .. } => {
                    Integrity::Damaged("its hash is that of another file".to_owned())
                }
            };
            let Status { hash, revision, total_keys: keys, .. } = status;
            SnapshotFile { hash, revision, keys, ..unread(integrity) }
        }
        Err(error) => unread(Integrity::Damaged(in_full(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_is_flipped_and_what_is_no_database_is_said_to_be_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("it is there");
        let desk = Desk::new(root.clone());
        let whole = vec![7_u8; 4096];
        fs::write(root.join("a.db"), &whole).expect("written");
        fs::write(root.join("notes"), "no database").expect("written");
        fs::create_dir_all(root.join("m1.etcd/member/snap")).expect("made");
        fs::write(root.join("m1.etcd/member/snap/db"), &whole).expect("written");
        let mut seen = Seen::new();
        look_into(&desk, &root, DEPTH, &Seen::new(), &mut seen);
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["a.db"]);
        let Integrity::Damaged(why) = &seen["a.db"].file.integrity else { panic!("no database") };
        assert!(!why.is_empty());

        flip(&root.join("a.db"), ChaCha8Rng::seed_from_u64(1)).expect("flipped");
        let other = fs::read(root.join("a.db")).expect("read");
        let places: Vec<_> = (0..whole.len()).filter(|&at| whole[at] != other[at]).collect();
        assert_eq!(places.len(), 1);
        assert!((1024..3072).contains(&places[0]), "{places:?}");
        assert_eq!((whole[places[0]] ^ other[places[0]]).count_ones(), 1);
    }
}
