//! Lists that only grow: no acknowledged append is lost, and all were made in one order.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::mix::{BETWEEN, LISTS};
use lab_protocol::{Call, CheckResult, Event, Numbered, TxnOp};

use crate::history::Operation;
use crate::views::{View, Views};
use crate::{Check, Finding};

/// Of all values of a list that anybody was shown or wrote, each is the beginning of the next
/// longer one; every acknowledged element is in every later read, once; none comes from nowhere; and
/// no list grows shorter as time goes on. A list that somebody began to delete is not judged from
/// then on.
///
/// A list is a key under [`LISTS`], written by transactions whose value adds one element.
#[derive(Clone, Debug)]
pub struct AppendOrder {
    at_least: u32,
    views: Views,
    /// What was found in clusters that were given up since.
    broken: Option<Broken>,
}

type Broken = (String, Vec<u64>);

struct Append<'a> {
    element: &'a str,
    value: &'a str,
    operation: &'a Operation,
}

impl Append<'_> {
    fn may_have_happened(&self) -> bool {
        let refused = self.operation.transacted().is_some_and(|answer| !answer.succeeded);
        self.operation.may_have_happened() && !refused
    }

    /// The event that acknowledged it, if it was appended.
    fn acknowledged(&self) -> Option<u64> {
        let appended = self.operation.transacted()?.succeeded;
        let (moment, _) = self.operation.returned.as_ref()?;
        appended.then_some(moment.seq)
    }
}

/// A value of a list that was there at some time between two events.
struct State<'a> {
    asked: u64,
    told: u64,
    value: &'a str,
    words: String,
    evidence: Vec<u64>,
}

#[derive(Default)]
struct Judged {
    lists: usize,
    reads: usize,
    looked_for: usize,
}

impl AppendOrder {
    /// Unknown below so many acknowledged appends that a later read had to have.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, views: Views::default(), broken: None }
    }

    fn judged(&self) -> Result<Judged, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let mut appends: BTreeMap<&str, Vec<Append<'_>>> = BTreeMap::new();
        for operation in self.views.history.iter() {
            let Call::Txn { then, .. } = &operation.call else { continue };
            for op in then {
                if let TxnOp::Put { key, value, .. } = op
                    && key.starts_with(LISTS)
                {
                    let (_, element) = value.rsplit_once(BETWEEN).unwrap_or(("", value));
                    let append = Append { element, value, operation };
                    appends.entry(key).or_default().push(append);
                }
            }
        }
        let deleted = self.views.deleted_under(LISTS);
        let views = self.views.under(LISTS);
        let mut judged = Judged::default();
        for (list, appends) in &appends {
            let ends = deleted.iter().filter(|(keys, _)| keys.contains(list)).map(|(_, seq)| *seq);
            let end = ends.min().unwrap_or(u64::MAX);
            let reads = views.iter().filter(|view| view.keys.contains(list) && view.told < end);
            let reads: Vec<_> = reads.map(|view| shown(list, view)).collect();
            judged.lists += 1;
            judged.reads += reads.len();
            judged.looked_for += of_list(list, appends, reads, end)?;
        }
        Ok(judged)
    }
}

fn shown<'a>(list: &str, view: &'a View<'_>) -> State<'a> {
    State {
        asked: view.asked,
        told: view.told,
        value: view.value(list).unwrap_or(""),
        words: view.who.words(),
        evidence: view.evidence(),
    }
}

/// Judges one list up to the event of its deletion; how many acknowledged elements some read had to
/// have.
fn of_list(
    list: &str,
    appends: &[Append<'_>],
    reads: Vec<State<'_>>,
    end: u64,
) -> Result<usize, Broken> {
    let by_element: BTreeMap<&str, &Append<'_>> =
        appends.iter().map(|append| (append.element, append)).collect();
    let mut looked_for = BTreeSet::new();
    for read in &reads {
        let elements: Vec<&str> = read.value.split_terminator(BETWEEN).collect();
        let there: BTreeSet<&str> = elements.iter().copied().collect();
        let broken = |why: String, other: Option<&Append<'_>>| {
            let mut evidence = other.map(|append| append.operation.evidence()).unwrap_or_default();
            evidence.extend(&read.evidence);
            Err((why, evidence))
        };
        let who = &read.words;
        if there.len() < elements.len() {
            return broken(format!("{who} found an element of {list} twice: {}", read.value), None);
        }
        for element in &there {
            let Some(append) = by_element.get(element) else {
                return broken(
                    format!("{who} found {element} in {list}, which nobody appended"),
                    None,
                );
            };
            let words = append.operation.words();
            if !append.may_have_happened() {
                let why = format!("{who} found {element} in {list}, but {words} did not append it");
                return broken(why, Some(append));
            }
            if append.operation.invoked.seq > read.told {
                let why = format!("{who} found {element} in {list} before {words} was asked");
                return broken(why, Some(append));
            }
        }
        for append in appends {
            if append.acknowledged().is_none_or(|seq| seq > read.asked) {
                continue;
            }
            looked_for.insert(append.element);
            if !there.contains(append.element) {
                let words = append.operation.words();
                let why = format!(
                    "{words} was acknowledged, but {who} did not find its {} in {list}",
                    append.element
                );
                return broken(why, Some(append));
            }
        }
    }
    let written = appends.iter().filter_map(|append| {
        let told = append.acknowledged().filter(|told| *told < end)?;
        Some(State {
            asked: append.operation.invoked.seq,
            told,
            value: append.value,
            words: append.operation.words(),
            evidence: append.operation.evidence(),
        })
    });
    one_order(list, reads.into_iter().chain(written).collect())?;
    Ok(looked_for.len())
}

/// Every value is the beginning of the next longer one, and time does not run against that.
fn one_order(list: &str, mut states: Vec<State<'_>>) -> Result<(), Broken> {
    let broken = |why: String, one: &State<'_>, two: &State<'_>| {
        Err((why, [&one.evidence[..], &two.evidence[..]].concat()))
    };
    states.sort_by_key(|state| state.value.len());
    for pair in states.windows(2) {
        let (short, long) = (&pair[0], &pair[1]);
        let begins = long.value.strip_prefix(short.value).is_some_and(|rest| {
            rest.is_empty() || short.value.is_empty() || rest.starts_with(BETWEEN)
        });
        if !begins {
            let why = format!(
                "{list} has two orders: `{}` by {}, `{}` by {}",
                short.value, short.words, long.value, long.words
            );
            return broken(why, short, long);
        }
    }
    // Whoever asked after another was told sees no less.
    let mut told: Vec<_> = states.iter().map(|state| (state.told, state.value.len())).collect();
    told.sort_unstable();
    let mut told = told.into_iter().peekable();
    states.sort_by_key(|state| state.asked);
    let mut longest = 0;
    for state in &states {
        while let Some((_, length)) = told.next_if(|(told, _)| *told < state.asked) {
            longest = longest.max(length);
        }
        if state.value.len() < longest {
            let earlier = states
                .iter()
                .find(|other| other.told < state.asked && other.value.len() == longest)
                .expect("somebody was told it");
            let why = format!(
                "{} found {list} shorter than {} had before it",
                state.words, earlier.words
            );
            return broken(why, earlier, state);
        }
    }
    Ok(())
}

impl Check for AppendOrder {
    fn observe(&mut self, numbered: &Numbered) {
        if let Event::RunStarted { .. } = numbered.event {
            self.broken = self.judged().err();
        }
        self.views.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let finding = match self.views.of_several_clusters() {
            Some(unknown) => unknown,
            None => match self.judged() {
                Err((why, evidence)) => Finding::invalid(why, evidence),
                Ok(judged) if judged.looked_for < self.at_least as usize => {
                    let cases = "acknowledged appends that a later read had to have";
                    Finding::too_few(judged.looked_for, self.at_least, cases)
                }
                Ok(Judged { lists, reads, looked_for }) => Finding::valid(format!(
                    "{looked_for} acknowledged appends to {lists} lists, in one order in {reads} reads"
                )),
            },
        };
        finding.of("append_order", "what was appended to a list stays there, in one order")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};
    use lab_protocol::{Command, KeyRange, Row, TxnResult};

    const LIST: &str = "w/a/0";

    fn append(script: Script, op: u64, value: &str) -> Script {
        let put = TxnOp::Put { key: LIST.into(), value: value.into(), lease: 0 };
        script.txn(op, 1, vec![], vec![put], vec![])
    }

    fn appended(script: Script, op: u64, value: &str) -> Script {
        let revision = i64::try_from(op).expect("small") + 1;
        append(script, op, value).transacted(op, revision, true, vec![TxnResult::Put])
    }

    fn read(script: Script, op: u64, value: &str) -> Script {
        let rows = match value {
            "" => vec![],
            value => vec![Row { key: LIST.into(), value: value.into(), ..Row::default() }],
        };
        let then = vec![TxnOp::Range { keys: KeyRange::one(LIST) }];
        let results = vec![TxnResult::Range(rows)];
        script.txn(op, 2, vec![], then, vec![]).transacted(op, 9, true, results)
    }

    fn two() -> Script {
        appended(appended(Script::new(3), 1, "x"), 2, "x,y")
    }

    fn judge(script: Script, judgement: lab_protocol::Judgement, has: &str) {
        check(&mut AppendOrder::new(1), script, judgement, has);
    }

    #[test]
    fn a_list_that_grows_is_valid() {
        judge(two(), Unknown, "0 acknowledged appends");
        judge(read(two(), 3, "x,y"), Valid, "2 acknowledged appends to 1 lists");
        let unknown = || append(two(), 4, "x,y,z").info(4);
        judge(read(unknown(), 3, "x,y"), Valid, "2 acknowledged");
        judge(read(unknown(), 3, "x,y,z"), Valid, "2 acknowledged");
    }

    #[test]
    fn a_lost_append_is_named() {
        judge(
            read(two(), 3, "x"),
            Invalid,
            "operation 2 (transaction through m1) was acknowledged",
        );
        judge(read(two(), 3, ""), Invalid, "did not find its x");
        judge(
            two().asked(Command::ReadBack).read_back(3, 3, &[(LIST, "x", 2)]),
            Invalid,
            "reading back m3",
        );
    }

    #[test]
    fn an_element_from_nowhere_or_twice_is_named() {
        judge(read(two(), 3, "x,y,q"), Invalid, "q in w/a/0, which nobody appended");
        judge(read(two(), 3, "x,y,y"), Invalid, "twice");
        let refused = append(two(), 4, "x,y,z").transacted(4, 3, false, vec![]);
        judge(read(refused, 3, "x,y,z"), Invalid, "operation 4 (transaction through m1) did not");
        judge(append(read(two(), 3, "x,y,z"), 4, "x,y,z"), Invalid, "before operation 4");
    }

    #[test]
    fn two_orders_are_named() {
        let open = |script| append(append(script, 4, "x,y,a"), 5, "x,y,b");
        let both = read(read(open(two()), 6, "x,y,a,b"), 7, "x,y,b,a");
        judge(both, Invalid, "w/a/0 has two orders");
        // Two were acknowledged behind the same list.
        let results = || vec![TxnResult::Put];
        let forked =
            open(two()).transacted(4, 4, true, results()).transacted(5, 5, true, results());
        judge(forked, Invalid, "two orders");
        let shorter = read(read(append(two(), 4, "x,y,z").info(4), 6, "x,y,z"), 7, "x,y");
        judge(shorter, Invalid, "shorter than operation 6");
        // No element ends where the other one's name only begins alike.
        judge(read(appended(two(), 4, "x,yy"), 6, "x,y"), Invalid, "");
    }

    #[test]
    fn a_deleted_list_owes_nothing() {
        let deleted = read(two(), 3, "x,y").invoke(4, 1, Call::Delete { key: LIST.into() });
        judge(read(deleted, 5, ""), Valid, "2 acknowledged");
    }
}
