//! Where flushed rows are read from, and the rows kept in RAM in front of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::mvccpb::KeyValue;
use parking_lot::RwLock;

use super::change::{Change, Table};
use super::error::RowsError;
use super::row::{RowKey, RowKind, decode_row};
use super::store::FIRST_REVISION;

/// Reads rows that are durable. Implementations answer from any thread.
pub trait Rows: Send + Sync {
    /// The stored value of one row, if it is there.
    fn row(&self, key: RowKey) -> Result<Option<Bytes>, RowsError>;

    /// At most `limit` rows in order, from `from` up to, not including, `to`. Fewer than `limit`
    /// means there are no more.
    fn rows(
        &self,
        from: RowKey,
        to: RowKey,
        limit: usize,
    ) -> Result<Vec<(RowKey, Bytes)>, RowsError>;

    /// The error for a row that must be there and is not.
    fn missing(&self, key: RowKey) -> RowsError {
        RowsError::Missing(key)
    }
}

/// Rows in RAM, for tests, simulations and a store that has nothing on disk yet.
#[derive(Debug, Default)]
pub struct MemoryRows(RwLock<BTreeMap<RowKey, Bytes>>);

impl MemoryRows {
    /// Does to these rows what a flush does to the durable ones; other tables are ignored.
    pub fn flush(&self, changes: &[Change]) {
        let mut rows = self.0.write();
        for change in changes.iter().filter(|change| change.table == Table::Rows) {
            let Some(key) = RowKey::decode(&change.key) else { continue };
            match &change.value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
        }
    }
}

impl Rows for MemoryRows {
    fn row(&self, key: RowKey) -> Result<Option<Bytes>, RowsError> {
        Ok(self.0.read().get(&key).cloned())
    }

    fn rows(
        &self,
        from: RowKey,
        to: RowKey,
        limit: usize,
    ) -> Result<Vec<(RowKey, Bytes)>, RowsError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = self.0.read();
        Ok(rows.range(from..to).take(limit).map(|(key, row)| (*key, row.clone())).collect())
    }
}

/// Follows rows as they are read and misses those that are not there.
///
/// Above the compact revision nothing is ever removed: every revision has its first row, and rows of
/// one revision are numbered without gaps. So a page of the disk that hides rows, or shows none,
/// does not pass for a quiet time. A revision's last rows alone cannot be missed.
#[derive(Debug)]
pub(super) struct Gapless {
    compacted: i64,
    /// The first row not seen yet.
    next: RowKey,
}

impl Gapless {
    /// For reading from the first row of revision `from` on.
    pub(super) fn new(from: i64, compacted: i64) -> Self {
        let first = from.max(compacted.saturating_add(1)).max(FIRST_REVISION + 1);
        Self { compacted, next: RowKey::first_of(first) }
    }

    /// Takes the next row read. The error is the row that should have been it.
    pub(super) fn see(&mut self, key: RowKey) -> Result<(), RowKey> {
        if key.main <= self.compacted {
            return Ok(());
        }
        let follows = self.next.sub > 0 && key == RowKey::first_of(self.next.main + 1);
        if key != self.next && !follows {
            return Err(self.next);
        }
        self.next = RowKey { main: key.main, sub: key.sub + 1 };
        Ok(())
    }

    /// Ends the reading, which was to go up to and including revision `end`. The error is the
    /// first row that did not come.
    pub(super) fn end(self, end: i64) -> Result<(), RowKey> {
        let ended = self.next.main > end || (self.next.main == end && self.next.sub > 0);
        if ended { Ok(()) } else { Err(self.next) }
    }
}

/// Bytes of flushed rows kept in RAM because they were written lately.
const RECENT_BYTES: usize = 32 << 20;

/// What a row costs in RAM besides its bytes, roughly.
const ROW_OVERHEAD_BYTES: usize = 96;

/// Every row, wherever it is: the newest in RAM, flushed or not, the rest behind [`Rows`].
///
/// Rows that are not durable yet are never dropped from RAM, so the flush thread's lag is the
/// bound of what they take; of the durable ones the newest [`RECENT_BYTES`] stay.
pub(super) struct RowStore {
    overlay: BTreeMap<RowKey, Bytes>,
    overlay_bytes: usize,
    /// Everything up to here is durable.
    flushed: RowKey,
    durable: Arc<dyn Rows>,
}

impl RowStore {
    /// Every row up to `flushed` is in `durable`.
    pub(super) fn new(durable: Arc<dyn Rows>, flushed: RowKey) -> Self {
        Self { overlay: BTreeMap::new(), overlay_bytes: 0, flushed, durable }
    }

    pub(super) fn insert(&mut self, key: RowKey, row: Bytes) {
        self.overlay_bytes += row.len() + ROW_OVERHEAD_BYTES;
        self.overlay.insert(key, row);
    }

    pub(super) fn remove(&mut self, key: RowKey) {
        if let Some(row) = self.overlay.remove(&key) {
            self.overlay_bytes -= row.len() + ROW_OVERHEAD_BYTES;
        }
    }

    /// Notes that every row up to and including `up_to` is durable.
    pub(super) fn flushed(&mut self, up_to: RowKey, keep_bytes: usize) {
        self.flushed = self.flushed.max(up_to);
        while self.overlay_bytes > keep_bytes {
            match self.overlay.first_entry() {
                Some(oldest) if *oldest.key() <= self.flushed => {
                    self.overlay_bytes -= oldest.remove().len() + ROW_OVERHEAD_BYTES;
                }
                _ => break,
            }
        }
    }

    pub(super) fn recent_bytes() -> usize {
        RECENT_BYTES
    }

    /// The row the index says is there.
    pub(super) fn get(&self, key: RowKey) -> Result<(RowKind, KeyValue), RowsError> {
        let row = match self.overlay.get(&key) {
            Some(row) => row.clone(),
            None => self.durable.row(key)?.ok_or_else(|| self.missing(key))?,
        };
        decode_row(&row).map_err(|source| RowsError::Damaged { key, source })
    }

    /// The error for a row that must be there and is not.
    pub(super) fn missing(&self, key: RowKey) -> RowsError {
        self.durable.missing(key)
    }

    /// At most about `limit` rows in order, from `from` up to, not including, `to`; none only
    /// when there are no more. Rows whose removal is not durable yet may be among them.
    pub(super) fn page(
        &self,
        from: RowKey,
        to: RowKey,
        limit: usize,
    ) -> Result<Vec<(RowKey, Bytes)>, RowsError> {
        if from >= to {
            return Ok(Vec::new());
        }
        // Everything before the oldest row in RAM is durable, and from there on RAM has it all,
        // but for rows that a compaction has removed.
        let split = self.overlay.first_key_value().map_or(to, |(oldest, _)| (*oldest).min(to));
        if from < split {
            let page = self.durable.rows(from, split, limit)?;
            if !page.is_empty() {
                return Ok(page);
            }
        }
        let rows = self.overlay.range(from..to).take(limit);
        Ok(rows.map(|(key, row)| (*key, row.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_not_there_is_missed() {
        let read = |from, compacted, rows: &[(i64, i64)], end| {
            let mut gapless = Gapless::new(from, compacted);
            let seen = rows.iter().try_for_each(|&(main, sub)| gapless.see(RowKey { main, sub }));
            seen.and_then(|()| gapless.end(end)).map_err(|key| (key.main, key.sub))
        };
        for (from, compacted, rows, end, expected) in [
            (1, -1, &[(2, 0), (2, 1), (3, 0)][..], 3, Ok(())),
            (1, -1, &[], 1, Ok(())),
            (3, -1, &[(3, 0)], 3, Ok(())),
            (2, 4, &[(2, 7), (4, 1), (5, 0)], 5, Ok(())),
            (2, 4, &[], 4, Ok(())),
            (1, -1, &[(3, 0)], 3, Err((2, 0))),
            (1, -1, &[(2, 0), (2, 2)], 2, Err((2, 1))),
            (1, -1, &[(2, 0), (4, 0)], 4, Err((2, 1))),
            (1, -1, &[(2, 0)], 3, Err((2, 1))),
            (2, 4, &[(6, 0)], 6, Err((5, 0))),
            (2, 4, &[], 5, Err((5, 0))),
        ] {
            assert_eq!(read(from, compacted, rows, end), expected, "{rows:?} from {from}");
        }
    }
}
