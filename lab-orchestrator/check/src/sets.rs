//! Sets: every element that was acknowledged is in every later read, and none comes from nowhere.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::mix::{SETS, set_of};
use lab_protocol::{Call, CheckResult, Event, Numbered};

use crate::history::Operation;
use crate::views::{View, Views};
use crate::{Check, Finding};

/// Every acknowledged element of a set is in every read of it that began later, and no read has an
/// element that nobody may have added. A set that somebody began to delete is not judged from then
/// on.
///
/// Elements are puts of keys of their own under [`SETS`].
#[derive(Clone, Debug)]
pub struct SetComplete {
    at_least: u32,
    views: Views,
    /// What was found in clusters that were given up since.
    broken: Option<Broken>,
}

type Broken = (String, Vec<u64>);

#[derive(Default)]
struct Set<'a> {
    elements: BTreeMap<&'a str, &'a Operation>,
    /// The event that first asked to delete it.
    deleted: Option<u64>,
}

struct Judged {
    reads: usize,
    sets: usize,
    /// Acknowledged elements that some later read had to have.
    looked_for: usize,
}

impl SetComplete {
    /// Unknown below so many acknowledged elements that a later read had to have.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, views: Views::default(), broken: None }
    }

    fn judged(&self) -> Result<Judged, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let mut sets: BTreeMap<&str, Set<'_>> = BTreeMap::new();
        for operation in self.views.history.iter() {
            if let Call::Put { key, .. } = &operation.call
                && let Some(set) = set_of(key)
            {
                sets.entry(set).or_default().elements.insert(key, operation);
            }
        }
        for (keys, seq) in self.views.deleted_under(SETS) {
            for (name, set) in &mut sets {
                if keys.contains(name) || keys.key.starts_with(name) {
                    set.deleted = Some(set.deleted.map_or(seq, |earlier| earlier.min(seq)));
                }
            }
        }
        let mut judged = Judged { reads: 0, sets: sets.len(), looked_for: 0 };
        // Of each element, whether a read had to have it.
        let mut looked_for = BTreeSet::new();
        for view in self.views.under(SETS) {
            for (name, set) in &sets {
                let whole = view.keys.contains(name) && view.keys.contains(&format!("{name}~"));
                if !whole || set.deleted.is_some_and(|seq| seq < view.told) {
                    continue;
                }
                judged.reads += 1;
                look(name, set, &view, &mut looked_for)?;
            }
        }
        judged.looked_for = looked_for.len();
        Ok(judged)
    }
}

/// What a read of a whole set had, against what it had to have and may have had.
fn look<'a>(
    name: &str,
    set: &Set<'a>,
    view: &View<'_>,
    looked_for: &mut BTreeSet<&'a str>,
) -> Result<(), Broken> {
    let shown: BTreeMap<_, _> =
        view.rows.iter().filter(|(key, _)| key.starts_with(name)).copied().collect();
    for (key, add) in &set.elements {
        let before = add.acknowledged().is_some_and(|(moment, _)| moment.seq < view.asked);
        if !before {
            continue;
        }
        looked_for.insert(*key);
        if !shown.contains_key(key) {
            let mut evidence = add.evidence();
            evidence.extend(view.evidence());
            let why = format!("{} was acknowledged, but {} did not find it", add.words(), {
                view.who.words()
            });
            return Err((why, evidence));
        }
    }
    for (key, value) in shown {
        let who = view.who.words();
        let (why, mut evidence) = match set.elements.get(key) {
            None => (format!("{who} found {key}, which nobody added"), vec![]),
            Some(add) if !add.may_have_happened() => {
                (format!("{who} found {key}, but {} {}", add.words(), add.end()), add.evidence())
            }
            Some(add) if add.invoked.seq > view.told => {
                (format!("{who} found {key} before {} was asked", add.words()), add.evidence())
            }
            Some(add) => match &add.call {
                Call::Put { value: written, .. } if written != value => {
                    (format!("{who} found another value of {key}"), add.evidence())
                }
                _ => continue,
            },
        };
        evidence.extend(view.evidence());
        return Err((why, evidence));
    }
    Ok(())
}

impl Check for SetComplete {
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
                    let cases = "acknowledged elements that a later read had to have";
                    Finding::too_few(judged.looked_for, self.at_least, cases)
                }
                Ok(Judged { reads, sets, looked_for }) => Finding::valid(format!(
                    "{looked_for} acknowledged elements of {sets} sets were in each of {reads} reads \
                     that began later"
                )),
            },
        };
        finding.of("set_complete", "what was added to a set is in every later read of it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};
    use lab_protocol::mix::set;
    use lab_protocol::{Command, Row, TxnOp, TxnResult};

    fn read(script: Script, op: u64, revision: i64, rows: &[(&str, i64)]) -> Script {
        let rows = rows.iter().map(|(key, at)| Row {
            key: (*key).to_owned(),
            value: format!("v{at}"),
            create_revision: *at,
            mod_revision: *at,
            version: 1,
            lease: 0,
        });
        let result = TxnResult::Range(rows.collect());
        let then = vec![TxnOp::Range { keys: set("0") }];
        script.txn(op, 1, vec![], then, vec![]).transacted(op, revision, true, vec![result])
    }

    /// a at revision 2, b at revision 3.
    fn two() -> Script {
        let script = Script::new(3).put(1, 1, "w/s/0/a", "v2").ok(1, 2, None);
        script.put(2, 2, "w/s/0/b", "v3").ok(2, 3, None)
    }

    fn judge(script: Script, judgement: lab_protocol::Judgement, has: &str) {
        check(&mut SetComplete::new(1), script, judgement, has);
    }

    const A: (&str, i64) = ("w/s/0/a", 2);
    const B: (&str, i64) = ("w/s/0/b", 3);

    #[test]
    fn a_whole_set_is_valid_and_a_set_that_nobody_read_tells_nothing() {
        judge(two(), Unknown, "0 acknowledged elements");
        judge(read(two(), 3, 3, &[A, B]), Valid, "2 acknowledged elements");
        // Added while it was read, or of unknown outcome: there or not.
        let open = || two().put(4, 1, "w/s/0/c", "v4");
        judge(read(open(), 3, 3, &[A, B]), Valid, "2 acknowledged");
        judge(read(open(), 3, 4, &[A, B, ("w/s/0/c", 4)]), Valid, "2 acknowledged");
    }

    #[test]
    fn an_element_that_is_gone_is_named() {
        judge(read(two(), 3, 3, &[A]), Invalid, "operation 2 (put w/s/0/b through m2)");
        let back = two().asked(Command::ReadBack).read_back(2, 3, &[("w/s/0/a", "v2", 2)]);
        judge(back, Invalid, "reading back m2 did not find it");
    }

    #[test]
    fn an_element_from_nowhere_is_named() {
        let extra = read(two(), 3, 4, &[A, B, ("w/s/0/c", 4)]);
        judge(extra.clone(), Invalid, "found w/s/0/c, which nobody added");
        let failed = two().put(4, 1, "w/s/0/c", "v4").fail(4);
        judge(read(failed, 3, 4, &[A, B, ("w/s/0/c", 4)]), Invalid, "failed: refused");
        judge(extra.put(4, 1, "w/s/0/c", "v4").ok(4, 4, None), Invalid, "before operation 4");
        judge(read(two(), 3, 3, &[A, ("w/s/0/b", 9)]), Invalid, "another value of w/s/0/b");
    }

    #[test]
    fn a_set_that_was_deleted_owes_nothing() {
        let dropped = |script: Script| {
            let then = vec![TxnOp::Delete { keys: set("0") }];
            script.txn(5, 1, vec![], then, vec![])
        };
        judge(read(dropped(read(two(), 3, 3, &[A, B])), 4, 4, &[]), Valid, "2 acknowledged");
        judge(read(dropped(two()), 4, 4, &[]), Unknown, "0 acknowledged");
        // One that failed has deleted nothing.
        judge(read(dropped(two()).fail(5), 4, 4, &[]), Invalid, "did not find it");
        // Another set is not this one.
        let other = two().invoke(5, 1, Call::Delete { key: "w/s/01/a".into() }).info(5);
        judge(read(other, 4, 4, &[]), Invalid, "did not find it");
    }
}
