//! The store: the whole replicated state, and the one way to change it.

use std::sync::Arc;

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    AlarmResponse, CompactionResponse, DeleteRangeResponse, LeaseGrantResponse,
    LeaseRevokeResponse, PutResponse, ResponseHeader, TxnResponse,
};
use node_protocol::Revision;
use node_protocol::telemetry::Restored;

use super::alarm::Alarms;
use super::change::{Change, Table};
use super::command::{Command, CommandId, Op};
use super::compact::Compaction;
use super::error::{KvError, RowsError};
use super::history::{History, Revised};
use super::index::Index;
use super::lease::Leases;
use super::row::RowKey;
use super::rows::{MemoryRows, RowStore, Rows};
use super::session::{Admission, Sessions};

/// The revision of a store nobody has written to.
pub(super) const FIRST_REVISION: i64 = 1;
/// The compact revision of a store that was never compacted, as etcd reports it.
pub(super) const NEVER_COMPACTED: i64 = -1;
/// The name of our row in the table of single values.
pub(super) const META_KEY: &[u8] = b"kv/state";

/// Where the newest revision of the snapshot is that the cluster was restored from, and the
/// cluster's own at that time.
pub(super) const RESTORED_KEY: &[u8] = b"kv/restored";
/// That row's version; a reader refuses another one.
pub(super) const META_VERSION: u8 = 1;

/// What the state machine answers. Headers hold only a revision; the face fills in the rest.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To a put.
    Put(PutResponse),
    /// To a deletion.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// To a compaction: from now on older revisions are refused. The rows go in
    /// [`Store::compact_some`].
    Compact(CompactionResponse),
    /// To a lease grant.
    LeaseGrant(LeaseGrantResponse),
    /// To a lease revoke.
    LeaseRevoke(LeaseRevokeResponse),
    /// To a member that said who it is. The store itself does nothing: members belong to
    /// whoever owns the configuration.
    Published,
    /// To a change of members; the store itself does nothing, as above.
    ChangeMembers,
    /// To what was asked of the alarms.
    Alarm(AlarmResponse),
}

/// What happened to the leases, for the [`Lessor`](crate::lease::Lessor) to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// There is a new lease.
    Granted {
        /// Which.
        id: i64,
        /// How long a renewal lasts.
        ttl_seconds: i64,
    },
    /// A lease is gone, with its keys.
    Revoked {
        /// Which.
        id: i64,
    },
}

/// What applying an operation did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The answer, equal on every member.
    pub result: Result<Response, KvError>,
    /// The new revision and its events, if keys changed; for the watch hub to publish.
    pub revised: Option<Arc<Revised>>,
    /// What happened to the leases.
    pub lease: Option<LeaseChange>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Executed {
    /// It was applied now, or refused now by its own fault.
    Applied(Applied),
    /// It was applied before, or its origin has restarted since; nothing is done.
    Repeated,
}

/// The replicated state. Equal sequences of calls make equal stores, whoever makes them.
///
/// It changes only through `&mut self`. Whatever changes is also noted as a [`Change`], to be
/// taken by [`take_changes`](Self::take_changes) and made durable later; until
/// [`flushed`](Self::flushed) says so, it is read from RAM.
///
/// A [`RowsError`] out of any method means this member's disk failed: the store may then be half
/// changed, and the node must stop.
pub struct Store {
    pub(super) index: Index,
    pub(super) rows: RowStore,
    pub(super) leases: Leases,
    pub(super) alarms: Alarms,
    pub(super) sessions: Sessions,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) compaction: Option<Compaction>,
    /// What it all began with, if that was a snapshot.
    pub(super) restored: Option<Restored>,
    pub(super) history: History,
    pub(super) hash: u64,
    pub(super) meta_changed: bool,
    pub(super) changes: Vec<Change>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(Arc::new(MemoryRows::default()))
    }
}

/// A write in progress: all it does has one revision.
pub(super) struct Writing {
    /// The revision it has, if it changes anything.
    pub(super) revision: i64,
    pub(super) events: Vec<etcd_api::mvccpb::Event>,
}

impl Writing {
    /// The revision whoever reads within this write sees as the current one.
    pub(super) fn visible(&self) -> i64 {
        if self.events.is_empty() { self.revision - 1 } else { self.revision }
    }

    pub(super) fn next_row(&self) -> RowKey {
        let sub = i64::try_from(self.events.len()).expect("a vector's length fits");
        RowKey { main: self.revision, sub }
    }
}

pub(super) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

/// The row of the single values.
fn numbers(revision: i64, compacted: i64, hash: u64) -> Change {
    let mut row = vec![META_VERSION];
    row.extend(revision.to_le_bytes());
    row.extend(compacted.to_le_bytes());
    row.extend(hash.to_le_bytes());
    Change::set(Table::Meta, Bytes::from_static(META_KEY), row)
}

/// What makes rows that were written elsewhere a state: its newest revision, that of the snapshot
/// (which is less where revisions were bumped), the one up to which it is compacted if it ever was,
/// and the alarms that are on.
pub fn restored(
    revision: i64,
    snapshot: i64,
    compacted: Option<i64>,
    alarms: impl IntoIterator<Item = etcd_api::etcdserverpb::AlarmMember>,
) -> Vec<Change> {
    let revision = revision.max(FIRST_REVISION);
    let beginning = [snapshot.max(FIRST_REVISION), revision].map(i64::to_le_bytes).concat();
    let mut changes = vec![
        numbers(revision, compacted.unwrap_or(NEVER_COMPACTED), 0),
        Change::set(Table::Meta, Bytes::from_static(RESTORED_KEY), beginning),
    ];
    changes.extend(alarms.into_iter().filter_map(super::alarm::change));
    changes
}

impl Store {
    /// An empty store, at revision 1, in front of empty `rows`. For one that is not empty see
    /// [`Loader`](super::Loader).
    pub fn new(rows: Arc<dyn Rows>) -> Self {
        Self {
            index: Index::default(),
            rows: RowStore::new(rows, RowKey::MIN),
            leases: Leases::default(),
            alarms: Alarms::default(),
            sessions: Sessions::default(),
            revision: FIRST_REVISION,
            compacted: NEVER_COMPACTED,
            compaction: None,
            restored: None,
            history: History::default(),
            hash: 0,
            meta_changed: false,
            changes: Vec::new(),
        }
    }

    /// Whether a command is to be applied; if so, it counts as applied from here on. For commands
    /// that somebody else applies; [`execute`](Self::execute) asks by itself.
    pub fn admit(&mut self, id: CommandId, low: u64) -> Admission {
        self.sessions.admit(id, low)
    }

    /// Applies a command unless it was applied before.
    pub fn execute(&mut self, command: &Command) -> Result<Executed, RowsError> {
        match self.admit(command.id, command.low) {
            Admission::Admitted => Ok(Executed::Applied(self.apply(&command.op)?)),
            Admission::Repeated => Ok(Executed::Repeated),
        }
    }

    /// Applies an operation whoever asks, without looking for repetitions. The operation is
    /// expected to have passed [`check_op`](super::check_op).
    pub fn apply(&mut self, op: &Op) -> Result<Applied, RowsError> {
        if let Some(refused) = self.alarms.refusal(op) {
            return Ok(Applied { result: Err(refused), revised: None, lease: None });
        }
        let mut writing = Writing { revision: self.revision + 1, events: Vec::new() };
        let mut lease = None;
        let result = match op {
            Op::Put(request) => match self.check_put(request) {
                Ok(()) => Ok(Response::Put(self.put(&mut writing, request)?)),
                Err(refused) => Err(refused),
            },
            Op::DeleteRange(request) => {
                Ok(Response::DeleteRange(self.delete_range(&mut writing, request)?))
            }
            Op::Txn(request) => self.txn(&mut writing, request)?.map(Response::Txn),
            Op::Compact(request) => self
                .compact(request.revision)
                .map(|()| Response::Compact(CompactionResponse { header: header(self.revision) })),
            Op::LeaseGrant { id, ttl_seconds } => self.grant(*id, *ttl_seconds).map(|granted| {
                lease = Some(LeaseChange::Granted { id: *id, ttl_seconds: *ttl_seconds });
                Response::LeaseGrant(granted)
            }),
            Op::LeaseRevoke { id } => self.revoke(&mut writing, *id).map(|()| {
                lease = Some(LeaseChange::Revoked { id: *id });
                Response::LeaseRevoke(LeaseRevokeResponse { header: header(writing.visible()) })
            }),
            Op::Publish { .. } => Ok(Response::Published),
            Op::ChangeMembers(_) => Ok(Response::ChangeMembers),
            Op::Alarm(request) => Ok(Response::Alarm(self.alarm(request))),
        };
        Ok(Applied { result, revised: self.finish(writing), lease })
    }

    /// Ends a write: if it changed keys, the store now is at its revision.
    fn finish(&mut self, writing: Writing) -> Option<Arc<Revised>> {
        let Writing { revision, events } = writing;
        if events.is_empty() {
            return None;
        }
        self.revision = revision;
        let revised = Arc::new(Revised { revision: Revision(revision), events });
        self.history.push(Arc::clone(&revised));
        Some(revised)
    }

    /// Notes a change that every member makes, for the disk and in the hash.
    pub(super) fn record(&mut self, change: Change) {
        self.hash = super::hash::chain(self.hash, &change);
        self.meta_changed = true;
        self.changes.push(change);
    }

    /// Everything that changed since the last call, in order. To be made durable in one
    /// transaction together with the index of the last entry applied: the changes of a part of
    /// the entries without the rest are not a state.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.changes);
        self.sessions.take_changes(&mut changes);
        if std::mem::take(&mut self.meta_changed) {
            changes.push(numbers(self.revision, self.compacted, self.hash));
        }
        changes
    }

    /// Changes waiting to be taken.
    pub fn pending_changes(&self) -> usize {
        self.changes.len()
    }

    /// The name of the newest row; what is to be passed to [`flushed`](Self::flushed) once the
    /// changes taken up to now are durable.
    pub fn last_row(&self) -> RowKey {
        RowKey { main: self.revision, sub: i64::MAX }
    }

    /// Notes that every row up to and including `up_to` can be read from the disk.
    pub fn flushed(&mut self, up_to: RowKey) {
        self.rows.flushed(up_to, RowStore::recent_bytes());
    }

    /// What the cluster began with, if it was restored from a snapshot.
    pub fn restored(&self) -> Option<Restored> {
        self.restored
    }

    /// The current revision.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The revision last compacted at; -1 when there was none, as etcd reports it.
    pub fn compact_revision(&self) -> Revision {
        Revision(self.compacted)
    }

    /// A hash of everything that was ever done to the state, cheap to ask for. Members that
    /// applied the same entries have the same one; it survives restart and snapshot. It does not
    /// look at what the disk holds, that is [`hash_kv`](Self::hash_kv)'s part.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}
