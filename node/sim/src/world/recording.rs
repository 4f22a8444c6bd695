//! What a recorded lifetime shows beyond what is judged: what the plan does, in the lab's own
//! commands and words; messages, paused processes, whether members are heard.
//!
//! Nothing here draws a number or makes anything due.

use std::time::Duration;

use lab_protocol::node_protocol::frame::HEADER_BYTES;
use lab_protocol::{
    Command, CommandId, Event, Fate, Feed, Grudge, Link, LinkCondition, LostWhy, Message, Process,
};
use node_protocol::FrameHeader;

use super::{World, no};
use crate::plan::Action;

impl World {
    /// Shows the message whose bytes lie ready: it leaves at this time, and arrives or is lost; its
    /// number.
    pub(super) fn show_message(
        &mut self,
        (from, to): (usize, usize),
        leaves: u64,
        arrives: Option<u64>,
    ) -> u64 {
        if !self.journal.is_recorded() {
            return 0;
        }
        let start = self.bytes.first_chunk::<HEADER_BYTES>().expect("a frame has a header");
        let (header, _) = FrameHeader::decode(start).expect("our own frame");
        let FrameHeader { kind, reject, entries, term, index, .. } = header;
        let fate = match arrives {
            Some(at_micros) => Fate::Lands { at_micros },
            None => Fate::Lost(LostWhy::Chance),
        };
        let bytes = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let link = Link { from: no(from), to: no(to) };
        let message = Message { number: 0, link, kind, reject, term, index, entries, bytes, fate };
        self.journal.leaves(leaves, message)
    }

    /// Shows what comes of a message at the end of its way.
    pub(super) fn show_arrival(&mut self, (from, to): (usize, usize), number: u64) {
        let lost = if self.cut.contains(&(from, to)) {
            Some(LostWhy::Cut)
        } else {
            self.members[to].running.is_none().then_some(LostWhy::ReceiverDown)
        };
        let now = self.now();
        self.journal.arrives(now, number, Link { from: no(from), to: no(to) }, lost);
    }

    /// Shows something in words.
    pub(super) fn show_note(&mut self, text: impl Into<String>) {
        let now = self.now();
        self.journal.show(now, Event::Note { text: text.into() });
    }

    /// Shows whether a member is heard.
    pub(super) fn show_feed(&mut self, place: usize, feed: Feed) {
        let now = self.now();
        self.journal.show(now, Event::Telemetry { member: no(place), feed });
    }

    /// Shows a process's condition that no check asks for.
    pub(super) fn show_process(&mut self, place: usize, process: Process) {
        let now = self.now();
        self.journal.show(now, Event::Process { member: no(place), process });
    }

    /// Shows what is about to be done, if it will change anything.
    pub(super) fn show_action(&mut self, action: &Action) -> Vec<CommandId> {
        if !self.journal.is_recorded() {
            return Vec::new();
        }
        if let Some(text) = self.words(action) {
            self.show_note(text);
        }
        let now = self.now();
        let commands = self.commands(action);
        commands.into_iter().filter_map(|command| self.journal.asked(now, command)).collect()
    }

    /// Shows that it has been done.
    pub(super) fn show_done(&mut self, action: &Action, asked: Vec<CommandId>) {
        if !self.journal.is_recorded() {
            return;
        }
        match *action {
            Action::Pause(place) if self.members[place].running.is_some() => {
                self.show_process(place, Process::Paused { pid: 0 });
                self.show_feed(place, Feed::Quiet);
            }
            Action::Resume(place) if !asked.is_empty() => {
                self.show_process(place, Process::Up { pid: 0 });
                self.show_feed(place, Feed::Live);
            }
            Action::SlowNetwork(_) => {
                let condition = self.whole_link();
                for (from, to) in self.links() {
                    if !self.cut.contains(&(from, to)) {
                        self.link_changed(from, to, condition);
                    }
                }
            }
            _ => {}
        }
        let now = self.now();
        for id in asked {
            self.journal.show(now, Event::Done { id });
        }
    }

    /// What a link that is not cut does to messages, as far as it is shown.
    pub(super) fn whole_link(&self) -> LinkCondition {
        let millis = u32::try_from(self.slow_micros / 1_000).unwrap_or(u32::MAX);
        if millis == 0 || !self.journal.is_recorded() {
            return LinkCondition::Open;
        }
        LinkCondition::Delayed { millis: 0, jitter_millis: millis }
    }

    /// The lab's commands that would do the same here and now; none when nothing would change.
    fn commands(&self, action: &Action) -> Vec<Command> {
        let up = |place: usize| self.members[place].running.is_some();
        let paused = |place: usize| self.members[place].paused && up(place);
        let link = |from, to| Link { from: no(from), to: no(to) };
        let is_cut = |from, to| self.cut.contains(&(from, to));
        let of = |place: usize| move |from, to| from == place || to == place;
        let any = |wanted: bool, affected: &dyn Fn(usize, usize) -> bool| {
            self.links().any(|(from, to)| is_cut(from, to) != wanted && affected(from, to))
        };
        match *action {
            Action::Crash(place) | Action::PowerLoss(place) if up(place) => {
                vec![Command::Crash { member: no(place) }]
            }
            Action::Restart(place) if !up(place) => vec![Command::Restart { member: no(place) }],
            Action::Pause(place) if up(place) => vec![Command::Pause { member: no(place) }],
            Action::Resume(place) if paused(place) => vec![Command::Resume { member: no(place) }],
            Action::Partition(side) => {
                let apart = |one: usize, two: usize| (side >> one & 1) != (side >> two & 1);
                match any(true, &apart) {
                    true => vec![Command::Partition { grudge: self.grudge(apart) }],
                    false => Vec::new(),
                }
            }
            Action::Isolate(place) if any(true, &of(place)) => {
                vec![Command::Isolate { member: no(place) }]
            }
            Action::CutLink(from, to) if !is_cut(from, to) => {
                vec![Command::Cut { link: link(from, to) }]
            }
            Action::Rejoin(place) => {
                let healed =
                    self.links().filter(|&(from, to)| is_cut(from, to) && of(place)(from, to));
                healed.map(|(from, to)| Command::Heal { link: link(from, to) }).collect()
            }
            Action::HealNetwork if !self.cut.is_empty() => {
                vec![Command::Partition { grudge: Grudge::default() }]
            }
            _ => Vec::new(),
        }
    }

    /// Who refuses whom once these links are cut too.
    fn grudge(&self, cut: impl Fn(usize, usize) -> bool) -> Grudge {
        let mut grudge = Grudge::default();
        for (from, to) in self.links() {
            if cut(from, to) || self.cut.contains(&(from, to)) {
                grudge.0.entry(no(to)).or_default().insert(no(from));
            }
        }
        grudge
    }

    /// Every directed link.
    fn links(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.members.len();
        let pairs = (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to)
    }

    /// What no command of the lab does, in words.
    fn words(&self, action: &Action) -> Option<String> {
        let up = |place: usize| self.members[place].running.is_some();
        let millis = |micros: u64| format!("{} ms", micros.div_ceil(1_000));
        let text = match *action {
            Action::PowerLoss(place) if up(place) => format!(
                "The machine of {} loses power: of what was not synced some sectors survive.",
                no(place)
            ),
            Action::PowerLossInSync(place, after) if up(place) => {
                format!(
                    "{} will lose power in the middle of a sync, {after} syncs from now.",
                    no(place)
                )
            }
            Action::SyncFails(place, after) if up(place) => {
                format!("A sync of {} will fail, {after} syncs from now.", no(place))
            }
            Action::SlowDisk(place, 0) if self.members[place].sync_micros > 0 => {
                format!("The disk of {} is fast again.", no(place))
            }
            Action::SlowDisk(place, Action::STUCK_MICROS..) => {
                format!("The disk of {} is stuck: no sync comes back.", no(place))
            }
            Action::SlowDisk(place, micros) if micros > 0 => {
                format!("The disk of {} is slow: each sync takes {}.", no(place), millis(micros))
            }
            Action::ClockJump(place, by) => {
                let way = if by < 0 { "back" } else { "ahead" };
                let by = Duration::from_millis(by.unsigned_abs()).as_secs();
                format!("The wall clock of {} jumps {by} s {way}.", no(place))
            }
            Action::Add(place, false) => format!("The administrator adds {}.", no(place)),
            Action::Add(place, true) => {
                format!("The administrator adds {} as a learner.", no(place))
            }
            Action::Promote(place) => {
                format!("The administrator gives the learner {} a vote.", no(place))
            }
            Action::Update(place) => {
                format!("The administrator gives {} another peer URL.", no(place))
            }
            Action::Remove(place) => format!("The administrator removes {}.", no(place)),
            Action::MoveLeader(to) => {
                format!("The administrator asks the leader to hand over to {}.", no(to))
            }
            Action::Alarm(place, true) => {
                format!("An alarm is raised: {} is out of space.", no(place))
            }
            Action::Alarm(place, false) => {
                format!("The administrator ends the alarm of {}.", no(place))
            }
            Action::Defragment(place) if up(place) => {
                format!("The administrator defragments {}.", no(place))
            }
            Action::SlowNetwork(0) if self.slow_micros > 0 => "The network is fast again.".into(),
            Action::SlowNetwork(micros) if micros > 0 => {
                format!("The network is slow: a message takes up to {} more.", millis(micros))
            }
            Action::Lossy(0) if self.lossy > 0 => "No more messages are lost by chance.".into(),
            Action::Lossy(of_thousand) if of_thousand > 0 => {
                format!("{} of messages are lost by chance.", percent(of_thousand))
            }
            Action::Repeating(0) if self.repeating > 0 => "Each message arrives once again.".into(),
            Action::Repeating(of_thousand) if of_thousand > 0 => {
                format!("{} of messages arrive twice, the second time late.", percent(of_thousand))
            }
            _ => return None,
        };
        Some(text)
    }
}

fn percent(of_thousand: u32) -> String {
    format!("{}.{} %", of_thousand / 10, of_thousand % 10)
}
