//! What all windows of a soak come to: each check by its worst window.

use std::collections::BTreeMap;

use lab_protocol::{CheckResult, Judgement, Verdict};
use serde::Serialize;

/// One window, judged.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Window {
    /// From 1.
    pub(super) number: u32,
    /// How long it took, with its settling.
    pub(super) seconds: f64,
    /// Blows dealt in it.
    pub(super) blows: u32,
    pub(super) verdict: Verdict,
}

/// One verdict of all windows, and of what was measured.
pub(super) fn verdict(windows: &[Window], measured: Vec<CheckResult>) -> Verdict {
    let mut by_check: BTreeMap<usize, Vec<(u32, &CheckResult)>> = BTreeMap::new();
    let mut names: Vec<&str> = Vec::new();
    for window in windows {
        for check in &window.verdict.checks {
            let place = names.iter().position(|name| *name == check.check).unwrap_or_else(|| {
                names.push(&check.check);
                names.len() - 1
            });
            by_check.entry(place).or_default().push((window.number, check));
        }
    }
    let mut checks: Vec<_> = by_check.into_values().map(|results| merged(&results)).collect();
    checks.extend(measured);
    if windows.is_empty() {
        checks.push(CheckResult {
            check: "windows".into(),
            guards: "a soak has at least one window".into(),
            judgement: Judgement::Unknown,
            because: "no window was judged: it ended too early".into(),
            evidence: vec![],
        });
    }
    Verdict::of("soak", checks)
}

/// A check in all windows: its worst result, or the last one.
fn merged(results: &[(u32, &CheckResult)]) -> CheckResult {
    let worst = results.iter().map(|(_, check)| check.judgement).max().expect("one at least");
    let (number, check) = match worst {
        Judgement::Valid => results.last(),
        Judgement::Unknown | Judgement::Invalid => {
            results.iter().find(|(_, check)| check.judgement == worst)
        }
    }
    .expect("one at least");
    let because = match worst {
        Judgement::Valid => {
            format!("in each of {} windows; in the last: {}", results.len(), check.because)
        }
        Judgement::Unknown | Judgement::Invalid => format!("in window {number}: {}", check.because),
    };
    CheckResult { because, judgement: worst, ..(*check).clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_window_speaks() {
        let window = |number, judgement, because: &str| {
            let check = CheckResult {
                check: "c".into(),
                guards: "g".into(),
                judgement,
                because: because.into(),
                evidence: vec![],
            };
            Window { number, seconds: 1.0, blows: 0, verdict: Verdict::of("w", vec![check]) }
        };
        let good = [window(1, Judgement::Valid, "a"), window(2, Judgement::Valid, "b")];
        let verdict_of_good = verdict(&good, vec![]);
        assert_eq!(verdict_of_good.judgement, Judgement::Valid);
        assert_eq!(verdict_of_good.checks[0].because, "in each of 2 windows; in the last: b");
        let bad = [window(1, Judgement::Unknown, "few"), window(2, Judgement::Invalid, "lost")];
        let bad = verdict(&bad, vec![]);
        assert_eq!((bad.judgement, bad.checks.len()), (Judgement::Invalid, 1));
        assert_eq!(bad.checks[0].because, "in window 2: lost");
        assert_eq!(verdict(&[], vec![]).judgement, Judgement::Unknown);
    }
}
