//! The stage of a proof: a lab of real members, and the blows that it deals them.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use etcd_api::etcdserverpb::MoveLeaderRequest;
use http::Uri;
use lab_check::convergence;
use lab_protocol::{By, Command, LabState, MemberNo, Process};
use tokio::time::Instant;

use super::command::Common;
use super::contact::Contact;
use crate::lab::{Lab, LabPlan};
use crate::workload::Dialler;

/// How long a cluster may take to form, or to be whole again.
pub(super) const RECOVER: Duration = Duration::from_secs(30);

/// How often the lab's state is looked at while something is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running lab, and the connections of the proof's clients.
pub(super) struct Stage {
    lab: Lab,
    pub(super) dialler: Dialler,
    /// The members and where clients reach them, ascending.
    pub(super) members: Vec<(MemberNo, Uri)>,
}

impl Stage {
    /// Starts the members with these flags beside those that were asked for, and waits until they
    /// follow one leader.
    pub(super) async fn begin(common: &Common, seed: u64, flags: &[&str]) -> Result<Self> {
        let mut node_args: Vec<OsString> = common.node.node_args.clone();
        node_args.extend(flags.iter().map(Into::into));
        let plan = LabPlan {
            members: Some(common.members),
            node_args,
            ..LabPlan::of(common.node.program()?, seed)
        };
        let lab = Lab::start(plan).await.context("start the lab")?;
        let members = lab.handle().journal().with_state(|state| {
            let origin = |no: &MemberNo| state.members[no].plan.client_url.parse();
            state.members.keys().map(|no| Ok((*no, origin(no)?))).collect::<Result<_>>()
        });
        let stage = Self { lab, dialler: Dialler::default(), members: members? };
        if let Err(why) = stage.whole().await {
            stage.end().await;
            return Err(anyhow!("form the cluster: {why}"));
        }
        Ok(stage)
    }

    /// Closes the clients' connections and ends the lab.
    pub(super) async fn end(self) {
        self.dialler.shutdown().await;
        self.lab.shutdown().await;
    }

    /// A client that turns to the members in order, beginning with this one in the list.
    pub(super) fn contact(&self, first: usize) -> Contact {
        let origins = self.members.iter().map(|(_, origin)| origin.clone()).collect();
        Contact::new(self.dialler.clone(), origins, first)
    }

    fn look<T>(&self, look: impl FnOnce(&LabState) -> T) -> T {
        self.lab.handle().journal().with_state(look)
    }

    /// The process of a member.
    pub(super) fn process(&self, member: MemberNo) -> Option<u32> {
        self.look(|state| match state.members.get(&member)?.process {
            Process::Up { pid } | Process::Paused { pid } => Some(pid),
            Process::Planned | Process::Down { .. } => None,
        })
    }

    /// A member whose process ended although nobody asked for it.
    pub(super) fn fallen(&self) -> Option<String> {
        self.look(|state| {
            state.members.iter().find_map(|(no, member)| match &member.process {
                Process::Down { asked: false, ended, .. } => {
                    Some(format!("{no} ended by itself ({ended:?})"))
                }
                _ => None,
            })
        })
    }

    /// Waits until something holds of the lab's state; says what was seen if it does not come.
    async fn until<T>(
        &self,
        within: Duration,
        mut holds: impl FnMut(&LabState) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = self.look(&mut holds) {
                return Ok(found);
            }
            if let Some(fallen) = self.fallen() {
                return Err(fallen);
            }
            if Instant::now() > deadline {
                let account = self.look(convergence::account);
                return Err(format!("not after {} s: {account}", within.as_secs()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until every member is up and follows one leader; the leader and its term.
    pub(super) async fn whole(&self) -> Result<(MemberNo, u64), String> {
        self.until(RECOVER, |state| {
            let leader = convergence::agreed(state)?;
            Some((leader, state.members[&leader].status.as_ref()?.term.0))
        })
        .await
    }

    /// Waits until every member is up and has applied what the leader has, which no writes must
    /// keep from happening.
    pub(super) async fn converged(&self) -> Result<(), String> {
        self.until(RECOVER, |state| convergence::converged(state).then_some(())).await
    }

    /// Waits for a leader in a term above this one, whoever is down; the leader and its term.
    pub(super) async fn led_after(&self, term: u64) -> Result<(MemberNo, u64), String> {
        self.until(RECOVER, |state| {
            let leader = state.leader()?;
            let led = state.members[&leader].status.as_ref()?.term.0;
            (led > term).then_some((leader, led))
        })
        .await
    }

    /// Kills a member's process (SIGKILL).
    pub(super) async fn crash(&self, member: MemberNo) -> Result<()> {
        self.submit(Command::Crash { member }).await
    }

    /// Starts a member's process again.
    pub(super) async fn restart(&self, member: MemberNo) -> Result<()> {
        self.submit(Command::Restart { member }).await
    }

    async fn submit(&self, command: Command) -> Result<()> {
        self.lab.handle().submit(By::Drill, command).await.context("go on with the lab")?;
        Ok(())
    }

    /// Asks the leader to hand over to another member; what it says if it does not.
    pub(super) async fn move_leader(&self, from: MemberNo, to: MemberNo) -> Result<(), String> {
        let id = self.look(|state| state.members.get(&to).and_then(|member| member.id));
        let (id, _) = id.ok_or("its id is not known")?;
        let place = self.members.iter().position(|(no, _)| *no == from).ok_or("no such member")?;
        let mut contact = self.contact(place);
        let request = MoveLeaderRequest { target_id: id.0 };
        let moved = contact.once(Duration::from_secs(10), |connection| async move {
            connection.maintenance().move_leader(request).await
        });
        moved.await.map(drop).map_err(|error| error.to_string())
    }
}
