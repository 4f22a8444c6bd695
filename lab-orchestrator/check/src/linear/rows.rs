//! The store while it is replayed: what is known of each key, and who made it so.

use lab_protocol::{Compare, CompareTarget};

use super::gaps::{Gaps, Touch};
use super::keys::Keys;
use super::run::{Broken, Run, Who};

/// What is known of the store at some revision.
pub(super) struct Rows<'a> {
    run: Run<'a>,
    keys: &'a Keys<'a>,
    states: Vec<State<'a>>,
    touches: &'a [Touch],
    gaps: &'a [i64],
}

/// What is known of a key.
#[derive(Clone, Copy, Default)]
struct State<'a> {
    held: Option<Held<'a>>,
    /// The revision that wrote it; without a row, the one that deleted it or saw it missing.
    revision: i64,
    /// The highest revision at which this is known to hold. Behind it a gap may have changed it.
    known_at: i64,
    /// Who made it so, or saw it.
    who: Who,
}

/// A row.
#[derive(Clone, Copy)]
struct Held<'a> {
    value: &'a str,
    lease: i64,
    /// The revision that created it and the writes since, unless a gap may have had a part in it.
    count: Option<(i64, i64)>,
}

/// A row that somebody was shown.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) value: &'a str,
    pub(super) revision: i64,
    /// Creation, version and lease, when they were shown.
    pub(super) more: Option<(i64, i64, i64)>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(run: Run<'a>, keys: &'a Keys<'a>, gaps: &'a Gaps<'_>) -> Self {
        let mut states = vec![State::default(); keys.len()];
        for (key, value, revision) in run.beginning_rows() {
            // Since when it is there nobody says; no lease is left.
            let held = Some(Held { value, lease: 0, count: None });
            let known_at = run.begins_at();
            states[keys.number(key)] = State { held, revision, known_at, who: Who::Start };
        }
        Self { run, keys, states, touches: &gaps.touches, gaps: &gaps.gaps }
    }

    /// Somebody was shown a key at a revision, or that it is missing.
    pub(super) fn sight(
        &mut self,
        key: usize,
        at: i64,
        found: Option<Found<'_>>,
        who: Who,
    ) -> Result<(), Broken> {
        match found {
            None => self.missing(key, at, who),
            Some(found) => self.found(key, at, found, who),
        }
    }

    fn missing(&mut self, key: usize, at: i64, who: Who) -> Result<(), Broken> {
        let state = self.states[key];
        if state.held.is_none() {
            self.states[key].known_at = at;
        } else if self.may_be_deleted(key, at) {
            self.states[key] = State { held: None, revision: at, known_at: at, who };
        } else {
            let why = format!(
                "at revision {at} found no {}, but {}",
                self.keys.name(key),
                self.account(key)
            );
            return Err(self.run.broken(who, state.who, why));
        }
        Ok(())
    }

    fn found(&mut self, key: usize, at: i64, found: Found<'_>, who: Who) -> Result<(), Broken> {
        let Found { value, revision, more } = found;
        let state = self.states[key];
        let name = self.keys.name(key);
        let Some(held) = state.held.filter(|_| state.revision == revision) else {
            let why = if revision <= state.revision {
                format!(
                    "at revision {at} saw {name} of revision {revision}, but {}",
                    self.account(key)
                )
            } else {
                format!("saw {name} of revision {revision}, but nobody wrote it at that revision")
            };
            return Err(self.run.broken(who, state.who, why));
        };
        if held.value != value {
            let why = format!(
                "saw another value of {name} at revision {revision}, but {}",
                self.account(key)
            );
            return Err(self.run.broken(who, state.who, why));
        }
        self.states[key].known_at = at;
        let Some((create, version, lease)) = more else { return Ok(()) };
        let (expected, told) = match held.count {
            Some((created, writes)) => ((created, writes, held.lease), (create, version, lease)),
            // Any creation that is possible at all will do, and is known from here on.
            None => {
                let possible = version >= 1
                    && (version == 1) == (create == revision)
                    && (2..=revision).contains(&create);
                ((1, 1, held.lease), (i64::from(possible), 1, lease))
            }
        };
        if expected != told {
            let why = format!(
                "saw {name} created at revision {create}, version {version}, lease {lease:x}, which \
                 does not fit: {}",
                self.account(key)
            );
            return Err(self.run.broken(who, state.who, why));
        }
        self.states[key].held = Some(Held { count: Some((create, version)), ..held });
        Ok(())
    }

    /// A write of a key at a revision.
    pub(super) fn put(&mut self, key: usize, at: i64, value: &'a str, lease: i64, who: Who) {
        let changed = self.may_be_put(key, at) || self.may_be_deleted(key, at);
        let count = match self.states[key].held {
            _ if changed => None,
            None => Some((at, 1)),
            Some(held) => held.count.map(|(created, writes)| (created, writes + 1)),
        };
        let held = Some(Held { value, lease, count });
        self.states[key] = State { held, revision: at, known_at: at, who };
    }

    /// A deletion of keys at a revision that said it found so many.
    pub(super) fn delete(
        &mut self,
        keys: std::ops::Range<usize>,
        at: i64,
        said: i64,
        who: Who,
    ) -> Result<(), Broken> {
        let (mut least, mut most) = (0, 0);
        for key in keys.clone() {
            let held = self.states[key].held.is_some();
            let may_be_other =
                if held { self.may_be_deleted(key, at) } else { self.may_be_put(key, at) };
            least += i64::from(held && !may_be_other);
            most += i64::from(held || may_be_other);
        }
        if !(least..=most).contains(&said) {
            let telling = keys.clone().max_by_key(|key| self.states[*key].known_at);
            let account = match telling {
                Some(key) => self.account(key),
                None => "nobody ever wrote there".into(),
            };
            let other = telling.map_or(Who::Start, |key| self.states[key].who);
            let why =
                format!("deleted {said} keys at revision {at}, but {least} were there: {account}");
            return Err(self.run.broken(who, other, why));
        }
        for key in keys {
            self.remove(key, at, who);
        }
        Ok(())
    }

    /// A key is not there at a revision, whatever was before.
    pub(super) fn remove(&mut self, key: usize, at: i64, who: Who) {
        let state = &mut self.states[key];
        *state = match state.held {
            None => State { known_at: at, ..*state },
            Some(_) => State { held: None, revision: at, known_at: at, who },
        };
    }

    /// A lease has ended by a revision, and the keys that were attached to it are gone. Of a key
    /// that a gap may have taken off the lease nothing is known that was not before.
    pub(super) fn revoke(&mut self, lease: i64, at: i64, who: Who) {
        for key in 0..self.states.len() {
            let attached = self.states[key].held.is_some_and(|held| held.lease == lease);
            if attached && !self.may_be_put(key, at) {
                self.remove(key, at, who);
            }
        }
    }

    /// Whether a compare holds at a revision; `None` if that is not known.
    pub(super) fn holds(&self, compare: &Compare, at: i64) -> Option<bool> {
        let key = self.keys.number(&compare.key);
        if self.may_be_put(key, at) || self.may_be_deleted(key, at) {
            return None;
        }
        let State { held, revision, .. } = self.states[key];
        let result = compare.result;
        let Some(Held { value, count, .. }) = held else {
            return Some(match &compare.target {
                CompareTarget::Value(_) => false,
                CompareTarget::Version(target)
                | CompareTarget::CreateRevision(target)
                | CompareTarget::ModRevision(target) => result.holds(&0, target),
            });
        };
        match &compare.target {
            CompareTarget::Value(target) => Some(result.holds(value, target.as_str())),
            CompareTarget::ModRevision(target) => Some(result.holds(&revision, target)),
            CompareTarget::CreateRevision(target) => {
                count.map(|(created, _)| result.holds(&created, target))
            }
            CompareTarget::Version(target) => {
                count.map(|(_, writes)| result.holds(&writes, target))
            }
        }
    }

    /// Who made a key what it is.
    pub(super) fn maker(&self, key: usize) -> Who {
        self.states[key].who
    }

    /// How a key came to be what it is, in words.
    pub(super) fn account(&self, key: usize) -> String {
        let State { held, revision, who, .. } = self.states[key];
        let (name, words) = (self.keys.name(key), self.run.words(who));
        match (held, who) {
            (Some(_), _) => format!("{words} had made revision {revision} of {name}"),
            (None, Who::Start) => format!("nobody had written {name}"),
            (None, _) => format!("{words} had left no {name} at revision {revision}"),
        }
    }

    fn may_be_put(&self, key: usize, at: i64) -> bool {
        self.gap_between(self.states[key].known_at, at, self.touches[key].put_above)
    }

    fn may_be_deleted(&self, key: usize, at: i64) -> bool {
        self.gap_between(self.states[key].known_at, at, self.touches[key].deleted_above)
    }

    /// Whether there is a gap above two revisions and up to a third.
    fn gap_between(&self, known: i64, at: i64, above: i64) -> bool {
        if above >= at {
            return false;
        }
        let upto = self.gaps.partition_point(|gap| *gap <= at);
        upto > 0 && self.gaps[upto - 1] > known.max(above)
    }
}
