//! How far the threads behind the replica have come, and what they need of it.
//!
//! The replica looks here at the start of each step, so the apply and flush threads never wait
//! for its inbox and it never waits for them, except while a snapshot is installed.

use std::sync::atomic::{AtomicU64, Ordering};

use node_protocol::{Index, Term};
use parking_lot::Mutex;
use raft::eraftpb::ConfChangeV2;

/// Shared by the three threads.
#[derive(Debug, Default)]
pub struct Progress {
    applied: AtomicU64,
    flushed: AtomicU64,
    notices: Mutex<Vec<Notice>>,
}

/// What the replica must act on.
#[derive(Debug)]
pub enum Notice {
    /// The apply thread reached a change of the configuration and waits for it to take effect.
    Configure {
        /// Where.
        index: Index,
        /// What raft-rs is told; `None` when the change was refused and nothing changes.
        change: Option<ConfChangeV2>,
    },
    /// A snapshot became the state.
    Installed {
        /// The entry it is complete up to.
        index: Index,
        /// Term of that entry.
        term: Term,
    },
    /// A thread cannot go on; the node must end.
    Fatal(String),
}

impl Progress {
    /// Last entry applied.
    pub fn applied(&self) -> Index {
        Index(self.applied.load(Ordering::Acquire))
    }

    /// Last entry whose effects are durable in the state.
    pub fn flushed(&self) -> Index {
        Index(self.flushed.load(Ordering::Acquire))
    }

    /// The apply thread came this far.
    pub fn set_applied(&self, index: Index) {
        self.applied.store(index.0, Ordering::Release);
    }

    /// The flush thread came this far.
    pub fn set_flushed(&self, index: Index) {
        self.flushed.store(index.0, Ordering::Release);
    }

    /// Leaves a notice; whoever does wakes the replica.
    pub fn notify(&self, notice: Notice) {
        self.notices.lock().push(notice);
    }

    /// Takes the notices, oldest first.
    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock())
    }
}
