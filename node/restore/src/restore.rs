//! `snapshot restore`: a member of a new cluster, with the keys of a snapshot.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use node_bolt::format::PageSize;
use node_bolt::schema::{self, BUCKETS, MetaError, MetaRows, RevisionKey};
use node_bolt::{Image, Plan, ReadError, Reader, WriteError};
use node_identity::urls::Url;
use node_identity::{FirstMember, InitialCluster, InitialClusterError, cluster_id};
use node_protocol::{ClusterId, MemberId};

use crate::directory::wal::{self, Beginning};
use crate::directory::{self, FIRST_TERM, snap};
use crate::file::{self, Integrity, RowsError};

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The snapshot's file.
    pub snapshot: PathBuf,
    /// The data directory to be made; it may be there if it is empty.
    pub data_dir: PathBuf,
    /// Where the log goes, if not into the data directory.
    pub wal_dir: Option<PathBuf>,
    /// The member's name.
    pub name: String,
    /// The members of the new cluster, this one among them.
    pub initial_cluster: InitialCluster,
    /// Tells clusters with the same members apart.
    pub token: String,
    /// This member's peer URLs, as listed.
    pub advertised: Vec<Url>,
    /// Takes a file without a hash, or with a wrong one.
    pub skip_hash_check: bool,
    /// Makes revisions go on behind those the old cluster may have given out.
    pub bump: Option<Bump>,
}

/// The newest revision raised, and all before it marked as compacted: a client that has seen more
/// than the snapshot has is told to begin anew, instead of being shown other things under revisions
/// it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bump {
    /// By how much; more than the old cluster can have written since the snapshot.
    pub by: i64,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The member whose directory it is.
    pub member: MemberId,
    /// The new cluster.
    pub cluster: ClusterId,
    /// All its members.
    pub members: Vec<FirstMember>,
    /// The newest revision.
    pub revision: i64,
    /// Rows of the key space: all its keys in all revisions.
    pub rows: u64,
    /// Length of the new database, in bytes.
    pub image_bytes: u64,
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes of keys and values so far.
    pub done_bytes: u64,
    /// Bytes there will be; while the snapshot is read the first time, at most.
    pub total_bytes: u64,
}

/// The two times that the snapshot is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To see that it is sound, and how long the new database will be.
    Read,
    /// To write that.
    Write,
}

/// Why there is no new member. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The members are not as they must be.
    #[error(transparent)]
    InitialCluster(#[from] InitialClusterError),
    /// Somebody's data may be there.
    #[error("data-dir {0:?} not empty or could not be read")]
    DataDir(PathBuf),
    /// Somebody's log may be there.
    #[error("wal-dir {0:?} not empty or could not be read")]
    WalDir(PathBuf),
    /// A copied database has no hash.
    #[error("snapshot missing hash but --skip-hash-check=false")]
    HashMissing,
    /// The snapshot is not what was saved.
    #[error("expected sha256 {}, got {}", list(expected), list(found))]
    HashWrong {
        /// What stands behind the image.
        expected: [u8; 32],
        /// What the image has.
        found: [u8; 32],
    },
    /// The snapshot is no database, or a damaged one.
    #[error("{} cannot be restored: {source}", snapshot.display())]
    Snapshot {
        /// Which file.
        snapshot: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FillError,
    },
    /// Whoever was told of the progress wants no more of it.
    #[error("stopped")]
    Stopped,
    /// A file cannot be read or written.
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

/// Why the new database cannot be made of the snapshot.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// What is in the snapshot.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The numbers beside the key space.
    #[error("in bucket meta: {0}")]
    Meta(#[from] MetaError),
    /// The order or the length of pairs, or the output.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Revisions end somewhere.
    #[error("revision {revision} cannot be raised by {by}: there are none so large")]
    Bump {
        /// The newest.
        revision: i64,
        /// By how much.
        by: i64,
    },
    /// Nobody is at fault: see [`RestoreError::Stopped`].
    #[error("stopped")]
    Stopped,
}

impl From<ReadError> for FillError {
    fn from(error: ReadError) -> Self {
        RowsError::from(error).into()
    }
}

/// Bytes as Go prints them.
fn list(bytes: &[u8]) -> String {
    let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", numbers.join(" "))
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Io { operation, path: path.to_path_buf(), source }
}

impl Restore {
    /// Makes the data directory, and is durable on return. Tells `progress` every now and then,
    /// which may end it by a break.
    ///
    /// The snapshot is read three times: for its hash, to see that its rows are sound, and to write
    /// them. Memory is needed for its longest pair only.
    ///
    /// # Errors
    /// All of [`RestoreError`]; no file is left behind then.
    pub fn run(
        &self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Restored, RestoreError> {
        self.initial_cluster.check_local(&self.name, &self.advertised)?;
        let wal_dir = self.wal_dir.clone().unwrap_or_else(|| directory::wal_dir(&self.data_dir));
        if !is_empty(&self.data_dir) {
            return Err(RestoreError::DataDir(self.data_dir.clone()));
        }
        if !is_empty(&wal_dir) {
            return Err(RestoreError::WalDir(wal_dir));
        }
        let members = self.initial_cluster.members(&self.token);
        let cluster = cluster_id(members.iter().map(|member| member.id));
        let own = members.iter().find(|member| member.name == self.name);
        let member = own.expect("it was found in the list above").id;

        let refused = |source| match source {
            FillError::Stopped => RestoreError::Stopped,
            source => RestoreError::Snapshot { snapshot: self.snapshot.clone(), source },
        };
        let (opened, integrity) =
            file::open(&self.snapshot).map_err(io_error("open", &self.snapshot))?;
        match integrity {
            _ if self.skip_hash_check => {}
            Integrity::Verified => {}
            Integrity::Missing => return Err(RestoreError::HashMissing),
            Integrity::Wrong { expected, found } => {
                return Err(RestoreError::HashWrong { expected, found });
            }
        }
        let mut image = Reader::open(opened).map_err(|error| refused(error.into()))?;
        let mut filling = Filling {
            members: &members,
            bump: self.bump,
            stage: Stage::Read,
            done_bytes: 0,
            total_bytes: image.meta().pages * image.meta().page_size.bytes(),
            progress,
        };
        let mut seen = Seen::default();
        let plan = Plan::measure(PageSize::default(), |new| {
            seen = filling.fill(&mut image, new)?;
            Ok::<_, FillError>(())
        })
        .map_err(refused)?;
        filling.total_bytes = std::mem::take(&mut filling.done_bytes);
        filling.stage = Stage::Write;

        let mut made = Made::default();
        let database = directory::database(&self.data_dir);
        made.dir(&directory::snap_dir(&self.data_dir))?;
        made.dir(&wal_dir)?;
        let mut file = made.file(&database)?;
        plan.write(&mut file, |new| filling.fill(&mut image, new).map(drop)).map_err(refused)?;
        file.sync_all().map_err(io_error("sync", &database))?;
        let path = directory::snap_dir(&self.data_dir).join(snap::file_name(members.len() as u64));
        let write = |file: &mut File, path: &Path, bytes: &[u8]| {
            file.write_all(bytes).map_err(io_error("write", path))
        };
        let mut file = made.file(&path)?;
        write(&mut file, &path, &snap::encode(&members))?;
        file.sync_all().map_err(io_error("sync", &path))?;

        // Last, because a directory with a log counts as begun.
        let path = wal_dir.join(wal::FIRST_FILE);
        let mut log = Vec::new();
        let beginning = Beginning { member, cluster, members };
        beginning.write(&mut log).map_err(io_error("write", &path))?;
        let mut file = made.file(&path)?;
        write(&mut file, &path, &log)?;
        file.set_len(wal::FILE_BYTES).map_err(io_error("lengthen", &path))?;
        file.sync_all().map_err(io_error("sync", &path))?;
        made.keep()?;
        let Seen { revision, rows } = seen;
        let image_bytes = plan.image_bytes();
        Ok(Restored { member, cluster, members: beginning.members, revision, rows, image_bytes })
    }
}

/// A folder that is not there is as good as an empty one.
fn is_empty(dir: &Path) -> bool {
    match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// What one reading of the snapshot has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    revision: i64,
    rows: u64,
}

/// The new database, pair by pair.
struct Filling<'a> {
    members: &'a [FirstMember],
    bump: Option<Bump>,
    stage: Stage,
    done_bytes: u64,
    total_bytes: u64,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

/// Bytes between two reports of progress.
const REPORT_BYTES: u64 = 1 << 20;

impl Filling<'_> {
    fn count(&mut self, pair: &node_bolt::Pair) -> Result<(), FillError> {
        let before = self.done_bytes / REPORT_BYTES;
        self.done_bytes += (pair.key.len() + pair.value.len()) as u64;
        if self.done_bytes / REPORT_BYTES == before {
            return Ok(());
        }
        let Self { stage, done_bytes, total_bytes, .. } = *self;
        match (self.progress)(Progress { stage, done_bytes, total_bytes }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(FillError::Stopped),
        }
    }

    fn fill(&mut self, from: &mut file::Image, to: &mut Image<'_>) -> Result<Seen, FillError> {
        let mut seen = Seen::default();
        to.bucket(schema::KEY)?;
        file::rows(from, |revision, pair| {
            self.count(&pair)?;
            seen.revision = revision.main;
            seen.rows += 1;
            Ok::<_, FillError>(to.pair(&pair.key, &pair.value)?)
        })?;
        if let Some(Bump { by }) = self.bump {
            let revision = seen.revision;
            let error = || FillError::Bump { revision, by };
            seen.revision = revision.checked_add(by).ok_or_else(error)?;
            // A row of no key: etcd takes its revision for the newest, and compacts it away.
            let row = RevisionKey { main: seen.revision, sub: 0, tombstone: false };
            to.pair(&row.to_bytes(), &[])?;
        }
        let mut names = from.buckets()?;
        // Stock tools take each of these for granted.
        names.extend(BUCKETS.map(<[u8]>::to_vec));
        names.sort_unstable();
        names.dedup();
        for name in names {
            match &*name {
                schema::KEY => continue,
                schema::MEMBERS => self.fill_members(to)?,
                // Ids of the old cluster mean nothing in the new one.
                schema::MEMBERS_REMOVED => to.bucket(&name)?,
                schema::META => self.fill_meta(from, to, seen.revision)?,
                _ => {
                    to.bucket(&name)?;
                    file::pairs(from, &name, |pair| {
                        self.count(&pair)?;
                        Ok::<_, FillError>(to.pair(&pair.key, &pair.value)?)
                    })?;
                }
            }
        }
        Ok(seen)
    }

    fn fill_members(&self, to: &mut Image<'_>) -> Result<(), FillError> {
        to.bucket(schema::MEMBERS)?;
        let mut rows: Vec<_> = self
            .members
            .iter()
            .map(|member| {
                let row = schema::Member {
                    id: member.id.0,
                    peer_urls: member.peer_urls.clone(),
                    name: member.name.clone(),
                    ..schema::Member::default()
                };
                (schema::member_key(member.id.0), row.value())
            })
            .collect();
        rows.sort_unstable();
        Ok(rows.iter().try_for_each(|(key, value)| to.pair(key, value))?)
    }

    /// The numbers: up to the entries that the new log begins with; of the old ones only how far
    /// the key space is compacted.
    fn fill_meta(
        &self,
        from: &mut file::Image,
        to: &mut Image<'_>,
        revision: i64,
    ) -> Result<(), FillError> {
        let mut old = MetaRows::default();
        file::pairs(from, schema::META, |pair| {
            Ok::<_, FillError>(old.take(&pair.key, &pair.value)?)
        })?;
        let scheduled_compact = self.bump.map(|_| revision).or(old.scheduled_compact);
        let new = MetaRows {
            consistent_index: Some(self.members.len() as u64),
            term: Some(FIRST_TERM),
            scheduled_compact,
            finished_compact: old.finished_compact,
        };
        to.bucket(schema::META)?;
        Ok(new.rows().try_for_each(|(name, value)| to.pair(name, &value))?)
    }
}

/// What was made, to be removed again unless it is kept.
#[derive(Debug, Default)]
struct Made {
    /// Folders and files, each behind the folder it is in.
    paths: Vec<PathBuf>,
}

impl Made {
    /// Makes a folder and those above it, readable by their owner alone.
    fn dir(&mut self, dir: &Path) -> Result<(), RestoreError> {
        let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
        for dir in missing.into_iter().rev().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new().mode(0o700).create(dir).map_err(io_error("create", dir))?;
            self.paths.push(dir.to_path_buf());
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<File, RestoreError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(io_error("create", path))?;
        self.paths.push(path.to_path_buf());
        Ok(file)
    }

    /// Makes every name durable.
    fn keep(mut self) -> Result<(), RestoreError> {
        let mut folders: Vec<PathBuf> = self
            .paths
            .iter()
            .filter_map(|path| path.parent())
            .map(|dir| if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.into() })
            .collect();
        folders.sort_unstable();
        folders.dedup();
        for dir in folders {
            File::open(&dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", &dir))?;
        }
        self.paths.clear();
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            // What cannot be removed is not taken for a member: the log comes last.
            fs::remove_file(path).or_else(|_| fs::remove_dir(path)).ok();
        }
    }
}
