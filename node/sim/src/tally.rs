//! What happened in lifetimes, counted.

use std::collections::BTreeMap;

/// The counts of one lifetime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Made-up time, microseconds.
    pub simulated_micros: u64,
    /// Operations asked by clients.
    pub asked: u64,
    /// Of these, acknowledged.
    pub acknowledged: u64,
    /// Of these, by what was asked; one of [`CALLS`] each.
    pub answered: BTreeMap<&'static str, u64>,
    /// Events that watches told of.
    pub watched: u64,
    /// Watches resumed after their stream broke.
    pub resumed: u64,
    /// Watches that a compaction overtook.
    pub overtaken: u64,
    /// Of all operations, with an unknown outcome.
    pub unknown: u64,
    /// Members that became leader.
    pub elections: u64,
    /// Processes that ended without warning, whatever the fault.
    pub crashes: u64,
    /// Messages sent between members.
    pub messages: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Logs whose uncommitted end was overwritten.
    pub truncations: u64,
    /// Faults that acted, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn acted(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(crate) fn acknowledged(&mut self, call: &'static str) {
        self.acknowledged += 1;
        *self.answered.entry(call).or_default() += 1;
    }
}

/// What clients ask.
pub const CALLS: [&str; 10] = [
    "put",
    "delete",
    "read",
    "serializable read",
    "transaction",
    "compaction",
    "lease grant",
    "lease question",
    "keep-alive",
    "lease revoke",
];

/// What lifetimes are measured by.
pub const MEASURES: [(&str, u64); 5] = [
    ("acknowledged operations", 200),
    ("watched events", 100),
    ("elections", 2),
    ("crashes", 1),
    ("partitions", 1),
];

/// The counts of many lifetimes.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// All of them together.
    pub sum: Tally,
    /// How many.
    pub lifetimes: u64,
    /// Lifetimes in which a fault of the kind acted, or a call of the kind was acknowledged.
    pub lifetimes_with: BTreeMap<&'static str, u64>,
    /// For each of [`MEASURES`], count → lifetimes with so many.
    spread: [BTreeMap<u64, u64>; MEASURES.len()],
}

impl Total {
    /// Adds a lifetime.
    pub fn add(&mut self, one: &Tally) {
        self.lifetimes += 1;
        let sum = &mut self.sum;
        sum.simulated_micros += one.simulated_micros;
        sum.asked += one.asked;
        sum.acknowledged += one.acknowledged;
        sum.unknown += one.unknown;
        sum.watched += one.watched;
        sum.resumed += one.resumed;
        sum.overtaken += one.overtaken;
        sum.elections += one.elections;
        sum.crashes += one.crashes;
        sum.messages += one.messages;
        sum.snapshots += one.snapshots;
        sum.truncations += one.truncations;
        for (sum, one) in [(&mut sum.faults, &one.faults), (&mut sum.answered, &one.answered)] {
            for (kind, count) in one {
                *sum.entry(kind).or_default() += count;
                *self.lifetimes_with.entry(kind).or_default() += 1;
            }
        }
        let partitions = one.faults.get("partition").copied().unwrap_or(0);
        let measured = [one.acknowledged, one.watched, one.elections, one.crashes, partitions];
        for (spread, count) in self.spread.iter_mut().zip(measured) {
            *spread.entry(count).or_default() += 1;
        }
    }

    /// For each of [`MEASURES`], what the median lifetime has of it; 0 when there was none.
    pub fn medians(&self) -> [u64; MEASURES.len()] {
        let half = self.lifetimes / 2;
        self.spread.each_ref().map(|spread| {
            let mut before = 0;
            let reached = |(_, lifetimes): &(&u64, &u64)| {
                before += **lifetimes;
                before > half
            };
            spread.iter().find(reached).map_or(0, |(count, _)| *count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_lifetime_in_the_middle() {
        let mut total = Total::default();
        assert_eq!(total.medians(), [0; 5]);
        for (acknowledged, elections) in [(5, 1), (900, 2), (7, 1)] {
            total.add(&Tally { acknowledged, elections, ..Tally::default() });
        }
        assert_eq!(total.medians(), [7, 0, 1, 0, 0]);
        assert_eq!((total.lifetimes, total.sum.acknowledged), (3, 912));
    }
}
