//! Performs a scenario: submits its commands, waits for its conditions, ends it, has it judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use lab_check::{Judges, Mark, Measures, Scorer, Tally};
use lab_protocol::scenario::{ClusterWish, Condition, Drill, Learn, Scenario, THE_END};
use lab_protocol::{
    By, Call, CheckResult, Command, CommandId, DrillBrief, DrillEvent, Event, Goal, Judgement,
    LessonEvent, MemberNo, MixSpec, Numbered, OpId, Outcome, Score, Verdict, WorkloadSpec,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::draws::Draws;
use crate::handle::{LabHandle, SubmitError};
use crate::journal::{FollowError, Follower};

/// How long single calls may take to return at the end: longer than any deadline of their own.
const ANSWER: Duration = Duration::from_secs(20);

/// How long, beside some election timeouts, a healed cluster may take to become whole.
const CONVERGE: Duration = Duration::from_secs(15);

/// The same of a drill: what was healed has been so for long.
const CONVERGE_AS_LEFT: Duration = Duration::from_secs(4);

/// How often a person is told how what counts stands.
const LOOK: Duration = Duration::from_secs(1);

/// Members tell of changes about thirty times a second: after this, what they told is of now.
const FRESH: Duration = Duration::from_millis(200);

/// How often it is looked whether somebody has predicted; they take their time.
const PREDICTS: Duration = Duration::from_secs(60);

/// Events that are taken from the journal at a time.
const BATCH: usize = 4096;

/// Where lines for a person go while a drill runs.
pub type Progress<'a> = &'a mut (dyn FnMut(&str) + Send);

/// The lab failed, so there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The lab ended while the drill ran.
    #[error("the lab ended before the drill did")]
    Ended,
    /// The journal was faster than the drill could read it.
    #[error("follow the journal")]
    Follow(#[from] FollowError),
}

/// Who plays in a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Play {
    /// Its own solution.
    Solution,
    /// Nobody.
    Nothing,
    /// Another solution, by its name.
    Other(String),
    /// A wrong solution, by its name.
    Wrong(String),
}

impl fmt::Display for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Solution => f.write_str("solution"),
            Self::Nothing => f.write_str("nothing"),
            Self::Other(name) | Self::Wrong(name) => f.write_str(name),
        }
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everything is undone first.
    Healed,
    /// As somebody left it.
    AsLeft,
}

/// Why a step did not go as written.
pub(super) enum Trouble {
    /// It could not be performed as things were: the run does not tell.
    Impossible(String),
    /// What it waited for did not come: the scenario's claim is broken.
    Broken(String),
    /// The lab failed.
    Lab(DrillError),
}

impl From<DrillError> for Trouble {
    fn from(error: DrillError) -> Self {
        Self::Lab(error)
    }
}

/// One drill on one lab.
pub struct Runner<'a> {
    pub(super) lab: LabHandle,
    pub(super) follower: Follower,
    pub(super) seen: Seen,
    judges: Judges,
    /// The claims of steps that did not hold.
    claims: Vec<CheckResult>,
    pub(super) leases: BTreeMap<String, i64>,
    pub(super) seed: u64,
    /// What the sentence that is carried out draws from.
    pub(super) draws: Draws,
    /// Single calls that have not returned.
    pub(super) calls: JoinSet<Result<(), String>>,
    /// Single puts made so far: each has a key and a value of its own.
    pub(super) puts: u64,
    /// After how many milliseconds what is asked for now is undone by itself.
    pub(super) lasts: Option<u64>,
    /// How things were when the step began, and when the first did.
    pub(super) since: Mark,
    pub(super) began: Mark,
    /// What ends the run at once.
    pub(super) stop_if: Vec<Condition>,
    progress: Progress<'a>,
    scorer: Option<Scorer>,
    /// What a lesson asks, and what the run does about it.
    lesson: Option<(Learn, Measures)>,
}

/// What the drill has read in the journal.
#[derive(Debug)]
pub(super) struct Seen {
    /// What was counted, and whom the scenario calls how.
    pub(super) tally: Tally,
    /// Operations that have not returned, and what they asked.
    open: BTreeMap<OpId, Call>,
    /// Puts acknowledged so far.
    pub(super) acked: u64,
    /// Writes with an unknown outcome so far.
    pub(super) unknown: u64,
    /// The last lease granted.
    pub(super) granted: Option<i64>,
    /// What a person asked for that is not done yet.
    asked: BTreeMap<CommandId, Command>,
    /// Hints that a person asked for.
    hints: usize,
    /// Whether they said that they are done.
    is_done: bool,
    /// The hashes of the last reading back: revision and hash of each member.
    pub(super) hashes: BTreeMap<MemberNo, (i64, u32)>,
}

impl Seen {
    fn of(tally: Tally) -> Self {
        Self {
            tally,
            open: BTreeMap::new(),
            acked: 0,
            unknown: 0,
            granted: None,
            asked: BTreeMap::new(),
            hints: 0,
            is_done: false,
            hashes: BTreeMap::new(),
        }
    }

    fn take(&mut self, numbered: &Numbered) {
        self.tally.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => self.open.clear(),
            Event::Invoked { op, call, .. } => {
                self.open.insert(*op, call.clone());
            }
            Event::Returned { op, outcome } => match (self.open.remove(op), outcome) {
                (Some(Call::Put { .. }), Outcome::Ok(_)) => self.acked += 1,
                (Some(Call::LeaseGrant { .. }), Outcome::Ok(answer)) => {
                    self.granted = Some(answer.number);
                }
                (Some(call), Outcome::Info { .. }) if call.is_write() => self.unknown += 1,
                (
                    Some(_) | None,
                    Outcome::Ok(_) | Outcome::Txn(_) | Outcome::Fail { .. } | Outcome::Info { .. },
                ) => {}
            },
            // Not those that were refused.
            Event::Done { id } => match self.asked.remove(id) {
                Some(Command::Hint) => self.hints += 1,
                Some(Command::FinishDrill) => self.is_done = true,
                Some(_) | None => {}
            },
            Event::Asked {
                id, command: command @ (Command::Hint | Command::FinishDrill), ..
            } => {
                self.asked.insert(*id, command.clone());
            }
            Event::ReadBack(read) => {
                self.hashes.insert(read.member, read.hash);
            }
            _ => {}
        }
    }
}

impl<'a> Runner<'a> {
    /// A scenario on this lab, from its first event on, judged by what it asks for.
    pub fn of(lab: LabHandle, scenario: &Scenario, seed: u64, progress: Progress<'a>) -> Self {
        let runner = Self::new(lab, Judges::of(scenario), seed, progress);
        Self {
            seen: Seen::of(Tally::of(scenario)),
            stop_if: scenario.stop_if.clone(),
            scorer: scenario.drill.as_ref().map(Scorer::new),
            ..runner
        }
    }

    /// Whoever has the lab do something by other rules than a scenario's.
    pub(super) fn new(lab: LabHandle, judges: Judges, seed: u64, progress: Progress<'a>) -> Self {
        let scale = ClusterWish::default().scale();
        Self {
            follower: lab.journal().follow(0),
            lab,
            seen: Seen::of(Tally::new(scale)),
            judges,
            claims: Vec::new(),
            leases: BTreeMap::new(),
            seed,
            draws: Draws::at(seed, [0; 4]),
            calls: JoinSet::new(),
            puts: 0,
            lasts: None,
            since: Mark::default(),
            began: Mark::default(),
            stop_if: Vec::new(),
            progress,
            scorer: None,
            lesson: None,
        }
    }

    /// As a lesson: nothing runs before somebody has predicted what will.
    pub fn with_lesson(mut self, learn: Learn) -> Self {
        self.lesson = Some((learn, Measures::default()));
        self
    }

    /// Asks what will happen, and waits for the predictions.
    async fn predicted(&mut self, title: &str) -> Result<(), DrillError> {
        let Some((learn, _)) = &self.lesson else { return Ok(()) };
        let opened = LessonEvent::Opened(Box::new(learn.brief(title)));
        self.tell_lesson(opened).await?;
        let made =
            |seen: &Seen| seen.tally.state.lesson.as_ref().is_some_and(|own| own.guesses.is_some());
        while !self.follow_until(Instant::now() + PREDICTS, made).await? {}
        self.tell_lesson(LessonEvent::Began).await
    }

    /// Tells what was so, and what the predictions were worth.
    async fn reveal(&mut self) -> Result<(), DrillError> {
        let election_timeout = self.seen.tally.scale.election_timeout;
        let Some((learn, measures)) = &self.lesson else { return Ok(()) };
        let lesson = self.seen.tally.state.lesson.as_ref();
        let Some(guesses) = lesson.and_then(|lesson| lesson.guesses.clone()) else {
            return Ok(());
        };
        let reveal = measures.reveal(learn, &guesses, election_timeout);
        self.tell_lesson(LessonEvent::Revealed(Box::new(reveal))).await
    }

    async fn tell_lesson(&self, event: LessonEvent) -> Result<(), DrillError> {
        self.lab.lesson(event).await.map_err(|_| DrillError::Ended)
    }

    /// Performs the scenario to its end, whatever happens, and judges it.
    ///
    /// Errors: the lab failed.
    pub async fn perform(
        mut self,
        name: &str,
        scenario: &Scenario,
        play: &Play,
    ) -> Result<(Verdict, Option<Score>), DrillError> {
        self.predicted(&scenario.title).await?;
        let mut performed = self.steps(scenario).await;
        if let (Ok(()), Some(drill)) = (&performed, &scenario.drill) {
            performed = self.play(drill, play, scenario.steps.len()).await;
        }
        match performed {
            Ok(()) | Err(Trouble::Impossible(_) | Trouble::Broken(_)) => {}
            Err(Trouble::Lab(error)) => return Err(error),
        }
        let end = match &scenario.drill {
            None => End::Healed,
            Some(_) => End::AsLeft,
        };
        if end == End::Healed {
            let behind = u32::try_from(scenario.steps.len()).unwrap_or(u32::MAX).saturating_add(1);
            self.lab.step(behind, THE_END).await.map_err(|_| DrillError::Ended)?;
        }
        self.finish(end, scenario.workload.is_some()).await?;
        self.reveal().await?;
        let verdict = self.verdict(name);
        self.concluded(verdict).await
    }

    /// Performs a drill with a person: what happens first, then they, then what happens whatever
    /// they did; and judges how they left it. It waits until they are done or their time is over.
    ///
    /// Errors: the lab failed.
    pub async fn attend(
        mut self,
        name: &str,
        scenario: &Scenario,
        drill: &Drill,
    ) -> Result<(Verdict, Option<Score>), DrillError> {
        let brief = DrillBrief {
            id: drill.id.clone(),
            title: scenario.title.clone(),
            brief: drill.brief.clone(),
            fog: drill.fog,
            millis: u64::try_from(drill.time.duration(scenario.cluster.scale()).as_millis())
                .unwrap_or(u64::MAX),
            hints: u32::try_from(drill.hints.len()).unwrap_or(u32::MAX),
            hint_points: drill.harm.hint,
        };
        self.predicted(&scenario.title).await?;
        self.tell(DrillEvent::Told(Box::new(brief))).await?;
        let mut performed = self.steps(scenario).await;
        if performed.is_ok() {
            self.turn(drill).await?;
            let before = u32::try_from(scenario.steps.len()).unwrap_or(u32::MAX);
            performed = self.sequence(before, &drill.after).await;
        }
        if let Err(Trouble::Lab(error)) = performed {
            return Err(error);
        }
        self.finish(End::AsLeft, scenario.workload.is_some()).await?;
        self.reveal().await?;
        let verdict = self.verdict(name);
        self.concluded(verdict).await
    }

    /// Tells the verdict, and of a drill its score.
    async fn concluded(&self, verdict: Verdict) -> Result<(Verdict, Option<Score>), DrillError> {
        self.lab.judged(verdict.clone()).await.map_err(|_| DrillError::Ended)?;
        let score = self.scorer.as_ref().map(|scorer| scorer.score(&verdict));
        if let Some(score) = &score {
            self.lab.scored(score.clone()).await.map_err(|_| DrillError::Ended)?;
        }
        Ok((verdict, score))
    }

    /// A person's turn: gives the hints that are asked for and tells how what counts stands, until
    /// they are done.
    async fn turn(&mut self, drill: &Drill) -> Result<(), DrillError> {
        let deadline = Instant::now() + drill.time.duration(self.seen.tally.scale);
        self.tell(DrillEvent::Opened).await?;
        self.say("     it is your turn");
        let (mut given, mut told) = (0, Vec::new());
        loop {
            let look = (Instant::now() + LOOK).min(deadline);
            let asked = move |seen: &Seen| seen.is_done || seen.hints > given;
            self.follow_until(look, asked).await?;
            while given < self.seen.hints.min(drill.hints.len()) {
                let text = drill.hints[given].clone();
                given += 1;
                self.scorer.iter_mut().for_each(Scorer::hinted);
                let number = u32::try_from(given).unwrap_or(u32::MAX);
                self.say(&format!("     hint {number}: {text}"));
                self.tell(DrillEvent::Hinted { number, text }).await?;
            }
            if self.seen.is_done || Instant::now() >= deadline {
                return Ok(());
            }
            let goals = self.goals();
            if goals != told {
                self.tell(DrillEvent::Goals(goals.clone())).await?;
                told = goals;
            }
        }
    }

    fn goals(&self) -> Vec<Goal> {
        let goal = |result: CheckResult| {
            let CheckResult { check, guards, judgement, because, evidence: _ } = result;
            Goal { check, guards, judgement, because }
        };
        self.judges.results().into_iter().map(goal).collect()
    }

    async fn tell(&self, event: DrillEvent) -> Result<(), DrillError> {
        self.lab.drill(event).await.map_err(|_| DrillError::Ended)
    }

    /// What somebody does in a drill, and what happens afterwards whatever that was.
    async fn play(&mut self, drill: &Drill, play: &Play, before: usize) -> Result<(), Trouble> {
        let played = match play {
            Play::Solution => &drill.solution[..],
            Play::Nothing => &[],
            Play::Other(name) => {
                let other = drill.other.iter().find(|other| other.name == *name);
                &other.expect("it was looked for when the file was read").steps
            }
            Play::Wrong(name) => {
                let wrong = drill.wrong.iter().find(|wrong| wrong.name == *name);
                &wrong.expect("it was looked for when the file was read").steps
            }
        };
        self.say(&format!("     {play}"));
        let mut first = u32::try_from(before).unwrap_or(u32::MAX);
        for steps in [played, &drill.after] {
            self.sequence(first, steps).await?;
            first = first.saturating_add(u32::try_from(steps.len()).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// Undoes everything unless it is judged as it was left, waits until the cluster is whole and
    /// quiet, and reads it back.
    pub(super) async fn finish(&mut self, end: End, workload: bool) -> Result<(), DrillError> {
        let (converge, guards) = match end {
            End::Healed => (CONVERGE, "everything healed, the cluster converges"),
            End::AsLeft => (CONVERGE_AS_LEFT, "as it was left, the cluster converges"),
        };
        self.say(&format!("     {guards}, and is read back"));
        let patience = converge + self.seen.tally.scale.election_timeout * 10;
        let result = async {
            if end == End::Healed {
                self.submit(Command::UndoFaults).await?;
            }
            self.wait_for(&Condition::Answered, ANSWER).await?;
            self.wait_for(&Condition::AllAgree, patience).await?;
            if workload {
                self.quiet().await?;
            }
            self.wait_for(&Condition::Converged, patience).await
        }
        .await;
        let converged = result.is_ok();
        let judged_anyway = self.claim("the end", guards, result);
        if let Err(Trouble::Lab(error)) = judged_anyway {
            return Err(error);
        }
        // Who goes on writing while others are read would seem to have lost it.
        if workload
            && !converged
            && let Err(Trouble::Lab(error)) = self.quiet().await
        {
            return Err(error);
        }
        // A cluster that did not converge is read all the same: the checks say what is missing. Not
        // one that was left without a leader: nobody would answer.
        if end == End::AsLeft && self.seen.tally.state.leader().is_none() {
            return self.catch_up();
        }
        match self.submit(Command::ReadBack).await {
            Ok(()) | Err(Trouble::Impossible(_) | Trouble::Broken(_)) => {}
            Err(Trouble::Lab(error)) => return Err(error),
        }
        self.catch_up()
    }

    /// Ends the workload and waits until all its operations have returned.
    pub(super) async fn quiet(&mut self) -> Result<(), Trouble> {
        self.submit(Command::SetWorkload { spec: WorkloadSpec::idle() }).await?;
        if self.seen.tally.state.mix.as_ref().is_some_and(|mix| !mix.is_idle()) {
            self.submit(Command::SetMix { mix: MixSpec::idle() }).await?;
        }
        let deadline = Instant::now() + ANSWER;
        while self.follow_until(deadline, |seen| seen.open.is_empty()).await? {
            // What the members said last may be older than the last operation, and an operation may
            // have begun while the workload was told to end.
            self.follow_until(Instant::now() + FRESH, |_| false).await?;
            if self.seen.open.is_empty() {
                return Ok(());
            }
        }
        let open = self.seen.open.len();
        Err(Trouble::Impossible(format!("{open} operations never returned")))
    }

    /// Waits for a condition that counts from now.
    pub(super) async fn wait_for(
        &mut self,
        condition: &Condition,
        within: Duration,
    ) -> Result<(), Trouble> {
        self.catch_up()?;
        self.since = self.seen.tally.mark();
        self.wait_since(condition, within).await
    }

    /// Follows the journal until something was seen (true) or the deadline (false).
    pub(super) async fn follow_until(
        &mut self,
        deadline: Instant,
        enough: impl Fn(&Seen) -> bool,
    ) -> Result<bool, DrillError> {
        loop {
            self.catch_up()?;
            if enough(&self.seen) {
                return Ok(true);
            }
            match timeout_at(deadline, self.follower.ready()).await {
                Ok(ready) => ready?,
                Err(_) => return Ok(false),
            }
        }
    }

    /// Reads everything that is in the journal now.
    pub(super) fn catch_up(&mut self) -> Result<(), DrillError> {
        loop {
            let events = self.follower.take(BATCH)?;
            for event in &events {
                self.seen.take(event);
                self.judges.observe(event);
                if let Some(scorer) = &mut self.scorer {
                    scorer.observe(event);
                }
                if let Some((_, measures)) = &mut self.lesson {
                    measures.observe(event);
                }
            }
            if events.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Submits a command and waits until it is done.
    pub(super) async fn submit(&mut self, command: Command) -> Result<(), Trouble> {
        submitted(self.lab.submit(By::Drill, lasting(self.lasts, command)).await)
    }

    /// Submits one command for each member at once, and waits until all are done.
    pub(super) async fn submit_each(
        &mut self,
        members: &BTreeSet<MemberNo>,
        command: impl Fn(MemberNo) -> Command,
    ) -> Result<(), Trouble> {
        let (lab, lasts) = (&self.lab, self.lasts);
        let submits =
            members.iter().map(|member| lab.submit(By::Drill, lasting(lasts, command(*member))));
        for answer in futures_util::future::join_all(submits).await {
            submitted(answer)?;
        }
        Ok(())
    }

    /// Notes what a claim came to; its trouble goes on.
    pub(super) fn claim(
        &mut self,
        check: &str,
        guards: &str,
        result: Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let (judgement, because) = match &result {
            Ok(()) | Err(Trouble::Lab(_)) => return result,
            Err(Trouble::Impossible(why)) => (Judgement::Unknown, why.clone()),
            Err(Trouble::Broken(why)) => (Judgement::Invalid, why.clone()),
        };
        self.say(&format!("     {because}"));
        let evidence = vec![self.seen.tally.state.seq];
        let (check, guards) = (check.to_owned(), guards.to_owned());
        self.claims.push(CheckResult { check, guards, judgement, because, evidence });
        result
    }

    /// What the checks and the steps' claims say now.
    pub(super) fn verdict(&self, name: &str) -> Verdict {
        let results = self.claims.iter().cloned();
        Verdict::of(name, results.chain(self.judges.results()).collect())
    }

    pub(super) fn say(&mut self, line: &str) {
        (self.progress)(line);
    }
}

/// A command that is undone by itself after so many milliseconds, if it is.
fn lasting(lasts: Option<u64>, command: Command) -> Command {
    match lasts {
        Some(millis) => Command::For { millis, command: Box::new(command) },
        None => command,
    }
}

fn submitted(answer: Result<lab_protocol::CommandId, SubmitError>) -> Result<(), Trouble> {
    match answer {
        Ok(_) => Ok(()),
        Err(SubmitError::Refused { why, .. }) => Err(Trouble::Impossible(why)),
        Err(SubmitError::Ended) => Err(Trouble::Lab(DrillError::Ended)),
    }
}

pub(super) fn returned(
    done: Result<Result<(), String>, tokio::task::JoinError>,
) -> Result<(), Trouble> {
    match done {
        Ok(answer) => answer.map_err(Trouble::Impossible),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
