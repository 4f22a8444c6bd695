//! What a face may ask of the replica: propose, read, ask the leader, change members, look.
//!
//! A handle is cheap to clone. Everything it sends goes into the replica's bounded inbox; when
//! the inbox is full the face is told so at once ([`Refusal::TooManyRequests`]) and nothing was
//! begun. An answer that does not come in time is *unknown*: the command may still be applied.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::Duration;

use node_protocol::{ClusterId, Index, MemberId, Status, Term};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::{Notify, oneshot, watch};

use crate::clock::{Clock, timeout};
use crate::cluster::{Member, MemberChange, Membership};
use crate::consensus::waiters::{Answer, Outcome, Waiters};
use crate::inbox::Input;
use crate::kv::{Op, Response, Store};
use crate::storage::State;
use crate::training::{Break, Planted};

pub use crate::inbox::Refusal;
pub use crate::lease::{LeaseAnswer, LeaseAsk};

/// What every face may read without asking: kept by the replica and apply threads.
#[derive(Debug)]
pub struct Glance {
    /// This member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its term.
    pub term: AtomicU64,
    /// Whom it believes to lead; 0 for nobody.
    pub leader: AtomicU64,
    /// Last entry known to be committed.
    pub commit: AtomicU64,
    /// Last entry applied.
    pub applied: AtomicU64,
    /// Whether this member is a learner.
    pub learner: AtomicBool,
    /// How much of the disk the state takes, in bytes.
    pub state_bytes: AtomicU64,
    /// How much of that is rows.
    pub state_bytes_in_use: AtomicU64,
    /// Told whenever these two were measured.
    pub measured: Notify,
    /// By how many bytes what was applied since then may have made the state grow.
    pub grown_bytes: AtomicU64,
    /// Whether rows that a compaction made superfluous are still to be given to the flush thread.
    pub compacting: AtomicBool,
    /// Times the leader changed, as seen from here.
    pub leader_changes: AtomicU64,
}

impl Glance {
    /// Nothing is known yet.
    pub fn new(member: MemberId, cluster: ClusterId) -> Self {
        Self {
            member,
            cluster,
            term: AtomicU64::new(0),
            leader: AtomicU64::new(0),
            commit: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            learner: AtomicBool::new(false),
            state_bytes: AtomicU64::new(0),
            state_bytes_in_use: AtomicU64::new(0),
            measured: Notify::new(),
            grown_bytes: AtomicU64::new(0),
            compacting: AtomicBool::new(false),
            leader_changes: AtomicU64::new(0),
        }
    }

    /// Notes the size of the state; if it cannot be measured, the last size stays.
    pub fn measure(&self, state: &State) {
        if let Ok(bytes) = state.bytes_on_disk() {
            self.state_bytes.store(bytes, Ordering::Relaxed);
            self.state_bytes_in_use.store(state.bytes_in_use(), Ordering::Relaxed);
            self.grown_bytes.store(0, Ordering::Relaxed);
            self.measured.notify_waiters();
        }
    }

    /// Whom this member believes to lead.
    pub fn leader(&self) -> Option<MemberId> {
        match self.leader.load(Ordering::Acquire) {
            0 => None,
            id => Some(MemberId(id)),
        }
    }

    /// This member's term.
    pub fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// Last entry applied here.
    pub fn applied(&self) -> Index {
        Index(self.applied.load(Ordering::Acquire))
    }
}

/// What a face holds.
#[derive(Clone)]
pub struct Handle {
    pub(crate) inbox: flume::Sender<Input>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) store: Arc<RwLock<Store>>,
    pub(crate) membership: Arc<RwLock<Membership>>,
    pub(crate) glance: Arc<Glance>,
    pub(crate) status: watch::Receiver<Arc<Status>>,
    /// How long a request may wait here: 5 s and two election timeouts, as etcd.
    pub(crate) request_timeout: Duration,
    /// By which it waits: a request does not time out while the member's time stands still.
    pub(crate) clock: Arc<dyn Clock>,
    /// Planted bugs, in the training build.
    pub(crate) planted: Planted,
}

/// Entries between commit and applied above which no more is taken in (etcd's limit).
const MAX_GAP: u64 = 5_000;

impl Handle {
    /// Replicates a command and returns the state machine's answer.
    ///
    /// Waits out an election. The caller has validated the request. The command is applied at
    /// most once, however often it is sent. Dropping the future gives the answer up, not the
    /// command.
    pub async fn propose(&self, op: Op) -> Result<Response, Refusal> {
        match self.replicate(op).await? {
            Answer::Kv(result) => Ok(result?),
            Answer::Members(_) => unreachable!("members are changed by `change_members`"),
        }
    }

    /// Replicates what this member says of itself.
    pub async fn publish(&self, op: Op) -> Result<(), Refusal> {
        self.replicate(op).await.map(drop)
    }

    async fn replicate(&self, op: Op) -> Result<Answer, Refusal> {
        if self.glance.commit.load(Ordering::Relaxed)
            > self.glance.applied.load(Ordering::Relaxed) + MAX_GAP
        {
            return Err(Refusal::TooManyRequests);
        }
        let changes_before = self.glance.leader_changes.load(Ordering::Relaxed);
        let (ticket, answer) = self.waiters.open(op);
        self.inbox
            .try_send(Input::Propose { seq: ticket.seq() })
            .map_err(|error| refused(&error))?;
        match timeout(&*self.clock, self.request_timeout, answer).await {
            Ok(Ok(Outcome::Answered(answer))) => Ok(*answer),
            Ok(Ok(Outcome::Stopped) | Err(_)) => Err(Refusal::Stopped),
            Err(_) => Err(self.too_late(changes_before)),
        }
    }

    /// Returns once this member has applied everything that was committed anywhere when the call
    /// began; what the store then holds is linearizable.
    pub async fn read_barrier(&self) -> Result<(), Refusal> {
        let (sender, answer) = oneshot::channel();
        self.inbox.try_send(Input::Read { answer: sender }).map_err(|error| refused(&error))?;
        match timeout(&*self.clock, self.request_timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Refusal::Stopped),
            Err(_) => Err(Refusal::TimedOut),
        }
    }

    /// Whether a read that asks for no leader may be served as it is.
    pub fn serves_alone(&self) -> bool {
        !self.planted.has(Break::SerializableNeedsLeader)
    }

    /// Asks the leader about a lease, wherever it is.
    pub async fn ask_leader(&self, ask: LeaseAsk) -> Result<LeaseAnswer, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.inbox.try_send(Input::Ask { ask, answer: sender }).map_err(|error| refused(&error))?;
        match timeout(&*self.clock, self.request_timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Refusal::Stopped),
            Err(_) => Err(Refusal::NoLeader),
        }
    }

    /// Changes the configuration; returns the members after the change.
    pub async fn change_members(&self, change: &MemberChange) -> Result<Vec<Member>, Refusal> {
        match self.replicate(Op::ChangeMembers(change.encode().into())).await? {
            Answer::Members(result) => Ok(result?),
            Answer::Kv(_) => unreachable!("a change of members is answered with members"),
        }
    }

    /// Hands leadership to another voter; returns once it leads.
    pub async fn move_leader(&self, to: MemberId) -> Result<(), Refusal> {
        if self.glance.leader() != Some(self.glance.member) {
            return Err(Refusal::NotLeader);
        }
        if to == self.glance.member {
            return Ok(());
        }
        if self.membership.read().get(to).is_none_or(|member| member.learner) {
            return Err(Refusal::BadTransferee);
        }
        self.inbox.try_send(Input::MoveLeader { to }).map_err(|error| refused(&error))?;
        let mut status = self.status.clone();
        let moved = status.wait_for(|status| status.leader == Some(to));
        match timeout(&*self.clock, self.request_timeout, moved).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Refusal::Stopped),
            Err(_) => Err(Refusal::TimedOut),
        }
    }

    /// The state machine, to read. Hold it briefly and never across an await.
    pub fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read()
    }

    /// The store itself, for faces that follow it (watches).
    pub fn shared_store(&self) -> Arc<RwLock<Store>> {
        self.store.clone()
    }

    /// The members, ascending by id.
    pub fn members(&self) -> Vec<Member> {
        self.membership.read().members().cloned().collect()
    }

    /// What can be known at a glance.
    pub fn glance(&self) -> &Glance {
        &self.glance
    }

    /// The member's latest picture of itself, and word when it changes.
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Commands that wait here for an answer.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    fn too_late(&self, changes_before: u64) -> Refusal {
        if self.glance.leader().is_none() {
            Refusal::DeadlineExceeded
        } else if self.glance.leader_changes.load(Ordering::Relaxed) != changes_before {
            Refusal::TimedOutLeaderLost
        } else {
            Refusal::TimedOut
        }
    }
}

fn refused<T>(error: &flume::TrySendError<T>) -> Refusal {
    match error {
        flume::TrySendError::Full(_) => Refusal::TooManyRequests,
        flume::TrySendError::Disconnected(_) => Refusal::Stopped,
    }
}
