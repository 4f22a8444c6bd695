//! What must hold of a run: the checks a scenario names, with their parameters.

use serde::{Deserialize, Serialize};

use super::{Span, Target};

/// A check without parameters: `election_safety = {}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// A check that needs so many cases before it may call a run valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AtLeast {
    /// With fewer cases the run proves nothing: unknown. At least 1.
    pub at_least: u32,
}

/// No more than so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AtMost {
    /// How many are allowed; 0 for none.
    pub at_most: u32,
}

/// How often a client may have to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReconnectsAtMost {
    /// Reads in the time of the fault before the run proves anything.
    pub at_least: u32,
    /// Turns of one client.
    pub turns: u32,
}

/// How soon a leader without a quorum must resign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LeavesOffice {
    /// Counted from the cut. Check-quorum looks once per election timeout, so two always suffice.
    pub within: Span,
}

/// Which steps repair a failed bootstrap and which bootstrap anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BootstrapMeasured {
    /// Number of the step that repairs, from 1.
    pub repair_step: u32,
    /// Number of the step that bootstraps anew, from 1.
    pub anew_step: u32,
}

/// Who has a vote at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VotersAtEnd {
    /// So many.
    pub exactly: u32,
    /// None of these members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Target>,
}

/// What could still fail, all along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// So many voters; 0 when a quorum is enough.
    pub at_least: u32,
}

/// From which step on something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SinceStep {
    /// Number of the step, from 1.
    pub since_step: u32,
}

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident: $parameters:ty,)*) => {
        /// The checks of a scenario; what is left out is not judged.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields, default)]
        pub struct Checks {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$parameters>,)*
        }

        /// The name of every check, in the order in which they are judged.
        pub const CHECK_NAMES: &[&str] = &[$(stringify!($name)),*];

        impl Checks {
            /// The names of the checks that are asked for.
            pub fn names(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$name.is_some() { names.push(stringify!($name)); })*
                names
            }
        }
    };
}

checks! {
    /// At most one leader in each term.
    election_safety: NoParameters,
    /// Every acknowledged write is there at the end, or overwritten by a later one.
    acked_not_lost: AtLeast,
    /// Writes and reads happened in one order that agrees with real time.
    linearizable: AtLeast,
    /// All members hold the same at the end.
    members_equal: NoParameters,
    /// After healing all members follow one leader and have applied all of its log.
    converged: NoParameters,
    /// From the first fault on, the leader's term stayed.
    no_term_change: NoParameters,
    /// Every read of the workload in the time of the fault succeeded.
    reads_succeed: AtLeast,
    /// No client had to turn to another member more often than so.
    reconnects_at_most: ReconnectsAtMost,
    /// Nobody but the clients of dead members turned to another.
    only_dead_members_clients_reconnected: NoParameters,
    /// The clients and requests of each survivor before and in the time of the fault.
    load_per_survivor_measured: AtLeast,
    /// Writes sent while nobody led were done after the election.
    write_in_election_completes: AtLeast,
    /// Writes that did not wait long enough for the election ended unknown.
    short_deadline_ends_unknown: AtLeast,
    /// No lease ended before its time.
    lease_not_early: AtLeast,
    /// A new leader gave every lease its full time again.
    lease_extended: AtLeast,
    /// While a majority was down no write was acknowledged.
    writes_stop_without_quorum: AtLeast,
    /// While a majority was down serializable reads were answered.
    serializable_reads_answer: AtLeast,
    /// A leader that was cut off from its quorum resigned in time.
    minority_leader_leaves_office: LeavesOffice,
    /// What only the cut-off leader had appended was truncated, and none of it acknowledged.
    minority_tail_truncated: AtLeast,
    /// What the repair of a failed bootstrap took, and what bootstrapping anew took.
    bootstrap_measured: BootstrapMeasured,
    /// A leader only appended to its log.
    leader_append_only: NoParameters,
    /// Logs with one entry in common were the same up to it.
    log_matching: NoParameters,
    /// Every leader had what was committed in earlier terms.
    leader_completeness: NoParameters,
    /// No two members applied different entries at one index.
    state_machine_safety: NoParameters,
    /// Every watch was told all it asked for, once, whole and in order, as etcd promises.
    watch_guarantees: AtLeast,
    /// A restore, or a cluster begun anew, lost no more acknowledged writes than so.
    lost_writes: AtMost,
    /// Every member that runs at the end is a new one, of one new cluster.
    identity_changed: NoParameters,
    /// Every member that runs at the end is of the cluster that the run began with.
    identity_kept: NoParameters,
    /// So many writes were acknowledged after the last loss of the quorum.
    writes_resumed: AtLeast,
    /// Watches were told of so many changes after a restore: none waits for a revision to come.
    watches_see: AtLeast,
    /// No process ended that nobody had asked to.
    nobody_ended_by_itself: NoParameters,
    /// After a total loss the cluster began anew with the last good backup, and the lab told so.
    backups_bound_loss: AtLeast,
    /// So many members have a vote at the end, and each of them runs.
    voters: VotersAtEnd,
    /// From the first time that it was so, so many voters more could fail and a quorum was left.
    tolerance_kept: Tolerance,
    /// No leader's process ended or paused before another member had been elected.
    leadership_handed_over: NoParameters,
    /// Every voter runs a process that began after this step.
    restarted: SinceStep,
    /// Every acknowledged element of a set was in every later read of it, and none from nowhere.
    set_complete: AtLeast,
    /// Lists only grew: no acknowledged append was lost, and all were made in one order.
    append_order: AtLeast,
    /// Whoever had lost a lock could not write under its guard any more.
    lock_fenced: AtLeast,
}
