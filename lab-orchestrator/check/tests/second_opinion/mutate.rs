//! One change at one place of a journal.

use lab_protocol::{
    Answer, Call, CompareTarget, Event, Numbered, OpId, Outcome, TxnAnswer, TxnOp, TxnResult,
};

use crate::made::Chances;

/// Each kind of change; some of them leave a history right, now and then or always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mutation {
    /// Something else was asked.
    Asked,
    /// A revision in an answer's header is another.
    Revision,
    /// What was read, or found by a transaction, is another.
    Content,
    /// Another count of keys was deleted.
    Number,
    /// A transaction's compares came out the other way.
    Succeeded,
    /// What happened, or ended unknown, is said to have failed.
    Failed,
    /// What was acknowledged is not known to have happened.
    Unknown,
    /// An operation returned earlier or later, or was asked earlier or later.
    Moved,
    /// Nobody asked it.
    Left,
    /// A member has lost a key, or holds another.
    ReadBack,
}

pub(crate) const ALL: [Mutation; 10] = [
    Mutation::Asked,
    Mutation::Revision,
    Mutation::Content,
    Mutation::Number,
    Mutation::Succeeded,
    Mutation::Failed,
    Mutation::Unknown,
    Mutation::Moved,
    Mutation::Left,
    Mutation::ReadBack,
];

/// Changes a journal at a place that chance picks; false if no place will do.
pub(crate) fn mutate(
    events: &mut Vec<Numbered>,
    mutation: Mutation,
    chances: &mut Chances,
) -> bool {
    let first = chances.below(events.len());
    let places = (first..events.len()).chain(0..first);
    let changed = places.into_iter().any(|place| match mutation {
        Mutation::Moved => moved(events, place, chances),
        Mutation::Left => left(events, place),
        Mutation::Asked => match &mut events[place].event {
            Event::Invoked { call, .. } => asked_otherwise(call, chances),
            _ => false,
        },
        Mutation::Revision
        | Mutation::Content
        | Mutation::Number
        | Mutation::Succeeded
        | Mutation::Failed
        | Mutation::Unknown
        | Mutation::ReadBack => told_otherwise(&mut events[place].event, mutation, chances),
    });
    for (seq, numbered) in (1..).zip(events) {
        numbered.seq = seq;
    }
    changed
}

/// Another value, another key, another revision, or a read that must not be old.
fn asked_otherwise(call: &mut Call, chances: &mut Chances) -> bool {
    match call {
        Call::Put { value, .. } => value.push('x'),
        Call::Get { serializable, .. } if *serializable => *serializable = false,
        Call::Get { key, .. } | Call::Delete { key } => key.push('x'),
        Call::Compact { revision } => *revision = other(*revision, chances),
        Call::Txn { compare, then, otherwise } => {
            let ops = if chances.below(2) == 0 { then } else { otherwise };
            match (compare.first_mut(), ops.first_mut()) {
                (_, Some(TxnOp::Put { lease, .. })) if *lease > 0 => *lease += 1,
                (_, Some(TxnOp::Put { value, .. })) => value.push('x'),
                (_, Some(TxnOp::Delete { keys })) => keys.key.push('x'),
                (Some(compare), _) => match &mut compare.target {
                    CompareTarget::Value(value) => value.push('x'),
                    CompareTarget::Version(number)
                    | CompareTarget::CreateRevision(number)
                    | CompareTarget::ModRevision(number) => *number = other(*number, chances),
                },
                (None, Some(TxnOp::Range { .. }) | None) => return false,
            }
        }
        Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::LeaseRevoke { .. } => return false,
    }
    true
}

/// Whatever an operation was told, or a reading back, is told otherwise.
fn told_otherwise(event: &mut Event, mutation: Mutation, chances: &mut Chances) -> bool {
    match (event, mutation) {
        (Event::Returned { outcome, .. }, Mutation::Failed) => {
            let failed = Outcome::Fail { error: "made to fail".into() };
            let had = std::mem::replace(outcome, failed);
            !matches!(had, Outcome::Fail { .. })
        }
        (Event::Returned { outcome, .. }, Mutation::Unknown) => {
            let had = outcome.is_ok();
            if had {
                *outcome = Outcome::Info { error: "made unknown".into() };
            }
            had
        }
        (Event::Returned { outcome: Outcome::Ok(answer), .. }, mutation) => {
            answered_otherwise(answer, mutation, chances)
        }
        (Event::Returned { outcome: Outcome::Txn(answer), .. }, mutation) => {
            transacted_otherwise(answer, mutation, chances)
        }
        (Event::ReadBack(read), Mutation::ReadBack) if !read.rows.is_empty() => {
            let place = chances.below(read.rows.len());
            match chances.below(4) {
                0 => drop(read.rows.remove(place)),
                1 => read.rows[place].1 = "made up".into(),
                2 => read.rows[place].2 -= 1,
                _ => read.revision = other(read.revision, chances),
            }
            true
        }
        _ => false,
    }
}

fn answered_otherwise(answer: &mut Answer, mutation: Mutation, chances: &mut Chances) -> bool {
    match (mutation, &mut answer.value) {
        (Mutation::Revision, _) => answer.revision = other(answer.revision, chances),
        (Mutation::Number, None) if answer.number > 0 => {
            answer.number = other(answer.number, chances);
        }
        (Mutation::Content, Some((value, revision))) => match chances.below(3) {
            0 => *value = "made up".into(),
            1 => *revision = other(*revision, chances),
            _ => {
                answer.value = None;
                answer.number = 0;
            }
        },
        _ => return false,
    }
    true
}

fn transacted_otherwise(answer: &mut TxnAnswer, mutation: Mutation, chances: &mut Chances) -> bool {
    match mutation {
        Mutation::Revision => answer.revision = other(answer.revision, chances),
        Mutation::Succeeded => answer.succeeded = !answer.succeeded,
        Mutation::Number => {
            let number = answer.results.iter_mut().find_map(|result| match result {
                TxnResult::Deleted(number) => Some(number),
                TxnResult::Range(_) | TxnResult::Put => None,
            });
            let Some(number) = number else { return false };
            *number = other(*number, chances);
        }
        Mutation::Content => {
            let rows = answer.results.iter_mut().find_map(|result| match result {
                TxnResult::Range(rows) if !rows.is_empty() => Some(rows),
                TxnResult::Range(_) | TxnResult::Deleted(_) | TxnResult::Put => None,
            });
            let Some(rows) = rows else { return false };
            let place = chances.below(rows.len());
            let row = &mut rows[place];
            match chances.below(7) {
                0 => row.value = "made up".into(),
                1 => row.mod_revision = other(row.mod_revision, chances),
                2 => row.create_revision = other(row.create_revision, chances),
                3 => row.version = other(row.version, chances),
                4 => row.lease = other(row.lease, chances),
                5 => row.key.push('x'),
                _ => drop(rows.remove(place)),
            }
        }
        Mutation::Asked
        | Mutation::Failed
        | Mutation::Unknown
        | Mutation::Moved
        | Mutation::Left
        | Mutation::ReadBack => return false,
    }
    true
}

/// One more or one less, and never negative.
fn other(number: i64, chances: &mut Chances) -> i64 {
    if chances.below(2) == 0 && number > 0 { number - 1 } else { number + 1 }
}

/// Tells of a call or of its end elsewhere, but never of the end before the call. Mostly the two
/// come next to each other: what lies between them is what time leaves open.
fn moved(events: &mut Vec<Numbered>, place: usize, chances: &mut Chances) -> bool {
    let (op, asks) = match events[place].event {
        Event::Invoked { op, .. } => (op, true),
        Event::Returned { op, .. } => (op, false),
        _ => return false,
    };
    let counterpart = events
        .iter()
        .enumerate()
        .position(|(other, numbered)| other != place && of(&numbered.event) == Some(op));
    let (least, most) = match (counterpart, asks) {
        (Some(end), true) => (0, end - 1),
        (Some(call), false) => (call + 1, events.len() - 1),
        (None, _) => (0, events.len() - 1),
    };
    let to = match (chances.below(4), asks) {
        (0, _) => least + chances.below(most + 1 - least),
        (_, true) => most,
        (_, false) => least,
    };
    let event = events.remove(place);
    events.insert(to, event);
    to != place
}

/// Removes a call that was acknowledged and may have written, with its end.
fn left(events: &mut Vec<Numbered>, place: usize) -> bool {
    let Event::Invoked { op, ref call, .. } = events[place].event else { return false };
    let writes = !matches!(call, Call::Compact { .. }) && call.is_write();
    if writes {
        events.retain(|numbered| of(&numbered.event) != Some(op));
    }
    writes
}

fn of(event: &Event) -> Option<OpId> {
    match event {
        Event::Invoked { op, .. } | Event::Returned { op, .. } => Some(*op),
        _ => None,
    }
}
