//! `raft-lab soak`: every fault that a cluster gets over, for as long as somebody likes, judged.
//!
//! ```text
//!  window 1: errands ───────────────────────────► quiet, converged, read back ─► checks ─► verdict
//!            blow ─ blow ─┬ blow ─ …   everything healed ┘        │
//!                         └ blow                                  └─► what window 2 begins with
//! ```
//!
//! A *blow* is one fault for a drawn time: of processes, links, messages, disks, clocks or timers.
//! The nemesis draws them from the seed, up to three at a time, and never two at one member. Once in
//! a window, in a pause of its own, a member may be replaced.
//!
//! The run is cut into windows so that the memory of the checks is bounded: [`book`] follows the
//! journal and keeps the present window only. Between two windows nothing is under way: no lease
//! lives, and members have had the time after which they give up on a command.
//!
//! What grows is measured all along (`measure`): memory, open files and disk of each member, memory
//! and files of the lab. A soak is valid only if that is bounded too.
//!
//! Left out on purpose: damage to files and losing a directory, which a cluster does not get over
//! by itself; and clocks that run fast, for they end leases early, which is no fault of the cluster.

mod blow;
mod book;
mod command;
mod judge;
mod measure;
mod nemesis;
mod told;

pub use command::{SoakArgs, soak};
