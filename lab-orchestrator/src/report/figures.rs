//! What is drawn of a run: a fold of its events into spans, buckets and marks.

use std::collections::BTreeMap;

use lab_protocol::node_protocol::{Role, Term, TraceEvent};
use lab_protocol::{
    By, Command, CommandId, Event, Fault, Link, LinkCondition, MemberNo, Numbered, OpId, Outcome,
    Process,
};
use serde_json::Value;

/// Changes of links closer than this are one fault, such as a partition.
const ONE_FAULT_MICROS: u64 = 400_000;

/// Spans of each kind that are kept; a page with more cannot be read.
const SPANS: usize = 2_000;

/// Commands that are told one by one.
const COMMANDS: usize = 400;

/// Narrow buckets are joined when there are more than so many: a report never holds more.
const BUCKETS: usize = 256;

/// A time in which something was so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Since when, microseconds of the run.
    pub from: u64,
    /// Until when; the end of the run while it lasts.
    pub until: Option<u64>,
    /// What was so.
    pub what: String,
}

/// One stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    /// Operations that ended in it.
    pub ok: u64,
    /// The same, failed.
    pub fail: u64,
    /// The same, unknown.
    pub info: u64,
    /// How long those that happened took, microseconds, in no order; at most some thousand.
    pub took: Vec<u64>,
    /// The highest term that a member told.
    pub term: u64,
    /// The highest commit index that a member told.
    pub commit: u64,
}

/// Latencies of one bucket that are kept.
const TOOK: usize = 4_096;

/// A fold of the events.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Every member that had a place.
    pub members: Vec<MemberNo>,
    /// Who led, by its own account.
    pub leaders: BTreeMap<MemberNo, Vec<Span>>,
    /// What was the matter with a member's process, disk or clocks.
    pub troubles: BTreeMap<MemberNo, Vec<Span>>,
    /// What was the matter with links.
    pub links: Vec<Span>,
    /// Steps of the scenario: when each began, its number and what it is about.
    pub steps: Vec<(u64, u32, String)>,
    /// What was asked of the lab: when, by whom, what, and why it was refused if it was.
    pub commands: Vec<(u64, By, String, Option<String>)>,
    /// Commands beyond those.
    pub more_commands: usize,
    /// Operations, terms and commit indexes over time.
    pub buckets: Vec<Bucket>,
    /// How long a bucket is.
    pub bucket_micros: u64,
    /// The last event's time.
    pub end: u64,
    open: BTreeMap<OpId, u64>,
    asked: BTreeMap<CommandId, usize>,
    cut: BTreeMap<Link, (usize, LinkCondition)>,
    /// Faults that act, and their spans.
    active: Vec<(Fault, usize)>,
    /// Of each span of links, how many are still in that condition, and how many were.
    linked: Vec<(usize, usize)>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            leaders: BTreeMap::new(),
            troubles: BTreeMap::new(),
            links: Vec::new(),
            steps: Vec::new(),
            commands: Vec::new(),
            more_commands: 0,
            buckets: Vec::new(),
            bucket_micros: 50_000,
            end: 0,
            open: BTreeMap::new(),
            asked: BTreeMap::new(),
            cut: BTreeMap::new(),
            active: Vec::new(),
            linked: Vec::new(),
        }
    }
}

impl Figures {
    /// The figures of a whole run.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Numbered>) -> Self {
        let mut figures = Self::default();
        events.into_iter().for_each(|event| figures.observe(event));
        figures
    }

    /// Takes the next event in.
    pub fn observe(&mut self, numbered: &Numbered) {
        let at = numbered.at_micros;
        self.end = self.end.max(at);
        match &numbered.event {
            Event::RunStarted { members, .. } => {
                members.iter().for_each(|plan| self.seat(plan.member));
            }
            Event::MemberAdded { plan, .. } | Event::Seated { plan } => self.seat(plan.member),
            Event::Process { member, process } => self.process(*member, process, at),
            Event::Status { member, status } => {
                self.office(*member, status.role, status.term, at);
                let bucket = self.bucket(at);
                bucket.term = bucket.term.max(status.term.0);
                bucket.commit = bucket.commit.max(status.commit.0);
            }
            Event::Trace { member, traced } => {
                if let TraceEvent::Became { role, term, .. } = traced.event {
                    self.office(*member, role, term, at);
                }
            }
            Event::FaultBegan { fault, .. } => {
                self.fault_ends(*fault, at);
                let span = Span { from: at, until: None, what: fault.to_string() };
                let place = match fault.member() {
                    Some(member) => self.trouble(member, span),
                    None => self.link_span(span),
                };
                self.active.extend(place.map(|place| (*fault, place)));
            }
            Event::FaultEnded { fault } => self.fault_ends(*fault, at),
            Event::LinkChanged { link, condition } => self.link(*link, *condition, at),
            Event::Invoked { op, .. } => _ = self.open.insert(*op, at),
            Event::Returned { op, outcome } => {
                let took = self.open.remove(op).map(|asked| at.saturating_sub(asked));
                let bucket = self.bucket(at);
                match outcome {
                    Outcome::Ok(_) | Outcome::Txn(_) => {
                        bucket.ok += 1;
                        bucket.took.extend(took.filter(|_| bucket.took.len() < TOOK));
                    }
                    Outcome::Fail { .. } => bucket.fail += 1,
                    Outcome::Info { .. } => bucket.info += 1,
                }
            }
            Event::Step { number, text } => self.steps.push((at, *number, text.clone())),
            Event::Asked { id, by, command } => self.command(*id, *by, command, at),
            Event::Refused { id, why } => {
                if let Some(place) = self.asked.remove(id) {
                    self.commands[place].3 = Some(why.clone());
                }
            }
            Event::Done { id } => _ = self.asked.remove(id),
            _ => {}
        }
    }

    fn seat(&mut self, member: MemberNo) {
        if !self.members.contains(&member) {
            self.members.push(member);
            self.members.sort();
        }
    }

    /// The bucket of a time; all are joined in pairs when there are too many.
    fn bucket(&mut self, at: u64) -> &mut Bucket {
        let place = |width: u64| usize::try_from(at / width).unwrap_or(usize::MAX);
        while place(self.bucket_micros) >= BUCKETS {
            self.bucket_micros *= 2;
            let joined = self.buckets.chunks(2).map(|pair| {
                let mut one = pair[0].clone();
                if let Some(two) = pair.get(1) {
                    one.ok += two.ok;
                    one.fail += two.fail;
                    one.info += two.info;
                    one.took.extend(&two.took);
                    thin(&mut one.took);
                    one.term = one.term.max(two.term);
                    one.commit = one.commit.max(two.commit);
                }
                one
            });
            self.buckets = joined.collect();
        }
        let place = place(self.bucket_micros);
        if self.buckets.len() <= place {
            self.buckets.resize_with(place + 1, Bucket::default);
        }
        &mut self.buckets[place]
    }

    fn office(&mut self, member: MemberNo, role: Role, term: Term, at: u64) {
        let spans = self.leaders.entry(member).or_default();
        let what = format!("term {}", term.0);
        let open = spans.last_mut().filter(|span| span.until.is_none());
        match (role == Role::Leader, open) {
            (true, Some(span)) if span.what == what => {}
            (leads, open) => {
                if let Some(span) = open {
                    span.until = Some(at);
                }
                if leads && spans.len() < SPANS {
                    spans.push(Span { from: at, until: None, what });
                }
            }
        }
    }

    fn process(&mut self, member: MemberNo, process: &Process, at: u64) {
        const WORDS: [&str; 2] = ["is down", "is paused"];
        let troubles = self.troubles.entry(member).or_default();
        for span in troubles.iter_mut().filter(|span| span.until.is_none()) {
            if WORDS.iter().any(|word| span.what.ends_with(word)) {
                span.until = Some(at);
            }
        }
        let word = match process {
            Process::Planned | Process::Up { .. } => None,
            Process::Down { .. } => Some(WORDS[0]),
            Process::Paused { .. } => Some(WORDS[1]),
        };
        if let Process::Down { .. } = process
            && let Some(span) = self.leaders.entry(member).or_default().last_mut()
        {
            span.until.get_or_insert(at);
        }
        if let Some(word) = word {
            self.trouble(member, Span { from: at, until: None, what: format!("{member} {word}") });
        }
    }

    fn trouble(&mut self, member: MemberNo, span: Span) -> Option<usize> {
        let troubles = self.troubles.entry(member).or_default();
        if troubles.len() >= SPANS {
            return None;
        }
        troubles.push(span);
        Some(troubles.len() - 1)
    }

    /// A fault ends, or another of its kind takes its place.
    fn fault_ends(&mut self, fault: Fault, at: u64) {
        let ended: Vec<_> = self.active.extract_if(.., |(one, _)| one.replaces(fault)).collect();
        for (fault, place) in ended {
            let spans = match fault.member() {
                Some(member) => self.troubles.entry(member).or_default(),
                None => &mut self.links,
            };
            spans[place].until.get_or_insert(at);
        }
    }

    fn link_span(&mut self, span: Span) -> Option<usize> {
        if self.links.len() >= SPANS {
            return None;
        }
        self.links.push(span);
        self.linked.push((0, 0));
        Some(self.links.len() - 1)
    }

    /// Links that come into one condition at about the same time are one span.
    fn link(&mut self, link: Link, condition: LinkCondition, at: u64) {
        if let Some((place, _)) = self.cut.remove(&link) {
            self.linked[place].0 -= 1;
            if self.linked[place].0 == 0 {
                self.links[place].until = Some(at);
            }
        }
        if condition == LinkCondition::Open {
            return;
        }
        let last = self.links.len().checked_sub(1).filter(|last| {
            let near = at.saturating_sub(self.links[*last].from) < ONE_FAULT_MICROS;
            let same = self.cut.values().any(|(place, now)| place == last && *now == condition);
            near && same
        });
        let place = match last {
            Some(place) => place,
            None => {
                let span = Span { from: at, until: None, what: String::new() };
                let Some(place) = self.link_span(span) else { return };
                place
            }
        };
        self.cut.insert(link, (place, condition));
        let (now, ever) = &mut self.linked[place];
        (*now, *ever) = (*now + 1, *ever + 1);
        let word = condition_word(condition);
        self.links[place].what = match *ever {
            1 => format!("{link} {word}"),
            more => format!("{more} links {word}"),
        };
    }

    fn command(&mut self, id: CommandId, by: By, command: &Command, at: u64) {
        if self.commands.len() >= COMMANDS {
            self.more_commands += 1;
            return;
        }
        self.asked.insert(id, self.commands.len());
        self.commands.push((at, by, words(command), None));
    }
}

/// Keeps every second one of too many.
fn thin(took: &mut Vec<u64>) {
    if took.len() > TOOK {
        let mut keep = false;
        took.retain(|_| {
            keep = !keep;
            keep
        });
    }
}

fn condition_word(condition: LinkCondition) -> String {
    match condition {
        LinkCondition::Open => "open".into(),
        LinkCondition::Cut => "cut".into(),
        LinkCondition::Delayed { millis, .. } => format!("slow by {millis} ms"),
        LinkCondition::Held => "held".into(),
        LinkCondition::Refused => "refused".into(),
        LinkCondition::Throttled { bytes_per_second } => {
            format!("throttled to {bytes_per_second} B/s")
        }
        LinkCondition::HalfOpen => "half open".into(),
        LinkCondition::Mangled { how, percent, only } => {
            format!("mangled: {how} {percent} % of {}", only.word())
        }
    }
}

/// A command in the words of its own names: `Crash member m1`.
fn words(command: &Command) -> String {
    let value = serde_json::to_value(command).expect("a command has an encoding");
    let mut text = String::new();
    told(&value, "", &mut text);
    const LONGEST: usize = 240;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn told(value: &Value, name: &str, text: &mut String) {
    let space = |text: &mut String| {
        if !text.is_empty() && !text.ends_with([' ', '>', '(']) {
            text.push(' ');
        }
    };
    match value {
        Value::Object(fields) => {
            if let (Some(from), Some(to), 2) = (fields.get("from"), fields.get("to"), fields.len())
            {
                space(text);
                told(from, "member", text);
                text.push('>');
                return told(to, "member", text);
            }
            for (name, value) in fields {
                space(text);
                text.push_str(&name.replace('_', " "));
                told(value, name, text);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| told(value, name, text)),
        Value::Number(number) if matches!(name, "member" | "to" | "members") => {
            space(text);
            match number.as_u64() {
                Some(0) => text.push_str("clients"),
                _ => text.push_str(&format!("m{number}")),
            }
        }
        Value::Null => {}
        Value::String(word) => {
            space(text);
            text.push_str(word);
        }
        other @ (Value::Bool(_) | Value::Number(_)) => {
            space(text);
            text.push_str(&other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Answer, Call, ClientNo, Ended};

    use super::*;

    const M1: MemberNo = MemberNo(1);

    fn figures(events: impl IntoIterator<Item = (u64, Event)>) -> Figures {
        let events: Vec<_> = (1..)
            .zip(events)
            .map(|(seq, (millis, event))| Numbered { seq, at_micros: millis * 1000, event })
            .collect();
        Figures::of(&events)
    }

    #[test]
    fn troubles_begin_and_end() {
        let down = Process::Down { ended: Ended::Signal { number: 9 }, asked: true, wiped: false };
        let fault = Fault::StuckSync { member: M1 };
        let found = figures([
            (1, Event::Process { member: M1, process: down }),
            (5, Event::FaultBegan { fault, until_micros: None }),
            (9, Event::Process { member: M1, process: Process::Up { pid: 1 } }),
            (12, Event::FaultEnded { fault }),
        ]);
        let spans: Vec<_> =
            found.troubles[&M1].iter().map(|span| (span.from / 1000, span.until)).collect();
        assert_eq!(spans, [(1, Some(9_000)), (5, Some(12_000))]);
        assert!(found.troubles[&M1][0].what.ends_with("is down"));
    }

    #[test]
    fn a_partition_is_one_span() {
        let link = |from, to| Link { from: MemberNo(from), to: MemberNo(to) };
        let changed = |link, condition| Event::LinkChanged { link, condition };
        let found = figures([
            (1, changed(link(1, 2), LinkCondition::Cut)),
            (2, changed(link(2, 1), LinkCondition::Cut)),
            (3, changed(link(3, 1), LinkCondition::Held)),
            (9, changed(link(1, 2), LinkCondition::Open)),
            (10, changed(link(2, 1), LinkCondition::Open)),
        ]);
        let words: Vec<_> = found.links.iter().map(|span| span.what.as_str()).collect();
        assert_eq!(words, ["2 links cut", "m3>m1 held"]);
        assert_eq!((found.links[0].until, found.links[1].until), (Some(10_000), None));
    }

    #[test]
    fn a_long_run_has_no_more_buckets_than_a_short_one() {
        let outcome = || Outcome::Ok(Answer { revision: 2, term: 1, value: None, number: 0 });
        let mut events = Vec::new();
        for number in 0..5_000 {
            let op = OpId(number);
            let call = Call::Get { key: "k".into(), serializable: false };
            let client = ClientNo(1);
            events.push((number * 100, Event::Invoked { op, client, member: M1, call }));
            events.push((number * 100 + 7, Event::Returned { op, outcome: outcome() }));
        }
        let found = figures(events);
        assert!(found.buckets.len() <= BUCKETS);
        assert_eq!(found.buckets.iter().map(|bucket| bucket.ok).sum::<u64>(), 5_000);
        assert!(found.buckets.iter().flat_map(|bucket| &bucket.took).all(|took| *took == 7_000));
    }

    #[test]
    fn commands_are_told_in_their_own_words() {
        assert_eq!(words(&Command::Crash { member: M1 }), "Crash member m1");
        let link = Link { from: MemberNo::CLIENTS, to: MemberNo(2) };
        assert_eq!(words(&Command::Cut { link }), "Cut link clients>m2");
        assert_eq!(words(&Command::UndoFaults), "UndoFaults");
        let slow = Fault::SlowSync { member: M1, millis: 30 };
        assert_eq!(
            words(&Command::For { millis: 5, command: Box::new(Command::Inject { fault: slow }) }),
            "For command Inject fault SlowSync member m1 millis 30 millis 5"
        );
    }
}
