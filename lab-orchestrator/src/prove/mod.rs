//! Proofs: long runs of real processes under one kind of load, each judged by promises of its own.
//!
//! ```text
//!  command ─► stage: a lab of real members ◄── blows: leaders crash, or hand over
//!     │                     ▲
//!     └─► clients ──────────┘  each has a contact, as an etcd client has
//!            │
//!            └─► book: what was asked and heard ─► rules ─► Verdict ─► table, JSON, exit code
//! ```
//!
//! A drill judges what the lab's own workload saw. A proof has clients of its own, because what it
//! is about is how *they* go about it: informers that list and watch, holders of leases, ten
//! thousand watchers. Processes, ports and faults are the lab's: a proof submits commands like
//! everybody.
//!
//! Invariants: a write whose answer was not heard is unknown, never absent; each book is pure and
//! can be shown to find what it is there to find; a rule that looked at too little says *unknown*
//! and not *valid*.
//!
//! Left out on purpose: repeating the order of events by a seed. Real processes do not; the seed
//! repeats the clients' choices.

mod command;
mod contact;
mod kubernetes;
mod leases;
mod rule;
mod stage;
mod watchers;

pub use command::{ProveArgs, prove};
