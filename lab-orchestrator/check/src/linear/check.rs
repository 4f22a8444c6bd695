//! The check: it gathers operations and what was known when each was asked, and lets the rules judge.

use lab_protocol::{Call, CheckResult, Event, Numbered, ReadBack};

use super::run::{Broken, Floor, Run, Who, is_open_write, made};
use super::{gaps, keys::Keys, replay, times};
use crate::history::History;
use crate::{Check, Finding};

/// Writes, reads, transactions and compactions happened in one order that agrees with real time.
///
/// The verdict takes time in proportion to the operations (times the logarithm for sorting) and to
/// the keys of all ranges that were read. See the module for what it finds and what it cannot.
#[derive(Clone, Debug)]
pub struct Linearizable {
    at_least: u32,
    history: History,
    /// What was known when each operation was asked, in that order.
    floors: Vec<Floor>,
    floor: Floor,
    /// Reads of all keys by the lab itself.
    read_backs: Vec<(u64, ReadBack)>,
    /// What was found in clusters that were given up since.
    broken: Option<Broken>,
}

impl Linearizable {
    /// Unknown below so many acknowledged operations, or without any write or read.
    pub fn new(at_least: u32) -> Self {
        Self {
            at_least,
            history: History::default(),
            floors: Vec::new(),
            floor: Floor::START,
            read_backs: Vec::new(),
            broken: None,
        }
    }

    /// How many revisions nobody is known to have made, or what is broken.
    fn open_gaps(&self) -> Result<usize, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let run = Run {
            history: &self.history,
            floors: &self.floors,
            last: self.floor,
            read_backs: &self.read_backs,
        };
        let makers = times::makers(run)?;
        times::real_time(run)?;
        times::compactions(run)?;
        let keys = Keys::of(run);
        let gaps = gaps::resolve(run, &keys, &makers)?;
        replay::replay(run, &keys, &gaps)?;
        match gaps.unmade {
            None => Ok(gaps.gaps.len()),
            Some(revision) => {
                let why = format!(
                    "was told revision {}, but revision {revision} can have been made by nobody",
                    run.last.revision
                );
                let above = makers.partition_point(|(made, _)| *made < revision);
                let next = makers.get(above).map_or(run.last.who, |(_, who)| *who);
                Err(run.broken(run.last.who, next, why))
            }
        }
    }
}

/// Whether it is a write even if it wrote nothing: a transaction that only read is a read.
fn is_certain_write(call: &Call) -> bool {
    call.is_write() && !matches!(call, Call::Txn { .. })
}

impl Check for Linearizable {
    fn observe(&mut self, numbered: &Numbered) {
        if let Event::RunStarted { .. } = numbered.event {
            let broken = self.open_gaps().err();
            *self = Self { broken, ..Self::new(self.at_least) };
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

    fn verdict(&self) -> CheckResult {
        let (mut writes, mut reads, mut unknown) = (0, 0, 0);
        for operation in self.history.iter() {
            match operation.happened() {
                true if made(operation).is_some() || is_certain_write(&operation.call) => {
                    writes += 1
                }
                true => reads += 1,
                false => unknown += usize::from(is_open_write(operation)),
            }
        }
        let finding = match self.open_gaps() {
            Err((why, evidence)) => Finding::invalid(why, evidence),
            Ok(_) if writes + reads < self.at_least as usize => {
                Finding::too_few(writes + reads, self.at_least, "acknowledged operations")
            }
            Ok(_) if writes == 0 || reads == 0 && self.read_backs.is_empty() => {
                Finding::unknown(format!("{writes} writes and {reads} reads do not tell an order"))
            }
            Ok(gaps) => Finding::valid(format!(
                "{writes} writes and {reads} reads in one order, {unknown} writes unknown, {gaps} \
                 revisions made by one of those"
            )),
        };
        finding.of("linearizable", "operations happen in one order that agrees with real time")
    }
}
