//! What a line of etcd's own log says of elections and configurations. Pure.
//!
//! Etcd has no telemetry, but its Raft library tells each change of role and each vote in a
//! sentence (`etcd-io/raft raft.go`), with etcd's `--logger zap` as the `msg` of a line of JSON:
//!
//! ```text
//!  3061640f561078ea is starting a new election at term 1
//!  3061640f561078ea became candidate at term 2
//!  3061640f561078ea received MsgVoteResp from 3061640f561078ea at term 2
//!  3061640f561078ea [logterm: 1, index: 3, vote: 0] cast MsgVote for 8e9e05c52164694d [logterm: 1, index: 3] at term 2
//!  3061640f561078ea [logterm: 2, index: 9, vote: 0] ignored MsgPreVote from 8e9e05c52164694d [logterm: 2, index: 7] at term 2: lease is not expired (remaining ticks: 8)
//!  raft.node: 3061640f561078ea elected leader 3061640f561078ea at term 2
//! ```
//!
//! Sentences that are not known here are passed over: a version that words them otherwise is
//! silent, and its checks have nothing to go by.

use node_protocol::{ClusterId, Index, MemberId, Role, Term, TraceEvent};

/// Begins and ends the lines of a process, in the output that the lab keeps.
const PROCESS: &str = "--- ";

/// A reader of a member's lines.
#[derive(Debug, Default)]
pub(super) struct EtcdLog {
    /// Why the next change of role comes, if that was said.
    why: String,
    /// What the present process said of itself.
    own: Own,
}

/// What a process says of itself in its log. Etcd serves clients only once it has heard of a
/// leader; before that there is nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// Who it is.
    pub(super) identity: Option<(MemberId, ClusterId)>,
    /// None before it has read its own log.
    pub(super) role: Option<Role>,
    pub(super) term: Term,
    pub(super) leader: Option<MemberId>,
    /// Voters and learners, once it has told; it tells a change at its moment.
    pub(super) configuration: Option<(Vec<MemberId>, Vec<MemberId>)>,
    /// What it found on its disk when it began.
    pub(super) commit: Index,
    pub(super) applied: Index,
    pub(super) last: Index,
}

impl EtcdLog {
    /// Lines were left out: what was told of the configuration may be old.
    pub(super) fn gap(&mut self) {
        self.own.configuration = None;
    }

    /// What the present process said of itself.
    pub(super) fn own(&self) -> &Own {
        &self.own
    }

    /// What a line tells, if it tells of an election.
    pub(super) fn read(&mut self, line: &str) -> Option<TraceEvent> {
        if line.starts_with(PROCESS) {
            *self = Self::default();
            return None;
        }
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let message = value["msg"].as_str()?;
        if let "starting local member" | "restarting local member" = message {
            let number = |field: &str| u64::from_str_radix(value[field].as_str()?, 16).ok();
            let (member, cluster) = (number("local-member-id")?, number("cluster-id")?);
            self.own.identity = Some((MemberId(member), ClusterId(cluster)));
            return None;
        }
        if let Some(found) = message.strip_prefix("newRaft ") {
            self.begins(found);
            return None;
        }
        let event = self.sentence(message)?;
        match &event {
            TraceEvent::Became { role, term, .. } => {
                (self.own.role, self.own.term) = (Some(*role), *term);
                let own = self.own.identity.map(|(own, _)| own);
                self.own.leader = own.filter(|_| *role == Role::Leader);
            }
            TraceEvent::LeaderSeen { leader, .. } => self.own.leader = *leader,
            TraceEvent::Configured { voters, learners } => {
                self.own.configuration = Some((voters.clone(), learners.clone()));
            }
            _ => {}
        }
        Some(event)
    }

    /// `3061640f561078ea [peers: [], term: 0, commit: 0, applied: 0, lastindex: 0, lastterm: 0]`.
    fn begins(&mut self, found: &str) {
        let number = |name: &str| {
            let (_, rest) = found.split_once(&format!(" {name}: "))?;
            rest.split([',', ']']).next()?.parse().ok()
        };
        self.own.term = number("term").map(Term).unwrap_or_default();
        for (name, place) in [
            ("commit", &mut self.own.commit),
            ("applied", &mut self.own.applied),
            ("lastindex", &mut self.own.last),
        ] {
            *place = number(name).map(Index).unwrap_or_default();
        }
        self.own.role = Some(Role::Follower);
    }

    fn sentence(&mut self, message: &str) -> Option<TraceEvent> {
        let message = message.strip_prefix("raft.node: ").unwrap_or(message);
        let (own, rest) = message.split_once(' ')?;
        id(own)?;
        let rest = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once("] ")?.1,
            None => rest,
        };
        let (rest, is_in_lease) = match rest.split_once(": lease is not expired") {
            Some((rest, _)) => (rest, true),
            None => (rest, false),
        };
        let (said, term) = match rest.rsplit_once(" at term ") {
            Some((said, term)) => (said, term.trim_end_matches(['.', ' ']).parse().ok().map(Term)),
            None => (rest, None),
        };
        if let Some(configuration) = said.strip_prefix("switched to configuration ") {
            return configured(configuration);
        }
        if let Some(role) = said.strip_prefix("became ") {
            return self.became(role, term?);
        }
        if let Some(voted) = said.strip_prefix("cast ").or_else(|| said.strip_prefix("rejected ")) {
            return vote_cast(voted, term?, said.starts_with("cast"), "");
        }
        if let Some(ignored) = said.strip_prefix("ignored ").filter(|_| is_in_lease) {
            return vote_cast(ignored, term?, false, "heard its leader a moment ago");
        }
        if let Some(event) = term.and_then(|term| vote_heard(said, term)) {
            return Some(event);
        }
        if let Some(leader) = term.and_then(|term| leader_seen(said, term)) {
            return Some(leader);
        }
        let is_reason = said.starts_with("is starting a new ")
            || said.starts_with("stepped down ")
            || said.contains(" with higher term");
        if is_reason {
            // What follows only names a peer.
            let end = said.find(" from ").unwrap_or(said.len());
            said[..end].clone_into(&mut self.why);
        }
        None
    }

    fn became(&mut self, role: &str, term: Term) -> Option<TraceEvent> {
        let role = match role {
            "follower" => Role::Follower,
            "pre-candidate" => Role::PreCandidate,
            "candidate" => Role::Candidate,
            "leader" => Role::Leader,
            _ => return None,
        };
        let why = std::mem::take(&mut self.why);
        // Before it has read its log it is nobody's follower.
        (term > Term(0)).then_some(TraceEvent::Became { role, term, why })
    }
}

/// `voters=(9614275140992524618 12617366232953468627) learners=(10450300300932880537)`.
fn configured(text: &str) -> Option<TraceEvent> {
    let ids = |name: &str| -> Vec<MemberId> {
        let rest = text.split_once(&format!("{name}=(")).map_or("", |(_, rest)| rest);
        let inside = rest.split(')').next().unwrap_or_default();
        let mut ids: Vec<_> =
            inside.split_whitespace().filter_map(|id| id.parse().ok()).map(MemberId).collect();
        ids.sort_unstable();
        ids
    };
    let (voters, learners) = (ids("voters"), ids("learners"));
    // Before it has read its log it counts nobody.
    (!voters.is_empty()).then_some(TraceEvent::Configured { voters, learners })
}

/// `MsgVote for 8e9e05c52164694d [logterm: 1, index: 3]`, or `from`.
fn vote_cast(voted: &str, term: Term, granted: bool, why: &str) -> Option<TraceEvent> {
    let mut words = voted.split(' ');
    let pre = pre_vote(words.next()?, "MsgVote", "MsgPreVote")?;
    let candidate = id(words.nth(1)?)?;
    Some(TraceEvent::VoteCast { candidate, term, pre, granted, why: why.to_owned() })
}

/// `received MsgVoteResp from 3061640f561078ea`, or `received MsgVoteResp rejection from …`.
fn vote_heard(said: &str, term: Term) -> Option<TraceEvent> {
    let mut words = said.strip_prefix("received ")?.split(' ');
    let pre = pre_vote(words.next()?, "MsgVoteResp", "MsgPreVoteResp")?;
    let granted = match words.next()? {
        "from" => true,
        "rejection" => words.next().map(|_| false)?,
        _ => return None,
    };
    Some(TraceEvent::VoteHeard { from: id(words.next()?)?, term, pre, granted })
}

/// `elected leader X`, `changed leader from X to Y`, `lost leader X`.
fn leader_seen(said: &str, term: Term) -> Option<TraceEvent> {
    let leader = match said.split(' ').collect::<Vec<_>>()[..] {
        ["elected", "leader", leader] | ["changed", "leader", "from", _, "to", leader] => {
            Some(id(leader)?)
        }
        ["lost", "leader", _] => None,
        _ => return None,
    };
    Some(TraceEvent::LeaderSeen { term, leader })
}

fn pre_vote(word: &str, vote: &str, pre: &str) -> Option<bool> {
    match word {
        word if word == vote => Some(false),
        word if word == pre => Some(true),
        _ => None,
    }
}

fn id(text: &str) -> Option<MemberId> {
    u64::from_str_radix(text, 16).ok().map(MemberId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_become_events() {
        let mut log = EtcdLog::default();
        let became =
            |role, why: &str| Some(TraceEvent::Became { role, term: Term(2), why: why.to_owned() });
        let cast = |granted, pre| {
            let (candidate, term) = (MemberId(0xb), Term(2));
            Some(TraceEvent::VoteCast { candidate, term, pre, granted, why: String::new() })
        };
        let heard = |granted| {
            Some(TraceEvent::VoteHeard { from: MemberId(0xb), term: Term(2), pre: false, granted })
        };
        let seen = |leader| Some(TraceEvent::LeaderSeen { term: Term(2), leader });
        for (message, event) in [
            ("a became follower at term 0", None),
            ("a is starting a new election at term 1", None),
            ("a became candidate at term 2", became(Role::Candidate, "is starting a new election")),
            ("a became pre-candidate at term 2", became(Role::PreCandidate, "")),
            ("a received MsgVoteResp from b at term 2", heard(true)),
            ("a received MsgVoteResp rejection from b at term 2", heard(false)),
            ("a [logterm: 1, index: 3] sent MsgVote request to b at term 2", None),
            (
                "a [logterm: 1, index: 3, vote: 0] cast MsgVote for b [logterm: 1, index: 3] at term 2",
                cast(true, false),
            ),
            (
                "a [logterm: 1, index: 3, vote: 0] rejected MsgPreVote from b [logterm: 1, index: 3] at term 2",
                cast(false, true),
            ),
            (
                "a [logterm: 2, index: 9, vote: 0] ignored MsgVote from b [logterm: 2, index: 7] at term 2: lease is not expired (remaining ticks: 8)",
                Some(TraceEvent::VoteCast {
                    candidate: MemberId(0xb),
                    term: Term(2),
                    pre: false,
                    granted: false,
                    why: "heard its leader a moment ago".to_owned(),
                }),
            ),
            ("a [term: 2] ignored a MsgVote message with lower term from b [term: 1]", None),
            ("a became leader at term 2", became(Role::Leader, "")),
            ("raft.node: a elected leader a at term 2", seen(Some(MemberId(0xa)))),
            ("raft.node: a changed leader from a to b at term 2", seen(Some(MemberId(0xb)))),
            ("raft.node: a lost leader b at term 2", seen(None)),
            ("a stepped down to follower since quorum is not active", None),
            (
                "a became follower at term 2",
                became(Role::Follower, "stepped down to follower since quorum is not active"),
            ),
            ("a [term: 1] received a MsgVote message with higher term from b [term: 2]", None),
            (
                "a became follower at term 2",
                became(Role::Follower, "received a MsgVote message with higher term"),
            ),
            ("a switched to configuration voters=()", None),
            (
                "a switched to configuration voters=(10 11) learners=(12)",
                Some(TraceEvent::Configured {
                    voters: vec![MemberId(10), MemberId(11)],
                    learners: vec![MemberId(12)],
                }),
            ),
            ("took a snapshot at term 2", None),
        ] {
            let line = serde_json::json!({ "level": "info", "msg": message }).to_string();
            assert_eq!(log.read(&line), event, "{message}");
        }
        assert_eq!(log.read("raft: a became leader at term 2"), None, "no JSON");
    }

    #[test]
    fn a_process_says_what_it_is_before_it_serves() {
        let mut log = EtcdLog::default();
        let mut say = |line: &str| drop(log.read(line));
        say("--- m1 started, process 7 ---");
        say(r#"{"msg":"restarting local member","cluster-id":"c","local-member-id":"a"}"#);
        say(
            r#"{"msg":"newRaft a [peers: [], term: 3, commit: 8, applied: 5, lastindex: 9, lastterm: 3]"}"#,
        );
        say(r#"{"msg":"a became candidate at term 4"}"#);
        let own = Own {
            identity: Some((MemberId(0xa), ClusterId(0xc))),
            role: Some(Role::Candidate),
            term: Term(4),
            leader: None,
            configuration: None,
            commit: Index(8),
            applied: Index(5),
            last: Index(9),
        };
        assert_eq!(*log.own(), own);
        log.read("--- m1 ended: signal 9 ---");
        assert_eq!(*log.own(), Own::default());
    }
}
