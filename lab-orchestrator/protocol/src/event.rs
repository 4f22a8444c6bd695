//! What happened, in the order in which the lab saw it.

use std::fmt;

use node_protocol::{ClusterId, FrameKind, Index, MemberId, Status, Term, telemetry::Traced};
use serde::{Deserialize, Serialize};

use crate::{
    Call, ClientNo, Command, Damage, DrillEvent, Fault, LessonEvent, Link, LinkCondition,
    MemberFile, MemberNo, MixSpec, OpId, Outcome, Score, Verdict, WatchId, WatchRequest,
    WatchResponse, WorkloadSpec,
};

/// An event with its number and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// Counted from 1 in each run, without gaps.
    pub seq: u64,
    /// Microseconds since the run began; never falls.
    pub at_micros: u64,
    /// What happened.
    pub event: Event,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// A person at the page.
    Page,
    /// A scenario file.
    Drill,
    /// A program, over REST.
    Call,
    /// The lab itself, such as the healing at a run's end.
    Lab,
}

/// A command by the lab's count, from 1 in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub u64);

/// One thing that happened.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Always first, and again after *start over*: what is about to run.
    RunStarted {
        /// Name of the run, unique.
        run: String,
        /// Every random choice of the lab comes from it.
        seed: u64,
        /// Version of the lab.
        version: String,
        /// The program the members run, such as `raft-node 0.1.0`, or [`crate::SIMULATION`].
        engine: String,
        /// The cluster token.
        token: String,
        /// Wall clock at the start, milliseconds since 1970 (UTC).
        wall_millis: u64,
        /// The members, ascending.
        members: Vec<MemberPlan>,
    },
    /// A command was asked.
    Asked { id: CommandId, by: By, command: Command },
    /// All that a command asked has been carried out.
    Done { id: CommandId },
    /// A command cannot be carried out; nothing was changed.
    Refused { id: CommandId, why: String },
    /// A process is in another condition.
    Process { member: MemberNo, process: Process },
    /// A member told its identity.
    Identified { member: MemberNo, id: MemberId, cluster: ClusterId },
    /// A member's telemetry was heard again, or no longer.
    Telemetry { member: MemberNo, feed: Feed },
    /// A member's picture of itself.
    Status { member: MemberNo, status: Box<Status> },
    /// A step a member reported of itself. `traced.at_micros` is already in the run's time.
    Trace { member: MemberNo, traced: Traced },
    /// This many trace events of a member were lost before they reached the lab.
    TraceLost { member: MemberNo, count: u64 },
    /// A link is in another condition.
    LinkChanged { link: Link, condition: LinkCondition },
    /// A message was put on a link.
    Message(Message),
    /// A message that was flying is lost after all.
    MessageLost { number: u64, why: LostWhy },
    /// What went over the links so far; sent at most ten times a second, links without change
    /// left out.
    Traffic { links: Vec<LinkTraffic> },
    /// A client asked something.
    Invoked { op: OpId, client: ClientNo, member: MemberNo, call: Call },
    /// A client was told something, or gave up.
    Returned { op: OpId, outcome: Outcome },
    /// A client lost its connection to one member and turned to another.
    Reconnected { client: ClientNo, from: MemberNo, to: MemberNo },
    /// A member's whole key space, read at a quiet moment.
    ReadBack(Box<ReadBack>),
    /// Another workload runs.
    WorkloadChanged { spec: WorkloadSpec },
    /// A drill's step began.
    Step { number: u32, text: String },
    /// Something a person should read.
    Note { text: String },
    /// A drill was judged.
    Judged(Box<Verdict>),
    /// The run ends; nothing follows.
    RunEnded,
    /// A client asked a member for a watch.
    WatchOpened { watch: WatchId, client: ClientNo, member: MemberNo, request: WatchRequest },
    /// A client was told something by a watch.
    WatchHeard { watch: WatchId, response: Box<WatchResponse> },
    /// A watch's stream ended, by the client or by a lost connection.
    WatchClosed { watch: WatchId, why: String },
    /// A client asked for the rest of a closed watch, from this revision on.
    WatchResumed { watch: WatchId, member: MemberNo, start_revision: i64 },
    /// The cluster took in a new member, which has a place in the lab from now on; its process has
    /// not begun.
    MemberAdded {
        /// As planned.
        plan: MemberPlan,
        /// The identity that the cluster gave it.
        id: MemberId,
        /// Which cluster.
        cluster: ClusterId,
        /// Without a vote.
        learner: bool,
    },
    /// A line of the terminal has ended.
    Said(Box<Said>),
    /// A member told that its cluster was restored from a snapshot.
    Restored {
        /// Who told it.
        member: MemberNo,
        /// Its cluster.
        cluster: ClusterId,
        /// The newest revision of the snapshot; what was written behind it is not in there.
        revision: i64,
        /// The cluster's own revision at its beginning: more where revisions were bumped.
        began_at: i64,
    },
    /// An operation that returns next was answered by this cluster, by its header. Told of the first
    /// that is answered in a run, and of each that another cluster answers than that one.
    AnsweredBy { op: OpId, cluster: ClusterId },
    /// Other databases lie on the desk than before, or they have changed: all of them, by name.
    Snapshots(Vec<SnapshotFile>),
    /// A drill was scored, behind its verdict.
    Scored(Box<Score>),
    /// Somebody took a place in the lab whom the lab did not add: a member whose start was typed.
    Seated { plan: MemberPlan },
    /// Something happened to a drill that a person plays.
    Drill(DrillEvent),
    /// Backups are taken in another way; every 0 ms is never.
    BackupsChanged { every_millis: u64, keep: u32, verify: bool },
    /// What came of a backup.
    Backup(Backup),
    /// A fault began, for a time or until it is taken off.
    FaultBegan { fault: Fault, until_micros: Option<u64> },
    /// A fault ended.
    FaultEnded { fault: Fault },
    /// A message that a link held lands at this time.
    MessageReleased { number: u64, at_micros: u64 },
    /// All connections that carry a link were reset: so many.
    LinkReset { link: Link, connections: u32 },
    /// A member's clocks were moved, or granted ticks while they stood still.
    ClockMoved { member: MemberNo, how: ClockMove },
    /// A member was made to campaign, or its election timers were set.
    TimersSet { member: MemberNo, ticks: u32 },
    /// A member's file was damaged.
    FileDamaged { member: MemberNo, file: MemberFile, damage: Damage, path: String },
    /// A scenario calls these members so from now on.
    Named { name: String, members: Vec<MemberNo> },
    /// Another mix of errands runs.
    MixChanged { mix: MixSpec },
    /// Something happened to a lesson that somebody takes.
    Lesson(LessonEvent),
}

/// How a member's clocks were moved.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClockMove {
    /// The wall clock jumped.
    Jumped { millis: i64 },
    /// Clocks that stand still went on by so many ticks.
    Ticked { ticks: u32 },
}

/// A backup on the desk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Its path on the desk; empty if there is none.
    pub file: String,
    /// Its newest revision.
    pub revision: i64,
    /// When it was asked for, microseconds of the run; a backup's name says whole seconds, and so
    /// does this, never too late.
    pub at_micros: u64,
    /// What it is good for.
    pub verdict: BackupVerdict,
}

/// What a backup is good for.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupVerdict {
    /// It is whole, and nobody has restored it.
    Taken,
    /// It was restored for a test.
    Verified,
    /// It cannot be restored, whatever was said of it before.
    Damaged { why: String },
    /// There is none.
    Failed { why: String },
}

/// A database file on the desk: what `snapshot save` made, or a copy of a member's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// Its path on the desk.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// What its integrity hash says.
    pub integrity: Integrity,
    /// As `snapshot status` tells, as are the next two; 0 of a file that cannot be read.
    pub hash: u32,
    /// Its newest revision.
    pub revision: i64,
    /// Rows in it, those of history included.
    pub keys: u64,
}

/// What a database's integrity hash says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Integrity {
    /// The hash is that of the file.
    Verified,
    /// There is none: the file was copied, not saved.
    NoHash,
    /// The hash is that of another file, or this is no database: why, in the tool's words.
    Damaged(String),
}

/// What a line of the terminal said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The command that it was.
    pub id: CommandId,
    /// Its standard output, the last 64 KiB.
    pub out: String,
    /// Its standard error, the last 64 KiB.
    pub errors: String,
    /// Its exit code; 124 if it took too long and was ended.
    pub code: i32,
}

/// What one member holds: a linearizable read of all keys, and the hash of its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    /// Who was asked.
    pub member: MemberNo,
    /// The revision at which the keys were read.
    pub revision: i64,
    /// Every key with its value and the revision that wrote it, ascending by key.
    pub rows: Vec<(String, String, i64)>,
    /// The member's own hash of its state (the HashKV call), and the revision it was asked for:
    /// the same one at every member.
    pub hash: (i64, u32),
    /// Empty, or why the member could not be read; the fields above are then empty too.
    pub failed: String,
}

/// A member as planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPlan {
    /// Its number; its name is `m1`, `m2`, …
    pub member: MemberNo,
    /// Where clients reach it.
    pub client_url: String,
    /// What its peers call it, such as `http://m1.test:2380`.
    pub peer_url: String,
}

/// A process's condition, by the supervisor's account.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Process {
    /// Not started yet.
    #[default]
    Planned,
    /// Runs; the number is 0 in a simulation, which has no processes.
    Up { pid: u32 },
    /// Stopped by SIGSTOP.
    Paused { pid: u32 },
    /// Does not run.
    Down {
        /// How it ended.
        ended: Ended,
        /// Whether the lab meant it to end.
        asked: bool,
        /// Whether its data directory was deleted since.
        wiped: bool,
    },
}

/// How a process ended.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// By itself, with this code.
    Exit { code: i32 },
    /// By this signal; 9 is a crash.
    Signal { number: i32 },
    /// It could not be started.
    NotStarted { why: String },
    /// It ended, and how only whoever started it by hand knows.
    Unseen,
}

/// Whether a member's telemetry is heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feed {
    /// Heard.
    Live,
    /// Connected, but silent for longer than it should be.
    Quiet,
    /// Not connected.
    Lost,
}

/// One message between two members, as the fabric saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The fabric's number for it, unique in the run.
    pub number: u64,
    /// On which link.
    pub link: Link,
    /// What it is.
    pub kind: FrameKind,
    /// Refused (responses).
    pub reject: bool,
    /// The sender's term.
    pub term: Term,
    /// Index in the message.
    pub index: Index,
    /// Log entries inside.
    pub entries: u32,
    /// Its size on the wire.
    pub bytes: u32,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a message.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is delivered at this time (the event's own time for an undelayed link).
    Lands { at_micros: u64 },
    /// It never arrives.
    Lost(LostWhy),
    /// The link holds it; [`Event::MessageReleased`] or [`Event::MessageLost`] says what comes of
    /// it.
    Held,
}

/// Why a message never arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LostWhy {
    /// The link is cut.
    Cut,
    /// The receiver's process is gone.
    ReceiverDown,
    /// The sender's process ended while the message was under way.
    SenderDown,
    /// The network lost it, for no better reason.
    Chance,
    /// The link refuses connections.
    Refused,
    /// Somebody had the link drop it.
    Dropped,
}

impl fmt::Display for LostWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "the link is cut",
            Self::ReceiverDown => "the receiver is down",
            Self::SenderDown => "the sender is down",
            Self::Chance => "the network lost it",
            Self::Refused => "the link refuses connections",
            Self::Dropped => "it was dropped",
        })
    }
}

/// Counts of one link since the run began: `sent == landed + lost + under way`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTraffic {
    /// Which link.
    pub link: Link,
    /// Messages put on it.
    pub sent: u64,
    /// Messages delivered.
    pub landed: u64,
    /// Messages lost.
    pub lost: u64,
    /// Bytes put on it.
    pub bytes: u64,
}
