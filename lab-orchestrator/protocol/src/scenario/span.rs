//! A stretch of time as a scenario says it: `2s`, `500ms`, `2ET`, `1.5ET`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A stretch of time, fixed or in election timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Span {
    /// Milliseconds.
    Millis(u64),
    /// Tenths of the cluster's election timeout.
    ElectionTimeouts {
        /// 10 is one ET.
        tenths: u32,
    },
}

impl Span {
    /// The time it means in a cluster with this election timeout.
    pub fn duration(self, election_timeout: Duration) -> Duration {
        match self {
            Self::Millis(millis) => Duration::from_millis(millis),
            Self::ElectionTimeouts { tenths } => election_timeout * tenths / 10,
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not a time; write it like `2s`, `500ms` or `1.5ET`");
        let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, unit) = text.split_at(unit_at);
        let tenths = tenths(number).ok_or_else(wrong)?;
        match unit.trim_start() {
            "ms" if tenths.is_multiple_of(10) => Ok(Self::Millis(tenths / 10)),
            "s" => Ok(Self::Millis(tenths * 100)),
            "ET" => {
                Ok(Self::ElectionTimeouts { tenths: u32::try_from(tenths).map_err(|_| wrong())? })
            }
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
            Self::ElectionTimeouts { tenths } if tenths % 10 == 0 => write!(f, "{}ET", tenths / 10),
            Self::ElectionTimeouts { tenths } => write!(f, "{}.{}ET", tenths / 10, tenths % 10),
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
        for (text, millis) in [
            ("2s", 2000),
            ("500ms", 500),
            ("2ET", 2000),
            ("1.5ET", 1500),
            ("0ms", 0),
            ("1.5s", 1500),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.duration(Duration::from_secs(1)).as_millis(), millis, "{text}");
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        for text in ["", "2", "s", "2 minutes", "-1s", "1.25s", "0.5ms", "2et", "9999999999s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
