//! The life of one cluster: begun, struck, judged, ended.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use lab_check::convergence;
use lab_protocol::scenario::Condition;
use lab_protocol::{Command, Ended, Judgement, LabState, MemberNo, Process, WorkloadSpec};
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::super::Runner;
use super::super::runner::Trouble;
use super::ledger::{How, Ledger};
use crate::engine::control::{self, Order};
use crate::lab::Lab;

/// Blows until a cluster has done enough: the journal and the checks keep all of it in memory.
const BLOWS: u32 = 40;

/// A member that does not answer an order for so long is stuck.
const ANSWER: Duration = Duration::from_secs(5);

/// Blows between two judgements.
pub(super) const JUDGE_EVERY: u32 = 8;

/// Acknowledged puts a cluster needs: with fewer nothing would be proved.
pub(super) const LOADED: u32 = 30;

/// How long a cluster may take to be whole again.
pub(super) const RECOVER: Duration = Duration::from_secs(30);

/// Longest time a member stays down when nothing else is wanted of it.
const DOWN_MILLIS: u64 = 1_200;

/// One cluster, and what it may use.
pub(super) struct Life<'a> {
    pub(super) lab: &'a Lab,
    pub(super) runner: Runner<'a>,
    pub(super) ledger: &'a Mutex<Ledger>,
    pub(super) draws: ChaCha8Rng,
    pub(super) members: u8,
    pub(super) puts_per_second: u32,
    /// Its process is not started with the others.
    pub(super) held_back: MemberNo,
    /// Members whose removal was asked for: they end by themselves when they hear of it.
    pub(super) going: BTreeSet<MemberNo>,
    /// Acknowledged and unknown writes that are in the books.
    pub(super) counted: (u64, u64),
}

impl Life<'_> {
    /// From the first start to the last judgement.
    pub(super) async fn live(&mut self) -> Result<(), Trouble> {
        let changing = self.ledger.lock().changes_members();
        if changing { self.live_changing().await } else { self.live_struck().await }
    }

    async fn live_struck(&mut self) -> Result<(), Trouble> {
        self.first_starts().await?;
        self.whole().await?;
        self.load().await?;
        let mut unjudged = 0;
        for _ in 0..BLOWS {
            let Some(blow) = self.ledger.lock().deal(self.members) else { break };
            self.strike(blow).await?;
            unjudged += 1;
            if unjudged == JUDGE_EVERY {
                unjudged = 0;
                self.judge().await?;
                self.load().await?;
            }
        }
        self.judge().await
    }

    /// One member begins with an empty directory again and again, and never comes far.
    async fn first_starts(&mut self) -> Result<(), Trouble> {
        let member = self.held_back;
        let points = self.ledger.lock().first_starts();
        for at in points {
            let how = self.ledger.lock().first_start();
            self.leave(member, &self.order(at, how, 1))?;
            self.restart(member).await?;
            if self.falls(member, at, Duration::from_secs(10), &[member]).await? {
                self.ledger.lock().count(at, how);
            } else {
                self.give(member, &Order::Disarm).await?;
                self.ledger.lock().in_vain(at, how);
                return Ok(());
            }
        }
        self.restart(member).await
    }

    /// Starts the workload and waits until it is served.
    pub(super) async fn load(&mut self) -> Result<(), Trouble> {
        let spec = WorkloadSpec {
            puts_per_second: self.puts_per_second,
            reads_per_second: self.puts_per_second / 2,
            // So many that a lost write is seldom hidden by a later one to the same key.
            keys: 2048,
            deadline_millis: 3_000,
            ..WorkloadSpec::default()
        };
        self.runner.submit(Command::SetWorkload { spec }).await?;
        self.runner.submit(Command::SetWatches { count: 3 }).await?;
        self.runner.wait_for(&Condition::Acked(LOADED), RECOVER).await
    }

    /// Ends the workload, reads everything back, and lets the checks speak.
    pub(super) async fn judge(&mut self) -> Result<(), Trouble> {
        self.runner.quiet().await?;
        self.runner.wait_for(&Condition::Converged, RECOVER).await?;
        self.runner.submit(Command::ReadBack).await?;
        self.runner.catch_up()?;
        let verdict = self.runner.verdict("crash");
        let words = || {
            let said = verdict.checks.iter().filter(|check| check.judgement != Judgement::Valid);
            said.map(|check| format!("{}: {}", check.check, check.because))
                .collect::<Vec<_>>()
                .join("; ")
        };
        let mut ledger = self.ledger.lock();
        ledger.judged += 1;
        let now = (self.runner.seen.acked, self.runner.seen.unknown);
        ledger.acked += now.0 - self.counted.0;
        ledger.unknown += now.1 - self.counted.1;
        self.counted = now;
        match verdict.judgement {
            Judgement::Valid => Ok(()),
            Judgement::Invalid => Err(Trouble::Broken(words())),
            Judgement::Unknown => Err(Trouble::Impossible(words())),
        }
    }

    /// Waits until every member is up and follows one leader.
    pub(super) async fn whole(&mut self) -> Result<(), Trouble> {
        let agreed = |state: &LabState| convergence::agreed(state).is_some();
        if self.until(RECOVER, &[], agreed).await? {
            return Ok(());
        }
        let account = convergence::account(&self.runner.seen.tally.state);
        Err(Trouble::Broken(format!(
            "the cluster was not whole again within {} s: {account}",
            RECOVER.as_secs()
        )))
    }

    /// Follows the journal until something holds (true) or for so long (false). That another
    /// member than these ends is a failure.
    pub(super) async fn until(
        &mut self,
        within: Duration,
        may_be_down: &[MemberNo],
        enough: impl Fn(&LabState) -> bool,
    ) -> Result<bool, Trouble> {
        let deadline = Instant::now() + within;
        let seen = self.runner.follow_until(deadline, |seen| {
            enough(&seen.tally.state) || fallen(&seen.tally.state, may_be_down).is_some()
        });
        let seen = seen.await?;
        if let Some((member, ended)) = fallen(&self.runner.seen.tally.state, may_be_down) {
            let how = match ended {
                Ended::Exit { code } => format!("exit code {code}"),
                Ended::Signal { number } => format!("signal {number}"),
                Ended::NotStarted { why } => why,
                Ended::Unseen => "ended".to_owned(),
            };
            return Err(Trouble::Broken(format!(
                "{member} ended by itself ({how}); its last lines:\n{}",
                self.last_lines(member).join("\n")
            )));
        }
        Ok(seen)
    }

    /// Waits for the end of a member that was told to end at this failpoint; `false` if it has not
    /// come by in time.
    pub(super) async fn falls(
        &mut self,
        member: MemberNo,
        at: usize,
        within: Duration,
        may_be_down: &[MemberNo],
    ) -> Result<bool, Trouble> {
        if !self.until(within, may_be_down, |state| is_down(state, member)).await? {
            return Ok(false);
        }
        let name = self.ledger.lock().point(at).name.clone();
        self.ended_at(member, &name)?;
        Ok(true)
    }

    /// Makes sure that a member that is down ended as it was told to; without a name, at any
    /// failpoint.
    pub(super) fn ended_at(&self, member: MemberNo, name: &str) -> Result<(), Trouble> {
        let process =
            self.runner.seen.tally.state.members.get(&member).map(|member| &member.process);
        let killed =
            matches!(process, Some(Process::Down { ended: Ended::Signal { number: 9 }, .. }));
        let lines = self.last_lines(member);
        let said = |line: &String| {
            let at = line.strip_prefix("failpoint ").and_then(|rest| rest.split_once(": "));
            at.is_some_and(|(at, _)| name.is_empty() || at == name)
        };
        if killed && lines.iter().any(said) {
            return Ok(());
        }
        let name = if name.is_empty() { "a failpoint" } else { name };
        Err(Trouble::Broken(format!(
            "{member} was to end at {name} and ended otherwise ({process:?}); its last lines:\n{}",
            lines.join("\n")
        )))
    }

    /// What the member's last process printed at its end.
    fn last_lines(&self, member: MemberNo) -> Vec<String> {
        const SHOWN: usize = 12;
        let text = self.runner.lab.output(member).unwrap_or_default();
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines().rev() {
            if line.starts_with("--- ") && line.contains(" started, process ") {
                break;
            }
            if lines.len() < SHOWN {
                lines.push(line.to_owned());
            }
        }
        lines.reverse();
        lines
    }

    /// Lets time pass.
    pub(super) async fn pass(&mut self, time: Duration) -> Result<(), Trouble> {
        self.runner.follow_until(Instant::now() + time, |_| false).await?;
        Ok(())
    }

    /// Starts everything that is down, after a while, and waits until the cluster is whole.
    pub(super) async fn recover(&mut self) -> Result<(), Trouble> {
        // Mostly at once, and sometimes late enough that the log has moved on.
        let millis = if self.draws.random_ratio(1, 4) {
            self.draws.random_range(0..DOWN_MILLIS)
        } else {
            self.draws.random_range(0..50)
        };
        self.pass(Duration::from_millis(millis)).await?;
        for member in self.down() {
            self.ended_at(member, "")?;
            self.restart(member).await?;
        }
        self.whole().await
    }

    pub(super) async fn restart(&mut self, member: MemberNo) -> Result<(), Trouble> {
        self.runner.submit(Command::Restart { member }).await?;
        Ok(self.runner.catch_up()?)
    }

    /// Members whose process has ended.
    pub(super) fn down(&self) -> BTreeSet<MemberNo> {
        let state = &self.runner.seen.tally.state;
        state.members.keys().copied().filter(|member| is_down(state, *member)).collect()
    }

    pub(super) fn leader(&self) -> Option<MemberNo> {
        self.runner.seen.tally.state.leader()
    }

    /// One of the members, or of those that are not this one.
    pub(super) fn any_but(&mut self, other: Option<MemberNo>) -> MemberNo {
        loop {
            let member = MemberNo(self.draws.random_range(1..=self.members));
            if Some(member) != other {
                return member;
            }
        }
    }

    pub(super) fn order(&self, at: usize, how: How, hits: u64) -> Order {
        let point = self.ledger.lock().point(at).name.clone();
        match how {
            How::Crash => Order::CrashAt { point, hits },
            How::PowerLoss(seed) => Order::LosePowerAt { point, hits, seed },
        }
    }

    fn socket(&self, member: MemberNo) -> PathBuf {
        self.lab.directory().control_socket(member)
    }

    pub(super) async fn give(&self, member: MemberNo, order: &Order) -> Result<(), Trouble> {
        control::give(&self.socket(member), order, ANSWER)
            .await
            .map_err(|error| Trouble::Impossible(format!("tell {member} to `{order}`: {error}")))
    }

    pub(super) fn leave(&self, member: MemberNo, order: &Order) -> Result<(), Trouble> {
        control::leave(&self.socket(member), order)
            .map_err(|error| Trouble::Impossible(format!("leave {member} `{order}`: {error}")))
    }
}

pub(super) fn is_down(state: &LabState, member: MemberNo) -> bool {
    state.members.get(&member).is_some_and(|member| matches!(member.process, Process::Down { .. }))
}

/// A member that ended although nobody told it to.
fn fallen(state: &LabState, may_be_down: &[MemberNo]) -> Option<(MemberNo, Ended)> {
    state.members.iter().find_map(|(no, member)| match &member.process {
        Process::Down { ended, .. } if !may_be_down.contains(no) => Some((*no, ended.clone())),
        _ => None,
    })
}
