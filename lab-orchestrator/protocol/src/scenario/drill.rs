//! What makes a scenario a drill: its end is left to somebody who is to recover the cluster.
//!
//! ```text
//!  step, step, …      what happens to the cluster
//!  somebody           a person, or in their place: `solution`, one of `wrong`, or nothing
//!  after, after, …    what happens whatever they did
//!  checks             the goal: won when all of them hold, lost else
//! ```
//!
//! Nothing is healed at the end: how the cluster was left is what is judged. A drill carries its own
//! proof: it must be won by its solution, with fewer points by another, and lost without one and
//! with each wrong one.

use serde::{Deserialize, Serialize};

use super::{Span, Step};

/// The part of a scenario that makes it a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// Its name in the catalogue, such as `DR-02`.
    pub id: String,
    /// What somebody is told who is to solve it.
    pub brief: String,
    /// What they are shown.
    #[serde(default)]
    pub fog: Fog,
    /// How long they have.
    #[serde(default = "quarter_of_an_hour")]
    pub time: Span,
    /// What helps, from little to much; each costs points.
    #[serde(default)]
    pub hints: Vec<String>,
    /// What there was to learn, told at the end.
    pub debrief: String,
    /// What costs points.
    #[serde(default)]
    pub harm: Harm,
    /// What solves it.
    pub solution: Vec<Step>,
    /// What solves it too, for fewer points.
    #[serde(default)]
    pub other: Vec<Other>,
    /// What looks like a solution.
    #[serde(default)]
    pub wrong: Vec<Wrong>,
    /// What happens afterwards, whatever was done.
    #[serde(default)]
    pub after: Vec<Step>,
}

fn quarter_of_an_hour() -> Span {
    Span::Millis(15 * 60 * 1000)
}

/// What the page shows while a drill is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Fog {
    /// Everything, as always.
    #[default]
    None,
    /// What an operator sees: what clients are answered, and what commands say.
    Operator,
}

/// What costs how many of a hundred points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Harm {
    /// Each acknowledged write that is lost; no more than [`Harm::MOST_FOR_WRITES`] in all.
    pub lost_write: u32,
    /// Each hint that was asked for.
    pub hint: u32,
    /// A restore: the cluster is another one now.
    pub restored: u32,
    /// A member that made itself the whole cluster while others still counted.
    pub forced: u32,
}

impl Harm {
    /// Losing more writes than these points are worth costs no more.
    pub const MOST_FOR_WRITES: u32 = 60;
}

impl Default for Harm {
    fn default() -> Self {
        Self { lost_write: 1, hint: 5, restored: 0, forced: 0 }
    }
}

/// Another solution, which costs more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Other {
    /// What it is called, such as `force`.
    pub name: String,
    /// What is done.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

/// Something that looks like a solution and is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Wrong {
    /// What it is called, such as `mixed snapshots`.
    pub name: String,
    /// What is wrong with it: told at the end to whoever left the cluster so.
    pub why: String,
    /// The checks that are broken then, these and no others: by them it is known, not by what was
    /// typed.
    pub breaks: Vec<String>,
    /// What is done.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}
