//! A backup's name, which tells when it was taken and up to which revision.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Sorts by time as text, and is a file's name everywhere.
const TIME: &str = "%Y-%m-%dT%H-%M-%SZ";

/// What a name tells. One is never given twice: no two backups of a folder are of one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// When the member was asked; whole seconds.
    pub(super) at: Timestamp,
    /// The newest revision in it.
    pub(super) revision: i64,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-rev-{}.db", time(self.at), self.revision)
    }
}

/// How every name of this time begins.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime(TIME).to_string()
}

impl Name {
    /// Reads a name; anything but what [`Name`] writes is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (at, revision) = text.strip_suffix(".db")?.split_once("-rev-")?;
        let at = Offset::UTC.to_timestamp(DateTime::strptime(TIME, at).ok()?).ok()?;
        let name = Self { at, revision: revision.parse().ok()? };
        (name.revision >= 0 && name.to_string() == text).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let name = Name { at: "2026-11-28T18:30:00Z".parse().expect("a time"), revision: 1234 };
        assert_eq!(name.to_string(), "2026-11-28T18-30-00Z-rev-1234.db");
        assert_eq!(Name::parse("2026-11-28T18-30-00Z-rev-1234.db"), Some(name));
    }

    #[test]
    fn what_somebody_else_named_is_no_name() {
        for text in [
            "",
            "backup.db",
            "2026-11-28T18-30-00Z-rev-1234.db.damaged",
            "2026-11-28T18-30-00Z-rev-1234",
            "2026-11-28T18-30-00Z-rev-01234.db",
            "2026-11-28T18-30-00Z-rev-+1234.db",
            "2026-11-28T18-30-00Z-rev--1.db",
            "2026-11-28T18-30-00Z-rev-.db",
            "2026-11-28T18-30-0Z-rev-1.db",
            "2026-13-28T18-30-00Z-rev-1.db",
            "2026-11-28T18:30:00Z-rev-1.db",
            " 2026-11-28T18-30-00Z-rev-1.db",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}
