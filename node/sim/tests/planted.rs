//! Every planted bug that breaks a promise of safety is caught within a stated number of seeds:
//! a simulation that has never been red proves nothing. Needs the feature `training`.
#![cfg(feature = "training")]

use node::training::{Break, Planted};
use node_sim::{Settings, run, run_plan, shrink};

/// Lives seeds from 1 on until one breaks the rule, at most `within`. A bug may break other rules
/// as well, before or instead; this one must be among them.
#[track_caller]
fn caught(bug: Break, within: u64, rule: &str) {
    let settings = Settings { members: 3, planted: Planted::new(Some(bug)) };
    let mut seen = Vec::new();
    for seed in 1..=within {
        if let Some(why) = run(seed, settings).violation {
            println!("{bug:?}: seed {seed}: {why}");
            if why.contains(rule) {
                return;
            }
            seen.push(why);
        }
    }
    panic!("`{rule}` did not catch {bug:?} within {within} seeds; seen: {seen:?}");
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
    caught(Break::NothingPersisted, 20, "election safety");
}

#[test]
fn a_vote_that_never_reaches_the_disk_is_caught() {
    // raft-rs notices by itself that its term went back.
    caught(Break::VoteNotPersisted, 20, "ended by itself");
}

#[test]
fn an_office_taken_without_a_majority_is_caught() {
    caught(Break::WinWithoutMajority, 20, "election safety");
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
fn a_broken_lifetime_shrinks_to_one_that_breaks_the_same_rule() {
    let planted = Planted::new(Some(Break::WinWithoutMajority));
    let settings = Settings { members: 3, planted };
    let long = run(1, settings);
    let faults = long.plan.actions.len();
    let short = shrink(long, settings);
    assert!(short.plan.actions.len() * 4 < faults, "{} of {faults}", short.plan.actions.len());
    let again = run_plan(short.seed, short.plan, settings);
    assert_eq!(again.violation, short.violation, "the short plan is the same lifetime every time");
    assert!(again.violation.is_some_and(|why| why.contains("election safety")));
}
