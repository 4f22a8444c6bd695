//! One member: its disk, and while it runs the shipped parts of a node around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use node::apply::{self, Apply, Item};
use node::clock::{Clock, MadeUpClock};
use node::cluster::{Member as ClusterMember, Membership, cluster_id, member_id};
use node::consensus::log::{SnapshotPoint, SnapshotSource};
use node::consensus::waiters::Waiters;
use node::consensus::{self, Driver, Log};
use node::flush::{self, Flush, FlushItem};
use node::handle::Glance;
use node::inbox::Input;
use node::kv::Store;
use node::lease::Lessor;
use node::metrics::Metrics;
use node::progress::Progress;
use node::recover::{self, Beginning, Opened, Options, RecoverError};
use node::replica::{Parts, Replica, SnapshotSender};
use node::storage::{
    DataDirectory, Disk, Identity, Mark, MemoryDisk, State, StateOptions, WalOptions,
};
use node::telemetry::{Speaker, Telemetry};
use node::training::Planted;
use node::transport::Packet;
use node::transport::links::Links;
use node::watch::WatchHub;
use node_protocol::{ClusterId, Index, MemberId, Status, Term};
use parking_lot::{Mutex, RwLock};
use raft::eraftpb::Message;

/// Length of a tick, as a node ships.
pub(crate) const TICK_MICROS: u64 = 10_000;

/// Inputs and items that fit between two steps; a lifetime never comes near.
const ROOM: usize = 1 << 16;

/// Where a member's data lies on its disk.
const DIRECTORY: &str = "/m";

/// What members sent, for the world to carry.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) packets: VecDeque<(MemberId, MemberId, Packet)>,
    pub(crate) snapshots: VecDeque<Message>,
    /// Who dials whom anew.
    pub(crate) dialled: VecDeque<(MemberId, MemberId)>,
}

struct WireEnd {
    from: MemberId,
    peers: BTreeSet<MemberId>,
    wire: Arc<Mutex<Wire>>,
}

impl Links for WireEnd {
    fn send(&mut self, packets: &mut Vec<(MemberId, Packet)>, _unreachable: &mut Vec<MemberId>) {
        let from = self.from;
        self.wire.lock().packets.extend(packets.drain(..).map(|(to, packet)| (from, to, packet)));
    }

    fn set_peers(&mut self, peers: &BTreeMap<MemberId, Vec<String>>) {
        let peers: BTreeSet<_> = peers.keys().copied().filter(|peer| *peer != self.from).collect();
        let dialled = peers.difference(&self.peers).map(|peer| (self.from, *peer));
        self.wire.lock().dialled.extend(dialled);
        self.peers = peers;
    }
}

impl SnapshotSender for WireEnd {
    fn send(&mut self, message: Message) {
        self.wire.lock().snapshots.push_back(message);
    }
}

struct Newest(Arc<State>);

impl SnapshotSource for Newest {
    fn newest(&self) -> Option<SnapshotPoint> {
        let node::storage::Applied { index, term, conf_state } = self.0.applied();
        Some(SnapshotPoint { index, term, conf_state })
    }
}

/// What all members of a lifetime share.
pub(crate) struct Common {
    pub(crate) clock: Arc<MadeUpClock>,
    pub(crate) wire: Arc<Mutex<Wire>>,
    pub(crate) membership: Membership,
    /// Nobody looks at them, so all members count in the same: making them takes long.
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) seed: u64,
    /// Entries applied before the log is compacted.
    pub(crate) snapshot_count: u64,
    /// Ticks of an election timeout.
    pub(crate) election_ticks: u32,
    /// Bytes of entries in one message.
    pub(crate) message_bytes: u64,
    pub(crate) planted: Planted,
}

impl Common {
    /// The members of a new cluster, named as the lab names them, and those that may join it.
    pub(crate) fn members(count: usize, joiners: usize, token: &str) -> Vec<ClusterMember> {
        (1..=count + joiners)
            .map(|n| {
                let peer_urls = vec![format!("http://m{n}.test:2380")];
                let joined_at = (n > count).then_some(n as u64);
                let id = member_id(&peer_urls, token, joined_at);
                let name = format!("m{n}");
                ClusterMember { id, name, peer_urls, client_urls: vec![], learner: false }
            })
            .collect()
    }

    fn options(&self) -> Options {
        Options {
            wal: WalOptions::deterministic(16 * 1024, self.seed),
            state: StateOptions { cache_bytes: 1 << 20 },
        }
    }

    pub(crate) fn cluster_id(&self) -> ClusterId {
        cluster_id(self.membership.members().map(|member| member.id))
    }

    /// Fills an empty disk, as a first start does.
    pub(crate) fn begin(
        &self,
        disk: &MemoryDisk,
        id: MemberId,
        beginning: &Beginning,
    ) -> Result<(), RecoverError> {
        let disk: Arc<dyn Disk> = disk.shared();
        let directory = DataDirectory::unlocked(&*disk, Path::new(DIRECTORY))?;
        let identity = Identity { cluster_id: self.cluster_id(), member_id: id };
        recover::begin(&disk, &directory, identity, beginning, self.options())
    }

    /// Opens what is on a member's disk.
    pub(crate) fn open(&self, disk: &MemoryDisk, wall_millis: u64) -> Result<Opened, RecoverError> {
        let disk: Arc<dyn Disk> = disk.shared();
        let directory = DataDirectory::unlocked(&*disk, Path::new(DIRECTORY))?;
        recover::open(&disk, &directory, wall_millis, self.options())
    }

    /// Starts a member from it.
    pub(crate) fn start(&self, opened: Opened) -> Running {
        let Opened { metadata, wal, log, state, recovered, fresh } = opened;
        let member = metadata.member_id;
        let clock: Arc<dyn Clock> = self.clock.clone();
        let applied = (recovered.applied, recovered.applied_term);
        let lessor = Arc::new(Mutex::new(Lessor::new(recovered.store.lease_terms())));
        let hub = WatchHub::new(recovered.store.revision());
        let store = Arc::new(RwLock::new(recovered.store));
        let membership = Arc::new(RwLock::new(recovered.membership));
        let metrics = self.metrics.clone();
        let progress = Arc::new(Progress::default());
        progress.set_flushed(applied.0);
        let glance = Arc::new(Glance::new(member, metadata.cluster_id));
        let waiters = Waiters::new(member, metadata.boot);
        let speaker = Speaker {
            member,
            name: "m".into(),
            cluster: metadata.cluster_id,
            etcd_version: "3.5.0".into(),
            restored: None,
        };
        let telemetry = Telemetry::new(speaker, Status::default_at(self.clock.now_micros()));
        let (inbox_in, inbox) = flume::bounded(ROOM);
        let (items_in, items) = flume::bounded(ROOM);
        let (flush_in, flush_items) = flume::bounded(ROOM);
        // Who joins has no log yet.
        let point = log.mark.unwrap_or(Mark { index: Index(0), term: Term(0) });
        let raft_log = Log::new(
            (point.index, point.term),
            log.entries,
            log.hard_state.unwrap_or_default(),
            recovered.conf_state,
            applied.0,
            Arc::new(Newest(state.clone())),
        );
        let settings = consensus::Settings {
            member,
            election_ticks: self.election_ticks,
            heartbeat_ticks: self.election_ticks / 10,
            pre_vote: true,
            check_quorum: !self.planted.has(node::training::Break::CheckQuorumOff),
            message_bytes: self.message_bytes,
            seed: self.seed ^ metadata.boot,
        };
        let driver = Driver::new(settings, raft_log, applied.0).expect("consensus starts");
        let wire = || WireEnd { from: member, peers: BTreeSet::new(), wire: self.wire.clone() };
        let replica = Replica::new(Parts {
            driver,
            wal,
            links: Box::new(wire()),
            snapshots: Box::new(wire()),
            waiters: waiters.clone(),
            apply: items_in,
            progress: progress.clone(),
            glance: glance.clone(),
            telemetry: telemetry.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            lessor: lessor.clone(),
            store: store.clone(),
            membership: membership.clone(),
            member,
            tick_micros: u32::try_from(TICK_MICROS).expect("a tick is short"),
            election_ticks: self.election_ticks,
            heartbeat_ticks: self.election_ticks / 10,
            snapshot_count: self.snapshot_count,
            catchup_entries: self.snapshot_count / 2,
            strict_reconfig_check: true,
            fresh,
            planted: self.planted,
        });
        let apply = Apply::new(
            apply::Parts {
                store: store.clone(),
                membership: membership.clone(),
                lessor: lessor.clone(),
                hub: hub.clone(),
                waiters: waiters.clone(),
                progress: progress.clone(),
                glance: glance.clone(),
                replica: inbox_in.clone(),
                flush: flush_in,
                clock,
                planted: self.planted,
            },
            applied,
        );
        let flush = Flush::new(flush::Parts {
            state: state.clone(),
            store: store.clone(),
            membership: membership.clone(),
            lessor,
            hub: hub.clone(),
            progress: progress.clone(),
            glance,
            metrics,
            replica: inbox_in.clone(),
            planted: self.planted,
        });
        let status = telemetry.status();
        Running {
            replica,
            inbox,
            inbox_in,
            apply,
            items,
            flush,
            flush_items,
            state,
            store,
            membership,
            hub,
            progress,
            waiters,
            status,
            telemetry,
            told: 0,
        }
    }
}

/// The parts of a member that runs.
pub(crate) struct Running {
    pub(crate) replica: Replica,
    pub(crate) inbox: flume::Receiver<Input>,
    pub(crate) inbox_in: flume::Sender<Input>,
    pub(crate) apply: Apply,
    pub(crate) items: flume::Receiver<Item>,
    pub(crate) flush: Flush,
    pub(crate) flush_items: flume::Receiver<FlushItem>,
    pub(crate) state: Arc<State>,
    pub(crate) store: Arc<RwLock<Store>>,
    pub(crate) membership: Arc<RwLock<Membership>>,
    pub(crate) hub: Arc<WatchHub>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) status: tokio::sync::watch::Receiver<Arc<Status>>,
    pub(crate) telemetry: Telemetry,
    /// The last trace event that stands in the journal.
    pub(crate) told: u64,
}

impl Running {
    /// Puts something into the replica's inbox.
    pub(crate) fn tell(&self, input: Input) {
        self.inbox_in.send(input).expect("the inbox has room, and its reader is here");
    }
}
