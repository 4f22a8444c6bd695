//! What the clients of the proof asked and heard, in their own words.
//!
//! Nothing is judged here; [`judge`](super::judge) reads it when all has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use etcd_api::mvccpb::{Event, KeyValue};

/// What a guarded write demands of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// The revision of the last change; 0 when the key must not be there.
    ModRevision(i64),
    /// Changes since the key was created; 0 when it must not be there.
    Version(i64),
}

/// What a guarded write does if its guard holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Values are unique, so that each change is known again.
    Put {
        value: Bytes,
        lease: i64,
    },
    Delete,
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// It happened, at this revision.
    At(i64),
    /// Its guard did not hold; what its else-branch read at this revision.
    Conflict { revision: i64, found: Option<KeyValue> },
    /// It certainly did not happen.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

/// One guarded write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) who: String,
    pub(super) key: Bytes,
    pub(super) guard: Guard,
    pub(super) change: Change,
    /// The newest revision that anybody had been told before it was sent.
    pub(super) floor: i64,
    pub(super) outcome: Outcome,
}

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) key: Bytes,
    pub(super) end: Bytes,
}

impl Scope {
    /// All keys that begin so; everything for the empty prefix.
    pub(super) fn prefix(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        match end.last_mut() {
            Some(last) => *last += 1,
            None => {
                let all = Bytes::from_static(b"\0");
                return Self { key: all.clone(), end: all };
            }
        }
        Self { key: Bytes::copy_from_slice(prefix.as_bytes()), end: end.into() }
    }

    /// One key.
    pub(super) fn one(key: Bytes) -> Self {
        Self { key, end: Bytes::new() }
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        match &self.end[..] {
            [] => key == &self.key[..],
            b"\0" => key >= &self.key[..],
            end => key >= &self.key[..] && key < end,
        }
    }
}

/// What a list showed, all pages together.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) who: String,
    pub(super) scope: Scope,
    pub(super) revision: i64,
    pub(super) rows: Vec<KeyValue>,
    pub(super) pages: usize,
    /// The newest revision that anybody had been told before it was asked.
    pub(super) floor: i64,
    /// What was wrong with the pages themselves.
    pub(super) wrong: Option<String>,
}

/// A read that was refused because its revision is compacted, or was answered though it is.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) who: String,
    pub(super) revision: i64,
    pub(super) refused: bool,
    /// The highest revision whose compaction was asked for before the answer.
    pub(super) asked: i64,
    /// The highest revision whose compaction was answered before the question.
    pub(super) done: i64,
}

/// A watch that was ended because a compaction overtook it.
#[derive(Clone, Debug)]
pub(super) struct Overtaken {
    pub(super) who: String,
    /// It was an auditor's: a part of the history may be missing.
    pub(super) audits: bool,
    /// What it would have been told next.
    pub(super) from: i64,
    /// The compaction that it was told of.
    pub(super) compacted: i64,
    /// The highest revision whose compaction had been asked for.
    pub(super) asked: i64,
}

/// Why an informer went on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its stream ended.
    Ended,
    /// Its stream said nothing, though it was asked how far it had come.
    Silent,
    /// The member stayed behind the beginning of the watch.
    Behind,
}

/// What an informer was told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// One response, and the highest revision whose compaction had been asked for.
    Events { header: i64, events: Vec<Event>, at: Duration, compacting: i64 },
    /// That it knows everything up to this revision.
    Bookmark(i64),
    /// Its stream ended, and it goes on elsewhere behind a bookmark or the last change.
    Resumed { by_bookmark: bool, why: Why },
}

/// One life of an informer: a list, and what it was told from the list's revision on.
#[derive(Clone, Debug)]
pub(super) struct Reel {
    pub(super) who: String,
    pub(super) scope: Scope,
    /// It has everything up to here from its list.
    pub(super) listed: i64,
    pub(super) rows: Vec<KeyValue>,
    pub(super) told: Vec<Told>,
    /// How its last stream ended, if one did.
    pub(super) ended: String,
    /// It saw everything, not only its scope: what it heard is the truth.
    pub(super) audits: bool,
    /// Whether it was followed to the end of the run.
    pub(super) to_the_end: bool,
}

impl Reel {
    /// The revision up to which it was told everything.
    pub(super) fn reached(&self) -> i64 {
        let told = self.told.iter().map(|told| match told {
            Told::Events { events, .. } => {
                events.iter().filter_map(|e| e.kv.as_ref()).map(|kv| kv.mod_revision).max()
            }
            Told::Bookmark(revision) => Some(*revision),
            Told::Resumed { .. } => None,
        });
        told.flatten().max().unwrap_or(0).max(self.listed)
    }
}

/// A lease that was granted.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// When the grant was sent.
    pub(super) sent: Duration,
    pub(super) ttl: Duration,
}

/// Everything that happened, as the clients know it.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) writes: Vec<Write>,
    pub(super) views: Vec<View>,
    pub(super) reaches: Vec<Reach>,
    pub(super) reels: Vec<Reel>,
    pub(super) leases: BTreeMap<i64, Lease>,
    /// Watches that were ended by a compaction.
    pub(super) overtaken: Vec<Overtaken>,
    /// How streams of watches ended, in the members' words, and how often.
    pub(super) ends: BTreeMap<String, u64>,
    /// The newest revision that anybody was told.
    pub(super) told: i64,
    /// The highest revision whose compaction was asked for.
    pub(super) compacting: i64,
    /// The highest revision whose compaction was answered.
    pub(super) compacted: i64,
    /// Compactions answered.
    pub(super) compactions: u64,
    /// Why a compaction was refused that should not have been.
    pub(super) bad_compactions: Vec<String>,
    /// The last list of everything, when all was quiet.
    pub(super) last: Option<View>,
    /// Keys of leases that are still there when the time of all leases is over.
    pub(super) left_over: Option<Vec<String>>,
}

impl Book {
    /// Somebody was told of this revision.
    pub(super) fn hear(&mut self, revision: i64) {
        self.told = self.told.max(revision);
    }
}
