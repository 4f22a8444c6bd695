//! What is gathered while a run goes by: its operations, and what was known when each was asked.

use std::borrow::Cow;
use std::ops::Range;

use lab_protocol::node_protocol::ClusterId;
use lab_protocol::{Call, Event, Numbered, ReadBack};

use super::order::Order;
use super::run::{Broken, Floor, Run, Who, made};
use crate::history::{History, Operation};
use crate::lineage::Lineage;

/// Everything of a run, or of one logical cluster in it.
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    history: History,
    lineage: Lineage,
    /// What was known when each operation was asked, in that order.
    floors: Vec<Floor>,
    floor: Floor,
    /// Reads of all keys by the lab itself.
    read_backs: Vec<(u64, ReadBack)>,
    /// Of each of those, the cluster that was read.
    read_clusters: Vec<Option<ClusterId>>,
    /// Revisions that nobody made: those that a restore left out.
    left_out: Range<i64>,
    /// What was there when a window of a run began.
    beginning: Option<ReadBack>,
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            history: History::default(),
            lineage: Lineage::default(),
            floors: Vec::new(),
            floor: Floor::START,
            read_backs: Vec::new(),
            read_clusters: Vec::new(),
            left_out: 0..0,
            beginning: None,
        }
    }
}

impl Gathered {
    pub(crate) fn observe(&mut self, numbered: &Numbered) {
        if let Event::RunStarted { .. } = numbered.event {
            *self = Self::default();
        }
        self.history.observe(numbered);
        self.lineage.observe(numbered, &self.history);
        match &numbered.event {
            Event::Invoked { .. } => self.floors.push(self.floor),
            Event::Returned { op, .. } => {
                if let Some(place) = self.history.place(*op) {
                    self.returned(place);
                }
            }
            Event::ReadBack(read) if read.failed.is_empty() => {
                self.read_clusters.push(self.lineage.of_member(read.member));
                self.read_back(numbered.seq, read.as_ref().clone());
            }
            _ => {}
        }
    }

    /// Everything up to now is past: this was there.
    pub(crate) fn begin_with(&mut self, read: &ReadBack) {
        self.floor = Floor { revision: read.revision, who: Who::Start };
        self.left_out = Floor::START.revision + 1..read.revision + 1;
        self.beginning = Some(read.clone());
    }

    fn returned(&mut self, place: usize) {
        if let Some(revision) = self.history.operations()[place].revision() {
            self.floor.raise(revision, Who::Operation(place));
        }
    }

    fn read_back(&mut self, seq: u64, read: ReadBack) {
        self.floor.raise(read.revision, Who::ReadBack(self.read_backs.len()));
        self.read_backs.push((seq, read));
    }

    pub(crate) fn run(&self) -> Run<'_> {
        Run {
            history: &self.history,
            floors: &self.floors,
            last: self.floor,
            read_backs: &self.read_backs,
            left_out: (self.left_out.start, self.left_out.end),
            beginning: self.beginning.as_ref(),
        }
    }

    /// The one order of all operations, or what speaks against it.
    pub(crate) fn order(&self) -> Result<Order<'_>, Broken> {
        Order::of(self.run())
    }

    /// Each logical cluster by itself, with what it began with: a run is one unless something was
    /// restored or bootstrapped anew in it.
    pub(crate) fn clusters(&self) -> Vec<Cow<'_, Self>> {
        match self.lineage.is_one() {
            true => vec![Cow::Borrowed(self)],
            false => {
                let heard = self.lineage.heard().iter();
                heard.map(|cluster| Cow::Owned(self.of(*cluster))).collect()
            }
        }
    }

    /// What one cluster wrote and said, behind what it began with.
    fn of(&self, cluster: ClusterId) -> Self {
        let ceilings = self.lineage.ceilings(cluster);
        let own = |operation: &Operation| self.lineage.cluster(operation) == Some(cluster);
        // Whatever earlier clusters only read, and what they compacted, is judged with them.
        let wrote = |operation: &Operation| {
            made(operation).is_some() || matches!(operation.call, Call::LeaseRevoke { .. })
        };
        let belongs = |operation: &&Operation| match operation.happened() {
            true => self.lineage.has(&ceilings, operation) && (own(operation) || wrote(operation)),
            false => true,
        };
        let operations: Vec<_> = self.history.iter().filter(belongs).cloned().collect();
        let mut gathered = Self::default();
        let mut beginning = Floor::START;
        if let Some(begun) = self.lineage.beginning(cluster) {
            beginning.revision = begun.began_at;
            gathered.left_out = begun.snapshot + 1..begun.began_at + 1;
        }
        gathered.replay(operations, &self.read_backs_of(cluster), |operation, floor| {
            if own(operation) && beginning.revision > floor.revision { beginning } else { floor }
        });
        gathered
    }

    fn read_backs_of(&self, cluster: ClusterId) -> Vec<(u64, ReadBack)> {
        let reads = self.read_backs.iter().zip(&self.read_clusters);
        let of_it = reads.filter(|(_, of)| of.is_none_or(|of| of == cluster));
        of_it.map(|(read, _)| read.clone()).collect()
    }

    /// Gathers operations anew, each with what was known of the others when it was asked.
    fn replay(
        &mut self,
        operations: Vec<Operation>,
        read_backs: &[(u64, ReadBack)],
        floor: impl Fn(&Operation, Floor) -> Floor,
    ) {
        enum Moment {
            Asked(usize),
            Returned(usize),
            Read(usize),
        }
        let mut moments = Vec::with_capacity(2 * operations.len());
        for (place, operation) in operations.iter().enumerate() {
            moments.push((operation.invoked.seq, Moment::Asked(place)));
            if let Some((returned, _)) = &operation.returned {
                moments.push((returned.seq, Moment::Returned(place)));
            }
        }
        let reads = read_backs.iter().enumerate();
        moments.extend(reads.map(|(place, (seq, _))| (*seq, Moment::Read(place))));
        moments.sort_by_key(|(seq, _)| *seq);
        self.history = History::of(operations);
        for (_, moment) in moments {
            match moment {
                Moment::Asked(place) => {
                    let known = floor(&self.history.operations()[place], self.floor);
                    self.floors.push(known);
                }
                Moment::Returned(place) => self.returned(place),
                Moment::Read(place) => {
                    let (seq, read) = read_backs[place].clone();
                    self.read_back(seq, read);
                }
            }
        }
    }
}
