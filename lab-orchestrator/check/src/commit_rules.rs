//! What Raft promises of committed entries: later leaders have them, and no member applies
//! another in their place (Raft paper figure 3).
//!
//! Both are judged by the statuses alone: each has the terms of the member's log together with its
//! commit and applied index. A leader whose office is too short for a status is not seen.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use lab_protocol::node_protocol::{Index, Role, Status, Term};
use lab_protocol::{CheckResult, Event, MemberNo, Numbered};

use crate::logs::{ByCluster, LogSight, Stretch};
use crate::{Check, Finding};

/// What was broken, and the events that show it.
type Broken = (String, Vec<u64>);

/// An entry that is committed in one term is in the logs of the leaders of all later terms (Raft
/// paper figure 3, *leader completeness*).
///
/// What a member of term T knows to be committed was committed in T or before, so every leader of
/// a later term must have it, whether it was elected before or after that was heard.
#[derive(Clone, Debug, Default)]
pub struct LeaderCompleteness {
    terms: ByCluster<Terms>,
    /// Leaders that were compared with something committed before their term.
    compared: u64,
    broken: Option<Broken>,
}

#[derive(Clone, Debug, Default)]
struct Terms {
    /// The last entry known to be committed in each term.
    committed: BTreeMap<Term, Committed>,
    /// The last sight of each term's leader.
    leaders: BTreeMap<Term, LogSight>,
}

/// An entry that a member knew to be committed.
#[derive(Clone, Copy, Debug)]
struct Committed {
    index: Index,
    term: Term,
    /// The member's own term: the entry was committed in it or before.
    known_in: Term,
    member: MemberNo,
    seq: u64,
}

impl Committed {
    /// What is wrong with a later leader's log.
    fn missing(&self, leader: &LogSight, office: Term) -> Option<Broken> {
        let Self { index, term, known_in, member, seq } = self;
        // What the leader has compacted, it has.
        if *index < leader.oldest() {
            return None;
        }
        let found = match leader.term_at(*index) {
            Some(found) if found == *term => return None,
            Some(found) => format!("has one of term {found} there"),
            None => format!("has a log that ends at {}", leader.last),
        };
        let why = format!(
            "{member} knew in term {known_in} that entry {index} of term {term} was committed, but \
             {}, leader of term {office}, {found}",
            leader.member
        );
        Some((why, vec![*seq, leader.seq]))
    }
}

impl LeaderCompleteness {
    fn status(&mut self, status: &Status, sight: LogSight) {
        let terms = self.terms.of(sight.member);
        let mut broken = None;
        if let Some(term) = sight.term_at(status.commit) {
            let now = Committed {
                index: status.commit,
                term,
                known_in: status.term,
                member: sight.member,
                seq: sight.seq,
            };
            let known = terms.committed.entry(status.term).or_insert(now);
            if known.index < now.index || known.seq == now.seq {
                *known = now;
                let later = terms.leaders.range((Excluded(status.term), Unbounded));
                broken =
                    later.into_iter().find_map(|(office, leader)| now.missing(leader, *office));
            }
        }
        if status.role == Role::Leader {
            // A leader's log only grows, so its first sight has to have everything.
            if !terms.leaders.contains_key(&status.term) {
                let earlier = terms.committed.range(..status.term);
                let mut earlier = earlier.map(|(_, committed)| committed).peekable();
                self.compared += u64::from(earlier.peek().is_some());
                broken =
                    broken.or_else(|| earlier.find_map(|entry| entry.missing(&sight, status.term)));
            }
            terms.leaders.insert(status.term, sight);
        }
        if self.broken.is_none() {
            self.broken = broken;
        }
    }
}

impl Check for LeaderCompleteness {
    fn observe(&mut self, numbered: &Numbered) {
        self.terms.observe(numbered);
        if let Event::Status { member, status } = &numbered.event
            && let Some(sight) = LogSight::of(*member, numbered.seq, status)
        {
            self.status(status, sight);
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match &self.broken {
            Some((why, evidence)) => Finding::invalid(why.clone(), evidence.as_slice()),
            None if self.compared == 0 => {
                Finding::unknown("nobody was seen to lead after something was committed before it")
            }
            None => Finding::valid(format!(
                "{} leaders had all that was committed before their terms",
                self.compared
            )),
        };
        finding.of("leader_completeness", "what is committed is in the log of every later leader")
    }
}

/// If a member has applied an entry at some index, no member ever applies another there (Raft
/// paper figure 3, *state machine safety*); and none applies what is not committed.
#[derive(Clone, Debug, Default)]
pub struct StateMachineSafety {
    applied: ByCluster<Applied>,
    /// Entries that more than one sight tells of.
    compared: u64,
    broken: Option<Broken>,
}

/// The entries that anybody has applied: neighbouring entries of one term with who told first, by
/// their first index.
#[derive(Clone, Debug, Default)]
struct Applied {
    stretches: BTreeMap<Index, (Stretch, MemberNo, u64)>,
    /// For each member how far it had been compared.
    compared: BTreeMap<MemberNo, Index>,
}

impl Applied {
    /// Compares what a member has applied from an index on with what anybody has, and remembers
    /// what is new. How many entries were known before.
    fn take(&mut self, sight: &LogSight, applied: Index, from: Index) -> Result<u64, Broken> {
        let mut known_before = 0;
        for Stretch { first, last, term } in sight.stretches() {
            let (first, last) = (first.max(from), last.min(applied));
            let mut next = first;
            while next <= last {
                let before = self.stretches.range(..=next).next_back().map(|(_, known)| known);
                if let Some((known, member, seq)) = before
                    && next <= known.last
                {
                    if known.term != term {
                        let why = format!(
                            "at index {next} {member} applied an entry of term {}, but {} one of \
                             term {term}",
                            known.term, sight.member
                        );
                        return Err((why, vec![*seq, sight.seq]));
                    }
                    known_before += known.last.min(last).0 + 1 - next.0;
                    next = Index(known.last.0 + 1);
                    continue;
                }
                let behind = self.stretches.range(next..).next().map(|(first, _)| first.0 - 1);
                let end = behind.map_or(last, |behind| last.min(Index(behind)));
                let fresh = Stretch { first: next, last: end, term };
                self.stretches.insert(next, (fresh, sight.member, sight.seq));
                next = Index(end.0 + 1);
            }
        }
        Ok(known_before)
    }
}

impl StateMachineSafety {
    fn status(&mut self, status: &Status, sight: &LogSight) {
        let known = self.applied.of(sight.member);
        let compared = known.compared.insert(sight.member, status.applied).unwrap_or(Index(0));
        let mut broken = (status.applied > status.commit).then(|| {
            let why = format!(
                "{} applied entry {} and knew only {} to be committed",
                sight.member, status.applied, status.commit
            );
            (why, vec![sight.seq])
        });
        // What stood there at its last status stands there for good; a process that starts again
        // begins below it.
        let from = if compared <= status.applied { Index(compared.0 + 1) } else { Index(0) };
        match known.take(sight, status.applied, from) {
            Ok(compared) => self.compared += compared,
            Err(differs) => broken = broken.or(Some(differs)),
        }
        if self.broken.is_none() {
            self.broken = broken;
        }
    }
}

impl Check for StateMachineSafety {
    fn observe(&mut self, numbered: &Numbered) {
        self.applied.observe(numbered);
        if let Event::Status { member, status } = &numbered.event
            && let Some(sight) = LogSight::of(*member, numbered.seq, status)
        {
            self.status(status, &sight);
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match &self.broken {
            Some((why, evidence)) => Finding::invalid(why.clone(), evidence.as_slice()),
            None if self.compared == 0 => {
                Finding::unknown("no two members told that they applied the same index")
            }
            None => {
                Finding::valid(format!("{} applied entries, the same everywhere", self.compared))
            }
        };
        finding.of("state_machine_safety", "no two members apply different entries at one index")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check, log_status};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    fn leader(script: Script, member: u8, term: u64, runs: &[(u64, u64)], last: u64) -> Script {
        log_status(script, member, Role::Leader, term, runs, (last, 0, 0))
    }

    fn knows(
        script: Script,
        member: u8,
        term: u64,
        runs: &[(u64, u64)],
        indexes: (u64, u64, u64),
    ) -> Script {
        log_status(script, member, Role::Follower, term, runs, indexes)
    }

    #[test]
    fn a_leader_without_a_committed_entry_is_named() {
        let judge = |script, judgement, has: &str| {
            check(&mut LeaderCompleteness::default(), script, judgement, has);
        };
        let committed = || knows(Script::new(3), 2, 2, &[(1, 1), (4, 2)], (7, 6, 6));
        judge(committed(), Unknown, "nobody");
        judge(leader(committed(), 3, 3, &[(1, 1), (4, 2), (7, 3)], 7), Valid, "1 leaders");
        judge(leader(committed(), 3, 3, &[(9, 3)], 9), Valid, "1 leaders");
        let short = "m2 knew in term 2 that entry 6 of term 2 was committed, but m3, leader of \
                     term 3, has a log that ends at 5";
        judge(leader(committed(), 3, 3, &[(1, 1), (4, 2)], 5), Invalid, short);
        let other = leader(committed(), 3, 3, &[(1, 1), (4, 2), (6, 3)], 7);
        judge(other, Invalid, "has one of term 3 there");
        // The commit is heard after the election; of a later term it says nothing.
        let late = |term| {
            let script = leader(Script::new(3), 3, 3, &[(1, 1), (4, 2)], 5);
            knows(script, 2, term, &[(1, 1), (4, 2)], (7, 6, 6))
        };
        judge(late(2), Invalid, "has a log that ends at 5");
        judge(late(3), Unknown, "nobody");
    }

    #[test]
    fn members_that_apply_different_entries_are_named() {
        let judge = |script, judgement, has: &str| {
            check(&mut StateMachineSafety::default(), script, judgement, has);
        };
        let one = || knows(Script::new(3), 1, 3, &[(1, 1), (4, 2), (6, 3)], (8, 7, 6));
        judge(one(), Unknown, "no two members");
        judge(knows(one(), 2, 3, &[(1, 1), (4, 2), (6, 3)], (8, 8, 8)), Valid, "6 applied");
        judge(knows(one(), 2, 3, &[(5, 2)], (5, 5, 5)), Valid, "1 applied");
        judge(
            knows(one(), 2, 3, &[(1, 1), (4, 2)], (6, 6, 6)),
            Invalid,
            "at index 6 m1 applied an entry of term 3, but m2 one of term 2",
        );
        // Not applied, only logged.
        judge(knows(one(), 2, 3, &[(1, 1), (4, 2)], (6, 5, 5)), Valid, "5 applied");
        judge(
            knows(one(), 2, 3, &[(1, 1)], (3, 2, 3)),
            Invalid,
            "m2 applied entry 3 and knew only 2",
        );
        // In two parts, with a gap between.
        let later = knows(one(), 2, 3, &[(10, 3)], (12, 12, 12));
        let all = [(1, 1), (4, 2), (6, 3)];
        judge(knows(later.clone(), 3, 3, &all, (12, 12, 12)), Valid, "9 applied");
        judge(
            knows(later, 3, 3, &[(1, 1), (4, 2), (6, 3), (11, 4)], (12, 12, 12)),
            Invalid,
            "at index 11 m2 applied an entry of term 3, but m3 one of term 4",
        );
    }
}
