//! Whom a target means now: pure, from the fold of the journal, the names given so far and draws.

use std::collections::BTreeSet;

use lab_check::Names;
use lab_protocol::scenario::Target;
use lab_protocol::{LabState, MemberNo, MemberState, Process, Standing};

use super::draws::Draws;

/// The members that a target means in this state.
///
/// `taken` are those that the same action has named before. Errors are for people: the target
/// means nobody now.
pub(super) fn resolve(
    target: &Target,
    state: &LabState,
    names: &Names,
    taken: &BTreeSet<MemberNo>,
    draws: &mut Draws,
) -> Result<BTreeSet<MemberNo>, String> {
    let all: BTreeSet<_> = state.taking_part().map(|(no, _)| no).collect();
    // Before anybody told a configuration, everybody counts.
    let voters = match state.configuration.voters.len() {
        0 => all.len(),
        told => told,
    };
    let leader = || state.leader().ok_or_else(|| "nobody leads now".to_owned());
    let found = match target {
        Target::Member(member) => BTreeSet::from([*member]),
        Target::All => all,
        Target::Leader => BTreeSet::from([leader()?]),
        Target::Followers => followers(state),
        Target::AFollower => draws.members(&followers(state), 1),
        Target::Minority { with_leader } => {
            some(state, (voters - 1) / 2, *with_leader, leader, draws)?
        }
        Target::Majority { with_leader } => {
            some(state, voters / 2 + 1, *with_leader, leader, draws)?
        }
        Target::Running => {
            let runs =
                |process: &Process| matches!(process, Process::Up { .. } | Process::Paused { .. });
            let running = state.members.iter().filter(|(_, member)| runs(&member.process));
            running.map(|(no, _)| *no).collect()
        }
        Target::Rest => all.difference(taken).copied().collect(),
        Target::Named(name) => {
            names.get(name).cloned().ok_or_else(|| format!("nothing is named `{name}` yet"))?
        }
        Target::Clients => BTreeSet::from([MemberNo::CLIENTS]),
        Target::Learners => {
            let learns = |member: &MemberState| member.standing == Standing::Learner;
            state.taking_part().filter(|(_, member)| learns(member)).map(|(no, _)| no).collect()
        }
        Target::Freshest => by_applied(state).last().into_iter().copied().collect(),
        Target::MostBehind => by_applied(state).first().into_iter().copied().collect(),
        Target::Zone(name) => {
            let zone = names.get(&format!("zone {name}"));
            zone.cloned().ok_or_else(|| format!("there is no zone `{name}`"))?
        }
        Target::Several(parts) => {
            let mut found = BTreeSet::new();
            for part in parts {
                found.extend(resolve(part, state, names, taken, draws)?);
            }
            found
        }
        Target::Without(these, without) => {
            let without = resolve(without, state, names, taken, draws)?;
            let these = resolve(these, state, names, taken, draws)?;
            these.difference(&without).copied().collect()
        }
    };
    if found.is_empty() { Err(format!("`{target}` is nobody now")) } else { Ok(found) }
}

/// So many members, with the leader or without.
fn some(
    state: &LabState,
    count: usize,
    with_leader: bool,
    leader: impl Fn() -> Result<MemberNo, String>,
    draws: &mut Draws,
) -> Result<BTreeSet<MemberNo>, String> {
    let followers = followers(state);
    let mut chosen = BTreeSet::new();
    if with_leader && count > 0 {
        chosen.insert(leader()?);
    }
    chosen.extend(draws.members(&followers, count - chosen.len()));
    if chosen.len() < count {
        return Err(format!("only {} of {count} members are up to choose from", chosen.len()));
    }
    Ok(chosen)
}

/// Members that are up, those that have applied least first.
fn by_applied(state: &LabState) -> Vec<MemberNo> {
    let mut up: Vec<_> = state
        .taking_part()
        .filter(|(_, member)| matches!(member.process, Process::Up { .. }))
        .filter_map(|(no, member)| Some((member.status.as_ref()?.applied, no)))
        .collect();
    up.sort_unstable();
    up.into_iter().map(|(_, no)| no).collect()
}

/// Members that are up, may vote, and do not lead.
fn followers(state: &LabState) -> BTreeSet<MemberNo> {
    let leader = state.leader();
    state
        .taking_part()
        .filter(|(no, member)| matches!(member.process, Process::Up { .. }) && Some(*no) != leader)
        .filter(|(_, member)| member.standing != Standing::Learner)
        .map(|(no, _)| no)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use lab_protocol::node_protocol::{ClusterId, Index, MemberId, Revision, Role, Status, Term};
    use lab_protocol::{Event, MemberPlan, Numbered};

    /// A whole cluster of so many members in term 4 with this leader.
    fn cluster(members: u8, leader: u8) -> LabState {
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

    #[test]
    fn targets_mean_members() {
        let state = cluster(5, 3);
        let names = Names::from([
            ("old".into(), BTreeSet::from([MemberNo(2)])),
            ("zone a".into(), BTreeSet::from([MemberNo(1), MemberNo(2)])),
        ]);
        let taken = BTreeSet::from([MemberNo(3), MemberNo(5)]);
        let find = |text: &str, seed: u64| {
            let target: Target = text.parse().expect(text);
            let mut draws = Draws::at(seed, [0; 4]);
            resolve(&target, &state, &names, &taken, &mut draws)
        };
        let members = |numbers: &[u8]| Ok(numbers.iter().copied().map(MemberNo).collect());
        for (text, expected) in [
            ("m1, m4", members(&[1, 4])),
            ("followers - m2", members(&[1, 4, 5])),
            ("zone a", members(&[1, 2])),
            ("clients", members(&[0])),
            ("m4", members(&[4])),
            ("leader", members(&[3])),
            ("followers", members(&[1, 2, 4, 5])),
            ("all", members(&[1, 2, 3, 4, 5])),
            ("running", members(&[1, 2, 3, 4, 5])),
            ("rest", members(&[1, 2, 4])),
            ("old", members(&[2])),
        ] {
            assert_eq!(find(text, 1), expected, "{text}");
        }
        for seed in 0..20 {
            let minority = find("minority", seed).expect("some");
            assert!(minority.len() == 2 && !minority.contains(&MemberNo(3)));
            let with = find("minority with leader", seed).expect("some");
            assert!(with.len() == 2 && with.contains(&MemberNo(3)));
            assert_eq!(find("majority with leader", seed).expect("some").len(), 3);
            assert_eq!(find("a_follower", seed), find("a_follower", seed));
        }
        assert!(find("unknown_name", 1).is_err());
        let mut nobody = state.clone();
        nobody.members.values_mut().for_each(|member| member.status = None);
        let mut draws = Draws::at(1, [0; 4]);
        let error = resolve(&Target::Leader, &nobody, &names, &taken, &mut draws);
        assert_eq!(error, Err("nobody leads now".into()));
    }
}
