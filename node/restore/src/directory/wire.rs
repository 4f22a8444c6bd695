//! The messages in etcd's log and beside it, by their field numbers.
//!
//! Required fields are written even if they are zero, as the library that etcd uses does it.
//!
//! Source: `etcd-io/raft raftpb/raft.proto`, `etcd-io/etcd server/storage/wal/walpb/record.proto`,
//! `server/etcdserver/api/snap/snappb/snap.proto`, `api/etcdserverpb/raft_internal.proto` (metadata).

use prost::Message;

/// A record of the log.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    /// What the data is: one of [`kind`].
    #[prost(int64, required, tag = "1")]
    pub(crate) kind: i64,
    /// The sum over the data of all records so far.
    #[prost(uint32, required, tag = "2")]
    pub(crate) crc: u32,
    /// A message by its kind.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) data: Option<Vec<u8>>,
}

/// What a [`Record`] holds.
pub(crate) mod kind {
    /// [`Metadata`](super::Metadata), first in each file.
    pub(crate) const METADATA: i64 = 1;
    /// An [`Entry`](super::Entry).
    pub(crate) const ENTRY: i64 = 2;
    /// A [`HardState`](super::HardState).
    pub(crate) const STATE: i64 = 3;
    /// Nothing: the sum so far, at the beginning of a file.
    pub(crate) const CRC: i64 = 4;
    /// A [`LogSnapshot`](super::LogSnapshot).
    pub(crate) const SNAPSHOT: i64 = 5;
}

/// Whose log it is.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Metadata {
    /// The member.
    #[prost(uint64, tag = "1")]
    pub(crate) member: u64,
    /// Its cluster.
    #[prost(uint64, tag = "2")]
    pub(crate) cluster: u64,
}

/// An entry of Raft's log.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    /// 0 for a command, [`CONF_CHANGE`], 2 for a change of several members at once.
    #[prost(int32, required, tag = "1")]
    pub(crate) kind: i32,
    /// Its term.
    #[prost(uint64, required, tag = "2")]
    pub(crate) term: u64,
    /// Its place.
    #[prost(uint64, required, tag = "3")]
    pub(crate) index: u64,
    /// What it says.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) data: Option<Vec<u8>>,
}

/// The kind of an entry that changes one member.
pub(crate) const CONF_CHANGE: i32 = 1;

/// A change of one member.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfChange {
    /// Unused here.
    #[prost(uint64, required, tag = "1")]
    pub(crate) id: u64,
    /// 0 adds a voter.
    #[prost(int32, required, tag = "2")]
    pub(crate) kind: i32,
    /// The member.
    #[prost(uint64, required, tag = "3")]
    pub(crate) member: u64,
    /// The member in JSON.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) context: Option<Vec<u8>>,
}

/// What Raft must not forget.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct HardState {
    /// The term.
    #[prost(uint64, required, tag = "1")]
    pub(crate) term: u64,
    /// Who had the vote in it.
    #[prost(uint64, required, tag = "2")]
    pub(crate) vote: u64,
    /// Up to where the log is committed.
    #[prost(uint64, required, tag = "3")]
    pub(crate) commit: u64,
}

/// The configuration.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ConfState {
    /// Members with a vote.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub(crate) voters: Vec<u64>,
    /// Members without.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub(crate) learners: Vec<u64>,
    /// Members that had a vote before, during a change.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub(crate) voters_outgoing: Vec<u64>,
    /// Members that will have none.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub(crate) learners_next: Vec<u64>,
    /// Whether the change ends by itself.
    #[prost(bool, required, tag = "5")]
    pub(crate) auto_leave: bool,
}

/// A snapshot's place, as the log notes it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct LogSnapshot {
    /// The last entry in it.
    #[prost(uint64, required, tag = "1")]
    pub(crate) index: u64,
    /// Its term.
    #[prost(uint64, required, tag = "2")]
    pub(crate) term: u64,
    /// The configuration at it; from 3.5 on.
    #[prost(message, optional, tag = "3")]
    pub(crate) conf_state: Option<ConfState>,
}

/// Where a [`Snapshot`] is.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SnapshotMetadata {
    /// The configuration.
    #[prost(message, required, tag = "1")]
    pub(crate) conf_state: ConfState,
    /// The last entry in it.
    #[prost(uint64, required, tag = "2")]
    pub(crate) index: u64,
    /// Its term.
    #[prost(uint64, required, tag = "3")]
    pub(crate) term: u64,
}

/// A snapshot of etcd's old key space, in which the members are.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Snapshot {
    /// The old key space in JSON.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) data: Option<Vec<u8>>,
    /// Where it is.
    #[prost(message, required, tag = "2")]
    pub(crate) metadata: SnapshotMetadata,
}

/// A snapshot's file.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SnapshotFile {
    /// The sum of the rest.
    #[prost(uint32, required, tag = "1")]
    pub(crate) crc: u32,
    /// A [`Snapshot`].
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) data: Option<Vec<u8>>,
}
