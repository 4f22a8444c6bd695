//! Counts what passed and failed, and prints the one table at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::command::say;

/// How many results of one row passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Results that are as they should be.
    pub(crate) passed: u64,
    /// Results that are not.
    pub(crate) failed: u64,
}

impl Count {
    /// A row that is one result by itself.
    pub(crate) const ONE: Self = Self { passed: 1, failed: 0 };
}

/// What became of a row.
#[derive(Debug)]
enum Outcome {
    Counted(Count),
    /// Could not be carried out; counts as one failure.
    Broken(String),
    /// Not possible on this machine, and said so; never happens in CI.
    LeftOut(String),
}

#[derive(Debug)]
struct Row {
    step: &'static str,
    what: String,
    outcome: Outcome,
    seconds: f64,
}

/// Why a row cannot be carried out on this machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotHere(pub(crate) String);

/// All rows of a test run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: Vec<Row>,
}

impl Tally {
    /// Carries out one row and remembers what came of it.
    ///
    /// A [`NotHere`] leaves the row out, loudly; in CI it is a failure like any other error.
    pub(crate) fn measure(
        &mut self,
        step: &'static str,
        what: &str,
        row: impl FnOnce() -> Result<Count>,
    ) {
        say(&format!("{step}: {what}"));
        let began = Instant::now();
        let result = row();
        self.add(step, what, result, began.elapsed());
    }

    /// Remembers what came of a row that was carried out elsewhere, such as beside another one.
    pub(crate) fn add(
        &mut self,
        step: &'static str,
        what: &str,
        result: Result<Count>,
        taken: Duration,
    ) {
        let outcome = match result {
            Ok(count) => Outcome::Counted(count),
            Err(error) => match error.downcast::<NotHere>() {
                Ok(NotHere(why)) if !crate::command::is_ci() => Outcome::LeftOut(why),
                Ok(NotHere(why)) => Outcome::Broken(why),
                Err(error) => Outcome::Broken(format!("{error:#}")),
            },
        };
        match &outcome {
            Outcome::Broken(why) => say(&format!("{step}: {what}: failed to {why}")),
            Outcome::LeftOut(why) => say(&format!("{step}: {what}: LEFT OUT: {why}")),
            Outcome::Counted(_) => {}
        }
        let seconds = taken.as_secs_f64();
        self.rows.push(Row { step, what: what.to_owned(), outcome, seconds });
    }

    /// The sum over all rows; a row that broke counts as one failure.
    pub(crate) fn total(&self) -> Count {
        self.rows.iter().fold(Count::default(), |sum, row| {
            let Count { passed, failed } = row.count();
            Count { passed: sum.passed + passed, failed: sum.failed + failed }
        })
    }

    /// The table, and the plain line under it.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(4).max(4);
        let mut text = format!(
            "\n{:<10}  {:<width$}  {:<8}  {:>6}  {:>6}  {:>8}\n",
            "step", "what", "result", "passed", "failed", "seconds"
        );
        for row in &self.rows {
            let Count { passed, failed } = row.count();
            let result = match &row.outcome {
                Outcome::LeftOut(_) => "left out",
                Outcome::Counted(_) if failed == 0 => "passed",
                Outcome::Counted(_) | Outcome::Broken(_) => "FAILED",
            };
            writeln!(
                text,
                "{:<10}  {:<width$}  {result:<8}  {passed:>6}  {failed:>6}  {:>8.1}",
                row.step, row.what, row.seconds
            )
            .expect("a string takes what is written");
        }
        for row in &self.rows {
            let why = match &row.outcome {
                Outcome::Broken(why) => format!("failed to {why}"),
                Outcome::LeftOut(why) => format!("left out: {why}"),
                Outcome::Counted(_) => continue,
            };
            writeln!(text, "\n{}: {}: {why}", row.step, row.what)
                .expect("a string takes what is written");
        }
        let Count { passed, failed } = self.total();
        writeln!(text, "\n{passed} passed, {failed} failed")
            .expect("a string takes what is written");
        text
    }
}

impl Row {
    fn count(&self) -> Count {
        match self.outcome {
            Outcome::Counted(count) => count,
            Outcome::Broken(_) => Count { passed: 0, failed: 1 },
            Outcome::LeftOut(_) => Count::default(),
        }
    }
}

/// Reads cargo's summary line of one test program, such as
/// `test result: ok. 12 passed; 0 failed; 0 ignored; …`.
pub(crate) fn count_of_test_result(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse::<u64>().ok())
    };
    Some(Count { passed: number(" passed")?, failed: number(" failed")? })
}

/// Reads a plain last line such as `12 passed, 1 failed`.
pub(crate) fn count_of_plain_line(line: &str) -> Option<Count> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Count { passed: passed.trim().parse().ok()?, failed: failed.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_are_read() {
        let ok = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(count_of_test_result(ok), Some(Count { passed: 12, failed: 0 }));
        let bad = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; finished in 1s";
        assert_eq!(count_of_test_result(bad), Some(Count { passed: 3, failed: 2 }));
        assert_eq!(count_of_test_result("running 4 tests"), None);
        assert_eq!(count_of_plain_line("9 passed, 1 failed"), Some(Count { passed: 9, failed: 1 }));
        assert_eq!(count_of_plain_line("nothing passed, 1 failed"), None);
    }

    #[test]
    fn a_broken_row_is_one_failure_and_the_last_line_says_so() {
        let mut tally = Tally::default();
        tally.measure("host", "tests", || Ok(Count { passed: 7, failed: 0 }));
        tally.measure("page", "browser", || anyhow::bail!("find a browser"));
        assert_eq!(tally.total(), Count { passed: 7, failed: 1 });
        let table = tally.table();
        assert_eq!(table.lines().last(), Some("7 passed, 1 failed"));
        assert!(table.contains("failed to find a browser"), "{table}");
    }
}
