//! What a drill came to, in words for a terminal and as JSON for programs.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use lab_protocol::{CheckResult, Judgement, Score, Verdict};
use serde::Serialize;

/// The narrowest column in which reasons are still readable.
const NARROWEST: usize = 30;

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Exit code 0.
    Valid,
    /// Exit code 2.
    Unknown,
    /// Exit code 1.
    Invalid,
    /// Exit code 3: the lab itself failed, there is no verdict.
    LabFailed,
}

impl From<Judgement> for Outcome {
    fn from(judgement: Judgement) -> Self {
        match judgement {
            Judgement::Valid => Self::Valid,
            Judgement::Unknown => Self::Unknown,
            Judgement::Invalid => Self::Invalid,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Valid => 0u8,
            Outcome::Invalid => 1,
            Outcome::Unknown => 2,
            Outcome::LabFailed => 3,
        })
    }
}

/// One performed or re-judged scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's title.
    pub title: String,
    /// Who played, if it is a drill.
    pub play: Option<String>,
    /// Its seed; performing it again with this seed makes the same choices.
    pub seed: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Where it was recorded.
    pub run: Option<PathBuf>,
    /// What the judges say.
    pub verdict: Verdict,
    /// What it is worth, if it is a drill.
    pub score: Option<Score>,
}

/// The word for a judgement.
pub fn judgement_word(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Valid => "valid",
        Judgement::Unknown => "unknown",
        Judgement::Invalid => "invalid",
    }
}

/// A table of the checks: judgement, name, reason; reasons are wrapped at `width` characters.
pub fn table(verdict: &Verdict, width: usize, colour: bool) -> String {
    let names = verdict.checks.iter().map(|check| check.check.chars().count()).max().unwrap_or(0);
    let margin = 2 + 9 + names + 2;
    let room = width.saturating_sub(margin).max(NARROWEST);
    let mut text = String::new();
    for check in &verdict.checks {
        for (line, words) in wrap(&check.because, room).into_iter().enumerate() {
            if line == 0 {
                let word = painted(check, colour);
                text.push_str(&format!("  {word}{:<names$}  {words}\n", check.check));
            } else {
                text.push_str(&format!("{:margin$}{words}\n", ""));
            }
        }
    }
    let scenario = &verdict.scenario;
    text.push_str(&format!("  {} {scenario}\n", judgement_word(verdict.judgement)));
    text
}

/// Prints a whole report as wide as the terminal.
pub(super) fn print_report(report: &Report) {
    print_verdict(&report.verdict);
    if let Some(score) = &report.score {
        print_score(score);
    }
}

/// Prints a score as wide as the terminal.
pub(crate) fn print_score(score: &Score) {
    println!("{}", score_text(score, terminal_width()));
}

/// A score in words: won or lost, what was taken off, and what is to be said.
fn score_text(score: &Score, width: usize) -> String {
    let Score { won, points, harm, debrief } = score;
    let mut text = match won {
        true => format!("  won, {points} of 100 points\n"),
        false => "  lost\n".to_owned(),
    };
    for (what, points) in harm {
        text.push_str(&format!("    -{points:<3} {what}\n"));
    }
    for sentence in debrief {
        for line in wrap(sentence, width.saturating_sub(4).max(NARROWEST)) {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

/// Prints the table of a verdict as wide as the terminal.
pub(crate) fn print_verdict(verdict: &Verdict) {
    println!("{}", table(verdict, terminal_width(), wants_colour()));
}

fn painted(check: &CheckResult, colour: bool) -> String {
    let word = format!("{:<9}", judgement_word(check.judgement));
    if !colour {
        return word;
    }
    let code = match check.judgement {
        Judgement::Valid => 32,
        Judgement::Unknown => 33,
        Judgement::Invalid => 31,
    };
    format!("\x1b[{code}m{word}\x1b[0m")
}

fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// The width of the terminal, or 100 where there is none.
fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|width| *width > 0)
        .unwrap_or(100)
}

/// Whether results go out as JSON: when asked, or when nobody looks.
pub(crate) fn wants_json(asked: bool) -> bool {
    asked || !std::io::stdout().is_terminal()
}

/// Whether colours are wanted.
fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_says_what_it_took_off() {
        let score = Score {
            won: true,
            points: 88,
            harm: vec![("12 acknowledged writes lost".into(), 12)],
            debrief: vec!["A snapshot has what was written before it.".into()],
        };
        let expected = "\
\x20 won, 88 of 100 points
    -12  12 acknowledged writes lost
    A snapshot has what was
    written before it.
";
        assert_eq!(score_text(&score, 34), expected);
    }

    #[test]
    fn the_table_shows_judgement_name_and_reason() {
        let check = |name: &str, judgement, because: &str| CheckResult {
            check: name.into(),
            guards: String::new(),
            judgement,
            because: because.into(),
            evidence: vec![],
        };
        let verdict = Verdict::of(
            "leader-failure",
            vec![
                check("election_safety", Judgement::Valid, "2 elections"),
                check("acked", Judgement::Invalid, "operation 17 was acknowledged, but it is gone"),
            ],
        );
        let expected = "\
\x20 valid    election_safety  2 elections
  invalid  acked            operation 17 was acknowledged,
                            but it is gone
  invalid leader-failure
";
        assert_eq!(table(&verdict, 40, false), expected);
        assert!(table(&verdict, 40, true).contains("\x1b[31minvalid"));
    }
}
