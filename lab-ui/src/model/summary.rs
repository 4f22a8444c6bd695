//! What the panels show, as values that can be compared: Yew draws again only when one differs.

use std::rc::Rc;

use lab_protocol::{
    Call, Fault, Feed, LabState, LessonState, Link, LinkCondition, MemberNo, MemberState, Outcome,
    Process, Standing, WorkloadSpec, story::StoryLine, terminal::TerminalLine,
};
use node_protocol::{Role, Status};

use super::{
    Connection, Store, drill::DrillSummary, quorum::Quorum, recovery::RecoverySummary,
    step::StepSummary, typing, wording,
};

/// Everything the panels show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// How the page stands with the lab.
    pub connection: Connection,
    /// Whether commands are accepted.
    pub may_command: bool,
    /// A state has arrived.
    pub known: bool,
    /// Name of the run.
    pub run: String,
    /// The cluster's identity.
    pub cluster: Option<u64>,
    /// The members, ascending.
    pub members: Rc<Vec<MemberSummary>>,
    /// The leader, if one is known.
    pub leader: Option<(MemberNo, u64)>,
    /// The quorum.
    pub quorum: Quorum,
    /// The links, ascending.
    pub links: Rc<Vec<LinkSummary>>,
    /// The workload that was asked for last.
    pub workload: WorkloadSpec,
    /// The newest single operations, newest first.
    pub results: Rc<Vec<ResultSummary>>,
    /// The story, oldest line first.
    pub story: Rc<Vec<StoryLine>>,
    /// Grows with each change of the story.
    pub story_revision: u64,
    /// Writes acknowledged, failed, unknown.
    pub writes: (u64, u64, u64),
    /// The most leaders that one term had.
    pub leaders_in_a_term: u8,
    /// Why the last command was not carried out.
    pub refused: String,
    /// What the ring shows, in words.
    pub ring_label: String,
    /// What the tape shows, in words.
    pub tape_label: String,
    /// Any link or process is broken.
    pub faults: bool,
    /// The faults of disks, clocks and the like that act, oldest first.
    pub active: Rc<Vec<Fault>>,
    /// The step mode.
    pub step: Rc<StepSummary>,
    /// The newest entry, in words: index and text.
    pub newest_entry: String,
    /// What was typed at the terminal, the oldest line first.
    pub terminal: Rc<Vec<TerminalLine>>,
    /// The names that can be typed there.
    pub names: Rc<Vec<(String, String)>>,
    /// The line that saves a snapshot of each member, in the members' order.
    pub saves: Rc<Vec<String>>,
    /// The clusters, the snapshots, and what was lost.
    pub recovery: Rc<RecoverySummary>,
    /// The lesson that is taken.
    pub lesson: Option<Rc<LessonState>>,
    /// The drill that is played.
    pub drill: Option<Rc<DrillSummary>>,
}

/// What a process is doing, as the controls see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Not started yet.
    Planned,
    /// Runs.
    Up,
    /// Stopped by SIGSTOP.
    Paused,
    /// Does not run.
    Down {
        /// Its disk was deleted.
        wiped: bool,
    },
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSummary {
    /// Its number.
    pub no: MemberNo,
    /// Its process.
    pub condition: Condition,
    /// What the configuration says of it.
    pub standing: Standing,
    /// Its role and term by its own account; of a process that ended, what it believed last.
    pub role: Option<(Role, u64)>,
    /// Its identity.
    pub id: Option<u64>,
    /// The rows of its table: what, and the fact.
    pub rows: Vec<(&'static str, String)>,
    /// One line for a screen reader.
    pub label: String,
    /// Every link from and to it is cut.
    pub isolated: bool,
}

/// One link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSummary {
    /// Which.
    pub link: Link,
    /// What it does.
    pub condition: LinkCondition,
    /// Messages put on it since the run began.
    pub sent: u64,
    /// Messages lost on it.
    pub lost: u64,
}

/// How a single operation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// No answer yet.
    Waits,
    /// It happened.
    Ok,
    /// It did not happen.
    Failed,
    /// It may have happened.
    Unknown,
}

/// One single operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultSummary {
    /// Its number.
    pub op: u64,
    /// What was asked, such as `put greeting hello`.
    pub what: String,
    /// Through which member.
    pub member: MemberNo,
    /// How it went.
    pub told: Told,
    /// The figure beside it: the latency, or the value that was read.
    pub detail: String,
}

impl Summary {
    /// Looks at the store; `earlier` lends the parts that did not change.
    pub fn of(store: &Store, earlier: &Self) -> Self {
        let Some(state) = &store.state else {
            return Self {
                connection: store.connection,
                may_command: store.may_command,
                workload: WorkloadSpec::idle(),
                ..Self::default()
            };
        };
        let tape = &state.tape;
        let leader = state.leader().and_then(|no| {
            let status = state.members.get(&no)?.status.as_ref()?;
            Some((no, status.term.0))
        });
        let broken = |(_, member): (MemberNo, &MemberState)| {
            matches!(member.process, Process::Down { .. } | Process::Paused { .. })
        };
        Self {
            connection: store.connection,
            may_command: store.may_command,
            known: true,
            run: state.run.clone(),
            cluster: cluster(state),
            members: same(&earlier.members, members(state)),
            leader,
            quorum: Quorum::of(state),
            links: same(&earlier.links, links(state)),
            workload: state.workload.clone().unwrap_or_else(WorkloadSpec::idle),
            results: same(&earlier.results, results(state)),
            story: story(state, earlier),
            story_revision: state.story.revision(),
            writes: (tape.writes.ok, tape.writes.fail, tape.writes.info),
            leaders_in_a_term: tape.most_leaders_in_a_term,
            refused: store.refused.clone(),
            ring_label: wording::ring_label(state),
            tape_label: tape_label(state),
            faults: state.taking_part().any(broken)
                || state.links.values().any(|link| link.condition != LinkCondition::Open)
                || !state.client_links.is_empty()
                || !state.faults.is_empty(),
            active: same(&earlier.active, state.faults.iter().map(|active| active.fault).collect()),
            step: same(&earlier.step, StepSummary::of(state)),
            newest_entry: newest_entry(state),
            terminal: terminal(state, earlier),
            names: same(&earlier.names, typing::names(state)),
            saves: same(
                &earlier.saves,
                state.members.keys().map(|no| typing::save(state, *no)).collect(),
            ),
            recovery: same(&earlier.recovery, RecoverySummary::of(state)),
            lesson: match (&earlier.lesson, &state.lesson) {
                (Some(known), Some(now)) if **known == *now => Some(Rc::clone(known)),
                (_, now) => now.clone().map(Rc::new),
            },
            drill: DrillSummary::of(state),
        }
        .under_fog()
    }

    /// The members that were not removed, ascending.
    pub fn taking_part(&self) -> Vec<MemberNo> {
        let stays = |member: &&MemberSummary| member.standing != Standing::Removed;
        self.members.iter().filter(stays).map(|member| member.no).collect()
    }

    /// The line that saves a snapshot of a member.
    pub fn save(&self, no: MemberNo) -> Option<String> {
        let place = self.members.iter().position(|member| member.no == no)?;
        self.saves.get(place).cloned()
    }

    /// The member with this number.
    pub fn member(&self, no: MemberNo) -> Option<&MemberSummary> {
        self.members.iter().find(|member| member.no == no)
    }
}

/// Keeps the earlier allocation when the value is the same, so that comparing is a pointer's work.
fn same<T: PartialEq>(earlier: &Rc<T>, now: T) -> Rc<T> {
    if **earlier == now { Rc::clone(earlier) } else { Rc::new(now) }
}

fn members(state: &LabState) -> Vec<MemberSummary> {
    state
        .members
        .iter()
        .map(|(&no, member)| {
            let condition = match member.process {
                Process::Planned => Condition::Planned,
                Process::Up { .. } => Condition::Up,
                Process::Paused { .. } => Condition::Paused,
                Process::Down { wiped, .. } => Condition::Down { wiped },
            };
            let role = member.status.as_ref().map(|status| (status.role, status.term.0));
            let rows = rows(state, no, member);
            let said = match role {
                _ if member.standing == Standing::Removed => "removed".to_owned(),
                Some((role, term)) => format!("{}, term {term}", wording::role(role)),
                None => "no status yet".to_owned(),
            };
            let label = format!("{no}: {said}; {}", wording::process(member));
            let isolated = is_isolated(state, no);
            let id = member.id.map(|(id, _)| id.0);
            let standing = member.standing;
            MemberSummary { no, condition, standing, role, id, rows, label, isolated }
        })
        .collect()
}

fn is_isolated(state: &LabState, no: MemberNo) -> bool {
    let mut mine =
        state.links.iter().filter(|(link, _)| link.from == no || link.to == no).peekable();
    mine.peek().is_some() && mine.all(|(_, link)| link.condition == LinkCondition::Cut)
}

fn rows(state: &LabState, no: MemberNo, member: &MemberState) -> Vec<(&'static str, String)> {
    let process = wording::process(member);
    let Some(status) = &member.status else {
        return vec![("Role", "n/a".to_owned()), ("Process", process)];
    };
    let leader = wording::believed_leader(state, no);
    let told = leader.map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
    let role = match member.standing {
        Standing::Removed => "removed from the cluster".to_owned(),
        Standing::Elsewhere => "of another cluster".to_owned(),
        Standing::Unknown | Standing::Voter | Standing::Learner => {
            format!("{}, term {}", wording::role(status.role), status.term)
        }
    };
    let mut rows = vec![
        ("Role", role),
        ("Votes", votes(state, no, status)),
        ("Its leader", told),
        (
            "Last, committed, applied",
            format!("{}, {}, {}", status.last, status.commit, status.applied),
        ),
        ("fsync, last", wording::latency(status.fsync_last_micros.into())),
        ("Waiting here", waiting(status)),
        ("Process", process),
    ];
    match member.feed {
        Feed::Live => {}
        Feed::Quiet | Feed::Lost => rows.push(("Heard", "no longer".to_owned())),
    }
    rows
}

fn votes(state: &LabState, no: MemberNo, status: &Status) -> String {
    let needed = status.voters.len() / 2 + 1;
    match (status.role, state.story.ballots.get(&no)) {
        (Role::Candidate | Role::PreCandidate, Some(ballot)) => {
            format!("{} of {needed} needed", ballot.granted.len())
        }
        (Role::Learner, _) => "has none".to_owned(),
        _ => match status.vote.and_then(|id| state.member_of(id)) {
            Some(to) if to == no => "for itself".to_owned(),
            Some(to) => format!("for {to}"),
            None => "none in this term".to_owned(),
        },
    }
}

fn waiting(status: &Status) -> String {
    let writes = match status.waiting_proposals {
        1 => "1 write".to_owned(),
        more => format!("{more} writes"),
    };
    let reads = match status.waiting_reads {
        1 => "1 read".to_owned(),
        more => format!("{more} reads"),
    };
    match (status.waiting_proposals, status.waiting_reads) {
        (0, 0) => "nothing".to_owned(),
        (_, 0) => writes,
        (0, _) => reads,
        (_, _) => format!("{writes}, {reads}"),
    }
}

fn links(state: &LabState) -> Vec<LinkSummary> {
    state
        .links
        .iter()
        .map(|(&link, known)| LinkSummary {
            link,
            condition: known.condition,
            sent: known.traffic.sent,
            lost: known.traffic.lost,
        })
        .collect()
}

fn results(state: &LabState) -> Vec<ResultSummary> {
    state
        .tape
        .asked
        .iter()
        .rev()
        .map(|asked| {
            let what = match &asked.call {
                Call::Put { key, value } => format!("put {key} {value}"),
                Call::Get { key, serializable: false } => format!("get {key}"),
                Call::Get { key, serializable: true } => format!("get {key} (serializable)"),
                Call::Delete { key } => format!("delete {key}"),
                Call::LeaseGrant { ttl_seconds } => format!("lease grant {ttl_seconds}"),
                Call::LeaseTimeToLive { lease } => format!("lease ttl {lease:x}"),
                Call::LeaseKeepAlive { lease } => format!("lease keep-alive {lease:x}"),
                Call::LeaseRevoke { lease } => format!("lease revoke {lease:x}"),
                Call::Txn { compare, then, otherwise } => format!(
                    "txn: {} compares, {} or {} operations",
                    compare.len(),
                    then.len(),
                    otherwise.len()
                ),
                Call::Compact { revision } => format!("compact {revision}"),
            };
            let (told, detail) = match &asked.returned {
                None => (Told::Waits, String::new()),
                Some((at, Outcome::Ok(answer))) => {
                    let latency = wording::latency(at.saturating_sub(asked.at_micros));
                    let detail = match (&asked.call, &answer.value) {
                        (Call::Get { .. }, Some((value, _))) => format!("{value}, {latency}"),
                        (Call::Get { .. }, None) => format!("no such key, {latency}"),
                        _ => latency,
                    };
                    (Told::Ok, detail)
                }
                Some((at, Outcome::Txn(answer))) => {
                    let latency = wording::latency(at.saturating_sub(asked.at_micros));
                    let held = if answer.succeeded { "succeeded" } else { "compares failed" };
                    (Told::Ok, format!("{held}, {latency}"))
                }
                Some((_, Outcome::Fail { error })) => (Told::Failed, error.clone()),
                Some((_, Outcome::Info { error })) => (Told::Unknown, error.clone()),
            };
            ResultSummary { op: asked.op.0, what, member: asked.member, told, detail }
        })
        .collect()
}

fn story(state: &LabState, earlier: &Summary) -> Rc<Vec<StoryLine>> {
    if earlier.run == state.run && earlier.story_revision == state.story.revision() {
        return Rc::clone(&earlier.story);
    }
    Rc::new(state.story.lines.iter().cloned().collect())
}

/// The cluster that a member told of last, once one did.
fn cluster(state: &LabState) -> Option<u64> {
    let first = || state.members.values().find_map(|member| Some(member.id?.1.0));
    Some(state.configuration.cluster.0).filter(|id| *id != 0).or_else(first)
}

/// The terminal's lines; what they said is compared by how many have ended.
fn terminal(state: &LabState, earlier: &Summary) -> Rc<Vec<TerminalLine>> {
    let mark = |lines: &mut dyn Iterator<Item = &TerminalLine>| {
        lines.fold((0, 0, 0), |(count, ended, _), line| {
            (count + 1, ended + u32::from(line.end.is_some()), line.id.0)
        })
    };
    let now = mark(&mut state.terminal.lines());
    if earlier.run == state.run && mark(&mut earlier.terminal.iter()) == now {
        return Rc::clone(&earlier.terminal);
    }
    Rc::new(state.terminal.lines().cloned().collect())
}

fn tape_label(state: &LabState) -> String {
    let tape = &state.tape;
    let leader = tape.leaders.back().map_or_else(
        || "no leader so far".to_owned(),
        |span| format!("last leader {} in term {}", span.member, span.term),
    );
    let gap = tape.gaps.back().map_or_else(String::new, |gap| {
        format!(
            "; the last pause without an acknowledged write was {}",
            wording::latency(gap.micros())
        )
    });
    format!("Tape of the last minutes: {} faults, {leader}{gap}", tape.faults.len())
}

fn newest_entry(state: &LabState) -> String {
    let newest = state.members.values().filter_map(|member| member.briefs.back());
    newest.max_by_key(|brief| brief.index).map_or_else(String::new, |brief| {
        let text = if brief.text.is_empty() { "empty, of a new leader" } else { &brief.text };
        format!("{} {text}", brief.index)
    })
}
