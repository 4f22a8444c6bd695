//! The one loop: commands and observations in, effects on processes and links, events out.
//!
//! ```text
//!  handle ── Request ──┐                      ┌─ order ──► supervisor
//!  supervisor, fabric, ├─► turn: decide, act ─┼─ set ────► fabric
//!  observer, clients ──┘        │             └─ ask ────► clients
//!                               ▼
//!                         journal (append)
//! ```
//!
//! A command is *asked* when it arrives, and *done* when its effect was observed: a process has
//! ended, a link has reported its new condition. [`decide()`] is pure: from what the lab knows it
//! makes effects, or the reason why not.
//!
//! A change of the members is asked of the cluster's own API, by [`change`]; who has a vote is known
//! from what the members tell afterwards.
//!
//! Invariants: nothing but this loop appends to the journal; it never waits for a process, a link
//! or a client, it only hears of them (except while it starts over or ends, when nothing else may
//! happen); every run ends by healing everything.

mod change;
mod decide;
mod pending;
mod plan;
mod traffic;
mod turn;

pub use change::Change;
pub use decide::{Effect, decide};
pub(crate) use plan::run_name;
pub use plan::{Lab, LabPlan, StartError};
