//! The Raft log in memory: all entries since the last compaction.
//!
//! The log on disk ([`crate::storage`]) is written and never read again before a restart; raft-rs
//! reads this one. Entries hold their bytes by reference count, so handing them out is cheap.

use std::collections::VecDeque;
use std::sync::Arc;

use node_protocol::telemetry::TermRun;
use node_protocol::{Index, Term};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, StorageError};

/// Tells up to which entry a snapshot could be sent right now.
///
/// Called by raft-rs in the middle of a step, so it must answer at once.
pub trait SnapshotSource: Send + Sync {
    /// The newest durable state: its index, term and configuration. `None` while there is none.
    fn newest(&self) -> Option<SnapshotPoint>;
}

/// What a snapshot is complete up to.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotPoint {
    /// Last entry applied in it.
    pub index: Index,
    /// Term of that entry.
    pub term: Term,
    /// Configuration at that entry.
    pub conf_state: ConfState,
}

/// The log.
pub struct Log {
    /// Entry before the first one kept: its index and term. Everything up to it is in the state.
    base: (Index, Term),
    entries: VecDeque<Entry>,
    hard_state: HardState,
    conf_state: ConfState,
    snapshots: Arc<dyn SnapshotSource>,
}

impl Log {
    /// A log whose entries follow `base`.
    ///
    /// `conf_state` is the configuration at the applied index; `hard_state.commit` is clamped to
    /// what the log can hold, since a commit index alone is never made durable.
    pub fn new(
        base: (Index, Term),
        entries: Vec<Entry>,
        mut hard_state: HardState,
        conf_state: ConfState,
        applied: Index,
        snapshots: Arc<dyn SnapshotSource>,
    ) -> Self {
        let last = entries.last().map_or(base.0.0, |entry| entry.index);
        hard_state.commit = hard_state.commit.max(applied.0).max(base.0.0).min(last);
        Self { base, entries: entries.into(), hard_state, conf_state, snapshots }
    }

    /// First entry kept.
    pub fn first(&self) -> Index {
        Index(self.base.0.0 + 1)
    }

    /// Last entry kept, or the base if there is none.
    pub fn last(&self) -> Index {
        Index(self.base.0.0 + self.entries.len() as u64)
    }

    /// Term of an entry, the base included; `None` outside the log.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        self.entry(index).map(|entry| Term(entry.term))
    }

    /// An entry; `None` outside the log.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.first().0)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Entries after an index, ascending.
    pub fn entries_after(&self, index: Index) -> impl Iterator<Item = &Entry> {
        let offset = (index.0 + 1).saturating_sub(self.first().0);
        self.entries.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX))
    }

    /// The hard state as last stored.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Stores a hard state.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Notes a commit index; it need not be durable.
    pub fn set_commit(&mut self, commit: Index) {
        self.hard_state.commit = commit.0;
    }

    /// Notes the configuration that applies from now on.
    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    /// Appends entries; a conflicting suffix is overwritten.
    ///
    /// Returns the first index that was overwritten with the entry's former term, if any.
    ///
    /// # Panics
    /// If the entries do not follow on the log, or reach below its start: raft-rs never asks that.
    pub fn append(&mut self, entries: &[Entry]) -> Option<(Index, Term)> {
        let first_new = entries.first()?.index;
        assert!(
            first_new >= self.first().0 && first_new <= self.last().0 + 1,
            "entries from {first_new} do not follow on a log of {}..={}",
            self.first(),
            self.last()
        );
        let keep = usize::try_from(first_new - self.first().0).expect("a log fits in memory");
        let overwritten =
            self.entries.get(keep).map(|entry| (Index(entry.index), Term(entry.term)));
        self.entries.truncate(keep);
        self.entries.extend(entries.iter().cloned());
        overwritten
    }

    /// Drops entries up to and including `up_to`; the base moves there.
    pub fn compact(&mut self, up_to: Index) {
        let Some(term) = self.term_at(up_to) else { return };
        let gone = usize::try_from(up_to.0 - self.base.0.0).expect("a log fits in memory");
        self.entries.drain(..gone);
        self.base = (up_to, term);
    }

    /// Empties the log after a snapshot: it goes on behind `point`.
    pub fn reset(&mut self, point: &SnapshotPoint) {
        self.entries.clear();
        self.base = (point.index, point.term);
        self.hard_state.commit = self.hard_state.commit.max(point.index.0);
        self.hard_state.term = self.hard_state.term.max(point.term.0);
        self.conf_state = point.conf_state.clone();
    }

    /// The terms of the log, oldest first, at most `most` runs (the newest).
    pub fn term_runs(&self, most: usize) -> Vec<TermRun> {
        let mut runs = Vec::new();
        // Terms only grow along a log: find each run's start by halving from the end.
        let mut end = self.entries.len();
        while end > 0 && runs.len() < most {
            let term = self.entries[end - 1].term;
            let start = self.entries.partition_point(|entry| entry.term < term);
            runs.push(TermRun { first: Index(self.entries[start].index), term: Term(term) });
            end = start;
        }
        runs.reverse();
        runs
    }
}

impl raft::Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first().0 {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last().0 + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let first = self.first().0;
        let place = |index: u64| usize::try_from(index - first).expect("a log fits in memory");
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0u64;
        let mut taken = Vec::new();
        for entry in self.entries.range(place(low)..place(high)) {
            bytes += 32 + (entry.data.len() + entry.context.len()) as u64;
            if bytes > limit && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.base.0.0 {
            return Err(StorageError::Compacted.into());
        }
        self.term_at(Index(index))
            .map(|term| term.0)
            .ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first().0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().0)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let point = self.snapshots.newest().filter(|point| point.index.0 >= request_index);
        let Some(point) = point else {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = point.index.0;
        metadata.term = point.term.0;
        metadata.set_conf_state(point.conf_state);
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use raft::Storage;

    use super::*;

    struct NoSnapshots;

    impl SnapshotSource for NoSnapshots {
        fn newest(&self) -> Option<SnapshotPoint> {
            None
        }
    }

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![0; 10].into(), ..Entry::default() }
    }

    fn log(base: u64, terms: &[u64]) -> Log {
        let entries =
            terms.iter().zip(base + 1..).map(|(&term, index)| entry(index, term)).collect();
        Log::new(
            (Index(base), Term(1)),
            entries,
            HardState::default(),
            ConfState::default(),
            Index(base),
            Arc::new(NoSnapshots),
        )
    }

    #[test]
    fn the_base_answers_for_its_term_and_nothing_else() {
        let log = log(3, &[2, 2]);
        assert_eq!(log.term(3).expect("the base has a term"), 1);
        assert_eq!(log.term(5).expect("the last entry has a term"), 2);
        assert!(matches!(log.term(2), Err(raft::Error::Store(StorageError::Compacted))));
        assert!(matches!(log.term(6), Err(raft::Error::Store(StorageError::Unavailable))));
    }

    #[test]
    fn a_conflicting_suffix_is_overwritten_and_told() {
        let mut log = log(0, &[1, 1, 2, 2]);
        assert_eq!(log.append(&[entry(5, 2)]), None);
        assert_eq!(log.append(&[entry(3, 3)]), Some((Index(3), Term(2))));
        assert_eq!(log.last(), Index(3));
        assert_eq!(log.hard_state().commit, 0);
    }

    #[test]
    fn term_runs_are_the_newest_and_ascending() {
        let log = log(0, &[1, 1, 4, 4, 4, 9]);
        let runs: Vec<_> = log.term_runs(2).iter().map(|run| (run.first.0, run.term.0)).collect();
        assert_eq!(runs, [(3, 4), (6, 9)]);
    }

    #[test]
    fn compaction_keeps_the_rest_and_the_term_at_its_point() {
        let mut log = log(0, &[1, 1, 2, 2]);
        log.compact(Index(3));
        assert_eq!((log.first(), log.last()), (Index(4), Index(4)));
        assert_eq!(log.term_at(Index(3)), Some(Term(2)));
        log.compact(Index(1));
        assert_eq!(log.first(), Index(4), "what is gone stays gone");
    }

    #[test]
    fn a_page_of_entries_holds_at_least_one() {
        let log = log(0, &[1, 1, 1]);
        let page = log.entries(1, 4, 50, GetEntriesContext::empty(false)).expect("in range");
        assert_eq!(page.len(), 1);
        let all = log.entries(1, 4, None, GetEntriesContext::empty(false)).expect("in range");
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn a_commit_index_beyond_the_log_is_clamped() {
        let hard_state = HardState { commit: 9, ..HardState::default() };
        let log = Log::new(
            (Index(3), Term(1)),
            vec![entry(4, 1)],
            hard_state,
            ConfState::default(),
            Index(3),
            Arc::new(NoSnapshots),
        );
        assert_eq!(log.hard_state().commit, 4);
    }
}
