//! Words and figures that several places of the page say in the same way.

use lab_protocol::{
    Ended, Fault, Feed, Kinds, LabState, LinkCondition, MemberNo, MemberState, Process, Standing,
};
use node_protocol::{FrameKind, Role};

/// A role by its name.
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
    }
}

/// The kinds of the faults that a member suffers from, oldest first.
pub fn faults_of(state: &LabState, no: MemberNo) -> impl Iterator<Item = &'static str> {
    let own = state.faults.iter().map(|active| active.fault);
    own.filter(move |fault| fault.member() == Some(no)).map(Fault::kind)
}

/// The same in one text, if there are any.
pub fn kinds_of(state: &LabState, no: MemberNo) -> Option<String> {
    let kinds: Vec<_> = faults_of(state, no).collect();
    (!kinds.is_empty()).then(|| kinds.join(", "))
}

/// What a link does, as a label beside it; empty while it is open.
pub fn condition(condition: LinkCondition) -> String {
    match condition {
        LinkCondition::Open => String::new(),
        LinkCondition::Cut => "cut".into(),
        LinkCondition::Delayed { millis, .. } => format!("+{millis} ms"),
        LinkCondition::Held => "held".into(),
        LinkCondition::Refused => "refused".into(),
        LinkCondition::Throttled { bytes_per_second } => format!("{bytes_per_second} B/s"),
        LinkCondition::HalfOpen => "half open".into(),
        LinkCondition::Mangled { how, percent, only } => match only {
            Kinds::Any => format!("{how} {percent} %"),
            only => format!("{how} {percent} % {}", only.word()),
        },
    }
}

/// A short time for a label: `0.9 s`, `12 s`, `3 min`.
pub fn ago(micros: u64) -> String {
    match micros / 1_000_000 {
        0..10 => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
        whole @ 10..120 => format!("{whole} s"),
        whole => format!("{} min", whole / 60),
    }
}

/// A latency: `0.2 ms`, `14 ms`, `1.43 s`.
pub fn latency(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

/// The time of an event on the run's clock: `18.20`, from a minute on `2:05.3`.
pub fn clock(micros: u64) -> String {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    match seconds {
        0..60 => format!("{seconds}.{:02}", rest / 10_000),
        60..3_600 => format!("{}:{:02}.{}", seconds / 60, seconds % 60, rest / 100_000),
        _ => format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

/// Bytes: `640 B`, `53 kB`, `1.2 MB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{} kB", count / 1_000),
        _ => format!("{}.{} MB", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

/// What a message is.
pub fn message(kind: FrameKind, refused: bool) -> &'static str {
    match (kind, refused) {
        (FrameKind::Append, _) => "append",
        (FrameKind::AppendResponse, false) => "append taken",
        (FrameKind::AppendResponse, true) => "append refused",
        (FrameKind::Heartbeat, _) => "heartbeat",
        (FrameKind::HeartbeatResponse, _) => "heartbeat heard",
        (FrameKind::Vote, _) => "asks for a vote",
        (FrameKind::VoteResponse, false) => "gives its vote",
        (FrameKind::VoteResponse, true) => "refuses its vote",
        (FrameKind::PreVote, _) => "would campaign",
        (FrameKind::PreVoteResponse, false) => "would give its vote",
        (FrameKind::PreVoteResponse, true) => "would refuse its vote",
        (FrameKind::ReadIndex, _) => "asks how far to read",
        (FrameKind::ReadIndexResponse, _) => "tells how far to read",
        (FrameKind::TimeoutNow | FrameKind::TransferLeader, _) => "hands over",
        (FrameKind::Forward, _) => "client's command",
        (FrameKind::Ask, _) => "client's question",
        (FrameKind::Answer, _) => "answer for a client",
        (FrameKind::Hello | FrameKind::Welcome | FrameKind::Reject, _) => "handshake",
        (FrameKind::SnapshotHead | FrameKind::SnapshotChunk | FrameKind::SnapshotEnd, _) => {
            "snapshot"
        }
    }
}

/// A process's condition by the supervisor's account.
pub fn process(member: &MemberState) -> String {
    match &member.process {
        Process::Down { wiped: false, .. } if member.standing == Standing::Removed => {
            "ended, as it was removed".to_owned()
        }
        Process::Planned => "not started yet".to_owned(),
        Process::Up { pid } => match member.feed {
            Feed::Live => format!("up{}", number(*pid)),
            Feed::Quiet => format!("up{}, silent", number(*pid)),
            Feed::Lost => format!("up{}, not heard", number(*pid)),
        },
        Process::Paused { pid } => format!("paused{}", number(*pid)),
        Process::Down { wiped: true, .. } => "down, disk wiped".to_owned(),
        Process::Down { ended, .. } => match ended {
            Ended::Signal { number: 9 } => "crashed, SIGKILL".to_owned(),
            Ended::Signal { number: 15 } => "stopped, SIGTERM".to_owned(),
            Ended::Signal { number } => format!("ended by signal {number}"),
            Ended::Exit { code: 0 } => "stopped".to_owned(),
            Ended::Exit { code } => format!("ended, code {code}"),
            Ended::NotStarted { .. } => "could not start".to_owned(),
            Ended::Unseen => "ended".to_owned(),
        },
    }
}

/// A process's number; a simulation has none.
fn number(pid: u32) -> String {
    if pid == 0 { String::new() } else { format!(", pid {pid}") }
}

/// One word for a process that does not run.
pub fn fallen(ended: &Ended, wiped: bool) -> &'static str {
    match (wiped, ended) {
        (true, _) => "wiped",
        (false, Ended::Signal { number: 9 }) => "crashed",
        (false, Ended::Signal { number: 15 } | Ended::Exit { code: 0 }) => "stopped",
        (false, Ended::Signal { .. } | Ended::Exit { .. }) => "ended",
        (false, Ended::NotStarted { .. }) => "not started",
        (false, Ended::Unseen) => "gone",
    }
}

/// Whom a member believes to lead.
pub fn believed_leader(state: &LabState, member: MemberNo) -> Option<MemberNo> {
    let status = state.members.get(&member)?.status.as_ref()?;
    status.leader.and_then(|leader| state.member_of(leader))
}

/// One sentence that says what the ring shows.
pub fn ring_label(state: &LabState) -> String {
    use std::fmt::Write as _;

    let mut text = format!("Ring of {} members.", state.members.len());
    for (no, member) in &state.members {
        let said = match (&member.process, &member.status) {
            _ if member.standing == Standing::Removed => "removed".to_owned(),
            (Process::Down { ended, wiped, .. }, _) => fallen(ended, *wiped).to_owned(),
            (Process::Paused { .. }, _) => "paused".to_owned(),
            (_, Some(status)) => format!("{}, term {}", role(status.role), status.term),
            (_, None) => "not heard yet".to_owned(),
        };
        let suffers = kinds_of(state, *no).map(|kinds| format!(", {kinds}")).unwrap_or_default();
        write!(text, " {no}: {said}{suffers}.").ok(); // Writing to a string cannot fail.
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(ago(940_000), "0.9 s");
        assert_eq!(ago(47_000_000), "47 s");
        assert_eq!(ago(190_000_000), "3 min");
        assert_eq!(latency(240), "0.2 ms");
        assert_eq!(latency(14_900), "14 ms");
        assert_eq!(latency(1_430_000), "1.43 s");
        assert_eq!(clock(18_204_000), "18.20");
        assert_eq!(clock(125_340_000), "2:05.3");
        assert_eq!(clock(3_725_000_000), "1:02:05");
        assert_eq!(bytes(53_400), "53 kB");
    }
}
