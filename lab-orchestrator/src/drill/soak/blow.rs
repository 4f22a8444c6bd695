//! Blows: what is done to a cluster for a while, and how it is undone.

use std::collections::BTreeSet;

use lab_protocol::{
    Command, Fault, Grudge, Kinds, LabState, Link, LinkCondition, Mangling, MemberNo, Process,
};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

/// A fault for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blow {
    /// What it is, one of [`KINDS`].
    pub(super) kind: &'static str,
    pub(super) begin: Vec<Command>,
    pub(super) end: Vec<Command>,
    /// The members that nothing else is done to meanwhile.
    pub(super) at: BTreeSet<MemberNo>,
    /// Their processes may end by themselves.
    pub(super) may_end: bool,
}

/// Every kind, as it is told.
pub(super) const KINDS: [&str; 36] = [
    "crash",
    "crash a minority",
    "crash all",
    "stop",
    "pause",
    "restart again and again",
    "starve",
    "isolate",
    "halves",
    "bridge",
    "majorities ring",
    "star",
    "chain",
    "mute",
    "deafen",
    "cut one way",
    "delay",
    "throttle",
    "hold",
    "refuse",
    "half open",
    "flap",
    "drop messages",
    "repeat messages",
    "reorder messages",
    "reset connections",
    "clients cut off",
    "answers lost",
    "slow disk",
    "stuck disk",
    "dying disk",
    "full disk",
    "read-only disk",
    "slow clock",
    "frozen clock",
    "jumping clock",
];

/// Kinds that need the training program.
pub(super) const TRAINING: [&str; 1] = ["power loss"];

/// Kinds that have no end of their own.
pub(super) const AT_ONCE: [&str; 2] = ["campaign", "hand over"];

/// All kinds, for who counts them.
pub(super) fn kinds(training: bool) -> impl Iterator<Item = &'static str> {
    let training = TRAINING.into_iter().filter(move |_| training);
    KINDS.into_iter().chain(AT_ONCE).chain(training)
}

/// Draws blows.
pub(super) struct Draw<'a> {
    pub(super) state: &'a LabState,
    pub(super) draws: &'a mut ChaCha8Rng,
    /// Members that nothing may be done to.
    pub(super) spared: &'a BTreeSet<MemberNo>,
}

impl Draw<'_> {
    /// A blow of this kind, if there is anybody to hit.
    pub(super) fn of_kind(&mut self, kind: &'static str) -> Option<Blow> {
        let all: Vec<MemberNo> = self.state.taking_part().map(|(no, _)| no).collect();
        let links = |links: Vec<Link>, condition: LinkCondition| Blow {
            kind,
            begin: links.iter().map(|link| Command::SetLink { link: *link, condition }).collect(),
            end: links.iter().map(|link| Command::Heal { link: *link }).collect(),
            at: BTreeSet::new(),
            may_end: false,
        };
        let shape = |grudge: Grudge| links(grudge.cuts(), LinkCondition::Cut);
        let processes = |hit: &BTreeSet<MemberNo>, begin: fn(MemberNo) -> Command| Blow {
            kind,
            begin: hit.iter().map(|member| begin(*member)).collect(),
            end: hit.iter().map(|member| Command::Restart { member: *member }).collect(),
            at: hit.clone(),
            may_end: false,
        };
        let crash = |member| Command::Crash { member };
        let blow = match kind {
            "crash" => processes(&[self.one()?].into(), crash),
            "stop" => processes(&[self.one()?].into(), |member| Command::Stop { member }),
            "power loss" => {
                processes(&[self.one()?].into(), |member| Command::LosePower { member })
            }
            "crash a minority" => {
                let mut hit = self.unspared();
                hit.shuffle(self.draws);
                hit.truncate((all.len() - 1) / 2);
                (!hit.is_empty()).then(|| processes(&hit.into_iter().collect(), crash))?
            }
            "crash all" => {
                let hit: BTreeSet<_> = self.unspared().into_iter().collect();
                (hit.len() == all.len()).then(|| processes(&hit, crash))?
            }
            "pause" => {
                let member = self.one()?;
                let end = vec![Command::Resume { member }];
                Blow { end, ..processes(&[member].into(), |member| Command::Pause { member }) }
            }
            "isolate" => {
                let member = self.any(&all)?;
                let others = all.iter().copied().filter(|other| *other != member);
                let pairs = others.flat_map(|other| both(member, other));
                links(pairs.collect(), LinkCondition::Cut)
            }
            "halves" => {
                let mut all = all.clone();
                all.shuffle(self.draws);
                let (one, two) = all.split_at(all.len() / 2);
                let sides = [one, two].map(|side| side.iter().copied().collect());
                shape(Grudge::groups(&all, &sides))
            }
            "bridge" => shape(Grudge::bridge(&all, self.any(&all)?)),
            "star" => shape(Grudge::star(&all, self.any(&all)?)),
            "majorities ring" => shape(Grudge::ring(&self.shuffled(&all))),
            "chain" => shape(Grudge::chain(&self.shuffled(&all))),
            "mute" => shape(Grudge::mute(&all, &[self.any(&all)?].into())),
            "deafen" => shape(Grudge::deafen(&all, &[self.any(&all)?].into())),
            "cut one way" => links(vec![self.link(&all)?], LinkCondition::Cut),
            "delay" => {
                let millis = self.draws.random_range(5..400);
                let condition = LinkCondition::Delayed { millis, jitter_millis: millis / 2 };
                links(self.of_member(&all)?, condition)
            }
            "throttle" => {
                let bytes_per_second = self.draws.random_range(2_000..100_000);
                links(self.of_member(&all)?, LinkCondition::Throttled { bytes_per_second })
            }
            "hold" => links(vec![self.link(&all)?], LinkCondition::Held),
            "refuse" => links(self.of_member(&all)?, LinkCondition::Refused),
            "half open" => links(self.of_member(&all)?, LinkCondition::HalfOpen),
            "flap" => {
                let (up, down) =
                    (self.draws.random_range(100..900), self.draws.random_range(100..900));
                let link = self.link(&all)?;
                injected(kind, Fault::Flapping { link, up_millis: up, down_millis: down })
            }
            "drop messages" | "repeat messages" | "reorder messages" => {
                let how = match kind {
                    "drop messages" => Mangling::Drop,
                    "repeat messages" => Mangling::Duplicate,
                    _ => Mangling::Reorder,
                };
                let percent = self.draws.random_range(5..60);
                let only = Kinds::Any;
                links(self.of_member(&all)?, LinkCondition::Mangled { how, percent, only })
            }
            "reset connections" => {
                let link = self.link(&all)?;
                Blow {
                    begin: vec![Command::ResetLink { link }],
                    end: vec![],
                    ..links(vec![], LinkCondition::Open)
                }
            }
            "clients cut off" => {
                links(both(MemberNo::CLIENTS, self.any(&all)?).into(), LinkCondition::Cut)
            }
            "answers lost" => {
                let link = Link { from: self.any(&all)?, to: MemberNo::CLIENTS };
                links(vec![link], LinkCondition::Cut)
            }
            "restart again and again" => {
                let (up, down) =
                    (self.draws.random_range(300..2_000), self.draws.random_range(50..900));
                let member = self.one()?;
                let fault = Fault::Restarting { member, up_millis: up, down_millis: down };
                ends_up(injected(kind, fault), member)
            }
            "starve" => {
                let percent = self.draws.random_range(5..60);
                injected(kind, Fault::Starved { member: self.one()?, percent })
            }
            "slow disk" => {
                let millis = self.draws.random_range(5..300);
                injected(kind, Fault::SlowSync { member: self.one()?, millis })
            }
            "stuck disk" => injected(kind, Fault::StuckSync { member: self.one()? }),
            "dying disk" => self.of_disk(kind, |member| Fault::FailingSync { member })?,
            "full disk" => self.of_disk(kind, |member| Fault::FullDisk { member })?,
            "read-only disk" => self.of_disk(kind, |member| Fault::ReadOnlyDisk { member })?,
            "slow clock" => {
                let permille = self.draws.random_range(100..1_000);
                injected(kind, Fault::DriftingClock { member: self.one()?, permille })
            }
            "frozen clock" => injected(kind, Fault::FrozenClock { member: self.one()? }),
            "jumping clock" => {
                let millis = self.draws.random_range(-7_200_000..7_200_000);
                self.at_once(kind, |member| Command::JumpClock { member, millis })?
            }
            "campaign" => self.at_once(kind, |member| Command::Campaign { member })?,
            "hand over" => self.at_once(kind, |to| Command::TransferLeadership { to })?,
            other => unreachable!("{other} is no kind of blow"),
        };
        // Of three members each hears a majority anyway.
        (!blow.begin.is_empty()).then_some(blow)
    }

    /// Members whose process runs and to whom nothing is done.
    fn unspared(&self) -> Vec<MemberNo> {
        let here = self.state.taking_part();
        let up = here.filter(|(_, member)| matches!(member.process, Process::Up { .. }));
        up.map(|(no, _)| no).filter(|no| !self.spared.contains(no)).collect()
    }

    /// One of those; the leader more often than its share.
    fn one(&mut self) -> Option<MemberNo> {
        let all = self.unspared();
        let leader = self.state.leader().filter(|leader| all.contains(leader));
        match leader {
            Some(leader) if self.draws.random_ratio(1, 4) => Some(leader),
            _ => all.choose(self.draws).copied(),
        }
    }

    fn any(&mut self, all: &[MemberNo]) -> Option<MemberNo> {
        (all.len() > 1).then(|| all.choose(self.draws).copied())?
    }

    fn shuffled(&mut self, all: &[MemberNo]) -> Vec<MemberNo> {
        let mut all = all.to_vec();
        all.shuffle(self.draws);
        all
    }

    fn link(&mut self, all: &[MemberNo]) -> Option<Link> {
        let from = self.any(all)?;
        let others: Vec<_> = all.iter().copied().filter(|other| *other != from).collect();
        Some(Link { from, to: *others.choose(self.draws)? })
    }

    /// All links of one member, both ways.
    fn of_member(&mut self, all: &[MemberNo]) -> Option<Vec<Link>> {
        let member = self.any(all)?;
        let others = all.iter().copied().filter(|other| *other != member);
        Some(others.flat_map(|other| both(member, other)).collect())
    }

    fn of_disk(&mut self, kind: &'static str, fault: fn(MemberNo) -> Fault) -> Option<Blow> {
        let member = self.one()?;
        Some(ends_up(injected(kind, fault(member)), member))
    }

    fn at_once(
        &mut self,
        kind: &'static str,
        command: impl Fn(MemberNo) -> Command,
    ) -> Option<Blow> {
        let member = self.one()?;
        let (begin, at) = (vec![command(member)], [member].into());
        Some(Blow { kind, begin, end: vec![], at, may_end: false })
    }
}

fn both(one: MemberNo, two: MemberNo) -> [Link; 2] {
    [Link { from: one, to: two }, Link { from: two, to: one }]
}

fn injected(kind: &'static str, fault: Fault) -> Blow {
    Blow {
        kind,
        begin: vec![Command::Inject { fault }],
        end: vec![Command::Lift { fault }],
        at: fault.member().into_iter().collect(),
        may_end: false,
    }
}

/// A blow of which a process may end by itself: it is started again.
fn ends_up(mut blow: Blow, member: MemberNo) -> Blow {
    blow.end.push(Command::Restart { member });
    Blow { may_end: true, ..blow }
}

/// The kinds that are still to be dealt before any is dealt again.
#[derive(Debug)]
pub(super) struct Bag {
    left: Vec<&'static str>,
    training: bool,
}

impl Bag {
    /// All kinds are in it.
    pub(super) fn new(training: bool) -> Self {
        Self { left: kinds(training).collect(), training }
    }

    /// A blow of one of the kinds that are left and can be dealt now; none if none can.
    pub(super) fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Blow> {
        self.left.shuffle(draw.draws);
        let drawn = self.left.iter().enumerate();
        let drawn = drawn.map(|(place, kind)| (place, draw.of_kind(kind)));
        let drawn = drawn.filter_map(|(place, blow)| Some((place, blow?))).next();
        let blow = drawn.map(|(place, blow)| {
            self.left.swap_remove(place);
            blow
        });
        // What is left although nobody is spared cannot be dealt to this cluster at all.
        if self.left.is_empty() || blow.is_none() && draw.spared.is_empty() {
            *self = Self::new(self.training);
        }
        blow
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::{Event, MemberPlan, Numbered};
    use rand::SeedableRng as _;

    use super::*;

    fn lab(members: u8) -> LabState {
        let plans = (1..=members).map(|no| MemberPlan {
            member: MemberNo(no),
            client_url: String::new(),
            peer_url: String::new(),
        });
        let begun = Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: plans.collect(),
        };
        let up = (1..=members)
            .map(|no| Event::Process { member: MemberNo(no), process: Process::Up { pid: 1 } });
        let mut state = LabState::default();
        for (seq, event) in (1..).zip(std::iter::once(begun).chain(up)) {
            state.apply(&Numbered { seq, at_micros: seq, event }, true);
        }
        state
    }

    #[test]
    fn all_kinds_come_again_though_one_cannot() {
        let (state, spared) = (lab(3), BTreeSet::new());
        let mut draws = ChaCha8Rng::seed_from_u64(3);
        let mut bag = Bag::new(false);
        let mut dealt = std::collections::BTreeMap::new();
        for _ in 0..10 * KINDS.len() {
            let draw = &mut Draw { state: &state, draws: &mut draws, spared: &spared };
            if let Some(blow) = bag.draw(draw) {
                *dealt.entry(blow.kind).or_insert(0) += 1;
            }
        }
        assert!(!dealt.contains_key("majorities ring"), "three members have no such ring");
        let least = dealt.values().min().copied().expect("some");
        assert!(dealt.len() + 4 > KINDS.len() && least >= 9, "{dealt:?}");
    }

    #[test]
    fn every_kind_hits_somebody_and_what_is_spared_is_not_hit() {
        for members in [3, 5] {
            let state = lab(members);
            let mut draws = ChaCha8Rng::seed_from_u64(3);
            for kind in kinds(true) {
                let spared = BTreeSet::new();
                let mut draw = Draw { state: &state, draws: &mut draws, spared: &spared };
                let blow = draw.of_kind(kind);
                assert!(blow.is_some() || (kind, members) == ("majorities ring", 3), "{kind}");
                let spared: BTreeSet<_> = (1..=members).map(MemberNo).collect();
                let mut draw = Draw { state: &state, draws: &mut draws, spared: &spared };
                let hit = draw.of_kind(kind).map(|blow| blow.at).unwrap_or_default();
                assert!(hit.is_empty(), "{kind} hits {hit:?}");
            }
        }
    }

    #[test]
    fn what_lasts_is_undone() {
        let state = lab(5);
        let mut draws = ChaCha8Rng::seed_from_u64(3);
        let spared = BTreeSet::new();
        for kind in KINDS {
            let mut draw = Draw { state: &state, draws: &mut draws, spared: &spared };
            let blow = draw.of_kind(kind).expect(kind);
            let at_once = matches!(kind, "reset connections" | "jumping clock");
            assert_eq!(blow.end.is_empty(), at_once, "{kind}");
        }
    }
}
