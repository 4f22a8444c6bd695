//! A member's own account: its status, its trace, and the frames both travel in.
//!
//! A telemetry connection is a websocket at `/telemetry`. The member sends binary messages, each
//! one postcard-encoded [`TelemetryFrame`]: first a `Hello`, then a `Status` whenever something
//! in it changed (at most about thirty a second) and `Trace` batches as things happen. The feed is
//! bounded: when a reader is too slow the oldest trace events are dropped and counted in
//! `Dropped`; the next status is whole again.
//!
//! Times are microseconds of the machine's monotonic clock (`CLOCK_MONOTONIC`), so processes of
//! one machine share them.

use serde::{Deserialize, Serialize};

use crate::{ClusterId, Index, MemberId, Revision, Term};

/// The version of these types. A reader refuses another one.
pub const TELEMETRY_VERSION: u32 = 3;

/// A member's role, by its own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Hears a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win before it disturbs anybody (Raft thesis §9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads in its term.
    Leader,
    /// Receives the log, has no vote.
    Learner,
}

/// A run of log entries of one term: from `first` up to the next run, or to the last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermRun {
    /// First index of the run.
    pub first: Index,
    /// Term of every entry in it.
    pub term: Term,
}

/// What a leader knows of one peer (Raft paper figure 2, etcd-io/raft `tracker/progress.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The peer.
    pub member: MemberId,
    /// Highest entry known to be on its disk.
    pub matched: Index,
    /// Next entry to send.
    pub next: Index,
    /// How the leader sends to it.
    pub state: ProgressState,
    /// Heard from within the last election timeout.
    pub recent_active: bool,
}

/// How a leader sends to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgressState {
    /// One message at a time, to find where the logs meet.
    Probe,
    /// Pipelined.
    Replicate,
    /// Waiting for a snapshot to arrive.
    Snapshot,
}

/// A member's whole picture at an instant, by its own account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// When it was taken: microseconds, monotonic clock of the machine.
    pub at_micros: u64,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it voted for in this term.
    pub vote: Option<MemberId>,
    /// Whom it believes to lead.
    pub leader: Option<MemberId>,
    /// First entry still in its log (everything before is compacted).
    pub first: Index,
    /// Last entry in its log, durable or not.
    pub last: Index,
    /// Last entry on its disk.
    pub persisted: Index,
    /// Last entry it knows to be committed.
    pub commit: Index,
    /// Last entry its state machine has applied.
    pub applied: Index,
    /// Terms of the log, oldest run first, at most 16 runs (the newest).
    pub terms: Vec<TermRun>,
    /// Revision of its key space.
    pub revision: Revision,
    /// Length of a tick.
    pub tick_micros: u32,
    /// Ticks since it last heard a leader or granted a vote (for a leader: since it last made sure
    /// of its quorum).
    pub election_elapsed_ticks: u32,
    /// Ticks after which it would campaign; drawn anew at each change of role or term.
    pub election_timeout_ticks: u32,
    /// Whether it may campaign at all (a voter of the present configuration).
    pub promotable: bool,
    /// Voters of the configuration, ascending.
    pub voters: Vec<MemberId>,
    /// Learners of the configuration, ascending.
    pub learners: Vec<MemberId>,
    /// What it knows of its peers; leaders only.
    pub progress: Vec<Progress>,
    /// Commands that wait here for an answer.
    pub waiting_proposals: u32,
    /// Linearizable reads that wait here for an answer.
    pub waiting_reads: u32,
    /// Leases that exist.
    pub leases: u32,
    /// Duration of the last log fsync.
    pub fsync_last_micros: u32,
    /// Bytes of the state file.
    pub state_bytes: u64,
}

impl Status {
    /// The status of a member that knows nothing yet.
    pub fn default_at(at_micros: u64) -> Self {
        Self {
            at_micros,
            role: Role::Follower,
            term: Term(0),
            vote: None,
            leader: None,
            first: Index(1),
            last: Index(0),
            persisted: Index(0),
            commit: Index(0),
            applied: Index(0),
            terms: Vec::new(),
            revision: Revision(1),
            tick_micros: 0,
            election_elapsed_ticks: 0,
            election_timeout_ticks: 0,
            promotable: false,
            voters: Vec::new(),
            learners: Vec::new(),
            progress: Vec::new(),
            waiting_proposals: 0,
            waiting_reads: 0,
            leases: 0,
            fsync_last_micros: 0,
            state_bytes: 0,
        }
    }

    /// Whether the two differ only in what passes by itself: the time and the countdown.
    pub fn same_but_for_time(&self, other: &Self) -> bool {
        let Self {
            at_micros: _,
            election_elapsed_ticks: _,
            role,
            term,
            vote,
            leader,
            first,
            last,
            persisted,
            commit,
            applied,
            terms,
            revision,
            tick_micros,
            election_timeout_ticks,
            promotable,
            voters,
            learners,
            progress,
            waiting_proposals,
            waiting_reads,
            leases,
            fsync_last_micros,
            state_bytes,
        } = self;
        *role == other.role
            && *term == other.term
            && *vote == other.vote
            && *leader == other.leader
            && *first == other.first
            && *last == other.last
            && *persisted == other.persisted
            && *commit == other.commit
            && *applied == other.applied
            && *terms == other.terms
            && *revision == other.revision
            && *tick_micros == other.tick_micros
            && *election_timeout_ticks == other.election_timeout_ticks
            && *promotable == other.promotable
            && *voters == other.voters
            && *learners == other.learners
            && *progress == other.progress
            && *waiting_proposals == other.waiting_proposals
            && *waiting_reads == other.waiting_reads
            && *leases == other.leases
            && *fsync_last_micros == other.fsync_last_micros
            && *state_bytes == other.state_bytes
    }
}

/// One log entry in a few words, for whoever shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EntryBrief {
    /// Its place.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// What it says, at most 40 characters, such as `put greeting`; empty for the entry a new
    /// leader writes.
    pub text: String,
}

/// What a log entry holds, in a few bytes: entries of the same index and term have the same
/// fingerprint, or the log matching property is broken (Raft paper figure 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The entry's term.
    pub term: Term,
    /// CRC-32C of its type, data and context.
    pub crc: u32,
}

/// One step a member reports of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TraceEvent {
    /// The process runs and has read its disk.
    Started {
        /// How many times this member has started, this time included.
        boot: u64,
        /// Last entry found in the log.
        last: Index,
        /// Entry up to which the state on disk is complete.
        applied: Index,
    },
    /// It stops in order (never sent by a crash).
    Stopping,
    /// Its role changed.
    Became {
        /// The new role.
        role: Role,
        /// The term it holds now.
        term: Term,
        /// Why, in a few words, such as `heard nothing for a whole election timeout`.
        why: String,
    },
    /// It learnt of a leader, or lost sight of one.
    LeaderSeen {
        /// In which term.
        term: Term,
        /// The leader, or nobody.
        leader: Option<MemberId>,
    },
    /// It answered a request for a vote.
    VoteCast {
        /// Who asked.
        candidate: MemberId,
        /// In which term.
        term: Term,
        /// Only asked whether it would (pre-vote).
        pre: bool,
        /// Its answer.
        granted: bool,
        /// Why not, in a few words; empty when granted.
        why: String,
    },
    /// It received an answer to its own request for a vote.
    VoteHeard {
        /// Who answered.
        from: MemberId,
        /// In which term.
        term: Term,
        /// Only asked whether it would (pre-vote).
        pre: bool,
        /// The answer.
        granted: bool,
    },
    /// Entries were appended to its log (not yet durable). At most the last eight of a batch.
    Appended {
        /// The entries, ascending.
        entries: Vec<EntryBrief>,
    },
    /// Entries that were never committed were overwritten by another leader's (Raft paper §5.3).
    Truncated {
        /// First index that was overwritten.
        from: Index,
        /// The last index the log had before.
        old_last: Index,
        /// Term of the entry that stood at `from`.
        old_term: Term,
    },
    /// The start of the log was dropped.
    Compacted {
        /// First entry left.
        first: Index,
    },
    /// A snapshot is being sent to a peer.
    SnapshotSent {
        /// The peer.
        to: MemberId,
        /// The entry it is complete up to.
        index: Index,
        /// Its size.
        bytes: u64,
    },
    /// A snapshot from the leader replaced the state.
    SnapshotInstalled {
        /// The entry it is complete up to.
        index: Index,
        /// Its size.
        bytes: u64,
    },
    /// The configuration changed.
    Configured {
        /// Voters now, ascending.
        voters: Vec<MemberId>,
        /// Learners now, ascending.
        learners: Vec<MemberId>,
    },
    /// Leases were given their full time again by a new leader.
    LeasesExtended {
        /// How many.
        count: u32,
    },
    /// A peer refused or could not be reached, or came back.
    Peer {
        /// The peer.
        peer: MemberId,
        /// Whether messages can be sent to it now.
        connected: bool,
        /// In a few words, for the disconnected.
        why: String,
    },
    /// It is about to end because it must not go on.
    Fatal {
        /// What happened.
        why: String,
    },
    /// What the entries of the last [`TraceEvent::Appended`] hold, all of the batch.
    Fingerprints {
        /// Index of the first; the others follow without a gap.
        first: Index,
        /// One for each entry.
        entries: Vec<Fingerprint>,
    },
}

/// A trace event with its time and place in the member's own order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// Counted from 1 in each process; a gap means events were dropped.
    pub seq: u64,
    /// Microseconds, monotonic clock of the machine.
    pub at_micros: u64,
    /// What happened.
    pub event: TraceEvent,
}

/// What a cluster began with that was restored from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The newest revision in the snapshot.
    pub snapshot: Revision,
    /// The cluster's own revision at its beginning: more where revisions were bumped.
    pub began_at: Revision,
}

/// One message of a telemetry connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TelemetryFrame {
    /// Always first.
    Hello {
        /// [`TELEMETRY_VERSION`].
        version: u32,
        /// Who speaks.
        member: MemberId,
        /// Its name.
        name: String,
        /// Its cluster.
        cluster: ClusterId,
        /// The etcd version it reports to clients.
        etcd_version: String,
        /// Its process id.
        pid: u32,
        /// What its cluster began with, if it was restored from a snapshot.
        restored: Option<Restored>,
    },
    /// The whole picture.
    Status(Box<Status>),
    /// Steps, in order.
    Trace(Vec<Traced>),
    /// The reader was too slow; this many trace events are missing before the next.
    Dropped {
        /// How many.
        count: u64,
    },
}

/// Bytes are not a telemetry frame of this version.
#[derive(Debug, thiserror::Error)]
#[error("not a telemetry frame of version {TELEMETRY_VERSION}")]
pub struct DecodeError(#[from] postcard::Error);

impl TelemetryFrame {
    /// The bytes of one websocket message.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("every value of this type has an encoding")
    }

    /// Reads one websocket message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(postcard::from_bytes(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_as_they_were_written() {
        let frames = [
            TelemetryFrame::Hello {
                version: TELEMETRY_VERSION,
                member: MemberId(1),
                name: "m1".into(),
                cluster: ClusterId(2),
                etcd_version: "3.5.0".into(),
                pid: 7,
                restored: Some(Restored { snapshot: Revision(40), began_at: Revision(50) }),
            },
            TelemetryFrame::Trace(vec![Traced {
                seq: 1,
                at_micros: 2,
                event: TraceEvent::LeaderSeen { term: Term(3), leader: None },
            }]),
            TelemetryFrame::Dropped { count: 9 },
        ];
        for frame in frames {
            assert_eq!(TelemetryFrame::decode(&frame.encode()).expect("decodes"), frame);
        }
        assert!(TelemetryFrame::decode(&[0xff, 1, 2]).is_err());
    }
}
