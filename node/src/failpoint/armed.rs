//! Counting and arming failpoints, and ending the process at one.
//!
//! Whoever is to act before the process ends (the disk that can lose its power) registers itself;
//! everything here is the process's own, as its end is.

use std::fmt;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Failpoint, Row, TABLE};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As by SIGKILL: what was written stays, what was not synced is not durable.
    Crash,
    /// Of what was not synced a subset stays, drawn from this seed.
    PowerLoss(NonZeroU64),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => f.write_str("the process crashes"),
            Self::PowerLoss(seed) => write!(f, "the power is lost (seed {seed})"),
        }
    }
}

struct Counter {
    /// How often the process came by.
    hits: AtomicU64,
    /// Hits until the process ends; 0 while not armed.
    left: AtomicU64,
    /// The seed of a loss of power; 0 for a crash.
    seed: AtomicU64,
}

static COUNTERS: [Counter; TABLE.len()] = [const {
    Counter { hits: AtomicU64::new(0), left: AtomicU64::new(0), seed: AtomicU64::new(0) }
}; TABLE.len()];

type LastAct = Box<dyn Fn(End) -> std::io::Result<()> + Send + Sync>;

static LAST_ACT: OnceLock<LastAct> = OnceLock::new();

impl Failpoint {
    /// Its line of the table.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// How often this process came by.
    pub fn hits(self) -> u64 {
        self.counter().hits.load(Ordering::Relaxed)
    }

    fn counter(self) -> &'static Counter {
        &COUNTERS[self as usize]
    }
}

/// There is no failpoint of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no failpoint `{0}`; --failpoints lists all")]
pub struct UnknownFailpoint(String);

impl FromStr for Failpoint {
    type Err = UnknownFailpoint;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let row = TABLE.iter().find(|row| row.name == name);
        row.map(|row| row.point).ok_or_else(|| UnknownFailpoint(name.to_owned()))
    }
}

/// The process ends so when it comes by `point` for the `hits`-th time from now on. Replaces what
/// was asked for this failpoint before.
pub fn arm(point: Failpoint, hits: NonZeroU64, end: End) {
    let Counter { hits: _, left, seed } = point.counter();
    left.store(0, Ordering::SeqCst);
    seed.store(
        match end {
            End::Crash => 0,
            End::PowerLoss(seed) => seed.get(),
        },
        Ordering::SeqCst,
    );
    left.store(hits.get(), Ordering::SeqCst);
}

/// Nothing is armed any more.
pub fn disarm() {
    for counter in &COUNTERS {
        counter.left.store(0, Ordering::SeqCst);
    }
}

/// What is to be done when the process ends by this module, before it does; at most once a
/// process. While it runs the other threads run on, so it has to hold whatever it makes still.
///
/// # Panics
///
/// If there is one already.
pub fn before_end(act: impl Fn(End) -> std::io::Result<()> + Send + Sync + 'static) {
    assert!(LAST_ACT.set(Box::new(act)).is_ok(), "one disk loses its power");
}

pub(super) fn hit(point: Failpoint) {
    let Counter { hits, left, seed } = point.counter();
    hits.fetch_add(1, Ordering::Relaxed);
    if left.load(Ordering::Acquire) == 0 {
        return;
    }
    let before = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
    if before == Ok(1) {
        let seed = NonZeroU64::new(seed.load(Ordering::Acquire));
        end(point.row().name, seed.map_or(End::Crash, End::PowerLoss));
    }
}

/// Ends the process at once: no destructor runs and no buffer is written.
///
/// What it says on standard error is how the gate knows an end that it asked for.
pub fn end(place: &str, how: End) -> ! {
    let acted = LAST_ACT.get().map_or(Ok(()), |act| act(how));
    // Nobody is left to tell when this fails.
    writeln!(std::io::stderr(), "failpoint {place}: {how}").ok();
    if let Err(error) = acted {
        writeln!(std::io::stderr(), "failpoint {place}: the disk could not end so: {error}").ok();
        std::process::abort();
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
    // The signal ends this thread before it comes here, or the system is not one.
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back_to_their_entry() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.point as usize, at, "{}", row.name);
            assert_eq!(row.name.parse(), Ok(row.point));
            assert!(row.shows.ends_with('.'), "{}", row.name);
        }
        let error = Failpoint::from_str("nowhere").expect_err("unknown");
        assert!(error.to_string().contains("`nowhere`"), "{error}");
    }

    #[test]
    fn hits_are_counted_and_a_disarmed_point_ends_nothing() {
        let point = Failpoint::FirstStartUndone;
        arm(point, NonZeroU64::new(2).expect("two"), End::Crash);
        let before = point.hits();
        super::super::hit(point);
        disarm();
        super::super::hit(point);
        super::super::hit(point);
        assert_eq!(point.hits(), before + 3);
    }
}
