//! What the judges say of a run.

use serde::{Deserialize, Serialize};

/// A judgement has three values; the third always says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// What was promised holds in this run.
    Valid,
    /// It could not be told from this run.
    Unknown,
    /// The promise was broken.
    Invalid,
}

/// What one check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check, such as `election_safety`.
    pub check: String,
    /// What it guards, in one sentence.
    pub guards: String,
    /// What it says.
    pub judgement: Judgement,
    /// The rule, the operations and times that show it, and why; one sentence.
    pub because: String,
    /// Sequence numbers of the events that show it.
    pub evidence: Vec<u64>,
}

impl CheckResult {
    /// Whether it says that the promise was broken.
    pub fn is_broken(&self) -> bool {
        self.judgement == Judgement::Invalid
    }
}

/// What somebody made of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Whether the goal was reached: every check holds.
    pub won: bool,
    /// Of a hundred; what was harmed is taken off. A drill that is lost has none.
    pub points: u32,
    /// What was taken off, and for what.
    pub harm: Vec<(String, u32)>,
    /// What is to be said of it: what went wrong as far as it is known, then what there was to learn.
    pub debrief: Vec<String>,
}

/// What a run is found to be: the worst of its checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The scenario.
    pub scenario: String,
    /// The worst judgement of all checks; unknown when there are none.
    pub judgement: Judgement,
    /// Every check.
    pub checks: Vec<CheckResult>,
}

impl Verdict {
    /// The verdict of these checks.
    pub fn of(scenario: impl Into<String>, checks: Vec<CheckResult>) -> Self {
        let judgement =
            checks.iter().map(|check| check.judgement).max().unwrap_or(Judgement::Unknown);
        Self { scenario: scenario.into(), judgement, checks }
    }
}
