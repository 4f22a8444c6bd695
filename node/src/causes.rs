//! An error and all that caused it, in one line for a person.

use std::error::Error;

/// The text of `error`, then of each of its causes that was not said yet, separated by colons.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some errors have their cause's text in their own.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk said no")]
    struct Disk;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("failed to write: {0}")]
        Says(#[source] Disk),
        #[error("failed to write")]
        Keeps(#[source] Disk),
    }

    #[test]
    fn every_cause_is_said_once() {
        for error in [Outer::Says(Disk), Outer::Keeps(Disk)] {
            assert_eq!(with_causes(&error), "failed to write: the disk said no");
        }
    }
}
