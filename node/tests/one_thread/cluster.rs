//! The harness: members, a queue of messages under way, and a clock that is moved by hand.

mod faults;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::etcdserverpb::{PutRequest, RangeRequest};
use node::apply::{self, Apply, Item};
use node::clock::{Clock, MadeUpClock};
use node::cluster::{
    ChangeError, Member as ClusterMember, MemberChange, Membership, cluster_id, member_id,
};
use node::consensus::log::{SnapshotPoint, SnapshotSource};
use node::consensus::waiters::{Answer, Outcome, Ticket, Waiters};
use node::consensus::{Driver, Log, Settings};
use node::flush::{self, Flush, FlushItem};
use node::handle::{Glance, LeaseAnswer, LeaseAsk, Refusal};
use node::inbox::Input;
use node::kv::{Op, Response, Store};
use node::lease::Lessor;
use node::metrics::Metrics;
use node::progress::Progress;
use node::recover::{self, Beginning, Opened, Options};
use node::replica::{Parts, Replica, SnapshotSender};
use node::storage::{
    DataDirectory, Disk, Identity, MemoryDisk, SnapshotReader, SnapshotWriter, State, StateOptions,
    WalOptions,
};
use node::telemetry::{Speaker, Telemetry};
use node::training::Planted;
use node::transport::links::{LinkNews, Links};
use node::transport::{Packet, codec};
use node::watch::WatchHub;
use node_protocol::{Index, MemberId, Role, Status, TraceEvent};
use parking_lot::{Mutex, RwLock};
use raft::eraftpb::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::oneshot;

const TICK_MICROS: u64 = 10_000;
/// Steps of the world between two ticks.
const STEPS_PER_TICK: u64 = 10;
/// Longest wait for anything, in made-up milliseconds.
const PATIENCE_MILLIS: u64 = 30_000;

/// What the members' links and snapshot senders put here, the world carries on.
#[derive(Default)]
struct Wire {
    packets: VecDeque<(MemberId, MemberId, Packet)>,
    snapshots: VecDeque<Message>,
}

struct WireEnd {
    from: MemberId,
    wire: Arc<Mutex<Wire>>,
}

impl Links for WireEnd {
    fn send(&mut self, packets: &mut Vec<(MemberId, Packet)>, _unreachable: &mut Vec<MemberId>) {
        let from = self.from;
        self.wire.lock().packets.extend(packets.drain(..).map(|(to, packet)| (from, to, packet)));
    }

    fn set_peers(&mut self, _peers: &BTreeMap<MemberId, Vec<String>>) {}
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

/// A member that runs.
struct Running {
    replica: Replica,
    inbox: flume::Receiver<Input>,
    inbox_in: flume::Sender<Input>,
    apply: Apply,
    items: flume::Receiver<Item>,
    flush: Flush,
    flush_items: flume::Receiver<FlushItem>,
    state: Arc<State>,
    store: Arc<RwLock<Store>>,
    progress: Arc<Progress>,
    waiters: Arc<Waiters>,
    status: tokio::sync::watch::Receiver<Arc<Status>>,
    telemetry: Telemetry,
    told: u64,
}

impl Running {
    /// One turn of each of its threads.
    fn step(&mut self, tick: bool, now_micros: u64) -> Result<(), String> {
        let inputs: Vec<_> = self.inbox.try_iter().collect();
        self.replica.step(inputs, tick).map_err(|error| error.to_string())?;
        let items: Vec<_> = self.items.try_iter().collect();
        self.apply.step(items).map_err(|error| error.to_string())?;
        let items: Vec<_> = self.flush_items.try_iter().collect();
        self.flush.step(items, now_micros).map_err(|error| error.to_string())?;
        Ok(())
    }
}

struct Member {
    id: MemberId,
    disk: MemoryDisk,
    running: Option<Running>,
    last_status: Status,
    truncations: usize,
    /// Its process does nothing; what is sent to it waits.
    paused: bool,
    /// Whether it may end by itself, and why it did.
    may_end: bool,
    ended: Option<String>,
}

/// A put that waits for its answer.
pub(crate) struct Waiting<T> {
    member: usize,
    answer: oneshot::Receiver<T>,
    ticket: Option<Ticket>,
}

pub(crate) struct Cluster {
    members: Vec<Member>,
    membership: Membership,
    clock: Arc<MadeUpClock>,
    wire: Arc<Mutex<Wire>>,
    /// (due, number) → message, so that equal times keep their order.
    flying: BTreeMap<(u64, u64), (MemberId, MemberId, Packet)>,
    sent: u64,
    cut: BTreeSet<MemberId>,
    random: ChaCha8Rng,
    seed: u64,
    steps: u64,
    snapshot_count: u64,
    snapshots_installed: usize,
    /// Snapshots on their way, while they are held.
    held: Option<Vec<(usize, Input)>>,
    trace: DefaultHasher,
}

impl Cluster {
    pub(crate) fn new(seed: u64, members: usize) -> Self {
        Self::with_snapshot_count(seed, members, 100_000)
    }

    pub(crate) fn with_snapshot_count(seed: u64, members: usize, snapshot_count: u64) -> Self {
        let list: Vec<_> = (1..=members)
            .map(|n| {
                let peer_urls = vec![format!("http://m{n}.test:2380")];
                let id = member_id(&peer_urls, "one-thread", None);
                let name = format!("m{n}");
                ClusterMember { id, name, peer_urls, client_urls: vec![], learner: false }
            })
            .collect();
        let membership = Membership::bootstrap(list.clone());
        let members = list
            .iter()
            .map(|member| Member {
                id: member.id,
                disk: MemoryDisk::new(),
                running: None,
                last_status: Status::default_at(0),
                truncations: 0,
                paused: false,
                may_end: false,
                ended: None,
            })
            .collect();
        let mut cluster = Self {
            members,
            membership,
            clock: Arc::default(),
            wire: Arc::default(),
            flying: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
            seed,
            steps: 0,
            snapshot_count,
            snapshots_installed: 0,
            held: None,
            trace: DefaultHasher::new(),
        };
        for member in 0..cluster.members.len() {
            cluster.prepare(member);
            cluster.restart(member);
        }
        cluster
    }

    fn options(&self) -> Options {
        Options {
            wal: WalOptions::deterministic(64 * 1024, self.seed),
            state: StateOptions { cache_bytes: 1 << 20 },
        }
    }

    fn prepare(&mut self, member: usize) {
        let disk: Arc<dyn Disk> = self.members[member].disk.shared();
        let directory =
            DataDirectory::unlocked(&*disk, Path::new("/m")).expect("a directory is made");
        let cluster_id = cluster_id(self.membership.members().map(|member| member.id));
        let identity = Identity { cluster_id, member_id: self.members[member].id };
        let beginning = Beginning::New { members: self.membership.clone() };
        recover::begin(&disk, &directory, identity, &beginning, self.options())
            .expect("a member begins");
    }

    /// Starts a member from its disk.
    pub(crate) fn restart(&mut self, member: usize) {
        let disk: Arc<dyn Disk> = self.members[member].disk.shared();
        let directory =
            DataDirectory::unlocked(&*disk, Path::new("/m")).expect("the directory is there");
        let opened = recover::open(&disk, &directory, self.clock.wall_millis(), self.options())
            .expect("a member opens what it has");
        let running = self.assemble(opened);
        for other in self.members.iter().map(|member| member.id) {
            let news =
                LinkNews { peer: other, connected: true, removed: false, why: String::new() };
            running.inbox_in.send(Input::Link(news)).expect("the inbox has room");
            let caller = Input::Caller { from: other, connected: true };
            running.inbox_in.send(caller).expect("the inbox has room");
        }
        self.members[member].running = Some(running);
        self.tell_link(self.members[member].id, true);
    }

    fn assemble(&self, opened: Opened) -> Running {
        let Opened { metadata, wal, log, state, recovered, fresh } = opened;
        let member = metadata.member_id;
        let clock: Arc<dyn Clock> = self.clock.clone();
        let applied = (recovered.applied, recovered.applied_term);
        let lessor = Arc::new(Mutex::new(Lessor::new(recovered.store.lease_terms())));
        let hub = WatchHub::new(recovered.store.revision());
        let store = Arc::new(RwLock::new(recovered.store));
        let membership = Arc::new(RwLock::new(recovered.membership));
        let metrics = Arc::new(Metrics::new(member, metadata.cluster_id));
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
        let telemetry = Telemetry::new(speaker, Status::default_at(0));
        let (inbox_in, inbox) = flume::bounded(1 << 16);
        let (items_in, items) = flume::bounded(1 << 16);
        let (flush_in, flush_items) = flume::bounded(1 << 16);
        let point = log.mark.expect("every log here begins behind a mark");
        let raft_log = Log::new(
            (point.index, point.term),
            log.entries,
            log.hard_state.unwrap_or_default(),
            recovered.conf_state,
            applied.0,
            Arc::new(Newest(state.clone())),
        );
        let settings = Settings {
            member,
            election_ticks: 100,
            heartbeat_ticks: 10,
            pre_vote: true,
            check_quorum: true,
            message_bytes: node::consensus::driver::MESSAGE_BYTES,
            seed: self.seed,
        };
        let driver = Driver::new(settings, raft_log, applied.0).expect("consensus starts");
        let wire = || WireEnd { from: member, wire: self.wire.clone() };
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
            election_ticks: 100,
            heartbeat_ticks: 10,
            snapshot_count: self.snapshot_count,
            catchup_entries: self.snapshot_count.min(5_000),
            strict_reconfig_check: true,
            fresh,
            planted: Planted::default(),
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
                planted: Planted::default(),
            },
            applied,
        );
        let flush = Flush::new(flush::Parts {
            state: state.clone(),
            store: store.clone(),
            membership,
            lessor,
            hub,
            progress: progress.clone(),
            glance,
            metrics,
            replica: inbox_in.clone(),
            planted: Planted::default(),
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
            progress,
            waiters,
            status,
            telemetry,
            told: 0,
        }
    }

    /// Ends a process: what it wrote without a sync is still in the page cache.
    pub(crate) fn crash(&mut self, member: usize) {
        self.members[member].running = None;
        let id = self.members[member].id;
        self.tell_link(id, false);
        self.flying.retain(|_, (from, to, _)| *from != id && *to != id);
    }

    /// Tells every member that runs whether it can send to this one.
    fn tell_link(&self, peer: MemberId, connected: bool) {
        for running in self.members.iter().filter_map(|member| member.running.as_ref()) {
            let news = LinkNews { peer, connected, removed: false, why: String::new() };
            running.inbox_in.send(Input::Link(news)).expect("the inbox has room");
        }
    }

    /// Ends a machine: of what was not synced some sectors survive, by the seed.
    pub(crate) fn power_loss(&mut self, member: usize) {
        self.crash(member);
        let random = &mut self.random;
        self.members[member].disk.power_loss(|| random.random_bool(0.5));
    }

    /// Stops a member in order; returns what a read that waits there was told.
    pub(crate) fn stop(
        &mut self,
        member: usize,
        mut waiting: Waiting<Result<(), Refusal>>,
    ) -> Option<Refusal> {
        let Running { replica, inbox, .. } = self.members[member].running.take().expect("it runs");
        replica.stop().close().expect("the log is sealed");
        drop(inbox);
        match waiting.answer.try_recv() {
            Ok(result) => result.err(),
            // Not even taken in: whoever asked sees the channel closed.
            Err(oneshot::error::TryRecvError::Closed) => Some(Refusal::Stopped),
            Err(oneshot::error::TryRecvError::Empty) => None,
        }
    }

    /// Nothing from or to the member arrives any more.
    pub(crate) fn isolate(&mut self, member: usize) {
        self.cut.insert(self.members[member].id);
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// One step of the world: a thousand microseconds, in which every member takes what waits.
    fn step(&mut self) {
        self.clock.advance_micros(TICK_MICROS / STEPS_PER_TICK);
        self.steps += 1;
        let tick = self.steps.is_multiple_of(STEPS_PER_TICK);
        self.deliver();
        for member in 0..self.members.len() {
            self.step_member(member, tick);
        }
        self.collect();
    }

    fn step_member(&mut self, member: usize, tick: bool) {
        let now = self.clock.now_micros();
        let Member { running: Some(running), paused: false, .. } = &mut self.members[member] else {
            return;
        };
        let stepped = running.step(tick, now);
        let status = running.status.borrow().as_ref().clone();
        self.members[member].last_status = status;
        if let Err(why) = stepped {
            assert!(self.members[member].may_end, "m{member} ended: {why}");
            self.crash(member);
            self.members[member].ended = Some(why);
        }
        self.follow(member);
    }

    /// Takes what the member says of its steps into the trace.
    fn follow(&mut self, member: usize) {
        let Self { members, trace, snapshots_installed, .. } = self;
        let Member { running: Some(running), truncations, .. } = &mut members[member] else {
            return;
        };
        for traced in running.telemetry.after(running.told) {
            running.told = traced.seq;
            (member, traced.at_micros, format!("{:?}", traced.event)).hash(trace);
            match traced.event {
                TraceEvent::Truncated { .. } => *truncations += 1,
                TraceEvent::SnapshotInstalled { .. } => *snapshots_installed += 1,
                _ => {}
            }
        }
    }

    /// Puts what members sent on its way: 1 to 5 ms, in order of the draw.
    fn collect(&mut self) {
        let (packets, snapshots) = {
            let mut wire = self.wire.lock();
            (std::mem::take(&mut wire.packets), std::mem::take(&mut wire.snapshots))
        };
        for (from, to, packet) in packets {
            let mut bytes = Vec::new();
            codec::encode(&packet, from, to, 0, &mut bytes);
            (from.0, to.0, &bytes).hash(&mut self.trace);
            self.sent += 1;
            let due = self.clock.now_micros() + self.random.random_range(1_000..5_000);
            self.flying.insert((due, self.sent), (from, to, packet));
        }
        for message in snapshots {
            self.carry_snapshot(message);
        }
    }

    /// Carries a snapshot over at once, through the shipped reader and writer.
    fn carry_snapshot(&mut self, mut message: Message) {
        let place = |id: u64| move |member: &Member| member.id.0 == id;
        let from = self.members.iter().position(place(message.from)).expect("a member sends");
        let to = self.members.iter().position(place(message.to)).expect("to a member");
        let arrived = match (&self.members[from].running, &self.members[to].running) {
            (Some(sender), Some(receiver)) => {
                let mut reader = SnapshotReader::new(&sender.state);
                let mut writer = SnapshotWriter::new(&receiver.state);
                while let Some(chunk) = reader.next_chunk().expect("the state is readable") {
                    writer.write(&chunk).expect("the snapshot is taken");
                }
                let received = writer.finish().expect("the snapshot is whole");
                let metadata = message.mut_snapshot().mut_metadata();
                metadata.index = received.applied().index.0;
                metadata.term = received.applied().term.0;
                metadata.set_conf_state(received.applied().conf_state.clone());
                let input = Input::Arrived { message: Box::new(message), received };
                if let Some(held) = &mut self.held {
                    held.push((to, input));
                    false
                } else {
                    receiver.inbox_in.send(input).expect("the inbox has room");
                    true
                }
            }
            _ => false,
        };
        let to = self.members[to].id;
        if let Some(sender) = &self.members[from].running {
            sender.inbox_in.send(Input::Sent { to, arrived }).expect("the inbox has room");
        }
    }

    fn deliver(&mut self) {
        let later = self.flying.split_off(&(self.clock.now_micros() + 1, 0));
        for (_, (from, to, packet)) in std::mem::replace(&mut self.flying, later) {
            if self.cut.contains(&from) || self.cut.contains(&to) {
                continue;
            }
            let receiver = self.members.iter().find(|member| member.id == to);
            if let Some(running) = receiver.and_then(|member| member.running.as_ref()) {
                running.inbox_in.send(Input::Packet { from, packet }).expect("the inbox has room");
            }
        }
    }

    pub(crate) fn run_millis(&mut self, millis: u64) {
        for _ in 0..millis * 1_000 / (TICK_MICROS / STEPS_PER_TICK) {
            self.step();
        }
    }

    /// Lets time pass until something holds, at most so long.
    pub(crate) fn run_until(&mut self, millis: u64, done: impl Fn(&Self) -> bool) {
        for _ in 0..millis {
            if done(self) {
                return;
            }
            self.run_millis(1);
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..PATIENCE_MILLIS {
            if done(self) {
                return;
            }
            self.step();
        }
        let seen: Vec<_> = self
            .members
            .iter()
            .map(|member| (member.running.is_some(), member.last_status.clone()))
            .collect();
        panic!("{what} did not happen in {PATIENCE_MILLIS} ms; seen: {seen:#?}");
    }

    /// The member that leads and has committed in its term.
    pub(crate) fn await_leader(&mut self) -> usize {
        self.await_leader_among(|_| true)
    }

    pub(crate) fn await_leader_but(&mut self, not: usize) -> usize {
        self.await_leader_among(|member| member != not)
    }

    fn await_leader_among(&mut self, among: impl Fn(usize) -> bool) -> usize {
        let find = |cluster: &Self| {
            (0..cluster.members.len()).find(|&member| among(member) && cluster.leads(member))
        };
        self.until("a leader", |cluster| find(cluster).is_some());
        find(self).expect("it was just there")
    }

    pub(crate) fn leads(&self, member: usize) -> bool {
        let status = &self.members[member].last_status;
        self.members[member].running.is_some()
            && status.role == Role::Leader
            && status.commit == status.last
    }

    pub(crate) fn term(&self, member: usize) -> u64 {
        self.members[member].last_status.term.0
    }

    pub(crate) fn begin_put(&mut self, member: usize, key: &str, value: &str) -> Waiting<Outcome> {
        self.begin(
            member,
            Op::Put(PutRequest {
                key: Bytes::copy_from_slice(key.as_bytes()),
                value: Bytes::copy_from_slice(value.as_bytes()),
                ..PutRequest::default()
            }),
        )
    }

    fn begin(&mut self, member: usize, op: Op) -> Waiting<Outcome> {
        let running = self.members[member].running.as_ref().expect("a member that runs is asked");
        let (ticket, answer) = running.waiters.open(op);
        running.inbox_in.send(Input::Propose { seq: ticket.seq() }).expect("the inbox has room");
        Waiting { member, answer, ticket: Some(ticket) }
    }

    /// Whether an answer is there, now; it is thrown away if so.
    pub(crate) fn answered<T>(&mut self, waiting: &mut Waiting<T>) -> bool {
        waiting.answer.try_recv().is_ok()
    }

    /// Waits for a put's answer; returns its revision.
    pub(crate) fn finish(&mut self, mut waiting: Waiting<Outcome>) -> i64 {
        let mut outcome = None;
        self.until("an answer to a put", |_| {
            outcome = waiting.answer.try_recv().ok();
            outcome.is_some()
        });
        drop(waiting.ticket.take());
        match outcome {
            Some(Outcome::Answered(answer)) => match *answer {
                Answer::Kv(Ok(Response::Put(put))) => put.header.expect("has a header").revision,
                other => panic!("a put was answered with {other:?}"),
            },
            other => panic!("a put ended with {other:?} at m{}", waiting.member),
        }
    }

    pub(crate) fn id(&self, member: usize) -> MemberId {
        self.members[member].id
    }

    pub(crate) fn begin_remove(&mut self, asked: usize, removed: usize) -> Waiting<Outcome> {
        let change = MemberChange::Remove(self.members[removed].id);
        self.begin_change(asked, &change)
    }

    fn begin_change(&mut self, asked: usize, change: &MemberChange) -> Waiting<Outcome> {
        self.begin(asked, Op::ChangeMembers(change.encode().into()))
    }

    /// Asks `asked` to remove a member; returns how many are left.
    pub(crate) fn remove(&mut self, asked: usize, removed: usize) -> usize {
        let change = MemberChange::Remove(self.members[removed].id);
        self.try_change(asked, &change).expect("the change is accepted")
    }

    /// Asks `asked` for a change; returns how many members there are then, or why not.
    pub(crate) fn try_change(
        &mut self,
        asked: usize,
        change: &MemberChange,
    ) -> Result<usize, ChangeError> {
        let mut waiting = self.begin_change(asked, change);
        let mut outcome = None;
        self.until("an answer to a change of members", |_| {
            outcome = waiting.answer.try_recv().ok();
            outcome.is_some()
        });
        match outcome {
            Some(Outcome::Answered(answer)) => match *answer {
                Answer::Members(result) => result.map(|members| members.len()),
                other => panic!("a change of members was answered with {other:?}"),
            },
            other => panic!("a change of members ended with {other:?}"),
        }
    }

    /// Voters of the configuration, by the member's own account.
    pub(crate) fn voters(&self, member: usize) -> usize {
        self.members[member].last_status.voters.len()
    }

    pub(crate) fn give_up(&mut self, waiting: Waiting<Outcome>) {
        drop(waiting);
    }

    pub(crate) fn put(&mut self, member: usize, key: &str, value: &str) -> i64 {
        let waiting = self.begin_put(member, key, value);
        self.finish(waiting)
    }

    pub(crate) fn begin_read(&mut self, member: usize) -> Waiting<Result<(), Refusal>> {
        let running = self.members[member].running.as_ref().expect("a member that runs is asked");
        let (sender, answer) = oneshot::channel();
        running.inbox_in.send(Input::Read { answer: sender }).expect("the inbox has room");
        Waiting { member, answer, ticket: None }
    }

    pub(crate) fn await_read(&mut self, mut waiting: Waiting<Result<(), Refusal>>) {
        let mut result = None;
        self.until("an answer to a read", |_| {
            result = waiting.answer.try_recv().ok();
            result.is_some()
        });
        assert_eq!(result, Some(Ok(())));
    }

    /// Grants a lease through a member and waits for the answer.
    pub(crate) fn grant(&mut self, member: usize, id: i64, ttl_seconds: i64) {
        let mut waiting = self.begin(member, Op::LeaseGrant { id, ttl_seconds });
        self.until("an answer to a grant", |_| waiting.answer.try_recv().is_ok());
    }

    pub(crate) fn begin_time_to_live(
        &mut self,
        member: usize,
        lease: i64,
    ) -> Waiting<Result<LeaseAnswer, Refusal>> {
        let running = self.members[member].running.as_ref().expect("a member that runs is asked");
        let (answer, receiver) = oneshot::channel();
        let ask = LeaseAsk::TimeToLive { lease };
        running.inbox_in.send(Input::Ask { ask, answer }).expect("the inbox has room");
        Waiting { member, answer: receiver, ticket: None }
    }

    pub(crate) fn await_lease(
        &mut self,
        mut waiting: Waiting<Result<LeaseAnswer, Refusal>>,
    ) -> LeaseAnswer {
        let mut result = None;
        self.until("an answer about a lease", |_| {
            result = waiting.answer.try_recv().ok();
            result.is_some()
        });
        result.expect("it was just there").expect("it is an answer")
    }

    /// Whether the member says that it leads.
    pub(crate) fn believes_it_leads(&self, member: usize) -> bool {
        self.members[member].last_status.role == Role::Leader
    }

    /// What the member's own state holds of a key: value, version, revision that wrote it.
    pub(crate) fn get(&self, member: usize, key: &str) -> (String, i64, i64) {
        let running = self.members[member].running.as_ref().expect("a member that runs is asked");
        let request =
            RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..RangeRequest::default() };
        let response = running.store.read().range(&request).expect("a range of one key");
        let kv = response.kvs.first().unwrap_or_else(|| panic!("m{member} has no {key}"));
        let value = String::from_utf8(kv.value.to_vec()).expect("values here are text");
        (value, kv.version, kv.mod_revision)
    }

    /// Runs until every member that runs has applied the same last entry and it is flushed.
    pub(crate) fn converge(&mut self) {
        self.until("convergence", |cluster| {
            let leader = (0..cluster.members.len()).find(|&member| cluster.leads(member));
            let Some(leader) = leader else { return false };
            let last = cluster.members[leader].last_status.last;
            cluster
                .members
                .iter()
                .filter_map(|member| member.running.as_ref())
                .all(|running| running.progress.applied() == last)
        });
        self.settle_flushes();
    }

    pub(crate) fn settle_flushes(&mut self) {
        self.run_millis(300);
    }

    /// Number of different state hashes among the members that run.
    pub(crate) fn hashes(&self) -> usize {
        let running = self.members.iter().filter_map(|member| member.running.as_ref());
        running.map(|running| running.store.read().hash()).collect::<BTreeSet<_>>().len()
    }

    pub(crate) fn first_index(&self, member: usize) -> Index {
        self.members[member].last_status.first
    }

    pub(crate) fn last_index(&self, member: usize) -> Index {
        self.members[member].last_status.last
    }

    pub(crate) fn snapshots_installed(&self) -> usize {
        self.snapshots_installed
    }

    pub(crate) fn truncations(&self, member: usize) -> usize {
        self.members[member].truncations
    }

    /// A number that stands for everything that was sent and said.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }
}
