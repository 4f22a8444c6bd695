//! A leader cut off from its quorum resigns, and what only it had appended is given up.

use std::collections::BTreeSet;
use std::time::Duration;

use lab_protocol::node_protocol::telemetry::Traced;
use lab_protocol::node_protocol::{Index, Term, TraceEvent};
use lab_protocol::scenario::{Scale, Span};
use lab_protocol::{CheckResult, Event, MemberNo, Numbered};

use crate::cluster::Cluster;
use crate::history::{History, Moment};
use crate::{Check, Finding, seconds};

/// A leader that lost its quorum by a cut.
#[derive(Clone, Debug)]
struct Stranded {
    member: MemberNo,
    term: Term,
    since: Moment,
    resigned: Option<Moment>,
    /// When it could reach a quorum again.
    rescued: Option<Moment>,
}

/// The leaders that were cut off, in order.
#[derive(Clone, Debug, Default)]
struct Strandings {
    cluster: Cluster,
    all: Vec<Stranded>,
    last_micros: u64,
}

impl Strandings {
    fn observe(&mut self, numbered: &Numbered) {
        let before = self.cluster.leader();
        let could = before.is_some_and(|(member, _)| self.cluster.reaches_quorum(member));
        self.cluster.observe(numbered);
        self.last_micros = numbered.at_micros;
        if let Event::RunStarted { .. } = numbered.event {
            self.all.clear();
        }
        if let (Event::LinkChanged { .. }, Some((member, term)), true) =
            (&numbered.event, before, could)
            && !self.cluster.reaches_quorum(member)
        {
            let since = Moment::of(numbered);
            self.all.push(Stranded { member, term, since, resigned: None, rescued: None });
        }
        for stranded in &mut self.all {
            if stranded.rescued.is_none() && self.cluster.reaches_quorum(stranded.member) {
                stranded.rescued = Some(Moment::of(numbered));
            }
            if stranded.resigned.is_none()
                && self.cluster.office(stranded.member) != Some(stranded.term)
            {
                let at_micros = match &numbered.event {
                    Event::Trace { traced, .. } => traced.at_micros,
                    _ => numbered.at_micros,
                };
                stranded.resigned = Some(Moment { seq: numbered.seq, at_micros });
            }
        }
    }
}

/// A leader that was cut off from its quorum resigned in time.
#[derive(Clone, Debug)]
pub struct MinorityLeaderLeavesOffice {
    limit: Duration,
    slack: Duration,
    strandings: Strandings,
}

impl MinorityLeaderLeavesOffice {
    /// `within` counts from the cut; the time between two heartbeats is added, because a member's
    /// clock is its ticks.
    pub fn new(within: Span, scale: Scale) -> Self {
        Self {
            limit: within.duration(scale),
            slack: scale.heartbeat,
            strandings: Strandings::default(),
        }
    }
}

impl Check for MinorityLeaderLeavesOffice {
    fn observe(&mut self, numbered: &Numbered) {
        self.strandings.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let limit = u64::try_from((self.limit + self.slack).as_micros()).unwrap_or(u64::MAX);
        let mut served = Vec::new();
        let mut open = None;
        let mut broken = None;
        for Stranded { member, term, since, resigned, rescued } in &self.strandings.all {
            let end =
                resigned.or(*rescued).map_or(self.strandings.last_micros, |end| end.at_micros);
            let after = end.saturating_sub(since.at_micros);
            if after > limit {
                let said = if resigned.is_some() { "resigned only" } else { "still led" };
                broken = Some((
                    format!(
                        "{member}, leader of term {term}, {said} {} after it was cut off; at most \
                         {} are allowed",
                        seconds(after),
                        seconds(limit)
                    ),
                    vec![since.seq],
                ));
            } else if resigned.is_some() {
                let words = format!("{member} resigned {} after it was cut off", seconds(after));
                served.push(words);
            } else {
                open = Some(format!("{member} was not cut off long enough to have to resign"));
            }
        }
        let finding = match (broken, served.is_empty(), open) {
            (Some((why, evidence)), _, _) => Finding::invalid(why, evidence),
            (None, false, _) => Finding::valid(served.join("; ")),
            (None, true, Some(why)) => Finding::unknown(why),
            (None, true, None) => Finding::unknown("no leader was cut off from its quorum"),
        };
        finding.of("minority_leader_leaves_office", "a leader without a quorum steps down")
    }
}

/// What a cut-off leader had appended alone was truncated after healing, and none of it had been
/// acknowledged.
#[derive(Clone, Debug)]
pub struct MinorityTailTruncated {
    at_least: u32,
    strandings: Strandings,
    history: History,
    /// Entries appended by cut-off leaders in their own term: who, which term, where.
    tail: BTreeSet<(MemberNo, Term, Index)>,
    /// Those of them that were truncated.
    truncated: BTreeSet<(MemberNo, Term, Index)>,
    broken: Option<(String, Vec<u64>)>,
}

impl MinorityTailTruncated {
    /// Unknown below so many entries.
    pub fn new(at_least: u32) -> Self {
        Self {
            at_least,
            strandings: Strandings::default(),
            history: History::default(),
            tail: BTreeSet::new(),
            truncated: BTreeSet::new(),
            broken: None,
        }
    }

    fn observe_trace(&mut self, member: MemberNo, traced: &Traced) {
        match &traced.event {
            TraceEvent::Appended { entries } => {
                let Some(stranded) = self
                    .strandings
                    .all
                    .iter()
                    .rev()
                    .find(|stranded| stranded.member == member && stranded.rescued.is_none())
                else {
                    return;
                };
                // It tells of what it did a little earlier: the others may have that.
                if traced.at_micros <= stranded.since.at_micros {
                    return;
                }
                let term = stranded.term;
                let own = entries.iter().filter(|entry| entry.term == term);
                self.tail.extend(own.map(|entry| (member, term, entry.index)));
            }
            TraceEvent::Truncated { from, old_last, .. } => {
                let gone = |(who, _, index): &&(MemberNo, Term, Index)| {
                    *who == member && index >= from && index <= old_last
                };
                self.truncated.extend(self.tail.iter().filter(gone).copied());
            }
            _ => {}
        }
    }
}

impl Check for MinorityTailTruncated {
    fn observe(&mut self, numbered: &Numbered) {
        self.strandings.observe(numbered);
        self.history.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => {
                self.tail.clear();
                self.truncated.clear();
            }
            Event::Trace { member, traced } => self.observe_trace(*member, traced),
            Event::Returned { op, .. } => {
                let Some(operation) = self.history.get(*op) else { return };
                let alone = self.strandings.all.iter().any(|stranded| {
                    stranded.member == operation.member
                        && stranded.rescued.is_none()
                        && operation.invoked > stranded.since
                });
                // The workload's clients may have turned to the other side meanwhile.
                if alone
                    && operation.client.is_pinned()
                    && operation.call.is_write()
                    && operation.happened()
                    && self.broken.is_none()
                {
                    self.broken = Some((operation.words(), operation.evidence()));
                }
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let kept = self.tail.difference(&self.truncated).next();
        let finding = match (&self.broken, kept) {
            (Some((words, evidence)), _) => Finding::invalid(
                format!("{words} was acknowledged by a leader without a quorum"),
                evidence.as_slice(),
            ),
            (None, _) if self.tail.len() < self.at_least as usize => {
                let cases = "entries appended by a leader without a quorum";
                Finding::too_few(self.tail.len(), self.at_least, cases)
            }
            (None, Some((member, term, index))) => Finding::invalid(
                format!("{member} kept entry {index} of term {term}, which only it had appended"),
                [],
            ),
            (None, None) => Finding::valid(format!(
                "{} entries of a leader without a quorum, all truncated, none acknowledged",
                self.tail.len()
            )),
        };
        finding.of(
            "minority_tail_truncated",
            "what only a cut-off leader had is given up, and was never promised",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};
    use lab_protocol::node_protocol::{Role, telemetry::EntryBrief};
    use lab_protocol::scenario::ClusterWish;
    use lab_protocol::{Call, ClientNo, OpId};

    fn office() -> MinorityLeaderLeavesOffice {
        let within = "2ET".parse().expect("a time");
        MinorityLeaderLeavesOffice::new(within, ClusterWish::default().scale())
    }

    fn leader_cut_off() -> Script {
        Script::new(3).up(&[1, 2, 3]).leads(1, 2).cut(1, 2).cut(1, 3)
    }

    #[test]
    fn a_leader_that_stays_too_long_is_named() {
        check(&mut office(), Script::new(3).up(&[1, 2, 3]).leads(1, 2), Unknown, "no leader");
        let resigned = leader_cut_off().wait(1500).became(1, Role::Follower, 2);
        check(&mut office(), resigned, Valid, "m1 resigned 1.");
        let late = leader_cut_off().wait(2500).became(1, Role::Follower, 2);
        check(&mut office(), late, Invalid, "resigned only 2.");
        let never = leader_cut_off().wait(3000).leads(2, 3);
        check(&mut office(), never, Invalid, "m1, leader of term 2, still led");
        let short = leader_cut_off().wait(100).heal(1, 2).wait(5000).step(1);
        check(&mut office(), short, Unknown, "not cut off long enough");
        let one_side = Script::new(3).up(&[1, 2, 3]).leads(1, 2).cut(1, 2).wait(9000).step(1);
        check(&mut office(), one_side, Unknown, "no leader was cut off");
    }

    fn appended(script: Script) -> Script {
        let entry = |index, term| EntryBrief {
            index: Index(index),
            term: Term(term),
            text: "put d/1".into(),
        };
        script.trace(1, TraceEvent::Appended { entries: vec![entry(7, 2), entry(8, 2)] })
    }

    fn put_at_m1(script: Script) -> Script {
        let client = ClientNo(ClientNo::FIRST_PINNED + 1);
        let call = Call::Put { key: "d/1".into(), value: "v".into() };
        script.then(Event::Invoked { op: OpId(1), client, member: MemberNo(1), call })
    }

    #[test]
    fn a_tail_that_was_kept_or_acknowledged_is_named() {
        let healed = |script: Script| script.heal(1, 2).heal(1, 3);
        let judge = |script, judgement, has: &str| {
            check(&mut MinorityTailTruncated::new(2), script, judgement, has);
        };
        judge(healed(leader_cut_off()), Unknown, "0 entries");
        let tail = appended(put_at_m1(leader_cut_off()));
        judge(healed(tail.clone()).truncated(1, 7, 8, 2), Valid, "2 entries");
        judge(healed(tail.clone()).truncated(1, 8, 8, 2), Invalid, "m1 kept entry 7 of term 2");
        judge(healed(tail.clone()), Invalid, "m1 kept entry 7");
        let acked = healed(tail.clone().ok(1, 3, None)).truncated(1, 7, 8, 2);
        judge(acked, Invalid, "operation 1 (put d/1 through m1) was acknowledged");
        // What is sent again to the new leader after healing may be done.
        judge(healed(tail).truncated(1, 7, 8, 2).ok(1, 9, None), Valid, "2 entries");
    }
}
