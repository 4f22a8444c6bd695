//! The tables of the state's database and the encoding of its own rows. Stored for ever.
//!
//! Each [`Table`] of the state machine is one redb table, bytes to bytes. A stored value begins
//! with four bytes, the crc32c of key and value: redb verifies its checksums only when it repairs,
//! so without these a flipped bit would be served as data. One more table, `header`, holds what
//! the database says of itself:
//!
//! | row | value |
//! |---|---|
//! | `schema` | schema version, u32 |
//! | `identity` | cluster id, member id, u64 each |
//! | `applied` | index, term, u64 each; then the configuration at that index |
//! | `tallies` | for each table count of rows, sum of their hashes, u64 each; then crc32c over these, `identity`, `applied` |
//!
//! A configuration is four lists (voters, learners, outgoing voters, next learners), each a u32
//! count and u64 ids, then one byte: leave automatically. All numbers are little-endian.

use node_protocol::{ClusterId, Index, MemberId, Term};
use raft::eraftpb::ConfState;
use redb::TableDefinition;

use crate::kv::Table;

use super::wal::Mark;

/// Version of this schema. A database with a newer one is refused.
pub const SCHEMA_VERSION: u32 = 1;

pub(super) type BytesTable = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) const HEADER: TableDefinition<'static, &'static str, &'static [u8]> =
    TableDefinition::new("header");
pub(super) const HEADER_SCHEMA: &str = "schema";
pub(super) const HEADER_IDENTITY: &str = "identity";
pub(super) const HEADER_APPLIED: &str = "applied";
pub(super) const HEADER_TALLIES: &str = "tallies";

/// The redb table of a table of the state machine.
pub(super) fn definition(table: Table) -> BytesTable {
    TableDefinition::new(match table {
        Table::Rows => "rows",
        Table::Leases => "leases",
        Table::Sessions => "sessions",
        Table::Members => "members",
        Table::Meta => "meta",
    })
}

/// Whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// The member it belongs to.
    pub member_id: MemberId,
}

/// Up to where the state is complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// Last entry whose effects are in the state.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// The configuration at that entry.
    pub conf_state: ConfState,
}

impl From<&Applied> for Mark {
    fn from(applied: &Applied) -> Self {
        Self { index: applied.index, term: applied.term }
    }
}

/// Bytes of the checksum before each stored value.
pub(super) const CHECKSUM_BYTES: usize = 4;

pub(super) fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes()
}

/// The value in a stored value; `None` if its checksum does not hold.
pub(super) fn verified<'a>(key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, value) = stored.split_at_checked(CHECKSUM_BYTES)?;
    (sum == checksum(key, value)).then_some(value)
}

impl Identity {
    pub(super) fn encode(self) -> Vec<u8> {
        [self.cluster_id.0.to_le_bytes(), self.member_id.0.to_le_bytes()].concat()
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let read = &mut bytes;
        let identity =
            Self { cluster_id: ClusterId(take_u64(read)?), member_id: MemberId(take_u64(read)?) };
        bytes.is_empty().then_some(identity)
    }
}

impl Applied {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { index, term, conf_state } = self;
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&index.0.to_le_bytes());
        bytes.extend_from_slice(&term.0.to_le_bytes());
        let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave, .. } =
            conf_state;
        for ids in [voters, learners, voters_outgoing, learners_next] {
            let count = u32::try_from(ids.len()).expect("a cluster has few members");
            bytes.extend_from_slice(&count.to_le_bytes());
            for id in ids {
                bytes.extend_from_slice(&id.to_le_bytes());
            }
        }
        bytes.push(u8::from(*auto_leave));
        bytes
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let read = &mut bytes;
        let (index, term) = (Index(take_u64(read)?), Term(take_u64(read)?));
        let mut conf_state = ConfState::default();
        conf_state.set_voters(take_ids(read)?);
        conf_state.set_learners(take_ids(read)?);
        conf_state.set_voters_outgoing(take_ids(read)?);
        conf_state.set_learners_next(take_ids(read)?);
        conf_state.set_auto_leave(match bytes {
            [0] => false,
            [1] => true,
            _ => return None,
        });
        Some(Self { index, term, conf_state })
    }
}

pub(super) fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

pub(super) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}

pub(super) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?))
}

fn take_ids(bytes: &mut &[u8]) -> Option<Vec<u64>> {
    let count = take_u32(bytes)?;
    // Each id is taken from the bytes there are, so a wild count ends early.
    (0..count).map(|_| take_u64(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Applied {
        let mut conf_state = ConfState::from((vec![1, 2, 3], vec![4]));
        conf_state.set_voters_outgoing(vec![1, 2]);
        conf_state.set_learners_next(vec![5]);
        conf_state.set_auto_leave(true);
        Applied { index: Index(258), term: Term(3), conf_state }
    }

    #[test]
    fn what_was_stored_yesterday_still_reads() {
        let bytes: &[u8] = &[
            2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, //
            3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0,
            0, //
            1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, //
            2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, //
            1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, //
            1,
        ];
        assert_eq!(sample().encode(), bytes);
        assert_eq!(Applied::decode(bytes), Some(sample()));
        for cut in 0..bytes.len() {
            assert_eq!(Applied::decode(&bytes[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_in_a_stored_value_is_seen() {
        let mut stored = checksum(b"key", b"value").to_vec();
        stored.extend_from_slice(b"value");
        assert_eq!(verified(b"key", &stored), Some(&b"value"[..]));
        assert_eq!(verified(b"kex", &stored), None);
        stored[6] ^= 1;
        assert_eq!(verified(b"key", &stored), None);
        assert_eq!(verified(b"key", &stored[..3]), None);
    }
}
