//! A recording, shown again: its events enter a journal at the times at which they happened.
//!
//! Whoever follows that journal sees what a reader of the running lab saw. When the recording is
//! at its end the journal ends, and its last state stays.

use lab_protocol::Numbered;
use tokio::task::JoinSet;

use crate::clock::RunClock;
use crate::journal::{self, Journal, RING_BYTES};

/// A recording that is being shown.
#[derive(Debug)]
pub struct Replay {
    journal: Journal,
    showing: JoinSet<()>,
}

impl Replay {
    /// Begins to show the events of a recording, which are in order and begin with the first.
    pub fn start(events: Vec<Numbered>) -> Self {
        let clock = RunClock::start();
        let (mut writer, journal) = journal::open(clock, RING_BYTES);
        let mut showing = JoinSet::new();
        showing.spawn(async move {
            for event in events {
                let wait_micros = event.at_micros.saturating_sub(clock.now_micros());
                if wait_micros > 1_000 {
                    writer.publish();
                    let due = clock.instant(event.at_micros);
                    tokio::time::sleep_until(due.into()).await;
                }
                writer.replay(event);
            }
        });
        Self { journal, showing }
    }

    /// The journal to follow.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Waits for the end of the recording.
    pub async fn shown(mut self) {
        // It ends when the events do; a panic has been printed.
        while self.showing.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::Event;

    use super::*;

    #[tokio::test]
    async fn a_replay_takes_its_time_and_changes_nothing() {
        let events: Vec<_> = (1..=5)
            .map(|seq| Numbered {
                seq,
                at_micros: seq * 20_000,
                event: Event::Note { text: seq.to_string() },
            })
            .collect();
        let replay = Replay::start(events.clone());
        let mut follower = replay.journal().follow(0);
        let mut seen = Vec::new();
        while let Ok(batch) = follower.next(100).await {
            let now = replay.journal().clock().now_micros();
            assert!(
                batch.iter().all(|event| event.at_micros <= now + 1_000),
                "not before its time"
            );
            seen.extend(batch.iter().map(|event| Numbered::clone(event)));
        }
        assert_eq!(seen, events);
        replay.shown().await;
    }
}
