//! All who judge a run of a scenario: its named checks and its expectations.

use std::collections::BTreeMap;

use lab_protocol::scenario::Scenario;
use lab_protocol::{CheckResult, EngineKind, Event, Judgement, Numbered, Verdict};

use crate::expectations::Expectations;
use crate::{Check, checks_of};

/// The judges of one scenario.
pub struct Judges {
    checks: Vec<Box<dyn Check>>,
    expectations: Expectations,
    /// Who has to find that what it guards is broken.
    violated: Vec<String>,
    /// Whose findings on real etcd are known, and why they are so.
    on_etcd: BTreeMap<String, String>,
    /// What ran.
    engine: Option<EngineKind>,
}

impl std::fmt::Debug for Judges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judges").field("checks", &self.checks.len()).finish_non_exhaustive()
    }
}

impl From<Vec<Box<dyn Check>>> for Judges {
    /// Named checks alone.
    fn from(checks: Vec<Box<dyn Check>>) -> Self {
        Self {
            checks,
            expectations: Expectations::none(),
            violated: Vec::new(),
            on_etcd: BTreeMap::new(),
            engine: None,
        }
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
            on_etcd: scenario.on_etcd.clone(),
            engine: None,
        }
    }

    /// Takes the next event of the journal, without gaps.
    pub fn observe(&mut self, numbered: &Numbered) {
        if let Event::RunStarted { engine, .. } = &numbered.event {
            self.engine = Some(EngineKind::of(engine));
        }
        for check in &mut self.checks {
            check.observe(numbered);
        }
        self.expectations.observe(numbered);
    }

    /// What each makes of all events so far.
    pub fn results(&self) -> Vec<CheckResult> {
        let checks = self.checks.iter().map(|check| check.verdict());
        let all = checks.chain(self.expectations.results());
        all.map(|result| self.as_asked(result)).map(|result| self.with_reason(result)).collect()
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

    /// What does not hold on real etcd says why, if that is known; what it does not tell says so
    /// anyway.
    fn with_reason(&self, result: CheckResult) -> CheckResult {
        let fails = self.engine == Some(EngineKind::Etcd) && result.judgement == Judgement::Invalid;
        match self.on_etcd.get(&result.check).filter(|_| fails) {
            Some(why) => {
                let because = format!("{}; so it is on real etcd: {why}", result.because);
                CheckResult { because, ..result }
            }
            None => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_etcd_is_told_with_its_reason() {
        let scenario = Scenario {
            on_etcd: BTreeMap::from([("elections".to_owned(), "it has no pre-vote".to_owned())]),
            ..toml::from_str("title = 't'\nabout = 'a'\n[[step]]\nsay = 's'").expect("a scenario")
        };
        let result = |check: &str, judgement| CheckResult {
            check: check.to_owned(),
            guards: String::new(),
            judgement,
            because: "there was one".to_owned(),
            evidence: Vec::new(),
        };
        let of = |engine, check: &str, judgement| {
            let judges = Judges { engine: Some(engine), ..Judges::of(&scenario) };
            let told = judges.with_reason(result(check, judgement));
            assert_eq!(told.judgement, judgement, "the judgement stays");
            told.because
        };
        let told = of(EngineKind::Etcd, "elections", Judgement::Invalid);
        assert_eq!(told, "there was one; so it is on real etcd: it has no pre-vote");
        for (engine, check, judgement) in [
            (EngineKind::RaftNode, "elections", Judgement::Invalid),
            (EngineKind::Etcd, "elections", Judgement::Valid),
            (EngineKind::Etcd, "elections", Judgement::Unknown),
            (EngineKind::Etcd, "writes", Judgement::Invalid),
        ] {
            assert_eq!(of(engine, check, judgement), "there was one");
        }
    }
}
