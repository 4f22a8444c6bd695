//! A stretch of time as a scenario says it: `2s`, `500ms`, `1.5ET`, `3RTT`, `10ticks`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A stretch of time, fixed or by one of the cluster's own measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub enum Span {
    /// Milliseconds.
    Millis(u64),
    /// Tenths of a measure: 10 is one.
    Tenths(u32, TimeUnit),
}

/// A measure of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TimeUnit {
    /// Its election timeout, ET.
    ElectionTimeout,
    /// What its members count by: a tenth of the time between two heartbeats.
    Tick,
    /// What a message and its answer need.
    RoundTrip,
}

/// How long a cluster's measures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// One ET.
    pub election_timeout: Duration,
    /// The time between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// One RTT.
    pub round_trip: Duration,
}

impl Scale {
    /// One tick of a member.
    pub fn tick(self) -> Duration {
        (self.heartbeat / 10).max(Duration::from_millis(1))
    }
}

impl Span {
    /// The time it means in a cluster of this scale.
    pub fn duration(self, scale: Scale) -> Duration {
        match self {
            Self::Millis(millis) => Duration::from_millis(millis),
            Self::Tenths(tenths, measure) => {
                let one = match measure {
                    TimeUnit::ElectionTimeout => scale.election_timeout,
                    TimeUnit::Tick => scale.tick(),
                    TimeUnit::RoundTrip => scale.round_trip,
                };
                one * tenths / 10
            }
        }
    }

    /// The same in whole milliseconds.
    pub fn millis(self, scale: Scale) -> u32 {
        u32::try_from(self.duration(scale).as_millis()).unwrap_or(u32::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "`{text}` is not a time; write it like `2s`, `500ms`, `1.5ET`, `3RTT`, `4ticks`"
            )
        };
        let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, unit) = text.split_at(unit_at);
        let tenths = tenths(number).ok_or_else(wrong)?;
        let of = |measure| Ok(Self::Tenths(u32::try_from(tenths).map_err(|_| wrong())?, measure));
        match unit.trim_start() {
            "ms" if tenths.is_multiple_of(10) => Ok(Self::Millis(tenths / 10)),
            "s" => Ok(Self::Millis(tenths * 100)),
            "ET" => of(TimeUnit::ElectionTimeout),
            "RTT" => of(TimeUnit::RoundTrip),
            "tick" | "ticks" => of(TimeUnit::Tick),
            _ => Err(wrong()),
        }
    }
}

/// A number with at most one decimal, in tenths; at most a day's worth of seconds.
fn tenths(text: &str) -> Option<u64> {
    let (whole, tenth) = match text.split_once('.') {
        Some((whole, tenth)) if tenth.len() == 1 => (whole, tenth.parse::<u64>().ok()?),
        Some(_) => return None,
        None => (text, 0),
    };
    let whole: u64 = whole.parse().ok()?;
    (whole <= 86_400_000).then_some(whole * 10 + tenth)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Millis(millis) if millis % 1000 == 0 => write!(f, "{}s", millis / 1000),
            Self::Millis(millis) => write!(f, "{millis}ms"),
            Self::Tenths(tenths, measure) => {
                write!(f, "{}", tenths / 10)?;
                if tenths % 10 > 0 {
                    write!(f, ".{}", tenths % 10)?;
                }
                f.write_str(match measure {
                    TimeUnit::ElectionTimeout => "ET",
                    TimeUnit::RoundTrip => "RTT",
                    TimeUnit::Tick if tenths == 10 => "tick",
                    TimeUnit::Tick => "ticks",
                })
            }
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_were_written() {
        let scale = Scale {
            election_timeout: Duration::from_secs(1),
            heartbeat: Duration::from_millis(100),
            round_trip: Duration::from_millis(40),
        };
        for (text, millis) in [
            ("2s", 2000),
            ("500ms", 500),
            ("2ET", 2000),
            ("1.5ET", 1500),
            ("0ms", 0),
            ("1.5s", 1500),
            ("3RTT", 120),
            ("1tick", 10),
            ("50ticks", 500),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.duration(scale).as_millis(), millis, "{text}");
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        for text in ["", "2", "s", "2 minutes", "-1s", "1.25s", "0.5ms", "2et", "9999999999s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
