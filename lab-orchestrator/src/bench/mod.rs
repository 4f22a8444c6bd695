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
//! Beside it `raft-lab curves` measures what a slower disk, a longer way and more keys come to; its
//! members are a lab's, whose network can be made slow.
//!
//! Left out on purpose: watches, leases, transactions, and an open loop (the lab's workload has
//! one). No lab stands between the members that `bench` measures.

mod cluster;
mod curves;
mod limits;
mod load;
mod run;
mod samples;
mod table;

pub use curves::{CurvesArgs, curves};
pub use run::{BenchArgs, bench};
