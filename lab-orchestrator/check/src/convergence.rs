//! When a cluster is whole again: everybody is up, follows one leader, and has all of its log.

use lab_protocol::node_protocol::Role;
use lab_protocol::{LabState, Link, LinkState, MemberNo, MemberState, Process, Standing};

/// The leader that everybody follows, when every process is up and every link delivers.
///
/// Everybody is who is in the configuration: nothing is asked of a member that was removed, nor of
/// one that another cluster left behind. A picture that a member gave before its process started
/// anew does not count.
pub fn agreed(state: &LabState) -> Option<MemberNo> {
    let everybody = state.everybody()?;
    let takes_part = |end| everybody.iter().any(|(no, _)| *no == end);
    let is_cut = |(link, now): (&Link, &LinkState)| {
        now.condition.blocks() && takes_part(link.from) && takes_part(link.to)
    };
    let whole = !everybody.is_empty()
        && everybody.iter().all(|(_, member)| is_heard(member))
        && !state.links.iter().any(is_cut);
    let leader = state.leader().filter(|_| whole)?;
    let office = &state.members[&leader];
    let (id, _) = office.id?;
    let term = office.status.as_ref()?.term;
    let follows = |member: &MemberState| {
        member.status.as_ref().is_some_and(|status| {
            status.leader == Some(id)
                && status.term == term
                && (member.id.is_some_and(|(own, _)| own == id) || status.role != Role::Leader)
        })
    };
    everybody.iter().all(|(_, member)| follows(member)).then_some(leader)
}

/// Whether all agree on a leader and every log is equally long, committed and wholly applied.
pub fn converged(state: &LabState) -> bool {
    let Some(leader) = agreed(state) else { return false };
    let Some(whole) = state.members[&leader].status.as_ref() else { return false };
    state.everybody().into_iter().flatten().all(|(_, member)| {
        member.status.as_ref().is_some_and(|status| {
            status.last == whole.last && status.commit == whole.last && status.applied == whole.last
        })
    })
}

/// Whether a member's process is up and its picture is of this process.
pub fn is_heard(member: &MemberState) -> bool {
    matches!(member.process, Process::Up { .. })
        && member.status.is_some()
        && member.status_at_micros >= member.process_since_micros
}

/// What every member says of itself, in one line, for whoever waited in vain.
pub fn account(state: &LabState) -> String {
    let say = |(no, member): (&MemberNo, &MemberState)| match (&member.process, &member.status) {
        _ if member.standing == Standing::Removed => format!("{no} was removed"),
        (Process::Up { .. }, _) if member.standing == Standing::Elsewhere => {
            format!("{no} is a member of another cluster")
        }
        (Process::Planned, _) => format!("{no} was not started"),
        (Process::Paused { .. }, _) => format!("{no} is paused"),
        (Process::Down { .. }, _) => format!("{no} is down"),
        (Process::Up { .. }, Some(status)) if is_heard(member) => {
            let role = match status.role {
                Role::Follower => "follower",
                Role::PreCandidate => "pre-candidate",
                Role::Candidate => "candidate",
                Role::Leader => "leader",
                Role::Learner => "learner",
            };
            format!("{no} {role} in term {}, applied {}", status.term, status.applied)
        }
        (Process::Up { .. }, _) => format!("{no} has not been heard"),
    };
    let mut accounts: Vec<_> = state.members.iter().map(say).collect();
    let cuts: Vec<_> = state
        .links
        .iter()
        .filter(|(_, link)| link.condition.blocks())
        .map(|(link, _)| link.to_string())
        .collect();
    if !cuts.is_empty() {
        accounts.push(format!("cut: {}", cuts.join(" ")));
    }
    accounts.join("; ")
}
