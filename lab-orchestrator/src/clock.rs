//! The run's time: microseconds since the run began, on the machine's monotonic clock.
//!
//! Members stamp what they say of themselves with the same monotonic clock, so their times and
//! the lab's are one axis. The wall clock is read once, for the name and date of a run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Turns the machine's monotonic time into the run's time. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    /// Monotonic microseconds of the machine at the run's beginning.
    began_micros: u64,
    /// The same moment for timers.
    began: Instant,
}

impl RunClock {
    /// A run that begins now.
    pub fn start() -> Self {
        Self { began_micros: machine_micros(), began: Instant::now() }
    }

    /// Microseconds since the run began.
    pub fn now_micros(&self) -> u64 {
        machine_micros().saturating_sub(self.began_micros)
    }

    /// A time of the machine's monotonic clock, in the run's time; 0 when it was before the run.
    pub fn from_machine_micros(&self, micros: u64) -> u64 {
        micros.saturating_sub(self.began_micros)
    }

    /// The moment of this time of the run, for timers.
    pub fn instant(&self, at_micros: u64) -> Instant {
        self.began + Duration::from_micros(at_micros)
    }
}

/// Microseconds of `CLOCK_MONOTONIC`.
pub fn machine_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1_000
}

/// Milliseconds since 1970 (UTC), for names and dates; nothing is ever decided by it.
#[expect(clippy::disallowed_methods, reason = "a date for people")]
pub fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_times_and_the_labs_are_one_axis() {
        let clock = RunClock::start();
        let before = clock.now_micros();
        let member = clock.from_machine_micros(machine_micros());
        let after = clock.now_micros();
        assert!(before <= member && member <= after, "{before} {member} {after}");
        assert_eq!(clock.from_machine_micros(0), 0, "before the run is its beginning");
    }
}
