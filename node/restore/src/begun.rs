//! A data directory that `snapshot restore` has made, read at a member's first start.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use node_bolt::schema::{MetaError, MetaRows, RevisionKey};
use node_bolt::{Pair, ReadError, Reader, schema};

use crate::directory;
use crate::directory::wal::{self, Beginning, EXTENSION, LogError};
use crate::file::{self, Image, RowsError};

/// A directory of a member that has not run yet.
#[derive(Debug)]
pub struct Begun {
    /// Whose it is, and the members of its cluster.
    pub beginning: Beginning,
    /// How far the key space is compacted.
    pub meta: MetaRows,
    database: PathBuf,
    image: Image,
}

/// Why a directory with etcd's files cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum BegunError {
    /// The log is not that of a new cluster.
    #[error("the log {} is not as `snapshot restore` leaves it: {source}", path.display())]
    Log {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: LogError,
    },
    /// There are more files than a new log has.
    #[error(
        "the log in {} has {count} files: this etcd has run. Save a snapshot of it with \
         `etcdctl snapshot save` and restore that",
        dir.display()
    )]
    Used {
        /// The folder of the log.
        dir: PathBuf,
        /// How many.
        count: usize,
    },
    /// The database is not that of the log beside it.
    #[error(
        "{} is at entry {found} and the log beside it ends with entry {expected}: they are not of \
         one restore",
        path.display()
    )]
    Mixed {
        /// The database.
        path: PathBuf,
        /// Where it is.
        found: u64,
        /// Where the log ends.
        expected: u64,
    },
    /// The database is damaged.
    #[error("{}: {source}", path.display())]
    Rows {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: RowsError,
    },
    /// A number in it is none.
    #[error("{}: {source}", path.display())]
    Meta {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: MetaError,
    },
    /// A file cannot be read.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BegunError {
    move |source| BegunError::Io { operation, path: path.to_path_buf(), source }
}

impl Begun {
    /// Reads what is in a data directory whose log lies in `wal_dir`; none if there is no log of
    /// etcd's.
    ///
    /// # Errors
    /// A directory of an etcd that has run, and files that are damaged or do not belong together.
    pub fn read(data_dir: &Path, wal_dir: &Path) -> Result<Option<Self>, BegunError> {
        let mut logs = Vec::new();
        for path in files(wal_dir, EXTENSION)? {
            if wal::is_etcds(&path).map_err(io_error("read", &path))? {
                logs.push(path);
            }
        }
        let [log] = &*logs else {
            return match logs.len() {
                0 => Ok(None),
                count => Err(BegunError::Used { dir: wal_dir.to_path_buf(), count }),
            };
        };
        let mut opened = BufReader::new(File::open(log).map_err(io_error("open", log))?);
        let beginning = Beginning::read(&mut opened)
            .map_err(|source| BegunError::Log { path: log.clone(), source })?;

        let database = directory::database(data_dir);
        let path = || database.clone();
        let opened = File::open(&database).map_err(io_error("open", &database))?;
        let damaged = |source: RowsError| BegunError::Rows { path: path(), source };
        let mut image = Reader::open(BufReader::new(opened)).map_err(|e| damaged(e.into()))?;
        let mut meta = MetaRows::default();
        enum Fault {
            Rows(RowsError),
            Meta(MetaError),
        }
        impl From<ReadError> for Fault {
            fn from(error: ReadError) -> Self {
                Self::Rows(error.into())
            }
        }
        file::pairs(&mut image, schema::META, |pair| {
            meta.take(&pair.key, &pair.value).map_err(Fault::Meta)
        })
        .map_err(|fault| match fault {
            Fault::Rows(source) => damaged(source),
            Fault::Meta(source) => BegunError::Meta { path: path(), source },
        })?;
        let (found, expected) =
            (meta.consistent_index.unwrap_or_default(), beginning.members.len() as u64);
        if found != expected {
            return Err(BegunError::Mixed { path: path(), found, expected });
        }
        Ok(Some(Self { beginning, meta, database, image }))
    }

    /// Shows every row of the key space to `visit`, in the order of revisions.
    ///
    /// A row without a value has no key: it is there for its revision alone.
    ///
    /// # Errors
    /// The first of `visit`, and damage.
    pub fn rows<E: From<BegunError>>(
        &mut self,
        mut visit: impl FnMut(RevisionKey, Pair) -> Result<(), E>,
    ) -> Result<(), E> {
        enum Fault<E> {
            Rows(RowsError),
            Visit(E),
        }
        impl<E> From<RowsError> for Fault<E> {
            fn from(error: RowsError) -> Self {
                Self::Rows(error)
            }
        }
        let Self { image, database, .. } = self;
        file::rows(image, |revision, pair| visit(revision, pair).map_err(Fault::Visit)).map_err(
            |fault| match fault {
                Fault::Rows(source) => BegunError::Rows { path: database.clone(), source }.into(),
                Fault::Visit(error) => error,
            },
        )
    }

    /// Shows every pair of another bucket to `visit`, in the order of keys; nothing if there is no
    /// such bucket.
    ///
    /// # Errors
    /// The first of `visit`, and damage.
    pub fn pairs<E: From<BegunError>>(
        &mut self,
        bucket: &[u8],
        mut visit: impl FnMut(Pair) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { image, database, .. } = self;
        let damaged = |error: ReadError| {
            E::from(BegunError::Rows { path: database.clone(), source: error.into() })
        };
        let Some(pairs) = image.bucket(bucket).map_err(damaged)? else { return Ok(()) };
        pairs.into_iter().try_for_each(|pair| visit(pair.map_err(damaged)?))
    }
}

/// The files of a folder whose names end so, ascending; none if there is no folder.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, BegunError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("list", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_error("list", dir))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}
