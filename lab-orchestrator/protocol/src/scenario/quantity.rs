//! What can be counted or measured of a run, and compared: `elections >= 3`, `gap < 2ET`.
//!
//! Its grammar is in `words/quantities.txt`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::action::link;
use super::nearest::nearest;
use super::{LinkWord, Scale, Span, Target};
use crate::Account;

/// What is counted or measured.
#[expect(missing_docs, reason = "the module's table says it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantity {
    Leaders,
    Term,
    Up,
    Voters,
    Lag(Target),
    Tail(Target),
    First(Target),
    Apart(Target),
    Held,
    Open,
    Elections,
    Terms,
    Campaigns(Option<Target>),
    Refusals(Option<Target>),
    Truncated(Option<Target>),
    Snapshots(Option<Target>),
    Compactions(Option<Target>),
    Starts(Option<Target>),
    Deaths(Option<Target>),
    Committed,
    Acked(Option<Target>),
    Refused,
    Unknown,
    Reads(Option<Target>),
    FailedReads(Option<Target>),
    StaleReads(Option<Target>),
    Turns,
    Events,
    Cancelled,
    Messages(LinkWord),
    Lost(LinkWord),
    Gap,
    Leaderless,
    Availability(Operations),
    Latency(Quantile, Operations),
}

/// Which operations of clients are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operations {
    /// All.
    All,
    /// Those that may change something.
    Writes,
    /// Those that only ask.
    Reads,
}

/// Which of the ascending times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// The median.
    P50,
    /// 99 of 100 are no longer.
    P99,
    /// The longest.
    Max,
}

/// In what something is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Cases.
    Count,
    /// Microseconds.
    Time,
    /// Thousandths.
    Share,
}

/// A quantity beside a bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Comparison {
    /// What is measured.
    pub quantity: Quantity,
    /// How it has to be.
    pub bound: Bound,
}

/// How a quantity has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// As the operator says.
    Is(Operator, Amount),
    /// From the first to the second, both included.
    In(Amount, Amount),
}

/// An operator.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Less,
    AtMost,
    Equal,
    Unequal,
    AtLeast,
    More,
}

/// What a quantity is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Cases.
    Count(u64),
    /// A time.
    Time(Span),
    /// Percent.
    Share(u8),
}

impl Quantity {
    /// In what it is measured.
    pub fn unit(&self) -> Unit {
        match self {
            Self::Gap | Self::Leaderless | Self::Latency(..) => Unit::Time,
            Self::Availability(_) => Unit::Share,
            _ => Unit::Count,
        }
    }

    /// Whether it is measured over all operations of a stretch, so it is known at its end only.
    pub fn is_of_whole(&self) -> bool {
        matches!(self, Self::Availability(_) | Self::Latency(..))
    }

    /// What members have to tell for it, beside what clients see and any member says of itself.
    pub fn needs(&self) -> Option<Account> {
        match self {
            Self::Campaigns(_) | Self::Refusals(_) => Some(Account::Elections),
            Self::Truncated(_)
            | Self::Snapshots(_)
            | Self::Compactions(_)
            | Self::Tail(_)
            | Self::First(_) => Some(Account::Log),
            Self::Messages(_) | Self::Lost(_) | Self::Held => Some(Account::Messages),
            _ => None,
        }
    }

    /// Whether it is counted since something began, so it can only grow.
    pub fn is_counted(&self) -> bool {
        !matches!(
            self,
            Self::Leaders
                | Self::Term
                | Self::Up
                | Self::Voters
                | Self::Lag(_)
                | Self::Tail(_)
                | Self::First(_)
                | Self::Apart(_)
                | Self::Held
                | Self::Open
                | Self::Availability(_)
                | Self::Latency(..)
        )
    }

    /// The members it is about.
    pub fn targets(&self) -> Vec<&Target> {
        match self {
            Self::Lag(target) | Self::Tail(target) | Self::First(target) | Self::Apart(target) => {
                vec![target]
            }
            Self::Campaigns(target)
            | Self::Refusals(target)
            | Self::Truncated(target)
            | Self::Snapshots(target)
            | Self::Compactions(target)
            | Self::Starts(target)
            | Self::Deaths(target)
            | Self::Acked(target)
            | Self::Reads(target)
            | Self::FailedReads(target)
            | Self::StaleReads(target) => target.iter().collect(),
            Self::Messages(link) | Self::Lost(link) => vec![&link.from, &link.to],
            _ => Vec::new(),
        }
    }
}

/// The words that a quantity may begin with, for error messages.
pub(super) const ALLOWED: &[&str] = &[
    "leaders",
    "term",
    "up",
    "voters",
    "lag",
    "tail",
    "first",
    "apart",
    "held",
    "open",
    "elections",
    "terms",
    "campaigns",
    "refusals",
    "truncated",
    "snapshots",
    "compactions",
    "starts",
    "deaths",
    "committed",
    "acked",
    "refused",
    "unknown",
    "reads",
    "failed reads",
    "stale reads",
    "turns",
    "events",
    "cancelled",
    "messages",
    "lost",
    "gap",
    "leaderless",
    "availability",
    "p50",
    "p99",
    "max",
];

fn quantity(text: &str) -> Result<Quantity, String> {
    let (what, of) = match text.split_once(" of ") {
        Some((what, of)) => (what.trim(), Some(of.trim())),
        None => (text.trim(), None),
    };
    if let Some((word @ ("messages" | "lost"), of)) = what.split_once(' ') {
        let link = link(of)?;
        return Ok(if word == "lost" { Quantity::Lost(link) } else { Quantity::Messages(link) });
    }
    let target = || of.map(str::parse::<Target>).transpose();
    let one = || match of {
        Some(of) => of.parse::<Target>(),
        None => Err(format!("say whose: `{what} of m3`")),
    };
    let operations = || match of {
        None => Ok(Operations::All),
        Some("writes") => Ok(Operations::Writes),
        Some("reads") => Ok(Operations::Reads),
        Some(of) => {
            Err(format!("`{of}` are no operations; write `{what} of writes` or `of reads`"))
        }
    };
    let alone = |quantity| match of {
        None => Ok(quantity),
        Some(_) => Err(format!("`{what}` is of the whole cluster, leave `of …` out")),
    };
    match what {
        "leaders" => alone(Quantity::Leaders),
        "term" => alone(Quantity::Term),
        "up" => alone(Quantity::Up),
        "voters" => alone(Quantity::Voters),
        "lag" => Ok(Quantity::Lag(one()?)),
        "tail" => Ok(Quantity::Tail(one()?)),
        "first" => Ok(Quantity::First(one()?)),
        "apart" => Ok(Quantity::Apart(one()?)),
        "held" => alone(Quantity::Held),
        "open" => alone(Quantity::Open),
        "elections" => alone(Quantity::Elections),
        "terms" => alone(Quantity::Terms),
        "campaigns" => Ok(Quantity::Campaigns(target()?)),
        "refusals" => Ok(Quantity::Refusals(target()?)),
        "truncated" => Ok(Quantity::Truncated(target()?)),
        "snapshots" => Ok(Quantity::Snapshots(target()?)),
        "compactions" => Ok(Quantity::Compactions(target()?)),
        "starts" => Ok(Quantity::Starts(target()?)),
        "deaths" => Ok(Quantity::Deaths(target()?)),
        "committed" => alone(Quantity::Committed),
        "acked" => Ok(Quantity::Acked(target()?)),
        "refused" => alone(Quantity::Refused),
        "unknown" => alone(Quantity::Unknown),
        "reads" => Ok(Quantity::Reads(target()?)),
        "failed reads" => Ok(Quantity::FailedReads(target()?)),
        "stale reads" => Ok(Quantity::StaleReads(target()?)),
        "turns" => alone(Quantity::Turns),
        "events" => alone(Quantity::Events),
        "cancelled" => alone(Quantity::Cancelled),
        "gap" => alone(Quantity::Gap),
        "leaderless" => alone(Quantity::Leaderless),
        "availability" => Ok(Quantity::Availability(operations()?)),
        "p50" => Ok(Quantity::Latency(Quantile::P50, operations()?)),
        "p99" => Ok(Quantity::Latency(Quantile::P99, operations()?)),
        "max" => Ok(Quantity::Latency(Quantile::Max, operations()?)),
        _ => {
            let near = nearest(what, ALLOWED).map(|near| format!("did you mean `{near}`? "));
            let near = near.unwrap_or_default();
            let all = ALLOWED.join(", ");
            Err(format!("`{what}` cannot be measured; {near}what can be is {all}"))
        }
    }
}

fn amount(text: &str, unit: Unit) -> Result<Amount, String> {
    let text = text.trim();
    let wrong = |how: &str| format!("`{text}` is not {how}");
    match unit {
        Unit::Count => text.parse().map(Amount::Count).map_err(|_| wrong("a number, such as 3")),
        Unit::Time => text.parse().map(Amount::Time),
        Unit::Share => {
            let percent = text.strip_suffix('%').and_then(|text| text.parse().ok());
            let percent = percent.filter(|percent| *percent <= 100);
            percent.map(Amount::Share).ok_or_else(|| wrong("a share, such as 95%"))
        }
    }
}

/// Where the operator stands among the words, if there is one.
pub(super) fn operator_at(words: &[&str]) -> Option<usize> {
    let is_range = |at: usize| words.get(at + 1).is_some_and(|range| range.contains(".."));
    (0..words.len()).find(|&at| match words[at] {
        "<" | "<=" | "=" | "!=" | ">=" | ">" => true,
        word => word == "in" && is_range(at),
    })
}

impl std::str::FromStr for Comparison {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<_> = text.split_whitespace().collect();
        let usage = || format!("`{text}` compares nothing; write it like `elections >= 3`");
        let at = operator_at(&words).ok_or_else(usage)?;
        let quantity = quantity(&words[..at].join(" "))?;
        let unit = quantity.unit();
        let value = words[at + 1..].join(" ");
        let operator = match words[at] {
            "<" => Operator::Less,
            "<=" => Operator::AtMost,
            "=" => Operator::Equal,
            "!=" => Operator::Unequal,
            ">=" => Operator::AtLeast,
            ">" => Operator::More,
            _ => {
                let range = value.split_once("..");
                let (low, high) = range.ok_or("write a range as `in 1..3`, both included")?;
                let bound = Bound::In(amount(low, unit)?, amount(high, unit)?);
                return Ok(Self { quantity, bound });
            }
        };
        Ok(Self { quantity, bound: Bound::Is(operator, amount(&value, unit)?) })
    }
}

impl Bound {
    /// Whether a value fits: cases, microseconds or thousandths, as the quantity's unit says.
    pub fn fits(&self, value: u64, scale: Scale) -> bool {
        match self {
            Self::In(low, high) => (low.value(scale)..=high.value(scale)).contains(&value),
            Self::Is(operator, amount) => {
                let amount = amount.value(scale);
                match operator {
                    Operator::Less => value < amount,
                    Operator::AtMost => value <= amount,
                    Operator::Equal => value == amount,
                    Operator::Unequal => value != amount,
                    Operator::AtLeast => value >= amount,
                    Operator::More => value > amount,
                }
            }
        }
    }

    /// Whether every value fits, or none does.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::In(..) => false,
            Self::Is(operator, amount) => {
                let least = matches!(amount, Amount::Count(0) | Amount::Share(0));
                let most = matches!(amount, Amount::Share(100));
                match operator {
                    Operator::AtLeast | Operator::Less => least,
                    Operator::AtMost | Operator::More => most,
                    Operator::Equal | Operator::Unequal => false,
                }
            }
        }
    }
}

impl Amount {
    fn value(self, scale: Scale) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Time(span) => u64::try_from(span.duration(scale).as_micros()).unwrap_or(u64::MAX),
            Self::Share(percent) => u64::from(percent) * 10,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut of = |word: &str, target: Option<&Target>| match target {
            Some(target) => write!(f, "{word} of {target}"),
            None => f.write_str(word),
        };
        match self {
            Self::Leaders => of("leaders", None),
            Self::Term => of("term", None),
            Self::Up => of("up", None),
            Self::Voters => of("voters", None),
            Self::Lag(target) => of("lag", Some(target)),
            Self::Tail(target) => of("tail", Some(target)),
            Self::First(target) => of("first", Some(target)),
            Self::Apart(target) => of("apart", Some(target)),
            Self::Held => of("held", None),
            Self::Open => of("open", None),
            Self::Elections => of("elections", None),
            Self::Terms => of("terms", None),
            Self::Campaigns(target) => of("campaigns", target.as_ref()),
            Self::Refusals(target) => of("refusals", target.as_ref()),
            Self::Truncated(target) => of("truncated", target.as_ref()),
            Self::Snapshots(target) => of("snapshots", target.as_ref()),
            Self::Compactions(target) => of("compactions", target.as_ref()),
            Self::Starts(target) => of("starts", target.as_ref()),
            Self::Deaths(target) => of("deaths", target.as_ref()),
            Self::Committed => of("committed", None),
            Self::Acked(target) => of("acked", target.as_ref()),
            Self::Refused => of("refused", None),
            Self::Unknown => of("unknown", None),
            Self::Reads(target) => of("reads", target.as_ref()),
            Self::FailedReads(target) => of("failed reads", target.as_ref()),
            Self::StaleReads(target) => of("stale reads", target.as_ref()),
            Self::Turns => of("turns", None),
            Self::Events => of("events", None),
            Self::Cancelled => of("cancelled", None),
            Self::Messages(link) => write!(f, "messages {link}"),
            Self::Lost(link) => write!(f, "lost {link}"),
            Self::Gap => of("gap", None),
            Self::Leaderless => of("leaderless", None),
            Self::Availability(operations) => write!(f, "availability{operations}"),
            Self::Latency(quantile, operations) => {
                let word = match quantile {
                    Quantile::P50 => "p50",
                    Quantile::P99 => "p99",
                    Quantile::Max => "max",
                };
                write!(f, "{word}{operations}")
            }
        }
    }
}

/// As it stands behind a quantity.
impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "",
            Self::Writes => " of writes",
            Self::Reads => " of reads",
        })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Time(span) => span.fmt(f),
            Self::Share(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quantity, bound } = self;
        match bound {
            Bound::In(low, high) => write!(f, "{quantity} in {low}..{high}"),
            Bound::Is(operator, amount) => {
                let operator = match operator {
                    Operator::Less => "<",
                    Operator::AtMost => "<=",
                    Operator::Equal => "=",
                    Operator::Unequal => "!=",
                    Operator::AtLeast => ">=",
                    Operator::More => ">",
                };
                write!(f, "{quantity} {operator} {amount}")
            }
        }
    }
}

impl TryFrom<String> for Comparison {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Comparison> for String {
    fn from(comparison: Comparison) -> Self {
        comparison.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_read_back_as_they_were_written() {
        for text in [
            "leaders <= 1",
            "elections in 1..3",
            "lag of m3 < 10",
            "campaigns of old_leader = 0",
            "campaigns >= 2",
            "stale reads of m1 >= 1",
            "messages m1>m3 > 20",
            "lost m1<>m3 != 0",
            "gap < 2.5ET",
            "leaderless in 1ET..3ET",
            "availability of writes >= 99%",
            "p99 of reads < 500ms",
            "max < 3s",
        ] {
            let comparison: Comparison = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(comparison.to_string(), text);
        }
        for (text, needle) in [
            ("elections", "compares nothing"),
            ("electons >= 3", "did you mean `elections`?"),
            ("lag < 3", "lag of m3"),
            ("gap < 3", "not a time"),
            ("availability >= 3", "95%"),
            ("availability >= 101%", "95%"),
            ("elections in 3", "compares nothing"),
            ("elections in ..3", "not a number"),
            ("leaders of m1 = 1", "whole cluster"),
            ("p50 of watches < 1s", "of reads"),
            ("acked of Leader > 1", "targets are"),
        ] {
            let error = text.parse::<Comparison>().expect_err(text);
            assert!(error.contains(needle), "{text}: {error}");
        }
    }
}
