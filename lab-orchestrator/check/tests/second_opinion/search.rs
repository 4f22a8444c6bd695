//! A search for an order of operations (Wing and Gong, *Testing and verifying concurrent objects*,
//! 1993), which remembers what it tried (Lowe, *Testing for linearizability*, 2017).
//!
//! It knows nothing of gaps, floors or replays: it lets the model do whatever may come next, goes
//! on where the model answers what the client was told, and steps back where it does not.
//!
//! ```text
//!  next may be  what was asked before the first of the rest returned
//!               what never returned, at any time or never
//!               the end of a lease that somebody may have used
//! ```
//!
//! A read that may be old, and a reading of all keys, of which nobody knows when it began, is a
//! read that was asked before everything else.

use std::collections::{BTreeMap, HashMap};

use lab_protocol::{Answer, Call, Event, Numbered, OpId, Outcome, ReadBack, TxnOp, TxnResult};

use crate::made::store::Store;

/// What the search makes of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// There is an order.
    Possible,
    /// There is none.
    Impossible,
    /// It took too long to look at all of them.
    Undecided,
}

/// What of the answers the search looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All of them.
    Whole,
    /// Not at revisions, as a search that knows of a plain map only.
    Values,
}

/// Looks for an order of all operations in a journal of one cluster.
///
/// # Panics
/// For more than 64 operations and leases.
pub(crate) fn search(events: &[Numbered], sight: Sight) -> Opinion {
    // With revisions in sight there is hardly a choice; without them there are many.
    let left = match sight {
        Sight::Whole => 20_000,
        Sight::Values => 2000,
    };
    let mut search = Search { steps: asked(events), sight, tried: HashMap::new(), left };
    assert!(search.steps.len() <= 64, "one bit for each");
    match search.goes_on(0, &Store::new()) {
        Some(true) => Opinion::Possible,
        Some(false) => Opinion::Impossible,
        None => Opinion::Undecided,
    }
}

/// Something that happened, if it was told of, or may have.
struct Step {
    from: u64,
    /// `u64::MAX` while it is open.
    until: u64,
    what: What,
}

enum What {
    /// With what was told, if anything was.
    Call(Call, Option<Outcome>),
    ReadBack(ReadBack),
    LeaseEnds(i64),
}

/// Everything that a journal tells of, without what failed and reads of which nothing is known.
fn asked(events: &[Numbered]) -> Vec<Step> {
    let mut calls: BTreeMap<OpId, (u64, Call)> = BTreeMap::new();
    let mut steps = Vec::new();
    let mut leases: BTreeMap<i64, u64> = BTreeMap::new();
    for Numbered { seq, event, .. } in events {
        match event {
            Event::Invoked { op, call, .. } => {
                if let Call::Txn { then, otherwise, .. } = call {
                    for op in then.iter().chain(otherwise) {
                        if let TxnOp::Put { lease: 1.., .. } = op {
                            leases.entry(lease(op)).or_insert(*seq);
                        }
                    }
                }
                calls.insert(*op, (*seq, call.clone()));
            }
            Event::Returned { op, outcome } => {
                let (from, call) = calls.remove(op).expect("asked before");
                match outcome {
                    Outcome::Fail { .. } => {}
                    Outcome::Info { .. } => {
                        calls.insert(*op, (from, call));
                    }
                    Outcome::Ok(_) | Outcome::Txn(_) => {
                        let may_be_old = matches!(call, Call::Get { serializable: true, .. });
                        let from = if may_be_old { 0 } else { from };
                        let what = What::Call(call, Some(outcome.clone()));
                        steps.push(Step { from, until: *seq, what });
                    }
                }
            }
            Event::ReadBack(read) => {
                let what = What::ReadBack(read.as_ref().clone());
                steps.push(Step { from: 0, until: *seq, what });
            }
            _ => {}
        }
    }
    for (from, call) in calls.into_values().filter(|(_, call)| call.is_write()) {
        steps.push(Step { from, until: u64::MAX, what: What::Call(call, None) });
    }
    for (lease, from) in leases {
        steps.push(Step { from, until: u64::MAX, what: What::LeaseEnds(lease) });
    }
    steps
}

fn lease(op: &TxnOp) -> i64 {
    match op {
        TxnOp::Put { lease, .. } => *lease,
        TxnOp::Range { .. } | TxnOp::Delete { .. } => 0,
    }
}

struct Search {
    steps: Vec<Step>,
    sight: Sight,
    /// The stores that were come to, by the set of steps that had led to them.
    tried: HashMap<u64, Vec<Store>>,
    /// Steps that may still be tried.
    left: u32,
}

impl Search {
    /// Whether the steps that are not in `done` have an order behind a store; `None` if there is
    /// no time to tell.
    fn goes_on(&mut self, done: u64, store: &Store) -> Option<bool> {
        let is_open = |place: usize| done >> place & 1 == 0;
        let rest = (0..self.steps.len()).filter(|&place| is_open(place));
        let first_end = rest.clone().map(|place| self.steps[place].until).min();
        if first_end.is_none_or(|end| end == u64::MAX) {
            return Some(true);
        }
        let candidates: Vec<usize> =
            rest.filter(|&place| Some(self.steps[place].from) < first_end).collect();
        for place in candidates {
            self.left = self.left.checked_sub(1)?;
            let done = done | 1 << place;
            let Some(next) = self.happens(place, store) else { continue };
            let tried = self.tried.entry(done).or_default();
            if tried.contains(&next) {
                continue;
            }
            tried.push(next.clone());
            if self.goes_on(done, &next)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The store behind a step, if the step fits and what is open changes anything.
    fn happens(&self, place: usize, store: &Store) -> Option<Store> {
        let mut next = store.clone();
        match &self.steps[place].what {
            What::LeaseEnds(lease) => next.expire(*lease),
            What::ReadBack(read) => return self.reads(read, store).then_some(next),
            What::Call(call, told) => {
                let gave = next.apply(call);
                match told {
                    Some(told) if self.seen(told) != self.seen(&gave) => return None,
                    Some(_) => return Some(next),
                    None => {}
                }
            }
        }
        (next != *store).then_some(next)
    }

    fn reads(&self, read: &ReadBack, store: &Store) -> bool {
        let rows = store.rows.values();
        match self.sight {
            Sight::Whole => {
                let rows = rows.map(|row| (&row.key, &row.value, row.mod_revision));
                read.revision == store.revision
                    && rows.eq(read.rows.iter().map(|(key, value, at)| (key, value, *at)))
            }
            Sight::Values => rows
                .map(|row| (&row.key, &row.value))
                .eq(read.rows.iter().map(|(key, value, _)| (key, value))),
        }
    }

    /// An answer without what is not looked at.
    fn seen(&self, outcome: &Outcome) -> Outcome {
        let mut outcome = outcome.clone();
        if self.sight == Sight::Whole {
            return outcome;
        }
        match &mut outcome {
            Outcome::Ok(Answer { revision, value, .. }) => {
                *revision = 0;
                value.iter_mut().for_each(|(_, revision)| *revision = 0);
            }
            Outcome::Txn(answer) => {
                answer.revision = 0;
                for result in &mut answer.results {
                    if let TxnResult::Range(rows) = result {
                        for row in rows {
                            row.mod_revision = 0;
                            row.create_revision = 0;
                        }
                    }
                }
            }
            Outcome::Fail { .. } | Outcome::Info { .. } => {}
        }
        outcome
    }
}
