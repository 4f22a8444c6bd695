//! Which logical cluster answered, and which came of which: a restore begins a new one with what
//! another had written.
//!
//! ```text
//!  c1  2 ── 3 ── 4 ── 5 ── 6          snapshot at 4
//!  c2  2 ── 3 ── 4 ┄ 5 ── 6           the same up to 4, then its own: c1's 5 and 6 are lost
//! ```
//!
//! A client is told by the header of each answer which cluster gave it. A run without restores has
//! one cluster, and nothing here costs it anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lab_protocol::node_protocol::ClusterId;
use lab_protocol::{Call, Event, MemberNo, Numbered, OpId, Process, ReadBack};

use crate::history::{History, Operation};

/// What a restored cluster began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// The newest revision of the snapshot; of the oldest one, where members had different ones.
    pub(crate) snapshot: i64,
    /// Its own revision at that time.
    pub(crate) began_at: i64,
    /// The event at which the first process began that told of it: what was answered later may be
    /// its own, though clients were quicker than its members' word.
    pub(crate) seq: u64,
}

/// Up to which revision a cluster has what earlier ones wrote; of its own, everything.
pub(crate) type Ceilings = BTreeMap<ClusterId, i64>;

/// A fold of what members and answers tell of their clusters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineage {
    /// Clusters that answered or were read, in the order of their first word.
    heard: Vec<ClusterId>,
    of_member: BTreeMap<MemberNo, ClusterId>,
    answered_by: HashMap<OpId, ClusterId>,
    restored: BTreeMap<ClusterId, Beginning>,
    /// From whom a restored cluster's newest row of the snapshot is, once it was read back.
    parents: BTreeMap<ClusterId, ClusterId>,
    /// Members whose process runs and that have told their cluster since it began.
    running: BTreeSet<MemberNo>,
    /// The event at which each member's process began.
    began: BTreeMap<MemberNo, u64>,
}

impl Lineage {
    /// Takes the next event, behind the history.
    pub(crate) fn observe(&mut self, numbered: &Numbered, history: &History) {
        match &numbered.event {
            Event::RunStarted { .. } => *self = Self::default(),
            Event::Identified { member, cluster, .. } => {
                self.of_member.insert(*member, *cluster);
                self.running.insert(*member);
            }
            Event::Restored { member, cluster, revision, began_at } => {
                let (snapshot, began_at) = (*revision, *began_at);
                let seq = self.began.get(member).copied().unwrap_or(numbered.seq);
                let known =
                    self.restored.entry(*cluster).or_insert(Beginning { snapshot, began_at, seq });
                known.snapshot = known.snapshot.min(snapshot);
                known.began_at = known.began_at.max(began_at);
            }
            Event::AnsweredBy { op, cluster } => {
                self.answered_by.insert(*op, *cluster);
                self.hear(*cluster);
            }
            Event::Process { member, process: Process::Up { .. } } => {
                self.began.insert(*member, numbered.seq);
            }
            Event::Process { member, process: Process::Down { .. } | Process::Planned } => {
                self.running.remove(member);
            }
            Event::ReadBack(read) if read.failed.is_empty() => {
                if let Some(cluster) = self.of_member.get(&read.member).copied() {
                    self.hear(cluster);
                    if let Some(parent) = self.source(cluster, read, history) {
                        self.parents.insert(cluster, parent);
                    }
                }
            }
            _ => {}
        }
    }

    fn hear(&mut self, cluster: ClusterId) {
        if !self.heard.contains(&cluster) {
            self.heard.push(cluster);
        }
    }

    /// Who wrote the newest row of a restored cluster's snapshot: values are unique.
    fn source(&self, cluster: ClusterId, read: &ReadBack, history: &History) -> Option<ClusterId> {
        let ceiling = self.restored.get(&cluster)?.snapshot;
        let mut rows: Vec<_> = read.rows.iter().filter(|(_, _, at)| *at <= ceiling).collect();
        rows.sort_by_key(|(_, _, at)| std::cmp::Reverse(*at));
        rows.into_iter().find_map(|(key, value, at)| {
            let wrote = |operation: &&Operation| {
                operation.revision() == Some(*at)
                    && matches!(&operation.call, Call::Put { key: k, value: v } if k == key && v == value)
            };
            let found = history.iter().find(wrote)?;
            self.cluster(found).filter(|found| *found != cluster)
        })
    }

    /// Whether all that was heard came from one cluster.
    pub(crate) fn is_one(&self) -> bool {
        self.heard.len() < 2
    }

    /// Clusters that answered or were read, in the order of their first word.
    pub(crate) fn heard(&self) -> &[ClusterId] {
        &self.heard
    }

    /// The cluster that answered an operation; of one that was not answered, `None`.
    pub(crate) fn cluster(&self, operation: &Operation) -> Option<ClusterId> {
        if !operation.happened() {
            return None;
        }
        self.answered_by.get(&operation.op).or(self.heard.first()).copied()
    }

    /// The cluster that a member belongs to.
    pub(crate) fn of_member(&self, member: MemberNo) -> Option<ClusterId> {
        self.of_member.get(&member).copied()
    }

    /// The cluster that most running members belong to; of equals, the one heard last.
    pub(crate) fn present(&self) -> Option<ClusterId> {
        let mut counts: BTreeMap<ClusterId, usize> = BTreeMap::new();
        for member in &self.running {
            if let Some(cluster) = self.of_member.get(member) {
                *counts.entry(*cluster).or_default() += 1;
            }
        }
        let place = |cluster| self.heard.iter().position(|heard| *heard == cluster);
        let most = counts.into_iter().max_by_key(|(cluster, count)| (*count, place(*cluster)));
        most.map(|(cluster, _)| cluster).or(self.heard.last().copied())
    }

    /// What a cluster began with, if it was restored.
    pub(crate) fn beginning(&self, cluster: ClusterId) -> Option<Beginning> {
        self.restored.get(&cluster).copied()
    }

    /// The cluster that a restored one has its beginning from: the one that wrote the snapshot's
    /// newest row that was read back, else the one heard before.
    pub(crate) fn parent(&self, cluster: ClusterId) -> Option<ClusterId> {
        self.restored.get(&cluster)?;
        let before = || {
            let place = self.heard.iter().position(|heard| *heard == cluster);
            let place = place.unwrap_or(self.heard.len());
            place.checked_sub(1).map(|before| self.heard[before])
        };
        self.parents.get(&cluster).copied().or_else(before)
    }

    /// What a cluster has of itself and of those it came of.
    pub(crate) fn ceilings(&self, cluster: ClusterId) -> Ceilings {
        let mut ceilings = Ceilings::from([(cluster, i64::MAX)]);
        let (mut young, mut ceiling) = (cluster, i64::MAX);
        while let (Some(beginning), Some(old)) = (self.beginning(young), self.parent(young)) {
            ceiling = ceiling.min(beginning.snapshot);
            if ceilings.contains_key(&old) {
                break;
            }
            ceilings.insert(old, ceiling);
            young = old;
        }
        ceilings
    }

    /// Whether a cluster with these ceilings has what an operation wrote; one that was not answered
    /// may be in any.
    pub(crate) fn has(&self, ceilings: &Ceilings, operation: &Operation) -> bool {
        if self.is_one() || !operation.happened() {
            return true;
        }
        self.cluster(operation)
            .and_then(|cluster| ceilings.get(&cluster))
            .zip(operation.revision())
            .is_some_and(|(ceiling, revision)| revision <= *ceiling)
    }

    /// The operations that a later cluster was to have and has not, for it began with an older
    /// snapshot: acknowledged, and gone.
    pub(crate) fn lost<'a>(
        &'a self,
        cluster: ClusterId,
        history: &'a History,
    ) -> impl Iterator<Item = &'a Operation> {
        let ceilings = self.ceilings(cluster);
        let place = self.heard.iter().position(|heard| *heard == cluster);
        let place = place.unwrap_or(self.heard.len());
        let earlier = &self.heard[..place];
        // The same identity does not make it the same cluster: restored under the old token, it
        // went back all the same.
        let again = self.beginning(cluster);
        let undone = move |operation: &Operation| {
            again.is_some_and(|again| {
                operation.returned.as_ref().is_some_and(|(moment, _)| moment.seq < again.seq)
                    && operation.revision() > Some(again.snapshot)
            })
        };
        history.iter().filter(move |operation| match self.cluster(operation) {
            Some(of) if of == cluster => undone(operation),
            Some(of) => earlier.contains(&of) && !self.has(&ceilings, operation),
            None => false,
        })
    }
}
