//! The keys of a run by small numbers, ascending by name.

use std::collections::HashMap;
use std::ops::Range;

use lab_protocol::{Call, KeyRange, TxnOp, TxnResult};

use super::run::Run;
use crate::history::Operation;

/// Every key that a run names. A key's number is its place among them.
pub(crate) struct Keys<'a> {
    names: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
    /// Of each operation, the one key that it is about: looking for its name again costs more than
    /// all else that is done with it.
    own: Vec<Option<usize>>,
}

impl<'a> Keys<'a> {
    pub(crate) fn of(run: Run<'a>) -> Self {
        let mut names: Vec<&'a str> = Vec::new();
        let mut numbers: HashMap<&'a str, usize> = HashMap::new();
        let mut see = |key: &'a str| {
            *numbers.entry(key).or_insert_with(|| {
                names.push(key);
                names.len() - 1
            })
        };
        let mut own = Vec::with_capacity(run.operations().len());
        for operation in run.operations() {
            own.push(operation.call.key().map(&mut see));
            named(operation, |key| _ = see(key));
        }
        for (_, read) in run.read_backs {
            read.rows.iter().for_each(|(key, _, _)| _ = see(key));
        }
        run.beginning_rows().for_each(|(key, _, _)| _ = see(key));
        // By name from here on, no longer as they were seen.
        let seen = names.clone();
        names.sort_unstable();
        for (number, name) in names.iter().enumerate() {
            numbers.insert(name, number);
        }
        let by_name: Vec<usize> = seen.iter().map(|name| numbers[name]).collect();
        own.iter_mut().flatten().for_each(|number| *number = by_name[*number]);
        Self { names, numbers, own }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, number: usize) -> &'a str {
        self.names[number]
    }

    /// # Panics
    /// For a key that the run does not name.
    pub(crate) fn number(&self, key: &str) -> usize {
        self.numbers[key]
    }

    /// The number of a key, if the run names it.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.numbers.get(key).copied()
    }

    /// The key that an operation is about, by the operation's place.
    ///
    /// # Panics
    /// If it is not about one key.
    pub(crate) fn own(&self, place: usize) -> usize {
        self.own[place].expect("puts, reads and deletions are about one key")
    }

    /// The numbers of all keys in a range; a single key of a range may be named by nobody else.
    pub(crate) fn within(&self, range: &KeyRange) -> Range<usize> {
        match &range.end {
            None => self.numbers.get(range.key.as_str()).map_or(0..0, |&number| number..number + 1),
            Some(end) => {
                let first = self.numbers.get(range.key.as_str()).copied().unwrap_or_else(|| {
                    self.names.partition_point(|name| *name < range.key.as_str())
                });
                // Most ranges are short: the end is looked for nearby first.
                let rest = &self.names[first..];
                let mut near = 1;
                while rest.get(near).is_some_and(|name| *name < end.as_str()) {
                    near *= 2;
                }
                let near = &rest[..near.min(rest.len())];
                first..first + near.partition_point(|name| *name < end.as_str())
            }
        }
    }
}

/// Shows every key that an operation names, in its call or in its answer, but for its own.
fn named<'a>(operation: &'a Operation, mut see: impl FnMut(&'a str)) {
    match &operation.call {
        Call::Txn { compare, then, otherwise } => {
            compare.iter().for_each(|compare| see(&compare.key));
            for op in then.iter().chain(otherwise) {
                match op {
                    TxnOp::Put { key, .. } => see(key),
                    TxnOp::Range { keys } | TxnOp::Delete { keys } => {
                        if keys.end.is_none() {
                            see(&keys.key);
                        }
                    }
                }
            }
        }
        Call::Put { .. }
        | Call::Get { .. }
        | Call::Delete { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::LeaseRevoke { .. }
        | Call::Compact { .. } => {}
    }
    for result in operation.transacted().iter().flat_map(|answer| &answer.results) {
        match result {
            TxnResult::Range(rows) => rows.iter().for_each(|row| see(&row.key)),
            TxnResult::Put | TxnResult::Deleted(_) => {}
        }
    }
}
