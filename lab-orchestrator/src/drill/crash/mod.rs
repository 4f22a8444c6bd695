//! `raft-lab crash`: members end at every failpoint and lose their power, under load, judged.
//!
//! ```text
//!  points ◄─ raft-node-training --failpoints
//!     │
//!     ▼                    ┌─► life of cluster 1: blow, blow, judge, blow … ─┐
//!  ledger: what is to do ──┼─► life of cluster 2                             ├─► ledger: what was
//!     ▲   (a bag of blows) └─► …                                             │   done, the report
//!     └──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A *blow* is one failpoint and one way to end there: crash, or lose the power. A life draws blows
//! from a bag that holds every failpoint once, so that none is forgotten, and brings about what
//! leads a member past the failpoint: load, an election, a follower left behind, a start. Then it
//! starts the member again and waits until the cluster is whole.
//!
//! With `--changes` a life changes its members instead, while one of them ends on the way from the
//! proposal to the disk.
//!
//! Invariants: a process that ends at another moment or in another way than it was told to, or that
//! does not come back, is a failure, as is every check that is not valid. A failed life keeps its
//! directory and its recording. A life begins with an empty cluster and is judged to its end.
//!
//! The same seed gives the same draws, not the same run: these are real processes.

mod blows;
mod changes;
mod gate;
mod ledger;
mod life;
mod points;

pub use gate::{CrashArgs, crash};
