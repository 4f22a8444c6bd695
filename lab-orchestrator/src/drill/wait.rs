//! Whether a condition holds: pure predicates over the fold of the journal.

use std::collections::BTreeSet;

use lab_check::convergence;
use lab_protocol::node_protocol::{Role, Term};
use lab_protocol::scenario::{Condition, Target};
use lab_protocol::{LabState, Link, MemberNo, MemberState, Process, Standing};

use super::target::Names;

/// What happened since the step began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Since {
    /// The highest term in which anybody led when it began.
    pub(super) term: Term,
    /// Puts acknowledged since.
    pub(super) acked: u64,
    /// Single calls of the drill that have not returned.
    pub(super) open_calls: usize,
}

/// Whether the condition holds now.
pub(super) fn holds(condition: &Condition, state: &LabState, since: &Since, names: &Names) -> bool {
    let members = |target: &Target| -> Vec<&MemberState> {
        chosen(target, state, names).iter().filter_map(|no| state.members.get(no)).collect()
    };
    let is_up = |member: &MemberState| matches!(member.process, Process::Up { .. });
    let stand = |target: &Target, standing| {
        let found = members(target);
        !found.is_empty() && found.into_iter().all(|member| member.standing == standing)
    };
    match condition {
        Condition::Leader => followed_leader(state).is_some(),
        Condition::NewLeader => followed_leader(state).is_some_and(|(_, term)| term > since.term),
        Condition::NoLeader => {
            state.taking_part().map(|(_, m)| m).filter(|m| is_up(m)).all(knows_no_leader)
        }
        Condition::Lead(target) => {
            followed_leader(state).is_some_and(|(no, _)| chosen(target, state, names).contains(&no))
        }
        Condition::Resigned(target) => members(target).into_iter().all(|member| !leads(member)),
        Condition::Up(target) => members(target).into_iter().all(is_up),
        Condition::Down(target) => members(target)
            .into_iter()
            .all(|member| matches!(member.process, Process::Down { .. } | Process::Planned)),
        Condition::Lost(target) => members(target).into_iter().all(knows_no_leader),
        Condition::Voter(target) => stand(target, Standing::Voter),
        Condition::Learner(target) => stand(target, Standing::Learner),
        Condition::Removed(target) => stand(target, Standing::Removed),
        Condition::InSync(target) => {
            members(target).into_iter().all(|member| is_in_sync(state, member))
        }
        Condition::Voters(count) => state.configuration.voters.len() == *count as usize,
        Condition::AllAgree => convergence::agreed(state).is_some(),
        Condition::Converged => convergence::converged(state),
        Condition::Acked(count) => since.acked >= u64::from(*count),
        Condition::Answered => since.open_calls == 0,
        Condition::Backups(count) => state.backups.verified >= *count,
        Condition::DamagedBackup => state.backups.damaged > 0,
        Condition::TotalLoss => state.loss_window().is_some(),
    }
}

/// The highest term in which somebody says that it leads.
pub(super) fn highest_term(state: &LabState) -> Term {
    state
        .members
        .values()
        .filter_map(|member| member.status.as_ref())
        .filter(|status| status.role == Role::Leader)
        .map(|status| status.term)
        .max()
        .unwrap_or_default()
}

fn chosen(target: &Target, state: &LabState, names: &Names) -> BTreeSet<MemberNo> {
    match target {
        Target::Member(member) => BTreeSet::from([*member]),
        Target::Named(name) => names.get(name).cloned().unwrap_or_default(),
        // The others are refused when the file is read.
        Target::All
        | Target::Leader
        | Target::Followers
        | Target::AFollower
        | Target::Minority { .. }
        | Target::Majority { .. }
        | Target::Running
        | Target::Clients
        | Target::Learners
        | Target::Freshest
        | Target::MostBehind
        | Target::Zone(_)
        | Target::Several(_)
        | Target::Without(..)
        | Target::Rest => state.taking_part().map(|(no, _)| no).collect(),
    }
}

fn leads(member: &MemberState) -> bool {
    let up = matches!(member.process, Process::Up { .. } | Process::Paused { .. });
    up && member.status.as_ref().is_some_and(|status| status.role == Role::Leader)
}

fn knows_no_leader(member: &MemberState) -> bool {
    convergence::is_heard(member)
        && member
            .status
            .as_ref()
            .is_some_and(|status| status.leader.is_none() && status.role != Role::Leader)
}

/// Whether the leader knows that a member holds nine tenths of its log.
fn is_in_sync(state: &LabState, member: &MemberState) -> bool {
    let leader = state.leader().and_then(|leader| state.members[&leader].status.as_ref());
    let (Some(leader), Some((id, _))) = (leader, member.id) else { return false };
    let progress = leader.progress.iter().find(|progress| progress.member == id);
    progress.is_some_and(|progress| progress.matched.0 * 10 >= leader.last.0 * 9)
}

/// The leader that every member follows which is up and has both links to it open.
fn followed_leader(state: &LabState) -> Option<(MemberNo, Term)> {
    let leader = state.leader()?;
    let office = &state.members[&leader];
    let (id, _) = office.id?;
    let term = office.status.as_ref().filter(|_| convergence::is_heard(office))?.term;
    let open =
        |from, to| state.links.get(&Link { from, to }).is_none_or(|link| !link.condition.blocks());
    let follows = |(no, member): (&MemberNo, &MemberState)| {
        let reached = *no != leader
            && !matches!(member.standing, Standing::Removed | Standing::Elsewhere)
            && matches!(member.process, Process::Up { .. })
            && open(leader, *no)
            && open(*no, leader);
        !reached
            || convergence::is_heard(member)
                && member
                    .status
                    .as_ref()
                    .is_some_and(|status| status.leader == Some(id) && status.term == term)
    };
    state.members.iter().all(follows).then_some((leader, term))
}

#[cfg(test)]
pub(super) mod tests {
    use lab_protocol::node_protocol::telemetry::{Progress, ProgressState};
    use lab_protocol::node_protocol::{ClusterId, Index, MemberId, Revision, Status};
    use lab_protocol::{Event, MemberPlan, Numbered};

    use super::*;

    /// A whole cluster of so many members in term 4 with this leader.
    pub(in crate::drill) fn cluster(members: u8, leader: u8) -> LabState {
        let mut events = vec![Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: "0".into(),
            engine: "raft-node".into(),
            token: "t".into(),
            wall_millis: 0,
            members: (1..=members)
                .map(|number| MemberPlan {
                    member: MemberNo(number),
                    client_url: String::new(),
                    peer_url: String::new(),
                })
                .collect(),
        }];
        for number in 1..=members {
            let member = MemberNo(number);
            let id = MemberId(u64::from(number));
            events.push(Event::Process { member, process: Process::Up { pid: 1 } });
            events.push(Event::Identified { member, id, cluster: ClusterId(1) });
            let role = if number == leader { Role::Leader } else { Role::Follower };
            events.push(Event::Status { member, status: Box::new(status(role, 4, Some(leader))) });
        }
        let mut state = LabState::default();
        for (seq, event) in (1..).zip(events) {
            state.apply(&Numbered { seq, at_micros: seq * 1000, event }, true);
        }
        state
    }

    fn status(role: Role, term: u64, leader: Option<u8>) -> Status {
        Status {
            at_micros: 0,
            role,
            term: Term(term),
            vote: None,
            leader: leader.map(|leader| MemberId(u64::from(leader))),
            first: Index(1),
            last: Index(9),
            persisted: Index(9),
            commit: Index(9),
            applied: Index(9),
            terms: vec![],
            revision: Revision(3),
            tick_micros: 100_000,
            election_elapsed_ticks: 0,
            election_timeout_ticks: 10,
            promotable: true,
            voters: vec![],
            learners: vec![],
            progress: vec![],
            waiting_proposals: 0,
            waiting_reads: 0,
            leases: 0,
            fsync_last_micros: 0,
            state_bytes: 0,
        }
    }

    fn then(state: &LabState, event: Event) -> LabState {
        let mut state = state.clone();
        let (seq, at_micros) = (state.seq + 1, state.at_micros + 1000);
        state.apply(&Numbered { seq, at_micros, event }, true);
        state
    }

    fn check(state: &LabState, phrase: &str, expected: bool) {
        let names = Names::from([("old".into(), BTreeSet::from([MemberNo(1)]))]);
        let since = Since { term: Term(4), acked: 7, open_calls: 0 };
        let condition: Condition = phrase.parse().expect(phrase);
        assert_eq!(holds(&condition, state, &since, &names), expected, "{phrase}");
    }

    #[test]
    fn a_whole_cluster() {
        let state = cluster(3, 1);
        for (phrase, expected) in [
            ("leader", true),
            ("new leader", false),
            ("no leader", false),
            ("old lead", true),
            ("old resigned", false),
            ("m2 resigned", true),
            ("all up", true),
            ("m3 down", false),
            ("m3 lost", false),
            ("all agree", true),
            ("converged", true),
            ("acked 7", true),
            ("acked 8", false),
            ("answered", true),
        ] {
            check(&state, phrase, expected);
        }
    }

    #[test]
    fn members_come_and_go() {
        let mut state = cluster(3, 1);
        let ids = |numbers: &[u64]| numbers.iter().copied().map(MemberId).collect::<Vec<_>>();
        let mut says = |voters: &[u64], learners: &[u64], matched: u64| {
            let progress = Progress {
                member: MemberId(3),
                matched: Index(matched),
                next: Index(matched + 1),
                state: ProgressState::Replicate,
                recent_active: true,
            };
            let status = Status {
                voters: ids(voters),
                learners: ids(learners),
                last: Index(20),
                progress: vec![progress],
                ..status(Role::Leader, 4, Some(1))
            };
            let event = Event::Status { member: MemberNo(1), status: Box::new(status) };
            state = then(&state, event);
            state.clone()
        };
        let joins = says(&[1, 2], &[3], 17);
        for (phrase, expected) in [
            ("voters 2", true),
            ("voters 3", false),
            ("m3 learner", true),
            ("m3 voter", false),
            ("m3 in sync", false),
            ("m5 voter", false),
        ] {
            check(&joins, phrase, expected);
        }
        check(&says(&[1, 2], &[3], 18), "m3 in sync", true);
        check(&says(&[1, 2, 3], &[], 18), "m3 voter", true);
        let left = says(&[1, 2], &[], 18);
        check(&left, "m3 removed", true);
        check(&left, "m2 voter", true);
        // What it says and whether it runs matters to nobody any more.
        let ended = lab_protocol::Ended::Exit { code: 1 };
        let process = Process::Down { ended, asked: false, wiped: false };
        let gone = then(&left, Event::Process { member: MemberNo(3), process });
        check(&gone, "leader", true);
        assert_eq!(gone.taking_part().count(), 2);
    }

    #[test]
    fn a_crashed_leader_and_its_successor() {
        let ended = lab_protocol::Ended::Signal { number: 9 };
        let process = Process::Down { ended, asked: true, wiped: false };
        let state = then(&cluster(3, 1), Event::Process { member: MemberNo(1), process });
        for (phrase, expected) in
            [("leader", false), ("m1 down", true), ("old resigned", true), ("all agree", false)]
        {
            check(&state, phrase, expected);
        }
        let says = |state: &LabState, number: u8, status: Status| {
            then(state, Event::Status { member: MemberNo(number), status: Box::new(status) })
        };
        let lost = says(&state, 2, status(Role::PreCandidate, 4, None));
        check(&lost, "m2 lost", true);
        check(&lost, "no leader", false);
        check(&says(&lost, 3, status(Role::Follower, 4, None)), "no leader", true);
        let elected = says(&lost, 2, status(Role::Leader, 5, Some(2)));
        check(&elected, "new leader", false);
        let followed = says(&elected, 3, status(Role::Follower, 5, Some(2)));
        check(&followed, "new leader", true);
        check(&followed, "all agree", false);
        // A process that has just begun has not said anything yet.
        let process = Process::Up { pid: 2 };
        let back = then(&followed, Event::Process { member: MemberNo(1), process });
        check(&back, "all agree", false);
        let follows = says(&back, 1, status(Role::Follower, 5, Some(2)));
        check(&follows, "all agree", true);
        check(&follows, "converged", true);
    }
}
