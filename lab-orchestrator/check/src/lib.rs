//! Checkers: pure folds over a run's events that end in a verdict.
//!
//! A check watches the journal go by and says at any time what it makes of it: *valid* when its
//! promise was put to the test and held, *invalid* when it was broken (it names the operation,
//! the member, the time), *unknown* when the run does not tell. A run with too little in it is
//! never valid.
//!
//! ```text
//!  Numbered events ─► Check::observe ─┬─ History   operations by number
//!                                     └─ Cluster   processes, links, leaders, gaps
//!                     Check::verdict ─► CheckResult
//! ```
//!
//! | file | judges |
//! |---|---|
//! | `judges` | all who judge a scenario together, and those that have to find a bug |
//! | `expectations` | conditions of a scenario, and when they have to hold |
//! | `phrase`, `tally` | what a condition means, from what was counted of the run |
//! | `election` | one leader a term; the term stays |
//! | `log_rules` | leaders only append; logs match |
//! | `commit_rules` | later leaders have what is committed; nobody applies another entry |
//! | `durable` | acknowledged writes are there at the end; all members hold the same |
//! | `linear` | one order of all operations that agrees with real time |
//! | `watch` | watches are told all they asked for, once, whole and in order |
//! | `sets`, `lists` | what was added or appended is in every later read, and in one order |
//! | `locks` | who has lost a lock cannot write under its guard |
//! | `window` | checks that begin in the middle of a long run |
//! | `clients` | reads, reconnections and load while members are dead |
//! | `gap` | writes sent while nobody led |
//! | `lease` | leases live their time |
//! | `lineage` | which cluster came of which, after a restore |
//! | `membership` | who has a vote at the end, what could still fail, who led on, who began anew |
//! | `quorum` | nothing is written without a majority, stale reads are answered |
//! | `partition` | a cut-off leader resigns and its tail is truncated |
//! | `bootstrap` | what a failed bootstrap cost |
//! | `score` | what a drill is worth |
//! | `recovery` | what a recovery lost, whose the cluster is, whether it serves |
//! | `measure` | what a lesson asks about, and what predictions are worth |
//! | `untold` | what members do not tell, it calls unknown |
//! | `backups` | a total loss costs what was written since the last good backup |
//!
//! Invariants: no I/O, no clock, no random source; the same events give the same words; memory
//! grows with the operations of a run only. A new cluster (*start over*) begins a new history:
//! promises do not reach across it, but what was found broken before stays broken.
//!
//! Left out on purpose: searching for an order of operations. The cluster gives every write its
//! revision, so the order is known and checking it is exact. The tests search, for a second opinion.

mod backups;
mod bootstrap;
mod clients;
mod cluster;
mod commit_rules;
pub mod convergence;
mod durable;
mod election;
mod expectations;
mod gap;
mod history;
mod judges;
mod lease;
mod lineage;
mod linear;
mod lists;
mod locks;
mod log_rules;
mod logs;
mod measure;
mod membership;
mod partition;
mod phrase;
mod quorum;
mod recovery;
mod score;
#[cfg(test)]
mod script;
mod sets;
mod tally;
mod untold;
mod views;
mod watch;
mod window;

pub use backups::BackupsBoundLoss;
pub use bootstrap::BootstrapMeasured;
pub use clients::{LoadPerSurvivor, OnlyDeadMembersClients, ReadsSucceed, ReconnectsAtMost};
pub use commit_rules::{LeaderCompleteness, StateMachineSafety};
pub use durable::{AckedNotLost, Converged, MembersEqual};
pub use election::{ElectionSafety, NoTermChange};
pub use gap::{ShortDeadlineEndsUnknown, WriteInElectionCompletes};
pub use judges::Judges;
pub use lease::{LeaseExtended, LeaseNotEarly};
pub use linear::Linearizable;
pub use lists::AppendOrder;
pub use locks::LockFenced;
pub use log_rules::{LeaderAppendOnly, LogMatching};
pub use measure::Measures;
pub use membership::{LeadershipHandedOver, Restarted, ToleranceKept, Voters};
pub use partition::{MinorityLeaderLeavesOffice, MinorityTailTruncated};
pub use phrase::{holds, measure};
pub use quorum::{SerializableReadsAnswer, WritesStopWithoutQuorum};
pub use recovery::{
    IdentityChanged, IdentityKept, LostWrites, NobodyEndedByItself, WatchesSee, WritesResumed,
};
pub use score::Scorer;
pub use sets::SetComplete;
pub use tally::{Mark, Names, Tally};
pub use watch::WatchGuarantees;
pub use window::{Enough, Prologue, checks_of_window};

use lab_protocol::scenario::Scenario;
use lab_protocol::{Account, CheckResult, Judgement, Numbered, Verdict};

use untold::Untold;

/// A judge that watches a run.
pub trait Check {
    /// Takes the next event of the journal, without gaps.
    fn observe(&mut self, numbered: &Numbered);

    /// What it makes of all events so far.
    fn verdict(&self) -> CheckResult;
}

/// The checks that a scenario asks for, in the order of [`lab_protocol::scenario::CHECK_NAMES`].
fn checks_of(scenario: &Scenario) -> Vec<Box<dyn Check>> {
    let lab_protocol::scenario::Checks {
        election_safety,
        acked_not_lost,
        linearizable,
        members_equal,
        converged,
        no_term_change,
        reads_succeed,
        reconnects_at_most,
        only_dead_members_clients_reconnected,
        load_per_survivor_measured,
        write_in_election_completes,
        short_deadline_ends_unknown,
        lease_not_early,
        lease_extended,
        writes_stop_without_quorum,
        serializable_reads_answer,
        minority_leader_leaves_office,
        minority_tail_truncated,
        bootstrap_measured,
        leader_append_only,
        log_matching,
        leader_completeness,
        state_machine_safety,
        watch_guarantees,
        lost_writes,
        identity_changed,
        identity_kept,
        writes_resumed,
        watches_see,
        nobody_ended_by_itself,
        backups_bound_loss,
        voters,
        tolerance_kept,
        leadership_handed_over,
        restarted,
        set_complete,
        append_order,
        lock_fenced,
    } = &scenario.checks;
    let scale = scenario.cluster.scale();
    let mut checks: Vec<Box<dyn Check>> = Vec::new();
    let mut add = |check: Option<Box<dyn Check>>| {
        checks.extend(check.map(|check| {
            let needs = needed(&check.verdict().check);
            Box::new(Untold::new(check, needs)) as Box<dyn Check>
        }));
    };
    add(election_safety.map(|_| Box::new(ElectionSafety::default()) as _));
    add(acked_not_lost.map(|p| Box::new(AckedNotLost::new(p.at_least)) as _));
    add(linearizable.map(|p| Box::new(Linearizable::new(p.at_least)) as _));
    add(members_equal.map(|_| Box::new(MembersEqual::default()) as _));
    add(converged.map(|_| Box::new(Converged::default()) as _));
    add(no_term_change.map(|_| Box::new(NoTermChange::default()) as _));
    add(reads_succeed.map(|p| Box::new(ReadsSucceed::new(p.at_least)) as _));
    add(reconnects_at_most.map(|p| Box::new(ReconnectsAtMost::new(p.at_least, p.turns)) as _));
    add(only_dead_members_clients_reconnected
        .map(|_| Box::new(OnlyDeadMembersClients::default()) as _));
    add(load_per_survivor_measured.map(|p| Box::new(LoadPerSurvivor::new(p.at_least)) as _));
    add(write_in_election_completes
        .map(|p| Box::new(WriteInElectionCompletes::new(p.at_least)) as _));
    add(short_deadline_ends_unknown
        .map(|p| Box::new(ShortDeadlineEndsUnknown::new(p.at_least)) as _));
    add(lease_not_early.map(|p| Box::new(LeaseNotEarly::new(p.at_least)) as _));
    add(lease_extended.map(|p| Box::new(LeaseExtended::new(p.at_least)) as _));
    add(writes_stop_without_quorum.map(|p| Box::new(WritesStopWithoutQuorum::new(p.at_least)) as _));
    add(serializable_reads_answer.map(|p| Box::new(SerializableReadsAnswer::new(p.at_least)) as _));
    add(minority_leader_leaves_office
        .map(|p| Box::new(MinorityLeaderLeavesOffice::new(p.within, scale)) as _));
    add(minority_tail_truncated.map(|p| Box::new(MinorityTailTruncated::new(p.at_least)) as _));
    add(bootstrap_measured
        .map(|p| Box::new(BootstrapMeasured::new(p.repair_step, p.anew_step)) as _));
    add(leader_append_only.map(|_| Box::new(LeaderAppendOnly::default()) as _));
    add(log_matching.map(|_| Box::new(LogMatching::default()) as _));
    add(leader_completeness.map(|_| Box::new(LeaderCompleteness::default()) as _));
    add(state_machine_safety.map(|_| Box::new(StateMachineSafety::default()) as _));
    add(watch_guarantees.map(|p| Box::new(WatchGuarantees::new(p.at_least)) as _));
    add(lost_writes.map(|p| Box::new(LostWrites::new(p.at_most)) as _));
    add(identity_changed.map(|_| Box::new(IdentityChanged::default()) as _));
    add(identity_kept.map(|_| Box::new(IdentityKept::default()) as _));
    add(writes_resumed.map(|p| Box::new(WritesResumed::new(p.at_least)) as _));
    add(watches_see.map(|p| Box::new(WatchesSee::new(p.at_least)) as _));
    add(nobody_ended_by_itself.map(|_| Box::new(NobodyEndedByItself::default()) as _));
    add(backups_bound_loss.map(|p| Box::new(BackupsBoundLoss::new(p.at_least)) as _));
    add(voters.as_ref().map(|p| Box::new(Voters::new(p)) as _));
    add(tolerance_kept.map(|p| Box::new(ToleranceKept::new(p.at_least)) as _));
    add(leadership_handed_over.map(|_| Box::new(LeadershipHandedOver::default()) as _));
    add(restarted.map(|p| Box::new(Restarted::new(p.since_step)) as _));
    add(set_complete.map(|p| Box::new(SetComplete::new(p.at_least)) as _));
    add(append_order.map(|p| Box::new(AppendOrder::new(p.at_least)) as _));
    add(lock_fenced.map(|p| Box::new(LockFenced::new(p.at_least)) as _));
    checks
}

/// The account of the members that a check lives from, if it is not what clients see.
fn needed(check: &str) -> Option<Account> {
    match check {
        "election_safety"
        | "no_term_change"
        | "write_in_election_completes"
        | "short_deadline_ends_unknown"
        | "minority_leader_leaves_office"
        | "leadership_handed_over" => Some(Account::Elections),
        "leader_append_only"
        | "log_matching"
        | "leader_completeness"
        | "state_machine_safety"
        | "minority_tail_truncated" => Some(Account::Log),
        "backups_bound_loss" | "watches_see" => Some(Account::Restores),
        _ => None,
    }
}

/// Judges a whole run.
pub fn judge<'a>(
    name: &str,
    scenario: &Scenario,
    events: impl IntoIterator<Item = &'a Numbered>,
) -> Verdict {
    let mut judges = Judges::of(scenario);
    for event in events {
        judges.observe(event);
    }
    judges.verdict(name)
}

/// What a check found, before it has a name.
struct Finding {
    judgement: Judgement,
    because: String,
    evidence: Vec<u64>,
}

impl Finding {
    fn valid(because: impl Into<String>) -> Self {
        Self { judgement: Judgement::Valid, because: because.into(), evidence: Vec::new() }
    }

    fn unknown(because: impl Into<String>) -> Self {
        Self { judgement: Judgement::Unknown, because: because.into(), evidence: Vec::new() }
    }

    fn invalid(because: impl Into<String>, evidence: impl Into<Vec<u64>>) -> Self {
        Self { judgement: Judgement::Invalid, because: because.into(), evidence: evidence.into() }
    }

    /// Unknown for too few cases.
    fn too_few(found: usize, at_least: u32, cases: &str) -> Self {
        Self::unknown(format!("{found} {cases} in this run, at least {at_least} would tell"))
    }

    fn of(self, check: &str, guards: &str) -> CheckResult {
        let Self { judgement, because, evidence } = self;
        CheckResult { check: check.into(), guards: guards.into(), judgement, because, evidence }
    }
}

/// Microseconds as seconds for people.
fn seconds(micros: u64) -> String {
    format!("{}.{:03} s", micros / 1_000_000, micros % 1_000_000 / 1000)
}
