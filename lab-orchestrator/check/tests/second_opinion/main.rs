//! A second opinion: `Linearizable` against a search for an order, over thousands of small
//! histories, right ones and ones that were changed at one place.
//!
//! Of every history that both can judge it is demanded that
//!
//! - what the check finds broken has no order;
//! - what has no order the check finds broken, unless nobody is known to have made some revision
//!   (the *gaps* of the check's own words). Only there does the search see more.
//!
//! A search that looks at values alone, as it would at a plain map, sees less than either: it is
//! counted how often a wrong revision does not tell it anything.
//!
//! No published checker of Rust fits: those that are exact do not remember what they tried, and
//! the fast one calls a valid history illegal when unknown outcomes take it too long.

#[path = "../made/mod.rs"]
mod made;
mod mutate;
mod search;

use std::collections::BTreeMap;

use lab_check::{Check as _, Linearizable};
use lab_protocol::{CheckResult, Event, Judgement, Numbered};
use made::Chances;
use made::history::{Shape, make};
use mutate::{Mutation, mutate};
use search::{Opinion, Sight, search};

const HISTORIES: u64 = 2000;
/// Changed versions of each history.
const CHANGED: usize = 4;

/// How often what was said.
#[derive(Debug, Default)]
struct Tally {
    both_valid: u32,
    both_invalid: u32,
    /// The search alone found it out: some revision has no known writer.
    search_alone: u32,
    /// A search that looks at values alone did not find it out.
    values_do_not_tell: u32,
    /// The check has too little to tell, or the search too little time.
    undecided: u32,
    found: BTreeMap<Mutation, u32>,
}

#[test]
fn a_search_and_the_check_agree() {
    let mut tally = Tally::default();
    for seed in 0..HISTORIES {
        let mut chances = Chances::new(!seed);
        let shape = Shape {
            operations: 6 + chances.below(14),
            clients: 2 + chances.below(3),
            keys: 1 + chances.below(3),
            unknown_per_mille: 150 * chances.below(4),
            compactions_percent: [1, 1, 1, 20][chances.below(4)],
            steps_between_leases: 15,
            watches: 0,
        };
        let events = make(seed, shape);
        let said = compare(&events, &mut tally, &format!("seed {seed}, {shape:?}"));
        assert_ne!(said, Judgement::Invalid, "seed {seed} is right");
        for _ in 0..CHANGED {
            let mutation = mutate::ALL[chances.below(mutate::ALL.len())];
            let mut events = events.clone();
            if mutate(&mut events, mutation, &mut chances) {
                let what = format!("seed {seed}, {shape:?}, {mutation:?}");
                if compare(&events, &mut tally, &what) == Judgement::Invalid {
                    *tally.found.entry(mutation).or_default() += 1;
                }
            }
        }
    }
    println!("{tally:#?}");
    let Tally { both_valid, both_invalid, search_alone, values_do_not_tell, undecided, found } =
        tally;
    assert!(both_valid > 3000 && both_invalid > 3000, "enough of each was judged");
    assert!(20 * search_alone < both_invalid, "the check seldom sees less");
    assert!(values_do_not_tell > 1000, "revisions tell more");
    assert!(undecided < 200, "both mostly judge");
    for mutation in mutate::ALL {
        // What is not told cannot be wrong.
        let breaks = mutation != Mutation::Unknown;
        assert_eq!(found.contains_key(&mutation), breaks, "{mutation:?}: was it found?");
    }
}

/// Judges a history twice; the verdicts must fit together.
fn compare(events: &[Numbered], tally: &mut Tally, what: &str) -> Judgement {
    let check = check(events);
    let broken = match check.judgement {
        Judgement::Valid => false,
        Judgement::Invalid => true,
        Judgement::Unknown => {
            tally.undecided += 1;
            return Judgement::Unknown;
        }
    };
    let told = || {
        let lines: Vec<String> = events.iter().map(line).collect();
        format!("{what}: {}\n{}", check.because, lines.join("\n"))
    };
    match (broken, search(events, Sight::Whole)) {
        (_, Opinion::Undecided) => tally.undecided += 1,
        (true, Opinion::Possible) => panic!("there is an order after all: {}", told()),
        (true, Opinion::Impossible) => {
            tally.both_invalid += 1;
            let values = search(events, Sight::Values);
            tally.values_do_not_tell += u32::from(values == Opinion::Possible);
        }
        (false, Opinion::Possible) => tally.both_valid += 1,
        (false, Opinion::Impossible) => {
            assert!(has_gaps(&check), "there is no order and no gap: {}", told());
            tally.search_alone += 1;
        }
    }
    check.judgement
}

fn check(events: &[Numbered]) -> CheckResult {
    let mut check = Linearizable::new(1);
    events.iter().for_each(|event| check.observe(event));
    check.verdict()
}

/// Whether the check says that nobody is known to have made some revision.
fn has_gaps(said: &CheckResult) -> bool {
    !said.because.contains(" 0 revisions made by one of those")
}

fn line(numbered: &Numbered) -> String {
    let seq = numbered.seq;
    match &numbered.event {
        Event::Invoked { op, call, .. } => format!("{seq:3} {} asks {call:?}", op.0),
        Event::Returned { op, outcome } => format!("{seq:3} {} is told {outcome:?}", op.0),
        event => format!("{seq:3} {event:?}"),
    }
}
