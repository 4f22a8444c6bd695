//! What the sentences of faults ask of the lab.

use std::collections::BTreeSet;

use lab_protocol::scenario::{FaultVerb, LinkWord, Named, Shape, Span, Target};
use lab_protocol::{Command, Fault, Grudge, HeldOrder, Kinds, Link, LinkCondition, MemberNo};

use super::runner::{Runner, Trouble};

type Members = BTreeSet<MemberNo>;

impl Runner<'_> {
    /// Carries a sentence of a fault out.
    pub(super) async fn fault(&mut self, verb: &FaultVerb) -> Result<(), Trouble> {
        let scale = self.seen.tally.scale;
        let span = |span: Span| span.millis(scale);
        match verb {
            FaultVerb::Hold { link } => self.condition(link, LinkCondition::Held).await,
            FaultVerb::Refuse { link } => self.condition(link, LinkCondition::Refused).await,
            FaultVerb::HalfOpen { link } => self.condition(link, LinkCondition::HalfOpen).await,
            FaultVerb::Throttle { link, bytes_per_second } => {
                let bytes_per_second = *bytes_per_second;
                self.condition(link, LinkCondition::Throttled { bytes_per_second }).await
            }
            FaultVerb::Mangle { link, how, percent, only } => {
                let (how, percent, only) = (*how, *percent, *only);
                self.condition(link, LinkCondition::Mangled { how, percent, only }).await
            }
            FaultVerb::Reset { link } => self.links(link, |link| Command::ResetLink { link }).await,
            FaultVerb::Flap { link, up, down } => {
                let (up_millis, down_millis) = (span(*up), span(*down));
                let fault = |link| Fault::Flapping { link, up_millis, down_millis };
                self.links(link, |link| Command::Inject { fault: fault(link) }).await
            }
            FaultVerb::Shape(shape) => self.shape(shape).await,
            FaultVerb::HeldMessages { order, link, only, times } => {
                self.held_messages(*order, link, *only, *times).await
            }
            FaultVerb::Starve { who, percent } => {
                let percent = *percent;
                self.inject(who, |member| Fault::Starved { member, percent }).await
            }
            FaultVerb::KeepRestarting { who, up, down } => {
                let (up_millis, down_millis) = (span(*up), span(*down));
                let fault = |member| Fault::Restarting { member, up_millis, down_millis };
                self.inject(who, fault).await
            }
            FaultVerb::SlowDisk { who, by } => {
                let millis = span(*by);
                self.inject(who, |member| Fault::SlowSync { member, millis }).await
            }
            FaultVerb::StickDisk { who } => {
                self.inject(who, |member| Fault::StuckSync { member }).await
            }
            FaultVerb::FailDisk { who } => {
                self.inject(who, |member| Fault::FailingSync { member }).await
            }
            FaultVerb::FillDisk { who } => {
                self.inject(who, |member| Fault::FullDisk { member }).await
            }
            FaultVerb::LockDisk { who } => {
                self.inject(who, |member| Fault::ReadOnlyDisk { member }).await
            }
            FaultVerb::DriftClock { who, permille } => {
                let permille = *permille;
                self.inject(who, |member| Fault::DriftingClock { member, permille }).await
            }
            FaultVerb::FreezeClock { who } => {
                self.inject(who, |member| Fault::FrozenClock { member }).await
            }
            FaultVerb::JumpClock { who, millis } => {
                let millis = *millis;
                self.each(who.clone(), |member| Command::JumpClock { member, millis }).await
            }
            FaultVerb::Tick { target, ticks } => {
                let ticks = *ticks;
                let command = |member| Command::GrantTicks { member, ticks };
                self.each((target.clone(), None), command).await
            }
            FaultVerb::Timers { ticks, apart } => {
                self.submit(Command::SetTimers { ticks: *ticks, apart: *apart }).await
            }
            FaultVerb::Campaign { target } => {
                self.each((target.clone(), None), |member| Command::Campaign { member }).await
            }
            FaultVerb::Lift { target } => self.lift(target).await,
            FaultVerb::DamageFile { target, file, damage } => {
                let (file, damage) = (*file, *damage);
                let command = |member| Command::DamageMember { member, file, damage };
                self.each((target.clone(), None), command).await
            }
            FaultVerb::LosePower { who } => {
                self.each(who.clone(), |member| Command::LosePower { member }).await
            }
            FaultVerb::CrashAt { who, failpoint } => {
                let command = |member| Command::CrashAt { member, failpoint: failpoint.clone() };
                self.each(who.clone(), command).await
            }
        }
    }

    async fn condition(
        &mut self,
        word: &LinkWord,
        condition: LinkCondition,
    ) -> Result<(), Trouble> {
        self.links(word, |link| Command::SetLink { link, condition }).await
    }

    async fn inject(
        &mut self,
        who: &Named,
        fault: impl Fn(MemberNo) -> Fault,
    ) -> Result<(), Trouble> {
        self.each(who.clone(), |member| Command::Inject { fault: fault(member) }).await
    }

    /// Takes off whatever acts at these members.
    async fn lift(&mut self, target: &Target) -> Result<(), Trouble> {
        let members = self.find(target, &Members::new())?;
        let faults: Vec<_> =
            self.seen.tally.state.faults.iter().map(|active| active.fault).collect();
        let of_them =
            |fault: &Fault| fault.member().is_some_and(|member| members.contains(&member));
        let faults: Vec<_> = faults.into_iter().filter(of_them).collect();
        if faults.is_empty() {
            return Err(Trouble::Impossible(format!("nothing acts at {target}")));
        }
        for fault in faults {
            self.submit(Command::Lift { fault }).await?;
        }
        Ok(())
    }

    async fn shape(&mut self, shape: &Shape) -> Result<(), Trouble> {
        let mut all: Vec<_> = self.seen.tally.state.taking_part().map(|(no, _)| no).collect();
        let grudge = match shape {
            Shape::Halves => {
                all = self.draws.shuffled(&all.into_iter().collect());
                let (left, right) = all.split_at(all.len() / 2);
                let sides = [left, right].map(|side| side.iter().copied().collect());
                Grudge::groups(&all, &sides)
            }
            Shape::Ring => Grudge::ring(&all),
            Shape::Chain => Grudge::chain(&all),
            Shape::Bridge { over } => Grudge::bridge(&all, self.one(over)?),
            Shape::Star { around } => Grudge::star(&all, self.one(around)?),
            Shape::Mute { target } => Grudge::mute(&all, &self.find(target, &Members::new())?),
            Shape::Deafen { target } => Grudge::deafen(&all, &self.find(target, &Members::new())?),
        };
        self.submit(Command::Partition { grudge }).await
    }

    fn one(&mut self, target: &Target) -> Result<MemberNo, Trouble> {
        let found = self.find(target, &Members::new())?;
        Ok(*found.first().expect("a target is never nobody"))
    }

    /// Does something to messages that links hold, oldest first.
    async fn held_messages(
        &mut self,
        order: HeldOrder,
        word: &LinkWord,
        only: Kinds,
        times: Option<u32>,
    ) -> Result<(), Trouble> {
        let links: BTreeSet<Link> = self.links_of(word)?;
        self.catch_up()?;
        let meant = self
            .seen
            .tally
            .state
            .held
            .values()
            .filter(|message| links.contains(&message.link) && only.has(message.kind));
        let most = times.map_or(usize::MAX, |times| times as usize);
        let numbers: Vec<_> = meant.map(|message| message.number).take(most).collect();
        let wanted = times.map_or(1, |times| times as usize);
        if numbers.len() < wanted {
            return Err(Trouble::Impossible(format!(
                "{} messages of kind {} are held there, not {wanted}",
                numbers.len(),
                only.word()
            )));
        }
        for number in numbers {
            self.submit(Command::Held { number, order }).await?;
        }
        Ok(())
    }
}
