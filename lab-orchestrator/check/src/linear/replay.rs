//! The replay: every answer must be what the writes below it give.

use lab_protocol::{Answer, Call, Compare, KeyRange, Row, TxnAnswer, TxnOp, TxnResult};

use super::gaps::Gaps;
use super::keys::Keys;
use super::rows::{Found, Rows};
use super::run::{Broken, Run, Who, made};

/// Replays all writes in the order of their revisions, and behind each revision its reads.
pub(super) fn replay<'a>(
    run: Run<'a>,
    keys: &'a Keys<'a>,
    gaps: &'a Gaps<'a>,
) -> Result<(), Broken> {
    let mut replay = Replay { run, keys, rows: Rows::new(run, keys, gaps) };
    for Step { at, who, part: _ } in steps(run, gaps) {
        match who {
            Who::Start => {}
            Who::ReadBack(place) => replay.read_back(place)?,
            Who::Operation(place) if run.operations()[place].happened() => {
                replay.operation(place, at)?;
            }
            Who::Operation(place) => {
                let (_, key, value) = gaps.placed[&at];
                replay.placed(place, at, (key, value))?;
            }
        }
    }
    Ok(())
}

/// Something that stands at a revision.
struct Step {
    at: i64,
    part: Part,
    who: Who,
}

/// What stands at a revision, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// What made it.
    Writes,
    /// The end of a lease: if that did not make the revision, no key was attached any more.
    Ends,
    /// What saw it.
    Reads,
}

fn steps(run: Run<'_>, gaps: &Gaps<'_>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(run.operations().len());
    for (place, operation) in run.operations().iter().enumerate() {
        let part = match operation.call {
            Call::Put { .. } | Call::Get { .. } | Call::Delete { .. } | Call::Txn { .. } => {
                if made(operation).is_some() { Part::Writes } else { Part::Reads }
            }
            Call::LeaseRevoke { .. } => Part::Ends,
            Call::LeaseGrant { .. }
            | Call::LeaseTimeToLive { .. }
            | Call::LeaseKeepAlive { .. }
            | Call::Compact { .. } => continue,
        };
        if let Some(at) = operation.revision() {
            steps.push(Step { at, part, who: Who::Operation(place) });
        }
    }
    for (&at, &(who, _, _)) in &gaps.placed {
        steps.push(Step { at, part: Part::Writes, who });
    }
    for (place, (_, read)) in run.read_backs.iter().enumerate() {
        let who = Who::ReadBack(place);
        steps.push(Step { at: read.revision, part: Part::Reads, who });
    }
    steps.sort_by_key(|step| (step.at, step.part));
    steps
}

struct Replay<'a> {
    run: Run<'a>,
    keys: &'a Keys<'a>,
    rows: Rows<'a>,
}

impl<'a> Replay<'a> {
    /// An operation that is known to have happened.
    fn operation(&mut self, place: usize, at: i64) -> Result<(), Broken> {
        let (operation, who) = (&self.run.operations()[place], Who::Operation(place));
        let answer = operation.acknowledged().map(|(_, answer)| answer);
        match (&operation.call, answer, operation.transacted()) {
            (Call::Put { key: _, value }, Some(_), _) => {
                self.rows.put(self.keys.own(place), at, value, 0, who);
                Ok(())
            }
            (Call::Get { .. }, Some(Answer { value, .. }), _) => {
                let found = value.as_ref().map(|(value, revision)| Found {
                    value,
                    revision: *revision,
                    more: None,
                });
                self.rows.sight(self.keys.own(place), at, found, who)
            }
            (Call::Delete { key: _ }, Some(answer), _) => {
                let key = self.keys.own(place);
                match answer.number {
                    0 => self.rows.sight(key, at, None, who),
                    said => self.rows.delete(key..key + 1, at, said, who),
                }
            }
            (Call::LeaseRevoke { lease }, Some(_), _) => {
                self.rows.revoke(*lease, at, who);
                Ok(())
            }
            (Call::Txn { compare, then, otherwise }, _, Some(answer)) => {
                self.compares(compare, answer, at, who)?;
                let ops = if answer.succeeded { then } else { otherwise };
                self.results(ops, answer, at, who)
            }
            _ => {
                let why = "was answered as if something else had been asked";
                Err(self.run.broken(who, who, why))
            }
        }
    }

    /// Whether a transaction's compares held must be as it says.
    fn compares(
        &self,
        compare: &[Compare],
        answer: &TxnAnswer,
        at: i64,
        who: Who,
    ) -> Result<(), Broken> {
        let verdicts: Vec<_> = compare.iter().map(|one| self.rows.holds(one, at)).collect();
        let (telling, says) = match answer.succeeded {
            true => (verdicts.iter().position(|holds| *holds == Some(false)), "held"),
            false if verdicts.iter().all(|holds| *holds == Some(true)) => (Some(0), "did not hold"),
            false => (None, ""),
        };
        let Some(telling) = telling else { return Ok(()) };
        let (other, account) = match compare.get(telling) {
            None => (Who::Start, "it has none".into()),
            Some(compare) => {
                let key = self.keys.number(&compare.key);
                (self.rows.maker(key), self.rows.account(key))
            }
        };
        let why = format!("said at revision {at} that its compares {says}, but {account}");
        Err(self.run.broken(who, other, why))
    }

    /// What each operation of a transaction gave back must be what the ones before it give.
    fn results(
        &mut self,
        ops: &'a [TxnOp],
        answer: &'a TxnAnswer,
        at: i64,
        who: Who,
    ) -> Result<(), Broken> {
        let run = self.run;
        let misfit = || run.broken(who, who, "gave results that do not fit its operations");
        if ops.len() != answer.results.len() {
            return Err(misfit());
        }
        for (op, result) in ops.iter().zip(&answer.results) {
            match (op, result) {
                (TxnOp::Put { key, value, lease }, TxnResult::Put) => {
                    self.rows.put(self.keys.number(key), at, value, *lease, who);
                }
                (TxnOp::Delete { keys }, TxnResult::Deleted(said)) => {
                    self.rows.delete(self.keys.within(keys), at, *said, who)?;
                }
                (TxnOp::Range { keys }, TxnResult::Range(rows)) => {
                    self.range(keys, rows, at, who)?;
                }
                _ => return Err(misfit()),
            }
        }
        Ok(())
    }

    /// A range shows every key that is there, ascending, and no other.
    fn range(
        &mut self,
        range: &KeyRange,
        rows: &'a [Row],
        at: i64,
        who: Who,
    ) -> Result<(), Broken> {
        let ascending = rows.is_sorted_by(|one, two| one.key < two.key);
        if !ascending || rows.iter().any(|row| !range.contains(&row.key)) {
            let why = "saw keys out of order, twice or from outside the range";
            return Err(self.run.broken(who, who, why));
        }
        let mut rows = rows.iter().peekable();
        for key in self.keys.within(range) {
            let name = self.keys.name(key);
            let found = rows.next_if(|row| row.key == name).map(|row| Found {
                value: &row.value,
                revision: row.mod_revision,
                more: Some((row.create_revision, row.version, row.lease)),
            });
            self.rows.sight(key, at, found, who)?;
        }
        Ok(())
    }

    /// The lab's own reading of all keys.
    fn read_back(&mut self, place: usize) -> Result<(), Broken> {
        let who = Who::ReadBack(place);
        let read = &self.run.read_backs[place].1;
        if !read.rows.is_sorted_by(|one, two| one.0 < two.0) {
            return Err(self.run.broken(who, who, "saw keys out of order or twice"));
        }
        let mut rows = read.rows.iter().peekable();
        for key in 0..self.keys.len() {
            let name = self.keys.name(key);
            let found = rows.next_if(|row| row.0 == name).map(|(_, value, revision)| Found {
                value,
                revision: *revision,
                more: None,
            });
            self.rows.sight(key, read.revision, found, who)?;
        }
        Ok(())
    }

    /// An unknown write that made this revision, for a value of it was seen there.
    fn placed(&mut self, place: usize, at: i64, seen: (&str, &str)) -> Result<(), Broken> {
        let (operation, who) = (&self.run.operations()[place], Who::Operation(place));
        match &operation.call {
            Call::Put { key: _, value } => {
                self.rows.put(self.keys.own(place), at, value, 0, who);
                Ok(())
            }
            Call::Txn { compare, then, otherwise } => {
                let verdicts: Vec<_> = compare.iter().map(|one| self.rows.holds(one, at)).collect();
                let ops = if verdicts.iter().all(|holds| *holds == Some(true)) {
                    then
                } else if verdicts.contains(&Some(false)) || !writes(then, seen) {
                    otherwise
                } else {
                    then
                };
                if !writes(ops, seen) {
                    let why = format!(
                        "did not write {} at revision {at}, where it was seen: its compares say so",
                        seen.0
                    );
                    let telling = compare.first().map(|compare| self.keys.number(&compare.key));
                    let other = telling.map_or(Who::Start, |key| self.rows.maker(key));
                    return Err(self.run.broken(who, other, why));
                }
                for op in ops {
                    match op {
                        TxnOp::Range { .. } => {}
                        TxnOp::Put { key, value, lease } => {
                            self.rows.put(self.keys.number(key), at, value, *lease, who);
                        }
                        TxnOp::Delete { keys } => {
                            self.keys.within(keys).for_each(|key| self.rows.remove(key, at, who));
                        }
                    }
                }
                Ok(())
            }
            Call::Get { .. }
            | Call::Delete { .. }
            | Call::LeaseGrant { .. }
            | Call::LeaseTimeToLive { .. }
            | Call::LeaseKeepAlive { .. }
            | Call::LeaseRevoke { .. }
            | Call::Compact { .. } => Ok(()),
        }
    }
}

fn writes(ops: &[TxnOp], seen: (&str, &str)) -> bool {
    ops.iter().any(|op| match op {
        TxnOp::Put { key, value, .. } => (key.as_str(), value.as_str()) == seen,
        TxnOp::Range { .. } | TxnOp::Delete { .. } => false,
    })
}
