//! Scenario files: TOML to a checked [`Scenario`], or a line, a column and what is allowed.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use lab_protocol::MemberNo;
use lab_protocol::scenario::{
    Action, ClusterWish, Condition, Drill, FaultVerb, LinkWord, MemberVerb, Scenario, Shape, Span,
    Step, Target, Verb, nearest,
};

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
    let scenario = parse(path, &text)?;
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((name, scenario))
}

fn parse(path: &Path, text: &str) -> Result<Scenario, FileError> {
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
        None => Ok(scenario),
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
    if scenario.steps.is_empty() {
        return about("step", "a scenario has at least one [[step]]".into());
    }
    if scenario.checks.names().is_empty() {
        return about(
            "[checks]",
            format!(
                "a scenario that checks nothing proves nothing; checks are {}",
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
        for action in step.actions.iter().chain(step.one_of.iter().flatten()) {
            if let Err(why) = names.action(action) {
                return about(action.text(), why);
            }
        }
        if let Some(condition) = &step.wait_until
            && let Err(why) = names.condition(condition)
        {
            return about(&condition.to_string(), why);
        }
        let does = !step.actions.is_empty() || !step.one_of.is_empty();
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

/// The number of the member that a line starts: `raft-node --name m4 …`.
fn started(line: &str) -> Option<u8> {
    let words = line.strip_prefix("raft-node ")?;
    let name = words.split_once("--name")?.1.trim_start_matches(['=', ' ']);
    let name = name.split_whitespace().next()?;
    name.strip_prefix('m')?.parse().ok()
}

/// The names a scenario has given so far.
#[derive(Clone)]
struct Names {
    members: u8,
    targets: BTreeSet<String>,
    leases: BTreeSet<String>,
    zones: BTreeSet<String>,
    /// The members are of the training program.
    training: bool,
}

impl Names {
    fn new(cluster: &ClusterWish) -> Self {
        Self {
            members: cluster.members,
            targets: BTreeSet::new(),
            leases: BTreeSet::new(),
            zones: cluster.zones.keys().cloned().collect(),
            training: cluster.training || cluster.bug.is_some(),
        }
    }

    fn known(&self, target: &Target, in_partition: bool) -> Result<(), String> {
        match target {
            Target::Member(MemberNo(number)) if *number > self.members => {
                Err(format!("{target} is not a member; this cluster has m1 to m{}", self.members))
            }
            Target::Named(name) if !self.targets.contains(name) => Err(format!(
                "nothing is named `{name}` yet; an earlier action names members with `as {name}`"
            )),
            Target::Rest if !in_partition => {
                Err("`rest` is what a partition's other groups leave; name the members".into())
            }
            Target::Member(_)
            | Target::All
            | Target::Leader
            | Target::Followers
            | Target::AFollower
            | Target::Minority { .. }
            | Target::Majority { .. }
            | Target::Running
            | Target::Learners
            | Target::Freshest
            | Target::MostBehind
            | Target::Rest
            | Target::Named(_) => Ok(()),
            Target::Clients => Err("`clients` stands at an end of a link only".into()),
            Target::Zone(name) if self.zones.contains(name) => Ok(()),
            Target::Zone(name) => {
                let zones: Vec<_> = self.zones.iter().cloned().collect();
                Err(format!("there is no zone `{name}`; zones are [{}]", zones.join(", ")))
            }
            Target::Several(parts) => {
                parts.iter().try_for_each(|part| self.known(part, in_partition))
            }
            Target::Without(these, without) => {
                self.known(these, in_partition)?;
                self.known(without, in_partition)
            }
        }
    }

    fn named(&mut self, target: &Target, name: Option<&String>) -> Result<(), String> {
        self.known(target, false)?;
        self.targets.extend(name.cloned());
        Ok(())
    }

    fn action(&mut self, action: &Action) -> Result<(), String> {
        self.verb(action.verb())
    }

    fn link(&self, link: &LinkWord) -> Result<(), String> {
        let known = |end: &Target| match end {
            Target::Clients => Ok(()),
            end => self.known(end, false),
        };
        known(&link.from)?;
        known(&link.to)
    }

    fn fault(&mut self, fault: &FaultVerb) -> Result<(), String> {
        match fault {
            FaultVerb::Hold { link }
            | FaultVerb::Refuse { link }
            | FaultVerb::HalfOpen { link }
            | FaultVerb::Throttle { link, .. }
            | FaultVerb::Mangle { link, .. }
            | FaultVerb::Flap { link, .. }
            | FaultVerb::Reset { link }
            | FaultVerb::HeldMessages { link, .. } => self.link(link),
            FaultVerb::Shape(shape) => match shape {
                Shape::Halves | Shape::Ring | Shape::Chain => Ok(()),
                Shape::Bridge { over: target }
                | Shape::Star { around: target }
                | Shape::Mute { target }
                | Shape::Deafen { target } => self.known(target, false),
            },
            FaultVerb::LosePower { .. } | FaultVerb::CrashAt { .. } if !self.training => {
                Err("only the training program's disk loses its power, and only it ends at a \
                 failpoint; ask for it: [cluster] training = true"
                    .into())
            }
            FaultVerb::Starve { who, .. }
            | FaultVerb::KeepRestarting { who, .. }
            | FaultVerb::SlowDisk { who, .. }
            | FaultVerb::StickDisk { who }
            | FaultVerb::FailDisk { who }
            | FaultVerb::FillDisk { who }
            | FaultVerb::LockDisk { who }
            | FaultVerb::DriftClock { who, .. }
            | FaultVerb::FreezeClock { who }
            | FaultVerb::JumpClock { who, .. }
            | FaultVerb::LosePower { who }
            | FaultVerb::CrashAt { who, .. } => self.named(&who.0, who.1.as_ref()),
            FaultVerb::Tick { target, .. }
            | FaultVerb::Campaign { target }
            | FaultVerb::Lift { target }
            | FaultVerb::DamageFile { target, .. } => self.known(target, false),
            FaultVerb::Timers { .. } => Ok(()),
        }
    }

    fn verb(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::Crash { target, name }
            | Verb::Stop { target, name }
            | Verb::Pause { target, name }
            | Verb::Resume { target, name }
            | Verb::Restart { target, name }
            | Verb::Wipe { target, name }
            | Verb::Isolate { target, name } => self.named(target, name.as_ref()),
            Verb::Cut { link } | Verb::Heal { link } | Verb::Delay { link, .. } => self.link(link),
            Verb::For { verb, .. } => self.verb(verb),
            Verb::Fault(fault) => self.fault(fault),
            Verb::Partition { groups } => groups.iter().try_for_each(|(target, name)| {
                self.known(target, true)?;
                self.targets.extend(name.clone());
                Ok(())
            }),
            Verb::Token { target, .. } | Verb::Put { target, .. } | Verb::Read { target, .. } => {
                self.known(target, false)
            }
            Verb::LeaseGrant { target, name, .. } => {
                self.leases.insert(name.clone());
                self.known(target, false)
            }
            Verb::LeaseTimeToLive { name, target } => {
                if !self.leases.contains(name) {
                    return Err(format!("no lease is named `{name}` yet"));
                }
                self.known(target, false)
            }
            Verb::Members { change, in_vain } => match change {
                MemberVerb::Add { name, .. } => {
                    if !in_vain {
                        self.members += 1;
                    }
                    self.targets.extend(name.clone());
                    Ok(())
                }
                MemberVerb::Remove { target, name } => self.named(target, name.as_ref()),
                MemberVerb::Promote { target } | MemberVerb::TransferLeadership { to: target } => {
                    self.known(target, false)
                }
            },
            Verb::Type { line, .. } => {
                self.members = self.members.max(started(line).unwrap_or(0));
                Ok(())
            }
            Verb::UndoFaults
            | Verb::StartOver
            | Verb::ReadBack
            | Verb::Workload { .. }
            | Verb::Backups(_)
            | Verb::Damage { .. } => Ok(()),
        }
    }

    fn condition(&self, condition: &Condition) -> Result<(), String> {
        match condition {
            Condition::Lead(target)
            | Condition::Resigned(target)
            | Condition::Up(target)
            | Condition::Down(target)
            | Condition::Lost(target)
            | Condition::Voter(target)
            | Condition::Learner(target)
            | Condition::Removed(target)
            | Condition::InSync(target) => match target {
                Target::Member(_) | Target::Named(_) | Target::All => self.known(target, false),
                Target::Leader
                | Target::Followers
                | Target::AFollower
                | Target::Minority { .. }
                | Target::Majority { .. }
                | Target::Running
                | Target::Clients
                | Target::Learners
                | Target::Freshest
                | Target::MostBehind
                | Target::Zone(_)
                | Target::Several(_)
                | Target::Without(..)
                | Target::Rest => Err(format!(
                    "`{target}` may be somebody else at every look; wait for members by number, \
                     by a name given with `as`, or for `all`"
                )),
            },
            Condition::Leader
            | Condition::NewLeader
            | Condition::NoLeader
            | Condition::AllAgree
            | Condition::Converged
            | Condition::Voters(_)
            | Condition::Acked(_)
            | Condition::Backups(_)
            | Condition::DamagedBackup
            | Condition::TotalLoss
            | Condition::Answered => Ok(()),
        }
    }
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
        let scenario = parse(Path::new("a.toml"), FINE).expect("fine");
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
        ] {
            let text = FINE.replace(from, to);
            let error = parse(Path::new("a.toml"), &text).expect_err(to).to_string();
            assert!(error.starts_with(&format!("a.toml{place}")), "{to}: {error}");
            assert!(error.contains(needle), "{to}: {error}");
        }
    }

    #[test]
    fn every_scenario_of_the_repository_is_fine() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let list = |folder| std::fs::read_dir(folder).expect("the repository has scenarios");
        let mut files: Vec<_> = list(folder.clone())
            .chain(list(folder.join("drills")))
            .chain(list(folder.join("faults")))
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        files.sort();
        assert!(files.len() >= 5, "{files:?}");
        for file in files {
            if let Err(error) = read_scenario(&file) {
                panic!("{error}");
            }
        }
    }
}
