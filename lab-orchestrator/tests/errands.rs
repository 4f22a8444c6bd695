//! Errands of every kind, on real processes: what clients do is what was asked for, and the history
//! tells all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_check::{Enough, Prologue, checks_of_window};
use lab_orchestrator::journal::Follower;
use lab_orchestrator::lab::{Lab, LabPlan};
use lab_orchestrator::workload::make_clients;
use lab_protocol::mix::{ACCOUNTS, GUARDED, LEASED, LISTS, LOCKS, REGISTERS, SETS};
use lab_protocol::{
    By, Call, ClientNo, Command, Endpoints, Event, Judgement, LabState, MemberNo, MixSpec,
    Numbered, OpId, Shares, TxnOp,
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn node() -> PathBuf {
    let node = Path::new(env!("CARGO_BIN_EXE_raft-lab")).with_file_name("raft-node");
    assert!(node.is_file(), "{} is missing: cargo build -p node", node.display());
    node
}

/// Three real members, and everything that the journal has told.
struct Stage {
    lab: Lab,
    follower: Follower,
    events: Vec<Arc<Numbered>>,
}

impl Stage {
    async fn new() -> Self {
        let flags = ["--election-timeout=400", "--heartbeat-interval=40"];
        let plan = LabPlan {
            members: Some(3),
            node_args: flags.iter().map(Into::into).collect(),
            clients: Some(make_clients()),
            ..LabPlan::of(node(), 7)
        };
        let lab = Lab::start(plan).await.expect("starts");
        let follower = lab.handle().journal().follow(0);
        let mut stage = Self { lab, follower, events: Vec::new() };
        stage.until("a leader", |_, state| state.leader().is_some()).await;
        stage
    }

    async fn ask(&self, command: Command) {
        self.lab.handle().submit(By::Call, command).await.expect("done");
    }

    /// Follows the journal until something holds of all that it told.
    async fn until(&mut self, what: &str, holds: impl Fn(&[Arc<Numbered>], &LabState) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.events.extend(self.follower.take(usize::MAX).expect("not overtaken"));
            if holds(&self.events, &self.lab.handle().journal().state()) {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn mix(&self, mix: MixSpec) {
        self.ask(Command::SetMix { mix }).await;
    }

    /// Ends the mix and waits for all that is open.
    async fn quiet(&mut self) {
        self.mix(MixSpec::idle()).await;
        self.until("every answer", |events, _| open(events).is_empty()).await;
    }
}

/// Operations that have not returned.
fn open(events: &[Arc<Numbered>]) -> BTreeSet<OpId> {
    let mut open = BTreeSet::new();
    for numbered in events {
        match &numbered.event {
            Event::Invoked { op, .. } => _ = open.insert(*op),
            Event::Returned { op, .. } => _ = open.remove(op),
            _ => {}
        }
    }
    open
}

fn calls(events: &[Arc<Numbered>]) -> impl Iterator<Item = (ClientNo, MemberNo, &Call)> {
    events.iter().filter_map(|numbered| match &numbered.event {
        Event::Invoked { client, member, call, .. } => Some((*client, *member, call)),
        _ => None,
    })
}

/// What is written, by key and value.
fn written(call: &Call) -> Vec<(&str, &str)> {
    match call {
        Call::Put { key, value } => vec![(key, value)],
        Call::Txn { then, .. } => then
            .iter()
            .filter_map(|op| match op {
                TxnOp::Put { key, value, .. } => Some((key.as_str(), value.as_str())),
                TxnOp::Range { .. } | TxnOp::Delete { .. } => None,
            })
            .collect(),
        _ => vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errands_of_every_kind_are_run_told_and_valid() {
    let mut stage = Stage::new().await;
    let shares = Shares { delete: 2, lease: 3, watch: 3, compact: 2, ..Shares::EVERYTHING };
    let endpoints = Endpoints::All;
    stage.mix(MixSpec { rate: 60, shares, retries: 1, endpoints, ..MixSpec::default() }).await;
    let prefixes = [REGISTERS, ACCOUNTS, SETS, LISTS, LOCKS, GUARDED, LEASED];
    let all_kinds = |events: &[Arc<Numbered>]| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (_, _, call) in calls(events) {
            for (key, _) in written(call) {
                seen.extend(prefixes.iter().filter(|prefix| key.starts_with(**prefix)));
            }
            match call {
                Call::Delete { .. } => _ = seen.insert("delete"),
                Call::LeaseKeepAlive { .. } => _ = seen.insert("keep-alive"),
                Call::LeaseTimeToLive { .. } => _ = seen.insert("time to live"),
                Call::LeaseRevoke { .. } => _ = seen.insert("revoke"),
                Call::Compact { .. } => _ = seen.insert("compact"),
                _ => {}
            }
        }
        let resumed = events.iter().any(|event| matches!(event.event, Event::WatchResumed { .. }));
        seen.len() == prefixes.len() + 5 && resumed
    };
    stage.until("errands of every kind", |events, _| all_kinds(events)).await;
    // The leader is gone for a moment: some are tried again.
    let leader = stage.lab.handle().journal().state().leader().expect("one leads");
    stage.ask(Command::Crash { member: leader }).await;
    let other = |state: &LabState| state.leader().is_some_and(|now| now != leader);
    stage.until("another leader", |_, state| other(state)).await;
    stage.ask(Command::UndoFaults).await;
    let asked = stage.events.len();
    stage.until("more of it", |events, _| calls(&events[asked..]).count() > 300).await;
    stage.quiet().await;
    let converged = |state: &LabState| lab_check::convergence::converged(state);
    stage.until("a whole cluster", |_, state| converged(state)).await;
    stage.ask(Command::ReadBack).await;
    let read = |events: &[Arc<Numbered>]| {
        events.iter().filter(|event| matches!(event.event, Event::ReadBack(_))).count() == 3
    };
    stage.until("three readings", |events, _| read(events)).await;

    let mut values: BTreeMap<&str, usize> = BTreeMap::new();
    for (client, _, call) in calls(&stage.events) {
        assert!(client.is_mixed(), "{client:?} runs no errands");
        for (key, value) in written(call) {
            assert!(key.starts_with("w/"));
            *values.entry(value).or_default() += 1;
        }
    }
    let twice: Vec<_> = values.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "every value is written once: {twice:?}");

    let enough = Enough { operations: 200, of_each_kind: 1 };
    let mut checks = checks_of_window(&Prologue::default(), None, enough);
    for event in &stage.events {
        checks.iter_mut().for_each(|check| check.observe(event));
    }
    for check in checks {
        let told = check.verdict();
        assert_eq!(told.judgement, Judgement::Valid, "{}: {}", told.check, told.because);
    }
    stage.lab.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_talk_to_whom_they_are_told() {
    let mut stage = Stage::new().await;
    let shares = Shares { register: 1, ..Shares::default() };
    let mix =
        |endpoints| MixSpec { rate: 100, shares, clients: 6, endpoints, ..MixSpec::default() };
    let (m1, m2) = (MemberNo(1), MemberNo(2));
    for (endpoints, asked) in [
        (Endpoints::These([m2].into()), BTreeSet::from([m2])),
        (Endpoints::OneEach, BTreeSet::from([m1, m2, MemberNo(3)])),
    ] {
        let before = stage.events.len();
        stage.mix(mix(endpoints)).await;
        stage.until("some calls", |events, _| calls(&events[before..]).count() > 60).await;
        stage.quiet().await;
        let whom: BTreeSet<_> =
            calls(&stage.events[before..]).map(|(_, member, _)| member).collect();
        assert_eq!(whom, asked);
    }
    // Who knows one member only never turns, and fails while it is gone.
    stage.ask(Command::Crash { member: m2 }).await;
    let before = stage.events.len();
    stage.mix(mix(Endpoints::OneEach)).await;
    let failed = |events: &[Arc<Numbered>]| {
        let to_m2: BTreeSet<OpId> = events
            .iter()
            .filter_map(|numbered| match &numbered.event {
                Event::Invoked { op, member, .. } if *member == m2 => Some(*op),
                _ => None,
            })
            .collect();
        let ended = events.iter().filter(|numbered| match &numbered.event {
            Event::Returned { op, outcome } => to_m2.contains(op) && !outcome.is_ok(),
            _ => false,
        });
        ended.count() >= 5
    };
    stage.until("calls that fail", |events, _| failed(&events[before..])).await;
    stage.quiet().await;
    let turned = |event: &Arc<Numbered>| matches!(event.event, Event::Reconnected { .. });
    assert!(!stage.events[before..].iter().any(turned));
    stage.lab.shutdown().await;
}

/// Connections that are open at a port of this process.
fn connections(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("Linux tells");
    let is_open = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let at = words.next().and_then(|at| u16::from_str_radix(at.rsplit(':').next()?, 16).ok());
        // 01: established.
        at == Some(port) && words.nth(1) == Some("01")
    };
    table.lines().filter(is_open).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_watched_enough_leaves() {
    let mut stage = Stage::new().await;
    let state = stage.lab.handle().journal().state();
    let ports: Vec<u16> = state
        .members
        .values()
        .map(|member| member.plan.client_url.rsplit(':').next().expect("a port"))
        .map(|port| port.parse().expect("a number"))
        .collect();
    let held = || ports.iter().map(|port| connections(*port)).sum::<usize>();
    let before = held();
    stage.ask(Command::SetWatches { count: 3 }).await;
    stage.until("three who watch", |_, _| held() >= before + 3).await;
    stage.ask(Command::SetWatches { count: 0 }).await;
    stage.until("connections that are left", |_, _| held() <= before).await;
    stage.lab.shutdown().await;
}
