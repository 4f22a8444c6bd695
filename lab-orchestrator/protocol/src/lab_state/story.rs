//! The story: what happened in plain words, derived in the fold and bounded.
//!
//! Lines say first what was seen, then what it means, in the present tense and with members by
//! name. They are made from events and the state before them and from nothing else, so everybody
//! who folds the journal reads the same story. Several events that are one thing to a person
//! (three processes that start, the twelve links of a partition) become one line.

mod backups;
mod faults;
mod recovery;
#[cfg(test)]
mod tests;
mod wording;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use node_protocol::{Role, Status, Term, TraceEvent};
use serde::{Deserialize, Serialize};

pub use wording::seconds;
use wording::{
    asker, because, candidacy, capital, configuration, links_changed, list, mix, name, number,
    silence, size, subject, workload,
};

use crate::{
    By, Command, CommandId, DrillEvent, Ended, Event, LabState, Link, LinkCondition, MemberNo,
    Process, SIMULATION, Standing, gather, tape::Gap,
};

/// Lines kept; the oldest are dropped.
const LINES: usize = 400;

/// A line is put at most so many lines before the newest one.
const LATE_LINES: usize = 8;

/// Commands remembered until they are done; more than a person or a drill ever has open.
const OPEN_COMMANDS: usize = 32;

/// Events of one kind that are no further apart than this are one line.
const ONE_LINE_MICROS: u64 = 1_500_000;

/// Shorter pauses between acknowledged writes are not worth a sentence.
const GAP_WORTH_TELLING_MICROS: u64 = 500_000;

/// What happened so far, oldest line first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The lines.
    pub lines: VecDeque<StoryLine>,
    /// Who asks for votes at this moment, and what came back.
    pub ballots: BTreeMap<MemberNo, Ballot>,
    next: u64,
    /// Grows with each change of a line.
    revision: u64,
    open: VecDeque<(CommandId, By, Command)>,
    told: Option<CommandId>,
    merge: Option<Merge>,
    leaderless_since: Option<u64>,
}

/// One line of the story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryLine {
    /// Counted from 1; a line may gain words for a short while after it was written.
    pub number: u64,
    /// When it began, microseconds of the run.
    pub at_micros: u64,
    /// What kind of thing it tells.
    pub tone: Tone,
    /// The sentence or two. Members are written `m1`, terms `term 7`.
    pub text: String,
}

/// What kind of thing a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tone {
    /// Something was done to the lab.
    Asked,
    /// Something the members did.
    Seen,
    /// A fault, or its harm.
    Fault,
    /// A promise that holds again.
    Holds,
}

/// One member's question for votes, as it counts them itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// The term it asks for.
    pub term: Term,
    /// It only asks whether it could win.
    pub pre: bool,
    /// Who said yes, itself included.
    pub granted: BTreeSet<MemberNo>,
    /// Who said no.
    pub refused: BTreeSet<MemberNo>,
}

/// The kind of the last line, when a later event may join it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Merge {
    kind: Kind,
    at_micros: u64,
    members: BTreeSet<MemberNo>,
    count: u32,
    /// Number of the line.
    line: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Started,
    Compacted,
    Reconnected(MemberNo),
    AsksAgain,
    Counts(usize, usize),
    Grants(MemberNo, Term),
    Refuses(MemberNo),
    Links(By, LinkCondition, Vec<Link>),
    BackedUp,
    NoBackup,
}

impl Story {
    /// Folds one event in; `state` is the state before it, `gap` the pause in the acknowledged
    /// writes that this event ended.
    pub(crate) fn tell(
        &mut self,
        state: &LabState,
        at_micros: u64,
        event: &Event,
        gap: Option<Gap>,
    ) {
        if let Some(gap) = gap.filter(|gap| gap.micros() >= GAP_WORTH_TELLING_MICROS) {
            let waited = match gap.waited {
                1 => "1 write had waited".to_owned(),
                more => format!("{more} writes had waited"),
            };
            let pause = seconds(gap.micros());
            let text = format!("Writes are acknowledged again, after {pause}: {waited}.");
            self.line(at_micros, Tone::Holds, text);
        }
        match event {
            Event::RunStarted { members, engine, seed, .. } => {
                let names = list(members.iter().map(|plan| plan.member));
                let text = match engine.as_str() {
                    SIMULATION => format!(
                        "A new cluster: {names}. It is simulated, by seed {seed}: the members are \
                         the real ones, their time, network and disks are made up."
                    ),
                    engine => {
                        format!("A new cluster: {names}. Each is a real process of {engine}.")
                    }
                };
                self.leaderless_since = Some(at_micros);
                self.line(at_micros, Tone::Asked, text);
            }
            Event::Asked { id, by, command } => {
                self.open.push_back((*id, *by, command.clone()));
                while self.open.len() > OPEN_COMMANDS {
                    self.open.pop_front();
                }
            }
            Event::Done { id } => self.done(*id, at_micros),
            Event::Refused { id, why } => {
                self.open.retain(|(open, ..)| open != id);
                self.line(at_micros, Tone::Asked, format!("Not done: {why}."));
            }
            Event::Process { member, process } => {
                self.process(state, *member, process, at_micros);
            }
            Event::Trace { member, traced } => {
                // What several members saw arrives in any order; it is told in the order of time.
                let at_micros = traced.at_micros.min(at_micros);
                self.trace(state, *member, &traced.event, at_micros);
            }
            Event::LinkChanged { link, condition } => {
                let known = state.links.get(link).map(|known| known.condition);
                let known = known.or_else(|| state.client_links.get(link).copied());
                if known.unwrap_or_default() != *condition {
                    self.link(state, *link, *condition, at_micros);
                }
            }
            Event::Reconnected { from, .. } => {
                self.join(
                    Kind::Reconnected(*from),
                    None,
                    at_micros,
                    Tone::Seen,
                    |merge| match merge.count {
                        1 => format!("A client of {from} reconnects to another member."),
                        more => format!("{more} clients of {from} reconnect to other members."),
                    },
                );
            }
            Event::WorkloadChanged { spec } => {
                if state.workload.as_ref() != Some(spec) {
                    self.line(at_micros, Tone::Asked, workload(spec));
                }
            }
            Event::MixChanged { mix: changed } => {
                if state.mix.as_ref() != Some(changed) {
                    self.line(at_micros, Tone::Asked, mix(changed));
                }
            }
            Event::Step { number, text } => {
                self.line(at_micros, Tone::Asked, format!("Step {number}: {text}"));
            }
            Event::Note { text } => self.line(at_micros, Tone::Asked, text.clone()),
            Event::Judged(verdict) => {
                let text =
                    format!("The run is judged: {:?}.", verdict.judgement).to_ascii_lowercase();
                self.line(at_micros, Tone::Asked, capital(&text));
                for broken in verdict.checks.iter().filter(|check| check.is_broken()) {
                    let text = format!("Broken: {}. {}", broken.check, capital(&broken.because));
                    self.line(at_micros, Tone::Fault, text);
                }
            }
            Event::MemberAdded { plan, learner, .. } => {
                let who = self.asker(|command| matches!(command, Command::AddMember { .. }));
                let by = who.map_or("Somebody", |(_, by)| asker(by));
                let member = plan.member;
                let text = match learner {
                    true => format!(
                        "{by} added {member} as a learner: it receives the log and has no vote."
                    ),
                    false => format!("{by} added {member}, with a vote."),
                };
                self.line(at_micros, Tone::Asked, text);
            }
            Event::Said(said) => {
                let typed = |command: &Command| match command {
                    Command::Type { line } => Some(line.clone()),
                    _ => None,
                };
                let open = self.open.iter().find(|(id, ..)| *id == said.id);
                if let Some(line) = open.and_then(|(.., command)| typed(command)) {
                    let end = match said.code {
                        0 => "done".to_owned(),
                        code => format!("ended with {code}"),
                    };
                    self.line(at_micros, Tone::Asked, format!("At the terminal: {line} ({end})"));
                }
            }
            Event::Restored { member, cluster, revision, began_at: _ } => {
                self.restored(state, at_micros, *member, (*cluster, *revision));
            }
            Event::Scored(score) => self.scored(at_micros, score),
            Event::BackupsChanged { every_millis, keep, verify } => {
                let text = backups::habit(*every_millis, *keep, *verify);
                self.line(at_micros, Tone::Asked, text);
            }
            Event::Backup(backup) => self.backup(backup, at_micros),
            Event::RunEnded => self.line(at_micros, Tone::Asked, "The run ends.".to_owned()),
            Event::Drill(DrillEvent::Opened) => {
                self.line(at_micros, Tone::Asked, "It is your turn.".to_owned());
            }
            Event::FaultBegan { .. }
            | Event::FaultEnded { .. }
            | Event::LinkReset { .. }
            | Event::ClockMoved { .. }
            | Event::TimersSet { .. }
            | Event::Named { .. }
            | Event::FileDamaged { .. }
            | Event::MessageReleased { .. } => self.fault(state, at_micros, event),
            Event::AnsweredBy { .. }
            | Event::Drill(_)
            | Event::Lesson(_)
            | Event::Seated { .. }
            | Event::Snapshots(_)
            | Event::Identified { .. }
            | Event::Telemetry { .. }
            | Event::Status { .. }
            | Event::TraceLost { .. }
            | Event::Message(_)
            | Event::MessageLost { .. }
            | Event::Traffic { .. }
            | Event::Invoked { .. }
            | Event::Returned { .. }
            | Event::WatchOpened { .. }
            | Event::WatchHeard { .. }
            | Event::WatchClosed { .. }
            | Event::WatchResumed { .. }
            | Event::ReadBack(_) => {}
        }
    }

    /// Grows whenever a line is added or reworded.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Puts a line at its place in time, among the last few.
    fn line(&mut self, at_micros: u64, tone: Tone, text: String) {
        self.merge = None;
        self.next += 1;
        self.revision += 1;
        let later = self.lines.iter().rev().take(LATE_LINES);
        let later = later.take_while(|line| line.at_micros > at_micros).count();
        let place = self.lines.len() - later;
        self.lines.insert(place, StoryLine { number: self.next, at_micros, tone, text });
        while self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }

    /// Gives a line that was written a moment ago other words; `false` when it is gone.
    fn reword(&mut self, number: u64, text: &str) -> bool {
        let recent = self.lines.iter_mut().rev().take(LATE_LINES + 1);
        let Some(line) = recent.into_iter().find(|line| line.number == number) else {
            return false;
        };
        text.clone_into(&mut line.text);
        self.revision += 1;
        true
    }

    /// Joins the last line when it is of the same kind and fresh, else appends one.
    fn join(
        &mut self,
        kind: Kind,
        member: Option<MemberNo>,
        at_micros: u64,
        tone: Tone,
        words: impl FnOnce(&Merge) -> String,
    ) {
        let window_micros = match kind {
            // A member that hears no majority asks once in each election timeout.
            Kind::AsksAgain | Kind::BackedUp | Kind::NoBackup => 5 * ONE_LINE_MICROS,
            _ => ONE_LINE_MICROS,
        };
        let fresh = |merge: &Merge| {
            merge.kind == kind && at_micros.saturating_sub(merge.at_micros) < window_micros
        };
        let (mut merge, joins) = match self.merge.take() {
            Some(merge) if fresh(&merge) => (merge, true),
            _ => (Merge { kind, at_micros, members: BTreeSet::new(), count: 0, line: 0 }, false),
        };
        merge.count += 1;
        merge.members.extend(member);
        merge.at_micros = at_micros;
        let text = words(&merge);
        if !joins || !self.reword(merge.line, &text) {
            self.line(at_micros, tone, text);
            merge.line = self.next;
        }
        self.merge = Some(merge);
    }

    /// Who asked for what happens now, if a command for it is open.
    fn asker(&self, asks: impl Fn(&Command) -> bool) -> Option<(CommandId, By)> {
        let found = self.open.iter().rev().find(|(.., command)| asks(command));
        found.map(|(id, by, _)| (*id, *by))
    }

    fn done(&mut self, id: CommandId, at_micros: u64) {
        let found = self.open.iter().position(|(open, ..)| *open == id);
        let Some((_, by, command)) = found.and_then(|place| self.open.remove(place)) else {
            return;
        };
        let by = asker(by);
        match command {
            Command::UndoFaults => {
                self.line(at_micros, Tone::Holds, format!("{by} undid all faults."));
            }
            Command::DamageSnapshot { name } => {
                let text = format!("{by} damaged {name}: one bit of it is another.");
                self.line(at_micros, Tone::Fault, text);
            }
            Command::PromoteMember { member } => {
                let text = format!("{by} promoted {member}: it is no learner any more.");
                self.line(at_micros, Tone::Asked, text);
            }
            Command::RemoveMember { member } => {
                let text = format!("{by} removed {member} from the cluster, for ever.");
                self.line(at_micros, Tone::Asked, text);
            }
            Command::TransferLeadership { to } => {
                let text = format!("{by} had the leadership handed over to {to}.");
                self.line(at_micros, Tone::Asked, text);
            }
            _ => {}
        }
        if self.told == Some(id) {
            self.told = None;
        }
    }

    fn process(&mut self, state: &LabState, member: MemberNo, process: &Process, at_micros: u64) {
        let Some(known) = state.members.get(&member) else { return };
        let led = known.status.as_ref().filter(|_| state.leader() == Some(member));
        let office = led.map(|status| status.term);
        if office.is_some() && !matches!(process, Process::Up { .. }) {
            self.leaderless_since = Some(at_micros);
        }
        match process {
            Process::Planned => {}
            Process::Up { pid } => match &known.process {
                Process::Planned => {
                    self.join(Kind::Started, Some(member), at_micros, Tone::Seen, |merge| {
                        match merge.members.len() {
                            1 => format!("{member} starts{}.", number(*pid, ": ", "")),
                            _ => format!("{} start.", list(merge.members.iter().copied())),
                        }
                    });
                }
                Process::Paused { .. } => {
                    let who = self.asker(
                        |command| matches!(command, Command::Resume { member: m } if *m == member),
                    );
                    let text = match who {
                        Some((_, by)) => format!("{} resumed {member}.", asker(by)),
                        None => format!("{member} goes on."),
                    };
                    let since = at_micros.saturating_sub(known.process_since_micros);
                    let text = format!("{text} It was paused for {}.", seconds(since));
                    self.line(at_micros, Tone::Asked, text);
                }
                Process::Down { wiped, .. } => {
                    let who = self.asker(
                        |command| matches!(command, Command::Restart { member: m } if *m == member),
                    );
                    let text = match who {
                        Some((_, by)) => format!("{} restarted {member}: ", asker(by)),
                        None => format!("{member} starts again: "),
                    };
                    let memory = match wiped {
                        true => "an empty disk.",
                        false => "it reads its log from disk.",
                    };
                    let process = number(*pid, "", ", ");
                    self.line(at_micros, Tone::Asked, format!("{text}{process}{memory}"));
                }
                Process::Up { .. } => {}
            },
            Process::Paused { .. } => {
                let who = self.asker(
                    |command| matches!(command, Command::Pause { member: m } if *m == member),
                );
                let text = subject(
                    who,
                    |by| format!("{by} paused {member}"),
                    || format!("{member} is paused"),
                );
                let office = office.map(|term| format!(", the leader of term {term}"));
                let text = format!(
                    "{text}{}. It keeps its sockets and does nothing.",
                    office.unwrap_or_default()
                );
                self.line(at_micros, Tone::Fault, text);
            }
            Process::Down { ended, asked, wiped } => {
                self.ballots.remove(&member);
                if let Process::Down { wiped: false, .. } = known.process
                    && *wiped
                {
                    let text = format!("The disk of {member} is wiped: it remembers nothing.");
                    self.line(at_micros, Tone::Fault, text);
                    if backups::is_last_disk(state, member) {
                        let window = state.backups.loss_window(at_micros);
                        self.line(at_micros, Tone::Fault, backups::loss(&window));
                    }
                    return;
                }
                if matches!(known.process, Process::Down { .. }) {
                    return;
                }
                if known.standing == Standing::Removed {
                    let text = match asked {
                        true => format!("{member}, which was removed, is stopped."),
                        false => format!("{member} heard that it was removed, and ends."),
                    };
                    self.line(at_micros, Tone::Seen, text);
                    return;
                }
                let text = self.fall(member, ended, *asked, office);
                self.line(at_micros, Tone::Fault, text);
            }
        }
    }

    /// The sentence for a process that ended.
    fn fall(&self, member: MemberNo, ended: &Ended, asked: bool, office: Option<Term>) -> String {
        let office = office.map(|term| format!(", the leader of term {term}")).unwrap_or_default();
        let after = match office.is_empty() {
            true => "",
            false => " Its heartbeats stop; writes wait for a new leader.",
        };
        match ended {
            Ended::Signal { number: 9 } if asked => {
                let who = self.asker(
                    |command| matches!(command, Command::Crash { member: m } if *m == member),
                );
                let text = subject(
                    who,
                    |by| format!("{by} crashed {member}"),
                    || format!("{member} was crashed"),
                );
                format!("{text}{office}. Nothing was flushed.{after}")
            }
            Ended::Exit { .. } | Ended::Signal { .. } | Ended::Unseen if asked => {
                let who = self.asker(
                    |command| matches!(command, Command::Stop { member: m } if *m == member),
                );
                let text = subject(
                    who,
                    |by| format!("{by} stopped {member}"),
                    || format!("{member} was stopped"),
                );
                format!("{text}{office}.{after}")
            }
            Ended::Exit { code } => {
                format!("{member}{office} ended by itself, code {code}.{after}")
            }
            Ended::Signal { number } => {
                format!("{member}{office} was ended by signal {number}.{after}")
            }
            Ended::NotStarted { why } => format!("{member} could not be started: {why}."),
            Ended::Unseen => format!("{member}{office} ended, and not by the lab.{after}"),
        }
    }

    fn link(&mut self, state: &LabState, link: Link, condition: LinkCondition, at_micros: u64) {
        let whole = self.open.iter().rev().find_map(|(id, by, command)| match command {
            Command::Partition { .. }
            | Command::Isolate { .. }
            | Command::UndoFaults
            | Command::StepMode { .. } => Some((*id, *by, command.clone())),
            _ => None,
        });
        if let Some((id, by, command)) = whole {
            if self.told != Some(id) {
                self.told = Some(id);
                self.whole_network(state, by, &command, at_micros);
            }
            return;
        }
        let who = self.asker(|command| match command {
            Command::Cut { link: l } | Command::Heal { link: l } => *l == link,
            Command::Delay { link: l, .. } => *l == link,
            _ => false,
        });
        let by = who.map_or(By::Lab, |(_, by)| by);
        let (mut links, line) = match &self.merge {
            Some(Merge {
                kind: Kind::Links(last, same, links), at_micros: last_at, line, ..
            }) if *last == by
                && *same == condition
                && at_micros.saturating_sub(*last_at) < ONE_LINE_MICROS =>
            {
                (links.clone(), *line)
            }
            _ => (Vec::new(), 0),
        };
        let joins = !links.is_empty();
        links.push(link);
        let text = links_changed(by, condition, &links);
        let tone = match condition {
            LinkCondition::Open => Tone::Holds,
            _ => Tone::Fault,
        };
        let line = match joins && self.reword(line, &text) {
            true => line,
            false => {
                self.line(at_micros, tone, text);
                self.next
            }
        };
        let kind = Kind::Links(by, condition, links);
        self.merge = Some(Merge { kind, at_micros, members: BTreeSet::new(), count: 1, line });
    }

    fn trace(&mut self, state: &LabState, member: MemberNo, event: &TraceEvent, at_micros: u64) {
        let known = state.members.get(&member);
        let status = known.and_then(|known| known.status.as_ref());
        match event {
            TraceEvent::Started { boot, last, applied } => {
                // A new cluster's log begins with one entry for each member.
                if *boot > 1 && last.0 > state.members.len() as u64 {
                    let text = format!(
                        "{member} found its log on disk up to entry {last}, its state up to {applied}."
                    );
                    self.line(at_micros, Tone::Seen, text);
                }
            }
            TraceEvent::Became { role, term, why } => {
                self.became(member, status, (*role, *term, why), at_micros);
            }
            TraceEvent::VoteCast { candidate, term, pre, granted, why } => {
                let Some(candidate) = state.member_of(*candidate) else { return };
                match (pre, granted) {
                    (true, true) => {}
                    (false, true) => {
                        let kind = Kind::Grants(candidate, *term);
                        self.join(kind, Some(member), at_micros, Tone::Seen, |merge| {
                            match merge.members.len() {
                                1 => {
                                    format!("{member} gives {candidate} its vote for term {term}.")
                                }
                                _ => format!(
                                    "{} give {candidate} their votes for term {term}.",
                                    list(merge.members.iter().copied())
                                ),
                            }
                        });
                    }
                    (pre, false) => {
                        let verb = if *pre { "would refuse" } else { "refuses" };
                        let because = because(why);
                        let kind = Kind::Refuses(candidate);
                        self.join(kind, Some(member), at_micros, Tone::Seen, |merge| {
                            let names = list(merge.members.iter().copied());
                            match (merge.members.len(), *pre) {
                                (1, _) => format!("{member} {verb} {candidate} its vote{because}."),
                                (_, true) => {
                                    format!("{names} would refuse {candidate} their votes.")
                                }
                                (_, false) => format!("{names} refuse {candidate} their votes."),
                            }
                        });
                    }
                }
            }
            TraceEvent::VoteHeard { from, pre, granted, .. } => {
                let voter = state.member_of(*from);
                let ballot = self.ballots.get_mut(&member).filter(|ballot| ballot.pre == *pre);
                if let (Some(voter), Some(ballot)) = (voter, ballot) {
                    let heard = if *granted { &mut ballot.granted } else { &mut ballot.refused };
                    heard.insert(voter);
                }
            }
            TraceEvent::Truncated { from, old_last, old_term } => {
                let entries = match old_last.0.saturating_sub(from.0) {
                    0 => format!("entry {from}"),
                    _ => format!("entries {from} to {old_last}"),
                };
                let text = format!(
                    "{member} drops {entries} of term {old_term}: never committed, and the new \
                     leader's log says otherwise there."
                );
                self.line(at_micros, Tone::Seen, text);
            }
            TraceEvent::Compacted { first } => {
                self.join(Kind::Compacted, Some(member), at_micros, Tone::Seen, |merge| {
                    let names = list(merge.members.iter().copied());
                    let (drop, its) = match merge.members.len() {
                        1 => ("drops", "its"),
                        _ => ("drop", "their"),
                    };
                    format!("{names} {drop} {its} log before entry {first}; the state holds it.")
                });
            }
            TraceEvent::SnapshotSent { to, index, bytes } => {
                let to = name(state, *to);
                let size = size(*bytes);
                let text = format!(
                    "{to} is too far behind the log of {member}, which sends it a snapshot up to \
                     entry {index} ({size})."
                );
                self.line(at_micros, Tone::Seen, text);
            }
            TraceEvent::SnapshotInstalled { index, bytes } => {
                let size = size(*bytes);
                let text = format!("{member} installed a snapshot up to entry {index} ({size}).");
                self.line(at_micros, Tone::Seen, text);
            }
            TraceEvent::Configured { voters, learners } => {
                let changed =
                    |status: &Status| status.voters != *voters || status.learners != *learners;
                if status.is_some_and(changed) {
                    let kind = Kind::Counts(voters.len(), learners.len());
                    let counts = configuration(voters.len(), learners.len());
                    self.join(kind, Some(member), at_micros, Tone::Seen, |merge| {
                        let names = list(merge.members.iter().copied());
                        let count = if merge.members.len() == 1 { "counts" } else { "count" };
                        format!("{names} {count} {counts} from now on.")
                    });
                }
            }
            TraceEvent::LeasesExtended { count } if *count > 0 => {
                let leases = if *count == 1 { "1 lease" } else { &format!("{count} leases") };
                let text = format!("{member} gives {leases} their full time again.");
                self.line(at_micros, Tone::Seen, text);
            }
            TraceEvent::Fatal { why } => {
                self.line(at_micros, Tone::Fault, format!("{member} must not go on: {why}."));
            }
            TraceEvent::Stopping
            | TraceEvent::LeaderSeen { .. }
            | TraceEvent::Appended { .. }
            | TraceEvent::LeasesExtended { .. }
            | TraceEvent::Fingerprints { .. }
            | TraceEvent::Peer { .. } => {}
        }
    }

    fn became(
        &mut self,
        member: MemberNo,
        status: Option<&Status>,
        (role, term, why): (Role, Term, &str),
        at_micros: u64,
    ) {
        let before = status.map_or(Role::Follower, |status| status.role);
        let asked = self.ballots.remove(&member);
        match role {
            Role::PreCandidate | Role::Candidate => {
                let pre = role == Role::PreCandidate;
                let again = asked.as_ref().is_some_and(|ballot| ballot.pre || !pre);
                let granted = BTreeSet::from([member]);
                let ballot = Ballot { term, pre, granted, refused: BTreeSet::new() };
                self.ballots.insert(member, ballot);
                if !pre {
                    let text = candidacy(member, term, asked.as_ref());
                    self.line(at_micros, Tone::Seen, text);
                } else if again {
                    self.join(Kind::AsksAgain, Some(member), at_micros, Tone::Seen, |merge| {
                        let names = list(merge.members.iter().copied());
                        let ask = if merge.members.len() == 1 { "asks" } else { "ask" };
                        let times = match merge.count {
                            1 => String::new(),
                            more => format!(", {more} times by now"),
                        };
                        format!("{names} {ask} again{times}: no majority has answered yes.")
                    });
                } else {
                    self.line(at_micros, Tone::Seen, silence(member, status, why));
                }
            }
            Role::Leader => {
                let votes = match (&asked, status) {
                    (Some(ballot), Some(status)) if status.voters.len() > 1 => format!(
                        "{member} has {} of {} votes, a majority: it leads",
                        ballot.granted.len().max(status.voters.len() / 2 + 1),
                        status.voters.len()
                    ),
                    _ => format!("{member} leads"),
                };
                // The successor may be heard before the one that handed over to it.
                let pause = self.leaderless_since.take().filter(|since| *since < at_micros);
                let pause = pause.map(|since| {
                    format!(" The cluster had no leader for {}.", seconds(at_micros - since))
                });
                let text = format!("{votes} in term {term}.{}", pause.unwrap_or_default());
                self.line(at_micros, Tone::Holds, text);
            }
            Role::Follower | Role::Learner => match before {
                Role::Leader => {
                    self.leaderless_since.get_or_insert(at_micros);
                    let text = format!("{member} leaves office{}.", because(why));
                    self.line(at_micros, Tone::Seen, text);
                }
                Role::Candidate => {
                    let text = format!("{member} gives up its candidacy{}.", because(why));
                    self.line(at_micros, Tone::Seen, text);
                }
                Role::Follower | Role::PreCandidate | Role::Learner => {}
            },
        }
    }
}

/// Groups of members that hear each other and nobody else, if the cut links are exactly that.
///
/// `None` when the cuts are one-directional or overlap: then there are no sides.
pub fn sides(members: &[MemberNo], cuts: &[Link]) -> Option<Vec<BTreeSet<MemberNo>>> {
    let cuts = gather::set(cuts.iter().copied());
    let hears = |from, to| from == to || !cuts.contains(&Link { from, to });
    let mut sides: Vec<BTreeSet<MemberNo>> = Vec::new();
    for &member in members {
        let side = gather::set(members.iter().copied().filter(|&m| hears(member, m)));
        let other = gather::set(members.iter().copied().filter(|&m| hears(m, member)));
        if side != other {
            return None;
        }
        if !sides.contains(&side) {
            sides.push(side);
        }
    }
    let counted: usize = sides.iter().map(BTreeSet::len).sum();
    (counted == members.len()).then_some(sides)
}
