//! What a scenario expects of a run, beside its named checks: a condition, and when it has to hold.
//!
//! Its grammar is in `words/expectations.txt`.

use serde::{Deserialize, Serialize};

use super::{Condition, Span};

/// One expectation. Exactly one of the fields from `always` to `at_end` is given:
///
#[doc = concat!("```text\n", include_str!("words/expectations.txt"), "```")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// What it guards, for people.
    pub say: String,
    /// By what other parts of the file mean it; without it `expect N`, counted from 1.
    #[serde(default)]
    pub name: Option<String>,
    /// Holds in each moment.
    #[serde(default)]
    pub always: Option<Condition>,
    /// Holds in none.
    #[serde(default)]
    pub never: Option<Condition>,
    /// Holds in one, `within` so long.
    #[serde(default)]
    pub eventually: Option<Condition>,
    /// Holds in one, else nothing is proven.
    #[serde(default)]
    pub sometimes: Option<Condition>,
    /// Holds once, and from then on, `for` so long at least.
    #[serde(default)]
    pub stays: Option<Condition>,
    /// Holds in the first moment.
    #[serde(default)]
    pub at_start: Option<Condition>,
    /// Holds in the last moment.
    #[serde(default)]
    pub at_end: Option<Condition>,
    /// The name of the step that is meant, up to the next.
    #[serde(default)]
    pub during: Option<String>,
    /// The name of the step with which it begins.
    #[serde(default)]
    pub from: Option<String>,
    /// The name of the step before which it ends; [`THE_END`] is everything behind the last step.
    #[serde(default)]
    pub until: Option<String>,
    /// How soon, of `eventually`; of anything that is owed, how long after it is owed again.
    #[serde(default)]
    pub within: Option<Span>,
    /// How long, of `stays`.
    #[serde(default, rename = "for")]
    pub lasts: Option<Span>,
    /// When it is owed at all.
    #[serde(default)]
    pub owed_when: Owed,
    /// The variants of the scenario that it is about; all, when left out.
    #[serde(default)]
    pub only: Vec<String>,
}

/// What everything behind the last step is called: faults are undone, the cluster converges and is
/// read back.
pub const THE_END: &str = "the end";

/// When something is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Owed {
    /// Whatever fails.
    #[default]
    Always,
    /// While a quorum of voters runs without a fault and hears each other: time at which more has
    /// failed does not count.
    Tolerable,
}

/// When a condition has to hold.
#[expect(missing_docs, reason = "the module's table says it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    Never,
    Eventually,
    Sometimes,
    Stays,
    AtStart,
    AtEnd,
}

impl Expectation {
    /// When its condition has to hold, and which it is; `None` unless exactly one is given.
    pub fn wish(&self) -> Option<(When, &Condition)> {
        let all = [
            (When::Always, &self.always),
            (When::Never, &self.never),
            (When::Eventually, &self.eventually),
            (When::Sometimes, &self.sometimes),
            (When::Stays, &self.stays),
            (When::AtStart, &self.at_start),
            (When::AtEnd, &self.at_end),
        ];
        let mut given =
            all.into_iter().filter_map(|(when, condition)| Some((when, condition.as_ref()?)));
        let one = given.next()?;
        given.next().is_none().then_some(one)
    }

    /// Its name, if it is the `number`-th, from 1.
    pub fn name(&self, number: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("expect {number}"))
    }
}
