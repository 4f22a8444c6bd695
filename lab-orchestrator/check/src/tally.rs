//! What is counted of a run as it goes by: the fold that conditions and expectations look at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lab_protocol::node_protocol::{ClusterId, Index, Role, Term, TraceEvent};
use lab_protocol::scenario::{Operations, Quantile, Scale, Scenario, Target};
use lab_protocol::{
    Call, Event, LabState, Link, MemberNo, Message, Numbered, OpId, Outcome, Process, TxnOp,
    WatchTold,
};

/// The members that each name stands for.
pub type Names = BTreeMap<String, BTreeSet<MemberNo>>;

/// What has been counted so far.
#[derive(Clone, Debug)]
pub struct Tally {
    /// What the lab knows.
    pub state: LabState,
    /// Whom the scenario calls how; zones as `zone a`.
    pub names: Names,
    /// How long the cluster's measures are.
    pub scale: Scale,
    counts: Counts,
    members: BTreeMap<MemberNo, OfMember>,
    links: BTreeMap<Link, (u64, u64)>,
    /// What each said last that it became.
    roles: BTreeMap<MemberNo, Role>,
    /// Terms in which somebody led, of each cluster.
    led: BTreeSet<(ClusterId, Term)>,
    term: Term,
    commit: Index,
    /// Operations that have not returned.
    open: HashMap<OpId, Open>,
    /// Operations that have, ascending.
    done: Vec<Done>,
    /// When each write was acknowledged, ascending.
    acked: Vec<u64>,
    /// The longest waits before one of those, each longer than all behind it: its place in `acked`
    /// and the wait.
    waits: Vec<(usize, u64)>,
    /// The newest revision that was acknowledged.
    revision: i64,
    leaderless_micros: u64,
    leaderless_since: Option<u64>,
}

/// What is counted of all together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) elections: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) turns: u64,
    pub(crate) events: u64,
    pub(crate) cancelled: u64,
}

/// What is counted of each member.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OfMember {
    pub(crate) campaigns: u64,
    pub(crate) refusals: u64,
    pub(crate) truncated: u64,
    pub(crate) snapshots: u64,
    pub(crate) compactions: u64,
    pub(crate) starts: u64,
    pub(crate) deaths: u64,
    pub(crate) acked: u64,
    pub(crate) reads: u64,
    pub(crate) failed_reads: u64,
    pub(crate) stale_reads: u64,
}

/// How things stood when something began.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// When, microseconds of the run.
    pub at_micros: u64,
    counts: Counts,
    members: BTreeMap<MemberNo, OfMember>,
    links: BTreeMap<Link, (u64, u64)>,
    term: Term,
    led: Term,
    commit: Index,
    done: usize,
    acked: usize,
    leaderless_micros: u64,
    backups: u32,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    member: MemberNo,
    /// A single call of a scenario, not one of the workload's.
    is_single: bool,
    since_micros: u64,
    is_write: bool,
    is_read: bool,
    /// The newest revision that had been acknowledged when it was asked.
    newest: i64,
}

#[derive(Clone, Copy, Debug)]
struct Done {
    took_micros: u64,
    is_write: bool,
    is_read: bool,
    is_ok: bool,
}

impl Tally {
    /// Nothing has happened yet.
    pub fn of(scenario: &Scenario) -> Self {
        Self { names: zones(scenario), ..Self::new(scenario.cluster.scale()) }
    }

    /// The same without a scenario.
    pub fn new(scale: Scale) -> Self {
        Self {
            state: LabState::default(),
            names: Names::new(),
            scale,
            counts: Counts::default(),
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            roles: BTreeMap::new(),
            led: BTreeSet::new(),
            term: Term::default(),
            commit: Index::default(),
            open: HashMap::new(),
            done: Vec::new(),
            acked: Vec::new(),
            waits: Vec::new(),
            revision: 0,
            leaderless_micros: 0,
            leaderless_since: Some(0),
        }
    }

    /// Takes the next event of the journal, without gaps.
    pub fn observe(&mut self, numbered: &Numbered) {
        self.state.apply(numbered, false);
        let now = numbered.at_micros;
        match &numbered.event {
            Event::RunStarted { .. } => {
                // A new cluster begins to count.
                self.open.clear();
                self.led.clear();
                (self.term, self.commit, self.revision) = Default::default();
            }
            Event::Named { name, members } => {
                self.names.insert(name.clone(), members.iter().copied().collect());
            }
            Event::Process { member, process } => match process {
                Process::Up { .. } => self.member(*member).starts += 1,
                Process::Down { asked: false, .. } => self.member(*member).deaths += 1,
                Process::Down { .. } | Process::Paused { .. } | Process::Planned => {}
            },
            Event::Status { member, status } => {
                self.term = self.term.max(status.term);
                self.commit = self.commit.max(status.commit);
                if status.role == Role::Leader {
                    self.leads(*member, status.term);
                }
            }
            Event::Trace { member, traced } => self.trace(*member, &traced.event),
            Event::Message(Message { link, .. }) => self.links.entry(*link).or_default().0 += 1,
            Event::Invoked { op, client, member, call } => {
                let open = Open {
                    member: *member,
                    is_single: client.is_pinned(),
                    since_micros: now,
                    is_write: call.is_write(),
                    is_read: is_read(call),
                    newest: self.revision,
                };
                self.open.insert(*op, open);
            }
            Event::Returned { op, outcome } => self.returned(now, *op, outcome),
            Event::Reconnected { .. } => self.counts.turns += 1,
            Event::WatchHeard { response, .. } => match &response.told {
                WatchTold::Events(events) => self.counts.events += events.len() as u64,
                WatchTold::Canceled { .. } | WatchTold::Compacted { .. } => {
                    self.counts.cancelled += 1;
                }
                WatchTold::Created | WatchTold::Progress => {}
            },
            Event::Traffic { links } => {
                for traffic in links {
                    self.links.entry(traffic.link).or_default().1 = traffic.lost;
                }
            }
            _ => {}
        }
        let counts = matches!(
            numbered.event,
            Event::Status { .. } | Event::Process { .. } | Event::RunStarted { .. }
        );
        if counts {
            match (self.state.leader(), self.leaderless_since) {
                (Some(_), Some(since)) => {
                    self.leaderless_micros += now.saturating_sub(since);
                    self.leaderless_since = None;
                }
                (None, None) => self.leaderless_since = Some(now),
                _ => {}
            }
        }
    }

    fn member(&mut self, member: MemberNo) -> &mut OfMember {
        self.members.entry(member).or_default()
    }

    fn leads(&mut self, member: MemberNo, term: Term) {
        let cluster = self.state.members.get(&member).and_then(|member| member.id);
        let cluster = cluster.map(|(_, cluster)| cluster).unwrap_or_default();
        if self.led.insert((cluster, term)) {
            self.counts.elections += 1;
        }
    }

    fn trace(&mut self, no: MemberNo, event: &TraceEvent) {
        match event {
            TraceEvent::Became { role, term, .. } => {
                let before = self.roles.insert(no, *role);
                match (role, before) {
                    (Role::Leader, _) => self.leads(no, *term),
                    // It goes on with the election for which it asked already.
                    (Role::Candidate, Some(Role::PreCandidate)) => {}
                    (Role::PreCandidate | Role::Candidate, _) => self.member(no).campaigns += 1,
                    (Role::Follower | Role::Learner, _) => {}
                }
            }
            TraceEvent::VoteCast { granted: false, .. } => self.member(no).refusals += 1,
            TraceEvent::Truncated { from, old_last, .. } => {
                self.member(no).truncated += old_last.0.saturating_sub(from.0) + 1;
            }
            TraceEvent::SnapshotInstalled { .. } => self.member(no).snapshots += 1,
            TraceEvent::Compacted { .. } => self.member(no).compactions += 1,
            _ => {}
        }
    }

    fn returned(&mut self, now: u64, op: OpId, outcome: &Outcome) {
        let Some(open) = self.open.remove(&op) else { return };
        let Open { member, is_single: _, since_micros, is_write, is_read, newest } = open;
        let is_ok = outcome.is_ok();
        let took_micros = now.saturating_sub(since_micros);
        self.done.push(Done { took_micros, is_write, is_read, is_ok });
        let revision = match outcome {
            Outcome::Ok(answer) => Some(answer.revision),
            Outcome::Txn(answer) => Some(answer.revision),
            Outcome::Fail { .. } | Outcome::Info { .. } => None,
        };
        if is_read {
            let of = self.member(member);
            of.reads += u64::from(is_ok);
            of.failed_reads += u64::from(!is_ok);
            of.stale_reads += u64::from(revision.is_some_and(|revision| revision < newest));
        }
        if is_write {
            match outcome {
                Outcome::Fail { .. } => self.counts.refused += 1,
                Outcome::Info { .. } => self.counts.unknown += 1,
                Outcome::Ok(_) | Outcome::Txn(_) => {
                    self.member(member).acked += 1;
                    self.acknowledged(now);
                }
            }
        }
        self.revision = self.revision.max(revision.unwrap_or_default());
    }

    fn acknowledged(&mut self, now: u64) {
        let wait = now.saturating_sub(self.acked.last().copied().unwrap_or_default());
        while self.waits.last().is_some_and(|(_, shorter)| *shorter <= wait) {
            self.waits.pop();
        }
        self.waits.push((self.acked.len(), wait));
        self.acked.push(now);
    }

    /// How things stand now.
    pub fn mark(&self) -> Mark {
        Mark {
            at_micros: self.state.at_micros,
            counts: self.counts,
            members: self.members.clone(),
            links: self.links.clone(),
            term: self.term,
            led: self.highest_office(),
            commit: self.commit,
            done: self.done.len(),
            acked: self.acked.len(),
            leaderless_micros: self.leaderless_micros(),
            backups: self.state.backups.verified,
        }
    }

    /// The highest term in which anybody says that it leads.
    pub(crate) fn highest_office(&self) -> Term {
        let status = self.state.members.values().filter_map(|member| member.status.as_ref());
        let offices = status.filter(|status| status.role == Role::Leader);
        offices.map(|status| status.term).max().unwrap_or_default()
    }

    /// The members that a target of a condition means.
    pub(crate) fn chosen(&self, target: &Target) -> BTreeSet<MemberNo> {
        match target {
            Target::Member(member) => BTreeSet::from([*member]),
            Target::Named(name) => self.names.get(name).cloned().unwrap_or_default(),
            Target::Zone(name) => {
                self.names.get(&format!("zone {name}")).cloned().unwrap_or_default()
            }
            Target::Several(parts) => parts.iter().flat_map(|part| self.chosen(part)).collect(),
            Target::Without(these, without) => {
                self.chosen(these).difference(&self.chosen(without)).copied().collect()
            }
            Target::Clients => BTreeSet::from([MemberNo::CLIENTS]),
            // The others are refused when the file is read.
            Target::All
            | Target::Leader
            | Target::Followers
            | Target::AFollower
            | Target::Minority { .. }
            | Target::Majority { .. }
            | Target::Running
            | Target::Learners
            | Target::Freshest
            | Target::MostBehind
            | Target::Rest => self.state.taking_part().map(|(no, _)| no).collect(),
        }
    }

    /// A count of these members since a mark; of all, without a target.
    pub(crate) fn since(
        &self,
        mark: &Mark,
        target: Option<&Target>,
        count: impl Fn(&OfMember) -> u64,
    ) -> u64 {
        let of = |all: &BTreeMap<MemberNo, OfMember>, no: &MemberNo| {
            all.get(no).map(&count).unwrap_or_default()
        };
        let grown = |no: &MemberNo| of(&self.members, no) - of(&mark.members, no);
        match target {
            Some(target) => self.chosen(target).iter().map(grown).sum(),
            None => self.members.keys().map(grown).sum(),
        }
    }

    /// A count of all since a mark.
    pub(crate) fn grown(&self, mark: &Mark, count: impl Fn(&Counts) -> u64) -> u64 {
        count(&self.counts) - count(&mark.counts)
    }

    /// Messages put on this link since a mark, and lost of it.
    pub(crate) fn messages(&self, mark: &Mark, link: Link) -> (u64, u64) {
        let (sent, lost) = self.links.get(&link).copied().unwrap_or_default();
        let (before, lost_before) = mark.links.get(&link).copied().unwrap_or_default();
        (sent.saturating_sub(before), lost.saturating_sub(lost_before))
    }

    /// Terms risen since a mark.
    pub(crate) fn terms(&self, mark: &Mark) -> u64 {
        self.term.0.saturating_sub(mark.term.0)
    }

    /// The highest term that was told.
    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// Entries committed since a mark.
    pub(crate) fn committed(&self, mark: &Mark) -> u64 {
        self.commit.0.saturating_sub(mark.commit.0)
    }

    /// The highest index that anybody knows to be committed.
    pub(crate) fn commit(&self) -> Index {
        self.commit
    }

    /// Operations that have not returned.
    pub fn open(&self) -> u64 {
        self.open.len() as u64
    }

    /// Single calls of a scenario that have not returned.
    pub(crate) fn open_calls(&self) -> usize {
        self.open.values().filter(|open| open.is_single).count()
    }

    /// Writes acknowledged since a mark.
    pub fn acked(&self, mark: &Mark) -> u64 {
        (self.acked.len() - mark.acked) as u64
    }

    /// The longest time since a mark in which no write was acknowledged, microseconds.
    pub(crate) fn gap(&self, mark: &Mark) -> u64 {
        let now = self.state.at_micros;
        let Some(&first) = self.acked.get(mark.acked) else {
            return now.saturating_sub(mark.at_micros);
        };
        let behind = self.waits.partition_point(|(at, _)| *at <= mark.acked);
        let between = self.waits.get(behind).map_or(0, |(_, wait)| *wait);
        let last = self.acked.last().copied().unwrap_or(first);
        between.max(first.saturating_sub(mark.at_micros)).max(now.saturating_sub(last))
    }

    /// The time since a mark in which nobody led, microseconds.
    pub(crate) fn leaderless(&self, mark: &Mark) -> u64 {
        self.leaderless_micros() - mark.leaderless_micros
    }

    fn leaderless_micros(&self) -> u64 {
        let now = self.state.at_micros;
        let open = self.leaderless_since.map_or(0, |since| now.saturating_sub(since));
        self.leaderless_micros + open
    }

    fn of_kind(&self, mark: &Mark, kind: Operations) -> impl Iterator<Item = &Done> {
        self.done[mark.done..].iter().filter(move |done| match kind {
            Operations::All => true,
            Operations::Writes => done.is_write,
            Operations::Reads => done.is_read,
        })
    }

    /// The share of operations that returned since a mark and succeeded, in thousandths; `None` when
    /// none returned.
    pub(crate) fn availability(&self, mark: &Mark, kind: Operations) -> Option<u64> {
        let all = self.of_kind(mark, kind).count() as u64;
        let ok = self.of_kind(mark, kind).filter(|done| done.is_ok).count() as u64;
        (ok * 1000).checked_div(all)
    }

    /// How long operations took that returned since a mark and succeeded, microseconds; `None` when
    /// there are none.
    pub(crate) fn latency(&self, mark: &Mark, quantile: Quantile, kind: Operations) -> Option<u64> {
        let ok = self.of_kind(mark, kind).filter(|done| done.is_ok);
        let mut took: Vec<_> = ok.map(|done| done.took_micros).collect();
        took.sort_unstable();
        let last = took.len().checked_sub(1)?;
        let at = match quantile {
            Quantile::P50 => last / 2,
            Quantile::P99 => (last * 99).div_ceil(100),
            Quantile::Max => last,
        };
        took.get(at).copied()
    }

    /// Backups restored for a test since a mark.
    pub(crate) fn backups(&self, mark: &Mark) -> u32 {
        self.state.backups.verified.saturating_sub(mark.backups)
    }
}

impl Mark {
    /// The highest term in which anybody led then.
    pub(crate) fn office(&self) -> Term {
        self.led
    }
}

/// Whether a call only asks for keys.
fn is_read(call: &Call) -> bool {
    match call {
        Call::Get { .. } => true,
        Call::Txn { then, otherwise, .. } => !then.iter().chain(otherwise).any(TxnOp::is_write),
        _ => false,
    }
}

/// The members of each zone, which has members by number only.
fn zones(scenario: &Scenario) -> Names {
    let numbers = |targets: &Vec<Target>| {
        let number = |target: &Target| match target {
            Target::Member(member) => Some(*member),
            _ => None,
        };
        targets.iter().filter_map(number).collect()
    };
    let zones = scenario.cluster.zones.iter();
    zones.map(|(name, of)| (format!("zone {name}"), numbers(of))).collect()
}
