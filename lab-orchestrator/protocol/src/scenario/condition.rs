//! What a scenario waits for, one phrase a condition: `new leader`, `old_leader resigned`.
//!
//! Its grammar is in `words/conditions.txt`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Target;
use super::quantity::{self, Comparison};

/// A phrase to wait for:
///
#[doc = concat!("```text\n", include_str!("words/conditions.txt"), "```\n\n```text\n", include_str!("words/quantities.txt"), "```")]
#[expect(missing_docs, reason = "the module's grammar says it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub enum Condition {
    Leader,
    NewLeader,
    NoLeader,
    Lead(Target),
    Resigned(Target),
    Up(Target),
    Down(Target),
    Lost(Target),
    Voter(Target),
    Learner(Target),
    Removed(Target),
    InSync(Target),
    Voters(u32),
    AllAgree,
    Converged,
    Acked(u32),
    Answered,
    Backups(u32),
    DamagedBackup,
    TotalLoss,
    Quorum,
    Settled,
    Paused(Target),
    Campaigning(Target),
    Probed(Target),
    Replicating(Target),
    FedASnapshot(Target),
    Said(String),
    Compare(Comparison),
    Not(Box<Self>),
    Both(Box<Self>, Box<Self>),
}

/// The phrases, for error messages.
const ALLOWED: &str = "leader, new leader, no leader, TARGET lead, TARGET resigned, TARGET up, \
    TARGET down, TARGET lost, TARGET voter, TARGET learner, TARGET removed, TARGET in sync, \
    voters N, all agree, converged, acked N, answered, backups N, damaged backup, total loss, quorum, settled, \
    TARGET paused, TARGET campaigning, TARGET probed, TARGET replicating, TARGET fed a snapshot, \
    said \"WORDS\", comparisons such as `elections >= 3`, `not` before one, `and` between two";

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let wrong = || format!("`{text}` is not a condition; conditions are {ALLOWED}");
        if let Some(words) = text.strip_prefix("said ") {
            let words = words.strip_prefix('"').and_then(|words| words.strip_suffix('"'));
            let words = words.filter(|words| !words.is_empty());
            let words = words.ok_or("write the words in quotes: `said \"NOSPACE\"`")?;
            return Ok(Self::Said(words.to_owned()));
        }
        if let Some((one, other)) = text.split_once(" and ") {
            return Ok(Self::Both(Box::new(one.parse()?), Box::new(other.parse()?)));
        }
        if let Some(other) = text.strip_prefix("not ") {
            return Ok(Self::Not(Box::new(other.parse()?)));
        }
        if quantity::operator_at(&text.split_whitespace().collect::<Vec<_>>()).is_some() {
            return text.parse().map(Self::Compare);
        }
        match text {
            "quorum" => return Ok(Self::Quorum),
            "settled" => return Ok(Self::Settled),
            "leader" => return Ok(Self::Leader),
            "new leader" => return Ok(Self::NewLeader),
            "no leader" => return Ok(Self::NoLeader),
            "all agree" => return Ok(Self::AllAgree),
            "converged" => return Ok(Self::Converged),
            "answered" => return Ok(Self::Answered),
            "damaged backup" => return Ok(Self::DamagedBackup),
            "total loss" => return Ok(Self::TotalLoss),
            _ => {}
        }
        if let Some(count) = text.strip_prefix("acked ") {
            return count.trim().parse().map(Self::Acked).map_err(|_| wrong());
        }
        if let Some(count) = text.strip_prefix("backups ") {
            return count.trim().parse().map(Self::Backups).map_err(|_| wrong());
        }
        if let Some(count) = text.strip_prefix("voters ") {
            return count.trim().parse().map(Self::Voters).map_err(|_| wrong());
        }
        if let Some(target) = text.strip_suffix(" in sync") {
            return Ok(Self::InSync(target.parse()?));
        }
        if let Some(target) = text.strip_suffix(" fed a snapshot") {
            return Ok(Self::FedASnapshot(target.parse()?));
        }
        let (target, word) = text.rsplit_once(' ').ok_or_else(wrong)?;
        let of = |make: fn(Target) -> Self| Ok(make(target.parse()?));
        match word {
            "lead" => of(Self::Lead),
            "resigned" => of(Self::Resigned),
            "up" => of(Self::Up),
            "down" => of(Self::Down),
            "lost" => of(Self::Lost),
            "voter" => of(Self::Voter),
            "learner" => of(Self::Learner),
            "removed" => of(Self::Removed),
            "paused" => of(Self::Paused),
            "campaigning" => of(Self::Campaigning),
            "probed" => of(Self::Probed),
            "replicating" => of(Self::Replicating),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("leader"),
            Self::NewLeader => f.write_str("new leader"),
            Self::NoLeader => f.write_str("no leader"),
            Self::Lead(target) => write!(f, "{target} lead"),
            Self::Resigned(target) => write!(f, "{target} resigned"),
            Self::Up(target) => write!(f, "{target} up"),
            Self::Down(target) => write!(f, "{target} down"),
            Self::Lost(target) => write!(f, "{target} lost"),
            Self::Voter(target) => write!(f, "{target} voter"),
            Self::Learner(target) => write!(f, "{target} learner"),
            Self::Removed(target) => write!(f, "{target} removed"),
            Self::InSync(target) => write!(f, "{target} in sync"),
            Self::Voters(count) => write!(f, "voters {count}"),
            Self::AllAgree => f.write_str("all agree"),
            Self::Converged => f.write_str("converged"),
            Self::Acked(count) => write!(f, "acked {count}"),
            Self::Answered => f.write_str("answered"),
            Self::Backups(count) => write!(f, "backups {count}"),
            Self::DamagedBackup => f.write_str("damaged backup"),
            Self::TotalLoss => f.write_str("total loss"),
            Self::Quorum => f.write_str("quorum"),
            Self::Settled => f.write_str("settled"),
            Self::Paused(target) => write!(f, "{target} paused"),
            Self::Campaigning(target) => write!(f, "{target} campaigning"),
            Self::Probed(target) => write!(f, "{target} probed"),
            Self::Replicating(target) => write!(f, "{target} replicating"),
            Self::FedASnapshot(target) => write!(f, "{target} fed a snapshot"),
            Self::Said(words) => write!(f, "said \"{words}\""),
            Self::Compare(comparison) => comparison.fmt(f),
            Self::Not(condition) => write!(f, "not {condition}"),
            Self::Both(one, other) => write!(f, "{one} and {other}"),
        }
    }
}

impl TryFrom<String> for Condition {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_read_back_as_they_were_written() {
        for text in [
            "leader",
            "new leader",
            "no leader",
            "old_leader resigned",
            "majority lead",
            "m3 lost",
            "minority with leader down",
            "all up",
            "m4 voter",
            "newcomer learner",
            "old_leader removed",
            "m4 in sync",
            "voters 5",
            "all agree",
            "converged",
            "acked 50",
            "answered",
            "backups 10",
            "damaged backup",
            "total loss",
            "quorum",
            "settled",
            "m3 paused",
            "old campaigning",
            "m3 fed a snapshot",
            "said \"2 leaders and more\"",
            "not m3 lead",
            "quorum and leaders = 1 and not m2 up",
            "lag of m3 < 10",
        ] {
            let condition: Condition = text.parse().expect(text);
            assert_eq!(condition.to_string(), text);
            assert_eq!(condition.to_string().parse(), Ok(condition));
        }
        for text in ["", "leaders", "m3 gone", "acked some", "m12 up"] {
            let error = text.parse::<Condition>().expect_err(text);
            assert!(error.contains(" are "), "{error}");
        }
    }
}
