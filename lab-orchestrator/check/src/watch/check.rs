//! The check: it gathers watches beside operations, and says what came of them.

use lab_protocol::{Call, CheckResult, Event, Numbered, ReadBack};

use super::judge::{Compaction, Tally, judge};
use super::rule::Broken;
use super::told::{Watches, by_revision};
use super::truth::Truth;
use crate::linear::Gathered;
use crate::{Check, Finding};

/// Every watch was told what etcd promises: ordered, unique, atomic, reliable, resumable,
/// bookmarkable, filtered, with the rows before, and compacted only when it had to be.
///
/// The verdict takes the time of [`crate::Linearizable`], and for each watch time in proportion to
/// the revisions it was told of. See the module for what it finds and what it cannot.
#[derive(Clone, Debug)]
pub struct WatchGuarantees {
    at_least: u32,
    gathered: Gathered,
    watches: Watches,
    /// What was found in clusters that were given up since.
    broken: Option<Broken>,
}

/// What all watches together were told without anything broken.
struct Judged {
    watches: usize,
    tally: Tally,
    /// Why the operations have no one order, if they have none.
    disorder: Option<String>,
}

impl WatchGuarantees {
    /// Unknown below so many changes that watches were told of.
    pub fn new(at_least: u32) -> Self {
        let (gathered, watches) = (Gathered::default(), Watches::default());
        Self { at_least, gathered, watches, broken: None }
    }

    /// Everything up to now is past, and this was there: a window of a run begins. No watch of before
    /// goes on.
    pub fn begin_with(&mut self, read: &ReadBack) {
        self.gathered.begin_with(read);
    }

    fn judged(&self) -> Result<Judged, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let run = self.gathered.run();
        let order = self.gathered.order();
        let told = by_revision(&self.watches);
        let (truth, disorder) = match &order {
            Ok(order) => (Truth::of(order, &told), None),
            Err((why, _)) => (Truth::default(), Some(why.clone())),
        };
        let compactions: Vec<Compaction> = run
            .operations()
            .iter()
            .filter(|operation| operation.may_have_happened())
            .filter_map(|operation| match operation.call {
                Call::Compact { revision } => Some((operation.invoked.seq, revision)),
                _ => None,
            })
            .collect();
        let (mut watches, mut tally) = (0, Tally::default());
        let mut broken: Option<Broken> = None;
        for watch in self.watches.iter() {
            match judge(watch, &truth, run, &compactions) {
                Ok(Tally { events, bookmarks, resumed, compacted }) => {
                    watches += 1;
                    tally.events += events;
                    tally.bookmarks += bookmarks;
                    tally.resumed += resumed;
                    tally.compacted += compacted;
                }
                Err(one) if broken.as_ref().is_none_or(|first| one.seq < first.seq) => {
                    broken = Some(one);
                }
                Err(_) => {}
            }
        }
        broken.map_or(Ok(Judged { watches, tally, disorder }), Err)
    }
}

impl Check for WatchGuarantees {
    fn observe(&mut self, numbered: &Numbered) {
        if let Event::RunStarted { .. } = numbered.event {
            self.broken = self.judged().err();
        }
        self.gathered.observe(numbered);
        self.watches.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let finding = match self.judged() {
            Err(broken) => Finding::invalid(broken.to_string(), broken.evidence),
            Ok(Judged { disorder: Some(why), .. }) => Finding::unknown(format!(
                "the operations have no one order, so what there was to tell is unknown: {why}"
            )),
            Ok(Judged { tally, .. }) if tally.events < self.at_least as usize => {
                Finding::too_few(tally.events, self.at_least, "changes told to watches")
            }
            Ok(Judged { watches, tally, disorder: None }) => Finding::valid(format!(
                "{} changes and {} bookmarks told to {watches} watches as promised, {} resumed, {} \
                 compacted",
                tally.events, tally.bookmarks, tally.resumed, tally.compacted
            )),
        };
        finding.of("watch_guarantees", "a watch is told all it asked for, once, whole and in order")
    }
}
