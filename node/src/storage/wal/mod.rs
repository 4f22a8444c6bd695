//! The log on disk: what a member has promised to remember of Raft.
//!
//! ```text
//!   append ─► one frame: {hard state, mark, entries} ─► active segment ─► sync (one fdatasync)
//!
//!   0000…05-0000…1a3c.wal   0000…06-0000…2b11.wal   0000…07-0000…3c07.wal
//!   ├──────── released ───┤ ├────── kept ─────────┤ ├── active ──► zeros ┤
//!                         ▲ mark: everything up to here is in the state
//! ```
//!
//! The log is written and never read again before a restart; the entries since the last compaction
//! are kept in RAM by consensus. A *mark* is the point before the first entry of the log: written
//! when the log is compacted, and when a snapshot from a peer replaces it.
//!
//! **Promises**
//!
//! - What was appended before a successful [`Wal::sync`] is there after any crash or power loss.
//! - What was appended after it may be there or not, but only as a prefix of whole batches.
//! - What was recovered is durable from then on, even if the process ended because a sync failed.
//! - Damage to synced bytes is reported, with the file and the place, and never repaired by
//!   guessing. The exception, as in every log of this kind: damage within the very last synced
//!   batch cannot be told from a batch that was never synced. [`Wal::close`] leaves a seal, so that
//!   after an orderly stop there is no such exception.
//! - An error of a write or a sync is final: every later call fails, and the member must stop.
//!
//! **How a torn tail is told from damage.** Each frame says up to which offset of its segment all
//! was durable when it was written. A bad place is a torn tail if no later frame claims it to have
//! been durable; it is damage otherwise. In a segment that has a successor, which is only begun
//! after its end was synced, every bad place is damage.
//!
//! **Segments** are filled with zeros before use, since overwriting costs half of what appending
//! does; a helper thread prepares the next one, and files of released segments are used again. A
//! file becomes a segment, by its name, only after its header and first frame are durable; that
//! frame repeats all that is not an entry, so earlier segments can be released whole. Files under
//! any other name are leftovers and are removed when the log is opened.
//!
//! Deliberately absent: reading entries back while running, checksums per entry, compression.

mod frame;
mod log;
mod recovery;
mod segment;
mod spare;
#[cfg(test)]
mod tests;

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    path::PathBuf,
};

use node_protocol::{ClusterId, Index, MemberId, Term};
use raft::eraftpb::{Entry, HardState};

pub use log::Wal;

use super::damage::REPLACE_MEMBER;

/// Whose log this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// The member it belongs to.
    pub member_id: MemberId,
    /// How many times the member was started.
    pub boot: u64,
}

/// The point before the first entry of the log; everything up to it is in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Last entry that is not in the log any more.
    pub index: Index,
    /// Its term.
    pub term: Term,
}

/// What is appended together: all of it is recovered, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// Consecutive entries. The first follows the last entry of the log, or replaces an earlier
    /// one and with it all that came after.
    pub entries: &'a [Entry],
    /// The new term, vote and commit index.
    pub hard_state: Option<&'a HardState>,
    /// A snapshot's point, which comes before `entries`. As Raft demands (Raft paper §7): if the
    /// log has that entry with that term, what follows it stays; otherwise the whole log goes.
    pub mark: Option<Mark>,
}

/// Sizes and habits of a log. They may differ from one start to the next.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Size of the first segment: small, so that a new member starts in milliseconds.
    pub first_segment_bytes: u64,
    /// Size of the segments prepared ahead.
    pub segment_bytes: u64,
    /// Whether a helper thread prepares and releases segments; otherwise the caller's thread does.
    pub background: bool,
    /// Where the segments' salts come from: unpredictable in production, fixed in tests.
    pub salt_seed: u64,
}

impl Default for WalOptions {
    /// What a member in production uses.
    fn default() -> Self {
        Self {
            first_segment_bytes: 1 << 20,
            segment_bytes: 64 << 20,
            background: true,
            salt_seed: RandomState::new().build_hasher().finish(),
        }
    }
}

impl WalOptions {
    /// For simulation: small segments, no thread, and the same bytes every time.
    #[must_use]
    pub fn deterministic(segment_bytes: u64, salt_seed: u64) -> Self {
        Self { first_segment_bytes: segment_bytes, segment_bytes, background: false, salt_seed }
    }
}

/// What a log held when it was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// Whose log it is.
    pub metadata: Metadata,
    /// The last hard state, if one was ever appended. Its commit index is a lower bound.
    pub hard_state: Option<HardState>,
    /// The point before the first entry; `None` if the log begins at index 1.
    pub mark: Option<Mark>,
    /// All entries after the mark, without gaps.
    pub entries: Vec<Entry>,
    /// Bytes of batches that were never synced and did not arrive whole; they are discarded.
    pub torn_bytes: u64,
}

impl Recovered {
    /// Whether nothing was ever promised by this log: it has been created and no more.
    #[must_use]
    pub fn is_pristine(&self) -> bool {
        self.hard_state.is_none() && self.mark.is_none() && self.entries.is_empty()
    }
}

/// Why the log cannot be used. All are final for this process, but for [`WalError::BatchTooLarge`].
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system refused; whether the last writes arrived is unknown.
    #[error("failed to {operation} {}; the member must stop, and start again when the disk works", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Bytes that were durable are not what they were.
    #[error(
        "the log is damaged in {} at offset {offset}: {reason}; {REPLACE_MEMBER}",
        path.display()
    )]
    Corrupt {
        /// In which file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Written by a newer version of this program.
    #[error(
        "{} has log layout {found}, this version knows up to {known}; start the version that wrote it",
        path.display(), known = frame::LAYOUT_VERSION
    )]
    NewerLayout {
        /// In which file.
        path: PathBuf,
        /// Which layout it has.
        found: u32,
    },
    /// There is no log where one is to be opened.
    #[error("there is no log in {}", dir.display())]
    Missing {
        /// Where.
        dir: PathBuf,
    },
    /// There is a log where one is to be created.
    #[error("there is a log in {} already", dir.display())]
    Exists {
        /// Where.
        dir: PathBuf,
    },
    /// The batch is larger than the layout can hold; nothing was written.
    #[error("a batch of {bytes} bytes is too large for the log")]
    BatchTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// An earlier write or sync failed.
    #[error("the log in {} failed before and takes nothing more; the member must stop", dir.display())]
    Failed {
        /// Where.
        dir: PathBuf,
    },
    /// The state lacks entries the log does not have any more.
    #[error(
        "the state beside {} ends at index {applied}, but the log begins after index {}: the state \
         is an older one; {REPLACE_MEMBER}",
        dir.display(), mark.index
    )]
    StateBehindLog {
        /// Where the log is.
        dir: PathBuf,
        /// Last entry in the state.
        applied: Index,
        /// Where the log begins.
        mark: Mark,
    },
}
