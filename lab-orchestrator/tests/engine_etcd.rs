//! Real etcd as the engine: the same lab, its faults, its judges, and what etcd cannot.
//!
//! Without etcd on this machine nothing is run, and that is said.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use lab_orchestrator::attach::Watch;
use lab_orchestrator::engine::EngineName;
use lab_orchestrator::lab::{Lab, LabPlan};
use lab_orchestrator::workload::make_clients;
use lab_protocol::node_protocol::{Role, TraceEvent};
use lab_protocol::{
    By, Command, Damage, Ended, Event, Fault, Feed, LabState, Link, LinkCondition, MemberFile,
    MemberNo, Process, WorkloadSpec,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The flags of every member here.
const FLAGS: [&str; 2] = ["--election-timeout=600", "--heartbeat-interval=60"];

/// Where etcd is; none, loudly, if it is not installed.
fn etcd() -> Option<PathBuf> {
    let folder = std::env::var_os("RAFTLAB_ETCD").map(PathBuf::from).unwrap_or_default();
    let etcd = folder.join("etcd");
    let asked = Program::new(&etcd).arg("--version").stdout(Stdio::null()).status();
    if asked.is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI must have etcd");
        eprintln!("NOT RUN: install etcd (Debian: etcd-server)");
        return None;
    }
    Some(etcd)
}

/// A lab whose members are these.
struct Stage {
    lab: Lab,
}

impl Stage {
    async fn new(engine: EngineName, program: PathBuf) -> Self {
        let plan = LabPlan {
            members: Some(3),
            engine,
            node_args: FLAGS.iter().map(Into::into).collect(),
            clients: Some(make_clients()),
            ..LabPlan::of(program, 5)
        };
        let stage = Self { lab: Lab::start(plan).await.expect("starts") };
        stage.whole().await;
        stage
    }

    fn state(&self) -> LabState {
        self.lab.handle().journal().state()
    }

    async fn ask(&self, command: Command) {
        let asked = command.clone();
        let answer = self.lab.handle().submit(By::Call, command).await;
        answer.unwrap_or_else(|error| panic!("{asked:?}: {error}"));
    }

    async fn refused(&self, command: Command) -> String {
        let answer = self.lab.handle().submit(By::Call, command).await;
        answer.expect_err("refused").to_string()
    }

    async fn until(&self, what: &str, holds: impl Fn(&LabState) -> bool) {
        until(what, || self.state(), holds).await;
    }

    /// Waits until everybody follows one leader, and says who.
    async fn whole(&self) -> MemberNo {
        self.until("a whole cluster", |state| lab_check::convergence::agreed(state).is_some())
            .await;
        self.state().leader().expect("somebody leads")
    }

    fn output(&self, member: MemberNo) -> String {
        self.lab.handle().output(member).expect("a member")
    }
}

async fn until(what: &str, state: impl Fn() -> LabState, holds: impl Fn(&LabState) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(&state()) {
        let account = || lab_check::convergence::account(&state());
        assert!(Instant::now() < deadline, "{what} was awaited: {}", account());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_down(state: &LabState, member: MemberNo) -> bool {
    matches!(state.members[&member].process, Process::Down { .. })
}

fn leads(state: &LabState, not: MemberNo) -> bool {
    state.leader().is_some_and(|leader| {
        leader != not && lab_check::convergence::is_heard(&state.members[&leader])
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_etcd_form_and_replace_their_leader() {
    let Some(etcd) = etcd() else { return };
    let stage = Stage::new(EngineName::Etcd, etcd).await;
    // Before they serve clients they speak by their logs alone.
    stage.until("three voters", |state| state.configuration.voters.len() == 3).await;
    let leader = stage.whole().await;
    let state = stage.state();
    assert!(state.engine.starts_with("etcd 3."), "{}", state.engine);
    let status = state.members[&leader].status.clone().expect("heard");
    assert_eq!((status.role, status.vote, status.progress.len()), (Role::Leader, None, 0));

    stage.ask(Command::Crash { member: leader }).await;
    stage.until("another leader", |state| leads(state, leader)).await;
    // Its own log told of the election, not only its answers.
    let mut follower = stage.lab.handle().journal().follow(0);
    let events = follower.take(100_000).expect("kept");
    let elected = events.iter().filter(|numbered| {
        matches!(&numbered.event, Event::Trace { traced, .. }
            if matches!(traced.event, TraceEvent::Became { role: Role::Leader, .. }))
    });
    assert!(elected.count() >= 2, "each leader told that it became one");
    stage.ask(Command::Restart { member: leader }).await;
    stage.whole().await;
    stage.lab.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directed_cut_ends_no_connection_and_the_others_elect() {
    let Some(etcd) = etcd() else { return };
    let stage = Stage::new(EngineName::Etcd, etcd).await;
    let leader = stage.whole().await;
    let others: Vec<_> =
        stage.state().members.keys().copied().filter(|member| *member != leader).collect();
    let said = || others.iter().map(|member| stage.output(*member)).collect::<Vec<_>>();
    let before = said();
    for &to in &others {
        stage.ask(Command::Cut { link: Link { from: leader, to } }).await;
    }
    stage.until("another leader", |state| leads(state, leader)).await;
    // Etcd itself gives a silent stream up after five seconds; this was sooner.
    for (before, now) in before.iter().zip(said()) {
        let since = now.strip_prefix(before.as_str()).expect("it is only added to");
        assert!(!since.contains("lost the TCP") && !since.contains("lost TCP"), "{since}");
    }
    stage.ask(Command::UndoFaults).await;
    stage.whole().await;
    // The same links refuse, and are reset, as those of ours.
    let link = Link { from: others[0], to: leader };
    stage.ask(Command::SetLink { link, condition: LinkCondition::Refused }).await;
    stage.ask(Command::Heal { link }).await;
    stage.ask(Command::ResetLink { link }).await;
    stage.whole().await;
    stage.lab.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_etcd_cannot_is_refused_with_a_reason() {
    let Some(etcd) = etcd() else { return };
    let stage = Stage::new(EngineName::Etcd, etcd).await;
    let member = MemberNo(1);
    for (command, needle) in [
        (Command::Campaign { member }, "be made to campaign"),
        (Command::JumpClock { member, millis: 5 }, "clocks"),
        (Command::LosePower { member }, "power of its disk"),
        (Command::CrashAt { member, failpoint: "log-written".into() }, "failpoint"),
        (Command::Inject { fault: Fault::FrozenClock { member } }, "clocks"),
        (Command::Inject { fault: Fault::ReadOnlyDisk { member } }, "read-only"),
    ] {
        let why = stage.refused(command).await;
        assert!(why.starts_with("real etcd cannot ") && why.contains(needle), "{why}");
    }
    assert!(stage.state().faults.is_empty());
    stage.lab.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_of_etcd_is_slow_dies_and_rots() {
    let Some(etcd) = etcd() else { return };
    let stage = Stage::new(EngineName::Etcd, etcd).await;
    let leader = stage.whole().await;
    let member = stage.state().members.keys().copied().find(|no| *no != leader).expect("three");
    let spec = WorkloadSpec { puts_per_second: 30, reads_per_second: 5, ..Default::default() };
    stage.ask(Command::SetWorkload { spec }).await;

    let slow = Fault::SlowSync { member, millis: 1_500 };
    let injected = stage.lab.handle().submit(By::Call, Command::Inject { fault: slow }).await;
    if let Err(refused) = injected {
        // Without strace, or where the system forbids it, that is said, and nothing acts.
        let why = refused.to_string();
        assert!(why.contains("package strace") || why.contains("ptrace_scope"), "{why}");
        assert!(stage.state().faults.is_empty());
        eprintln!("NOT RUN: {why}");
    } else {
        let says = |text: &str| stage.output(member).contains(text);
        stage.until("a slow sync", |_| says("slow fdatasync")).await;
        stage.ask(Command::Lift { fault: slow }).await;
        stage.ask(Command::Inject { fault: Fault::FailingSync { member } }).await;
        stage.until("its end", |state| is_down(state, member)).await;
        // The disk is still a dying one when it is started again.
        stage.ask(Command::Restart { member }).await;
        stage.until("its end again", |state| is_down(state, member)).await;
        stage.ask(Command::UndoFaults).await;
        stage.whole().await;
    }

    stage.ask(Command::Crash { member }).await;
    let (file, damage) = (MemberFile::Log, Damage::BitFlip);
    stage.ask(Command::DamageMember { member, file, damage }).await;
    stage.ask(Command::Restart { member }).await;
    stage.until("its end", |state| is_down(state, member)).await;
    stage.lab.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_etcd_come_and_go() {
    let Some(etcd) = etcd() else { return };
    let stage = Stage::new(EngineName::Etcd, etcd).await;
    // A young cluster of etcd refuses; the lab asks again.
    stage.ask(Command::AddMember { learner: true }).await;
    let added = MemberNo(4);
    stage.until("a learner", |state| state.configuration.learners.len() == 1).await;
    let in_sync = |state: &LabState| {
        let applied = |no| state.members[&no].status.as_ref().map(|status| status.applied.0);
        state.leader().is_some_and(|leader| applied(added) >= applied(leader).map(|at| at - 1))
    };
    stage.until("a learner in sync", in_sync).await;
    stage.ask(Command::PromoteMember { member: added }).await;
    stage.until("four voters", |state| state.configuration.voters.len() == 4).await;
    stage.whole().await;
    stage.ask(Command::RemoveMember { member: added }).await;
    stage.until("three voters", |state| state.configuration.voters.len() == 3).await;
    stage.until("its end", |state| is_down(state, added)).await;
    stage.whole().await;
    stage.lab.shutdown().await;
}

/// A run on etcd that is judged in full: every check is about what etcd tells.
const SCENARIO: &str = r#"
title = "The leader of etcd fails"
about = "A crash, an election, and reads and writes all along."

[cluster]
members = 3
election_timeout = "600ms"
heartbeat = "60ms"

[workload]
puts_per_second = 40
reads_per_second = 40
deadline = "3s"
watches = 1

[[step]]
say = "clients write"
wait_until = "acked 40"
within = "20s"

[[step]]
say = "the leader crashes"
do = ["crash leader as old"]
wait_until = "new leader"
within = "20s"

[[step]]
say = "clients write on"
do = ["restart old"]
wait_until = "acked 40"
within = "20s"

[checks]
election_safety = {}
acked_not_lost = { at_least = 60 }
linearizable = { at_least = 80 }
members_equal = {}
converged = {}
watch_guarantees = { at_least = 40 }
"#;

/// Performs a scenario on etcd; the whole report, and the exit code.
fn drilled(etcd: &Path, scenario: &str) -> (serde_json::Value, Option<i32>) {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("scenario.toml");
    std::fs::write(&file, scenario).expect("written");
    let output = Program::new(env!("CARGO_BIN_EXE_raft-lab"))
        .args(["drill", "--json", "--engine", "etcd", "--etcd"])
        .arg(etcd)
        .arg("--runs")
        .arg(folder.path())
        .arg(&file)
        .output()
        .expect("the lab runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}): {errors}"));
    (report, output.status.code())
}

#[test]
fn a_run_on_etcd_is_judged() {
    let Some(etcd) = etcd() else { return };
    let (report, code) = drilled(&etcd, SCENARIO);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report[0]["verdict"]["judgement"], "valid", "{report:#}");
}

#[test]
fn a_check_of_what_etcd_does_not_tell_is_unknown() {
    let Some(etcd) = etcd() else { return };
    let (report, code) = drilled(&etcd, &format!("{SCENARIO}log_matching = {{}}\n"));
    let verdict = &report[0]["verdict"];
    assert_eq!(code, Some(2), "{report:#}");
    let checks = verdict["checks"].as_array().expect("checks");
    let log = checks.iter().find(|check| check["check"] == "log_matching").expect("judged");
    assert_eq!(log["judgement"], "unknown");
    assert_eq!(log["because"], "etcd does not tell what is in its log");

    // What etcd cannot be from the start is no failure of the lab either.
    for (line, needle) in [
        ("bug = \"no-fsync\"", "planted"),
        ("flags = [\"--no-such-flag=1\"]", "no flag --no-such-flag"),
    ] {
        let text = SCENARIO.replace("members = 3", &format!("members = 3\n{line}"));
        let (report, code) = drilled(&etcd, &text);
        assert_eq!(code, Some(2), "{report:#}");
        let because = report[0]["verdict"]["checks"][0]["because"].as_str().expect("a reason");
        assert!(because.contains(needle), "{because}");
    }
}

/// A lab at a terminal, until it is dropped.
struct Terminal {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Terminal {
    fn start(args: &[&str]) -> Self {
        let mut process = Program::new(env!("CARGO_BIN_EXE_raft-lab"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the lab starts");
        let lines = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("the lab's words");
        assert!(read > 0, "the lab ended before it said what was awaited");
        line
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).expect("small")).expect("not zero")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn no_etcd_outlives_a_killed_lab_not_even_a_paused_one() {
    let Some(etcd) = etcd() else { return };
    let etcd = etcd.to_str().expect("a plain path");
    let args = ["up", "--no-open", "--port", "0", "--engine", "etcd", "--etcd", etcd];
    let mut lab = Terminal::start(&args);
    let mut members = Vec::new();
    while members.len() < 3 {
        if let Some((_, pid)) = lab.line().split_once("is up, process ") {
            members.push(Pid::from_raw(pid.trim().parse().expect("a number")).expect("not zero"));
        }
    }
    kill_process(members[1], Signal::STOP).expect("paused");
    kill_process(lab.pid(), Signal::KILL).expect("killed");
    let deadline = Instant::now() + PATIENCE;
    while members.iter().any(|member| test_kill_process(*member).is_ok()) {
        assert!(Instant::now() < deadline, "every member ends with the lab");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A cluster that runs already is watched from outside.
async fn attached(stage: &Stage) {
    let state = stage.state();
    // One endpoint is enough: it tells of the others.
    let endpoint = state.members[&MemberNo(1)].plan.client_url.parse().expect("an address");
    let watch = Watch::start(vec![endpoint]).await.expect("it answers");
    let seen = || watch.handle().journal().state();
    until("a leader from outside", seen, |seen| {
        seen.members.len() == 3
            && seen.members.values().all(|member| member.feed == Feed::Live)
            && lab_check::convergence::agreed(seen).is_some()
    })
    .await;
    let leader = stage.whole().await;
    let outside = seen();
    assert!(outside.engine.ends_with("only observed"), "{}", outside.engine);
    // Its numbers are its own, its members are the same.
    let id = |state: &LabState, no: MemberNo| state.members[&no].id;
    let place = outside.leader().expect("somebody leads");
    assert_eq!(id(&outside, place), id(&state, leader));
    let commit = |state: &LabState| state.members.values().next()?.status.clone();
    assert!(commit(&outside).is_some_and(|status| status.commit.0 > 0));

    for command in [
        Command::Crash { member: place },
        Command::StartOver,
        Command::Put { member: place, key: "k".into(), value: "v".into() },
    ] {
        let refused = watch.handle().submit(By::Page, command).await.expect_err("refused");
        assert!(refused.to_string().contains("only observed"), "{refused}");
    }
    stage.ask(Command::Crash { member: leader }).await;
    until("its end from outside", seen, |seen| {
        matches!(seen.members[&place].process, Process::Down { ended: Ended::Unseen, .. })
    })
    .await;
    until("another leader from outside", seen, |seen| leads(seen, place)).await;
    watch.shutdown().await;
    stage.whole_after_restart(leader).await;
}

impl Stage {
    async fn whole_after_restart(&self, member: MemberNo) {
        self.ask(Command::Restart { member }).await;
        self.whole().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_etcd_is_observed() {
    let Some(etcd) = etcd() else { return };
    let stage = Stage::new(EngineName::Etcd, etcd).await;
    attached(&stage).await;
    stage.lab.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_ours_is_observed() {
    let node = Path::new(env!("CARGO_BIN_EXE_raft-lab")).with_file_name("raft-node");
    assert!(node.is_file(), "{} is missing: cargo build -p node", node.display());
    let stage = Stage::new(EngineName::RaftNode, node).await;
    attached(&stage).await;
    stage.lab.shutdown().await;
}

#[test]
fn what_is_observed_is_recorded() {
    let folder = tempfile::tempdir().expect("a directory");
    let runs = folder.path().to_str().expect("a plain path");
    let node = Path::new(env!("CARGO_BIN_EXE_raft-lab")).with_file_name("raft-node");
    let node = node.to_str().expect("a plain path");
    let mut lab =
        Terminal::start(&["up", "--no-open", "--port", "0", "--members", "1", "--node", node]);
    let endpoint = loop {
        let line = lab.line();
        let url = line.trim().strip_prefix("m1").map(str::trim);
        if let Some(url) = url.filter(|url| url.starts_with("http://")) {
            break url.to_owned();
        }
    };
    let args = ["attach", "--no-open", "--port", "0", "--endpoints", &endpoint, "--runs", runs];
    let mut watch = Terminal::start(&args);
    while !watch.line().contains("the page") {}
    kill_process(watch.pid(), Signal::TERM).expect("asked to end");
    let deadline = Instant::now() + PATIENCE;
    while watch.process.try_wait().expect("waited").is_none() {
        assert!(Instant::now() < deadline, "it ends when it is asked to");
        std::thread::sleep(Duration::from_millis(10));
    }
    let run = std::fs::read_dir(runs).expect("lists").next().expect("one").expect("run").path();
    let recording = lab_orchestrator::record::read(&run).expect("whole");
    assert!(!recording.torn);
    assert!(matches!(recording.events[0].event, Event::RunStarted { .. }));
    kill_process(lab.pid(), Signal::TERM).expect("asked to end");
    lab.process.wait().expect("ended");
}
