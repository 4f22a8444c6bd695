//! Gaps: revisions that nobody is known to have made, and who may have.
//!
//! An unknown write whose unique value somebody saw is *placed* at the revision it was seen with.
//! What remains of gaps must be made by what remains of unknown writes, or by leases that ended.
//! Each of those may stand anywhere above the revision that was known when it was asked, so
//! counting from below tells exactly whether there are enough of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use lab_protocol::{Call, TxnOp, TxnResult};

use super::keys::Keys;
use super::run::{Broken, Floor, Run, Who, is_open_write};
use crate::history::Operation;

/// Who made which revision, as far as it can be told.
pub(crate) struct Gaps<'a> {
    /// Unknown writes that were seen: by revision, who, and the key and value that were seen.
    pub(crate) placed: BTreeMap<i64, (Who, &'a str, &'a str)>,
    /// Revisions that nobody is known to have made, ascending, up to the first that nobody can.
    pub(crate) gaps: Vec<i64>,
    /// The first revision that nobody can have made.
    pub(crate) unmade: Option<i64>,
    /// Of each key, what an unknown write that is not placed may do to it.
    pub(crate) touches: Vec<Touch>,
}

/// What may have been done to a key in a gap above these revisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    pub(crate) put_above: i64,
    pub(crate) deleted_above: i64,
}

impl Touch {
    const NEVER: Self = Self { put_above: i64::MAX, deleted_above: i64::MAX };

    fn may_be_put(&mut self, above: i64) {
        self.put_above = self.put_above.min(above);
    }

    fn may_be_deleted(&mut self, above: i64) {
        self.deleted_above = self.deleted_above.min(above);
    }
}

/// Looks for the writers of all gaps.
pub(crate) fn resolve<'a>(
    run: Run<'a>,
    keys: &Keys<'_>,
    makers: &[(i64, Who)],
) -> Result<Gaps<'a>, Broken> {
    let placed = place(run, makers)?;
    let is_placed: HashSet<Who> = placed.values().map(|(who, _, _)| *who).collect();
    let mut touches = vec![Touch::NEVER; keys.len()];
    let mut floors = Vec::new();
    let mut leases: BTreeMap<i64, i64> = BTreeMap::new();
    for (place, operation) in run.operations().iter().enumerate() {
        let floor = run.floors[place].revision;
        for (key, lease) in leased(operation) {
            let since = leases.entry(lease).or_insert(floor);
            *since = floor.min(*since);
            touches[keys.number(key)].may_be_deleted(floor);
        }
        if is_open_write(operation) && !is_placed.contains(&Who::Operation(place)) {
            floors.push(floor);
            touched(operation, floor, keys, &mut touches);
        }
    }
    floors.extend(leases.into_values());
    floors.sort_unstable();
    let (gaps, unmade) = count(run, makers, &placed, &floors);
    Ok(Gaps { placed, gaps, unmade, touches })
}

/// The keys that an operation may attach to a lease, and which.
fn leased(operation: &Operation) -> impl Iterator<Item = (&str, i64)> {
    let ops = match &operation.call {
        Call::Txn { then, otherwise, .. } if operation.may_have_happened() => {
            then.iter().chain(otherwise)
        }
        _ => [].iter().chain(&[]),
    };
    ops.filter_map(|op| match op {
        TxnOp::Put { key, lease, .. } if *lease != 0 => Some((key.as_str(), *lease)),
        TxnOp::Put { .. } | TxnOp::Range { .. } | TxnOp::Delete { .. } => None,
    })
}

/// Notes what an unknown write may do, and above which revision.
fn touched(operation: &Operation, floor: i64, keys: &Keys<'_>, touches: &mut [Touch]) {
    match &operation.call {
        Call::Put { key, .. } => touches[keys.number(key)].may_be_put(floor),
        Call::Delete { key } => touches[keys.number(key)].may_be_deleted(floor),
        Call::Txn { then, otherwise, .. } => {
            for op in then.iter().chain(otherwise) {
                match op {
                    TxnOp::Put { key, .. } => touches[keys.number(key)].may_be_put(floor),
                    TxnOp::Delete { keys: range } => {
                        let touches = touches[keys.within(range)].iter_mut();
                        touches.for_each(|touch| touch.may_be_deleted(floor));
                    }
                    TxnOp::Range { .. } => {}
                }
            }
        }
        // What the end of a lease may do is noted where keys are attached to it.
        Call::Get { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::LeaseRevoke { .. }
        | Call::Compact { .. } => {}
    }
}

/// Goes through all revisions that were told, and counts who may fill the gaps.
fn count(
    run: Run<'_>,
    makers: &[(i64, Who)],
    placed: &BTreeMap<i64, (Who, &str, &str)>,
    floors: &[i64],
) -> (Vec<i64>, Option<i64>) {
    let mut gaps = Vec::new();
    let mut known: Vec<i64> = makers.iter().map(|(revision, _)| *revision).collect();
    known.extend(placed.keys());
    known.sort_unstable();
    let mut next = Floor::START.revision + 1;
    for revision in known.into_iter().chain([run.last.revision.saturating_add(1)]) {
        while next < revision {
            if (run.left_out.0..run.left_out.1).contains(&next) {
                next = run.left_out.1;
                continue;
            }
            let able = floors.partition_point(|floor| *floor < next);
            if able <= gaps.len() {
                return (gaps, Some(next));
            }
            gaps.push(next);
            next += 1;
        }
        next = revision.saturating_add(1);
    }
    (gaps, None)
}

/// One row that somebody was shown.
#[derive(Clone, Copy)]
struct Shown<'a> {
    who: Who,
    key: &'a str,
    value: &'a str,
    /// The revision that wrote it.
    revision: i64,
    /// The store's revision at that time.
    at: i64,
}

/// Places the unknown writes whose values were seen.
fn place<'a>(
    run: Run<'a>,
    makers: &[(i64, Who)],
) -> Result<BTreeMap<i64, (Who, &'a str, &'a str)>, Broken> {
    let mut writers: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (place, operation) in run.operations().iter().enumerate() {
        if is_open_write(operation) {
            each_value(operation, |key, value| {
                writers.entry((key, value)).or_default().push(place)
            });
        }
    }
    let mut placed: BTreeMap<i64, (Who, &'a str, &'a str)> = BTreeMap::new();
    let mut places: HashMap<usize, (i64, Who)> = HashMap::new();
    each_shown(run, |shown| {
        let Shown { who, key, value, revision, at } = shown;
        if revision > at {
            let why = format!("saw revision {revision} of {key} at revision {at}");
            return Err(run.broken(who, who, why));
        }
        // Whether it was there is for the replay to say.
        if revision <= run.begins_at() {
            return Ok(());
        }
        if makers.binary_search_by_key(&revision, |(revision, _)| *revision).is_ok()
            || placed.contains_key(&revision)
        {
            return Ok(());
        }
        let able = writers.get(&(key, value)).map_or(&[][..], Vec::as_slice);
        let Some(&writer) =
            able.iter().find(|&writer| !places.contains_key(writer)).or(able.last())
        else {
            return Err(nobody_wrote(run, shown));
        };
        let (words, floor) = (run.words(Who::Operation(writer)), run.floors[writer]);
        if revision <= floor.revision {
            let why = format!(
                "saw {words} at revision {revision}, but {} had been told revision {} before it was \
                 asked",
                run.words(floor.who),
                floor.revision
            );
            return Err(run.broken(who, Who::Operation(writer), why));
        }
        if let Some((other, earlier)) = places.insert(writer, (revision, who)) {
            let why = format!(
                "saw {words} at revision {revision}, but it had been seen at revision {other}"
            );
            return Err(run.broken(who, earlier, why));
        }
        placed.insert(revision, (Who::Operation(writer), key, value));
        Ok(())
    })?;
    Ok(placed)
}

/// Why a value cannot have been seen with a revision that nobody made.
fn nobody_wrote(run: Run<'_>, shown: Shown<'_>) -> Broken {
    let Shown { who, key, value, revision, .. } = shown;
    let writer = run.operations().iter().position(|operation| {
        let mut wrote = false;
        each_value(operation, |k, v| wrote |= (k, v) == (key, value));
        wrote
    });
    match writer {
        None => run.broken(who, who, format!("saw a value of {key} that nobody wrote")),
        Some(place) => {
            let operation = &run.operations()[place];
            let why = format!(
                "saw {key} of revision {revision}, but {}, which wrote that value, {}",
                operation.words(),
                operation.end()
            );
            run.broken(who, Who::Operation(place), why)
        }
    }
}

/// Every value that an operation writes, on either way of a transaction.
pub(crate) fn each_value<'a>(operation: &'a Operation, mut see: impl FnMut(&'a str, &'a str)) {
    match &operation.call {
        Call::Put { key, value } => see(key, value),
        Call::Txn { then, otherwise, .. } => {
            for op in then.iter().chain(otherwise) {
                if let TxnOp::Put { key, value, .. } = op {
                    see(key, value);
                }
            }
        }
        Call::Get { .. }
        | Call::Delete { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::LeaseRevoke { .. }
        | Call::Compact { .. } => {}
    }
}

/// Goes through all rows that anybody was shown, until one is refused.
fn each_shown<'a>(
    run: Run<'a>,
    mut see: impl FnMut(Shown<'a>) -> Result<(), Broken>,
) -> Result<(), Broken> {
    for (place, operation) in run.operations().iter().enumerate() {
        let who = Who::Operation(place);
        if let (Call::Get { key, .. }, Some((_, answer))) =
            (&operation.call, operation.acknowledged())
            && let Some((value, revision)) = &answer.value
        {
            see(Shown { who, key, value, revision: *revision, at: answer.revision })?;
        }
        let Some(answer) = operation.transacted() else { continue };
        for result in &answer.results {
            let TxnResult::Range(rows) = result else { continue };
            for row in rows {
                let (revision, at) = (row.mod_revision, answer.revision);
                see(Shown { who, key: &row.key, value: &row.value, revision, at })?;
            }
        }
    }
    for (place, (_, read)) in run.read_backs.iter().enumerate() {
        for (key, value, revision) in &read.rows {
            let who = Who::ReadBack(place);
            see(Shown { who, key, value, revision: *revision, at: read.revision })?;
        }
    }
    Ok(())
}
