//! What can go wrong: answers every member gives alike, and failures only this one has.
//!
//! ```text
//!   KvError     deterministic: part of the answer, equal on every member
//!   RowsError   this member's disk: no answer at all; the node must stop
//!   ReadError   either of the two, from a read
//! ```

use std::error::Error;

use super::change::Table;
use super::row::{RowError, RowKey};

/// gRPC's number of a status code, as used in [`KvError::client_error`].
pub type CodeNumber = i32;

/// Why a request is refused. Every member refuses it alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KvError {
    /// A key is empty.
    #[error("the key is empty")]
    KeyNotProvided,
    /// `ignore_value` or `ignore_lease` on a key that does not exist; also etcd's answer to an
    /// operation of a transaction that says nothing.
    #[error("the key does not exist")]
    KeyNotFound,
    /// `ignore_value` together with a value.
    #[error("a value is given that is to be ignored")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("a lease is given that is to be ignored")]
    LeaseProvided,
    /// More comparisons or operations than `--max-txn-ops`.
    #[error("the transaction has too many operations")]
    TooManyOps,
    /// A transaction writes the same key twice.
    #[error("the transaction writes a key twice")]
    DuplicateKey,
    /// There is no such lease (any more).
    #[error("the lease does not exist")]
    LeaseNotFound,
    /// A lease with this id exists already.
    #[error("the lease exists already")]
    LeaseExists,
    /// The wanted time to live is beyond [`MAX_LEASE_TTL_SECONDS`](super::MAX_LEASE_TTL_SECONDS).
    #[error("the lease's time to live is too large")]
    LeaseTtlTooLarge,
    /// The revision asked for is compacted.
    #[error("the revision is compacted")]
    Compacted,
    /// The revision asked for is not written yet.
    #[error("the revision is in the future")]
    FutureRevision,
    /// What is to be sorted by is none of the fields of a key.
    #[error("keys cannot be sorted by that")]
    SortUnknown,
    /// A member's state is larger than its quota, and the request would make it grow.
    #[error("a member is out of space")]
    NoSpace,
    /// Members' states are known to differ.
    #[error("the cluster is corrupt")]
    Corrupt,
}

impl KvError {
    /// gRPC's code number and etcd's exact text. Clients compare both.
    ///
    /// Source: `etcd-io/etcd api/v3rpc/rpctypes/error.go`.
    pub fn client_error(self) -> (CodeNumber, &'static str) {
        const INVALID_ARGUMENT: CodeNumber = 3;
        const NOT_FOUND: CodeNumber = 5;
        const RESOURCE_EXHAUSTED: CodeNumber = 8;
        const FAILED_PRECONDITION: CodeNumber = 9;
        const OUT_OF_RANGE: CodeNumber = 11;
        const DATA_LOSS: CodeNumber = 15;
        match self {
            Self::KeyNotProvided => (INVALID_ARGUMENT, "etcdserver: key is not provided"),
            Self::KeyNotFound => (INVALID_ARGUMENT, "etcdserver: key not found"),
            Self::ValueProvided => (INVALID_ARGUMENT, "etcdserver: value is provided"),
            Self::LeaseProvided => (INVALID_ARGUMENT, "etcdserver: lease is provided"),
            Self::TooManyOps => {
                (INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
            }
            Self::DuplicateKey => {
                (INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
            }
            Self::LeaseNotFound => (NOT_FOUND, "etcdserver: requested lease not found"),
            Self::LeaseExists => (FAILED_PRECONDITION, "etcdserver: lease already exists"),
            Self::LeaseTtlTooLarge => (OUT_OF_RANGE, "etcdserver: too large lease TTL"),
            Self::Compacted => {
                (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
            }
            Self::FutureRevision => {
                (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
            }
            Self::SortUnknown => (INVALID_ARGUMENT, "etcdserver: invalid sort option"),
            Self::NoSpace => (RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
            Self::Corrupt => (DATA_LOSS, "etcdserver: corrupt cluster"),
        }
    }
}

/// This member cannot read its own state. Others may be able to, so this is never an answer: the
/// node stops, and starts again from its log.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The disk or the database on it failed.
    #[error("the state's rows cannot be read")]
    Disk(#[source] Box<dyn Error + Send + Sync>),
    /// The index knows a row that is not stored.
    #[error("row {}_{} is missing from the state", .0.main, .0.sub)]
    Missing(RowKey),
    /// A stored row is not one.
    #[error("row {}_{} of the state is damaged", key.main, key.sub)]
    Damaged {
        /// Which row.
        key: RowKey,
        /// What is wrong with it.
        #[source]
        source: RowError,
    },
}

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The request is refused; the client is told.
    #[error(transparent)]
    Refused(#[from] KvError),
    /// This member's state cannot be read; the node stops.
    #[error(transparent)]
    Rows(#[from] RowsError),
}

/// Why stored tables are not a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {key:02x?} of the table {table:?} is not readable: {reason}")]
pub struct LoadError {
    /// Where.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong with it.
    pub reason: &'static str,
}
