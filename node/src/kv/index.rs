//! The index: every key's revisions, in RAM.
//!
//! A key lives in *generations*. One begins with the put that creates the key and ends with the
//! tombstone that deletes it; the next put begins another.
//!
//! ```text
//!   put@2 put@5 delete@6   put@9          generations  [2 5 6†] [9]
//!   compact at 5           drops 2        generations  [5 6†] [9]
//!   compact at 6           drops 5        generations  [6†] [9]
//!   compact at 7           drops 6†       generations  [9]
//! ```
//!
//! A compaction keeps a tombstone written at just that revision: a watch may begin there and must
//! see it (etcd-io/etcd#18089).
//!
//! Compare `etcd-io/etcd server/storage/mvcc/key_index.go`.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::keys::KeyRange;
use super::row::RowKey;

/// One life of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Generation {
    /// The revision that created the key; stays when compaction drops that row.
    created: i64,
    /// Puts in this life so far, those compacted included.
    version: i64,
    /// Rows of this life that are kept, oldest first; never empty.
    revisions: Vec<RowKey>,
    /// Whether the last of them is a tombstone.
    ended: bool,
}

impl Generation {
    fn first(&self) -> RowKey {
        self.revisions[0]
    }

    fn last(&self) -> RowKey {
        self.revisions[self.revisions.len() - 1]
    }
}

/// Everything the index knows of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KeyIndex {
    /// Oldest first; only the last can be alive.
    generations: Vec<Generation>,
    /// The lease the key is attached to at present; 0 when none.
    lease: i64,
}

/// One version of a key, as far as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Revision of the put that created the key.
    pub(super) created: i64,
    /// The row that holds this version.
    pub(super) row: RowKey,
    /// Puts since creation, this one included.
    pub(super) version: i64,
}

impl KeyIndex {
    /// The version alive once revision `at` is written, if there is one.
    fn at(&self, at: i64) -> Option<Version> {
        let generation = self.generations.iter().rev().find(|life| life.first().main <= at)?;
        let seen = generation.revisions.partition_point(|row| row.main <= at);
        if generation.ended && seen == generation.revisions.len() {
            return None;
        }
        // Versions count from the newest put down, because compaction drops from the front.
        let puts = generation.revisions.len() - usize::from(generation.ended);
        let newer = i64::try_from(puts - seen).expect("a vector's length fits");
        Some(Version {
            created: generation.created,
            row: generation.revisions[seen - 1],
            version: generation.version - newer,
        })
    }

    /// Drops what a compaction at `at` makes unreachable; appends the rows dropped, oldest first.
    fn compact(&mut self, at: i64, dropped: &mut Vec<RowKey>) {
        let dead =
            self.generations.iter().take_while(|life| life.ended && life.last().main < at).count();
        for life in self.generations.drain(..dead) {
            dropped.extend(life.revisions);
        }
        if let Some(life) = self.generations.first_mut() {
            let seen = life.revisions.partition_point(|row| row.main <= at);
            dropped.extend(life.revisions.drain(..seen.saturating_sub(1)));
        }
    }
}

/// All keys, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    keys: BTreeMap<Bytes, KeyIndex>,
}

impl Index {
    /// Notes a put; returns the version written and the lease the key was attached to before.
    pub(super) fn put(&mut self, key: &Bytes, row: RowKey, lease: i64) -> (Version, i64) {
        let Some(entry) = self.keys.get_mut(key) else {
            // A copy, so that a small key does not keep a large message alive.
            let key = Bytes::copy_from_slice(key);
            let first =
                Generation { created: row.main, version: 1, revisions: vec![row], ended: false };
            self.keys.insert(key, KeyIndex { generations: vec![first], lease });
            return (Version { created: row.main, row, version: 1 }, 0);
        };
        let before = std::mem::replace(&mut entry.lease, lease);
        match entry.generations.last_mut() {
            Some(life) if !life.ended => {
                life.version += 1;
                life.revisions.push(row);
                (Version { created: life.created, row, version: life.version }, before)
            }
            _ => {
                let created = row.main;
                let revisions = vec![row];
                let life = Generation { created, version: 1, revisions, ended: false };
                entry.generations.push(life);
                (Version { created, row, version: 1 }, before)
            }
        }
    }

    /// Notes a deletion of a key that is alive; returns the lease it was attached to.
    pub(super) fn tombstone(&mut self, key: &[u8], row: RowKey) -> i64 {
        let entry = self.keys.get_mut(key).expect("only a key that is alive is deleted");
        let life = entry.generations.last_mut().expect("a key that is alive has a life");
        assert!(!life.ended, "only a key that is alive is deleted");
        life.revisions.push(row);
        life.ended = true;
        std::mem::take(&mut entry.lease)
    }

    /// Notes a put found in storage; rows come in order.
    pub(super) fn restore_put(
        &mut self,
        key: &[u8],
        row: RowKey,
        created: i64,
        version: i64,
        lease: i64,
    ) {
        if !self.keys.contains_key(key) {
            self.keys.insert(Bytes::copy_from_slice(key), KeyIndex::default());
        }
        let entry = self.keys.get_mut(key).expect("it is there since the line above");
        entry.lease = lease;
        match entry.generations.last_mut() {
            Some(life) if !life.ended && life.created == created => {
                life.version = version;
                life.revisions.push(row);
            }
            _ => entry.generations.push(Generation {
                created,
                version,
                revisions: vec![row],
                ended: false,
            }),
        }
    }

    /// Notes a tombstone found in storage; rows come in order.
    pub(super) fn restore_tombstone(&mut self, key: &[u8], row: RowKey) {
        if !self.keys.contains_key(key) {
            self.keys.insert(Bytes::copy_from_slice(key), KeyIndex::default());
        }
        let entry = self.keys.get_mut(key).expect("it is there since the line above");
        entry.lease = 0;
        match entry.generations.last_mut() {
            Some(life) if !life.ended => {
                life.revisions.push(row);
                life.ended = true;
            }
            // The life it ended is compacted; only the tombstone is kept.
            _ => entry.generations.push(Generation {
                created: row.main,
                version: 0,
                revisions: vec![row],
                ended: true,
            }),
        }
    }

    /// The version of `key` once revision `at` is written.
    pub(super) fn get(&self, key: &[u8], at: i64) -> Option<Version> {
        self.keys.get(key)?.at(at)
    }

    /// The lease `key` is attached to at present; 0 when none.
    pub(super) fn lease(&self, key: &[u8]) -> i64 {
        self.keys.get(key).map_or(0, |entry| entry.lease)
    }

    /// Notes that `key` is no longer attached to any lease.
    pub(super) fn detach(&mut self, key: &[u8]) {
        if let Some(entry) = self.keys.get_mut(key) {
            entry.lease = 0;
        }
    }

    /// The keys of `range` that exist once revision `at` is written, in order.
    pub(super) fn range<'a>(
        &'a self,
        range: &'a KeyRange,
        at: i64,
    ) -> impl Iterator<Item = (&'a Bytes, Version)> {
        self.keys
            .range::<[u8], _>(range.bounds())
            .filter_map(move |(key, entry)| Some((key, entry.at(at)?)))
    }

    /// The rows of `key` written at `from` or later, oldest first, with what each is.
    pub(super) fn rows_since(&self, key: &[u8], from: i64) -> Vec<RowKey> {
        let lives = self.keys.get(key).map(|entry| entry.generations.as_slice());
        let rows = lives.unwrap_or_default().iter().flat_map(|life| life.revisions.iter());
        rows.copied().filter(|row| row.main >= from).collect()
    }

    /// Keys that are attached to a lease at present, in order.
    pub(super) fn attached(&self) -> impl Iterator<Item = (&Bytes, i64)> {
        self.keys
            .iter()
            .filter(|(_, entry)| entry.lease != 0)
            .map(|(key, entry)| (key, entry.lease))
    }

    /// Rows of versions alive once revision `at` is written.
    pub(super) fn alive(&self, at: i64) -> impl Iterator<Item = RowKey> {
        self.keys.values().filter_map(move |entry| Some(entry.at(at)?.row))
    }

    /// Compacts at most `limit` keys after `after`, in order. Returns the rows dropped, and the
    /// last key visited, or `None` when the end was reached.
    pub(super) fn compact(
        &mut self,
        at: i64,
        after: Option<&Bytes>,
        limit: usize,
    ) -> (Vec<RowKey>, Option<Bytes>) {
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
        let mut dropped = Vec::new();
        let mut gone = Vec::new();
        let mut last = None;
        let mut visited = 0;
        for (key, entry) in self.keys.range_mut((from, Bound::Unbounded)) {
            if visited == limit {
                break;
            }
            visited += 1;
            entry.compact(at, &mut dropped);
            if entry.generations.is_empty() {
                gone.push(key.clone());
            }
            last = Some(key.clone());
        }
        for key in &gone {
            self.keys.remove(key);
        }
        (dropped, last.filter(|_| visited == limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(main: i64) -> RowKey {
        RowKey::first_of(main)
    }

    /// put@2 put@5 delete@6 put@9, the picture above.
    fn sample() -> (Index, Bytes) {
        let (mut index, key) = (Index::default(), Bytes::from_static(b"k"));
        index.put(&key, row(2), 0);
        index.put(&key, row(5), 0);
        index.tombstone(&key, row(6));
        index.put(&key, row(9), 0);
        (index, key)
    }

    #[test]
    fn a_key_is_read_at_any_revision() {
        let (index, key) = sample();
        for (at, want) in [
            (1, None),
            (2, Some((2, 2, 1))),
            (4, Some((2, 2, 1))),
            (5, Some((2, 5, 2))),
            (6, None),
            (8, None),
            (9, Some((9, 9, 1))),
            (i64::MAX, Some((9, 9, 1))),
        ] {
            let got = index.get(&key, at).map(|v| (v.created, v.row.main, v.version));
            assert_eq!(got, want, "at {at}");
        }
    }

    #[test]
    fn compaction_keeps_what_can_still_be_read() {
        for (at, want) in [
            (1, vec![]),
            (2, vec![]),
            (4, vec![]),
            (5, vec![2]),
            (6, vec![2, 5]),
            (7, vec![2, 5, 6]),
            (9, vec![2, 5, 6]),
            (20, vec![2, 5, 6]),
        ] {
            let (mut index, key) = sample();
            let (dropped, next) = index.compact(at, None, 10);
            assert_eq!(dropped.iter().map(|row| row.main).collect::<Vec<_>>(), want, "at {at}");
            assert_eq!(next, None);
            assert_eq!(index.get(&key, 9).map(|v| v.version), Some(1), "at {at}");
            if at < 6 {
                assert_eq!(index.get(&key, 5).map(|v| v.version), Some(2), "at {at}");
            }
        }
    }

    #[test]
    fn compaction_goes_on_where_it_paused_and_forgets_dead_keys() {
        let mut index = Index::default();
        for (key, main) in [("a", 2), ("b", 3), ("c", 4)] {
            index.put(&Bytes::from(key), row(main), 0);
        }
        index.tombstone(b"b", row(5));
        let (dropped, next) = index.compact(6, None, 2);
        assert_eq!((dropped, &next), (vec![row(3), row(5)], &Some(Bytes::from("b"))));
        let (dropped, next) = index.compact(6, next.as_ref(), 2);
        assert_eq!((dropped, next), (vec![], None));
        assert_eq!(index.keys.len(), 2);
    }
}
