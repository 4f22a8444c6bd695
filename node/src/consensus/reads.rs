//! Linearizable reads that wait until the leader is known to lead (Raft thesis §6.4).
//!
//! All reads that wait go out under one context; the round of heartbeats must begin after they
//! arrived, so a read never joins a round under way. raft-rs drops a request silently when there
//! is no leader, when the leader has not yet committed in its term, and when leadership is lost;
//! so rounds that bring no answer are begun again, each under a context of its own (a reused
//! context once gave etcd stale reads: etcd-io/etcd#20418).

use std::collections::BTreeMap;

use node_protocol::{Index, MemberId};

/// Rounds that may be under way at once; more reads wait and share the next.
const ROUNDS: usize = 4;

/// Bytes of a context.
const CONTEXT_BYTES: usize = 24;

/// Reads of one member. `T` is whatever its owner needs to answer one.
#[derive(Debug)]
pub struct Reads<T> {
    member: MemberId,
    boot: u64,
    next: u64,
    /// How far one number is from the next.
    stride: u64,
    fresh: Vec<T>,
    rounds: BTreeMap<u64, Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    reads: Vec<T>,
    age_ticks: u32,
}

impl<T> Reads<T> {
    /// No reads yet. Contexts are unique over all members and starts.
    pub fn new(member: MemberId, boot: u64) -> Self {
        Self { member, boot, next: 1, stride: 1, fresh: Vec::new(), rounds: BTreeMap::new() }
    }

    /// The planted bug: one context for all rounds.
    pub(crate) fn reuse_context(&mut self) {
        self.stride = 0;
    }

    /// A read arrived.
    pub fn add(&mut self, read: T) {
        self.fresh.push(read);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.fresh.len() + self.rounds.values().map(|round| round.reads.len()).sum::<usize>()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.rounds.is_empty()
    }

    /// The context to ask the leader with, if a round should begin now.
    pub fn begin(&mut self) -> Option<Vec<u8>> {
        if self.fresh.is_empty() || self.rounds.len() >= ROUNDS {
            return None;
        }
        let number = self.next;
        self.next += self.stride;
        let round = self.rounds.entry(number).or_insert(Waiting { reads: vec![], age_ticks: 0 });
        round.reads.append(&mut self.fresh);
        let mut context = Vec::with_capacity(CONTEXT_BYTES);
        for part in [self.member.0, self.boot, number] {
            context.extend_from_slice(&part.to_le_bytes());
        }
        Some(context)
    }

    /// The leader answered: these reads may be served once `index` is applied.
    pub fn confirmed(&mut self, context: &[u8], index: Index) -> Option<(Index, Vec<T>)> {
        let parts: [u8; CONTEXT_BYTES] = context.try_into().ok()?;
        let part = |n: usize| {
            u64::from_le_bytes(parts[n * 8..][..8].try_into().expect("eight bytes each"))
        };
        if (part(0), part(1)) != (self.member.0, self.boot) {
            return None;
        }
        let round = self.rounds.remove(&part(2))?;
        Some((index, round.reads))
    }

    /// Rounds that have waited this long begin anew, under a fresh context.
    pub fn tick(&mut self, retry_ticks: u32) {
        let mut late = Vec::new();
        for (&number, round) in &mut self.rounds {
            round.age_ticks += 1;
            if round.age_ticks >= retry_ticks {
                late.push(number);
            }
        }
        for number in late {
            let round = self.rounds.remove(&number).expect("it was just there");
            self.fresh.extend(round.reads);
        }
    }

    /// The leader or the term changed: every round begins anew.
    pub fn restart(&mut self) {
        for (_, round) in std::mem::take(&mut self.rounds) {
            self.fresh.extend(round.reads);
        }
    }

    /// Takes every read that waits, to refuse it.
    pub fn take(&mut self) -> Vec<T> {
        self.restart();
        std::mem::take(&mut self.fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_never_joins_a_round_under_way() {
        let mut reads = Reads::new(MemberId(1), 7);
        reads.add('a');
        let first = reads.begin().expect("a round begins");
        reads.add('b');
        assert_eq!(reads.confirmed(&first, Index(5)), Some((Index(5), vec!['a'])));
        assert_eq!(reads.len(), 1, "b waits for a round of its own");
        let second = reads.begin().expect("another round begins");
        assert_ne!(first, second);
        assert_eq!(reads.confirmed(&first, Index(6)), None, "an old answer confirms nothing");
        assert_eq!(reads.confirmed(&second, Index(6)), Some((Index(6), vec!['b'])));
    }

    #[test]
    fn another_member_or_start_is_not_answered() {
        let mut reads = Reads::new(MemberId(1), 7);
        let mut other = Reads::new(MemberId(1), 8);
        reads.add(());
        other.add(());
        let context = other.begin().expect("a round begins");
        reads.begin().expect("a round begins");
        assert_eq!(reads.confirmed(&context, Index(1)), None);
        assert_eq!(reads.confirmed(b"short", Index(1)), None);
    }

    #[test]
    fn what_brings_no_answer_begins_anew() {
        let mut reads = Reads::new(MemberId(1), 1);
        reads.add('a');
        let lost = reads.begin().expect("a round begins");
        reads.tick(2);
        assert_eq!(reads.begin(), None);
        reads.tick(2);
        let again = reads.begin().expect("the round begins anew");
        assert_ne!(lost, again);
        assert_eq!(reads.confirmed(&lost, Index(1)), None, "too late: it may be stale");
        reads.restart();
        let third = reads.begin().expect("and again after a change of leader");
        assert_eq!(reads.confirmed(&third, Index(2)), Some((Index(2), vec!['a'])));
    }

    #[test]
    fn rounds_are_bounded_and_shared() {
        let mut reads = Reads::new(MemberId(1), 1);
        for n in 0..ROUNDS {
            reads.add(n);
            reads.begin().expect("a round begins");
        }
        reads.add(100);
        reads.add(101);
        assert_eq!(reads.begin(), None);
        assert_eq!(reads.len(), ROUNDS + 2);
    }
}
