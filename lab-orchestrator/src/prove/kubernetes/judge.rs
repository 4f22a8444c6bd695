//! Judges a book: the history is replayed once, and everything that was told must fit into it.
//!
//! Auditors watch every key, and every revision changes a key: so what they heard is the whole
//! history, and a hole in it would be seen. All else is held against that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use etcd_api::mvccpb::{Event, KeyValue, event::EventType};

use super::super::rule::Rule;
use super::book::{
    Book, Change, Guard, Lease, Outcome, Overtaken, Reel, Scope, Told, View, Why, Write,
};

/// What each rule wants to have looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) writes: u64,
    pub(super) lists: u64,
    pub(super) compactions: u64,
}

/// One revision of the history.
#[derive(Clone, Debug)]
struct Revised {
    events: Vec<Event>,
    /// When the first auditor heard of it.
    at: Duration,
}

type History = BTreeMap<i64, Revised>;

/// What the rules say of the book.
pub(super) fn judge(book: &Book, wanted: Wanted) -> Vec<Rule> {
    let (history, audit) = history(book);
    let missing = match history.last_key_value() {
        None => Some("nobody heard of any change".to_owned()),
        Some(_) if audit.result().judgement == lab_protocol::Judgement::Unknown => {
            Some("the history has holes".to_owned())
        }
        Some(_) => None,
    };
    let mut replay = Replay::new(book, wanted);
    for (revision, revised) in &history {
        replay.revision(*revision, revised);
    }
    let mut rules = replay.finish();
    rules.extend(informers(book, &history, wanted));
    rules.push(compaction(book, wanted));
    if let Some(missing) = missing {
        rules.iter_mut().for_each(|rule| rule.cannot_tell(missing.clone()));
    }
    rules.insert(0, audit);
    rules
}

fn is_put(event: &Event) -> bool {
    event.r#type() == EventType::Put
}

fn rows(told: &Told) -> impl Iterator<Item = &Event> {
    match told {
        Told::Events { events, .. } => events.iter(),
        Told::Bookmark(_) | Told::Resumed { .. } => [].iter(),
    }
}

fn bare(event: &Event) -> Event {
    Event { prev_kv: None, ..event.clone() }
}

fn mod_revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(60).collect()
}

fn shown(event: &Event) -> String {
    let kv = event.kv.clone().unwrap_or_default();
    let what = if is_put(event) { "put" } else { "delete" };
    format!("{what} of {} at {}", text(&kv.key), kv.mod_revision)
}

/// What the auditors heard, put together; they must agree, and no revision may be missing.
fn history(book: &Book) -> (History, Rule) {
    let guards = "auditors of all keys hear every revision, and the same";
    let mut rule = Rule::new("history_is_whole", guards, "revisions", 1);
    let mut history = History::new();
    for reel in book.reels.iter().filter(|reel| reel.audits) {
        let mut heard: BTreeMap<i64, (Vec<Event>, Duration)> = BTreeMap::new();
        for told in &reel.told {
            let Told::Events { at, .. } = told else { continue };
            for event in rows(told) {
                let (events, _) =
                    heard.entry(mod_revision(event)).or_insert_with(|| (Vec::new(), *at));
                events.push(bare(event));
            }
        }
        for (revision, (events, at)) in heard {
            let known =
                history.entry(revision).or_insert_with(|| Revised { events: events.clone(), at });
            known.at = known.at.min(at);
            if known.events != events {
                rule.judge(false, || {
                    format!("{} heard something else of revision {revision}", reel.who)
                });
            }
        }
    }
    let mut next = None;
    for revision in history.keys() {
        let hole = next.filter(|next| next != revision);
        if let Some(hole) = hole {
            // Nobody heard of it: a change lost to all, unless all were overtaken by a compaction.
            if !book.overtaken.iter().any(|overtaken| overtaken.audits) {
                rule.judge(false, || format!("revisions {hole} to {} are missing", revision - 1));
            } else {
                rule.cannot_tell(format!("no auditor heard of revisions from {hole} on"));
            }
        }
        rule.judge(true, String::new);
        next = Some(revision + 1);
    }
    (history, rule)
}

/// The replay of the history, with everything that has to fit into it.
struct Replay<'a> {
    book: &'a Book,
    state: BTreeMap<Bytes, KeyValue>,
    held: BTreeMap<i64, BTreeSet<Bytes>>,
    /// Writes by their value, and deletes by key and guard.
    puts: HashMap<&'a [u8], &'a Write>,
    deletes: HashMap<(&'a [u8], i64), &'a Write>,
    happened: HashMap<&'a [u8], i64>,
    views: BTreeMap<i64, Vec<&'a View>>,
    conflicts: BTreeMap<i64, Vec<&'a Write>>,
    /// Successes that the history must have, by revision.
    successes: BTreeMap<i64, &'a Write>,
    lists: Rule,
    fresh: Rule,
    guarded: Rule,
    versions: Rule,
    leases: Rule,
}

impl<'a> Replay<'a> {
    fn new(book: &'a Book, wanted: Wanted) -> Self {
        let mut puts = HashMap::new();
        let mut deletes: HashMap<(&[u8], i64), &Write> = HashMap::new();
        let mut conflicts: BTreeMap<i64, Vec<&Write>> = BTreeMap::new();
        let mut successes = BTreeMap::new();
        let mut views: BTreeMap<i64, Vec<&View>> = BTreeMap::new();
        let mut fresh = Rule::new(
            "answers_are_fresh",
            "an answer is not older than what anybody knew before the question",
            "answers",
            wanted.writes,
        );
        for write in &book.writes {
            match (&write.change, write.guard) {
                (Change::Put { value, .. }, _) => drop(puts.insert(&value[..], write)),
                (Change::Delete, Guard::ModRevision(guard)) => {
                    // Of those that guard by the same revision at most one can happen: the one
                    // that was told so, else one that was told nothing.
                    let at = deletes.entry((&write.key[..], guard)).or_insert(write);
                    if likely(write) > likely(at) {
                        *at = write;
                    }
                }
                (Change::Delete, Guard::Version(_)) => {}
            }
            let told = match &write.outcome {
                Outcome::At(revision) => {
                    successes.insert(*revision, write);
                    // Its revision is its own: newer than anything known before.
                    Some((*revision, *revision > write.floor))
                }
                Outcome::Conflict { revision, .. } => {
                    conflicts.entry(*revision).or_default().push(write);
                    Some((*revision, *revision >= write.floor))
                }
                Outcome::Refused(_) | Outcome::Unknown(_) => None,
            };
            if let Some((revision, holds)) = told {
                fresh.judge(holds, || {
                    format!(
                        "{} was answered at {revision}, behind {} known before",
                        write.who, write.floor
                    )
                });
            }
        }
        for view in &book.views {
            views.entry(view.revision).or_default().push(view);
            if view.pages == 0 {
                // It was refused, which is for another rule.
                continue;
            }
            fresh.judge(view.revision >= view.floor, || {
                format!(
                    "{} listed at {}, behind {} known before",
                    view.who, view.revision, view.floor
                )
            });
        }
        Self {
            book,
            state: BTreeMap::new(),
            held: BTreeMap::new(),
            puts,
            deletes,
            happened: HashMap::new(),
            views,
            conflicts,
            successes,
            lists: Rule::new(
                "lists_at_one_revision",
                "all pages of a list show the state at one revision",
                "lists",
                wanted.lists,
            ),
            fresh,
            guarded: Rule::new(
                "guarded_writes",
                "a guarded write happens once and on what its guard names, or not at all",
                "changes and answers",
                wanted.writes,
            ),
            versions: Rule::new(
                "versions_count",
                "version and create revision of a key go on as its history says",
                "puts",
                wanted.writes,
            ),
            leases: Rule::new(
                "leases_over_many_keys",
                "the keys of a lease go together, not before its time, and are gone after it",
                "leases that ended",
                1,
            ),
        }
    }

    fn revision(&mut self, revision: i64, revised: &Revised) {
        self.expiry(revision, revised);
        for event in &revised.events {
            let Some(kv) = &event.kv else { continue };
            let before = self.state.get(&kv.key).cloned();
            self.guard(revision, event, before.as_ref());
            if is_put(event) {
                let expected = before
                    .as_ref()
                    .map_or((revision, 1), |before| (before.create_revision, before.version + 1));
                self.versions.judge((kv.create_revision, kv.version) == expected, || {
                    format!(
                        "{} has create revision {} and version {}, not {expected:?}",
                        shown(event),
                        kv.create_revision,
                        kv.version
                    )
                });
            }
            if let Some(before) = before
                && before.lease != 0
                && let Some(keys) = self.held.get_mut(&before.lease)
            {
                keys.remove(&kv.key);
            }
            if is_put(event) {
                if kv.lease != 0 {
                    self.held.entry(kv.lease).or_default().insert(kv.key.clone());
                }
                self.state.insert(kv.key.clone(), kv.clone());
            } else {
                self.state.remove(&kv.key);
            }
        }
        if let Some(write) = self.successes.remove(&revision) {
            let did = revised.events.iter().any(|event| did(write, event));
            self.guarded.judge(did, || {
                format!(
                    "{} was told that its write of {} happened at {revision}; it did not",
                    write.who,
                    text(&write.key)
                )
            });
        }
        self.look(revision);
    }

    /// What was read at this revision.
    fn look(&mut self, revision: i64) {
        for view in self.views.remove(&revision).unwrap_or_default() {
            let wrong = differs(view, &self.state);
            self.lists.find(wrong);
        }
        for write in self.conflicts.remove(&revision).unwrap_or_default() {
            let Outcome::Conflict { found, .. } = &write.outcome else { continue };
            let there = self.state.get(&write.key);
            let holds = !holds(write.guard, there) && found.as_ref() == there;
            self.guarded.judge(holds, || {
                format!(
                    "{} was told of a conflict on {} at {revision} ({:?}) and shown {}; there was {}",
                    write.who,
                    text(&write.key),
                    write.guard,
                    row(found.as_ref()),
                    row(there)
                )
            });
        }
    }

    /// Every change was asked for by one write, and its guard held.
    fn guard(&mut self, revision: i64, event: &Event, before: Option<&KeyValue>) {
        let Some(kv) = &event.kv else { return };
        let write = if is_put(event) {
            self.puts.get(&kv.value[..]).copied()
        } else {
            let before = before.map_or(0, |before| before.mod_revision);
            match self.deletes.get(&(&kv.key[..], before)) {
                Some(write) => Some(*write),
                // The end of a lease.
                None if self.state.get(&kv.key).is_some_and(|row| row.lease != 0) => return,
                None => None,
            }
        };
        let Some(write) = write else {
            return self.guarded.judge(false, || format!("nobody asked for the {}", shown(event)));
        };
        let twice = match &write.change {
            Change::Put { value, .. } => self.happened.insert(&value[..], revision),
            Change::Delete => None,
        };
        let wrong = if let Some(first) = twice {
            Some(format!("the {} had happened at {first} already", shown(event)))
        } else if !holds(write.guard, before) {
            let (guard, before) = (write.guard, row(before));
            Some(format!("the {} by {} on {before}, against {guard:?}", shown(event), write.who))
        } else {
            match &write.outcome {
                Outcome::At(at) if *at == revision => None,
                Outcome::Unknown(_) => None,
                outcome @ (Outcome::At(_) | Outcome::Conflict { .. } | Outcome::Refused(_)) => {
                    Some(format!(
                        "the {}, of which {} was told {outcome:?}",
                        shown(event),
                        write.who
                    ))
                }
            }
        };
        self.guarded.find(wrong);
    }

    /// Keys that go because their lease has ended go all at once, and not early.
    fn expiry(&mut self, revision: i64, revised: &Revised) {
        let gone: BTreeSet<_> = revised
            .events
            .iter()
            .filter(|event| !is_put(event))
            .filter_map(|event| event.kv.as_ref().map(|kv| kv.key.clone()))
            .collect();
        let leases: BTreeSet<_> = gone
            .iter()
            .filter_map(|key| self.state.get(key).map(|row| row.lease))
            .filter(|lease| *lease != 0)
            .collect();
        for id in leases {
            let keys = self.held.get(&id).cloned().unwrap_or_default();
            let lease = self.book.leases.get(&id);
            let wrong = if keys != gone {
                Some(format!(
                    "{} of the {} keys of lease {id:x} went at {revision}",
                    gone.len(),
                    keys.len()
                ))
            } else {
                match lease {
                    Some(Lease { sent, ttl }) if revised.at < *sent + *ttl => Some(format!(
                        "lease {id:x} of {} s ended {:.1} s after it was asked for",
                        ttl.as_secs(),
                        (revised.at.saturating_sub(*sent)).as_secs_f64()
                    )),
                    Some(_) => None,
                    None => Some(format!("nobody was granted lease {id:x}")),
                }
            };
            self.leases.find(wrong);
        }
    }

    fn finish(mut self) -> Vec<Rule> {
        let last = self.book.reels.iter().filter(|reel| reel.audits).map(Reel::reached).max();
        let last = last.unwrap_or(0);
        for (revision, write) in &self.successes {
            self.guarded.judge(false, || {
                format!(
                    "{} was told that its write of {} happened at {revision}, which nobody heard \
                     of (all was heard up to {last})",
                    write.who,
                    text(&write.key)
                )
            });
        }
        for view in self.views.values().flatten() {
            // The empty store, before anything happened.
            let empty = view.revision <= 1 && view.rows.is_empty() && view.wrong.is_none();
            self.lists.judge(empty, || match &view.wrong {
                Some(wrong) => format!("{}: {wrong}", view.who),
                None => {
                    format!("{} listed at {}, a revision nobody heard of", view.who, view.revision)
                }
            });
        }
        let outcomes = |wanted: fn(&Outcome) -> bool| {
            self.book.writes.iter().filter(|write| wanted(&write.outcome)).count()
        };
        let at = outcomes(|outcome| matches!(outcome, Outcome::At(_)));
        let conflicts = outcomes(|outcome| matches!(outcome, Outcome::Conflict { .. }));
        let unknown = outcomes(|outcome| matches!(outcome, Outcome::Unknown(_)));
        self.guarded.note(format!("{at} told done, {conflicts} conflicts, {unknown} unknown"));
        let pages: usize = self.book.views.iter().map(|view| view.pages).sum();
        self.lists.note(format!("{pages} pages"));
        match &self.book.left_over {
            Some(keys) => self.leases.judge(keys.is_empty(), || {
                format!("after all leases' time {} keys are left: {}", keys.len(), keys.join(", "))
            }),
            None => self.leases.cannot_tell("what is left at the end was not read".into()),
        }
        self.leases.note(format!("{} granted", self.book.leases.len()));
        vec![self.lists, self.fresh, self.guarded, self.versions, self.leases]
    }
}

/// How well what was told fits to a write's having happened.
fn likely(write: &Write) -> u8 {
    match write.outcome {
        Outcome::At(_) => 2,
        Outcome::Unknown(_) => 1,
        Outcome::Conflict { .. } | Outcome::Refused(_) => 0,
    }
}

fn row(row: Option<&KeyValue>) -> String {
    row.map_or("nothing".to_owned(), |row| {
        format!("version {} of revision {}", row.version, row.mod_revision)
    })
}

fn holds(guard: Guard, there: Option<&KeyValue>) -> bool {
    match guard {
        Guard::ModRevision(wanted) => there.map_or(0, |row| row.mod_revision) == wanted,
        Guard::Version(wanted) => there.map_or(0, |row| row.version) == wanted,
    }
}

/// Whether this event is what the write asked for.
fn did(write: &Write, event: &Event) -> bool {
    let Some(kv) = &event.kv else { return false };
    let same = match &write.change {
        Change::Put { value, lease } => is_put(event) && kv.value == *value && kv.lease == *lease,
        Change::Delete => !is_put(event),
    };
    same && kv.key == write.key
}

/// What is wrong with a list, held against the state at its revision.
fn differs(view: &View, state: &BTreeMap<Bytes, KeyValue>) -> Option<String> {
    let who = format!("{} at {}", view.who, view.revision);
    if let Some(wrong) = &view.wrong {
        return Some(format!("{who}: {wrong}"));
    }
    compare(&view.scope, &view.rows, state).map(|wrong| format!("{who}: {wrong}"))
}

/// The first difference between rows that were shown and the state.
fn compare(scope: &Scope, rows: &[KeyValue], state: &BTreeMap<Bytes, KeyValue>) -> Option<String> {
    let mut expected =
        state.range(scope.key.clone()..).map(|(_, row)| row).filter(|row| scope.contains(&row.key));
    let mut seen = rows.iter();
    loop {
        let (is, should) = (seen.next(), expected.next());
        if is == should {
            is?;
            continue;
        }
        let shown = |row: Option<&KeyValue>| {
            row.map_or("nothing more".to_owned(), |row| {
                format!("{} of revision {}", text(&row.key), row.mod_revision)
            })
        };
        return Some(format!("{} where {} belongs", shown(is), shown(should)));
    }
}

/// Every life of every informer, held against the history.
fn informers(book: &Book, history: &History, wanted: Wanted) -> Vec<Rule> {
    let mut gapless = Rule::new(
        "watch_goes_on_from_list",
        "from a list's revision on an informer hears each change once, in order, as it was",
        "events",
        wanted.writes,
    );
    let mut bookmarks = Rule::new(
        "bookmarks",
        "after a bookmark nothing of its revision or before it comes",
        "bookmarks",
        1,
    );
    let mut prev = Rule::new(
        "prev_kv_is_the_cache",
        "the row before a change is the one that the informer had",
        "events",
        wanted.writes,
    );
    let mut caches = Rule::new(
        "caches_equal_a_final_list",
        "at the end each informer's cache is what a list shows",
        "caches",
        1,
    );
    let (mut resumed, mut by_bookmark, mut silent, mut behind) = (0, 0, 0, 0);
    for reel in &book.reels {
        let mut cache: BTreeMap<Bytes, KeyValue> =
            reel.rows.iter().map(|row| (row.key.clone(), row.clone())).collect();
        let mut bookmark = 0;
        let reached = reel.reached();
        let mut expected = history
            .range(reel.listed + 1..=reached.max(reel.listed + 1))
            .filter(|(revision, _)| **revision <= reached)
            .flat_map(|(_, revised)| &revised.events)
            .filter(|event| event.kv.as_ref().is_some_and(|kv| reel.scope.contains(&kv.key)));
        for told in &reel.told {
            match told {
                Told::Bookmark(revision) => {
                    bookmarks.judge(*revision >= bookmark, || {
                        format!("{}: bookmark {revision} after {bookmark}", reel.who)
                    });
                    bookmark = bookmark.max(*revision);
                }
                Told::Resumed { by_bookmark: by, why } => {
                    resumed += 1;
                    by_bookmark += u64::from(*by);
                    silent += u64::from(*why == Why::Silent);
                    behind += u64::from(*why == Why::Behind);
                }
                Told::Events { .. } => {}
            }
            let Told::Events { header, compacting, .. } = told else { continue };
            for event in rows(told) {
                let should = expected.next();
                let same = should == Some(&bare(event)) && mod_revision(event) <= *header;
                gapless.judge(same, || {
                    format!(
                        "{} (listed at {}) heard the {} where {} belongs",
                        reel.who,
                        reel.listed,
                        shown(event),
                        should
                            .map_or("nothing".to_owned(), |event| format!("the {}", shown(event)))
                    )
                });
                if mod_revision(event) <= bookmark {
                    bookmarks.judge(false, || {
                        format!("{}: the {} after bookmark {bookmark}", reel.who, shown(event))
                    });
                }
                let Some(kv) = &event.kv else { continue };
                let had = if is_put(event) {
                    cache.insert(kv.key.clone(), kv.clone())
                } else {
                    cache.remove(&kv.key)
                };
                // What a compaction overtook cannot be shown any more.
                let overtaken = event.prev_kv.is_none() && mod_revision(event) <= *compacting;
                prev.judge(event.prev_kv == had || overtaken, || {
                    format!(
                        "{}: the {} came with {} before it, the cache had {}",
                        reel.who,
                        shown(event),
                        row(event.prev_kv.as_ref()),
                        row(had.as_ref())
                    )
                });
            }
        }
        if let Some(missed) = expected.next() {
            gapless.judge(false, || {
                format!("{} was told of {reached}, but not of the {}", reel.who, shown(missed))
            });
        }
        if reel.to_the_end {
            match &book.last {
                Some(list) => caches.find(stale(list, reel, &cache)),
                None => caches.cannot_tell("the last list was not to be had".into()),
            }
        }
    }
    gapless.note(format!(
        "{} lives of informers, resumed {resumed} times, {by_bookmark} of them from a bookmark, \
         {silent} of them after silence, {behind} because the member stayed behind",
        book.reels.len()
    ));
    for (how, times) in &book.ends {
        gapless.note(format!("{times} streams ended by `{how}`"));
    }
    vec![gapless, bookmarks, prev, caches]
}

/// What is wrong with a cache at the end, held against the last list of everything.
fn stale(list: &View, reel: &Reel, cache: &BTreeMap<Bytes, KeyValue>) -> Option<String> {
    if reel.reached() < list.revision {
        return Some(format!(
            "{} came to {}, not to the last list at {} (its last stream to end: {})",
            reel.who,
            reel.reached(),
            list.revision,
            if reel.ended.is_empty() { "none" } else { &reel.ended }
        ));
    }
    let rows: BTreeMap<Bytes, KeyValue> =
        list.rows.iter().map(|row| (row.key.clone(), row.clone())).collect();
    let cached: Vec<KeyValue> = cache.values().cloned().collect();
    compare(&reel.scope, &cached, &rows).map(|wrong| format!("{}: {wrong}", reel.who))
}

/// Only what somebody had asked to be compacted is refused, and all that was is.
fn compaction(book: &Book, wanted: Wanted) -> Rule {
    let mut rule = Rule::new(
        "guarded_compaction",
        "what no winner of the guard compacted stays readable, what one did is refused",
        "reads and watches at old revisions",
        1,
    );
    for reach in &book.reaches {
        let wrong = match reach.refused {
            true => reach.revision >= reach.asked,
            false => reach.revision < reach.done,
        };
        let (said, known) = if reach.refused {
            ("was refused", format!("up to {} compaction was asked for", reach.asked))
        } else {
            ("was shown", format!("up to {} all was compacted", reach.done))
        };
        rule.judge(!wrong, || format!("{} {said} revision {}; {known}", reach.who, reach.revision));
    }
    for Overtaken { who, from, compacted, asked, .. } in &book.overtaken {
        rule.judge(from < compacted && compacted <= asked, || {
            format!("{who} from {from} was told of a compaction at {compacted}; asked was {asked}")
        });
    }
    for why in &book.bad_compactions {
        rule.judge(false, || why.clone());
    }
    if book.compactions < wanted.compactions {
        let (were, want) = (book.compactions, wanted.compactions);
        rule.cannot_tell(format!("only {were} compactions of the {want} wanted were made"));
    }
    rule.note(format!(
        "{} compactions, {} watches overtaken",
        book.compactions,
        book.overtaken.len()
    ));
    rule
}
