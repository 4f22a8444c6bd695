//! What a scenario waits for, one phrase a condition: `new leader`, `old_leader resigned`.
//!
//! ```text
//!  leader              somebody leads and every member that is up, and can be, follows it
//!  new leader          the same, in a later term than when the step began
//!  no leader           nobody that is up says that it leads, and everybody knows it
//!  TARGET lead         one of these members leads
//!  TARGET resigned     none of these members says that it leads
//!  TARGET up|down|lost the processes run; do not run; run and know no leader
//!  TARGET voter|learner|removed     they are that in the configuration that was told last
//!  TARGET in sync      they hold nine tenths of the leader's log, as it knows: etcd's bar for a vote
//!  voters N            so many members have a vote
//!  all agree           every process is up and follows the same leader, no link is cut
//!  converged           all agree, and every log is equally long and wholly applied
//!  acked N             N more puts were acknowledged since the step began
//!  backups N           N more backups were restored for a test since the step began
//!  damaged backup      one was found damaged since the step began
//!  total loss          no member has a disk that remembers anything
//!  answered            every single call of the drill has returned
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Target;

/// A phrase to wait for.
#[expect(missing_docs, reason = "the module's grammar says it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// The phrases, for error messages.
const ALLOWED: &str = "leader, new leader, no leader, TARGET lead, TARGET resigned, TARGET up, \
    TARGET down, TARGET lost, TARGET voter, TARGET learner, TARGET removed, TARGET in sync, \
    voters N, all agree, converged, acked N, answered, backups N, damaged backup, total loss";

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let wrong = || format!("`{text}` is not a condition; conditions are {ALLOWED}");
        match text {
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
        ] {
            let condition: Condition = text.parse().expect(text);
            assert_eq!(condition.to_string(), text);
        }
        for text in ["", "leaders", "m3 gone", "acked some", "m12 up"] {
            let error = text.parse::<Condition>().expect_err(text);
            assert!(error.contains(" are "), "{error}");
        }
    }
}
