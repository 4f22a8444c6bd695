//! What each action of a scenario asks of the lab.

use std::collections::BTreeSet;
use std::time::Duration;

use lab_check::Tally;
use lab_protocol::scenario::{Action, LinkWord, MemberVerb, Span, Target, Verb};
use lab_protocol::terminal::LineEnd;
use lab_protocol::{By, Call, Command, EngineKind, Grudge, Link, MemberNo, WorkloadSpec};
use tokio::time::Instant;

use super::runner::{DrillError, Runner, Trouble};
use super::target::resolve;

type Members = BTreeSet<MemberNo>;

/// Voters of etcd have to be connected for five seconds before the members may change.
const HEALTHY: Duration = Duration::from_secs(10);

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(1);

impl Runner<'_> {
    /// Carries one action out; single puts and reads are only begun.
    pub(super) async fn act(&mut self, action: &Action) -> Result<(), Trouble> {
        self.catch_up()?;
        self.perform_verb(action.verb()).await?;
        self.far_apart().await
    }

    async fn perform_verb(&mut self, verb: &Verb) -> Result<(), Trouble> {
        let named = |target: &Target, name: &Option<String>| (target.clone(), name.clone());
        match verb {
            Verb::Crash { target, name } => {
                self.each(named(target, name), |member| Command::Crash { member }).await
            }
            Verb::Stop { target, name } => {
                self.each(named(target, name), |member| Command::Stop { member }).await
            }
            Verb::Pause { target, name } => {
                self.each(named(target, name), |member| Command::Pause { member }).await
            }
            Verb::Resume { target, name } => {
                self.each(named(target, name), |member| Command::Resume { member }).await
            }
            Verb::Restart { target, name } => {
                self.each(named(target, name), |member| Command::Restart { member }).await
            }
            Verb::Wipe { target, name } => {
                self.each(named(target, name), |member| Command::Wipe { member }).await
            }
            Verb::Isolate { target, name } => {
                self.each(named(target, name), |member| Command::Isolate { member }).await
            }
            Verb::Token { target, token } => {
                let token = token.clone().unwrap_or_default();
                let command = |member| Command::SetToken { member, token: token.clone() };
                self.each((target.clone(), None), command).await
            }
            Verb::Cut { link } => self.links(link, |link| Command::Cut { link }).await,
            Verb::Heal { link } => self.links(link, |link| Command::Heal { link }).await,
            Verb::Delay { link, by, jitter } => {
                let (millis, jitter_millis) = (self.millis(*by), self.millis(*jitter));
                self.links(link, |link| Command::Delay { link, millis, jitter_millis }).await
            }
            Verb::Partition { groups } => self.partition(groups).await,
            Verb::UndoFaults => self.submit(Command::UndoFaults).await,
            Verb::StartOver => self.submit(Command::StartOver).await,
            Verb::ReadBack => self.submit(Command::ReadBack).await,
            Verb::Members { change, in_vain } => self.members(change, *in_vain).await,
            Verb::Workload { puts, reads } => {
                let spec = self.seen.tally.state.workload.clone().unwrap_or_default();
                let spec =
                    WorkloadSpec { puts_per_second: *puts, reads_per_second: *reads, ..spec };
                self.submit(Command::SetWorkload { spec }).await
            }
            Verb::Put { target, times, deadline } => {
                let deadline = self.millis(*deadline);
                for member in self.find(target, &Members::new())? {
                    for _ in 0..*times {
                        self.puts += 1;
                        let (key, value) =
                            (format!("d/{:04}", self.puts), format!("drill.{}", self.puts));
                        self.begin(member, Call::Put { key, value }, deadline);
                    }
                }
                Ok(())
            }
            Verb::Read { target, serializable, times, deadline } => {
                let deadline = self.millis(*deadline);
                for member in self.find(target, &Members::new())? {
                    for _ in 0..*times {
                        // The last key written by a drill, or one of the workload's.
                        let key = match self.puts {
                            0 => "w/0000".into(),
                            puts => format!("d/{puts:04}"),
                        };
                        self.begin(
                            member,
                            Call::Get { key, serializable: *serializable },
                            deadline,
                        );
                    }
                }
                Ok(())
            }
            Verb::Backups(habit) => {
                let (every_millis, keep) = match habit {
                    Some((every, keep)) => (u64::from(self.millis(*every)), *keep),
                    None => (0, 0),
                };
                self.submit(Command::SetBackups { every_millis, keep, verify: true }).await
            }
            Verb::Name { target, name } => {
                let members = self.find(target, &Members::new())?;
                self.name(name.clone(), members).await
            }
            // Whoever goes through a list waits.
            Verb::Wait(_) | Verb::WaitUntil { .. } => Ok(()),
            Verb::Damage { file } => {
                self.submit(Command::DamageSnapshot { name: file.clone() }).await
            }
            Verb::Type { line, in_vain } => self.type_line(line, *in_vain).await,
            Verb::LeaseGrant { target, ttl_seconds, name } => {
                self.grant(target, *ttl_seconds, name).await
            }
            Verb::Fault(fault) => self.fault(fault).await,
            Verb::For { verb, lasts } => {
                self.lasts = Some(u64::from(self.millis(*lasts)));
                let done = Box::pin(self.perform_verb(verb)).await;
                self.lasts = None;
                done
            }
            Verb::LeaseTimeToLive { name, target } => {
                let lease = self.leases.get(name).copied().ok_or_else(|| {
                    Trouble::Impossible(format!("no lease is named `{name}` yet"))
                })?;
                let members = self.find(target, &Members::new())?;
                let command = |member| invoke(member, Call::LeaseTimeToLive { lease }, CALL_MILLIS);
                self.submit_each(&members, command).await
            }
        }
    }

    /// Types a line; again, as somebody at a shell would, while real etcd says that its voters have
    /// not been connected for long enough to change the members.
    async fn type_line(&mut self, line: &str, in_vain: bool) -> Result<(), Trouble> {
        let healthy_by = Instant::now() + HEALTHY;
        loop {
            let typed = self.type_once(line, in_vain).await;
            let is_etcd = EngineKind::of(&self.seen.tally.state.engine) == EngineKind::Etcd;
            match typed {
                Err(Trouble::Broken(why))
                    if is_etcd
                        && !in_vain
                        && why.contains("unhealthy cluster")
                        && Instant::now() < healthy_by =>
                {
                    self.say("     etcd wants all voters to be connected for 5 s; once more");
                    self.follow_until(Instant::now() + AGAIN, |_| false).await?;
                }
                typed => return typed,
            }
        }
    }

    /// Types a line at the lab's terminal, and sees how it ends.
    async fn type_once(&mut self, line: &str, in_vain: bool) -> Result<(), Trouble> {
        match (self.submit(Command::Type { line: line.to_owned() }).await, in_vain) {
            (Err(Trouble::Impossible(why)), true) => {
                self.say(&format!("     {why}"));
                return Ok(());
            }
            (done, _) => done?,
        }
        self.catch_up()?;
        let end =
            self.seen.tally.state.terminal.lines().next_back().and_then(|line| line.end.clone());
        // A member's start says nothing; whether it runs is seen by its process.
        let Some(LineEnd::Said(said)) = end else { return Ok(()) };
        let words = said.errors.lines().last().unwrap_or_default().to_owned();
        match (said.code, in_vain) {
            (0, false) => Ok(()),
            (0, true) => Err(Trouble::Broken(format!("`{line}` ended well and had to fail"))),
            (code, false) => Err(Trouble::Broken(format!("`{line}` ended with {code}: {words}"))),
            (_, true) => {
                self.say(&format!("     {words}"));
                Ok(())
            }
        }
    }

    /// Has the cluster change its members, or sees to it that it refuses to.
    async fn members(&mut self, change: &MemberVerb, in_vain: bool) -> Result<(), Trouble> {
        let (commands, name): (Vec<_>, _) = match change {
            MemberVerb::Add { learner, name } => {
                (vec![Command::AddMember { learner: *learner }], name)
            }
            MemberVerb::Promote { target } => {
                let members = self.find(target, &Members::new())?;
                let command = |member| Command::PromoteMember { member };
                (members.into_iter().map(command).collect(), &None)
            }
            MemberVerb::Remove { target, name } => {
                let members = self.find(target, &Members::new())?;
                if let Some(name) = name {
                    self.name(name.clone(), members.clone()).await?;
                }
                let command = |member| Command::RemoveMember { member };
                (members.into_iter().map(command).collect(), &None)
            }
            MemberVerb::TransferLeadership { to } => {
                let to = *self.find(to, &Members::new())?.first().expect("a target is somebody");
                (vec![Command::TransferLeadership { to }], &None)
            }
        };
        for command in commands {
            let known: Members = self.seen.tally.state.members.keys().copied().collect();
            match (self.submit(command).await, in_vain) {
                (Ok(()), true) => {
                    return Err(Trouble::Broken("it was done and had to be refused".into()));
                }
                (Err(Trouble::Impossible(why)), true) => self.say(&format!("     {why}")),
                (done, _) => done?,
            }
            self.catch_up()?;
            if let Some(name) = name {
                let all = self.seen.tally.state.members.keys().copied();
                let new = all.filter(|member| !known.contains(member)).collect();
                self.name(name.clone(), new).await?;
            }
        }
        Ok(())
    }

    /// Has these members called so from now on.
    async fn name(&mut self, name: String, members: Members) -> Result<(), Trouble> {
        let told = self.lab.named(&name, members.iter().copied().collect()).await;
        told.map_err(|_| DrillError::Ended)?;
        self.seen.tally.names.insert(name, members);
        Ok(())
    }

    /// Milliseconds of a stretch of time in this cluster.
    pub(super) fn millis(&self, span: Span) -> u32 {
        span.millis(self.seen.tally.scale)
    }

    pub(super) fn find(&mut self, target: &Target, taken: &Members) -> Result<Members, Trouble> {
        let Tally { state, names, .. } = &self.seen.tally;
        resolve(target, state, names, taken, &mut self.draws).map_err(Trouble::Impossible)
    }

    pub(super) async fn each(
        &mut self,
        (target, name): (Target, Option<String>),
        command: impl Fn(MemberNo) -> Command,
    ) -> Result<(), Trouble> {
        let members = self.find(&target, &Members::new())?;
        self.submit_each(&members, command).await?;
        if let Some(name) = name {
            self.name(name, members).await?;
        }
        Ok(())
    }

    pub(super) async fn links(
        &mut self,
        word: &LinkWord,
        command: impl Fn(Link) -> Command,
    ) -> Result<(), Trouble> {
        for link in self.links_of(word)? {
            self.submit(command(link)).await?;
        }
        Ok(())
    }

    /// The links that are meant now, ascending.
    pub(super) fn links_of(&mut self, word: &LinkWord) -> Result<BTreeSet<Link>, Trouble> {
        let senders = self.find(&word.from, &Members::new())?;
        let receivers = self.find(&word.to, &senders)?;
        let mut links = BTreeSet::new();
        for &from in &senders {
            for &to in receivers.iter().filter(|to| **to != from) {
                links.insert(Link { from, to });
                if word.both {
                    links.insert(Link { from: to, to: from });
                }
            }
        }
        Ok(links)
    }

    async fn partition(&mut self, groups: &[(Target, Option<String>)]) -> Result<(), Trouble> {
        let mut taken = Members::new();
        let mut sides = Vec::new();
        for (target, name) in groups {
            let side = self.find(target, &taken)?;
            taken.extend(&side);
            if let Some(name) = name {
                self.name(name.clone(), side.clone()).await?;
            }
            sides.push(side);
        }
        let all: Vec<_> = self.seen.tally.state.taking_part().map(|(no, _)| no).collect();
        self.submit(Command::Partition { grudge: Grudge::groups(&all, &sides) }).await
    }

    async fn grant(
        &mut self,
        target: &Target,
        ttl_seconds: u32,
        name: &str,
    ) -> Result<(), Trouble> {
        let members = self.find(target, &Members::new())?;
        let member = *members.first().expect("a target is never nobody");
        self.catch_up()?;
        self.seen.granted = None;
        self.submit(invoke(member, Call::LeaseGrant { ttl_seconds }, CALL_MILLIS)).await?;
        self.catch_up()?;
        let lease = self.seen.granted.ok_or_else(|| {
            Trouble::Impossible(format!("{member} did not grant the lease `{name}`"))
        })?;
        self.leases.insert(name.to_owned(), lease);
        Ok(())
    }

    /// Begins a single call; the condition `answered` waits for its end.
    fn begin(&mut self, member: MemberNo, call: Call, deadline_millis: u32) {
        let lab = self.lab.clone();
        self.calls.spawn(async move {
            match lab.submit(By::Drill, invoke(member, call, deadline_millis)).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        });
    }
}

/// Deadline of calls whose outcome a step waits for.
const CALL_MILLIS: u32 = 10_000;

fn invoke(member: MemberNo, call: Call, deadline_millis: u32) -> Command {
    Command::Invoke { member, call, deadline_millis }
}
