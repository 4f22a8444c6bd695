//! Whether a condition holds: pure, from the tally of the journal.

use std::collections::BTreeSet;

use lab_protocol::node_protocol::telemetry::ProgressState;
use lab_protocol::node_protocol::{Role, Term};
use lab_protocol::scenario::{Comparison, Condition, LinkWord, Quantity, Target};
use lab_protocol::terminal::LineEnd;
use lab_protocol::{
    Account, EngineKind, FaultPlace, Link, LinkCondition, MemberNo, MemberState, Process, Standing,
};

use crate::convergence;
use crate::tally::{Mark, Tally};

/// Whether the condition holds now; what it counts, it counts since the mark.
pub fn holds(condition: &Condition, tally: &Tally, since: &Mark) -> bool {
    let state = &tally.state;
    let members = |target: &Target| -> Vec<&MemberState> {
        tally.chosen(target).iter().filter_map(|no| state.members.get(no)).collect()
    };
    let stand =
        |target: &Target, standing| every(members(target), |member| member.standing == standing);
    let sent = |target: &Target, wanted: ProgressState| {
        let sends = |member: &MemberState| progress(tally, member) == Some(wanted);
        every(members(target), sends)
    };
    match condition {
        Condition::Leader => followed_leader(tally).is_some(),
        Condition::NewLeader => {
            followed_leader(tally).is_some_and(|(_, term)| term > since.office())
        }
        Condition::NoLeader => {
            state.taking_part().map(|(_, m)| m).filter(|m| is_up(m)).all(knows_no_leader)
        }
        Condition::Lead(target) => {
            followed_leader(tally).is_some_and(|(no, _)| tally.chosen(target).contains(&no))
        }
        Condition::Resigned(target) => every(members(target), |member| !leads(member)),
        Condition::Up(target) => every(members(target), is_up),
        Condition::Down(target) => every(members(target), |member| {
            matches!(member.process, Process::Down { .. } | Process::Planned)
        }),
        Condition::Lost(target) => every(members(target), knows_no_leader),
        Condition::Voter(target) => stand(target, Standing::Voter),
        Condition::Learner(target) => stand(target, Standing::Learner),
        Condition::Removed(target) => stand(target, Standing::Removed),
        Condition::InSync(target) => every(members(target), |member| is_in_sync(tally, member)),
        Condition::Voters(count) => state.configuration.voters.len() == *count as usize,
        Condition::AllAgree => convergence::agreed(state).is_some(),
        Condition::Converged => convergence::converged(state),
        Condition::Acked(count) => tally.acked(since) >= u64::from(*count),
        Condition::Answered => tally.open_calls() == 0,
        Condition::Backups(count) => tally.backups(since) >= *count,
        Condition::DamagedBackup => state.backups.damaged > 0,
        Condition::TotalLoss => state.loss_window().is_some(),
        Condition::Quorum => is_tolerable(tally),
        Condition::Settled => convergence::converged(state) && tally.open() == 0,
        Condition::Paused(target) => {
            every(members(target), |member| matches!(member.process, Process::Paused { .. }))
        }
        Condition::Campaigning(target) => every(members(target), campaigns),
        Condition::Probed(target) => sent(target, ProgressState::Probe),
        Condition::Replicating(target) => sent(target, ProgressState::Replicate),
        Condition::FedASnapshot(target) => sent(target, ProgressState::Snapshot),
        Condition::Said(words) => has_said(tally, words),
        Condition::Compare(comparison) => fits(comparison, tally, since).unwrap_or(false),
        Condition::Not(condition) => !holds(condition, tally, since),
        Condition::Both(one, other) => holds(one, tally, since) && holds(other, tally, since),
    }
}

/// Whether a comparison holds; `None` when there is nothing to measure.
fn fits(comparison: &Comparison, tally: &Tally, since: &Mark) -> Option<bool> {
    let Comparison { quantity, bound } = comparison;
    Some(bound.fits(measure(quantity, tally, since)?, tally.scale))
}

/// A quantity now, counted since the mark: cases, microseconds or thousandths. `None` when there is
/// nothing to measure.
pub fn measure(quantity: &Quantity, tally: &Tally, since: &Mark) -> Option<u64> {
    let state = &tally.state;
    let status = |target: &Target| {
        let members = tally.chosen(target);
        let status = move |no: &MemberNo| state.members.get(no)?.status.as_ref();
        members.iter().filter_map(status).collect::<Vec<_>>()
    };
    let of = |target: &Option<Target>, count: fn(&crate::tally::OfMember) -> u64| {
        Some(tally.since(since, target.as_ref(), count))
    };
    let messages = |word: &LinkWord| {
        links(tally, word).into_iter().map(|link| tally.messages(since, link)).collect::<Vec<_>>()
    };
    match quantity {
        Quantity::Leaders => {
            Some(state.taking_part().filter(|(_, member)| leads(member)).count() as u64)
        }
        Quantity::Term => Some(tally.term().0),
        Quantity::Up => Some(state.taking_part().filter(|(_, m)| is_up(m)).count() as u64),
        Quantity::Voters => Some(state.configuration.voters.len() as u64),
        Quantity::Lag(target) => {
            let behind = |applied: u64| tally.commit().0.saturating_sub(applied);
            status(target).iter().map(|status| behind(status.applied.0)).max()
        }
        Quantity::Tail(target) => {
            let tails = status(target);
            tails.iter().map(|status| status.last.0.saturating_sub(status.commit.0)).max()
        }
        Quantity::First(target) => status(target).iter().map(|status| status.first.0).max(),
        Quantity::Apart(target) => {
            let revisions: Vec<_> = status(target).iter().map(|s| s.revision.0).collect();
            let apart = revisions.iter().max()? - revisions.iter().min()?;
            u64::try_from(apart).ok()
        }
        Quantity::Held => Some(state.held.len() as u64),
        Quantity::Open => Some(tally.open()),
        Quantity::Elections => Some(tally.grown(since, |counts| counts.elections)),
        Quantity::Terms => Some(tally.terms(since)),
        Quantity::Campaigns(target) => of(target, |of| of.campaigns),
        Quantity::Refusals(target) => of(target, |of| of.refusals),
        Quantity::Truncated(target) => of(target, |of| of.truncated),
        Quantity::Snapshots(target) => of(target, |of| of.snapshots),
        Quantity::Compactions(target) => of(target, |of| of.compactions),
        Quantity::Starts(target) => of(target, |of| of.starts),
        Quantity::Deaths(target) => of(target, |of| of.deaths),
        Quantity::Committed => Some(tally.committed(since)),
        Quantity::Acked(target) => of(target, |of| of.acked),
        Quantity::Refused => Some(tally.grown(since, |counts| counts.refused)),
        Quantity::Unknown => Some(tally.grown(since, |counts| counts.unknown)),
        Quantity::Reads(target) => of(target, |of| of.reads),
        Quantity::FailedReads(target) => of(target, |of| of.failed_reads),
        Quantity::StaleReads(target) => of(target, |of| of.stale_reads),
        Quantity::Turns => Some(tally.grown(since, |counts| counts.turns)),
        Quantity::Events => Some(tally.grown(since, |counts| counts.events)),
        Quantity::Cancelled => Some(tally.grown(since, |counts| counts.cancelled)),
        Quantity::Messages(word) => Some(messages(word).iter().map(|(sent, _)| sent).sum()),
        Quantity::Lost(word) => Some(messages(word).iter().map(|(_, lost)| lost).sum()),
        Quantity::Gap => Some(tally.gap(since)),
        Quantity::Leaderless => Some(tally.leaderless(since)),
        Quantity::Availability(kind) => tally.availability(since, *kind),
        Quantity::Latency(quantile, kind) => tally.latency(since, *quantile, *kind),
    }
}

fn links(tally: &Tally, word: &LinkWord) -> BTreeSet<Link> {
    let LinkWord { from, to, both } = word;
    let mut links = BTreeSet::new();
    for from in tally.chosen(from) {
        for to in tally.chosen(to).into_iter().filter(|to| *to != from) {
            links.insert(Link { from, to });
            if *both {
                links.insert(Link { from: to, to: from });
            }
        }
    }
    links
}

/// Whether it is so of each, and there is somebody: a name that was not given yet means nobody.
fn every(members: Vec<&MemberState>, is_so: impl Fn(&MemberState) -> bool) -> bool {
    !members.is_empty() && members.into_iter().all(is_so)
}

fn is_up(member: &MemberState) -> bool {
    matches!(member.process, Process::Up { .. })
}

fn leads(member: &MemberState) -> bool {
    let up = matches!(member.process, Process::Up { .. } | Process::Paused { .. });
    up && member.status.as_ref().is_some_and(|status| status.role == Role::Leader)
}

fn campaigns(member: &MemberState) -> bool {
    let status = member.status.as_ref().filter(|_| is_up(member));
    status.is_some_and(|status| matches!(status.role, Role::PreCandidate | Role::Candidate))
}

fn knows_no_leader(member: &MemberState) -> bool {
    convergence::is_heard(member)
        && member
            .status
            .as_ref()
            .is_some_and(|status| status.leader.is_none() && status.role != Role::Leader)
}

/// How the leader sends its log to a member, if it says so.
fn progress(tally: &Tally, member: &MemberState) -> Option<ProgressState> {
    let leader = tally.state.leader()?;
    let (id, _) = member.id?;
    let status = tally.state.members[&leader].status.as_ref()?;
    Some(status.progress.iter().find(|progress| progress.member == id)?.state)
}

/// Whether the leader knows that a member holds nine tenths of its log. Where leaders do not tell
/// what they know, the member's own word is taken.
fn is_in_sync(tally: &Tally, member: &MemberState) -> bool {
    let state = &tally.state;
    let leader = state.leader().and_then(|leader| state.members[&leader].status.as_ref());
    let (Some(leader), Some((id, _))) = (leader, member.id) else { return false };
    if !EngineKind::of(&state.engine).tells(Account::Progress) {
        let own = member.status.as_ref().filter(|_| convergence::is_heard(member));
        return own.is_some_and(|own| own.applied.0 * 10 >= leader.last.0 * 9);
    }
    let progress = leader.progress.iter().find(|progress| progress.member == id);
    progress.is_some_and(|progress| progress.matched.0 * 10 >= leader.last.0 * 9)
}

/// The leader that every member follows which is up and has both links to it open.
fn followed_leader(tally: &Tally) -> Option<(MemberNo, Term)> {
    let state = &tally.state;
    let leader = state.leader()?;
    let office = &state.members[&leader];
    let (id, _) = office.id?;
    let term = office.status.as_ref().filter(|_| convergence::is_heard(office))?.term;
    let open =
        |from, to| state.links.get(&Link { from, to }).is_none_or(|link| !link.condition.blocks());
    let follows = |(no, member): (&MemberNo, &MemberState)| {
        let reached = *no != leader
            && !matches!(member.standing, Standing::Removed | Standing::Elsewhere)
            && is_up(member)
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

/// Whether the last line of the terminal that said anything said these words.
fn has_said(tally: &Tally, words: &str) -> bool {
    let said = tally.state.terminal.lines().rev().find_map(|line| match &line.end {
        Some(LineEnd::Said(said)) => Some(said.out.contains(words) || said.errors.contains(words)),
        Some(LineEnd::Refused(why)) => Some(why.contains(words)),
        Some(LineEnd::Done) | None => None,
    });
    said.unwrap_or(false)
}

/// Whether so many voters run, without a fault, and hear each other, that one of them could lead
/// the others: a majority. Before a configuration was told, every member has a vote.
pub(crate) fn is_tolerable(tally: &Tally) -> bool {
    let state = &tally.state;
    let told = !state.configuration.voters.is_empty();
    let voters: Vec<_> = state
        .taking_part()
        .filter(|(_, member)| !told || member.standing == Standing::Voter)
        .collect();
    let all = if told { state.configuration.voters.len() } else { voters.len() };
    let fit = |no: MemberNo, member: &MemberState| {
        is_up(member) && !state.faults.iter().any(|active| active.fault.member() == Some(no))
    };
    let fit: Vec<_> =
        voters.into_iter().filter(|(no, member)| fit(*no, member)).map(|(no, _)| no).collect();
    let carries = |from, to| {
        let condition = state.links.get(&Link { from, to }).map(|link| link.condition);
        let place = FaultPlace::Link(Link { from, to });
        let flaps = state.faults.iter().any(|active| active.fault.place() == place);
        let condition = condition.unwrap_or(LinkCondition::Open);
        !flaps && matches!(condition, LinkCondition::Open | LinkCondition::Delayed { .. })
    };
    let hear = |one: MemberNo, other: MemberNo| carries(one, other) && carries(other, one);
    // Nine members at most: every set of them can be looked at.
    (0..1_u32 << fit.len()).any(|set| {
        let of: Vec<_> = (0..fit.len()).filter(|at| set >> at & 1 == 1).map(|at| fit[at]).collect();
        let all_hear = |one: &MemberNo| of.iter().all(|other| one == other || hear(*one, *other));
        of.len() > all / 2 && of.iter().all(all_hear)
    })
}

#[cfg(test)]
mod tests {
    use lab_protocol::node_protocol::telemetry::{Progress, ProgressState};
    use lab_protocol::node_protocol::{ClusterId, Index, MemberId, Revision, Status};
    use lab_protocol::scenario::ClusterWish;
    use lab_protocol::{Event, MemberPlan, Numbered};

    use super::*;

    /// A whole cluster of so many members in term 4 with this leader.
    fn cluster(members: u8, leader: u8) -> Tally {
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
        let mut tally = Tally::new(ClusterWish::default().scale());
        tally.names.insert("old".into(), BTreeSet::from([MemberNo(1)]));
        for (seq, event) in (1..).zip(events) {
            tally.observe(&Numbered { seq, at_micros: seq * 1000, event });
        }
        tally
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

    fn then(tally: &Tally, event: Event) -> Tally {
        let mut tally = tally.clone();
        let (seq, at_micros) = (tally.state.seq + 1, tally.state.at_micros + 1000);
        tally.observe(&Numbered { seq, at_micros, event });
        tally
    }

    fn check(tally: &Tally, phrase: &str, expected: bool) {
        let condition: Condition = phrase.parse().expect(phrase);
        assert_eq!(holds(&condition, tally, &cluster(3, 1).mark()), expected, "{phrase}");
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
            ("acked 1", false),
            ("nobody_yet resigned", false),
            ("not nobody_yet up", true),
            ("quorum", true),
            ("settled", true),
            ("leaders = 1", true),
            ("up >= 4", false),
            ("lag of all = 0", true),
            ("apart of m1, m2 = 0", true),
            ("not old lead", false),
            ("m2 paused and leader", false),
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
        assert_eq!(gone.state.taking_part().count(), 2);
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
        let says = |state: &Tally, number: u8, status: Status| {
            then(state, Event::Status { member: MemberNo(number), status: Box::new(status) })
        };
        let lost = says(&state, 2, status(Role::PreCandidate, 4, None));
        check(&lost, "m2 lost", true);
        check(&lost, "no leader", false);
        check(&lost, "m2 campaigning", true);
        check(&lost, "quorum", true);
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
