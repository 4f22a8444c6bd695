//! The journal: every event of a run, numbered and stamped, and its fold.
//!
//! ```text
//!  lab loop ─ append ─► [ ring of the newest events | LabState ] ◄─ cursor ─ follower, follower, …
//! ```
//!
//! There is one [`JournalWriter`], held by the lab's loop. Readers hold a [`Journal`] and follow it
//! with a cursor; nothing is queued per reader. The ring is bounded by bytes: a follower that is
//! overtaken by its end is told so ([`FollowError::Overtaken`]) and starts again from the state.
//!
//! Invariants: sequence numbers have no gaps; times never fall; `state()` is the fold of
//! everything up to its `seq`.

use std::collections::VecDeque;
use std::sync::Arc;

use lab_protocol::{Applied, Event, Fate, LabState, Numbered};
use parking_lot::Mutex;
use postcard::ser_flavors::Size;
use tokio::sync::watch;

use crate::clock::RunClock;

/// What the ring may hold: at two thousand small events a second, some minutes.
pub const RING_BYTES: usize = 64 * 1024 * 1024;

/// What a kept event costs beside its encoding: the event itself, its count and its place.
const KEPT_BYTES: usize = size_of::<Numbered>() + 32;

/// The journal as its readers see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

/// The one end that appends. The journal has ended when it is dropped.
#[derive(Debug)]
pub struct JournalWriter {
    shared: Arc<Shared>,
    /// The newest published number; followers wait for it to change.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Shared {
    clock: RunClock,
    ring_bytes: usize,
    kept: Mutex<Kept>,
    newest: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    state: LabState,
    /// The newest events, ascending and without gaps, each with what it costs.
    ring: VecDeque<(Arc<Numbered>, usize)>,
    bytes: usize,
}

/// A reader's place in the journal.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    newest: watch::Receiver<u64>,
    /// The last event that was read.
    cursor: u64,
}

/// Why a follower cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The events after the cursor are no longer kept; begin again from the state.
    #[error("events after {after} are no longer kept, the oldest is {oldest}")]
    Overtaken {
        /// Where the reader was.
        after: u64,
        /// The oldest event that is kept.
        oldest: u64,
    },
    /// The run is over and everything has been read.
    #[error("the journal has ended")]
    Ended,
}

/// A new journal, and the one end that appends to it.
pub fn open(clock: RunClock, ring_bytes: usize) -> (JournalWriter, Journal) {
    let (sender, newest) = watch::channel(0);
    let shared = Arc::new(Shared { clock, ring_bytes, kept: Mutex::new(Kept::default()), newest });
    (JournalWriter { shared: shared.clone(), newest: sender }, Journal { shared })
}

impl JournalWriter {
    /// Numbers, stamps, folds and keeps one event; returns its number.
    ///
    /// Followers learn of it at the next [`publish`](Self::publish).
    pub fn append(&mut self, mut event: Event) -> u64 {
        let now = self.shared.clock.now_micros();
        let mut kept = self.shared.kept.lock();
        let at_micros = now.max(kept.state.at_micros);
        if let Event::Message(message) = &mut event
            && let Fate::Lands { at_micros: lands } = &mut message.fate
        {
            // A message that was not delayed lands at its event's own time.
            *lands = (*lands).max(at_micros);
        }
        let seq = kept.state.seq + 1;
        kept.keep(Numbered { seq, at_micros, event }, self.shared.ring_bytes);
        seq
    }

    /// Keeps an event of a recording as it was; false when it is not the next one.
    pub fn replay(&mut self, numbered: Numbered) -> bool {
        self.shared.kept.lock().keep(numbered, self.shared.ring_bytes)
    }

    /// Wakes the followers if anything was appended since the last time.
    pub fn publish(&mut self) {
        let seq = self.shared.kept.lock().state.seq;
        self.newest.send_if_modified(|newest| std::mem::replace(newest, seq) != seq);
    }

    /// What the lab knows now, without a copy.
    pub fn with_state<T>(&self, look: impl FnOnce(&LabState) -> T) -> T {
        look(&self.shared.kept.lock().state)
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.publish();
    }
}

impl Journal {
    /// What the lab knows now.
    pub fn state(&self) -> LabState {
        self.shared.kept.lock().state.clone()
    }

    /// Looks at what the lab knows now, without a copy. The journal stands still meanwhile: be
    /// quick.
    pub fn with_state<T>(&self, look: impl FnOnce(&LabState) -> T) -> T {
        look(&self.shared.kept.lock().state)
    }

    /// The run's clock.
    pub fn clock(&self) -> RunClock {
        self.shared.clock
    }

    /// Follows the events after number `after`; 0 follows from the beginning.
    pub fn follow(&self, after: u64) -> Follower {
        Follower { shared: self.shared.clone(), newest: self.shared.newest.clone(), cursor: after }
    }

    /// The state, and a follower of all that comes after it.
    pub fn state_and_follow(&self) -> (LabState, Follower) {
        let state = self.state();
        let follower = self.follow(state.seq);
        (state, follower)
    }

    /// Up to `limit` events after number `after`.
    ///
    /// Errors: [`FollowError::Overtaken`] when they are no longer kept.
    pub fn events_after(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Numbered>>, FollowError> {
        self.shared.kept.lock().after(after, limit)
    }
}

impl Kept {
    /// Folds and keeps an event; false when it is not the next one.
    fn keep(&mut self, numbered: Numbered, ring_bytes: usize) -> bool {
        if self.state.apply(&numbered, true) != Applied::Yes {
            return false;
        }
        let cost = KEPT_BYTES
            + postcard::serialize_with_flavor(&numbered, Size::default())
                .expect("every event has an encoding");
        self.bytes += cost;
        self.ring.push_back((Arc::new(numbered), cost));
        while self.bytes > ring_bytes && self.ring.len() > 1 {
            let (_, freed) = self.ring.pop_front().expect("the ring has more than one event");
            self.bytes -= freed;
        }
        true
    }

    fn after(&self, after: u64, limit: usize) -> Result<Vec<Arc<Numbered>>, FollowError> {
        let Some((oldest, _)) = self.ring.front() else { return Ok(Vec::new()) };
        if after + 1 < oldest.seq {
            return Err(FollowError::Overtaken { after, oldest: oldest.seq });
        }
        let skip = usize::try_from(after + 1 - oldest.seq).unwrap_or(usize::MAX);
        Ok(self.ring.iter().skip(skip).take(limit).map(|(event, _)| event.clone()).collect())
    }
}

impl Follower {
    /// The last event that was read.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// How many events are kept and published behind the cursor.
    pub fn behind(&self) -> u64 {
        self.newest.borrow().saturating_sub(self.cursor)
    }

    /// Up to `limit` events that are there now; empty when there are none.
    ///
    /// Errors: [`FollowError::Overtaken`].
    pub fn take(&mut self, limit: usize) -> Result<Vec<Arc<Numbered>>, FollowError> {
        let events = self.shared.kept.lock().after(self.cursor, limit)?;
        if let Some(last) = events.last() {
            self.cursor = last.seq;
        }
        Ok(events)
    }

    /// Waits until there is something behind the cursor. Cancel safe.
    ///
    /// Errors: [`FollowError::Ended`] when nothing will ever come.
    pub async fn ready(&mut self) -> Result<(), FollowError> {
        let cursor = self.cursor;
        match self.newest.wait_for(|newest| *newest > cursor).await {
            Ok(_) => Ok(()),
            Err(_) => Err(FollowError::Ended),
        }
    }

    /// Waits for events and returns up to `limit` of them, at least one. Cancel safe.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Numbered>>, FollowError> {
        loop {
            self.ready().await?;
            let events = self.take(limit)?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> Event {
        Event::Note { text: text.into() }
    }

    #[test]
    fn events_are_numbered_without_gaps_and_times_never_fall() {
        let (mut writer, journal) = open(RunClock::start(), RING_BYTES);
        for n in 1..=100 {
            assert_eq!(writer.append(note("x")), n);
        }
        let events = journal.events_after(0, 1000).expect("kept");
        assert_eq!(events.len(), 100);
        assert!(events.windows(2).all(|two| two[0].seq + 1 == two[1].seq));
        assert!(events.windows(2).all(|two| two[0].at_micros <= two[1].at_micros));
        assert_eq!(journal.state().seq, 100);
    }

    #[test]
    fn the_ring_is_bounded_and_a_late_reader_is_told() {
        let (mut writer, journal) = open(RunClock::start(), 40 * KEPT_BYTES);
        for _ in 0..500 {
            writer.append(note("a note of some length"));
        }
        writer.publish();
        let mut follower = journal.follow(3);
        let Err(FollowError::Overtaken { after: 3, oldest }) = follower.take(10) else {
            panic!("a reader far behind is told");
        };
        assert!((462..=480).contains(&oldest), "{oldest}");
        let (state, mut follower) = journal.state_and_follow();
        assert_eq!((state.seq, follower.take(10)), (500, Ok(vec![])));
    }

    #[tokio::test]
    async fn a_follower_reads_everything_and_then_the_end() {
        let (mut writer, journal) = open(RunClock::start(), RING_BYTES);
        let mut follower = journal.follow(0);
        writer.append(note("one"));
        writer.append(note("two"));
        writer.publish();
        assert_eq!(follower.next(1).await.expect("one")[0].seq, 1);
        writer.append(note("three"));
        drop(writer);
        let rest = follower.next(10).await.expect("the rest");
        assert_eq!(rest.iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(follower.next(10).await, Err(FollowError::Ended));
    }

    #[test]
    fn state_and_tail_equal_all_events() {
        let (mut writer, journal) = open(RunClock::start(), RING_BYTES);
        writer.append(Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: "0".into(),
            engine: "e".into(),
            token: "t".into(),
            wall_millis: 0,
            members: vec![],
        });
        let mut early = journal.state();
        for n in 0..10 {
            writer.append(note(&n.to_string()));
        }
        for event in journal.events_after(early.seq, 100).expect("kept") {
            assert_eq!(early.apply(&event, true), Applied::Yes);
        }
        assert_eq!(early, journal.state());
    }
}
