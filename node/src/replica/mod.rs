//! The one loop: owns the Raft node and its log, performs its effects in order.
//!
//! ```text
//!   inbox ─► step: take everything that waits ─► one MsgPropose, one round of reads ─► rounds
//!                                                 │ send │ apply │ persist + fsync │ send │
//! ```
//!
//! A step takes all inputs that wait, so that all commands of that moment share one message, one
//! write and one fsync (group commit). Messages are taken in before the clock ticks, and a stall
//! counts as one tick: a member that merely slept must not campaign while its leader's heartbeats
//! wait in the inbox.
//!
//! A client's command that reached a follower goes to the leader in a frame of its own, and again
//! whenever there is reason to believe that it was lost; the state machine applies it once (see
//! [`crate::kv::Sessions`]). A revoke of an expired lease is different: only the member that timed
//! it may propose it, in the term in which it leads, so it is never forwarded.

mod commands;
mod leases;
mod slowness;
mod snapshots;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use node_protocol::{Index, MemberId, Status, Term, TraceEvent};
use parking_lot::{Mutex, RwLock};
use raft::eraftpb::{Entry, EntryType, Message};
use tokio::sync::oneshot;

use crate::apply::Item;
use crate::clock::Clock;
use crate::cluster::Membership;
use crate::consensus::driver::Refused;
use crate::consensus::reads::Reads;
use crate::consensus::waiters::Waiters;
use crate::consensus::{Driver, Round};
use crate::failpoint::{Failpoint, hit};
use crate::handle::Glance;
use crate::inbox::{Input, Refusal};
use crate::kv::Store;
use crate::lease::Lessor;
use crate::metrics::Metrics;
use crate::progress::{Notice, Progress};
use crate::storage::ReceivedSnapshot;
use crate::storage::wal::{Batch, Wal, WalError};
use crate::telemetry::Telemetry;
use crate::training::{Break, Planted};
use crate::transport::links::{LinkNews, Links};
use crate::transport::{Forwarded, Packet};
use commands::sound;
use leases::Asks;
use slowness::Slowness;

/// Inputs taken in one step; more wait for the next. Bounds the size of a batch.
pub const INPUTS_PER_STEP: usize = 4096;

/// Bytes of commands in one message to the log.
const PROPOSAL_BYTES: usize = 4 << 20;

/// How often a leader looks for expired leases (etcd's period).
const LEASE_PERIOD_MICROS: u64 = 500_000;

/// Ticks after which the first campaign of a new cluster is begun again if nobody leads.
const CAMPAIGN_TICKS: u32 = 10;

/// Ticks between two writes of a commit index that moved alone.
const COMMIT_TICKS: u64 = 10;

/// Expired leases a leader revokes at once (etcd's limit: 1000 a second).
const REVOKES_AT_ONCE: usize = 500;

/// Why the node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The log cannot be written; what it holds is safe.
    #[error("failed to write the log: {0}")]
    Log(#[from] WalError),
    /// Another thread failed.
    #[error("{0}")]
    Elsewhere(String),
    /// This member was removed from the cluster.
    #[error(
        "the member has been permanently removed from the cluster; to return, remove its data \
         directory and add it as a new member"
    )]
    Removed,
    /// The disk lost entries that this member had promised to keep.
    #[error(
        "{0}; a member that forgets its promises may not go on: remove it from the cluster, \
         empty its data directory and add it as a new member"
    )]
    LostPromise(Refused),
    /// raft-rs refused what it must not refuse.
    #[error("consensus failed: {0}")]
    Raft(#[from] raft::Error),
}

/// What a step ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on.
    Go,
    /// Somebody asked for the end.
    Stop,
}

/// Sends the body of a snapshot to a peer, away from the replica's thread.
pub trait SnapshotSender: Send {
    /// Sends it; ends with [`Input::Sent`].
    fn send(&mut self, message: Message);
}

/// What the replica is made of.
pub struct Parts {
    /// The Raft node.
    pub driver: Driver,
    /// The log on disk.
    pub wal: Wal,
    /// Connections to peers.
    pub links: Box<dyn Links>,
    /// Snapshots to peers.
    pub snapshots: Box<dyn SnapshotSender>,
    /// Commands that wait here.
    pub waiters: Arc<Waiters>,
    /// To the apply thread. Bounded: when it is full the replica waits, and with it the log.
    pub apply: flume::Sender<Item>,
    /// What the other threads did.
    pub progress: Arc<Progress>,
    /// What faces see.
    pub glance: Arc<Glance>,
    /// What readers outside see.
    pub telemetry: Telemetry,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Leases by the leader's time.
    pub lessor: Arc<Mutex<Lessor>>,
    /// The state machine, to look at.
    pub store: Arc<RwLock<Store>>,
    /// The members.
    pub membership: Arc<RwLock<Membership>>,
    /// This member.
    pub member: MemberId,
    /// Length of a tick.
    pub tick_micros: u32,
    /// Ticks of an election timeout.
    pub election_ticks: u32,
    /// Ticks between two heartbeats of a leader.
    pub heartbeat_ticks: u32,
    /// Entries applied before the log is compacted (`--snapshot-count`).
    pub snapshot_count: u64,
    /// Entries kept then for followers that were away for a moment.
    pub catchup_entries: u64,
    /// Refuse changes of members after which too few could be reached to make a quorum.
    pub strict_reconfig_check: bool,
    /// The cluster has just been bootstrapped: nobody has ever led.
    pub fresh: bool,
    /// Planted bugs, in the training build.
    pub planted: Planted,
}

/// The replica; see the module.
pub struct Replica {
    parts: Parts,
    reads: Reads<oneshot::Sender<Result<(), Refusal>>>,
    asks: Asks,
    /// Packets of this step, sent together.
    out: Vec<(MemberId, Packet)>,
    unreachable: Vec<MemberId>,
    own: Vec<u64>,
    forwarded: Vec<Forwarded>,
    /// Commands up to this number were open at the last resend.
    resend_mark: u64,
    resend_in_ticks: u32,
    leases_at_micros: u64,
    /// Leases found expired, to be revoked once a quorum confirms that this member leads.
    expired: Option<(Term, oneshot::Receiver<Result<(), Refusal>>)>,
    connected: BTreeSet<MemberId>,
    callers: BTreeMap<MemberId, usize>,
    /// The snapshot that consensus accepted, until it is installed.
    arrived: Option<(Index, ReceivedSnapshot)>,
    /// The round that waits for its snapshot to be installed.
    installing: Option<Round>,
    /// What arrived meanwhile.
    kept: Vec<Input>,
    seen_leader: Option<(Term, MemberId)>,
    last_sync: Duration,
    slowness: Slowness,
    ticks: u64,
    /// Ticks until the first campaign is begun again.
    campaign_in_ticks: u32,
    /// The commit index in the log on disk is behind.
    commit_unsaved: bool,
    published: Option<Status>,
    published_at_micros: u64,
}

impl Replica {
    /// A replica that has not stepped yet.
    pub fn new(mut parts: Parts) -> Self {
        let mut reads = Reads::new(parts.member, parts.waiters.boot());
        if parts.planted.has(Break::ReadContextReused) {
            reads.reuse_context();
        }
        if parts.planted.has(Break::LeaseBasedReads) {
            parts.driver.read_by_lease();
        }
        let peers = peers(&parts.membership.read());
        parts.links.set_peers(&peers);
        let resend_in_ticks = parts.election_ticks;
        Self {
            parts,
            reads,
            asks: Asks::default(),
            out: Vec::new(),
            unreachable: Vec::new(),
            own: Vec::new(),
            forwarded: Vec::new(),
            resend_mark: 0,
            resend_in_ticks,
            leases_at_micros: 0,
            expired: None,
            connected: BTreeSet::new(),
            callers: BTreeMap::new(),
            arrived: None,
            installing: None,
            kept: Vec::new(),
            seen_leader: None,
            last_sync: Duration::ZERO,
            slowness: Slowness::default(),
            ticks: 0,
            campaign_in_ticks: 0,
            commit_unsaved: false,
            published: None,
            published_at_micros: 0,
        }
    }

    /// Takes the inputs in, lets a tick pass if `tick`, and performs what follows.
    ///
    /// Never waits for another thread, but for a full channel. While a snapshot is installed
    /// nothing may be asked of raft-rs, so inputs are kept and time stands still.
    pub fn step(
        &mut self,
        inputs: impl IntoIterator<Item = Input>,
        tick: bool,
    ) -> Result<Step, Fatal> {
        self.take_notices()?;
        let mut end = Step::Go;
        for input in inputs {
            match input {
                Input::Stop => end = Step::Stop,
                input if self.installing.is_some() => self.kept.push(input),
                input => self.take(input)?,
            }
        }
        if self.installing.is_some() {
            return Ok(end);
        }
        if tick {
            self.tick();
            self.ticks += 1;
            if self.ticks.is_multiple_of(COMMIT_TICKS) {
                self.save_commit()?;
            }
        }
        self.first_campaign(tick);
        self.follow_leader();
        self.propose();
        self.read();
        self.perform_all()?;
        self.answer_asked();
        self.send();
        self.compact()?;
        self.glance();
        self.publish(tick);
        Ok(end)
    }

    fn perform_all(&mut self) -> Result<(), Fatal> {
        while self.installing.is_none()
            && let Some(round) = self.parts.driver.round()
        {
            self.perform(round)?;
            self.follow_leader();
        }
        Ok(())
    }

    /// Refuses everything that waits; nothing is asked of the replica afterwards.
    pub fn stop(mut self) -> Wal {
        for read in self.reads.take() {
            read.send(Err(Refusal::Stopped)).ok();
        }
        self.parts.waiters.stop();
        self.trace(TraceEvent::Stopping);
        self.parts.wal
    }

    fn take_notices(&mut self) -> Result<(), Fatal> {
        if self.installing.is_none() {
            self.parts.driver.applied(self.parts.progress.applied());
        }
        for notice in self.parts.progress.take() {
            match notice {
                Notice::Configure { index, change } => self.configure(index, change)?,
                Notice::Installed { index, term } => self.installed(index, term)?,
                Notice::Fatal(why) => return Err(Fatal::Elsewhere(why)),
            }
        }
        Ok(())
    }

    fn configure(
        &mut self,
        index: Index,
        change: Option<raft::eraftpb::ConfChangeV2>,
    ) -> Result<(), Fatal> {
        let conf_state = match change {
            Some(change) => self.parts.driver.configure(&change)?,
            None => self.parts.driver.conf_state(),
        };
        hit(Failpoint::Configured);
        tracing::info!(%index, ?conf_state, "configuration changed");
        self.parts.apply.send(Item::Configured(Box::new(conf_state))).ok();
        self.repeer();
        let status = &mut Status::default_at(0);
        self.parts.driver.fill(status);
        self.trace(TraceEvent::Configured {
            voters: std::mem::take(&mut status.voters),
            learners: std::mem::take(&mut status.learners),
        });
        if self.parts.membership.read().removed(self.parts.member) {
            // The others may not know yet that this is committed, and need its vote to find out.
            // It ends when one of them, which does, refuses it.
            tracing::info!("removed from the cluster, waits until another member says so");
            self.dial_anew();
        }
        Ok(())
    }

    /// Ends all connections to peers and makes new ones.
    fn dial_anew(&mut self) {
        self.parts.links.set_peers(&BTreeMap::new());
        self.repeer();
    }

    fn repeer(&mut self) {
        let peers = peers(&self.parts.membership.read());
        self.parts.links.set_peers(&peers);
    }

    fn take(&mut self, input: Input) -> Result<(), Fatal> {
        match input {
            Input::Propose { seq } => self.own.push(seq),
            Input::Read { answer } => self.reads.add(answer),
            Input::Ask { ask, answer } => self.ask(ask, answer),
            Input::MoveLeader { to } => self.parts.driver.transfer_leader(to),
            Input::Packet { from, packet } => self.packet(from, packet)?,
            Input::Caller { from, connected } => {
                let count = self.callers.entry(from).or_default();
                *count = if connected { *count + 1 } else { count.saturating_sub(1) };
            }
            Input::Link(news) => self.link(news)?,
            Input::Arrived { message, received } => self.snapshot_arrived(*message, received)?,
            Input::Sent { to, arrived } => self.parts.driver.snapshot_ended(to, arrived),
            Input::SetTimers { ticks } => self.parts.driver.set_timers(ticks),
            Input::Campaign => self.parts.driver.campaign("it was told to campaign"),
            Input::Wake | Input::Stop => {}
        }
        Ok(())
    }

    fn link(&mut self, news: LinkNews) -> Result<(), Fatal> {
        let LinkNews { peer, connected, removed, why } = news;
        if removed {
            return Err(Fatal::Removed);
        }
        if connected {
            self.connected.insert(peer);
            if self.leader() == Some(peer) {
                self.resend();
            }
        } else {
            self.connected.remove(&peer);
            self.parts.driver.unreachable(peer);
            if self.parts.planted.has(Break::NervousLeader)
                && let Some(other) = self.connected.first()
            {
                self.parts.driver.transfer_leader(*other);
            }
        }
        self.trace(TraceEvent::Peer { peer, connected, why });
        Ok(())
    }

    fn packet(&mut self, from: MemberId, packet: Packet) -> Result<(), Fatal> {
        match packet {
            Packet::Raft(message) => self.message(*message),
            Packet::Forward(forwarded) => {
                // What is in the log has to be applied by everybody, so it is read before.
                match sound(&forwarded.command) {
                    Ok(()) => self.forwarded.push(forwarded),
                    Err(why) => tracing::warn!(%from, why, "a forwarded command is refused"),
                }
                Ok(())
            }
            Packet::Ask { id, ask } => {
                self.asked_by(from, id, ask);
                Ok(())
            }
            Packet::Answer { id, answer } => {
                if let Some(answer) = answer
                    && let Some((_, waiting)) = self.asks.open.remove(&id)
                {
                    waiting.send(Ok(answer)).ok();
                }
                Ok(())
            }
        }
    }

    fn message(&mut self, message: Message) -> Result<(), Fatal> {
        let (from, kind) = (message.from, message.get_msg_type());
        match self.parts.driver.receive(message) {
            Ok(()) => {
                if self.parts.planted.has(Break::OldTermCommitted) {
                    self.parts.driver.commit_by_counting();
                }
                Ok(())
            }
            Err(lost @ Refused::LostPromise { .. }) => Err(Fatal::LostPromise(lost)),
            Err(error) => {
                tracing::debug!(from = format_args!("{from:x}"), ?kind, %error, "message refused");
                Ok(())
            }
        }
    }

    fn tick(&mut self) {
        let heartbeat_micros =
            u64::from(self.parts.heartbeat_ticks) * u64::from(self.parts.tick_micros);
        let leads = self.parts.driver.is_leader();
        let now = self.parts.clock.now_micros();
        self.slowness.tick(now, leads.then_some(heartbeat_micros), &self.parts.metrics);
        self.parts.driver.tick();
        if self.parts.driver.is_forgotten() {
            // Whoever knows that this member was removed says so when called.
            self.dial_anew();
        }
        if self.parts.planted.has(Break::WinWithoutMajority) {
            self.parts.driver.win_without_majority();
        }
        // 500 ms, as etcd retries a read whose round brought no answer.
        self.reads.tick(500_000 / self.parts.tick_micros.max(1));
        self.resend_in_ticks -= 1;
        if self.resend_in_ticks == 0 {
            self.resend_in_ticks = self.parts.election_ticks;
            self.resend_old();
            self.ask_again();
        }
        if self.parts.driver.is_leader() {
            self.expire_leases();
        } else {
            self.expired = None;
        }
    }

    /// At a fresh bootstrap the member with the lowest id campaigns as soon as a quorum can hear
    /// it, instead of everybody waiting out a timeout. A connection that has only just been made
    /// may still lose the answers, so it asks again until somebody leads or its own timeout takes
    /// over. Who is not there in time is not needed.
    fn first_campaign(&mut self, tick: bool) {
        if !self.parts.fresh {
            return;
        }
        if self.leader().is_some() || self.ticks > u64::from(self.parts.election_ticks) {
            self.parts.fresh = false;
            return;
        }
        if self.campaign_in_ticks > 0 {
            self.campaign_in_ticks -= u32::from(tick);
            return;
        }
        let voters = self.parts.driver.conf_state().voters;
        let lowest = voters.iter().min().copied();
        if lowest != Some(self.parts.member.0) {
            return;
        }
        let heard = |id: &&u64| {
            let id = MemberId(**id);
            self.connected.contains(&id) && self.callers.get(&id).is_some_and(|calls| *calls > 0)
        };
        if 1 + voters.iter().filter(heard).count() > voters.len() / 2 {
            self.campaign_in_ticks = CAMPAIGN_TICKS;
            self.parts.driver.campaign("the cluster is new and a quorum is connected");
        }
    }

    fn leader(&self) -> Option<MemberId> {
        self.parts.driver.standing().leader
    }

    /// Acts on a new leader: what waited for the old one goes to the new one.
    fn follow_leader(&mut self) {
        let standing = self.parts.driver.standing();
        let now = standing.leader.map(|leader| (standing.term, leader));
        if now == self.seen_leader {
            return;
        }
        let led = self.seen_leader.is_some_and(|(_, leader)| leader == self.parts.member);
        self.seen_leader = now;
        self.reads.restart();
        self.parts.glance.leader.store(now.map_or(0, |(_, leader)| leader.0), Ordering::Release);
        self.parts.glance.term.store(standing.term.0, Ordering::Release);
        if let Some((term, leader)) = now {
            self.parts.glance.leader_changes.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%term, %leader, "leader elected");
            if leader == self.parts.member {
                self.take_office();
            }
            self.resend();
            self.ask_again();
        } else {
            tracing::info!(term = %standing.term, "leader lost");
            if self.parts.planted.has(Break::NoQueue) {
                self.refuse_all();
            }
        }
        if led && now.is_none_or(|(_, leader)| leader != self.parts.member) {
            self.parts.lessor.lock().demote();
            self.expired = None;
        }
    }

    fn read(&mut self) {
        if self.parts.planted.has(Break::ReadsUnchecked) && self.leader().is_some() {
            for read in self.reads.take() {
                read.send(Ok(())).ok();
            }
        }
        if !self.parts.driver.can_read() {
            return;
        }
        if self.parts.planted.has(Break::ReadsNeedAll)
            && self.connected.len() + 1 < self.parts.driver.conf_state().voters.len()
        {
            return;
        }
        while let Some(context) = self.reads.begin() {
            self.parts.driver.read(context);
        }
    }

    fn perform(&mut self, mut round: Round) -> Result<(), Fatal> {
        self.out.extend(packets(std::mem::take(&mut round.send_first)));
        self.hand_snapshots_over();
        self.send();
        self.apply(std::mem::take(&mut round.apply))?;
        for read in std::mem::take(&mut round.reads) {
            if let Some((index, reads)) = self.reads.confirmed(&read.request_ctx, Index(read.index))
            {
                self.serve(index, reads);
            }
        }
        if let Some(snapshot) = &round.install {
            self.install(snapshot)?;
            self.installing = Some(round);
            return Ok(());
        }
        self.finish(round)
    }

    /// The part of a round behind the installation of a snapshot.
    fn finish(&mut self, mut round: Round) -> Result<(), Fatal> {
        if self.parts.planted.has(Break::PromiseBeforeFsync) {
            self.out.extend(packets(std::mem::take(&mut round.send_after)));
            self.send();
        }
        self.persist(&round)?;
        hit(Failpoint::Persisted);
        self.out.extend(packets(std::mem::take(&mut round.send_after)));
        let (first, count) =
            (round.persist.entries.first().map(|e| e.index), round.persist.entries.len());
        let tail = self.parts.driver.advance(round);
        // Who steps down because of another leader's entries says so before they replace its own.
        self.tell_steps();
        if let Some((from, old_term, old_last)) = tail.truncated {
            tracing::info!(%from, %old_last, %old_term, "uncommitted entries overwritten");
            self.trace(TraceEvent::Truncated { from, old_last, old_term });
        }
        if let Some(first) = first {
            self.trace_appended(Index(first), count);
        }
        self.out.extend(packets(tail.send));
        self.hand_snapshots_over();
        self.send();
        self.apply(tail.apply)
    }

    fn persist(&mut self, round: &Round) -> Result<(), Fatal> {
        let persist = &round.persist;
        let mut hard_state = persist.hard_state.clone();
        if self.parts.planted.has(Break::VoteNotPersisted)
            && let Some(hard_state) = &mut hard_state
        {
            // The planted bug: a restart finds neither term nor vote.
            (hard_state.term, hard_state.vote) = (0, 0);
        }
        if !persist.sync {
            // Only the commit index moved: nobody was promised that it is remembered.
            self.commit_unsaved |= hard_state.is_some();
            return Ok(());
        }
        if self.parts.planted.has(Break::NothingPersisted) {
            return Ok(());
        }
        self.commit_unsaved = false;
        let is_vote = persist.entries.is_empty();
        if is_vote {
            hit(Failpoint::VoteBeforeWrite);
        }
        self.parts.wal.append(Batch {
            entries: &persist.entries,
            hard_state: hard_state.as_ref(),
            mark: None,
        })?;
        self.last_sync = self.parts.wal.sync()?;
        if is_vote {
            hit(Failpoint::VoteSynced);
        }
        self.parts.metrics.wal_fsync_seconds.observe(self.last_sync.as_secs_f64());
        self.slowness.synced(self.last_sync);
        Ok(())
    }

    /// Writes the commit index now and then, without an fsync, so that a restarted process knows
    /// at once what it may apply.
    fn save_commit(&mut self) -> Result<(), Fatal> {
        if !std::mem::take(&mut self.commit_unsaved)
            || self.parts.planted.has(Break::NothingPersisted)
            || self.parts.planted.has(Break::VoteNotPersisted)
        {
            return Ok(());
        }
        let hard_state = self.parts.driver.log().hard_state();
        let batch = Batch { hard_state: Some(hard_state), ..Batch::default() };
        self.parts.wal.append(batch)?;
        hit(Failpoint::CommitWritten);
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), Fatal> {
        if entries.is_empty() {
            return Ok(());
        }
        let is_change = |entry: &&Entry| entry.get_entry_type() != EntryType::EntryNormal;
        if let Some(change) = entries.iter().rfind(is_change) {
            self.save_change(change.index)?;
        }
        // The apply thread only ends after this one.
        self.parts.apply.send(Item::Entries(entries)).ok();
        Ok(())
    }

    /// Makes durable that a change of the configuration is committed, before it takes effect:
    /// members that it removed may be gone for ever by the next start, and could not be asked.
    fn save_change(&mut self, index: u64) -> Result<(), Fatal> {
        if self.parts.planted.has(Break::NothingPersisted)
            || self.parts.planted.has(Break::VoteNotPersisted)
        {
            return Ok(());
        }
        let mut hard_state = self.parts.driver.log().hard_state().clone();
        hard_state.commit = hard_state.commit.max(index);
        let batch = Batch { hard_state: Some(&hard_state), ..Batch::default() };
        self.parts.wal.write_and_sync(batch)?;
        hit(Failpoint::ChangeCommitted);
        Ok(())
    }

    fn serve(&self, index: Index, reads: Vec<oneshot::Sender<Result<(), Refusal>>>) {
        if self.parts.progress.applied() >= index {
            for read in reads {
                read.send(Ok(())).ok();
            }
        } else {
            self.parts.apply.send(Item::Reads { index, reads }).ok();
        }
    }

    fn send(&mut self) {
        if self.out.is_empty() {
            return;
        }
        hit(Failpoint::BeforeSend);
        self.parts.links.send(&mut self.out, &mut self.unreachable);
        hit(Failpoint::Sent);
        for peer in std::mem::take(&mut self.unreachable) {
            self.parts.driver.unreachable(peer);
        }
    }
}

fn packets(messages: Vec<Message>) -> impl Iterator<Item = (MemberId, Packet)> {
    messages.into_iter().map(|message| (MemberId(message.to), Packet::Raft(Box::new(message))))
}

fn peers(membership: &Membership) -> BTreeMap<MemberId, Vec<String>> {
    membership.members().map(|member| (member.id, member.peer_urls.clone())).collect()
}
