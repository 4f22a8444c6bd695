//! One lifetime from its seed to its judgement.

use lab_check::{
    AckedNotLost, Check, ElectionSafety, LeaderAppendOnly, LeaderCompleteness, LeaseNotEarly,
    Linearizable, LogMatching, MembersEqual, StateMachineSafety, WatchGuarantees,
};
use lab_protocol::{Judgement, Numbered};
use node::training::Planted;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::plan::Plan;
use crate::tally::Tally;
use crate::world::World;

/// How lifetimes are made.
#[derive(Clone, Copy)]
pub struct Settings {
    /// How many members; 2 to 9.
    pub members: usize,
    /// A planted bug, in the training build.
    pub planted: Planted,
}

/// What became of a lifetime.
pub struct Outcome {
    /// Where everything came from.
    pub seed: u64,
    /// What went wrong in it, as planned.
    pub plan: Plan,
    /// The rules that were broken, with what shows it; what the world itself saw comes first.
    pub violations: Vec<String>,
    /// The lab's events.
    pub journal: Vec<Numbered>,
    /// Stands for everything that was sent, applied, said and answered.
    pub trace: u64,
    /// What happened, counted.
    pub tally: Tally,
}

/// Lives the lifetime of a seed.
pub fn run(seed: u64, settings: Settings) -> Outcome {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    run_plan(seed, Plan::draw(&mut random, settings.members), settings)
}

/// Lives the lifetime of a seed with these faults instead of its own.
pub fn run_plan(seed: u64, plan: Plan, settings: Settings) -> Outcome {
    let (lived, journal, trace, tally) = match World::new(seed, &plan, settings.planted) {
        Ok(world) => world.live(),
        Err(why) => (Err(why), Vec::new(), 0, Tally::default()),
    };
    let violations = lived.err().into_iter().chain(judged(&journal)).collect();
    Outcome { seed, plan, violations, journal, trace, tally }
}

impl Outcome {
    /// The first violation; `None` when every rule held.
    pub fn violation(&self) -> Option<&str> {
        self.violations.first().map(String::as_str)
    }
}

/// The lab's checks that judge a lifetime.
pub fn checks() -> [Box<dyn Check>; 10] {
    [
        Box::new(ElectionSafety::default()),
        Box::new(LeaderAppendOnly::default()),
        Box::new(LogMatching::default()),
        Box::new(LeaderCompleteness::default()),
        Box::new(StateMachineSafety::default()),
        Box::new(AckedNotLost::new(0)),
        Box::new(Linearizable::new(0)),
        Box::new(MembersEqual::default()),
        Box::new(LeaseNotEarly::new(0)),
        Box::new(WatchGuarantees::new(0)),
    ]
}

/// What the lab's checks find broken.
fn judged(journal: &[Numbered]) -> Vec<String> {
    let mut checks = checks();
    for event in journal {
        for check in &mut checks {
            check.observe(event);
        }
    }
    checks
        .iter()
        .map(|check| check.verdict())
        .filter(|result| result.judgement == Judgement::Invalid)
        .map(|result| {
            format!("{}: {} (events {:?})", result.check, result.because, result.evidence)
        })
        .collect()
}
