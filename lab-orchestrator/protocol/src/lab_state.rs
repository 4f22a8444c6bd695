//! The fold of the journal: what the lab knows now.
//!
//! `fold(events)` equals `fold(state, later events)`: a late reader is given a state and then
//! events, and knows what an early reader knows. What is kept is bounded.
//!
//! [`story`] and [`tape`] are parts of the fold: they live in the state and read the rest of it.

pub mod backups;
pub(crate) mod drill;
pub(crate) mod lesson;
pub mod recovery;
pub mod story;
pub mod tape;
pub mod terminal;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;

use node_protocol::{ClusterId, MemberId, Role, Status, TraceEvent, telemetry::EntryBrief};
use serde::{Deserialize, Serialize};

use crate::{
    Event, Fate, Fault, Feed, Link, LinkCondition, LinkTraffic, MemberNo, MemberPlan, Message,
    MixSpec, Numbered, Process, SnapshotFile, WorkloadSpec, gather,
};
use backups::Backups;
use drill::DrillState;
use lesson::LessonState;
use recovery::Recovery;
use story::Story;
use tape::Tape;
use terminal::Terminal;

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
    /// Who has a vote, by the newest account of a member.
    pub configuration: Configuration,
    /// What was typed at the terminal.
    pub terminal: Terminal,
    /// The clusters that were restored from a snapshot, and its newest revision.
    pub restored: BTreeMap<ClusterId, i64>,
    /// The drill that a person plays, or has played.
    pub drill: Option<DrillState>,
    /// The databases on the desk, by name.
    pub snapshots: Vec<SnapshotFile>,
    /// The lab's own backups, and what would be lost without anything else.
    pub backups: Backups,
    /// The clusters of the run, and what each acknowledged.
    pub recovery: Recovery,
    /// Messages since the last [`Event::Traffic`]: what its next counts will include.
    pub uncounted_messages: u64,
    /// The faults that act, oldest first.
    pub faults: Vec<ActiveFault>,
    /// What the links between the lab's clients and a member do, where they do not just deliver.
    pub client_links: BTreeMap<Link, LinkCondition>,
    /// The messages that links hold, by the fabric's numbers.
    pub held: BTreeMap<u64, Message>,
    /// The mix of errands that runs.
    pub mix: Option<MixSpec>,
    /// The lesson that somebody takes, or has taken.
    pub lesson: Option<LessonState>,
}

/// A fault that acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Which one.
    pub fault: Fault,
    /// Since when, microseconds of the run.
    pub since_micros: u64,
    /// When it ends by itself, if it does.
    pub until_micros: Option<u64>,
}

/// Messages held at once that are remembered.
const HELD: usize = 4096;

/// Who takes part in the cluster, as a member told after the change was committed; empty until one
/// did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Who counts in a majority.
    pub voters: BTreeSet<MemberId>,
    /// Who receives the log and does not count.
    pub learners: BTreeSet<MemberId>,
}

/// What the configuration says of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It is in no configuration that was told, so far.
    #[default]
    Unknown,
    /// It has a vote.
    Voter,
    /// It receives the log, has no vote.
    Learner,
    /// It was in the configuration and is no longer; it never returns.
    Removed,
    /// It is of another cluster: one that was there before a restore, or a stranger.
    Elsewhere,
}

/// What the lab knows of one member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberState {
    /// As planned.
    pub plan: MemberPlan,
    /// Its identity, once it told.
    pub id: Option<(MemberId, ClusterId)>,
    /// What the configuration says of it.
    pub standing: Standing,
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

    /// Everybody in the configuration, ascending; before one was told, everybody with a place.
    /// `None` while somebody in it is in no place that is known.
    pub fn everybody(&self) -> Option<Vec<(MemberNo, &MemberState)>> {
        let Configuration { cluster, voters, learners } = &self.configuration;
        if voters.is_empty() {
            return Some(self.taking_part().collect());
        }
        let seated = |(_, member): &(MemberNo, &MemberState)| {
            member.id.is_some_and(|(id, own)| {
                own == *cluster && (voters.contains(&id) || learners.contains(&id))
            })
        };
        let all: Vec<_> = self.taking_part().filter(seated).collect();
        (all.len() == voters.len() + learners.len()).then_some(all)
    }

    /// The members that were not put out of the cluster, ascending.
    pub fn taking_part(&self) -> impl Iterator<Item = (MemberNo, &MemberState)> {
        self.members
            .iter()
            .filter(|(_, member)| member.standing != Standing::Removed)
            .map(|(&no, member)| (no, member))
    }

    /// Takes over the configuration that the leader tells, else the member that applied most.
    ///
    /// Whoever is cut off and campaigns alone has a higher term than all others, where no pre-vote
    /// keeps it from that, and knows the oldest configuration.
    /// A leader applies a change first; a removed member, and one that was cut off, know an older
    /// one. Where members of several clusters run, the cluster that has a leader is meant, else the
    /// one that most of them belong to.
    fn configure(&mut self) {
        let told: Vec<_> = self
            .taking_part()
            .filter(|(_, member)| matches!(member.process, Process::Up { .. }))
            .filter(|(_, member)| member.status_at_micros >= member.process_since_micros)
            .filter_map(|(_, member)| Some((member.id?.1, member.status.as_ref()?)))
            .filter(|(_, status)| !status.voters.is_empty())
            .collect();
        let present = told.iter().map(|(cluster, _)| *cluster).max_by_key(|cluster| {
            let own = || told.iter().filter(|(of, _)| of == cluster);
            (own().any(|(_, status)| status.role == Role::Leader), own().count())
        });
        let told = told.into_iter().filter(|(cluster, _)| Some(*cluster) == present).max_by_key(
            |(_, status)| {
                let office = (status.role == Role::Leader).then_some(status.term);
                (office, status.applied, status.term)
            },
        );
        let Some((cluster, status)) = told else { return };
        let voters = gather::set(status.voters.iter().copied());
        let learners = gather::set(status.learners.iter().copied());
        self.configuration = Configuration { cluster, voters, learners };
        for member in self.members.values_mut() {
            member.standing = match member.id {
                // The same name and token make the same identity, in whatever cluster.
                Some((_, own)) if own != cluster => Standing::Elsewhere,
                Some((id, _)) if self.configuration.voters.contains(&id) => Standing::Voter,
                Some((id, _)) if self.configuration.learners.contains(&id) => Standing::Learner,
                Some(_) if member.standing != Standing::Unknown => Standing::Removed,
                Some(_) | None => Standing::Unknown,
            };
        }
    }

    fn fold(&mut self, at_micros: u64, event: &Event) {
        self.terminal.observe(at_micros, event);
        DrillState::observe(&mut self.drill, at_micros, event);
        LessonState::observe(&mut self.lesson, at_micros, event);
        self.recovery.observe(at_micros, event, &self.terminal);
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
                    if member.id.is_some_and(|(known, _)| known != *id) {
                        member.standing = Standing::Unknown;
                    }
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
                    self.configure();
                }
            }
            Event::MemberAdded { plan, id, cluster, learner: _ } => {
                self.plan(std::slice::from_ref(plan));
                if let Some(member) = self.members.get_mut(&plan.member) {
                    member.id = Some((*id, *cluster));
                }
            }
            Event::Seated { plan } => self.plan(std::slice::from_ref(plan)),
            Event::Trace { member, traced } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.trace(&traced.event);
                }
            }
            Event::LinkChanged { link, condition } => {
                if *condition != LinkCondition::Held {
                    self.held.retain(|_, message| message.link != *link);
                }
                if let Some(link) = self.links.get_mut(link) {
                    link.condition = *condition;
                } else if *condition == LinkCondition::Open {
                    self.client_links.remove(link);
                } else {
                    self.client_links.insert(*link, *condition);
                }
            }
            Event::Message(message) => {
                self.uncounted_messages += 1;
                if message.fate == Fate::Held && self.held.len() < HELD {
                    self.held.insert(message.number, *message);
                }
            }
            Event::MessageLost { number, .. } | Event::MessageReleased { number, .. } => {
                self.held.remove(number);
            }
            Event::FaultBegan { fault, until_micros } => {
                self.faults.retain(|active| !fault.replaces(active.fault));
                self.faults.push(ActiveFault {
                    fault: *fault,
                    since_micros: at_micros,
                    until_micros: *until_micros,
                });
            }
            Event::FaultEnded { fault } => {
                self.faults.retain(|active| !fault.replaces(active.fault));
            }
            Event::Traffic { links } => {
                self.uncounted_messages = 0;
                for traffic in links {
                    if let Some(link) = self.links.get_mut(&traffic.link) {
                        link.traffic = *traffic;
                    }
                }
            }
            Event::WorkloadChanged { spec } => self.workload = Some(spec.clone()),
            Event::MixChanged { mix } => self.mix = Some(mix.clone()),
            Event::Restored { cluster, revision, .. } => {
                // A new cluster counts on from there; what the old one told is told no more.
                if !self.restored.contains_key(cluster) {
                    self.backups.told_revision = *revision;
                }
                self.restored.insert(*cluster, *revision);
            }
            Event::Snapshots(files) => self.snapshots.clone_from(files),
            Event::BackupsChanged { .. }
            | Event::Backup(_)
            | Event::AnsweredBy { .. }
            | Event::Scored(_)
            | Event::Drill(_)
            | Event::Lesson(_)
            | Event::Said(_)
            | Event::Asked { .. }
            | Event::Done { .. }
            | Event::Refused { .. }
            | Event::TraceLost { .. }
            | Event::LinkReset { .. }
            | Event::ClockMoved { .. }
            | Event::TimersSet { .. }
            | Event::Named { .. }
            | Event::FileDamaged { .. }
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
        self.fold_backups(at_micros, event);
    }

    /// Makes room for members, and for the links between them and all others.
    fn plan(&mut self, members: &[MemberPlan]) {
        for plan in members {
            self.members.insert(
                plan.member,
                MemberState {
                    plan: plan.clone(),
                    id: None,
                    standing: Standing::Unknown,
                    process: Process::Planned,
                    process_since_micros: self.at_micros,
                    feed: Feed::Lost,
                    status: None,
                    status_at_micros: 0,
                    briefs: VecDeque::new(),
                },
            );
        }
        for &from in self.members.keys() {
            for &to in self.members.keys().filter(|to| **to != from) {
                let link = Link { from, to };
                let traffic = LinkTraffic { link, sent: 0, landed: 0, lost: 0, bytes: 0 };
                let condition = LinkCondition::Open;
                self.links.entry(link).or_insert(LinkState { condition, traffic });
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

#[cfg(test)]
mod tests {
    use node_protocol::{Index, Term};

    use super::*;

    const CLUSTER: ClusterId = ClusterId(1);

    fn plan(no: u8) -> MemberPlan {
        MemberPlan { member: MemberNo(no), client_url: String::new(), peer_url: String::new() }
    }

    /// Three members that are up and have told who they are.
    fn lab() -> LabState {
        let mut state = LabState::default();
        tell(
            &mut state,
            Event::RunStarted {
                run: String::new(),
                seed: 0,
                version: String::new(),
                engine: String::new(),
                token: String::new(),
                wall_millis: 0,
                members: (1..=3).map(plan).collect(),
            },
        );
        for no in 1..=3 {
            begins(&mut state, no);
        }
        state
    }

    fn tell(state: &mut LabState, event: Event) {
        let numbered = Numbered { seq: state.seq + 1, at_micros: state.seq, event };
        state.apply(&numbered, true);
    }

    fn begins(state: &mut LabState, no: u8) {
        let (member, id) = (MemberNo(no), MemberId(no.into()));
        tell(state, Event::Process { member, process: Process::Up { pid: 1 } });
        tell(state, Event::Identified { member, id, cluster: CLUSTER });
    }

    /// A member tells its role, its term, and whom it counts.
    fn says(state: &mut LabState, no: u8, (role, term): (Role, u64), config: (&[u64], &[u64])) {
        let ids = |ids: &[u64]| ids.iter().copied().map(MemberId).collect();
        let status = Status {
            role,
            term: Term(term),
            applied: Index(9),
            voters: ids(config.0),
            learners: ids(config.1),
            ..Status::default_at(0)
        };
        tell(state, Event::Status { member: MemberNo(no), status: Box::new(status) });
    }

    fn standings(state: &LabState) -> Vec<Standing> {
        state.members.values().map(|member| member.standing).collect()
    }

    #[test]
    fn a_member_stands_as_the_newest_configuration_says() {
        use Role::{Follower, Leader};
        use Standing::{Learner, Removed, Unknown, Voter};
        let mut state = lab();
        assert_eq!(standings(&state), [Unknown; 3]);
        let three: (&[u64], &[u64]) = (&[1, 2, 3], &[]);
        says(&mut state, 1, (Leader, 2), three);
        says(&mut state, 2, (Follower, 2), three);
        assert_eq!(standings(&state), [Voter; 3]);

        let (id, cluster) = (MemberId(4), CLUSTER);
        tell(&mut state, Event::MemberAdded { plan: plan(4), id, cluster, learner: true });
        assert_eq!(standings(&state), [Voter, Voter, Voter, Unknown], "nobody has told it");
        assert_eq!(state.links.len(), 12);
        says(&mut state, 1, (Leader, 2), (&[1, 2, 3], &[4]));
        // Who is behind the leader still tells the old one.
        says(&mut state, 2, (Follower, 2), three);
        assert_eq!(standings(&state), [Voter, Voter, Voter, Learner]);
        assert_eq!(state.configuration.voters.len(), 3);
        begins(&mut state, 4);
        says(&mut state, 1, (Leader, 2), (&[1, 2, 3, 4], &[]));
        assert_eq!(standings(&state), [Voter; 4]);

        // Cut off, and without pre-vote, it campaigns alone.
        says(&mut state, 3, (Role::Candidate, 9), three);
        says(&mut state, 1, (Leader, 2), (&[1, 2, 3, 4], &[]));
        assert_eq!(standings(&state), [Voter; 4]);

        says(&mut state, 2, (Leader, 3), (&[2, 3, 4], &[]));
        says(&mut state, 1, (Follower, 2), (&[1, 2, 3, 4], &[]));
        assert_eq!(standings(&state), [Removed, Voter, Voter, Voter]);
        let ended = crate::Ended::Exit { code: 1 };
        let process = Process::Down { ended, asked: false, wiped: false };
        tell(&mut state, Event::Process { member: MemberNo(1), process });
        assert!(state.tape.faults.is_empty(), "its end is no fault");
        assert_eq!(state.taking_part().count(), 3);
    }

    #[test]
    fn who_belongs_to_another_cluster_was_not_removed_from_this_one() {
        let mut state = lab();
        let stray =
            Event::Identified { member: MemberNo(3), id: MemberId(33), cluster: ClusterId(2) };
        tell(&mut state, stray);
        says(&mut state, 3, (Role::Follower, 1), (&[31, 32, 33], &[]));
        assert_eq!(standings(&state)[2], Standing::Voter);
        says(&mut state, 1, (Role::Leader, 2), (&[1, 2, 3], &[]));
        assert_eq!(standings(&state), [Standing::Voter, Standing::Voter, Standing::Elsewhere]);
        // Its URL and token are those of a member here; its cluster is not.
        let namesake =
            Event::Identified { member: MemberNo(3), id: MemberId(3), cluster: ClusterId(2) };
        tell(&mut state, namesake);
        says(&mut state, 1, (Role::Leader, 2), (&[1, 2, 3], &[]));
        assert_eq!(standings(&state)[2], Standing::Elsewhere);
    }
}
