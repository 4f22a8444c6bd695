//! The rules by name, and what is said when one is broken.

use std::fmt;

/// What is promised of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Ordered,
    Unique,
    Atomic,
    Reliable,
    Resumable,
    Bookmarkable,
    Filtered,
    PrevKv,
    Compacted,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ordered => "watch ordered",
            Self::Unique => "watch unique",
            Self::Atomic => "watch atomic",
            Self::Reliable => "watch reliable",
            Self::Resumable => "watch resumable",
            Self::Bookmarkable => "watch bookmarkable",
            Self::Filtered => "watch filtered",
            Self::PrevKv => "watch prev_kv",
            Self::Compacted => "watch compacted",
        })
    }
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    /// The event by which it was: of several, the first counts.
    pub(super) seq: u64,
    pub(super) rule: Rule,
    /// Which watch, what it was told, and why that cannot be.
    pub(super) why: String,
    /// All events that show it.
    pub(super) evidence: Vec<u64>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.why)
    }
}
