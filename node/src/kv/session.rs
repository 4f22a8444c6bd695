//! Exactly once: which commands of which origin are applied already.
//!
//! A command may be sent again (to a new leader, after a lost answer) and so may stand in the log
//! more than once. This record is part of the replicated state, so every member drops the same
//! repetitions. For each origin it holds the newest boot, a floor, and the applied sequence
//! numbers at or above the floor:
//!
//! ```text
//!   floor 4      applied 4..=6, 9      admitted: 7, 8, 10 and up; all else is a repetition
//! ```
//!
//! Each command carries the lowest number its origin may still send; the floor follows it, so the
//! record stays about as long as what is in flight. It is kept as runs of numbers, and at most
//! [`MAX_RUNS`] of them: an origin must not have more commands in flight than that, or its oldest
//! would count as repetitions.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use node_protocol::MemberId;

use super::change::{Change, Table};
use super::command::CommandId;

/// Most runs of applied numbers kept for an origin; a row is then 1 MiB.
pub const MAX_RUNS: usize = 65_536;

/// The row's version; a reader refuses another one.
const SESSION_VERSION: u8 = 1;

/// Whether a command is to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// For the first time; apply it.
    Admitted,
    /// Again, or from a boot that is over; ignore it.
    Repeated,
}

/// One origin's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    boot: u64,
    floor: u64,
    /// First → last of each run of applied numbers; apart from each other, at or above the floor.
    runs: BTreeMap<u64, u64>,
}

impl Session {
    fn admit(&mut self, seq: u64, low: u64) -> Admission {
        let before = self.runs.range(..=seq).next_back().map(|(first, last)| (*first, *last));
        if seq < self.floor || before.is_some_and(|(_, last)| seq <= last) {
            return Admission::Repeated;
        }
        let first = match before {
            Some((first, last)) if last + 1 == seq => first,
            _ => seq,
        };
        let last = match seq.checked_add(1).and_then(|next| self.runs.remove(&next)) {
            Some(last) => last,
            None => seq,
        };
        self.runs.insert(first, last);
        // A command is itself still in flight, so its low cannot be above it.
        self.raise_floor(low.min(seq));
        Admission::Admitted
    }

    fn raise_floor(&mut self, low: u64) {
        self.floor = self.floor.max(low);
        while let Some((first, last)) = self.runs.first_key_value().map(|(f, l)| (*f, *l)) {
            let crowded = self.runs.len() > MAX_RUNS;
            if first > self.floor && !crowded {
                break;
            }
            if crowded || last < self.floor {
                self.runs.remove(&first);
                self.floor = self.floor.max(last.saturating_add(1));
            } else {
                // The floor is inside the run: what is applied from there on stays.
                if first < self.floor {
                    self.runs.remove(&first);
                    self.runs.insert(self.floor, last);
                }
                break;
            }
        }
    }

    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(17 + 16 * self.runs.len());
        bytes.put_u8(SESSION_VERSION);
        bytes.put_u64_le(self.boot);
        bytes.put_u64_le(self.floor);
        for (first, last) in &self.runs {
            bytes.put_u64_le(*first);
            bytes.put_u64_le(*last);
        }
        bytes.freeze()
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (version, rest) = bytes.split_first().ok_or("it is empty")?;
        if *version != SESSION_VERSION {
            return Err("its version is unknown");
        }
        let (numbers, partial) = rest.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let (Some(boot), Some(floor), []) = (numbers.next(), numbers.next(), partial) else {
            return Err("its length is impossible");
        };
        let mut session = Self { boot, floor, runs: BTreeMap::new() };
        while let Some(first) = numbers.next() {
            let last = numbers.next().ok_or("its last run has no end")?;
            session.runs.insert(first, last);
        }
        Ok(session)
    }
}

/// The records of all origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    origins: BTreeMap<MemberId, Session>,
    /// Origins whose record differs from its last written row.
    dirty: BTreeSet<MemberId>,
}

impl Sessions {
    /// Decides whether a command is applied, and remembers it if so. `low` is the lowest number
    /// the origin may still send.
    pub fn admit(&mut self, id: CommandId, low: u64) -> Admission {
        let session = self.origins.entry(id.origin).or_default();
        if id.boot < session.boot {
            return Admission::Repeated;
        }
        if id.boot > session.boot {
            *session = Session { boot: id.boot, ..Session::default() };
        }
        let admission = session.admit(id.seq, low);
        if admission == Admission::Admitted {
            self.dirty.insert(id.origin);
        }
        admission
    }

    /// Appends the rows that changed since the last call.
    pub fn take_changes(&mut self, changes: &mut Vec<Change>) {
        for origin in std::mem::take(&mut self.dirty) {
            let key = Bytes::copy_from_slice(&origin.0.to_be_bytes());
            changes.push(Change::set(Table::Sessions, key, self.origins[&origin].encode()));
        }
    }

    /// Takes a stored row in; says what is wrong with it otherwise.
    pub(super) fn restore(&mut self, key: &[u8], row: &[u8]) -> Result<(), &'static str> {
        let origin = key.try_into().map_err(|_| "its key is not an origin")?;
        let origin = MemberId(u64::from_be_bytes(origin));
        self.origins.insert(origin, Session::decode(row)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(boot: u64, seq: u64) -> CommandId {
        CommandId { origin: MemberId(1), boot, seq }
    }

    #[test]
    fn a_table_of_admissions() {
        use Admission::{Admitted, Repeated};
        let mut sessions = Sessions::default();
        for (boot, seq, low, want) in [
            (1, 1, 1, Admitted),
            (1, 1, 1, Repeated),
            (1, 3, 1, Admitted),
            (1, 2, 1, Admitted),
            (1, 2, 1, Repeated),
            (1, 9, 5, Admitted),
            (1, 4, 1, Repeated), // below the floor
            (1, 5, 1, Admitted),
            (2, 1, 1, Admitted), // a new boot starts over
            (1, 6, 5, Repeated), // and ends the one before
            (2, 2, 9, Admitted), // a low above its own command counts as that command
            (2, 3, 1, Admitted),
            (2, u64::MAX, 1, Admitted),
            (2, u64::MAX, 1, Repeated),
        ] {
            assert_eq!(sessions.admit(id(boot, seq), low), want, "boot {boot} seq {seq}");
        }
    }

    #[test]
    fn the_record_is_bounded() {
        let mut session = Session::default();
        for seq in 0..(MAX_RUNS as u64 + 10) {
            assert_eq!(session.admit(seq * 2 + 1, 0), Admission::Admitted);
        }
        assert_eq!(session.runs.len(), MAX_RUNS);
    }

    proptest! {
        /// A stream of commands, repeated, reordered and mixed: none is applied twice, none that
        /// may still be sent is refused before it was applied, and rows carry all of it.
        #[test]
        fn each_command_is_applied_at_most_once(
            schedule in proptest::collection::vec((0_usize..8, 0_usize..3, any::<bool>()), 1..300),
        ) {
            let mut sessions = Sessions::default();
            let mut outstanding: Vec<(u64, u64)> = Vec::new(); // seq, low when first sent
            let mut seen: Vec<(u64, u64)> = Vec::new();
            let mut applied = BTreeSet::new();
            let mut next = 1;
            for (pick, action, reload) in schedule {
                let low = outstanding.first().map_or(next, |(seq, _)| *seq);
                let (seq, low) = match action {
                    // A new command is sent; it may or may not reach the log now.
                    0 => {
                        outstanding.push((next, low));
                        seen.push((next, low));
                        next += 1;
                        (next - 1, low)
                    }
                    // One in flight is sent again, with its old low.
                    1 if !outstanding.is_empty() => outstanding[pick % outstanding.len()],
                    // An old one turns up in the log again, whatever has become of it.
                    _ if !seen.is_empty() => seen[pick * 7 % seen.len()],
                    _ => continue,
                };
                let delivered = action != 0 || pick < 5;
                if !delivered {
                    continue;
                }
                let may_still_be_sent = outstanding.iter().any(|(other, _)| *other == seq);
                match sessions.admit(id(1, seq), low) {
                    Admission::Admitted => prop_assert!(applied.insert(seq), "{seq} twice"),
                    Admission::Repeated => prop_assert!(
                        applied.contains(&seq) || !may_still_be_sent,
                        "{seq} refused though never applied"
                    ),
                }
                // The origin hears of some that were applied and will not send them again.
                if pick % 2 == 0 {
                    outstanding.retain(|(other, _)| *other != seq);
                }
                if reload {
                    let mut changes = Vec::new();
                    sessions.take_changes(&mut changes);
                    let mut loaded = Sessions::default();
                    for change in changes {
                        let value = change.value.expect("sessions are never removed");
                        loaded.restore(&change.key, &value).expect("a session's row");
                    }
                    if !loaded.origins.is_empty() {
                        prop_assert_eq!(&loaded.origins, &sessions.origins);
                        sessions = loaded;
                    }
                }
            }
        }
    }
}
