//! What the rules read: the operations with their place in time, and words for what is broken.

use lab_protocol::{Call, ReadBack, TxnResult};

use crate::history::{History, Operation};

/// A promise that was broken: why, and the events that show it.
pub(crate) type Broken = (String, Vec<u64>);

/// Somebody who was told something of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Nobody: a new cluster is empty and at revision 1.
    #[default]
    Start,
    /// The operation asked after so many others.
    Operation(usize),
    /// So manieth reading of all keys by the lab itself.
    ReadBack(usize),
}

impl Who {
    /// The place of the operation, if it is one.
    pub(crate) fn place(self) -> Option<usize> {
        match self {
            Self::Operation(place) => Some(place),
            Self::Start | Self::ReadBack(_) => None,
        }
    }
}

/// The highest revision that was told to anybody before a moment, and to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    pub(crate) revision: i64,
    pub(crate) who: Who,
}

impl Floor {
    /// A new cluster.
    pub(crate) const START: Self = Self { revision: 1, who: Who::Start };

    pub(crate) fn raise(&mut self, revision: i64, who: Who) {
        if revision > self.revision {
            *self = Self { revision, who };
        }
    }
}

/// Everything of one cluster.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) history: &'a History,
    /// Of each operation, when it was asked.
    pub(crate) floors: &'a [Floor],
    /// At the end.
    pub(crate) last: Floor,
    /// With the events that tell of them.
    pub(crate) read_backs: &'a [(u64, ReadBack)],
    /// From the first revision that a restore left out to the first behind them; nobody made those.
    pub(crate) left_out: (i64, i64),
    /// What was there when this window of a run began; nothing in a new cluster.
    pub(crate) beginning: Option<&'a ReadBack>,
}

impl<'a> Run<'a> {
    /// The revision behind which it is judged: who made those up to it is past.
    pub(crate) fn begins_at(&self) -> i64 {
        self.beginning.map_or(Floor::START.revision, |read| read.revision)
    }

    /// The rows that were there then: key, value and the revision that wrote it.
    pub(crate) fn beginning_rows(&self) -> impl Iterator<Item = (&'a str, &'a str, i64)> {
        let rows = self.beginning.map_or(&[][..], |read| read.rows.as_slice());
        rows.iter().map(|(key, value, revision)| (key.as_str(), value.as_str(), *revision))
    }

    pub(crate) fn operations(&self) -> &'a [Operation] {
        self.history.operations()
    }

    pub(crate) fn words(&self, who: Who) -> String {
        match who {
            Who::Start if self.beginning.is_some() => "whatever came before".into(),
            Who::Start => "the new cluster".into(),
            Who::Operation(place) => self.operations()[place].words(),
            Who::ReadBack(place) => format!("reading back {}", self.read_backs[place].1.member),
        }
    }

    /// Something that `who` was told does not fit what `other` was told.
    pub(crate) fn broken(&self, who: Who, other: Who, why: impl AsRef<str>) -> Broken {
        let mut evidence = self.evidence(other);
        if other != who {
            evidence.extend(self.evidence(who));
        }
        (format!("{} {}", self.words(who), why.as_ref()), evidence)
    }

    fn evidence(&self, who: Who) -> Vec<u64> {
        match who {
            Who::Start => vec![],
            Who::Operation(place) => self.operations()[place].evidence(),
            Who::ReadBack(place) => vec![self.read_backs[place].0],
        }
    }
}

/// The revision that an operation made, if it is known to have made one: a deletion of nothing
/// makes none, nor does a transaction that wrote nothing.
pub(crate) fn made(operation: &Operation) -> Option<i64> {
    let wrote = match &operation.call {
        Call::Put { .. } => true,
        Call::Delete { .. } => {
            operation.acknowledged().is_some_and(|(_, answer)| answer.number > 0)
        }
        Call::Txn { .. } => operation.transacted()?.results.iter().any(|result| match result {
            TxnResult::Put => true,
            TxnResult::Deleted(number) => *number > 0,
            TxnResult::Range(_) => false,
        }),
        // A revoke made one if keys were attached, and does not say: its revision counts as a gap
        // that the end of the lease may fill.
        Call::Get { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::LeaseRevoke { .. }
        | Call::Compact { .. } => false,
    };
    operation.revision().filter(|_| wrote)
}

/// Whether its outcome is unknown and it may have written.
pub(crate) fn is_open_write(operation: &Operation) -> bool {
    !operation.happened() && operation.may_have_happened() && writes_keys(&operation.call)
}

/// Whether keys may change by it.
fn writes_keys(call: &Call) -> bool {
    match call {
        Call::Put { .. } | Call::Delete { .. } | Call::Txn { .. } => call.is_write(),
        Call::Get { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::LeaseRevoke { .. }
        | Call::Compact { .. } => false,
    }
}
