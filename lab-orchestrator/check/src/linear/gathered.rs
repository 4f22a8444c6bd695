//! What is gathered while a run goes by: its operations, and what was known when each was asked.

use lab_protocol::{Event, Numbered, ReadBack};

use super::order::Order;
use super::run::{Broken, Floor, Run, Who};
use crate::history::History;

/// Everything of the present cluster.
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    history: History,
    /// What was known when each operation was asked, in that order.
    floors: Vec<Floor>,
    floor: Floor,
    /// Reads of all keys by the lab itself.
    read_backs: Vec<(u64, ReadBack)>,
}

impl Default for Gathered {
    fn default() -> Self {
        let history = History::default();
        Self { history, floors: Vec::new(), floor: Floor::START, read_backs: Vec::new() }
    }
}

impl Gathered {
    pub(crate) fn observe(&mut self, numbered: &Numbered) {
        if let Event::RunStarted { .. } = numbered.event {
            *self = Self::default();
        }
        self.history.observe(numbered);
        match &numbered.event {
            Event::Invoked { .. } => self.floors.push(self.floor),
            Event::Returned { op, .. } => {
                if let Some(place) = self.history.place(*op)
                    && let Some(revision) = self.history.operations()[place].revision()
                {
                    self.floor.raise(revision, Who::Operation(place));
                }
            }
            Event::ReadBack(read) if read.failed.is_empty() => {
                self.floor.raise(read.revision, Who::ReadBack(self.read_backs.len()));
                self.read_backs.push((numbered.seq, read.as_ref().clone()));
            }
            _ => {}
        }
    }

    pub(crate) fn run(&self) -> Run<'_> {
        Run {
            history: &self.history,
            floors: &self.floors,
            last: self.floor,
            read_backs: &self.read_backs,
        }
    }

    /// The one order of all operations, or what speaks against it.
    pub(crate) fn order(&self) -> Result<Order<'_>, Broken> {
        Order::of(self.run())
    }
}
