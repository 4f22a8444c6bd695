//! Without a majority nothing is written, and what a member holds can still be read.

use std::collections::BTreeSet;

use lab_protocol::{Call, CheckResult, Event, Numbered, OpId};

use crate::cluster::Cluster;
use crate::history::{History, Operation};
use crate::{Check, Finding};

/// The times in which less than a majority was up, after all had been up.
#[derive(Clone, Debug, Default)]
struct Outage {
    history: History,
    cluster: Cluster,
    /// Asked since the majority was lost, through a member that is up.
    asked: BTreeSet<OpId>,
    is_out: bool,
}

impl Outage {
    /// Follows an event. When an operation returned that was asked in the outage that still lasts,
    /// it is given back.
    fn observe(&mut self, numbered: &Numbered) -> Option<&Operation> {
        self.history.observe(numbered);
        self.cluster.observe(numbered);
        self.is_out = self.cluster.first_fault().is_some() && !self.cluster.majority_is_up();
        if !self.is_out {
            self.asked.clear();
        }
        match &numbered.event {
            Event::Invoked { op, member, .. } if self.is_out && self.cluster.is_up(*member) => {
                self.asked.insert(*op);
                None
            }
            Event::Returned { op, .. } if self.asked.contains(op) => self.history.get(*op),
            _ => None,
        }
    }
}

/// While a majority was down no write was acknowledged.
#[derive(Clone, Debug)]
pub struct WritesStopWithoutQuorum {
    at_least: u32,
    outage: Outage,
    attempts: usize,
    broken: Option<(String, Vec<u64>)>,
}

impl WritesStopWithoutQuorum {
    /// Unknown below so many attempts.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, outage: Outage::default(), attempts: 0, broken: None }
    }
}

impl Check for WritesStopWithoutQuorum {
    fn observe(&mut self, numbered: &Numbered) {
        if let Some(operation) = self.outage.observe(numbered)
            && operation.call.is_write()
            && operation.happened()
            && self.broken.is_none()
        {
            self.broken = Some((operation.words(), operation.evidence()));
        }
        if let Event::Invoked { op, call, .. } = &numbered.event
            && call.is_write()
            && self.outage.asked.contains(op)
        {
            self.attempts += 1;
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match &self.broken {
            Some((words, evidence)) => Finding::invalid(
                format!("{words} was asked and acknowledged while a majority was down"),
                evidence.as_slice(),
            ),
            None if self.attempts < self.at_least as usize => {
                Finding::too_few(self.attempts, self.at_least, "writes asked without a majority")
            }
            None => Finding::valid(format!(
                "{} writes asked without a majority, none acknowledged",
                self.attempts
            )),
        };
        finding.of("writes_stop_without_quorum", "without a majority no write is acknowledged")
    }
}

/// While a majority was down, serializable reads through the others were answered.
#[derive(Clone, Debug)]
pub struct SerializableReadsAnswer {
    at_least: u32,
    outage: Outage,
    answered: usize,
    broken: Option<(String, Vec<u64>)>,
}

impl SerializableReadsAnswer {
    /// Unknown below so many answers.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, outage: Outage::default(), answered: 0, broken: None }
    }
}

impl Check for SerializableReadsAnswer {
    fn observe(&mut self, numbered: &Numbered) {
        let Some(operation) = self.outage.observe(numbered) else { return };
        if !matches!(operation.call, Call::Get { serializable: true, .. }) {
            return;
        }
        if operation.happened() {
            self.answered += 1;
        } else if self.broken.is_none() {
            let why = format!("{} {}", operation.words(), operation.end());
            self.broken = Some((why, operation.evidence()));
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match &self.broken {
            Some((why, evidence)) => {
                Finding::invalid(format!("while a majority was down, {why}"), evidence.as_slice())
            }
            None if self.answered < self.at_least as usize => {
                let cases = "serializable reads answered without a majority";
                Finding::too_few(self.answered, self.at_least, cases)
            }
            None => Finding::valid(format!(
                "{} serializable reads answered without a majority",
                self.answered
            )),
        };
        finding.of("serializable_reads_answer", "a member alone still tells what it holds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    fn majority_down() -> Script {
        Script::new(3).up(&[1, 2, 3]).leads(1, 2).put(1, 3, "k", "early").down(1).down(2)
    }

    #[test]
    fn a_write_acknowledged_without_a_majority_is_named() {
        let asked = majority_down().put(2, 3, "k", "v");
        check(&mut WritesStopWithoutQuorum::new(1), asked.clone().info(2), Valid, "1 writes");
        check(&mut WritesStopWithoutQuorum::new(2), asked.clone().info(2), Unknown, "at least 2");
        let acked = asked.clone().ok(2, 3, None);
        check(&mut WritesStopWithoutQuorum::new(1), acked, Invalid, "operation 2");
        // One that was asked before may have been done before; one that returns after may be done.
        let early = asked.clone().ok(1, 2, None).info(2);
        check(&mut WritesStopWithoutQuorum::new(1), early, Valid, "none acknowledged");
        let back = asked.up(&[1]).ok(2, 3, None);
        check(&mut WritesStopWithoutQuorum::new(1), back, Valid, "none acknowledged");
    }

    #[test]
    fn a_serializable_read_that_failed_is_named() {
        let asked = majority_down().get(2, 3, "k", true);
        check(&mut SerializableReadsAnswer::new(1), majority_down(), Unknown, "0 serializable");
        check(&mut SerializableReadsAnswer::new(1), asked.clone().ok(2, 2, None), Valid, "1 ser");
        check(&mut SerializableReadsAnswer::new(1), asked.fail(2), Invalid, "operation 2");
    }
}
