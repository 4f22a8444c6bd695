//! A disk in memory that can lose its power: for simulation and crash tests.
//!
//! Every file has two images: what is durable, and what programs see. The difference is a list of
//! writes not yet synced. Names have the same two states. [`MemoryDisk::power_loss`] makes of the
//! two what a real disk may make of them:
//!
//! - of each unsynced write, any subset of its 512-byte sectors reaches the disk (so a write may be
//!   lost whole, kept whole, or torn in the middle); later writes may survive earlier ones;
//! - unsynced changes of a file's length, and of names, survive as a prefix of what was done.
//!
//! Handles opened before the loss are dead: they answer every call with an error, as the process
//! that held them is gone.
//!
//! It deliberately leaves out sectors that are half old and half new: a sector is the unit a disk
//! writes as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, OpenMode};

/// The unit in which a disk writes, in bytes.
pub const SECTOR_BYTES: u64 = 512;

/// A disk in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    platter: Arc<Mutex<Platter>>,
    /// Counts power losses; a handle of an earlier life is dead.
    life: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Platter {
    dirs: BTreeSet<PathBuf>,
    /// Names as programs see them.
    names: BTreeMap<PathBuf, FileRef>,
    durable_names: BTreeMap<PathBuf, FileRef>,
    /// What was done to names and is not synced, in order.
    unsynced_names: Vec<NameChange>,
    /// Syncs until one fails; `None` never.
    syncs_until_error: Option<u64>,
    /// Syncs asked for so far.
    syncs: u64,
}

impl Platter {
    fn count_sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        match self.syncs_until_error {
            Some(0) => {
                self.syncs_until_error = None;
                return Err(io::Error::other("injected sync failure"));
            }
            Some(left) => self.syncs_until_error = Some(left - 1),
            None => {}
        }
        Ok(())
    }
}

type FileRef = Arc<Mutex<Content>>;

#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, FileRef),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, FileRef>) {
        match self {
            Self::Create(path, file) => {
                names.insert(path.clone(), Arc::clone(file));
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Create(path, _) | Self::Rename(path, _) | Self::Remove(path)) = self;
        path.parent() == Some(dir)
    }
}

#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// What makes `current` of `durable`, in order, but for what a failed sync gave up.
    unsynced: Vec<ContentChange>,
}

/// A change of a file's bytes that is not synced. Offsets and lengths are in bytes.
#[derive(Debug)]
#[cfg_attr(feature = "training", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum ContentChange {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// What of a change reached the disk.
pub(super) enum Reached<'a> {
    /// These bytes, within one sector, at this offset.
    Bytes(usize, &'a [u8]),
    /// The file has this length.
    Len(usize),
}

/// Lets of each unsynced write any subset of its sectors reach the disk, and of changes of the
/// length a prefix, as `keep` says when it is asked for each, in order.
pub(super) fn survivors(
    changes: Vec<ContentChange>,
    keep: &mut impl FnMut() -> bool,
    mut reach: impl FnMut(Reached<'_>),
) {
    let sector = usize::try_from(SECTOR_BYTES).expect("a sector is small");
    let mut lengths_survive = true;
    for change in changes {
        match change {
            ContentChange::SetLen(len) => {
                lengths_survive = lengths_survive && keep();
                if lengths_survive {
                    reach(Reached::Len(len));
                }
            }
            ContentChange::Write { offset, bytes } => {
                let mut from = 0;
                while from < bytes.len() {
                    // Up to the next sector boundary of the file, not of the write.
                    let to = bytes.len().min((offset + from) / sector * sector + sector - offset);
                    if keep() {
                        reach(Reached::Bytes(offset + from, &bytes[from..to]));
                    }
                    from = to;
                }
            }
        }
    }
}

fn write(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same disk, ready to share.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Cuts the power. `keep` is asked once for each unsynced sector and each unsynced change of a
    /// name or length, in a stable order, whether it reached the disk; the first refused change of
    /// a name or length refuses those after it.
    ///
    /// `|| false` keeps only what was synced.
    pub fn power_loss(&self, mut keep: impl FnMut() -> bool) {
        self.life.fetch_add(1, Ordering::SeqCst);
        let mut platter = self.platter.lock();
        let changes = std::mem::take(&mut platter.unsynced_names);
        for change in &changes {
            if !keep() {
                break;
            }
            change.apply(&mut platter.durable_names);
        }
        platter.names = platter.durable_names.clone();
        platter.syncs_until_error = None;
        for file in platter.names.values() {
            file.lock().power_loss(&mut keep);
        }
    }

    /// Kills the process that uses the disk, with the power on: its handles are dead, but what it
    /// wrote is still seen by the next one, and still not durable.
    pub fn crash(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
        self.platter.lock().syncs_until_error = None;
    }

    /// Lets the `after`-th sync of a file or directory from now on fail (0 = the next one), once.
    ///
    /// As on Linux, what a file's failed sync should have made durable is still seen, but no later
    /// sync makes it durable.
    pub fn fail_sync(&self, after: u64) {
        self.platter.lock().syncs_until_error = Some(after);
    }

    /// How many syncs of files and directories were asked for so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.platter.lock().syncs
    }

    /// Inverts the bits of `mask` in one byte of a file, on the platter: bit rot.
    ///
    /// # Panics
    ///
    /// If the file does not exist or is shorter.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) {
        let platter = self.platter.lock();
        let mut file = platter.names.get(path).expect("the file to damage exists").lock();
        file.current[offset] ^= mask;
        if let Some(byte) = file.durable.get_mut(offset) {
            *byte ^= mask;
        }
    }

    /// A file's bytes as programs see them; `None` if there is no such file.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        self.platter.lock().names.get(path).map(|file| file.lock().current.clone())
    }

    fn file(&self, file: &FileRef) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile {
            file: Arc::clone(file),
            platter: Arc::clone(&self.platter),
            life: Arc::clone(&self.life),
            opened_in_life: self.life.load(Ordering::SeqCst),
        })
    }
}

impl Content {
    fn power_loss(&mut self, keep: &mut impl FnMut() -> bool) {
        let durable = &mut self.durable;
        survivors(std::mem::take(&mut self.unsynced), keep, |reached| match reached {
            Reached::Bytes(offset, bytes) => write(durable, offset, bytes),
            Reached::Len(len) => durable.resize(len, 0),
        });
        self.current.clone_from(&self.durable);
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {}", path.display()))
}

impl Disk for MemoryDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.platter.lock().dirs.insert(dir.to_path_buf());
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut platter = self.platter.lock();
        match (platter.names.get(path), mode) {
            (Some(_), OpenMode::New) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), OpenMode::Existing | OpenMode::ExistingOrNew) => Ok(self.file(file)),
            (None, OpenMode::Existing) => Err(not_found(path)),
            (None, OpenMode::New | OpenMode::ExistingOrNew) => {
                if !path.parent().is_some_and(|dir| platter.dirs.contains(dir)) {
                    return Err(not_found(path));
                }
                let file = FileRef::default();
                let change = NameChange::Create(path.to_path_buf(), Arc::clone(&file));
                change.apply(&mut platter.names);
                platter.unsynced_names.push(change);
                Ok(self.file(&file))
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock();
        if !platter.names.contains_key(from) {
            return Err(not_found(from));
        }
        let change = NameChange::Rename(from.to_path_buf(), to.to_path_buf());
        change.apply(&mut platter.names);
        platter.unsynced_names.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock();
        if !platter.names.contains_key(path) {
            return Err(not_found(path));
        }
        let change = NameChange::Remove(path.to_path_buf());
        change.apply(&mut platter.names);
        platter.unsynced_names.push(change);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let platter = self.platter.lock();
        let in_dir = platter.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(in_dir.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.count_sync()?;
        let (here, elsewhere) = std::mem::take(&mut platter.unsynced_names)
            .into_iter()
            .partition(|change: &NameChange| change.is_in(dir));
        platter.unsynced_names = elsewhere;
        let here: Vec<NameChange> = here;
        for change in &here {
            change.apply(&mut platter.durable_names);
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.platter.lock().names.contains_key(path))
    }
}

#[derive(Debug)]
struct MemoryFile {
    file: FileRef,
    platter: Arc<Mutex<Platter>>,
    life: Arc<AtomicU64>,
    opened_in_life: u64,
}

impl MemoryFile {
    fn alive(&self) -> io::Result<()> {
        if self.life.load(Ordering::SeqCst) == self.opened_in_life {
            Ok(())
        } else {
            Err(io::Error::other("the power was cut after this file was opened"))
        }
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl DiskFile for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.alive()?;
        let file = self.file.lock();
        let offset = position(offset)?;
        let bytes = file.current.get(offset..offset + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.alive()?;
        let offset = position(offset)?;
        let mut file = self.file.lock();
        write(&mut file.current, offset, bytes);
        file.unsynced.push(ContentChange::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.alive()?;
        let failed = self.platter.lock().count_sync();
        if failed.is_err() {
            self.file.lock().unsynced.clear();
            return failed;
        }
        let mut file = self.file.lock();
        let Content { durable, current: _, unsynced } = &mut *file;
        for change in unsynced.drain(..) {
            match change {
                ContentChange::Write { offset, bytes } => write(durable, offset, &bytes),
                ContentChange::SetLen(len) => durable.resize(len, 0),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.alive()?;
        let len = position(len)?;
        let mut file = self.file.lock();
        file.current.resize(len, 0);
        file.unsynced.push(ContentChange::SetLen(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.alive()?;
        Ok(self.file.lock().current.len() as u64)
    }
}
