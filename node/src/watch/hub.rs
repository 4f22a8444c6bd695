//! The hub: which watches a revision concerns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use node_protocol::Revision;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::kv::{KeyRange, Revised};

/// A stream, as the hub knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId(u64);

/// A watch of a stream.
type WatchKey = (StreamId, i64);

/// What a stream has to fetch.
pub(super) struct Marks {
    /// Each watch that is concerned, with the first revision that concerns it.
    pub(super) watches: BTreeMap<i64, i64>,
    /// Every revision up to here is accounted for by these marks or earlier ones.
    pub(super) published: i64,
}

#[derive(Debug)]
struct Stream {
    wake: Arc<Notify>,
    /// Watch → first revision it has not been told of. At most one entry for each watch.
    marked: BTreeMap<i64, i64>,
}

/// Knows every watch and marks those that a revision concerns. Shared by the apply thread, which
/// publishes, and the streams.
#[derive(Debug)]
pub struct WatchHub {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    published: i64,
    next_stream: u64,
    streams: HashMap<StreamId, Stream>,
    /// Watches of one key.
    keys: HashMap<Bytes, BTreeSet<WatchKey>>,
    /// Watches of a prefix, by its length: an event looks up as many slices of its key as there
    /// are lengths.
    prefixes: BTreeMap<usize, HashMap<Bytes, BTreeSet<WatchKey>>>,
    /// Watches of any other range, by its first key; an event looks at those that begin at or
    /// before its key.
    ranges: BTreeMap<Bytes, BTreeMap<KeyRange, BTreeSet<WatchKey>>>,
}

impl WatchHub {
    /// A hub for a store at `revision`.
    pub fn new(revision: Revision) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                published: revision.0,
                next_stream: 0,
                streams: HashMap::new(),
                keys: HashMap::new(),
                prefixes: BTreeMap::new(),
                ranges: BTreeMap::new(),
            }),
        })
    }

    /// Marks the watches that a revision concerns and wakes their streams. To be called once for
    /// each revision, in order, when the store has it.
    pub fn publish(&self, revised: &Revised) {
        let mut state = self.state.lock();
        state.published = revised.revision.0;
        if state.streams.is_empty() {
            return;
        }
        let mut concerned = BTreeSet::new();
        for kv in revised.events.iter().filter_map(|event| event.kv.as_ref()) {
            state.collect(&kv.key, &mut concerned);
        }
        let mut woken = None;
        for (stream_id, watch) in concerned {
            let Some(stream) = state.streams.get_mut(&stream_id) else { continue };
            stream.marked.entry(watch).or_insert(revised.revision.0);
            // Watches come sorted by stream, so each stream is woken once.
            if woken.replace(stream_id) != Some(stream_id) {
                stream.wake.notify_one();
            }
        }
    }

    /// The store was replaced by a newer one at `revision`, from a snapshot: every watch looks for
    /// itself at what it missed.
    pub fn jump(&self, revision: Revision) {
        let mut state = self.state.lock();
        let first = state.published + 1;
        state.published = revision.0;
        let all: Vec<WatchKey> = state.sets().flatten().copied().collect();
        for (stream, watch) in all {
            if let Some(stream) = state.streams.get_mut(&stream) {
                stream.marked.entry(watch).or_insert(first);
            }
        }
        state.streams.values().for_each(|stream| stream.wake.notify_one());
    }

    /// How many streams and watches there are.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.streams.len(), state.sets().map(BTreeSet::len).sum())
    }

    pub(super) fn open(&self, wake: Arc<Notify>) -> StreamId {
        let mut state = self.state.lock();
        let id = StreamId(state.next_stream);
        state.next_stream += 1;
        state.streams.insert(id, Stream { wake, marked: BTreeMap::new() });
        id
    }

    pub(super) fn close(&self, id: StreamId) {
        self.state.lock().streams.remove(&id);
    }

    pub(super) fn register(&self, stream: StreamId, watch: i64, range: &KeyRange) {
        self.state.lock().set(range).insert((stream, watch));
    }

    pub(super) fn unregister(&self, stream: StreamId, watch: i64, range: &KeyRange) {
        let mut state = self.state.lock();
        let set = state.set(range);
        set.remove(&(stream, watch));
        if set.is_empty() {
            state.drop_set(range);
        }
        if let Some(stream) = state.streams.get_mut(&stream) {
            stream.marked.remove(&watch);
        }
    }

    /// Takes a stream's marks; they are the stream's to remember from now on.
    pub(super) fn take(&self, stream: StreamId) -> Marks {
        let mut state = self.state.lock();
        let published = state.published;
        let watches = state
            .streams
            .get_mut(&stream)
            .map(|stream| std::mem::take(&mut stream.marked))
            .unwrap_or_default();
        Marks { watches, published }
    }
}

impl State {
    fn set(&mut self, range: &KeyRange) -> &mut BTreeSet<WatchKey> {
        if let KeyRange::Key(key) = range {
            return self.keys.entry(key.clone()).or_default();
        }
        if let Some(prefix) = range.as_prefix() {
            let prefixes = self.prefixes.entry(prefix.len()).or_default();
            return prefixes.entry(prefix.clone()).or_default();
        }
        let ranges = self.ranges.entry(range.first().clone()).or_default();
        ranges.entry(range.clone()).or_default()
    }

    fn sets(&self) -> impl Iterator<Item = &BTreeSet<WatchKey>> {
        let prefixes = self.prefixes.values().flat_map(HashMap::values);
        let ranges = self.ranges.values().flat_map(BTreeMap::values);
        self.keys.values().chain(prefixes).chain(ranges)
    }

    fn drop_set(&mut self, range: &KeyRange) {
        if let KeyRange::Key(key) = range {
            self.keys.remove(key);
        } else if let Some(prefix) = range.as_prefix() {
            if let Some(prefixes) = self.prefixes.get_mut(&prefix.len()) {
                prefixes.remove(prefix);
                if prefixes.is_empty() {
                    self.prefixes.remove(&prefix.len());
                }
            }
        } else if let Some(ranges) = self.ranges.get_mut(range.first()) {
            ranges.remove(range);
            if ranges.is_empty() {
                self.ranges.remove(range.first());
            }
        }
    }

    /// Adds every watch whose range contains `key`.
    fn collect(&self, key: &[u8], concerned: &mut BTreeSet<WatchKey>) {
        let exact = self.keys.get(key);
        let prefixes = self
            .prefixes
            .range(..=key.len())
            .filter_map(|(length, prefixes)| prefixes.get(&key[..*length]));
        let ranges = self
            .ranges
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .flat_map(|(_, ranges)| ranges)
            .filter(|(range, _)| range.contains(key))
            .map(|(_, set)| set);
        for set in exact.into_iter().chain(prefixes).chain(ranges) {
            concerned.extend(set);
        }
    }
}
