//! The power goes at any write, a sync fails, the disk is full, the process is killed: what was acknowledged is there,
//! and the state is the model's.

use std::collections::BTreeMap;

use node::causes::with_causes;
use node::storage::{DiskFaults, FaultDisk, MemoryDisk};
use raft::eraftpb::Entry;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::member::{BEGINNING, Failure, Member, Model, random_op};

/// Lifetimes; each has its own commands and its own losses.
const SEEDS: u64 = 500;
/// Times the power goes in a lifetime.
const LOSSES: usize = 5;
/// The most changes of the disk between two losses.
const CHANGES: u64 = 160;

struct Lifetime {
    disk: MemoryDisk,
    faults: DiskFaults,
    random: ChaCha8Rng,
    model: Model,
    /// Entries that were logged beyond the model, synced or not.
    unsure: Vec<Entry>,
    /// The last of them that was acknowledged.
    acknowledged: u64,
    /// The disk is full in this life.
    full: bool,
    seen: BTreeMap<&'static str, u32>,
}

impl Lifetime {
    fn new(seed: u64) -> Self {
        Self {
            disk: MemoryDisk::new(),
            faults: DiskFaults::none(),
            random: ChaCha8Rng::seed_from_u64(seed),
            model: Model::new(),
            unsure: Vec::new(),
            acknowledged: BEGINNING,
            full: false,
            seen: BTreeMap::new(),
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn run(&mut self) {
        let disk = FaultDisk::shared(self.disk.shared(), self.faults.clone());
        let mut boot = 1;
        let mut losses = 0;
        while losses <= LOSSES {
            // The last life ends without a loss.
            let cut = (losses < LOSSES).then(|| self.random.random_range(0..CHANGES));
            self.faults.cut_power_after(cut);
            // In some a sync fails before; what it was to make durable is then lost for good.
            let syncs = cut.is_some() && self.random.random_bool(0.25);
            if syncs {
                self.disk.fail_sync(self.random.random_range(0..CHANGES / 4));
            }
            boot += 1;
            self.full = false;
            let lived = Member::begin(&disk)
                .and_then(|()| Member::open(&disk, boot, 1 << 20))
                .and_then(|member| self.live(member));
            match lived {
                Ok(()) if cut.is_none() => return,
                Ok(()) => self.saw("ended before the power went"),
                Err(failure) => {
                    let cut = self.faults.power_is_cut();
                    assert!(cut || syncs || self.full, "{}", with_causes(&*failure));
                    self.saw(match (cut, self.full) {
                        (true, _) => "the power went",
                        (false, true) => "the disk was full",
                        (false, false) => "a sync failed",
                    });
                }
            }
            losses += 1;
            self.faults.heal();
            // The process alone may end: the next one sees what it wrote, durable or not.
            let kept = match self.random.random_range(0..5) {
                0 => 0.0,
                1 => 0.3,
                2 => 0.9,
                3 => 1.0,
                _ => {
                    self.saw("the process was killed");
                    self.disk.crash();
                    continue;
                }
            };
            let random = &mut self.random;
            self.disk.power_loss(|| random.random_bool(kept));
        }
    }

    fn live(&mut self, mut member: Member) -> Result<(), Failure> {
        self.check(&mut member)?;
        for _ in 0..self.random.random_range(5..30) {
            if !self.full && self.random.random_bool(0.01) {
                self.full = true;
                self.faults.fill(true);
            }
            match self.random.random_range(0..20) {
                0..13 => self.propose(&mut member)?,
                13..17 => member.flush()?,
                17 => self.defragment(&member)?,
                18 => {
                    let kept = self.random.random_range(0..6);
                    let up_to = member.flushed.saturating_sub(kept).max(BEGINNING);
                    member.wal.compact(node_protocol::Index(up_to))?;
                    self.saw("compacted the log");
                }
                _ => {
                    // Somebody else went on without this member.
                    for _ in 0..self.random.random_range(1..10) {
                        let index = self.model.applied + 1;
                        let op = random_op(&mut self.random, self.model.revision());
                        self.model.apply(&super::member::entry(index, op));
                    }
                    member.install(&mut self.model)?;
                    self.acknowledged = self.model.applied;
                    self.saw("installed a snapshot");
                }
            }
        }
        self.check(&mut member)?;
        member.wal.close()?;
        Ok(())
    }

    /// On a full disk there is no room for a second state; the first is still good.
    fn defragment(&mut self, member: &Member) -> Result<(), Failure> {
        match member.state.defragment() {
            Ok(()) => self.saw("defragmented"),
            Err(_) if self.full && !self.faults.power_is_cut() => {
                self.saw("found no room to defragment");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn propose(&mut self, member: &mut Member) -> Result<(), Failure> {
        let first = member.applied + 1;
        let entries: Vec<Entry> = (first..first + self.random.random_range(1..6))
            .map(|index| {
                let op = random_op(&mut self.random, self.model.revision());
                super::member::entry(index, op)
            })
            .collect();
        self.unsure.extend(entries.iter().cloned());
        member.log(&entries, 1)?;
        member.wal.sync()?;
        for entry in &entries {
            member.apply(entry)?;
            self.model.apply(entry);
        }
        self.unsure.clear();
        self.acknowledged = self.model.applied;
        Ok(())
    }

    /// What is recovered is all that was acknowledged, and what else was logged up to some entry.
    fn check(&mut self, member: &mut Member) -> Result<(), Failure> {
        assert!(
            member.applied >= self.acknowledged,
            "{} were acknowledged, {} are there",
            self.acknowledged,
            member.applied
        );
        if member.applied < self.model.applied {
            // A snapshot of what others did without this member was lost with the power.
            self.model = self.model.back_to(member.applied);
        }
        for entry in std::mem::take(&mut self.unsure) {
            if entry.index <= member.applied {
                self.model.apply(&entry);
                self.saw("kept more than was acknowledged");
            }
        }
        assert_eq!(member.applied, self.model.applied, "nothing is made up");
        self.acknowledged = self.model.applied;
        let rows = member.rows()?;
        assert_eq!(&rows, self.model.rows());
        Ok(())
    }
}

#[test]
fn whatever_was_acknowledged_survives_a_power_loss_at_any_write() {
    let mut seen = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut lifetime = Lifetime::new(seed);
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lifetime.run()));
        assert!(ended.is_ok(), "seed {seed} fails as printed above");
        for (what, times) in lifetime.seen {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    for what in [
        "the power went",
        "a sync failed",
        "the disk was full",
        "the process was killed",
        "compacted the log",
        "defragmented",
        "installed a snapshot",
        "kept more than was acknowledged",
    ] {
        assert!(seen.get(what).is_some_and(|times| *times > 20), "{what} hardly: {seen:?}");
    }
}
