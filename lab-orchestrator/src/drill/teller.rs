//! How far a long run has come, told to a person.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One line that changes on a terminal, else a line now and then; on standard error.
#[derive(Debug)]
pub(crate) struct Teller {
    terminal: bool,
    shown: AtomicBool,
}

impl Teller {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: AtomicBool::new(false) }
    }

    /// How often a person wants to hear.
    pub(crate) fn every(&self) -> Duration {
        Duration::from_secs(if self.terminal { 1 } else { 10 })
    }

    pub(crate) fn tell(&self, line: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            self.shown.store(true, Ordering::Relaxed);
        } else {
            eprintln!("{line}");
        }
    }

    /// Ends the line, so that others can follow.
    pub(crate) fn end(&self) {
        if self.shown.swap(false, Ordering::Relaxed) {
            eprintln!();
        }
    }
}
