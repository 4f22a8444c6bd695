//! The apply thread: takes committed entries, changes the state machine, answers.
//!
//! One step takes what waits, applies it under one hold of the store's lock, hands the rows to the
//! flush thread, then answers: a client that has its answer can read its write anywhere on this
//! member.
//!
//! A change of the configuration stops it: what follows such an entry is applied only after the
//! replica has put the change into effect and said what the configuration is now, so that the
//! configuration stored with an index is the one that applied at it.
//!
//! Entries are the same on every member, and so is what comes of them: no answer depends on a clock,
//! and an error that only this member would get ends the node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use node_protocol::{Index, MemberId, Term};
use parking_lot::{Mutex, RwLock};
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
    EntryType,
};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::cluster::{ChangeError, Member, MemberChange, Membership};
use crate::consensus::driver::{Refused, conf_change};
use crate::consensus::waiters::{Answer, Waiters};
use crate::failpoint::{Failpoint, hit};
use crate::flush::FlushItem;
use crate::handle::Glance;
use crate::inbox::{Input, Refusal};
use crate::kv::{Admission, Change, Command, CommandError, Op, Revised, RowsError, Store, op_cost};
use crate::lease::Lessor;
use crate::progress::{Notice, Progress};

use crate::storage::ReceivedSnapshot;
use crate::training::{Break, PUTS_BEFORE_STALL, Planted};
use crate::watch::WatchHub;

/// Entries applied under one hold of the store's lock; readers get in between.
const ENTRIES_PER_HOLD: usize = 256;

/// Keys looked at between two batches while a compaction removes rows.
const KEYS_PER_COMPACTION: usize = 1_000;

/// Items that may wait for the apply thread; the replica waits while there are as many.
pub const ITEMS: usize = 1024;

/// What the apply thread is given, in order.
#[derive(Debug)]
pub enum Item {
    /// Committed entries, ascending, each once.
    Entries(Vec<Entry>),
    /// The configuration after the change at which the thread waits.
    Configured(Box<ConfState>),
    /// Reads to be served once this entry is applied.
    Reads {
        /// Which entry.
        index: Index,
        /// The reads.
        reads: Vec<oneshot::Sender<Result<(), Refusal>>>,
    },
    /// A snapshot that replaces the state. Nothing else follows before `Installed`.
    Install {
        /// Where it lies.
        received: ReceivedSnapshot,
    },
    /// The snapshot is the state.
    Installed {
        /// The entry it is complete up to.
        applied: Index,
        /// Term of that entry.
        applied_term: Term,
    },
}

/// Why the node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The state cannot be read.
    #[error("failed to read the state at entry {index}: {source}")]
    Read {
        /// While applying which entry.
        index: Index,
        /// Why.
        source: RowsError,
    },
    /// An entry is not a command: it was written by a newer program, or memory is broken.
    #[error(
        "entry {index} is not a command this program knows: {source}; is another member newer?"
    )]
    Command {
        /// Which entry.
        index: Index,
        /// Why.
        source: CommandError,
    },
    /// An entry does not change the configuration as it says.
    #[error("entry {index} is not a change of the configuration: {source}")]
    Change {
        /// Which entry.
        index: Index,
        /// Why.
        source: Refused,
    },
    /// The flush thread is gone.
    #[error("the flush thread ended")]
    FlushEnded,
}

/// What the apply thread is made of.
pub struct Parts {
    /// The state machine.
    pub store: Arc<RwLock<Store>>,
    /// The members.
    pub membership: Arc<RwLock<Membership>>,
    /// Leases by the leader's time.
    pub lessor: Arc<Mutex<Lessor>>,
    /// Watches.
    pub hub: Arc<WatchHub>,
    /// Commands that wait here.
    pub waiters: Arc<Waiters>,
    /// What the replica looks at.
    pub progress: Arc<Progress>,
    /// What faces look at.
    pub glance: Arc<Glance>,
    /// To wake the replica; a full inbox wakes it as well.
    pub replica: flume::Sender<Input>,
    /// To the flush thread. Bounded: while it is full the apply thread waits.
    pub flush: flume::Sender<FlushItem>,
    /// When a lease was granted, for the leader to count from. Nothing else looks at it.
    pub clock: Arc<dyn Clock>,
    /// Planted bugs, in the training build.
    pub planted: Planted,
}

/// The apply thread's state; see the module.
pub struct Apply {
    parts: Parts,
    applied: (Index, Term),
    /// Entries behind a change of the configuration that is not in effect yet.
    held: VecDeque<Entry>,
    changing: Option<Changing>,
    /// A snapshot is about to take the place of the whole state.
    installing: bool,
    reads: BTreeMap<Index, Vec<oneshot::Sender<Result<(), Refusal>>>>,
    changes: Vec<Change>,
    /// Revisions that watches have not been told of.
    revised: Vec<Arc<Revised>>,
    answers: Vec<(crate::kv::CommandId, Answer)>,
    puts: u64,
}

/// A change of the configuration that waits to take effect.
struct Changing {
    index: Index,
    term: Term,
    answer: Option<(crate::kv::CommandId, Answer)>,
}

impl Apply {
    /// Goes on behind what was recovered.
    pub fn new(parts: Parts, applied: (Index, Term)) -> Self {
        parts.progress.set_applied(applied.0);
        Self {
            parts,
            applied,
            held: VecDeque::new(),
            changing: None,
            installing: false,
            reads: BTreeMap::new(),
            changes: Vec::new(),
            revised: Vec::new(),
            answers: Vec::new(),
            puts: 0,
        }
    }

    /// Takes the items in and does all that can be done now.
    pub fn step(&mut self, items: impl IntoIterator<Item = Item>) -> Result<(), ApplyError> {
        for item in items {
            match item {
                Item::Entries(entries) => self.held.extend(entries),
                Item::Configured(conf_state) => self.configured(*conf_state)?,
                Item::Reads { index, reads } => self.reads.entry(index).or_default().extend(reads),
                Item::Install { received } => self.install(received)?,
                Item::Installed { applied, applied_term } => {
                    self.installing = false;
                    self.applied = (applied, applied_term);
                    self.parts.glance.applied.store(applied.0, Ordering::Release);
                }
            }
        }
        if self.held.is_empty() && self.has_work() {
            self.hand_on(None)?;
        }
        while self.changing.is_none() && !self.held.is_empty() && !self.is_stalled() {
            hit(Failpoint::BeforeApply);
            self.apply_some()?;
            hit(Failpoint::Applied);
            // What a change of the members brought goes with the configuration that belongs to it.
            if self.changing.is_none() || self.parts.planted.has(Break::MembersBeforeVotes) {
                self.hand_on(None)?;
                hit(Failpoint::Answered);
            }
        }
        self.serve();
        Ok(())
    }

    /// Whether a step without items would do something: a compaction still removes rows.
    pub fn has_work(&self) -> bool {
        self.changing.is_none() && !self.installing && self.parts.store.read().is_compacting()
    }

    fn apply_some(&mut self) -> Result<(), ApplyError> {
        let store = self.parts.store.clone();
        let mut store = store.write();
        for applied in 0..ENTRIES_PER_HOLD {
            let is_change = |entry: &Entry| entry.get_entry_type() != EntryType::EntryNormal;
            if applied > 0 && self.held.front().is_some_and(is_change) {
                break;
            }
            let Some(entry) = self.held.pop_front() else { break };
            let (index, term) = (Index(entry.index), Term(entry.term));
            assert_eq!(index.0, self.applied.0.0 + 1, "committed entries come in order");
            match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => self.applied = (index, term),
                EntryType::EntryNormal => {
                    self.command(&mut store, index, &entry.data)?;
                    self.applied = (index, term);
                }
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    if self.change(&mut store, &entry)? {
                        return Ok(());
                    }
                    self.applied = (index, term);
                }
            }
        }
        Ok(())
    }

    fn command(&mut self, store: &mut Store, index: Index, data: &Bytes) -> Result<(), ApplyError> {
        let Command { id, low, op } =
            Command::decode(data).map_err(|source| ApplyError::Command { index, source })?;
        let repeated = store.admit(id, low) == Admission::Repeated;
        if repeated && !self.parts.planted.has(Break::ResendAppliedTwice) {
            return Ok(());
        }
        let answer = match op {
            Op::Publish { member, name, client_urls, peer_urls: _ } => {
                let mut membership = self.parts.membership.write();
                self.changes.extend(membership.publish(member, name, client_urls));
                Answer::Members(Ok(membership.members().cloned().collect()))
            }
            // Only what the leader refused comes as a plain command.
            Op::ChangeMembers(change) => {
                let refusal = MemberChange::decode(&change)
                    .map_err(|_| ChangeError::BadUrls)
                    .and_then(|change| self.parts.membership.read().check(&change));
                Answer::Members(Err(refusal.err().unwrap_or(ChangeError::Unhealthy)))
            }
            op => {
                if self.is_broken(&op) {
                    return Ok(());
                }
                let applied =
                    store.apply(&op).map_err(|source| ApplyError::Read { index, source })?;
                if applied.result.is_ok() {
                    self.parts.glance.grown_bytes.fetch_add(op_cost(&op), Ordering::Relaxed);
                }
                if let Some(change) = applied.lease {
                    self.parts.lessor.lock().follow(change, self.parts.clock.now_micros());
                }
                if let Some(revised) = applied.revised {
                    self.revised.push(revised);
                }
                Answer::Kv(applied.result)
            }
        };
        if self.parts.waiters.is_mine(id) {
            self.answers.push((id, answer));
        }
        Ok(())
    }

    /// The planted bugs: whether this command is passed over here.
    fn is_broken(&mut self, op: &Op) -> bool {
        let planted = self.parts.planted;
        if !planted.has(Break::ApplySkips) && !planted.has(Break::ApplyStalls) {
            return false;
        }
        let Op::Put(_) = op else { return false };
        self.puts += 1;
        let own = self.parts.glance.member;
        planted.has(Break::ApplySkips) && self.puts % 100 == own.0 % 100
    }

    /// The planted bug: whether this member applies nothing any more.
    fn is_stalled(&self) -> bool {
        self.parts.planted.has(Break::ApplyStalls)
            && self.puts > PUTS_BEFORE_STALL
            && self.parts.membership.read().voters().last() == Some(&self.parts.glance.member)
    }

    /// Starts a change of the configuration; whether there is anything to wait for.
    fn change(&mut self, store: &mut Store, entry: &Entry) -> Result<bool, ApplyError> {
        let (index, term) = (Index(entry.index), Term(entry.term));
        let change = conf_change(entry).map_err(|source| ApplyError::Change { index, source })?;
        let mut answer = None;
        let mut raft_change = change;
        // Without a context it is raft's own leaving of a joint configuration.
        let context = raft_change.as_ref().map(|change| change.context.clone()).unwrap_or_default();
        if !context.is_empty() {
            let Command { id, low, op } = Command::decode(&context)
                .map_err(|source| ApplyError::Command { index, source })?;
            if store.admit(id, low) == Admission::Repeated {
                return Ok(false);
            }
            let result = self.change_members(&op);
            let is_of_votes = matches!(result, Ok((_, true)));
            raft_change = raft_change.filter(|_| is_of_votes);
            let result = result.map(|(members, _)| members);
            answer = self.parts.waiters.is_mine(id).then_some((id, Answer::Members(result)));
        }
        self.parts.progress.notify(Notice::Configure { index, change: raft_change });
        self.parts.replica.try_send(Input::Wake).ok();
        self.changing = Some(Changing { index, term, answer });
        Ok(true)
    }

    /// Changes the members; returns them, and whether their votes changed too.
    fn change_members(&mut self, op: &Op) -> Result<(Vec<Member>, bool), ChangeError> {
        let Op::ChangeMembers(change) = op else { return Err(ChangeError::BadUrls) };
        let change = MemberChange::decode(change).map_err(|_| ChangeError::BadUrls)?;
        let mut membership = self.parts.membership.write();
        membership.check(&change)?;
        self.changes.extend(membership.apply(&change));
        hit(Failpoint::MembersChanged);
        let is_of_votes = !matches!(change, MemberChange::UpdatePeerUrls { .. });
        Ok((membership.members().cloned().collect(), is_of_votes))
    }

    fn configured(&mut self, conf_state: ConfState) -> Result<(), ApplyError> {
        let Some(Changing { index, term, answer }) = self.changing.take() else { return Ok(()) };
        self.applied = (index, term);
        self.answers.extend(answer);
        self.hand_on(Some(conf_state))
    }

    /// Hands what was changed to the flush thread, then answers.
    fn hand_on(&mut self, conf_state: Option<ConfState>) -> Result<(), ApplyError> {
        let (applied, applied_term) = self.applied;
        let mut changes = std::mem::take(&mut self.changes);
        let (last_row, compacting) = {
            let mut store = self.parts.store.write();
            let compacting = store.compact_some(KEYS_PER_COMPACTION);
            changes.append(&mut store.take_changes());
            (store.last_row(), compacting)
        };
        let item = FlushItem::Applied { changes, last_row, applied, applied_term, conf_state };
        self.parts.flush.send(item).map_err(|_| ApplyError::FlushEnded)?;
        self.parts.glance.compacting.store(compacting, Ordering::Release);
        self.parts.progress.set_applied(applied);
        self.parts.glance.applied.store(applied.0, Ordering::Release);
        for revised in self.revised.drain(..) {
            self.parts.hub.publish(&revised);
        }
        for (id, answer) in self.answers.drain(..) {
            self.parts.waiters.answer(id, answer);
        }
        Ok(())
    }

    fn serve(&mut self) {
        while let Some(first) = self.reads.first_entry() {
            if *first.key() > self.applied.0 {
                return;
            }
            for read in first.remove() {
                // Whoever asked may have gone.
                read.send(Ok(())).ok();
            }
        }
    }

    /// Hands a snapshot to the flush thread, which replaces the state under everybody's feet.
    fn install(&mut self, received: ReceivedSnapshot) -> Result<(), ApplyError> {
        // raft-rs hands out no entries beyond a snapshot before it is installed.
        self.held.clear();
        self.changing = None;
        // Of the state that goes: none of it may be written behind the snapshot, nor a compaction of
        // it go on.
        self.changes.clear();
        self.installing = true;
        let item = FlushItem::Install { received };
        self.parts.flush.send(item).map_err(|_| ApplyError::FlushEnded)
    }
}

/// A change of members as raft-rs is told it.
pub fn as_raft(change: &MemberChange) -> ConfChangeV2 {
    let (kind, id): (_, MemberId) = match change {
        MemberChange::Add(member) if member.learner => (ConfChangeType::AddLearnerNode, member.id),
        MemberChange::Add(member) => (ConfChangeType::AddNode, member.id),
        MemberChange::Promote(id) => (ConfChangeType::AddNode, *id),
        MemberChange::Remove(id) => (ConfChangeType::RemoveNode, *id),
        // Not put into effect: it would make a voter of a learner.
        MemberChange::UpdatePeerUrls { id, .. } | MemberChange::Refused(id, _) => {
            (ConfChangeType::AddNode, *id)
        }
    };
    let mut single = ConfChangeSingle::default();
    single.set_change_type(kind);
    single.node_id = id.0;
    let mut raft = ConfChangeV2::default();
    raft.set_transition(ConfChangeTransition::Auto);
    raft.mut_changes().push(single);
    raft
}
