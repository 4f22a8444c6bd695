//! A lifetime on disk: its plan, to be lived again, and its recording, to be looked at.
//!
//! ```text
//!  DIR/plan.json           the seed and the faults: `cargo sim --plan`, and tests/plans
//!  DIR/run.json …          a recording as the lab writes it: `raft-lab replay DIR`
//! ```
//!
//! The seed decides all that the plan does not say, so a saved plan is the same lifetime bit for
//! bit as long as the simulation draws the same numbers; after that it is another lifetime with
//! the same faults.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lab_protocol::recording::{ABOUT_FILE, About, JOURNAL_FILE, MAGIC, VERDICT_FILE, encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Plan;
use crate::run::{Outcome, Settings, run_plan};

/// Name of the file with the plan.
pub const PLAN_FILE: &str = "plan.json";

/// A plan and its seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// Where everything comes from that the plan does not say.
    pub seed: u64,
    /// The rule that was broken when it was saved, for people; empty when none was.
    pub broke: String,
    /// The faults.
    pub plan: Plan,
}

/// Why a lifetime cannot be saved, or a plan not be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SaveError {
    #[error("cannot use {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not a saved plan", .path.display())]
    NotAPlan { path: PathBuf, source: serde_json::Error },
    #[error("{} cannot be lived: {why}", .path.display())]
    Impossible { path: PathBuf, why: String },
}

impl SavedPlan {
    /// The plan of a lifetime.
    pub fn of(outcome: &Outcome) -> Self {
        let broke = outcome.violation().unwrap_or_default().to_owned();
        Self { seed: outcome.seed, broke, plan: outcome.plan.clone() }
    }

    /// Reads a plan that was saved.
    pub fn read(path: &Path) -> Result<Self, SaveError> {
        let text = fs::read_to_string(path).map_err(io_at(path))?;
        let saved: Self = serde_json::from_str(&text)
            .map_err(|source| SaveError::NotAPlan { path: path.to_owned(), source })?;
        let impossible = |why| SaveError::Impossible { path: path.to_owned(), why };
        saved.plan.check().map_err(impossible)?;
        Ok(saved)
    }

    /// Lives it again.
    pub fn run(self, settings: Settings) -> Outcome {
        run_plan(self.seed, self.plan, settings)
    }

    /// As it is saved: JSON, an action a line.
    fn text(&self) -> String {
        let value = serde_json::to_value(self).expect("a plan has an encoding");
        let mut text = String::new();
        lay_out(&value, 0, &mut text);
        text.push('\n');
        text
    }
}

/// Saves a lifetime that was recorded ([`record_plan`](crate::record_plan)): its plan and its
/// recording, in a directory that is made if it is missing.
pub fn save(recorded: &Outcome, dir: &Path) -> Result<(), SaveError> {
    fs::create_dir_all(dir).map_err(io_at(dir))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(io_at(&path))
    };
    let mut journal = MAGIC.to_vec();
    journal.extend(recorded.journal.iter().flat_map(encode));
    write(JOURNAL_FILE, &journal)?;
    if let Some(about) = recorded.journal.first().and_then(|first| About::of(&first.event)) {
        write(ABOUT_FILE, &pretty(&about))?;
    }
    write(VERDICT_FILE, &pretty(&recorded.verdict))?;
    write(PLAN_FILE, SavedPlan::of(recorded).text().as_bytes())
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("records have an encoding");
    text.push(b'\n');
    text
}

/// Objects and lists take a line for each of their parts, as far as two levels down.
fn lay_out(value: &Value, depth: usize, text: &mut String) {
    let margin = "  ".repeat(depth + 1);
    let (open, close, parts): (_, _, Vec<(String, &Value)>) = match value {
        Value::Object(fields) if depth < 2 => {
            let name = |name: &String| format!("{}: ", Value::from(name.as_str()));
            ('{', '}', fields.iter().map(|(field, value)| (name(field), value)).collect())
        }
        Value::Array(items) if depth < 3 && !items.is_empty() => {
            ('[', ']', items.iter().map(|value| (String::new(), value)).collect())
        }
        _ => {
            write!(text, "{value}").ok(); // Writing to a string cannot fail.
            return;
        }
    };
    text.push(open);
    for (place, (name, value)) in parts.iter().enumerate() {
        text.push_str(if place == 0 { "\n" } else { ",\n" });
        text.push_str(&margin);
        text.push_str(name);
        lay_out(value, depth + 1, text);
    }
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push(close);
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> SaveError {
    let path = path.to_owned();
    move |source| SaveError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Action;

    #[test]
    fn a_plan_reads_back_and_has_a_line_for_each_action() {
        let actions = vec![(500_000, Action::Isolate(2)), (600_000, Action::HealNetwork)];
        let plan = Plan { members: 3, joiners: 0, election_ticks: 30, message_bytes: 0, actions };
        let saved = SavedPlan { seed: 7, broke: "convergence: \"x\"".into(), plan };
        let expected = r#"{
  "broke": "convergence: \"x\"",
  "plan": {
    "actions": [
      [500000,{"Isolate":2}],
      [600000,"HealNetwork"]
    ],
    "election_ticks": 30,
    "joiners": 0,
    "members": 3,
    "message_bytes": 0
  },
  "seed": 7
}
"#;
        assert_eq!(saved.text(), expected);
        assert_eq!(serde_json::from_str::<SavedPlan>(expected).expect("reads"), saved);
    }
}
