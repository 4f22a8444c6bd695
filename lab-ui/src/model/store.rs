//! The one place where frames from the lab go in and pictures come from.

use lab_protocol::{
    Applied, Event, LAB_PROTOCOL_VERSION, LabState, LinkCondition, MemberNo, Numbered, ServerFrame,
};

use super::{Clock, Flights, lens::Lens};

/// How the page stands with the lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// Nothing was heard yet.
    #[default]
    Connecting,
    /// Events arrive.
    Live,
    /// The socket is gone; the last picture stays and the page tries again.
    Lost,
    /// The lab does not know this browser: the link that it printed must be opened.
    NoSession,
}

/// What the page has to do after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing.
    Nothing,
    /// Tell the lab that everything up to this number has arrived.
    Seen(u64),
    /// Ask for the whole state.
    Resync,
    /// Load the page again: the lab speaks another version.
    Reload,
}

/// What the page knows.
#[derive(Debug, Default)]
pub struct Store {
    /// The lab's state, once it came.
    pub state: Option<LabState>,
    /// The lab's time.
    pub clock: Clock,
    /// The messages of the last moments.
    pub flights: Flights,
    /// The window over the log.
    pub lens: Lens,
    /// How the page stands with the lab.
    pub connection: Connection,
    /// Whether commands are accepted.
    pub may_command: bool,
    /// Why the newest command of this page was not carried out; empty when it was.
    pub refused: String,
    /// Grows whenever something changed that a panel shows.
    pub version: u64,
}

impl Store {
    /// Takes one frame that arrived at `page_millis`.
    pub fn receive(&mut self, frame: ServerFrame, page_millis: f64) -> Received {
        self.version += 1;
        match frame {
            ServerFrame::Hello { version, may_command, now_micros } => {
                if version != LAB_PROTOCOL_VERSION {
                    return Received::Reload;
                }
                self.may_command = may_command;
                self.connection = Connection::Live;
                self.clock.reset();
                self.clock.hear(page_millis, now_micros);
                Received::Nothing
            }
            ServerFrame::State { state } => {
                let seq = state.seq;
                self.flights.begin(&state);
                self.state = Some(*state);
                Received::Seen(seq)
            }
            ServerFrame::Events { now_micros, events, unsent_messages } => {
                self.connection = Connection::Live;
                self.clock.hear(page_millis, now_micros);
                self.flights.leave_out(unsent_messages);
                let Some(state) = self.state.as_mut() else { return Received::Resync };
                for numbered in &events {
                    if fold(state, &mut self.flights, numbered) == Applied::Gap {
                        return Received::Resync;
                    }
                }
                Received::Seen(state.seq)
            }
            ServerFrame::Answer { refused, .. } => {
                self.refused = refused;
                Received::Nothing
            }
        }
    }

    /// The socket is gone.
    pub fn disconnect(&mut self, page_millis: f64) {
        if self.connection == Connection::Live {
            self.connection = Connection::Lost;
        }
        self.clock.stop(page_millis);
        self.version += 1;
    }

    /// Forgets what is no longer on the picture and moves the window over the log.
    pub fn advance(&mut self, page_millis: f64) {
        self.flights.land(self.clock.shown(page_millis));
        let newest = self.newest_index();
        let motion = !self.flights.still;
        self.lens.follow(newest, page_millis, motion);
    }

    /// The highest index of any member's log.
    pub fn newest_index(&self) -> u64 {
        let members = self.state.iter().flat_map(|state| state.members.values());
        members.filter_map(|member| Some(member.status.as_ref()?.last.0)).max().unwrap_or(0)
    }

    /// Whether anything on the picture changes by itself now.
    pub fn moves(&self) -> bool {
        self.connection == Connection::Live || self.lens.moves(self.newest_index())
    }

    /// The member that is shown first: the leader, else the lowest number.
    pub fn first_choice(&self) -> Option<MemberNo> {
        let state = self.state.as_ref()?;
        state.leader().or_else(|| state.members.keys().next().copied())
    }
}

fn fold(state: &mut LabState, flights: &mut Flights, numbered: &Numbered) -> Applied {
    if let Event::RunStarted { .. } = numbered.event {
        // Another run counts from 1 again.
        *state = LabState::default();
        let applied = state.apply(numbered, false);
        flights.begin(state);
        return applied;
    }
    let applied = state.apply(numbered, false);
    if applied != Applied::Yes {
        return applied;
    }
    match &numbered.event {
        Event::Message(message) => flights.depart(message, numbered.at_micros),
        Event::MessageLost { number, why } => flights.lose(*number, *why, numbered.at_micros),
        Event::MessageReleased { number, at_micros } => {
            flights.release(*number, *at_micros, numbered.at_micros);
        }
        Event::LinkChanged { link, condition } if *condition != LinkCondition::Held => {
            flights.release_all(*link, numbered.at_micros);
        }
        Event::Traffic { .. } => flights.settle(state),
        _ => {}
    }
    applied
}

#[cfg(test)]
mod tests {
    use lab_protocol::MemberPlan;

    use super::*;

    fn started(seq: u64, run: &str) -> Numbered {
        let plan = |n| MemberPlan {
            member: MemberNo(n),
            client_url: String::new(),
            peer_url: String::new(),
        };
        let event = Event::RunStarted {
            run: run.into(),
            seed: 0,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: vec![plan(1), plan(2)],
        };
        Numbered { seq, at_micros: 0, event }
    }

    fn note(seq: u64) -> Numbered {
        Numbered { seq, at_micros: seq * 10, event: Event::Note { text: seq.to_string() } }
    }

    fn events(events: Vec<Numbered>) -> ServerFrame {
        ServerFrame::Events { now_micros: 0, events, unsent_messages: 0 }
    }

    #[test]
    fn a_state_and_the_events_after_it_make_the_picture() {
        let mut store = Store::default();
        assert_eq!(store.receive(events(vec![note(1)]), 0.0), Received::Resync);
        let mut state = LabState::default();
        state.apply(&started(1, "a"), true);
        let hello =
            ServerFrame::Hello { version: LAB_PROTOCOL_VERSION, may_command: true, now_micros: 5 };
        assert_eq!(store.receive(hello, 0.0), Received::Nothing);
        let frame = ServerFrame::State { state: Box::new(state) };
        assert_eq!(store.receive(frame, 0.0), Received::Seen(1));
        assert_eq!(store.receive(events(vec![note(2), note(3)]), 0.0), Received::Seen(3));
        assert_eq!(store.receive(events(vec![note(2)]), 0.0), Received::Seen(3), "heard before");
        assert_eq!(store.state.as_ref().map(|state| state.story.lines.len()), Some(3));
    }

    #[test]
    fn another_run_counts_from_one_again() {
        let mut store = Store::default();
        let mut state = LabState::default();
        state.apply(&started(1, "a"), true);
        state.apply(&note(2), true);
        store.receive(ServerFrame::State { state: Box::new(state) }, 0.0);
        assert_eq!(store.receive(events(vec![started(1, "b"), note(2)]), 0.0), Received::Seen(2));
        assert_eq!(store.state.map(|state| state.run), Some("b".to_owned()));
    }

    #[test]
    fn a_lab_of_another_version_makes_the_page_load_again() {
        let hello = ServerFrame::Hello { version: 0, may_command: true, now_micros: 0 };
        assert_eq!(Store::default().receive(hello, 0.0), Received::Reload);
    }
}
