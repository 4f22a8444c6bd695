//! The journal of a lifetime: the lab's own events, with made-up time.

use lab_protocol::{Event, Numbered};

/// Every event so far.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    events: Vec<Numbered>,
}

impl Journal {
    /// Takes the next event.
    pub(crate) fn push(&mut self, at_micros: u64, event: Event) {
        let seq = self.events.len() as u64 + 1;
        self.events.push(Numbered { seq, at_micros, event });
    }

    pub(crate) fn into_events(self) -> Vec<Numbered> {
        self.events
    }
}
