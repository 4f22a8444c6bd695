//! All clients of a run: the running workload, single calls, and reading back.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use lab_protocol::{
    Call, ClientNo, Endpoints, Event, KeyRange, MemberNo, MemberPlan, MixSpec, OpId, Outcome,
    WorkloadSpec,
};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::asking::Asking;
use super::slots::Slots;
use super::watcher::Watcher;
use super::{Client, Dialler, Generator, Mix, errand, mix, read_back};
use crate::clients::{ClientSeat, Clients};

/// Clients of the workload that have their home at one member: more than one, so that a member's
/// loss moves several, few enough to be drawn.
const CLIENTS_PER_MEMBER: usize = 2;

/// How long a person's single put or get may take: longer than a member itself waits (5 s and two
/// election timeouts), so that its own words are seen.
const SINGLE_DEADLINE: Duration = Duration::from_secs(8);

/// Single calls that wait for the task. When full a call is reported as failed: nobody waits.
const ORDERS: usize = 1024;

/// Operations of the workload that may be open at once. At this many the workload pauses: the
/// cluster has answered nothing for long, and more questions would only cost memory.
const OPEN_OPERATIONS: usize = 16_384;

/// How far behind its plan a workload may be before it skips instead of catching up, such as
/// after a laptop's sleep.
const CATCH_UP: Duration = Duration::from_secs(1);

/// The clients of a run, and the task that drives them.
#[derive(Debug)]
pub struct Crew {
    events: mpsc::Sender<Event>,
    orders: mpsc::Sender<Order>,
    spec: watch::Sender<WorkloadSpec>,
    mix: watch::Sender<Option<Asked>>,
    /// Stops the mix that runs.
    mixing: CancellationToken,
    watchers: watch::Sender<u32>,
    operations: Arc<AtomicU64>,
    ending: CancellationToken,
    /// The one task; dropped, it ends with everything that it began.
    task: JoinSet<()>,
}

#[derive(Debug)]
enum Order {
    Invoke { op: OpId, member: MemberNo, call: Call, deadline: Duration },
    ReadBack { members: Vec<MemberNo>, done: oneshot::Sender<()> },
    Seat { member: MemberNo, at: Uri },
}

impl Crew {
    /// Starts the clients; they ask nothing until they are told to. Needs a tokio runtime.
    pub fn start(seat: ClientSeat) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (spec, specs) = watch::channel(WorkloadSpec::idle());
        let (watchers, counts) = watch::channel(0);
        let (mix, mixes) = watch::channel(None);
        let operations = Arc::new(AtomicU64::new(0));
        let ending = CancellationToken::new();
        let events = seat.events.clone();
        let work = Work {
            addresses: seat
                .members
                .iter()
                .filter_map(|plan| Some((plan.member, plan.client_url.parse().ok()?)))
                .collect(),
            seed: seat.seed,
            asking: Asking {
                events: seat.events,
                operations: operations.clone(),
                ending: ending.clone(),
                first_cluster: Arc::default(),
            },
            dialler: Dialler::default(),
            ending: ending.clone(),
            clients: Vec::new(),
            allowed: BTreeSet::new(),
            made: 0,
            pinned: BTreeMap::new(),
            open: JoinSet::new(),
            workloads: 0,
            beat: None,
            watches: Arc::default(),
            watching: ending.child_token(),
            mixes: 0,
            errands: None,
            told: Arc::default(),
        };
        let mut task = JoinSet::new();
        task.spawn(work.run(inbox, specs, mixes, counts));
        let mixing = ending.child_token();
        Self { events, orders, spec, mix, mixing, watchers, operations, ending, task }
    }

    fn next_op(&self) -> OpId {
        OpId(self.operations.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Clients for Crew {
    fn set_workload(&mut self, spec: WorkloadSpec) {
        self.spec.send_replace(spec);
    }

    fn set_mix(&mut self, spec: MixSpec, members: BTreeSet<MemberNo>) {
        // At once: behind this no errand begins an operation.
        self.mixing.cancel();
        self.mixing = self.ending.child_token();
        let stopping = self.mixing.clone();
        self.mix.send_replace(Some(Asked { spec, members, stopping }));
    }

    fn set_watches(&mut self, count: u32) {
        self.watchers.send_replace(count);
    }

    fn seat(&mut self, plan: &MemberPlan) {
        let Ok(at) = plan.client_url.parse() else { return };
        let order = Order::Seat { member: plan.member, at };
        if self.orders.try_send(order).is_err() {
            tracing::error!(member = %plan.member, "no call can be made through this member");
        }
    }

    fn put(&mut self, member: MemberNo, key: String, value: String) -> OpId {
        self.invoke(member, Call::Put { key, value }, SINGLE_DEADLINE)
    }

    fn get(&mut self, member: MemberNo, key: String, serializable: bool) -> OpId {
        self.invoke(member, Call::Get { key, serializable }, SINGLE_DEADLINE)
    }

    fn invoke(&mut self, member: MemberNo, call: Call, deadline: Duration) -> OpId {
        let op = self.next_op();
        let order = Order::Invoke { op, member, call, deadline };
        if let Err(mpsc::error::TrySendError::Full(Order::Invoke { call, .. })) =
            self.orders.try_send(order)
        {
            let client = pinned_no(member);
            let error = format!("more than {ORDERS} calls wait already; nothing was sent");
            // When even this is full, the operation is not in the history at all, as if it had
            // never been asked.
            self.events.try_send(Event::Invoked { op, client, member, call }).ok();
            self.events.try_send(Event::Returned { op, outcome: Outcome::Fail { error } }).ok();
        }
        op
    }

    fn read_back(&mut self, members: &[MemberNo]) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        // When full, `done` is dropped and the receiver says so.
        self.orders.try_send(Order::ReadBack { members: members.to_vec(), done }).ok();
        receiver
    }

    fn shutdown(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.ending.cancel();
        Box::pin(async move {
            // A panic of the task has already been printed.
            self.task.join_next().await;
        })
    }
}

/// What the task owns.
struct Work {
    addresses: BTreeMap<MemberNo, Uri>,
    seed: u64,
    asking: Asking,
    dialler: Dialler,
    ending: CancellationToken,
    /// The workload's clients, and the members they may turn to.
    clients: Vec<Arc<Client>>,
    allowed: BTreeSet<MemberNo>,
    /// Workload clients made so far in the run.
    made: u32,
    /// For single calls: one client for each member asked so far.
    pinned: BTreeMap<MemberNo, Arc<Client>>,
    open: JoinSet<()>,
    /// Workloads started so far in the run.
    workloads: u32,
    beat: Option<Beat>,
    /// Watches begun so far in the run.
    watches: Arc<AtomicU64>,
    /// Ends those who watch.
    watching: CancellationToken,
    /// Mixes started so far in the run.
    mixes: u32,
    /// The errands of the running mix.
    errands: Option<Errands>,
    /// The highest revision that errands were told.
    told: Arc<AtomicI64>,
}

/// A mix that is to run, its members, and what stops it.
#[derive(Clone, Debug)]
struct Asked {
    spec: MixSpec,
    members: BTreeSet<MemberNo>,
    stopping: CancellationToken,
}

/// A running mix of errands.
struct Errands {
    plan: Peekable<Mix>,
    started: Instant,
    clients: Vec<Arc<Client>>,
    running: errand::Errands,
}

/// A running workload.
struct Beat {
    plan: Peekable<Generator>,
    started: Instant,
    deadline: Duration,
}

impl Work {
    async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut specs: watch::Receiver<WorkloadSpec>,
        mut mixes: watch::Receiver<Option<Asked>>,
        mut counts: watch::Receiver<u32>,
    ) {
        let ending = self.ending.clone();
        loop {
            let due = self.due();
            tokio::select! {
                () = ending.cancelled() => break,
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order),
                    None => break,
                },
                changed = specs.changed() => match changed {
                    Ok(()) => {
                        let spec = specs.borrow_and_update().clone();
                        self.replace_workload(&spec);
                    }
                    Err(_) => break,
                },
                changed = mixes.changed() => match changed {
                    Ok(()) => {
                        let asked = mixes.borrow_and_update().clone();
                        self.replace_mix(asked);
                    }
                    Err(_) => break,
                },
                changed = counts.changed() => match changed {
                    Ok(()) => {
                        let count = *counts.borrow_and_update();
                        self.replace_watchers(count);
                    }
                    Err(_) => break,
                },
                () = sleep_until(due), if due.is_some() => self.start_due(),
                Some(_) = self.open.join_next(), if !self.open.is_empty() => {}
            }
        }
        // Each open operation notices `ending` and reports itself as unknown.
        ending.cancel();
        while self.open.join_next().await.is_some() {}
        self.dialler.shutdown().await;
    }

    /// When the next operation of the workload or the next errand is to start.
    fn due(&mut self) -> Option<Instant> {
        [self.operation_due(), self.errand_due()].into_iter().flatten().min()
    }

    fn errand_due(&mut self) -> Option<Instant> {
        if self.open.len() >= OPEN_OPERATIONS {
            return None;
        }
        let errands = self.errands.as_mut()?;
        let after = errands.plan.peek()?.after;
        Some(errands.started + after)
    }

    fn operation_due(&mut self) -> Option<Instant> {
        if self.open.len() >= OPEN_OPERATIONS {
            return None;
        }
        let beat = self.beat.as_mut()?;
        let after = beat.plan.peek()?.after;
        Some(beat.started + after)
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.errand_due().filter(|due| *due <= now) {
            let Some(errands) = &mut self.errands else { break };
            let Some(planned) = errands.plan.next() else { break };
            let client = errands.clients.get(planned.client as usize).cloned();
            if let (Some(client), true) = (client, now - due <= CATCH_UP) {
                self.open.spawn(errands.running.clone().run(client, planned));
            }
        }
        while let Some(due) = self.operation_due().filter(|due| *due <= now) {
            let Some(beat) = &mut self.beat else { return };
            let Some(planned) = beat.plan.next() else { return };
            if now - due > CATCH_UP {
                continue;
            }
            let deadline = beat.deadline;
            let Some(client) = self.clients.get(planned.client).cloned() else { continue };
            let op = self.asking.next_op();
            let member = client.member();
            self.start(client, op, member, planned.call, deadline);
        }
    }

    fn replace_workload(&mut self, spec: &WorkloadSpec) {
        self.beat = None;
        if spec.is_idle() {
            return;
        }
        let allowed: BTreeSet<_> = self
            .addresses
            .keys()
            .copied()
            .filter(|member| spec.members.is_empty() || spec.members.contains(member))
            .collect();
        if allowed != self.allowed || self.clients.is_empty() {
            self.make_clients(allowed);
        }
        let plan = Generator::new(spec.clone(), self.seed, self.workloads, self.clients.len());
        self.workloads += 1;
        self.beat = Some(Beat {
            plan: plan.peekable(),
            started: Instant::now(),
            deadline: Duration::from_millis(u64::from(spec.deadline_millis)),
        });
    }

    fn replace_mix(&mut self, asked: Option<Asked>) {
        self.errands = None;
        let Some(Asked { spec, members, stopping }) = asked else { return };
        let members: Vec<_> = self
            .addresses
            .iter()
            .filter(|(member, _)| members.contains(member))
            .map(|(member, at)| (*member, at.clone()))
            .collect();
        if spec.is_idle() || members.is_empty() {
            return;
        }
        let number = self.mixes;
        self.mixes += 1;
        let mut draws = ChaCha8Rng::seed_from_u64(self.seed ^ u64::from(number) << 40);
        let mut known = |client: u32| {
            let mut known = members.clone();
            known.rotate_left(client as usize % members.len());
            match spec.endpoints {
                Endpoints::OneEach => known.truncate(1),
                Endpoints::All | Endpoints::These(_) => known[1..].shuffle(&mut draws),
            }
            known
        };
        let client = |number: u32| {
            let no = ClientNo(ClientNo::FIRST_MIXED + number);
            let events = self.asking.events.clone();
            Arc::new(Client::new(no, known(number), self.dialler.clone(), events))
        };
        let clients = (0..spec.clients).map(client).collect();
        let watcher = |place: u32| {
            let (client, keys) = Slots::watched(place);
            let mut members = members.clone();
            let home = place as usize % members.len();
            members.rotate_left(home);
            let (dialler, watches) = (self.dialler.clone(), self.watches.clone());
            let events = self.asking.events.clone();
            Watcher {
                client,
                members,
                prev_kv: place.is_multiple_of(2),
                keys,
                dialler,
                events,
                watches,
            }
        };
        let running = errand::Errands {
            asking: self.asking.clone(),
            deadline: Duration::from_millis(u64::from(spec.deadline_millis)),
            retries: spec.retries,
            stopping,
            told: self.told.clone(),
            slots: Arc::new(Slots::new((0..mix::WATCHERS).map(watcher))),
        };
        let plan = Mix::new(spec, self.seed, number).peekable();
        self.errands = Some(Errands { plan, started: Instant::now(), clients, running });
    }

    /// Ends those who watch and has so many others watch, each with a home of its own as far as
    /// there are members.
    fn replace_watchers(&mut self, count: u32) {
        self.watching.cancel();
        self.watching = self.ending.child_token();
        let members: Vec<_> = self.addresses.clone().into_iter().collect();
        for number in 0..count {
            let mut members = members.clone();
            let home = number as usize % members.len().max(1);
            members.rotate_left(home);
            let watcher = Watcher {
                client: ClientNo(ClientNo::FIRST_WATCHING + number),
                members,
                prev_kv: number % 2 == 0,
                // Everything that a workload writes.
                keys: KeyRange { key: "w/".into(), end: Some("w0".into()) },
                dialler: self.dialler.clone(),
                events: self.asking.events.clone(),
                watches: self.watches.clone(),
            };
            self.open.spawn(watcher.run(self.watching.clone()));
        }
    }

    /// Clients for these members, each with the others in an order of its own, so that those of a
    /// lost member spread over the rest.
    fn make_clients(&mut self, allowed: BTreeSet<MemberNo>) {
        let mut draws = ChaCha8Rng::seed_from_u64(self.seed ^ u64::from(self.made));
        self.clients.clear();
        for &home in &allowed {
            for _ in 0..CLIENTS_PER_MEMBER {
                self.made += 1;
                let mut others: Vec<_> =
                    allowed.iter().copied().filter(|member| *member != home).collect();
                others.shuffle(&mut draws);
                let members = std::iter::once(home)
                    .chain(others)
                    .map(|member| (member, self.addresses[&member].clone()))
                    .collect();
                let no = ClientNo(self.made);
                let client =
                    Client::new(no, members, self.dialler.clone(), self.asking.events.clone());
                self.clients.push(Arc::new(client));
            }
        }
        self.allowed = allowed;
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Invoke { op, member, call, deadline } => {
                let no = pinned_no(member);
                match self.pinned(no, member) {
                    Some(client) => self.start(client, op, member, call, deadline),
                    None => self.refuse(op, no, member, call),
                }
            }
            Order::Seat { member, at } => {
                self.addresses.insert(member, at);
            }
            Order::ReadBack { members, done } => {
                let asked = members
                    .iter()
                    .filter_map(|member| Some((*member, self.addresses.get(member)?.clone())))
                    .collect();
                let (dialler, events) = (self.dialler.clone(), self.asking.events.clone());
                let ending = self.ending.clone();
                self.open.spawn(async move {
                    let reading = read_back::read_back(asked, &dialler, &events);
                    ending.run_until_cancelled(reading).await;
                    // Whoever waited may have gone.
                    done.send(()).ok();
                });
            }
        }
    }

    fn pinned(&mut self, no: ClientNo, member: MemberNo) -> Option<Arc<Client>> {
        if let Some(client) = self.pinned.get(&member) {
            return Some(client.clone());
        }
        let members = vec![(member, self.addresses.get(&member)?.clone())];
        let client =
            Arc::new(Client::new(no, members, self.dialler.clone(), self.asking.events.clone()));
        self.pinned.insert(member, client.clone());
        Some(client)
    }

    fn refuse(&mut self, op: OpId, client: ClientNo, member: MemberNo, call: Call) {
        let events = self.asking.events.clone();
        let error = format!("{member} is not a member of this lab");
        self.open.spawn(async move {
            // The lab that would listen is ending when these fail.
            events.send(Event::Invoked { op, client, member, call }).await.ok();
            events.send(Event::Returned { op, outcome: Outcome::Fail { error } }).await.ok();
        });
    }

    fn start(
        &mut self,
        client: Arc<Client>,
        op: OpId,
        member: MemberNo,
        call: Call,
        deadline: Duration,
    ) {
        let asking = self.asking.clone();
        // The history has its end.
        self.open.spawn(async move {
            asking.ask(&client, (op, member), &call, deadline).await;
        });
    }
}

/// The client that makes single calls through this member.
fn pinned_no(member: MemberNo) -> ClientNo {
    ClientNo(ClientNo::FIRST_PINNED + u32::from(member.0))
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
