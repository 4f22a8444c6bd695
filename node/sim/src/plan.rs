//! What goes wrong in a lifetime, and when: drawn from the seed before it begins.

use node::consensus::driver::MESSAGE_BYTES;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A fault, or its end. Members and sides are places, from 0.
///
/// Saved plans name the variants: they keep their names and fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Each sync of the member takes so many microseconds, from [`STUCK_MICROS`](Self::STUCK_MICROS)
    /// on until it ends; 0 ends it.
    SlowDisk(usize, u64),
    /// Nothing passes between the two sides. Bit `n` is set for members of the one.
    Partition(u16),
    /// Nothing passes between this member and the others.
    Isolate(usize),
    /// What isolated this member is over.
    Rejoin(usize),
    /// Nothing passes in one direction.
    CutLink(usize, usize),
    /// Messages take so many microseconds more, at most; 0 ends it.
    SlowNetwork(u64),
    /// So many of a thousand messages are lost.
    Lossy(u32),
    /// So many of a thousand messages arrive twice, the second time later.
    Repeating(u32),
    /// Whoever is elected next is cut off from all others (`true`) or crashes, so many of its
    /// steps after its election.
    LeaderFalls(bool, u32),
    /// The member's wall clock moves by so many milliseconds, at once.
    ClockJump(usize, i64),
    /// All links are whole again, and fast.
    HealNetwork,
    /// The administrator adds a member that has never run; as a learner, or with a vote.
    Add(usize, bool),
    /// The administrator gives a learner a vote.
    Promote(usize),
    /// The administrator gives a member another peer URL.
    Update(usize),
    /// The administrator removes a member for good.
    Remove(usize),
    /// The administrator asks the leader to hand its office to this member.
    MoveLeader(usize),
    /// The alarm that this member is out of space is raised (`true`) or ended.
    Alarm(usize, bool),
    /// The administrator has this member write its state anew, without the room nothing lies in.
    Defragment(usize),
}

impl Action {
    /// A disk whose syncs take this long is stuck: nothing of it comes back before it is well again.
    pub const STUCK_MICROS: u64 = 1_000_000;

    /// The places it names, each a member's.
    fn places(&self) -> Vec<usize> {
        match *self {
            Self::CutLink(from, to) => vec![from, to],
            Self::Crash(place)
            | Self::PowerLoss(place)
            | Self::PowerLossInSync(place, _)
            | Self::SyncFails(place, _)
            | Self::Restart(place)
            | Self::Pause(place)
            | Self::Resume(place)
            | Self::SlowDisk(place, _)
            | Self::Isolate(place)
            | Self::Rejoin(place)
            | Self::ClockJump(place, _)
            | Self::Add(place, _)
            | Self::Promote(place)
            | Self::Update(place)
            | Self::Remove(place)
            | Self::MoveLeader(place)
            | Self::Alarm(place, _)
            | Self::Defragment(place) => vec![place],
            Self::Partition(_)
            | Self::SlowNetwork(_)
            | Self::Lossy(_)
            | Self::Repeating(_)
            | Self::LeaderFalls(..)
            | Self::HealNetwork => Vec::new(),
        }
    }

    /// Whether its measure is one that a lifetime can have.
    fn is_possible(&self) -> bool {
        const DECADE_MILLIS: u64 = 10 * 366 * 86_400_000;
        match *self {
            Self::SlowDisk(_, micros) | Self::SlowNetwork(micros) => micros <= LAST_MICROS,
            Self::Lossy(of_thousand) | Self::Repeating(of_thousand) => of_thousand <= 1000,
            Self::ClockJump(_, millis) => millis.unsigned_abs() <= DECADE_MILLIS,
            Self::CutLink(from, to) => from != to,
            _ => true,
        }
    }

    /// Every kind of fault there is.
    pub const KINDS: [&'static str; 21] = [
        "crash",
        "power loss",
        "power loss in a sync",
        "failing sync",
        "pause",
        "slow disk",
        "stuck disk",
        "clock jump",
        "partition",
        "one-way cut",
        "slow network",
        "lost messages",
        "repeated messages",
        "fallen leader",
        "member added",
        "learner promoted",
        "member updated",
        "member removed",
        "moved leader",
        "alarm",
        "defragmentation",
    ];

    /// Its kind, one of [`KINDS`](Self::KINDS), for the tally; `None` for what only ends a fault.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Crash(_) => Some("crash"),
            Self::PowerLoss(_) => Some("power loss"),
            Self::PowerLossInSync(..) => Some("power loss in a sync"),
            Self::SyncFails(..) => Some("failing sync"),
            Self::Pause(_) => Some("pause"),
            Self::SlowDisk(_, Self::STUCK_MICROS..) => Some("stuck disk"),
            Self::SlowDisk(..) => Some("slow disk"),
            Self::ClockJump(..) => Some("clock jump"),
            Self::Partition(_) | Self::Isolate(_) => Some("partition"),
            Self::CutLink(..) => Some("one-way cut"),
            Self::SlowNetwork(_) => Some("slow network"),
            Self::Lossy(_) => Some("lost messages"),
            Self::Repeating(_) => Some("repeated messages"),
            Self::LeaderFalls(..) => Some("fallen leader"),
            Self::Add(..) => Some("member added"),
            Self::Promote(_) => Some("learner promoted"),
            Self::Update(_) => Some("member updated"),
            Self::Remove(_) => Some("member removed"),
            Self::MoveLeader(_) => Some("moved leader"),
            Self::Alarm(_, true) => Some("alarm"),
            Self::Defragment(_) => Some("defragmentation"),
            Self::Restart(_)
            | Self::Resume(_)
            | Self::Rejoin(_)
            | Self::HealNetwork
            | Self::Alarm(_, false) => None,
        }
    }
}

/// The faults of a lifetime, in the order of their times (microseconds).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How many members there are at first.
    pub members: usize,
    /// How many more can be added; their places are behind those of the first.
    pub joiners: usize,
    /// Ticks of an election timeout; a node ships with 100.
    pub election_ticks: u32,
    /// Bytes of entries in one message between members, [`MESSAGE_BYTES`] as a node ships. At 0
    /// each entry goes alone, and a follower catches up in many steps.
    pub message_bytes: u64,
    /// When what happens.
    pub actions: Vec<(u64, Action)>,
}

/// Faults begin no earlier: a leader is there by then.
const FIRST_MICROS: u64 = 500_000;

/// And no later: what comes behind is for recovering.
pub(crate) const LAST_MICROS: u64 = 9_000_000;

/// How many can be added in a lifetime in which members change.
const JOINERS: usize = 2;

impl Plan {
    /// Says why this is no plan that can be lived: a saved one may have been written by hand.
    pub fn check(&self) -> Result<(), String> {
        let Self { members, joiners, election_ticks, message_bytes: _, actions } = self;
        if !(2..=9).contains(members) || *joiners > 6 {
            return Err("a plan has 2 to 9 members and at most 6 joiners".into());
        }
        if !(20..=1000).contains(election_ticks) {
            return Err("election_ticks is 20 to 1000".into());
        }
        let places = members + joiners;
        for (at, action) in actions {
            if *at > LAST_MICROS {
                return Err(format!("{action:?} at {at}: nothing breaks after {LAST_MICROS}"));
            }
            if let Some(place) = action.places().into_iter().find(|place| *place >= places) {
                return Err(format!("{action:?} at {at}: there is no place {place} of {places}"));
            }
            if !action.is_possible() {
                return Err(format!("{action:?} at {at}: that is too much, or a link to itself"));
            }
        }
        Ok(())
    }

    /// Draws the faults of a cluster of `members`.
    pub fn draw(random: &mut ChaCha8Rng, members: usize) -> Self {
        match random.random_range(0..16) {
            0..2 => return Self::of_fallen_leaders(random, members),
            2..4 => return Self::of_changing_members(random, members),
            _ => {}
        }
        let joiners = if random.random_range(0..3) == 0 { JOINERS } else { 0 };
        let places = members + joiners;
        let election_ticks = [100, 100, 30][random.random_range(0..3)];
        let message_bytes = [0, 300, MESSAGE_BYTES][random.random_range(0..3)];
        let mut actions = Vec::new();
        let mut at = FIRST_MICROS;
        loop {
            at += random.random_range(50_000..900_000);
            if at >= LAST_MICROS {
                break;
            }
            let member = match random.random_range(0..6) {
                0 => random.random_range(0..places),
                _ => random.random_range(0..members),
            };
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
                28..32 => {
                    actions.push((at, Action::SyncFails(member, random.random_range(0..20))));
                    actions.push((lasts, Action::Restart(member)));
                }
                // Everybody at once: power is shared.
                32..35 => {
                    for member in 0..places {
                        actions.push((at, Action::PowerLoss(member)));
                        let lasts = at + random.random_range(20_000..1_500_000);
                        actions.push((lasts, Action::Restart(member)));
                    }
                }
                // One leader after the other: what each began is left to the next.
                35..39 => {
                    for _ in 0..random.random_range(3..6) {
                        let steps = [1, 1, 12, 50][random.random_range(0..4)];
                        let steps = random.random_range(0..steps);
                        actions.push((at, Action::LeaderFalls(random.random_bool(0.7), steps)));
                    }
                }
                39..48 => {
                    actions.push((at, Action::Pause(member)));
                    actions.push((lasts, Action::Resume(member)));
                }
                48..54 => {
                    let micros = match random.random_range(0..3) {
                        0 => Action::STUCK_MICROS,
                        _ => random.random_range(5_000..400_000),
                    };
                    actions.push((at, Action::SlowDisk(member, micros)));
                    actions.push((lasts, Action::SlowDisk(member, 0)));
                }
                54..72 => {
                    let side = random.random_range(1..(1 << places) - 1);
                    actions.push((at, Action::Partition(side)));
                    actions.push((lasts, Action::HealNetwork));
                }
                72..82 => {
                    let other = (member + random.random_range(1..places)) % places;
                    actions.push((at, Action::CutLink(member, other)));
                    actions.push((lasts, Action::HealNetwork));
                }
                82..84 => {
                    const DAY: i64 = 24 * 3_600_000;
                    let millis =
                        [-400 * DAY, -10_000, 10_000, 400 * DAY][random.random_range(0..4)];
                    actions.push((at, Action::ClockJump(member, millis)));
                }
                84..88 => {
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
        if joiners > 0 {
            Self::change_members(random, members, &mut actions);
        }
        Self::maintain(random, places, &mut actions);
        actions.retain(|(at, _)| *at < LAST_MICROS);
        actions.sort_by_key(|(at, _)| *at);
        Self { members, joiners, election_ticks, message_bytes, actions }
    }

    /// In one lifetime of four, alarms and defragmentations.
    fn maintain(random: &mut ChaCha8Rng, places: usize, actions: &mut Vec<(u64, Action)>) {
        if random.random_range(0..4) > 0 {
            return;
        }
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(FIRST_MICROS..LAST_MICROS - 1_000_000);
            let place = random.random_range(0..places);
            if random.random_bool(0.5) {
                actions.push((at, Action::Defragment(place)));
            } else {
                actions.push((at, Action::Alarm(place, true)));
                let ended = at + random.random_range(0..1_000_000);
                actions.push((ended, Action::Alarm(place, false)));
            }
        }
    }

    /// Changes of the members, some at the same time as others. What is asked of them is not
    /// always possible.
    fn change_members(random: &mut ChaCha8Rng, members: usize, actions: &mut Vec<(u64, Action)>) {
        let places = members + JOINERS;
        for place in members..places {
            if random.random_range(0..4) > 0 {
                let at = random.random_range(FIRST_MICROS..LAST_MICROS - 3_000_000);
                let learner = random.random_bool(0.5);
                actions.push((at, Action::Add(place, learner)));
                if learner {
                    let promoted = at + random.random_range(0..2_000_000);
                    actions.push((promoted, Action::Promote(place)));
                }
                // One comes for one that goes.
                if random.random_range(0..3) == 0 {
                    let at = at + random.random_range(0..2) * random.random_range(0..1_000_000);
                    actions.push((at, Action::Remove(random.random_range(0..members))));
                }
            }
        }
        for _ in 0..random.random_range(0..3) {
            let at = random.random_range(FIRST_MICROS..LAST_MICROS - 1_000_000);
            let first = random.random_range(0..places);
            actions.push((at, Action::Remove(first)));
            if random.random_range(0..4) == 0 {
                let second = (first + random.random_range(1..places)) % places;
                actions.push((at, Action::Remove(second)));
            }
        }
        for _ in 0..random.random_range(0..3) {
            let at = random.random_range(FIRST_MICROS..LAST_MICROS);
            actions.push((at, Action::MoveLeader(random.random_range(0..places))));
            let at = random.random_range(FIRST_MICROS..LAST_MICROS - 1_000_000);
            actions.push((at, Action::Update(random.random_range(0..places))));
        }
    }

    /// Members change all the time, several at once, and at each time something breaks.
    pub fn of_changing_members(random: &mut ChaCha8Rng, members: usize) -> Self {
        let places = members + JOINERS;
        // So slow that what is on its way when something breaks is much.
        let slow_micros = [0, 60_000, 60_000, 100_000][random.random_range(0..4)];
        let mut actions = vec![(FIRST_MICROS, Action::SlowNetwork(slow_micros))];
        let mut at = FIRST_MICROS;
        while at < LAST_MICROS - 1_500_000 {
            // Somebody who stays, to be left alone with what it knows.
            let stays = random.random_range(0..members);
            for place in 0..places {
                let change = match random.random_range(0..4) {
                    0 if place >= members => Action::Add(place, random.random_bool(0.3)),
                    1 if place >= members => Action::Promote(place),
                    0..2 if place != stays => Action::Remove(place),
                    _ => continue,
                };
                actions.push((at, change));
            }
            let (breaks, heals) = (
                at + random.random_range(0..20_000 + 2 * slow_micros),
                at + random.random_range(400_000..1_500_000),
            );
            match random.random_range(0..4) {
                0 => {
                    let member = random.random_range(0..places);
                    actions.push((breaks, Action::PowerLoss(member)));
                    actions.push((heals, Action::Restart(member)));
                }
                1 => {
                    let side = random.random_range(1..(1 << places) - 1);
                    actions.push((breaks, Action::Partition(side)));
                    actions.push((heals, Action::HealNetwork));
                }
                _ => {
                    actions.push((breaks, Action::Isolate(stays)));
                    actions.push((heals, Action::Rejoin(stays)));
                }
            }
            at += random.random_range(300_000..2_000_000);
        }
        actions.sort_by_key(|(at, _)| *at);
        let message_bytes = [0, MESSAGE_BYTES][random.random_range(0..2)];
        Self { members, joiners: JOINERS, election_ticks: 30, message_bytes, actions }
    }

    /// No leader lasts: each leaves entries behind that its successors finish or overwrite (the
    /// Raft paper's figure 8).
    fn of_fallen_leaders(random: &mut ChaCha8Rng, members: usize) -> Self {
        let isolate = |place| (FIRST_MICROS, Action::Isolate(place));
        let rejoin = |place| (FIRST_MICROS + 2_000_000, Action::Rejoin(place));
        let mut actions: Vec<_> = (0..members).map(isolate).collect();
        actions.extend((0..random.random_range(6..24)).map(|_| {
            let steps = [1, 1, 8][random.random_range(0..3)];
            let steps = random.random_range(0..steps);
            (FIRST_MICROS, Action::LeaderFalls(random.random_bool(0.8), steps))
        }));
        actions.extend((0..members).map(rejoin));
        Self { members, joiners: 0, election_ticks: 30, message_bytes: 0, actions }
    }
}
