//! Members that come and go, by plans made for it.

use lab_protocol::{Event, MemberNo, Process};
use node::training::Planted;
use node_sim::{Action, Outcome, Plan, Settings, run_plan};

const SETTINGS: Settings = Settings { members: 2, planted: Planted::new(None) };

fn live(seed: u64, joiners: usize, actions: Vec<(u64, Action)>) -> Outcome {
    let plan = Plan { members: 2, joiners, election_ticks: 30, message_bytes: 1 << 20, actions };
    let outcome = run_plan(seed, plan, SETTINGS);
    assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}, {:?}", outcome.plan);
    outcome
}

/// The configuration by a member's last word: who votes, and who learns.
fn configuration(outcome: &Outcome, member: MemberNo) -> (usize, usize) {
    let said = outcome.journal.iter().rev().find_map(|numbered| match &numbered.event {
        Event::Status { member: no, status } if *no == member => Some(status),
        _ => None,
    });
    said.map_or((0, 0), |status| (status.voters.len(), status.learners.len()))
}

fn runs_at_the_end(outcome: &Outcome, member: MemberNo) -> bool {
    let mut processes = outcome.journal.iter().filter_map(|numbered| match &numbered.event {
        Event::Process { member: no, process } if *no == member => Some(process),
        _ => None,
    });
    matches!(processes.next_back(), Some(Process::Up { .. }))
}

/// Found by lifetimes of changing members: the one that was left never heard that the removal was
/// committed, and could not ask the one that was gone.
#[test]
fn of_two_members_either_is_removed_and_the_other_goes_on() {
    for seed in 1..=100 {
        let removed = usize::try_from(seed % 2).expect("a place");
        let stays = 1 - removed;
        let breaks = 1_000_000 + 300 * seed;
        let outcome = live(
            seed,
            0,
            vec![
                (1_000_000, Action::Remove(removed)),
                (breaks, Action::PowerLoss(stays)),
                (breaks + 1_000_000, Action::Restart(stays)),
                (6_000_000, Action::Remove(removed)),
            ],
        );
        let gone = MemberNo(u8::try_from(removed + 1).expect("a number"));
        assert!(!runs_at_the_end(&outcome, gone), "seed {seed}: {gone} ends by itself");
        assert!(outcome.tally.acknowledged > 100, "seed {seed}: {:?}", outcome.tally);
    }
}

#[test]
fn two_others_take_the_place_of_two_members() {
    let outcome = live(
        1,
        2,
        vec![
            (1_000_000, Action::Add(2, true)),
            (2_000_000, Action::Promote(2)),
            (3_000_000, Action::Add(3, false)),
            (4_000_000, Action::Remove(0)),
            (5_000_000, Action::Remove(1)),
        ],
    );
    let up = [1, 2, 3, 4].map(|no| runs_at_the_end(&outcome, MemberNo(no)));
    assert_eq!(up, [false, false, true, true]);
}

/// etcd-io/etcd#19557, #20793, #21694, #18347: of a learner's promotion or of its new URL the list
/// of members and the votes told different tales, some of them after a restart.
#[test]
fn a_promotion_and_an_update_outlive_a_restart_of_all() {
    for (seed, promoted) in (1..=60).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut actions = vec![
            (1_000_000, Action::Add(2, true)),
            (2_000_000, Action::Update(2)),
            (2_500_000, Action::Update(0)),
        ];
        if promoted {
            actions.push((3_000_000, Action::Promote(2)));
            actions.push((4_000_000, Action::Update(2)));
        }
        for place in 0..3 {
            actions.push((2_000_000 + 40_000 * seed, Action::PowerLoss(place)));
            actions.push((5_000_000, Action::Restart(place)));
        }
        actions.push((6_000_000, Action::Update(1)));
        // Once more, for what was asked while nobody was there.
        if promoted {
            actions.push((7_000_000, Action::Promote(2)));
        }
        actions.sort_by_key(|(at, _)| *at);
        let outcome = live(seed, 1, actions);
        let expected = if promoted { (3, 0) } else { (2, 1) };
        for member in 1..=3 {
            let found = configuration(&outcome, MemberNo(member));
            assert_eq!(found, expected, "seed {seed}, promoted: {promoted}, m{member}");
        }
    }
}

/// tikv/raft-rs#269: a learner that began with a snapshot did not learn that it was one.
#[test]
fn a_learner_begins_with_a_snapshot_and_becomes_a_voter() {
    let outcome =
        live(1, 1, vec![(3_000_000, Action::Add(2, true)), (5_000_000, Action::Promote(2))]);
    assert!(outcome.tally.snapshots > 0, "a log never begins at 1: {:?}", outcome.tally);
    assert_eq!(configuration(&outcome, MemberNo(3)), (3, 0));
}

/// tikv/tikv#7344, #6609, #12023, #6344: messages and changes of an old configuration that came
/// late.
#[test]
fn what_was_sent_under_an_old_configuration_does_no_harm() {
    for seed in 1..=50 {
        let removed = usize::try_from(seed % 3).expect("a place");
        live(
            seed,
            2,
            vec![
                (500_000, Action::Repeating(500)),
                (500_000, Action::SlowNetwork(150_000)),
                (1_000_000, Action::Add(2, true)),
                (2_500_000, Action::Promote(2)),
                (2_500_000, Action::Remove(removed)),
                (2_500_000, Action::Add(3, false)),
                (3_000_000 + 20_000 * seed, Action::PowerLoss(removed)),
                (4_500_000, Action::Restart(removed)),
                (5_000_000, Action::Remove(removed)),
                (6_000_000, Action::Remove(3)),
            ],
        );
    }
}
