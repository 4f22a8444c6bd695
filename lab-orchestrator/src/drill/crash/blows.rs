//! What leads a member past a failpoint, stage by stage.

use std::time::Duration;

use lab_protocol::scenario::Condition;
use lab_protocol::{Command, Grudge, LabState, MemberNo};
use rand::Rng;

use super::super::runner::Trouble;
use super::ledger::{Blow, How};
use super::life::{Life, is_down};
use super::points::Stage;
use crate::engine::control::Order;

/// Up to so many hits of a failpoint of [`Stage::Run`] are waited for.
const HITS: u64 = 40;

/// How long those may take; then the next hit is the one.
const MANY_HITS: Duration = Duration::from_secs(3);

/// How long one hit may take, under load.
const ONE_HIT: Duration = Duration::from_secs(20);

/// How long what was brought about may take to lead past a failpoint.
const BROUGHT_ABOUT: Duration = Duration::from_secs(10);

/// Acknowledged puts after which a member that was down needs a snapshot: above the entries that
/// are kept (see the members' flags in `gate`).
const BEHIND: u32 = 110;

/// After so long a new leader has an entry of its own on a quorum's disks.
const SETTLED: Duration = Duration::from_millis(100);

/// Changes of members tried until one leads past a failpoint.
const CHANGES: u32 = 5;

impl Life<'_> {
    /// Deals one blow, makes the cluster whole again, and puts it down in the books.
    pub(super) async fn strike(&mut self, blow: Blow) -> Result<(), Trouble> {
        if blow.everywhere {
            return self.everywhere(&blow).await;
        }
        let stage = self.ledger.lock().point(blow.at).stage;
        let reached = match stage {
            Stage::Run => {
                let member = self.any_but(None);
                self.running(member, blow.at, blow.how).await?
            }
            Stage::Upkeep => {
                let member = self.any_but(None);
                self.give(member, &self.order(blow.at, blow.how, 1)).await?;
                self.falls(member, blow.at, ONE_HIT, &[member]).await?
            }
            Stage::Election => self.election(&blow).await?,
            Stage::Overwrite => self.overwrite(&blow).await?,
            Stage::Change => self.change(&blow).await?,
            Stage::Send => self.send(&blow).await?,
            Stage::Behind => self.behind(&blow).await?,
            Stage::WarmUp => self.start(&blow, ONE_HIT).await?,
            Stage::Start | Stage::FirstStart => self.start(&blow, BROUGHT_ABOUT).await?,
        };
        if reached {
            self.ledger.lock().count(blow.at, blow.how);
        } else {
            self.ledger.lock().in_vain(blow.at, blow.how);
            for member in (1..=self.members).map(MemberNo) {
                // Whoever does not listen has come by after all, and is started again.
                self.give(member, &Order::Disarm).await.ok();
            }
        }
        self.recover().await
    }

    /// Under load, at some hit of a failpoint that is come by all the time.
    async fn running(&mut self, member: MemberNo, at: usize, how: How) -> Result<bool, Trouble> {
        let hits = self.draws.random_range(1..=HITS);
        self.give(member, &self.order(at, how, hits)).await?;
        if self.falls(member, at, MANY_HITS, &[member]).await? {
            return Ok(true);
        }
        let again = self.give(member, &self.order(at, how, 1)).await;
        // Nobody listens if it has ended just now.
        let within = if again.is_ok() { ONE_HIT } else { Duration::from_secs(1) };
        self.falls(member, at, within, &[member]).await
    }

    /// A crash at some failpoint on the way to another one.
    async fn crash_beside(&mut self, member: MemberNo) -> Result<(), Trouble> {
        let at = self.ledger.lock().any_running();
        if !self.running(member, at, How::Crash).await? {
            return Err(Trouble::Impossible(format!("{member} did not come by a failpoint")));
        }
        self.ledger.lock().count_beside(at);
        Ok(())
    }

    /// The leader crashes, and another member as it votes.
    async fn election(&mut self, blow: &Blow) -> Result<bool, Trouble> {
        let Some(leader) = self.leader() else { return Ok(false) };
        let member = self.any_but(Some(leader));
        self.give(member, &self.order(blow.at, blow.how, 1)).await?;
        let at = self.ledger.lock().any_running();
        self.give(leader, &self.order(at, How::Crash, 1)).await?;
        let both = [leader, member];
        // Whichever of the two ends first: an election may begin by itself.
        let ended = |state: &LabState| both.iter().all(|member| is_down(state, *member));
        let all = self.until(BROUGHT_ABOUT, &both, ended).await?;
        if is_down(&self.runner.seen.tally.state, leader) {
            let name = self.ledger.lock().point(at).name.clone();
            self.ended_at(leader, &name)?;
            self.ledger.lock().count_beside(at);
        }
        if !is_down(&self.runner.seen.tally.state, member) {
            return Ok(false);
        }
        let name = self.ledger.lock().point(blow.at).name.clone();
        self.ended_at(member, &name)?;
        if !all {
            self.give(leader, &Order::Disarm).await?;
        }
        Ok(true)
    }

    /// A leader is cut off, goes on appending, and finds that the others went another way.
    async fn overwrite(&mut self, blow: &Blow) -> Result<bool, Trouble> {
        let Some(old) = self.leader() else { return Ok(false) };
        self.give(old, &self.order(blow.at, blow.how, 1)).await?;
        self.runner.submit(Command::Isolate { member: old }).await?;
        let another = |state: &LabState| state.leader().is_some_and(|leader| leader != old);
        // Clients may all be at the one that is cut off, so nothing need be acknowledged meanwhile.
        self.until(BROUGHT_ABOUT, &[], another).await?;
        self.pass(SETTLED).await?;
        self.runner.submit(Command::Partition { grudge: Grudge::default() }).await?;
        self.falls(old, blow.at, BROUGHT_ABOUT, &[old]).await
    }

    /// A member's peer URLs are set to what they are: an entry that changes the configuration, and
    /// changes nothing.
    async fn change(&mut self, blow: &Blow) -> Result<bool, Trouble> {
        let member = self.any_but(None);
        self.give(member, &self.order(blow.at, blow.how, 1)).await?;
        let through = self.any_but(Some(member));
        for _ in 0..CHANGES {
            self.update_member(member, through).await;
            if self.falls(member, blow.at, Duration::from_secs(2), &[member]).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A leader ends while it sends a snapshot to a member that was down.
    async fn send(&mut self, blow: &Blow) -> Result<bool, Trouble> {
        let member = self.any_but(self.leader());
        self.crash_beside(member).await?;
        self.runner.wait_for(&Condition::Acked(BEHIND), ONE_HIT).await?;
        let Some(leader) = self.leader() else { return Ok(false) };
        self.give(leader, &self.order(blow.at, blow.how, 1)).await?;
        self.restart(member).await?;
        self.falls(leader, blow.at, BROUGHT_ABOUT, &[leader]).await
    }

    /// A member that was down ends while it takes a snapshot in.
    async fn behind(&mut self, blow: &Blow) -> Result<bool, Trouble> {
        let member = self.any_but(None);
        self.crash_beside(member).await?;
        self.runner.wait_for(&Condition::Acked(BEHIND), ONE_HIT).await?;
        self.leave(member, &self.order(blow.at, blow.how, 1))?;
        self.restart(member).await?;
        self.falls(member, blow.at, BROUGHT_ABOUT, &[member]).await
    }

    /// A member that crashed crashes again as it starts, or soon after.
    async fn start(&mut self, blow: &Blow, within: Duration) -> Result<bool, Trouble> {
        let member = self.any_but(None);
        self.crash_beside(member).await?;
        self.leave(member, &self.order(blow.at, blow.how, 1))?;
        self.restart(member).await?;
        self.falls(member, blow.at, within, &[member]).await
    }

    /// Every member loses its power at one moment, and no two the same bytes.
    async fn everywhere(&mut self, blow: &Blow) -> Result<(), Trouble> {
        let How::PowerLoss(seed) = blow.how else { return Ok(()) };
        let moment = Duration::from_millis(self.draws.random_range(0..400));
        self.pass(moment).await?;
        let all: Vec<MemberNo> = (1..=self.members).map(MemberNo).collect();
        let orders = all.iter().map(|member| {
            let seed = (seed ^ u64::from(member.0)).max(1);
            async move { (member, Order::LosePower { seed }) }
        });
        let this = &*self;
        let given = orders.map(|order| async move {
            let (member, order) = order.await;
            this.give(*member, &order).await
        });
        for given in futures_util::future::join_all(given).await {
            given?;
        }
        let ended = |state: &LabState| all.iter().all(|member| is_down(state, *member));
        if !self.until(BROUGHT_ABOUT, &all, ended).await? {
            return Err(Trouble::Broken("a member that lost its power goes on".into()));
        }
        for &member in &all {
            self.ended_at(member, "none")?;
        }
        self.recover().await?;
        self.ledger.lock().count_everywhere(self.members, blow.how);
        Ok(())
    }
}
