//! What the story tells of faults that are injected and taken off, and of messages held.

use super::wording::{asker, list};
use super::{Story, Tone, sides};
use crate::{By, ClockMove, Command, Damage, Event, Fault, LabState, MemberFile};

impl Story {
    /// Tells of a fault, if the event is about one.
    pub(super) fn fault(&mut self, state: &LabState, at_micros: u64, event: &Event) {
        let stepping = self.asker(|command| matches!(command, Command::StepMode { .. }));
        let is_clock = matches!(
            event,
            Event::FaultBegan { fault: Fault::FrozenClock { .. }, .. }
                | Event::FaultEnded { fault: Fault::FrozenClock { .. } }
                | Event::MessageReleased { .. }
        );
        // One line tells of all of them, when the links change.
        if stepping.is_some() && is_clock {
            return;
        }
        let (tone, text) = match event {
            Event::FaultBegan { fault, until_micros } => {
                let now = match until_micros {
                    Some(until) => {
                        let left = until.saturating_sub(at_micros).div_ceil(1_000);
                        format!("{fault}, for {left} ms.")
                    }
                    None => format!("{fault}."),
                };
                (Tone::Fault, now)
            }
            Event::FaultEnded { fault } => {
                let known = state.faults.iter().any(|active| fault.replaces(active.fault));
                if !known {
                    return;
                }
                (Tone::Holds, ended(*fault))
            }
            Event::LinkReset { link, connections } => {
                let text = match connections {
                    0 => format!("{link} is reset; it had no connection."),
                    1 => format!("{link} is reset: its connection ends, and is dialled anew."),
                    more => {
                        format!("{link} is reset: {more} connections end, and are dialled anew.")
                    }
                };
                (Tone::Fault, text)
            }
            Event::ClockMoved { member, how: ClockMove::Jumped { millis } } => {
                (Tone::Fault, format!("{member}'s wall clock jumps by {millis} ms."))
            }
            Event::ClockMoved { member, how: ClockMove::Ticked { ticks } } => {
                let word = if *ticks == 1 { "tick" } else { "ticks" };
                (Tone::Asked, format!("{member} is granted {ticks} {word}."))
            }
            Event::TimersSet { member, ticks } => {
                (Tone::Asked, format!("{member} campaigns after {ticks} ticks without a leader."))
            }
            Event::FileDamaged { member, file, damage, path } => {
                let what = match file {
                    MemberFile::Log => "log",
                    MemberFile::State => "state",
                    MemberFile::Snapshot => "snapshot",
                };
                let how = match damage {
                    Damage::BitFlip => "a bit is flipped in",
                    Damage::Truncate => "a third is cut off",
                };
                (Tone::Fault, format!("On {member}'s disk {how} the {what} ({path})."))
            }
            Event::MessageReleased { number, .. } => {
                let Some(held) = state.held.get(number) else { return };
                (Tone::Asked, format!("{} lets a held message go: {:?}.", held.link, held.kind))
            }
            _ => return,
        };
        self.line(at_micros, tone, text);
    }

    /// Tells of a command that acts on the whole network.
    pub(super) fn whole_network(
        &mut self,
        state: &LabState,
        by: By,
        command: &Command,
        at_micros: u64,
    ) {
        let by = asker(by);
        let (tone, text) = match command {
            Command::Isolate { member } => (
                Tone::Fault,
                format!("{by} isolated {member}: no message reaches it or leaves it."),
            ),
            Command::Partition { grudge } if grudge.cuts().is_empty() => {
                (Tone::Holds, format!("{by} healed the network."))
            }
            Command::Partition { grudge } => {
                let members: Vec<_> = state.members.keys().copied().collect();
                let text = match sides(&members, &grudge.cuts()) {
                    Some(sides) => {
                        let sides: Vec<_> =
                            sides.iter().map(|side| list(side.iter().copied())).collect();
                        format!("{by} split the network: {}.", sides.join(" | "))
                    }
                    None => format!("{by} cut {} links.", grudge.cuts().len()),
                };
                (Tone::Fault, text)
            }
            Command::StepMode { on: true } => (
                Tone::Fault,
                format!("{by} began the step mode: clocks stand still, links hold their messages."),
            ),
            Command::StepMode { on: false } => (
                Tone::Holds,
                format!("{by} ended the step mode: clocks run, and what was held is delivered."),
            ),
            // Told when it is done.
            _ => return,
        };
        self.line(at_micros, tone, text);
    }
}

fn ended(fault: Fault) -> String {
    match fault {
        Fault::Starved { member, .. } => format!("{member} has its processor back."),
        Fault::Restarting { member, .. } => format!("{member} is left alone."),
        Fault::Flapping { link, .. } => format!("{link} flaps no more."),
        Fault::SlowSync { member, .. } => format!("{member}'s disk is as fast as it was."),
        Fault::StuckSync { member } => format!("{member}'s disk moves again."),
        Fault::FailingSync { member } => format!("{member}'s disk syncs again."),
        Fault::FullDisk { member } => format!("{member}'s disk has room again."),
        Fault::ReadOnlyDisk { member } => format!("{member}'s disk can be written again."),
        Fault::DriftingClock { member, .. } => {
            format!("{member}'s clocks run at their rate again.")
        }
        Fault::FrozenClock { member } => format!("{member}'s clocks run again."),
    }
}
