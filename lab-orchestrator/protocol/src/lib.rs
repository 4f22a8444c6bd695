//! What the lab and its readers say to each other.
//!
//! A [`Command`] is asked of the lab, an [`Event`] is one thing that happened, the journal is the
//! ordered, numbered events ([`Numbered`]), and [`LabState`] is their fold: whoever has a state and
//! the events after it knows what the lab knows. The browser, the recorder, the waits of a drill
//! and the checks are readers of the same journal; a click and a step of a scenario file become
//! the same command.
//!
//! ```text
//!  page, drill ── Command ──► lab ── Event ──► journal ──► { page, recorder, waits, checks }
//! ```
//!
//! Everything here is data and pure functions over it: no socket, file, clock or random source,
//! and it builds for wasm.

mod command;
mod drill;
mod engine;
mod event;
mod fault;
pub mod gather;
mod lab_state;
mod lesson;
pub mod mix;
mod operation;
pub mod recording;
pub mod scenario;
mod socket;
mod transaction;
mod verdict;
mod watch;

pub use node_protocol;

pub use command::{Command, Grudge, WorkloadSpec};
pub use drill::{DrillBrief, DrillEvent, Goal};
pub use engine::{Account, EngineKind, SIMULATION};
pub use event::{
    Backup, BackupVerdict, By, ClockMove, CommandId, Ended, Event, Fate, Feed, Integrity,
    LinkTraffic, LostWhy, MemberPlan, Message, Numbered, Process, ReadBack, Said, SnapshotFile,
};
pub use fault::{Damage, Fault, FaultPlace, HeldOrder, Kinds, LinkCondition, Mangling, MemberFile};
pub use lab_state::{
    ActiveFault, Applied, Configuration, LabState, LinkState, MemberState, Standing, backups,
    drill::DrillState, lesson::LessonState, recovery, story, tape, terminal,
};
pub use lesson::{
    Grade, Guess, LessonBrief, LessonEvent, Prediction, Question, QuestionKind, Reveal, Revealed,
};
pub use mix::{Endpoints, MixSpec, Shares};
pub use operation::{Answer, Call, ClientNo, OpId, Outcome};
pub use socket::{ClientFrame, DecodeError, LAB_PROTOCOL_VERSION, ServerFrame};
pub use transaction::{
    Compare, CompareResult, CompareTarget, KeyRange, Row, TxnAnswer, TxnOp, TxnResult,
};
pub use verdict::{CheckResult, Judgement, Score, Verdict};
pub use watch::{
    WatchEvent, WatchEventKind, WatchFilter, WatchId, WatchRequest, WatchResponse, WatchTold,
};

use std::fmt;

use serde::{Deserialize, Serialize};

/// A member by the lab's own count: 1 to 9, printed `m1` to `m9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberNo(pub u8);

impl MemberNo {
    /// At an end of a link: all of the lab's own clients.
    pub const CLIENTS: Self = Self(0);
}

impl fmt::Display for MemberNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CLIENTS => f.write_str("clients"),
            Self(number) => write!(f, "m{number}"),
        }
    }
}

impl std::str::FromStr for MemberNo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('m').and_then(|digits| digits.parse().ok()) {
            Some(number @ 1..=9) => Ok(Self(number)),
            _ => Err(format!("`{text}` is not a member; members are m1 to m9")),
        }
    }
}

/// One direction between two members, or between the lab's clients and a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// Who sends.
    pub from: MemberNo,
    /// Who receives.
    pub to: MemberNo,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}", self.from, self.to)
    }
}
