//! Who made which revision, real time, and the order of compactions.

use lab_protocol::Call;

use super::run::{Broken, Floor, Run, Who, made};

/// Who made the revisions that are known to be made, ascending.
pub(super) fn makers(run: Run<'_>) -> Result<Vec<(i64, Who)>, Broken> {
    let operations = run.operations().iter().enumerate();
    let mut makers: Vec<_> =
        operations.filter_map(|(place, op)| Some((made(op)?, Who::Operation(place)))).collect();
    makers.sort_by_key(|(revision, _)| *revision);
    let twice = makers.windows(2).find(|pair| pair[0].0 == pair[1].0);
    match twice {
        None => Ok(makers),
        Some(pair) => {
            let (other, revision) = (run.words(pair[1].1), pair[0].0);
            let why = format!("and {other} both made revision {revision}");
            Err(run.broken(pair[0].1, pair[1].1, why))
        }
    }
}

/// Every operation stands behind those that had returned when it was asked.
pub(super) fn real_time(run: Run<'_>) -> Result<(), Broken> {
    for ((place, operation), floor) in run.operations().iter().enumerate().zip(run.floors) {
        let Some(revision) = operation.revision() else { continue };
        let behind = match &operation.call {
            Call::Put { .. }
            | Call::Delete { .. }
            | Call::Txn { .. }
            | Call::LeaseRevoke { .. }
            | Call::Compact { .. }
            | Call::Get { serializable: false, .. } => match made(operation) {
                Some(_) => revision > floor.revision,
                None => revision >= floor.revision,
            },
            Call::Get { serializable: true, .. } => revision >= Floor::START.revision,
            Call::LeaseGrant { .. }
            | Call::LeaseTimeToLive { .. }
            | Call::LeaseKeepAlive { .. } => true,
        };
        if !behind {
            let began = match floor.who {
                Who::Start => {
                    format!("was asked of a new cluster at revision {}", floor.revision)
                }
                earlier @ (Who::Operation(_) | Who::ReadBack(_)) => format!(
                    "began after {} had returned at revision {}",
                    run.words(earlier),
                    floor.revision
                ),
            };
            let why = format!("{began}, but happened at revision {revision}");
            return Err(run.broken(Who::Operation(place), floor.who, why));
        }
    }
    Ok(())
}

/// A compaction that happened.
#[derive(Clone, Copy)]
struct Compaction {
    who: Who,
    /// What was dropped: everything before this revision.
    before: i64,
    /// The store's revision at that time.
    at: i64,
    asked: u64,
    returned: u64,
}

/// Each compaction dropped more than those before it, and none the future.
pub(super) fn compactions(run: Run<'_>) -> Result<(), Broken> {
    let mut all = Vec::new();
    for (place, operation) in run.operations().iter().enumerate() {
        if let (Call::Compact { revision }, Some((returned, answer))) =
            (&operation.call, operation.acknowledged())
        {
            let who = Who::Operation(place);
            if *revision > answer.revision {
                let why =
                    format!("dropped the future: it happened at revision {}", answer.revision);
                return Err(run.broken(who, who, why));
            }
            let (asked, returned) = (operation.invoked.seq, returned.seq);
            all.push(Compaction { who, before: *revision, at: answer.revision, asked, returned });
        }
    }
    all.sort_by_key(|one| (one.at, one.before));
    for pair in all.windows(2) {
        if pair[1].before <= pair[0].before {
            return Err(out_of_order(run, pair[0], pair[1], "happened"));
        }
    }
    // Within one revision of the store they are ascending by now; time must not run against it.
    let mut returned = all.clone();
    returned.sort_by_key(|one| one.returned);
    all.sort_by_key(|one| one.asked);
    let mut returned = returned.into_iter().peekable();
    let mut most: Option<Compaction> = None;
    for one in all {
        while let Some(earlier) = returned.next_if(|earlier| earlier.returned < one.asked) {
            if most.is_none_or(|most| most.before < earlier.before) {
                most = Some(earlier);
            }
        }
        if let Some(earlier) = most.filter(|earlier| earlier.before >= one.before) {
            return Err(out_of_order(run, earlier, one, "returned"));
        }
    }
    Ok(())
}

fn out_of_order(run: Run<'_>, earlier: Compaction, later: Compaction, had: &str) -> Broken {
    let why = format!(
        "happened at revision {}, though {} had {had} before it",
        later.at,
        run.words(earlier.who)
    );
    run.broken(later.who, earlier.who, why)
}
