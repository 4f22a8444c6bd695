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
