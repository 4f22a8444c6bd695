//! The Raft node and the order of its effects.
//!
//! One call of [`Driver::round`] gives everything that must happen now, in this order:
//!
//! ```text
//!   1  send    what may leave before the fsync (a leader's appends, thesis §10.2.1)
//!   2  apply   entries that are committed and durable here already
//!   3  install a snapshot, durably
//!   4  persist entries and hard state, one fsync if asked
//!   5  send    what promises something (votes, append responses)
//!   6  advance(round) ──► Tail: send, apply what the fsync made committed
//! ```
//!
//! Between `round` and `advance` nothing else may be asked of the driver; the types see to it
//! (`Round` is consumed by `advance`, and the replica is the only caller).
//!
//! raft-rs draws its election timeouts from the thread's random source. After every input the
//! driver puts its own there, a pure function of (seed, member, term, role, draws), where `draws`
//! counts the campaigns: two members that collided once draw anew.

use node_protocol::telemetry::{Progress, ProgressState};
use node_protocol::{Index, MemberId, Role, Status, Term, TraceEvent};
use raft::eraftpb::{
    ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot,
};
use raft::{
    Config, ProgressState as RaftProgress, RawNode, ReadOnlyOption, ReadState, SnapshotStatus,
    StateRole,
};

use super::log::{Log, SnapshotPoint};
use super::split;
use super::trace::{self, Standing};

/// The longest election timeout that is set from outside, ticks.
const LONGEST_SET_TICKS: u32 = 10_000;

/// What the driver is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This member.
    pub member: MemberId,
    /// Ticks of an election timeout; the drawn one lies between it and its double.
    pub election_ticks: u32,
    /// Ticks between two heartbeats.
    pub heartbeat_ticks: u32,
    /// Ask before disturbing anybody (Raft thesis §9.6).
    pub pre_vote: bool,
    /// A leader that does not hear a quorum leaves office (Raft thesis §6.2).
    pub check_quorum: bool,
    /// Bytes of entries in one message to a peer, [`MESSAGE_BYTES`] as a node ships. At 0 every
    /// entry goes alone.
    pub message_bytes: u64,
    /// Every random choice comes from it.
    pub seed: u64,
}

/// Bytes of entries in one message to a peer.
pub const MESSAGE_BYTES: u64 = 1 << 20;

/// No term and no index is ever beyond it, so that one more is a number yet.
const FARTHEST: u64 = u64::MAX / 2;

/// What must happen now; see the picture above.
pub struct Round {
    /// Messages to send before the fsync.
    pub send_first: Vec<Message>,
    /// Entries to apply, committed and durable here.
    pub apply: Vec<Entry>,
    /// A snapshot to install before anything is persisted.
    pub install: Option<Snapshot>,
    /// What to make durable.
    pub persist: Persist,
    /// Messages to send after the fsync.
    pub send_after: Vec<Message>,
    /// Reads that the leader confirmed: context and index.
    pub reads: Vec<ReadState>,
    ready: raft::Ready,
}

/// What to make durable.
#[derive(Default)]
pub struct Persist {
    /// New entries; a conflicting suffix of the log is overwritten.
    pub entries: Vec<Entry>,
    /// The hard state, when it changed.
    pub hard_state: Option<HardState>,
    /// Whether an fsync must follow; if not, the bytes may reach the disk whenever they do.
    pub sync: bool,
}

/// What the fsync made possible.
pub struct Tail {
    /// Messages to send.
    pub send: Vec<Message>,
    /// Entries to apply.
    pub apply: Vec<Entry>,
    /// Entries of this member that were overwritten: first index, its former term, former last.
    pub truncated: Option<(Index, Term, Index)>,
}

/// Why a message of a peer is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not for this member, or no peer may send it.
    #[error("a message no peer may send")]
    Misplaced,
    /// It contradicts itself.
    #[error("a message that contradicts itself")]
    Implausible,
    /// The leader holds an acknowledgement of this member for entries that are not here.
    #[error(
        "the leader has this member's promise for entries up to {promised}, but its log ends at \
         {last}: its disk lost what it had promised"
    )]
    LostPromise {
        /// Up to which entry this member had promised.
        promised: Index,
        /// Where its log ends.
        last: Index,
    },
    /// raft-rs refused it.
    #[error("{0}")]
    Raft(String),
}

/// A Raft node without I/O.
pub struct Driver {
    raw: RawNode<Log>,
    settings: Settings,
    draws: u64,
    /// What an election timeout was set to, ticks; 0: drawn.
    set_ticks: u32,
    standing: Standing,
    events: Vec<TraceEvent>,
}

impl Driver {
    /// A node that goes on behind `log`. `applied` is the entry its state machine holds.
    pub fn new(settings: Settings, log: Log, applied: Index) -> raft::Result<Self> {
        let config = Config {
            id: settings.member.0,
            election_tick: settings.election_ticks as usize,
            // Each timeout is set by us: drawn up to twice the shortest, or longer in the lab.
            max_election_tick: (settings.election_ticks.max(LONGEST_SET_TICKS) as usize) * 2,
            heartbeat_tick: settings.heartbeat_ticks as usize,
            applied: applied.0,
            max_size_per_msg: settings.message_bytes,
            max_inflight_msgs: 256,
            check_quorum: settings.check_quorum,
            pre_vote: settings.pre_vote,
            batch_append: true,
            max_uncommitted_size: 64 << 20,
            max_committed_size_per_ready: 4 << 20,
            ..Config::default()
        };
        config.validate()?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &logger)?;
        let mut driver = Self {
            standing: Standing { role: Role::Follower, term: Term(0), vote: None, leader: None },
            raw,
            settings,
            draws: 0,
            set_ticks: 0,
            events: Vec::new(),
        };
        driver.standing = driver.look();
        driver.override_timeout();
        Ok(driver)
    }

    /// A tick has passed.
    pub fn tick(&mut self) {
        let elapsed = self.raw.raft.election_elapsed;
        let led = self.raw.raft.state == StateRole::Leader;
        self.raw.tick();
        if !led && self.raw.raft.election_elapsed <= elapsed {
            self.draws += 1;
        }
        self.after();
    }

    /// A message of a peer arrived.
    pub fn receive(&mut self, message: Message) -> Result<(), Refused> {
        self.check(&message)?;
        let raft = &self.raw.raft;
        if message.get_msg_type() == MessageType::MsgAppendResponse
            && message.term == raft.term
            && self.leads_removed()
        {
            return Ok(());
        }
        let lease_holds = raft.check_quorum
            && raft.leader_id != raft::INVALID_ID
            && raft.election_elapsed < raft.election_timeout()
            && message.term > raft.term
            && message.context.is_empty();
        self.events.extend(trace::received(&message, lease_holds));
        let result = self.raw.step(message).map_err(|error| Refused::Raft(error.to_string()));
        self.after();
        result
    }

    /// Whether it leads, and is no member of its own configuration any more: it was removed while
    /// it led. Then it only lets its peers know of that by its heartbeats. It commits nothing any
    /// more, for raft-rs would look for its own progress and panic (`Raft::maybe_commit`).
    fn leads_removed(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Leader && raft.prs().get(raft.id).is_none()
    }

    fn check(&self, message: &Message) -> Result<(), Refused> {
        use MessageType as T;
        let kind = message.get_msg_type();
        let misplaced = match kind {
            T::MsgHup
            | T::MsgBeat
            | T::MsgPropose
            | T::MsgUnreachable
            | T::MsgSnapStatus
            | T::MsgCheckQuorum => true,
            T::MsgAppend
            | T::MsgAppendResponse
            | T::MsgRequestVote
            | T::MsgRequestVoteResponse
            | T::MsgSnapshot
            | T::MsgHeartbeat
            | T::MsgHeartbeatResponse
            | T::MsgTransferLeader
            | T::MsgTimeoutNow
            | T::MsgReadIndex
            | T::MsgReadIndexResp
            | T::MsgRequestPreVote
            | T::MsgRequestPreVoteResponse => false,
        };
        if misplaced || message.to != self.settings.member.0 || message.from == message.to {
            return Err(Refused::Misplaced);
        }
        let numbers = [
            message.term,
            message.index,
            message.log_term,
            message.commit,
            message.commit_term,
            message.reject_hint,
            message.request_snapshot,
        ];
        if numbers.into_iter().any(|number| number > FARTHEST) {
            return Err(Refused::Implausible);
        }
        let follows = |(entry, index): (&Entry, u64)| {
            entry.index == index && entry.term <= message.term && entry.term >= message.log_term
        };
        let plausible = match kind {
            T::MsgAppend => message.entries.iter().zip(message.index + 1..).all(follows),
            T::MsgReadIndex | T::MsgReadIndexResp => message.entries.len() == 1,
            T::MsgAppendResponse => {
                let last = self.raw.raft.raft_log.last_index();
                self.raw.raft.state != StateRole::Leader || message.reject || message.index <= last
            }
            _ => true,
        };
        if !plausible {
            return Err(Refused::Implausible);
        }
        let last = self.raw.raft.raft_log.last_index();
        let current = message.term >= self.raw.raft.term;
        if kind == T::MsgHeartbeat && current && message.commit > last {
            return Err(Refused::LostPromise {
                promised: Index(message.commit),
                last: Index(last),
            });
        }
        Ok(())
    }

    /// Appends commands to the log, all in one message, if this member leads.
    ///
    /// Returns whether they were appended; if not, nothing happened.
    pub fn propose(&mut self, commands: Vec<bytes::Bytes>) -> bool {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.settings.member.0;
        message.entries = commands
            .into_iter()
            .map(|data| Entry { data, ..Entry::default() })
            .collect::<Vec<_>>()
            .into();
        let appended = self.is_leader() && self.raw.step(message).is_ok();
        self.after();
        appended
    }

    /// Proposes a change of the configuration; `context` goes along with it.
    ///
    /// raft-rs turns a change it refuses into an empty entry, so the answer comes from the
    /// applied entry.
    pub fn propose_change(&mut self, context: bytes::Bytes, mut change: ConfChangeV2) -> bool {
        change.set_context(context);
        let appended = self.is_leader() && self.raw.propose_conf_change(vec![], change).is_ok();
        self.after();
        appended
    }

    /// Whether a change of the configuration is already under way.
    pub fn has_pending_change(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }

    /// Asks the leader how far it has committed, under a context that was never used before.
    pub fn read(&mut self, context: Vec<u8>) {
        self.raw.read_index(context);
        self.after();
    }

    /// Whether a read would be answered: somebody leads and has committed in this term.
    pub fn can_read(&self) -> bool {
        let raft = &self.raw.raft;
        raft.leader_id != raft::INVALID_ID
            && raft.raft_log.term(raft.raft_log.committed).is_ok_and(|term| term == raft.term)
    }

    /// From now on an election timeout is so many ticks, instead of a drawn one, but no fewer than
    /// the shortest that is drawn; 0: drawn again.
    pub fn set_timers(&mut self, ticks: u32) {
        self.set_ticks = ticks;
        self.override_timeout();
    }

    /// Campaigns now; `why` is told to whoever follows.
    pub fn campaign(&mut self, why: &str) {
        let told = self.events.len();
        // Refused only in ways that a campaign may lose anyway.
        self.raw.campaign().ok();
        self.after();
        if let Some(TraceEvent::Became { why: reason, .. }) = self.events.get_mut(told) {
            *reason = why.into();
        }
    }

    /// The planted bug: a pre-candidate takes office without being asked.
    pub(crate) fn win_without_majority(&mut self) {
        if self.raw.raft.state == StateRole::PreCandidate && self.raw.raft.election_elapsed > 20 {
            self.raw.raft.become_candidate();
            self.raw.raft.become_leader();
            self.after();
        }
    }

    /// The planted bug: an empty entry of this term right behind what is committed.
    pub(crate) fn forget_tail(&mut self) {
        let raft = &mut self.raw.raft;
        let index = raft.raft_log.committed + 1;
        if index < raft.raft_log.last_index() {
            let entry = Entry { index, term: raft.term, ..Entry::default() };
            raft.raft_log.append(&[entry]);
        }
    }

    /// The planted bug: what a majority stores is committed, whatever its term.
    pub(crate) fn commit_by_counting(&mut self) {
        if self.is_leader() {
            let (stored, _) = self.raw.raft.mut_prs().maximal_committed_index();
            self.raw.raft.raft_log.commit_to(stored);
        }
    }

    /// The planted bug: a change under way does not hold the next one back.
    pub(crate) fn forget_pending_change(&mut self) {
        self.raw.raft.pending_conf_index = 0;
    }

    /// The planted bug: a leader asks nobody whether it still leads.
    pub(crate) fn read_by_lease(&mut self) {
        self.raw.raft.read_only.option = ReadOnlyOption::LeaseBased;
    }

    /// Starts to hand leadership over.
    pub fn transfer_leader(&mut self, to: MemberId) {
        self.raw.transfer_leader(to.0);
        self.after();
    }

    /// At this tick another election timeout has passed in which a member that cannot campaign, a
    /// learner or one that was removed, heard of no leader.
    pub fn is_forgotten(&self) -> bool {
        let raft = &self.raw.raft;
        let timeout = self.settings.election_ticks as usize;
        !raft.promotable()
            && raft.state != StateRole::Leader
            && raft.election_elapsed > 0
            && raft.election_elapsed.is_multiple_of(timeout)
    }

    /// A peer cannot be reached.
    pub fn unreachable(&mut self, peer: MemberId) {
        self.raw.report_unreachable(peer.0);
        self.after();
    }

    /// A snapshot arrived at a peer, or did not.
    pub fn snapshot_ended(&mut self, peer: MemberId, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(peer.0, status);
        self.after();
    }

    /// The state machine has applied up to here.
    pub fn applied(&mut self, index: Index) {
        if index.0 > self.raw.raft.raft_log.applied {
            self.raw.advance_apply_to(index.0);
            self.after();
        }
    }

    /// A committed change of the configuration takes effect; returns the configuration after it.
    pub fn configure(&mut self, change: &ConfChangeV2) -> raft::Result<ConfState> {
        let conf_state = self.raw.apply_conf_change(change)?;
        self.raw.mut_store().set_conf_state(conf_state.clone());
        self.after();
        Ok(conf_state)
    }

    /// What must happen now, if anything.
    pub fn round(&mut self) -> Option<Round> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let send_after = split::fitting(ready.take_persisted_messages());
        let standing = self.standing;
        self.events.extend(send_after.iter().filter_map(|m| trace::sent(m, &standing)));
        let snapshot = ready.snapshot();
        let install = (snapshot.get_metadata().index > 0).then(|| snapshot.clone());
        Some(Round {
            send_first: split::fitting(ready.take_messages()),
            apply: ready.take_committed_entries(),
            install,
            persist: Persist {
                entries: ready.take_entries(),
                hard_state: ready.hs().cloned(),
                sync: ready.must_sync(),
            },
            send_after,
            reads: ready.take_read_states(),
            ready,
        })
    }

    /// All of the round has happened.
    pub fn advance(&mut self, round: Round) -> Tail {
        let Round { persist, install, ready, .. } = round;
        let log = self.raw.mut_store();
        if let Some(snapshot) = install {
            let metadata = snapshot.get_metadata();
            log.reset(&SnapshotPoint {
                index: Index(metadata.index),
                term: Term(metadata.term),
                conf_state: metadata.get_conf_state().clone(),
            });
        }
        if let Some(hard_state) = persist.hard_state {
            log.set_hard_state(hard_state);
        }
        let old_last = log.last();
        let truncated = log.append(&persist.entries).map(|(from, term)| (from, term, old_last));
        let mut light = self.raw.advance_append(ready);
        if let Some(commit) = light.commit_index() {
            self.raw.mut_store().set_commit(Index(commit));
        }
        self.after();
        let send = split::fitting(light.take_messages());
        Tail { send, apply: light.take_committed_entries(), truncated }
    }

    /// Drops log entries up to and including `up_to`. They must be in durable state.
    pub fn compact(&mut self, up_to: Index) {
        self.raw.mut_store().compact(up_to);
    }

    /// The snapshot that consensus has accepted and not yet asked to be installed.
    pub fn accepted_snapshot(&self) -> Option<Index> {
        let snapshot = self.raw.raft.raft_log.unstable.snapshot.as_ref()?;
        Some(Index(snapshot.get_metadata().index))
    }

    /// The log.
    pub fn log(&self) -> &Log {
        self.raw.store()
    }

    /// Whether this member leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Role, term, vote and leader.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Last entry known to be committed.
    pub fn commit(&self) -> Index {
        Index(self.raw.raft.raft_log.committed)
    }

    /// Last entry durable here.
    pub fn persisted(&self) -> Index {
        Index(self.raw.raft.raft_log.persisted)
    }

    /// Last entry of the log, durable or not.
    pub fn last(&self) -> Index {
        Index(self.raw.raft.raft_log.last_index())
    }

    /// Entries of the log that are not applied yet, as far as they are stored.
    pub fn unapplied(&self) -> impl Iterator<Item = &Entry> {
        self.raw.store().entries_after(Index(self.raw.raft.raft_log.applied))
    }

    /// The configuration.
    pub fn conf_state(&self) -> ConfState {
        self.raw.raft.prs().conf().to_conf_state()
    }

    /// What happened since the last call, for whoever wants it told.
    pub fn take_events(&mut self) -> Vec<TraceEvent> {
        std::mem::take(&mut self.events)
    }

    /// Fills in what the driver knows of a status.
    pub fn fill(&self, status: &mut Status) {
        let raft = &self.raw.raft;
        let Standing { role, term, vote, leader } = self.standing;
        (status.role, status.term, status.vote, status.leader) = (role, term, vote, leader);
        status.first = self.log().first();
        status.last = self.last();
        status.persisted = self.persisted();
        status.commit = self.commit();
        // While a snapshot is being installed, the log on disk is no longer the one that counts.
        let replaced = raft.raft_log.unstable.snapshot.is_some();
        status.terms = if replaced { Vec::new() } else { self.log().term_runs(16) };
        let ticks = |ticks: usize| u32::try_from(ticks).unwrap_or(u32::MAX);
        status.election_elapsed_ticks = ticks(raft.election_elapsed);
        status.election_timeout_ticks = ticks(raft.randomized_election_timeout());
        status.promotable = raft.promotable();
        let conf_state = self.conf_state();
        status.voters = ascending(conf_state.get_voters());
        status.learners = ascending(conf_state.get_learners());
        status.progress.clear();
        if self.is_leader() {
            let mut progress: Vec<_> = raft
                .prs()
                .iter()
                .filter(|(id, _)| **id != self.settings.member.0)
                .map(|(&id, progress)| Progress {
                    member: MemberId(id),
                    matched: Index(progress.matched),
                    next: Index(progress.next_idx),
                    state: match progress.state {
                        RaftProgress::Probe => ProgressState::Probe,
                        RaftProgress::Replicate => ProgressState::Replicate,
                        RaftProgress::Snapshot => ProgressState::Snapshot,
                    },
                    recent_active: progress.recent_active,
                })
                .collect();
            progress.sort_by_key(|progress| progress.member);
            status.progress = progress;
        }
    }

    /// The match index of a peer, if this member leads and knows it.
    pub fn matched(&self, peer: MemberId) -> Option<Index> {
        self.raw.raft.prs().get(peer.0).map(|progress| Index(progress.matched))
    }

    fn look(&self) -> Standing {
        let raft = &self.raw.raft;
        Standing {
            role: trace::role_of(raft.state, raft.promotable()),
            term: Term(raft.term),
            vote: trace::somebody(raft.vote),
            leader: trace::somebody(raft.leader_id),
        }
    }

    fn after(&mut self) {
        let now = self.look();
        if now != self.standing {
            trace::changes(&self.standing, &now, &mut self.events);
            self.standing = now;
        }
        self.override_timeout();
    }

    fn override_timeout(&mut self) {
        let Settings { member, election_ticks, seed, .. } = self.settings;
        let Standing { role, term, .. } = self.standing;
        let role = match role {
            Role::Follower | Role::Learner => 0,
            Role::PreCandidate => 1,
            Role::Candidate => 2,
            Role::Leader => 3,
        };
        let drawn = draw(&[seed, member.0, term.0, role, self.draws]);
        let ticks = u64::from(election_ticks) + drawn % u64::from(election_ticks.max(1));
        // Raft takes none that is shorter than the configured one.
        let set = self.set_ticks.clamp(election_ticks, election_ticks.max(LONGEST_SET_TICKS));
        let ticks = if self.set_ticks > 0 { u64::from(set) } else { ticks };
        let ticks = usize::try_from(ticks).expect("an election timeout fits");
        self.raw.raft.set_randomized_election_timeout(ticks);
    }
}

/// Whether an entry changes the configuration, and how.
///
/// The leader encodes the change by raft-rs's own codec; here its few known fields are read by
/// hand within bounds, so that bytes of a peer never reach that codec (RUSTSEC-2024-0437).
pub fn conf_change(entry: &Entry) -> Result<Option<ConfChangeV2>, Refused> {
    match entry.get_entry_type() {
        EntryType::EntryNormal => Ok(None),
        EntryType::EntryConfChangeV2 => {
            super::change::decode_v2(&entry.data).map(Some).ok_or(Refused::Implausible)
        }
        // This program only ever writes the second form.
        EntryType::EntryConfChange => Err(Refused::Implausible),
    }
}

fn ascending(ids: &[u64]) -> Vec<MemberId> {
    let mut ids: Vec<_> = ids.iter().copied().map(MemberId).collect();
    ids.sort();
    ids
}

/// A number from numbers: the same input gives the same output everywhere (splitmix64).
fn draw(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut mixed = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}
