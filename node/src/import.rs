//! What `snapshot restore` has made, taken over at a member's first start.
//!
//! ```text
//!   member/wal/0…0-0…0.wal ──renamed──► member/wal.etcd/…      whose it is, and its peers
//!   member/snap/db ──rows, leases, alarms, users──► member/state.redb, behind a log of our own
//!                                       member/wal.etcd, member/snap/*.snap: removed
//! ```
//!
//! The directory is etcd's own, made by `etcdctl`, `etcdutl` or `raft-ctl`. It is read once: after
//! that the member has a state, and nobody looks for etcd's files again. Ended at any step, the
//! next start does it anew. The database stays where it is, as a copy of the keys.
//!
//! etcd's users and roles are carried through untouched, see [`carried`](crate::carried).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use etcd_api::etcdserverpb::AlarmMember;
use etcd_api::mvccpb::KeyValue;
use node_bolt::Pair;
use node_bolt::schema::{self, Lease, LeaseError, RevisionKey};
use node_protocol::{Index, Term};
use node_restore::directory;
use node_restore::{Begun, BegunError};
use prost::Message as _;
use raft::eraftpb::ConfState;

use crate::carried::{CARRIED_BUCKETS, carried_key};
use crate::cluster::{Member, Membership};
use crate::kv::{self, Change, RowKey, RowKind, Table};
use crate::recover::{self, Options, RecoverError};
use crate::storage::{Applied, DataDirectory, Disk, Identity, Put, State, StateError};

/// Where etcd's log waits until the state is complete.
const ASIDE: &str = "wal.etcd";

/// Rows put at once.
const BATCH: usize = 1_000;

/// Why a directory cannot be taken over. Nothing of it has changed then but for names.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// etcd's files cannot be used.
    #[error(transparent)]
    Begun(#[from] BegunError),
    /// Our own cannot be made.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// There is a database and nothing that says whose it is.
    #[error(
        "{} is etcd's database, and there is neither a log nor a state beside it: was it restored \
         with --wal-dir? Restore it without, or copy it elsewhere and restore it into a new \
         directory with `raft-ctl snapshot restore --skip-hash-check`",
        path.display()
    )]
    NoLog {
        /// The database.
        path: PathBuf,
    },
    /// A pair of the key space is none.
    #[error("in {}: row {}_{} is damaged: {reason}", path.display(), revision.main, revision.sub)]
    Row {
        /// The database.
        path: PathBuf,
        /// Which row.
        revision: RevisionKey,
        /// What is wrong.
        reason: String,
    },
    /// A lease is none.
    #[error("in {}: {source}", path.display())]
    Lease {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: LeaseError,
    },
    /// The system refused.
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

impl From<StateError> for ImportError {
    fn from(error: StateError) -> Self {
        Self::Recover(error.into())
    }
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImportError {
    move |source| ImportError::Io { operation, path: path.to_path_buf(), source }
}

/// Makes a state of etcd's files, if there are some and no state yet.
///
/// # Errors
///
/// Files that are damaged, or of an etcd that has run.
pub fn take_over(
    disk: &Arc<dyn Disk>,
    data_dir: &Path,
    directory: &DataDirectory,
    options: Options,
) -> Result<(), ImportError> {
    let aside = directory.member_dir().join(ASIDE);
    let database = directory::database(data_dir);
    if State::exists(&**disk, directory.member_dir())? {
        return remove_rest(data_dir, &aside);
    }
    let waits = aside.is_dir();
    let wal_dir = if waits { &aside } else { directory.wal_dir() };
    let Some(mut begun) = Begun::read(data_dir, wal_dir)? else {
        if database.exists() && !recover::has_log(disk, directory)? {
            return Err(ImportError::NoLog { path: database });
        }
        return Ok(());
    };
    if !waits {
        let moved = fs::rename(directory.wal_dir(), &aside);
        moved.map_err(io_error("move", directory.wal_dir()))?;
        sync_dir(directory.member_dir())?;
        fs::create_dir(directory.wal_dir()).map_err(io_error("create", directory.wal_dir()))?;
        sync_dir(directory.member_dir())?;
    }
    // A log of our own that a first start left behind goes.
    recover::is_used(disk, directory, options)?;

    let identity =
        Identity { cluster_id: begun.beginning.cluster, member_id: begun.beginning.member };
    tracing::info!(member = %identity.member_id, cluster = %identity.cluster_id,
        database = %database.display(), "takes over what a snapshot was restored to");
    let members = Membership::bootstrap(begun.beginning.members.iter().cloned().map(Member::from));
    let mut conf_state = ConfState::default();
    conf_state.set_voters(members.voters().iter().map(|id| id.0).collect());
    let index = Index(begun.beginning.members.len() as u64);
    let applied = Applied { index, term: Term(1), conf_state };
    let mut taken = Taken::default();
    recover::begin_from(disk, directory, identity, &applied, options, |put| {
        put(&members.rows())?;
        taken = fill(&mut begun, &database, put)?;
        Ok::<_, ImportError>(())
    })?;
    let Taken { rows, leases, revision, snapshot, compacted } = taken;
    tracing::info!(rows, leases, revision, snapshot, compacted, "took over the restored keys");
    remove_rest(data_dir, &aside)
}

/// What was taken over.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    rows: u64,
    leases: u64,
    revision: i64,
    /// The newest revision of the snapshot, less than `revision` where that was bumped.
    snapshot: i64,
    compacted: Option<i64>,
}

fn fill(begun: &mut Begun, path: &Path, put: Put<'_>) -> Result<Taken, ImportError> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut taken = Taken::default();
    begun.rows(|revision, Pair { key: _, value }| {
        taken.revision = revision.main;
        // A row of no key only bumps the revision.
        if value.is_empty() {
            return Ok(());
        }
        taken.snapshot = revision.main;
        taken.rows += 1;
        batch.push(row(revision, value, path)?);
        if batch.len() == BATCH {
            put(&batch)?;
            batch.clear();
        }
        Ok::<_, ImportError>(())
    })?;
    begun.pairs(schema::LEASE, |Pair { key, value }| {
        let lease = Lease::from_row(&key, &value)
            .map_err(|source| ImportError::Lease { path: path.to_path_buf(), source })?;
        // Whoever leads first gives every lease its whole time again.
        let lease = Lease { remaining_ttl_seconds: 0, ..lease };
        taken.leases += 1;
        batch.push(Change::set(Table::Leases, key, lease.value()));
        Ok::<_, ImportError>(())
    })?;
    for bucket in CARRIED_BUCKETS {
        begun.pairs(bucket, |Pair { key, value }| {
            batch.push(Change::set(Table::Meta, carried_key(bucket, &key), value));
            Ok::<_, ImportError>(())
        })?;
    }
    let mut alarms = Vec::new();
    begun.pairs(schema::ALARM, |Pair { key, value: _ }| {
        alarms.extend(AlarmMember::decode(&*key));
        Ok::<_, ImportError>(())
    })?;
    // A compaction that was asked for holds, whether or not it was finished.
    taken.compacted = begun.meta.scheduled_compact.max(begun.meta.finished_compact);
    batch.extend(kv::restored(taken.revision, taken.snapshot, taken.compacted, alarms));
    put(&batch)?;
    Ok(taken)
}

fn row(revision: RevisionKey, value: Vec<u8>, path: &Path) -> Result<Change, ImportError> {
    let damaged = |reason: String| ImportError::Row { path: path.to_path_buf(), revision, reason };
    let mut stored = BytesMut::with_capacity(1 + value.len());
    let kind = if revision.tombstone { RowKind::Tombstone } else { RowKind::Put };
    stored.put_u8(kind.number());
    stored.put_slice(&value);
    let pair = KeyValue::decode(Bytes::from(value)).map_err(|error| damaged(error.to_string()))?;
    if pair.key.is_empty() {
        return Err(damaged("it has no key".to_owned()));
    }
    let key = RowKey { main: revision.main, sub: revision.sub };
    Ok(Change::set(Table::Rows, Bytes::copy_from_slice(&key.encode()), stored.freeze()))
}

/// Removes etcd's log and its lists of members.
fn remove_rest(data_dir: &Path, aside: &Path) -> Result<(), ImportError> {
    if !aside.is_dir() {
        return Ok(());
    }
    let snap_dir = directory::snap_dir(data_dir);
    for entry in fs::read_dir(&snap_dir).map_err(io_error("list", &snap_dir))? {
        let path = entry.map_err(io_error("list", &snap_dir))?.path();
        if path.extension().is_some_and(|extension| extension == "snap") {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    fs::remove_dir_all(aside).map_err(io_error("remove", aside))?;
    sync_dir(aside.parent().unwrap_or(data_dir))
}

fn sync_dir(dir: &Path) -> Result<(), ImportError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))
}
