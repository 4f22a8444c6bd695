//! Watches as clients see them: what was asked, and every response.
//!
//! A watch is one intent of one client. Its stream may break and be resumed at another member
//! from the revision behind the last that was seen; the watch keeps its number, and etcd's
//! promises hold across its streams (etcd's documentation, *KV API guarantees*, "Watch APIs").

use serde::{Deserialize, Serialize};

use crate::{KeyRange, Row};

/// One watch, numbered from 1 in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WatchId(pub u64);

/// What a client asks to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// Changes of which keys.
    pub keys: KeyRange,
    /// From which revision on; 0 for everything behind the revision of the answer.
    pub start_revision: i64,
    /// What is left out.
    pub filters: Vec<WatchFilter>,
    /// Whether each event carries the row before it.
    pub prev_kv: bool,
    /// Whether a quiet watch is told from time to time how far it has come.
    pub progress_notify: bool,
}

/// Events that a watch leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchFilter {
    /// No puts.
    NoPut,
    /// No deletions.
    NoDelete,
}

/// One response of a watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WatchResponse {
    /// The revision in its header.
    pub revision: i64,
    /// What it says.
    pub told: WatchTold,
}

impl WatchResponse {
    /// The revision at which the watch would go on elsewhere once this was heard, of one that would
    /// have gone on at `before`; `None` when the watch has ended.
    pub fn goes_on_at(&self, before: Option<i64>) -> Option<i64> {
        let next = match &self.told {
            WatchTold::Created if before.is_some() => before?,
            WatchTold::Created | WatchTold::Progress => self.revision + 1,
            WatchTold::Events(events) => events.last()?.row.mod_revision + 1,
            WatchTold::Compacted { .. } | WatchTold::Canceled { .. } => return None,
        };
        Some(before.map_or(next, |before| before.max(next)))
    }
}

/// What a response of a watch says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WatchTold {
    /// The watch is open.
    Created,
    /// Keys changed, in this order.
    Events(Vec<WatchEvent>),
    /// Nothing more will come of the header's revision or an earlier one: a bookmark.
    Progress,
    /// The start is no longer in the history, and the watch has ended.
    Compacted {
        /// The first revision that can still be watched.
        compact_revision: i64,
    },
    /// The member ended the watch.
    Canceled {
        /// Why, in the member's words.
        why: String,
    },
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WatchEvent {
    /// What happened.
    pub kind: WatchEventKind,
    /// The row written; of a deletion only `key` and `mod_revision` count.
    pub row: Row,
    /// The row before, when it was asked for and there was one.
    pub prev: Option<Row>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WatchEventKind {
    /// It was written.
    Put,
    /// It was deleted, or its lease ended.
    Delete,
}
