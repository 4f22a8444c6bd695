//! Reports as JUnit's XML, for whoever runs scenarios in continuous integration: a suite for each
//! performed scenario, a case for each check.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab_protocol::Judgement;
use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::report::Report;

/// Writes the reports to a file.
///
/// Errors: it cannot be written.
pub(super) fn write(reports: &[Report], path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    document(reports).serialize(file).with_context(|| format!("write {}", path.display()))
}

fn document(reports: &[Report]) -> quick_junit::Report {
    let mut document = quick_junit::Report::new("raft-lab");
    for report in reports {
        let name = match &report.play {
            Some(play) => format!("{} by {play}", report.verdict.scenario),
            None => report.verdict.scenario.clone(),
        };
        let mut suite = TestSuite::new(name);
        suite.set_time(Duration::from_secs_f64(report.seconds.max(0.0)));
        suite.add_property(Property::new("seed", report.seed.to_string()));
        if let Some(run) = &report.run {
            suite.add_property(Property::new("run", run.display().to_string()));
        }
        for check in &report.verdict.checks {
            let mut status = match check.judgement {
                Judgement::Valid => TestCaseStatus::success(),
                Judgement::Invalid => TestCaseStatus::non_success(NonSuccessKind::Failure),
                // Nobody knows: as bad for whoever relies on it, and not the cluster's fault.
                Judgement::Unknown => TestCaseStatus::non_success(NonSuccessKind::Error),
            };
            if check.judgement != Judgement::Valid {
                status.set_message(check.because.clone());
            }
            let mut case = TestCase::new(check.check.clone(), status);
            case.set_system_out(format!("{}: {}", check.guards, check.because));
            suite.add_test_case(case);
        }
        document.add_test_suite(suite);
    }
    document
}

#[cfg(test)]
mod tests {
    use lab_protocol::{CheckResult, Verdict};

    use super::*;

    #[test]
    fn a_red_check_is_a_failure_and_an_unknown_one_an_error() {
        let check = |name: &str, judgement| CheckResult {
            check: name.into(),
            guards: "g".into(),
            judgement,
            because: "operation 17 is <gone>".into(),
            evidence: vec![],
        };
        let checks = vec![
            check("acked", Judgement::Invalid),
            check("converged", Judgement::Valid),
            check("linearizable", Judgement::Unknown),
        ];
        let report = Report {
            title: "t".into(),
            play: None,
            seed: 7,
            seconds: 1.5,
            run: None,
            verdict: Verdict::of("s", checks),
            score: None,
        };
        let text = document(&[report]).to_string().expect("XML");
        for part in [
            "tests=\"3\"",
            "failures=\"1\"",
            "errors=\"1\"",
            "<testcase name=\"converged\"",
            "operation 17 is &lt;gone&gt;",
            "name=\"seed\" value=\"7\"",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
