//! The messages of the last moments: which fly as a shape, and which are only counted.
//!
//! Every message that the fabric saw is drawn, or counted, or was left out by the lab and reported
//! as such: `drawn + counted + unsent = sent`. The [`Account`] holds the sums at the last moment
//! at which the lab told its own.

use std::collections::{BTreeMap, VecDeque};

use lab_protocol::{Fate, LabState, Link, LostWhy, Message};
use node_protocol::FrameKind;

/// How long an undelayed message takes on the picture. The real one takes a tenth of a
/// millisecond, which nobody could see.
pub const FLIGHT_MICROS: u64 = 260_000;

/// How long a lost message stays where it was lost.
pub const LOST_MICROS: u64 = 900_000;

/// Above this rate the frequent messages of a link become a width and a count.
const DENSE_PER_SECOND: u32 = 100;

/// Below this rate they become shapes again; lower, so that a link does not flicker between both.
const SPARSE_PER_SECOND: u32 = 80;

/// Shapes in the air at once, over all links. More are counted.
const AIRBORNE: usize = 600;

/// Slots of the sliding second.
const SLOTS: u64 = 10;

/// One message on its way over the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The fabric's number for it.
    pub number: u64,
    /// On which link.
    pub link: Link,
    /// What it is.
    pub kind: FrameKind,
    /// A refusal.
    pub reject: bool,
    /// The sender's term; 0 where the kind has none.
    pub term: u64,
    /// Log entries inside.
    pub entries: u32,
    /// When it left.
    pub start_micros: u64,
    /// How it ends.
    pub landing: Landing,
}

/// How a flight ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// It arrives at this time on the picture.
    At {
        /// Microseconds of the run.
        micros: u64,
    },
    /// It stops on the way.
    Lost {
        /// Why.
        why: LostWhy,
        /// When it stops on the picture.
        micros: u64,
    },
    /// It waits in the middle of the link, nobody knows how long.
    Held,
}

/// Rate and look of one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Density {
    slots: [u32; SLOTS as usize],
    slot: u64,
    /// Messages of the last second.
    pub per_second: u32,
    /// Drawn as a width and a count.
    pub dense: bool,
}

/// Sums since the page got its first state, as of the lab's last own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Flew as a shape.
    pub drawn: u64,
    /// Counted in a link's width.
    pub counted: u64,
    /// Left out by the lab, to spare the browser.
    pub unsent: u64,
    /// Lost on the way, of those drawn or counted.
    pub lost: u64,
    /// Put on the links, by the fabric's own count.
    pub sent: u64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Flights {
    /// In the air or just lost, by start.
    pub air: VecDeque<Flight>,
    /// By link.
    pub density: BTreeMap<Link, Density>,
    /// As of the lab's last count.
    pub account: Account,
    running: Account,
    baseline_sent: u64,
    /// No shapes at all: the person asked for no motion.
    pub still: bool,
}

impl Flights {
    /// Begins to count at this state.
    pub fn begin(&mut self, state: &LabState) {
        let still = self.still;
        *self = Self {
            still,
            baseline_sent: sent(state) + state.uncounted_messages,
            ..Self::default()
        };
        for &link in state.links.keys() {
            self.density.insert(link, Density::default());
        }
    }

    /// Takes one message that left at `at_micros`.
    pub fn depart(&mut self, message: &Message, at_micros: u64) {
        let Message { number, link, kind, reject, term, entries, fate, .. } = *message;
        let density = self.density.entry(link).or_default();
        density.count(at_micros);
        if matches!(fate, Fate::Lost(_)) {
            self.running.lost += 1;
        }
        let frequent = density.dense && !is_rare(kind);
        if self.still || frequent || self.air.len() >= AIRBORNE {
            self.running.counted += 1;
            return;
        }
        self.running.drawn += 1;
        let landing = match fate {
            Fate::Lands { at_micros: lands } => {
                Landing::At { micros: lands.max(at_micros + FLIGHT_MICROS) }
            }
            Fate::Lost(why) => Landing::Lost { why, micros: at_micros + FLIGHT_MICROS / 2 },
            Fate::Held => Landing::Held,
        };
        let start_micros = at_micros;
        let term = term.0;
        self.air.push_back(Flight {
            number,
            link,
            kind,
            reject,
            term,
            entries,
            start_micros,
            landing,
        });
    }

    /// A message that was under way is lost after all.
    pub fn lose(&mut self, number: u64, why: LostWhy, at_micros: u64) {
        self.running.lost += 1;
        if let Some(flight) = self.air.iter_mut().rev().find(|flight| flight.number == number) {
            let half = flight.start_micros + FLIGHT_MICROS / 2;
            flight.landing = Landing::Lost { why, micros: at_micros.max(half) };
        }
    }

    /// A message that was held goes on.
    pub fn release(&mut self, number: u64, lands_micros: u64, at_micros: u64) {
        if let Some(flight) = self.air.iter_mut().rev().find(|flight| flight.number == number) {
            flight.landing =
                Landing::At { micros: lands_micros.max(at_micros + FLIGHT_MICROS / 2) };
        }
    }

    /// A link holds nothing any more.
    pub fn release_all(&mut self, link: Link, at_micros: u64) {
        let held = |flight: &&mut Flight| flight.link == link && flight.landing == Landing::Held;
        for flight in self.air.iter_mut().filter(held) {
            flight.landing = Landing::At { micros: at_micros + FLIGHT_MICROS / 2 };
        }
    }

    /// The lab left out so many messages.
    pub fn leave_out(&mut self, count: u32) {
        self.running.unsent += u64::from(count);
    }

    /// The lab told its own count: the sums up to here belong together.
    pub fn settle(&mut self, state: &LabState) {
        self.running.sent = sent(state).saturating_sub(self.baseline_sent);
        self.account = self.running;
    }

    /// Forgets what has landed and is gone from the picture.
    pub fn land(&mut self, shown_micros: u64) {
        self.air.retain(|flight| shown_micros < flight.gone_micros());
        for density in self.density.values_mut() {
            density.turn(shown_micros);
        }
    }
}

impl Flight {
    /// When nothing of it is on the picture any more.
    pub fn gone_micros(&self) -> u64 {
        match self.landing {
            Landing::At { micros } => micros,
            Landing::Lost { micros, .. } => micros + LOST_MICROS,
            Landing::Held => u64::MAX,
        }
    }

    /// How far it has come at a time, 0 to 1 of the link; `None` before it left and after it
    /// landed.
    pub fn progress(&self, shown_micros: u64) -> Option<f32> {
        let since = shown_micros.checked_sub(self.start_micros)? as f32;
        let part = |until: u64| since / (until.saturating_sub(self.start_micros).max(1)) as f32;
        match self.landing {
            Landing::At { micros } => (shown_micros < micros).then(|| part(micros)),
            // It comes to the middle of the link and waits there.
            Landing::Held => Some(part(self.start_micros + FLIGHT_MICROS).min(1.0) * 0.5),
            Landing::Lost { why, micros } => {
                let end = match why {
                    LostWhy::Cut | LostWhy::Chance | LostWhy::Refused | LostWhy::Dropped => 0.5,
                    LostWhy::ReceiverDown => 0.86,
                    LostWhy::SenderDown => 0.35,
                };
                (shown_micros < self.gone_micros()).then(|| part(micros).min(1.0) * end)
            }
        }
    }

    /// Whether it has stopped for good at this time, and why.
    pub fn lost_at(&self, shown_micros: u64) -> Option<LostWhy> {
        match self.landing {
            Landing::Lost { why, micros } if shown_micros >= micros => Some(why),
            Landing::Lost { .. } | Landing::At { .. } | Landing::Held => None,
        }
    }
}

impl Density {
    fn count(&mut self, at_micros: u64) {
        self.turn(at_micros);
        self.slots[(self.slot % SLOTS) as usize] += 1;
        self.per_second += 1;
        self.judge();
    }

    /// Lets slots older than a second fall out.
    fn turn(&mut self, at_micros: u64) {
        let slot = at_micros / 100_000;
        if slot <= self.slot {
            return;
        }
        for passed in (self.slot + 1)..=slot.min(self.slot + SLOTS) {
            let old = &mut self.slots[(passed % SLOTS) as usize];
            self.per_second -= *old;
            *old = 0;
        }
        self.slot = slot;
        self.judge();
    }

    fn judge(&mut self) {
        if self.per_second > DENSE_PER_SECOND {
            self.dense = true;
        } else if self.per_second < SPARSE_PER_SECOND {
            self.dense = false;
        }
    }
}

/// Messages that a learner must see one by one, whatever the rate.
fn is_rare(kind: FrameKind) -> bool {
    match kind {
        FrameKind::Vote
        | FrameKind::VoteResponse
        | FrameKind::PreVote
        | FrameKind::PreVoteResponse
        | FrameKind::TimeoutNow
        | FrameKind::TransferLeader
        | FrameKind::SnapshotHead => true,
        FrameKind::Hello
        | FrameKind::Welcome
        | FrameKind::Reject
        | FrameKind::Append
        | FrameKind::AppendResponse
        | FrameKind::Heartbeat
        | FrameKind::HeartbeatResponse
        | FrameKind::ReadIndex
        | FrameKind::ReadIndexResponse
        | FrameKind::Forward
        | FrameKind::Ask
        | FrameKind::Answer
        | FrameKind::SnapshotChunk
        | FrameKind::SnapshotEnd => false,
    }
}

fn sent(state: &LabState) -> u64 {
    state.links.values().map(|link| link.traffic.sent).sum()
}

#[cfg(test)]
mod tests {
    use lab_protocol::MemberNo;
    use node_protocol::{Index, Term};

    use super::*;

    fn message(number: u64, kind: FrameKind, fate: Fate) -> Message {
        let link = Link { from: MemberNo(1), to: MemberNo(2) };
        let (term, index) = (Term(2), Index(1));
        Message { number, link, kind, reject: false, term, index, entries: 0, bytes: 80, fate }
    }

    fn lands(at_micros: u64) -> Fate {
        Fate::Lands { at_micros }
    }

    #[test]
    fn a_message_flies_for_the_eye_and_a_delayed_one_for_its_delay() {
        let mut flights = Flights::default();
        flights.depart(&message(1, FrameKind::Append, lands(1_000)), 1_000);
        flights.depart(&message(2, FrameKind::Append, lands(2_000_000)), 1_000);
        let progress = |flights: &Flights, at| -> Vec<_> {
            flights.air.iter().map(|flight| flight.progress(at)).collect()
        };
        assert_eq!(progress(&flights, 500), [None, None]);
        assert_eq!(progress(&flights, 131_000)[0], Some(0.5));
        assert_eq!(progress(&flights, 261_000)[0], None);
        assert_eq!(progress(&flights, 1_000_500)[1], Some(0.5));
        flights.land(300_000);
        assert_eq!(flights.air.len(), 1);
    }

    #[test]
    fn a_lost_message_stops_where_it_was_lost() {
        let mut flights = Flights::default();
        flights.depart(&message(1, FrameKind::Append, Fate::Lost(LostWhy::Cut)), 0);
        flights.depart(&message(2, FrameKind::Append, lands(900_000)), 0);
        flights.lose(2, LostWhy::ReceiverDown, 400_000);
        let at = 600_000;
        assert_eq!(flights.air[0].progress(at), Some(0.5));
        assert_eq!(flights.air[0].lost_at(at), Some(LostWhy::Cut));
        assert_eq!(flights.air[1].lost_at(at), Some(LostWhy::ReceiverDown));
        assert_eq!(flights.air[1].lost_at(300_000), None);
    }

    #[test]
    fn every_message_is_drawn_or_counted_or_left_out() {
        let mut flights = Flights::default();
        for number in 0..400 {
            flights.depart(&message(number, FrameKind::Append, lands(0)), number * 2_000);
        }
        flights.depart(&message(400, FrameKind::Vote, lands(0)), 800_000);
        flights.leave_out(7);
        let mut state = LabState::default();
        let link = Link { from: MemberNo(1), to: MemberNo(2) };
        let traffic = lab_protocol::LinkTraffic { link, sent: 408, landed: 0, lost: 0, bytes: 0 };
        let condition = lab_protocol::LinkCondition::Open;
        state.links.insert(link, lab_protocol::LinkState { condition, traffic });
        flights.settle(&state);
        let account = flights.account;
        assert_eq!(account.drawn + account.counted + account.unsent, account.sent);
        assert_eq!(account.drawn, 101, "a hundred until the link is dense, and the vote");
        assert!(flights.density[&link].dense);
        flights.land(3_000_000);
        assert!(!flights.density[&link].dense);
        assert_eq!(flights.density[&link].per_second, 0);
    }
}
