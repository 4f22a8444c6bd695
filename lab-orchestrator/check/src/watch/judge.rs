//! One watch against the truth, response by response.

use std::collections::BTreeMap;

use lab_protocol::{MemberNo, Row, WatchEvent, WatchEventKind, WatchResponse, WatchTold};

use super::rows::{Before, Held, is_plausible};
use super::rule::{Broken, Rule};
use super::told::{Step, Watch};
use super::truth::{By, Change, Made, Truth};
use crate::linear::Run;

/// A compaction that happened or may have: the event that asked it, and what it dropped: everything
/// before this revision.
pub(super) type Compaction = (u64, i64);

/// What a watch was told without anything broken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) events: usize,
    pub(super) bookmarks: usize,
    pub(super) resumed: usize,
    pub(super) compacted: usize,
}

/// Judges a watch over all its streams.
pub(super) fn judge(
    watch: &Watch,
    truth: &Truth<'_>,
    run: Run<'_>,
    compactions: &[Compaction],
) -> Result<Tally, Broken> {
    let mut judge = Judge {
        watch,
        truth,
        run,
        compactions,
        member: watch.member,
        opened: watch.opened,
        from: None,
        next: 0,
        is_open: true,
        is_created: false,
        is_resumed: false,
        is_fresh: true,
        last: None,
        told: BTreeMap::new(),
        bookmark: None,
        tally: Tally::default(),
    };
    judge.asked(watch.request.start_revision);
    for (seq, step) in &watch.steps {
        match step {
            Step::Heard(response) if judge.is_open => judge.heard(*seq, response)?,
            Step::Heard(_) => {}
            Step::Closed => judge.ends()?,
            Step::Resumed { member, start_revision } => {
                judge.ends()?;
                judge.resumed(*seq, *member, *start_revision);
            }
        }
    }
    judge.ends()?;
    Ok(judge.tally)
}

/// A watch while it goes by.
struct Judge<'a> {
    watch: &'a Watch,
    truth: &'a Truth<'a>,
    run: Run<'a>,
    compactions: &'a [Compaction],
    /// Whom the present stream is with, and the event that opened it.
    member: MemberNo,
    opened: u64,
    /// The first revision that the present stream asked for, once that is known.
    from: Option<i64>,
    /// The first revision of which not all was told yet.
    next: i64,
    is_open: bool,
    /// Whether the member has said that the present stream watches.
    is_created: bool,
    is_resumed: bool,
    /// Whether the present stream has told of no change yet.
    is_fresh: bool,
    /// The last revision told of, and the event that told of it.
    last: Option<(i64, u64)>,
    /// All changes told of, and the events that told of them.
    told: BTreeMap<(i64, &'a str), u64>,
    /// The bookmark of the present stream, and the event that told of it.
    bookmark: Option<(i64, u64)>,
    tally: Tally,
}

impl<'a> Judge<'a> {
    /// The present stream asked for everything from a revision on, or for what is to come.
    fn asked(&mut self, start_revision: i64) {
        self.from = None;
        if start_revision > 0 {
            self.starts(start_revision);
        }
    }

    /// It is known from where on the present stream tells. What the client asked for again may
    /// come again.
    fn starts(&mut self, from: i64) {
        (self.from, self.next) = (Some(from), from);
        self.told.split_off(&(from, ""));
        self.last = self.last.map(|(revision, seq)| (revision.min(from.saturating_sub(1)), seq));
        self.bookmark = None;
    }

    fn resumed(&mut self, seq: u64, member: MemberNo, start_revision: i64) {
        (self.opened, self.member) = (seq, member);
        (self.is_open, self.is_created) = (true, false);
        (self.is_resumed, self.is_fresh) = (true, true);
        self.asked(start_revision);
        self.tally.resumed += 1;
    }

    fn heard(&mut self, seq: u64, response: &'a WatchResponse) -> Result<(), Broken> {
        match &response.told {
            WatchTold::Created => {
                self.is_created = true;
                if self.from.is_none() {
                    self.starts(response.revision.saturating_add(1));
                }
                Ok(())
            }
            WatchTold::Events(events) => self.events(seq, response.revision, events),
            // It was on its way for others of the stream before this one was there.
            WatchTold::Progress if !self.is_created => Ok(()),
            WatchTold::Progress => {
                self.tally.bookmarks += 1;
                if self.bookmark.is_none_or(|(revision, _)| revision < response.revision) {
                    self.bookmark = Some((response.revision, seq));
                }
                Ok(())
            }
            WatchTold::Compacted { compact_revision } => {
                self.compacted(seq, *compact_revision)?;
                self.tally.compacted += 1;
                self.ends()
            }
            WatchTold::Canceled { .. } => self.ends(),
        }
    }

    fn events(&mut self, seq: u64, at: i64, events: &'a [WatchEvent]) -> Result<(), Broken> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        if self.from.is_none() {
            self.starts(first.row.mod_revision);
        }
        for event in events {
            self.event(seq, at, event)?;
        }
        self.whole(seq, last.row.mod_revision, "changes")?;
        self.next = self.next.max(last.row.mod_revision.saturating_add(1));
        self.is_fresh = false;
        self.tally.events += events.len();
        Ok(())
    }

    fn event(&mut self, seq: u64, at: i64, event: &'a WatchEvent) -> Result<(), Broken> {
        let (key, revision) = (event.row.key.as_str(), event.row.mod_revision);
        if !self.watch.matches(key, event.kind) {
            return Err(self.broken(Rule::Filtered, seq, event, "which it did not ask for", []));
        }
        if let Some(&earlier) = self.told.get(&(revision, key)) {
            let why = format!("which event {earlier} of the journal had told it");
            return Err(self.broken(Rule::Unique, seq, event, why, [earlier]));
        }
        if let Some((last, earlier)) = self.last.filter(|(last, _)| revision < *last) {
            let why = format!("after revision {last}");
            return Err(self.broken(Rule::Ordered, seq, event, why, [earlier]));
        }
        if let Some(from) = self.from.filter(|from| revision < *from) {
            let rule = if self.is_resumed { Rule::Resumable } else { Rule::Filtered };
            let why = format!("but had asked for what came from revision {from} on");
            return Err(self.broken(rule, seq, event, why, []));
        }
        if let Some((bookmark, earlier)) = self.bookmark.filter(|(mark, _)| revision <= *mark) {
            let why = format!("after a bookmark had told it that revision {bookmark} was done");
            return Err(self.broken(Rule::Bookmarkable, seq, event, why, [earlier]));
        }
        if let Some((_, earlier)) = self.last.filter(|last| last.0 == revision && last.1 != seq) {
            let why = "though another response had told it of the same revision";
            return Err(self.broken(Rule::Atomic, seq, event, why, [earlier]));
        }
        if revision > at {
            let why = format!("at revision {at}, before it happened");
            return Err(self.broken(Rule::Reliable, seq, event, why, []));
        }
        if self.truth.is_known {
            self.happened(seq, event)?;
        }
        self.told.insert((revision, key), seq);
        self.last = Some((revision, seq));
        Ok(())
    }

    /// What was told must have happened, and as it was told.
    fn happened(&self, seq: u64, event: &WatchEvent) -> Result<(), Broken> {
        let Some(made) = self.truth.at(event.row.mod_revision) else {
            let why = "but there is no such revision";
            return Err(self.broken(Rule::Reliable, seq, event, why, []));
        };
        let untrue = |why: String, by: By| {
            Err(self.broken(Rule::Reliable, seq, event, why, self.evidence(by)))
        };
        if let Some((why, by)) = &made.unexplained {
            return untrue(format!("but {why}"), by.map_or(made.by, By::Operation));
        }
        let by = self.maker(made);
        let Some(change) = made.changes.iter().find(|change| change.key == event.row.key) else {
            return untrue(format!("but {by} did not touch that key"), made.by);
        };
        if let By::Operation(place) = made.by
            && self.run.operations()[place].invoked.seq > seq
        {
            return untrue(format!("before {by} was asked"), made.by);
        }
        let told = (event.kind == WatchEventKind::Put).then_some(&event.row);
        match (&change.now, told) {
            (Some(held), Some(row)) => {
                if let Some(why) = differs(row, held) {
                    return untrue(format!("with {why}, as {by} wrote it"), made.by);
                }
            }
            (None, None) => {}
            (Some(_), None) => return untrue(format!("but {by} wrote it"), made.by),
            (None, Some(_)) => return untrue(format!("but {by} deleted it"), made.by),
        }
        self.prev_kv(seq, event, made, change)
    }

    /// The row before must be what was there, if it was asked for, and was not dropped.
    fn prev_kv(
        &self,
        seq: u64,
        event: &WatchEvent,
        made: &Made<'_>,
        change: &Change<'_>,
    ) -> Result<(), Broken> {
        let (key, revision) = (&event.row.key, event.row.mod_revision);
        let had_row = event.kind == WatchEventKind::Delete || event.row.version > 1;
        let why = match (&event.prev, &change.before) {
            (None, _) if !self.watch.request.prev_kv || !had_row => None,
            (None, _) => {
                let mut dropped = self.compactions.iter();
                let is_dropped = dropped.any(|(asked, before)| *asked < seq && *before >= revision);
                (!is_dropped).then(|| "without the row before, which nobody had dropped".into())
            }
            (Some(_), _) if !self.watch.request.prev_kv => {
                Some("with the row before, which it did not ask for".into())
            }
            (Some(_), _) if !had_row => Some("with a row before, but there was none".into()),
            (Some(prev), _) if prev.key != *key => Some("with another key's row before".into()),
            (Some(prev), Before::Known(Some(held))) => {
                differs(prev, held).map(|why| format!("with a row before it of {why}"))
            }
            (Some(_), Before::Known(None)) => Some("with a row before, but there was none".into()),
            (Some(prev), Before::Unknown) => {
                let is_before = prev.mod_revision < revision
                    && is_plausible(prev.mod_revision, (prev.create_revision, prev.version));
                let row = &event.row;
                let leads_here = event.kind == WatchEventKind::Delete
                    || (prev.create_revision, prev.version + 1)
                        == (row.create_revision, row.version);
                (!is_before || !leads_here)
                    .then(|| "with a row that cannot be the one before".into())
            }
        };
        match why {
            None => Ok(()),
            Some(why) => Err(self.broken(Rule::PrevKv, seq, event, why, self.evidence(made.by))),
        }
    }

    /// Everything up to a revision must have been told by now.
    fn whole(&self, seq: u64, upto: i64, by_what: &str) -> Result<(), Broken> {
        for made in self.truth.between(self.next, upto) {
            let missing = made.changes.iter().find(|change| {
                change.is_certain
                    && self.watch.matches(change.key, change.kind())
                    && !self.told.contains_key(&(made.revision, change.key))
            });
            let Some(missing) = missing else { continue };
            let mut of_revision =
                self.told.range((made.revision, "")..(made.revision.saturating_add(1), ""));
            let rule = match of_revision.next() {
                Some(_) => Rule::Atomic,
                None if self.is_resumed && self.is_fresh => Rule::Resumable,
                None => Rule::Reliable,
            };
            let what = words(missing.kind(), missing.key, made.revision);
            let why = format!(
                "{} was told by {by_what} of all up to revision {upto}, but not of the {what} by {}",
                self.words(),
                self.maker(made)
            );
            let mut evidence = vec![self.opened, seq];
            evidence.extend(self.evidence(made.by));
            return Err(Broken { seq, rule, why, evidence });
        }
        Ok(())
    }

    fn compacted(&self, seq: u64, compact_revision: i64) -> Result<(), Broken> {
        let mut compactions = self.compactions.iter();
        let asked = compactions.find(|(asked, before)| *asked < seq && *before == compact_revision);
        let why = match (asked, self.from) {
            (None, _) => "but nobody had asked for that compaction".into(),
            (Some(_), None) => "but had asked for what was to come".into(),
            (Some(_), Some(_)) if self.next < compact_revision => return Ok(()),
            (Some(_), Some(_)) => format!("but was to be told of revision {} next", self.next),
        };
        let words = self.words();
        let why = format!("{words} was told that revision {compact_revision} is compacted, {why}");
        let evidence = [self.opened, seq].into_iter().chain(asked.map(|(asked, _)| *asked));
        Err(Broken { seq, rule: Rule::Compacted, why, evidence: evidence.collect() })
    }

    /// The present stream ends: what it was promised must have come.
    fn ends(&mut self) -> Result<(), Broken> {
        if std::mem::replace(&mut self.is_open, false)
            && let (Some((revision, seq)), Some(_)) = (self.bookmark, self.from)
        {
            self.whole(seq, revision, "a bookmark")?;
        }
        Ok(())
    }

    fn broken(
        &self,
        rule: Rule,
        seq: u64,
        event: &WatchEvent,
        why: impl AsRef<str>,
        evidence: impl IntoIterator<Item = u64>,
    ) -> Broken {
        let what = words(event.kind, &event.row.key, event.row.mod_revision);
        let why = format!("{} was told of the {what}, {}", self.words(), why.as_ref());
        let evidence = [self.opened, seq].into_iter().chain(evidence).collect();
        Broken { seq, rule, why, evidence }
    }

    /// The watch in words: `watch 3 (a to k through m2, from revision 5)`.
    fn words(&self) -> String {
        let keys = &self.watch.request.keys;
        let range = match &keys.end {
            None => keys.key.clone(),
            Some(end) => format!("{} to {end}", keys.key),
        };
        let from = self.from.map_or(String::new(), |from| format!(", from revision {from}"));
        format!("watch {} ({range} through {}{from})", self.watch.watch.0, self.member)
    }

    fn maker(&self, made: &Made<'_>) -> String {
        match made.by {
            By::Operation(place) => self.run.operations()[place].words(),
            By::Told(watch, _) => {
                format!("whoever made that revision, of which watch {} was told,", watch.0)
            }
        }
    }

    fn evidence(&self, by: By) -> Vec<u64> {
        match by {
            By::Operation(place) => self.run.operations()[place].evidence(),
            By::Told(_, seq) => vec![seq],
        }
    }
}

/// A change in words: `put of k at revision 5`.
fn words(kind: WatchEventKind, key: &str, revision: i64) -> String {
    let kind = match kind {
        WatchEventKind::Put => "put",
        WatchEventKind::Delete => "deletion",
    };
    format!("{kind} of {key} at revision {revision}")
}

/// What of a row is not as it was written, in words.
fn differs(row: &Row, held: &Held<'_>) -> Option<String> {
    let count = (row.create_revision, row.version);
    let Held { value, lease, revision, count: known } = *held;
    if row.mod_revision != revision {
        Some(format!("revision {}, not {revision}", row.mod_revision))
    } else if row.value != value {
        Some("another value".into())
    } else if row.lease != lease {
        Some(format!("lease {:x}, not {lease:x}", row.lease))
    } else if known.map_or(!is_plausible(revision, count), |known| known != count) {
        Some(format!("creation at revision {} and version {}", row.create_revision, row.version))
    } else {
        None
    }
}
