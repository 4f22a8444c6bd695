//! A slow disk or a starved machine, told to its operator.
//!
//! etcd's guide on hardware: 99 of 100 fsyncs of the log should take less than 10 ms, and a leader
//! whose heartbeats are late will be deposed. Neither is an error; both come before one.

use crate::metrics::Metrics;

/// What 99 of 100 syncs should stay below.
const SLOW_SYNC_MICROS: u32 = 10_000;

/// Syncs of one look, at most.
const SYNCS: usize = 1_000;

/// Fewer say nothing about the hundredth.
const FEWEST_SYNCS: usize = 100;

/// How long syncs are gathered, unless [`SYNCS`] come sooner.
const LOOK_MICROS: u64 = 10_000_000;

/// A warning is not repeated for this long.
const QUIET_MICROS: u64 = 60_000_000;

/// What was seen since the last look.
#[derive(Debug, Default)]
pub(super) struct Slowness {
    /// How long syncs took, in microseconds.
    syncs: Vec<u32>,
    looked_at: u64,
    ticked_at: Option<u64>,
    syncs_told_at: Option<u64>,
    heartbeats_told_at: Option<u64>,
    late_heartbeats: u64,
}

impl Slowness {
    /// A sync of the log took so long.
    pub(super) fn synced(&mut self, took: std::time::Duration) {
        if self.syncs.len() < SYNCS {
            self.syncs.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// A tick passes; `heartbeat_micros` is how often this member is to send heartbeats, if it
    /// leads.
    pub(super) fn tick(
        &mut self,
        now_micros: u64,
        heartbeat_micros: Option<u64>,
        metrics: &Metrics,
    ) {
        let before = self.ticked_at.replace(now_micros);
        if let (Some(before), Some(heartbeat)) = (before, heartbeat_micros) {
            // As etcd: twice the interval is late.
            let late = now_micros.saturating_sub(before).saturating_sub(2 * heartbeat);
            if late > 0 {
                metrics.heartbeat_send_failures.inc();
                self.late_heartbeats += 1;
                if is_due(&mut self.heartbeats_told_at, now_micros) {
                    tracing::warn!(
                        heartbeat_interval_millis = heartbeat / 1_000,
                        exceeded_millis = late / 1_000,
                        late_heartbeats = self.late_heartbeats,
                        "leader failed to send out heartbeat on time: the disk or the processor \
                         is too slow, or this process was stopped for a while"
                    );
                }
            }
        }
        let is_full = self.syncs.len() == SYNCS;
        if !is_full && now_micros < self.looked_at + LOOK_MICROS {
            return;
        }
        self.looked_at = now_micros;
        if let Some(p99) = p99(&mut self.syncs)
            && p99 > SLOW_SYNC_MICROS
            && is_due(&mut self.syncs_told_at, now_micros)
        {
            tracing::warn!(
                p99_millis = p99 / 1_000,
                syncs = self.syncs.len(),
                "the disk is slow: 99 of 100 fsyncs of the log should take less than 10 ms"
            );
        }
        self.syncs.clear();
    }
}

/// What 99 of 100 are not above; none of too few.
fn p99(syncs: &mut [u32]) -> Option<u32> {
    let place = (syncs.len() * 99).div_ceil(100);
    (syncs.len() >= FEWEST_SYNCS).then(|| *syncs.select_nth_unstable(place - 1).1)
}

/// Whether a warning may be told; if so it counts as told.
fn is_due(told_at: &mut Option<u64>, now_micros: u64) -> bool {
    let is_due = told_at.is_none_or(|told| now_micros >= told + QUIET_MICROS);
    if is_due {
        *told_at = Some(now_micros);
    }
    is_due
}

#[cfg(test)]
mod tests {
    use node_protocol::{ClusterId, MemberId};

    use super::*;

    #[test]
    fn the_hundredth_counts_and_too_few_do_not() {
        let mut few = vec![50_000; FEWEST_SYNCS - 1];
        assert_eq!(p99(&mut few), None);
        for (slow, expected) in [(1, 100), (2, 20_000)] {
            let mut syncs = vec![100; FEWEST_SYNCS];
            syncs[..slow].fill(20_000);
            assert_eq!(p99(&mut syncs), Some(expected), "{slow} slow of {FEWEST_SYNCS}");
        }
    }

    #[test]
    fn a_late_heartbeat_is_counted_of_a_leader_only() {
        let metrics = Metrics::new(MemberId(1), ClusterId(1));
        let mut slowness = Slowness::default();
        for (now, heartbeat, failures) in [
            (0, Some(100), 0),
            (150, Some(100), 0),
            (351, Some(100), 1),
            (900, None, 1),
            (1_000, Some(100), 1),
        ] {
            slowness.tick(now, heartbeat, &metrics);
            assert_eq!(metrics.heartbeat_send_failures.get(), failures, "at {now}");
        }
    }
}
