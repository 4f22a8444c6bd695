//! Forgetting superseded versions.
//!
//! A compaction takes effect at once: older revisions are refused from then on. What it makes
//! unreachable is dropped from the index and the disk afterwards, some keys at a time, so that a
//! large one never stops the members from answering. How far that has come is not part of the
//! replicated state and cannot be seen in any answer; a restart begins it again.

use bytes::Bytes;

use super::change::{Change, Table};
use super::error::KvError;
use super::store::Store;

/// How far the dropping has come.
#[derive(Clone, Debug)]
pub(super) struct Compaction {
    /// The last key visited.
    after: Option<Bytes>,
}

impl Compaction {
    pub(super) fn begin() -> Self {
        Self { after: None }
    }
}

impl Store {
    pub(super) fn compact(&mut self, revision: i64) -> Result<(), KvError> {
        if revision <= self.compacted {
            return Err(KvError::Compacted);
        }
        if revision > self.revision {
            return Err(KvError::FutureRevision);
        }
        self.compacted = revision;
        self.hash = super::hash::mix(self.hash, revision.cast_unsigned());
        self.meta_changed = true;
        // One that is still going on is overtaken: the new one drops all it would have.
        self.compaction = Some(Compaction::begin());
        Ok(())
    }

    /// Drops what compactions made unreachable, looking at no more than `max_keys` keys, and
    /// notes the rows' removal among the changes. Returns whether more is left to do; call it
    /// between other work until it is not. A client that asked for a physical compaction is
    /// answered after that.
    pub fn compact_some(&mut self, max_keys: usize) -> bool {
        let Some(Compaction { after }) = self.compaction.take() else { return false };
        let (dropped, last) = self.index.compact(self.compacted, after.as_ref(), max_keys.max(1));
        for row in dropped {
            self.rows.remove(row);
            let key = Bytes::copy_from_slice(&row.encode());
            self.changes.push(Change::remove(Table::Rows, key));
        }
        self.compaction = last.map(|last| Compaction { after: Some(last) });
        self.compaction.is_some()
    }

    /// Whether [`compact_some`](Self::compact_some) has anything to do.
    pub fn is_compacting(&self) -> bool {
        self.compaction.is_some()
    }
}
