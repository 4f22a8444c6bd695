//! A saved snapshot, and what an operator makes of it: its status, and a new cluster.
//!
//! ```text
//!   snapshot file ──► verified ──► status: hash, revision, keys, size
//!                        │
//!                        └──────► restore ──► DIR/member/snap/db       the image, of other members
//!                                             DIR/member/snap/….snap   the members, etcd's old way
//!                                             DIR/member/wal/….wal     the log of a cluster just begun
//!                                                     │
//!   raft-node's first start ◄── Begun::read ──────────┘   (a real etcd starts from it as well)
//! ```
//!
//! A restore is the beginning of another cluster with old keys: members and cluster get new ids
//! from the list of members and the token, and the log begins with one entry for each member. The
//! directory is etcd's own, byte for byte in what etcd looks at, so stock `etcdctl` and `etcdutl`
//! can make it for `raft-node`, and this package for a real etcd.
//!
//! Nothing is written before all of the file was read and found sound; what a failure leaves behind
//! is removed.
//!
//! Left out: directories of an etcd that has run. Its log may hold more than its database, and
//! votes; whoever wants its keys saves a snapshot.
//!
//! Source: `etcd-io/etcd etcdutl/snapshot/v3_snapshot.go`, and what etcdctl 3.4.23 and etcdutl
//! 3.5.30 were seen to write.

mod begun;
pub mod directory;
mod file;
mod restore;
mod status;

pub use begun::{Begun, BegunError};
pub use file::{Integrity, RowsError};
pub use restore::{Bump, FillError, Progress, Restore, RestoreError, Restored, Stage};
pub use status::{Status, StatusError};
