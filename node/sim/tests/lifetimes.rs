//! Lifetimes without bugs hold every rule, and a seed is the same lifetime every time.

use node::training::Planted;
use node_sim::{Settings, run};

const SHIPPED: fn(usize) -> Settings = |members| Settings { members, planted: Planted::new(None) };

#[test]
fn the_same_seed_gives_the_same_lifetime() {
    for seed in 1..4 {
        let (one, two) = (run(seed, SHIPPED(3)), run(seed, SHIPPED(3)));
        assert_eq!(one.trace, two.trace, "seed {seed}");
        assert_eq!(one.journal, two.journal, "seed {seed}");
        assert_eq!(one.tally, two.tally, "seed {seed}");
    }
    assert_ne!(run(1, SHIPPED(3)).trace, run(2, SHIPPED(3)).trace, "another seed is another one");
}

#[test]
fn clusters_of_every_size_hold_every_rule() {
    for members in [2, 3, 4, 5, 7] {
        for seed in 1..5 {
            let outcome = run(seed, SHIPPED(members));
            assert_eq!(outcome.violation(), None, "{members} members, seed {seed}");
            assert!(outcome.tally.acknowledged > 20, "{members} members, seed {seed}");
        }
    }
}
