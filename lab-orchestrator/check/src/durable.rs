//! What is there at the end: every acknowledged write, the same at every member.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::node_protocol::ClusterId;
use lab_protocol::{
    Call, CheckResult, Command, Event, KeyRange, LabState, MemberNo, Numbered, Outcome, ReadBack,
    TxnOp, TxnResult,
};

use crate::cluster::Cluster;
use crate::history::{History, Operation};
use crate::lineage::Lineage;
use crate::{Check, Finding, convergence};

/// Each acknowledged put is in the final reads of every member, or was overwritten or deleted by a
/// write of a later revision.
///
/// Of a cluster that was restored, what its snapshot had is expected, not what was written behind
/// that: see [`LostWrites`](crate::LostWrites).
#[derive(Clone, Debug)]
pub struct AckedNotLost {
    at_least: u32,
    history: History,
    lineage: Lineage,
    cluster: Cluster,
    /// Members read back since the last acknowledged write.
    read: BTreeSet<MemberNo>,
    unreadable: BTreeMap<MemberNo, String>,
    broken: Option<(String, Vec<u64>)>,
}

impl AckedNotLost {
    /// Unknown below so many acknowledged puts.
    pub fn new(at_least: u32) -> Self {
        Self {
            at_least,
            history: History::default(),
            lineage: Lineage::default(),
            cluster: Cluster::default(),
            read: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            broken: None,
        }
    }

    fn compare(&self, seq: u64, read: &ReadBack) -> Option<(String, Vec<u64>)> {
        let rows: BTreeMap<_, _> = read
            .rows
            .iter()
            .map(|(key, value, revision)| (key.as_str(), (value.as_str(), *revision)))
            .collect();
        let (mut newest, mut gone) = (BTreeMap::new(), Vec::new());
        let ceilings = self.lineage.of_member(read.member).map(|of| self.lineage.ceilings(of));
        let ceilings = ceilings.unwrap_or_default();
        for operation in self.history.iter().filter(|one| self.lineage.has(&ceilings, one)) {
            written(operation, &mut newest, &mut gone);
        }
        let may_be_gone = |key: &str, since: i64| {
            gone.iter()
                .any(|(range, up_to): &(KeyRange, i64)| *up_to > since && range.contains(key))
        };
        for (key, Written { revision, operation, value, leased }) in newest {
            let member = read.member;
            let why = match rows.get(key) {
                Some((found, at)) if *at == revision && *found != value => {
                    format!("{member} holds another value of the same revision {revision}")
                }
                Some((_, at)) if *at >= revision => continue,
                Some((_, at)) => {
                    format!("{member} holds {key} of revision {at}, older than {revision}")
                }
                None if leased || may_be_gone(key, revision) => continue,
                None => format!("{member} does not hold {key}, written at revision {revision}"),
            };
            let mut evidence = operation.evidence();
            evidence.push(seq);
            return Some((format!("{} was acknowledged, but {why}", operation.words()), evidence));
        }
        None
    }

    fn acknowledged_puts(&self) -> usize {
        let puts = |operation: &&Operation| match &operation.call {
            Call::Put { .. } => operation.happened(),
            _ => operation
                .transacted()
                .is_some_and(|answer| answer.results.contains(&TxnResult::Put)),
        };
        self.history.iter().filter(puts).count()
    }
}

/// The acknowledged put of a key that has the highest revision.
struct Written<'a> {
    revision: i64,
    operation: &'a Operation,
    value: &'a str,
    /// It is gone with its lease, whenever that ends.
    leased: bool,
}

/// Notes what an operation wrote: by key, if it was acknowledged and is the newest; and which keys
/// of revisions below another may be gone because of it.
fn written<'a>(
    operation: &'a Operation,
    newest: &mut BTreeMap<&'a str, Written<'a>>,
    gone: &mut Vec<(KeyRange, i64)>,
) {
    if !operation.may_have_happened() {
        return;
    }
    let made = operation.revision();
    // What is unknown may happen behind everything else.
    let at = made.unwrap_or(i64::MAX);
    let mut write = |key: &'a str, value, leased| {
        let Some(revision) = made else { return };
        if newest.get(key).is_none_or(|other| other.revision < revision) {
            newest.insert(key, Written { revision, operation, value, leased });
        }
    };
    match (&operation.call, operation.transacted()) {
        (Call::Put { key, value }, _) => write(key, value.as_str(), false),
        (Call::Delete { key }, _) => gone.push((KeyRange::one(key), at)),
        (Call::Txn { then, otherwise, .. }, answer) => {
            let ops = match answer {
                Some(answer) if answer.succeeded => then.iter().chain(&[]),
                Some(_) => otherwise.iter().chain(&[]),
                None => then.iter().chain(otherwise),
            };
            for op in ops {
                match op {
                    TxnOp::Put { key, value, lease } => {
                        write(key, value, *lease != 0);
                        if made.is_none() && *lease != 0 {
                            gone.push((KeyRange::one(key), at));
                        }
                    }
                    TxnOp::Delete { keys } => gone.push((keys.clone(), at)),
                    TxnOp::Range { .. } => {}
                }
            }
        }
        _ => {}
    }
}

impl Check for AckedNotLost {
    fn observe(&mut self, numbered: &Numbered) {
        self.history.observe(numbered);
        self.lineage.observe(numbered, &self.history);
        self.cluster.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => {
                self.read.clear();
                self.unreadable.clear();
            }
            Event::Returned { op, outcome: Outcome::Ok(_) | Outcome::Txn(_) }
                if self.history.get(*op).is_some_and(|operation| operation.call.is_write()) =>
            {
                self.read.clear();
            }
            Event::ReadBack(read) if read.failed.is_empty() => {
                self.read.insert(read.member);
                self.unreadable.remove(&read.member);
                if self.broken.is_none() {
                    self.broken = self.compare(numbered.seq, read);
                }
            }
            Event::ReadBack(read) => {
                self.read.remove(&read.member);
                self.unreadable.insert(read.member, read.failed.clone());
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let acknowledged = self.acknowledged_puts();
        let missing = self.cluster.members().find(|member| !self.read.contains(member));
        let finding = if let Some((why, evidence)) = &self.broken {
            Finding::invalid(why.clone(), evidence.as_slice())
        } else if acknowledged < self.at_least as usize {
            Finding::too_few(acknowledged, self.at_least, "acknowledged puts")
        } else if let Some(member) = missing {
            let why = self.unreadable.get(&member).map_or("it was not asked", String::as_str);
            Finding::unknown(format!("{member} was not read back at the end: {why}"))
        } else {
            let members = self.read.len();
            Finding::valid(format!(
                "{acknowledged} acknowledged puts, all found or overwritten at {members} members"
            ))
        };
        finding.of("acked_not_lost", "an acknowledged write is never lost")
    }
}

/// All members hold the same keys, values and revisions, and give the same hash of their state.
#[derive(Clone, Debug, Default)]
pub struct MembersEqual {
    cluster: Cluster,
    /// The last reading of each member, and its event.
    last: BTreeMap<MemberNo, (u64, ReadBack)>,
    clusters: BTreeMap<MemberNo, ClusterId>,
    broken: Option<(String, Vec<u64>)>,
}

impl MembersEqual {
    /// Members that do not belong to one cluster.
    fn strangers(&self) -> Option<String> {
        let mut clusters = self.cluster.members().filter_map(|member| {
            self.last.get(&member)?;
            Some((member, *self.clusters.get(&member)?))
        });
        let (one, cluster) = clusters.next()?;
        let (two, other) = clusters.find(|(_, other)| *other != cluster)?;
        Some(format!("{one} is a member of the cluster {cluster}, {two} of {other}"))
    }

    fn compare(&self, seq: u64, read: &ReadBack) -> Option<(String, Vec<u64>)> {
        let of = |member| self.clusters.get(&member);
        let same_round = |other: &&(u64, ReadBack)| {
            other.1.member != read.member
                && of(other.1.member) == of(read.member)
                && other.1.failed.is_empty()
                && other.1.hash.0 == read.hash.0
        };
        for (other_seq, other) in self.last.values().filter(same_round) {
            let (one, two) = (other.member, read.member);
            let why = if other.hash.1 != read.hash.1 {
                format!(
                    "the hash of {one} is {:08x}, of {two} {:08x}, both at revision {}",
                    other.hash.1, read.hash.1, read.hash.0
                )
            } else if other.revision == read.revision && other.rows != read.rows {
                let key = first_difference(other, read);
                format!("{one} and {two} differ in {key} at revision {}", read.revision)
            } else {
                continue;
            };
            return Some((why, vec![*other_seq, seq]));
        }
        None
    }
}

fn first_difference<'a>(one: &'a ReadBack, two: &'a ReadBack) -> &'a str {
    let rows = |read: &'a ReadBack| -> BTreeSet<_> { read.rows.iter().collect() };
    let (one, two) = (rows(one), rows(two));
    one.symmetric_difference(&two).next().map_or("nothing", |row| row.0.as_str())
}

impl Check for MembersEqual {
    fn observe(&mut self, numbered: &Numbered) {
        self.cluster.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => self.last.clear(),
            Event::Identified { member, cluster, .. } => {
                self.clusters.insert(*member, *cluster);
            }
            Event::ReadBack(read) => {
                if self.broken.is_none() && read.failed.is_empty() {
                    self.broken = self.compare(numbered.seq, read);
                }
                self.last.insert(read.member, (numbered.seq, read.as_ref().clone()));
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let rounds: BTreeSet<_> = self.last.values().map(|(_, read)| read.hash.0).collect();
        let missing = self.cluster.members().find(|member| !self.last.contains_key(member));
        let failed = self.last.values().find(|(_, read)| !read.failed.is_empty());
        let finding = if let Some((why, evidence)) = &self.broken {
            Finding::invalid(why.clone(), evidence.as_slice())
        } else if let Some(why) = self.strangers() {
            Finding::invalid(why, [])
        } else if let Some((_, read)) = failed {
            Finding::unknown(format!("{} was not read back: {}", read.member, read.failed))
        } else if let Some(member) = missing {
            Finding::unknown(format!("{member} was not read back"))
        } else if self.last.len() < 2 {
            Finding::unknown("one member alone has nobody to be equal to")
        } else if rounds.len() != 1 {
            Finding::unknown("the members were not read back at one revision")
        } else {
            let (_, read) = self.last.values().next().expect("more than one");
            Finding::valid(format!(
                "{} members hold the same {} keys at revision {}, hash {:08x}",
                self.last.len(),
                read.rows.len(),
                read.hash.0,
                read.hash.1
            ))
        };
        finding.of("members_equal", "all members hold the same state")
    }
}

/// After everything is healed all members follow one leader and have applied all of its log.
#[derive(Clone, Debug, Default)]
pub struct Converged {
    state: LabState,
    /// When everything was last asked to be healed.
    healed: Option<(u64, u64)>,
    converged: Option<(u64, u64)>,
}

impl Check for Converged {
    fn observe(&mut self, numbered: &Numbered) {
        self.state.apply(numbered, false);
        if let Event::Asked { command: Command::UndoFaults | Command::StartOver, .. } =
            numbered.event
        {
            self.healed = Some((numbered.seq, numbered.at_micros));
            self.converged = None;
        }
        if self.healed.is_some()
            && self.converged.is_none()
            && matches!(
                numbered.event,
                Event::Status { .. }
                    | Event::Process { .. }
                    | Event::LinkChanged { .. }
                    | Event::ReadBack(_)
            )
            && convergence::converged(&self.state)
        {
            self.converged = Some((numbered.seq, numbered.at_micros));
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match (self.healed, self.converged) {
            (None, _) => Finding::unknown("nothing was healed in this run"),
            (Some((seq, _)), None) => Finding::invalid(
                format!(
                    "after healing the members did not converge: {}",
                    convergence::account(&self.state)
                ),
                [seq],
            ),
            (Some((_, healed)), Some((_, at))) => Finding::valid(format!(
                "all members equal {} after healing began",
                crate::seconds(at.saturating_sub(healed))
            )),
        };
        finding.of("converged", "after healing the members become one cluster by themselves")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check, whole};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    fn two_puts() -> Script {
        Script::new(2).put(1, 1, "k", "one").ok(1, 2, None).put(2, 2, "k", "two").ok(2, 3, None)
    }

    #[test]
    fn what_was_acknowledged_is_found_at_every_member() {
        let row = [("k", "two", 3)];
        let all = two_puts().read_back(1, 3, &row).read_back(2, 3, &row);
        check(&mut AckedNotLost::new(2), all.clone(), Valid, "2 acknowledged puts");
        check(&mut AckedNotLost::new(3), all.clone(), Unknown, "at least 3");
        let late = all.put(3, 1, "x", "y").ok(3, 4, None);
        check(&mut AckedNotLost::new(2), late, Unknown, "not read back");
        let one_only = two_puts().read_back(1, 3, &row);
        check(&mut AckedNotLost::new(2), one_only, Unknown, "m2 was not read back");
    }

    #[test]
    fn a_lost_write_names_operation_key_and_member() {
        for (rows, needle) in [
            (vec![("k", "one", 2)], "older than 3"),
            (vec![], "does not hold k"),
            (vec![("k", "else", 3)], "another value"),
        ] {
            let script = two_puts().read_back(1, 3, &rows);
            check(&mut AckedNotLost::new(1), script.clone(), Invalid, needle);
            check(&mut AckedNotLost::new(1), script.clone(), Invalid, "operation 2 (put k");
            check(&mut AckedNotLost::new(1), script, Invalid, "m1");
        }
    }

    #[test]
    fn unknown_writes_may_be_there_or_not() {
        let row = [("k", "three", 4)];
        let script = two_puts().put(3, 1, "k", "three").info(3);
        let there = script.clone().read_back(1, 4, &row).read_back(2, 4, &row);
        check(&mut AckedNotLost::new(2), there, Valid, "2 acknowledged");
        let row = [("k", "two", 3)];
        let not = script.read_back(1, 3, &row).read_back(2, 3, &row);
        check(&mut AckedNotLost::new(2), not, Valid, "2 acknowledged");
    }

    #[test]
    fn transactions_write_and_delete_and_leases_end() {
        let put = |lease| TxnOp::Put { key: "k".into(), value: "x".into(), lease };
        let all = KeyRange { key: "a".into(), end: Some("z".into()) };
        let txn = |op| two_puts().txn(3, 1, vec![], vec![op], vec![]);
        let done = |op, result| txn(op).transacted(3, 4, true, vec![result]);
        let read = |script: Script, at, rows: &[_]| script.read_back(1, at, rows);
        let valid = |script: Script, at, rows: &[_]| {
            let script = read(script, at, rows).read_back(2, at, rows);
            check(&mut AckedNotLost::new(2), script, Valid, "acknowledged puts");
        };
        let lost = |script, at, rows: &[_], has| {
            check(&mut AckedNotLost::new(2), read(script, at, rows), Invalid, has);
        };
        let (old, new) = (("k", "two", 3), ("k", "x", 4));
        valid(done(put(0), TxnResult::Put), 4, &[new]);
        lost(done(put(0), TxnResult::Put), 4, &[], "operation 3 (transaction");
        lost(done(put(0), TxnResult::Put), 4, &[old], "older than 4");
        valid(done(put(7), TxnResult::Put), 5, &[]);
        valid(txn(put(7)).info(3), 5, &[]);
        lost(txn(put(0)).info(3), 5, &[], "operation 2 (put k");
        let delete = || TxnOp::Delete { keys: all.clone() };
        valid(done(delete(), TxnResult::Deleted(1)), 4, &[]);
        valid(txn(delete()).info(3), 4, &[]);
        lost(txn(delete()).fail(3), 3, &[], "operation 2 (put k");
        let later = done(delete(), TxnResult::Deleted(1)).put(4, 1, "k", "y").ok(4, 5, None);
        lost(later, 5, &[], "operation 4 (put k");
    }

    #[test]
    fn members_that_differ_are_named() {
        let row = [("k", "two", 3)];
        let equal = Script::new(2).read_back(1, 3, &row).read_back(2, 3, &row);
        check(&mut MembersEqual::default(), equal, Valid, "2 members hold the same 1 keys");
        let one = Script::new(2).read_back(1, 3, &row);
        check(&mut MembersEqual::default(), one, Unknown, "m2 was not read back");
        let values = Script::new(2).read_back(1, 3, &row).read_back(2, 3, &[("k", "x", 3)]);
        check(&mut MembersEqual::default(), values, Invalid, "m1 and m2 differ in k");
        let hashes = Script::new(2).read_back(1, 3, &row).read_back(2, 3, &[("k", "two", 2)]);
        check(&mut MembersEqual::default(), hashes, Invalid, "the hash of m1");
    }

    #[test]
    fn members_that_stay_apart_have_not_converged() {
        let script = Script::new(1).up(&[1]);
        check(&mut Converged::default(), script.clone(), Unknown, "nothing was healed");
        let apart = script.asked(Command::UndoFaults);
        check(&mut Converged::default(), apart, Invalid, "did not converge");
        let whole = whole(Script::new(2).up(&[1, 2]).asked(Command::UndoFaults));
        check(&mut Converged::default(), whole, Valid, "all members equal");
    }
}
