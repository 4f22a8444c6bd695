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
//!                     └─ checks: what must hold of the run, by name, with parameters
//! ```
//!
//! Left out on purpose: healing everything, converging and reading back at the end. Every run ends
//! so; a scenario cannot leave it out. Only a drill, which leaves its end to somebody, is judged as
//! they left it.

mod action;
mod checks;
mod condition;
mod drill;
mod nearest;
mod span;
mod target;

pub use action::{Action, FaultVerb, LinkWord, MemberVerb, Named, Shape, Verb};
pub use checks::{
    AtLeast, AtMost, BootstrapMeasured, CHECK_NAMES, Checks, LeavesOffice, NoParameters,
    ReconnectsAtMost, SinceStep, Tolerance, VotersAtEnd,
};
pub use condition::Condition;
pub use drill::{Drill, Fog, Harm, Other, Wrong};
pub use nearest::nearest;
pub use span::Span;
pub use target::Target;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A whole scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called, for people.
    pub title: String,
    /// What happens in it, in a sentence or two.
    pub about: String,
    /// Statements of the source it shows, such as `F11`.
    #[serde(default)]
    pub covers: Vec<String>,
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
    /// What must hold of the run.
    pub checks: Checks,
}

/// The cluster a scenario needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterWish {
    /// 1 to 9.
    pub members: u8,
    /// One ET: a follower that hears nothing so long (and up to twice) campaigns.
    pub election_timeout: Span,
    /// How often a leader says that it is alive.
    pub heartbeat: Span,
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
        // An ET that is given in ETs is refused when the file is read.
        self.election_timeout.duration(Duration::from_secs(1))
    }
}

/// What clients ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadWish {
    /// Puts started a second.
    pub puts_per_second: u32,
    /// Reads started a second.
    pub reads_per_second: u32,
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
}

impl Default for WorkloadWish {
    fn default() -> Self {
        Self {
            puts_per_second: 50,
            reads_per_second: 50,
            serializable_reads: false,
            keys: 64,
            value_bytes: 64,
            deadline: Span::Millis(8_000),
            watches: 0,
        }
    }
}

/// One step: first everything in `do`, in order; then wait until `wait_until` holds, at most
/// `within`; then let `hold` pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is about, for people.
    pub say: String,
    /// What is done.
    #[serde(default, rename = "do")]
    pub actions: Vec<Action>,
    /// What is done as well: one of these lists, drawn from the seed.
    #[serde(default)]
    pub one_of: Vec<Vec<Action>>,
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
