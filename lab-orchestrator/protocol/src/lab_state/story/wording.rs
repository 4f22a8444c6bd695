//! The sentences and figures that the story is made of.

use node_protocol::{MemberId, Status, Term};

use super::Ballot;
use crate::{
    By, CommandId, Kinds, LabState, Link, LinkCondition, Mangling, MemberNo, MixSpec, WorkloadSpec,
};

/// A duration as a person says it: `340 ms`, `1.02 s`, `75 s`.
pub fn seconds(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => {
            format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
        }
        _ => format!("{} s", micros / 1_000_000),
    }
}

pub(super) fn silence(member: MemberNo, status: Option<&Status>, why: &str) -> String {
    // Without a status it has just started: then it waited for nothing.
    let Some(status) = status.filter(|status| status.election_timeout_ticks > 0) else {
        return format!("{member} asks the others whether it could win{}.", because(why));
    };
    let micros = u64::from(status.election_timeout_ticks) * u64::from(status.tick_micros);
    format!(
        "{member} has heard nothing for a whole election timeout ({}). It asks the others whether \
         it could win.",
        seconds(micros)
    )
}

pub(super) fn candidacy(member: MemberNo, term: Term, asked: Option<&Ballot>) -> String {
    let yes: Vec<_> = asked
        .filter(|ballot| ballot.pre)
        .map(|ballot| ballot.granted.iter().copied().filter(|&m| m != member).collect())
        .unwrap_or_default();
    match yes.is_empty() {
        true => format!("{member} starts term {term} and votes for itself."),
        false => format!(
            "{} would say yes. {member} starts term {term} and votes for itself.",
            list(yes.into_iter())
        ),
    }
}

pub(super) fn links_changed(by: By, condition: LinkCondition, links: &[Link]) -> String {
    let by = asker(by);
    let after;
    let (verb, after) = match condition {
        LinkCondition::Open => ("healed", ""),
        LinkCondition::Cut => ("cut", ": every message on it is lost"),
        LinkCondition::Delayed { .. } => ("slowed", ": messages on it arrive late"),
        LinkCondition::Held => ("holds", ": messages on it wait"),
        LinkCondition::Refused => ("closed", ": it refuses connections"),
        LinkCondition::Throttled { bytes_per_second } => {
            after = format!(": {bytes_per_second} bytes pass a second");
            ("throttled", after.as_str())
        }
        LinkCondition::HalfOpen => {
            ("left half open", ": when one end is gone, the other is not told")
        }
        LinkCondition::Mangled { how, percent, only } => {
            let (verb, does) = match how {
                Mangling::Drop => ("made lossy", "lost"),
                Mangling::Duplicate => ("made to repeat", "delivered twice"),
                Mangling::Reorder => ("made to mix up", "delivered behind others"),
            };
            let which = match only {
                Kinds::Any => "messages",
                only => only.word(),
            };
            after = format!(": {percent} % of {which} are {does}");
            (verb, after.as_str())
        }
    };
    match links {
        [link] => format!("{by} {verb} the link from {} to {}{after}.", link.from, link.to),
        [a, b] if a.from == b.to && a.to == b.from => {
            format!("{by} {verb} both links between {} and {}.", a.from, a.to)
        }
        more => format!("{by} {verb} {} links.", more.len()),
    }
}

pub(super) fn workload(spec: &WorkloadSpec) -> String {
    let count = |number: u32, one: &str, more: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    };
    if spec.is_idle() {
        return "The clients stop.".to_owned();
    }
    let writes = count(spec.puts_per_second, "write", "writes");
    let reads = count(spec.reads_per_second, "read", "reads");
    let mode = if spec.serializable_reads { "serializable" } else { "linearizable" };
    match (spec.puts_per_second, spec.reads_per_second) {
        (_, 0) => format!("Clients start {writes} a second."),
        (0, _) => format!("Clients start {reads} a second, {mode}."),
        _ => format!("Clients start {writes} and {reads} a second, {mode}."),
    }
}

/// What a mix of errands asks for.
pub(super) fn mix(spec: &MixSpec) -> String {
    if spec.is_idle() {
        return "The clients run no more errands.".to_owned();
    }
    let kinds = spec.shares.named();
    let kinds = kinds.iter().filter(|(_, share)| *share > 0).map(|(kind, _)| *kind);
    let MixSpec { rate, clients, .. } = spec;
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    format!("{clients} clients begin {rate} errands a second: {kinds}.")
}

/// `3 voters`, `4 voters and 1 learner`.
pub(super) fn configuration(voters: usize, learners: usize) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    match learners {
        0 => count(voters, "voter"),
        _ => format!("{} and {}", count(voters, "voter"), count(learners, "learner")),
    }
}

pub(super) fn subject(
    who: Option<(CommandId, By)>,
    active: impl FnOnce(&str) -> String,
    passive: impl FnOnce() -> String,
) -> String {
    match who {
        Some((_, by)) => active(asker(by)),
        None => passive(),
    }
}

pub(super) fn asker(by: By) -> &'static str {
    match by {
        By::Page => "You",
        By::Drill => "The drill",
        By::Call => "A program",
        By::Lab => "The lab",
    }
}

/// Which process, between two strings; nothing where there is none.
pub(super) fn number(pid: u32, before: &str, after: &str) -> String {
    if pid == 0 { String::new() } else { format!("{before}process {pid}{after}") }
}

pub(super) fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

pub(super) fn name(state: &LabState, id: MemberId) -> String {
    state.member_of(id).map_or_else(|| format!("member {id}"), |no| no.to_string())
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// `m1`, `m1 and m2`, `m1, m2 and m3`.
pub(super) fn list(members: impl Iterator<Item = MemberNo>) -> String {
    let names: Vec<_> = members.map(|member| member.to_string()).collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
