//! A real disk whose power can be lost: for crash tests of real processes.
//!
//! ```text
//!   write ─► note what was durable there ─► the real file      sync ─► real sync, forget the notes
//!
//!   power loss: put back what was durable, then let a seeded subset of what was not synced
//!               reach the file after all; undo what was done to names and not synced
//! ```
//!
//! Files hold what programs wrote at any time, as the system's cache does, so a plain crash of the
//! process loses nothing: only a loss of power does, and it loses what [`super::memory`] would lose,
//! by the same rule. What is not synced when the process crashes is noted in a file, for a loss of
//! power in a later life must be able to take it still. A process killed from outside notes nothing:
//! all that it wrote counts as durable then.
//!
//! Names that were replaced or removed are kept as hard links until their directory is synced.
//!
//! Left out: what a sync that is under way when the power is lost has done by then (it has done
//! all), and directories, which are created once and durable at once.

use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZeroU64,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::{
    disk::{Disk, DiskFile, OpenMode, RealDisk},
    memory::{ContentChange, Reached, SECTOR_BYTES, survivors},
};

/// The file that says what was not synced when the process crashed.
const NOTES: &str = "notes";

/// A real disk with a power switch. Clones share it.
#[derive(Clone, Debug)]
pub struct PowerDisk(Arc<Platter>);

#[derive(Debug)]
struct Platter {
    /// Where the notes and the kept names lie; on the same file system as all files.
    place: PathBuf,
    /// Held for reading by everything that is done to the disk, and for ever once the power is off.
    power: RwLock<()>,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    /// Every file that was opened, by its name now.
    files: BTreeMap<PathBuf, Arc<PowerFile>>,
    /// What was done to names and is not synced, in order.
    unsynced: Vec<NameChange>,
    /// Counts kept names.
    kept: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum NameChange {
    Created(PathBuf),
    /// What `to` named before is kept.
    Renamed {
        from: PathBuf,
        to: PathBuf,
        kept: Option<PathBuf>,
    },
    Removed {
        path: PathBuf,
        kept: PathBuf,
    },
}

impl NameChange {
    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Created(path) | Self::Renamed { from: path, .. } | Self::Removed { path, .. }) =
            self;
        path.parent() == Some(dir)
    }

    fn kept(&self) -> Option<&Path> {
        match self {
            Self::Created(_) => None,
            Self::Renamed { kept, .. } => kept.as_deref(),
            Self::Removed { kept, .. } => Some(kept),
        }
    }
}

/// A file, shared by all who opened it.
#[derive(Debug)]
struct PowerFile {
    real: Arc<dyn DiskFile>,
    content: Mutex<Content>,
}

/// What is needed to make a file again what is durable of it.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    durable_len: u64,
    /// Durable bytes of the sectors that were changed, by sector; the last may be short.
    durable: BTreeMap<u64, Vec<u8>>,
    /// In order.
    unsynced: Vec<ContentChange>,
}

/// What a crashed process leaves to the next.
#[derive(Serialize, Deserialize)]
struct Notes {
    files: Vec<(PathBuf, Content)>,
    unsynced: Vec<NameChange>,
    kept: u64,
}

impl PowerDisk {
    /// The real disk. `place` is a directory of its own, made if it is missing, on the file system
    /// of everything that will be opened; what a crashed process noted there is not durable still.
    ///
    /// # Errors
    ///
    /// If `place` cannot be used or what is noted there cannot be read.
    pub fn open(place: &Path) -> io::Result<Self> {
        RealDisk.create_dir(place)?;
        let notes = place.join(NOTES);
        let mut names = Names::default();
        if notes.try_exists()? {
            let Notes { files, unsynced, kept } =
                postcard::from_bytes(&fs::read(&notes)?).map_err(io::Error::other)?;
            fs::remove_file(&notes)?;
            for (path, content) in files {
                let real = RealDisk.open(&path, OpenMode::Existing)?;
                let content = Mutex::new(content);
                names.files.insert(path, Arc::new(PowerFile { real, content }));
            }
            (names.unsynced, names.kept) = (unsynced, kept);
        } else {
            for name in RealDisk.list(place)? {
                fs::remove_file(place.join(name))?;
            }
        }
        let (power, names) = (RwLock::new(()), Mutex::new(names));
        Ok(Self(Arc::new(Platter { place: place.to_path_buf(), power, names })))
    }

    /// The same disk, ready to share.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The process is about to crash with the power on: nothing is done to the disk any more, and
    /// what is not synced is noted for the next process.
    ///
    /// # Errors
    ///
    /// If it cannot be noted.
    pub fn crash(&self) -> io::Result<()> {
        std::mem::forget(self.0.power.write());
        let mut names = self.0.names.lock();
        let mut files = Vec::new();
        for (path, file) in &names.files {
            let content = std::mem::replace(&mut *file.content.lock(), Content::of_len(0));
            if !content.unsynced.is_empty() {
                files.push((path.clone(), content));
            }
        }
        let notes =
            Notes { files, unsynced: std::mem::take(&mut names.unsynced), kept: names.kept };
        let bytes = postcard::to_stdvec(&notes).map_err(io::Error::other)?;
        fs::write(self.0.place.join(NOTES), bytes)
    }

    /// Loses the power: nothing is done to the disk any more, and of what is not synced a subset
    /// drawn from `seed` is on it. Some seeds keep nothing, some nearly all.
    ///
    /// # Errors
    ///
    /// If the files cannot be made what they are to be.
    pub fn power_loss(&self, seed: NonZeroU64) -> io::Result<()> {
        let mut draws = Draws(seed.get());
        let kept_of_eight = draws.next() % 9;
        self.lose(|| draws.next() % 8 < kept_of_eight)
    }

    fn lose(&self, mut keep: impl FnMut() -> bool) -> io::Result<()> {
        std::mem::forget(self.0.power.write());
        let mut names = self.0.names.lock();
        let changes = std::mem::take(&mut names.unsynced);
        let survived = changes.iter().take_while(|_| keep()).count();
        for change in changes[survived..].iter().rev() {
            names.undo(change)?;
        }
        for kept in changes[..survived].iter().filter_map(NameChange::kept) {
            names.files.remove(kept);
            fs::remove_file(kept)?;
        }
        for file in names.files.values() {
            file.power_loss(&mut keep)?;
        }
        Ok(())
    }
}

impl Names {
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.to_path_buf(), file);
        }
        Ok(())
    }

    /// Moves what `path` names to a name of its own in `place`.
    fn keep(&mut self, place: &Path, path: &Path) -> io::Result<PathBuf> {
        self.kept += 1;
        let kept = place.join(format!("kept-{}", self.kept));
        self.rename(path, &kept)?;
        Ok(kept)
    }

    fn undo(&mut self, change: &NameChange) -> io::Result<()> {
        match change {
            NameChange::Created(path) => {
                self.files.remove(path);
                fs::remove_file(path)
            }
            NameChange::Renamed { from, to, kept } => {
                self.rename(to, from)?;
                kept.as_ref().map_or(Ok(()), |kept| self.rename(kept, to))
            }
            NameChange::Removed { path, kept } => self.rename(kept, path),
        }
    }
}

impl Disk for PowerDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let _on = self.0.power.read();
        let mut names = self.0.names.lock();
        let is_new = !path.try_exists()?;
        let real = RealDisk.open(path, mode)?;
        if is_new {
            names.unsynced.push(NameChange::Created(path.to_path_buf()));
        }
        let file = match names.files.get(path) {
            Some(file) => Arc::clone(file),
            None => {
                let content = Mutex::new(Content::of_len(real.len()?));
                let file = Arc::new(PowerFile { real, content });
                names.files.insert(path.to_path_buf(), Arc::clone(&file));
                file
            }
        };
        Ok(Arc::new(Handle { platter: Arc::clone(&self.0), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _on = self.0.power.read();
        let mut names = self.0.names.lock();
        if !from.try_exists()? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let kept = if to.try_exists()? {
            // Not a moment without the name: linked first, replaced after.
            names.kept += 1;
            let kept = self.0.place.join(format!("kept-{}", names.kept));
            fs::hard_link(to, &kept)?;
            if let Some(file) = names.files.remove(to) {
                names.files.insert(kept.clone(), file);
            }
            Some(kept)
        } else {
            None
        };
        names.rename(from, to)?;
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        names.unsynced.push(NameChange::Renamed { from, to, kept });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let _on = self.0.power.read();
        let mut names = self.0.names.lock();
        let kept = names.keep(&self.0.place, path)?;
        names.unsynced.push(NameChange::Removed { path: path.to_path_buf(), kept });
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let _on = self.0.power.read();
        RealDisk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let _on = self.0.power.read();
        let mut names = self.0.names.lock();
        RealDisk.sync_dir(dir)?;
        let (here, elsewhere) = std::mem::take(&mut names.unsynced)
            .into_iter()
            .partition(|change: &NameChange| change.is_in(dir));
        names.unsynced = elsewhere;
        let here: Vec<NameChange> = here;
        for kept in here.iter().filter_map(NameChange::kept) {
            names.files.remove(kept);
            fs::remove_file(kept)?;
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let _on = self.0.power.read();
        RealDisk.exists(path)
    }
}

impl Content {
    fn of_len(durable_len: u64) -> Self {
        Self { durable_len, durable: BTreeMap::new(), unsynced: Vec::new() }
    }

    /// Notes the durable bytes of all sectors in `range` before they are changed.
    fn note(&mut self, real: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() || range.start >= self.durable_len {
            return Ok(());
        }
        let sectors =
            range.start / SECTOR_BYTES..range.end.min(self.durable_len).div_ceil(SECTOR_BYTES);
        let Some(first) = sectors.clone().find(|sector| !self.durable.contains_key(sector)) else {
            return Ok(());
        };
        // What lies beyond a cut that is not synced was noted when it was cut.
        let start = first * SECTOR_BYTES;
        let end = (sectors.end * SECTOR_BYTES).min(self.durable_len).min(real.len()?);
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        real.read_at(start, &mut bytes)?;
        let sector = usize::try_from(SECTOR_BYTES).expect("a sector is small");
        for (sector, bytes) in (first..).zip(bytes.chunks(sector)) {
            self.durable.entry(sector).or_insert_with(|| bytes.to_vec());
        }
        Ok(())
    }
}

impl PowerFile {
    fn power_loss(&self, keep: &mut impl FnMut() -> bool) -> io::Result<()> {
        let Self { real, content } = self;
        let mut content = content.lock();
        let Content { durable_len, durable, unsynced } =
            std::mem::replace(&mut *content, Content::of_len(0));
        if unsynced.is_empty() {
            return Ok(());
        }
        real.set_len(durable_len)?;
        for (sector, bytes) in &durable {
            real.write_at(sector * SECTOR_BYTES, bytes)?;
        }
        let mut result = Ok(());
        survivors(unsynced, keep, |reached| {
            let done = match reached {
                Reached::Bytes(offset, bytes) => real.write_at(offset as u64, bytes),
                Reached::Len(len) => real.set_len(len as u64),
            };
            if result.is_ok() {
                result = done;
            }
        });
        result
    }
}

/// An open file.
#[derive(Debug)]
struct Handle {
    platter: Arc<Platter>,
    file: Arc<PowerFile>,
}

impl DiskFile for Handle {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let _on = self.platter.power.read();
        self.file.real.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _on = self.platter.power.read();
        let PowerFile { real, content } = &*self.file;
        let mut content = content.lock();
        content.note(&**real, offset..offset + bytes.len() as u64)?;
        real.write_at(offset, bytes)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        content.unsynced.push(ContentChange::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let _on = self.platter.power.read();
        let PowerFile { real, content } = &*self.file;
        let mut content = content.lock();
        real.sync()?;
        *content = Content::of_len(real.len()?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _on = self.platter.power.read();
        let PowerFile { real, content } = &*self.file;
        let mut content = content.lock();
        let durable_len = content.durable_len;
        content.note(&**real, len..durable_len)?;
        real.set_len(len)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        content.unsynced.push(ContentChange::SetLen(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let _on = self.platter.power.read();
        self.file.real.len()
    }

    fn occupied(&self) -> io::Result<u64> {
        let _on = self.platter.power.read();
        self.file.real.occupied()
    }
}

/// A stream of numbers from a seed. Source: SplitMix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
