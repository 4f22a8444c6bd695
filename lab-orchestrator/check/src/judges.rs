//! All who judge a run of a scenario: its named checks and its expectations.

use lab_protocol::scenario::Scenario;
use lab_protocol::{CheckResult, Judgement, Numbered, Verdict};

use crate::expectations::Expectations;
use crate::{Check, checks_of};

/// The judges of one scenario.
pub struct Judges {
    checks: Vec<Box<dyn Check>>,
    expectations: Expectations,
    /// Who has to find that what it guards is broken.
    violated: Vec<String>,
}

impl std::fmt::Debug for Judges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judges").field("checks", &self.checks.len()).finish_non_exhaustive()
    }
}

impl From<Vec<Box<dyn Check>>> for Judges {
    /// Named checks alone.
    fn from(checks: Vec<Box<dyn Check>>) -> Self {
        Self { checks, expectations: Expectations::none(), violated: Vec::new() }
    }
}

impl Judges {
    /// Those that a scenario asks for: checks in the order of
    /// [`lab_protocol::scenario::CHECK_NAMES`], then expectations as they stand in the file.
    pub fn of(scenario: &Scenario) -> Self {
        Self {
            checks: checks_of(scenario),
            expectations: Expectations::of(scenario),
            violated: scenario.violated.clone(),
        }
    }

    /// Takes the next event of the journal, without gaps.
    pub fn observe(&mut self, numbered: &Numbered) {
        for check in &mut self.checks {
            check.observe(numbered);
        }
        self.expectations.observe(numbered);
    }

    /// What each makes of all events so far.
    pub fn results(&self) -> Vec<CheckResult> {
        let checks = self.checks.iter().map(|check| check.verdict());
        let all = checks.chain(self.expectations.results());
        all.map(|result| self.as_asked(result)).collect()
    }

    /// What all make of the run.
    pub fn verdict(&self, name: &str) -> Verdict {
        Verdict::of(name, self.results())
    }

    /// One that has to be violated is fine when it is.
    fn as_asked(&self, result: CheckResult) -> CheckResult {
        if !self.violated.contains(&result.check) {
            return result;
        }
        let because = match result.judgement {
            Judgement::Invalid => format!("violated, as it has to be: {}", result.because),
            Judgement::Valid => format!("had to be violated and was not: {}", result.because),
            Judgement::Unknown => result.because,
        };
        let judgement = match result.judgement {
            Judgement::Invalid => Judgement::Valid,
            Judgement::Valid => Judgement::Invalid,
            Judgement::Unknown => Judgement::Unknown,
        };
        CheckResult { judgement, because, ..result }
    }
}
