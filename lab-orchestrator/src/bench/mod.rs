//! `raft-lab bench`: a small, neutral load generator for anything that speaks etcd's v3 API.
//!
//! ```text
//!  BenchArgs ─► clusters: ours, etcd, or endpoints ─► rounds: case × side, taking turns
//!                                                         │
//!                      samples (all kept, sorted) ◄── load (closed loop)
//!                         └─► medians over rounds, ratios, what limited them
//! ```
//!
//! Both sides get the same clients, the same values, the same machine and the same disk; both
//! fsync before they acknowledge. Sides take turns within one run, and who goes first changes
//! with every round, so that a noisy minute hurts both.
//!
//! A closed loop: each client asks again as soon as it was answered. Percentiles are exact: every
//! sample is kept.
//!
//! Left out on purpose: watches, leases, transactions, and an open loop (the lab's workload has
//! one). No lab stands between the members that are measured.

mod cluster;
mod limits;
mod load;
mod run;
mod samples;
mod table;

pub use run::{BenchArgs, bench};
