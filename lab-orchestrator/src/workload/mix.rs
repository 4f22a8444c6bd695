//! Which errand is run and when: a pure function of the mix and the seed.

use std::collections::VecDeque;
use std::time::Duration;

use lab_protocol::{MixSpec, Shares};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Elements that a set is given before the next one begins.
const SET_ELEMENTS: u64 = 256;

/// Elements that a list is given before the next one begins; each is written with all before it.
const LIST_ELEMENTS: u64 = 48;

/// Keys of a kind of which every errand wants one: few, so that clients meet.
const HANDFUL: u32 = 4;

/// Watches that come and go.
pub(super) const WATCHERS: u32 = 6;

/// An errand that is to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedErrand {
    /// When, counted from the start of the mix.
    pub after: Duration,
    /// Which client runs it: a number below the count of clients.
    pub client: u32,
    /// What it writes begins with this; no other errand of the run has it.
    pub mark: String,
    /// Whatever more is drawn on the way comes from this.
    pub seed: u64,
    /// What it is.
    pub errand: Errand,
}

/// What a client sets out to do.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Writes a register.
    Put { register: u32 },
    /// Reads a register.
    Get { register: u32, serializable: bool },
    /// Reads a register, and writes it if nobody wrote since.
    Swap { register: u32 },
    /// Deletes a register.
    Delete { register: u32 },
    /// Adds an element to a set.
    Add { set: String },
    /// Reads a whole set.
    ReadSet { set: String },
    /// Deletes a whole set that nobody adds to any more.
    DropSet { set: String },
    /// Reads a list, and appends to it if nobody wrote since.
    Append { list: String },
    /// Reads a list.
    ReadList { list: String },
    /// Deletes lists that nobody appends to any more.
    DropList { list: String },
    /// Reads some keys, and writes all of them if nobody wrote any since.
    Exchange { first: u32, keys: u32 },
    /// Watches for a while, or goes on with a watch that was left.
    Watch { watcher: u32, millis: u64 },
    /// Takes a lease, uses it, and gives it up or lets it end.
    Lease { ttl_seconds: u32 },
    /// Takes a lock, writes under its guard so often, and releases it.
    Lock { lock: u32, ttl_seconds: u32, writes: u32 },
    /// Compacts the history so many revisions before the newest.
    Compact { back: i64 },
}

/// An endless stream of errands, ascending in time; empty for an idle mix.
///
/// Errands keep an exact beat. Kinds, keys, clients and pauses are drawn from the seed.
#[derive(Clone, Debug)]
pub struct Mix {
    spec: MixSpec,
    /// How many mixes ran before this one in the run.
    number: u32,
    draws: ChaCha8Rng,
    errands: u64,
    added: u64,
    appended: u64,
    /// What is due together with the last one.
    waiting: VecDeque<Errand>,
}

impl Mix {
    /// The stream of the run's `number`-th mix.
    pub fn new(spec: MixSpec, seed: u64, number: u32) -> Self {
        let draws = ChaCha8Rng::seed_from_u64(seed ^ 0x6d69_7800 ^ (u64::from(number) << 32));
        let waiting = VecDeque::new();
        Self { spec, number, draws, errands: 0, added: 0, appended: 0, waiting }
    }

    fn handful(&self) -> u32 {
        self.spec.keys.clamp(1, HANDFUL)
    }

    fn draw(&mut self) -> Errand {
        let Shares { register, set, append, txn, delete, watch, lease, lock, compact } =
            self.spec.shares;
        let mut at = self.draws.random_range(0..self.spec.shares.total());
        let mut falls = |share: u32| {
            let here = at < u64::from(share);
            at = at.saturating_sub(u64::from(share));
            here
        };
        if falls(register) {
            self.of_register()
        } else if falls(set) {
            self.of_set()
        } else if falls(append) {
            self.of_list()
        } else if falls(txn) {
            let keys = self.handful();
            let first = self.draws.random_range(0..keys);
            Errand::Exchange { first, keys: self.draws.random_range(1..=keys - first) }
        } else if falls(delete) {
            Errand::Delete { register: self.register() }
        } else if falls(watch) {
            let watcher = self.draws.random_range(0..WATCHERS);
            Errand::Watch { watcher, millis: self.draws.random_range(500..6_000) }
        } else if falls(lease) {
            Errand::Lease { ttl_seconds: self.draws.random_range(2..=6) }
        } else if falls(lock) {
            let locks = self.handful();
            Errand::Lock {
                lock: self.draws.random_range(0..locks),
                ttl_seconds: self.draws.random_range(2..=4),
                writes: self.draws.random_range(1..=3),
            }
        } else {
            debug_assert!(compact > 0, "the shares add up");
            Errand::Compact { back: self.draws.random_range(20..400) }
        }
    }

    fn register(&mut self) -> u32 {
        self.draws.random_range(0..self.spec.keys.max(1))
    }

    fn of_register(&mut self) -> Errand {
        let register = self.register();
        match self.draws.random_range(0..10) {
            0..4 => Errand::Put { register },
            4..7 => Errand::Get { register, serializable: false },
            7 => Errand::Get { register, serializable: true },
            _ => Errand::Swap { register },
        }
    }

    /// Three elements are added for each time that a set is read.
    fn of_set(&mut self) -> Errand {
        let now = self.added / SET_ELEMENTS;
        if self.draws.random_range(0..4) == 0 {
            // The one before is whole, or it is not.
            let earlier = u64::from(self.draws.random_range(0..4u32) == 0 && now > 0);
            return Errand::ReadSet { set: self.name(now - earlier) };
        }
        if self.added.is_multiple_of(SET_ELEMENTS) && now >= 2 {
            let set = self.name(now - 2);
            self.waiting.push_back(Errand::DropSet { set });
        }
        self.added += 1;
        Errand::Add { set: self.name(now) }
    }

    fn of_list(&mut self) -> Errand {
        let lists = u64::from(self.handful());
        let group = self.appended / (LIST_ELEMENTS * lists);
        let list = group * lists + self.draws.random_range(0..lists);
        if self.draws.random_range(0..4) == 0 {
            return Errand::ReadList { list: self.name(list) };
        }
        if self.appended.is_multiple_of(LIST_ELEMENTS * lists) && group >= 2 {
            for old in (group - 2) * lists..(group - 1) * lists {
                let list = self.name(old);
                self.waiting.push_back(Errand::DropList { list });
            }
        }
        self.appended += 1;
        Errand::Append { list: self.name(list) }
    }

    fn name(&self, number: u64) -> String {
        format!("{}-{number}", self.number)
    }
}

impl Iterator for Mix {
    type Item = PlannedErrand;

    fn next(&mut self) -> Option<PlannedErrand> {
        if self.spec.is_idle() || self.spec.clients == 0 {
            return None;
        }
        let micros = self.errands.checked_mul(1_000_000)? / u64::from(self.spec.rate);
        let errand = match self.waiting.pop_front() {
            Some(errand) => errand,
            None => self.draw(),
        };
        let client = self.draws.random_range(0..self.spec.clients);
        let mark = format!("m{}.{}", self.number, self.errands);
        let seed = self.draws.random();
        self.errands += 1;
        Some(PlannedErrand { after: Duration::from_micros(micros), client, mark, seed, errand })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn mix(shares: Shares) -> MixSpec {
        MixSpec { rate: 100, shares, ..MixSpec::default() }
    }

    #[test]
    fn nothing_comes_of_an_idle_mix() {
        assert_eq!(Mix::new(MixSpec::idle(), 1, 0).next(), None);
        assert_eq!(Mix::new(mix(Shares::default()), 1, 0).next(), None);
    }

    #[test]
    fn the_seed_decides_and_marks_are_unique_across_mixes() {
        let stream = |seed, number| -> Vec<_> {
            Mix::new(mix(Shares::EVERYTHING), seed, number).take(500).collect()
        };
        assert_eq!(stream(7, 0), stream(7, 0));
        assert_ne!(stream(7, 0), stream(8, 0));
        let both = [stream(7, 0), stream(7, 1)].concat();
        let marks: BTreeSet<_> = both.iter().map(|planned| &planned.mark).collect();
        assert_eq!(marks.len(), both.len());
    }

    #[test]
    fn the_beat_is_kept_and_shares_are_those_that_were_asked_for() {
        let shares = Shares { register: 3, lock: 1, ..Shares::default() };
        let all: Vec<_> = Mix::new(mix(shares), 5, 0)
            .take_while(|planned| planned.after < Duration::from_secs(10))
            .collect();
        assert_eq!(all.len(), 1_000);
        let locks = all.iter().filter(|one| matches!(one.errand, Errand::Lock { .. })).count();
        assert!((200..300).contains(&locks), "{locks}");
        assert!(all.iter().all(|one| one.client < MixSpec::default().clients));
    }

    #[test]
    fn old_sets_and_lists_are_dropped() {
        let shares = Shares { set: 1, append: 1, ..Shares::default() };
        let all: Vec<_> = Mix::new(mix(shares), 5, 3).take(4_000).map(|one| one.errand).collect();
        assert!(all.contains(&Errand::DropSet { set: "3-0".into() }));
        assert!(all.contains(&Errand::DropList { list: "3-3".into() }));
        let dropped = all.iter().position(|one| *one == Errand::DropSet { set: "3-0".into() });
        let after = &all[dropped.expect("there")..];
        let of_it = |one: &&Errand| matches!(one, Errand::Add { set } if set == "3-0");
        assert_eq!(after.iter().find(of_it), None);
    }
}
