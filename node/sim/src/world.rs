//! The world: what is due, in order; members that are stepped, and what is done to them.

mod clients;
mod ending;
mod members;
mod network;
mod queue;
mod recording;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use lab_protocol::{Ended, Event, Feed, MemberNo, MemberPlan, Numbered, OpId, Process, SIMULATION};
use node::apply::Item;
use node::clock::Clock as _;
use node::cluster::{Member as ClusterMember, Membership};
use node::inbox::Input;
use node::metrics::Metrics;
use node::recover::Beginning;
use node::storage::MemoryDisk;
use node::training::Planted;
use node::transport::Packet;
use node::transport::links::LinkNews;
use node_protocol::{ClusterId, MemberId, Role, Status, TraceEvent};
use raft::eraftpb::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::journal::Journal;
use crate::member::{Common, Running, TICK_MICROS, Wire};
use crate::plan::{Action, LAST_MICROS, Plan};
use crate::tally::Tally;
use clients::{Clients, Watching};
use members::{Changing, REMOVED};
use queue::Queue;

/// When something that hangs comes back by itself.
const NEVER: u64 = u64::MAX / 2;

/// How long a sync takes at least.
const SYNC_MICROS: u64 = 100;

/// Shortest time between two pictures of a member in the journal, unless its office changed.
const PICTURE_MICROS: u64 = 30_000;

/// When clients stop asking.
const QUIET_MICROS: u64 = LAST_MICROS + 1_500_000;

/// One thing that is due.
enum Due {
    /// A tick of a member's clock. Like the others that name a life, void in another one.
    Tick { member: usize, life: u64 },
    /// A member looks at what it was given.
    Run { member: usize, life: u64 },
    /// Its flush thread looks whether it is time.
    Flush { member: usize, life: u64 },
    /// A message arrives; its number in the recording.
    Deliver { from: usize, to: usize, packet: Packet, number: u64 },
    /// A member calls another.
    Dial { from: usize, to: usize },
    /// A snapshot has been carried over.
    Snapshot { message: Box<Message> },
    /// A client asks.
    Ask { client: u32 },
    /// A client has waited long enough.
    GiveUp { op: OpId },
    /// Something of a client that watches.
    Watching { watcher: usize, what: Watching },
    /// A fault, or its end.
    Fault { action: Action },
    /// The administrator looks.
    Administer,
}

struct Member {
    /// As it is added, should it be.
    listed: ClusterMember,
    id: MemberId,
    disk: MemoryDisk,
    running: Option<Running>,
    /// It has data on its disk.
    begun: bool,
    /// It was removed and does not start again.
    gone: bool,
    /// Counts starts, so that what was meant for an earlier process is void.
    life: u64,
    paused: bool,
    /// Its disk's or processor's work ends then; it does nothing before.
    busy_until: u64,
    /// A look at the inbox is due.
    run_due: bool,
    /// A look of the flush thread is due.
    flush_due: bool,
    sync_micros: u64,
    /// What it will have sent when a sync that hangs comes back.
    held: Wire,
    /// How far its wall clock is from everybody's.
    wall_ahead_millis: i64,
    /// The next failing sync is a power loss.
    power_loss_in_sync: bool,
    sync_fails: bool,
    /// It is to be cut off or to crash, after so many more steps.
    falls: Option<(bool, u32)>,
    last_status: Arc<Status>,
    /// The status that stands in the journal.
    told_status: Arc<Status>,
}

impl Member {
    /// Whether no sync of its disk comes back.
    fn is_stuck(&self) -> bool {
        self.sync_micros >= Action::STUCK_MICROS
    }
}

/// A lifetime under way.
pub(crate) struct World {
    common: Common,
    members: Vec<Member>,
    queue: Queue<Due>,
    random: ChaCha8Rng,
    cut: BTreeSet<(usize, usize)>,
    slow_micros: u64,
    lossy: u32,
    repeating: u32,
    clients: Clients,
    /// How late a flush thread may come to run.
    flush_late_micros: u64,
    /// Changes of members that were asked for.
    changing: Vec<Changing>,
    journal: Journal,
    /// Index → what was applied there first, and by whom.
    applied: BTreeMap<u64, (u64, u32, usize)>,
    /// The first rule that the world saw broken without an end to it.
    broken: Option<Broken>,
    /// What is to happen to those elected next: cut off or crashed, and after how many steps.
    falls: VecDeque<(bool, u32)>,
    trace: DefaultHasher,
    /// A message as it goes over the wire, for the trace.
    bytes: Vec<u8>,
    pub(crate) tally: Tally,
}

/// Why a lifetime is not as it must be.
pub(crate) type Broken = String;

impl World {
    /// A cluster that begins; its journal is recorded or not.
    pub(crate) fn new(
        seed: u64,
        plan: &Plan,
        planted: Planted,
        recorded: bool,
    ) -> Result<Self, Broken> {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x7a11_5eed);
        let token = format!("sim-{seed}");
        let list = Common::members(plan.members, plan.joiners, &token);
        let membership = Membership::bootstrap(list[..plan.members].to_vec());
        let common = Common {
            clock: Arc::default(),
            wire: Arc::default(),
            membership,
            metrics: Arc::new(Metrics::new(list[0].id, ClusterId(0))),
            seed,
            snapshot_count: [20, 50, 200, 10_000][random.random_range(0..4)],
            election_ticks: plan.election_ticks,
            message_bytes: plan.message_bytes,
            planted,
        };
        let members = list
            .iter()
            .map(|member| Member {
                listed: member.clone(),
                id: member.id,
                disk: MemoryDisk::new(),
                running: None,
                begun: false,
                gone: false,
                life: 0,
                paused: false,
                busy_until: 0,
                run_due: false,
                flush_due: false,
                sync_micros: 0,
                held: Wire::default(),
                wall_ahead_millis: 0,
                power_loss_in_sync: false,
                sync_fails: false,
                falls: None,
                last_status: Arc::new(Status::default_at(0)),
                told_status: Arc::new(Status::default_at(0)),
            })
            .collect::<Vec<_>>();
        let clients = Clients::new(&mut random, plan.members);
        let flush_late_micros = [50, 400_000, 1_000_000][random.random_range(0..3)];
        let mut world = Self {
            common,
            members,
            queue: Queue::new(),
            random,
            cut: BTreeSet::new(),
            slow_micros: 0,
            lossy: 0,
            repeating: 0,
            clients,
            flush_late_micros,
            changing: Vec::new(),
            journal: Journal::new(recorded),
            applied: BTreeMap::new(),
            broken: None,
            falls: VecDeque::new(),
            trace: DefaultHasher::new(),
            bytes: Vec::new(),
            tally: Tally::default(),
        };
        world.begin(seed, &token, plan)?;
        for (at, action) in &plan.actions {
            world.due(*at, Due::Fault { action: action.clone() });
        }
        Ok(world)
    }

    fn begin(&mut self, seed: u64, token: &str, plan: &Plan) -> Result<(), Broken> {
        let member = |place: usize| MemberPlan {
            member: no(place),
            client_url: String::new(),
            peer_url: format!("http://m{}.test:2380", place + 1),
        };
        let started = Event::RunStarted {
            run: format!("sim-{seed}"),
            seed,
            version: env!("CARGO_PKG_VERSION").into(),
            engine: SIMULATION.into(),
            token: token.into(),
            wall_millis: self.common.clock.wall_millis(),
            members: (0..self.members.len()).map(member).collect(),
        };
        self.tell(started);
        for place in 0..plan.members {
            let members = self.common.membership.clone();
            self.set_up(place, &Beginning::New { members })?;
        }
        let raises = |(_, action): &(u64, Action)| matches!(action, Action::Alarm(..));
        if plan.joiners > 0 || plan.actions.iter().any(raises) {
            self.administer()?;
        }
        self.let_clients_ask();
        Ok(())
    }

    fn now(&self) -> u64 {
        self.common.clock.now_micros()
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        self.journal.push(now, event);
    }

    fn due(&mut self, at: u64, what: Due) {
        self.queue.push(at, what);
    }

    /// Has a member look at its inbox in a moment.
    fn wake(&mut self, place: usize) {
        let member = &mut self.members[place];
        if member.run_due || member.running.is_none() {
            return;
        }
        member.run_due = true;
        let (life, busy) = (member.life, member.busy_until);
        let at = busy.max(self.now() + self.random.random_range(5..150));
        self.due(at, Due::Run { member: place, life });
    }

    /// Lives until everything is over; returns the journal and what stands for all of it.
    pub(crate) fn live(mut self) -> (Result<(), Broken>, Vec<Numbered>, u64, Tally) {
        let lived = self.until(QUIET_MICROS, |_| false).and_then(|_| self.end());
        self.members.iter_mut().filter_map(|member| member.running.take()).for_each(killed);
        let Self { journal, trace, mut tally, broken, .. } = self;
        let lived = broken.map_or(lived, Err);
        tally.simulated_micros = self.common.clock.now_micros();
        (lived, journal.into_events(), trace.finish(), tally)
    }

    /// Does what is due until a time or a condition; whether the condition came to hold.
    fn until(&mut self, end: u64, done: impl Fn(&Self) -> bool) -> Result<bool, Broken> {
        while let Some((at, what)) = self.queue.pop_until(end) {
            let now = self.now();
            self.common.clock.advance_micros(at.saturating_sub(now));
            self.step(what)?;
            if done(self) {
                return Ok(true);
            }
        }
        let now = self.now();
        self.common.clock.advance_micros(end.saturating_sub(now));
        Ok(false)
    }

    fn step(&mut self, what: Due) -> Result<(), Broken> {
        match what {
            Due::Tick { member, life } => {
                if self.members[member].life != life {
                    return Ok(());
                }
                // Clocks drift a little apart.
                let next = self.now() + TICK_MICROS - 20 + self.random.random_range(0..40);
                self.due(next, Due::Tick { member, life });
                let Member { paused, busy_until, .. } = self.members[member];
                if !paused && busy_until <= self.now() {
                    self.run(member, true)?;
                }
            }
            Due::Run { member, life } => {
                if self.members[member].life == life {
                    self.members[member].run_due = false;
                    if !self.members[member].paused {
                        self.run(member, false)?;
                    }
                }
            }
            Due::Flush { member, life } => {
                if self.members[member].life == life {
                    self.members[member].flush_due = false;
                    if self.members[member].paused || self.members[member].is_stuck() {
                        self.wake_flush(member, TICK_MICROS);
                    } else {
                        self.flush(member)?;
                    }
                }
            }
            Due::Deliver { from, to, packet, number } => self.deliver(from, to, packet, number),
            Due::Dial { from, to } => self.dial(from, to),
            Due::Snapshot { message } => self.carry_snapshot(*message)?,
            Due::Ask { client } => self.ask(client),
            Due::GiveUp { op } => self.give_up(op),
            Due::Watching { watcher, what } => self.watching(watcher, what)?,
            Due::Fault { action } => self.act(&action)?,
            Due::Administer => self.administer()?,
        }
        Ok(())
    }

    /// One look of a member at what it was given: replica, then apply.
    fn run(&mut self, place: usize, tick: bool) -> Result<(), Broken> {
        let member = &mut self.members[place];
        let Some(running) = &mut member.running else { return Ok(()) };
        let syncs = member.disk.syncs();
        let inputs: Vec<_> = running.inbox.try_iter().collect();
        let stepped = caught(|| running.replica.step(inputs, tick).map_err(|e| e.to_string()));
        let items: Vec<_> = running.items.try_iter().collect();
        let mut seen = Vec::new();
        for item in &items {
            if let Item::Entries(entries) = item {
                seen.extend(entries.iter().map(|e| (e.index, e.term, crc32c::crc32c(&e.data))));
            }
        }
        let stepped =
            stepped.and_then(|_| caught(|| running.apply.step(items).map_err(|e| e.to_string())));
        let syncs = member.disk.syncs() - syncs;
        let delay = syncs * (member.sync_micros + SYNC_MICROS);
        let now = self.common.clock.now_micros();
        let hangs = syncs > 0 && member.sync_micros >= Action::STUCK_MICROS;
        member.busy_until = if hangs { NEVER } else { now + delay };
        member.last_status = running.status.borrow().clone();
        if hangs {
            member.held = std::mem::take(&mut *self.common.wire.lock());
        }
        self.collect(place, delay);
        self.same_entries(place, seen);
        self.follow(place);
        match stepped {
            Ok(()) => {}
            Err(why) => return self.ended(place, &why),
        }
        if !hangs {
            self.answers(place);
        }
        self.fall(place);
        let Member { running: Some(running), flush_due, sync_micros, .. } = &self.members[place]
        else {
            return Ok(());
        };
        if !running.flush_items.is_empty() && !flush_due {
            let late = *sync_micros + self.random.random_range(0..self.flush_late_micros);
            self.wake_flush(place, late);
        }
        if self.members[place].running.as_ref().is_some_and(|running| !running.inbox.is_empty()) {
            self.wake(place);
        }
        Ok(())
    }

    /// Has a member's flush thread look at what it was given.
    fn wake_flush(&mut self, place: usize, late_micros: u64) {
        let member = &mut self.members[place];
        member.flush_due = true;
        let life = member.life;
        let at = self.now() + late_micros;
        self.due(at, Due::Flush { member: place, life });
    }

    fn flush(&mut self, place: usize) -> Result<(), Broken> {
        let now = self.now();
        let member = &mut self.members[place];
        let Some(running) = &mut member.running else { return Ok(()) };
        let items: Vec<_> = running.flush_items.try_iter().collect();
        let flushed = caught(|| running.flush.step(items, now).map_err(|e| e.to_string()));
        let inbox = !running.inbox.is_empty();
        match flushed {
            Ok(None) => {}
            Ok(Some(due)) => self.wake_flush(place, due - now),
            Err(why) => return self.ended(place, &why),
        }
        if inbox {
            self.wake(place);
        }
        Ok(())
    }

    /// State-machine safety: nobody applies another entry at the same index (Raft paper §5.4.3).
    /// Life goes on, so that the lab's own checks see it too.
    fn same_entries(&mut self, place: usize, seen: Vec<(u64, u64, u32)>) {
        for (index, term, content) in seen {
            (place, index, term, content).hash(&mut self.trace);
            let first = *self.applied.entry(index).or_insert((term, content, place));
            if (first.0, first.1) != (term, content) {
                let why = format!(
                    "state-machine safety: {} applies another entry at {index} (term {term}) than \
                     {} did (term {})",
                    no(place),
                    no(first.2),
                    first.0
                );
                if self.broken.is_none() {
                    self.show_note(&why);
                    self.broken = Some(why);
                }
            }
        }
    }

    /// Takes what a member says of its steps into the journal.
    fn follow(&mut self, place: usize) {
        let Some(running) = &mut self.members[place].running else { return };
        let traced = running.telemetry.after(running.told);
        running.told = traced.last().map_or(running.told, |last| last.seq);
        for traced in traced {
            match &traced.event {
                TraceEvent::Became { role: Role::Leader, .. } => {
                    self.tally.elections += 1;
                    if let Some(fall) = self.falls.pop_front() {
                        self.tally.acted("fallen leader");
                        self.members[place].falls = Some(fall);
                    }
                }
                TraceEvent::SnapshotInstalled { .. } => self.tally.snapshots += 1,
                TraceEvent::Truncated { .. } => self.tally.truncations += 1,
                _ => {}
            }
            (place, &traced.event).hash(&mut self.trace);
            self.tell(Event::Trace { member: no(place), traced });
        }
        self.picture(place);
    }

    /// Takes a member's picture of itself into the journal, if it is another one and the last is
    /// not of this moment.
    fn picture(&mut self, place: usize) {
        let now = self.now();
        let Member { last_status, told_status, sync_micros, .. } = &mut self.members[place];
        let office = |status: &Status| (status.role, status.term, status.leader);
        let news = office(last_status) != office(told_status)
            || (last_status.at_micros >= told_status.at_micros + PICTURE_MICROS
                && !last_status.same_but_for_time(told_status));
        if !news {
            return;
        }
        *told_status = last_status.clone();
        let mut status = Box::new(Status::clone(last_status));
        // The only number in it that comes of real time.
        status.fsync_last_micros = u32::try_from(*sync_micros + SYNC_MICROS).unwrap_or(u32::MAX);
        self.journal.push(now, Event::Status { member: no(place), status });
    }

    /// Does to a leader what was planned for it, once it has taken so many steps.
    fn fall(&mut self, place: usize) {
        let Some((cut, steps)) = self.members[place].falls.take() else { return };
        if steps > 0 {
            self.members[place].falls = Some((cut, steps - 1));
            return;
        }
        let now = self.now();
        let lasts = now + self.random.random_range(300_000..4_000_000);
        let (fall, end) = if cut {
            (Action::Isolate(place), Action::Rejoin(place))
        } else {
            (Action::Crash(place), Action::Restart(place))
        };
        self.due(now, Due::Fault { action: fall });
        self.due(lasts, Due::Fault { action: end });
    }

    /// A process that ended by itself: as it must when its disk failed, else a bug.
    fn ended(&mut self, place: usize, why: &str) -> Result<(), Broken> {
        let member = &mut self.members[place];
        if std::mem::take(&mut member.power_loss_in_sync) {
            return self.stop(place, true);
        }
        if std::mem::take(&mut member.sync_fails) {
            return self.stop(place, false);
        }
        if why.contains(REMOVED) {
            member.gone = true;
            self.show_note(format!("{} hears that it was removed, and ends.", no(place)));
            return self.stop(place, false);
        }
        let ended = Ended::Exit { code: 1 };
        self.show_process(place, Process::Down { ended, asked: false, wiped: false });
        Err(format!("{} ended by itself: {why}", no(place)))
    }

    fn start(&mut self, place: usize) -> Result<(), Broken> {
        let Member { running, begun, gone, .. } = &self.members[place];
        if running.is_some() || !begun || *gone {
            return Ok(());
        }
        if self.members[place].is_stuck() {
            let later = self.now() + 50_000;
            self.due(later, Due::Fault { action: Action::Restart(place) });
            return Ok(());
        }
        let started = caught(|| {
            let Member { disk, wall_ahead_millis, .. } = &self.members[place];
            let wall = self.common.clock.wall_millis().saturating_add_signed(*wall_ahead_millis);
            let opened = self.common.open(disk, wall).map_err(|e| chain(&e))?;
            let recovered = &opened.recovered;
            let (list, votes) = (&recovered.membership, &recovered.conf_state);
            let ids = |ids: Vec<MemberId>| ids.into_iter().map(|id| id.0).collect::<BTreeSet<_>>();
            let same = ids(list.voters()) == votes.voters.iter().copied().collect()
                && ids(list.learners()) == votes.learners.iter().copied().collect();
            // A member that joins lists the others before it has the log that says so.
            if !same && recovered.applied.0 > 0 {
                let (voters, learners) = (list.voters(), list.learners());
                return Err(format!(
                    "its state lists the voters {voters:?} and the learners {learners:?}, but \
                     {votes:?} vote"
                ));
            }
            Ok(self.common.start(opened))
        });
        let running = match started {
            Ok(running) => running,
            Err(why) => {
                let member = &mut self.members[place];
                // A disk that failed while it was read or repaired: it starts again later.
                if std::mem::take(&mut member.power_loss_in_sync) {
                    member.disk.power_loss(|| self.random.random_bool(0.5));
                } else if std::mem::take(&mut member.sync_fails) {
                    member.disk.crash();
                } else {
                    let ended = Ended::NotStarted { why: why.clone() };
                    self.show_process(place, Process::Down { ended, asked: false, wiped: false });
                    return Err(format!("{} cannot start: {why}", no(place)));
                }
                let at = self.now() + 50_000;
                self.due(at, Due::Fault { action: Action::Restart(place) });
                return Ok(());
            }
        };
        for (other, member) in self.members.iter().enumerate() {
            if other != place {
                let up = member.running.is_some();
                let peer = member.id;
                let why = String::new();
                running.tell(Input::Link(LinkNews { peer, connected: up, removed: false, why }));
                if up {
                    running.tell(Input::Caller { from: peer, connected: true });
                }
            }
        }
        let member = &mut self.members[place];
        member.running = Some(running);
        member.life += 1;
        (member.run_due, member.flush_due, member.paused, member.busy_until) =
            (false, false, false, 0);
        let (life, id) = (member.life, member.id);
        self.tell(Event::Process { member: no(place), process: Process::Up { pid: 0 } });
        let cluster = self.common.cluster_id();
        self.tell(Event::Identified { member: no(place), id, cluster });
        self.show_feed(place, Feed::Live);
        self.tell_link(place, true);
        let first = self.now() + self.random.random_range(0..TICK_MICROS);
        self.due(first, Due::Tick { member: place, life });
        self.wake(place);
        Ok(())
    }

    /// Ends a process at once; with the power its disk forgets.
    fn stop(&mut self, place: usize, power: bool) -> Result<(), Broken> {
        let member = &mut self.members[place];
        (member.power_loss_in_sync, member.sync_fails) = (false, false);
        // Handles die first: a process that is gone closes nothing in order.
        if power {
            let keep = [0.0, 0.5, 0.95][self.random.random_range(0..3)];
            member.disk.power_loss(|| self.random.random_bool(keep));
        } else {
            member.disk.crash();
        }
        let Some(running) = member.running.take() else { return Ok(()) };
        member.life += 1;
        member.held = Wire::default();
        member.falls = None;
        self.tally.crashes += 1;
        // A process that is gone says nothing of itself.
        member.last_status = Arc::new(Status::default_at(0));
        member.told_status = member.last_status.clone();
        killed(running);
        let ended = Ended::Signal { number: 9 };
        let process = Process::Down { ended, asked: true, wiped: false };
        self.tell(Event::Process { member: no(place), process });
        self.show_feed(place, Feed::Lost);
        self.tell_link(place, false);
        self.lose_connections(place);
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<(), Broken> {
        format!("{action:?}").hash(&mut self.trace);
        let asked = self.show_action(action);
        let acted = match *action {
            Action::Crash(place) | Action::PowerLoss(place) => {
                let up = self.members[place].running.is_some();
                self.stop(place, matches!(action, Action::PowerLoss(_)))?;
                up
            }
            Action::PowerLossInSync(place, after) => {
                let member = &mut self.members[place];
                let up = member.running.is_some();
                if up {
                    member.disk.fail_sync(after);
                    member.power_loss_in_sync = true;
                }
                up
            }
            Action::SyncFails(place, after) => {
                let member = &mut self.members[place];
                let up = member.running.is_some();
                if up {
                    member.disk.fail_sync(after);
                    member.sync_fails = true;
                }
                up
            }
            Action::Restart(place) => {
                self.start(place)?;
                false
            }
            Action::Pause(place) => {
                self.members[place].paused = true;
                self.members[place].running.is_some()
            }
            Action::Resume(place) => {
                if std::mem::take(&mut self.members[place].paused) {
                    self.wake(place);
                }
                false
            }
            Action::SlowDisk(place, micros) => {
                let member = &mut self.members[place];
                member.sync_micros = micros;
                if member.busy_until == NEVER && !member.is_stuck() {
                    (member.busy_until, member.run_due) = (0, false);
                    *self.common.wire.lock() = std::mem::take(&mut member.held);
                    self.collect(place, 0);
                    self.wake(place);
                }
                micros > 0
            }
            Action::ClockJump(place, millis) => {
                self.members[place].wall_ahead_millis += millis;
                true
            }
            Action::Partition(side) => {
                let apart = |one: usize, two: usize| (side >> one & 1) != (side >> two & 1);
                self.cut_where(apart);
                true
            }
            Action::Isolate(place) => {
                self.cut_where(|one, two| one == place || two == place);
                true
            }
            Action::Rejoin(place) => {
                self.heal_where(|one, two| one == place || two == place);
                false
            }
            Action::CutLink(from, to) => {
                self.cut_where(|one, two| (one, two) == (from, to));
                true
            }
            Action::LeaderFalls(cut, after) => {
                self.falls.push_back((cut, after));
                false
            }
            Action::SlowNetwork(micros) => {
                self.slow_micros = micros;
                micros > 0
            }
            Action::Lossy(of_thousand) => {
                self.lossy = of_thousand;
                of_thousand > 0
            }
            Action::Repeating(of_thousand) => {
                self.repeating = of_thousand;
                of_thousand > 0
            }
            Action::HealNetwork => {
                self.heal_where(|_, _| true);
                false
            }
            Action::Add(..) | Action::Promote(_) | Action::Update(_) | Action::Remove(_) => {
                self.change(action);
                false
            }
            Action::MoveLeader(to) => self.move_leader(to),
            Action::Alarm(place, raised) => {
                self.alarm(place, raised);
                false
            }
            Action::Defragment(place) => self.defragment(place)?,
        };
        if let (true, Some(kind)) = (acted, action.kind()) {
            self.tally.acted(kind);
        }
        self.show_done(action, asked);
        Ok(())
    }
}

fn no(place: usize) -> MemberNo {
    MemberNo(u8::try_from(place + 1).expect("a cluster is small"))
}

/// Runs shipped code; a panic there is its end.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => {
            let why = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no reason given");
            Err(format!("panicked: {why}"))
        }
    }
}

/// Ends a process without a chance to close anything: redb, too, does not write while its thread
/// unwinds. No panic gets out of what is dropped here; one more would end the program.
fn killed(running: Running) {
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _running = running;
        resume_unwind(Box::new(()));
    }));
    drop(unwound);
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
