//! The state machine: etcd's multi-version key space and its leases.
//!
//! ```text
//!   log entry ─► Command ─► Store::execute ─┬─► Response, equal on every member
//!                                           ├─► Revised: a revision and its events ─► watches
//!                                           └─► Changes ─► flush thread ─► Rows (on disk)
//!                                                                            │
//!   reads  ─────────────────► Store::range ◄── index and newest rows in RAM ◄┘
//! ```
//!
//! Every write of a key makes a new *row*, named by its revision; nothing is overwritten. An index
//! in RAM knows for each key which rows hold its versions. Rows are written to the disk behind the
//! answers: a write is safe because the Raft log holds it, so a crash costs only replay.
//!
//! Invariants
//! - Deterministic: no clock, no file, no socket, no randomness. Equal commands in equal order
//!   make equal stores, equal answers and equal refusals.
//! - One write, one revision, whatever it contains. A write that changes no key has none.
//! - Nothing is written before everything that can refuse was asked.
//! - A failure to read the disk is never an answer; it is a [`RowsError`], and the node stops.
//!
//! Left out: members, users and roles, and time. When a lease ends is the leader's
//! [`Lessor`](crate::lease::Lessor)'s to say; a revoke then comes through the log like any command.

mod alarm;
mod change;
mod check;
mod command;
mod compact;
mod error;
mod events;
mod hash;
mod history;
mod index;
mod keys;
mod lease;
mod load;
mod range;
mod row;
mod rows;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod write;

pub use change::{Change, Table};
pub use check::{
    MAX_LEASE_TTL_SECONDS, check_delete_range, check_lease_ttl, check_op, check_put, check_range,
    check_txn, op_cost, op_grows, txn_is_serializable, txn_writes,
};
pub use command::{Command, CommandError, CommandId, Op, brief};
pub use error::{CodeNumber, KvError, LoadError, ReadError, RowsError};
pub use events::{Interest, PullLimits, Pulled};
pub use hash::HashKv;
pub use history::Revised;
pub use keys::KeyRange;
pub use lease::Lease;
pub use load::Loader;
pub use row::{ROW_KEY_BYTES, RowError, RowKey, RowKind, decode_row};
pub use rows::{MemoryRows, Rows};
pub use session::{Admission, MAX_RUNS, Sessions};
pub use store::{Applied, Executed, LeaseChange, Response, Store, restored};
