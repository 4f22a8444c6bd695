//! Planted bugs, one at a time, for drills that must show a check biting.
//!
//! Only `raft-node-training` can be asked for one. In `raft-node` nothing is ever planted: the
//! question [`Planted::has`] is answered `false` at compile time, so neither the names nor the code
//! behind them are in that program, and a test looks.
//!
//! Beside them the training program has a control socket (`control`), by which it is made to end
//! at a [failpoint](crate::failpoint).

#[cfg(feature = "training")]
pub mod control;

use etcd_api::etcdserverpb::{DeleteRangeResponse, PutResponse, ResponseHeader};

use node_protocol::Revision;

use crate::kv::{Op, Response};

/// A bug that can be planted. Each breaks one promise, and one check of a drill must say so.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "training", derive(Debug, clap::ValueEnum))]
pub enum Break {
    /// The leader answers a write before anybody else has it.
    AcknowledgeBeforeCommit,
    /// Every member answers a write at once, whoever leads.
    AcknowledgeAtOnce,
    /// Neither log nor vote reaches the disk; a restart begins with what was flushed long ago.
    NothingPersisted,
    /// Term and vote do not reach the disk.
    VoteNotPersisted,
    /// A leader without a quorum stays in office.
    CheckQuorumOff,
    /// Who asks whether it could win takes silence for a yes.
    WinWithoutMajority,
    /// A leader leaves office as soon as it cannot reach a member.
    NervousLeader,
    /// A new leader thinks that its predecessor's leases have run out.
    LeaseNotExtended,
    /// A leader counts six seconds too many for each lease.
    LeaseEarly,
    /// Reads are served without asking whether the leader still leads.
    ReadsUnchecked,
    /// Reads wait until every member can be reached.
    ReadsNeedAll,
    /// A read that asks for no leader needs one all the same.
    SerializableNeedsLeader,
    /// Every hundredth put is answered but not applied.
    ApplySkips,
    /// The member with the highest id stops applying after a while.
    ApplyStalls,
    /// A command that waits when nobody leads is refused instead of kept.
    NoQueue,
    /// A command that was sent again is applied again.
    ResendAppliedTwice,
    /// Votes and acknowledgements leave before what they promise is durable.
    PromiseBeforeFsync,
    /// A leader commits entries of earlier terms by counting their replicas (Raft paper §5.4.2).
    OldTermCommitted,
    /// The applied index reaches the disk in a transaction before the rows it stands for.
    AppliedIndexApart,
    /// A revoke of an expired lease outlives the term of the leader that timed it.
    OldLeaderRevokes,
    /// All rounds of reads share one context, so that an old answer confirms a new read.
    ReadContextReused,
    /// The log on disk goes on as if no snapshot had been installed.
    SnapshotKeepsLog,
    /// A leader serves reads for as long as it believes nobody else can have been elected.
    LeaseBasedReads,
    /// A new leader replaces what its predecessors left uncommitted in its log.
    LeaderForgetsTail,
    /// The list of members reaches the disk before the configuration that belongs to it.
    MembersBeforeVotes,
    /// Changes of the configuration are not held back while another is under way.
    NaiveConfigurationSwap,
    /// A watch that a compaction overtook goes on behind it and says nothing of it.
    WatchSkipsCompacted,
    /// The cluster token makes no difference: a member started with another one belongs.
    TokenIgnored,
}

/// The bug that is planted in this process, if any.
#[derive(Clone, Copy, Default)]
pub struct Planted(Option<Break>);

impl Planted {
    /// Plants a bug; without effect in `raft-node`.
    pub const fn new(bug: Option<Break>) -> Self {
        Self(bug)
    }

    /// Whether this bug is planted.
    #[inline(always)]
    pub fn has(self, bug: Break) -> bool {
        cfg!(feature = "training") && self.0 == Some(bug)
    }
}

/// Puts that [`Break::ApplyStalls`] lets through.
pub(crate) const PUTS_BEFORE_STALL: u64 = 60;

/// How much too early [`Break::LeaseEarly`] ends a lease.
pub(crate) const LEASE_EARLY_MICROS: u64 = 6_000_000;

/// What the state machine would probably answer, for [`Break::AcknowledgeBeforeCommit`].
pub(crate) fn guess(op: &Op, revision: Revision) -> Option<Response> {
    let header = Some(ResponseHeader { revision: revision.0 + 1, ..ResponseHeader::default() });
    match op {
        Op::Put(_) => Some(Response::Put(PutResponse { header, prev_kv: None })),
        Op::DeleteRange(_) => {
            let response = DeleteRangeResponse { header, deleted: 1, prev_kvs: Vec::new() };
            Some(Response::DeleteRange(response))
        }
        Op::Txn(_)
        | Op::Compact(_)
        | Op::LeaseGrant { .. }
        | Op::LeaseRevoke { .. }
        | Op::Publish { .. }
        | Op::ChangeMembers(_)
        | Op::Alarm(_) => None,
    }
}
