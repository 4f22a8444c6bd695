//! Writes sent while nobody led: they wait, and end after the election or unknown.

use std::collections::HashMap;

use lab_protocol::{Call, CheckResult, Command, Event, MemberNo, Numbered};

use crate::cluster::Cluster;
use crate::history::{History, Moment, Operation};
use crate::{Check, Finding, seconds};

/// How long before its deadline a write must have a leader for it to be owed an answer.
const GRACE_MICROS: u64 = 2_000_000;

/// The deadline of a single put that does not say.
const PUT_DEADLINE_MILLIS: u32 = 8_000;

/// The times in which the leader's process was gone and no other had been elected.
#[derive(Clone, Debug, Default)]
struct Gaps {
    history: History,
    cluster: Cluster,
    gaps: Vec<Gap>,
    /// Deadlines of single puts by what they write, and of the running workload, milliseconds.
    deadlines: HashMap<(String, String), u32>,
    workload_deadlines: Vec<(u64, u32)>,
    /// The same of the running mix of errands.
    mix_deadlines: Vec<(u64, u32)>,
}

#[derive(Clone, Debug)]
struct Gap {
    dead: MemberNo,
    opened: Moment,
    closed: Option<Moment>,
}

/// A put that was sent in a gap that has ended.
struct Case<'a> {
    operation: &'a Operation,
    /// When the election ended.
    elected: Moment,
    /// Until when the client waits.
    deadline_micros: u64,
}

impl Gaps {
    fn observe(&mut self, numbered: &Numbered) {
        let leader = self.cluster.leader();
        let last_term = self.cluster.elected().last().map(|(term, ..)| term);
        self.history.observe(numbered);
        self.cluster.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => {
                self.gaps.clear();
                self.deadlines.clear();
                self.workload_deadlines.clear();
                self.mix_deadlines.clear();
            }
            Event::Process { member, .. } => {
                if let Some((leader, _)) = leader
                    && leader == *member
                    && !self.cluster.is_up(leader)
                {
                    let opened = Moment::of(numbered);
                    self.gaps.push(Gap { dead: leader, opened, closed: None });
                }
            }
            Event::Asked {
                command: Command::Invoke { call: Call::Put { key, value }, deadline_millis, .. },
                ..
            } => {
                self.deadlines.insert((key.clone(), value.clone()), *deadline_millis);
            }
            Event::Asked { command: Command::Put { key, value, .. }, .. } => {
                self.deadlines.insert((key.clone(), value.clone()), PUT_DEADLINE_MILLIS);
            }
            Event::WorkloadChanged { spec } => {
                self.workload_deadlines.push((numbered.seq, spec.deadline_millis));
            }
            Event::MixChanged { mix } => {
                self.mix_deadlines.push((numbered.seq, mix.deadline_millis));
            }
            _ => {}
        }
        let newest = self.cluster.elected().last();
        if let (Some(gap), Some((term, _, moment))) = (self.gaps.last_mut(), newest)
            && last_term.is_none_or(|last| term > last)
        {
            gap.closed.get_or_insert(moment);
        }
    }

    fn deadline_micros(&self, operation: &Operation) -> Option<u64> {
        let Call::Put { key, value } = &operation.call else { return None };
        let millis = if operation.client.is_pinned() {
            *self.deadlines.get(&(key.clone(), value.clone()))?
        } else {
            let seq = operation.invoked.seq;
            let deadlines = match operation.client.is_mixed() {
                true => &self.mix_deadlines,
                false => &self.workload_deadlines,
            };
            let spec = deadlines.iter().rev().find(|(since, _)| *since < seq)?;
            spec.1
        };
        Some(operation.invoked.at_micros + u64::from(millis) * 1000)
    }

    /// Puts sent in a gap through a member that was up.
    fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        self.gaps.iter().filter_map(|gap| Some((gap, gap.closed?))).flat_map(
            move |(gap, elected)| {
                self.history.iter().filter_map(move |operation| {
                    let sent = operation.invoked;
                    let in_gap = sent.seq > gap.opened.seq
                        && sent.at_micros < elected.at_micros
                        && operation.member != gap.dead;
                    let deadline_micros = self.deadline_micros(operation)?;
                    in_gap.then_some(Case { operation, elected, deadline_micros })
                })
            },
        )
    }

    /// The length of each gap, in words; or why there is none.
    fn account(&self) -> Result<String, &'static str> {
        if self.gaps.is_empty() {
            return Err("no leader's process ended");
        }
        let lengths: Vec<_> = self
            .gaps
            .iter()
            .filter_map(|gap| Some(seconds(gap.closed?.at_micros - gap.opened.at_micros)))
            .collect();
        if lengths.is_empty() {
            return Err("a leader's process ended and nobody was elected since");
        }
        Ok(format!("nobody led for {}", lengths.join(" and ")))
    }
}

impl Case<'_> {
    /// An answer that came while nobody led.
    fn answered_by_nobody(&self) -> bool {
        self.operation
            .acknowledged()
            .is_some_and(|(returned, _)| returned.at_micros < self.elected.at_micros)
    }
}

/// Puts sent while nobody led, by clients that wait long enough, were done after the election.
#[derive(Clone, Debug)]
pub struct WriteInElectionCompletes {
    at_least: u32,
    gaps: Gaps,
}

impl WriteInElectionCompletes {
    /// Unknown below so many such puts.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, gaps: Gaps::default() }
    }
}

impl Check for WriteInElectionCompletes {
    fn observe(&mut self, numbered: &Numbered) {
        self.gaps.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let patient: Vec<_> = self
            .gaps
            .cases()
            .filter(|case| case.deadline_micros >= case.elected.at_micros + GRACE_MICROS)
            .collect();
        let early = self.gaps.cases().find(Case::answered_by_nobody);
        let failed = patient.iter().find(|case| !case.operation.happened());
        let finding = match (self.gaps.account(), early, failed) {
            (_, Some(case), _) => Finding::invalid(
                format!("{} was acknowledged while nobody led", case.operation.words()),
                case.operation.evidence(),
            ),
            (Ok(account), None, Some(case)) => Finding::invalid(
                format!(
                    "{account}; {} was sent meanwhile and {}",
                    case.operation.words(),
                    case.operation.end()
                ),
                case.operation.evidence(),
            ),
            (Err(why), None, _) => Finding::unknown(why),
            (Ok(_), None, None) if patient.len() < self.at_least as usize => {
                Finding::too_few(patient.len(), self.at_least, "puts sent while nobody led")
            }
            (Ok(account), None, None) => Finding::valid(format!(
                "{account}; all {} puts sent meanwhile were done after the election",
                patient.len()
            )),
        };
        finding.of("write_in_election_completes", "a write sent while nobody leads waits its turn")
    }
}

/// Puts sent while nobody led, by clients that gave up before the election ended, ended unknown.
#[derive(Clone, Debug)]
pub struct ShortDeadlineEndsUnknown {
    at_least: u32,
    gaps: Gaps,
}

impl ShortDeadlineEndsUnknown {
    /// Unknown below so many such puts.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, gaps: Gaps::default() }
    }
}

impl Check for ShortDeadlineEndsUnknown {
    fn observe(&mut self, numbered: &Numbered) {
        self.gaps.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let hasty: Vec<_> = self
            .gaps
            .cases()
            .filter(|case| case.deadline_micros < case.elected.at_micros)
            .collect();
        let is_unknown = |operation: &Operation| {
            matches!(operation.returned, Some((_, lab_protocol::Outcome::Info { .. })))
        };
        let wrong = hasty.iter().find(|case| !is_unknown(case.operation));
        let finding = match (self.gaps.account(), wrong) {
            (Ok(account), Some(case)) => Finding::invalid(
                format!(
                    "{account}; {} gave up before the election ended, but {}",
                    case.operation.words(),
                    case.operation.end()
                ),
                case.operation.evidence(),
            ),
            (Err(why), _) => Finding::unknown(why),
            (Ok(_), None) if hasty.len() < self.at_least as usize => {
                let cases = "puts whose deadline was before the election's end";
                Finding::too_few(hasty.len(), self.at_least, cases)
            }
            (Ok(account), None) => Finding::valid(format!(
                "{account}; all {} puts that gave up before ended unknown",
                hasty.len()
            )),
        };
        finding.of("short_deadline_ends_unknown", "a client that gives up early does not know")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::ClientNo;
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    fn ask(script: Script, op: u64, deadline_millis: u32) -> Script {
        let call = Call::Put { key: "d".into(), value: format!("{op}") };
        let member = MemberNo(2);
        let command = Command::Invoke { member, call: call.clone(), deadline_millis };
        let client = ClientNo(ClientNo::FIRST_PINNED + 2);
        let op = lab_protocol::OpId(op);
        script.asked(command).then(Event::Invoked { op, client, member, call })
    }

    fn leader_dies() -> Script {
        Script::new(3).up(&[1, 2, 3]).leads(1, 2).down(1)
    }

    #[test]
    fn a_patient_write_completes_after_the_election() {
        let waiting = ask(leader_dies(), 1, 10_000).wait(900).leads(2, 3);
        let done = waiting.clone().ok(1, 5, None);
        check(&mut WriteInElectionCompletes::new(1), done.clone(), Valid, "all 1 puts");
        check(&mut WriteInElectionCompletes::new(2), done, Unknown, "at least 2");
        check(&mut WriteInElectionCompletes::new(1), waiting.info(1), Invalid, "operation 1");
        let early = ask(leader_dies(), 1, 10_000).ok(1, 5, None).wait(900).leads(2, 3);
        check(&mut WriteInElectionCompletes::new(1), early, Invalid, "while nobody led");
        check(&mut WriteInElectionCompletes::new(1), Script::new(3), Unknown, "no leader's");
        check(&mut WriteInElectionCompletes::new(1), leader_dies(), Unknown, "nobody was elected");
    }

    #[test]
    fn a_hasty_write_ends_unknown() {
        let gone = ask(leader_dies(), 1, 300).wait(400);
        let unknown = gone.clone().info(1).wait(500).leads(2, 3);
        check(&mut ShortDeadlineEndsUnknown::new(1), unknown.clone(), Valid, "all 1 puts");
        check(&mut ShortDeadlineEndsUnknown::new(2), unknown, Unknown, "at least 2");
        let failed = gone.fail(1).wait(500).leads(2, 3);
        check(&mut ShortDeadlineEndsUnknown::new(1), failed, Invalid, "failed: refused");
        let patient = ask(leader_dies(), 1, 9_000).wait(900).leads(2, 3).ok(1, 5, None);
        check(&mut ShortDeadlineEndsUnknown::new(1), patient, Unknown, "0 puts");
    }
}
