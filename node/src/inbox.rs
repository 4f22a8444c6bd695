//! What can be asked of the replica, and why it may refuse: the messages of its inbox.

use node_protocol::MemberId;
use raft::eraftpb::Message;
use tokio::sync::oneshot;

use crate::control::Ask;
use crate::lease::{LeaseAnswer, LeaseAsk};
use crate::storage::ReceivedSnapshot;
use crate::transport::Packet;
use crate::transport::links::LinkNews;

/// Why a face gets no answer from the replica, or not the one it asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The state machine refused the command; every member agrees on it.
    #[error(transparent)]
    Kv(#[from] crate::kv::KvError),
    /// A change of members was refused.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ChangeError),
    /// Nobody leads.
    #[error("no leader")]
    NoLeader,
    /// Leadership moved while the request waited.
    #[error("leader changed")]
    LeaderChanged,
    /// This member does not lead, and the request needs the leader.
    #[error("not leader")]
    NotLeader,
    /// The wished-for leader cannot be one.
    #[error("bad leader transferee")]
    BadTransferee,
    /// No answer in time; the command may still be applied.
    #[error("request timed out")]
    TimedOut,
    /// No answer in time, and the leader was lost meanwhile; the command may still be applied.
    #[error("request timed out, possibly due to previous leader failure")]
    TimedOutLeaderLost,
    /// No leader in time; the command may still be applied.
    #[error("context deadline exceeded")]
    DeadlineExceeded,
    /// Too much waits already; nothing was begun.
    #[error("too many requests")]
    TooManyRequests,
    /// The member stops.
    #[error("server stopped")]
    Stopped,
}

/// What can be asked of the replica.
#[derive(Debug)]
pub enum Input {
    /// A command waits in the waiters' table.
    Propose {
        /// Its sequence number there.
        seq: u64,
    },
    /// A linearizable read waits.
    Read {
        /// Answered when the member has applied enough.
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    /// A question only the leader can answer.
    Ask {
        /// The question.
        ask: LeaseAsk,
        /// Answered by this member if it leads, else by the leader.
        answer: oneshot::Sender<Result<LeaseAnswer, Refusal>>,
    },
    /// Hand leadership to another voter.
    MoveLeader {
        /// To whom.
        to: MemberId,
    },
    /// A peer sent something.
    Packet {
        /// Who.
        from: MemberId,
        /// What.
        packet: Packet,
    },
    /// A peer's connection to this member began or ended.
    Caller {
        /// Who.
        from: MemberId,
        /// Began.
        connected: bool,
    },
    /// This member's connection to a peer began, ended, or could not be made.
    Link(LinkNews),
    /// A snapshot arrived whole.
    Arrived {
        /// The message that announced it.
        message: Box<Message>,
        /// Where it lies.
        received: ReceivedSnapshot,
    },
    /// A snapshot this member sent has ended.
    Sent {
        /// To whom.
        to: MemberId,
        /// Whether it arrived.
        arrived: bool,
    },
    /// Without a leader, campaign after so many ticks; 0: as drawn.
    SetTimers {
        /// Ticks.
        ticks: u32,
    },
    /// Campaign now.
    Campaign,
    /// Another thread made progress that the replica should look at.
    Wake,
    /// End in order.
    Stop,
}

/// How the lab asks the replica behind this inbox; false once it ends.
pub fn asked_by_the_lab(inbox: flume::Sender<Input>) -> impl Fn(Ask) -> bool + Send + Sync {
    move |ask| match ask {
        // A full inbox wakes the replica as well.
        Ask::Look => {
            let told = inbox.try_send(Input::Wake);
            !matches!(told, Err(flume::TrySendError::Disconnected(_)))
        }
        Ask::Timers(ticks) => inbox.send(Input::SetTimers { ticks }).is_ok(),
        Ask::Campaign => inbox.send(Input::Campaign).is_ok(),
    }
}
