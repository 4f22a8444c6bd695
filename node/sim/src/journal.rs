//! The journal of a lifetime: the lab's own events, with made-up time.
//!
//! A recorded journal also has what no check asks for and a page shows: each message on its way,
//! what went over the links, what was asked. Recording draws nothing and changes nothing that is
//! due, so a lifetime is the same with and without it.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use lab_protocol::{
    By, Command, CommandId, Event, Fate, Link, LinkTraffic, LostWhy, Message, Numbered,
};

/// What went over the links is told at most this often, as in the lab.
const TRAFFIC_MICROS: u64 = 100_000;

/// Every event so far.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    events: Vec<Numbered>,
    recorded: Option<Recorded>,
}

/// What only a recorded journal knows.
#[derive(Debug, Default)]
struct Recorded {
    commands: u64,
    messages: u64,
    /// (when, number) → a message that leaves then: its sender waits for its disk.
    leaving: BTreeMap<(u64, u64), Message>,
    traffic: BTreeMap<Link, LinkTraffic>,
    /// Links with other counts than were told.
    changed: BTreeSet<Link>,
    told_at: u64,
}

impl Journal {
    /// An empty journal; recorded or not.
    pub(crate) fn new(recorded: bool) -> Self {
        Self { events: Vec::new(), recorded: recorded.then(Recorded::default) }
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Takes the next event.
    pub(crate) fn push(&mut self, at_micros: u64, event: Event) {
        self.catch_up(at_micros);
        self.append(at_micros, event);
    }

    /// Takes the next event if the journal is recorded.
    pub(crate) fn show(&mut self, at_micros: u64, event: Event) {
        if self.is_recorded() {
            self.push(at_micros, event);
        }
    }

    /// A command was asked, if the journal is recorded.
    pub(crate) fn asked(&mut self, at_micros: u64, command: Command) -> Option<CommandId> {
        let recorded = self.recorded.as_mut()?;
        recorded.commands += 1;
        let id = CommandId(recorded.commands);
        self.push(at_micros, Event::Asked { id, by: By::Drill, command });
        Some(id)
    }

    /// A message leaves at this time or later; its number, which is counted here. 0 when the
    /// journal is not recorded.
    pub(crate) fn leaves(&mut self, at_micros: u64, message: Message) -> u64 {
        let Some(recorded) = &mut self.recorded else { return 0 };
        recorded.messages += 1;
        let number = recorded.messages;
        recorded.leaving.insert((at_micros, number), Message { number, ..message });
        number
    }

    /// A message that has left arrives, or is lost after all.
    pub(crate) fn arrives(
        &mut self,
        at_micros: u64,
        number: u64,
        link: Link,
        lost: Option<LostWhy>,
    ) {
        self.catch_up(at_micros);
        let Some(recorded) = &mut self.recorded else { return };
        let traffic = recorded.traffic_of(link);
        match lost {
            None => traffic.landed += 1,
            Some(why) => {
                traffic.lost += 1;
                self.append(at_micros, Event::MessageLost { number, why });
            }
        }
    }

    /// The events; in a recorded journal, with what went over the links until the end.
    pub(crate) fn into_events(mut self) -> Vec<Numbered> {
        let end = self.events.last().map_or(0, |last| last.at_micros);
        self.catch_up(end);
        self.tell_traffic(end);
        self.events
    }

    /// Takes in what happened up to this time without being told.
    fn catch_up(&mut self, at_micros: u64) {
        let Some(recorded) = &mut self.recorded else { return };
        let later = recorded.leaving.split_off(&(at_micros + 1, 0));
        let left = mem::replace(&mut recorded.leaving, later);
        for ((at, _), message) in left {
            let Some(recorded) = &mut self.recorded else { return };
            let traffic = recorded.traffic_of(message.link);
            traffic.sent += 1;
            traffic.bytes += u64::from(message.bytes);
            traffic.lost += u64::from(matches!(message.fate, Fate::Lost(_)));
            self.append(at, Event::Message(message));
            self.tell_traffic_if_due(at);
        }
        self.tell_traffic_if_due(at_micros);
    }

    fn tell_traffic_if_due(&mut self, at_micros: u64) {
        let told_at = self.recorded.as_ref().map_or(u64::MAX, |recorded| recorded.told_at);
        if at_micros.saturating_sub(told_at) >= TRAFFIC_MICROS {
            self.tell_traffic(at_micros);
        }
    }

    fn tell_traffic(&mut self, at_micros: u64) {
        let Some(recorded) = &mut self.recorded else { return };
        recorded.told_at = at_micros;
        let changed = mem::take(&mut recorded.changed);
        let links: Vec<_> = changed.iter().map(|link| recorded.traffic[link]).collect();
        if !links.is_empty() {
            self.append(at_micros, Event::Traffic { links });
        }
    }

    fn append(&mut self, at_micros: u64, event: Event) {
        let seq = self.events.len() as u64 + 1;
        self.events.push(Numbered { seq, at_micros, event });
    }
}

impl Recorded {
    /// The counts of a link, about to change.
    fn traffic_of(&mut self, link: Link) -> &mut LinkTraffic {
        self.changed.insert(link);
        let nothing = LinkTraffic { link, sent: 0, landed: 0, lost: 0, bytes: 0 };
        self.traffic.entry(link).or_insert(nothing)
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::MemberNo;
    use lab_protocol::node_protocol::{FrameKind, Index, Term};

    use super::*;

    const LINK: Link = Link { from: MemberNo(1), to: MemberNo(2) };

    fn message(fate: Fate) -> Message {
        Message {
            number: 0,
            link: LINK,
            kind: FrameKind::Append,
            reject: false,
            term: Term(2),
            index: Index(3),
            entries: 1,
            bytes: 100,
            fate,
        }
    }

    fn note() -> Event {
        Event::Note { text: String::new() }
    }

    #[test]
    fn a_message_is_told_when_it_leaves_and_every_one_is_counted() {
        let mut journal = Journal::new(true);
        journal.push(10, note());
        let first = journal.leaves(500, message(Fate::Lands { at_micros: 900 }));
        let second = journal.leaves(20, message(Fate::Lands { at_micros: 700 }));
        journal.leaves(20, message(Fate::Lost(LostWhy::Chance)));
        journal.push(30, note());
        journal.arrives(700, second, LINK, None);
        journal.arrives(900, first, LINK, Some(LostWhy::Cut));
        journal.leaves(5_000, message(Fate::Lands { at_micros: 6_000 }));
        let events = journal.into_events();
        let seen: Vec<_> = events.iter().map(|event| (event.seq, event.at_micros)).collect();
        assert_eq!(seen, [(1, 10), (2, 20), (3, 20), (4, 30), (5, 500), (6, 900), (7, 900)]);
        let traffic = LinkTraffic { link: LINK, sent: 3, landed: 1, lost: 2, bytes: 300 };
        assert_eq!(events[6].event, Event::Traffic { links: vec![traffic] });
        assert_eq!(events[5].event, Event::MessageLost { number: 1, why: LostWhy::Cut });
    }

    #[test]
    fn what_only_a_page_shows_is_not_in_a_journal_that_is_judged() {
        let mut journal = Journal::new(false);
        assert_eq!(journal.leaves(1, message(Fate::Lands { at_micros: 2 })), 0);
        journal.arrives(2, 0, LINK, Some(LostWhy::Cut));
        journal.show(3, note());
        assert_eq!(journal.asked(3, Command::UndoFaults), None);
        assert_eq!(journal.into_events(), []);
    }
}
