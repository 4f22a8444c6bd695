//! Faults: conditions that are injected somewhere, last, and are taken off again.
//!
//! ```text
//!  a link      its LinkCondition: cut, held, refused, slow, throttled, half open, mangled
//!  anything    else: a Fault of a process, a disk, a clock, or of time (flapping, restarting)
//! ```
//!
//! A fault belongs to its target and survives the restarts of a process. There is at most one of
//! each [kind](Fault::kind) at a target: the newer one replaces the older.

use std::fmt;

use node_protocol::FrameKind;
use serde::{Deserialize, Serialize};

use crate::{Link, MemberNo};

/// A fault that is no link's condition.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// The process runs only so many percent of the time, 1 to 90.
    Starved { member: MemberNo, percent: u8 },
    /// The process is crashed and started again, over and over.
    Restarting { member: MemberNo, up_millis: u32, down_millis: u32 },
    /// The link is open and cut in turn.
    Flapping { link: Link, up_millis: u32, down_millis: u32 },
    /// Each sync of the disk takes so much longer.
    SlowSync { member: MemberNo, millis: u32 },
    /// No sync of the disk returns.
    StuckSync { member: MemberNo },
    /// Each sync of the disk fails (EIO).
    FailingSync { member: MemberNo },
    /// No file can grow (ENOSPC).
    FullDisk { member: MemberNo },
    /// Nothing can be written (EROFS).
    ReadOnlyDisk { member: MemberNo },
    /// The member's clocks run at so many thousandths of the true rate, 10 to 10,000.
    DriftingClock { member: MemberNo, permille: u32 },
    /// The member's clocks stand still but for the ticks that are granted.
    FrozenClock { member: MemberNo },
}

/// What a fault is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FaultPlace {
    /// A member's process.
    Process(MemberNo),
    /// A member's disk.
    Disk(MemberNo),
    /// A member's clocks.
    Clock(MemberNo),
    /// A link.
    Link(Link),
}

impl Fault {
    /// Where it acts.
    pub fn place(self) -> FaultPlace {
        match self {
            Self::Starved { member, .. } | Self::Restarting { member, .. } => {
                FaultPlace::Process(member)
            }
            Self::Flapping { link, .. } => FaultPlace::Link(link),
            Self::SlowSync { member, .. }
            | Self::StuckSync { member }
            | Self::FailingSync { member }
            | Self::FullDisk { member }
            | Self::ReadOnlyDisk { member } => FaultPlace::Disk(member),
            Self::DriftingClock { member, .. } | Self::FrozenClock { member } => {
                FaultPlace::Clock(member)
            }
        }
    }

    /// The member it is done to, if it is done to one.
    pub fn member(self) -> Option<MemberNo> {
        match self.place() {
            FaultPlace::Process(member) | FaultPlace::Disk(member) | FaultPlace::Clock(member) => {
                Some(member)
            }
            FaultPlace::Link(_) => None,
        }
    }

    /// Its kind in a word or two.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Starved { .. } => "starved",
            Self::Restarting { .. } => "restarting",
            Self::Flapping { .. } => "flapping",
            Self::SlowSync { .. } => "slow fsync",
            Self::StuckSync { .. } => "stuck fsync",
            Self::FailingSync { .. } => "failing fsync",
            Self::FullDisk { .. } => "full disk",
            Self::ReadOnlyDisk { .. } => "read-only disk",
            Self::DriftingClock { .. } => "drifting clock",
            Self::FrozenClock { .. } => "frozen clock",
        }
    }

    /// Whether it is of the same kind at the same target.
    pub fn replaces(self, other: Self) -> bool {
        self.place() == other.place() && self.kind() == other.kind()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starved { member, percent } => {
                write!(f, "{member} is starved: it runs {percent} % of the time")
            }
            Self::Restarting { member, up_millis, down_millis } => {
                write!(
                    f,
                    "{member} restarts again and again: up {up_millis} ms, down {down_millis} ms"
                )
            }
            Self::Flapping { link, up_millis, down_millis } => {
                write!(f, "{link} flaps: open {up_millis} ms, cut {down_millis} ms")
            }
            Self::SlowSync { member, millis } => {
                write!(f, "{member}'s disk is slow: each fsync takes {millis} ms longer")
            }
            Self::StuckSync { member } => write!(f, "{member}'s disk is stuck: no fsync returns"),
            Self::FailingSync { member } => {
                write!(f, "{member}'s disk is dying: each fsync fails")
            }
            Self::FullDisk { member } => write!(f, "{member}'s disk is full"),
            Self::ReadOnlyDisk { member } => write!(f, "{member}'s disk is read-only"),
            Self::DriftingClock { member, permille } => {
                write!(f, "{member}'s clocks drift: they run at {permille} ‰")
            }
            Self::FrozenClock { member } => write!(f, "{member}'s clocks stand still"),
        }
    }
}

/// What a link does to the messages put on it.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkCondition {
    /// Delivers.
    #[default]
    Open,
    /// Loses every message.
    Cut,
    /// Delivers later.
    Delayed { millis: u32, jitter_millis: u32 },
    /// Keeps everything, and delivers it late: when it is healed, or message by message.
    Held,
    /// Has its connections ended and refuses new ones, as a port that is closed.
    Refused,
    /// Delivers so many bytes a second.
    Throttled { bytes_per_second: u32 },
    /// Delivers; but when one of its processes ends, the other is not told, and speaks to nobody.
    HalfOpen,
    /// Does something to so many percent of the messages of these kinds.
    Mangled { how: Mangling, percent: u8, only: Kinds },
}

impl LinkCondition {
    /// Whether nothing comes through, now or for as long as it lasts.
    pub fn blocks(self) -> bool {
        match self {
            Self::Cut | Self::Held | Self::Refused => true,
            Self::Open
            | Self::Delayed { .. }
            | Self::Throttled { .. }
            | Self::HalfOpen
            | Self::Mangled { .. } => false,
        }
    }
}

/// What a link does to some of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mangling {
    /// Loses them.
    Drop,
    /// Delivers them twice.
    Duplicate,
    /// Delivers them late, behind others.
    Reorder,
}

impl fmt::Display for Mangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
        })
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $word:literal: $($kind:ident)|*,)*) => {
        /// Which messages are meant.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Kinds {
            /// All of them.
            #[default]
            Any,
            $($(#[$doc])* $name,)*
        }

        impl Kinds {
            /// The words, as a scenario says them.
            pub const WORDS: &[&str] = &["any", $($word),*];

            /// Whether messages of this kind are meant.
            pub fn has(self, kind: FrameKind) -> bool {
                match self {
                    Self::Any => true,
                    $(Self::$name => matches!(kind, $(FrameKind::$kind)|*),)*
                }
            }

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self {
                    Self::Any => "any",
                    $(Self::$name => $word,)*
                }
            }

            /// What this word means.
            pub fn of_word(word: &str) -> Option<Self> {
                match word {
                    "any" => Some(Self::Any),
                    $($word => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Entries and probes from the leader.
    Appends "append": Append,
    /// The answers to them.
    AppendResponses "append_response": AppendResponse,
    /// The leader's signs of life.
    Heartbeats "heartbeat": Heartbeat,
    /// The answers to them.
    HeartbeatResponses "heartbeat_response": HeartbeatResponse,
    /// Questions for a vote, those before a campaign as well.
    Votes "vote": Vote | PreVote,
    /// Votes given and refused.
    VoteResponses "vote_response": VoteResponse | PreVoteResponse,
    /// How far a read has to wait, questions and answers.
    Reads "read_index": ReadIndex | ReadIndexResponse,
    /// Clients' commands on their way to the leader.
    Forwards "forward": Forward | Ask | Answer,
    /// A leader's word that its successor may campaign.
    Transfers "transfer": TimeoutNow | TransferLeader,
}

/// What is done to one message that a link holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldOrder {
    /// It is delivered, before those that stay.
    Release,
    /// It is lost.
    Drop,
    /// It is delivered twice.
    Duplicate,
}

/// A file of a member that a disk may damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberFile {
    /// Its log: the newest segment.
    Log,
    /// Its state.
    State,
    /// Its newest snapshot: `member/snap/db`.
    Snapshot,
}

/// How a file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Damage {
    /// One bit of each block of 4 KiB that was written is another.
    BitFlip,
    /// The last third of it is missing.
    Truncate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_fault_replaces_one_of_its_kind_only() {
        let member = MemberNo(1);
        let slow = |millis| Fault::SlowSync { member, millis };
        assert!(slow(2).replaces(slow(1)));
        assert!(!slow(2).replaces(Fault::StuckSync { member }));
        assert!(!slow(2).replaces(Fault::SlowSync { member: MemberNo(2), millis: 2 }));
        assert_eq!(slow(2).member(), Some(member));
    }

    #[test]
    fn kinds_are_known_by_their_words() {
        for word in Kinds::WORDS {
            let kinds = Kinds::of_word(word).expect(word);
            assert_eq!(kinds.word(), *word);
        }
        assert!(Kinds::Votes.has(FrameKind::PreVote) && !Kinds::Votes.has(FrameKind::Append));
        assert_eq!(Kinds::of_word("mail"), None);
    }
}
