//! How many voters are up and hear each other, and how many may still fail.

use std::collections::BTreeSet;

use lab_protocol::{LabState, Link, LinkCondition, MemberNo, Process, gather};

/// One voter in the quorum meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Runs and is in the largest group that hears each other.
    Together,
    /// Runs, but is cut off from that group.
    Apart,
    /// Does not run, or is paused.
    Gone,
}

/// The quorum as the lab's accounts give it: processes by the supervisor's, reach by the links.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Quorum {
    /// One cell a voter: those together first, then apart, then gone.
    pub cells: Vec<Cell>,
    /// Voters needed for a majority.
    pub needed: usize,
    /// Members that receive the log and do not count.
    pub learners: usize,
    /// The sentence beside it.
    pub words: String,
    /// No group of voters is a majority.
    pub lost: bool,
}

impl Quorum {
    /// Looks at the voters of the newest configuration that a member told of: a change of the
    /// members counts here when it was committed, and not when it was asked for.
    pub fn of(state: &LabState) -> Self {
        let (voters, all) = voters(state);
        let up = gather::set(voters.iter().copied().filter(|&no| is_up(state, no)));
        let group = largest_group(state, &up);
        let needed = all / 2 + 1;
        let learners = state.configuration.learners.len();
        let cells = (0..all)
            .map(|place| match place {
                place if place < group => Cell::Together,
                place if place < up.len() => Cell::Apart,
                _ => Cell::Gone,
            })
            .collect();
        let lost = group < needed;
        let reach = match group == up.len() {
            true => format!("{} of {all} up", up.len()),
            false => format!("{} of {all} up, {group} hear each other", up.len()),
        };
        let more = if group < all { "more " } else { "" };
        let rest = match group.checked_sub(needed) {
            None => "no majority, no writes".to_owned(),
            Some(0) => "no more may fail".to_owned(),
            Some(1) => format!("one {more}may fail"),
            Some(spare) => format!("{spare} {more}may fail"),
        };
        let words = match all {
            0 => "nothing is known of the voters yet".to_owned(),
            _ => format!("{reach}, {needed} needed: {rest}"),
        };
        let words = match learners {
            0 => words,
            1 => format!("{words}. A learner does not count"),
            more => format!("{words}. {more} learners do not count"),
        };
        Self { cells, needed, learners, words, lost }
    }
}

/// The voters with a place in the lab, and how many there are in all; before a configuration was
/// told, everybody that was planned.
fn voters(state: &LabState) -> (BTreeSet<MemberNo>, usize) {
    let told = &state.configuration.voters;
    if told.is_empty() {
        return (gather::set(state.members.keys().copied()), state.members.len());
    }
    (gather::set(told.iter().filter_map(|&id| state.member_of(id))), told.len())
}

fn is_up(state: &LabState, no: MemberNo) -> bool {
    state.members.get(&no).is_some_and(|member| matches!(member.process, Process::Up { .. }))
}

/// The most voters that one of them can lead: those it reaches and that reach it.
fn largest_group(state: &LabState, up: &BTreeSet<MemberNo>) -> usize {
    let open = |from, to| {
        from == to
            || state
                .links
                .get(&Link { from, to })
                .is_none_or(|link| link.condition != LinkCondition::Cut)
    };
    let reach = |leader| up.iter().filter(|&&no| open(leader, no) && open(no, leader)).count();
    up.iter().map(|&leader| reach(leader)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Event, MemberPlan, Numbered};
    use node_protocol::{ClusterId, MemberId, Role, Status};

    use super::*;

    fn lab(members: u8, down: &[u8], alone: &[u8]) -> Quorum {
        let mut state = LabState::default();
        let plans = (1..=members)
            .map(|n| MemberPlan {
                member: MemberNo(n),
                client_url: String::new(),
                peer_url: String::new(),
            })
            .collect();
        let mut events = vec![Event::RunStarted {
            run: String::new(),
            seed: 0,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: plans,
        }];
        for n in (1..=members).filter(|n| !down.contains(n)) {
            let process = Process::Up { pid: 1 };
            events.push(Event::Process { member: MemberNo(n), process });
        }
        for &n in alone {
            for m in (1..=members).filter(|&m| m != n) {
                let link = Link { from: MemberNo(m), to: MemberNo(n) };
                events.push(Event::LinkChanged { link, condition: LinkCondition::Cut });
            }
        }
        for (seq, event) in (1..).zip(events) {
            state.apply(&Numbered { seq, at_micros: 0, event }, true);
        }
        Quorum::of(&state)
    }

    #[test]
    fn the_words_say_how_many_may_fail() {
        for (quorum, words) in [
            (lab(5, &[3], &[]), "4 of 5 up, 3 needed: one more may fail"),
            (lab(3, &[3], &[]), "2 of 3 up, 2 needed: no more may fail"),
            (lab(3, &[1, 3], &[]), "1 of 3 up, 2 needed: no majority, no writes"),
            (lab(3, &[], &[1]), "3 of 3 up, 2 hear each other, 2 needed: no more may fail"),
            (lab(7, &[], &[]), "7 of 7 up, 4 needed: 3 may fail"),
            (lab(3, &[], &[]), "3 of 3 up, 2 needed: one may fail"),
        ] {
            assert_eq!(quorum.words, words);
        }
    }

    #[test]
    fn a_change_of_the_members_counts_when_it_was_told() {
        let told = |voters: std::ops::RangeInclusive<u64>, learners: &[u64]| {
            let mut state = LabState::default();
            let members = (1..=4).map(|n| MemberPlan {
                member: MemberNo(n),
                client_url: String::new(),
                peer_url: String::new(),
            });
            let mut events = vec![Event::RunStarted {
                run: String::new(),
                seed: 0,
                version: String::new(),
                engine: String::new(),
                token: String::new(),
                wall_millis: 0,
                members: members.collect(),
            }];
            for n in 1..=4 {
                let member = MemberNo(n);
                let (id, cluster) = (MemberId(n.into()), ClusterId(1));
                events.push(Event::Process { member, process: Process::Up { pid: 1 } });
                events.push(Event::Identified { member, id, cluster });
            }
            let status = Status {
                role: Role::Leader,
                voters: voters.map(MemberId).collect(),
                learners: learners.iter().copied().map(MemberId).collect(),
                ..Status::default_at(0)
            };
            events.push(Event::Status { member: MemberNo(1), status: Box::new(status) });
            for (seq, event) in (1..).zip(events) {
                state.apply(&Numbered { seq, at_micros: 0, event }, true);
            }
            Quorum::of(&state)
        };
        for (quorum, words) in [
            (told(1..=3, &[]), "3 of 3 up, 2 needed: one may fail"),
            (told(1..=3, &[4]), "3 of 3 up, 2 needed: one may fail. A learner does not count"),
            (told(1..=4, &[]), "4 of 4 up, 3 needed: one may fail"),
        ] {
            assert_eq!(quorum.words, words);
        }
    }

    #[test]
    fn a_voter_that_is_cut_off_is_apart() {
        let quorum = lab(3, &[2], &[1]);
        assert_eq!(quorum.cells, [Cell::Together, Cell::Apart, Cell::Gone]);
        assert!(quorum.lost);
    }
}
