//! The harness: a member's storage stepped by hand, and the model it is compared with.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::etcdserverpb::request_op::Request;
use etcd_api::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp,
    TxnRequest, alarm_request::AlarmAction,
};
use node::cluster::{Member as ClusterMember, Membership, cluster_id, member_id};
use node::kv::{Change, Command, CommandId, Op, Store, Table};
use node::recover::{self, Beginning, Opened, Options};
use node::storage::{
    Applied, Batch, DataDirectory, Disk, FlushBatch, Identity, Mark, MemoryDisk, SnapshotReader,
    SnapshotWriter, State, StateError, StateOptions, Wal, WalOptions,
};
use node_protocol::{Index, MemberId, Term};
use raft::eraftpb::{Entry, HardState};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

pub(crate) type Failure = Box<dyn Error>;

/// Every stored row of every table.
pub(crate) type Rowset = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// The term of every entry: nobody else leads here.
const TERM: Term = Term(2);
/// The first member's synthetic entry; see `node::recover`.
pub(crate) const BEGINNING: u64 = 1;

pub(crate) fn folder() -> &'static Path {
    Path::new("/m")
}

fn options(cache_bytes: usize) -> Options {
    Options { wal: WalOptions::deterministic(16 * 1024, 5), state: StateOptions { cache_bytes } }
}

fn membership() -> Membership {
    let peer_urls = vec!["http://m1.test:2380".to_owned()];
    let id = member_id(&peer_urls, "durable", None);
    Membership::bootstrap([ClusterMember {
        id,
        name: "m1".into(),
        peer_urls,
        client_urls: vec![],
        learner: false,
    }])
}

fn identity() -> Identity {
    let members = membership();
    let member_id = members.members().next().expect("there is one").id;
    Identity { cluster_id: cluster_id([member_id]), member_id }
}

fn directory(disk: &Arc<dyn Disk>) -> Result<DataDirectory, Failure> {
    Ok(DataDirectory::unlocked(&**disk, folder())?)
}

/// All that a seed says a client would ask for.
pub(crate) fn random_op(random: &mut ChaCha8Rng, revision: i64) -> Op {
    let key =
        |random: &mut ChaCha8Rng| Bytes::from(format!("key-{:02}", random.random_range(0..16)));
    let put = |random: &mut ChaCha8Rng| PutRequest {
        key: key(random),
        value: Bytes::from(vec![random.random(); random.random_range(0..700)]),
        lease: if random.random_bool(0.1) { random.random_range(1..4) } else { 0 },
        ..PutRequest::default()
    };
    match random.random_range(0..22) {
        0..12 => Op::Put(put(random)),
        12 | 13 => Op::DeleteRange(DeleteRangeRequest {
            key: key(random),
            range_end: key(random),
            ..DeleteRangeRequest::default()
        }),
        14 | 15 => {
            let puts = (0..random.random_range(1..4))
                .map(|_| RequestOp { request: Some(Request::RequestPut(put(random))) })
                .collect();
            Op::Txn(TxnRequest { success: puts, ..TxnRequest::default() })
        }
        16 => {
            let revision = random.random_range(1..=revision.max(1));
            Op::Compact(CompactionRequest { revision, physical: false })
        }
        17 | 18 => Op::LeaseGrant { id: random.random_range(1..4), ttl_seconds: 60 },
        19 => Op::Alarm(AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: 7,
            alarm: AlarmType::Nospace.into(),
        }),
        20 => Op::Alarm(AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id: 7,
            alarm: AlarmType::Nospace.into(),
        }),
        _ => Op::LeaseRevoke { id: random.random_range(1..4) },
    }
}

/// The entry at `index`, which does `op`.
pub(crate) fn entry(index: u64, op: Op) -> Entry {
    let id = CommandId { origin: MemberId(7), boot: 1, seq: index };
    let data = Command { id, low: index.saturating_sub(8), op }.encode();
    Entry { index, term: TERM.0, data, ..Entry::default() }
}

fn apply(store: &mut Store, entry: &Entry) -> Result<(), Failure> {
    store.execute(&Command::decode(&entry.data)?)?;
    Ok(())
}

/// Ends what compactions began: how far one has come differs from member to member.
fn end_compaction(store: &mut Store) {
    while store.compact_some(1_000) {}
}

/// What the state must be: the same commands in RAM.
pub(crate) struct Model {
    store: Store,
    rows: Rowset,
    pub(crate) applied: u64,
    history: Vec<Entry>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut model = Self {
            store: Store::default(),
            rows: Rowset::new(),
            applied: BEGINNING,
            history: Vec::new(),
        };
        model.keep(membership().rows());
        model
    }

    fn keep(&mut self, changes: Vec<Change>) {
        for Change { table, key, value } in changes {
            match value {
                Some(value) => self.rows.insert((table, key.to_vec()), value.to_vec()),
                None => self.rows.remove(&(table, key.to_vec())),
            };
        }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        assert_eq!(entry.index, self.applied + 1, "the model takes entries in order");
        apply(&mut self.store, entry).expect("a store in RAM reads and writes");
        self.applied = entry.index;
        self.history.push(entry.clone());
    }

    /// The model as it was at an earlier entry.
    pub(crate) fn back_to(&self, applied: u64) -> Self {
        let mut model = Self::new();
        self.history.iter().filter(|entry| entry.index <= applied).for_each(|e| model.apply(e));
        model
    }

    pub(crate) fn rows(&mut self) -> &Rowset {
        end_compaction(&mut self.store);
        let changes = self.store.take_changes();
        self.keep(changes);
        &self.rows
    }

    pub(crate) fn revision(&self) -> i64 {
        self.store.revision().0
    }

    /// The same as a peer's state, to send a snapshot of.
    fn as_peer(&mut self, member: &Member) -> State {
        let changes: Vec<Change> = self
            .rows()
            .iter()
            .map(|((table, key), value)| Change::set(*table, key.clone(), value.clone()))
            .collect();
        let disk = MemoryDisk::new();
        disk.create_dir(folder()).expect("a disk in RAM");
        let applied = Applied {
            index: Index(self.applied),
            term: TERM,
            conf_state: member.state.applied().conf_state,
        };
        let cache = StateOptions { cache_bytes: 1 << 20 };
        State::create(&disk.shared(), folder(), identity(), &applied, &changes, cache)
            .expect("a disk in RAM")
    }
}

/// A member's storage, open.
pub(crate) struct Member {
    pub(crate) wal: Wal,
    pub(crate) state: Arc<State>,
    pub(crate) store: Store,
    pub(crate) applied: u64,
    pub(crate) flushed: u64,
    /// What the log said when it was opened.
    pub(crate) hard_state: Option<HardState>,
}

impl Member {
    /// Begins on a disk where nothing is, or not all.
    pub(crate) fn begin(disk: &Arc<dyn Disk>) -> Result<(), Failure> {
        let directory = directory(disk)?;
        let options = options(1 << 20);
        if !recover::is_used(disk, &directory, options)? {
            let beginning = Beginning::New { members: membership() };
            recover::begin(disk, &directory, identity(), &beginning, options)?;
        }
        Ok(())
    }

    /// Opens what is on the disk and applies what the log has beyond the state.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        boot: u64,
        cache_bytes: usize,
    ) -> Result<Self, Failure> {
        let opened = recover::open(disk, &directory(disk)?, boot, options(cache_bytes))?;
        let Opened { metadata: _, wal, log, state, recovered, fresh: _ } = opened;
        let flushed = recovered.applied.0;
        let hard_state = log.hard_state;
        let mut member =
            Self { wal, state, store: recovered.store, applied: flushed, flushed, hard_state };
        for entry in log.entries.iter().filter(|entry| entry.index > flushed) {
            member.apply(entry)?;
        }
        Ok(member)
    }

    pub(crate) fn log(&mut self, entries: &[Entry], vote: u64) -> Result<(), Failure> {
        let hard_state =
            HardState { term: TERM.0, vote, commit: self.applied, ..HardState::default() };
        Ok(self.wal.append(Batch { entries, hard_state: Some(&hard_state), mark: None })?)
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), Failure> {
        assert_eq!(entry.index, self.applied + 1, "entries come in order");
        apply(&mut self.store, entry)?;
        self.applied = entry.index;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let (changes, last_row) = (self.store.take_changes(), self.store.last_row());
        self.state.flush(FlushBatch {
            changes: &changes,
            applied: Index(self.applied),
            applied_term: if self.applied == BEGINNING { Term(1) } else { TERM },
            conf_state: None,
        })?;
        self.store.flushed(last_row);
        self.flushed = self.applied;
        Ok(())
    }

    /// Takes the model's state as a peer's snapshot; the log's mark follows.
    pub(crate) fn install(&mut self, model: &mut Model) -> Result<(), Failure> {
        let peer = model.as_peer(self);
        let mut reader = SnapshotReader::new(&peer);
        let mut writer = SnapshotWriter::new(&self.state);
        while let Some(chunk) = reader.next_chunk()? {
            writer.write(&chunk)?;
        }
        self.state.install(&writer.finish()?)?;
        let mark = Mark { index: Index(model.applied), term: TERM };
        self.wal.write_and_sync(Batch { mark: Some(mark), ..Batch::default() })?;
        self.store = recover::load(&self.state)?.store;
        (self.applied, self.flushed) = (model.applied, model.applied);
        Ok(())
    }

    /// All rows on the disk, after all that was applied has got there.
    pub(crate) fn rows(&mut self) -> Result<Rowset, Failure> {
        end_compaction(&mut self.store);
        self.flush()?;
        let mut rows = Rowset::new();
        self.state.load(|table, key, value| {
            rows.insert((table, key.to_vec()), value.to_vec());
            Ok::<(), StateError>(())
        })?;
        Ok(rows)
    }
}

/// Where a member's files are.
pub(crate) fn files(disk: &dyn Disk) -> Vec<PathBuf> {
    let folders = [folder().join("member"), folder().join("member/wal")];
    let list = |folder: &PathBuf| {
        let names = disk.list(folder).expect("a disk in RAM");
        names.into_iter().map(|name| folder.join(name)).collect::<Vec<_>>()
    };
    folders.iter().flat_map(list).collect()
}
