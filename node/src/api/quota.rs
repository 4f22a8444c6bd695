//! The quota: what happens when a member's state takes more of the disk than it may.
//!
//! The member raises the alarm `NOSPACE` through the log. As long as that is active every member
//! refuses what would make the state grow; deletions, compactions and defragmentation still work,
//! so that room can be made, and `alarm disarm` ends it.
//!
//! ```text
//!   flush ─► measured ─► larger than the quota? ─┐
//!   a client's write ──► would it be larger? ────┴─► alarm NOSPACE, by log ─► the state machine
//! ```

use std::sync::atomic::Ordering;

use etcd_api::etcdserverpb::{AlarmRequest, AlarmType, alarm_request::AlarmAction};

use super::error::ClientError;
use super::face::Face;
use crate::handle::Refusal;
use crate::kv::{self, KvError, Op};

impl Face {
    /// Raises the alarm and refuses, if the operation would make the state larger than its quota.
    pub(super) async fn check_quota(&self, op: &Op) -> Result<(), ClientError> {
        let cost = kv::op_cost(op);
        if cost == 0 || !self.exceeds_quota(cost) {
            return Ok(());
        }
        // Refused here whether or not the others hear of it.
        self.raise_no_space().await.ok();
        Err(KvError::NoSpace.into())
    }

    /// Raises the alarm as soon as the state has grown larger than its quota, whoever wrote to it.
    /// Ends only by being dropped.
    pub(crate) async fn guard_quota(&self) {
        let mut before = 0;
        loop {
            let measured = self.handle.glance().measured.notified();
            let bytes = self.handle.glance().state_bytes.load(Ordering::Relaxed);
            // If it fails it is tried again when the state has grown more.
            if bytes > before && self.exceeds_quota(0) && !self.is_out_of_space() {
                self.raise_no_space().await.ok();
            }
            before = bytes;
            measured.await;
        }
    }

    fn exceeds_quota(&self, more: u64) -> bool {
        let glance = self.handle.glance();
        // What is not flushed yet will be soon.
        let grown = glance.grown_bytes.load(Ordering::Relaxed);
        let bytes = glance.state_bytes.load(Ordering::Relaxed);
        bytes.saturating_add(grown).saturating_add(more) >= self.limits.quota_bytes
    }

    fn is_out_of_space(&self) -> bool {
        self.handle.store().alarms().any(|active| active.alarm() == AlarmType::Nospace)
    }

    async fn raise_no_space(&self) -> Result<(), Refusal> {
        let member = self.handle.glance().member;
        if self.handle.store().has_alarm(member, AlarmType::Nospace) {
            return Ok(());
        }
        tracing::warn!(
            quota_bytes = self.limits.quota_bytes,
            "the state is larger than --quota-backend-bytes: writes are refused until it was \
             compacted and defragmented and the alarm was disarmed"
        );
        let request = AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: member.0,
            alarm: AlarmType::Nospace.into(),
        };
        self.handle.propose(Op::Alarm(request)).await.map(drop)
    }
}
