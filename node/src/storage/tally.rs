//! How many rows each table has and what they come to, kept apart from redb's own books.
//!
//! A bit that flips under a running member can hide rows from redb, a whole table even, and the
//! next transaction then writes pages with sound checksums in which those rows are not. So the
//! member counts for itself: a [`Tally`] of each table is kept in RAM from the start on, follows
//! every change, is stored in each transaction, and must be what is found when the table is read
//! from its first row to its last.

use std::path::Path;

use crate::kv::Table;

use super::{
    schema::{Applied, CHECKSUM_BYTES, Identity, checksum, take, take_u64},
    state::StateError,
};

/// What the rows of a table come to, in whatever order they are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    rows: u64,
    /// Sum of a hash of every row.
    sum: u64,
}

/// Bytes of a tally as stored: rows u64, sum u64, little-endian.
const TALLY_BYTES: usize = 16;

/// A row's part of the sum; `stored` is its value with the checksum before it.
fn hash(key: &[u8], stored: &[u8]) -> u64 {
    let sum = stored.first_chunk::<CHECKSUM_BYTES>().map_or(0, |sum| u32::from_le_bytes(*sum));
    // SplitMix64's finalizer, so that sums of hashes say something.
    let mut mixed = (u64::from(crc32c::crc32c(key)) << 32 | u64::from(sum)) ^ 0x9e37_79b9_7f4a_7c15;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Tally {
    fn add(&mut self, key: &[u8], stored: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key, stored));
    }

    fn remove(&mut self, key: &[u8], stored: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, stored));
    }
}

/// The tallies of all tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tallies([Tally; Table::ALL.len()]);

impl Tallies {
    /// A row is stored in `table`.
    pub(super) fn add(&mut self, table: Table, key: &[u8], stored: &[u8]) {
        self.0[table as usize].add(key, stored);
    }

    /// A row is not stored in `table` any more.
    pub(super) fn remove(&mut self, table: Table, key: &[u8], stored: &[u8]) {
        self.0[table as usize].remove(key, stored);
    }

    pub(super) fn of(&self, table: Table) -> Tally {
        self.0[table as usize]
    }

    /// The tallies as stored, sealed together with what else the database says of itself.
    pub(super) fn encode(&self, identity: Identity, applied: &Applied) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TALLY_BYTES * self.0.len() + CHECKSUM_BYTES);
        for Tally { rows, sum } in &self.0 {
            bytes.extend_from_slice(&rows.to_le_bytes());
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        let seal = seal(&bytes, identity, applied);
        bytes.extend_from_slice(&seal);
        bytes
    }

    /// Reads stored tallies; `None` if they are not of a database that says this of itself.
    pub(super) fn decode(mut bytes: &[u8], identity: Identity, applied: &Applied) -> Option<Self> {
        let read = &mut bytes;
        let stored = take(read, TALLY_BYTES * Table::ALL.len())?;
        if *read != seal(stored, identity, applied) {
            return None;
        }
        let mut tallies = Self::default();
        let read = &mut &*stored;
        for tally in &mut tallies.0 {
            *tally = Tally { rows: take_u64(read)?, sum: take_u64(read)? };
        }
        Some(tallies)
    }
}

fn seal(tallies: &[u8], identity: Identity, applied: &Applied) -> [u8; CHECKSUM_BYTES] {
    checksum(tallies, &[identity.encode(), applied.encode()].concat())
}

/// Follows a table that is read from its first row to its last.
#[derive(Debug)]
pub(super) struct Audit {
    table: Table,
    last: Vec<u8>,
    found: Tally,
}

impl Audit {
    pub(super) fn new(table: Table) -> Self {
        Self { table, last: Vec::new(), found: Tally::default() }
    }

    /// Takes the next row; `path` is for an error.
    pub(super) fn see(&mut self, path: &Path, key: &[u8], stored: &[u8]) -> Result<(), StateError> {
        if self.found.rows > 0 && key <= &self.last[..] {
            return Err(self.corrupt(path, &format!("row {key:02x?} is out of order")));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.found.add(key, stored);
        Ok(())
    }

    /// Ends the reading of the table, which is to come to `stored`.
    pub(super) fn end(&self, path: &Path, stored: Tally) -> Result<(), StateError> {
        if self.found == stored {
            return Ok(());
        }
        let what = match (self.found.rows, stored.rows) {
            (found, stored) if found == stored => "an older row stands for a newer one".to_owned(),
            (found, stored) => format!("{found} rows are there of {stored}"),
        };
        Err(self.corrupt(path, &what))
    }

    fn corrupt(&self, path: &Path, what: &str) -> StateError {
        let reason = format!("{what} in table {:?}", self.table);
        StateError::Corrupt { path: path.to_path_buf(), reason }
    }
}

#[cfg(test)]
mod tests {
    use node_protocol::{ClusterId, Index, MemberId, Term};
    use raft::eraftpb::ConfState;

    use super::*;

    const IDENTITY: Identity = Identity { cluster_id: ClusterId(1), member_id: MemberId(2) };

    fn applied(index: u64) -> Applied {
        Applied { index: Index(index), term: Term(3), conf_state: ConfState::default() }
    }

    #[test]
    fn what_is_added_and_removed_comes_to_nothing_in_any_order() {
        let mut tally = Tally::default();
        tally.add(b"a", b"sum-one");
        let one = tally;
        tally.add(b"b", b"mus-two");
        tally.remove(b"a", b"sum-one");
        assert_ne!(tally, one);
        tally.remove(b"b", b"mus-two");
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn stored_tallies_are_of_one_database_at_one_moment() {
        let mut tallies = Tallies::default();
        tallies.add(Table::Leases, b"a", b"sum-one");
        let bytes = tallies.encode(IDENTITY, &applied(7));
        assert_eq!(bytes.len(), 5 * 16 + 4);
        assert_eq!(Tallies::decode(&bytes, IDENTITY, &applied(7)), Some(tallies));
        assert_eq!(Tallies::decode(&bytes, IDENTITY, &applied(8)), None);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Tallies::decode(&flipped, IDENTITY, &applied(7)), None);
        }
        assert_eq!(Tallies::decode(&bytes[1..], IDENTITY, &applied(7)), None);
    }
}
