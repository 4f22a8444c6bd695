//! The only source of time: whoever needs it is given a clock, so that a test can hold it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

/// Tells time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds of a clock that never goes back and does not stop in a busy machine. On a
    /// real clock: `CLOCK_MONOTONIC`, which all processes of a machine share.
    fn now_micros(&self) -> u64;

    /// The same for whoever watches from outside: true time, whatever the member is made to see.
    fn seen_micros(&self) -> u64 {
        self.now_micros()
    }

    /// How fast it runs beside true time, thousandths; 0: it stands still.
    fn pace(&self) -> u32 {
        1_000
    }

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

/// The machine's clock as the lab lets a member see it: at another rate, standing still, its wall
/// clock moved. It never goes back.
#[derive(Debug)]
pub struct LabClock {
    hand: Mutex<Hand>,
    wall_micros_off: AtomicI64,
}

/// Since `real` the clock has told `told` and what `permille` makes of the true time.
#[derive(Clone, Copy, Debug)]
struct Hand {
    real: u64,
    told: u64,
    permille: u32,
}

impl Default for LabClock {
    fn default() -> Self {
        let now = RealClock.now_micros();
        let hand = Hand { real: now, told: now, permille: 1_000 };
        Self { hand: Mutex::new(hand), wall_micros_off: AtomicI64::new(0) }
    }
}

impl Hand {
    fn at(self, real: u64) -> u64 {
        let passed = u128::from(real.saturating_sub(self.real)) * u128::from(self.permille) / 1_000;
        self.told + u64::try_from(passed).unwrap_or(u64::MAX / 2)
    }
}

impl LabClock {
    /// From now on it runs at so many thousandths of the true rate; 0: it stands still.
    pub fn set_rate(&self, permille: u32) {
        let mut hand = self.hand.lock();
        let real = RealClock.now_micros();
        *hand = Hand { real, told: hand.at(real), permille };
    }

    /// Whether it stands still.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.pace() == 0
    }

    /// Goes on by so much at once.
    pub fn advance_micros(&self, by: u64) {
        self.hand.lock().told += by;
    }

    /// Moves the wall clock.
    pub fn jump_wall(&self, millis: i64) {
        self.wall_micros_off.fetch_add(millis.saturating_mul(1_000), Ordering::SeqCst);
    }
}

impl Clock for LabClock {
    fn now_micros(&self) -> u64 {
        self.hand.lock().at(RealClock.now_micros())
    }

    fn seen_micros(&self) -> u64 {
        RealClock.now_micros()
    }

    fn pace(&self) -> u32 {
        self.hand.lock().permille
    }

    fn wall_millis(&self) -> u64 {
        // What this clock is ahead of the true one, the wall clock is as well.
        let ahead = i128::from(self.now_micros()) - i128::from(RealClock.now_micros());
        let off = ahead + i128::from(self.wall_micros_off.load(Ordering::SeqCst));
        let wall = i128::from(RealClock.wall_millis()) + off / 1_000;
        u64::try_from(wall.max(0)).unwrap_or(u64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_clock_runs_stands_and_goes_on_and_never_goes_back() {
        let clock = LabClock::default();
        let start = clock.now_micros();
        clock.set_rate(0);
        let still = clock.now_micros();
        assert!(still >= start && clock.stands_still());
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert_eq!(clock.now_micros(), still);
        assert!(clock.seen_micros() > still, "who watches sees true time");
        clock.advance_micros(7_000);
        assert_eq!(clock.now_micros(), still + 7_000);
        clock.set_rate(10_000);
        let (lab, real) = (clock.now_micros(), RealClock.now_micros());
        std::thread::sleep(std::time::Duration::from_millis(3));
        let passed = RealClock.now_micros() - real;
        assert!(clock.now_micros() - lab >= passed * 9);
        clock.set_rate(1_000);
        let wall = clock.wall_millis();
        clock.jump_wall(-60_000);
        assert!(clock.wall_millis() < wall - 59_000);
    }
}
