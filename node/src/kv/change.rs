//! What the state machine writes: changes of small tables, for the flush thread to make durable.

use bytes::Bytes;

/// The tables of the state. The numbers are stored and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Versions of keys, by [`RowKey`](super::RowKey).
    Rows = 0,
    /// Leases: 8 bytes big-endian id → protobuf `{ID=1, TTL=2}`.
    Leases = 1,
    /// Which commands were applied: 8 bytes big-endian origin → [`Sessions`](super::Sessions)' row.
    Sessions = 2,
    /// Members; written and read by whoever owns the configuration.
    Members = 3,
    /// A few single values, by name. The state machine's own name begins with `kv/`.
    Meta = 4,
}

impl Table {
    /// Every table, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Rows, Self::Leases, Self::Sessions, Self::Members, Self::Meta];

    /// The table with this number, or `None` for a number this version does not know.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }
}

/// One key of one table, set or removed.
///
/// Changes are made durable in the order in which they were taken from the store; a later change
/// of the same key wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub table: Table,
    /// Which key.
    pub key: Bytes,
    /// Its new value; `None` when it is removed.
    pub value: Option<Bytes>,
}

impl Change {
    /// Sets a key.
    pub fn set(table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { table, key: key.into(), value: Some(value.into()) }
    }

    /// Removes a key; no error if it is not there.
    pub fn remove(table: Table, key: impl Into<Bytes>) -> Self {
        Self { table, key: key.into(), value: None }
    }
}
