//! One order of all operations, exact because the cluster gives it.
//!
//! Every write answers with the revision it made, every read with the revision it saw. So the
//! order is known and need not be searched: a write of revision r stands at rank 2r, a linearizable
//! read at revision r at rank 2r+1, behind it. Four rules are then sound and complete for
//! operations on single keys with unique values:
//!
//! 1. No two acknowledged writes have the same revision.
//! 2. *Real time.* What began after another had returned stands behind it (a read may stand where
//!    the other stands).
//! 3. *Content.* A read at revision r sees the newest write of its key at or below r. A revision
//!    that no acknowledged write claims may belong to one whose outcome is unknown, never to one
//!    that failed.
//! 4. A write whose outcome is unknown happened at one revision at most, and, like all others, not
//!    before it was asked.
//!
//! Serializable reads may be old, but never wrong: rules 3 and 4 hold for them.

use std::collections::{BTreeMap, HashMap, HashSet};

use lab_protocol::{Call, CheckResult, Event, Numbered, OpId, ReadBack};

use crate::history::{History, Operation};
use crate::{Check, Finding};

/// Writes and reads happened in one order that agrees with real time.
#[derive(Clone, Debug)]
pub struct Linearizable {
    at_least: u32,
    history: History,
    /// The highest rank that had returned when each operation began.
    floors: BTreeMap<OpId, Floor>,
    floor: Floor,
    /// Reads of all keys by the lab itself.
    read_backs: Vec<(u64, ReadBack)>,
    /// What was found in clusters that were given up since.
    broken: Option<Broken>,
}

/// The highest rank returned so far, and by whom.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    rank: i64,
    op: Option<OpId>,
}

type Broken = (String, Vec<u64>);

/// The acknowledged writes of one key by revision; `None` for a deletion.
type Writes<'a> = BTreeMap<i64, (&'a Operation, Option<&'a str>)>;

/// One sight of one key.
struct Sight<'a> {
    key: &'a str,
    found: Option<(&'a str, i64)>,
    at: i64,
    seq: u64,
    who: String,
}

impl Linearizable {
    /// Unknown below so many acknowledged operations, or without any write or read.
    pub fn new(at_least: u32) -> Self {
        Self {
            at_least,
            history: History::default(),
            floors: BTreeMap::new(),
            floor: Floor::default(),
            read_backs: Vec::new(),
            broken: None,
        }
    }

    fn find_broken(&self) -> Option<Broken> {
        self.same_revision().or_else(|| self.real_time()).or_else(|| self.content())
    }

    fn same_revision(&self) -> Option<Broken> {
        let mut seen: BTreeMap<i64, &Operation> = BTreeMap::new();
        for operation in self.history.iter() {
            let Some(revision) = written_revision(operation) else { continue };
            if let Some(other) = seen.insert(revision, operation) {
                let mut evidence = other.evidence();
                evidence.extend(operation.evidence());
                let words = (other.words(), operation.words());
                let why = format!("{} and {} both made revision {revision}", words.0, words.1);
                return Some((why, evidence));
            }
        }
        None
    }

    fn real_time(&self) -> Option<Broken> {
        for operation in self.history.iter() {
            let Some(rank) = rank(operation) else { continue };
            let floor = self.floors.get(&operation.op).copied().unwrap_or_default();
            let behind = match rank % 2 {
                0 => rank > floor.rank,
                _ => rank >= floor.rank,
            };
            if let (false, Some(earlier)) = (behind, floor.op.and_then(|op| self.history.get(op))) {
                let mut evidence = earlier.evidence();
                evidence.extend(operation.evidence());
                let why = format!(
                    "{} began after {} had returned at revision {}, but happened at revision {}",
                    operation.words(),
                    earlier.words(),
                    floor.rank / 2,
                    rank / 2
                );
                return Some((why, evidence));
            }
        }
        None
    }

    fn content(&self) -> Option<Broken> {
        let mut writes: HashMap<&str, Writes<'_>> = HashMap::new();
        let mut values: HashMap<(&str, &str), Vec<&Operation>> = HashMap::new();
        let mut unknown_deletes: HashSet<&str> = HashSet::new();
        for operation in self.history.iter() {
            let (key, value) = match &operation.call {
                Call::Put { key, value } => (key.as_str(), Some(value.as_str())),
                Call::Delete { key } => (key.as_str(), None),
                Call::Get { .. }
                | Call::LeaseGrant { .. }
                | Call::LeaseTimeToLive { .. }
                | Call::Txn { .. }
                | Call::Compact { .. } => continue,
            };
            if let Some(value) = value {
                values.entry((key, value)).or_default().push(operation);
            }
            if let Some(revision) = written_revision(operation) {
                writes.entry(key).or_default().insert(revision, (operation, value));
            } else if value.is_none()
                && operation.acknowledged().is_none()
                && operation.may_have_happened()
            {
                unknown_deletes.insert(key);
            }
        }
        let mut placed: HashMap<OpId, (i64, u64)> = HashMap::new();
        let none = Writes::new();
        self.sights().find_map(|sight| {
            let writes = writes.get(sight.key).unwrap_or(&none);
            let may_be_deleted = unknown_deletes.contains(sight.key);
            let Err((why, mut evidence)) = (match sight.found {
                None => absent(&sight, writes, may_be_deleted),
                Some((value, revision)) => {
                    let candidates = values.get(&(sight.key, value)).map_or(&[][..], Vec::as_slice);
                    self.present(&sight, value, revision, writes, candidates, &mut placed)
                }
            }) else {
                return None;
            };
            evidence.push(sight.seq);
            Some((format!("{} {why}", sight.who), evidence))
        })
    }

    fn present(
        &self,
        sight: &Sight<'_>,
        value: &str,
        revision: i64,
        writes: &Writes<'_>,
        candidates: &[&Operation],
        placed: &mut HashMap<OpId, (i64, u64)>,
    ) -> Result<(), Broken> {
        if revision > sight.at {
            let why = format!("saw revision {revision} of {} at revision {}", sight.key, sight.at);
            return Err((why, vec![]));
        }
        if let Some((newer, (operation, _))) = writes.range(..=sight.at).next_back()
            && *newer > revision
        {
            let why = format!(
                "at revision {} saw {} of revision {revision}, but {} had made revision {newer}",
                sight.at,
                sight.key,
                operation.words()
            );
            return Err((why, operation.evidence()));
        }
        match writes.get(&revision) {
            Some((_, Some(written))) if *written == value => return Ok(()),
            Some((operation, _)) => {
                let why = format!(
                    "saw another value of {} at revision {revision} than {} wrote",
                    sight.key,
                    operation.words()
                );
                return Err((why, operation.evidence()));
            }
            None => {}
        }
        // A revision that nobody claims: somebody whose outcome is unknown must have made it.
        let open = candidates
            .iter()
            .find(|operation| operation.acknowledged().is_none() && operation.may_have_happened());
        let Some(operation) = open else {
            let why = match candidates.first() {
                None => format!("saw a value of {} that nobody wrote", sight.key),
                Some(operation) => format!(
                    "saw {} of revision {revision}, but {}, which wrote that value, {}",
                    sight.key,
                    operation.words(),
                    operation.end()
                ),
            };
            return Err((why, candidates.first().map_or(vec![], |op| op.evidence())));
        };
        if operation.invoked.seq > sight.seq {
            let why = format!("saw the value of {} before it was asked", operation.words());
            return Err((why, operation.evidence()));
        }
        let floor = self.floors.get(&operation.op).copied().unwrap_or_default();
        if 2 * revision <= floor.rank {
            let why = format!(
                "saw {} at revision {revision}, but revision {} had been seen before it was asked",
                operation.words(),
                floor.rank / 2
            );
            return Err((why, operation.evidence()));
        }
        match placed.insert(operation.op, (revision, sight.seq)) {
            Some((other, seq)) if other != revision && candidates.len() == 1 => {
                let why = format!(
                    "saw {} at revision {revision}, but it had been seen at revision {other}",
                    operation.words()
                );
                Err((why, vec![seq]))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn sights(&self) -> impl Iterator<Item = Sight<'_>> {
        let reads = self.history.iter().filter_map(|operation| {
            let Call::Get { key, .. } = &operation.call else { return None };
            let (returned, answer) = operation.acknowledged()?;
            Some(Sight {
                key,
                found: answer.value.as_ref().map(|(value, at)| (value.as_str(), *at)),
                at: answer.revision,
                seq: returned.seq,
                who: operation.words(),
            })
        });
        let backs = self.read_backs.iter().flat_map(|(seq, read)| {
            read.rows.iter().map(move |(key, value, revision)| Sight {
                key,
                found: Some((value, *revision)),
                at: read.revision,
                seq: *seq,
                who: format!("reading back {}", read.member),
            })
        });
        reads.chain(backs)
    }
}

/// A key was not there: no acknowledged put at or below the revision, unless it was deleted since.
fn absent(sight: &Sight<'_>, writes: &Writes<'_>, may_be_deleted: bool) -> Result<(), Broken> {
    match writes.range(..=sight.at).next_back() {
        Some((revision, (operation, Some(_)))) if !may_be_deleted => {
            let why = format!(
                "at revision {} found no {}, but {} had made revision {revision}",
                sight.at,
                sight.key,
                operation.words()
            );
            Err((why, operation.evidence()))
        }
        Some(_) | None => Ok(()),
    }
}

/// The revision that an acknowledged write made; a deletion of nothing makes none.
fn written_revision(operation: &Operation) -> Option<i64> {
    let (_, answer) = operation.acknowledged()?;
    match &operation.call {
        Call::Put { .. } => Some(answer.revision),
        Call::Delete { .. } => (answer.number > 0).then_some(answer.revision),
        Call::Get { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::Txn { .. }
        | Call::Compact { .. } => None,
    }
}

/// Where an acknowledged operation stands; `None` for what has no place in the order.
fn rank(operation: &Operation) -> Option<i64> {
    let (_, answer) = operation.acknowledged()?;
    match &operation.call {
        Call::Put { .. } => Some(2 * answer.revision),
        Call::Delete { .. } if answer.number > 0 => Some(2 * answer.revision),
        Call::Delete { .. } | Call::Get { serializable: false, .. } => {
            Some(2 * answer.revision + 1)
        }
        Call::Get { serializable: true, .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::Txn { .. }
        | Call::Compact { .. } => None,
    }
}

impl Check for Linearizable {
    fn observe(&mut self, numbered: &Numbered) {
        if let Event::RunStarted { .. } = numbered.event {
            let broken = self.broken.take().or_else(|| self.find_broken());
            *self = Self { broken, ..Self::new(self.at_least) };
        }
        self.history.observe(numbered);
        match &numbered.event {
            Event::Invoked { op, .. } => {
                self.floors.insert(*op, self.floor);
            }
            Event::Returned { op, .. } => {
                if let Some(rank) = self.history.get(*op).and_then(rank)
                    && rank > self.floor.rank
                {
                    self.floor = Floor { rank, op: Some(*op) };
                }
            }
            Event::ReadBack(read) if read.failed.is_empty() => {
                self.read_backs.push((numbered.seq, read.as_ref().clone()));
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let acknowledged: Vec<_> =
            self.history.iter().filter(|operation| operation.acknowledged().is_some()).collect();
        let writes = acknowledged.iter().filter(|operation| operation.call.is_write()).count();
        let reads = acknowledged.len() - writes;
        let unknown = self
            .history
            .iter()
            .filter(|operation| {
                operation.call.is_write()
                    && operation.acknowledged().is_none()
                    && operation.may_have_happened()
            })
            .count();
        let broken = self.broken.clone().or_else(|| self.find_broken());
        let finding = if let Some((why, evidence)) = broken {
            Finding::invalid(why, evidence)
        } else if acknowledged.len() < self.at_least as usize {
            Finding::too_few(acknowledged.len(), self.at_least, "acknowledged operations")
        } else if writes == 0 || reads == 0 && self.read_backs.is_empty() {
            Finding::unknown(format!("{writes} writes and {reads} reads do not tell an order"))
        } else {
            Finding::valid(format!(
                "{writes} writes and {reads} reads in one order, {unknown} writes unknown"
            ))
        };
        finding.of("linearizable", "operations happen in one order that agrees with real time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    /// k = one at revision 2, then k = two at revision 3.
    fn two_puts() -> Script {
        Script::new(3).put(1, 1, "k", "one").ok(1, 2, None).put(2, 2, "k", "two").ok(2, 3, None)
    }

    fn judge(script: Script, judgement: lab_protocol::Judgement, has: &str) {
        check(&mut Linearizable::new(3), script, judgement, has);
    }

    #[test]
    fn an_order_that_agrees_with_time_is_valid() {
        judge(two_puts().get(3, 3, "k", false).ok(3, 3, Some(("two", 3))), Valid, "2 writes");
        // A read that overlaps the second write may see either.
        let overlapping = Script::new(3)
            .put(1, 1, "k", "one")
            .ok(1, 2, None)
            .put(2, 2, "k", "two")
            .get(3, 3, "k", false)
            .ok(2, 3, None)
            .ok(3, 2, Some(("one", 2)));
        judge(overlapping, Valid, "1 reads");
        // A serializable read may be old.
        judge(two_puts().get(3, 3, "k", true).ok(3, 2, Some(("one", 2))), Valid, "1 reads");
        // Of a write with an unknown outcome, either.
        let unknown = two_puts().put(3, 1, "k", "three").info(3).get(4, 2, "k", false);
        judge(unknown.clone().ok(4, 3, Some(("two", 3))), Valid, "1 writes unknown");
        judge(unknown.ok(4, 4, Some(("three", 4))), Valid, "1 writes unknown");
        let deleted = two_puts()
            .invoke(3, 1, Call::Delete { key: "k".into() })
            .ok(3, 4, None)
            .get(4, 2, "k", false)
            .ok(4, 4, None);
        judge(deleted, Valid, "3 writes");
    }

    #[test]
    fn an_unknown_delete_is_not_forgotten_when_a_later_one_fails() {
        let delete = || Call::Delete { key: "k".into() };
        let script = two_puts().invoke(3, 1, delete()).info(3).invoke(4, 2, delete()).fail(4);
        judge(script.get(5, 3, "k", false).ok(5, 4, None), Valid, "1 writes unknown");
    }

    #[test]
    fn too_little_tells_nothing() {
        judge(Script::new(3).put(1, 1, "k", "v").ok(1, 2, None), Unknown, "at least 3");
        let only_writes = two_puts().put(3, 1, "k", "x").ok(3, 4, None);
        judge(only_writes, Unknown, "0 reads");
    }

    #[test]
    fn every_rule_bites_and_names_the_operation() {
        let get = |script: Script, serializable| script.get(9, 3, "k", serializable);
        for (what, script, needle) in [
            (
                "stale read",
                get(two_puts(), false).ok(9, 2, Some(("one", 2))),
                "operation 9 (read of k through m3) began after operation 2",
            ),
            (
                "stale content",
                get(two_puts(), false).ok(9, 3, Some(("one", 2))),
                "saw k of revision 2, but operation 2",
            ),
            ("acked write invisible", get(two_puts(), false).ok(9, 3, None), "found no k"),
            (
                "revision reused",
                two_puts().put(9, 3, "x", "y").ok(9, 3, None),
                "both made revision 3",
            ),
            (
                "revision goes back",
                get(two_puts(), false)
                    .ok(9, 3, Some(("two", 3)))
                    .put(8, 1, "x", "y")
                    .ok(8, 1, None),
                "but happened at revision 1",
            ),
            (
                "from the future",
                get(two_puts(), false).ok(9, 3, Some(("two", 4))),
                "saw revision 4 of k at revision 3",
            ),
            (
                "wrong value",
                get(two_puts(), true).ok(9, 3, Some(("else", 3))),
                "another value of k at revision 3",
            ),
            ("invented", get(two_puts(), false).ok(9, 4, Some(("else", 4))), "that nobody wrote"),
            (
                "a failed write is there",
                get(two_puts().put(8, 1, "k", "three").fail(8), false).ok(9, 4, Some(("three", 4))),
                "failed: refused",
            ),
            (
                "applied twice",
                get(two_puts(), false).ok(9, 5, Some(("two", 5))),
                "operation 2 (put k through m2), which wrote that value, was acknowledged",
            ),
            (
                "an unknown write applied twice",
                get(two_puts().put(8, 1, "k", "three").info(8), false)
                    .ok(9, 4, Some(("three", 4)))
                    .get(10, 1, "k", false)
                    .ok(10, 5, Some(("three", 5))),
                "it had been seen at revision 4",
            ),
            (
                "read back differs",
                two_puts().get(9, 1, "k", false).ok(9, 3, Some(("two", 3))).read_back(
                    2,
                    3,
                    &[("k", "one", 2)],
                ),
                "reading back m2",
            ),
        ] {
            println!("{what}");
            judge(script, Invalid, needle);
        }
    }

    #[test]
    fn what_was_broken_before_starting_over_stays_broken() {
        let stale = two_puts().get(9, 3, "k", false).ok(9, 2, Some(("one", 2)));
        judge(stale.started_over(3), Invalid, "operation 9");
        let fine = two_puts().started_over(3).put(1, 1, "k", "one").ok(1, 2, None);
        judge(fine, Unknown, "1 acknowledged");
    }
}
