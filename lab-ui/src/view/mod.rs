//! Text and controls: what can be read, focused and pressed.
//!
//! Components take values that can be compared and emit an [`Action`]; none of them keeps a truth
//! of its own except what a person is typing.

pub mod break_panel;
pub mod clients;
pub mod drill;
pub mod faults;
pub mod frames;
pub mod lesson;
pub mod links;
pub mod marks;
pub mod recovery;
pub mod right;
pub mod stage;
pub mod states;
pub mod step;
pub mod tape_bar;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod top;

use lab_protocol::{Command, Link, MemberNo, Standing};
use node_protocol::Role;

use crate::model::summary::{Condition, MemberSummary};

/// What a person wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Something of the lab.
    Ask(Command),
    /// To look at another member.
    Select(MemberNo),
    /// To see a link marked on the ring, or none.
    Hover(Option<Link>),
    /// To cut or heal a link, whichever it is not.
    Toggle(Link),
    /// To open or close the editor of partitions.
    EditPartition(bool),
    /// To see these deeds in the panel.
    Show(Deeds),
    /// Light or dark.
    ToggleTheme,
    /// The right column of a middling screen, open or closed.
    ToggleDrawer,
    /// The tape to end so many microseconds before now; 0 follows.
    LookBack(u64),
    /// The tape to stand still at what it shows, or to go on.
    HoldTape(bool),
    /// The tape to show so many seconds.
    TapeSpan(u64),
    /// These lines typed at the terminal, each when the one before it has ended well.
    Type(Vec<String>),
    /// The terminal open or closed.
    ShowTerminal(bool),
    /// The stage to show the recovery, or the ring.
    ShowRecovery(bool),
}

/// Which deeds the panel shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deeds {
    /// What breaks something.
    #[default]
    Break,
    /// What changes who takes part.
    Members,
}

/// What can be done to a member, in the order of the buttons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// SIGKILL.
    Crash,
    /// SIGSTOP or SIGCONT, whichever it is not.
    Pause,
    /// Start again.
    Restart,
    /// Cut every link.
    Isolate,
    /// Open the editor.
    Partition,
    /// Delete the data directory.
    Wipe,
    /// A new member without a vote.
    AddLearner,
    /// A new member with a vote.
    AddMember,
    /// A vote for a learner.
    Promote,
    /// The leadership, handed over.
    Transfer,
    /// Out of the cluster.
    Remove,
}

impl Deed {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Deeds::Break, Deeds::Members].into_iter().flat_map(Self::of).copied()
    }

    /// Those that stand together.
    pub fn of(deeds: Deeds) -> &'static [Self] {
        match deeds {
            Deeds::Break => &[
                Self::Crash,
                Self::Pause,
                Self::Restart,
                Self::Isolate,
                Self::Partition,
                Self::Wipe,
            ],
            Deeds::Members => {
                &[Self::AddLearner, Self::AddMember, Self::Promote, Self::Transfer, Self::Remove]
            }
        }
    }

    /// With which others it stands.
    pub fn among(self) -> Deeds {
        if Self::of(Deeds::Break).contains(&self) { Deeds::Break } else { Deeds::Members }
    }

    /// Whether it is asked twice.
    pub fn is_asked_twice(self) -> bool {
        matches!(self, Self::Wipe | Self::Remove)
    }

    /// Its key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Crash => "C",
            Self::Pause => "P",
            Self::Restart => "R",
            Self::Isolate => "I",
            Self::Partition => "S",
            Self::Wipe => "W",
            Self::AddLearner => "L",
            Self::AddMember => "A",
            Self::Promote => "V",
            Self::Transfer => "T",
            Self::Remove => "X",
        }
    }

    /// Its name on the button.
    pub fn name(self, member: Option<&MemberSummary>) -> &'static str {
        let paused = member.is_some_and(|member| member.condition == Condition::Paused);
        match self {
            Self::Crash => "Crash",
            Self::Pause if paused => "Resume",
            Self::Pause => "Pause",
            Self::Restart => "Restart",
            Self::Isolate => "Isolate",
            Self::Partition => "Partition",
            Self::Wipe => "Wipe disk",
            Self::AddLearner => "Add learner",
            Self::AddMember => "Add voter",
            Self::Promote => "Promote",
            Self::Transfer => "Make leader",
            Self::Remove => "Remove",
        }
    }

    /// The command it stands for, or why it cannot be done now.
    pub fn command(self, member: Option<&MemberSummary>) -> Result<Option<Command>, &'static str> {
        match self {
            Self::Partition => return Ok(None),
            Self::AddLearner => return Ok(Some(Command::AddMember { learner: true })),
            Self::AddMember => return Ok(Some(Command::AddMember { learner: false })),
            _ => {}
        }
        let Some(member) = member else { return Err("no member is selected") };
        let no = member.no;
        let leads = member.role.is_some_and(|(role, _)| role == Role::Leader);
        let command = match (self, member.condition) {
            (Self::Wipe, Condition::Down { wiped: false }) => Command::Wipe { member: no },
            _ if member.standing == Standing::Removed => return Err("it was removed, for ever"),
            (Self::Remove, _) => Command::RemoveMember { member: no },
            (Self::Promote, _) => match member.standing {
                Standing::Learner => Command::PromoteMember { member: no },
                Standing::Unknown => return Err("it is not in the cluster yet"),
                Standing::Voter | Standing::Removed => return Err("it has a vote"),
                Standing::Elsewhere => return Err("it is of another cluster"),
            },
            (Self::Transfer, Condition::Up) => match (member.standing, leads) {
                (Standing::Learner, _) => return Err("a learner cannot lead"),
                (_, true) => return Err("it leads"),
                (_, false) => Command::TransferLeadership { to: no },
            },
            (Self::Transfer, Condition::Paused) => return Err("it is paused"),
            (Self::Transfer, Condition::Down { .. }) => return Err("it is down"),
            (_, Condition::Planned) => return Err("it has not started yet"),
            (Self::Crash, Condition::Up | Condition::Paused) => Command::Crash { member: no },
            (Self::Crash, Condition::Down { .. }) => return Err("it is down already"),
            (Self::Pause, Condition::Up) => Command::Pause { member: no },
            (Self::Pause, Condition::Paused) => Command::Resume { member: no },
            (Self::Pause, Condition::Down { .. }) => return Err("it is down"),
            (Self::Restart, Condition::Down { .. }) => Command::Restart { member: no },
            (Self::Restart, Condition::Up | Condition::Paused) => return Err("it runs"),
            (Self::Isolate, _) if member.isolated => return Err("it is cut off already"),
            (Self::Isolate, _) => Command::Isolate { member: no },
            (Self::Wipe, Condition::Down { .. }) => return Err("its disk is empty"),
            (Self::Wipe, Condition::Up | Condition::Paused) => {
                return Err("crash it first");
            }
            (Self::Partition | Self::AddLearner | Self::AddMember, _) => return Ok(None),
        };
        Ok(Some(command))
    }
}
