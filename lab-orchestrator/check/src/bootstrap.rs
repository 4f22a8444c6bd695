//! What it took to repair a failed bootstrap, and what to bootstrap anew.

use lab_protocol::{CheckResult, Command, Event, LabState, Numbered};

use crate::{Check, Finding, convergence, seconds};

/// Measures two steps of a scenario: the one that repairs a failed bootstrap, and the one that
/// removes everything and bootstraps anew with a new token.
///
/// Both must begin with a cluster whose members do not all agree, or have nothing to compare, and
/// end with one whose members all do.
#[derive(Clone, Debug)]
pub struct BootstrapMeasured {
    state: LabState,
    repair: Measure,
    anew: Measure,
    /// The step that runs.
    step: u32,
    /// The token before the cluster was bootstrapped anew.
    old_token: String,
}

#[derive(Clone, Debug)]
struct Measure {
    step: u32,
    began: Option<(u64, u64)>,
    /// Whether all members agreed before it.
    was_whole: bool,
    commands: u32,
    /// When all members agreed on a leader.
    whole: Option<u64>,
}

impl Measure {
    fn of(step: u32) -> Self {
        Self { step, began: None, was_whole: false, commands: 0, whole: None }
    }

    fn words(&self) -> Option<String> {
        let ((_, began), whole) = (self.began?, self.whole?);
        let plural = if self.commands == 1 { "" } else { "s" };
        Some(format!("{} command{plural}, {}", self.commands, seconds(whole - began)))
    }
}

impl BootstrapMeasured {
    /// The numbers of the two steps, from 1.
    pub fn new(repair_step: u32, anew_step: u32) -> Self {
        Self {
            state: LabState::default(),
            repair: Measure::of(repair_step),
            anew: Measure::of(anew_step),
            step: 0,
            old_token: String::new(),
        }
    }
}

/// Whether an operator's hand is in it; clients' calls and the lab's own reads are not counted.
fn is_operation_of_the_cluster(command: &Command) -> bool {
    match command {
        Command::Crash { .. }
        | Command::Stop { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Restart { .. }
        | Command::Wipe { .. }
        | Command::Cut { .. }
        | Command::Heal { .. }
        | Command::Delay { .. }
        | Command::Partition { .. }
        | Command::Isolate { .. }
        | Command::UndoFaults
        | Command::StartOver
        | Command::SetToken { .. }
        | Command::AddMember { .. }
        | Command::PromoteMember { .. }
        | Command::RemoveMember { .. }
        | Command::TransferLeadership { .. }
        | Command::DamageSnapshot { .. }
        | Command::SetLink { .. }
        | Command::ResetLink { .. }
        | Command::Held { .. }
        | Command::Inject { .. }
        | Command::Lift { .. }
        | Command::For { .. }
        | Command::JumpClock { .. }
        | Command::GrantTicks { .. }
        | Command::SetTimers { .. }
        | Command::Campaign { .. }
        | Command::DamageMember { .. }
        | Command::LosePower { .. }
        | Command::CrashAt { .. }
        | Command::StepMode { .. }
        | Command::Type { .. } => true,
        Command::SetWorkload { .. }
        | Command::SetWatches { .. }
        | Command::SetMix { .. }
        | Command::SetBackups { .. }
        | Command::Put { .. }
        | Command::Get { .. }
        | Command::Invoke { .. }
        | Command::Hint
        | Command::FinishDrill
        | Command::Predict { .. }
        | Command::ReadBack => false,
    }
}

impl Check for BootstrapMeasured {
    fn observe(&mut self, numbered: &Numbered) {
        let whole_before = convergence::agreed(&self.state).is_some();
        if let (Event::RunStarted { token, .. }, false) =
            (&numbered.event, self.state.token.is_empty())
            && *token != self.state.token
        {
            self.old_token.clone_from(&self.state.token);
        }
        self.state.apply(numbered, false);
        if let Event::Step { number, .. } = numbered.event {
            self.step = number;
        }
        let step = self.step;
        for measure in [&mut self.repair, &mut self.anew] {
            if measure.step != step {
                continue;
            }
            match &numbered.event {
                Event::Step { .. } => {
                    measure.began = Some((numbered.seq, numbered.at_micros));
                    measure.was_whole = whole_before;
                }
                Event::Asked { command, .. } if is_operation_of_the_cluster(command) => {
                    measure.commands += 1;
                    // Whole is only what comes after the last command.
                    measure.whole = None;
                }
                Event::Status { .. } | Event::Process { .. } | Event::Identified { .. }
                    if measure.whole.is_none()
                        && measure.commands > 0
                        && convergence::agreed(&self.state).is_some() =>
                {
                    measure.whole = Some(numbered.at_micros);
                }
                _ => {}
            }
        }
    }

    fn verdict(&self) -> CheckResult {
        let evidence = |measure: &Measure| measure.began.map_or(vec![], |(seq, _)| vec![seq]);
        let finding = if self.repair.began.is_none() || self.anew.began.is_none() {
            Finding::unknown("the run did not reach both steps")
        } else if self.repair.was_whole {
            Finding::unknown("the bootstrap had not failed: all members agreed before the repair")
        } else {
            match (self.repair.words(), self.anew.words()) {
                (None, _) => Finding::invalid(
                    "the repair did not end with one whole cluster",
                    evidence(&self.repair),
                ),
                (_, None) => Finding::invalid(
                    "bootstrapping anew did not end with one whole cluster",
                    evidence(&self.anew),
                ),
                (Some(_), Some(_)) if self.old_token.is_empty() => Finding::invalid(
                    "the new cluster has the token of the old one",
                    evidence(&self.anew),
                ),
                (Some(repair), Some(anew)) => {
                    Finding::valid(format!("repair: {repair}; anew: {anew}"))
                }
            }
        };
        finding.of("bootstrap_measured", "a failed bootstrap can be repaired, or redone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check, follows, whole};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};
    use lab_protocol::MemberNo;

    /// m2 runs but knows nobody.
    fn failed() -> Script {
        follows(Script::new(2).up(&[1, 2]), 1, 1, 2)
    }

    fn repaired(script: Script) -> Script {
        let script = script.step(1).asked(Command::Wipe { member: MemberNo(2) });
        let script = script.asked(Command::Restart { member: MemberNo(2) }).wait(700);
        follows(script, 2, 1, 2)
    }

    fn anew(script: Script, token: &str) -> Script {
        let script = script.step(2).asked(Command::StartOver).wait(400);
        whole(script.started_with(2, token).up(&[1, 2]))
    }

    #[test]
    fn both_ways_are_measured() {
        let both = anew(repaired(failed()), "another");
        check(&mut BootstrapMeasured::new(1, 2), both.clone(), Valid, "repair: 2 commands, 0.7");
        check(&mut BootstrapMeasured::new(1, 2), both.clone(), Valid, "anew: 1 command, 0.4");
        check(&mut BootstrapMeasured::new(1, 3), both, Unknown, "did not reach");
    }

    #[test]
    fn what_was_not_whole_in_the_end_is_named() {
        let never = anew(failed().step(1).asked(Command::UndoFaults), "another");
        check(&mut BootstrapMeasured::new(1, 2), never, Invalid, "the repair did not");
        let same = anew(repaired(failed()), "token");
        check(&mut BootstrapMeasured::new(1, 2), same, Invalid, "the token of the old one");
        let fine = anew(repaired(whole(Script::new(2).up(&[1, 2]))), "another");
        check(&mut BootstrapMeasured::new(1, 2), fine, Unknown, "had not failed");
    }
}
