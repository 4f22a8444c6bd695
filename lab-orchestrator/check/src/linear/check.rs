//! The check: it gathers operations, lets the rules judge, and says what came of it.

use lab_protocol::{Call, CheckResult, Event, Numbered, ReadBack};

use super::gathered::Gathered;
use super::run::{Broken, is_open_write, made};
use crate::{Check, Finding};

/// Writes, reads, transactions and compactions happened in one order that agrees with real time.
///
/// The verdict takes time in proportion to the operations (times the logarithm for sorting) and to
/// the keys of all ranges that were read. See the module for what it finds and what it cannot.
#[derive(Clone, Debug)]
pub struct Linearizable {
    at_least: u32,
    gathered: Gathered,
    /// What was found in clusters that were given up since.
    broken: Option<Broken>,
}

impl Linearizable {
    /// Unknown below so many acknowledged operations, or without any write or read.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, gathered: Gathered::default(), broken: None }
    }

    /// Everything up to now is past, and this was there: a window of a run begins.
    pub fn begin_with(&mut self, read: &ReadBack) {
        self.gathered.begin_with(read);
    }

    /// How many revisions nobody is known to have made, or what is broken.
    fn open_gaps(&self) -> Result<usize, Broken> {
        match &self.broken {
            Some(broken) => Err(broken.clone()),
            None => {
                let clusters = self.gathered.clusters();
                clusters.iter().try_fold(0, |gaps, one| Ok(gaps + one.order()?.gaps.gaps.len()))
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
            self.broken = self.open_gaps().err();
        }
        self.gathered.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let run = self.gathered.run();
        let (mut writes, mut reads, mut unknown) = (0, 0, 0);
        for operation in run.operations() {
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
            Ok(_) if writes == 0 || reads == 0 && run.read_backs.is_empty() => {
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
