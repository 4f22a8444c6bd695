//! All processes of the lab: their ports, directories, signals and output.
//!
//! ```text
//!  lab ── Order ──► permanent thread ── spawn ──► raft-node (own session)
//!      ◄─ ProcessEvent ──┘   │  stdin: lifeline, stdout and stderr: drained
//!                            └─ one task a child: waits, signals, reports
//! ```
//!
//! Invariants: none of its children outlives the lab. A child dies by its lifeline (end of file on stdin) on
//! every system; on Linux also by the kernel, when the permanent thread that spawned it is gone,
//! which works on a paused child too. A signal is sent through a process descriptor, so a reused
//! process id is never hit. A child's output is always drained, so it never blocks on a full pipe.
//! A member that somebody started by hand is *adopted*: the lab signals it and sees its end, and ends
//! it in order when it ends itself; only a lab that is killed leaves it behind.
//! Only directories that carry the lab's marker are ever deleted from, and no symbolic link is
//! followed there.

mod adopted;
mod child;
mod directory;
mod output;
mod ports;
mod seats;

pub use adopted::Adoption;
pub use child::{Launch, Order, ProcessEvent, Supervisor, ends_with_the_lab};
pub use directory::{DirectoryError, Joined, LabDirectory, LabRecord, MARKER};
pub use output::{Lines, Output, Printed};
pub use ports::{MemberPorts, PLACES, PortError, Reservation, reserve};
pub use seats::{FindError, Seat, Seats, find};
