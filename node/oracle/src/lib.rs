//! Real etcd beside ours: clusters of both kinds as processes, for tests that compare.
//!
//! Real etcd is the oracle. A test does the same to a cluster of each kind, on the same ports and
//! with the same token, so that even the ids are equal; what then may differ by chance it takes
//! out of what it heard, and compares the rest. `etcd` and `etcdctl`, from 3.4 on, are taken from
//! PATH, or from the folder in `RAFTLAB_ETCD`. Without them a test says so, and fails in CI.
//!
//! For tests alone: nothing of this is in a program.

mod cluster;
mod own;
mod ports;
mod programs;

pub use cluster::{Cluster, FIRST, Kind, LOOK, PATIENCE, PLACES};
pub use own::own;
pub use ports::ports;
pub use programs::{Programs, raft_node};
