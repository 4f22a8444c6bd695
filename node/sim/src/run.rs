//! One lifetime from its seed to its judgement.

use lab_check::{
    AckedNotLost, Check, ElectionSafety, LeaderAppendOnly, LeaderCompleteness, LeaseNotEarly,
    Linearizable, LogMatching, MembersEqual, StateMachineSafety, WatchGuarantees,
};
use lab_protocol::{CheckResult, Event, Judgement, Numbered, Verdict};
use node::training::Planted;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::plan::Plan;
use crate::tally::Tally;
use crate::world::World;

/// How lifetimes are made.
#[derive(Clone, Copy)]
pub struct Settings {
    /// How many members; 2 to 9.
    pub members: usize,
    /// A planted bug, in the training build.
    pub planted: Planted,
}

/// What became of a lifetime.
pub struct Outcome {
    /// Where everything came from.
    pub seed: u64,
    /// What went wrong in it, as planned.
    pub plan: Plan,
    /// The rules that were broken, with what shows it; what the world itself saw comes first.
    pub violations: Vec<String>,
    /// What was found of each rule.
    pub verdict: Verdict,
    /// The lab's events.
    pub journal: Vec<Numbered>,
    /// Stands for everything that was sent, applied, said and answered.
    pub trace: u64,
    /// What happened, counted.
    pub tally: Tally,
}

/// Lives the lifetime of a seed.
pub fn run(seed: u64, settings: Settings) -> Outcome {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    run_plan(seed, Plan::draw(&mut random, settings.members), settings)
}

/// Lives the lifetime of a seed with these faults instead of its own.
pub fn run_plan(seed: u64, plan: Plan, settings: Settings) -> Outcome {
    live(seed, plan, settings, false)
}

/// Lives the same lifetime, and keeps in its journal what a page shows: messages on their way,
/// what the plan does, the verdict. Numbers of events are those of this journal.
pub fn record_plan(seed: u64, plan: Plan, settings: Settings) -> Outcome {
    let mut outcome = live(seed, plan, settings, true);
    let at_micros = outcome.journal.last().map_or(0, |last| last.at_micros);
    let verdict = Box::new(outcome.verdict.clone());
    for event in [Event::Judged(verdict), Event::RunEnded] {
        let seq = outcome.journal.len() as u64 + 1;
        outcome.journal.push(Numbered { seq, at_micros, event });
    }
    outcome
}

fn live(seed: u64, plan: Plan, settings: Settings, recorded: bool) -> Outcome {
    let (lived, journal, trace, tally) = match World::new(seed, &plan, settings.planted, recorded) {
        Ok(world) => world.live(),
        Err(why) => (Err(why), Vec::new(), 0, Tally::default()),
    };
    let judged = judge(&journal);
    let broken = judged.iter().filter(|result| result.is_broken()).map(in_words);
    let violations = lived.as_ref().err().cloned().into_iter().chain(broken).collect();
    let results = lived.err().map(|why| seen(&why, journal.len())).into_iter().chain(judged);
    let verdict = Verdict::of(format!("sim-{seed}"), results.collect());
    Outcome { seed, plan, violations, verdict, journal, trace, tally }
}

impl Outcome {
    /// The first violation; `None` when every rule held.
    pub fn violation(&self) -> Option<&str> {
        self.violations.first().map(String::as_str)
    }
}

/// The lab's checks that judge a lifetime.
pub fn checks() -> [Box<dyn Check>; 10] {
    [
        Box::new(ElectionSafety::default()),
        Box::new(LeaderAppendOnly::default()),
        Box::new(LogMatching::default()),
        Box::new(LeaderCompleteness::default()),
        Box::new(StateMachineSafety::default()),
        Box::new(AckedNotLost::new(0)),
        Box::new(Linearizable::new(0)),
        Box::new(MembersEqual::default()),
        Box::new(LeaseNotEarly::new(0)),
        Box::new(WatchGuarantees::new(0)),
    ]
}

/// What the lab's checks find.
fn judge(journal: &[Numbered]) -> Vec<CheckResult> {
    let mut checks = checks();
    for event in journal {
        for check in &mut checks {
            check.observe(event);
        }
    }
    checks.iter().map(|check| check.verdict()).collect()
}

/// What the world itself saw broken, as a check would say it; its events end there.
fn seen(why: &str, events: usize) -> CheckResult {
    let rule = rule(why);
    CheckResult {
        check: rule.to_owned(),
        guards: "What the simulation itself sees: members run, converge and apply the same.".into(),
        judgement: Judgement::Invalid,
        because: why[rule.len()..].trim_start_matches([':', ' ']).to_owned(),
        evidence: vec![events as u64],
    }
}

fn in_words(result: &CheckResult) -> String {
    let CheckResult { check, because, evidence, .. } = result;
    format!("{check}: {because} (events {evidence:?})")
}

/// Which rule a violation breaks: its first words.
pub(crate) fn rule(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_told_by_its_first_words() {
        assert_eq!(rule("linearizable: operation 1 …: x"), "linearizable");
        assert_eq!(rule("odd"), "odd");
    }

    #[test]
    fn what_the_world_sees_is_a_result_like_others() {
        let result = seen("m1 ended by itself: panicked: why", 7);
        assert_eq!(
            (result.check.as_str(), result.because.as_str()),
            ("m1 ended by itself", "panicked: why")
        );
    }
}
