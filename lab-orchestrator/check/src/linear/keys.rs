//! The keys of a run by small numbers, ascending by name.

use std::collections::HashMap;
use std::ops::Range;

use lab_protocol::{Call, KeyRange, TxnOp, TxnResult};

use super::run::Run;
use crate::history::Operation;

/// Every key that a run names. A key's number is its place among them.
pub(super) struct Keys<'a> {
    names: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(run: Run<'a>) -> Self {
        let mut numbers: HashMap<&'a str, usize> = HashMap::new();
        let mut see = |key: &'a str| {
            numbers.insert(key, 0);
        };
        for operation in run.operations() {
            named(operation, &mut see);
        }
        for (_, read) in run.read_backs {
            read.rows.iter().for_each(|(key, _, _)| see(key));
        }
        let mut names: Vec<_> = numbers.keys().copied().collect();
        names.sort_unstable();
        for (number, name) in names.iter().enumerate() {
            numbers.insert(name, number);
        }
        Self { names, numbers }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn name(&self, number: usize) -> &'a str {
        self.names[number]
    }

    /// # Panics
    /// For a key that the run does not name.
    pub(super) fn number(&self, key: &str) -> usize {
        self.numbers[key]
    }

    /// The numbers of all keys in a range; a single key of a range may be named by nobody else.
    pub(super) fn within(&self, range: &KeyRange) -> Range<usize> {
        match &range.end {
            None => self.numbers.get(range.key.as_str()).map_or(0..0, |&number| number..number + 1),
            Some(end) => {
                let first = self.names.partition_point(|name| *name < range.key.as_str());
                let behind = self.names.partition_point(|name| *name < end.as_str());
                first..behind.max(first)
            }
        }
    }
}

/// Shows every key that an operation names, in its call or in its answer.
fn named<'a>(operation: &'a Operation, see: &mut impl FnMut(&'a str)) {
    match &operation.call {
        Call::Put { key, .. } | Call::Get { key, .. } | Call::Delete { key } => see(key),
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
        Call::LeaseGrant { .. } | Call::LeaseTimeToLive { .. } | Call::Compact { .. } => {}
    }
    for result in operation.transacted().iter().flat_map(|answer| &answer.results) {
        match result {
            TxnResult::Range(rows) => rows.iter().for_each(|row| see(&row.key)),
            TxnResult::Put | TxnResult::Deleted(_) => {}
        }
    }
}
