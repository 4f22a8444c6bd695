//! Members' logs as they told of them: which term stands at which index.
//!
//! A status has the newest runs of terms of the log, taken in one instant together with the
//! commit and applied index, so what is concluded from one needs no other event. By the log
//! matching property index and term name an entry.

use std::collections::BTreeMap;

use lab_protocol::node_protocol::telemetry::TermRun;
use lab_protocol::node_protocol::{ClusterId, Index, Status, Term};
use lab_protocol::{Event, MemberNo, Numbered};

/// A member's log in an instant.
#[derive(Clone, Debug)]
pub(crate) struct LogSight {
    pub(crate) member: MemberNo,
    /// The event that tells of it.
    pub(crate) seq: u64,
    /// Its last entry.
    pub(crate) last: Index,
    /// Never empty, ascending. The first run may have begun earlier.
    runs: Vec<TermRun>,
}

/// Neighbouring entries of one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) first: Index,
    pub(crate) last: Index,
    pub(crate) term: Term,
}

impl LogSight {
    /// `None` when the status shows no entries.
    pub(crate) fn of(member: MemberNo, seq: u64, status: &Status) -> Option<Self> {
        let runs = status.terms.clone();
        (runs.first()?.first <= status.last).then_some(Self {
            member,
            seq,
            last: status.last,
            runs,
        })
    }

    /// The term of an entry; `None` outside what is shown.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        let place = self.runs.partition_point(|run| run.first <= index);
        let run = self.runs.get(place.checked_sub(1)?)?;
        (index <= self.last).then_some(run.term)
    }

    /// The first entry that is shown.
    pub(crate) fn oldest(&self) -> Index {
        self.runs[0].first
    }

    /// The runs, the last one ending at the last entry.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = Stretch> {
        let ends = self.runs.iter().skip(1).map(|run| Index(run.first.0 - 1));
        let ends = ends.chain([self.last]);
        self.runs.iter().zip(ends).map(|(run, last)| Stretch {
            first: run.first,
            last,
            term: run.term,
        })
    }

    /// The first entry in which two logs differ, of those that both show.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<(Index, Term, Term)> {
        let (from, to) = (self.oldest().max(other.oldest()), self.last.min(other.last));
        let starts = self.runs.iter().chain(&other.runs).map(|run| run.first.max(from));
        let starts = starts.filter(|start| *start <= to);
        let differs = |index| {
            let (one, two) = (self.term_at(index)?, other.term_at(index)?);
            (one != two).then_some((index, one, two))
        };
        starts.filter_map(differs).min()
    }
}

/// What is kept for each cluster by itself: members that are bootstrapped anew begin another one,
/// whose log has nothing to do with the first.
#[derive(Clone, Debug)]
pub(crate) struct ByCluster<T> {
    cluster: BTreeMap<MemberNo, ClusterId>,
    kept: BTreeMap<Option<ClusterId>, T>,
}

impl<T> Default for ByCluster<T> {
    fn default() -> Self {
        Self { cluster: BTreeMap::new(), kept: BTreeMap::new() }
    }
}

impl<T: Default> ByCluster<T> {
    pub(crate) fn observe(&mut self, numbered: &Numbered) {
        match &numbered.event {
            Event::RunStarted { .. } => *self = Self::default(),
            Event::Identified { member, cluster, .. } => {
                self.cluster.insert(*member, *cluster);
            }
            _ => {}
        }
    }

    /// What is kept for the cluster of a member.
    pub(crate) fn of(&mut self, member: MemberNo) -> &mut T {
        self.kept.entry(self.cluster.get(&member).copied()).or_default()
    }
}
