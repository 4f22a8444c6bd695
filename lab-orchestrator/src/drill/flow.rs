//! How a scenario's steps go by: lists of sentences beside each other, each in its own time.
//!
//! ```text
//!  step ─┬─ do        ─ sentence ─ sentence ─ …
//!        ├─ together  ─ sentence ─ wait 2s ─ sentence ─ …      one after the other is carried out;
//!        │            ─ wait until … ─ sentence ─ …            only waiting goes on beside others
//!        └─ mix       ─ one that is drawn, every now and then
//!             all at their ends ─► wait_until ─► hold
//! ```

use std::time::Duration;

use lab_check::{convergence, holds};
use lab_protocol::scenario::{Action, Condition, Mix, Scenario, Span, Step, TimeUnit, Verb};
use lab_protocol::{Command, Link, LinkCondition};
use tokio::time::{Instant, timeout_at};

use super::draws::{Draws, Spot};
use super::runner::{DrillError, Runner, Trouble, returned};

/// How long a cluster may take to form before the first step.
const FORM: Duration = Duration::from_secs(30);

/// How long something is waited for when a scenario does not say.
const PATIENCE: Span = Span::Tenths(100, TimeUnit::ElectionTimeout);

/// The list of a step's `one_of`, whose place in a step is behind all others.
const ONE_OF: u32 = u32::MAX;

/// One list of sentences on its way.
struct Track<'s> {
    number: u32,
    sentences: Sentences<'s>,
    due: Due,
}

/// What a list has still to say.
enum Sentences<'s> {
    /// These, from the `next`-th on.
    List { next: u32, rest: std::slice::Iter<'s, Action> },
    /// Any of these, until then.
    Mix { next: u32, mix: &'s Mix, until: Instant },
}

/// When a list goes on.
enum Due {
    At(Instant),
    When { condition: Condition, within: Duration, deadline: Instant },
    Never,
}

impl Runner<'_> {
    /// Waits for the cluster to form, starts what clients ask, and goes through all steps.
    pub(super) async fn steps(&mut self, scenario: &Scenario) -> Result<(), Trouble> {
        if scenario.cluster.hold_back.is_empty() {
            let formed = self.wait_for(&Condition::AllAgree, FORM).await;
            self.claim("the start", "the cluster forms", formed)?;
        }
        self.far_apart().await?;
        if let Some(wish) = &scenario.workload {
            let scale = self.seen.tally.scale;
            self.submit(Command::SetWorkload { spec: wish.spec(scale) }).await?;
            if let Some(mix) = wish.errands(scale) {
                self.submit(Command::SetMix { mix }).await?;
            }
            if wish.watches > 0 {
                self.submit(Command::SetWatches { count: wish.watches }).await?;
            }
        }
        self.sequence(0, &scenario.steps).await
    }

    /// Steps one after the other, behind so many others.
    pub(super) async fn sequence(&mut self, before: u32, steps: &[Step]) -> Result<(), Trouble> {
        let first = Instant::now();
        for (number, step) in (before + 1..).zip(steps) {
            if let Some(at) = step.at {
                let at = first + at.duration(self.seen.tally.scale);
                self.pass_until(at).await?;
            }
            let began = Instant::now();
            let claim = format!("step {number}");
            let name = step.name.as_ref().unwrap_or(&claim);
            if let Some(condition) = &step.when {
                self.catch_up()?;
                if !holds(condition, &self.seen.tally, &self.since) {
                    self.say(&format!("{number:>3}  left out, not `{condition}`: {}", step.say));
                    continue;
                }
            }
            let times = step.repeat.unwrap_or(1);
            for time in 0..times {
                let over = |condition| holds(condition, &self.seen.tally, &self.since);
                if time > 0 && step.until.as_ref().is_some_and(over) {
                    break;
                }
                let text = match times {
                    1 => step.say.clone(),
                    _ => format!("{} ({} of {times})", step.say, time + 1),
                };
                self.say(&format!("{number:>3}  {text}"));
                // Whoever listens to the journal sees the step begin before its first command.
                self.lab.step(number, &text).await.map_err(|_| DrillError::Ended)?;
                self.catch_up()?;
                if time == 0 {
                    self.since = self.seen.tally.mark();
                }
                let done = self.step(number, time, step).await;
                let guards = step
                    .wait_until
                    .as_ref()
                    .map_or_else(|| text.clone(), |condition| format!("{text}: {condition}"));
                self.claim(name, &guards, done)?;
            }
            self.say(&format!("     {:.1} s", began.elapsed().as_secs_f64()));
        }
        Ok(())
    }

    async fn step(&mut self, number: u32, time: u32, step: &Step) -> Result<(), Trouble> {
        let scale = self.seen.tally.scale;
        let now = Instant::now();
        let drawn = match step.one_of.len() {
            0 => None,
            count => {
                let mut draws = Draws::at(self.seed, [number, ONE_OF, 0, time]);
                Some(&step.one_of[draws.below(count)])
            }
        };
        let first = std::iter::once(&step.actions);
        let lists = first.chain(drawn).chain(&step.together);
        let mut tracks: Vec<_> = (0..)
            .zip(lists)
            .map(|(list, actions)| Track {
                number: list,
                sentences: Sentences::List { next: 0, rest: actions.iter() },
                due: Due::At(now),
            })
            .collect();
        // What is drawn is done behind what is done anyway.
        if drawn.is_some() {
            let one_of = tracks.remove(1);
            self.go(number, time, &mut tracks[..1]).await?;
            self.go(number, time, &mut [one_of]).await?;
        }
        if let Some(mix) = &step.mix {
            let until = now + mix.lasts.duration(scale);
            let sentences = Sentences::Mix { next: 0, mix, until };
            tracks.push(Track { number: ONE_OF - 1, sentences, due: Due::At(now) });
        }
        self.go(number, time, &mut tracks).await?;
        if let Some(condition) = &step.wait_until {
            let within = step.within.unwrap_or(PATIENCE).duration(scale);
            self.wait_since(condition, within).await?;
        }
        if let Some(hold) = step.hold {
            self.pass_until(Instant::now() + hold.duration(scale)).await?;
        }
        Ok(())
    }

    /// Goes through lists of sentences beside each other, to all their ends.
    async fn go(&mut self, step: u32, time: u32, tracks: &mut [Track<'_>]) -> Result<(), Trouble> {
        loop {
            self.look()?;
            let now = Instant::now();
            let mut next: Option<Instant> = None;
            let mut waits = false;
            let mut ready = None;
            for (at, track) in tracks.iter().enumerate() {
                match &track.due {
                    Due::At(due) if *due <= now => ready = ready.or(Some(at)),
                    Due::At(due) => next = Some(next.map_or(*due, |next| next.min(*due))),
                    Due::When { condition, within, deadline } => {
                        waits = true;
                        if self.is_so(condition) {
                            ready = ready.or(Some(at));
                        } else if *deadline <= now {
                            return Err(self.in_vain(condition, *within));
                        } else {
                            next = Some(next.map_or(*deadline, |next| next.min(*deadline)));
                        }
                    }
                    Due::Never => {}
                }
            }
            match (ready, next) {
                (Some(at), _) => self.sentence(step, time, &mut tracks[at]).await?,
                (None, None) => return Ok(()),
                (None, Some(next)) if waits => {
                    // What comes of it changes nothing here: the next look says how things are.
                    timeout_at(next, self.something()).await.unwrap_or(Ok(()))?;
                }
                (None, Some(next)) => self.pass_until(next).await?,
            }
        }
    }

    /// Carries the next sentence of a list out.
    async fn sentence(
        &mut self,
        step: u32,
        time: u32,
        track: &mut Track<'_>,
    ) -> Result<(), Trouble> {
        let scale = self.seen.tally.scale;
        let number = track.number;
        track.due = Due::At(Instant::now());
        match &mut track.sentences {
            Sentences::List { next, rest } => {
                let Some(action) = rest.next() else {
                    track.due = Due::Never;
                    return Ok(());
                };
                *next += 1;
                match action.verb() {
                    Verb::Wait(span) => {
                        track.due = Due::At(Instant::now() + span.duration(scale));
                    }
                    Verb::WaitUntil { condition, within } => {
                        let within = within.unwrap_or(PATIENCE).duration(scale);
                        let deadline = Instant::now() + within;
                        track.due = Due::When { condition: condition.clone(), within, deadline };
                    }
                    _ => self.act_at([step, number, *next, time], action).await?,
                }
            }
            Sentences::Mix { next, mix, until } => {
                if Instant::now() >= *until {
                    track.due = Due::Never;
                    return Ok(());
                }
                *next += 1;
                let mut draws = Draws::at(self.seed, [step, number, *next, time]);
                let action = &mix.of[draws.below(mix.of.len())];
                let pause = mix.every.duration(scale).mul_f64(draws.about_one());
                self.say(&format!("     {action}"));
                match self.act_at([step, number, *next, time], action).await {
                    // A mix goes on without what is not possible just now.
                    Err(Trouble::Impossible(why)) => self.say(&format!("     in vain: {why}")),
                    done => done?,
                }
                track.due = Due::At((Instant::now() + pause).min(*until));
            }
        }
        Ok(())
    }

    async fn act_at(&mut self, spot: Spot, action: &Action) -> Result<(), Trouble> {
        self.draws = Draws::at(self.seed, spot);
        self.act(action).await
    }

    /// Members that are far apart: whatever link just delivers does so with half a round trip's
    /// delay.
    pub(super) async fn far_apart(&mut self) -> Result<(), Trouble> {
        let round_trip = self.seen.tally.scale.round_trip;
        if round_trip.is_zero() {
            return Ok(());
        }
        self.catch_up()?;
        let millis = u32::try_from(round_trip.as_millis() / 2).unwrap_or(u32::MAX);
        let state = &self.seen.tally.state;
        let all: Vec<_> = state.taking_part().map(|(no, _)| no).collect();
        let delivers = |link: &Link| {
            state.links.get(link).is_none_or(|now| now.condition == LinkCondition::Open)
        };
        let links: Vec<_> = all
            .iter()
            .flat_map(|&from| all.iter().map(move |&to| Link { from, to }))
            .filter(|link| link.from != link.to && delivers(link))
            .collect();
        for link in links {
            self.submit(Command::Delay { link, millis, jitter_millis: 0 }).await?;
        }
        Ok(())
    }

    /// Waits for a condition, and counts from the step's beginning.
    pub(super) async fn wait_since(
        &mut self,
        condition: &Condition,
        within: Duration,
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + within;
        loop {
            self.look()?;
            if self.is_so(condition) {
                return Ok(());
            }
            match timeout_at(deadline, self.something()).await {
                Ok(told) => told?,
                Err(_) => return Err(self.in_vain(condition, within)),
            }
        }
    }

    /// Lets time pass.
    async fn pass_until(&mut self, at: Instant) -> Result<(), Trouble> {
        loop {
            self.look()?;
            match timeout_at(at, self.something()).await {
                Ok(told) => told?,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Reads the journal up to now, and what single calls came to; fails when the run has to stop.
    fn look(&mut self) -> Result<(), Trouble> {
        self.catch_up()?;
        while let Some(done) = self.calls.try_join_next() {
            returned(done)?;
        }
        let stops = |condition: &&Condition| holds(condition, &self.seen.tally, &self.began);
        match self.stop_if.iter().find(stops) {
            None => Ok(()),
            Some(condition) => {
                let account = convergence::account(&self.seen.tally.state);
                let why = format!("the run was stopped, because `{condition}`; {account}");
                Err(Trouble::Impossible(why))
            }
        }
    }

    /// Until the journal has something new, or a single call has returned. Cancel safe.
    async fn something(&mut self) -> Result<(), Trouble> {
        tokio::select! {
            told = self.follower.ready() => told.map_err(|error| Trouble::Lab(error.into())),
            Some(done) = self.calls.join_next(), if !self.calls.is_empty() => returned(done),
        }
    }

    fn is_so(&self, condition: &Condition) -> bool {
        // A call that was just made may not be in the journal yet.
        (self.calls.is_empty() || !asks_for_answers(condition))
            && holds(condition, &self.seen.tally, &self.since)
    }

    fn in_vain(&self, condition: &Condition, within: Duration) -> Trouble {
        Trouble::Broken(format!(
            "waited {:.1} s for `{condition}`; then {}",
            within.as_secs_f64(),
            convergence::account(&self.seen.tally.state)
        ))
    }
}

fn asks_for_answers(condition: &Condition) -> bool {
    match condition {
        Condition::Answered | Condition::Settled => true,
        Condition::Not(condition) => asks_for_answers(condition),
        Condition::Both(one, other) => asks_for_answers(one) || asks_for_answers(other),
        _ => false,
    }
}
