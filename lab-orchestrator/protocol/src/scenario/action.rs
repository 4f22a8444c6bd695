//! What a scenario does, one sentence an action: `crash leader as old_leader`.
//!
//! Its grammar is in `words/actions.txt`.
//!
//! More sentences, of links, disks, clocks and timers, are in `fault`. Behind a sentence that brings
//! a fault may stand `for TIME`: then it is undone by itself.

mod fault;

pub use fault::{FaultVerb, Named, Shape};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::nearest::nearest;
use super::target::is_name;
use super::{Condition, Span, Target};

/// One action, with the words it was written in:
///
#[doc = concat!("```text\n", include_str!("words/actions.txt"), include_str!("words/faults.txt"), "```")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Action {
    text: String,
    verb: Verb,
}

impl Action {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it does.
    pub fn verb(&self) -> &Verb {
        &self.verb
    }
}

/// A link, or both links between two members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkWord {
    /// Who sends.
    pub from: Target,
    /// Who receives.
    pub to: Target,
    /// The other direction too.
    pub both: bool,
}

impl fmt::Display for LinkWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, both } = self;
        write!(f, "{from}{}{to}", if *both { "<>" } else { ">" })
    }
}

/// What is done.
#[expect(missing_docs, reason = "the module's grammar and the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Crash {
        target: Target,
        name: Option<String>,
    },
    Stop {
        target: Target,
        name: Option<String>,
    },
    Pause {
        target: Target,
        name: Option<String>,
    },
    Resume {
        target: Target,
        name: Option<String>,
    },
    Restart {
        target: Target,
        name: Option<String>,
    },
    Wipe {
        target: Target,
        name: Option<String>,
    },
    Isolate {
        target: Target,
        name: Option<String>,
    },
    Cut {
        link: LinkWord,
    },
    Heal {
        link: LinkWord,
    },
    Delay {
        link: LinkWord,
        by: Span,
        jitter: Span,
    },
    /// Groups that hear only themselves.
    Partition {
        groups: Vec<(Target, Option<String>)>,
    },
    UndoFaults,
    StartOver,
    ReadBack,
    /// A change of the members; `in_vain` when the cluster must refuse it.
    Members {
        change: MemberVerb,
        in_vain: bool,
    },
    /// `None`: the run's own token.
    Token {
        target: Target,
        token: Option<String>,
    },
    Workload {
        puts: u32,
        reads: u32,
    },
    Put {
        target: Target,
        times: u32,
        deadline: Span,
    },
    Read {
        target: Target,
        serializable: bool,
        times: u32,
        deadline: Span,
    },
    LeaseGrant {
        target: Target,
        ttl_seconds: u32,
        name: String,
    },
    LeaseTimeToLive {
        name: String,
        target: Target,
    },
    /// A line of the terminal; `in_vain` when it must fail.
    Type {
        line: String,
        in_vain: bool,
    },
    /// `None` ends them.
    Backups(Option<(Span, u32)>),
    Damage {
        file: String,
    },
    Wait(Span),
    /// `within` of ten ETs when it is left out.
    WaitUntil {
        condition: Condition,
        within: Option<Span>,
    },
    Name {
        target: Target,
        name: String,
    },
    /// A fault of a link, a disk, a clock or a timer.
    Fault(FaultVerb),
    /// Something that is undone by itself.
    For {
        verb: Box<Verb>,
        lasts: Span,
    },
}

/// A change of the members.
#[expect(missing_docs, reason = "the module's grammar and the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberVerb {
    Add { learner: bool, name: Option<String> },
    Promote { target: Target },
    Remove { target: Target, name: Option<String> },
    TransferLeadership { to: Target },
}

/// How long a single call of a scenario may take when it does not say: longer than a member
/// itself waits.
const CALL_DEADLINE: Span = Span::Millis(10_000);

/// The verbs, for error messages.
const ALLOWED: &str = "crash, stop, pause, resume, restart, wipe, isolate, cut, heal, delay, \
    partition, undo faults, start over, read back, add member, add learner, promote, remove, \
    transfer leadership to, token, workload, put, read, lease, time to live, wait, wait until, name, type, \
    backups, damage";

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let verb = verb(text.trim()).map_err(|why| format!("in `{text}`: {why}"))?;
        Ok(Self { text: text.trim().to_owned(), verb })
    }
}

fn verb(text: &str) -> Result<Verb, String> {
    if let Some((what, lasts)) = text.rsplit_once(" for ")
        && !["type ", "wait "].iter().any(|verb| text.starts_with(verb))
    {
        let lasts = lasts.trim().parse()?;
        let inner = verb(what.trim())?;
        if !is_undone(&inner) {
            return Err("only a fault can be undone after a time; leave `for` out".into());
        }
        return Ok(Verb::For { verb: Box::new(inner), lasts });
    }
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let process = |make: fn(Target, Option<String>) -> Verb| {
        let (target, name) = named(rest)?;
        Ok(make(target, name))
    };
    if let Some(fault) = fault::verb(first, rest) {
        return fault.map(Verb::Fault);
    }
    match first {
        "crash" => process(|target, name| Verb::Crash { target, name }),
        "stop" => process(|target, name| Verb::Stop { target, name }),
        "pause" => process(|target, name| Verb::Pause { target, name }),
        "resume" => process(|target, name| Verb::Resume { target, name }),
        "restart" => process(|target, name| Verb::Restart { target, name }),
        "wipe" => process(|target, name| Verb::Wipe { target, name }),
        "isolate" => process(|target, name| Verb::Isolate { target, name }),
        "cut" => Ok(Verb::Cut { link: link(rest)? }),
        "heal" => Ok(Verb::Heal { link: link(rest)? }),
        "delay" => delay(rest),
        "partition" => {
            let groups: Vec<_> = rest.split('|').map(|group| named(group.trim())).collect();
            let groups: Vec<_> = groups.into_iter().collect::<Result<_, _>>()?;
            if groups.len() < 2 {
                return Err("a partition has at least two groups, separated by `|`".into());
            }
            Ok(Verb::Partition { groups })
        }
        "undo" if rest == "faults" => Ok(Verb::UndoFaults),
        "start" if rest == "over" => Ok(Verb::StartOver),
        "read" if rest == "back" => Ok(Verb::ReadBack),
        "add" | "promote" | "remove" | "transfer" => members(first, rest),
        "token" => match rest.rsplit_once(' ') {
            Some((target, "run")) => Ok(Verb::Token { target: target.parse()?, token: None }),
            Some((target, token)) if is_name(token) => {
                Ok(Verb::Token { target: target.parse()?, token: Some(token.to_owned()) })
            }
            _ => Err("write `token TARGET WORD`, or `token TARGET run` for the run's own".into()),
        },
        "workload" => match rest.split_whitespace().collect::<Vec<_>>().as_slice() {
            [puts, "puts", reads, "reads"] => {
                Ok(Verb::Workload { puts: count(puts, 2000)?, reads: count(reads, 2000)? })
            }
            _ => Err("write `workload 50 puts 50 reads`".into()),
        },
        "put" => {
            let options = Options::parse(rest, &["times", "deadline"])?;
            Ok(Verb::Put {
                target: options.target,
                times: options.times,
                deadline: options.deadline,
            })
        }
        "read" => {
            let options = Options::parse(rest, &["serializable", "times", "deadline"])?;
            Ok(Verb::Read {
                target: options.target,
                serializable: options.serializable,
                times: options.times,
                deadline: options.deadline,
            })
        }
        "lease" => lease(rest),
        "type" => {
            let (line, in_vain) = match rest.strip_prefix("in vain ") {
                Some(line) => (line, true),
                None => (rest, false),
            };
            match line.trim() {
                "" => Err("write `type` and a line, such as `type ls`".into()),
                line => Ok(Verb::Type { line: line.to_owned(), in_vain }),
            }
        }
        "backups" => backups(rest),
        "wait" => wait(rest),
        "name" => match named(rest)? {
            (target, Some(name)) => Ok(Verb::Name { target, name }),
            (_, None) => Err("write `name TARGET as NAME`".into()),
        },
        "damage" if !rest.is_empty() => Ok(Verb::Damage { file: rest.to_owned() }),
        "time" => match rest.strip_prefix("to live ").and_then(|rest| rest.split_once(" at ")) {
            Some((name, target)) if is_name(name) => {
                Ok(Verb::LeaseTimeToLive { name: name.to_owned(), target: target.parse()? })
            }
            _ => Err("write `time to live NAME at TARGET`".into()),
        },
        _ => Err(unknown(first)),
    }
}

impl Verb {
    /// Whether it does nothing to the cluster: clients ask, time passes, what was done is undone.
    pub fn is_harmless(&self) -> bool {
        match self {
            Self::Heal { .. }
            | Self::UndoFaults
            | Self::ReadBack
            | Self::Workload { .. }
            | Self::Put { .. }
            | Self::Read { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseTimeToLive { .. }
            | Self::Wait(_)
            | Self::WaitUntil { .. }
            | Self::Name { .. } => true,
            Self::Crash { .. }
            | Self::Stop { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Restart { .. }
            | Self::Wipe { .. }
            | Self::Isolate { .. }
            | Self::Cut { .. }
            | Self::Delay { .. }
            | Self::Partition { .. }
            | Self::StartOver
            | Self::Members { .. }
            | Self::Token { .. }
            | Self::Type { .. }
            | Self::Backups(_)
            | Self::Damage { .. }
            | Self::Fault(_)
            | Self::For { .. } => false,
        }
    }
}

/// Whether what a sentence brings can be taken off again.
fn is_undone(verb: &Verb) -> bool {
    match verb {
        Verb::Crash { .. }
        | Verb::Stop { .. }
        | Verb::Pause { .. }
        | Verb::Isolate { .. }
        | Verb::Cut { .. }
        | Verb::Delay { .. }
        | Verb::Partition { .. } => true,
        Verb::Fault(fault) => !matches!(
            fault,
            FaultVerb::Reset { .. }
                | FaultVerb::HeldMessages { .. }
                | FaultVerb::JumpClock { .. }
                | FaultVerb::Tick { .. }
                | FaultVerb::Timers { .. }
                | FaultVerb::Campaign { .. }
                | FaultVerb::Lift { .. }
                | FaultVerb::DamageFile { .. }
                | FaultVerb::LosePower { .. }
                | FaultVerb::CrashAt { .. }
        ),
        _ => false,
    }
}

fn unknown(first: &str) -> String {
    let all: Vec<_> = ALLOWED.split(", ").chain(fault::ALLOWED.split(", ")).collect();
    let near = nearest(first, &all);
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    format!("`{first}` is not an action; {near}actions are {ALLOWED}, {}", fault::ALLOWED)
}

/// `TARGET [as NAME]`.
fn named(text: &str) -> Result<(Target, Option<String>), String> {
    match text.split_once(" as ") {
        Some((target, name)) if is_name(name.trim()) => {
            Ok((target.parse()?, Some(name.trim().to_owned())))
        }
        Some((_, name)) => Err(format!(
            "`{}` cannot be a name; names are lower-case words such as `old_leader`",
            name.trim()
        )),
        None => Ok((text.parse()?, None)),
    }
}

/// A change of the members, behind its first word.
fn members(first: &str, rest: &str) -> Result<Verb, String> {
    let (rest, in_vain) = match rest.strip_suffix(" in vain") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let change = match first {
        "add" => {
            let (what, name) = match rest.split_once(" as ") {
                Some((what, name)) if is_name(name.trim()) => (what, Some(name.trim().to_owned())),
                Some(_) | None => (rest, None),
            };
            let learner = match what.trim() {
                "member" => false,
                "learner" => true,
                _ => return Err("write `add member` or `add learner`, and `as NAME`".into()),
            };
            MemberVerb::Add { learner, name }
        }
        "promote" => MemberVerb::Promote { target: rest.parse()? },
        "remove" => {
            let (target, name) = named(rest)?;
            MemberVerb::Remove { target, name }
        }
        _ => match rest.strip_prefix("leadership to ") {
            Some(target) => MemberVerb::TransferLeadership { to: target.parse()? },
            None => return Err("write `transfer leadership to TARGET`".into()),
        },
    };
    Ok(Verb::Members { change, in_vain })
}

pub(super) fn link(text: &str) -> Result<LinkWord, String> {
    let (from, to, both) = match (text.split_once("<>"), text.split_once('>')) {
        (Some((from, to)), _) => (from, to, true),
        (None, Some((from, to))) => (from, to, false),
        (None, None) => {
            return Err(format!("`{text}` is not a link; write `m1>m2` or, both ways, `m1<>m2`"));
        }
    };
    Ok(LinkWord { from: from.parse()?, to: to.parse()?, both })
}

fn delay(text: &str) -> Result<Verb, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let (words, jitter) = match words.as_slice() {
        [start @ .., "jitter", jitter] => (start, jitter.parse()?),
        all => (all, Span::Millis(0)),
    };
    let Some((by, start)) = words.split_last() else {
        return Err("write `delay LINK TIME`, such as `delay m1>m2 50ms`".into());
    };
    Ok(Verb::Delay { link: link(&start.join(" "))?, by: by.parse()?, jitter })
}

fn wait(text: &str) -> Result<Verb, String> {
    let Some(condition) = text.strip_prefix("until ") else {
        return text.parse().map(Verb::Wait);
    };
    let (condition, within) = match condition.rsplit_once(" within ") {
        Some((condition, within)) => (condition, Some(within.trim().parse()?)),
        None => (condition, None),
    };
    Ok(Verb::WaitUntil { condition: condition.parse()?, within })
}

fn backups(text: &str) -> Result<Verb, String> {
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["off"] => Ok(Verb::Backups(None)),
        ["every", every, "keep", keep] => {
            Ok(Verb::Backups(Some((every.parse()?, count(keep, 1000)?))))
        }
        _ => Err("write `backups every 1s keep 10`, or `backups off`".into()),
    }
}

fn lease(text: &str) -> Result<Verb, String> {
    let usage = || "write `lease TARGET ttl TIME as NAME`, such as `lease m1 ttl 10s as mine`";
    let (text, name) = text.split_once(" as ").ok_or_else(usage)?;
    let (target, ttl) = text.split_once(" ttl ").ok_or_else(usage)?;
    let ttl_seconds = match ttl.trim().parse()? {
        Span::Millis(millis) if millis >= 1000 && millis.is_multiple_of(1000) => {
            u32::try_from(millis / 1000).map_err(|_| usage())?
        }
        _ => return Err("a lease lives whole seconds, at least one".into()),
    };
    if !is_name(name.trim()) {
        return Err(usage().into());
    }
    Ok(Verb::LeaseGrant { target: target.parse()?, ttl_seconds, name: name.trim().to_owned() })
}

/// What may follow a target.
struct Options {
    target: Target,
    serializable: bool,
    times: u32,
    deadline: Span,
}

impl Options {
    fn parse(text: &str, allowed: &[&str]) -> Result<Self, String> {
        let words: Vec<_> = text.split_whitespace().collect();
        let start = words.iter().position(|word| allowed.contains(word)).unwrap_or(words.len());
        let mut options = Self {
            target: words[..start].join(" ").parse()?,
            serializable: false,
            times: 1,
            deadline: CALL_DEADLINE,
        };
        let mut rest = &words[start..];
        loop {
            rest = match rest {
                [] => return Ok(options),
                ["serializable", rest @ ..] if allowed.contains(&"serializable") => {
                    options.serializable = true;
                    rest
                }
                ["times", times, rest @ ..] => {
                    options.times = count(times, 1000)?;
                    rest
                }
                ["deadline", deadline, rest @ ..] => {
                    options.deadline = deadline.parse()?;
                    rest
                }
                [word, ..] => {
                    return Err(format!("`{word}` cannot stand here; allowed: {allowed:?}"));
                }
            };
        }
    }
}

fn count(text: &str, most: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if count <= most => Ok(count),
        _ => Err(format!("`{text}` is not a number from 0 to {most}")),
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Action {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Action> for String {
    fn from(action: Action) -> Self {
        action.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemberNo;
    use crate::scenario::TimeUnit;

    #[test]
    fn sentences_become_actions() {
        let m = |number| Target::Member(MemberNo(number));
        for (text, expected) in [
            (
                "crash leader as old_leader",
                Verb::Crash { target: Target::Leader, name: Some("old_leader".into()) },
            ),
            ("restart m2", Verb::Restart { target: m(2), name: None }),
            ("cut m1>m3", Verb::Cut { link: LinkWord { from: m(1), to: m(3), both: false } }),
            (
                "heal leader<>m3",
                Verb::Heal { link: LinkWord { from: Target::Leader, to: m(3), both: true } },
            ),
            (
                "delay m1>m2 50ms jitter 5ms",
                Verb::Delay {
                    link: LinkWord { from: m(1), to: m(2), both: false },
                    by: Span::Millis(50),
                    jitter: Span::Millis(5),
                },
            ),
            (
                "partition minority with leader as small | rest as large",
                Verb::Partition {
                    groups: vec![
                        (Target::Minority { with_leader: true }, Some("small".into())),
                        (Target::Rest, Some("large".into())),
                    ],
                },
            ),
            ("undo faults", Verb::UndoFaults),
            (
                "pause leader as slow for 2ET",
                Verb::For {
                    verb: Box::new(Verb::Pause {
                        target: Target::Leader,
                        name: Some("slow".into()),
                    }),
                    lasts: Span::Tenths(20, TimeUnit::ElectionTimeout),
                },
            ),
            ("backups every 1s keep 10", Verb::Backups(Some((Span::Millis(1_000), 10)))),
            ("backups off", Verb::Backups(None)),
            ("damage $BACKUP", Verb::Damage { file: "$BACKUP".into() }),
            ("read back", Verb::ReadBack),
            (
                "add learner as newcomer",
                Verb::Members {
                    change: MemberVerb::Add { learner: true, name: Some("newcomer".into()) },
                    in_vain: false,
                },
            ),
            (
                "promote newcomer in vain",
                Verb::Members {
                    change: MemberVerb::Promote { target: Target::Named("newcomer".into()) },
                    in_vain: true,
                },
            ),
            (
                "remove leader as old_leader",
                Verb::Members {
                    change: MemberVerb::Remove {
                        target: Target::Leader,
                        name: Some("old_leader".into()),
                    },
                    in_vain: false,
                },
            ),
            (
                "transfer leadership to m2",
                Verb::Members {
                    change: MemberVerb::TransferLeadership { to: m(2) },
                    in_vain: false,
                },
            ),
            ("wait 2ticks", Verb::Wait(Span::Tenths(20, TimeUnit::Tick))),
            (
                "wait until m3 down within 2s",
                Verb::WaitUntil {
                    condition: Condition::Down(m(3)),
                    within: Some(Span::Millis(2_000)),
                },
            ),
            ("name freshest as best", Verb::Name { target: Target::Freshest, name: "best".into() }),
            ("token m3 run", Verb::Token { target: m(3), token: None }),
            ("workload 0 puts 5 reads", Verb::Workload { puts: 0, reads: 5 }),
            (
                "put a_follower times 3 deadline 300ms",
                Verb::Put { target: Target::AFollower, times: 3, deadline: Span::Millis(300) },
            ),
            (
                "read survivors serializable",
                Verb::Read {
                    target: Target::Named("survivors".into()),
                    serializable: true,
                    times: 1,
                    deadline: CALL_DEADLINE,
                },
            ),
            (
                "lease leader ttl 10s as mine",
                Verb::LeaseGrant { target: Target::Leader, ttl_seconds: 10, name: "mine".into() },
            ),
            (
                "time to live mine at m2",
                Verb::LeaseTimeToLive { name: "mine".into(), target: m(2) },
            ),
        ] {
            assert_eq!(text.parse::<Action>().map(|action| action.verb), Ok(expected), "{text}");
        }
    }

    #[test]
    fn wrong_sentences_say_what_is_allowed() {
        for (text, needle) in [
            ("kill leader", "actions are crash"),
            ("craash leader", "did you mean `crash`"),
            ("wipe m1 for 3s", "only a fault"),
            ("crash Leader", "targets are all, leader"),
            ("crash leader as m2", "names are"),
            ("cut m1 m2", "m1>m2"),
            ("partition m1", "two groups"),
            ("put m1 times lots", "number"),
            ("put m1 serializable", "serializable"),
            ("lease m1 ttl 500ms as x", "whole seconds"),
            ("delay m1>m2 soon", "not a time"),
            ("crash", "missing"),
            ("backups often", "backups off"),
            ("add voter", "add learner"),
            ("add member as m4", "add learner"),
            ("transfer m2", "leadership to"),
        ] {
            let error = text.parse::<Action>().expect_err(text);
            assert!(error.contains(needle), "{text}: {error}");
        }
    }
}
