//! Every planted bug that breaks a promise of safety is caught within a stated number of seeds:
//! a simulation that has never been red proves nothing. Needs the feature `training`.
#![cfg(feature = "training")]

use std::collections::BTreeSet;

use node::training::{Break, Planted};
use node_sim::{Outcome, Plan, Settings, checks, run, run_plan, shrink};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Lives seeds from 1 on until one breaks the rule, at most `within`. A bug may break other rules
/// as well, before or instead; this one must be among them.
#[track_caller]
fn caught(bug: Break, within: u64, rule: &str) {
    caught_among(bug, within, rule, run);
}

/// As [`caught`], among lifetimes of one kind.
#[track_caller]
fn caught_among(bug: Break, within: u64, rule: &str, live: impl Fn(u64, Settings) -> Outcome) {
    let settings = Settings { members: 3, planted: Planted::new(Some(bug)) };
    let mut seen = BTreeSet::new();
    for seed in 1..=within {
        for why in live(seed, settings).violations {
            if why.contains(rule) {
                println!("{bug:?}: seed {seed}: {why}");
                return;
            }
            seen.insert(why);
        }
    }
    panic!("`{rule}` did not catch {bug:?} within {within} seeds; seen: {seen:#?}");
}

#[test]
fn an_answer_before_the_commit_is_caught() {
    caught(Break::AcknowledgeBeforeCommit, 20, "acked_not_lost");
}

#[test]
fn an_answer_by_whoever_is_asked_is_caught() {
    caught(Break::AcknowledgeAtOnce, 20, "linearizable");
}

#[test]
fn a_log_that_never_reaches_the_disk_is_caught() {
    caught(Break::NothingPersisted, 20, "election_safety");
}

#[test]
fn a_vote_that_never_reaches_the_disk_is_caught() {
    // raft-rs notices by itself that its term went back.
    caught(Break::VoteNotPersisted, 20, "ended by itself");
}

#[test]
fn an_office_taken_without_a_majority_is_caught() {
    caught(Break::WinWithoutMajority, 20, "election_safety");
}

#[test]
fn a_read_that_asks_nobody_is_caught() {
    caught(Break::ReadsUnchecked, 20, "linearizable");
}

#[test]
fn an_entry_that_is_not_applied_is_caught() {
    caught(Break::ApplySkips, 20, "acked_not_lost");
}

#[test]
fn a_member_that_stops_applying_is_caught() {
    caught(Break::ApplyStalls, 20, "convergence");
}

#[test]
fn a_lease_that_a_new_leader_does_not_extend_is_caught() {
    caught(Break::LeaseNotExtended, 20, "lease_not_early");
}

#[test]
fn a_lease_that_ends_early_is_caught() {
    caught(Break::LeaseEarly, 20, "lease_not_early");
}

#[test]
fn a_refusal_of_what_may_still_happen_is_caught() {
    caught(Break::NoQueue, 60, "linearizable");
}

#[test]
fn a_command_applied_again_is_caught() {
    caught(Break::ResendAppliedTwice, 200, "linearizable");
}

#[test]
fn a_promise_before_the_fsync_is_caught() {
    caught(Break::PromiseBeforeFsync, 200, "ended by itself");
}

#[test]
fn an_entry_of_an_old_term_committed_by_counting_is_caught() {
    caught(Break::OldTermCommitted, 5000, "state-machine safety");
}

#[test]
fn an_applied_index_outside_the_transaction_is_caught() {
    caught(Break::AppliedIndexApart, 200, "acked_not_lost");
}

#[test]
fn a_revoke_by_a_leader_of_the_past_is_caught() {
    caught(Break::OldLeaderRevokes, 3000, "lease_not_early");
}

#[test]
fn a_read_confirmed_by_an_old_answer_is_caught() {
    caught(Break::ReadContextReused, 200, "linearizable");
}

#[test]
fn a_snapshot_installed_beside_the_old_log_is_caught() {
    caught(Break::SnapshotKeepsLog, 200, "ended by itself");
}

#[test]
fn a_read_by_lease_is_caught() {
    caught(Break::LeaseBasedReads, 3000, "linearizable");
}

#[test]
fn a_leader_that_replaces_what_it_found_is_caught() {
    caught(Break::LeaderForgetsTail, 200, "leader_append_only");
}

#[test]
fn a_list_of_members_that_is_ahead_of_the_votes_is_caught() {
    caught(Break::MembersBeforeVotes, 4000, "its state lists");
}

/// Of all lifetimes one in eight is of this kind.
#[test]
fn a_change_of_members_during_another_is_caught() {
    caught_among(Break::NaiveConfigurationSwap, 2000, "convergence", |seed, settings| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        run_plan(seed, Plan::of_changing_members(&mut random, settings.members), settings)
    });
}

#[test]
fn a_watch_that_skips_what_was_compacted_is_caught() {
    caught(Break::WatchSkipsCompacted, 60, "watch_guarantees");
}

/// Without one of the lab's checks its row here has nothing to show.
#[test]
fn every_check_sees_a_bug() {
    let rows = [
        ("election_safety", Break::WinWithoutMajority),
        ("leader_append_only", Break::LeaderForgetsTail),
        ("log_matching", Break::WinWithoutMajority),
        ("leader_completeness", Break::VoteNotPersisted),
        ("state_machine_safety", Break::WinWithoutMajority),
        ("acked_not_lost", Break::AcknowledgeAtOnce),
        ("linearizable", Break::ReadsUnchecked),
        ("members_equal", Break::ApplySkips),
        ("lease_not_early", Break::LeaseEarly),
        ("watch_guarantees", Break::WatchSkipsCompacted),
    ];
    let names: Vec<_> = checks().iter().map(|check| check.verdict().check).collect();
    assert_eq!(names, rows.map(|(check, _)| check), "a row for each check that judges");
    for (check, bug) in rows {
        caught(bug, 200, check);
    }
}

#[test]
fn a_broken_lifetime_shrinks_to_one_that_breaks_the_same_rule() {
    let planted = Planted::new(Some(Break::WinWithoutMajority));
    let settings = Settings { members: 3, planted };
    let long = (1..).map(|seed| run(seed, settings));
    let long =
        long.into_iter().find(|outcome| !outcome.violations.is_empty()).expect("caught soon");
    let faults = long.plan.actions.len();
    let rule = |outcome: &Outcome| {
        let why = outcome.violation().expect("a rule is broken");
        why.split(':').next().expect("the rule comes first").to_owned()
    };
    let broken = rule(&long);
    let short = shrink(long, settings);
    assert!(short.plan.actions.len() * 4 < faults, "{} of {faults}", short.plan.actions.len());
    let again = run_plan(short.seed, short.plan, settings);
    assert_eq!(
        again.violations, short.violations,
        "the short plan is the same lifetime every time"
    );
    assert_eq!(rule(&again), broken);
}
