//! From a broken lifetime to a short one: which of its faults are needed to break that rule?

use crate::plan::Plan;
use crate::run::{Outcome, Settings, rule, run_plan};

/// Leaves faults out, many at a time and then one by one, as long as the same rule is broken;
/// gives back the shortest lifetime found. What is not broken comes back as it is.
///
/// Compare delta debugging (Zeller and Hildebrandt, 2002); a fault and its end are left out
/// independently, so what stays down in the short plan may have come up again in the long one.
pub fn shrink(broken: Outcome, settings: Settings) -> Outcome {
    let Some(wanted) = broken.violation().map(rule).map(str::to_owned) else {
        return broken;
    };
    let mut best = broken;
    let mut chunk = best.plan.actions.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        let mut shorter = false;
        while from < best.plan.actions.len() {
            let mut actions = best.plan.actions.clone();
            actions.drain(from..(from + chunk).min(actions.len()));
            let plan = Plan { actions, ..best.plan };
            let tried = run_plan(best.seed, plan, settings);
            if tried.violation().map(rule) == Some(wanted.as_str()) {
                best = tried;
                shorter = true;
            } else {
                from += chunk;
            }
        }
        match (chunk, shorter) {
            (1, false) => return best,
            (1, true) => {}
            _ => chunk = chunk.div_ceil(2),
        }
    }
}
