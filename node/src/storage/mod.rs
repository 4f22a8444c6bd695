//! What a member keeps on its disk, and in which order it gets there.
//!
//! ```text
//!   <data-dir>/member/             0700
//!     lock                         held by the running process
//!     wal/<sequence>-<first>.wal   the log: hard state, entries, marks     (wal)
//!     wal/*.tmp                    segments to come; removed at start
//!     state.redb                   the state machine's rows, the applied index and the
//!                                  configuration at that index             (state, schema)
//!     state-<index>-<n>.redb.tmp   a snapshot being received; removed at start (snapshot)
//! ```
//!
//! **Order of durability.** Everything follows from one rule: *what was promised is in the log, or
//! in the state*.
//!
//! 1. An entry, a vote, a term is appended to the log and synced before any message that promises
//!    it leaves.
//! 2. A committed entry is applied in RAM and answered; the rows it wrote are flushed later, in one
//!    transaction with the applied index. Until then the log has the entry, and applies it again
//!    after a crash.
//! 3. The log is compacted only up to what the state has durably.
//! 4. A snapshot from a peer is built beside the state, verified, synced, and renamed into place;
//!    then the log's mark is moved to it. After a crash in between [`Wal::settle`] moves it.
//! 5. At a first start the log is created, then the state. A log without a state and without a
//!    promise in it is a first start that did not end, and is begun again. In all other cases one
//!    without the other means that promises were lost, and the member must not start.
//!
//! **What is promised.** After any crash or power loss both open, the state at some applied index,
//! the log with every entry after it that was synced. Damaged bytes are reported, never repaired by
//! guessing and never served: log frames and state rows carry checksums, every page of the state is
//! verified when it is opened, and the member keeps books of its own on how many rows there are and
//! what they come to. After an error of a write
//! or a sync the file is not used again, for nobody knows what of it is durable: the member stops,
//! and the next start reads what is really there.
//!
//! Not promised: that damage done while the member runs is found before it is read, or that a
//! disk which lies about syncing keeps anything.
//!
//! All of it runs on a [`Disk`]: the real one, one in memory that can lose its power ([`memory`]),
//! or either behind switchable faults ([`fault`]). The training program's is the real one with a
//! power switch (`power`).

mod damage;
pub mod directory;
pub mod disk;
pub mod fault;
pub mod memory;
#[cfg(feature = "training")]
pub mod power;
pub mod schema;
pub mod snapshot;
pub mod state;
mod tally;
#[cfg(test)]
mod tests;
mod transaction;
pub mod wal;

pub use directory::{DataDirectory, DirectoryError};
pub use disk::{Disk, DiskFile, RealDisk};
pub use fault::{DiskFaults, FaultDisk};
pub use memory::MemoryDisk;
pub use schema::{Applied, Identity};
pub use snapshot::{ReceivedSnapshot, SnapshotError, SnapshotReader, SnapshotWriter};
pub use state::{FlushBatch, Pinned, Put, State, StateError, StateOptions};
pub use wal::{Batch, Mark, Metadata, Recovered, Wal, WalError, WalOptions};
