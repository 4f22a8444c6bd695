//! The loop itself: one turn handles one kind of input to its end.

mod backups;
mod by_hand;
mod ending;
mod faults;
mod members;
mod snapshots;
mod typed;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lab_protocol::{By, Command, CommandId, Endpoints, Event, MemberNo, MemberPlan, Process, Said};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::faults::{Faults, Heeded};
use self::snapshots::Snapshots;
use super::change::{Change, Changed};
use super::decide::{Effect, decide};
use super::pending::{Await, Pending, Underway};
use super::plan::planned;
use super::traffic::Traffic;
use crate::clients::{CLIENT_EVENTS, ClientSeat, Clients, MakeClients};
use crate::clock::{RunClock, wall_millis};
use crate::engine::control::Order as ControlOrder;
use crate::engine::{self, Beginning, Engine, MemberSeat, Restored};
use crate::fabric::{Fabric, WireEvent};
use crate::handle::{Request, SubmitError};
use crate::journal::JournalWriter;
use crate::observer::{Expect, Finder, Found, Observer};
use crate::supervisor::{
    LabDirectory, LabRecord, Order, Output, ProcessEvent, Reservation, Supervisor,
};
use crate::workload::Dialler;
use words::{in_full, last_words};

/// Traffic is told at most this often.
const TRAFFIC_EVERY: Duration = Duration::from_millis(100);

/// Inputs of one kind that are handled in one turn.
const BATCH: usize = 1024;

/// At the end of a run, processes have so long to end by themselves.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Commands under way at once; more are refused.
const UNDERWAY: usize = 256;

const NO_POWER_LOSS: &str = "only the training program's disk can lose its power, and only it ends \
    at a failpoint: a scenario asks for it with `training = true`";

/// Everything that the loop owns and acts on.
pub(super) struct Parts {
    /// Members that may run, ascending.
    pub(super) plans: Vec<MemberPlan>,
    /// What is written down of the cluster.
    pub(super) record: LabRecord,
    pub(super) ports: Reservation,
    pub(super) clock: RunClock,
    pub(super) seed: u64,
    pub(super) engine: Engine,
    pub(super) engine_version: String,
    pub(super) directory: Arc<LabDirectory>,
    pub(super) outputs: Arc<BTreeMap<MemberNo, Output>>,
    pub(super) fabric: Fabric,
    pub(super) observer: Observer,
    pub(super) finder: Finder,
    pub(super) supervisor: Supervisor,
    pub(super) power: bool,
    pub(super) make_clients: Option<MakeClients>,
}

/// Everything that the loop hears.
pub(super) struct Inputs {
    pub(super) asked: mpsc::Receiver<Request>,
    pub(super) wires: mpsc::Receiver<WireEvent>,
    pub(super) observed: mpsc::Receiver<Event>,
    pub(super) processes: mpsc::Receiver<ProcessEvent>,
    pub(super) found: mpsc::Receiver<Found>,
    pub(super) ended: CancellationToken,
}

/// The lab's own clients and what they report.
struct Seated {
    clients: Box<dyn Clients>,
    reports: mpsc::Receiver<Event>,
}

/// The loop's state.
pub(super) struct Loop {
    parts: Parts,
    journal: JournalWriter,
    clients: Option<Seated>,
    underway: Underway,
    last_command: u64,
    /// Commands whose reading back goes on; each says whether it was complete.
    readings: JoinSet<(CommandId, bool)>,
    /// Commands that a member was asked for.
    changes: JoinSet<(CommandId, Result<Changed, String>)>,
    /// The connections for that.
    dialler: Dialler,
    /// Members that were removed and still run, and when they are stopped.
    leaving: BTreeMap<MemberNo, Instant>,
    /// Lines of the terminal that go on.
    typing: JoinSet<Said>,
    /// The identity that the last `member add` at the terminal told.
    added: Option<String>,
    /// What was seen of the databases on the desk.
    snapshots: Snapshots,
    /// Directories of members that were started by a line which named another than their own.
    data_dirs: BTreeMap<MemberNo, PathBuf>,
    /// What members without telemetry begin with, if it was restored from a snapshot.
    restored: BTreeMap<MemberNo, Restored>,
    /// Cluster tokens of members that have one of their own.
    tokens: BTreeMap<MemberNo, String>,
    /// Members whose process was ordered to start and has neither run nor failed yet.
    starting: BTreeSet<MemberNo>,
    /// What was last said of somebody who speaks as a member that is down.
    strangers: BTreeMap<MemberNo, String>,
    /// Until every process has ended and the new cluster is started.
    starting_over: bool,
    /// The lab's own backups.
    backups: backups::Habit,
    /// The faults that act.
    faults: Faults,
    /// What members are told at their control sockets.
    heeding: JoinSet<Heeded>,
    /// Members whose process is about to end because it was told to.
    ending: BTreeSet<MemberNo>,
    traffic: Traffic,
    traffic_at: Option<Instant>,
}

/// One thing that the loop heard.
enum Heard {
    Asked(Option<Request>),
    Wires(Vec<WireEvent>),
    Observed(Vec<Event>),
    Reported(Vec<Event>),
    Process(Option<ProcessEvent>),
    Found(Found),
    ReadBack { id: CommandId, complete: bool },
    Answered { id: CommandId, answer: Result<Changed, String> },
    Said(Said),
    Backups(backups::Said),
    Looked,
    LeavingDue,
    FaultsDue,
    Heeded(Heeded),
    TrafficDue,
    End,
}

impl Heard {
    /// Whether who is down may be others after it.
    fn is_about_processes(&self) -> bool {
        matches!(self, Self::Asked(_) | Self::Process(_) | Self::Found(_) | Self::Answered { .. })
    }
}

impl Loop {
    pub(super) fn new(parts: Parts, journal: JournalWriter) -> Self {
        Self {
            parts,
            journal,
            clients: None,
            underway: Underway::default(),
            last_command: 0,
            readings: JoinSet::new(),
            changes: JoinSet::new(),
            typing: JoinSet::new(),
            added: None,
            snapshots: Snapshots::default(),
            data_dirs: BTreeMap::new(),
            restored: BTreeMap::new(),
            dialler: Dialler::default(),
            leaving: BTreeMap::new(),
            tokens: BTreeMap::new(),
            starting: BTreeSet::new(),
            strangers: BTreeMap::new(),
            starting_over: false,
            backups: backups::Habit::default(),
            faults: Faults::default(),
            heeding: JoinSet::new(),
            ending: BTreeSet::new(),
            traffic: Traffic::default(),
            traffic_at: None,
        }
    }

    /// Runs until the lab ends.
    pub(super) async fn run(
        mut self,
        run: String,
        hold_back: BTreeSet<MemberNo>,
        mut inputs: Inputs,
    ) {
        self.begin(run);
        self.write_seats().await;
        let members: Vec<_> = self.parts.plans.iter().map(|plan| plan.member).collect();
        for member in members.into_iter().filter(|member| !hold_back.contains(member)) {
            if let Err(why) = self.start(member).await {
                self.append(Event::Note { text: why });
            }
        }
        self.look_around();
        self.look();
        loop {
            self.journal.publish();
            let heard = self.hear(&mut inputs).await;
            let looks = heard.is_about_processes();
            match heard {
                Heard::Asked(Some(request)) => self.handle(request, &mut inputs).await,
                Heard::Asked(None) | Heard::End => break,
                Heard::Wires(events) => self.wires(events),
                Heard::Observed(events) => {
                    for event in events {
                        self.observed(event);
                    }
                }
                Heard::Reported(events) => self.reported(events),
                Heard::Process(Some(event)) => self.process(event, &mut inputs).await,
                // The supervisor's thread is gone, and with it every process.
                Heard::Process(None) => break,
                Heard::Found(found) => self.found(found).await,
                Heard::ReadBack { id, complete } => self.read_back(id, complete),
                Heard::Answered { id, answer } => self.answered(id, answer).await,
                Heard::Said(said) => self.said(said),
                Heard::Backups(said) => self.backup_said(said),
                Heard::Looked => self.looked(),
                Heard::LeavingDue => self.stop_leaving().await,
                Heard::FaultsDue => {
                    for command in self.faults_due().await {
                        let (reply, _) = oneshot::channel();
                        let by = By::Lab;
                        self.handle(Request::Command { by, command, reply }, &mut inputs).await;
                    }
                }
                Heard::Heeded(heeded) => self.heeded(heeded),
                Heard::TrafficDue => self.tell_traffic(&mut inputs),
            }
            if looks {
                self.look_around();
            }
        }
        self.finish(inputs).await;
    }

    /// Waits for the next input. Cancel safe: every source is.
    async fn hear(&mut self, inputs: &mut Inputs) -> Heard {
        let (mut wires, mut observed, mut reported) = (Vec::new(), Vec::new(), Vec::new());
        let traffic_at = self.traffic_at;
        let leaving_at = self.leaving.values().min().copied();
        let faults_at = self.faults.due_at();
        let clients = &mut self.clients;
        tokio::select! {
            () = inputs.ended.cancelled() => Heard::End,
            request = inputs.asked.recv() => Heard::Asked(request),
            event = inputs.processes.recv() => Heard::Process(event),
            Some(found) = inputs.found.recv() => Heard::Found(found),
            _ = inputs.wires.recv_many(&mut wires, BATCH) => Heard::Wires(wires),
            _ = inputs.observed.recv_many(&mut observed, BATCH) => Heard::Observed(observed),
            () = reports(clients, &mut reported) => Heard::Reported(reported),
            Some(Ok((id, complete))) = self.readings.join_next() => Heard::ReadBack { id, complete },
            Some(Ok((id, answer))) = self.changes.join_next() => Heard::Answered { id, answer },
            said = self.backups.next() => Heard::Backups(said),
            Some(Ok(said)) = self.typing.join_next() => Heard::Said(said),
            () = self.snapshots.seen() => Heard::Looked,
            () = sleep_until(leaving_at.unwrap_or_else(Instant::now)), if leaving_at.is_some() => {
                Heard::LeavingDue
            }
            Some(Ok(heeded)) = self.heeding.join_next() => Heard::Heeded(heeded),
            () = sleep_until(faults_at.unwrap_or_else(Instant::now)), if faults_at.is_some() => {
                Heard::FaultsDue
            }
            () = sleep_until(traffic_at.unwrap_or_else(Instant::now)), if traffic_at.is_some() => {
                Heard::TrafficDue
            }
        }
    }

    /// The first event of a run, and new clients.
    fn begin(&mut self, run: String) {
        let parts = &self.parts;
        let token = parts.record.token.clone();
        let event = Event::RunStarted {
            run,
            seed: parts.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: parts.engine_version.clone(),
            token,
            wall_millis: wall_millis(),
            members: parts.plans.clone(),
        };
        self.clients = parts.make_clients.as_ref().map(|make| {
            let (events, reports) = mpsc::channel(CLIENT_EVENTS);
            let members = parts.plans.iter().map(|plan| over_the_fabric(&parts.fabric, plan));
            let seat = ClientSeat { members: members.collect(), seed: parts.seed, events };
            Seated { clients: make(seat), reports }
        });
        self.traffic = Traffic::default();
        self.append(event);
    }

    /// A member told something. Of one that does not tell that its cluster was restored, the lab
    /// does, before its identity.
    fn observed(&mut self, event: Event) {
        if let Event::Identified { member, cluster, .. } = &event
            && let Some(restored) = self.restored.remove(member)
            && restored.cluster == *cluster
        {
            let Restored { cluster, snapshot: revision, began_at } = restored;
            self.append(Event::Restored { member: *member, cluster, revision, began_at });
        }
        self.append(event);
    }

    /// Puts an event into the journal and settles the commands that waited for it.
    fn append(&mut self, event: Event) {
        let settled = self.underway.settle(&event);
        self.journal.append(event);
        for (pending, how) in settled {
            self.settled(pending.id, pending.reply, how);
        }
    }

    fn settled(
        &mut self,
        id: CommandId,
        reply: oneshot::Sender<Result<CommandId, SubmitError>>,
        how: Result<(), String>,
    ) {
        let (event, answer) = match how {
            Ok(()) => (Event::Done { id }, Ok(id)),
            Err(why) => {
                (Event::Refused { id, why: why.clone() }, Err(SubmitError::Refused { id, why }))
            }
        };
        self.journal.append(event);
        self.journal.publish();
        reply.send(answer).ok(); // Who asked has left; the journal says what came of it.
    }

    async fn handle(&mut self, request: Request, inputs: &mut Inputs) {
        match request {
            Request::Tell { event } => self.append(event),
            Request::Command { by, command, reply } => {
                self.last_command += 1;
                let id = CommandId(self.last_command);
                self.append(Event::Asked { id, by, command: command.clone() });
                // A change of a link then finds room to be reported in.
                self.drain_wires(inputs);
                match self.carry_out(id, &command).await {
                    Ok(awaits) if awaits.is_empty() => self.settled(id, reply, Ok(())),
                    Ok(awaits) => self.underway.add(Pending { id, awaits, reply }),
                    Err(why) => self.settled(id, reply, Err(why)),
                }
                self.drain_wires(inputs);
                self.go_on_starting_over(inputs).await;
            }
        }
    }

    /// Starts to carry out a command; what must be seen before it is done.
    async fn carry_out(&mut self, id: CommandId, command: &Command) -> Result<Vec<Await>, String> {
        if self.starting_over {
            return Err("the lab is starting over; try again in a moment".into());
        }
        if self.underway.len() >= UNDERWAY {
            return Err(format!("{UNDERWAY} commands are under way already; wait for one"));
        }
        let effects = self.journal.with_state(|state| decide(state, command))?;
        let mut awaits = Vec::new();
        for effect in effects {
            awaits.extend(self.act(id, effect).await?);
        }
        Ok(awaits)
    }

    async fn act(&mut self, id: CommandId, effect: Effect) -> Result<Option<Await>, String> {
        let supervisor = &self.parts.supervisor;
        match effect {
            Effect::Start(member) => {
                // Whoever else had it started, it is soon up.
                if !self.starting.contains(&member) {
                    self.start(member).await?;
                }
                Ok(Some(Await::Up(member)))
            }
            Effect::Crash(member) => {
                supervisor.order(Order::Crash(member)).await;
                Ok(Some(Await::Down(member)))
            }
            Effect::Stop(member) => {
                supervisor.order(Order::Stop(member)).await;
                Ok(Some(Await::Down(member)))
            }
            Effect::Pause(member) => {
                supervisor.order(Order::Pause(member)).await;
                Ok(Some(Await::Paused(member)))
            }
            Effect::Resume(member) => {
                supervisor.order(Order::Resume(member)).await;
                Ok(Some(Await::Up(member)))
            }
            Effect::Wipe(member) => {
                self.wipe(member).await?;
                Ok(None)
            }
            Effect::Set(link, condition) => {
                Ok(self.parts.fabric.set(link, condition).then_some(Await::Changed(link)))
            }
            Effect::StartOver => {
                self.starting_over = true;
                for member in self.running() {
                    self.parts.supervisor.order(Order::Crash(member)).await;
                }
                Ok(Some(Await::StartedOver))
            }
            Effect::SetWorkload(spec) => {
                let mut asked = spec.clone();
                if asked.members.is_empty() {
                    asked.members = self.serving();
                }
                self.seated()?.clients.set_workload(asked);
                self.append(Event::WorkloadChanged { spec });
                Ok(None)
            }
            Effect::SetMix(mix) => {
                let members = match &mix.endpoints {
                    Endpoints::These(members) => members.clone(),
                    Endpoints::All | Endpoints::OneEach => self.serving(),
                };
                self.seated()?.clients.set_mix(mix.clone(), members);
                self.append(Event::MixChanged { mix });
                Ok(None)
            }
            Effect::SetWatches(count) => {
                self.seated()?.clients.set_watches(count);
                Ok(None)
            }
            Effect::Put { member, key, value } => {
                let op = self.seated()?.clients.put(member, key, value);
                Ok(Some(Await::Returned(op)))
            }
            Effect::Get { member, key, serializable } => {
                let op = self.seated()?.clients.get(member, key, serializable);
                Ok(Some(Await::Returned(op)))
            }
            Effect::Invoke { member, call, deadline_millis } => {
                let deadline = Duration::from_millis(u64::from(deadline_millis));
                let op = self.seated()?.clients.invoke(member, call, deadline);
                Ok(Some(Await::Returned(op)))
            }
            Effect::ReadBack(members) => {
                let done = self.seated()?.clients.read_back(&members);
                self.readings.spawn(async move { (id, done.await.is_ok()) });
                Ok(Some(Await::ReadBack(id)))
            }
            Effect::SetToken { member, token } => {
                if token.is_empty() {
                    self.tokens.remove(&member);
                } else {
                    self.tokens.insert(member, token);
                }
                Ok(None)
            }
            Effect::AddMember { ask, learner } => {
                let Some(member) = self.parts.record.next() else {
                    return Err("every place of this lab was used; start over".into());
                };
                Ok(Some(self.change(id, ask, Change::Add { member, learner })?))
            }
            Effect::ChangeMembers { ask, change } => Ok(Some(self.change(id, ask, change)?)),
            Effect::Type(line) => self.typed(id, &line).await,
            Effect::DamageSnapshot(name) => self.damage(&name).await.map(|()| None),
            Effect::SetBackups { every_millis, keep, verify } => {
                self.set_backups(every_millis, keep, verify);
                Ok(None)
            }
            Effect::ResetLink(link) => {
                let connections = self.parts.fabric.reset(link);
                self.append(Event::LinkReset { link, connections });
                Ok(None)
            }
            Effect::Held(link, number, order) => {
                self.parts.fabric.order(link, number, order);
                Ok(Some(Await::OfMessage(number)))
            }
            Effect::Inject { fault, millis } => self.inject(id, fault, millis).await,
            Effect::Lift(fault) => Ok(self.lift(id, fault).await),
            Effect::Later { millis, commands } => {
                self.later(millis, commands);
                Ok(None)
            }
            Effect::JumpClock(member, millis) => {
                self.control(id, member, ControlOrder::ClockJump { millis })
            }
            Effect::GrantTicks(member, count) => {
                self.control(id, member, ControlOrder::Tick { count })
            }
            Effect::SetTimers(member, ticks) => {
                self.control(id, member, ControlOrder::Timers { ticks })
            }
            Effect::Campaign(member) => self.control(id, member, ControlOrder::Campaign),
            Effect::DamageMember(member, file, damage) => {
                self.damage_member(member, file, damage).await.map(|()| None)
            }
            Effect::LosePower(member) => {
                if !self.parts.power {
                    return Err(NO_POWER_LOSS.into());
                }
                self.expect_end(member);
                let seed = self.parts.seed.rotate_left(7) ^ id.0.max(1);
                self.control(id, member, ControlOrder::LosePower { seed: seed.max(1) })?;
                Ok(Some(Await::Down(member)))
            }
            Effect::CrashAt(member, point) => {
                if !self.parts.power {
                    return Err(NO_POWER_LOSS.into());
                }
                self.expect_end(member);
                self.control(id, member, ControlOrder::CrashAt { point, hits: 1 })
            }
        }
    }

    /// Reading back has ended; all that it reported comes before its command is done.
    fn read_back(&mut self, id: CommandId, complete: bool) {
        let mut events = Vec::new();
        if let Some(seated) = &mut self.clients {
            while let Ok(event) = seated.reports.try_recv() {
                events.push(event);
            }
        }
        self.reported(events);
        let how = if complete {
            Ok(())
        } else {
            Err("the lab's clients could not read back; try again".to_owned())
        };
        for (pending, how) in self.underway.met(Await::ReadBack(id), &how) {
            self.settled(pending.id, pending.reply, how);
        }
    }

    fn seated(&mut self) -> Result<&mut Seated, String> {
        self.clients.as_mut().ok_or_else(|| "this lab runs without clients".to_owned())
    }

    /// Orders a member's process to start.
    async fn start(&mut self, member: MemberNo) -> Result<(), String> {
        self.start_with(member, None).await
    }

    /// The same, with flags that somebody typed.
    async fn start_with(
        &mut self,
        member: MemberNo,
        typed: Option<&[String]>,
    ) -> Result<(), String> {
        if self.starting.contains(&member) {
            return Err(format!("{member} is being started already"));
        }
        let directory = &self.parts.directory;
        match self.data_dirs.get(&member) {
            Some(_) => directory.own_dir(member),
            None => directory.data_dir(member),
        }
        .map_err(|error| in_full(&error))?;
        self.leave_faults(member).await?;
        let seat = self.seat_of(member, typed);
        self.restored.remove(&member);
        if let Engine::Etcd(_) = self.parts.engine {
            let data_dir = seat.data_dir.clone();
            let found = blocking(move || engine::restored(&data_dir)).await;
            self.restored.extend(found.map(|found| (member, found)));
        }
        let launch = self.parts.engine.launch(&seat);
        self.parts.supervisor.order(Order::Start(Box::new(launch))).await;
        self.starting.insert(member);
        Ok(())
    }

    /// All that a member needs to know to take part.
    fn seat_of(&self, member: MemberNo, typed: Option<&[String]>) -> MemberSeat {
        let parts = &self.parts;
        let record = &parts.record;
        let place = usize::from(member.0) - 1;
        let joined = record.added.iter().find(|joined| joined.member == member);
        let own = || parts.directory.data_place(member);
        let data_dir = self.data_dirs.get(&member).cloned().unwrap_or_else(own);
        MemberSeat {
            member,
            cluster: match joined {
                Some(joined) => Beginning::Joins(joined.initial_cluster.clone()),
                None => Beginning::Founds((1..=record.members).map(MemberNo).collect()),
            },
            token: self.tokens.get(&member).unwrap_or(&record.token).clone(),
            data_dir,
            ports: parts.ports.members[place],
            proxy_url: parts.fabric.proxy_url(member).expect("every member has a proxy"),
            control: parts.directory.control_socket(member),
            power: parts.power.then(|| parts.directory.power_dir(member)),
            output: parts.outputs[&member].clone(),
            typed: typed.map(<[String]>::to_vec),
        }
    }

    async fn wipe(&mut self, member: MemberNo) -> Result<(), String> {
        // Whatever it ran on last is forgotten; it begins anew in its own.
        self.data_dirs.remove(&member);
        let directory = self.parts.directory.clone();
        blocking(move || directory.wipe(member)).await.map_err(|error| in_full(&error))?;
        let process =
            self.journal.with_state(|state| state.members.get(&member).map(|m| m.process.clone()));
        if let Some(Process::Down { ended, asked, wiped: _ }) = process {
            let process = Process::Down { ended, asked, wiped: true };
            self.append(Event::Process { member, process });
        }
        Ok(())
    }

    /// Members whose process runs, is paused, or is about to run.
    fn running(&self) -> Vec<MemberNo> {
        self.journal.with_state(|state| {
            state
                .members
                .iter()
                .filter(|(no, member)| match member.process {
                    Process::Up { .. } | Process::Paused { .. } => true,
                    Process::Planned | Process::Down { .. } => self.starting.contains(no),
                })
                .map(|(&no, _)| no)
                .collect()
        })
    }

    async fn process(&mut self, event: ProcessEvent, inputs: &mut Inputs) {
        let observer = &self.parts.observer;
        let (member, process, note) = match event {
            ProcessEvent::Up { member, pid } | ProcessEvent::Resumed { member, pid } => {
                observer.expect(member, Expect::Speech);
                (member, Process::Up { pid }, None)
            }
            ProcessEvent::Paused { member, pid } => {
                observer.expect(member, Expect::Silence);
                (member, Process::Paused { pid }, None)
            }
            ProcessEvent::Ended { member, ended, asked, last_lines } => {
                let asked = self.ending.remove(&member) || asked;
                observer.expect(member, Expect::Nothing);
                self.parts.fabric.process_ended(member);
                let note = (!asked).then(|| last_words(member, &ended, &last_lines));
                (member, Process::Down { ended, asked, wiped: false }, note)
            }
        };
        self.starting.remove(&member);
        match process {
            Process::Down { .. } => drop(self.leaving.remove(&member)),
            Process::Up { .. } => self.starve_again(member).await,
            Process::Planned | Process::Paused { .. } => {}
        }
        let is_up = matches!(process, Process::Up { .. });
        self.append(Event::Process { member, process });
        if is_up {
            self.touch_disk_again(member);
        }
        if let Some(text) = note {
            self.append(Event::Note { text });
        }
        self.go_on_starting_over(inputs).await;
    }

    fn drain_wires(&mut self, inputs: &mut Inputs) {
        let mut events = Vec::new();
        while let Ok(event) = inputs.wires.try_recv() {
            events.push(event);
        }
        self.wires(events);
    }

    fn wires(&mut self, events: Vec<WireEvent>) {
        if events.is_empty() {
            return;
        }
        for event in events {
            let event = self.traffic.hear(event);
            self.append(event);
        }
        self.traffic_at.get_or_insert_with(|| Instant::now() + TRAFFIC_EVERY);
    }

    /// Tells what went over the links that changed; again later if something is under way.
    fn tell_traffic(&mut self, inputs: &mut Inputs) {
        for event in self.traffic.settle(&self.parts.fabric, &mut inputs.wires) {
            self.append(event);
        }
        let under_way = self.traffic.is_under_way();
        self.traffic_at = under_way.then(|| Instant::now() + TRAFFIC_EVERY);
    }

    fn reported(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Invoked { .. }
                | Event::Returned { .. }
                | Event::AnsweredBy { .. }
                | Event::Reconnected { .. }
                | Event::ReadBack(_)
                | Event::WatchOpened { .. }
                | Event::WatchHeard { .. }
                | Event::WatchClosed { .. }
                | Event::WatchResumed { .. }
                | Event::Note { .. } => self.append(event),
                other => {
                    tracing::error!(?other, "clients may report operations only");
                }
            }
        }
    }
}

/// A member as the lab's own clients reach it.
fn over_the_fabric(fabric: &Fabric, plan: &MemberPlan) -> MemberPlan {
    let own = || plan.client_url.clone();
    MemberPlan { client_url: fabric.client_url(plan.member).unwrap_or_else(own), ..plan.clone() }
}

/// Reads what the clients report; never returns without clients.
async fn reports(clients: &mut Option<Seated>, events: &mut Vec<Event>) {
    match clients {
        Some(seated) if !seated.reports.is_closed() || !seated.reports.is_empty() => {
            seated.reports.recv_many(events, BATCH).await;
        }
        Some(_) | None => std::future::pending().await,
    }
}

/// Does something slow on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
