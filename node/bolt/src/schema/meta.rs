//! The rows of the bucket `meta`.

use super::revision::{RevisionError, RevisionKey};

const CONSISTENT_INDEX: &[u8] = b"consistent_index";
const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";
const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
const TERM: &[u8] = b"term";

/// How far the state is, in Raft's log and in compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaRows {
    /// `consistent_index`: the last log entry whose effect is in the database.
    pub consistent_index: Option<u64>,
    /// `term`: that of the same entry; from 3.5 on.
    pub term: Option<u64>,
    /// `scheduledCompactRev`: the revision up to which a compaction was asked for.
    pub scheduled_compact: Option<i64>,
    /// `finishedCompactRev`: the revision up to which one is done.
    pub finished_compact: Option<i64>,
}

/// A row is not as etcd writes it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MetaError {
    /// A number is not 8 bytes long.
    #[error("{name} has {bytes} bytes, not 8")]
    Number {
        /// The row's key.
        name: &'static str,
        /// How long its value is.
        bytes: usize,
    },
    /// A revision is none.
    #[error("a revision of a compaction is none")]
    Revision(#[from] RevisionError),
}

impl MetaRows {
    /// The rows that are there, ascending by key.
    pub fn rows(&self) -> impl Iterator<Item = (&'static [u8], Vec<u8>)> {
        let Self { consistent_index, term, scheduled_compact, finished_compact } = *self;
        let number = |value: u64| value.to_be_bytes().to_vec();
        let revision = |main| RevisionKey { main, sub: 0, tombstone: false }.to_bytes();
        [
            (CONSISTENT_INDEX, consistent_index.map(number)),
            (FINISHED_COMPACT, finished_compact.map(revision)),
            (SCHEDULED_COMPACT, scheduled_compact.map(revision)),
            (TERM, term.map(number)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Takes what a row says; of rows with other names (`confState`, `storageVersion`) nothing.
    ///
    /// # Errors
    /// A value of another form.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), MetaError> {
        match key {
            CONSISTENT_INDEX => self.consistent_index = Some(number("consistent_index", value)?),
            TERM => self.term = Some(number("term", value)?),
            SCHEDULED_COMPACT => {
                self.scheduled_compact = Some(RevisionKey::from_bytes(value)?.main);
            }
            FINISHED_COMPACT => self.finished_compact = Some(RevisionKey::from_bytes(value)?.main),
            _ => {}
        }
        Ok(())
    }
}

fn number(name: &'static str, value: &[u8]) -> Result<u64, MetaError> {
    let error = MetaError::Number { name, bytes: value.len() };
    value.try_into().map(u64::from_be_bytes).map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_and_read_back() {
        let all = MetaRows {
            consistent_index: Some(u64::MAX),
            term: Some(2),
            scheduled_compact: Some(9),
            finished_compact: Some(8),
        };
        for rows in [all, MetaRows::default(), MetaRows { term: None, ..all }] {
            let written: Vec<_> = rows.rows().collect();
            assert!(written.is_sorted());
            let mut read = MetaRows::default();
            for (key, value) in &written {
                read.take(key, value).unwrap();
            }
            assert_eq!(read, rows);
        }
    }

    #[test]
    fn other_rows_are_passed_over_and_wrong_ones_refused() {
        let mut rows = MetaRows::default();
        assert_eq!(rows.take(b"confState", b"{}"), Ok(()));
        assert_eq!(rows.take(b"term", b"7"), Err(MetaError::Number { name: "term", bytes: 1 }));
        assert!(rows.take(b"finishedCompactRev", b"7").is_err());
        assert_eq!(rows, MetaRows::default());
    }
}
