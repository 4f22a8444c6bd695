//! Whole clusters in one thread, by a seed.
//!
//! ```text
//!  seed ─► Plan ──► World: members (the shipped replica, log, state machine, flush, each stepped),
//!          faults      │   a queue of what is due, made-up time, a network, disks that forget
//!                      ▼
//!                   journal (the lab's own events) ──► lab-check ──► Outcome
//! ```
//!
//! One seed is one *lifetime*: a cluster begins, clients write, read, transact, compact, keep leases
//! and watch, faults act, everything is healed, the members converge, every watch is told of all
//! that happened, the members are read back, and the lab's own checks judge the journal. The same
//! seed gives the same lifetime, bit for bit; [`Outcome::trace`] stands for all of it.
//!
//! What runs is the code that ships, from the inbox of the replica to the bytes on the disk. Left
//! out on purpose: gRPC, sockets and threads; real processes are the lab's part.
//!
//! Invariants: nothing here reads a clock or draws a number that is not of the seed; whatever can
//! be seen is iterated in a stated order.

mod journal;
mod member;
mod plan;
mod run;
mod saved;
mod shrink;
mod tally;
mod world;

pub use plan::{Action, Plan};
pub use run::{Outcome, Settings, checks, record_plan, run, run_plan};
pub use saved::{PLAN_FILE, SaveError, SavedPlan, save};
pub use shrink::shrink;
pub use tally::{CALLS, MEASURES, Tally, Total};
