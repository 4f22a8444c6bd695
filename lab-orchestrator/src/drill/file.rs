//! Scenario files: TOML to a checked [`Scenario`], or a line, a column and what is allowed.

mod expected;
mod lint;
mod names;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use lab_protocol::scenario::{Action, Drill, Scenario, Span, Step, Target, Verb, nearest};

use names::Names;

/// A scenario file cannot be performed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read at all.
    #[error("{}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a scenario.
    #[error("{place}: {message}")]
    Wrong {
        /// Where.
        place: Place,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

/// A place in a file, as editors take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which file.
    pub path: PathBuf,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// From 1, in characters; 0 for the file as a whole.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column } = self;
        if *line == 0 {
            return write!(f, "{}", path.display());
        }
        write!(f, "{}:{line}:{column}", path.display())
    }
}

/// Reads and checks a scenario; its name is the file's, without `.toml`.
pub fn read_scenario(path: &Path) -> Result<(String, Scenario), FileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
    let (scenario, _) = parse(path, &text)?;
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((name, scenario))
}

/// What is allowed in a scenario file and odd all the same: where, and why.
pub(super) fn odd_in_scenario(path: &Path) -> Result<Vec<(Place, String)>, FileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
    parse(path, &text).map(|(_, odd)| odd)
}

fn parse(path: &Path, text: &str) -> Result<(Scenario, Vec<(Place, String)>), FileError> {
    let wrong = |offset: Option<usize>, message: String| FileError::Wrong {
        place: place(path, text, offset),
        message,
    };
    let scenario: Scenario = toml::from_str(text).map_err(|error| {
        let message = meant(error.message().trim_end().replace('\n', "; "));
        let start = error.span().map(|span| span.start);
        wrong(start.map(|start| sentence(text, start, &message).unwrap_or(start)), message)
    })?;
    match complaint(&scenario) {
        None => {
            let odd = lint::lints(&scenario).into_iter().map(|lint| {
                let message = format!("{} [{}]", lint.why, lint.kind);
                (place(path, text, find(text, &lint.words)), message)
            });
            let odd = odd.collect();
            Ok((scenario, odd))
        }
        Some((words, message)) => Err(wrong(find(text, &words), message)),
    }
}

/// A message about a word that is not known, with the one that may have been meant.
fn meant(message: String) -> String {
    let Some((_, rest)) = message.split_once("unknown field `") else { return message };
    let Some((word, known)) = rest.split_once('`') else { return message };
    // `a`, `b` or `c`: every second part is a word.
    let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
    match nearest(word, &known) {
        Some(near) => format!("{message}; did you mean `{near}`?"),
        None => message,
    }
}

/// Where the sentence stands that a message is about (`` in `kill leader`: … ``): the span of an
/// error in a list is the list's.
fn sentence(text: &str, start: usize, message: &str) -> Option<usize> {
    let (words, _) = message.strip_prefix("in `")?.split_once("`: ")?;
    let behind = text.get(start..)?.find(&format!("\"{words}\""))?;
    Some(start + behind)
}

fn place(path: &Path, text: &str, offset: Option<usize>) -> Place {
    let path = path.to_owned();
    let Some(before) = offset.and_then(|offset| text.get(..offset)) else {
        return Place { path, line: 0, column: 0 };
    };
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    Place { path, line, column: before[line_start..].chars().count() + 1 }
}

/// Where these words stand, in quotes or as a key.
fn find(text: &str, words: &str) -> Option<usize> {
    let quoted = format!("\"{words}\"");
    text.find(&quoted)
        .or_else(|| text.lines().find(|line| line.starts_with(words)).and_then(|l| text.find(l)))
}

/// What the shape cannot say: words that do not fit together. The words it is about, and why.
fn complaint(scenario: &Scenario) -> Option<(String, String)> {
    if let Some(kind) = scenario.allow.iter().find(|kind| !lint::KINDS.contains(&kind.as_str())) {
        let why = format!("`{kind}` is no kind of lint; they are {}", lint::KINDS.join(", "));
        return Some((kind.clone(), why));
    }
    expected::twins(scenario).iter().find_map(of_twin).or_else(|| {
        // Names of all twins are known to all.
        let mut names = Names::new(&scenario.cluster);
        complaint_of_steps(&scenario.steps, &mut names);
        expected::complaint(scenario, &names)
    })
}

/// What is wrong with one twin.
fn of_twin(scenario: &Scenario) -> Option<(String, String)> {
    let cluster = &scenario.cluster;
    let about = |words: &str, why: String| Some((words.to_owned(), why));
    if !(1..=9).contains(&cluster.members) {
        return about("members", format!("a cluster has 1 to 9 members, not {}", cluster.members));
    }
    for (field, span) in
        [("election_timeout", cluster.election_timeout), ("heartbeat", cluster.heartbeat)]
    {
        if !matches!(span, Span::Millis(1..=50_000)) {
            return about(field, format!("`{field}` is a fixed time from 1ms to 50s"));
        }
    }
    if !matches!(cluster.round_trip, Span::Millis(0..=10_000)) {
        return about("round_trip", "`round_trip` is a fixed time of at most 10s".into());
    }
    if scenario.level.is_some_and(|level| !(1..=4).contains(&level)) {
        return about("level", "a level is 1, 2, 3 or 4".into());
    }
    if scenario.steps.is_empty() {
        return about("step", "a scenario has at least one [[step]]".into());
    }
    if scenario.checks.names().is_empty() && scenario.expectations.is_empty() {
        return about(
            "[checks]",
            format!(
                "a scenario that checks nothing proves nothing; write [[expect]], or [checks]: \
                 {}",
                lab_protocol::scenario::CHECK_NAMES.join(", ")
            ),
        );
    }
    let mut names = Names::new(cluster);
    for target in cluster.zones.values().flatten() {
        if !matches!(target, Target::Member(_)) {
            return about(&target.to_string(), "a zone has members by number, m1 to m9".into());
        }
        if let Err(why) = names.known(target, false) {
            return about(&target.to_string(), why);
        }
    }
    for held in &cluster.hold_back {
        if !matches!(held, Target::Member(_)) {
            return about(&held.to_string(), "only m1 to m9 can be held back".into());
        }
        if let Err(why) = names.known(held, false) {
            return about(&held.to_string(), why);
        }
    }
    if let Some(complaint) = complaint_of_steps(&scenario.steps, &mut names) {
        return Some(complaint);
    }
    let checks = scenario.checks.names();
    let of_drill = |drill| of_drill(drill, &checks, &names);
    if let Some(complaint) = scenario.drill.as_ref().and_then(of_drill) {
        return Some(complaint);
    }
    let learn = scenario.learn.as_ref();
    if let Some(complaint) = learn.and_then(|learn| learn.complaint(scenario.steps.len())) {
        return Some(complaint);
    }
    let voters = scenario.checks.voters.iter();
    if let Some(other) = (voters.flat_map(|voters| &voters.without))
        .find(|target| !matches!(target, Target::Member(_)))
    {
        return about(&other.to_string(), "voters are named m1 to m9".into());
    }
    if let Some(restarted) = scenario.checks.restarted
        && !(1..=scenario.steps.len()).contains(&(restarted.since_step as usize))
    {
        let why = format!("there is no step {}; steps are counted from 1", restarted.since_step);
        return about("restarted", why);
    }
    if let Some(measured) = scenario.checks.bootstrap_measured {
        for number in [measured.repair_step, measured.anew_step] {
            if number == 0 || number as usize > scenario.steps.len() {
                return about(
                    "bootstrap_measured",
                    format!("there is no step {number}; steps are counted from 1"),
                );
            }
        }
    }
    None
}

/// What is wrong with a drill: each of its ways goes on where the scenario's steps end.
fn of_drill(drill: &Drill, checks: &[&str], names: &Names) -> Option<(String, String)> {
    let wrong = drill.wrong.iter().map(|wrong| &wrong.steps);
    let other = drill.other.iter().map(|other| &other.steps);
    for steps in [&drill.solution, &drill.after].into_iter().chain(other).chain(wrong) {
        if let Some(complaint) = complaint_of_steps(steps, &mut names.clone()) {
            return Some(complaint);
        }
    }
    let mut taken = BTreeSet::from(["solution", "nothing"]);
    let other = drill.other.iter().map(|other| &other.name);
    for name in other.chain(drill.wrong.iter().map(|wrong| &wrong.name)) {
        if !taken.insert(name) {
            return Some((name.clone(), "each way to play has a name of its own".to_owned()));
        }
    }
    for wrong in &drill.wrong {
        if let Some(name) = wrong.breaks.iter().find(|name| !checks.contains(&name.as_str())) {
            let checks = checks.join(", ");
            let why = format!("the drill does not check `{name}`; it checks {checks}");
            return Some((name.clone(), why));
        }
        if wrong.breaks.is_empty() {
            let why = "a wrong solution breaks a check of the drill".to_owned();
            return Some((wrong.name.clone(), why));
        }
    }
    None
}

fn complaint_of_steps(steps: &[Step], names: &mut Names) -> Option<(String, String)> {
    let about = |words: &str, why: String| Some((words.to_owned(), why));
    for step in steps {
        let lists = step.one_of.iter().chain(&step.together).flatten();
        let mix = step.mix.iter().flat_map(|mix| &mix.of);
        if let Some(condition) = &step.when
            && let Err(why) = names.condition(condition)
        {
            return about(&condition.to_string(), why);
        }
        for action in step.actions.iter().chain(lists).chain(mix) {
            if let Err(why) = names.action(action) {
                return about(action.text(), why);
            }
        }
        for condition in step.wait_until.iter().chain(&step.until) {
            if let Err(why) = names.condition(condition) {
                return about(&condition.to_string(), why);
            }
        }
        if let Some(mix) = &step.mix {
            let waits =
                |action: &&Action| matches!(action.verb(), Verb::Wait(_) | Verb::WaitUntil { .. });
            if let Some(action) = mix.of.iter().find(waits) {
                return about(action.text(), "a mix waits by itself; say `every`".into());
            }
            if mix.of.is_empty() {
                return about("mix", "a mix draws from one sentence at least".into());
            }
        }
        if step.repeat == Some(0) || step.repeat.is_some_and(|times| times > 1_000) {
            return about("repeat", "a step is gone through 1 to 1000 times".into());
        }
        if step.until.is_some() && step.repeat.is_none() {
            return about(&step.say, "`until` ends a `repeat`; say how often at most".into());
        }
        let does = !step.actions.is_empty()
            || !step.one_of.is_empty()
            || !step.together.is_empty()
            || step.mix.is_some();
        if !does && step.wait_until.is_none() && step.hold.is_none() {
            return about(
                &step.say,
                "a step does something (`do`), waits (`wait_until`) or lets time pass (`hold`)"
                    .into(),
            );
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = r#"
title = "The leader fails"
about = "A crash and an election."

[cluster]
members = 3

[[step]]
say = "the leader crashes"
do = ["crash leader as old"]
wait_until = "new leader"
within = "3ET"

[checks]
election_safety = {}
acked_not_lost = { at_least = 20 }
"#;

    #[test]
    fn a_scenario_is_read() {
        let (scenario, odd) = parse(Path::new("a.toml"), FINE).expect("fine");
        let kind = |(_, why): &(Place, String)| why.rsplit('[').next().map(str::to_owned);
        let kinds: Vec<_> = odd.iter().filter_map(kind).collect();
        assert_eq!(kinds, ["unhealed]", "unused-name]", "cannot-hold]"]);
        assert_eq!(scenario.steps.len(), 1);
        assert_eq!(scenario.checks.names(), ["election_safety", "acked_not_lost"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        for (from, to, place, needle) in [
            ("members = 3", "membres = 3", ":6:1", "did you mean `members`?"),
            ("members = 3", "members = 3\nzones = { a = [\"m9\"] }", ":7:16", "m1 to m3"),
            ("\"crash leader as old\"", "\"crash zone b as old\"", ":10:7", "there is no zone"),
            ("\"crash leader as old\"", "\"lose power m1\"", ":10:7", "training = true"),
            ("\"crash leader as old\"", "\"hold m1>m8\"", ":10:7", "m1 to m3"),
            ("\"crash leader as old\"", "\"crush leader\"", ":10:7", "did you mean `crash`?"),
            ("members = 3", "members = 12", ":6:1", "1 to 9"),
            ("\"crash leader as old\"", "\"kill leader\"", ":10:7", "actions are crash"),
            ("\"crash leader as old\"", "\"crash m7\"", ":10:7", "m1 to m3"),
            ("\"crash leader as old\"", "\"restart young\"", ":10:7", "as young"),
            ("\"new leader\"", "\"young lead\"", ":11:14", "young"),
            ("\"new leader\"", "\"newer leader\"", ":11:14", "conditions are"),
            ("\"3ET\"", "\"soon\"", ":12:10", "2s"),
            ("election_safety", "elections_safe", ":15:1", "did you mean `election_safety`?"),
            ("{ at_least = 20 }", "{ atleast = 20 }", ":16:20", "at_least"),
            ("title = ", "title ", ":2:", "="),
            ("members = 3", "members = 3\nround_trip = \"2ET\"", ":7:1", "fixed time"),
            (
                "members = 3",
                "members = 3\n[[variant]]\nname = \"a\"\nmembres = 2",
                ":9:1",
                "`members`?",
            ),
            ("members = 3", "members = 3\n[[variant]]\nname = \"\"", ":8:8", "name of its own"),
            ("within = \"3ET\"", "only = [\"slw\"]", ":12:9", "no variant"),
            ("within = \"3ET\"", "repeat = 0", ":12:1", "1 to 1000"),
            (
                "within = \"3ET\"",
                "mix = { of = [], every = \"1s\", for = \"3s\" }",
                ":12:1",
                "one sentence",
            ),
            ("within = \"3ET\"", "until = \"leader\"", ":9:7", "how often"),
            ("within = \"3ET\"", "when = \"leader lead\"", ":12:8", "by number"),
            ("\"new leader\"", "\"elektions >= 2\"", ":11:14", "did you mean `elections`?"),
            ("\"new leader\"", "\"gap >= 2\"", ":11:14", "not a time"),
            ("[checks]", "[covers]\nF99 = \"election_safety\"\n[checks]", ":15:1", "F1 to F39"),
            (
                "[checks]",
                "[covers]\nF12 = \"election_safty\"\n[checks]",
                ":15:7",
                "`election_safety`?",
            ),
            ("title", "allow = [\"unheald\"]\ntitle", ":2:10", "cannot-fail"),
            ("title", "violated = [\"linearizable\"]\ntitle", ":2:13", "election_safety"),
            ("title", "level = 5\ntitle", ":2:1", "1, 2, 3 or 4"),
            ("title", "stop_if = [\"m4 down\"]\ntitle", ":2:12", "m1 to m3"),
        ] {
            let text = FINE.replace(from, to);
            let error = parse(Path::new("a.toml"), &text).expect_err(to).to_string();
            assert!(error.starts_with(&format!("a.toml{place}")), "{to}: {error}");
            assert!(error.contains(needle), "{to}: {error}");
        }
    }

    #[test]
    fn an_expectation_that_cannot_be_judged_is_named() {
        for (expectation, needle) in [
            ("always = \"leader\"\nnever = \"leader\"", "exactly one of"),
            ("within = \"2ET\"", "exactly one of"),
            ("always = \"leader\"\nwithin = \"2ET\"", "`within` belongs to `eventually`"),
            ("always = \"leader\"\nfor = \"2ET\"", "`for` belongs to `stays`"),
            ("always = \"availability > 3%\"", "`at_end`"),
            ("always = \"leader\"\nduring = \"crsh\"", "did you mean `crash`?"),
            ("always = \"leader\"\nduring = \"crash\"\nuntil = \"crash\"", "a longer stretch"),
            ("always = \"yung lead\"", "as yung"),
            ("name = \"election_safety\"\nalways = \"leader\"", "a name of its own"),
            ("always = \"leader\"\nowed_when = \"never\"", "`tolerable`"),
            ("alway = \"leader\"", "did you mean `always`?"),
        ] {
            let step = "say = \"the leader crashes\"\nname = \"crash\"";
            let text = FINE.replace("say = \"the leader crashes\"", step);
            let text = format!("{text}[[expect]]\nsay = \"x\"\n{expectation}\n");
            let error = parse(Path::new("a.toml"), &text).expect_err(expectation).to_string();
            assert!(error.contains(needle), "{expectation}: {error}");
            let line = error.strip_prefix("a.toml:").and_then(|rest| rest.split(':').next());
            let line: Option<usize> = line.and_then(|line| line.parse().ok());
            assert!(line.is_some_and(|line| line >= 19), "{expectation}: {error}");
        }
    }

    #[test]
    fn what_is_odd_is_named_and_may_be_allowed() {
        let calm = FINE.replace(" as old", "").replace(
            "[checks]",
            "[[step]]\nsay = \"back\"\ndo = [\"restart all\", \"put m1\"]\n[checks]",
        );
        let odd = |text: &str| -> Vec<String> {
            let (_, odd) = parse(Path::new("a.toml"), text).expect("fine");
            odd.into_iter().map(|(place, why)| format!("{place}: {why}")).collect()
        };
        assert_eq!(odd(&calm), Vec::<String>::new());
        for (from, to, needle) in [
            ("\"restart all\", ", "", "a.toml:10:7: it is never healed"),
            ("crash leader", "crash leader as old", "nothing means `old`"),
            ("\"3ET\"", "\"0.5ET\"", "less than an election timeout"),
            ("at_least = 20", "at_least = 0", "an idle run is valid"),
            ("\"new leader\"", "\"acked >= 0\"", "nothing is waited for"),
            (", \"put m1\"", "", "nobody writes"),
            ("election_safety = {}", "lease_extended = { at_least = 1 }", "granted a lease"),
        ] {
            let text = calm.replacen(from, to, 1);
            let found = odd(&text);
            assert!(found.iter().any(|odd| odd.contains(needle)), "{to}: {found:?}");
            let kinds = lint::KINDS.map(|kind| format!("\"{kind}\"")).join(", ");
            let allowed = format!("allow = [{kinds}]\n{text}");
            assert_eq!(odd(&allowed), Vec::<String>::new(), "{to}");
        }
    }

    #[test]
    fn every_scenario_of_the_repository_is_fine() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let list = |folder| std::fs::read_dir(folder).expect("the repository has scenarios");
        let mut files: Vec<_> = list(folder.clone())
            .chain(list(folder.join("drills")))
            .chain(list(folder.join("faults")))
            .chain(list(folder.join("catalogue")))
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        files.sort();
        assert!(files.len() >= 5, "{files:?}");
        for file in files {
            match odd_in_scenario(&file) {
                Ok(odd) => assert!(odd.is_empty(), "{}: {odd:?}", file.display()),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
