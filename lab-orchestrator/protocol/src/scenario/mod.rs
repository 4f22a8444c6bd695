//! A scenario: what is done to a cluster, what is waited for, and what must hold.
//!
//! A file in `scenarios/` is TOML; [`Scenario`] is its shape, and its sentences (`crash leader as
//! first`, `m3 resigned`) are [`Action`] and [`Condition`]. They are parsed here so that whoever
//! shows or writes a scenario shares one grammar with whoever performs it. Unknown fields are
//! errors, and every error says what is allowed.
//!
//! ```text
//!  file ──► Scenario ─┬─ cluster: how many members, which timers
//!                     ├─ workload: what clients ask meanwhile
//!                     ├─ step, step, …: do ─► wait_until ─► hold
//!                     ├─ checks: what must hold of the run, by name, with parameters
//!                     ├─ expect, expect, …: conditions, and when they have to hold
//!                     └─ variant, variant, …: twins in which one thing is different
//! ```
//!
//! Left out on purpose: healing everything, converging and reading back at the end. Every run ends
//! so; a scenario cannot leave it out. Only a drill, which leaves its end to somebody, is judged as
//! they left it.

mod action;
mod checks;
mod condition;
mod drill;
mod endpoints;
mod expect;
mod learn;
mod nearest;
mod quantity;
mod span;
mod target;
mod variant;

pub use action::{Action, FaultVerb, LinkWord, MemberVerb, Named, Shape, Verb};
pub use checks::{
    AtLeast, AtMost, BootstrapMeasured, CHECK_NAMES, Checks, LeavesOffice, NoParameters,
    ReconnectsAtMost, SinceStep, Tolerance, VotersAtEnd,
};
pub use condition::Condition;
pub use drill::{Drill, Fog, Harm, Other, Wrong};
pub use expect::{Expectation, Owed, THE_END, When};
pub use learn::{Choice, Gives, Learn, Measure, NumberWish, Predict, Range, Thousandths};
pub use nearest::nearest;
pub use quantity::{Amount, Bound, Comparison, Operations, Operator, Quantile, Quantity, Unit};
pub use span::{Scale, Span, TimeUnit};
pub use target::Target;
pub use variant::Variant;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoints, MixSpec, Shares, WorkloadSpec};

/// The grammars of a scenario's sentences, by what they are of.
pub const GRAMMARS: [(&str, &str); 5] = [
    ("actions", include_str!("words/actions.txt")),
    ("faults", include_str!("words/faults.txt")),
    ("conditions", include_str!("words/conditions.txt")),
    ("quantities", include_str!("words/quantities.txt")),
    ("expectations", include_str!("words/expectations.txt")),
];

/// A whole scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called, for people.
    pub title: String,
    /// What happens in it, in a sentence or two.
    pub about: String,
    /// Statements of the source it shows, and by which check or expectation each is judged, or
    /// which step waits for it: `{ F11 = "load_per_survivor_measured" }`.
    #[serde(default)]
    pub covers: BTreeMap<String, String>,
    /// How hard it is to understand, from 1, the first week, to 4.
    #[serde(default)]
    pub level: Option<u8>,
    /// Where the situation was met before: an incident, a report, a paper.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What does not hold for real etcd, and why; without it every engine runs the scenario.
    #[serde(default)]
    pub not_on_etcd: Option<String>,
    /// Checks and expectations, by name, that come out differently on real etcd, and why:
    /// `{ minority_tail_truncated = "etcd does not tell what is in its log" }`. They are judged there
    /// as everywhere; the reason is told beside what they find.
    #[serde(default)]
    pub on_etcd: BTreeMap<String, String>,
    /// The run's seed; drawn when left out.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The cluster it needs.
    #[serde(default)]
    pub cluster: ClusterWish,
    /// What clients ask from the first step on; nothing when left out.
    #[serde(default)]
    pub workload: Option<WorkloadWish>,
    /// What happens, in order.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
    /// What somebody is to make of it, if it is a drill.
    #[serde(default)]
    pub drill: Option<Drill>,
    /// What somebody is asked before it runs, if it is a lesson.
    #[serde(default)]
    pub learn: Option<Learn>,
    /// What must hold of the run, by name.
    #[serde(default)]
    pub checks: Checks,
    /// What must hold of the run beside.
    #[serde(default, rename = "expect")]
    pub expectations: Vec<Expectation>,
    /// Checks and expectations, by name, that have to come out invalid: the scenario shows a bug.
    /// One that stays green makes the run invalid.
    #[serde(default)]
    pub violated: Vec<String>,
    /// When one of these holds, the run ends at once, and nothing is known of it.
    #[serde(default)]
    pub stop_if: Vec<Condition>,
    /// Kinds of lints that are no matter here, such as `unhealed`.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Its twins. With any, the scenario is performed as each of them, and not as it stands.
    #[serde(default, rename = "variant")]
    pub variants: Vec<Variant>,
}

/// The cluster a scenario needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ClusterWish {
    /// 1 to 9.
    pub members: u8,
    /// One ET: a follower that hears nothing so long (and up to twice) campaigns.
    pub election_timeout: Span,
    /// How often a leader says that it is alive; ten ticks of a member.
    pub heartbeat: Span,
    /// What a message and its answer need, one RTT: every link is delayed by half of it from the
    /// start. Nothing is delayed when it is left out.
    pub round_trip: Span,
    /// Entries after which a member takes a snapshot and compacts its log; the node's default when
    /// left out.
    pub snapshot_count: Option<u64>,
    /// Whether the members refuse a change of the members that could cost the quorum, as they do
    /// when nobody says otherwise.
    pub strict_reconfig_check: bool,
    /// Whether the members are of the training program, whose disk can lose its power and which
    /// ends at a failpoint.
    pub training: bool,
    /// Which bug is planted in the members; they are of the training program then.
    pub bug: Option<String>,
    /// Further flags of the members, such as `--pre-vote=false`.
    pub flags: Vec<String>,
    /// Which members are in which zone, such as `{ a = ["m1", "m2"], b = ["m3"] }`.
    pub zones: BTreeMap<String, Vec<Target>>,
    /// Members whose process is not started at first, such as `["m3"]`; with any, the first step
    /// does not wait for the cluster to form.
    pub hold_back: Vec<Target>,
}

impl Default for ClusterWish {
    fn default() -> Self {
        Self {
            members: 3,
            election_timeout: Span::Millis(1000),
            heartbeat: Span::Millis(100),
            round_trip: Span::Millis(0),
            snapshot_count: None,
            strict_reconfig_check: true,
            training: false,
            bug: None,
            flags: Vec::new(),
            zones: BTreeMap::new(),
            hold_back: Vec::new(),
        }
    }
}

impl ClusterWish {
    /// One ET.
    pub fn election_timeout(&self) -> Duration {
        self.scale().election_timeout
    }

    /// How long the cluster's measures are.
    pub fn scale(&self) -> Scale {
        // A measure that is given in measures is refused when the file is read.
        let fixed = |span| match span {
            Span::Millis(millis) => Duration::from_millis(millis),
            Span::Tenths(..) => Duration::ZERO,
        };
        Scale {
            election_timeout: fixed(self.election_timeout),
            heartbeat: fixed(self.heartbeat),
            round_trip: fixed(self.round_trip),
        }
    }
}

/// What clients ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadWish {
    /// Puts started a second; 50 when left out, none beside errands.
    pub puts_per_second: Option<u32>,
    /// Reads started a second; 50 when left out, none beside errands.
    pub reads_per_second: Option<u32>,
    /// Reads answered by the asked member alone, possibly stale.
    pub serializable_reads: bool,
    /// Size of the key space.
    pub keys: u32,
    /// Size of a value.
    pub value_bytes: u32,
    /// How long a client waits before it calls the outcome unknown.
    pub deadline: Span,
    /// How many clients watch all that is written.
    pub watches: u32,
    /// Errands started a second: what the clients do beside plain puts and reads.
    pub rate: u32,
    /// How often each kind of errand is drawn; some of everything when left out.
    pub mix: Option<Shares>,
    /// How many clients run errands.
    pub clients: u32,
    /// How often an operation of an errand is tried again, as a new operation.
    pub retries: u32,
    /// Whom the clients that run errands talk to.
    #[serde(with = "endpoints")]
    #[cfg_attr(feature = "schema", schemars(with = "endpoints::Shape"))]
    pub endpoints: Endpoints,
}

impl Default for WorkloadWish {
    fn default() -> Self {
        Self {
            puts_per_second: None,
            reads_per_second: None,
            serializable_reads: false,
            keys: 64,
            value_bytes: 64,
            deadline: Span::Millis(8_000),
            watches: 0,
            rate: 0,
            mix: None,
            clients: 10,
            retries: 0,
            endpoints: Endpoints::All,
        }
    }
}

impl WorkloadWish {
    /// The plain puts and reads, in a cluster of this scale.
    pub fn spec(&self, scale: Scale) -> WorkloadSpec {
        let alone = if self.rate == 0 { 50 } else { 0 };
        WorkloadSpec {
            puts_per_second: self.puts_per_second.unwrap_or(alone),
            reads_per_second: self.reads_per_second.unwrap_or(alone),
            serializable_reads: self.serializable_reads,
            keys: self.keys,
            value_bytes: self.value_bytes,
            deadline_millis: self.deadline.millis(scale),
            members: BTreeSet::new(),
        }
    }

    /// The errands, if there are any.
    pub fn errands(&self, scale: Scale) -> Option<MixSpec> {
        let mix = MixSpec {
            rate: self.rate,
            shares: self.mix.unwrap_or(Shares::EVERYTHING),
            clients: self.clients,
            keys: self.keys,
            deadline_millis: self.deadline.millis(scale),
            retries: self.retries,
            endpoints: self.endpoints.clone(),
        };
        (!mix.is_idle()).then_some(mix)
    }
}

/// One step: first everything in `do`, in order, beside it each list of `together`, and a `mix`;
/// then wait until `wait_until` holds, at most `within`; then let `hold` pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is about, for people.
    pub say: String,
    /// By what other parts of the file mean it.
    #[serde(default)]
    pub name: Option<String>,
    /// The variants of the scenario that have it; all, when left out.
    #[serde(default)]
    pub only: Vec<String>,
    /// It does not begin sooner, counted from the first step.
    #[serde(default)]
    pub at: Option<Span>,
    /// It is left out unless this holds when its turn comes.
    #[serde(default)]
    pub when: Option<Condition>,
    /// How often it is gone through; once, when left out.
    #[serde(default)]
    pub repeat: Option<u32>,
    /// No further time is begun once this holds.
    #[serde(default)]
    pub until: Option<Condition>,
    /// What is done.
    #[serde(default, rename = "do")]
    pub actions: Vec<Action>,
    /// What is done as well: one of these lists, drawn from the seed.
    #[serde(default)]
    pub one_of: Vec<Vec<Action>>,
    /// Lists that are gone through beside each other, each in its own time.
    #[serde(default)]
    pub together: Vec<Vec<Action>>,
    /// A mix of faults, drawn from the seed.
    #[serde(default)]
    pub mix: Option<Mix>,
    /// What is waited for.
    #[serde(default)]
    pub wait_until: Option<Condition>,
    /// How long it is waited for; ten ETs when left out.
    #[serde(default)]
    pub within: Option<Span>,
    /// What passes afterwards.
    #[serde(default)]
    pub hold: Option<Span>,
}

/// Sentences of which one after the other is drawn from the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// What is drawn from, each as likely.
    pub of: Vec<Action>,
    /// How often one is drawn: between half and one and a half times so.
    pub every: Span,
    /// How long.
    #[serde(rename = "for")]
    pub lasts: Span,
}
