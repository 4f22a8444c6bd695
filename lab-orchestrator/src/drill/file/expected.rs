//! Whether what a scenario expects, shows and varies can be judged at all.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::scenario::{
    Condition, Expectation, Owed, Scenario, THE_END, Variant, When, nearest,
};

use super::names::Names;

type Complaint = Option<(String, String)>;

/// Statements of the guides that a scenario may say it shows.
const STATEMENTS: [(char, u32); 2] = [('R', 27), ('F', 39)];

/// No check proves more statements than so.
const MOST_FOR_ONE: usize = 3;

/// What is wrong with the expectations, once all steps have given their names.
pub(super) fn complaint(scenario: &Scenario, names: &Names) -> Complaint {
    let about = |words: &str, why: String| Some((words.to_owned(), why));
    let steps: Vec<_> = scenario.steps.iter().filter_map(|step| step.name.as_deref()).collect();
    let mut taken = BTreeSet::from([THE_END]);
    for name in &steps {
        if !taken.insert(name) {
            return about(name, "each step has a name of its own".into());
        }
    }
    let mut judged = BTreeSet::new();
    for (number, expectation) in (1..).zip(&scenario.expectations) {
        if let Some(complaint) = of_one(expectation, &steps, names) {
            return Some(complaint);
        }
        let name = expectation.name(number);
        if scenario.checks.names().contains(&name.as_str()) || !judged.insert(name.clone()) {
            return about(&name, "each check and expectation has a name of its own".into());
        }
    }
    for condition in &scenario.stop_if {
        if let Err(why) = names.condition(condition) {
            return about(&condition.to_string(), why);
        }
    }
    let violated = scenario.violated.iter();
    violated
        .chain(scenario.variants.iter().flat_map(|variant| variant.violated.iter().flatten()))
        .chain(scenario.on_etcd.keys())
        .find_map(|name| unknown(name, &judged_by(scenario, false)))
        .or_else(|| of_covers(scenario))
        .or_else(|| of_variants(scenario))
}

/// The names of all that judge a run: checks, expectations and, if they count, steps that wait and
/// the ways to play a drill.
fn judged_by(scenario: &Scenario, with_steps: bool) -> Vec<String> {
    let checks = scenario.checks.names().into_iter().map(str::to_owned);
    let expected = (1..).zip(&scenario.expectations).map(|(number, of)| of.name(number));
    let steps = (1..).zip(&scenario.steps).filter(|(_, step)| step.wait_until.is_some());
    let steps =
        steps.map(|(number, step)| step.name.clone().unwrap_or_else(|| format!("step {number}")));
    let drill = scenario.drill.iter().flat_map(|drill| {
        let ways = drill.other.iter().map(|other| &other.name);
        let ways = ways.chain(drill.wrong.iter().map(|wrong| &wrong.name)).cloned();
        ways.chain(["solution".to_owned()])
    });
    checks.chain(expected).chain(steps.chain(drill).filter(|_| with_steps)).collect()
}

fn unknown(name: &str, known: &[String]) -> Complaint {
    if known.iter().any(|known| known == name) {
        return None;
    }
    let all: Vec<_> = known.iter().map(String::as_str).collect();
    let near = nearest(name, &all).map(|near| format!("did you mean `{near}`? "));
    let near = near.unwrap_or_default();
    let why = format!(
        "nothing that judges this scenario is called `{name}`; {near}there are {}",
        all.join(", ")
    );
    Some((name.to_owned(), why))
}

fn of_one(of: &Expectation, steps: &[&str], names: &Names) -> Complaint {
    let about = |words: &str, why: &str| Some((words.to_owned(), why.to_owned()));
    let Some((when, condition)) = of.wish() else {
        return about(
            &of.say,
            "an expectation has exactly one of always, never, eventually, sometimes, stays, \
             at_start and at_end",
        );
    };
    if let Err(why) = names.condition(condition) {
        return about(&condition.to_string(), &why);
    }
    for name in [&of.during, &of.from, &of.until].into_iter().flatten() {
        if name != THE_END && !steps.contains(&name.as_str()) {
            let near = nearest(name, steps).map(|near| format!("did you mean `{near}`? "));
            let why = format!(
                "no step has the name `{name}`; {}named steps are [{}], and `{THE_END}` is behind \
                 the last",
                near.unwrap_or_default(),
                steps.join(", ")
            );
            return about(name, &why);
        }
    }
    if of.during.is_some() && (of.from.is_some() || of.until.is_some()) {
        return about(&of.say, "`during` is one step; `from` and `until` say a longer stretch");
    }
    if of.within.is_some() && when != When::Eventually && of.owed_when == Owed::Always {
        return about(
            &of.say,
            "`within` belongs to `eventually`, or to what is `owed_when = \"tolerable\"`",
        );
    }
    if of.lasts.is_some() && when != When::Stays {
        return about(&of.say, "`for` belongs to `stays`");
    }
    if !matches!(when, When::AtStart | When::AtEnd) && is_of_whole(condition) {
        let why = "shares and durations of operations are known at the end of a stretch; ask for \
                   them with `at_end`";
        return about(&condition.to_string(), why);
    }
    None
}

fn is_of_whole(condition: &Condition) -> bool {
    match condition {
        Condition::Compare(comparison) => comparison.quantity.is_of_whole(),
        Condition::Not(condition) => is_of_whole(condition),
        Condition::Both(one, other) => is_of_whole(one) || is_of_whole(other),
        _ => false,
    }
}

fn of_covers(scenario: &Scenario) -> Complaint {
    let judged = judged_by(scenario, true);
    let mut proves: BTreeMap<&str, usize> = BTreeMap::new();
    for (statement, check) in &scenario.covers {
        let number = |of: char| statement.strip_prefix(of)?.parse::<u32>().ok();
        let is_one =
            |(of, last): (char, u32)| number(of).is_some_and(|at| (1..=last).contains(&at));
        if !STATEMENTS.into_iter().any(is_one) {
            let why = format!(
                "`{statement}` is no statement of the guides; they are R1 to R27 and \
                               F1 to F39"
            );
            return Some((statement.clone(), why));
        }
        if let Some(complaint) = unknown(check, &judged) {
            return Some(complaint);
        }
        *proves.entry(check).or_default() += 1;
    }
    let (check, count) = proves.into_iter().find(|(_, count)| *count > MOST_FOR_ONE)?;
    let why = format!(
        "`{check}` is said to prove {count} statements; one check that proves more \
                       than {MOST_FOR_ONE} proves none of them well"
    );
    Some(("covers".to_owned(), why)).filter(|_| !check.is_empty())
}

fn of_variants(scenario: &Scenario) -> Complaint {
    let known: Vec<_> = scenario.variants.iter().map(|variant| variant.name.as_str()).collect();
    let mut taken = BTreeSet::new();
    for name in &known {
        if name.is_empty() || !taken.insert(name) {
            let why = "each variant has a name of its own".to_owned();
            return Some(((*name).to_owned(), why));
        }
    }
    let only = scenario.steps.iter().flat_map(|step| &step.only);
    let mut only = only.chain(scenario.expectations.iter().flat_map(|of| &of.only));
    let stranger = only.find(|name| !known.contains(&name.as_str()))?;
    let near = nearest(stranger, &known).map(|near| format!("did you mean `{near}`? "));
    let why = format!(
        "there is no variant `{stranger}`; {}variants are [{}]",
        near.unwrap_or_default(),
        known.join(", ")
    );
    Some((stranger.clone(), why))
}

/// The scenario as each of its variants, or as it stands.
pub(super) fn twins(scenario: &Scenario) -> Vec<Scenario> {
    match scenario.variants.as_slice() {
        [] => vec![scenario.clone()],
        variants => variants.iter().map(|variant: &Variant| scenario.with(variant)).collect(),
    }
}
