//! What clients notice of dead members: reads go on, connections move, the rest carries more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lab_protocol::{Call, CheckResult, ClientNo, Command, Event, MemberNo, Numbered};

use crate::cluster::Cluster;
use crate::history::{History, Moment, Operation};
use crate::{Check, Finding};

/// Operations of the workload's clients that were open in the time of the fault.
fn in_fault<'a>(history: &'a History, cluster: &'a Cluster) -> impl Iterator<Item = &'a Operation> {
    let (from, until) = (cluster.first_fault(), cluster.undone());
    history.iter().filter(move |operation| {
        !operation.client.is_pinned()
            && from.is_some_and(|from| {
                operation.returned.as_ref().is_none_or(|(returned, _)| *returned > from)
            })
            && until.is_none_or(|until| operation.invoked < until)
    })
}

/// Every read of the workload that was open in the time of the fault succeeded.
#[derive(Clone, Debug)]
pub struct ReadsSucceed {
    at_least: u32,
    history: History,
    cluster: Cluster,
}

impl ReadsSucceed {
    /// Unknown below so many reads.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, history: History::default(), cluster: Cluster::default() }
    }
}

impl Check for ReadsSucceed {
    fn observe(&mut self, numbered: &Numbered) {
        self.history.observe(numbered);
        self.cluster.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let reads: Vec<_> = in_fault(&self.history, &self.cluster)
            .filter(|operation| matches!(operation.call, Call::Get { .. }))
            .filter(|operation| operation.returned.is_some())
            .collect();
        let failed: Vec<_> = reads.iter().filter(|operation| !operation.happened()).collect();
        let finding = if let Some(first) = failed.first() {
            Finding::invalid(
                format!(
                    "{} of {} reads did not succeed; {} {}",
                    failed.len(),
                    reads.len(),
                    first.words(),
                    first.end()
                ),
                first.evidence(),
            )
        } else if reads.len() < self.at_least as usize {
            Finding::too_few(reads.len(), self.at_least, "reads in the time of the fault")
        } else {
            Finding::valid(format!("all {} reads in the time of the fault succeeded", reads.len()))
        };
        finding.of("reads_succeed", "clients that know all members hide a lost one from reads")
    }
}

/// No client turned to another member more often than allowed in the time of the fault.
#[derive(Clone, Debug)]
pub struct ReconnectsAtMost {
    at_least: u32,
    most: u32,
    history: History,
    cluster: Cluster,
    turns: BTreeMap<ClientNo, Vec<u64>>,
}

impl ReconnectsAtMost {
    /// Unknown below so many reads in the time of the fault; invalid above so many turns.
    pub fn new(at_least: u32, most: u32) -> Self {
        Self {
            at_least,
            most,
            history: History::default(),
            cluster: Cluster::default(),
            turns: BTreeMap::new(),
        }
    }
}

impl Check for ReconnectsAtMost {
    fn observe(&mut self, numbered: &Numbered) {
        self.history.observe(numbered);
        self.cluster.observe(numbered);
        if let Event::Reconnected { client, .. } = numbered.event
            && self.cluster.in_fault()
        {
            self.turns.entry(client).or_default().push(numbered.seq);
        }
    }

    fn verdict(&self) -> CheckResult {
        let reads = in_fault(&self.history, &self.cluster)
            .filter(|operation| matches!(operation.call, Call::Get { .. }))
            .count();
        let worst = self.turns.iter().max_by_key(|(_, turns)| turns.len());
        let finding = match worst {
            Some((client, turns)) if turns.len() > self.most as usize => Finding::invalid(
                format!("client {} turned to another member {} times", client.0, turns.len()),
                turns.as_slice(),
            ),
            _ if reads < self.at_least as usize => {
                Finding::too_few(reads, self.at_least, "reads in the time of the fault")
            }
            None => Finding::unknown("no client had to turn to another member"),
            Some((_, turns)) => Finding::valid(format!(
                "{} clients turned to another member, none more than {} times",
                self.turns.len(),
                turns.len()
            )),
        };
        finding.of("reconnects_at_most", "a client finds a living member without searching long")
    }
}

/// In the time of the fault nobody but the clients of dead members turned to another.
#[derive(Clone, Debug, Default)]
pub struct OnlyDeadMembersClients {
    cluster: Cluster,
    /// Members whose process the lab was asked to end or pause, until it runs again.
    doomed: BTreeSet<MemberNo>,
    moved: usize,
    broken: Option<(ClientNo, MemberNo, u64)>,
}

impl Check for OnlyDeadMembersClients {
    fn observe(&mut self, numbered: &Numbered) {
        self.cluster.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => self.doomed.clear(),
            // A client may notice the end before the supervisor has told of it.
            Event::Asked {
                command:
                    Command::Crash { member } | Command::Stop { member } | Command::Pause { member },
                ..
            } => {
                self.doomed.insert(*member);
            }
            Event::Process { member, .. } if self.cluster.is_up(*member) => {
                self.doomed.remove(member);
            }
            Event::Reconnected { client, from, .. } if self.cluster.first_fault().is_some() => {
                if !self.cluster.in_fault() {
                    return;
                }
                if self.doomed.contains(from) || !self.cluster.is_up(*from) {
                    self.moved += 1;
                } else {
                    self.broken.get_or_insert((*client, *from, numbered.seq));
                }
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match (self.broken, self.moved) {
            (Some((client, member, seq)), _) => {
                Finding::invalid(format!("client {} left {member}, which was up", client.0), [seq])
            }
            (None, 0) => Finding::unknown("no client turned to another member"),
            (None, moved) => Finding::valid(format!("{moved} turns, each away from a dead member")),
        };
        finding.of(
            "only_dead_members_clients_reconnected",
            "clients of living members do not notice that others are dead",
        )
    }
}

/// The clients and requests of every survivor before and in the time of the fault.
#[derive(Clone, Debug)]
pub struct LoadPerSurvivor {
    at_least: u32,
    cluster: Cluster,
    /// Where each client is connected.
    places: BTreeMap<ClientNo, MemberNo>,
    calm: Window,
    faulty: Window,
    dead: BTreeSet<MemberNo>,
}

/// What was seen in a stretch of the run.
#[derive(Clone, Debug, Default)]
struct Window {
    from: Option<Moment>,
    until: Option<Moment>,
    requests: BTreeMap<MemberNo, u64>,
    /// Clients of each member at its end.
    clients: BTreeMap<MemberNo, u64>,
}

impl Window {
    fn count(&mut self, moment: Moment, member: MemberNo) {
        self.from.get_or_insert(moment);
        self.until = Some(moment);
        *self.requests.entry(member).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.requests.values().sum()
    }

    fn per_second(&self, member: MemberNo) -> f64 {
        let (Some(from), Some(until)) = (self.from, self.until) else { return 0.0 };
        let seconds = (until.at_micros - from.at_micros).max(1) as f64 / 1e6;
        self.requests.get(&member).copied().unwrap_or(0) as f64 / seconds
    }

    fn clients(&self, member: MemberNo) -> u64 {
        self.clients.get(&member).copied().unwrap_or(0)
    }
}

impl LoadPerSurvivor {
    /// Unknown below so many requests before or in the time of the fault.
    pub fn new(at_least: u32) -> Self {
        Self {
            at_least,
            cluster: Cluster::default(),
            places: BTreeMap::new(),
            calm: Window::default(),
            faulty: Window::default(),
            dead: BTreeSet::new(),
        }
    }

    fn clients_by_member(&self) -> BTreeMap<MemberNo, u64> {
        let mut clients = BTreeMap::new();
        for member in self.places.values() {
            *clients.entry(*member).or_default() += 1;
        }
        clients
    }

    fn survivors(&self) -> Vec<MemberNo> {
        self.cluster.members().filter(|member| !self.dead.contains(member)).collect()
    }
}

impl Check for LoadPerSurvivor {
    fn observe(&mut self, numbered: &Numbered) {
        let was_calm = self.cluster.first_fault().is_none();
        self.cluster.observe(numbered);
        let is_calm = self.cluster.first_fault().is_none();
        if was_calm && !is_calm {
            self.calm.clients = self.clients_by_member();
        }
        match &numbered.event {
            Event::RunStarted { .. } => {
                *self = Self { cluster: self.cluster.clone(), ..Self::new(self.at_least) }
            }
            Event::Process { member, .. }
                if self.cluster.in_fault() && !self.cluster.is_up(*member) =>
            {
                self.dead.insert(*member);
            }
            Event::Invoked { client, member, .. } if !client.is_pinned() => {
                self.places.insert(*client, *member);
                if is_calm {
                    self.calm.count(Moment::of(numbered), *member);
                } else if self.cluster.in_fault() {
                    self.faulty.count(Moment::of(numbered), *member);
                    self.faulty.clients = self.clients_by_member();
                }
            }
            Event::Reconnected { client, to, .. } => {
                self.places.insert(*client, *to);
                if self.cluster.in_fault() {
                    self.faulty.clients = self.clients_by_member();
                }
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let least = u64::from(self.at_least);
        let mut table = String::new();
        for member in self.survivors() {
            // Writing to a string cannot fail.
            write!(
                table,
                "{}{member} {} → {} clients, {:.0} → {:.0} requests/s",
                if table.is_empty() { "" } else { "; " },
                self.calm.clients(member),
                self.faulty.clients(member),
                self.calm.per_second(member),
                self.faulty.per_second(member)
            )
            .ok();
        }
        let rate = |window: &Window| -> f64 {
            self.survivors().into_iter().map(|member| window.per_second(member)).sum()
        };
        let left_behind = self.dead.iter().find(|member| self.faulty.clients(**member) > 0);
        let finding = if self.calm.total() < least || self.faulty.total() < least {
            let fewer = self.calm.total().min(self.faulty.total());
            let cases = "requests before or in the time of the fault";
            Finding::too_few(usize::try_from(fewer).unwrap_or(usize::MAX), self.at_least, cases)
        } else if self.dead.is_empty() {
            Finding::unknown("no member died")
        } else if let Some(member) = left_behind {
            Finding::invalid(format!("clients stayed with {member}, which is dead ({table})"), [])
        } else if rate(&self.faulty) <= rate(&self.calm) {
            Finding::invalid(format!("the survivors did not take over the load: {table}"), [])
        } else {
            Finding::valid(table)
        };
        finding.of("load_per_survivor_measured", "the survivors take over the dead members' load")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    /// Three members, one client each with some reads, then m3 dies.
    fn m3_dies() -> Script {
        let mut script = Script::new(3).up(&[1, 2, 3]);
        for op in 1..=6 {
            let member = u8::try_from(op % 3 + 1).expect("small");
            script = script.get(op, member, "k", false).ok(op, 2, None).wait(10);
        }
        script.asked(Command::Crash { member: MemberNo(3) }).down(3)
    }

    fn read(script: Script, op: u64, member: u8) -> Script {
        script.get(op, member, "k", false).ok(op, 2, None)
    }

    #[test]
    fn a_read_that_failed_is_named() {
        let script = read(read(m3_dies(), 10, 1), 11, 2);
        check(&mut ReadsSucceed::new(2), script.clone(), Valid, "all 2 reads");
        check(&mut ReadsSucceed::new(3), script.clone(), Unknown, "at least 3");
        let failed = script.get(12, 3, "k", false).fail(12);
        check(&mut ReadsSucceed::new(2), failed.clone(), Invalid, "operation 12");
        let late =
            read(m3_dies(), 10, 1).asked(Command::UndoFaults).get(12, 3, "k", false).fail(12);
        check(&mut ReadsSucceed::new(1), late, Valid, "all 1 reads");
    }

    #[test]
    fn a_client_that_wanders_is_named() {
        let script = read(m3_dies().reconnected(3, 3, 1), 10, 1);
        check(&mut ReconnectsAtMost::new(1, 1), script.clone(), Valid, "1 clients");
        check(&mut ReconnectsAtMost::new(9, 1), script.clone(), Unknown, "at least 9");
        check(&mut ReconnectsAtMost::new(1, 1), read(m3_dies(), 10, 1), Unknown, "no client");
        let twice = script.reconnected(3, 1, 2);
        check(&mut ReconnectsAtMost::new(1, 1), twice, Invalid, "client 3 turned");
    }

    #[test]
    fn a_client_that_left_a_living_member_is_named() {
        let moved = m3_dies().reconnected(3, 3, 1);
        check(&mut OnlyDeadMembersClients::default(), m3_dies(), Unknown, "no client");
        check(&mut OnlyDeadMembersClients::default(), moved.clone(), Valid, "1 turns");
        let wrong = moved.reconnected(1, 1, 2);
        check(&mut OnlyDeadMembersClients::default(), wrong, Invalid, "client 1 left m1");
    }

    #[test]
    fn the_load_moves_to_the_survivors() {
        let busy = |mut script: Script| {
            for op in 20..32 {
                let member = u8::try_from(op % 2 + 1).expect("small");
                let client = lab_protocol::ClientNo(u32::try_from(op % 3 + 1).expect("small"));
                let call = Call::Get { key: "k".into(), serializable: false };
                let op = lab_protocol::OpId(op);
                let member = MemberNo(member);
                script = script.then(Event::Invoked { op, client, member, call });
            }
            script
        };
        let moved = busy(m3_dies().reconnected(3, 3, 1));
        check(&mut LoadPerSurvivor::new(5), moved.clone(), Valid, "m1 1 → ");
        check(&mut LoadPerSurvivor::new(50), moved, Unknown, "at least 50");
        let stayed = busy(m3_dies()).get(40, 3, "k", false);
        check(&mut LoadPerSurvivor::new(5), stayed, Invalid, "stayed with m3");
    }
}
