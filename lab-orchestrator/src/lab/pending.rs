//! Commands that are under way: what each still waits to see.

use lab_protocol::{CommandId, Ended, Event, Link, MemberNo, OpId, Process};
use tokio::sync::oneshot;

use crate::handle::SubmitError;

/// Something that must be seen before a command is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Await {
    /// The member's process runs.
    Up(MemberNo),
    /// The member's process is paused.
    Paused(MemberNo),
    /// The member's process has ended.
    Down(MemberNo),
    /// The link reported a change.
    Changed(Link),
    /// The operation returned.
    Returned(OpId),
    /// The reading back that this command began is complete.
    ReadBack(CommandId),
    /// A member answered what this command asked of the cluster.
    Answered(CommandId),
    /// The lab started over.
    StartedOver,
    /// The line that this command is has ended.
    Said(CommandId),
    /// This member has heard what this command has it told.
    Heeded(CommandId, MemberNo),
    /// Something came of a message that a link held.
    OfMessage(u64),
}

/// What an event means for something awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    NotYet,
    Yes,
    Never(String),
}

/// A command under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: CommandId,
    pub(super) awaits: Vec<Await>,
    pub(super) reply: oneshot::Sender<Result<CommandId, SubmitError>>,
}

/// All commands under way, in the order in which they were asked.
#[derive(Debug, Default)]
pub(super) struct Underway(Vec<Pending>);

impl Underway {
    pub(super) fn add(&mut self, pending: Pending) {
        self.0.push(pending);
    }

    /// Takes out the commands that an event settles, each with why it failed, if it did.
    pub(super) fn settle(&mut self, event: &Event) -> Vec<(Pending, Result<(), String>)> {
        if !matters(event) {
            return Vec::new();
        }
        self.take_out(|awaits| seen(*awaits, event))
    }

    /// Takes out the commands that waited for this, which is no event.
    pub(super) fn met(
        &mut self,
        met: Await,
        how: &Result<(), String>,
    ) -> Vec<(Pending, Result<(), String>)> {
        self.met_by(|awaits| *awaits == met, how)
    }

    /// The same for whatever is awaited of a kind.
    pub(super) fn met_by(
        &mut self,
        met: impl Fn(&Await) -> bool,
        how: &Result<(), String>,
    ) -> Vec<(Pending, Result<(), String>)> {
        self.take_out(|awaits| match how {
            _ if !met(awaits) => Seen::NotYet,
            Ok(()) => Seen::Yes,
            Err(why) => Seen::Never(why.clone()),
        })
    }

    /// Whoever awaited one thing awaits these instead.
    pub(super) fn replace(&mut self, awaited: Await, instead: &[Await]) {
        for pending in &mut self.0 {
            if let Some(place) = pending.awaits.iter().position(|own| *own == awaited) {
                pending.awaits.splice(place..=place, instead.iter().copied());
            }
        }
    }

    /// How many commands are under way.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.0)
    }

    fn take_out(&mut self, see: impl Fn(&Await) -> Seen) -> Vec<(Pending, Result<(), String>)> {
        let mut settled = Vec::new();
        for mut pending in std::mem::take(&mut self.0) {
            let mut failed = None;
            pending.awaits.retain(|awaits| match see(awaits) {
                Seen::NotYet => true,
                Seen::Yes => false,
                Seen::Never(why) => {
                    failed.get_or_insert(why);
                    false
                }
            });
            match failed {
                Some(why) => settled.push((pending, Err(why))),
                None if pending.awaits.is_empty() => settled.push((pending, Ok(()))),
                None => self.0.push(pending),
            }
        }
        settled
    }
}

/// Whether a command can wait for events of this kind at all.
fn matters(event: &Event) -> bool {
    matches!(
        event,
        Event::Process { .. }
            | Event::LinkChanged { .. }
            | Event::Returned { .. }
            | Event::MessageReleased { .. }
            | Event::MessageLost { .. }
    )
}

fn seen(awaits: Await, event: &Event) -> Seen {
    match (awaits, event) {
        (Await::Up(awaited), Event::Process { member, process }) if awaited == *member => {
            match process {
                Process::Up { .. } => Seen::Yes,
                Process::Down { ended: Ended::NotStarted { why }, .. } => Seen::Never(why.clone()),
                Process::Down { .. } => Seen::Never(format!("{member} ended meanwhile")),
                Process::Planned | Process::Paused { .. } => Seen::NotYet,
            }
        }
        (Await::Paused(awaited), Event::Process { member, process }) if awaited == *member => {
            match process {
                Process::Paused { .. } => Seen::Yes,
                Process::Down { .. } => Seen::Never(format!("{member} ended meanwhile")),
                Process::Planned | Process::Up { .. } => Seen::NotYet,
            }
        }
        (Await::Down(awaited), Event::Process { member, process }) if awaited == *member => {
            match process {
                Process::Down { .. } => Seen::Yes,
                Process::Planned | Process::Up { .. } | Process::Paused { .. } => Seen::NotYet,
            }
        }
        // Whatever the link does now: a later command replaced this one's condition.
        (Await::Changed(awaited), Event::LinkChanged { link, .. }) if awaited == *link => Seen::Yes,
        (Await::Returned(awaited), Event::Returned { op, .. }) if awaited == *op => Seen::Yes,
        (
            Await::OfMessage(awaited),
            Event::MessageReleased { number, .. } | Event::MessageLost { number, .. },
        ) if awaited == *number => Seen::Yes,
        (
            Await::Up(_)
            | Await::OfMessage(_)
            | Await::Heeded(..)
            | Await::Paused(_)
            | Await::Down(_)
            | Await::Changed(_)
            | Await::Returned(_)
            | Await::ReadBack(_)
            | Await::Answered(_)
            | Await::Said(_)
            | Await::StartedOver,
            _,
        ) => Seen::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M1: MemberNo = MemberNo(1);

    fn settled(awaits: Vec<Await>, events: &[Event]) -> Option<Result<(), String>> {
        let (reply, _) = oneshot::channel();
        let mut underway = Underway::default();
        underway.add(Pending { id: CommandId(1), awaits, reply });
        events.iter().find_map(|event| underway.settle(event).pop().map(|(_, how)| how))
    }

    #[test]
    fn a_command_is_done_when_all_it_awaits_was_seen() {
        let process = |no, process| Event::Process { member: MemberNo(no), process };
        let up = |no| process(no, Process::Up { pid: 1 });
        let down = |ended| process(1, Process::Down { ended, asked: true, wiped: false });
        let crashed = || down(Ended::Signal { number: 9 });
        let both = vec![Await::Up(M1), Await::Up(MemberNo(2))];
        for (awaits, events, expected) in [
            (vec![Await::Up(M1)], vec![up(2)], None),
            (vec![Await::Up(M1)], vec![up(2), up(1)], Some(Ok(()))),
            (both.clone(), vec![up(2)], None),
            (both, vec![up(2), up(1)], Some(Ok(()))),
            (vec![Await::Down(M1)], vec![up(1)], None),
            (vec![Await::Down(M1)], vec![up(1), crashed()], Some(Ok(()))),
            (vec![Await::Paused(M1)], vec![crashed()], Some(Err("m1 ended meanwhile".to_owned()))),
            (
                vec![Await::Up(M1)],
                vec![down(Ended::NotStarted { why: "no such file".into() })],
                Some(Err("no such file".to_owned())),
            ),
        ] {
            assert_eq!(settled(awaits.clone(), &events), expected, "{awaits:?} {events:?}");
        }
    }
}
