//! What each watch heard, and whether that is what it should have heard.

use std::collections::BTreeMap;

use super::super::rule::Rule;

/// Longest time between a write's sending and its arrival at a watch, milliseconds: ten seconds
/// are an age on any machine.
const LATE_MILLIS: f64 = 10_000.0;

/// With stalled streams beside them, watches may be so many times as late as without.
const SLOWER: f64 = 5.0;

/// And so much more, milliseconds: a slow machine's hiccup is no proof.
const HICCUP_MILLIS: f64 = 500.0;

/// What the member may take more while streams stall, beside what is written meanwhile: buffers
/// of the stalled streams, and what its allocator keeps.
const MEMORY_BYTES: u64 = 128 << 20;

/// Which changes a watch is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// One group of keys.
    Group(u32),
    /// Everything that is written.
    All,
}

/// What is not read has to be so many times what is allowed, or it would prove little.
const PENDING_TIMES: u64 = 2;

/// Whether so much that is not read is enough to prove something, when so much was written.
pub(super) fn is_enough(pending: u64, written: u64) -> bool {
    pending >= PENDING_TIMES * (MEMORY_BYTES + written)
}

/// One watch and what it heard.
#[derive(Clone, Debug)]
pub(super) struct Ear {
    pub(super) who: String,
    pub(super) part: Part,
    /// It has to hear everything behind this revision.
    pub(super) from: i64,
    /// The revision of each event, as it came.
    pub(super) heard: Vec<i64>,
    /// The revision of the compaction that its end was explained with.
    pub(super) compacted: Option<i64>,
    /// How its stream broke, if it did.
    pub(super) broke: Option<String>,
}

/// How late events came, milliseconds, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct Lags(pub(super) Vec<f64>);

impl Lags {
    fn share(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list that fits into memory"
        )]
        let place = (last as f64 * share).round() as usize;
        self.0.get(place).copied().unwrap_or(0.0)
    }
}

/// The member's memory, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// The most before streams stalled.
    pub(super) before: u64,
    /// The most while they did.
    pub(super) stalled: u64,
    /// Bytes of values that were written meanwhile.
    pub(super) written: u64,
    /// Bytes of events that the stalled watches had not read at the end.
    pub(super) pending: u64,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Which group each revision changed, as a watch at another member heard it.
    pub(super) history: BTreeMap<i64, u32>,
    /// Revisions of the writes that were acknowledged.
    pub(super) acknowledged: Vec<i64>,
    pub(super) ears: Vec<Ear>,
    /// Watches of the stream that goes on before the compaction.
    pub(super) patient: Vec<Ear>,
    /// Watches of the stream that goes on after it.
    pub(super) overtaken: Vec<Ear>,
    /// The revision that was compacted.
    pub(super) compacted: i64,
    pub(super) alone: Lags,
    pub(super) beside: Lags,
    pub(super) memory: Option<Memory>,
}

/// What is wrong with what a watch heard; `None` when it is each of its events once, in order.
fn wrong(ear: &Ear, history: &BTreeMap<i64, u32>) -> Option<String> {
    let mut should = history
        .range(ear.from + 1..)
        .filter(|(_, group)| ear.part == Part::All || ear.part == Part::Group(**group))
        .map(|(revision, _)| *revision);
    let who = &ear.who;
    for revision in &ear.heard {
        match should.next() {
            Some(next) if next == *revision => {}
            Some(next) => return Some(format!("{who} heard {revision} where {next} comes next")),
            None => return Some(format!("{who} heard {revision}, behind all that there is")),
        }
    }
    let missed = should.next()?;
    match (ear.compacted, &ear.broke) {
        // It was told that history is gone, and so it is.
        (Some(compacted), _) if missed < compacted => None,
        (Some(compacted), _) => Some(format!(
            "{who} was told of a compaction at {compacted}, but {missed} comes next for it"
        )),
        (None, broke) => {
            let last = ear.heard.last().copied().unwrap_or(ear.from);
            let how = broke.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            Some(format!("{who} heard nothing after {last}: {missed} is missing{how}"))
        }
    }
}

impl Book {
    /// What the rules say.
    pub(super) fn judge(&self, watchers: u64) -> Vec<Rule> {
        let mut exact = Rule::new(
            "each_event_once_in_order",
            "every watch hears every event of its range exactly once and in order",
            "watches",
            watchers,
        );
        let mut lost = Rule::new(
            "acknowledged_writes_are_heard",
            "every write that was acknowledged is in what is heard",
            "writes",
            20,
        );
        for revision in &self.acknowledged {
            lost.judge(self.history.contains_key(revision), || {
                format!("revision {revision} was acknowledged and nobody heard of it")
            });
        }
        let mut events = 0;
        for ear in &self.ears {
            events += ear.heard.len();
            let unasked = ear.compacted.map(|at| format!("{} was ended by {at}", ear.who));
            exact.find(wrong(ear, &self.history).or(unasked));
        }
        exact.note(format!("{events} events"));
        let rules = vec![exact, lost, self.late(), self.patient(), self.overtaken(), self.memory()];
        rules
    }

    fn late(&self) -> Rule {
        let mut late = Rule::new(
            "none_is_late",
            "a stalled stream does not make the others late",
            "events",
            1000,
        );
        let (alone, beside) = (self.alone.share(0.99), self.beside.share(0.99));
        for lag in self.alone.0.iter().chain(&self.beside.0) {
            late.judge(*lag <= LATE_MILLIS, || format!("an event came after {lag:.0} ms"));
        }
        let allowed = alone * SLOWER + HICCUP_MILLIS;
        late.judge(beside <= allowed, || {
            format!("p99 is {beside:.1} ms beside stalled streams, {allowed:.0} ms are allowed")
        });
        if self.alone.0.is_empty() || self.beside.0.is_empty() {
            late.cannot_tell("there is nothing to compare".into());
        }
        let three = |lags: &Lags| {
            let [half, most, all] = [0.5, 0.99, 1.0].map(|share| lags.share(share));
            format!("{half:.1}/{most:.1}/{all:.1} ms")
        };
        late.note(format!(
            "p50/p99/max {} alone, {} beside stalled streams, p99 ratio {:.2}",
            three(&self.alone),
            three(&self.beside),
            beside / alone.max(0.001)
        ));
        late
    }

    fn patient(&self) -> Rule {
        let mut rule = Rule::new(
            "stalled_catches_up",
            "a stalled watch that reads again hears all it missed, without a gap",
            "stalled watches",
            1,
        );
        for ear in &self.patient {
            let unasked = ear.compacted.map(|at| format!("{} was ended by {at}", ear.who));
            rule.find(wrong(ear, &self.history).or(unasked));
        }
        rule
    }

    fn overtaken(&self) -> Rule {
        let mut rule = Rule::new(
            "stalled_is_told_of_compaction",
            "a stalled watch whose history is gone is told so, and hears all before that",
            "stalled watches",
            1,
        );
        for ear in &self.overtaken {
            let other = ear.compacted.filter(|at| *at != self.compacted);
            let other = other.map(|at| {
                format!("{} was told of a compaction at {at}, not {}", ear.who, self.compacted)
            });
            rule.find(wrong(ear, &self.history).or(other));
        }
        let ended = self.overtaken.iter().filter(|ear| ear.compacted.is_some()).count();
        rule.note(format!("{ended} were ended by the compaction at {}", self.compacted));
        if ended == 0 {
            rule.cannot_tell("the compaction overtook nobody".into());
        }
        rule
    }

    fn memory(&self) -> Rule {
        const MIB: u64 = 1 << 20;
        let mut rule = Rule::new(
            "memory_is_bounded",
            "what stalled streams have not read is not kept in memory for them",
            "looks at the member's memory",
            1,
        );
        let Some(Memory { before, stalled, written, pending }) = self.memory else {
            rule.cannot_tell("the member's memory cannot be seen here".into());
            return rule;
        };
        let allowed = MEMORY_BYTES + written;
        let more = stalled.saturating_sub(before);
        rule.judge(more <= allowed, || {
            format!("{} MiB more, {} MiB are allowed", more / MIB, allowed / MIB)
        });
        if !is_enough(pending, written) {
            rule.cannot_tell(format!(
                "{} MiB unread prove little where {} MiB are allowed",
                pending / MIB,
                allowed / MIB
            ));
        }
        rule.note(format!(
            "{} MiB at most before, {} MiB more while {} MiB were unread ({} MiB are allowed)",
            before / MIB,
            more / MIB,
            pending / MIB,
            allowed / MIB
        ));
        rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ear(part: Part, heard: &[i64]) -> Ear {
        let heard = heard.to_vec();
        Ear { who: "w".into(), part, from: 1, heard, compacted: None, broke: None }
    }

    /// Two groups in turn, revisions 2 to 7; a compaction at 6.
    fn sound() -> Book {
        let all = ear(Part::All, &[2, 3, 4, 5, 6, 7]);
        let cut = Ear { compacted: Some(6), ..ear(Part::All, &[2, 3]) };
        Book {
            history: (2..=7).map(|revision| (revision, u32::from(revision % 2 == 1))).collect(),
            acknowledged: vec![2, 3, 5, 6, 7],
            ears: vec![ear(Part::Group(0), &[2, 4, 6]), ear(Part::Group(1), &[3, 5, 7])],
            patient: vec![all],
            overtaken: vec![cut],
            compacted: 6,
            alone: Lags(vec![1.0; 1000]),
            beside: Lags(vec![2.0; 1000]),
            memory: Some(Memory {
                before: 50 << 20,
                stalled: 60 << 20,
                written: 1 << 20,
                pending: 900 << 20,
            }),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Book), broken: &[&str]) {
        let mut book = sound();
        change(&mut book);
        let rules = book.judge(2);
        let found: Vec<_> = rules.iter().filter(|rule| rule.is_broken()).map(Rule::name).collect();
        assert_eq!(found, broken, "{rules:?}");
    }

    #[test]
    fn what_was_heard_as_promised_is_fine() {
        check(|_| {}, &[]);
        check(|book| book.overtaken[0] = ear(Part::All, &[2, 3, 4, 5, 6, 7]), &[]);
    }

    #[test]
    fn a_gap_a_duplicate_a_swap_and_a_missing_end_are_found() {
        for heard in [&[2, 6][..], &[2, 2, 4, 6], &[4, 2, 6], &[2, 4], &[2, 3, 4, 6], &[2, 4, 6, 8]]
        {
            let change = |book: &mut Book| book.ears[0].heard = heard.to_vec();
            check(change, &["each_event_once_in_order"]);
        }
    }

    #[test]
    fn an_acknowledged_write_that_nobody_heard_of_is_found() {
        check(|book| book.acknowledged.push(8), &["acknowledged_writes_are_heard"]);
    }

    #[test]
    fn lateness_is_found() {
        check(|book| book.beside.0[999] = 10_001.0, &["none_is_late"]);
        check(|book| book.beside.0[900..].fill(600.0), &["none_is_late"]);
        check(|book| book.beside.0[900..].fill(400.0), &[]);
    }

    #[test]
    fn a_stalled_watch_must_not_skip() {
        check(|book| book.patient[0].heard = vec![2, 3, 6, 7], &["stalled_catches_up"]);
        let skips = ear(Part::All, &[2, 3, 6, 7]);
        check(|book| book.overtaken[0] = skips, &["stalled_is_told_of_compaction"]);
        let says_nothing = ear(Part::All, &[2, 3]);
        check(|book| book.overtaken[0] = says_nothing, &["stalled_is_told_of_compaction"]);
        let needless = Ear { compacted: Some(6), ..ear(Part::All, &[2, 3, 4, 5]) };
        check(|book| book.overtaken[0] = needless, &["stalled_is_told_of_compaction"]);
    }

    #[test]
    fn memory_that_grows_with_what_is_unread_is_found() {
        let grows = |book: &mut Book| {
            book.memory.as_mut().expect("it is there").stalled = 400 << 20;
        };
        check(grows, &["memory_is_bounded"]);
    }
}
