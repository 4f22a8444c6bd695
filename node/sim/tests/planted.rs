//! Every planted bug that breaks a promise of safety is caught within a stated number of seeds:
//! a simulation that has never been red proves nothing. Needs the feature `training`.
#![cfg(feature = "training")]

use node::training::{Break, Planted};
use node_sim::{Settings, run};

/// Lives seeds from 1 on until one is broken, at most `within`; the rule must be the one named.
#[track_caller]
fn caught(bug: Break, within: u64, rule: &str) {
    let settings = Settings { members: 3, planted: Planted::new(Some(bug)) };
    for seed in 1..=within {
        if let Some(why) = run(seed, settings).violation {
            println!("{bug:?}: seed {seed}: {why}");
            assert!(why.contains(rule), "{bug:?}, seed {seed}: not `{rule}` but: {why}");
            return;
        }
    }
    panic!("{bug:?} was not caught within {within} seeds");
}

#[test]
fn an_answer_before_the_commit_is_caught() {
    caught(Break::AcknowledgeBeforeCommit, 5, "acked_not_lost");
}

#[test]
fn an_answer_by_whoever_is_asked_is_caught() {
    caught(Break::AcknowledgeAtOnce, 2, "linearizable");
}

#[test]
fn a_log_that_never_reaches_the_disk_is_caught() {
    caught(Break::NothingPersisted, 5, "election safety");
}

#[test]
fn a_vote_that_never_reaches_the_disk_is_caught() {
    // raft-rs notices by itself that its term went back.
    caught(Break::VoteNotPersisted, 5, "ended by itself");
}

#[test]
fn an_office_taken_without_a_majority_is_caught() {
    caught(Break::WinWithoutMajority, 5, "election safety");
}

#[test]
fn a_read_that_asks_nobody_is_caught() {
    caught(Break::ReadsUnchecked, 5, "linearizable");
}

#[test]
fn an_entry_that_is_not_applied_is_caught() {
    caught(Break::ApplySkips, 5, "acked_not_lost");
}

#[test]
fn a_member_that_stops_applying_is_caught() {
    caught(Break::ApplyStalls, 5, "convergence");
}

#[test]
fn a_refusal_of_what_may_still_happen_is_caught() {
    caught(Break::NoQueue, 60, "linearizable");
}
