//! What goes wrong in a lifetime, and when: drawn from the seed before it begins.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A fault, or its end. Members and sides are places, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process ends; what it wrote is in the page cache.
    Crash(usize),
    /// The machine loses power: of what was not synced some sectors survive.
    PowerLoss(usize),
    /// The machine loses power in the middle of its `after`-th sync from now on.
    PowerLossInSync(usize, u64),
    /// The `after`-th sync from now on fails, and the process with it.
    SyncFails(usize, u64),
    /// The process starts again from its disk, if it is down.
    Restart(usize),
    /// The process stands still.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// Each sync of the member takes so many microseconds; 0 ends it.
    SlowDisk(usize, u64),
    /// Nothing passes between the two sides. Bit `n` is set for members of the one.
    Partition(u16),
    /// Nothing passes in one direction.
    CutLink(usize, usize),
    /// Messages take so many microseconds more, at most; 0 ends it.
    SlowNetwork(u64),
    /// So many of a thousand messages are lost.
    Lossy(u32),
    /// So many of a thousand messages arrive twice, the second time later.
    Repeating(u32),
    /// All links are whole again, and fast.
    HealNetwork,
}

impl Action {
    /// Every kind of fault there is.
    pub const KINDS: [&'static str; 11] = [
        "crash",
        "power loss",
        "power loss in a sync",
        "failing sync",
        "pause",
        "slow disk",
        "partition",
        "one-way cut",
        "slow network",
        "lost messages",
        "repeated messages",
    ];

    /// Its kind, one of [`KINDS`](Self::KINDS), for the tally; `None` for what only ends a fault.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Crash(_) => Some("crash"),
            Self::PowerLoss(_) => Some("power loss"),
            Self::PowerLossInSync(..) => Some("power loss in a sync"),
            Self::SyncFails(..) => Some("failing sync"),
            Self::Pause(_) => Some("pause"),
            Self::SlowDisk(..) => Some("slow disk"),
            Self::Partition(_) => Some("partition"),
            Self::CutLink(..) => Some("one-way cut"),
            Self::SlowNetwork(_) => Some("slow network"),
            Self::Lossy(_) => Some("lost messages"),
            Self::Repeating(_) => Some("repeated messages"),
            Self::Restart(_) | Self::Resume(_) | Self::HealNetwork => None,
        }
    }
}

/// The faults of a lifetime, in the order of their times (microseconds).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many members.
    pub members: usize,
    /// When what happens.
    pub actions: Vec<(u64, Action)>,
}

/// Faults begin no earlier: a leader is there by then.
const FIRST_MICROS: u64 = 500_000;

/// And no later: what comes behind is for recovering.
pub(crate) const LAST_MICROS: u64 = 9_000_000;

impl Plan {
    /// Draws the faults of a cluster of `members`.
    pub fn draw(random: &mut ChaCha8Rng, members: usize) -> Self {
        let mut actions = Vec::new();
        let mut at = FIRST_MICROS;
        loop {
            at += random.random_range(50_000..900_000);
            if at >= LAST_MICROS {
                break;
            }
            let member = random.random_range(0..members);
            let lasts = at + random.random_range(20_000..2_500_000);
            match random.random_range(0..100) {
                0..12 => {
                    actions.push((at, Action::Crash(member)));
                    actions.push((lasts, Action::Restart(member)));
                }
                12..22 => {
                    actions.push((at, Action::PowerLoss(member)));
                    actions.push((lasts, Action::Restart(member)));
                }
                22..28 => {
                    let after = random.random_range(0..20);
                    actions.push((at, Action::PowerLossInSync(member, after)));
                    actions.push((lasts, Action::Restart(member)));
                }
                28..33 => {
                    actions.push((at, Action::SyncFails(member, random.random_range(0..20))));
                    actions.push((lasts, Action::Restart(member)));
                }
                // Everybody at once: power is shared.
                33..38 => {
                    for member in 0..members {
                        actions.push((at, Action::PowerLoss(member)));
                        let lasts = at + random.random_range(20_000..1_500_000);
                        actions.push((lasts, Action::Restart(member)));
                    }
                }
                38..48 => {
                    actions.push((at, Action::Pause(member)));
                    actions.push((lasts, Action::Resume(member)));
                }
                48..54 => {
                    let micros = random.random_range(5_000..400_000);
                    actions.push((at, Action::SlowDisk(member, micros)));
                    actions.push((lasts, Action::SlowDisk(member, 0)));
                }
                54..72 => {
                    let side = random.random_range(1..(1 << members) - 1);
                    actions.push((at, Action::Partition(side)));
                    actions.push((lasts, Action::HealNetwork));
                }
                72..82 => {
                    let other = (member + random.random_range(1..members)) % members;
                    actions.push((at, Action::CutLink(member, other)));
                    actions.push((lasts, Action::HealNetwork));
                }
                82..88 => {
                    let micros = random.random_range(10_000..300_000);
                    actions.push((at, Action::SlowNetwork(micros)));
                    actions.push((lasts, Action::SlowNetwork(0)));
                }
                88..94 => {
                    actions.push((at, Action::Lossy(random.random_range(10..400))));
                    actions.push((lasts, Action::Lossy(0)));
                }
                _ => {
                    actions.push((at, Action::Repeating(random.random_range(10..500))));
                    actions.push((lasts, Action::Repeating(0)));
                }
            }
        }
        actions.retain(|(at, _)| *at < LAST_MICROS);
        actions.sort_by_key(|(at, _)| *at);
        Self { members, actions }
    }
}
