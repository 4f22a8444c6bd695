//! Histories made from a seed: clients of a model of the store, operations that overlap, outcomes
//! that are not known, and watches.
//!
//! The tests and the example `million` each take this module by its path.

pub(crate) mod history;
pub(crate) mod store;
mod watching;

/// Chances from a seed: Steele, Lea and Flood's SplitMix64 (2014), which is short and good enough.
#[derive(Clone, Debug)]
pub(crate) struct Chances(u64);

impl Chances {
    /// The same seed gives the same chances.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % end as u64).expect("below a usize")
    }

    /// True in so many of a thousand cases.
    pub(crate) fn per_mille(&mut self, cases: usize) -> bool {
        self.below(1000) < cases
    }
}
