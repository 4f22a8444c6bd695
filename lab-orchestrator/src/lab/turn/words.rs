//! What people are told of ends and of errors.

use lab_protocol::{Ended, MemberNo};

/// Last lines that are shown when a process ended by itself.
const SHOWN_LINES: usize = 5;

/// What a person is told when a process ended that nobody asked to.
pub(super) fn last_words(member: MemberNo, ended: &Ended, lines: &[String]) -> String {
    let how = match ended {
        Ended::Exit { code } => format!("ended by itself with exit code {code}"),
        Ended::Signal { number } => format!("was ended by signal {number}, not by the lab"),
        Ended::NotStarted { why } => return format!("{member} did not start: {why}"),
        Ended::Unseen => {
            return format!("{member} ended, and not by the lab; whoever started it knows how");
        }
    };
    let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    if shown.is_empty() {
        format!("{member} {how}; it printed nothing")
    } else {
        format!("{member} {how}; its last lines: {}", shown.join(" | "))
    }
}

/// An error with all that caused it, in one line.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
