//! The step mode: whose clocks stand still, how far each election timer is, what the links hold.

use lab_protocol::{Fault, LabState, Link, LinkCondition, MemberNo, Message, Process};
use node_protocol::Role;

use super::wording;

/// Messages of one link that are listed; the others are counted.
const LISTED: usize = 12;

/// What the panel of the step mode shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepSummary {
    /// Every clock stands still, and every link holds its messages or lets none through.
    pub on: bool,
    /// The members that run, ascending.
    pub timers: Vec<Timer>,
    /// The links that hold messages, ascending.
    pub held: Vec<HeldLink>,
}

/// A member and its election timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Which member.
    pub no: MemberNo,
    /// Its clocks stand still: it can be granted ticks.
    pub stands: bool,
    /// Its role and term, in words.
    pub role: String,
    /// Ticks that have passed, and after how many it campaigns; `None` for a leader.
    pub ticks: Option<(u32, u32)>,
}

/// What a link holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLink {
    /// Which.
    pub link: Link,
    /// The oldest ones: their numbers, and what they are.
    pub messages: Vec<(u64, String)>,
    /// How many more.
    pub more: usize,
}

impl StepSummary {
    /// Looks at the state.
    pub fn of(state: &LabState) -> Self {
        let stands = |member| {
            let still = Fault::FrozenClock { member };
            state.faults.iter().any(|active| active.fault == still)
        };
        let mut all = state.taking_part().peekable();
        let on = all.peek().is_some()
            && all.all(|(no, _)| stands(no))
            && state.links.values().all(|link| {
                matches!(
                    link.condition,
                    LinkCondition::Held | LinkCondition::Cut | LinkCondition::Refused
                )
            });
        let timers = state.taking_part().filter_map(|(no, member)| {
            let status = member.status.as_ref()?;
            let runs = matches!(member.process, Process::Up { .. });
            let leads = status.role == Role::Leader;
            let ticks = (status.election_elapsed_ticks, status.election_timeout_ticks);
            runs.then(|| Timer {
                no,
                stands: stands(no),
                role: format!("{} t{}", wording::role(status.role), status.term),
                ticks: Some(ticks).filter(|_| !leads),
            })
        });
        let links = state.links.iter().filter(|(_, now)| now.condition == LinkCondition::Held);
        let held = links.filter_map(|(&link, _)| {
            let on_it = || state.held.values().filter(|message| message.link == link);
            let listed = on_it().take(LISTED);
            let messages: Vec<_> = listed.map(|message| (message.number, told(message))).collect();
            let more = on_it().count() - messages.len();
            (!messages.is_empty()).then_some(HeldLink { link, messages, more })
        });
        Self { on, timers: timers.collect(), held: held.collect() }
    }
}

/// What a message is, in words.
fn told(message: &Message) -> String {
    let Message { kind, reject, term, index, entries, .. } = message;
    let mut words = wording::message(*kind, *reject).to_owned();
    // A client's command on its way to the leader has none.
    if term.0 > 0 {
        words.push_str(&format!(", term {term}"));
    }
    if index.0 > 0 {
        words.push_str(&format!(", index {index}"));
    }
    match entries {
        0 => {}
        1 => words.push_str(", 1 entry"),
        many => words.push_str(&format!(", {many} entries")),
    }
    words
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Event, Fate, MemberPlan, Numbered};
    use node_protocol::{FrameKind, Index, Status, Term};

    use super::*;

    fn state(events: Vec<Event>) -> LabState {
        let members = (1..=2).map(|n| MemberPlan {
            member: MemberNo(n),
            client_url: String::new(),
            peer_url: String::new(),
        });
        let started = Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: members.collect(),
        };
        let mut state = LabState::default();
        for (seq, event) in (1..).zip(std::iter::once(started).chain(events)) {
            state.apply(&Numbered { seq, at_micros: seq, event }, true);
        }
        state
    }

    #[test]
    fn it_is_on_when_nothing_moves_by_itself() {
        let (m1, m2) = (MemberNo(1), MemberNo(2));
        let still =
            |member| Event::FaultBegan { fault: Fault::FrozenClock { member }, until_micros: None };
        let held = |from, to, condition| Event::LinkChanged { link: Link { from, to }, condition };
        let most = vec![still(m1), still(m2), held(m1, m2, LinkCondition::Held)];
        assert!(!StepSummary::of(&state(most.clone())).on);
        let cut = held(m2, m1, LinkCondition::Cut);
        let all = most.into_iter().chain([cut]).collect();
        assert!(StepSummary::of(&state(all)).on);
        assert!(!StepSummary::of(&LabState::default()).on);
    }

    #[test]
    fn timers_and_held_messages_are_told() {
        let link = Link { from: MemberNo(1), to: MemberNo(2) };
        let status = Status {
            term: Term(3),
            election_elapsed_ticks: 4,
            election_timeout_ticks: 13,
            ..Status::default_at(1)
        };
        let message = |number, reject, entries| {
            Event::Message(Message {
                number,
                link,
                kind: FrameKind::Append,
                reject,
                term: Term(3),
                index: Index(7),
                entries,
                bytes: 9,
                fate: Fate::Held,
            })
        };
        let mut events = vec![
            Event::Process { member: MemberNo(2), process: Process::Up { pid: 1 } },
            Event::Status { member: MemberNo(2), status: Box::new(status) },
            Event::LinkChanged { link, condition: LinkCondition::Held },
        ];
        events.extend((1..=14).map(|number| message(number, false, 2)));
        let step = StepSummary::of(&state(events));
        let timer = &step.timers[0];
        assert_eq!((timer.no, timer.ticks, timer.stands), (MemberNo(2), Some((4, 13)), false));
        let held = &step.held[0];
        assert_eq!(held.messages[0], (1, "append, term 3, index 7, 2 entries".to_owned()));
        assert_eq!((held.messages.len(), held.more), (LISTED, 2));
    }
}
