//! What a command that brings or ends a fault means.

use lab_protocol::{
    Command, Fault, FaultPlace, LabState, Link, LinkCondition, MemberNo, Process, Standing,
};

use super::{Effect, MAX_DELAY_MILLIS, decide, process};

/// No link lets fewer bytes through.
const MIN_RATE: u32 = 100;

/// No fault that comes and goes does so faster, or slower.
const TURNS_MILLIS: std::ops::RangeInclusive<u32> = 20..=600_000;

/// No sync is made to take longer.
const MAX_SYNC_MILLIS: u32 = 60_000;

/// For longer nothing is asked to last.
const MAX_FOR_MILLIS: u64 = 86_400_000;

/// Most ticks granted at once, and the longest timers.
const MAX_TICKS: u32 = 10_000;

/// Puts a link into a condition.
pub(super) fn set_link(
    state: &LabState,
    link: Link,
    condition: LinkCondition,
) -> Result<Vec<Effect>, String> {
    match condition {
        LinkCondition::Delayed { millis, jitter_millis }
            if millis.saturating_add(jitter_millis) > MAX_DELAY_MILLIS =>
        {
            return Err(format!("a delay is at most {MAX_DELAY_MILLIS} ms, jitter included"));
        }
        LinkCondition::Throttled { bytes_per_second } if bytes_per_second < MIN_RATE => {
            return Err(format!("a link lets at least {MIN_RATE} bytes through a second"));
        }
        LinkCondition::Mangled { percent, .. } if !(1..=100).contains(&percent) => {
            return Err("a link mangles 1 to 100 percent of its messages".into());
        }
        LinkCondition::Mangled { .. } if is_of_clients(link) => {
            return Err(format!("{link} carries calls, not messages; cut, hold or slow it"));
        }
        _ => {}
    }
    if known_link(state, link)? == condition {
        return Ok(Vec::new());
    }
    Ok(vec![Effect::Set(link, condition)])
}

/// What a link does now.
pub(super) fn known_link(state: &LabState, link: Link) -> Result<LinkCondition, String> {
    for end in [link.from, link.to].into_iter().filter(|end| *end != MemberNo::CLIENTS) {
        process(state, end)?;
    }
    if link.from == link.to {
        return Err(format!("there is no link from {} to itself", link.from));
    }
    if is_of_clients(link) {
        return Ok(state.client_links.get(&link).copied().unwrap_or_default());
    }
    let known = state.links.get(&link).map(|now| now.condition);
    known.ok_or_else(|| format!("there is no link {link}"))
}

fn is_of_clients(link: Link) -> bool {
    link.from == MemberNo::CLIENTS || link.to == MemberNo::CLIENTS
}

/// What a command about faults means; `None` for any other.
pub(super) fn of(state: &LabState, command: &Command) -> Option<Result<Vec<Effect>, String>> {
    Some(match command {
        Command::SetLink { link, condition } => set_link(state, *link, *condition),
        Command::ResetLink { link } => {
            known_link(state, *link).map(|_| vec![Effect::ResetLink(*link)])
        }
        Command::Held { number, order } => match state.held.get(number) {
            Some(message) => Ok(vec![Effect::Held(message.link, *number, *order)]),
            None => Err(format!("no link holds a message {number}")),
        },
        Command::Inject { fault } => inject(state, *fault, None),
        Command::Lift { fault } => {
            let known = state.faults.iter().find(|active| fault.replaces(active.fault));
            match known {
                Some(active) => Ok(vec![Effect::Lift(active.fault)]),
                None => Err(format!("there is no such fault ({})", fault.kind())),
            }
        }
        Command::For { millis, command } => lasting(state, *millis, command),
        Command::JumpClock { member, millis } => {
            running(state, *member).map(|()| vec![Effect::JumpClock(*member, *millis)])
        }
        Command::GrantTicks { member, ticks } => grant(state, *member, *ticks),
        Command::StepMode { on } => Ok(step_mode(state, *on)),
        Command::SetTimers { ticks, apart } => timers(state, *ticks, *apart),
        Command::Campaign { member } => {
            running(state, *member).map(|()| vec![Effect::Campaign(*member)])
        }
        Command::DamageMember { member, file, damage } => {
            down(state, *member).map(|()| vec![Effect::DamageMember(*member, *file, *damage)])
        }
        Command::LosePower { member } => {
            running(state, *member).map(|()| vec![Effect::LosePower(*member)])
        }
        Command::CrashAt { member, failpoint } => {
            let plain = |char: char| char.is_ascii_lowercase() || char == '-';
            if failpoint.is_empty() || !failpoint.chars().all(plain) {
                return Some(Err(format!("`{failpoint}` cannot be a failpoint's name")));
            }
            running(state, *member).map(|()| vec![Effect::CrashAt(*member, failpoint.clone())])
        }
        _ => return None,
    })
}

fn inject(state: &LabState, fault: Fault, millis: Option<u64>) -> Result<Vec<Effect>, String> {
    match fault.place() {
        FaultPlace::Process(member) | FaultPlace::Disk(member) | FaultPlace::Clock(member) => {
            let known = process(state, member)?;
            if known.standing == Standing::Removed {
                return Err(format!("{member} was removed from the cluster, for ever"));
            }
        }
        FaultPlace::Link(link) => {
            known_link(state, link)?;
        }
    }
    let turns =
        |up: u32, down: u32| match TURNS_MILLIS.contains(&up) && TURNS_MILLIS.contains(&down) {
            true => Ok(()),
            false => Err("each turn takes 20 ms to 600 s".to_owned()),
        };
    match fault {
        Fault::Starved { percent, .. } if !(1..=90).contains(&percent) => {
            return Err("a starved process runs 1 to 90 percent of the time".into());
        }
        Fault::Restarting { up_millis, down_millis, .. }
        | Fault::Flapping { up_millis, down_millis, .. } => turns(up_millis, down_millis)?,
        Fault::SlowSync { millis, .. } if !(1..=MAX_SYNC_MILLIS).contains(&millis) => {
            return Err(format!("a sync takes 1 to {MAX_SYNC_MILLIS} ms longer"));
        }
        Fault::DriftingClock { permille, .. } if !(10..=10_000).contains(&permille) => {
            return Err("a clock runs at 10 to 10000 ‰ of its rate".into());
        }
        _ => {}
    }
    Ok(vec![Effect::Inject { fault, millis }])
}

/// Carries a command out, and has it undone later.
fn lasting(state: &LabState, millis: u64, command: &Command) -> Result<Vec<Effect>, String> {
    if !(1..=MAX_FOR_MILLIS).contains(&millis) {
        return Err("a fault lasts 1 ms to a day".into());
    }
    if let Command::Inject { fault } = command {
        return inject(state, *fault, Some(millis));
    }
    let mut effects = decide(state, command)?;
    let undo: Option<Vec<_>> = effects.iter().map(undone_by).collect();
    let commands = undo.ok_or("this cannot be undone after a time; nothing was done")?;
    if !commands.is_empty() {
        effects.push(Effect::Later { millis, commands });
    }
    Ok(effects)
}

/// The command that undoes an effect, if there is one.
fn undone_by(effect: &Effect) -> Option<Command> {
    match effect {
        Effect::Set(link, condition) if *condition != LinkCondition::Open => {
            Some(Command::Heal { link: *link })
        }
        Effect::Pause(member) => Some(Command::Resume { member: *member }),
        Effect::Crash(member) | Effect::Stop(member) => Some(Command::Restart { member: *member }),
        _ => None,
    }
}

fn grant(state: &LabState, member: MemberNo, ticks: u32) -> Result<Vec<Effect>, String> {
    running(state, member)?;
    if !(1..=MAX_TICKS).contains(&ticks) {
        return Err(format!("1 to {MAX_TICKS} ticks are granted at once"));
    }
    let still = |fault: Fault| matches!(fault, Fault::FrozenClock { member: of } if of == member);
    match state.faults.iter().any(|active| still(active.fault)) {
        true => Ok(vec![Effect::GrantTicks(member, ticks)]),
        false => Err(format!("{member}'s clocks run; freeze them first")),
    }
}

/// Stops every clock and holds every link, or lets all of them go on. Who is down stops as well: it
/// may be started.
fn step_mode(state: &LabState, on: bool) -> Vec<Effect> {
    let links = state.links.iter().filter(|(_, link)| match link.condition {
        // Nothing is on them that could be held.
        LinkCondition::Cut | LinkCondition::Refused => false,
        condition => (condition == LinkCondition::Held) != on,
    });
    let condition = if on { LinkCondition::Held } else { LinkCondition::Open };
    let links = links.map(|(link, _)| Effect::Set(*link, condition));
    let still = |member| Fault::FrozenClock { member };
    let stands = |member| state.faults.iter().any(|active| active.fault == still(member));
    let clocks = state.taking_part().map(|(member, _)| member).filter(|no| stands(*no) != on);
    let clocks = clocks.map(|member| match on {
        true => Effect::Inject { fault: still(member), millis: None },
        false => Effect::Lift(still(member)),
    });
    clocks.chain(links).collect()
}

fn timers(state: &LabState, ticks: u32, apart: u32) -> Result<Vec<Effect>, String> {
    let members: Vec<_> = state
        .taking_part()
        .filter(|(_, member)| matches!(member.process, Process::Up { .. }))
        .map(|(no, _)| no)
        .collect();
    if members.is_empty() {
        return Err("no member is up".into());
    }
    let all = (0..).zip(members).map(|(place, member): (u32, _)| {
        (member, ticks.saturating_add(apart.saturating_mul(place)))
    });
    let all: Vec<_> = all.collect();
    if all.iter().any(|(_, ticks)| *ticks > MAX_TICKS) {
        return Err(format!("timers are at most {MAX_TICKS} ticks"));
    }
    Ok(all.into_iter().map(|(member, ticks)| Effect::SetTimers(member, ticks)).collect())
}

fn running(state: &LabState, member: MemberNo) -> Result<(), String> {
    match process(state, member)?.process {
        Process::Up { .. } => Ok(()),
        Process::Paused { .. } => Err(format!("{member} is paused; resume it first")),
        Process::Planned | Process::Down { .. } => {
            Err(format!("{member} is down; restart it first"))
        }
    }
}

fn down(state: &LabState, member: MemberNo) -> Result<(), String> {
    match process(state, member)?.process {
        Process::Planned | Process::Down { .. } => Ok(()),
        Process::Up { .. } | Process::Paused { .. } => {
            Err(format!("{member} still runs on its data directory; crash or stop it first"))
        }
    }
}
