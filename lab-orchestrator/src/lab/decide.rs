//! What a command means for the lab as it is: effects, or why not. Pure.

mod engine;
mod faults;

use std::collections::BTreeSet;

use lab_protocol::{
    Call, Command, Damage, Endpoints, Fault, HeldOrder, LabState, Link, LinkCondition, MemberFile,
    MemberNo, MemberState, MixSpec, Process, Standing, TxnOp, WorkloadSpec,
};
use node_protocol::MemberId;

use self::faults::{known_link, set_link};
use super::change::Change;

/// No message is delayed for longer.
const MAX_DELAY_MILLIS: u32 = 60_000;

/// No workload starts more operations of one kind a second.
const MAX_RATE: u32 = 2_000;

const MAX_KEYS: u32 = 1_000_000;
/// Each hears of every change.
const MAX_WATCHES: u32 = 16;
const MAX_CLIENTS: u32 = 200;
const MAX_RETRIES: u32 = 100;
const MAX_KEY_BYTES: usize = 4 * 1024;
const MAX_VALUE_BYTES: usize = 64 * 1024;
const MAX_DEADLINE_MILLIS: u32 = 600_000;

/// The time between two backups.
const BACKUP_MILLIS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;
const MAX_BACKUPS: u32 = 1_000;

/// As many as a member takes (etcd's `--max-txn-ops`).
const MAX_TXN_OPS: usize = 128;

/// One thing that the lab does to carry out a command.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Start(MemberNo),
    Crash(MemberNo),
    Stop(MemberNo),
    Pause(MemberNo),
    Resume(MemberNo),
    Wipe(MemberNo),
    Set(Link, LinkCondition),
    StartOver,
    SetWorkload(WorkloadSpec),
    SetMix(MixSpec),
    SetWatches(u32),
    Put { member: MemberNo, key: String, value: String },
    Get { member: MemberNo, key: String, serializable: bool },
    Invoke { member: MemberNo, call: Call, deadline_millis: u32 },
    ReadBack(Vec<MemberNo>),
    SetToken { member: MemberNo, token: String },
    AddMember { ask: MemberNo, learner: bool },
    ChangeMembers { ask: MemberNo, change: Change },
    Type(String),
    DamageSnapshot(String),
    SetBackups { every_millis: u64, keep: u32, verify: bool },
    ResetLink(Link),
    Held(Link, u64, HeldOrder),
    Inject { fault: Fault, millis: Option<u64> },
    Lift(Fault),
    Later { millis: u64, commands: Vec<Command> },
    JumpClock(MemberNo, i64),
    GrantTicks(MemberNo, u32),
    SetTimers(MemberNo, u32),
    Campaign(MemberNo),
    DamageMember(MemberNo, MemberFile, Damage),
    LosePower(MemberNo),
    CrashAt(MemberNo, String),
}

/// Says how to carry out a command in this state, or why it cannot be, for a person.
///
/// Effects that would change nothing are left out, so the answer may be empty: what was asked is
/// so already.
pub fn decide(state: &LabState, command: &Command) -> Result<Vec<Effect>, String> {
    engine::able(state, command)?;
    match command {
        Command::Crash { member } => match &process(state, *member)?.process {
            Process::Up { .. } | Process::Paused { .. } => Ok(vec![Effect::Crash(*member)]),
            Process::Planned | Process::Down { .. } => Err(already_down(*member)),
        },
        Command::Stop { member } => match &process(state, *member)?.process {
            Process::Up { .. } | Process::Paused { .. } => Ok(vec![Effect::Stop(*member)]),
            Process::Planned | Process::Down { .. } => Err(already_down(*member)),
        },
        Command::Pause { member } => match &process(state, *member)?.process {
            Process::Up { .. } => Ok(vec![Effect::Pause(*member)]),
            Process::Paused { .. } => Err(format!("{member} is paused already; resume it")),
            Process::Planned | Process::Down { .. } => Err(already_down(*member)),
        },
        Command::Resume { member } => match &process(state, *member)?.process {
            Process::Paused { .. } => Ok(vec![Effect::Resume(*member)]),
            Process::Up { .. } => Err(format!("{member} is not paused, it runs")),
            Process::Planned | Process::Down { .. } => {
                Err(format!("{member} is not paused, it is down; restart it"))
            }
        },
        Command::Restart { member } => match &process(state, *member)?.process {
            _ if state.members[member].standing == Standing::Removed => {
                Err(format!("{member} was removed from the cluster, for ever; add a new member"))
            }
            Process::Planned | Process::Down { .. } => Ok(vec![Effect::Start(*member)]),
            Process::Up { .. } => Err(format!("{member} is up; crash or stop it first")),
            Process::Paused { .. } => Err(format!("{member} is paused; resume it instead")),
        },
        Command::Wipe { member } => match &process(state, *member)?.process {
            Process::Planned | Process::Down { .. } => Ok(vec![Effect::Wipe(*member)]),
            Process::Up { .. } | Process::Paused { .. } => {
                Err(format!("{member} still runs on its data directory; crash or stop it first"))
            }
        },
        Command::Cut { link } => set_link(state, *link, LinkCondition::Cut),
        Command::Heal { link } => set_link(state, *link, LinkCondition::Open),
        Command::Delay { link, millis, jitter_millis } => {
            let (millis, jitter_millis) = (*millis, *jitter_millis);
            set_link(state, *link, LinkCondition::Delayed { millis, jitter_millis })
        }
        Command::Partition { grudge } => {
            let cuts = grudge.cuts();
            for link in &cuts {
                known_link(state, *link)?;
            }
            let cuts: BTreeSet<_> = cuts.into_iter().collect();
            Ok(state
                .links
                .iter()
                .filter_map(|(link, now)| {
                    match (cuts.contains(link), now.condition == LinkCondition::Cut) {
                        (true, false) => Some(Effect::Set(*link, LinkCondition::Cut)),
                        (false, true) => Some(Effect::Set(*link, LinkCondition::Open)),
                        (true, true) | (false, false) => None,
                    }
                })
                .collect())
        }
        Command::Isolate { member } => {
            process(state, *member)?;
            Ok(state
                .links
                .iter()
                .filter(|(link, _)| link.from == *member || link.to == *member)
                .filter(|(_, now)| now.condition != LinkCondition::Cut)
                .map(|(link, _)| Effect::Set(*link, LinkCondition::Cut))
                .collect())
        }
        Command::UndoFaults => Ok(undo(state)),
        Command::StartOver => Ok(vec![Effect::StartOver]),
        Command::SetWorkload { spec } => {
            possible(state, spec)?;
            Ok(vec![Effect::SetWorkload(spec.clone())])
        }
        Command::SetMix { mix } => {
            mix_possible(state, mix)?;
            Ok(vec![Effect::SetMix(mix.clone())])
        }
        Command::SetWatches { count } if *count > MAX_WATCHES => {
            Err(format!("at most {MAX_WATCHES} clients watch"))
        }
        Command::SetWatches { count } => Ok(vec![Effect::SetWatches(*count)]),
        Command::Put { member, key, value } => {
            process(state, *member)?;
            key_fits(key)?;
            value_fits(value)?;
            let (member, key, value) = (*member, key.clone(), value.clone());
            Ok(vec![Effect::Put { member, key, value }])
        }
        Command::Get { member, key, serializable } => {
            process(state, *member)?;
            key_fits(key)?;
            let (member, key, serializable) = (*member, key.clone(), *serializable);
            Ok(vec![Effect::Get { member, key, serializable }])
        }
        Command::Invoke { member, call, deadline_millis } => {
            process(state, *member)?;
            call_fits(call)?;
            deadline_fits(*deadline_millis)?;
            let (member, call, deadline_millis) = (*member, call.clone(), *deadline_millis);
            Ok(vec![Effect::Invoke { member, call, deadline_millis }])
        }
        Command::ReadBack => {
            // A learner answers no linearizable read; what another cluster holds is not asked.
            let reads = |member: &MemberState| {
                matches!(member.process, Process::Up { .. })
                    && !matches!(member.standing, Standing::Learner | Standing::Elsewhere)
            };
            let members: Vec<_> =
                state.taking_part().filter(|(_, m)| reads(m)).map(|(no, _)| no).collect();
            if members.is_empty() {
                return Err("no member is up to be read; restart one first".into());
            }
            Ok(vec![Effect::ReadBack(members)])
        }
        Command::SetToken { member, token } => match &process(state, *member)?.process {
            Process::Planned | Process::Down { .. } => {
                token_fits(token)?;
                Ok(vec![Effect::SetToken { member: *member, token: token.clone() }])
            }
            Process::Up { .. } | Process::Paused { .. } => {
                Err(format!("{member} still runs with its token; crash or stop it first"))
            }
        },
        Command::AddMember { learner } => {
            Ok(vec![Effect::AddMember { ask: whom(state, None)?, learner: *learner }])
        }
        Command::PromoteMember { member } => {
            let change = Change::Promote { id: identity(state, *member)? };
            Ok(vec![Effect::ChangeMembers { ask: whom(state, Some(*member))?, change }])
        }
        Command::RemoveMember { member } => {
            let change = Change::Remove { member: *member, id: identity(state, *member)? };
            Ok(vec![Effect::ChangeMembers { ask: whom(state, Some(*member))?, change }])
        }
        Command::TransferLeadership { to } => {
            let change = Change::TransferLeadership { id: identity(state, *to)? };
            let ask = state.leader().ok_or("nobody leads now, so nobody can hand over")?;
            Ok(vec![Effect::ChangeMembers { ask, change }])
        }
        Command::Type { line } => Ok(vec![Effect::Type(line.clone())]),
        // Whoever plays the drill with them reads the journal.
        Command::Hint | Command::FinishDrill => match &state.drill {
            None => Err("no drill is played; `raft-lab up --drill FILE` begins one".into()),
            Some(drill) if drill.opened_at_micros.is_none() => {
                Err("the drill has not begun yet; things are still happening".into())
            }
            Some(drill) if !drill.is_open() => Err("the drill is over".into()),
            Some(drill) if *command == Command::Hint => {
                match drill.hints.len() < drill.brief.hints as usize {
                    true => Ok(vec![]),
                    false => Err("there are no more hints".into()),
                }
            }
            Some(_) => Ok(vec![]),
        },
        Command::Predict { guesses } => match &state.lesson {
            Some(lesson) => lesson.takes(guesses).map(|()| vec![]),
            None => Err("no lesson is taken; `raft-lab up --lesson FILE` begins one".into()),
        },
        Command::DamageSnapshot { name } => Ok(vec![Effect::DamageSnapshot(name.clone())]),
        Command::SetBackups { every_millis, keep, verify } => {
            let (every_millis, keep, verify) = (*every_millis, *keep, *verify);
            if every_millis != 0 && !BACKUP_MILLIS.contains(&every_millis) {
                return Err(
                    "a backup is taken at most once a second and at least once a day".into()
                );
            }
            if every_millis != 0 && !(1..=MAX_BACKUPS).contains(&keep) {
                return Err(format!("1 to {MAX_BACKUPS} backups are kept"));
            }
            Ok(vec![Effect::SetBackups { every_millis, keep, verify }])
        }
        other => faults::of(state, other).unwrap_or_else(|| Err("nobody knows how".to_owned())),
    }
}

/// Who is asked to change the members: the leader, else a member that is up, but not the one that
/// it is about unless there is no other.
fn whom(state: &LabState, about: Option<MemberNo>) -> Result<MemberNo, String> {
    let up: Vec<_> = state
        .taking_part()
        .filter(|(_, member)| matches!(member.process, Process::Up { .. }))
        .filter(|(_, member)| member.standing != Standing::Learner)
        .map(|(no, _)| no)
        .collect();
    let other = |no: &MemberNo| Some(*no) != about;
    state
        .leader()
        .filter(other)
        .or_else(|| up.iter().copied().find(other))
        .or(up.first().copied())
        .ok_or_else(|| "no member is up to be asked; restart one first".to_owned())
}

/// The identity by which the cluster knows a member.
fn identity(state: &LabState, member: MemberNo) -> Result<MemberId, String> {
    let known = process(state, member)?;
    known.id.map(|(id, _)| id).ok_or_else(|| format!("{member} has not told who it is yet"))
}

/// Heals every link, resumes every paused process, starts every process that is down, but for
/// members that an earlier cluster left behind.
fn undo(state: &LabState) -> Vec<Effect> {
    let links = state
        .links
        .iter()
        .filter(|(_, now)| now.condition != LinkCondition::Open)
        .map(|(link, _)| Effect::Set(*link, LinkCondition::Open));
    let processes = state.taking_part().filter_map(|(member, now)| match now.process {
        Process::Up { .. } => None,
        Process::Paused { .. } => Some(Effect::Resume(member)),
        Process::Down { wiped: false, .. } if now.standing == Standing::Elsewhere => None,
        Process::Planned | Process::Down { .. } => Some(Effect::Start(member)),
    });
    let clients = state.client_links.keys().map(|link| Effect::Set(*link, LinkCondition::Open));
    // First, so that a process which is started again does not suffer from them any more.
    let faults = state.faults.iter().map(|active| Effect::Lift(active.fault));
    faults.chain(links).chain(clients).chain(processes).collect()
}

fn already_down(member: MemberNo) -> String {
    format!("{member} is already down; restart it first")
}

fn process(state: &LabState, member: MemberNo) -> Result<&MemberState, String> {
    state.members.get(&member).ok_or_else(|| {
        let members: Vec<_> = state.members.keys().map(ToString::to_string).collect();
        format!("there is no {member}; the members are {}", members.join(", "))
    })
}

fn key_fits(key: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("a key has at least one character".into());
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(format!("a key is at most {MAX_KEY_BYTES} bytes here"));
    }
    Ok(())
}

fn value_fits(value: &str) -> Result<(), String> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!("a value is at most {MAX_VALUE_BYTES} bytes here"));
    }
    Ok(())
}

fn call_fits(call: &Call) -> Result<(), String> {
    match call {
        Call::Put { key, value } => key_fits(key).and_then(|()| value_fits(value)),
        Call::Get { key, serializable: _ } | Call::Delete { key } => key_fits(key),
        Call::LeaseGrant { ttl_seconds } if *ttl_seconds == 0 => {
            Err("a lease lives at least one second".into())
        }
        Call::LeaseGrant { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::LeaseRevoke { .. }
        | Call::Compact { .. } => Ok(()),
        Call::Txn { compare, then, otherwise } => {
            if compare.len().max(then.len()).max(otherwise.len()) > MAX_TXN_OPS {
                return Err(format!("a transaction has at most {MAX_TXN_OPS} operations"));
            }
            compare.iter().try_for_each(|compare| key_fits(&compare.key))?;
            then.iter().chain(otherwise).try_for_each(|op| match op {
                TxnOp::Put { key, value, lease: _ } => {
                    key_fits(key).and_then(|()| value_fits(value))
                }
                TxnOp::Range { keys } | TxnOp::Delete { keys } => key_fits(&keys.key),
            })
        }
    }
}

fn deadline_fits(millis: u32) -> Result<(), String> {
    if (1..=MAX_DEADLINE_MILLIS).contains(&millis) {
        Ok(())
    } else {
        Err(format!("a client waits 1 to {MAX_DEADLINE_MILLIS} ms"))
    }
}

fn token_fits(token: &str) -> Result<(), String> {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if token.len() <= 100 && token.chars().all(plain) {
        Ok(())
    } else {
        Err("a cluster token is at most 100 letters, digits and -_. here".into())
    }
}

fn possible(state: &LabState, spec: &WorkloadSpec) -> Result<(), String> {
    let WorkloadSpec {
        puts_per_second,
        reads_per_second,
        serializable_reads: _,
        keys,
        value_bytes,
        deadline_millis,
        members,
    } = spec;
    if *puts_per_second > MAX_RATE || *reads_per_second > MAX_RATE {
        return Err(format!(
            "a workload has at most {MAX_RATE} puts and {MAX_RATE} reads a second"
        ));
    }
    if !(1..=MAX_KEYS).contains(keys) {
        return Err(format!("a workload has 1 to {MAX_KEYS} keys"));
    }
    if *value_bytes as usize > MAX_VALUE_BYTES {
        return Err(format!("a workload's values are at most {MAX_VALUE_BYTES} bytes"));
    }
    deadline_fits(*deadline_millis)?;
    for member in members {
        process(state, *member)?;
    }
    Ok(())
}

fn mix_possible(state: &LabState, mix: &MixSpec) -> Result<(), String> {
    let MixSpec { rate, shares, clients, keys, deadline_millis, retries, endpoints } = mix;
    if *rate > MAX_RATE {
        return Err(format!("clients begin at most {MAX_RATE} errands a second"));
    }
    if *rate > 0 && shares.total() == 0 {
        return Err("a mix has a share of something, such as { register = 1 }".into());
    }
    if !(1..=MAX_CLIENTS).contains(clients) {
        return Err(format!("1 to {MAX_CLIENTS} clients run errands"));
    }
    if !(1..=MAX_KEYS).contains(keys) {
        return Err(format!("a workload has 1 to {MAX_KEYS} keys"));
    }
    if *retries > MAX_RETRIES {
        return Err(format!("an operation is tried again at most {MAX_RETRIES} times"));
    }
    deadline_fits(*deadline_millis)?;
    match endpoints {
        Endpoints::All | Endpoints::OneEach => Ok(()),
        Endpoints::These(members) => {
            members.iter().try_for_each(|member| process(state, *member).map(drop))
        }
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Ended, Event, Grudge, MemberPlan, Numbered};
    use node_protocol::{ClusterId, Status, Term};

    use super::*;

    /// Three members: m1 up, m2 down, m3 paused; m1>m2 is cut. Who m3 is is not known.
    fn lab() -> LabState {
        let members = (1..=3)
            .map(|no| MemberPlan {
                member: MemberNo(no),
                client_url: String::new(),
                peer_url: String::new(),
            })
            .collect();
        let down = Process::Down { ended: Ended::Signal { number: 9 }, asked: true, wiped: false };
        let process = |no, process| Event::Process { member: MemberNo(no), process };
        let identified = |no: u8| Event::Identified {
            member: MemberNo(no),
            id: MemberId(no.into()),
            cluster: ClusterId(1),
        };
        let events = [
            Event::RunStarted {
                run: "r".into(),
                seed: 1,
                version: String::new(),
                engine: String::new(),
                token: String::new(),
                wall_millis: 0,
                members,
            },
            identified(1),
            identified(2),
            process(1, Process::Up { pid: 10 }),
            process(2, down),
            process(3, Process::Paused { pid: 30 }),
            Event::LinkChanged { link: link(1, 2), condition: LinkCondition::Cut },
        ];
        let mut state = LabState::default();
        for (seq, event) in (1..).zip(events) {
            state.apply(&Numbered { seq, at_micros: 0, event }, true);
        }
        state
    }

    fn link(from: u8, to: u8) -> Link {
        Link { from: MemberNo(from), to: MemberNo(to) }
    }

    #[test]
    fn each_command_does_what_it_says_or_says_why_not() {
        let m = |no| MemberNo(no);
        let mix = |rate| MixSpec { rate, ..MixSpec::default() };
        let spec = |rate| WorkloadSpec { puts_per_second: rate, ..WorkloadSpec::default() };
        let heal = |from, to| Effect::Set(link(from, to), LinkCondition::Open);
        let cut = |from, to| Effect::Set(link(from, to), LinkCondition::Cut);
        let add = |ask| Effect::AddMember { ask: m(ask), learner: true };
        let verify = true;
        let backups = |every_millis, keep| Command::SetBackups { every_millis, keep, verify };
        let set_backups = |every_millis, keep| Effect::SetBackups { every_millis, keep, verify };
        let promote = |ask, id| Effect::ChangeMembers {
            ask: m(ask),
            change: Change::Promote { id: MemberId(id) },
        };
        let rows: Vec<(Command, Result<Vec<Effect>, &str>)> = vec![
            (Command::Crash { member: m(1) }, Ok(vec![Effect::Crash(m(1))])),
            (Command::Crash { member: m(2) }, Err("m2 is already down; restart it first")),
            (Command::Crash { member: m(3) }, Ok(vec![Effect::Crash(m(3))])),
            (Command::Stop { member: m(2) }, Err("m2 is already down; restart it first")),
            (Command::Pause { member: m(3) }, Err("m3 is paused already; resume it")),
            (Command::Resume { member: m(1) }, Err("m1 is not paused, it runs")),
            (Command::Resume { member: m(3) }, Ok(vec![Effect::Resume(m(3))])),
            (Command::Restart { member: m(1) }, Err("m1 is up; crash or stop it first")),
            (Command::Restart { member: m(2) }, Ok(vec![Effect::Start(m(2))])),
            (
                Command::Wipe { member: m(1) },
                Err("m1 still runs on its data directory; crash or stop it first"),
            ),
            (Command::Wipe { member: m(2) }, Ok(vec![Effect::Wipe(m(2))])),
            (Command::Wipe { member: m(4) }, Err("there is no m4; the members are m1, m2, m3")),
            (Command::Cut { link: link(1, 2) }, Ok(vec![])),
            (Command::Cut { link: link(2, 1) }, Ok(vec![cut(2, 1)])),
            (Command::Cut { link: link(1, 1) }, Err("there is no link from m1 to itself")),
            (Command::Heal { link: link(1, 2) }, Ok(vec![heal(1, 2)])),
            (
                Command::Delay { link: link(1, 2), millis: 60_000, jitter_millis: 1 },
                Err("a delay is at most 60000 ms, jitter included"),
            ),
            (Command::Isolate { member: m(1) }, Ok(vec![cut(1, 3), cut(2, 1), cut(3, 1)])),
            (
                Command::Partition { grudge: Grudge([(m(3), [m(1)].into())].into()) },
                Ok(vec![heal(1, 2), cut(1, 3)]),
            ),
            (Command::UndoFaults, Ok(vec![heal(1, 2), Effect::Start(m(2)), Effect::Resume(m(3))])),
            (
                Command::SetWorkload { spec: spec(2_001) },
                Err("a workload has at most 2000 puts and 2000 reads a second"),
            ),
            (Command::SetWatches { count: 17 }, Err("at most 16 clients watch")),
            (Command::SetWatches { count: 2 }, Ok(vec![Effect::SetWatches(2)])),
            (
                Command::SetMix { mix: mix(2_001) },
                Err("clients begin at most 2000 errands a second"),
            ),
            (Command::SetMix { mix: mix(9) }, Ok(vec![Effect::SetMix(mix(9))])),
            (Command::SetWorkload { spec: spec(9) }, Ok(vec![Effect::SetWorkload(spec(9))])),
            (backups(0, 0), Ok(vec![set_backups(0, 0)])),
            (backups(1_000, 2), Ok(vec![set_backups(1_000, 2)])),
            (backups(1_000, 0), Err("1 to 1000 backups are kept")),
            (
                backups(10, 2),
                Err("a backup is taken at most once a second and at least once a day"),
            ),
            (Command::AddMember { learner: true }, Ok(vec![add(1)])),
            (Command::PromoteMember { member: m(2) }, Ok(vec![promote(1, 2)])),
            // The one that is asked is another, unless there is none.
            (Command::PromoteMember { member: m(1) }, Ok(vec![promote(1, 1)])),
            (Command::PromoteMember { member: m(3) }, Err("m3 has not told who it is yet")),
            (
                Command::TransferLeadership { to: m(2) },
                Err("nobody leads now, so nobody can hand over"),
            ),
            (
                Command::Put { member: m(1), key: String::new(), value: "v".into() },
                Err("a key has at least one character"),
            ),
        ];
        for (command, expected) in rows {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(decide(&lab(), &command), expected, "{command:?}");
        }
    }

    #[test]
    fn a_removed_member_is_not_started_again() {
        let mut state = lab();
        let mut tell = |voters: &[u64], term| {
            let voters = voters.iter().copied().map(MemberId).collect();
            let status = Status { term: Term(term), voters, ..Status::default_at(0) };
            let event = Event::Status { member: MemberNo(1), status: Box::new(status) };
            state.apply(&Numbered { seq: state.seq + 1, at_micros: 9, event }, true);
            state.clone()
        };
        let before = tell(&[1, 2], 2);
        assert!(undo(&before).contains(&Effect::Start(MemberNo(2))));
        let after = tell(&[1], 2);
        assert!(!undo(&after).contains(&Effect::Start(MemberNo(2))));
        let restart = decide(&after, &Command::Restart { member: MemberNo(2) });
        assert!(restart.expect_err("refused").contains("removed"));
    }
}
