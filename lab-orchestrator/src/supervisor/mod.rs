//! All processes of the lab: their ports, directories, signals and output.
//!
//! ```text
//!  lab ── Order ──► permanent thread ── spawn ──► raft-node (own session)
//!      ◄─ ProcessEvent ──┘   │  stdin: lifeline, stdout and stderr: drained
//!                            └─ one task a child: waits, signals, reports
//! ```
//!
//! Invariants: nobody outlives the lab. A child dies by its lifeline (end of file on stdin) on
//! every system; on Linux also by the kernel, when the permanent thread that spawned it is gone,
//! which works on a paused child too. A signal is sent through a process descriptor, so a reused
//! process id is never hit. A child's output is always drained, so it never blocks on a full pipe.
//! Only directories that carry the lab's marker are ever deleted from, and no symbolic link is
//! followed there.

mod child;
mod directory;
mod output;
mod ports;

pub use child::{Launch, Order, ProcessEvent, Supervisor};
pub use directory::{DirectoryError, Joined, LabDirectory, LabRecord, MARKER};
pub use output::Output;
pub use ports::{MemberPorts, PLACES, PortError, Reservation, reserve};
