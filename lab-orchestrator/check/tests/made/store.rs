//! A model of the store, as simple as it can be: etcd's keys, revisions, transactions, compactions
//! and the ends of leases, without a network.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::{
    Answer, Call, Compare, CompareTarget, KeyRange, Outcome, Row, TxnAnswer, TxnOp, TxnResult,
};

/// The store at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    pub(crate) rows: BTreeMap<String, Row>,
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    /// Leases that have ended. Those that were never granted live too.
    ended: BTreeSet<i64>,
}

impl Store {
    /// Empty, at revision 1.
    pub(crate) fn new() -> Self {
        Self { rows: BTreeMap::new(), revision: 1, compacted: -1, ended: BTreeSet::new() }
    }

    /// Does what is asked.
    pub(crate) fn apply(&mut self, call: &Call) -> Outcome {
        match call {
            Call::Put { key, value } => {
                self.revision += 1;
                self.put(key, value, 0);
                self.answer(None, 0)
            }
            Call::Get { key, .. } => {
                let row = self.rows.get(key);
                let value = row.map(|row| (row.value.clone(), row.mod_revision));
                let number = i64::from(value.is_some());
                self.answer(value, number)
            }
            Call::Delete { key } => {
                let number = i64::from(self.rows.remove(key).is_some());
                self.revision += number;
                self.answer(None, number)
            }
            Call::Txn { compare, then, otherwise } => self.txn(compare, then, otherwise),
            Call::Compact { revision } => {
                if *revision <= self.compacted || *revision > self.revision {
                    return Outcome::Fail { error: "compacted or to come".into() };
                }
                self.compacted = *revision;
                self.answer(None, 0)
            }
            Call::LeaseGrant { .. }
            | Call::LeaseTimeToLive { .. }
            | Call::LeaseKeepAlive { .. }
            | Call::LeaseRevoke { .. } => {
                panic!("no lease is asked here")
            }
        }
    }

    /// A lease ends, and its keys with it: one revision, if there were any.
    pub(crate) fn expire(&mut self, lease: i64) {
        let before = self.rows.len();
        self.rows.retain(|_, row| row.lease != lease);
        self.revision += i64::from(self.rows.len() < before);
        self.ended.insert(lease);
    }

    fn answer(&self, value: Option<(String, i64)>, number: i64) -> Outcome {
        Outcome::Ok(Answer { revision: self.revision, term: 2, value, number })
    }

    fn txn(&mut self, compare: &[Compare], then: &[TxnOp], otherwise: &[TxnOp]) -> Outcome {
        let succeeded = compare.iter().all(|compare| self.holds(compare));
        let chosen = if succeeded { then } else { otherwise };
        let ended = |op: &TxnOp| match op {
            TxnOp::Put { lease, .. } => self.ended.contains(lease),
            TxnOp::Range { .. } | TxnOp::Delete { .. } => false,
        };
        if chosen.iter().any(ended) {
            return Outcome::Fail { error: "lease not found".into() };
        }
        let before = self.revision;
        // Writes see the next revision at once; it stays only if there were any.
        self.revision += 1;
        let mut wrote = false;
        let mut results = Vec::new();
        for op in chosen {
            results.push(match op {
                TxnOp::Range { keys } => {
                    TxnResult::Range(self.within(keys).map(|row| row.1.clone()).collect())
                }
                TxnOp::Put { key, value, lease } => {
                    wrote = true;
                    self.put(key, value, *lease);
                    TxnResult::Put
                }
                TxnOp::Delete { keys } => {
                    let gone: Vec<_> = self.within(keys).map(|(key, _)| key.clone()).collect();
                    wrote |= !gone.is_empty();
                    gone.iter().for_each(|key| drop(self.rows.remove(key)));
                    TxnResult::Deleted(i64::try_from(gone.len()).expect("few"))
                }
            });
        }
        if !wrote {
            self.revision = before;
        }
        Outcome::Txn(Box::new(TxnAnswer { revision: self.revision, term: 2, succeeded, results }))
    }

    fn within(&self, keys: &KeyRange) -> impl Iterator<Item = (&String, &Row)> {
        let keys = keys.clone();
        let rows = self.rows.range(keys.key.clone()..);
        rows.take_while(move |(key, _)| keys.contains(key))
    }

    fn put(&mut self, key: &str, value: &str, lease: i64) {
        let at = self.revision;
        let new = || Row { key: key.into(), create_revision: at, ..Row::default() };
        let row = self.rows.entry(key.into()).or_insert_with(new);
        row.value = value.into();
        row.mod_revision = at;
        row.version += 1;
        row.lease = lease;
    }

    fn holds(&self, compare: &Compare) -> bool {
        let row = self.rows.get(&compare.key);
        let number = |of: fn(&Row) -> i64| row.map_or(0, of);
        match &compare.target {
            CompareTarget::Value(target) => {
                row.is_some_and(|row| compare.result.holds(&row.value, target))
            }
            CompareTarget::Version(target) => {
                compare.result.holds(&number(|row| row.version), target)
            }
            CompareTarget::CreateRevision(target) => {
                compare.result.holds(&number(|row| row.create_revision), target)
            }
            CompareTarget::ModRevision(target) => {
                compare.result.holds(&number(|row| row.mod_revision), target)
            }
        }
    }
}
