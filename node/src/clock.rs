//! The only source of time: whoever needs it is given a clock, so that a test can hold it.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// Tells time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds of a clock that never goes back and does not stop in a busy machine. On a
    /// real clock: `CLOCK_MONOTONIC`, which all processes of a machine share.
    fn now_micros(&self) -> u64;

    /// Milliseconds since 1970 (UTC), by the wall clock. For names and records, never for logic.
    fn wall_millis(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn now_micros(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000
            + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000
    }

    fn wall_millis(&self) -> u64 {
        let now = clock_gettime(ClockId::Realtime);
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000
            + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct MadeUpClock {
    micros: AtomicU64,
}

impl MadeUpClock {
    /// Moves the clock forward.
    pub fn advance_micros(&self, by: u64) {
        self.micros.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for MadeUpClock {
    fn now_micros(&self) -> u64 {
        self.micros.load(Ordering::SeqCst)
    }

    fn wall_millis(&self) -> u64 {
        1_600_000_000_000 + self.now_micros() / 1_000
    }
}
