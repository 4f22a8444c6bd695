//! The lessor: when leases end. Only the leader counts, and only by the time it is given.
//!
//! Which leases exist is replicated state ([`Store`](crate::kv::Store)); every member's lessor
//! follows it. While a member does not lead, none of its leases ever ends. When it takes office
//! each gets its full time again and an election timeout on top, because nobody knows how much its
//! predecessor had renewed: a lease never ends early, but it may live longer.
//!
//! A lease that has run out is not gone: the leader proposes its revoke, and it is gone when that
//! is applied. If it is not applied in [`RETRY_MICROS`], the revoke is proposed again.
//!
//! Left out: checkpoints of remaining times. Time is microseconds of a clock that never goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::kv::LeaseChange;

/// How long the revoke of an expired lease may take before it is proposed again.
pub const RETRY_MICROS: u64 = 3_000_000;
/// Most leases that [`Lessor::expired`] names at once; asked twice a second that is etcd's 1000
/// revokes a second.
pub const MAX_EXPIRED: usize = 500;
/// Leases that may end within one second after a member takes office; more are put off, so that
/// the leases of a large cluster do not all end at once. Three quarters of what can be revoked.
const ENDS_PER_SECOND: usize = 750;
/// With no more leases than this there is nothing to spread.
const SPREAD_ABOVE: usize = 1000;

const SECOND_MICROS: u64 = 1_000_000;

/// The least time to live a lease may have: one and a half election timeouts, in whole seconds,
/// so that a lease outlives an ordinary change of leader.
pub fn min_ttl_seconds(election_timeout: Duration) -> i64 {
    let millis = (election_timeout.as_millis() * 3).div_ceil(2);
    i64::try_from(millis.div_ceil(1000)).unwrap_or(i64::MAX).max(1)
}

/// What only the leader knows of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAsk {
    /// Give the lease its full time again.
    KeepAlive {
        /// Which lease.
        lease: i64,
    },
    /// How long has it left?
    TimeToLive {
        /// Which lease.
        lease: i64,
    },
}

/// Names a question to the leader. A member counts anew at each start, and an answer may come later
/// than the asker's next start: a number alone would fit another question by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId {
    /// The asking member's boot number.
    pub boot: u64,
    /// Its number for the question, from 1.
    pub number: u64,
}

/// What the lessor says of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// There is none, or it has run out and is being revoked.
    Unknown,
    /// There is one.
    Known {
        /// Seconds left, rounded down; after a renewal the seconds granted.
        ttl_seconds: i64,
        /// Seconds a renewal gives.
        granted_seconds: i64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Term {
    granted_seconds: i64,
    /// When it runs out; `None` while this member does not lead.
    ends_at_micros: Option<u64>,
    /// When the leader is to look at it: its end, or later, while a revoke is on its way.
    due_at_micros: u64,
}

impl Term {
    fn full_micros(&self) -> u64 {
        u64::try_from(self.granted_seconds).unwrap_or(0).saturating_mul(SECOND_MICROS)
    }
}

/// Counts the leases' time.
#[derive(Debug, Default)]
pub struct Lessor {
    leases: BTreeMap<i64, Term>,
    /// (due, id) of every lease that can end, soonest first.
    due: BTreeSet<(u64, i64)>,
    leading: bool,
}

impl Lessor {
    /// A lessor of the leases in a store, given as (id, granted seconds), that does not lead.
    pub fn new(leases: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut lessor = Self::default();
        for (id, ttl_seconds) in leases {
            lessor.follow(LeaseChange::Granted { id, ttl_seconds }, 0);
        }
        lessor
    }

    /// Follows what an applied command did to the leases.
    pub fn follow(&mut self, change: LeaseChange, now_micros: u64) {
        match change {
            LeaseChange::Granted { id, ttl_seconds } => {
                let term =
                    Term { granted_seconds: ttl_seconds, ends_at_micros: None, due_at_micros: 0 };
                self.leases.insert(id, term);
                if self.leading {
                    self.set_end(id, now_micros.saturating_add(term.full_micros()));
                }
            }
            LeaseChange::Revoked { id } => {
                if let Some(term) = self.leases.remove(&id) {
                    self.due.remove(&(term.due_at_micros, id));
                }
            }
        }
    }

    /// Takes other leases over, as after a snapshot; who leads does not change.
    pub fn replace(&mut self, leases: impl IntoIterator<Item = (i64, i64)>, now_micros: u64) {
        self.leases.clear();
        self.due.clear();
        for (id, ttl_seconds) in leases {
            self.follow(LeaseChange::Granted { id, ttl_seconds }, now_micros);
        }
    }

    fn set_end(&mut self, id: i64, ends_at_micros: u64) {
        if let Some(term) = self.leases.get_mut(&id) {
            self.due.remove(&(term.due_at_micros, id));
            term.ends_at_micros = Some(ends_at_micros);
            term.due_at_micros = ends_at_micros;
            self.due.insert((ends_at_micros, id));
        }
    }

    /// Takes office: every lease gets its full time and `extend_micros` on top, and those that
    /// would end together in great number are spread over later seconds. Returns how many leases
    /// there are.
    pub fn promote(&mut self, now_micros: u64, extend_micros: u64) -> usize {
        self.leading = true;
        let mut ends: Vec<(u64, i64)> = self
            .leases
            .iter()
            .map(|(id, term)| {
                let full = term.full_micros().saturating_add(extend_micros);
                (now_micros.saturating_add(full), *id)
            })
            .collect();
        if ends.len() > SPREAD_ABOVE {
            spread(&mut ends);
        }
        for (ends_at_micros, id) in ends {
            self.set_end(id, ends_at_micros);
        }
        self.leases.len()
    }

    /// Leaves office: from now on no lease ends here.
    pub fn demote(&mut self) {
        self.leading = false;
        self.due.clear();
        for term in self.leases.values_mut() {
            term.ends_at_micros = None;
            term.due_at_micros = 0;
        }
    }

    /// Whether this member counts.
    pub fn is_leading(&self) -> bool {
        self.leading
    }

    /// Gives a lease its full time again. One that has run out is not renewed: its revoke may
    /// already be on its way.
    pub fn renew(&mut self, id: i64, now_micros: u64) -> LeaseAnswer {
        let Some(term) = self.leases.get(&id).copied() else { return LeaseAnswer::Unknown };
        match term.ends_at_micros {
            Some(ends_at_micros) if ends_at_micros <= now_micros => return LeaseAnswer::Unknown,
            // A leader's extension is not cut short by a renewal.
            Some(ends_at_micros) => {
                let full = now_micros.saturating_add(term.full_micros());
                self.set_end(id, full.max(ends_at_micros));
            }
            None => {}
        }
        let granted_seconds = term.granted_seconds;
        LeaseAnswer::Known { ttl_seconds: granted_seconds, granted_seconds }
    }

    /// How long a lease has left.
    pub fn time_to_live(&self, id: i64, now_micros: u64) -> LeaseAnswer {
        let Some(term) = self.leases.get(&id) else { return LeaseAnswer::Unknown };
        let granted_seconds = term.granted_seconds;
        let ttl_seconds = match term.ends_at_micros {
            Some(ends_at_micros) => {
                let left = ends_at_micros.saturating_sub(now_micros) / SECOND_MICROS;
                i64::try_from(left).unwrap_or(i64::MAX)
            }
            None => granted_seconds,
        };
        LeaseAnswer::Known { ttl_seconds, granted_seconds }
    }

    /// Whether [`expired`](Self::expired) would name any.
    pub fn any_expired(&self, now_micros: u64) -> bool {
        self.due.first().is_some_and(|(due, _)| *due <= now_micros)
    }

    /// Leases that have run out, at most `limit` and [`MAX_EXPIRED`], for the leader to revoke.
    /// Each is named again after [`RETRY_MICROS`] if it still exists.
    pub fn expired(&mut self, now_micros: u64, limit: usize) -> Vec<i64> {
        let ids: Vec<i64> = self
            .due
            .iter()
            .take_while(|(due, _)| *due <= now_micros)
            .take(limit.min(MAX_EXPIRED))
            .map(|(_, id)| *id)
            .collect();
        for id in &ids {
            let Some(term) = self.leases.get_mut(id) else { continue };
            self.due.remove(&(term.due_at_micros, *id));
            term.due_at_micros = now_micros.saturating_add(RETRY_MICROS);
            self.due.insert((term.due_at_micros, *id));
        }
        ids
    }
}

/// Puts ends off so that no second has more than [`ENDS_PER_SECOND`] of them. Never brings one
/// forward.
fn spread(ends: &mut [(u64, i64)]) {
    ends.sort_unstable();
    let mut window = 0;
    let mut within = 0;
    for (ends_at_micros, _) in ends {
        if *ends_at_micros >= window + SECOND_MICROS {
            window = *ends_at_micros;
            within = 0;
        } else if within == ENDS_PER_SECOND {
            window += SECOND_MICROS;
            within = 0;
        }
        within += 1;
        *ends_at_micros = (*ends_at_micros).max(window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_MICROS;

    fn leading(leases: &[(i64, i64)]) -> Lessor {
        let mut lessor = Lessor::default();
        lessor.promote(0, 0);
        for (id, ttl_seconds) in leases {
            lessor.follow(LeaseChange::Granted { id: *id, ttl_seconds: *ttl_seconds }, 0);
        }
        lessor
    }

    fn known(ttl_seconds: i64, granted_seconds: i64) -> LeaseAnswer {
        LeaseAnswer::Known { ttl_seconds, granted_seconds }
    }

    #[test]
    fn the_minimum_follows_the_election_timeout() {
        for (millis, seconds) in [(1000, 2), (100, 1), (1334, 3), (1333, 2), (10_000, 15), (1, 1)] {
            assert_eq!(min_ttl_seconds(Duration::from_millis(millis)), seconds, "{millis} ms");
        }
    }

    #[test]
    fn a_lease_runs_out_and_is_named_until_it_is_gone() {
        let mut lessor = leading(&[(7, 2)]);
        assert_eq!(lessor.time_to_live(7, S / 2), known(1, 2));
        assert!(!lessor.any_expired(2 * S - 1));
        assert!(lessor.any_expired(2 * S));
        assert_eq!(lessor.expired(2 * S, 500), [7]);
        assert_eq!(lessor.renew(7, 2 * S), LeaseAnswer::Unknown);
        assert_eq!(lessor.time_to_live(7, 2 * S), known(0, 2));
        assert_eq!(lessor.expired(2 * S + RETRY_MICROS - 1, 500), [] as [i64; 0]);
        assert_eq!(lessor.expired(2 * S + RETRY_MICROS, 500), [7]);
        lessor.follow(LeaseChange::Revoked { id: 7 }, 6 * S);
        assert!(!lessor.any_expired(u64::MAX));
        assert_eq!(lessor.time_to_live(7, 6 * S), LeaseAnswer::Unknown);
    }

    #[test]
    fn a_renewal_gives_the_full_time() {
        let mut lessor = leading(&[(7, 10)]);
        assert_eq!(lessor.renew(7, 9 * S), known(10, 10));
        assert_eq!(lessor.time_to_live(7, 9 * S), known(10, 10));
        assert!(!lessor.any_expired(18 * S));
        assert!(lessor.any_expired(19 * S));
        assert_eq!(lessor.renew(8, 0), LeaseAnswer::Unknown);
    }

    #[test]
    fn only_a_leader_counts_and_a_new_one_starts_over() {
        let mut lessor = Lessor::new([(7, 10), (8, 20)]);
        assert!(!lessor.any_expired(u64::MAX));
        assert_eq!(lessor.time_to_live(7, 99 * S), known(10, 10));
        assert_eq!(lessor.promote(100 * S, S), 2);
        assert_eq!(lessor.renew(7, 100 * S), known(10, 10));
        assert_eq!(lessor.time_to_live(7, 100 * S), known(11, 10), "not cut short");
        assert!(!lessor.any_expired(111 * S - 1));
        assert_eq!(lessor.expired(111 * S, 500), [7]);
        lessor.demote();
        assert!(!lessor.any_expired(u64::MAX));
        assert_eq!(lessor.promote(200 * S, 0), 2);
        assert_eq!(lessor.expired(210 * S, 500), [7]);
    }

    #[test]
    fn a_crowd_of_leases_ends_spread_out_and_never_early() {
        let mut lessor = Lessor::new((1..=5000).map(|id| (id, 10)));
        lessor.promote(0, 0);
        assert!(!lessor.any_expired(10 * S - 1));
        let mut total = 0;
        for second in 10..30 {
            let mut ended = 0;
            loop {
                let ids = lessor.expired(second * S, usize::MAX);
                assert!(ids.len() <= MAX_EXPIRED);
                if ids.is_empty() {
                    break;
                }
                for id in &ids {
                    lessor.follow(LeaseChange::Revoked { id: *id }, second * S);
                }
                ended += ids.len();
            }
            assert!(ended <= ENDS_PER_SECOND, "{ended} in second {second}");
            total += ended;
        }
        assert_eq!(total, 5000);
    }
}
