//! The flush thread: writes the state behind, in few and large durable transactions.
//!
//! What is applied is in the log already, so it may be lost from the state and applied again. The
//! thread gathers changes and writes them together with the applied index in one transaction;
//! only then may the log forget them.

use std::sync::Arc;

use node_protocol::{Index, Term};
use parking_lot::{Mutex, RwLock};
use raft::eraftpb::ConfState;
use tokio::sync::oneshot;

use crate::cluster::Membership;
use crate::handle::Glance;
use crate::inbox::Input;
use crate::kv::{Change, RowKey, Store};
use crate::lease::Lessor;
use crate::metrics::Metrics;
use crate::progress::{Notice, Progress};
use crate::recover::{self, RecoverError, Recovered};
use crate::storage::{FlushBatch, ReceivedSnapshot, State, StateError};
use crate::training::{Break, Planted};
use crate::watch::WatchHub;

/// Changes that make a flush worth its fsyncs, if the last one is [`REST_MICROS`] ago.
const ENOUGH: usize = 1_000;

/// Changes that are flushed at once whatever the time.
const PLENTY: usize = 10_000;

/// Shortest time between two flushes of fewer than [`PLENTY`].
const REST_MICROS: u64 = 20_000;

/// Longest time a change waits.
const LONGEST_MICROS: u64 = 100_000;

/// Items that may wait for the flush thread; the apply thread waits while there are as many.
pub const ITEMS: usize = 4096;

/// What the flush thread is given, in order.
#[derive(Debug)]
pub enum FlushItem {
    /// What applying brought.
    Applied {
        /// In the order in which they happened.
        changes: Vec<Change>,
        /// The newest row among them or before them.
        last_row: RowKey,
        /// The last entry applied.
        applied: Index,
        /// Its term.
        applied_term: Term,
        /// The configuration at that entry, when it changed.
        conf_state: Option<ConfState>,
    },
    /// Make everything before this durable at once, and say so.
    Sync {
        /// Told then.
        done: oneshot::Sender<()>,
    },
    /// A snapshot that replaces the state, on disk and in RAM; ends with
    /// [`Notice::Installed`].
    Install {
        /// Where it lies.
        received: ReceivedSnapshot,
    },
}

/// Why the node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The state cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A snapshot that was verified cannot be read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// What the flush thread is made of.
pub struct Parts {
    /// The state on disk.
    pub state: Arc<State>,
    /// The state machine.
    pub store: Arc<RwLock<Store>>,
    /// The members.
    pub membership: Arc<RwLock<Membership>>,
    /// Leases by the leader's time.
    pub lessor: Arc<Mutex<Lessor>>,
    /// Watches.
    pub hub: Arc<WatchHub>,
    /// What the replica looks at.
    pub progress: Arc<Progress>,
    /// What faces look at.
    pub glance: Arc<Glance>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// To wake the replica.
    pub replica: flume::Sender<Input>,
    /// Planted bugs, in the training build.
    pub planted: Planted,
}

/// The flush thread's state; see the module.
pub struct Flush {
    parts: Parts,
    pending: Vec<Change>,
    reached: Option<(Index, Term, RowKey)>,
    conf_state: Option<ConfState>,
    first_at_micros: u64,
    flushed_at_micros: u64,
}

impl Flush {
    /// Nothing waits yet.
    pub fn new(parts: Parts) -> Self {
        let flush = Self {
            parts,
            pending: Vec::new(),
            reached: None,
            conf_state: None,
            first_at_micros: 0,
            flushed_at_micros: 0,
        };
        flush.measure();
        flush
    }

    fn measure(&self) {
        self.parts.glance.measure(&self.parts.state);
    }

    /// Takes items in and flushes if it is time; returns when it will be, if anything waits.
    pub fn step(
        &mut self,
        items: impl IntoIterator<Item = FlushItem>,
        now_micros: u64,
    ) -> Result<Option<u64>, FlushError> {
        let mut asked = Vec::new();
        for item in items {
            match item {
                FlushItem::Sync { done } => asked.push(done),
                FlushItem::Applied { changes, last_row, applied, applied_term, conf_state } => {
                    if self.reached.is_none() {
                        self.first_at_micros = now_micros;
                    }
                    self.pending.extend(changes);
                    self.reached = Some((applied, applied_term, last_row));
                    self.conf_state = conf_state.or(self.conf_state.take());
                }
                FlushItem::Install { received } => {
                    self.pending.clear();
                    self.reached = None;
                    self.conf_state = None;
                    self.install(&received, now_micros)?;
                }
            }
        }
        if !asked.is_empty() {
            self.flush()?;
            self.flushed_at_micros = now_micros;
            // Whoever asked may be gone.
            asked.into_iter().for_each(|done| _ = done.send(()));
        }
        if self.reached.is_none() {
            return Ok(None);
        }
        let due = match self.pending.len() {
            PLENTY.. => now_micros,
            ENOUGH.. => self.flushed_at_micros + REST_MICROS,
            _ => self.first_at_micros + LONGEST_MICROS,
        };
        if due > now_micros {
            return Ok(Some(due));
        }
        self.flush()?;
        self.flushed_at_micros = now_micros;
        Ok(None)
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> Result<(), FlushError> {
        let Some((applied, applied_term, last_row)) = self.reached.take() else { return Ok(()) };
        let changes = std::mem::take(&mut self.pending);
        if self.parts.planted.has(Break::AppliedIndexApart) {
            let (changes, conf_state) = (&[], None);
            self.parts.state.flush(FlushBatch { changes, applied, applied_term, conf_state })?;
        }
        let took = self.parts.state.flush(FlushBatch {
            changes: &changes,
            applied,
            applied_term,
            conf_state: self.conf_state.take().as_ref(),
        })?;
        self.parts.metrics.backend_commit_seconds.observe(took.as_secs_f64());
        self.parts.store.write().flushed(last_row);
        self.parts.progress.set_flushed(applied);
        self.measure();
        Ok(())
    }

    fn install(&self, received: &ReceivedSnapshot, now_micros: u64) -> Result<(), FlushError> {
        let Parts { state, store, membership, lessor, hub, progress, replica, .. } = &self.parts;
        state.install(received)?;
        let Recovered { store: newer, membership: members, applied, applied_term, conf_state: _ } =
            recover::load(state)?;
        lessor.lock().replace(newer.lease_terms(), now_micros);
        let revision = newer.revision();
        *membership.write() = members;
        *store.write() = newer;
        hub.jump(revision);
        progress.set_applied(applied);
        progress.set_flushed(applied);
        self.measure();
        progress.notify(Notice::Installed { index: applied, term: applied_term });
        // A full inbox wakes the replica as well.
        replica.try_send(Input::Wake).ok();
        Ok(())
    }
}
