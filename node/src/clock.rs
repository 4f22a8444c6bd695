//! The only source of time: whoever needs it is given a clock, so that a test can hold it.
//!
//! What a client, a peer or the state machine can see of time is measured by it: ticks, leases,
//! how long a request waits, when keys are compacted. Four things keep the machine's own time, for
//! they are about this machine and its connections: telemetry and traces, how long a disk takes and
//! rests, dialling and handshakes with what is sent over a connection of its own (snapshots), and
//! the ends of sockets and of the process.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

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

    /// Word of each time that the clock is moved or made to run otherwise; `None` of a clock to which
    /// neither happens.
    fn moved(&self) -> Option<&Notify> {
        None
    }

    /// Milliseconds since 1970 (UTC), by the wall clock. For names and records, never for logic.
    fn wall_millis(&self) -> u64;
}

/// Waits until so much has passed by this clock. Cancel safe.
pub async fn sleep(clock: &dyn Clock, span: Duration) {
    until(clock, clock.now_micros().saturating_add(micros(span))).await;
}

/// Waits until the clock tells this time. Cancel safe.
async fn until(clock: &dyn Clock, at_micros: u64) {
    let Some(moved) = clock.moved() else {
        let left = at_micros.saturating_sub(clock.now_micros());
        return tokio::time::sleep(Duration::from_micros(left)).await;
    };
    loop {
        let mut moved = pin!(moved.notified());
        // Before it is looked at, so that no move is missed.
        moved.as_mut().enable();
        let left = at_micros.saturating_sub(clock.now_micros());
        if left == 0 {
            return;
        }
        match clock.pace() {
            0 => moved.await,
            pace => {
                let left = u128::from(left) * 1_000 / u128::from(pace);
                let left = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
                tokio::select! {
                    () = moved => {}
                    () = tokio::time::sleep(Duration::from_micros(left)) => {}
                }
            }
        }
    }
}

/// So much passed by a clock, and the work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct TooLate;

/// What the work comes to, unless so much passes by this clock before.
///
/// # Errors
///
/// The time is over; the work is given up.
pub async fn timeout<T>(
    clock: &dyn Clock,
    span: Duration,
    work: impl Future<Output = T>,
) -> Result<T, TooLate> {
    tokio::select! {
        // What is done in time is done, however late it is looked at.
        biased;
        done = work => Ok(done),
        () = sleep(clock, span) => Err(TooLate),
    }
}

/// Comes round again and again by a clock; what was missed is not made up for.
pub struct Every {
    clock: Arc<dyn Clock>,
    micros: u64,
    next_micros: u64,
}

impl std::fmt::Debug for Every {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Every").field("micros", &self.micros).finish_non_exhaustive()
    }
}

impl Every {
    /// For the first time when so much has passed.
    pub fn new(clock: Arc<dyn Clock>, span: Duration) -> Self {
        let micros = micros(span);
        let next_micros = clock.now_micros().saturating_add(micros);
        Self { clock, micros, next_micros }
    }

    /// Waits for the next turn. Cancel safe.
    pub async fn tick(&mut self) {
        until(&*self.clock, self.next_micros).await;
        self.next_micros = self.clock.now_micros().saturating_add(self.micros);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
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
    /// Whoever waits is told of each move.
    moved: Notify,
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
        Self { hand: Mutex::new(hand), wall_micros_off: AtomicI64::new(0), moved: Notify::new() }
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
        {
            let mut hand = self.hand.lock();
            let real = RealClock.now_micros();
            *hand = Hand { real, told: hand.at(real), permille };
        }
        self.moved.notify_waiters();
    }

    /// Whether it stands still.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.pace() == 0
    }

    /// Goes on by so much at once.
    pub fn advance_micros(&self, by: u64) {
        self.hand.lock().told += by;
        self.moved.notify_waiters();
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

    fn moved(&self) -> Option<&Notify> {
        Some(&self.moved)
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

    #[tokio::test]
    async fn who_waits_by_a_clock_that_stands_waits_for_its_ticks() {
        let clock = Arc::new(LabClock::default());
        clock.set_rate(0);
        let held = clock.clone();
        let hour = Duration::from_secs(3_600);
        let mut waits = tokio::task::JoinSet::new();
        waits.spawn(async move { timeout(&*held, hour, std::future::pending::<()>()).await });
        let mut every = Every::new(clock.clone(), Duration::from_millis(100));
        // True time passes and means nothing.
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(waits.try_join_next().is_none());
        for _ in 0..36_000 {
            clock.advance_micros(100_000);
        }
        let late = waits.join_next().await.expect("it waits").expect("it ends");
        assert_eq!(late, Err(TooLate));
        every.tick().await;
        let next = pin!(every.tick());
        assert_eq!(timeout(&RealClock, Duration::from_millis(20), next).await, Err(TooLate));
        assert_eq!(timeout(&*clock, hour, async { 7 }).await, Ok(7));
        // One that runs ten times as fast is waited for a tenth of the time.
        clock.set_rate(10_000);
        let began = RealClock.now_micros();
        sleep(&*clock, Duration::from_secs(1)).await;
        assert!(RealClock.now_micros() - began >= 99_000);
    }
}
