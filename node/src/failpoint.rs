//! Failpoints: the named places where a training node can be made to end at once.
//!
//! ```text
//!   storage, replica, apply … ── hit(Failpoint::LogWritten) ──► raft-node:          nothing at all
//!                                                               raft-node-training: count; if armed,
//!                                                               crash, or lose the power and crash
//! ```
//!
//! The table below is the only place that knows them: a call site names an entry or does not
//! compile, and `cargo gate crash` fails if a real process never ended at one of them. In
//! `raft-node` [`hit`] is empty and neither names nor table exist, and a test looks.
//!
//! A place is worth an entry if the disk, or what others were told, is different before and after
//! it. Points inside a system call are the disk's business: see `storage::power`.

#[cfg(feature = "training")]
pub mod armed;

/// When a process comes by a failpoint, so that whoever arms it can bring that about.
#[cfg(feature = "training")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Many times a second, while clients write.
    Run,
    /// Every few seconds, while clients write.
    Upkeep,
    /// Once after each start with data, while clients write.
    WarmUp,
    /// When a member asks for votes or votes.
    Election,
    /// When entries that a former leader could not replicate are overwritten.
    Overwrite,
    /// When the members change.
    Change,
    /// On a leader, when a follower is so far behind that it needs a snapshot.
    Send,
    /// On a follower that needs a snapshot.
    Behind,
    /// At every start with data, before the member is ready.
    Start,
    /// At a start with an empty data directory, in the order of the table.
    FirstStart,
}

#[cfg(feature = "training")]
impl Stage {
    /// Its name in `--failpoints`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Upkeep => "upkeep",
            Self::WarmUp => "warm-up",
            Self::Election => "election",
            Self::Overwrite => "overwrite",
            Self::Change => "change",
            Self::Send => "send",
            Self::Behind => "behind",
            Self::Start => "start",
            Self::FirstStart => "first-start",
        }
    }
}

/// One line of the table.
#[cfg(feature = "training")]
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The place.
    pub point: Failpoint,
    /// Its name.
    pub name: &'static str,
    /// When a process comes by.
    pub stage: Stage,
    /// What holds there, and so what a crash there shows.
    pub shows: &'static str,
}

macro_rules! failpoints {
    ($($(#[doc = $shows:literal])+ $point:ident, $name:literal, $stage:ident;)+) => {
        /// A place where a training node can be made to end.
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(feature = "training", derive(Debug))]
        pub enum Failpoint {
            $($(#[doc = $shows])+ $point,)+
        }

        /// Every failpoint, in the order of [`Failpoint`].
        #[cfg(feature = "training")]
        pub const TABLE: &[Row] = &[$(Row {
            point: Failpoint::$point,
            name: $name,
            stage: Stage::$stage,
            shows: concat!($($shows),+),
        },)+];
    };
}

failpoints! {
    /// A frame is about to be written to the log: nothing of it may be remembered.
    LogBeforeWrite, "log-before-write", Run;
    /// A frame is written and not synced: it may be there or not, and nobody was promised it.
    LogWritten, "log-written", Run;
    /// A frame is synced and nobody knows yet: it must be there.
    LogSynced, "log-synced", Run;
    /// The commit index alone is written, unsynced: it may be forgotten.
    CommitWritten, "commit-written", Run;
    /// A new segment is durable under a name that is not a segment's.
    SegmentPrepared, "segment-prepared", Upkeep;
    /// A new segment has its name, which is not durable.
    SegmentRenamed, "segment-renamed", Upkeep;
    /// A new segment is durable and holds no frame but its first.
    SegmentBegun, "segment-begun", Upkeep;
    /// A file for a segment to come is created and empty.
    SpareCreated, "spare-created", WarmUp;
    /// The log's mark has moved; the segments before it are still there.
    CompactionMarked, "compaction-marked", Upkeep;
    /// Segments before the mark have lost their names, which is not durable.
    SegmentsRetired, "segments-retired", Upkeep;
    /// Segments before the mark have durably lost their names; their files are still there.
    SegmentsReleased, "segments-released", Upkeep;
    /// Entries of a former leader are overwritten, unsynced.
    LogOverwritten, "log-overwritten", Overwrite;
    /// A term or a vote is about to be written: nobody has it.
    VoteBeforeWrite, "vote-before-write", Election;
    /// A term or a vote is durable and was not sent: it binds all the same.
    VoteSynced, "vote-synced", Election;
    /// Messages are about to leave.
    BeforeSend, "before-send", Run;
    /// Messages have left.
    Sent, "messages-sent", Run;
    /// Entries are durable; the messages that promise them have not left.
    Persisted, "entries-persisted", Run;
    /// Committed entries are about to be applied.
    BeforeApply, "before-apply", Run;
    /// Entries are applied in RAM, neither flushed nor answered.
    Applied, "entries-applied", Run;
    /// Clients have their answers; the state on disk lacks what they say.
    Answered, "clients-answered", Run;
    /// The rows of many entries are in a transaction that is not committed.
    FlushBeforeCommit, "flush-before-commit", Run;
    /// A page of the state's database is about to be written.
    PageBeforeWrite, "page-before-write", Run;
    /// Pages of the state's database are written and not synced.
    PagesBeforeSync, "pages-before-sync", Run;
    /// The rows are durable; the log does not know that it may forget the entries.
    FlushCommitted, "flush-committed", Run;
    /// That a change of the configuration is committed is durable; nobody has applied it.
    ChangeCommitted, "change-committed", Change;
    /// The members have changed in RAM; raft-rs does not know.
    MembersChanged, "members-changed", Change;
    /// raft-rs has the new configuration; the state on disk does not.
    Configured, "configuration-changed", Change;
    /// A piece of a snapshot was read, to be sent.
    SnapshotChunkRead, "snapshot-chunk-read", Send;
    /// The file for a snapshot being received is there, and empty.
    SnapshotBegun, "snapshot-begun", Behind;
    /// Rows of a snapshot are written, its end has not come.
    SnapshotRowsWritten, "snapshot-rows-written", Behind;
    /// A snapshot is complete and durable, and nobody's state.
    SnapshotFinished, "snapshot-finished", Behind;
    /// raft-rs is about to hear of a snapshot that is on the disk.
    SnapshotArrived, "snapshot-arrived", Behind;
    /// A complete database is about to take the state's name.
    StateBeforeRename, "state-before-rename", Behind;
    /// A complete database has the state's name, which is not durable.
    StateRenamed, "state-renamed", Behind;
    /// The new state is durable in its place and not open.
    StatePlaced, "state-placed", Behind;
    /// The snapshot is the state; the log still says what it said before.
    SnapshotInstalled, "snapshot-installed-unmarked", Behind;
    /// The log begins behind the snapshot; nothing was answered to the leader.
    SnapshotMarked, "snapshot-marked", Behind;
    /// Directories are made, their names are not durable.
    DirectoriesMade, "directories-made", Start;
    /// Leftovers are removed, which is not durable.
    LeftoversRemoved, "leftovers-removed", Start;
    /// A torn tail is cleared, unsynced.
    TailCleared, "tail-cleared", Start;
    /// What was recovered of the log is durable; the state is not open.
    LogOpened, "log-opened", Start;
    /// Both are open; nothing was compared.
    StateOpened, "state-opened", Start;
    /// Log and state fit; this start has no number.
    Settled, "log-settled", Start;
    /// This start's number is written, unsynced.
    BootWritten, "boot-written", Start;
    /// This start's number is durable; nothing runs.
    BootNoted, "boot-noted", Start;
    /// A first log is there, and holds nothing.
    LogCreated, "log-created", FirstStart;
    /// A first log says where the cluster begins; there is no state.
    LogBegun, "log-begun", FirstStart;
    /// The seal of a first log is written, unsynced.
    SealWritten, "seal-written", FirstStart;
    /// The log of a first start that did not end is removed, not durably.
    FirstStartUndone, "first-start-undone", FirstStart;
    /// A first log is sealed; there is no state.
    LogClosed, "log-closed", FirstStart;
    /// Log and state are there; they were never opened.
    StateCreated, "state-created", FirstStart;
}

/// The process comes by this place.
#[inline(always)]
pub fn hit(point: Failpoint) {
    #[cfg(feature = "training")]
    armed::hit(point);
    #[cfg(not(feature = "training"))]
    let _ = point;
}

#[cfg(test)]
mod tests {
    /// What a person finds by reading: each entry of the table has one place in the code.
    #[test]
    fn every_failpoint_has_exactly_one_place() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let own = include_str!("failpoint.rs");
        let (_, table) = own.split_once("\nfailpoints! {").expect("the table");
        let (table, _) = table.split_once("\n}").expect("its end");
        let entries = table.lines().filter(|line| line.ends_with(';'));
        let points: Vec<&str> =
            entries.filter_map(|line| Some(line.trim().split_once(',')?.0)).collect();
        assert!(points.len() > 40, "the table was read: {points:?}");
        let mut text = String::new();
        let mut folders = vec![source.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder of sources") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path != source.join("failpoint.rs") {
                    text.push_str(&std::fs::read_to_string(&path).expect("a source is text"));
                }
            }
        }
        for point in points {
            let places = text.matches(&format!("hit(Failpoint::{point})")).count();
            assert_eq!(places, 1, "Failpoint::{point} is hit in so many places");
        }
    }
}
