//! Transactions as clients ask them, and the rows of the key space that clients are told.
//!
//! All of a transaction happens at one revision: it compares, then makes one list of operations
//! or the other, in order; later operations see what earlier ones did
//! (`etcd-io/etcd api/etcdserverpb/rpc.proto`, `TxnRequest`).

use serde::{Deserialize, Serialize};

/// A question about one key; a transaction's compares hold when all of them do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// How what is found must stand to the target.
    pub result: CompareResult,
    /// What is compared, and with what.
    pub target: CompareTarget,
}

/// How what is found must stand to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareResult {
    /// It is the same.
    Equal,
    /// It is more.
    Greater,
    /// It is less.
    Less,
    /// It is another.
    NotEqual,
}

impl CompareResult {
    /// Whether it holds for what was found and the target.
    pub fn holds<T: Ord + ?Sized>(self, found: &T, target: &T) -> bool {
        match self {
            Self::Equal => found == target,
            Self::Greater => found > target,
            Self::Less => found < target,
            Self::NotEqual => found != target,
        }
    }
}

/// What is compared, and with what. Of a key that is absent the three numbers are 0, and no
/// comparison of its value holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareTarget {
    /// The value, byte by byte.
    Value(String),
    /// Writes of the key since it was created, the creation included.
    Version(i64),
    /// The revision that created the key.
    CreateRevision(i64),
    /// The revision that last wrote the key.
    ModRevision(i64),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOp {
    /// Reads keys, ascending.
    Range {
        /// Which.
        keys: KeyRange,
    },
    /// Writes a key. The lab's values are unique within a run.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The lease that it is attached to; 0 for none.
        lease: i64,
    },
    /// Deletes keys.
    Delete {
        /// Which.
        keys: KeyRange,
    },
}

impl TxnOp {
    /// Whether the cluster's state may change by it.
    pub fn is_write(&self) -> bool {
        match self {
            Self::Put { .. } | Self::Delete { .. } => true,
            Self::Range { .. } => false,
        }
    }
}

/// One key, or all keys from one up to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The key, or the first.
    pub key: String,
    /// The first key behind the range; `None` for the one key.
    pub end: Option<String>,
}

impl KeyRange {
    /// The range of one key.
    pub fn one(key: impl Into<String>) -> Self {
        Self { key: key.into(), end: None }
    }

    /// Whether a key is in it.
    pub fn contains(&self, key: &str) -> bool {
        match &self.end {
            None => key == self.key,
            Some(end) => self.key.as_str() <= key && key < end.as_str(),
        }
    }
}

/// What a transaction that happened gave back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TxnAnswer {
    /// The revision in the answer's header: the one it made, or for one that wrote nothing the
    /// one it saw.
    pub revision: i64,
    /// The term in the answer's header.
    pub term: u64,
    /// Whether its compares held.
    pub succeeded: bool,
    /// What each operation of the list that was made gave back, in order.
    pub results: Vec<TxnResult>,
}

/// What one operation of a transaction gave back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TxnResult {
    /// The keys that were there, ascending.
    Range(Vec<Row>),
    /// The key was written.
    Put,
    /// So many keys were deleted.
    Deleted(i64),
}

/// A key with what etcd keeps of it (`etcd-io/etcd api/mvccpb/kv.proto`, `KeyValue`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The revision that created it.
    pub create_revision: i64,
    /// The revision that last wrote it.
    pub mod_revision: i64,
    /// Writes since it was created, the creation included.
    pub version: i64,
    /// The lease it is attached to; 0 for none.
    pub lease: i64,
}
