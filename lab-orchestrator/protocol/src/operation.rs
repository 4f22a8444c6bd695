//! Client operations: what was asked of the cluster and what came back.
//!
//! An operation is invoked and then returns ok, fail or info (Jepsen's words). *Info* is an
//! unknown outcome: the write may have happened, may still happen, or never will.

use serde::{Deserialize, Serialize};

use crate::{Compare, TxnAnswer, TxnOp};

/// One operation, numbered from 1 in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub u64);

/// One client of the lab: it holds one connection at a time and, as an etcd client does, may have
/// several operations open on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientNo(pub u32);

impl ClientNo {
    /// Clients from this number on make single calls through one member and never turn to
    /// another; the workload's clients count from 1.
    pub const FIRST_PINNED: u32 = 900;

    /// Clients from this number on run errands of a mix.
    pub const FIRST_MIXED: u32 = 500;

    /// Clients from this number on watch as errands of a mix.
    pub const FIRST_MIXED_WATCHING: u32 = 850;

    /// Clients from this number on watch, and ask nothing else.
    pub const FIRST_WATCHING: u32 = 800;

    /// Whether it runs errands of a mix.
    pub fn is_mixed(self) -> bool {
        (Self::FIRST_MIXED..Self::FIRST_WATCHING).contains(&self.0)
    }

    /// Whether it never turns to another member.
    pub fn is_pinned(self) -> bool {
        self.0 >= Self::FIRST_PINNED
    }
}

/// What a client asks.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Writes a key. The lab's values are unique within a run.
    Put { key: String, value: String },
    /// Reads a key; serializable reads are answered by the asked member alone.
    Get { key: String, serializable: bool },
    /// Deletes a key.
    Delete { key: String },
    /// Grants a lease of so many seconds.
    LeaseGrant { ttl_seconds: u32 },
    /// Asks how long a lease has left.
    LeaseTimeToLive { lease: i64 },
    /// Makes one list of operations when all compares hold, else the other.
    Txn { compare: Vec<Compare>, then: Vec<TxnOp>, otherwise: Vec<TxnOp> },
    /// Drops the history before a revision.
    Compact { revision: i64 },
    /// Gives a lease its full time again.
    LeaseKeepAlive { lease: i64 },
    /// Ends a lease, and deletes the keys that are attached to it.
    LeaseRevoke { lease: i64 },
}

impl Call {
    /// Whether the cluster's state may change by it.
    pub fn is_write(&self) -> bool {
        match self {
            Self::Put { .. }
            | Self::Delete { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseRevoke { .. }
            | Self::Compact { .. } => true,
            // How long leases live is no part of the state that is replicated.
            Self::Get { .. } | Self::LeaseTimeToLive { .. } | Self::LeaseKeepAlive { .. } => false,
            Self::Txn { compare: _, then, otherwise } => {
                then.iter().chain(otherwise).any(TxnOp::is_write)
            }
        }
    }

    /// The one key it is about, if it is about one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Put { key, .. } | Self::Get { key, .. } | Self::Delete { key } => Some(key),
            Self::LeaseGrant { .. }
            | Self::LeaseTimeToLive { .. }
            | Self::LeaseKeepAlive { .. }
            | Self::LeaseRevoke { .. }
            | Self::Txn { .. }
            | Self::Compact { .. } => None,
        }
    }
}

/// What a client was told.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The operation happened.
    Ok(Answer),
    /// It did not happen and never will.
    Fail { error: String },
    /// Unknown: it may have happened or may still.
    Info { error: String },
    /// The transaction happened.
    Txn(Box<TxnAnswer>),
}

impl Outcome {
    /// Whether the operation is known to have happened.
    pub fn is_ok(&self) -> bool {
        match self {
            Self::Ok(_) | Self::Txn(_) => true,
            Self::Fail { .. } | Self::Info { .. } => false,
        }
    }
}

/// What an operation that happened gave back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The revision in the answer's header.
    pub revision: i64,
    /// The term in the answer's header.
    pub term: u64,
    /// What a read saw: the value and the revision that wrote it; `None` when the key was absent.
    pub value: Option<(String, i64)>,
    /// Keys deleted, or the lease granted, or seconds left; 0 where the call has no number. Of a
    /// lease that is gone, -1 are left when its time is asked, and 0 when it was to be kept alive.
    pub number: i64,
}
