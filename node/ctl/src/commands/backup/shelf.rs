//! The folder of backups: what is kept, what is set apart, what was tried when.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use jiff::Timestamp;
use rustix::fs::statvfs;
use serde_json::{Map, Value, json};

use super::name::{self, Name};
use crate::commands::snapshot::publish;
use crate::failure::Failure;

/// Behind a name while the file is not whole.
const PART: &str = ".part";
/// Behind the name of what cannot be restored.
const DAMAGED: &str = ".damaged";
/// Behind a name: the folder of a restore for a test.
const TEST: &str = ".test";

/// Holds the lock of whoever works here, and when which file was tried.
const BOOK: &str = ".raft-ctl-backup";

/// Of the book's form.
const VERSION: u64 = 1;

/// The folder, ours alone until this is dropped.
#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    book: File,
    /// When kept files were last found sound by a restore.
    tried: BTreeMap<Name, Timestamp>,
}

impl Shelf {
    /// Opens the folder, makes it if need be, and removes what a killed run has left half done.
    pub(super) fn open(dir: &str) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::error(format!("backups cannot be written to {dir}: {error}"))
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => cannot(io::ErrorKind::NotADirectory.into()),
            _ => cannot(error),
        })?;
        let dir = PathBuf::from(dir);
        let mut how = File::options();
        how.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut book = how.open(dir.join(BOOK)).map_err(cannot)?;
        match book.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let dir = dir.display();
                return Err(Failure::error(format!("another raft-ctl backup works in {dir}")));
            }
            // Some file systems have no locks; there it is the operator who starts only one.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let mut text = String::new();
        // Without a readable book the oldest files are tried first, and it is written anew.
        book.read_to_string(&mut text).ok();
        let shelf = Self { dir, book, tried: read(&text) };
        for (found, is_dir) in shelf.entries().map_err(Failure::error)? {
            let path = shelf.dir.join(&found);
            let ours = |end: &str| found.strip_suffix(end).and_then(Name::parse).is_some();
            // What cannot be removed is in nobody's way.
            if !is_dir && ours(PART) {
                fs::remove_file(&path).ok();
            } else if is_dir && ours(TEST) {
                fs::remove_dir_all(&path).ok();
            }
        }
        Ok(shelf)
    }

    /// The backups that count, the oldest first, each with its bytes.
    pub(super) fn kept(&self) -> Result<BTreeMap<Name, u64>, String> {
        let mut kept = BTreeMap::new();
        for (found, is_dir) in self.entries()? {
            let Some(name) = Name::parse(&found).filter(|_| !is_dir) else { continue };
            match fs::metadata(self.path(name)) {
                Ok(metadata) => kept.insert(name, metadata.len()),
                // Somebody else has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.failed("look at", &found, &error)),
            };
        }
        Ok(kept)
    }

    /// Whether a file has the name of this second, or one that begins so.
    pub(super) fn is_taken(&self, at: Timestamp) -> Result<bool, String> {
        let begin = name::time(at);
        Ok(self.entries()?.iter().any(|(found, _)| found.starts_with(&begin)))
    }

    /// Where a backup is.
    pub(super) fn path(&self, name: Name) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// Where it is while it is not whole.
    pub(super) fn part(&self, name: Name) -> PathBuf {
        self.dir.join(format!("{name}{PART}"))
    }

    /// Where it is restored for a test.
    pub(super) fn test(&self, name: Name) -> PathBuf {
        self.dir.join(format!("{name}{TEST}"))
    }

    /// A whole file becomes a backup that counts.
    pub(super) fn add(&self, part: &str, name: Name) -> Result<(), String> {
        publish(part, &self.path(name).to_string_lossy()).map_err(|failure| failure.text)
    }

    /// A file that cannot be restored no longer counts; returns where it is now.
    pub(super) fn set_apart(&mut self, file: &str, name: Name) -> Result<String, String> {
        let apart = format!("{}{DAMAGED}", self.path(name).display());
        publish(file, &apart).map_err(|failure| failure.text)?;
        self.tried.remove(&name);
        Ok(apart)
    }

    /// Removes the oldest backups but `keep`, if `new` is the newest; returns those removed.
    ///
    /// Where the clock was put back, older ones cannot be told from newer ones, so all stay.
    pub(super) fn prune(&mut self, keep: u64, new: Name) -> Result<Vec<Name>, String> {
        let kept = self.kept()?;
        if let Some((newest, _)) = kept.last_key_value().filter(|(newest, _)| **newest > new) {
            return Err(format!(
                "{} is newer than the clock: nothing is removed until either is put right",
                self.path(*newest).display()
            ));
        }
        let mut removed = Vec::new();
        for name in kept.keys().take(over(kept.len(), keep)).filter(|name| **name != new) {
            fs::remove_file(self.path(*name))
                .map_err(|error| self.failed("remove", &name.to_string(), &error))?;
            self.tried.remove(name);
            removed.push(*name);
        }
        Ok(removed)
    }

    /// Of the kept files that stay, which is to be tried: `new` was, and of the others the one for
    /// which it is longest ago.
    pub(super) fn longest_untried(
        &self,
        keep: u64,
        new: Option<Name>,
    ) -> Result<Option<Name>, String> {
        let kept = self.kept()?;
        let staying = kept.keys().skip(over(kept.len(), keep)).filter(|name| Some(**name) != new);
        // None is before any time, and of equals the first is the oldest file.
        Ok(staying.min_by_key(|name| self.tried.get(name)).copied())
    }

    /// A file was restored and found sound.
    pub(super) fn note_sound(&mut self, name: Name, at: Timestamp) {
        self.tried.insert(name, at);
        if let Ok(kept) = self.kept() {
            self.tried.retain(|name, _| kept.contains_key(name));
        }
        let text = written(&self.tried);
        // A book that is lost costs the order of trials alone.
        self.book
            .rewind()
            .and_then(|()| self.book.set_len(0))
            .and_then(|()| self.book.write_all(text.as_bytes()))
            .ok();
    }

    /// Whether the disk has room for a backup like the newest one and for a restore of it.
    pub(super) fn check_room(&self) -> Result<(), String> {
        let kept = self.kept()?;
        let Some((_, bytes)) = kept.last_key_value() else { return Ok(()) };
        // Where nobody knows, writing will tell.
        let Ok(disk) = statvfs(&self.dir) else { return Ok(()) };
        has_room(disk.f_bavail.saturating_mul(disk.f_frsize), *bytes)
            .map_err(|why| format!("the disk of {} {why}", self.dir.display()))
    }

    /// Names in the folder that are text, and whether each is a folder.
    fn entries(&self) -> Result<Vec<(String, bool)>, String> {
        let read = || {
            let mut found = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                // Ours are text.
                if let Ok(name) = entry.file_name().into_string() {
                    found.push((name, entry.file_type()?.is_dir()));
                }
            }
            Ok(found)
        };
        read().map_err(|error: io::Error| self.failed("list", "", &error))
    }

    fn failed(&self, operation: &str, name: &str, error: &io::Error) -> String {
        format!("failed to {operation} {}: {error}", self.dir.join(name).display())
    }
}

/// How many of so many are too many.
fn over(count: usize, keep: u64) -> usize {
    count.saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX))
}

fn has_room(free_bytes: u64, last_bytes: u64) -> Result<(), String> {
    let needed_bytes = last_bytes.saturating_mul(2);
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    let [free, needed] = [free_bytes, needed_bytes].map(crate::quote::human_bytes);
    Err(format!("has {free} free, and twice the last backup is {needed}: no backup is begun"))
}

/// The book's text.
fn written(tried: &BTreeMap<Name, Timestamp>) -> String {
    let tried: Map<_, _> =
        tried.iter().map(|(name, at)| (name.to_string(), json!(at.to_string()))).collect();
    json!({ "version": VERSION, "tried": tried }).to_string()
}

/// What a book says; nothing if it is of another form.
fn read(text: &str) -> BTreeMap<Name, Timestamp> {
    let book: Value = serde_json::from_str(text).unwrap_or_default();
    let tried = book.get("tried").filter(|_| book["version"] == VERSION);
    let tried = tried.and_then(Value::as_object).into_iter().flatten();
    tried.filter_map(|(name, at)| Some((Name::parse(name)?, at.as_str()?.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    fn name(second: i64) -> Name {
        Name { at: at(second), revision: 7 }
    }

    /// A shelf with empty backups of these seconds.
    fn shelf(seconds: &[i64]) -> (tempfile::TempDir, Shelf) {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::open(folder.path().to_str().expect("text")).expect("a shelf");
        for second in seconds {
            File::create(shelf.path(name(*second))).expect("a file");
        }
        (folder, shelf)
    }

    fn seconds(shelf: &Shelf) -> Vec<i64> {
        let kept = shelf.kept().expect("a list");
        kept.keys().map(|name| name.at.as_second() - 1_800_000_000).collect()
    }

    #[test]
    fn the_oldest_go_and_the_last_stays() {
        let check = |there: &[i64], keep, new, expected: &[i64]| {
            let (_folder, mut shelf) = shelf(there);
            shelf.prune(keep, name(new)).expect("the newest");
            assert_eq!(seconds(&shelf), expected, "{there:?} {keep}");
        };
        check(&[1, 2, 3, 4], 2, 4, &[3, 4]);
        check(&[1, 2], 2, 2, &[1, 2]);
        check(&[1, 2], 1, 2, &[2]);
        check(&[1], 1, 1, &[1]);
        check(&[1, 2], u64::MAX, 2, &[1, 2]);
    }

    #[test]
    fn nothing_goes_while_the_clock_is_behind() {
        let (_folder, mut shelf) = shelf(&[5, 6, 7]);
        let why = shelf.prune(1, name(6)).expect_err("7 is newer");
        assert!(why.contains("is newer than the clock"), "{why}");
        assert_eq!(seconds(&shelf), [5, 6, 7]);
    }

    #[test]
    fn each_file_has_its_turn_and_a_book_is_kept_of_it() {
        let (folder, mut shelf) = shelf(&[1, 2, 3, 4]);
        let turn = |shelf: &Shelf, keep, new| {
            let turn = shelf.longest_untried(keep, new).expect("a list");
            turn.map(|name| name.at.as_second() - 1_800_000_000)
        };
        // The first will have gone, the last is the new one.
        assert_eq!(turn(&shelf, 3, Some(name(4))), Some(2));
        shelf.note_sound(name(2), at(9));
        assert_eq!(turn(&shelf, 3, Some(name(4))), Some(3));
        shelf.note_sound(name(3), at(10));
        assert_eq!(turn(&shelf, 3, Some(name(4))), Some(2));
        assert_eq!(turn(&shelf, 4, None), Some(1));
        assert_eq!(turn(&shelf, 1, Some(name(4))), None);
        drop(shelf);
        let shelf = Shelf::open(folder.path().to_str().expect("text")).expect("a shelf");
        assert_eq!(shelf.tried, BTreeMap::from([(name(2), at(9)), (name(3), at(10))]));
    }

    #[test]
    fn a_book_of_the_first_form_is_read() {
        let text =
            r#"{"tried":{"2026-11-28T18-30-00Z-rev-7.db":"2026-11-28T19:00:00Z"},"version":1}"#;
        assert_eq!(read(text).len(), 1);
        assert_eq!(read(&written(&read(text))), read(text));
        for other in ["", "x", "[]", r#"{"version":2,"tried":{}}"#] {
            assert!(read(other).is_empty(), "{other}");
        }
    }

    #[test]
    fn leftovers_go_and_all_else_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let there = ["a.part", "2026-11-28T18-30-00Z-rev-7.db.damaged", "notes", "x.test/y"];
        let left = ["2026-11-28T18-30-00Z-rev-7.db.part", "2026-11-28T18-30-00Z-rev-7.db.test/y"];
        for file in there.iter().chain(&left).map(|file| folder.path().join(file)) {
            fs::create_dir_all(file.parent().expect("above")).expect("a folder");
            File::create(file).expect("a file");
        }
        Shelf::open(folder.path().to_str().expect("text")).expect("a shelf");
        let exists = |file: &&str| folder.path().join(file).exists();
        assert!(there.iter().all(exists));
        assert!(!left.iter().any(exists));
    }

    #[test]
    fn one_at_a_time() {
        let (folder, shelf) = shelf(&[]);
        let again = || Shelf::open(folder.path().to_str().expect("text"));
        let why = again().expect_err("it is held").text;
        assert!(why.starts_with("another raft-ctl backup works in"), "{why}");
        drop(shelf);
        again().expect("it is free");
    }

    #[test]
    fn a_backup_needs_room_for_two() {
        assert_eq!(has_room(200, 100), Ok(()));
        assert_eq!(
            has_room(199, 100),
            Err("has 199 B free, and twice the last backup is 200 B: no backup is begun".into())
        );
    }
}
