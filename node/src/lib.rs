//! A member of a cluster: consensus, storage and etcd's API.
//!
//! See `ARCHITECTURE.md` at the top of the repository for the picture. In short: a bounded inbox
//! feeds one replica thread, which owns the Raft log; committed entries go to the apply thread,
//! which owns the state machine; its rows go to the flush thread, which writes them behind.

pub mod admin;
pub mod alone;
pub mod api;
pub mod apply;
pub mod carried;
pub mod causes;
pub mod clock;
pub mod cluster;
pub mod compactor;
pub mod config;
pub mod consensus;
pub mod control;
pub mod corruption;
pub mod failpoint;
pub mod flush;
pub mod handle;
pub mod image;
pub mod import;
pub mod inbox;
pub mod kv;
pub mod lease;
pub mod metrics;
pub mod offline;
pub mod program;
pub mod progress;
pub mod recover;
pub mod replica;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod threads;
pub mod training;
pub mod transport;
pub mod watch;
