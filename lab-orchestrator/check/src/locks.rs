//! Locks: two may hold one at a time, and the fence keeps out the one whose lock is gone.
//!
//! A lock here is as etcd's clients make it: a key attached to a lease, created only if it is absent.
//! Its holder may be slower than its lease, so the lock alone excludes nobody (etcd's documentation,
//! "Notes on the usage of lock and lease"). Whoever writes compares the key's create revision with
//! the one that gave it the lock: then a late write must be refused.

use std::collections::BTreeMap;

use lab_protocol::mix::{GUARDED, LOCKS, lock_of};
use lab_protocol::{
    Call, CheckResult, Compare, CompareResult, CompareTarget, Event, Numbered, TxnOp, TxnResult,
};

use crate::history::{History, Operation};
use crate::{Check, Finding};

/// A write under the guard of a lock happened only while the lock was there as its holder had got
/// it, and was not refused while it still was. How often two believed to hold one lock is counted.
#[derive(Clone, Debug)]
pub struct LockFenced {
    at_least: u32,
    history: History,
    /// What was found in clusters that were given up since.
    broken: Option<Broken>,
}

type Broken = (String, Vec<u64>);

/// A lock as one holder had it.
struct Held<'a> {
    by: &'a Operation,
    /// The event that gave it.
    since: u64,
    /// The event at which its holder no longer believed to hold it.
    until: u64,
    /// The revision at which it was certainly gone, and by which operation.
    gone: Option<(i64, &'a Operation)>,
    lease: i64,
}

/// The locks by key and by the revision that created them.
type Locks<'a> = BTreeMap<&'a str, BTreeMap<i64, Held<'a>>>;

#[derive(Default)]
struct Judged {
    written: usize,
    refused: usize,
    held: usize,
    overlaps: usize,
}

impl LockFenced {
    /// Unknown below so many writes under a guard that were made or refused.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, history: History::default(), broken: None }
    }

    fn judged(&self) -> Result<Judged, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let mut locks = taken(&self.history);
        let guarded: Vec<_> = self.history.iter().filter_map(guarded).collect();
        ended(&self.history, &mut locks, &guarded);
        let mut judged =
            Judged { held: locks.values().map(BTreeMap::len).sum(), ..Judged::default() };
        for held in locks.values() {
            let holders: Vec<_> = held.values().collect();
            judged.overlaps +=
                holders.windows(2).filter(|pair| pair[1].since < pair[0].until).count();
        }
        for write in &guarded {
            let Some(answer) = write.operation.transacted() else { continue };
            let held = locks.get(write.lock.as_str()).and_then(|of| of.get(&write.created));
            match answer.succeeded {
                true => {
                    judged.written += 1;
                    late(write, answer.revision, held, &locks)?;
                }
                false => {
                    judged.refused += 1;
                    refused_in_vain(write, &answer.results)?;
                }
            }
        }
        Ok(judged)
    }
}

/// All locks that were taken.
fn taken(history: &History) -> Locks<'_> {
    let mut locks: Locks<'_> = BTreeMap::new();
    for operation in history.iter() {
        let Call::Txn { compare, then, .. } = &operation.call else { continue };
        let Some(answer) = operation.transacted().filter(|answer| answer.succeeded) else {
            continue;
        };
        let Some((returned, _)) = &operation.returned else { continue };
        for op in then {
            let TxnOp::Put { key, lease, .. } = op else { continue };
            if key.starts_with(LOCKS) && compare.iter().any(|one| created(one, key) == Some(0)) {
                let (since, until) = (returned.seq, u64::MAX);
                let held = Held { by: operation, since, until, gone: None, lease: *lease };
                locks.entry(key).or_default().insert(answer.revision, held);
            }
        }
    }
    locks
}

/// A write under a guard.
struct Guarded<'a> {
    operation: &'a Operation,
    lock: String,
    /// The revision that created the lock, as its holder knows it.
    created: i64,
}

fn guarded(operation: &Operation) -> Option<Guarded<'_>> {
    let Call::Txn { compare, then, .. } = &operation.call else { return None };
    let lock = then.iter().find_map(|op| match op {
        TxnOp::Put { key, .. } if key.starts_with(GUARDED) => lock_of(key),
        _ => None,
    })?;
    let created = compare.iter().find_map(|one| created(one, &lock)).filter(|at| *at > 0)?;
    Some(Guarded { operation, lock, created })
}

/// The create revision that a compare wants of a key.
fn created(compare: &Compare, key: &str) -> Option<i64> {
    match compare.target {
        CompareTarget::CreateRevision(at)
            if compare.key == key && compare.result == CompareResult::Equal =>
        {
            Some(at)
        }
        _ => None,
    }
}

/// Notes when each lock ended for certain, and when its holder gave it up.
fn ended<'a>(history: &'a History, locks: &mut Locks<'a>, guarded: &[Guarded<'a>]) {
    let mut by_lease: BTreeMap<i64, &mut Held<'a>> = BTreeMap::new();
    for held in locks.values_mut().flat_map(BTreeMap::values_mut) {
        by_lease.insert(held.lease, held);
    }
    for operation in history.iter() {
        let Call::LeaseRevoke { lease } = operation.call else { continue };
        let Some(held) = by_lease.get_mut(&lease) else { continue };
        held.until = held.until.min(operation.invoked.seq);
        if let (Some((_, answer)), None) = (operation.acknowledged(), held.gone) {
            held.gone = Some((answer.revision, operation));
        }
    }
    for operation in history.iter() {
        let Call::Txn { compare, then, .. } = &operation.call else { continue };
        for op in then {
            let TxnOp::Delete { keys } = op else { continue };
            let of = compare.iter().find_map(|one| created(one, &keys.key));
            let held = of.and_then(|at| locks.get_mut(keys.key.as_str())?.get_mut(&at));
            if let Some(held) = held {
                held.until = held.until.min(operation.invoked.seq);
            }
        }
    }
    for Guarded { operation, lock, created } in guarded {
        let refused = operation.transacted().is_some_and(|answer| !answer.succeeded);
        let Some((returned, _)) = operation.returned.as_ref().filter(|_| refused) else { continue };
        if let Some(held) = locks.get_mut(lock.as_str()).and_then(|of| of.get_mut(created)) {
            held.until = held.until.min(returned.seq);
        }
    }
}

/// Whether a write happened although its lock was gone.
fn late(
    write: &Guarded<'_>,
    at: i64,
    held: Option<&Held<'_>>,
    locks: &Locks<'_>,
) -> Result<(), Broken> {
    let next = locks.get(write.lock.as_str()).and_then(|of| {
        let (revision, next) = of.range(write.created + 1..).next()?;
        Some((*revision, next.by))
    });
    let gone = held.and_then(|held| held.gone);
    let behind = [gone, next].into_iter().flatten().find(|(end, _)| at > *end);
    let Some((end, by)) = behind else { return Ok(()) };
    let why = format!(
        "{} wrote at revision {at} under {} of revision {}, which was gone at revision {end}: {}",
        write.operation.words(),
        write.lock,
        write.created,
        by.words()
    );
    Err((why, [by.evidence(), write.operation.evidence()].concat()))
}

/// Whether a write was refused although its lock was there.
fn refused_in_vain(write: &Guarded<'_>, results: &[TxnResult]) -> Result<(), Broken> {
    let shown = results.iter().flat_map(|result| match result {
        TxnResult::Range(rows) => rows.as_slice(),
        TxnResult::Put | TxnResult::Deleted(_) => &[],
    });
    let mut of_lock = shown.filter(|row| row.key == write.lock);
    if of_lock.any(|row| row.create_revision == write.created) {
        let why = format!(
            "{} was refused, and was shown {} of revision {}, which it held",
            write.operation.words(),
            write.lock,
            write.created
        );
        return Err((why, write.operation.evidence()));
    }
    Ok(())
}

impl Check for LockFenced {
    fn observe(&mut self, numbered: &Numbered) {
        if let Event::RunStarted { .. } = numbered.event {
            self.broken = self.judged().err();
        }
        self.history.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let finding = match self.judged() {
            Err((why, evidence)) => Finding::invalid(why, evidence),
            Ok(judged) if judged.written + judged.refused < self.at_least as usize => {
                let found = judged.written + judged.refused;
                Finding::too_few(found, self.at_least, "writes under the guard of a lock")
            }
            Ok(Judged { written, refused, held, overlaps }) => Finding::valid(format!(
                "{held} locks held, {written} writes under their guard, {refused} of holders whose \
                 lock was gone, all refused; {overlaps} times two believed to hold one, which a lock \
                 alone allows"
            )),
        };
        finding.of("lock_fenced", "whoever has lost a lock cannot write under its guard any more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};
    use lab_protocol::{KeyRange, Row};

    const LOCK: &str = "w/l/0";

    fn created_at(revision: i64) -> Vec<Compare> {
        let target = CompareTarget::CreateRevision(revision);
        vec![Compare { key: LOCK.into(), result: CompareResult::Equal, target }]
    }

    fn look() -> Vec<TxnOp> {
        vec![TxnOp::Range { keys: KeyRange::one(LOCK) }]
    }

    /// A client takes the lock at this revision.
    fn takes(script: Script, op: u64, lease: i64, revision: i64) -> Script {
        let put = TxnOp::Put { key: LOCK.into(), value: format!("h{op}"), lease };
        script.txn(op, 1, created_at(0), vec![put], look()).transacted(
            op,
            revision,
            true,
            vec![TxnResult::Put],
        )
    }

    fn writes(script: Script, op: u64, created: i64) -> Script {
        let put = TxnOp::Put { key: "w/g/0".into(), value: format!("g{op}"), lease: 0 };
        script.txn(op, 1, created_at(created), vec![put], look())
    }

    fn written(script: Script, op: u64, created: i64, revision: i64) -> Script {
        writes(script, op, created).transacted(op, revision, true, vec![TxnResult::Put])
    }

    fn refused(script: Script, op: u64, created: i64, shown: Option<i64>) -> Script {
        let row = |create_revision| Row { key: LOCK.into(), create_revision, ..Row::default() };
        let rows = TxnResult::Range(shown.map(row).into_iter().collect());
        writes(script, op, created).transacted(op, 9, false, vec![rows])
    }

    fn judge(script: Script, judgement: lab_protocol::Judgement, has: &str) {
        check(&mut LockFenced::new(1), script, judgement, has);
    }

    #[test]
    fn writes_of_the_holder_are_valid_and_an_overlap_is_counted() {
        let held = || takes(Script::new(3), 1, 7, 2);
        judge(held(), Unknown, "0 writes under the guard");
        judge(written(held(), 2, 2, 3), Valid, "1 locks held, 1 writes");
        // Its lease ended, another took the lock, and the first still believed to hold it.
        let overlap = refused(takes(written(held(), 2, 2, 3), 3, 8, 5), 4, 2, Some(5));
        judge(overlap, Valid, "1 of holders whose lock was gone, all refused; 1 times");
        let released = written(held(), 2, 2, 3).invoke(5, 1, Call::LeaseRevoke { lease: 7 });
        judge(takes(released.ok(5, 4, None), 3, 8, 5), Valid, "0 times two believed");
    }

    #[test]
    fn a_write_behind_the_end_of_its_lock_is_named() {
        let held = || takes(Script::new(3), 1, 7, 2);
        let another = written(takes(held(), 3, 8, 5), 4, 2, 6);
        judge(another, Invalid, "gone at revision 5: operation 3");
        let revoked = held().invoke(5, 1, Call::LeaseRevoke { lease: 7 }).ok(5, 3, None);
        judge(written(revoked, 4, 2, 4), Invalid, "gone at revision 3: operation 5 (revoke");
        // Before that it was its own.
        let before = takes(written(held(), 4, 2, 3), 3, 8, 5);
        judge(before, Valid, "2 locks held");
    }

    #[test]
    fn a_write_that_is_refused_while_its_lock_is_there_is_named() {
        let held = takes(Script::new(3), 1, 7, 2);
        judge(refused(held, 2, 2, Some(2)), Invalid, "was shown w/l/0 of revision 2");
    }
}
