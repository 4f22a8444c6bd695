//! The lab: runs real members, stands on every wire between them, keeps one journal.
//!
//! ```text
//!  page ─ http ─┐                       ┌─► supervisor ─► raft-node processes
//!               ├─ handle ─► lab (loop) ┼─► fabric ─────► every wire between them
//!  drill ───────┘              │        └─► clients ────► the workload
//!                              ▼
//!                           journal ─► { page, recorder, waits, checks }
//! ```
//!
//! Invariants: the lab's loop alone causes events; `http` and `drill` are equals and can do
//! nothing but submit a command and follow the journal; what travels over the faulty links is
//! peers' traffic only, never telemetry or control; no process outlives the lab; every random
//! choice comes from the run's seed, the journal's first event. The floors of the modules are
//! written in `tests/floors.rs`.
//!
//! Left out on purpose: the node. It is run as a process, never linked.

pub mod attach;
pub mod bench;
pub mod clients;
pub mod clock;
pub mod doctor;
pub mod drill;
pub mod engine;
pub mod env;
pub mod fabric;
pub mod handle;
pub mod http;
pub mod journal;
pub mod lab;
pub mod observer;
pub mod prove;
pub mod record;
pub mod replay;
pub mod report;
pub mod supervisor;
pub mod terminal;
pub mod up;
pub mod workload;
