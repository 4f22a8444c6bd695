//! Planted bugs, one at a time, for drills that must show a check biting.
//!
//! Only `raft-node-training` can be asked for one. In `raft-node` nothing is ever planted: the
//! question [`Planted::has`] is answered `false` at compile time, so neither the names nor the code
//! behind them are in that program, and a test looks.

use etcd_api::etcdserverpb::{DeleteRangeResponse, PutResponse, ResponseHeader};

use node_protocol::Revision;

use crate::kv::{Op, Response};

/// A bug that can be planted.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "training", derive(Debug, clap::ValueEnum))]
pub enum Break {
    /// The leader answers a write before anybody else has it.
    AcknowledgeBeforeCommit,
    /// Neither log nor vote reaches the disk; a restart begins with what was flushed long ago.
    NothingPersisted,
    /// Term and vote do not reach the disk.
    VoteNotPersisted,
    /// A leader without a quorum stays in office.
    CheckQuorumOff,
    /// A new leader does not extend the leases, and counts their time from the grant.
    LeaseNotExtended,
    /// Reads are served without asking whether the leader still leads.
    ReadsUnchecked,
    /// Every hundredth put is answered but not applied.
    ApplySkips,
    /// A command that finds no leader is refused instead of kept.
    NoQueue,
}

/// The bug that is planted in this process, if any.
#[derive(Clone, Copy, Default)]
pub struct Planted(Option<Break>);

impl Planted {
    /// Plants a bug; without effect in `raft-node`.
    pub fn new(bug: Option<Break>) -> Self {
        Self(bug)
    }

    /// Whether this bug is planted.
    #[inline(always)]
    pub fn has(self, bug: Break) -> bool {
        cfg!(feature = "training") && self.0 == Some(bug)
    }
}

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
        | Op::ChangeMembers(_) => None,
    }
}
