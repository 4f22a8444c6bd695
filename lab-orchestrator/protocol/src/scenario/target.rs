//! Whom a scenario means: `leader`, `a_follower`, `m2`, `minority with leader`, a name given
//! before.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::MemberNo;

/// Some members, chosen when the step runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// One member by its number.
    Member(MemberNo),
    /// Every member.
    All,
    /// The leader.
    Leader,
    /// Every member that is up and does not lead.
    Followers,
    /// One of the followers, drawn from the seed.
    AFollower,
    /// As many members as may be lost, (N−1)/2, drawn from the seed.
    Minority {
        /// Whether the leader is one of them.
        with_leader: bool,
    },
    /// As few members as are a quorum, N/2+1, drawn from the seed.
    Majority {
        /// Whether the leader is one of them.
        with_leader: bool,
    },
    /// Every member whose process runs, paused or not.
    Running,
    /// All members that the action has not named yet.
    Rest,
    /// The members that an earlier action named `as` this.
    Named(String),
    /// All of the lab's own clients, at an end of a link.
    Clients,
    /// Every member without a vote.
    Learners,
    /// The member that is up and has applied most.
    Freshest,
    /// The member that is up and has applied least.
    MostBehind,
    /// The members of a zone.
    Zone(String),
    /// All of these.
    Several(Vec<Self>),
    /// The first without the second.
    Without(Box<Self>, Box<Self>),
}

/// What a target may be, for error messages.
const ALLOWED: &str = "all, leader, followers, a_follower, minority, minority with leader, \
    majority, majority with leader, running, rest, learners, freshest, most_behind, zone NAME, \
    m1 to m9, a name that an earlier action gave with `as`, several (`m1, m2`), or some without \
    others (`followers - m2`); at a link also clients";

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((these, without)) = text.rsplit_once(" - ") {
            let (these, without) = (these.parse()?, without.parse()?);
            return Ok(Self::Without(Box::new(these), Box::new(without)));
        }
        if text.contains(',') {
            let parts: Result<_, _> = text.split(',').map(|part| part.trim().parse()).collect();
            return Ok(Self::Several(parts?));
        }
        let words: Vec<_> = text.split_whitespace().collect();
        match words.as_slice() {
            ["all"] => Ok(Self::All),
            ["leader"] => Ok(Self::Leader),
            ["followers"] => Ok(Self::Followers),
            ["a_follower"] => Ok(Self::AFollower),
            ["minority"] => Ok(Self::Minority { with_leader: false }),
            ["minority", "with", "leader"] => Ok(Self::Minority { with_leader: true }),
            ["majority"] => Ok(Self::Majority { with_leader: false }),
            ["majority", "with", "leader"] => Ok(Self::Majority { with_leader: true }),
            ["running"] => Ok(Self::Running),
            ["rest"] => Ok(Self::Rest),
            ["clients"] => Ok(Self::Clients),
            ["learners"] => Ok(Self::Learners),
            ["freshest"] => Ok(Self::Freshest),
            ["most_behind"] => Ok(Self::MostBehind),
            ["zone", name] if is_name(name) => Ok(Self::Zone((*name).to_owned())),
            [word] => match word.parse() {
                Ok(member) => Ok(Self::Member(member)),
                Err(_) if is_name(word) => Ok(Self::Named((*word).to_owned())),
                Err(_) => Err(format!("`{word}` is not a target; targets are {ALLOWED}")),
            },
            [] => Err(format!("a target is missing; targets are {ALLOWED}")),
            _ => Err(format!("`{text}` is not a target; targets are {ALLOWED}")),
        }
    }
}

/// Whether a word may be given with `as`: it starts with a letter, and is not `m` and digits.
pub(super) fn is_name(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !word.strip_prefix('m').is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member(member) => return member.fmt(f),
            Self::All => "all",
            Self::Leader => "leader",
            Self::Followers => "followers",
            Self::AFollower => "a_follower",
            Self::Minority { with_leader: false } => "minority",
            Self::Minority { with_leader: true } => "minority with leader",
            Self::Majority { with_leader: false } => "majority",
            Self::Majority { with_leader: true } => "majority with leader",
            Self::Running => "running",
            Self::Rest => "rest",
            Self::Named(name) => name,
            Self::Clients => "clients",
            Self::Learners => "learners",
            Self::Freshest => "freshest",
            Self::MostBehind => "most_behind",
            Self::Zone(name) => return write!(f, "zone {name}"),
            Self::Several(parts) => {
                let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
                return f.write_str(&parts.join(", "));
            }
            Self::Without(these, without) => return write!(f, "{these} - {without}"),
        })
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}
