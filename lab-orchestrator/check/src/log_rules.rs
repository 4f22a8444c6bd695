//! What Raft promises of logs: leaders only append, and logs match (Raft paper figure 3).

use std::collections::BTreeMap;

use lab_protocol::node_protocol::{Index, Role, Term, TraceEvent};
use lab_protocol::{CheckResult, Event, Feed, MemberNo, Numbered, Process};

use crate::logs::{ByCluster, LogSight};
use crate::{Check, Finding};

/// What was broken, and the events that show it.
type Broken = (String, Vec<u64>);

/// A leader never overwrites or deletes entries of its log, it only appends (Raft paper figure 3,
/// *leader append-only*).
///
/// Looks at each leader's trace between the event that it leads and the next that it does not, and
/// at any two neighbouring statuses in which it leads in one term. A member that was not heard for
/// a while is not judged for that time by its trace.
#[derive(Clone, Debug, Default)]
pub struct LeaderAppendOnly {
    members: BTreeMap<MemberNo, Office>,
    entries: u64,
    broken: Option<Broken>,
}

/// What is known of a member as a leader.
#[derive(Clone, Debug, Default)]
struct Office {
    /// It leads in this term since this event, by its trace.
    since: Option<(Term, u64)>,
    /// The last entry that it traced, and where.
    last: Option<(Index, u64)>,
    /// Its last status as a leader.
    seen: Option<(Term, LogSight)>,
}

impl LeaderAppendOnly {
    fn trace(&mut self, member: MemberNo, seq: u64, event: &TraceEvent) {
        let office = self.members.entry(member).or_default();
        match event {
            TraceEvent::Became { role: Role::Leader, term, .. } => {
                office.since = Some((*term, seq));
            }
            TraceEvent::Became { .. } => office.since = None,
            // What was not durable is gone.
            TraceEvent::Started { last, .. } => {
                *office = Office { last: Some((*last, seq)), ..Office::default() };
            }
            TraceEvent::Truncated { from, old_last, old_term } => {
                office.last = Some((Index(from.0 - 1), seq));
                if let Some((term, since)) = office.since {
                    let why = format!(
                        "{member} led in term {term} and overwrote its entries {from} to \
                         {old_last}, the first of term {old_term}"
                    );
                    self.broken.get_or_insert((why, vec![since, seq]));
                }
            }
            TraceEvent::Appended { entries } => {
                let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
                if let Some((term, since)) = office.since {
                    self.entries += entries.len() as u64;
                    if let Some((before, before_seq)) = office.last
                        && first.index <= before
                    {
                        let why = format!(
                            "{member} led in term {term} and wrote entry {} again, its last was \
                             {before}",
                            first.index
                        );
                        self.broken.get_or_insert((why, vec![since, before_seq, seq]));
                    }
                }
                office.last = Some((last.index, seq));
            }
            _ => {}
        }
    }

    fn status(&mut self, term: Term, sight: LogSight) {
        let office = self.members.entry(sight.member).or_default();
        if let Some((before_term, before)) = &office.seen
            && *before_term == term
        {
            let member = sight.member;
            let why = match before.first_difference(&sight) {
                Some((index, old, new)) => Some(format!(
                    "{member} led in term {term}, and its entry {index} was of term {old}, then of \
                     term {new}"
                )),
                None if sight.last < before.last => Some(format!(
                    "{member} led in term {term}, and its log ended at {}, then at {}",
                    before.last, sight.last
                )),
                None => None,
            };
            if let Some(why) = why {
                self.broken.get_or_insert((why, vec![before.seq, sight.seq]));
            }
            self.entries += sight.last.0.saturating_sub(before.last.0);
        }
        office.seen = Some((term, sight));
    }
}

impl Check for LeaderAppendOnly {
    fn observe(&mut self, numbered: &Numbered) {
        match &numbered.event {
            Event::RunStarted { .. } => self.members.clear(),
            Event::Trace { member, traced } => self.trace(*member, numbered.seq, &traced.event),
            Event::Status { member, status } if status.role == Role::Leader => {
                if let Some(sight) = LogSight::of(*member, numbered.seq, status) {
                    self.status(status.term, sight);
                }
            }
            Event::TraceLost { member, .. }
            | Event::Telemetry { member, feed: Feed::Lost }
            | Event::Process { member, process: Process::Down { .. } | Process::Planned } => {
                self.members.remove(member);
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match &self.broken {
            Some((why, evidence)) => Finding::invalid(why.clone(), evidence.as_slice()),
            None if self.entries == 0 => Finding::unknown("no leader was seen to append"),
            None => Finding::valid(format!("leaders appended {} entries", self.entries)),
        };
        finding.of("leader_append_only", "a leader only appends to its log")
    }
}

/// If two logs have an entry of the same index and term, they are the same up to that entry (Raft
/// paper figure 3, *log matching*).
///
/// It is judged one entry at a time: entries of the same index and term hold the same, and have
/// entries of the same term before them; by induction the logs before are the same. What entries
/// hold is known by their fingerprints, their neighbours by those and by the statuses.
#[derive(Clone, Debug, Default)]
pub struct LogMatching {
    logs: ByCluster<Matched>,
    /// Entries that at least two members told of.
    matched: u64,
    broken: Option<Broken>,
}

/// Everything told of the entries of one cluster.
#[derive(Clone, Debug, Default)]
struct Matched {
    entries: BTreeMap<(Index, Term), Told>,
    /// For each term the first entry of it, and the term of the entry before.
    starts: BTreeMap<Term, Start>,
    /// For each term the lowest entry of it that was seen, for runs whose beginning was not.
    lowest: BTreeMap<Term, (Index, MemberNo, u64)>,
}

/// Who told first of an entry, and of what it holds.
#[derive(Clone, Copy, Debug)]
struct Told {
    crc: u32,
    member: MemberNo,
    seq: u64,
    again: bool,
}

/// Where the entries of a term begin.
#[derive(Clone, Copy, Debug)]
struct Start {
    first: Index,
    before: Term,
    member: MemberNo,
    seq: u64,
}

impl Matched {
    /// An entry that another term's entry stands before.
    fn start(&mut self, term: Term, start: Start) -> Option<Broken> {
        let Start { first, before, member, seq } = start;
        if before > term {
            let why = format!(
                "in the log of {member} entry {first} of term {term} stands behind \
                 one of term {before}"
            );
            return Some((why, vec![seq]));
        }
        let known = *self.starts.entry(term).or_insert(start);
        if (known.first, known.before) != (first, before) {
            let why = format!(
                "entries of term {term} begin at {} behind term {} in the log of {}, but at {first} \
                 behind term {before} in the log of {member}",
                known.first, known.before, known.member
            );
            return Some((why, vec![known.seq, seq]));
        }
        self.begins_at(term, known)
    }

    /// An entry of a run whose beginning may be further down.
    fn seen(&mut self, term: Term, index: Index, member: MemberNo, seq: u64) -> Option<Broken> {
        let lowest = self.lowest.entry(term).or_insert((index, member, seq));
        if index < lowest.0 {
            *lowest = (index, member, seq);
        }
        let start = self.starts.get(&term).copied()?;
        self.begins_at(term, start)
    }

    fn begins_at(&self, term: Term, start: Start) -> Option<Broken> {
        let (index, member, seq) = *self.lowest.get(&term)?;
        (index < start.first).then(|| {
            let why = format!(
                "entry {index} of {member} is of term {term}, but in the log of {} entries of that \
                 term begin at {} behind term {}",
                start.member, start.first, start.before
            );
            (why, vec![seq, start.seq])
        })
    }
}

impl LogMatching {
    fn sight(&mut self, sight: &LogSight) {
        let LogSight { member, seq, .. } = *sight;
        let matched = self.logs.of(member);
        let mut before = None;
        for stretch in sight.stretches() {
            let broken = match before.replace(stretch.term) {
                None => matched.seen(stretch.term, stretch.first, member, seq),
                Some(before) => {
                    let start = Start { first: stretch.first, before, member, seq };
                    matched.start(stretch.term, start)
                }
            };
            if self.broken.is_none() {
                self.broken = broken;
            }
        }
    }

    fn trace(&mut self, member: MemberNo, seq: u64, event: &TraceEvent) {
        let TraceEvent::Fingerprints { first, entries } = event else { return };
        let matched = self.logs.of(member);
        let mut before: Option<Term> = None;
        for (index, entry) in (first.0..).map(Index).zip(entries) {
            let broken = match before.replace(entry.term) {
                Some(before) if before != entry.term => {
                    matched.start(entry.term, Start { first: index, before, member, seq })
                }
                Some(_) => None,
                None => matched.seen(entry.term, index, member, seq),
            };
            let fresh = Told { crc: entry.crc, member, seq, again: false };
            let told = matched.entries.entry((index, entry.term)).or_insert(fresh);
            let differs = (told.crc != entry.crc).then(|| {
                let why = format!(
                    "entry {index} of term {} is another at {} (fingerprint {:08x}) than at \
                     {member} ({:08x})",
                    entry.term, told.member, told.crc, entry.crc
                );
                (why, vec![told.seq, seq])
            });
            if told.member != member && !told.again {
                told.again = true;
                self.matched += 1;
            }
            if self.broken.is_none() {
                self.broken = broken.or(differs);
            }
        }
    }
}

impl Check for LogMatching {
    fn observe(&mut self, numbered: &Numbered) {
        self.logs.observe(numbered);
        match &numbered.event {
            Event::Status { member, status } => {
                if let Some(sight) = LogSight::of(*member, numbered.seq, status) {
                    self.sight(&sight);
                }
            }
            Event::Trace { member, traced } => self.trace(*member, numbered.seq, &traced.event),
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match &self.broken {
            Some((why, evidence)) => Finding::invalid(why.clone(), evidence.as_slice()),
            None if self.matched == 0 => Finding::unknown("no two members told of the same entry"),
            None => Finding::valid(format!("{} entries, the same where they met", self.matched)),
        };
        finding.of("log_matching", "logs with one entry in common are the same up to it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check, log_status};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};
    use lab_protocol::node_protocol::telemetry::{EntryBrief, Fingerprint};

    fn appended(script: Script, member: u8, indexes: &[u64], term: u64) -> Script {
        let entry = |&index: &u64| EntryBrief {
            index: Index(index),
            term: Term(term),
            text: String::new(),
        };
        let entries = indexes.iter().map(entry).collect();
        script.trace(member, TraceEvent::Appended { entries })
    }

    fn prints(script: Script, member: u8, first: u64, entries: &[(u64, u32)]) -> Script {
        let entry = |&(term, crc): &(u64, u32)| Fingerprint { term: Term(term), crc };
        let entries = entries.iter().map(entry).collect();
        script.trace(member, TraceEvent::Fingerprints { first: Index(first), entries })
    }

    #[test]
    fn a_leader_that_overwrites_its_log_is_named() {
        let judge = |script, judgement, has: &str| {
            check(&mut LeaderAppendOnly::default(), script, judgement, has);
        };
        let quiet = || Script::new(3).up(&[1, 2, 3]);
        judge(quiet(), Unknown, "no leader");
        let led = || appended(quiet().leads(1, 2), 1, &[4, 5], 2);
        judge(led(), Valid, "2 entries");
        judge(led().truncated(1, 5, 5, 2), Invalid, "m1 led in term 2 and overwrote its entries 5");
        judge(appended(led(), 1, &[5], 2), Invalid, "wrote entry 5 again");
        // Once it follows another, it may; and who was not heard is not judged.
        let follows = led().became(1, Role::Follower, 3);
        judge(follows.truncated(1, 5, 5, 2), Valid, "2 entries");
        let lost = led().then(Event::TraceLost { member: MemberNo(1), count: 1 });
        judge(lost.truncated(1, 5, 5, 2), Valid, "2 entries");
        judge(led().down(1).up(&[1]).truncated(1, 5, 5, 2), Valid, "2 entries");
    }

    #[test]
    fn a_leader_whose_log_shrinks_or_changes_is_named() {
        let judge = |script, judgement, has: &str| {
            check(&mut LeaderAppendOnly::default(), script, judgement, has);
        };
        let leader = |script, runs: &[(u64, u64)], last| {
            log_status(script, 1, Role::Leader, 3, runs, (last, 0, 0))
        };
        let led = || leader(Script::new(3), &[(1, 2), (5, 3)], 7);
        judge(leader(led(), &[(1, 2), (5, 3)], 9), Valid, "2 entries");
        judge(leader(led(), &[(3, 2), (5, 3)], 9), Valid, "2 entries");
        judge(leader(led(), &[(1, 2), (5, 3)], 6), Invalid, "ended at 7, then at 6");
        judge(
            leader(led(), &[(1, 2), (6, 3)], 9),
            Invalid,
            "entry 5 was of term 3, then of term 2",
        );
    }

    #[test]
    fn entries_that_differ_are_named() {
        let judge = |script, judgement, has: &str| {
            check(&mut LogMatching::default(), script, judgement, has);
        };
        let one = || prints(Script::new(3), 1, 4, &[(2, 10), (2, 11), (3, 12)]);
        judge(one(), Unknown, "no two members");
        judge(prints(one(), 2, 4, &[(2, 10), (2, 11), (3, 12)]), Valid, "3 entries");
        // What was never committed may be replaced.
        judge(prints(one(), 2, 4, &[(2, 10), (4, 13)]), Valid, "1 entries");
        judge(
            prints(one(), 2, 5, &[(2, 99)]),
            Invalid,
            "entry 5 of term 2 is another at m1 (fingerprint 0000000b) than at m2 (00000063)",
        );
        judge(
            prints(one(), 2, 5, &[(1, 9), (3, 12)]),
            Invalid,
            "entries of term 3 begin at 6 behind term 2 in the log of m1, but at 6 behind term 1",
        );
        judge(prints(one(), 2, 4, &[(3, 8)]), Invalid, "entry 4 of m2 is of term 3, but");
        // Another cluster has another log.
        let anew = Event::Identified {
            member: MemberNo(2),
            id: lab_protocol::node_protocol::MemberId(2),
            cluster: lab_protocol::node_protocol::ClusterId(9),
        };
        judge(prints(one().then(anew), 2, 5, &[(2, 99)]), Unknown, "no two members");
    }

    #[test]
    fn logs_whose_terms_do_not_match_are_named() {
        let judge = |script, judgement, has: &str| {
            check(&mut LogMatching::default(), script, judgement, has);
        };
        let follower = |script, member, runs: &[(u64, u64)], last| {
            log_status(script, member, Role::Follower, 5, runs, (last, 0, 0))
        };
        let one = || follower(Script::new(3), 1, &[(1, 1), (4, 2), (8, 5)], 9);
        judge(follower(one(), 2, &[(1, 1), (4, 2)], 6), Unknown, "no two members");
        judge(follower(one(), 2, &[(6, 2), (8, 5)], 9), Unknown, "no two members");
        judge(follower(one(), 2, &[(1, 1), (5, 2)], 6), Invalid, "begin at 4 behind term 1");
        judge(follower(one(), 2, &[(3, 2), (8, 5)], 9), Invalid, "entry 3 of m2 is of term 2");
        judge(follower(one(), 2, &[(1, 7), (4, 6)], 9), Invalid, "stands behind one of term 7");
    }
}
