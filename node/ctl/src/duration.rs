//! Durations as Go writes and reads them: `5s`, `1m30s`, `500ms`, `1.5h`; and for people.

use std::time::Duration;

use jiff::fmt::friendly::{Spacing, SpanPrinter};

/// Units and their nanoseconds; what a longer name ends in comes after it.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a duration; errors are in Go's words. Negative ones are refused: nothing here takes one.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut rest = unsigned;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let Some(end) = end else {
            return Err(format!("time: missing unit in duration {text:?}"));
        };
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (unit, after) = rest.split_at(end.unwrap_or(rest.len()));
        let Some((_, worth)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        nanos += number * worth;
        rest = after;
    }
    if nanos > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// A duration in Go's words: `4.419823ms`, `1.5s`, `1m30s`.
pub(crate) fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let part = |unit: u128, digits: usize, name: &str| {
        let fraction = format!("{:0digits$}", nanos % unit);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{}{point}{fraction}{name}", nanos / unit)
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => part(1_000, 3, "µs"),
        1_000_000..1_000_000_000 => part(1_000_000, 6, "ms"),
        _ => {
            let minutes = duration.as_secs() / 60;
            let below = duration - Duration::from_secs(minutes * 60);
            let seconds = format!("{:.9}", below.as_secs_f64());
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// An age for people, in whole seconds: `35 m 10 s`.
pub(crate) fn spoken(duration: Duration) -> String {
    let printer = SpanPrinter::new().spacing(Spacing::BetweenUnitsAndDesignators);
    printer.unsigned_duration_to_string(&Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let check = |text: &str, millis: u64| {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        };
        check("0", 0);
        check("5s", 5_000);
        check("1m30s", 90_000);
        check("500ms", 500);
        check("1.5h", 5_400_000);
        check("+2s", 2_000);
        check(".5s", 500);
        check("1000us", 1);
    }

    #[test]
    fn what_is_none_is_told_as_go_tells_it() {
        let check = |text: &str, expected: &str| assert_eq!(parse(text), Err(expected.to_owned()));
        check("", "time: invalid duration \"\"");
        check("x", "time: invalid duration \"x\"");
        check("5", "time: missing unit in duration \"5\"");
        check("5x", "time: unknown unit \"x\" in duration \"5x\"");
        check("-1s", "time: invalid duration \"-1s\"");
    }

    #[test]
    fn durations_are_written() {
        let check = |nanos: u64, expected: &str| {
            assert_eq!(format(Duration::from_nanos(nanos)), expected);
        };
        check(0, "0s");
        check(900, "900ns");
        check(4_000, "4µs");
        check(4_419_823, "4.419823ms");
        check(1_000_434_735, "1.000434735s");
        check(90_000_000_000, "1m30s");
        check(3_600_000_000_000, "1h0m0s");
    }

    #[test]
    fn ages_are_spoken() {
        let check = |millis: u64, expected: &str| {
            assert_eq!(spoken(Duration::from_millis(millis)), expected);
        };
        check(0, "0 s");
        check(999, "0 s");
        check(2_110_500, "35 m 10 s");
        check(180_000_000, "50 h");
    }
}
