//! The disk as storage sees it: two small traits, the real one, and redb's view of either.
//!
//! ```text
//!   wal ──────────────► Disk / DiskFile ◄────────── StoreFile ◄── redb (state)
//!                          ▲   ▲   ▲
//!                 RealDisk ┘   │   └ MemoryDisk (simulation: power loss, torn sectors)
//!                          FaultDisk (the lab: slow, stuck, full, failing)
//! ```
//!
//! The traits hold only what the log and redb need, in the sense POSIX gives the words: bytes of a
//! file are durable after [`DiskFile::sync`]; names in a directory (created, renamed, removed) are
//! durable after [`Disk::sync_dir`]; nothing else is promised. A file stays readable through its
//! open handles after its name was removed or replaced.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use redb::StorageBackend;

use crate::failpoint::{Failpoint, hit};

/// A place that holds directories and files.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Creates `dir` and its missing parents, readable by the owner alone. No error if it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Opens the file at `path` for reading and writing.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file, replacing what `to` named. Both are in the same directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in `dir`, sorted; subdirectories are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether `path` names a file.
    fn exists(&self, path: &Path) -> io::Result<bool>;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// It must not exist; it is created empty.
    New,
    /// It is created empty if it does not exist.
    ExistingOrNew,
}

/// An open file. Offsets and lengths are in bytes.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Fills `buffer` from `offset`; an error of kind `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file if needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the content and the length durable (`fdatasync`).
    ///
    /// After an error the state of every write since the last success is unknown, and a later
    /// success proves nothing about them: the caller must stop using the file, never retry.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length.
    fn len(&self) -> io::Result<u64>;

    /// How much of the disk the file takes. Less than its length while parts of it were never
    /// written: redb doubles a file that is full.
    fn occupied(&self) -> io::Result<u64> {
        self.len()
    }

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Size of the writes [`zero_fill`] makes: large enough that the count of calls does not matter.
const ZERO_FILL_BYTES: usize = 1 << 20;

/// Writes zeros over the first `len` bytes of `file` and syncs it.
///
/// Really writing matters: a hole or a preallocated extent makes every later `fdatasync` commit a
/// file-system transaction as well, which costs about half the throughput of a log.
pub fn zero_fill(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_FILL_BYTES.min(usize::try_from(len).unwrap_or(ZERO_FILL_BYTES))];
    let mut offset = 0;
    while offset < len {
        let rest = usize::try_from(len - offset).unwrap_or(ZERO_FILL_BYTES);
        let piece = &zeros[..zeros.len().min(rest)];
        file.write_at(offset, piece)?;
        offset += piece.len() as u64;
    }
    file.sync()
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// The real disk, ready to share.
    #[must_use]
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        match mode {
            OpenMode::Existing => {}
            OpenMode::New => {
                options.create_new(true);
            }
            OpenMode::ExistingOrNew => {
                options.create(true).truncate(false);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A name that is not Unicode is none of ours.
            if let (false, Ok(name)) =
                (entry.file_type()?.is_dir(), entry.file_name().into_string())
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }
}

/// What a file's blocks are counted in, whatever the file system's own are (POSIX `st_blocks`).
const BLOCK_BYTES: u64 = 512;

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn occupied(&self) -> io::Result<u64> {
        let metadata = self.0.metadata()?;
        Ok(metadata.len().min(metadata.blocks() * BLOCK_BYTES))
    }
}

/// A file of a [`Disk`] as redb wants it.
///
/// It brings no locks of its own: the data directory's lock file keeps other processes out.
#[derive(Debug)]
pub struct StoreFile(Arc<dyn DiskFile>);

impl StoreFile {
    /// Lends `file` to redb.
    #[must_use]
    pub fn new(file: Arc<dyn DiskFile>) -> Self {
        Self(file)
    }
}

impl StorageBackend for StoreFile {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        hit(Failpoint::PagesBeforeSync);
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        hit(Failpoint::PageBeforeWrite);
        self.0.write_at(offset, data)
    }
}
