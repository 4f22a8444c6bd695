//! Made watches of made histories: those that were told as promised are valid, whatever is unknown
//! and whatever leases end; where everything is known, every change of them is found.

#[path = "../made/mod.rs"]
mod made;
mod mutate;

use std::collections::BTreeMap;

use lab_check::{Check as _, WatchGuarantees};
use lab_protocol::{CheckResult, Event, Judgement, Numbered};
use made::Chances;
use made::history::{Shape, make};
use mutate::{Mutation, mutate};

const HISTORIES: u64 = 1500;

fn shape(chances: &mut Chances) -> Shape {
    Shape {
        operations: 10 + chances.below(40),
        clients: 2 + chances.below(4),
        keys: 1 + chances.below(4),
        unknown_per_mille: 100 * chances.below(4),
        compactions_percent: [1, 10][chances.below(2)],
        steps_between_leases: 25,
        watches: 1 + chances.below(4),
    }
}

#[test]
fn what_was_told_as_promised_is_valid() {
    let mut valid = 0;
    for seed in 0..HISTORIES {
        let shape = shape(&mut Chances::new(!seed));
        let events = make(seed, shape);
        let said = judge(&events);
        let right = said.judgement != Judgement::Invalid;
        assert!(right, "seed {seed}, {shape:?}: {}\n{}", said.because, told(&events));
        valid += u64::from(said.judgement == Judgement::Valid);
    }
    println!("{valid} of {HISTORIES} were told enough");
    assert!(valid > HISTORIES / 2, "most were told enough");
}

#[test]
fn what_was_not_is_found_where_everything_is_known() {
    let mut found: BTreeMap<(Mutation, String), u32> = BTreeMap::new();
    for seed in 0..HISTORIES {
        let mut chances = Chances::new(!seed);
        let never = usize::MAX;
        let shape =
            Shape { unknown_per_mille: 0, steps_between_leases: never, ..shape(&mut chances) };
        let right = make(seed, shape);
        for mutation in mutate::ALL {
            let mut events = right.clone();
            if !mutate(&mut events, mutation, &mut chances) {
                continue;
            }
            let said = judge(&events);
            let broken = said.judgement == Judgement::Invalid;
            let told = || format!("{}\n{}", said.because, told(&events));
            assert!(broken, "seed {seed}, {shape:?}, {mutation:?}: {}", told());
            let rule = said.because.split(':').next().expect("a rule").to_owned();
            *found.entry((mutation, rule)).or_default() += 1;
        }
    }
    println!("{found:#?}");
    for mutation in mutate::ALL {
        assert!(found.keys().any(|(known, _)| *known == mutation), "{mutation:?} was never found");
    }
}

fn judge(events: &[Numbered]) -> CheckResult {
    let mut check = WatchGuarantees::new(1);
    events.iter().for_each(|event| check.observe(event));
    check.verdict()
}

/// A journal in lines.
fn told(events: &[Numbered]) -> String {
    let line = |Numbered { seq, event, .. }: &Numbered| match event {
        Event::Invoked { op, call, .. } => format!("{seq:3} {} asks {call:?}\n", op.0),
        Event::Returned { op, outcome } => format!("{seq:3} {} is told {outcome:?}\n", op.0),
        event => format!("{seq:3} {event:?}\n"),
    };
    events.iter().map(line).collect()
}
