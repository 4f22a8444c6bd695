//! What each revision changed: the writes in their one order, and where nobody is known to have
//! made a revision, what watches were told of it, if somebody can have done it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lab_protocol::{Call, KeyRange, TxnOp, TxnResult, WatchEventKind, WatchId};

use super::rows::{Before, Held, Rows, is_plausible};
use super::told::Told;
use crate::linear::{Order, Who, each_value, is_open_write};

/// All revisions of which anything is known, ascending.
#[derive(Default)]
pub(super) struct Truth<'a> {
    revisions: Vec<Made<'a>>,
    /// Whether the operations have one order; if not, nothing is known of any revision.
    pub(super) is_known: bool,
}

/// What a revision changed.
pub(super) struct Made<'a> {
    pub(super) revision: i64,
    pub(super) by: By,
    pub(super) changes: Vec<Change<'a>>,
    /// Why nobody can have made what watches were told of it, and whose operation speaks against it.
    pub(super) unexplained: Option<(String, Option<usize>)>,
}

/// How it is known what a revision changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// The operation at this place made it.
    Operation(usize),
    /// A watch was told of it, by this event of the journal.
    Told(WatchId, u64),
}

/// What happened to a key.
pub(super) struct Change<'a> {
    pub(super) key: &'a str,
    /// The row written, or that the key was deleted.
    pub(super) now: Option<Held<'a>>,
    pub(super) before: Before<'a>,
    /// Whether it must have happened; otherwise it may have.
    pub(super) is_certain: bool,
}

impl Change<'_> {
    pub(super) fn kind(&self) -> WatchEventKind {
        match self.now {
            Some(_) => WatchEventKind::Put,
            None => WatchEventKind::Delete,
        }
    }
}

impl<'a> Truth<'a> {
    /// What is known from the order of operations and from what watches were told.
    pub(super) fn of<'o: 'a>(order: &'o Order<'a>, told: &BTreeMap<i64, Vec<Told<'a>>>) -> Self {
        let mut builder = Builder::new(order, told);
        let mut known: BTreeMap<i64, Option<Known<'a>>> =
            told.keys().map(|revision| (*revision, None)).collect();
        for (revision, who) in &order.makers {
            known.insert(*revision, who.place().map(Known::Acked));
        }
        for (revision, (who, key, value)) in &order.gaps.placed {
            known.insert(*revision, who.place().map(|place| Known::Seen(place, (key, value))));
        }
        let mut revisions: Vec<Made<'a>> = Vec::with_capacity(known.len());
        for (revision, known) in known {
            let beginning = order.run.begins_at();
            let last = revisions.last().map_or(beginning, |made| made.revision);
            let before = revision.saturating_sub(1);
            if last < before {
                builder.doubt_upto(before);
            }
            let mut made = match known {
                Some(Known::Acked(place)) => builder.acked(revision, place),
                Some(Known::Seen(place, seen)) => builder.placed(revision, place, seen),
                None => builder.gap(revision),
            };
            builder.learn(&mut made);
            revisions.push(made);
        }
        Self { revisions, is_known: true }
    }

    pub(super) fn at(&self, revision: i64) -> Option<&Made<'a>> {
        let place = self.revisions.binary_search_by_key(&revision, |made| made.revision).ok()?;
        Some(&self.revisions[place])
    }

    /// Everything from one revision up to another.
    pub(super) fn between(&self, from: i64, upto: i64) -> &[Made<'a>] {
        let first = self.revisions.partition_point(|made| made.revision < from);
        let behind = self.revisions.partition_point(|made| made.revision <= upto);
        &self.revisions[first..behind.max(first)]
    }
}

/// Who can have deleted what a watch was told of in a gap.
enum Deleter {
    /// The end of this lease, and nobody else.
    Lease(i64),
    /// An unknown operation, or the end of some lease.
    Somebody,
}

/// How it is known who made a revision.
enum Known<'a> {
    /// The operation at this place was acknowledged.
    Acked(usize),
    /// Of the operation at this place the outcome is unknown, but a read saw the key and the value.
    Seen(usize, (&'a str, &'a str)),
}

struct Builder<'a, 'o, 't> {
    order: &'o Order<'a>,
    told: &'t BTreeMap<i64, Vec<Told<'a>>>,
    rows: Rows<'a>,
    /// Writes with unknown outcomes that no read saw, and the revision at which a watch did.
    open: BTreeMap<usize, Option<i64>>,
    /// Who wrote what watches were told of in a gap.
    writers: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a, 'o: 'a, 't> Builder<'a, 'o, 't> {
    fn new(order: &'o Order<'a>, told: &'t BTreeMap<i64, Vec<Told<'a>>>) -> Self {
        let placed = order.gaps.placed.values();
        let seen: BTreeSet<usize> = placed.filter_map(|(who, _, _)| who.place()).collect();
        let operations = order.run.operations();
        let open = (0..operations.len())
            .filter(|place| is_open_write(&operations[*place]) && !seen.contains(place))
            .map(|place| (place, None))
            .collect();
        let is_made = |revision: &i64| {
            order.gaps.placed.contains_key(revision)
                || order.makers.binary_search_by_key(revision, |(made, _)| *made).is_ok()
        };
        let mut writers: HashMap<(&'a str, &'a str), Vec<usize>> = HashMap::new();
        for (_, told) in told.iter().filter(|(revision, _)| !is_made(revision)) {
            writers
                .extend(told.iter().filter(|told| told.is_put()).map(|told| (told.row(), vec![])));
        }
        if !writers.is_empty() {
            for (place, operation) in operations.iter().enumerate() {
                each_value(operation, |key, value| {
                    if let Some(writers) = writers.get_mut(&(key, value)) {
                        writers.push(place);
                    }
                });
            }
        }
        let mut rows = Rows::new(order.keys.len());
        for (key, value, revision) in order.run.beginning_rows() {
            rows.was_there(order.keys.number(key), value, revision);
        }
        Self { order, told, rows, open, writers }
    }

    fn told(&self, revision: i64) -> &'t [Told<'a>] {
        self.told.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// After revisions of which nobody was told anything: what may have changed is unknown.
    fn doubt_upto(&mut self, revision: i64) {
        for (key, touch) in self.order.gaps.touches.iter().enumerate() {
            if touch.put_above < revision || touch.deleted_above < revision {
                self.rows.doubt(key);
            }
        }
    }

    /// A write that was acknowledged at this revision.
    fn acked(&mut self, revision: i64, place: usize) -> Made<'a> {
        let operation = &self.order.run.operations()[place];
        let mut changes = Vec::new();
        match (&operation.call, operation.transacted()) {
            (Call::Put { key, value }, _) => changes.push(self.put(revision, key, value, 0)),
            (Call::Delete { key }, _) => {
                self.delete(revision, &KeyRange::one(key), Some(1), &mut changes);
            }
            (Call::Txn { then, otherwise, .. }, Some(answer)) => {
                let ops = if answer.succeeded { then } else { otherwise };
                for (op, result) in ops.iter().zip(&answer.results) {
                    let said = match result {
                        TxnResult::Deleted(said) => Some(*said),
                        TxnResult::Range(_) | TxnResult::Put => None,
                    };
                    self.transact(revision, op, said, &mut changes);
                }
            }
            _ => {}
        }
        Made { revision, by: By::Operation(place), changes, unexplained: None }
    }

    /// A write with an unknown outcome that made this revision: a value of it was seen there.
    fn placed(&mut self, revision: i64, place: usize, seen: (&str, &str)) -> Made<'a> {
        let mut changes = Vec::new();
        match &self.order.run.operations()[place].call {
            Call::Put { key, value } => changes.push(self.put(revision, key, value, 0)),
            Call::Txn { then, otherwise, .. } => {
                let ops = match (writes(then, seen), writes(otherwise, seen)) {
                    (true, false) => then,
                    (false, true) => otherwise,
                    // Both ways write it, so nobody knows which was gone.
                    (true, true) | (false, false) => {
                        return self.taken(revision, By::Operation(place));
                    }
                };
                for op in ops {
                    self.transact(revision, op, None, &mut changes);
                }
            }
            _ => {}
        }
        Made { revision, by: By::Operation(place), changes, unexplained: None }
    }

    /// Takes what was told of a revision for what may have happened, and doubts the rest.
    fn taken(&mut self, revision: i64, by: By) -> Made<'a> {
        self.doubt_upto(revision);
        let changes = self.told(revision).iter().map(|told| {
            let row = &told.event.row;
            let held = Held { value: &row.value, lease: row.lease, revision, count: None };
            let now = told.is_put().then_some(held);
            Change { key: &row.key, now, before: Before::Unknown, is_certain: false }
        });
        let changes: Vec<_> = changes.collect();
        for key in changes.iter().filter_map(|change| self.order.keys.find(change.key)) {
            self.rows.doubt(key);
        }
        Made { revision, by, changes, unexplained: None }
    }

    fn transact(
        &mut self,
        revision: i64,
        op: &'a TxnOp,
        said: Option<i64>,
        changes: &mut Vec<Change<'a>>,
    ) {
        match op {
            TxnOp::Range { .. } => {}
            TxnOp::Put { key, value, lease } => {
                changes.push(self.put(revision, key, value, *lease));
            }
            TxnOp::Delete { keys } => self.delete(revision, keys, said, changes),
        }
    }

    fn put(&mut self, revision: i64, key: &'a str, value: &'a str, lease: i64) -> Change<'a> {
        let number = self.order.keys.number(key);
        let (before, held) = self.rows.put(number, revision, value, lease);
        Change { key, now: Some(held), before, is_certain: true }
    }

    /// A deletion of all keys in a range, which found so many if it said so.
    fn delete(
        &mut self,
        revision: i64,
        range: &KeyRange,
        said: Option<i64>,
        changes: &mut Vec<Change<'a>>,
    ) {
        let keys = self.order.keys.within(range);
        let (mut there, mut unknown) = (0, 0);
        for key in keys.clone() {
            match self.rows.get(key) {
                Before::Known(Some(_)) => there += 1,
                Before::Unknown => unknown += 1,
                Before::Known(None) => {}
            }
        }
        for key in keys {
            let (name, before) = (self.order.keys.name(key), self.rows.remove(key));
            let is_certain = match before {
                Before::Known(None) => continue,
                Before::Known(Some(_)) => true,
                Before::Unknown if said == Some(there) => continue,
                Before::Unknown => {
                    let told = self.told(revision).iter();
                    said == Some(there + unknown)
                        || told.clone().any(|told| !told.is_put() && told.event.row.key == name)
                }
            };
            changes.push(Change { key: name, now: None, before, is_certain });
        }
    }

    /// A revision that nobody is known to have made, but of which watches were told.
    fn gap(&mut self, revision: i64) -> Made<'a> {
        let told = self.told(revision);
        let first = told.first().expect("makers are operations, so it is known by a watch only");
        let by = By::Told(first.watch, first.seq);
        let explained = match told.iter().find(|told| told.is_put()) {
            Some(put) => match self.writer(revision, put) {
                Ok(place) => {
                    self.open.insert(place, Some(revision));
                    return self.placed(revision, place, put.row());
                }
                Err(unexplained) => Err(unexplained),
            },
            None => self.deleter(revision, told).map_err(|why| (why, None)),
        };
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        match explained {
            Err(unexplained) => {
                return Made { unexplained: Some(unexplained), ..self.taken(revision, by) };
            }
            Ok(Deleter::Lease(lease)) => gone.extend(self.rows.of_lease(lease)),
            Ok(Deleter::Somebody) => {}
        }
        gone.extend(told.iter().filter_map(|told| self.order.keys.find(&told.event.row.key)));
        let deletion = |key: &usize| {
            let (name, before) = (self.order.keys.name(*key), self.rows.get(*key));
            Change { key: name, now: None, before, is_certain: true }
        };
        let changes = gone.iter().map(deletion).collect();
        self.doubt_upto(revision);
        gone.into_iter().for_each(|key| _ = self.rows.remove(key));
        Made { revision, by, changes, unexplained: None }
    }

    /// Whether an operation that is open can have made this revision before it was told.
    fn may_have_made(&self, place: usize, revision: i64, told: u64) -> bool {
        let run = self.order.run;
        run.floors[place].revision < revision && run.operations()[place].invoked.seq < told
    }

    /// The operation that wrote a value which a watch was told of in a gap.
    fn writer(&self, revision: i64, put: &Told<'a>) -> Result<usize, (String, Option<usize>)> {
        let writers = self.writers.get(&put.row()).map_or(&[][..], Vec::as_slice);
        let able = writers.iter().find(|place| {
            self.open.get(place) == Some(&None) && self.may_have_made(**place, revision, put.seq)
        });
        if let Some(place) = able {
            return Ok(*place);
        }
        let Some(&place) = writers.first() else {
            return Err(("nobody wrote that value".into(), None));
        };
        let run = self.order.run;
        let (operation, floor) = (&run.operations()[place], run.floors[place]);
        let seen =
            order_of(&self.order.gaps.placed, place).or(self.open.get(&place).copied().flatten());
        let why = match (operation.revision(), seen) {
            (Some(made), _) => format!("was acknowledged at revision {made}"),
            (None, Some(seen)) => format!("had been seen at revision {seen}"),
            (None, None) if !operation.may_have_happened() => operation.end(),
            (None, None) if operation.invoked.seq >= put.seq => "was not asked yet".into(),
            (None, None) => {
                format!("was asked when revision {} had already been told", floor.revision)
            }
        };
        Err((format!("{}, which wrote that value, {why}", operation.words()), Some(place)))
    }

    /// Whether one unknown deletion, or the end of one lease, explains all that was told.
    fn deleter(&self, revision: i64, told: &[Told<'a>]) -> Result<Deleter, String> {
        let keys: Vec<&str> = told.iter().map(|told| told.event.row.key.as_str()).collect();
        let first_told = told.iter().map(|told| told.seq).min().unwrap_or(u64::MAX);
        let mut leases = BTreeSet::new();
        for key in &keys {
            let found = self.order.keys.find(key).map(|key| self.rows.get(key));
            match found {
                None | Some(Before::Known(None)) => return Err(format!("there was no {key}")),
                Some(Before::Known(Some(held))) => _ = leases.insert(held.lease),
                Some(Before::Unknown) => {}
            }
        }
        let deletes = |place: &usize| match &self.order.run.operations()[*place].call {
            Call::Delete { key } => keys == [key],
            Call::Txn { then, otherwise, .. } => deletes(then, &keys) || deletes(otherwise, &keys),
            _ => false,
        };
        let by_operation = self.open.iter().any(|(place, seen)| {
            seen.is_none() && deletes(place) && self.may_have_made(*place, revision, first_told)
        });
        let by_lease = leases.len() < 2 && !leases.contains(&0) && {
            let number = |key: &&str| self.order.keys.find(key);
            let mut touches =
                keys.iter().filter_map(number).map(|key| self.order.gaps.touches[key]);
            touches.all(|touch| touch.deleted_above < revision)
        };
        match (by_operation, by_lease, leases.first()) {
            (true, _, _) | (false, true, None) => Ok(Deleter::Somebody),
            (false, true, Some(lease)) => Ok(Deleter::Lease(*lease)),
            (false, false, _) => {
                Err("no unknown operation and no end of a lease can have done that".into())
            }
        }
    }

    /// Takes the word of a watch for what is not known of a row.
    fn learn(&mut self, made: &mut Made<'a>) {
        for change in &mut made.changes {
            let Some(held) = change.now.as_mut().filter(|held| held.count.is_none()) else {
                continue;
            };
            let mut told = self.told(made.revision).iter();
            let told = told.find(|told| told.is_put() && told.event.row.key == change.key);
            let Some(row) = told.map(|told| &told.event.row) else { continue };
            let count = (row.create_revision, row.version);
            if is_plausible(made.revision, count) {
                held.count = Some(count);
                self.rows.learn(self.order.keys.number(change.key), count);
            }
        }
    }
}

/// At which revision a read saw an unknown write.
fn order_of(placed: &BTreeMap<i64, (Who, &str, &str)>, place: usize) -> Option<i64> {
    let mut placed = placed.iter();
    placed.find(|(_, (who, _, _))| *who == Who::Operation(place)).map(|(revision, _)| *revision)
}

fn writes(ops: &[TxnOp], seen: (&str, &str)) -> bool {
    ops.iter().any(|op| match op {
        TxnOp::Put { key, value, .. } => (key.as_str(), value.as_str()) == seen,
        TxnOp::Range { .. } | TxnOp::Delete { .. } => false,
    })
}

/// Whether all of these keys are deleted by one list of operations.
fn deletes(ops: &[TxnOp], keys: &[&str]) -> bool {
    keys.iter().all(|key| {
        ops.iter().any(|op| match op {
            TxnOp::Delete { keys } => keys.contains(key),
            TxnOp::Range { .. } | TxnOp::Put { .. } => false,
        })
    })
}
