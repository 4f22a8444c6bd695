//! What the loop does for a change of the members, and what it does with the answer.

use std::collections::BTreeSet;
use std::time::Duration;

use lab_protocol::{CommandId, Event, MemberNo, MemberPlan, Process, Standing};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Await, Loop, blocking, in_full, over_the_fabric, planned};
use crate::lab::change::{self, Change, Changed, Newcomer};
use crate::supervisor::{Joined, Order};

/// A removed member has so long to hear of it and to end by itself.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);

impl Loop {
    /// Asks a member for a change of the members.
    pub(super) fn change(
        &mut self,
        id: CommandId,
        ask: MemberNo,
        change: Change,
    ) -> Result<Await, String> {
        if !self.changes.is_empty() {
            return Err("another change of the members is under way; one at a time".into());
        }
        let plan = self.parts.plans.iter().find(|plan| plan.member == ask);
        let at = plan.and_then(|plan| plan.client_url.parse().ok());
        let at = at.ok_or_else(|| format!("{ask} cannot be asked"))?;
        let (dialler, engine) = (self.dialler.clone(), self.parts.engine.clone());
        let asked = async move { change::ask(&dialler, &engine, (ask, at), change).await };
        self.changes.spawn(async move { (id, asked.await) });
        Ok(Await::Answered(id))
    }

    /// A member has answered; a new member has its place, and its process is started.
    pub(super) async fn answered(&mut self, id: CommandId, answer: Result<Changed, String>) {
        let how = match answer {
            Ok(Changed::Added(newcomer)) => match self.seat(newcomer).await {
                Ok(member) => {
                    self.underway.replace(Await::Answered(id), &[Await::Up(member)]);
                    return;
                }
                Err(why) => Err(why),
            },
            Ok(Changed::Removed(member)) => {
                self.parts.record.removed.insert(member);
                self.write_record().await;
                if self.running().contains(&member) {
                    self.leaving.insert(member, Instant::now() + LEAVE_DEADLINE);
                }
                Ok(())
            }
            Ok(Changed::Otherwise) => Ok(()),
            Err(why) => Err(why),
        };
        for (pending, how) in self.underway.met(Await::Answered(id), &how) {
            self.settled(pending.id, pending.reply, how);
        }
    }

    /// Gives a member a place of its own, from now on.
    pub(super) async fn place(&mut self, member: MemberNo, initial_cluster: String) -> MemberPlan {
        self.parts.record.added.push(Joined { member, initial_cluster });
        self.write_record().await;
        let plan = planned(member, &self.parts.ports, &self.parts.engine);
        self.parts.plans.push(plan.clone());
        if let Some(seated) = &mut self.clients {
            seated.clients.seat(&over_the_fabric(&self.parts.fabric, &plan));
        }
        self.write_seats().await;
        plan
    }

    async fn seat(&mut self, newcomer: Newcomer) -> Result<MemberNo, String> {
        let Newcomer { member, id, cluster, learner, initial_cluster } = newcomer;
        let plan = self.place(member, initial_cluster).await;
        self.append(Event::MemberAdded { plan, id, cluster, learner });
        self.renew_backups();
        self.start(member).await?;
        Ok(member)
    }

    async fn write_record(&mut self) {
        let (directory, record) = (self.parts.directory.clone(), self.parts.record.clone());
        if let Err(error) = blocking(move || directory.write_record(&record)).await {
            let text = format!("what the cluster is was not written down: {}", in_full(&error));
            self.append(Event::Note { text });
        }
    }

    /// Stops removed members that did not hear of it in time.
    pub(super) async fn stop_leaving(&mut self) {
        let now = Instant::now();
        let due: Vec<_> =
            self.leaving.iter().filter(|(_, at)| **at <= now).map(|(&member, _)| member).collect();
        for member in due {
            self.leaving.remove(&member);
            let paused = self.journal.with_state(|state| {
                matches!(state.members[&member].process, Process::Paused { .. })
            });
            let order = if paused { Order::Crash(member) } else { Order::Stop(member) };
            self.parts.supervisor.order(order).await;
        }
    }

    /// Forgets what the old cluster was asked for.
    pub(super) fn end_changes(&mut self) {
        self.changes = JoinSet::new();
        let gone = Err("the lab started over meanwhile".to_owned());
        let awaited = |awaits: &Await| matches!(awaits, Await::Answered(_));
        for (pending, how) in self.underway.met_by(awaited, &gone) {
            self.settled(pending.id, pending.reply, how);
        }
    }

    /// The members that a workload of the lab's clients uses: those that answer everything.
    pub(super) fn serving(&self) -> BTreeSet<MemberNo> {
        let founders = self.parts.record.members;
        self.journal.with_state(|state| {
            let serves = |no: MemberNo, standing| match standing {
                Standing::Voter => true,
                // Where a member of an earlier cluster was, one of the next may serve.
                Standing::Unknown | Standing::Elsewhere => no.0 <= founders,
                Standing::Learner | Standing::Removed => false,
            };
            let all = state.taking_part();
            all.filter(|(no, member)| serves(*no, member.standing)).map(|(no, _)| no).collect()
        })
    }
}
