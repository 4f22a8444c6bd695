//! From stored tables back to a store.

use std::sync::Arc;

use bytes::Bytes;
use node_protocol::Revision;
use node_protocol::telemetry::Restored;

use super::alarm::ALARM_PREFIX;
use super::change::Table;
use super::compact::Compaction;
use super::error::LoadError;
use super::row::{RowKey, RowKind, decode_head};
use super::rows::{RowStore, Rows};
use super::store::{META_KEY, META_VERSION, RESTORED_KEY, Store};

/// Builds a store from its tables: [`push`](Self::push) every entry of every [`Table`], each
/// table's in the order of its keys, then [`finish`](Self::finish).
pub struct Loader {
    store: Store,
    last: RowKey,
}

impl Loader {
    /// A loader for tables whose rows can be read from `rows` afterwards.
    pub fn new(rows: Arc<dyn Rows>) -> Self {
        Self { store: Store::new(rows), last: RowKey::MIN }
    }

    /// Takes one entry in. The error names the entry and what is wrong with it; the state on disk
    /// is then damaged.
    pub fn push(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let pushed = match table {
            Table::Rows => self.push_row(key, value),
            Table::Leases => self.store.leases.restore(key, value),
            Table::Sessions => self.store.sessions.restore(key, value),
            // Whoever owns the configuration reads these.
            Table::Members => Ok(()),
            Table::Meta => self.push_meta(key, value),
        };
        pushed.map_err(|reason| LoadError { table, key: key.to_vec(), reason })
    }

    fn push_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let row = RowKey::decode(key).ok_or("its key is not a revision")?;
        if row <= self.last {
            return Err("it is out of order");
        }
        self.last = row;
        let (kind, head) = decode_head(value).map_err(|_| "its value is malformed")?;
        let index = &mut self.store.index;
        match kind {
            RowKind::Put => {
                index.restore_put(head.key, row, head.create_revision, head.version, head.lease);
            }
            RowKind::Tombstone => index.restore_tombstone(head.key, row),
        }
        Ok(())
    }

    fn push_meta(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(ALARM_PREFIX) {
            return self.store.alarms.restore(name);
        }
        if key == RESTORED_KEY {
            let ([snapshot, began_at], []) = value.as_chunks::<8>() else {
                return Err("its length is impossible");
            };
            let revision = |bytes: &[u8; 8]| Revision(i64::from_le_bytes(*bytes));
            self.store.restored =
                Some(Restored { snapshot: revision(snapshot), began_at: revision(began_at) });
            return Ok(());
        }
        if key != META_KEY {
            return Ok(());
        }
        let (version, numbers) = value.split_first().ok_or("it is empty")?;
        if *version != META_VERSION {
            return Err("its version is unknown");
        }
        let ([revision, compacted, hash], []) = numbers.as_chunks::<8>() else {
            return Err("its length is impossible");
        };
        self.store.revision = i64::from_le_bytes(*revision);
        self.store.compacted = i64::from_le_bytes(*compacted);
        self.store.hash = u64::from_le_bytes(*hash);
        Ok(())
    }

    /// The store, equal to the one whose changes were stored.
    pub fn finish(self) -> Store {
        let Self { mut store, last } = self;
        // An image made elsewhere may have rows only.
        store.revision = store.revision.max(last.main);
        let attached: Vec<(Bytes, i64)> =
            store.index.attached().map(|(key, lease)| (key.clone(), lease)).collect();
        for (key, lease) in attached {
            if store.leases.0.contains_key(&lease) {
                store.leases.restore_key(&key, lease);
            } else {
                store.index.detach(&key);
            }
        }
        // Whatever a compaction had not dropped yet is dropped now.
        store.compaction = (store.compacted >= 0).then(Compaction::begin);
        store.rows.flushed(store.last_row(), RowStore::recent_bytes());
        store
    }
}
