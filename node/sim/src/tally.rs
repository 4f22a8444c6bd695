//! What happened in lifetimes, counted.

use std::collections::BTreeMap;

/// The counts of one lifetime, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lifetimes counted here; 0 in the counts of a single one.
    pub lifetimes: u64,
    /// Made-up time, microseconds.
    pub simulated_micros: u64,
    /// Operations asked by clients, acknowledged, and ended unknown.
    pub asked: u64,
    /// Of these, acknowledged.
    pub acknowledged: u64,
    /// Of these, with an unknown outcome.
    pub unknown: u64,
    /// Members that became leader.
    pub elections: u64,
    /// Messages sent between members.
    pub messages: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Logs whose uncommitted end was overwritten.
    pub truncations: u64,
    /// Faults that acted, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Lifetimes in which a fault of the kind acted.
    pub lifetimes_with: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn acted(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Adds the counts of one lifetime.
    pub fn add(&mut self, one: &Self) {
        self.lifetimes += 1;
        self.simulated_micros += one.simulated_micros;
        self.asked += one.asked;
        self.acknowledged += one.acknowledged;
        self.unknown += one.unknown;
        self.elections += one.elections;
        self.messages += one.messages;
        self.snapshots += one.snapshots;
        self.truncations += one.truncations;
        for (kind, count) in &one.faults {
            *self.faults.entry(kind).or_default() += count;
            *self.lifetimes_with.entry(kind).or_default() += 1;
        }
    }

    /// Adds the counts of many.
    pub fn merge(&mut self, other: &Self) {
        let lifetimes = self.lifetimes + other.lifetimes;
        let with = other.lifetimes_with.iter();
        let mut lifetimes_with = self.lifetimes_with.clone();
        with.for_each(|(kind, count)| *lifetimes_with.entry(kind).or_default() += count);
        self.add(other);
        (self.lifetimes, self.lifetimes_with) = (lifetimes, lifetimes_with);
    }
}
