//! What a member says of its own steps, found by comparing before and after.
//!
//! raft-rs tells *what* it decided only in its log output, whose wording is not a contract. The
//! reasons here are derived from the state around a step and from the messages that went in and
//! out, so they are as stable as the protocol.

use node_protocol::{MemberId, Role, Term, TraceEvent};
use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

/// The part of a Raft node's state that a reader wants explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it voted for in the term.
    pub vote: Option<MemberId>,
    /// Whom it believes to lead.
    pub leader: Option<MemberId>,
}

/// A role of ours for one of raft-rs's.
pub fn role_of(state: StateRole, promotable: bool) -> Role {
    match state {
        StateRole::Follower if promotable => Role::Follower,
        StateRole::Follower => Role::Learner,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

/// Raft's 0 stands for nobody.
pub fn somebody(id: u64) -> Option<MemberId> {
    (id != raft::INVALID_ID).then_some(MemberId(id))
}

/// What a reader should be told of a step from `before` to `after`.
pub fn changes(before: &Standing, after: &Standing, events: &mut Vec<TraceEvent>) {
    if (before.role, before.term) != (after.role, after.term) {
        let why = why(before, after);
        // A follower that merely enters a later term keeps its role; the vote or the leader says
        // the rest. A candidate that does so asks for votes once more.
        if before.role != after.role || after.role == Role::Candidate {
            events.push(TraceEvent::Became { role: after.role, term: after.term, why });
        }
    }
    if before.leader != after.leader || (before.term != after.term && after.leader.is_some()) {
        events.push(TraceEvent::LeaderSeen { term: after.term, leader: after.leader });
    }
}

fn why(before: &Standing, after: &Standing) -> String {
    match (before.role, after.role) {
        (_, Role::PreCandidate) => "heard nothing for a whole election timeout".into(),
        (Role::PreCandidate, Role::Candidate) => "a majority would vote for it".into(),
        (Role::Candidate, Role::Candidate) => "nobody won the election before".into(),
        (_, Role::Candidate) => "campaigns without asking first".into(),
        (_, Role::Leader) => "a majority voted for it".into(),
        (Role::Leader, _) if before.term == after.term => {
            "a majority has not answered for an election timeout".into()
        }
        (Role::Leader, _) => format!("term {} has begun without it", after.term),
        (Role::PreCandidate | Role::Candidate, _) => match after.leader {
            Some(_) => "somebody else leads".into(),
            None => format!("was refused, or saw term {}", after.term),
        },
        (Role::Learner, Role::Follower) => "was given a vote".into(),
        (_, Role::Learner) => "has no vote".into(),
        (Role::Follower, Role::Follower) => String::new(),
    }
}

/// What a received message is worth telling, judged before it is stepped.
///
/// `lease_holds`: this member heard its leader within the last election timeout and therefore
/// ignores requests for votes (Raft thesis §4.2.3).
pub fn received(message: &Message, lease_holds: bool) -> Option<TraceEvent> {
    let pre = match message.get_msg_type() {
        MessageType::MsgRequestVoteResponse => false,
        MessageType::MsgRequestPreVoteResponse => true,
        kind @ (MessageType::MsgRequestVote | MessageType::MsgRequestPreVote) if lease_holds => {
            return Some(TraceEvent::VoteCast {
                candidate: MemberId(message.from),
                term: Term(message.term),
                pre: kind == MessageType::MsgRequestPreVote,
                granted: false,
                why: "heard its leader a moment ago".into(),
            });
        }
        _ => return None,
    };
    Some(TraceEvent::VoteHeard {
        from: MemberId(message.from),
        term: Term(message.term),
        pre,
        granted: !message.reject,
    })
}

/// What a message about to be sent is worth telling.
pub fn sent(message: &Message, standing: &Standing) -> Option<TraceEvent> {
    let pre = match message.get_msg_type() {
        MessageType::MsgRequestVoteResponse => false,
        MessageType::MsgRequestPreVoteResponse => true,
        _ => return None,
    };
    let why = if !message.reject {
        String::new()
    } else if Term(message.term) < standing.term {
        format!("is already in term {}", standing.term)
    } else if let Some(other) = standing.vote.filter(|vote| vote.0 != message.to && !pre) {
        format!("has voted for {other} in term {}", standing.term)
    } else if standing.leader.is_some() {
        "follows a leader".into()
    } else {
        "its own log is newer".into()
    };
    Some(TraceEvent::VoteCast {
        candidate: MemberId(message.to),
        term: Term(message.term),
        pre,
        granted: !message.reject,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(role: Role, term: u64, leader: u64) -> Standing {
        Standing { role, term: Term(term), vote: None, leader: somebody(leader) }
    }

    #[test]
    fn a_step_is_told_with_its_reason() {
        let cases = [
            (
                standing(Role::Follower, 2, 3),
                standing(Role::PreCandidate, 2, 0),
                "heard nothing for a whole election timeout",
            ),
            (
                standing(Role::Leader, 2, 1),
                standing(Role::Follower, 2, 0),
                "a majority has not answered for an election timeout",
            ),
            (
                standing(Role::Leader, 2, 1),
                standing(Role::Follower, 3, 0),
                "term 3 has begun without it",
            ),
        ];
        for (before, after, expected) in cases {
            let mut events = Vec::new();
            changes(&before, &after, &mut events);
            let Some(TraceEvent::Became { why, .. }) = events.first() else {
                panic!("{events:?}");
            };
            assert_eq!(why, expected);
        }
    }

    #[test]
    fn a_new_leader_is_told_once() {
        let mut events = Vec::new();
        changes(&standing(Role::Follower, 2, 0), &standing(Role::Follower, 2, 3), &mut events);
        changes(&standing(Role::Follower, 2, 3), &standing(Role::Follower, 2, 3), &mut events);
        assert_eq!(events, [TraceEvent::LeaderSeen { term: Term(2), leader: Some(MemberId(3)) }]);
    }
}
