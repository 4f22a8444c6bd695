//! The switchable disk: another disk whose files can be made slow, stuck, full, failing or dead.
//!
//! A member started with a control socket has one under its log and its state; the lab turns the
//! switches. Untouched, it costs one atomic load a call.
//!
//! What a fault looks like is what a real disk does: an error of a sync leaves it unknown what is
//! durable; a full disk refuses to grow a file, and existing bytes can still be overwritten.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::disk::{Disk, DiskFile, OpenMode};

/// The switches. Clones turn the same ones.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults(Arc<Switches>);

#[derive(Debug, Default)]
struct Switches {
    /// Whether any switch below is on; what is asked first.
    any: AtomicBool,
    positions: Mutex<Positions>,
    /// Told when a stuck disk moves again.
    released: Condvar,
    /// Syncs asked for so far.
    syncs: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Positions {
    sync_delay: Duration,
    stuck: bool,
    /// Syncs until all fail; `None` never.
    syncs_until_error: Option<u64>,
    full: bool,
    locked: bool,
    /// Changes until the power is gone; `None` never.
    changes_until_cut: Option<u64>,
}

impl DiskFaults {
    /// All switches off.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every sync takes this much longer; zero turns it off.
    pub fn delay_syncs(&self, by: Duration) {
        self.turn(|positions| positions.sync_delay = by);
    }

    /// Syncs do not return until this is called with `false`.
    pub fn hold_syncs(&self, hold: bool) {
        self.turn(|positions| positions.stuck = hold);
    }

    /// After `good` more syncs every sync fails, as on a disk that has died. `None` turns it off.
    pub fn fail_syncs_after(&self, good: Option<u64>) {
        self.turn(|positions| positions.syncs_until_error = good);
    }

    /// Files can be created and can grow no more.
    pub fn fill(&self, full: bool) {
        self.turn(|positions| positions.full = full);
    }

    /// Nothing can be changed, as on a file system that was mounted read-only after an error.
    pub fn lock(&self, locked: bool) {
        self.turn(|positions| positions.locked = locked);
    }

    /// After `good` more changes (a write, a sync, a length, a name) the power is gone: none is
    /// made any more, and all fail. `None` turns it off. Reads still work.
    pub fn cut_power_after(&self, good: Option<u64>) {
        self.turn(|positions| positions.changes_until_cut = good);
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn power_is_cut(&self) -> bool {
        self.0.positions.lock().changes_until_cut == Some(0)
    }

    /// Turns all switches off; what is held goes on.
    pub fn heal(&self) {
        self.turn(|positions| *positions = Positions::default());
    }

    /// How many syncs were asked for so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::Relaxed)
    }

    fn turn(&self, change: impl FnOnce(&mut Positions)) {
        let mut positions = self.0.positions.lock();
        change(&mut positions);
        let Positions { sync_delay, stuck, syncs_until_error, full, locked, changes_until_cut } =
            &*positions;
        let any = !sync_delay.is_zero()
            || *stuck
            || syncs_until_error.is_some()
            || *full
            || *locked
            || changes_until_cut.is_some();
        self.0.any.store(any, Ordering::Release);
        self.0.released.notify_all();
    }

    fn any(&self) -> bool {
        self.0.any.load(Ordering::Acquire)
    }

    fn before_sync(&self) -> io::Result<()> {
        self.0.syncs.fetch_add(1, Ordering::Relaxed);
        if !self.any() {
            return Ok(());
        }
        self.before_change()?;
        let delay = {
            let mut positions = self.0.positions.lock();
            while positions.stuck {
                self.0.released.wait(&mut positions);
            }
            match &mut positions.syncs_until_error {
                Some(0) => return Err(io::Error::from_raw_os_error(EIO)),
                Some(left) => *left -= 1,
                None => {}
            }
            positions.sync_delay
        };
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        Ok(())
    }

    fn before_change(&self) -> io::Result<()> {
        if !self.any() {
            return Ok(());
        }
        let mut positions = self.0.positions.lock();
        if positions.locked {
            return Err(io::Error::from_raw_os_error(EROFS));
        }
        match &mut positions.changes_until_cut {
            Some(0) => Err(io::Error::other("the power is cut")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn before_growth(&self) -> io::Result<()> {
        if self.any() && self.0.positions.lock().full {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }
}

const EIO: i32 = rustix::io::Errno::IO.raw_os_error();
const EROFS: i32 = rustix::io::Errno::ROFS.raw_os_error();
const ENOSPC: i32 = rustix::io::Errno::NOSPC.raw_os_error();

/// A disk behind switches.
#[derive(Debug)]
pub struct FaultDisk {
    inner: Arc<dyn Disk>,
    faults: DiskFaults,
}

impl FaultDisk {
    /// `inner`, as `faults` lets it be.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>, faults: DiskFaults) -> Self {
        Self { inner, faults }
    }

    /// The same, ready to share.
    #[must_use]
    pub fn shared(inner: Arc<dyn Disk>, faults: DiskFaults) -> Arc<dyn Disk> {
        Arc::new(Self::new(inner, faults))
    }
}

impl Disk for FaultDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.before_change()?;
        self.faults.before_growth()?;
        self.inner.create_dir(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        match mode {
            OpenMode::Existing => {}
            OpenMode::New | OpenMode::ExistingOrNew => {
                self.faults.before_change()?;
                self.faults.before_growth()?;
            }
        }
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(FaultFile { inner, faults: self.faults.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.before_change()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.before_change()?;
        self.inner.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.before_sync()?;
        self.inner.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn DiskFile>,
    faults: DiskFaults,
}

impl DiskFile for FaultFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.faults.before_change()?;
        if self.faults.any() && offset + bytes.len() as u64 > self.inner.len()? {
            self.faults.before_growth()?;
        }
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.before_sync()?;
        self.inner.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.before_change()?;
        if self.faults.any() && len > self.inner.len()? {
            self.faults.before_growth()?;
        }
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn occupied(&self) -> io::Result<u64> {
        self.inner.occupied()
    }
}
