//! What the hardware gives: the disk's fsync, and who keeps the cores busy.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::samples::{Figures, Samples};

/// How often the disk is asked in each round.
const SYNCS: usize = 60;

/// What each append writes: about a small write's entry.
const SYNC_BYTES: usize = 512;

/// What Linux counts processor time in for programs (its USER_HZ is 100).
const MILLIS_PER_TICK: u64 = 10;

/// How long the disk takes to make a small append durable: the floor under every durable write.
pub(super) fn fsync_figures(dir: &Path) -> io::Result<Figures> {
    let mut file = File::create(dir.join("fsync-probe"))?;
    // As a log does, the file is there already: only data has to be made durable.
    file.write_all(&vec![0; SYNCS * SYNC_BYTES])?;
    file.sync_all()?;
    io::Seek::rewind(&mut file)?;
    let mut samples = Samples::with_capacity(SYNCS);
    let began = Instant::now();
    for _ in 0..SYNCS {
        let asked = Instant::now();
        file.write_all(&[1; SYNC_BYTES])?;
        file.sync_data()?;
        samples.add(asked.elapsed());
    }
    Ok(samples.figures(began.elapsed().as_secs_f64()))
}

/// The processor time of a process so far; `None` where it cannot be seen.
fn processor_time(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it are numbers.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * MILLIS_PER_TICK))
}

/// The time that the cores of this machine have been idle so far, summed over all of them.
fn idle_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    // cpu user nice system idle iowait …: waiting for a disk is idle too.
    let fields: Vec<_> = text.lines().next()?.split_whitespace().collect();
    let ticks: u64 = fields.get(4)?.parse::<u64>().ok()? + fields.get(5)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * MILLIS_PER_TICK))
}

/// Who keeps the cores busy between two looks.
pub(super) struct Cores {
    began: Instant,
    members: Vec<u32>,
    seen: Look,
}

#[derive(Clone, Copy, Default)]
struct Look {
    members: Option<Duration>,
    client: Option<Duration>,
    idle: Option<Duration>,
}

impl Cores {
    /// The first look.
    pub(super) fn start(members: &[u32]) -> Self {
        let mut cores =
            Self { began: Instant::now(), members: members.to_vec(), seen: Look::default() };
        cores.seen = cores.look();
        cores
    }

    fn look(&self) -> Look {
        let members = self.members.iter().map(|pid| processor_time(*pid)).sum();
        Look {
            members: if self.members.is_empty() { None } else { members },
            client: processor_time(std::process::id()),
            idle: idle_time(),
        }
    }

    /// The second look: fills the cores in.
    pub(super) fn finish(self, figures: &mut Figures) {
        let elapsed = self.began.elapsed().as_secs_f64();
        let now = self.look();
        let cores = |before: Option<Duration>, after: Option<Duration>| {
            Some((after?.checked_sub(before?)?).as_secs_f64() / elapsed)
        };
        figures.member_cores = cores(self.seen.members, now.members);
        figures.client_cores = cores(self.seen.client, now.client);
        figures.idle_cores = cores(self.seen.idle, now.idle);
    }
}
