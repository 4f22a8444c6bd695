//! Every kind of fault, on real processes: it acts, and it ends.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_orchestrator::journal::Follower;
use lab_orchestrator::lab::{Lab, LabPlan};
use lab_orchestrator::workload::make_clients;
use lab_protocol::node_protocol::{FrameKind, Role, TraceEvent};
use lab_protocol::{
    By, Call, Command, Damage, Ended, Event, Fate, Fault, HeldOrder, Kinds, LabState, Link,
    LinkCondition, LostWhy, Mangling, MemberFile, MemberNo, Numbered, Outcome, Process,
    WorkloadSpec,
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CLIENTS: MemberNo = MemberNo::CLIENTS;

fn node() -> PathBuf {
    let node = Path::new(env!("CARGO_BIN_EXE_raft-lab")).with_file_name("raft-node");
    assert!(node.is_file(), "{} is missing: cargo build -p node", node.display());
    node
}

/// Three real members under load, and everything that the journal has told since the last look.
struct Stage {
    lab: Lab,
    follower: Follower,
    heard: VecDeque<Arc<Numbered>>,
}

impl Stage {
    async fn new() -> Self {
        let flags = ["--election-timeout=400", "--heartbeat-interval=40"];
        let plan = LabPlan {
            members: Some(3),
            node_args: flags.iter().map(Into::into).collect(),
            clients: Some(make_clients()),
            ..LabPlan::of(node(), 5)
        };
        let lab = Lab::start(plan).await.expect("starts");
        let follower = lab.handle().journal().follow(0);
        let mut stage = Self { lab, follower, heard: VecDeque::new() };
        stage.whole().await;
        let spec = WorkloadSpec { puts_per_second: 30, reads_per_second: 10, ..Default::default() };
        stage.ask(Command::SetWorkload { spec }).await;
        stage
    }

    fn state(&self) -> LabState {
        self.lab.handle().journal().state()
    }

    async fn ask(&mut self, command: Command) {
        let asked = command.clone();
        self.lab
            .handle()
            .submit(By::Call, command)
            .await
            .unwrap_or_else(|error| panic!("{asked:?}: {error}"));
    }

    async fn refused(&mut self, command: Command, needle: &str) {
        let error = self.lab.handle().submit(By::Call, command).await.expect_err("refused");
        assert!(error.to_string().contains(needle), "{error}");
    }

    /// Waits for an event, from the last one on that was waited for.
    async fn event(&mut self, what: &str, mut is_it: impl FnMut(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(numbered) = self.heard.pop_front() {
                if is_it(&numbered.event) {
                    return numbered.event.clone();
                }
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("{what} was awaited: {}", self.account()));
            tokio::time::timeout(left, self.follower.ready()).await.ok();
            self.heard.extend(self.follower.take(10_000).expect("the journal is kept"));
        }
    }

    /// Forgets what was told so far.
    fn skip_to_now(&mut self) {
        self.heard.clear();
        while !self.follower.take(10_000).expect("the journal is kept").is_empty() {}
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&LabState) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.state()) {
            assert!(Instant::now() < deadline, "{what} was awaited: {}", self.account());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn account(&self) -> String {
        let state = self.state();
        let told = state.story.lines.iter().map(|line| line.text.as_str());
        let lines: Vec<_> = told.filter(|line| !line.contains("reconnect")).collect();
        let now = lab_check::convergence::account(&state);
        format!("{now}\n{}", lines.join("\n"))
    }

    /// Waits until everybody follows one leader.
    async fn whole(&mut self) -> (MemberNo, MemberNo, MemberNo) {
        self.until("a whole cluster", |state| lab_check::convergence::agreed(state).is_some())
            .await;
        let state = self.state();
        let leader = state.leader().expect("somebody leads");
        let mut others = state.members.keys().copied().filter(|member| *member != leader);
        (leader, others.next().expect("three"), others.next().expect("three"))
    }

    async fn end(self) {
        self.lab.shutdown().await;
    }
}

fn link(from: MemberNo, to: MemberNo) -> Link {
    Link { from, to }
}

fn is_trace(event: &Event, of: MemberNo, is_it: impl Fn(&TraceEvent) -> bool) -> bool {
    matches!(event, Event::Trace { member, traced } if *member == of && is_it(&traced.event))
}

/// Whether a member lost its connection to anybody.
fn lost_a_peer(event: &Event, of: MemberNo) -> bool {
    is_trace(event, of, |trace| matches!(trace, TraceEvent::Peer { connected: false, .. }))
}

fn found_a_peer(event: &Event, of: MemberNo) -> bool {
    is_trace(event, of, |trace| matches!(trace, TraceEvent::Peer { connected: true, .. }))
}

fn is_down(state: &LabState, member: MemberNo) -> bool {
    matches!(state.members[&member].process, Process::Down { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_link_keeps_its_connections_and_delivers_late() {
    let mut stage = Stage::new().await;
    // A held heartbeat would cost an election: it is a follower's answers that are held.
    let (leader, one, _) = stage.whole().await;
    let held = link(one, leader);
    stage.skip_to_now();
    stage.ask(Command::SetLink { link: held, condition: LinkCondition::Held }).await;
    stage.until("held messages", |state| state.held.len() >= 4).await;
    let numbers: Vec<_> = stage.state().held.keys().copied().take(3).collect();
    let [first, second, third] = numbers[..] else { panic!("three of four") };
    stage.ask(Command::Held { number: first, order: HeldOrder::Release }).await;
    stage.ask(Command::Held { number: second, order: HeldOrder::Drop }).await;
    stage.ask(Command::Held { number: third, order: HeldOrder::Duplicate }).await;
    stage.refused(Command::Held { number: first, order: HeldOrder::Drop }, "no link holds").await;
    stage.ask(Command::Heal { link: held }).await;
    let (mut sent_again, mut dropped) = (false, false);
    let mut landed = BTreeSet::new();
    let mut reset = false;
    stage
        .event("the last of it", |event| {
            match event {
                Event::MessageReleased { number, .. } => {
                    landed.insert(*number);
                }
                Event::MessageLost { number, why: LostWhy::Dropped } => {
                    dropped |= *number == second
                }
                Event::Message(message) => {
                    let lands = matches!(message.fate, Fate::Lands { .. });
                    sent_again |= message.link == held && lands && landed.contains(&third);
                }
                _ => reset |= lost_a_peer(event, one) || lost_a_peer(event, leader),
            }
            matches!(event, Event::LinkChanged { condition: LinkCondition::Open, .. })
        })
        .await;
    assert!(dropped && sent_again && landed.contains(&first) && landed.contains(&third));
    assert!(!reset, "no connection ended");
    assert!(stage.state().held.is_empty(), "healed");
    stage.whole().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_refuses_is_reset_and_is_left_half_open() {
    let mut stage = Stage::new().await;
    let (leader, one, _) = stage.whole().await;
    // Reset: connections end once, and are dialled anew.
    stage.skip_to_now();
    stage.ask(Command::ResetLink { link: link(leader, one) }).await;
    let is_reset =
        |event: &Event| matches!(event, Event::LinkReset { connections, .. } if *connections > 0);
    stage.event("a reset", is_reset).await;
    stage.event("an end", |event| lost_a_peer(event, leader) || lost_a_peer(event, one)).await;
    stage
        .event("a beginning", |event| found_a_peer(event, leader) || found_a_peer(event, one))
        .await;
    stage.whole().await;

    // Refused: they end, and nobody connects until it is healed.
    stage.skip_to_now();
    stage
        .ask(Command::SetLink { link: link(leader, one), condition: LinkCondition::Refused })
        .await;
    stage.event("an end", |event| lost_a_peer(event, leader) || lost_a_peer(event, one)).await;
    stage.ask(Command::Heal { link: link(leader, one) }).await;
    stage.event("a beginning", |event| found_a_peer(event, leader)).await;
    stage.whole().await;

    // Half open: when the other end is gone, nobody is told.
    let (leader, one, _) = stage.whole().await;
    for half in [link(leader, one), link(one, leader)] {
        stage.ask(Command::SetLink { link: half, condition: LinkCondition::HalfOpen }).await;
    }
    stage.skip_to_now();
    stage.ask(Command::Crash { member: one }).await;
    let mut told = false;
    let into_nothing = |event: &Event| {
        matches!(event, Event::Message(message)
            if message.link == link(leader, one)
                && message.fate == Fate::Lost(LostWhy::ReceiverDown))
    };
    stage
        .event("a message to nobody", |event| {
            told |= lost_a_peer(event, leader);
            into_nothing(event)
        })
        .await;
    assert!(!told, "the leader was not told that {one} is gone");
    for half in [link(leader, one), link(one, leader)] {
        stage.ask(Command::Heal { link: half }).await;
    }
    stage.event("the end is told at last", |event| lost_a_peer(event, leader)).await;
    stage.ask(Command::Restart { member: one }).await;
    stage.whole().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_slow_throttled_cut_and_flaps() {
    let mut stage = Stage::new().await;
    let (leader, one, _) = stage.whole().await;
    let wire = link(leader, one);
    let late = |by: u64, event: &Event, at_micros: u64| {
        matches!(event, Event::Message(message) if message.link == wire
            && matches!(message.fate, Fate::Lands { at_micros: lands } if lands > at_micros + by))
    };
    for condition in [
        LinkCondition::Delayed { millis: 60, jitter_millis: 20 },
        LinkCondition::Throttled { bytes_per_second: 3_000 },
    ] {
        stage.skip_to_now();
        stage.ask(Command::SetLink { link: wire, condition }).await;
        let clock = stage.state().at_micros;
        stage.event("a late message", |event| late(50_000, event, clock)).await;
        stage.ask(Command::Heal { link: wire }).await;
    }
    stage.whole().await;
    stage.skip_to_now();
    stage.ask(Command::Cut { link: wire }).await;
    let cut = |event: &Event| {
        matches!(event, Event::Message(message)
            if message.link == wire && message.fate == Fate::Lost(LostWhy::Cut))
    };
    stage.event("a lost message", cut).await;
    stage.ask(Command::Heal { link: wire }).await;
    stage.whole().await;

    let flapping = Fault::Flapping { link: wire, up_millis: 150, down_millis: 50 };
    stage.skip_to_now();
    stage.ask(Command::Inject { fault: flapping }).await;
    for _ in 0..3 {
        let is = |condition: LinkCondition| {
            move |event: &Event| *event == Event::LinkChanged { link: wire, condition }
        };
        stage.event("a cut", is(LinkCondition::Cut)).await;
        stage.event("an end of it", is(LinkCondition::Open)).await;
    }
    assert_eq!(stage.state().faults.len(), 1);
    stage.ask(Command::Lift { fault: flapping }).await;
    stage.until("an open link", |state| state.links[&wire].condition == LinkCondition::Open).await;
    assert!(stage.state().faults.is_empty());
    stage.refused(Command::Lift { fault: flapping }, "no such fault").await;
    stage.whole().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_drops_doubles_and_reorders_messages_of_a_kind() {
    let mut stage = Stage::new().await;
    let (leader, one, _) = stage.whole().await;
    let wire = link(leader, one);
    let mangled = |how, percent, only| LinkCondition::Mangled { how, percent, only };
    stage.skip_to_now();
    let drop = mangled(Mangling::Drop, 50, Kinds::Heartbeats);
    stage.ask(Command::SetLink { link: wire, condition: drop }).await;
    let (mut lost, mut others) = (0, 0);
    stage
        .event("lost heartbeats", |event| {
            if let Event::Message(message) = event
                && message.fate == Fate::Lost(LostWhy::Chance)
            {
                lost += u32::from(message.kind == FrameKind::Heartbeat);
                others += u32::from(message.kind != FrameKind::Heartbeat);
            }
            lost >= 3
        })
        .await;
    assert_eq!(others, 0);

    stage.skip_to_now();
    let duplicate = mangled(Mangling::Duplicate, 100, Kinds::Appends);
    stage.ask(Command::SetLink { link: wire, condition: duplicate }).await;
    let mut before = None;
    stage
        .event("a message that comes twice", |event| match event {
            Event::Message(message) if message.link == wire && message.entries > 0 => {
                let same = (message.index, message.term, message.entries);
                let twice = before == Some(same);
                before = Some(same);
                twice
            }
            _ => false,
        })
        .await;

    stage.skip_to_now();
    let reorder = mangled(Mangling::Reorder, 50, Kinds::Appends);
    stage.ask(Command::SetLink { link: wire, condition: reorder }).await;
    let mut latest = 0;
    stage
        .event("a message that overtakes another", |event| match event {
            Event::Message(message) if message.link == wire => match message.fate {
                Fate::Lands { at_micros } => {
                    let overtakes = at_micros < latest;
                    latest = latest.max(at_micros);
                    overtakes
                }
                Fate::Lost(_) | Fate::Held => false,
            },
            _ => false,
        })
        .await;
    stage.ask(Command::Heal { link: wire }).await;
    stage.whole().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_lose_the_answer_to_a_write_that_was_done() {
    let mut stage = Stage::new().await;
    let (leader, _, _) = stage.whole().await;
    stage.ask(Command::SetWorkload { spec: WorkloadSpec::idle() }).await;
    let get = || Command::Get { member: leader, key: "k".into(), serializable: false };
    // A connection is there before answers are held: without them there would be none.
    stage.ask(get()).await;
    let answers = link(leader, CLIENTS);
    stage.ask(Command::SetLink { link: answers, condition: LinkCondition::Held }).await;
    assert_eq!(stage.state().client_links[&answers], LinkCondition::Held);
    stage.skip_to_now();
    let revision = |state: &LabState, of| state.members[&of].status.as_ref().map(|s| s.revision);
    let before = revision(&stage.state(), leader);
    let call = Call::Put { key: "k".into(), value: "v".into() };
    let put = Command::Invoke { member: leader, call, deadline_millis: 1_500 };
    stage.ask(put).await;
    let unknown =
        |event: &Event| matches!(event, Event::Returned { outcome: Outcome::Info { .. }, .. });
    stage.event("an unknown outcome", unknown).await;
    stage.until("the write", |state| revision(state, leader) > before).await;
    stage.ask(Command::Heal { link: answers }).await;
    assert!(stage.state().client_links.is_empty());
    stage.skip_to_now();
    stage.ask(get()).await;
    let seen = |event: &Event| {
        matches!(event, Event::Returned { outcome: Outcome::Ok(answer), .. }
            if answer.value.as_ref().is_some_and(|(value, _)| value == "v"))
    };
    stage.event("the value", seen).await;
    stage.end().await;
}

/// How many of some looks at a process found it stopped.
async fn looks_stopped(state: &LabState, member: MemberNo, looks: u32) -> u32 {
    let Process::Up { pid } = state.members[&member].process else { panic!("{member} is up") };
    let mut stopped = 0;
    for _ in 0..looks {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let condition = stat.rsplit(')').next().unwrap_or_default().trim_start();
        stopped += u32::from(condition.starts_with('T'));
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    stopped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_starved_restarted_and_paused_for_a_time() {
    let mut stage = Stage::new().await;
    let (_, one, _) = stage.whole().await;
    let starved = Fault::Starved { member: one, percent: 30 };
    stage.ask(Command::Inject { fault: starved }).await;
    let stopped = looks_stopped(&stage.state(), one, 100).await;
    assert!((20..=98).contains(&stopped), "{stopped} of 100");
    stage.ask(Command::Lift { fault: starved }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(looks_stopped(&stage.state(), one, 30).await, 0);
    stage.whole().await;

    let restarting = Fault::Restarting { member: one, up_millis: 700, down_millis: 200 };
    stage.skip_to_now();
    stage.ask(Command::Inject { fault: restarting }).await;
    for _ in 0..2 {
        let down = |event: &Event| {
            matches!(event, Event::Process { member, process: Process::Down { asked: true, .. } }
                if *member == one)
        };
        stage.event("an end", down).await;
        let up = |event: &Event| matches!(event, Event::Process { member, process: Process::Up { .. } } if *member == one);
        stage.event("a beginning", up).await;
    }
    // Whatever its process is doing at the moment, an order is not lost.
    let slow = Fault::SlowSync { member: one, millis: 5 };
    for _ in 0..10 {
        stage.ask(Command::Inject { fault: slow }).await;
        tokio::time::sleep(Duration::from_millis(90)).await;
        stage.ask(Command::Lift { fault: slow }).await;
    }
    // It may be down, up, or just being started.
    for _ in 0..6 {
        stage.ask(Command::UndoFaults).await;
        stage.ask(Command::Inject { fault: restarting }).await;
        tokio::time::sleep(Duration::from_millis(190)).await;
    }
    stage.ask(Command::UndoFaults).await;
    stage.ask(Command::Crash { member: one }).await;
    let restart = || stage.lab.handle().submit(By::Call, Command::Restart { member: one });
    let (first, second) = tokio::join!(restart(), restart());
    first.and(second).expect("both see it up");
    stage.whole().await;

    stage.skip_to_now();
    let pause = Box::new(Command::Pause { member: one });
    stage.ask(Command::For { millis: 300, command: pause }).await;
    assert!(matches!(stage.state().members[&one].process, Process::Paused { .. }));
    let resumed = |event: &Event| {
        matches!(event, Event::Asked { by: By::Lab, command: Command::Resume { member }, .. }
            if *member == one)
    };
    stage.event("the lab's own word", resumed).await;
    stage.whole().await;
    let wipe = Box::new(Command::Wipe { member: one });
    stage.refused(Command::For { millis: 300, command: wipe }, "still runs").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_slow_and_stuck() {
    let mut stage = Stage::new().await;
    let (_, one, _) = stage.whole().await;
    let fsync = move |state: &LabState| {
        state.members[&one].status.as_ref().map_or(0, |status| status.fsync_last_micros)
    };
    let slow = Fault::SlowSync { member: one, millis: 80 };
    stage
        .ask(Command::For { millis: 60_000, command: Box::new(Command::Inject { fault: slow }) })
        .await;
    stage.until("a slow fsync", |state| fsync(state) >= 80_000).await;
    // It survives a restart of its target.
    stage.ask(Command::Crash { member: one }).await;
    stage.ask(Command::Restart { member: one }).await;
    stage
        .until("a slow fsync again", |state| {
            state.members[&one].status_at_micros > state.members[&one].process_since_micros
                && fsync(state) >= 80_000
        })
        .await;
    assert!(stage.state().faults[0].until_micros.is_some());
    stage.ask(Command::Lift { fault: slow }).await;
    stage.until("a fast one", |state| fsync(state) < 80_000).await;

    let (leader, _, _) = stage.whole().await;
    let stuck = Fault::StuckSync { member: leader };
    stage.ask(Command::Inject { fault: stuck }).await;
    stage.until("another leader", |state| state.leader().is_some_and(|now| now != leader)).await;
    stage.ask(Command::Lift { fault: stuck }).await;
    stage.whole().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_fails_is_full_and_is_read_only() {
    let mut stage = Stage::new().await;
    for fault in [
        |member| Fault::FailingSync { member },
        |member| Fault::ReadOnlyDisk { member },
        |member| Fault::FullDisk { member },
    ] {
        let (_, one, _) = stage.whole().await;
        let fault: Fault = fault(one);
        stage.skip_to_now();
        stage.ask(Command::Inject { fault }).await;
        // Values large enough to need more room soon.
        let spec = WorkloadSpec { puts_per_second: 60, value_bytes: 32_768, ..Default::default() };
        stage.ask(Command::SetWorkload { spec }).await;
        let ended = |event: &Event| {
            let exit = |process: &Process| {
                matches!(
                    process,
                    Process::Down { ended: Ended::Exit { code: 1 }, asked: false, .. }
                )
            };
            matches!(event, Event::Process { member, process } if *member == one && exit(process))
        };
        stage.event(fault.kind(), ended).await;
        stage.ask(Command::Lift { fault }).await;
        assert!(is_down(&stage.state(), one));
        stage.ask(Command::Restart { member: one }).await;
        stage.whole().await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_stand_still_and_tick() {
    let mut stage = Stage::new().await;
    // Whoever is sent entries hears that its leader is there.
    stage.ask(Command::SetWorkload { spec: WorkloadSpec::idle() }).await;
    stage.until("nothing under way", lab_check::convergence::converged).await;
    let (leader, one, other) = stage.whole().await;
    let frozen = |member| Fault::FrozenClock { member };
    stage.refused(Command::GrantTicks { member: one, ticks: 1 }, "freeze them first").await;
    for member in [leader, one, other] {
        stage.ask(Command::Inject { fault: frozen(member) }).await;
    }
    let status = stage.state().members[&one].status.clone().expect("it was heard");
    let ticks = status.election_timeout_ticks + 1;
    stage.skip_to_now();
    stage.ask(Command::GrantTicks { member: one, ticks }).await;
    let asks = |event: &Event| {
        is_trace(event, one, |trace| {
            matches!(trace, TraceEvent::Became { role: Role::PreCandidate | Role::Candidate, .. })
        })
    };
    stage.event("a campaign", asks).await;
    assert!(stage.account().contains(&format!("is granted {ticks} ticks")));
    for member in [leader, one, other] {
        stage.ask(Command::Lift { fault: frozen(member) }).await;
    }
    stage.whole().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_drift_and_jump() {
    let mut stage = Stage::new().await;
    // Whoever is sent entries hears that its leader is there.
    stage.ask(Command::SetWorkload { spec: WorkloadSpec::idle() }).await;
    stage.until("nothing under way", lab_check::convergence::converged).await;
    // The heart of a leader whose clock is slow beats too seldom for the others.
    let (leader, one, _) = stage.whole().await;
    let drifting = Fault::DriftingClock { member: leader, permille: 40 };
    stage.skip_to_now();
    stage.ask(Command::Inject { fault: drifting }).await;
    let loses = |event: &Event| {
        matches!(event, Event::Trace { member, traced } if *member != leader
            && matches!(traced.event, TraceEvent::Became { role: Role::PreCandidate, .. }))
    };
    stage.event("an impatient follower", loses).await;
    stage.ask(Command::Lift { fault: drifting }).await;
    stage.whole().await;
    stage.ask(Command::JumpClock { member: one, millis: 3_600_000 }).await;
    assert!(stage.account().contains("wall clock jumps"));
    stage.whole().await;
    stage.end().await;
}

/// What a member's own time is at: its term, and the ticks since it last heard a leader.
fn time_of(state: &LabState, member: MemberNo) -> (u64, u32) {
    let status = state.members[&member].status.as_ref().expect("it was heard");
    (status.term.0, status.election_elapsed_ticks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_step_mode_nothing_happens_but_what_is_granted() {
    let mut stage = Stage::new().await;
    stage.ask(Command::SetWorkload { spec: WorkloadSpec::idle() }).await;
    let (leader, one, other) = stage.whole().await;
    let call = Call::LeaseGrant { ttl_seconds: 3 };
    stage.ask(Command::Invoke { member: leader, call, deadline_millis: 5_000 }).await;
    stage.ask(Command::StepMode { on: true }).await;
    let state = stage.state();
    assert_eq!(state.faults.len(), 3, "every clock stands still: {:?}", state.faults);
    assert!(state.links.values().all(|link| link.condition == LinkCondition::Held));
    let told = stage.account();
    assert!(told.contains("began the step mode") && !told.contains("clocks stand still."));

    // A write, a read and a lease see much more than their time pass, and nothing comes of it.
    let handle = stage.lab.handle().clone();
    let call = Call::Put { key: "step".into(), value: "one".into() };
    let write = Command::Invoke { member: leader, call, deadline_millis: 60_000 };
    let mut write = Box::pin(handle.submit(By::Call, write));
    let call = Call::Get { key: "step".into(), serializable: false };
    let read = Command::Invoke { member: one, call, deadline_millis: 60_000 };
    let mut read = Box::pin(handle.submit(By::Call, read));
    let append = |state: &LabState| {
        let to_one = |message: &&lab_protocol::Message| {
            message.kind == FrameKind::Append
                && message.entries > 0
                && message.link == link(leader, one)
        };
        state.held.values().find(to_one).map(|message| message.number)
    };
    let deadline = Instant::now() + PATIENCE;
    while append(&stage.state()).is_none() || stage.state().held.len() < 3 {
        let held = stage.state().held;
        assert!(Instant::now() < deadline, "the write's messages: {held:?}, {}", stage.account());
        tokio::select! {
            done = &mut write => panic!("nobody can have acknowledged it: {done:?}"),
            done = &mut read => panic!("nobody can have answered it: {done:?}"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
    // What the members told of themselves may be of just before.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let times = |state: &LabState| [leader, one, other].map(|member| time_of(state, member));
    let before = stage.state();
    stage.skip_to_now();
    // Its members would give up after 5 s and two election timeouts, the lease after 3 s.
    let passes = tokio::time::sleep(Duration::from_secs(9));
    tokio::select! {
        done = &mut write => panic!("it ended while time stood still: {done:?}"),
        done = &mut read => panic!("it ended while time stood still: {done:?}"),
        () = passes => {}
    }
    let after = stage.state();
    assert_eq!(times(&after), times(&before));
    assert_eq!(after.held.keys().collect::<Vec<_>>(), before.held.keys().collect::<Vec<_>>());
    let leases = |state: &LabState| state.members[&leader].status.as_ref().map(|now| now.leases);
    assert_eq!(leases(&after), Some(1), "no lease ends while time stands still");

    // One tick is one tick, of the one to whom it was granted.
    stage.ask(Command::GrantTicks { member: one, ticks: 1 }).await;
    let (term, ticks) = time_of(&before, one);
    stage.until("one tick", |state| time_of(state, one) == (term, ticks + 1)).await;
    assert_eq!(time_of(&stage.state(), other), time_of(&before, other));
    let beats = |state: &LabState| {
        let beats = |message: &&lab_protocol::Message| message.kind == FrameKind::Heartbeat;
        state.held.values().filter(beats).count()
    };
    let beaten = beats(&stage.state());
    // A tick is a tenth of the time between two heartbeats.
    stage.ask(Command::GrantTicks { member: leader, ticks: 10 }).await;
    stage.until("a heartbeat for each follower", |state| beats(state) == beaten + 2).await;

    // One append there and its answer back: a majority has the write, and it is acknowledged.
    let number = append(&stage.state()).expect("it is held");
    stage.ask(Command::Held { number, order: HeldOrder::Release }).await;
    let answers = |state: &LabState| -> Vec<u64> {
        let answer = |message: &&lab_protocol::Message| {
            message.kind == FrameKind::AppendResponse && message.link == link(one, leader)
        };
        state.held.values().filter(answer).map(|message| message.number).collect()
    };
    stage.until("the answer", |state| !answers(state).is_empty()).await;
    for number in answers(&stage.state()) {
        stage.ask(Command::Held { number, order: HeldOrder::Release }).await;
    }
    tokio::time::timeout(PATIENCE, write).await.expect("acknowledged").expect("it is done");

    stage.ask(Command::StepMode { on: false }).await;
    tokio::time::timeout(PATIENCE, read).await.expect("answered").expect("it is done");
    let state = stage.state();
    assert!(state.faults.is_empty() && state.held.is_empty(), "{:?}", state.held);
    stage.until("the end of the lease", |state| leases(state) == Some(0)).await;
    stage.whole().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_resigns_within_two_election_timeouts_of_its_own_ticks() {
    let mut stage = Stage::new().await;
    let (leader, one, other) = stage.whole().await;
    for member in [leader, one, other] {
        stage.ask(Command::Inject { fault: Fault::FrozenClock { member } }).await;
    }
    stage.skip_to_now();
    // It hears nobody; what it says arrives.
    for from in [one, other] {
        stage.ask(Command::Cut { link: link(from, leader) }).await;
    }
    // However much time goes by: its clock stands still, and so does its office.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let leads = |state: &LabState| {
        state.members[&leader].status.as_ref().is_some_and(|status| status.role == Role::Leader)
    };
    assert!(leads(&stage.state()), "{}", stage.account());
    let tick_micros = stage.state().members[&leader].status.as_ref().map(|told| told.tick_micros);
    let ticks = 400_000 / tick_micros.expect("it was heard");
    for _ in 0..2 {
        stage.ask(Command::GrantTicks { member: leader, ticks }).await;
    }
    stage.until("a leader that has resigned", |state| !leads(state)).await;
    // No connection was lost over it, on neither end.
    while let Some(numbered) = stage.heard.pop_front() {
        let lost = |member| lost_a_peer(&numbered.event, member);
        assert!(![leader, one, other].into_iter().any(lost), "{:?}", numbered.event);
    }
    stage.ask(Command::UndoFaults).await;
    stage.whole().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_are_set_and_a_member_is_made_to_campaign() {
    let mut stage = Stage::new().await;
    let (leader, one, _) = stage.whole().await;
    stage.ask(Command::SetTimers { ticks: 100, apart: 10 }).await;
    stage
        .until("timers that were set", |state| {
            let ticks = state.members.values().filter_map(|member| member.status.as_ref());
            let ticks: Vec<_> = ticks.map(|status| status.election_timeout_ticks).collect();
            ticks == [100, 110, 120]
        })
        .await;
    stage.ask(Command::SetTimers { ticks: 0, apart: 0 }).await;
    // One that has just been started is waited for.
    stage.ask(Command::Crash { member: one }).await;
    stage.ask(Command::Restart { member: one }).await;
    stage.ask(Command::SetTimers { ticks: 0, apart: 0 }).await;
    stage.ask(Command::Campaign { member: one }).await;
    stage.skip_to_now();
    stage.whole().await;
    // Pre-vote may refuse a campaign against a leader that is well; then the leader stays.
    let now = stage.state().leader();
    assert!(now == Some(one) || now == Some(leader), "{now:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_found_at_the_next_start() {
    let mut stage = Stage::new().await;
    for (file, damage) in [
        (MemberFile::State, Damage::BitFlip),
        (MemberFile::Log, Damage::BitFlip),
        (MemberFile::State, Damage::Truncate),
    ] {
        let (_, one, _) = stage.whole().await;
        let spec = WorkloadSpec { puts_per_second: 200, ..Default::default() };
        stage.ask(Command::SetWorkload { spec }).await;
        // So much that no damage could be taken for an end that was never written.
        stage
            .until("entries", |state| {
                state.members[&one].status.as_ref().is_some_and(|status| status.applied.0 > 300)
            })
            .await;
        let command = Command::DamageMember { member: one, file, damage };
        stage.refused(command.clone(), "still runs").await;
        // A stop writes everything down that a damage could hit.
        stage.ask(Command::Stop { member: one }).await;
        stage.skip_to_now();
        stage.ask(command).await;
        stage.event("damage", |event| matches!(event, Event::FileDamaged { .. })).await;
        stage.ask(Command::Restart { member: one }).await;
        stage.until("its end", |state| is_down(state, one)).await;
        let told = stage.account();
        assert!(
            told.contains("damaged") || told.contains("corrupt"),
            "{file:?} {damage:?}: {told}"
        );
        stage.ask(Command::StartOver).await;
    }
    stage.end().await;
}
