//! The fold of the journal: what the lab knows now.
//!
//! `fold(events)` equals `fold(state, later events)`: a late reader is given a state and then
//! events, and knows what an early reader knows. What is kept is bounded.
//!
//! [`story`] and [`tape`] are parts of the fold: they live in the state and read the rest of it.

pub mod story;
pub mod tape;

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use node_protocol::{ClusterId, MemberId, Role, Status, TraceEvent, telemetry::EntryBrief};
use serde::{Deserialize, Serialize};

use crate::{
    Event, Feed, Link, LinkCondition, LinkTraffic, MemberNo, MemberPlan, Numbered, Process,
    WorkloadSpec,
};
use story::Story;
use tape::Tape;

/// Entries of a member's log that are remembered in words.
const BRIEFS: usize = 48;

/// What the lab knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabState {
    /// The last event in here.
    pub seq: u64,
    /// Its time, microseconds since the run began.
    pub at_micros: u64,
    /// Name of the run.
    pub run: String,
    /// Seed of the run.
    pub seed: u64,
    /// The program the members run.
    pub engine: String,
    /// The cluster token.
    pub token: String,
    /// The members by number.
    pub members: BTreeMap<MemberNo, MemberState>,
    /// Every directed link between two members.
    pub links: BTreeMap<Link, LinkState>,
    /// The workload that runs.
    pub workload: Option<WorkloadSpec>,
    /// What happened, in words.
    pub story: Story,
    /// What the last minutes looked like.
    pub tape: Tape,
    /// Messages since the last [`Event::Traffic`]: what its next counts will include.
    pub uncounted_messages: u64,
}

/// What the lab knows of one member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberState {
    /// As planned.
    pub plan: MemberPlan,
    /// Its identity, once it told.
    pub id: Option<(MemberId, ClusterId)>,
    /// Its process, by the supervisor's account.
    pub process: Process,
    /// Since when the process is in that condition.
    pub process_since_micros: u64,
    /// Whether its telemetry is heard.
    pub feed: Feed,
    /// Its last picture of itself; kept when its process ends, for what it believed last.
    pub status: Option<Status>,
    /// When that picture arrived.
    pub status_at_micros: u64,
    /// The newest entries of its log, in words.
    pub briefs: VecDeque<EntryBrief>,
}

/// What the lab knows of one link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkState {
    /// What it does to messages.
    pub condition: LinkCondition,
    /// What went over it.
    pub traffic: LinkTraffic,
}

/// What an event meant for the state, for readers that act on changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The event is the next one.
    Yes,
    /// The event is already in the state.
    Old,
    /// Events between the state and this one are missing; the state is unchanged.
    Gap,
}

impl LabState {
    /// Folds one event in. Messages may be left out on the way to a browser, so a jump in the
    /// sequence is a gap only when `strict`.
    pub fn apply(&mut self, numbered: &Numbered, strict: bool) -> Applied {
        if numbered.seq <= self.seq {
            return Applied::Old;
        }
        if strict && numbered.seq != self.seq + 1 {
            return Applied::Gap;
        }
        self.seq = numbered.seq;
        self.at_micros = numbered.at_micros;
        // Both read the state as it was before the event.
        let (mut story, mut tape) = (mem::take(&mut self.story), mem::take(&mut self.tape));
        if matches!(numbered.event, Event::RunStarted { .. }) {
            (story, tape) = (Story::default(), Tape::default());
        }
        let gap = tape.note(self, numbered.at_micros, &numbered.event);
        story.tell(self, numbered.at_micros, &numbered.event, gap);
        self.fold(numbered.at_micros, &numbered.event);
        (self.story, self.tape) = (story, tape);
        Applied::Yes
    }

    /// The member that says it leads in the highest term, if its process is up.
    pub fn leader(&self) -> Option<MemberNo> {
        self.members
            .iter()
            .filter(|(_, member)| matches!(member.process, Process::Up { .. }))
            .filter_map(|(&no, member)| Some((no, member.status.as_ref()?)))
            .filter(|(_, status)| status.role == Role::Leader)
            .max_by_key(|(_, status)| status.term)
            .map(|(no, _)| no)
    }

    /// The number of the member with this identity.
    pub fn member_of(&self, id: MemberId) -> Option<MemberNo> {
        self.members.iter().find(|(_, m)| m.id.is_some_and(|(own, _)| own == id)).map(|(&no, _)| no)
    }

    fn fold(&mut self, at_micros: u64, event: &Event) {
        match event {
            Event::RunStarted { run, seed, engine, token, members, .. } => {
                *self = Self {
                    seq: self.seq,
                    at_micros,
                    run: run.clone(),
                    seed: *seed,
                    engine: engine.clone(),
                    token: token.clone(),
                    ..Self::default()
                };
                self.plan(members);
            }
            Event::Process { member, process } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.process = process.clone();
                    member.process_since_micros = at_micros;
                }
            }
            Event::Identified { member, id, cluster } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.id = Some((*id, *cluster));
                }
            }
            Event::Telemetry { member, feed } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.feed = feed.clone();
                }
            }
            Event::Status { member, status } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.status = Some(status.as_ref().clone());
                    member.status_at_micros = at_micros;
                }
            }
            Event::Trace { member, traced } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.trace(&traced.event);
                }
            }
            Event::LinkChanged { link, condition } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.condition = *condition;
                }
            }
            Event::Message(_) => self.uncounted_messages += 1,
            Event::Traffic { links } => {
                self.uncounted_messages = 0;
                for traffic in links {
                    if let Some(link) = self.links.get_mut(&traffic.link) {
                        link.traffic = *traffic;
                    }
                }
            }
            Event::WorkloadChanged { spec } => self.workload = Some(spec.clone()),
            Event::Asked { .. }
            | Event::Done { .. }
            | Event::Refused { .. }
            | Event::TraceLost { .. }
            | Event::MessageLost { .. }
            | Event::Invoked { .. }
            | Event::Returned { .. }
            | Event::Reconnected { .. }
            | Event::ReadBack(_)
            | Event::Step { .. }
            | Event::Note { .. }
            | Event::Judged(_)
            | Event::WatchOpened { .. }
            | Event::WatchHeard { .. }
            | Event::WatchClosed { .. }
            | Event::WatchResumed { .. }
            | Event::RunEnded => {}
        }
    }

    fn plan(&mut self, members: &[MemberPlan]) {
        for plan in members {
            self.members.insert(
                plan.member,
                MemberState {
                    plan: plan.clone(),
                    id: None,
                    process: Process::Planned,
                    process_since_micros: self.at_micros,
                    feed: Feed::Lost,
                    status: None,
                    status_at_micros: 0,
                    briefs: VecDeque::new(),
                },
            );
        }
        for from in members {
            for to in members.iter().filter(|to| to.member != from.member) {
                let link = Link { from: from.member, to: to.member };
                let traffic = LinkTraffic { link, sent: 0, landed: 0, lost: 0, bytes: 0 };
                self.links.insert(link, LinkState { condition: LinkCondition::Open, traffic });
            }
        }
    }
}

impl MemberState {
    fn trace(&mut self, event: &TraceEvent) {
        match event {
            TraceEvent::Appended { entries } => {
                for entry in entries {
                    while self.briefs.back().is_some_and(|last| last.index >= entry.index) {
                        self.briefs.pop_back();
                    }
                    self.briefs.push_back(entry.clone());
                }
                while self.briefs.len() > BRIEFS {
                    self.briefs.pop_front();
                }
            }
            TraceEvent::Truncated { from, .. } => {
                self.briefs.retain(|brief| brief.index < *from);
            }
            TraceEvent::SnapshotInstalled { .. } => self.briefs.clear(),
            _ => {}
        }
    }
}
