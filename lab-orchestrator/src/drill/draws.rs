//! Chance, from the run's seed: what a sentence draws depends on the seed and on the sentence's
//! place in the scenario, not on what was drawn before it nor on whom there was to choose from.
//!
//! So the same scenario with the same seed asks for the same things, though a cluster never does
//! the same twice.

use std::collections::BTreeSet;

use lab_protocol::MemberNo;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Where a sentence stands: its step, its list in the step, its place there, and which time it is
/// gone through.
pub(super) type Spot = [u32; 4];

/// The draws of one sentence.
#[derive(Clone, Debug)]
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    /// Those of the sentence at this spot.
    pub(super) fn at(seed: u64, spot: Spot) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        for (place, number) in bytes[8..24].chunks_exact_mut(4).zip(spot) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// All members in an order that is the same whoever is there.
    fn order(&mut self) -> [u64; PLACES] {
        std::array::from_fn(|_| self.0.random())
    }

    /// So many of these members, or all if there are fewer.
    pub(super) fn members(
        &mut self,
        from: &BTreeSet<MemberNo>,
        count: usize,
    ) -> BTreeSet<MemberNo> {
        self.shuffled(from).into_iter().take(count).collect()
    }

    /// These members in a drawn order.
    pub(super) fn shuffled(&mut self, from: &BTreeSet<MemberNo>) -> Vec<MemberNo> {
        let order = self.order();
        let mut from: Vec<_> = from.iter().copied().collect();
        from.sort_by_key(|member| order.get(usize::from(member.0)).copied());
        from
    }

    /// A number below `count`; 0 if there is none.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0.random_range(0..count.max(1))
    }

    /// A factor between a half and one and a half.
    pub(super) fn about_one(&mut self) -> f64 {
        self.0.random_range(0.5..1.5)
    }
}

/// Members that a lab has at most, and one for the number 0.
const PLACES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_drawn_does_not_depend_on_who_else_is_there() {
        let members =
            |numbers: &[u8]| numbers.iter().copied().map(MemberNo).collect::<BTreeSet<_>>();
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            let all = Draws::at(seed, [1, 0, 0, 0]).shuffled(&members(&[1, 2, 3, 4, 5]));
            let some = Draws::at(seed, [1, 0, 0, 0]).shuffled(&members(&[2, 3, 5]));
            let rest: Vec<_> = all.iter().filter(|member| some.contains(member)).collect();
            assert_eq!(rest, some.iter().collect::<Vec<_>>());
            let drawn = Draws::at(seed, [1, 0, 0, 0]).members(&members(&[1, 2, 3, 4, 5]), 2);
            assert!(drawn.len() == 2 && drawn.contains(&all[0]));
            seen.insert(drawn);
        }
        assert!(seen.len() >= 8, "{seen:?}");
        assert_ne!(
            Draws::at(1, [1, 0, 0, 0]).below(1_000_000),
            Draws::at(1, [1, 0, 1, 0]).below(1_000_000)
        );
    }
}
