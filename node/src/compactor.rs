//! Auto-compaction: the leader forgets what is older than its operator wants to keep.
//!
//! | mode | kept | looked at | compacts |
//! |---|---|---|---|
//! | `periodic` | what was current within the period | ten times in the period, or in an hour if that is shorter | once the period is over, then every period or hour |
//! | `revision` | so many revisions | every 5 minutes | whenever there are more |
//!
//! Every member looks, so that a new leader knows what was current when; only the leader compacts.
//! The first look is when somebody leads and all that was committed is there: one before would come
//! to nothing, and a member that is started again every few minutes would never compact by
//! revisions.
//!
//! Source: etcd-io/etcd `server/etcdserver/api/v3compactor`.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_api::etcdserverpb::CompactionRequest;
use node_protocol::Revision;

use crate::clock::sleep;
use crate::config::Retention;
use crate::handle::{Handle, Refusal};
use crate::kv::{KvError, Op};

/// Longest time between two compactions of a longer period.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// Looks in the time between two compactions.
const LOOKS: u32 = 10;

/// Time between two looks at the number of revisions.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

impl Retention {
    fn between_compactions(self) -> Duration {
        match self {
            Self::Period(period) => period.min(LONGEST_INTERVAL),
            Self::Revisions(_) => REVISION_INTERVAL,
        }
    }

    fn between_looks(self) -> Duration {
        match self {
            Self::Period(_) => self.between_compactions() / LOOKS,
            Self::Revisions(_) => REVISION_INTERVAL,
        }
    }
}

/// Between two questions for what was committed, while nobody leads.
const LEADER_INTERVAL: Duration = Duration::from_millis(100);

/// What was seen, and what was done about it. Times count from its making.
#[derive(Debug)]
struct Compactor {
    retention: Retention,
    /// The current revision at each look of the period, oldest first.
    seen: VecDeque<Revision>,
    last: Revision,
    next_at: Duration,
}

impl Compactor {
    fn new(retention: Retention) -> Self {
        let next_at = match retention {
            Retention::Period(period) => period,
            Retention::Revisions(_) => Duration::ZERO,
        };
        Self { retention, seen: VecDeque::new(), last: Revision(0), next_at }
    }

    /// Notes the current revision; returns the one to compact at, if it is time.
    fn look(&mut self, at: Duration, current: Revision) -> Option<Revision> {
        let wanted = match self.retention {
            Retention::Period(period) => {
                let wanted = self.seen.front().copied();
                let kept = period.div_duration_f64(self.retention.between_looks()) as usize + 1;
                self.seen.push_back(current);
                while self.seen.len() > kept {
                    self.seen.pop_front();
                }
                wanted?
            }
            Retention::Revisions(count) => Revision(current.0.saturating_sub(count)),
        };
        (at >= self.next_at && wanted.0 > 0 && wanted != self.last).then_some(wanted)
    }

    fn compacted(&mut self, at: Duration, revision: Revision) {
        self.last = revision;
        if let Retention::Period(_) = self.retention {
            self.next_at = at + self.retention.between_compactions();
        }
    }
}

/// Compacts as long as it is polled.
pub async fn run(handle: Handle, retention: Retention) {
    let clock = handle.clock.clone();
    while handle.glance().leader().is_none() || handle.read_barrier().await.is_err() {
        sleep(&*clock, LEADER_INTERVAL).await;
    }
    let mut compactor = Compactor::new(retention);
    let begun = clock.now_micros();
    let elapsed = || Duration::from_micros(clock.now_micros().saturating_sub(begun));
    // The first look is at once.
    let mut pause = Duration::ZERO;
    loop {
        sleep(&*clock, pause).await;
        pause = retention.between_looks();
        let current = handle.store().revision();
        let Some(revision) = compactor.look(elapsed(), current) else { continue };
        let glance = handle.glance();
        if glance.leader() != Some(glance.member) {
            continue;
        }
        let request = CompactionRequest { revision: revision.0, physical: false };
        match handle.propose(Op::Compact(request)).await {
            Ok(_) => tracing::info!(%revision, "compacted by itself"),
            Err(Refusal::Kv(KvError::Compacted)) => {}
            Err(error) => {
                tracing::warn!(%revision, %error, "failed to compact; tries again");
                continue;
            }
        }
        compactor.compacted(elapsed(), revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// One revision a minute from the first on; what is compacted at which minute.
    fn minutes(retention: Retention, count: u32) -> Vec<(u32, i64)> {
        let mut compactor = Compactor::new(retention);
        let mut compacted = Vec::new();
        let mut at = Duration::ZERO;
        while at <= count * MINUTE {
            let minute = at.as_secs() as u32 / 60;
            if let Some(revision) = compactor.look(at, Revision(i64::from(minute) + 1)) {
                compactor.compacted(at, revision);
                compacted.push((minute, revision.0));
            }
            at += retention.between_looks();
        }
        compacted
    }

    #[test]
    fn a_period_is_kept_whole() {
        // Looked at every minute: after ten minutes goes what was current at the start.
        let ten = minutes(Retention::Period(10 * MINUTE), 41);
        assert_eq!(ten, [(10, 1), (20, 10), (30, 20), (40, 30)]);
        // Longer ones are looked at every six minutes and compacted every hour.
        let long = minutes(Retention::Period(120 * MINUTE), 241);
        assert_eq!(long, [(120, 1), (180, 55), (240, 115)]);
    }

    #[test]
    fn so_many_revisions_are_kept() {
        let revisions = minutes(Retention::Revisions(7), 21);
        assert_eq!(revisions, [(10, 4), (15, 9), (20, 14)]);
    }

    #[test]
    fn what_was_compacted_is_not_compacted_again() {
        let mut compactor = Compactor::new(Retention::Period(10 * MINUTE));
        for minute in 0..10 {
            assert_eq!(compactor.look(minute * MINUTE, Revision(5)), None);
        }
        assert_eq!(compactor.look(10 * MINUTE, Revision(5)), Some(Revision(5)));
        compactor.compacted(10 * MINUTE, Revision(5));
        for minute in 11..100 {
            assert_eq!(compactor.look(minute * MINUTE, Revision(5)), None);
        }
    }
}
