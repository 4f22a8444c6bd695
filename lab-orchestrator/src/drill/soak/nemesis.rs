//! The nemesis: one window of a soak, from its first errand to its last reading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lab_protocol::mix::{LISTS, SETS};
use lab_protocol::scenario::Condition;
use lab_protocol::{
    By, Call, Command, Ended, KeyRange, LabState, MemberNo, MixSpec, Process, Shares, Standing,
    TxnOp,
};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, timeout};

use super::super::Runner;
use super::super::runner::{DrillError, Trouble};
use super::blow::{Bag, Blow, Draw};
use super::book::Shared;
use super::measure::{LAB, Measures};
use crate::handle::SubmitError;
use crate::lab::Lab;
use crate::supervisor::PLACES;

/// Blows at a time.
const AT_A_TIME: usize = 3;

/// How long a command of the nemesis may take: longer, and it is left to itself.
const COMMAND: Duration = Duration::from_secs(5);

/// How long a healed cluster may take to be whole again.
const RECOVER: Duration = Duration::from_secs(60);

/// How long members may take to give up on what was asked of them: etcd's 5 s and two election
/// timeouts, and some more. Behind it no operation of unknown outcome happens any more.
const GIVEN_UP: Duration = Duration::from_secs(9);

/// How long the leases of errands may take to end.
const LEASES: Duration = Duration::from_secs(40);

/// How often it looks whether something is due.
const LOOK: Duration = Duration::from_millis(200);

/// How often what may grow is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// How long a member that was hit may still end by itself: what it was doing fails later.
const EXCUSED: Duration = Duration::from_secs(20);

/// A cluster, and what is done to it.
pub(super) struct Nemesis<'a> {
    pub(super) lab: &'a Lab,
    pub(super) runner: Runner<'a>,
    pub(super) book: Shared,
    pub(super) draws: ChaCha8Rng,
    pub(super) rate: u32,
    pub(super) replace: bool,
    pub(super) began: Instant,
    pub(super) measures: Measures,
    /// How often each kind was dealt.
    pub(super) dealt: BTreeMap<&'static str, u32>,
    /// Changes of the members that went through.
    pub(super) replaced: u32,
    bag: Bag,
    active: Vec<(Instant, Blow)>,
    /// Members whose process may end by itself, and until when.
    excused: BTreeMap<MemberNo, Instant>,
    measured: Option<Instant>,
}

impl<'a> Nemesis<'a> {
    pub(super) fn new(
        lab: &'a Lab,
        runner: Runner<'a>,
        book: Shared,
        draws: ChaCha8Rng,
        (rate, training, replace): (u32, bool, bool),
    ) -> Self {
        Self {
            lab,
            runner,
            book,
            draws,
            rate,
            replace,
            began: Instant::now(),
            measures: Measures::default(),
            dealt: BTreeMap::new(),
            replaced: 0,
            bag: Bag::new(training),
            active: Vec::new(),
            excused: BTreeMap::new(),
            measured: None,
        }
    }

    /// The first moment: the cluster forms.
    pub(super) async fn form(&mut self) -> Result<(), Trouble> {
        self.runner.wait_for(&Condition::AllAgree, RECOVER).await
    }

    /// Clients at work and blows for so long; then everything is healed, quiet and read back.
    pub(super) async fn strike(&mut self, length: Duration) -> Result<(), Trouble> {
        let until = Instant::now() + length;
        let replace_at = self.replace.then(|| Instant::now() + length.mul_f64(0.6));
        self.work().await?;
        let mut next = Instant::now() + self.between(500, 2_000);
        let mut to_replace = replace_at;
        while Instant::now() < until {
            self.look().await?;
            let now = Instant::now();
            if to_replace.is_some_and(|at| now >= at) {
                if self.active.is_empty() {
                    to_replace = None;
                    self.replace_one().await?;
                    next = Instant::now() + self.between(500, 2_000);
                }
            } else if now >= next && self.active.len() < AT_A_TIME {
                self.strike_once().await?;
                next = Instant::now() + self.between(300, 4_000);
            }
        }
        self.heal().await
    }

    /// Waits until nothing is under way, and reads everything back.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        self.runner.quiet().await?;
        self.runner.submit(Command::SetWatches { count: 0 }).await?;
        self.pass(GIVEN_UP).await?;
        let deadline = Instant::now() + LEASES;
        let gone = |state: &LabState| {
            let mut all = state.taking_part();
            all.all(|(_, member)| member.status.as_ref().is_some_and(|status| status.leases == 0))
        };
        if !self.runner.follow_until(deadline, |seen| gone(&seen.tally.state)).await? {
            return Err(Trouble::Broken(format!(
                "leases of a few seconds still live {} s after the last was asked for",
                (GIVEN_UP + LEASES).as_secs()
            )));
        }
        self.runner.wait_for(&Condition::Converged, RECOVER).await?;
        self.read_back().await
    }

    /// Clears what errands have left, and reads what the next window begins with.
    pub(super) async fn clear(&mut self) -> Result<(), Trouble> {
        let Some(member) = self.runner.seen.tally.state.leader() else {
            return Err(Trouble::Impossible("nobody leads".into()));
        };
        let under = |prefix: &str| {
            let end = format!("{}0", &prefix[..prefix.len() - 1]);
            TxnOp::Delete { keys: KeyRange { key: prefix.to_owned(), end: Some(end) } }
        };
        let then = vec![under(SETS), under(LISTS)];
        let revision =
            self.book.borrow_mut().read.values().map(|read| read.revision).max().unwrap_or(1);
        let calls =
            [Call::Txn { compare: vec![], then, otherwise: vec![] }, Call::Compact { revision }];
        for call in calls {
            let command = Command::Invoke { member, call, deadline_millis: 8_000 };
            // It waits for the answer. Compacting what is compacted already fails, and is as well.
            self.runner.submit(command).await?;
        }
        self.runner.wait_for(&Condition::Converged, RECOVER).await?;
        self.read_back().await
    }

    async fn read_back(&mut self) -> Result<(), Trouble> {
        self.runner.submit(Command::ReadBack).await?;
        self.runner.catch_up()?;
        let seq = self.runner.seen.tally.state.seq;
        let deadline = Instant::now() + RECOVER;
        while self.book.borrow_mut().seq < seq {
            if Instant::now() > deadline {
                return Err(Trouble::Impossible("the journal was not read in time".into()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn work(&mut self) -> Result<(), Trouble> {
        let mix = MixSpec {
            rate: self.rate,
            shares: Shares { compact: 1, ..Shares::EVERYTHING },
            clients: 12,
            keys: 24,
            deadline_millis: 2_000,
            retries: 1,
            ..MixSpec::default()
        };
        self.runner.submit(Command::SetMix { mix }).await?;
        self.runner.submit(Command::SetWatches { count: 2 }).await
    }

    /// Lets a moment pass: ends what is due, measures, and makes sure that nobody ended by itself.
    async fn look(&mut self) -> Result<(), Trouble> {
        self.runner.follow_until(Instant::now() + LOOK, |_| false).await?;
        let now = Instant::now();
        let (due, active): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.active).into_iter().partition(|(until, _)| *until <= now);
        self.active = active;
        for (_, blow) in due {
            self.end(blow).await?;
        }
        self.measure();
        self.nobody_fell()
    }

    /// What may grow, if it is time.
    fn measure(&mut self) {
        let now = Instant::now();
        if self.measured.is_some_and(|last| now - last < MEASURE_EVERY) {
            return;
        }
        self.measured = Some(now);
        let second = (now - self.began).as_secs_f64();
        for (no, member) in self.runner.seen.tally.state.taking_part() {
            if let Process::Up { pid } = member.process {
                let data = self.lab.directory().data_place(no);
                self.measures.note(second, no, pid, Some(&data));
            }
        }
        self.measures.note(second, LAB, std::process::id(), None);
    }

    fn nobody_fell(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        self.excused.retain(|_, until| *until > now);
        let fallen = self.runner.seen.tally.state.taking_part().find_map(|(no, member)| {
            let Process::Down { ended, asked: false, .. } = &member.process else { return None };
            let excused = self.excused.contains_key(&no)
                || self.active.iter().any(|(_, blow)| blow.may_end && blow.at.contains(&no));
            (!excused).then(|| (no, ended.clone()))
        });
        let Some((member, ended)) = fallen else { return Ok(()) };
        let how = match ended {
            Ended::Exit { code } => format!("exit code {code}"),
            Ended::Signal { number } => format!("signal {number}"),
            Ended::NotStarted { why } => why,
            Ended::Unseen => "unseen".into(),
        };
        let output = self.runner.lab.output(member).unwrap_or_default();
        let lines: Vec<_> = output.lines().rev().take(12).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        Err(Trouble::Broken(format!(
            "{member} ended by itself ({how}); its last lines:\n{}",
            lines.join("\n")
        )))
    }

    /// One blow of the next kind in the bag that can be dealt.
    async fn strike_once(&mut self) -> Result<(), Trouble> {
        let spared: BTreeSet<_> =
            self.active.iter().flat_map(|(_, blow)| blow.at.iter().copied()).collect();
        let Some(blow) = self.draw(&spared) else { return Ok(()) };
        let lasts = match blow.kind {
            // Members that nobody reaches for long are dull.
            "crash all" | "halves" => self.between(300, 3_000),
            _ => self.between(800, 8_000),
        };
        *self.dealt.entry(blow.kind).or_default() += 1;
        for command in blow.begin.clone() {
            self.give(command).await?;
        }
        self.active.push((Instant::now() + lasts, blow));
        Ok(())
    }

    fn draw(&mut self, spared: &BTreeSet<MemberNo>) -> Option<Blow> {
        let state = &self.runner.seen.tally.state;
        self.bag.draw(&mut Draw { state, draws: &mut self.draws, spared })
    }

    async fn end(&mut self, blow: Blow) -> Result<(), Trouble> {
        if blow.may_end {
            let until = Instant::now() + EXCUSED;
            self.excused.extend(blow.at.iter().map(|member| (*member, until)));
        }
        for command in blow.end {
            self.give(command).await?;
        }
        Ok(())
    }

    /// Gives a command. What is refused was not possible as things are now: another blow was faster.
    async fn give(&mut self, command: Command) -> Result<(), Trouble> {
        let submitted = self.runner.lab.submit(By::Drill, command);
        match timeout(COMMAND, submitted).await {
            Ok(Ok(_)) | Ok(Err(SubmitError::Refused { .. })) | Err(_) => {}
            Ok(Err(SubmitError::Ended)) => return Err(Trouble::Lab(DrillError::Ended)),
        }
        Ok(self.runner.catch_up()?)
    }

    /// Takes off everything, and waits until the cluster is whole and serves.
    pub(super) async fn heal(&mut self) -> Result<(), Trouble> {
        for (_, blow) in std::mem::take(&mut self.active) {
            self.end(blow).await?;
        }
        self.runner.submit(Command::UndoFaults).await?;
        let deadline = Instant::now() + RECOVER;
        // Who was hit may end a moment after it was healed, and is started again.
        loop {
            let step =
                Duration::from_secs(3).min(deadline.saturating_duration_since(Instant::now()));
            match self.runner.wait_for(&Condition::AllAgree, step).await {
                Ok(()) => return self.pass(Duration::from_secs(2)).await,
                Err(Trouble::Broken(why)) if Instant::now() >= deadline => {
                    return Err(Trouble::Broken(why));
                }
                Err(Trouble::Broken(_)) => self.nobody_fell()?,
                Err(other) => return Err(other),
            }
            self.give(Command::UndoFaults).await?;
        }
    }

    /// Another member in the place of one: added as a learner, given a vote, and one put out.
    async fn replace_one(&mut self) -> Result<(), Trouble> {
        let state = &self.runner.seen.tally.state;
        if state.members.len() >= usize::from(PLACES) {
            return Ok(());
        }
        let voters: Vec<_> = state
            .taking_part()
            .filter(|(_, member)| member.standing == Standing::Voter)
            .map(|(no, _)| no)
            .collect();
        let Some(&goes) = voters.choose(&mut self.draws) else { return Ok(()) };
        self.runner.wait_for(&Condition::AllAgree, RECOVER).await?;
        let before: BTreeSet<_> = self.runner.seen.tally.state.members.keys().copied().collect();
        self.change(Command::AddMember { learner: true }).await?;
        self.runner.catch_up()?;
        let comes =
            self.runner.seen.tally.state.members.keys().find(|no| !before.contains(no)).copied();
        let Some(member) = comes else {
            return Err(Trouble::Impossible("the member that was added has no place".into()));
        };
        self.change(Command::PromoteMember { member }).await?;
        self.excused.insert(goes, Instant::now() + RECOVER);
        self.change(Command::RemoveMember { member: goes }).await?;
        self.replaced += 1;
        self.runner.wait_for(&Condition::AllAgree, RECOVER).await?;
        // Clients learn of the newcomer.
        self.work().await
    }

    /// Asks for a change of the members until it is done: a learner that is behind is refused, and
    /// what was not answered in time may be done all the same.
    async fn change(&mut self, command: Command) -> Result<(), Trouble> {
        let deadline = Instant::now() + RECOVER;
        loop {
            match self.runner.submit(command.clone()).await {
                Err(Trouble::Impossible(why)) => {
                    self.pass(Duration::from_millis(500)).await?;
                    if is_done(&self.runner.seen.tally.state, &command) {
                        return Ok(());
                    }
                    if Instant::now() >= deadline {
                        return Err(Trouble::Impossible(why));
                    }
                }
                done => return done,
            }
        }
    }

    async fn pass(&mut self, time: Duration) -> Result<(), Trouble> {
        self.runner.follow_until(Instant::now() + time, |_| false).await?;
        self.measure();
        Ok(())
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.draws.random_range(least..most))
    }
}

/// Whether the members say that a change has come through.
fn is_done(state: &LabState, command: &Command) -> bool {
    let standing = |member: &MemberNo| state.members.get(member).map(|known| known.standing);
    match command {
        Command::PromoteMember { member } => standing(member) == Some(Standing::Voter),
        Command::RemoveMember { member } => standing(member) == Some(Standing::Removed),
        _ => false,
    }
}
