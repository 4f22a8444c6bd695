//! Hashes by which members compare their states.

use std::collections::HashSet;

use node_protocol::Revision;

use super::change::Change;
use super::error::{KvError, ReadError, RowsError};
use super::row::{RowKey, RowKind, decode_head};
use super::rows::Gapless;
use super::store::Store;

/// Rows read at a time.
const PAGE_ROWS: usize = 1000;

/// What `HashKV` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// CRC-32C of all rows that count.
    pub hash: u32,
    /// The revision last compacted at; -1 when there was none.
    pub compact_revision: Revision,
    /// The revision hashed.
    pub hash_revision: Revision,
}

/// Stirs a number into a running hash (the finisher of SplitMix64).
pub(super) fn mix(hash: u64, number: u64) -> u64 {
    let mut z = hash.rotate_left(23).wrapping_add(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Stirs a change into a running hash.
pub(super) fn chain(hash: u64, change: &Change) -> u64 {
    let Change { table, key, value } = change;
    let key_crc = u64::from(crc32c::crc32c(key));
    let value_crc = value.as_ref().map_or(1 << 32, |value| u64::from(crc32c::crc32c(value)));
    mix(mix(hash, (u64::from(*table as u8) << 32) | key_crc), value_crc)
}

impl Store {
    /// Hashes every row up to `revision` (0: the current one) as etcd's `HashKV` does; members
    /// that agree have the same. Reads all rows, so it takes a while on a large store.
    ///
    /// Rows at or before the compact revision count only if they are what a reader at `revision`
    /// sees of their key, so it makes no difference how far a compaction has come.
    ///
    /// Source: `etcd-io/etcd server/storage/mvcc/hash.go`.
    pub fn hash_kv(&self, revision: Revision) -> Result<HashKv, ReadError> {
        let compacted = self.compacted;
        let at = match revision.0 {
            0 => self.revision,
            // As in etcd: no row is that old.
            at @ ..0 => {
                let hash = crc32c::crc32c(b"key");
                return Ok(HashKv {
                    hash,
                    compact_revision: Revision(compacted),
                    hash_revision: Revision(at),
                });
            }
            at if at < compacted => return Err(KvError::Compacted.into()),
            at if at > self.revision => return Err(KvError::FutureRevision.into()),
            at => at,
        };
        let mut keep: HashSet<RowKey> = self.index.alive(at).collect();
        if keep.is_empty() {
            // Nothing is alive: etcd then hashes all that is stored, which after its compaction
            // is what was alive there.
            keep = self.index.alive(compacted).collect();
        }
        let mut hash = crc32c::crc32c(b"key");
        // Rows that the disk does not show must not pass for rows that are not there.
        let mut gapless = Gapless::new(RowKey::MIN.main, compacted);
        let mut old: HashSet<RowKey> =
            keep.iter().copied().filter(|key| key.main <= compacted).collect();
        let (mut from, to) = (RowKey::MIN, RowKey::first_of(at.saturating_add(1)));
        loop {
            let page = self.rows.page(from, to, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { break };
            from = RowKey { main: last.main, sub: last.sub.saturating_add(1) };
            for (key, row) in page {
                gapless.see(key).map_err(|key| self.rows.missing(key))?;
                old.remove(&key);
                if key.main <= compacted && !keep.contains(&key) {
                    continue;
                }
                let (kind, _) =
                    decode_head(&row).map_err(|source| RowsError::Damaged { key, source })?;
                hash = crc32c::crc32c_append(hash, &key.encode());
                if kind == RowKind::Tombstone {
                    hash = crc32c::crc32c_append(hash, b"t");
                }
                hash = crc32c::crc32c_append(hash, &row[1..]);
            }
        }
        gapless.end(at).map_err(|key| self.rows.missing(key))?;
        if let Some(missing) = old.into_iter().min() {
            return Err(self.rows.missing(missing).into());
        }
        Ok(HashKv { hash, compact_revision: Revision(compacted), hash_revision: Revision(at) })
    }
}
