//! What a member says of itself: its latest status, and a bounded feed of what it does.
//!
//! ```text
//!  replica, apply ──► publish(status) ──► watch (only the latest is kept)  ─┐
//!                 └─► trace(event) ─────► ring (oldest dropped, counted) ───┴─► Reader::next
//! ```
//!
//! Speaking never waits and never fails. Nobody needs to listen: then the newest events are kept
//! for the first who does, so that a follower which connects a moment after the start still
//! learns of it. A reader too slow for the ring is told how many events it missed.
//!
//! A status goes out at once, then whenever something changed, at most thirty times a second, and
//! once a second as a sign of life. The election countdown alone is no change: readers
//! extrapolate it, and hear of it when it was reset.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use node_protocol::{
    ClusterId, MemberId, Status, TelemetryFrame, TraceEvent,
    telemetry::{Restored, TELEMETRY_VERSION, Traced},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

/// Events kept while somebody follows. Full: the oldest is dropped, and each reader counts its own
/// losses. At a thousand events a second this is four seconds of a reader's silence.
const RING_EVENTS: usize = 4096;

/// Events kept while nobody follows, for the next reader. Full: the oldest is dropped.
const BACKLOG_EVENTS: usize = 256;

/// Most events in one frame.
const BATCH_EVENTS: usize = 512;

/// Shortest time between two statuses, and between two looks for a change.
const STATUS_GAP: Duration = Duration::from_millis(33);

/// Shortest time between two statuses when only the election countdown was reset.
const RESET_GAP: Duration = Duration::from_millis(100);

/// Longest time between two statuses.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Shortest time between two batches of events: the first goes at once, a flood is batched.
const BATCH_GAP: Duration = Duration::from_millis(8);

/// Who speaks; the first thing a reader hears.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// The member.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The etcd version it reports to clients.
    pub etcd_version: String,
    /// What its cluster began with, if it was restored from a snapshot.
    pub restored: Option<Restored>,
}

/// Where a member speaks. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    shared: Arc<Shared>,
}

struct Shared {
    speaker: Speaker,
    status: watch::Sender<Arc<Status>>,
    ring: Mutex<Ring>,
    /// Wakes waiting readers after an event.
    traced: Notify,
    followers: AtomicUsize,
}

/// The newest events.
struct Ring {
    events: VecDeque<Traced>,
    /// Number of the next event; the first is 1.
    next_seq: u64,
    /// First event that no reader has taken, while nobody follows.
    untold: u64,
}

impl Ring {
    /// Number of the oldest event kept, or of the next one.
    fn oldest(&self) -> u64 {
        self.events.front().map_or(self.next_seq, |event| event.seq)
    }
}

impl Telemetry {
    /// A place to speak, with the status to begin with.
    pub fn new(speaker: Speaker, first: Status) -> Self {
        let ring = Ring { events: VecDeque::new(), next_seq: 1, untold: 1 };
        Self {
            shared: Arc::new(Shared {
                speaker,
                status: watch::Sender::new(Arc::new(first)),
                ring: Mutex::new(ring),
                traced: Notify::new(),
                followers: AtomicUsize::new(0),
            }),
        }
    }

    /// Replaces the status. Wakes whoever waits for a change of it, so call it when something
    /// changed, and at ticks.
    pub fn publish(&self, status: Arc<Status>) {
        self.shared.status.send_replace(status);
    }

    /// The latest status, and word when it changes.
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.shared.status.subscribe()
    }

    /// Whether anybody follows. Ask before you build an event that costs something to build and
    /// means nothing later, such as entries in words.
    pub fn followed(&self) -> bool {
        self.shared.followers.load(Ordering::Relaxed) > 0
    }

    /// Reports one step, taken at `now_micros` of the machine's monotonic clock.
    pub fn trace(&self, event: TraceEvent, now_micros: u64) {
        let followed = self.followed();
        {
            let mut ring = self.shared.ring.lock();
            let seq = ring.next_seq;
            ring.next_seq += 1;
            ring.events.push_back(Traced { seq, at_micros: now_micros, event });
            let keep = if followed { RING_EVENTS } else { BACKLOG_EVENTS };
            while ring.events.len() > keep {
                ring.events.pop_front();
            }
        }
        if followed {
            self.shared.traced.notify_waiters();
        }
    }

    /// The events after this number that are still kept, oldest first; for whoever looks without
    /// waiting, such as a simulation.
    pub fn after(&self, seq: u64) -> Vec<Traced> {
        let ring = self.shared.ring.lock();
        let from = ring.events.partition_point(|event| event.seq <= seq);
        ring.events.range(from..).cloned().collect()
    }

    /// Follows the member from now on; who follows alone first gets what nobody has heard.
    pub fn subscribe(&self) -> Reader {
        let ring = self.shared.ring.lock();
        let others = self.shared.followers.fetch_add(1, Ordering::Relaxed);
        let next_seq = if others == 0 { ring.untold } else { ring.next_seq };
        drop(ring);
        let now = Instant::now();
        Reader {
            shared: self.shared.clone(),
            status: self.shared.status.subscribe(),
            next_seq,
            batch_from: now,
            said_hello: false,
            sent: None,
            changed: false,
            look_from: now,
            due: now,
        }
    }
}

/// One who follows a member.
pub struct Reader {
    shared: Arc<Shared>,
    status: watch::Receiver<Arc<Status>>,
    /// Number of the next event to hand out.
    next_seq: u64,
    /// When the next batch of events may go.
    batch_from: Instant,
    said_hello: bool,
    /// The status sent last, and when; `None` before the first.
    sent: Option<(Arc<Status>, Instant)>,
    /// A status was published since the last look at it.
    changed: bool,
    /// When the status may be looked at again.
    look_from: Instant,
    /// When a status is due even if none is published until then.
    due: Instant,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut ring = self.shared.ring.lock();
        if self.shared.followers.fetch_sub(1, Ordering::Relaxed) == 1 {
            ring.untold = self.next_seq;
        }
    }
}

impl Reader {
    /// The next frame: a `Hello`, a whole `Status`, then what changes and what happens, without
    /// end.
    ///
    /// Cancel safe: a frame is taken and returned without an await in between.
    pub async fn next(&mut self) -> TelemetryFrame {
        if !self.said_hello {
            self.said_hello = true;
            let Speaker { member, name, cluster, etcd_version, restored } =
                self.shared.speaker.clone();
            let pid = std::process::id();
            let version = TELEMETRY_VERSION;
            return TelemetryFrame::Hello {
                version,
                member,
                name,
                cluster,
                etcd_version,
                pid,
                restored,
            };
        }
        let shared = self.shared.clone();
        loop {
            // Registered before the ring is looked at, so that no event falls in between.
            let traced = shared.traced.notified();
            tokio::pin!(traced);
            traced.as_mut().enable();
            let now = Instant::now();
            if let Some(frame) = self.due_status(now) {
                return frame;
            }
            let batching = now < self.batch_from;
            if !batching && let Some(frame) = self.due_events(now) {
                return frame;
            }
            let looking = now >= self.look_from;
            let mut wake = self.due;
            if !looking {
                wake = wake.min(self.look_from);
            }
            if batching {
                wake = wake.min(self.batch_from);
            }
            tokio::select! {
                () = traced, if !batching => {}
                // The sender lives as long as `shared`.
                _ = self.status.changed(), if looking && !self.changed => self.changed = true,
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Everything that waits, without pauses, and the latest status: what to send before the end.
    pub fn rest(&mut self) -> Vec<TelemetryFrame> {
        let now = Instant::now();
        let mut frames: Vec<TelemetryFrame> = std::iter::from_fn(|| self.due_events(now)).collect();
        let latest = Status::clone(&self.status.borrow_and_update());
        frames.push(TelemetryFrame::Status(Box::new(latest)));
        frames
    }

    /// Events that wait, or the number of those that were lost.
    fn due_events(&mut self, now: Instant) -> Option<TelemetryFrame> {
        let ring = self.shared.ring.lock();
        let oldest = ring.oldest();
        if self.next_seq < oldest {
            let count = oldest - self.next_seq;
            self.next_seq = oldest;
            return Some(TelemetryFrame::Dropped { count });
        }
        let skip = usize::try_from(self.next_seq - oldest).unwrap_or(usize::MAX);
        let events: Vec<Traced> =
            ring.events.iter().skip(skip).take(BATCH_EVENTS).cloned().collect();
        let more = ring.events.len() > skip + events.len();
        drop(ring);
        self.next_seq = events.last()?.seq + 1;
        // A reader that lags is not held back further.
        self.batch_from = if more { now } else { now + BATCH_GAP };
        Some(TelemetryFrame::Trace(events))
    }

    /// The status, if it is to go now.
    fn due_status(&mut self, now: Instant) -> Option<TelemetryFrame> {
        let look = now >= self.due || (self.changed && now >= self.look_from);
        if !look {
            return None;
        }
        self.changed = false;
        self.look_from = now + STATUS_GAP;
        let latest = self.status.borrow_and_update().clone();
        if let Some((sent, sent_at)) = &self.sent {
            self.due = *sent_at + difference(sent, &latest).gap();
            if now < self.due {
                return None;
            }
        }
        self.due = now + SIGN_OF_LIFE;
        self.sent = Some((latest.clone(), now));
        Some(TelemetryFrame::Status(Box::new(Status::clone(&latest))))
    }
}

/// How a status differs from the one sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    /// In nothing a reader could not work out.
    Nothing,
    /// Only in that the election countdown began anew.
    Countdown,
    /// In something else.
    Anything,
}

impl Difference {
    /// Shortest time between a status and one that differs so.
    fn gap(self) -> Duration {
        match self {
            Self::Nothing => SIGN_OF_LIFE,
            Self::Countdown => RESET_GAP,
            Self::Anything => STATUS_GAP,
        }
    }
}

fn difference(sent: &Arc<Status>, latest: &Arc<Status>) -> Difference {
    if Arc::ptr_eq(sent, latest) {
        return Difference::Nothing;
    }
    let sent_but_later = Status {
        at_micros: latest.at_micros,
        election_elapsed_ticks: latest.election_elapsed_ticks,
        ..Status::clone(sent)
    };
    let ticks_since =
        latest.at_micros.saturating_sub(sent.at_micros) / u64::from(latest.tick_micros.max(1));
    let extrapolated = u64::from(sent.election_elapsed_ticks) + ticks_since;
    if sent_but_later != **latest {
        Difference::Anything
    } else if u64::from(latest.election_elapsed_ticks) + 1 < extrapolated {
        Difference::Countdown
    } else {
        Difference::Nothing
    }
}

#[cfg(test)]
mod tests {
    use node_protocol::{Index, Revision, Role, Term};
    use tokio::time::timeout;

    use super::*;

    fn status(at_micros: u64, elapsed: u32, commit: u64) -> Status {
        Status {
            at_micros,
            role: Role::Follower,
            term: Term(1),
            vote: None,
            leader: None,
            first: Index(1),
            last: Index(1),
            persisted: Index(1),
            commit: Index(commit),
            applied: Index(1),
            terms: Vec::new(),
            revision: Revision(1),
            tick_micros: 10_000,
            election_elapsed_ticks: elapsed,
            election_timeout_ticks: 150,
            promotable: true,
            voters: Vec::new(),
            learners: Vec::new(),
            progress: Vec::new(),
            waiting_proposals: 0,
            waiting_reads: 0,
            leases: 0,
            fsync_last_micros: 0,
            state_bytes: 0,
        }
    }

    fn telemetry() -> Telemetry {
        let speaker = Speaker {
            member: MemberId(1),
            name: "m1".into(),
            cluster: ClusterId(2),
            etcd_version: "3.5.0".into(),
            restored: None,
        };
        Telemetry::new(speaker, status(0, 0, 1))
    }

    fn seen(count: u64) -> TraceEvent {
        TraceEvent::LeaderSeen { term: Term(count), leader: None }
    }

    async fn next(reader: &mut Reader) -> TelemetryFrame {
        timeout(Duration::from_secs(5), reader.next()).await.expect("a frame comes within 5 s")
    }

    async fn next_trace(reader: &mut Reader) -> Vec<u64> {
        loop {
            if let TelemetryFrame::Trace(events) = next(reader).await {
                return events.iter().map(|event| event.seq).collect();
            }
        }
    }

    #[test]
    fn only_what_a_reader_cannot_work_out_is_a_difference() {
        let sent = Arc::new(status(1_000_000, 5, 1));
        for (latest, expected) in [
            (status(1_000_000, 5, 1), Difference::Nothing),
            // Ten ticks later, ten ticks further; and off by the one tick it may be off.
            (status(1_100_000, 15, 1), Difference::Nothing),
            (status(1_100_000, 14, 1), Difference::Nothing),
            (status(1_100_000, 0, 1), Difference::Countdown),
            (status(1_100_000, 15, 2), Difference::Anything),
            (status(1_100_000, 0, 2), Difference::Anything),
        ] {
            let latest = Arc::new(latest);
            assert_eq!(difference(&sent, &latest), expected, "{latest:?}");
        }
    }

    #[tokio::test]
    async fn a_reader_hears_who_speaks_then_the_whole_picture_then_the_steps() {
        let telemetry = telemetry();
        telemetry.trace(seen(1), 10);
        let mut reader = telemetry.subscribe();
        assert!(matches!(
            next(&mut reader).await,
            TelemetryFrame::Hello { member: MemberId(1), version: TELEMETRY_VERSION, .. }
        ));
        assert!(matches!(next(&mut reader).await, TelemetryFrame::Status(_)));
        // What happened before anybody followed is not lost.
        assert_eq!(next_trace(&mut reader).await, [1]);
        telemetry.trace(seen(2), 20);
        telemetry.trace(seen(3), 30);
        assert_eq!(next_trace(&mut reader).await, [2, 3]);
    }

    #[tokio::test]
    async fn a_change_is_told_and_a_silent_member_gives_signs_of_life() {
        let telemetry = telemetry();
        let mut reader = telemetry.subscribe();
        next(&mut reader).await;
        next(&mut reader).await;
        telemetry.publish(Arc::new(status(1, 0, 7)));
        let before = Instant::now();
        let TelemetryFrame::Status(changed) = next(&mut reader).await else {
            panic!("a status is next");
        };
        assert_eq!(changed.commit, Index(7));
        assert!(before.elapsed() < SIGN_OF_LIFE);
        let before = Instant::now();
        assert!(matches!(next(&mut reader).await, TelemetryFrame::Status(_)));
        assert!(before.elapsed() >= SIGN_OF_LIFE - STATUS_GAP);
    }

    #[tokio::test]
    async fn who_comes_back_continues_and_who_joins_starts_from_now() {
        let telemetry = telemetry();
        let mut first = telemetry.subscribe();
        telemetry.trace(seen(1), 1);
        assert_eq!(next_trace(&mut first).await, [1]);
        drop(first);
        telemetry.trace(seen(2), 2);
        let mut again = telemetry.subscribe();
        let mut second = telemetry.subscribe();
        telemetry.trace(seen(3), 3);
        assert_eq!(next_trace(&mut again).await, [2, 3]);
        assert_eq!(next_trace(&mut second).await, [3]);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let telemetry = telemetry();
        let mut reader = telemetry.subscribe();
        let all = RING_EVENTS as u64 + 10;
        for count in 1..=all {
            telemetry.trace(seen(count), count);
        }
        let mut dropped = 0;
        let mut told = Vec::new();
        while told.last() != Some(&all) {
            match next(&mut reader).await {
                TelemetryFrame::Dropped { count } => dropped += count,
                TelemetryFrame::Trace(events) => told.extend(events.iter().map(|event| event.seq)),
                TelemetryFrame::Hello { .. } | TelemetryFrame::Status(_) => {}
            }
        }
        assert_eq!(dropped, 10);
        assert_eq!(told, (11..=all).collect::<Vec<_>>());
    }
}
