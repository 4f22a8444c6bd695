//! The tape: what the last minutes of a run looked like, derived in the fold and bounded.
//!
//! ```text
//!  faults   ├──── m3 down ────┤      ├─ cut m1>m2 …
//!  leaders  ├── m3, term 7 ──┤   ├── m1, term 8 …
//!  buckets  ▂▂▃▂▂▂▂▂▃▂▂▂▂▂▂░░░░▅▂▂▂▂  100 ms each: ok, fail, info, waiting, latency
//!  gaps                    └──┘       between two acknowledged writes
//! ```
//!
//! It lives inside [`LabState`], so a page that reloads or wakes from a sleep shows the same tape
//! as one that stayed. Faults are here because they happened, never because they were asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use node_protocol::{ClusterId, Role, Term, TraceEvent};
use serde::{Deserialize, Serialize};

use crate::{
    Call, Command, CommandId, Event, LabState, Link, LinkCondition, MemberNo, OpId, Outcome,
    Process, Standing,
};

/// Length of a bucket. A screen pixel of a 30 s tape is about 25 ms, so 100 ms is one tick.
pub const BUCKET_MICROS: u64 = 100_000;

/// Buckets kept: five minutes.
const BUCKETS: usize = 3_000;

/// Spans of each kind, gaps and terms kept; the oldest are dropped.
const SPANS: usize = 200;

/// Single operations of a person kept.
const ASKED: usize = 12;

/// Operations followed from invocation to return. Beyond it (a person asks 2000 a second of a
/// cluster that answers nothing) new ones are not counted as waiting and have no latency.
const OPEN: usize = 16_384;

/// A pause between two acknowledged writes is a gap from here on.
pub const GAP_MICROS: u64 = 250_000;

/// Changes of links closer than this are one fault, such as a partition.
const ONE_FAULT_MICROS: u64 = 400_000;

/// The history that the page's tape shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tape {
    /// Who said that it led, and when; ascending by start. Two may overlap: an old leader that
    /// does not know of the new one yet.
    pub leaders: VecDeque<LeaderSpan>,
    /// What was broken, ascending by start.
    pub faults: VecDeque<FaultSpan>,
    /// When the run began; later than 0 after *start over*.
    pub began_micros: u64,
    /// Number of the first bucket: it covers `first_bucket * BUCKET_MICROS ..`.
    pub first_bucket: u64,
    /// Client operations, one bucket after the other without holes.
    pub buckets: VecDeque<Bucket>,
    /// Pauses between acknowledged writes while a write waited, ascending.
    pub gaps: VecDeque<Gap>,
    /// The newest operations that a person asked for one by one, oldest first.
    pub asked: VecDeque<AskedOperation>,
    /// All writes of the run that returned.
    pub writes: Tally,
    /// All reads of the run that returned.
    pub reads: Tally,
    /// The most members that were leaders of one same term, of the terms still remembered.
    pub most_leaders_in_a_term: u8,
    /// Of one cluster: a restored one counts its terms anew.
    leaders_by_term: Vec<((ClusterId, Term), BTreeSet<MemberNo>)>,
    open: BTreeMap<OpId, Open>,
    wanted: VecDeque<Wanted>,
    cut: BTreeSet<Link>,
    delayed: BTreeSet<Link>,
    disturbed: BTreeSet<Link>,
    acked_micros: Option<u64>,
    waiting_writes: u32,
    waiting_reads: u32,
}

/// One member's time in office, by its own account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderSpan {
    /// Who.
    pub member: MemberNo,
    /// In which term.
    pub term: Term,
    /// Since when, microseconds of the run.
    pub from_micros: u64,
    /// Until when; `None` while it lasts.
    pub until_micros: Option<u64>,
}

/// One fault and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSpan {
    /// What is broken.
    pub fault: Fault,
    /// Since when, microseconds of the run.
    pub from_micros: u64,
    /// Until when; `None` while it lasts.
    pub until_micros: Option<u64>,
}

/// Something that is broken.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// A process does not run.
    Down { member: MemberNo },
    /// A process is stopped by SIGSTOP.
    Paused { member: MemberNo },
    /// These links lose every message; ascending.
    Cut { links: Vec<Link> },
    /// These links deliver late; ascending.
    Delayed { links: Vec<Link> },
    /// These links do something else to messages; ascending.
    Disturbed { links: Vec<Link> },
    /// A fault that was injected.
    Injected { fault: crate::Fault },
}

/// Client operations of 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Writes that returned.
    pub writes: Tally,
    /// Reads that returned.
    pub reads: Tally,
    /// Writes without an answer at the bucket's end.
    pub waiting_writes: u32,
    /// Reads without an answer at the bucket's end.
    pub waiting_reads: u32,
    /// Sum of the latencies of the acknowledged writes, microseconds.
    pub write_micros_sum: u64,
    /// The slowest acknowledged write, microseconds; 0 without any.
    pub write_micros_max: u64,
}

/// How operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Happened.
    pub ok: u64,
    /// Did not happen and never will.
    pub fail: u64,
    /// Unknown.
    pub info: u64,
}

/// A pause between two acknowledged writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last acknowledgement before (or the first write that waited), microseconds of the run.
    pub from_micros: u64,
    /// The first acknowledgement after.
    pub until_micros: u64,
    /// Writes that waited when it ended, the acknowledged one included.
    pub waited: u32,
}

/// One operation that a person asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedOperation {
    /// Its number.
    pub op: OpId,
    /// Through which member.
    pub member: MemberNo,
    /// What.
    pub call: Call,
    /// When, microseconds of the run.
    pub at_micros: u64,
    /// What came back and when; `None` while it waits.
    pub returned: Option<(u64, Outcome)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    at_micros: u64,
    write: bool,
}

/// A single operation that was asked and is not yet seen invoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wanted {
    id: CommandId,
    member: MemberNo,
    key: String,
    write: bool,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(_) | Outcome::Txn(_) => self.ok += 1,
            Outcome::Fail { .. } => self.fail += 1,
            Outcome::Info { .. } => self.info += 1,
        }
    }

    /// All that returned.
    pub fn all(&self) -> u64 {
        self.ok + self.fail + self.info
    }
}

impl Gap {
    /// Its length in microseconds.
    pub fn micros(&self) -> u64 {
        self.until_micros - self.from_micros
    }
}

impl Tape {
    /// The gap that is open now: no write was acknowledged for longer than [`GAP_MICROS`] while at
    /// least one waits. The `until` of it is `now_micros`.
    pub fn open_gap(&self, now_micros: u64) -> Option<Gap> {
        let from_micros = self.acked_micros?;
        let long = now_micros.saturating_sub(from_micros) > GAP_MICROS;
        (long && self.waiting_writes > 0).then_some(Gap {
            from_micros,
            until_micros: now_micros,
            waited: self.waiting_writes,
        })
    }

    /// Writes without an answer.
    pub fn waiting_writes(&self) -> u32 {
        self.waiting_writes
    }

    /// Reads without an answer.
    pub fn waiting_reads(&self) -> u32 {
        self.waiting_reads
    }

    /// The bucket that covers a time, if it is still kept.
    pub fn bucket_at(&self, at_micros: u64) -> Option<&Bucket> {
        let number = (at_micros / BUCKET_MICROS).checked_sub(self.first_bucket)?;
        self.buckets.get(usize::try_from(number).ok()?)
    }

    /// Folds one event in; `state` is the state before it. Returns the gap that it ended.
    pub(crate) fn note(&mut self, state: &LabState, at_micros: u64, event: &Event) -> Option<Gap> {
        self.advance(at_micros);
        match event {
            Event::Process { member, process } => self.process(state, *member, process, at_micros),
            Event::Status { member, status } => {
                self.office(state, *member, (status.role, status.term), at_micros);
            }
            Event::Trace { member, traced } => {
                if let TraceEvent::Became { role, term, .. } = &traced.event {
                    self.office(state, *member, (*role, *term), at_micros);
                }
            }
            Event::LinkChanged { link, condition } => {
                if state.links.contains_key(link) {
                    self.link(*link, *condition, at_micros);
                }
            }
            Event::FaultBegan { fault, .. } => {
                self.lift(*fault, at_micros);
                self.open(Fault::Injected { fault: *fault }, at_micros);
            }
            Event::FaultEnded { fault } => self.lift(*fault, at_micros),
            Event::Asked { id, command, .. } => self.want(*id, command),
            Event::Refused { id, .. } => self.wanted.retain(|wanted| wanted.id != *id),
            Event::Invoked { op, member, call, .. } => self.invoked(*op, *member, call, at_micros),
            Event::Returned { op, outcome } => return self.returned(*op, outcome, at_micros),
            Event::RunStarted { .. } => self.began_micros = at_micros,
            Event::Done { .. }
            | Event::Identified { .. }
            | Event::Telemetry { .. }
            | Event::TraceLost { .. }
            | Event::Message(_)
            | Event::MessageLost { .. }
            | Event::MessageReleased { .. }
            | Event::LinkReset { .. }
            | Event::ClockMoved { .. }
            | Event::TimersSet { .. }
            | Event::Named { .. }
            | Event::FileDamaged { .. }
            | Event::Traffic { .. }
            | Event::Reconnected { .. }
            | Event::ReadBack(_)
            | Event::WorkloadChanged { .. }
            | Event::MixChanged { .. }
            | Event::Step { .. }
            | Event::Note { .. }
            | Event::Judged(_)
            | Event::WatchOpened { .. }
            | Event::WatchHeard { .. }
            | Event::WatchClosed { .. }
            | Event::WatchResumed { .. }
            | Event::MemberAdded { .. }
            | Event::Said(_)
            | Event::Restored { .. }
            | Event::AnsweredBy { .. }
            | Event::BackupsChanged { .. }
            | Event::Backup(_)
            | Event::Snapshots(_)
            | Event::Scored(_)
            | Event::Seated { .. }
            | Event::Drill(_)
            | Event::Lesson(_)
            | Event::RunEnded => {}
        }
        None
    }

    /// Makes the last bucket the one that covers this time.
    fn advance(&mut self, at_micros: u64) {
        let number = at_micros / BUCKET_MICROS;
        let waiting = Bucket {
            waiting_writes: self.waiting_writes,
            waiting_reads: self.waiting_reads,
            ..Bucket::default()
        };
        let next = self.first_bucket + self.buckets.len() as u64;
        if self.buckets.is_empty() || number >= next + BUCKETS as u64 {
            self.buckets.clear();
            self.first_bucket = number;
            self.buckets.push_back(waiting);
            return;
        }
        for _ in next..=number {
            self.buckets.push_back(waiting);
        }
        while self.buckets.len() > BUCKETS {
            self.buckets.pop_front();
            self.first_bucket += 1;
        }
    }

    fn process(&mut self, state: &LabState, member: MemberNo, process: &Process, at_micros: u64) {
        let removed =
            state.members.get(&member).is_some_and(|known| known.standing == Standing::Removed);
        let down = Fault::Down { member };
        let paused = Fault::Paused { member };
        match process {
            Process::Planned | Process::Up { .. } => {
                self.close(&down, at_micros);
                self.close(&paused, at_micros);
            }
            Process::Paused { .. } => self.open(paused, at_micros),
            Process::Down { .. } => {
                self.close(&paused, at_micros);
                // The end of a member that was removed harms nobody.
                if !removed {
                    self.open(down, at_micros);
                }
                self.leave_office(member, at_micros);
            }
        }
    }

    fn open(&mut self, fault: Fault, from_micros: u64) {
        let open = |span: &FaultSpan| span.until_micros.is_none() && span.fault == fault;
        if !self.faults.iter().any(open) {
            push(&mut self.faults, FaultSpan { fault, from_micros, until_micros: None });
        }
    }

    fn close(&mut self, fault: &Fault, at_micros: u64) {
        for span in &mut self.faults {
            if span.until_micros.is_none() && span.fault == *fault {
                span.until_micros = Some(at_micros);
            }
        }
    }

    /// A fault of this kind at its target ends.
    fn lift(&mut self, fault: crate::Fault, at_micros: u64) {
        for span in &mut self.faults {
            if span.until_micros.is_none()
                && matches!(span.fault, Fault::Injected { fault: known } if fault.replaces(known))
            {
                span.until_micros = Some(at_micros);
            }
        }
    }

    fn link(&mut self, link: Link, condition: LinkCondition, at_micros: u64) {
        let (cut, delayed, disturbed) = match condition {
            LinkCondition::Open => (false, false, false),
            LinkCondition::Cut => (true, false, false),
            LinkCondition::Delayed { .. } => (false, true, false),
            LinkCondition::Held
            | LinkCondition::Refused
            | LinkCondition::Throttled { .. }
            | LinkCondition::HalfOpen
            | LinkCondition::Mangled { .. } => (false, false, true),
        };
        if set_member(&mut self.cut, link, cut) {
            let links: Vec<_> = self.cut.iter().copied().collect();
            self.links_fault(links, at_micros, |links| Fault::Cut { links });
        }
        if set_member(&mut self.delayed, link, delayed) {
            let links: Vec<_> = self.delayed.iter().copied().collect();
            self.links_fault(links, at_micros, |links| Fault::Delayed { links });
        }
        if set_member(&mut self.disturbed, link, disturbed) {
            let links: Vec<_> = self.disturbed.iter().copied().collect();
            self.links_fault(links, at_micros, |links| Fault::Disturbed { links });
        }
    }

    /// Replaces the open span of this kind of fault by one with these links.
    fn links_fault(&mut self, links: Vec<Link>, at_micros: u64, make: fn(Vec<Link>) -> Fault) {
        let kind = std::mem::discriminant(&make(Vec::new()));
        let open = self.faults.iter_mut().rev().find(|span| {
            span.until_micros.is_none() && std::mem::discriminant(&span.fault) == kind
        });
        let same = |span: &FaultSpan| at_micros - span.from_micros < ONE_FAULT_MICROS;
        match open {
            Some(span) if same(span) && !links.is_empty() => {
                span.fault = make(links);
                return;
            }
            Some(span) => span.until_micros = Some(at_micros),
            None => {}
        }
        if links.is_empty() {
            // What was left while the links healed one after the other was no fault of its own.
            self.faults.retain(|span| {
                std::mem::discriminant(&span.fault) != kind
                    || span.until_micros != Some(at_micros)
                    || !same(span)
            });
        } else {
            self.open(make(links), at_micros);
        }
    }

    fn office(
        &mut self,
        state: &LabState,
        member: MemberNo,
        (role, term): (Role, Term),
        at_micros: u64,
    ) {
        if role != Role::Leader {
            self.leave_office(member, at_micros);
            return;
        }
        let mine = |span: &&LeaderSpan| span.member == member && span.until_micros.is_none();
        if self.leaders.iter().find(mine).is_some_and(|span| span.term == term) {
            return;
        }
        self.leave_office(member, at_micros);
        push(
            &mut self.leaders,
            LeaderSpan { member, term, from_micros: at_micros, until_micros: None },
        );
        let cluster = state.members.get(&member).and_then(|known| known.id);
        let cluster = cluster.map_or_else(ClusterId::default, |(_, cluster)| cluster);
        let key = (cluster, term);
        let place = match self.leaders_by_term.iter().rposition(|(known, _)| *known == key) {
            Some(place) => place,
            None => {
                self.leaders_by_term.push((key, BTreeSet::new()));
                self.leaders_by_term.len() - 1
            }
        };
        let leaders = &mut self.leaders_by_term[place].1;
        leaders.insert(member);
        let count = u8::try_from(leaders.len()).unwrap_or(u8::MAX);
        self.most_leaders_in_a_term = self.most_leaders_in_a_term.max(count);
        while self.leaders_by_term.len() > SPANS {
            self.leaders_by_term.remove(0);
        }
    }

    fn leave_office(&mut self, member: MemberNo, at_micros: u64) {
        for span in &mut self.leaders {
            if span.member == member && span.until_micros.is_none() {
                span.until_micros = Some(at_micros);
            }
        }
    }

    fn want(&mut self, id: CommandId, command: &Command) {
        let (member, key, write) = match command {
            Command::Put { member, key, .. } => (*member, key.clone(), true),
            Command::Get { member, key, .. } => (*member, key.clone(), false),
            Command::Invoke { member, call, .. } => {
                let key = call.key().unwrap_or_default().to_owned();
                (*member, key, call.is_write())
            }
            _ => return,
        };
        self.wanted.push_back(Wanted { id, member, key, write });
        while self.wanted.len() > ASKED {
            self.wanted.pop_front();
        }
    }

    fn invoked(&mut self, op: OpId, member: MemberNo, call: &Call, at_micros: u64) {
        let write = call.is_write();
        let asked = self.wanted.iter().position(|wanted| {
            wanted.member == member
                && wanted.write == write
                && call.key().unwrap_or_default() == wanted.key
        });
        if let Some(place) = asked {
            self.wanted.remove(place);
            self.asked.push_back(AskedOperation {
                op,
                member,
                call: call.clone(),
                at_micros,
                returned: None,
            });
            while self.asked.len() > ASKED {
                self.asked.pop_front();
            }
        }
        if self.open.len() >= OPEN {
            return;
        }
        self.open.insert(op, Open { at_micros, write });
        if write {
            let idle = self.waiting_writes == 0
                && self.acked_micros.is_none_or(|acked| at_micros - acked > GAP_MICROS);
            if idle {
                // Nobody wrote since the last acknowledgement: that pause was no gap.
                self.acked_micros = Some(at_micros);
            }
        }
        self.waiting(write, 1);
    }

    fn returned(&mut self, op: OpId, outcome: &Outcome, at_micros: u64) -> Option<Gap> {
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.op == op) {
            asked.returned = Some((at_micros, outcome.clone()));
        }
        let Open { at_micros: invoked_micros, write } = self.open.remove(&op)?;
        let latency_micros = at_micros.saturating_sub(invoked_micros);
        let acknowledged = write && outcome.is_ok();
        let gap = if acknowledged { self.open_gap(at_micros) } else { None };
        self.waiting(write, -1);
        if write { &mut self.writes } else { &mut self.reads }.count(outcome);
        if let Some(bucket) = self.buckets.back_mut() {
            if write { &mut bucket.writes } else { &mut bucket.reads }.count(outcome);
            if acknowledged {
                bucket.write_micros_sum += latency_micros;
                bucket.write_micros_max = bucket.write_micros_max.max(latency_micros);
            }
        }
        if acknowledged {
            self.acked_micros = Some(at_micros);
        }
        if let Some(gap) = gap {
            push(&mut self.gaps, gap);
        }
        gap
    }

    fn waiting(&mut self, write: bool, change: i32) {
        let count = if write { &mut self.waiting_writes } else { &mut self.waiting_reads };
        *count = count.saturating_add_signed(change);
        if let Some(bucket) = self.buckets.back_mut() {
            bucket.waiting_writes = self.waiting_writes;
            bucket.waiting_reads = self.waiting_reads;
        }
    }
}

fn push<T>(spans: &mut VecDeque<T>, span: T) {
    spans.push_back(span);
    while spans.len() > SPANS {
        spans.pop_front();
    }
}

/// Puts a link in the set or takes it out; says whether that changed the set.
fn set_member(set: &mut BTreeSet<Link>, link: Link, inside: bool) -> bool {
    if inside { set.insert(link) } else { set.remove(&link) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, ClientNo, Ended, MemberPlan, Numbered};

    fn fold(events: Vec<(u64, Event)>) -> LabState {
        let mut state = LabState::default();
        let members = (1..=3)
            .map(|n| MemberPlan {
                member: MemberNo(n),
                client_url: String::new(),
                peer_url: String::new(),
            })
            .collect();
        let start = Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members,
        };
        let all = std::iter::once((0, start)).chain(events);
        for (seq, (at_millis, event)) in (1..).zip(all) {
            state.apply(&Numbered { seq, at_micros: at_millis * 1_000, event }, true);
        }
        state
    }

    fn invoke(op: u64) -> Event {
        let call = Call::Put { key: "k".into(), value: op.to_string() };
        Event::Invoked { op: OpId(op), client: ClientNo(1), member: MemberNo(1), call }
    }

    fn ok(op: u64) -> Event {
        let answer = Answer { revision: 2, term: 2, value: None, number: 0 };
        Event::Returned { op: OpId(op), outcome: Outcome::Ok(answer) }
    }

    #[test]
    fn a_gap_runs_from_acknowledgement_to_acknowledgement() {
        let state = fold(vec![
            (100, invoke(1)),
            (105, ok(1)),
            (120, invoke(2)),
            (140, invoke(3)),
            (1_540, ok(2)),
            (1_541, ok(3)),
        ]);
        let gap = Gap { from_micros: 105_000, until_micros: 1_540_000, waited: 2 };
        assert_eq!(state.tape.gaps, [gap]);
        assert_eq!(state.tape.writes, Tally { ok: 3, fail: 0, info: 0 });
        let waiting: Vec<u32> = state.tape.buckets.iter().map(|b| b.waiting_writes).collect();
        assert_eq!(waiting, [0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0]);
    }

    #[test]
    fn a_pause_in_which_nobody_wrote_is_no_gap() {
        let state = fold(vec![(0, invoke(1)), (2, ok(1)), (9_000, invoke(2)), (9_003, ok(2))]);
        assert!(state.tape.gaps.is_empty());
        assert_eq!(state.tape.open_gap(20_000_000), None);
    }

    #[test]
    fn a_partition_is_one_fault_and_a_later_cut_another() {
        let cut = |from, to, condition| Event::LinkChanged {
            link: Link { from: MemberNo(from), to: MemberNo(to) },
            condition,
        };
        let state = fold(vec![
            (10, cut(1, 2, LinkCondition::Cut)),
            (11, cut(2, 1, LinkCondition::Cut)),
            (5_000, cut(1, 2, LinkCondition::Open)),
            (5_001, cut(2, 1, LinkCondition::Open)),
            (8_000, cut(1, 3, LinkCondition::Cut)),
        ]);
        let spans: Vec<_> = state
            .tape
            .faults
            .iter()
            .map(|span| (span.from_micros / 1_000, span.until_micros.map(|t| t / 1_000)))
            .collect();
        assert_eq!(spans, [(10, Some(5_000)), (8_000, None)]);
    }

    #[test]
    fn a_crash_ends_the_office_and_starts_a_fault() {
        let became = Event::Trace {
            member: MemberNo(2),
            traced: node_protocol::telemetry::Traced {
                seq: 1,
                at_micros: 0,
                event: TraceEvent::Became { role: Role::Leader, term: Term(2), why: "".into() },
            },
        };
        let down = Process::Down { ended: Ended::Signal { number: 9 }, asked: true, wiped: false };
        let state =
            fold(vec![(10, became), (50, Event::Process { member: MemberNo(2), process: down })]);
        assert_eq!(state.tape.leaders[0].until_micros, Some(50_000));
        assert_eq!(state.tape.faults[0].fault, Fault::Down { member: MemberNo(2) });
        assert_eq!(state.tape.most_leaders_in_a_term, 1);
    }

    #[test]
    fn the_tape_is_bounded_whatever_the_time() {
        let state = fold(vec![(1_000, invoke(1)), (90_000_000, ok(1)), (90_400_000, invoke(2))]);
        assert!(state.tape.buckets.len() <= BUCKETS);
        assert!(state.tape.bucket_at(90_400_000_000).is_some());
        assert!(state.tape.bucket_at(1_000_000).is_none());
    }
}
