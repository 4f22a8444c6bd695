//! The three threads of a node: each a ten-line loop around a `step`.
//!
//! ```text
//!   replica ──► apply ──► flush        each owns the sender to the next: when one ends,
//!                                      the next drains what it was given and ends as well
//! ```
//!
//! Waking a thread costs more than most of what it is woken for, so the loops are made to be woken
//! seldom: the replica reads from peers itself, and the flush thread looks now and then.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle as Runtime;
use tokio::task::JoinSet;

use crate::apply::{Apply, Item};
use crate::causes::with_causes;
use crate::clock::Clock;
use crate::flush::{Flush, FlushItem};
use crate::inbox::Input;
use crate::progress::{Notice, Progress};
use crate::replica::{Fatal, INPUTS_PER_STEP, Replica, Step};
use crate::storage::wal::Wal;

/// How long the flush thread sleeps while changes gather. Bounds what a stop or a snapshot's
/// installation waits for it, and with [`flush::ITEMS`](crate::flush::ITEMS) what it gathers.
const FLUSH_NAP: Duration = Duration::from_millis(10);

/// How often somebody looks at a clock that stands still.
const STANDS_STILL: Duration = Duration::from_millis(50);

/// Starts the flush thread. It ends when its senders are gone, everything flushed.
///
/// It wakes for the first change and then only now and then, not for each: a change is in no hurry
/// to be flushed, and a thread woken is a core taken from those that are waited for.
pub fn flush(
    mut flush: Flush,
    items: flume::Receiver<FlushItem>,
    clock: Arc<dyn Clock>,
    alarm: Alarm,
) -> std::io::Result<JoinHandle<()>> {
    start("flush", alarm, move || {
        let mut waits = false;
        loop {
            let mut first = None;
            if waits {
                std::thread::sleep(FLUSH_NAP);
            } else {
                first = items.recv().ok();
            }
            let batch = first.into_iter().chain(items.try_iter());
            waits = flush
                .step(batch, clock.now_micros())
                .map_err(|error| with_causes(&error))?
                .is_some();
            if items.is_disconnected() && items.is_empty() {
                return flush.flush().map_err(|error| with_causes(&error));
            }
        }
    })
}

/// Starts the apply thread. It ends when its senders are gone.
pub fn apply(
    mut apply: Apply,
    items: flume::Receiver<Item>,
    alarm: Alarm,
) -> std::io::Result<JoinHandle<()>> {
    start("apply", alarm, move || {
        loop {
            // While a compaction is under way there is work without items.
            let first = if apply.has_work() {
                items.recv_timeout(Duration::from_millis(1))
            } else {
                items.recv().map_err(|_| flume::RecvTimeoutError::Disconnected)
            };
            if let Err(flume::RecvTimeoutError::Disconnected) = first {
                return Ok(());
            }
            apply.step(first.into_iter().chain(items.try_iter())).map_err(|e| with_causes(&e))?;
        }
    })
}

/// Starts the replica thread, which counts its ticks in `ticks`; `ended` is called with how it ended, after everything that waited
/// has been refused.
///
/// The thread has a runtime of its own, which is returned: whoever reads from a peer does it there,
/// so that a peer's message reaches the replica without waking another thread. Nothing on it may
/// block, and while the replica steps nothing else runs on it: what peers send meanwhile waits in
/// their sockets and is taken in together.
pub fn replica(
    mut replica: Replica,
    inbox: flume::Receiver<Input>,
    clock: Arc<dyn Clock>,
    (tick_micros, ticks): (u64, Arc<AtomicU64>),
    ended: impl FnOnce(Result<Wal, Fatal>) + Send + 'static,
) -> std::io::Result<(JoinHandle<()>, Runtime)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let looping = async move {
        let result = AssertUnwindSafe(steps(&mut replica, &inbox, &*clock, (tick_micros, &ticks)))
            .catch_unwind()
            .await;
        let result =
            result.unwrap_or_else(|panic| Err(Fatal::Elsewhere(panicked("replica", &*panic))));
        let wal = replica.stop();
        ended(result.map(|()| wal));
    };
    let thread = Builder::new().name("replica".into()).spawn(move || {
        runtime.block_on(async move {
            // A task among those that read, not the runtime's root: waking it costs no system call.
            let mut only = JoinSet::new();
            only.spawn(looping);
            only.join_next().await;
        });
    })?;
    Ok((thread, handle))
}

async fn steps(
    replica: &mut Replica,
    inbox: &flume::Receiver<Input>,
    clock: &dyn Clock,
    (tick_micros, ticks): (u64, &AtomicU64),
) -> Result<(), Fatal> {
    let mut next_tick = clock.now_micros() + tick_micros;
    let mut inputs = Vec::new();
    loop {
        let pace = clock.pace();
        let wait = until(next_tick, clock.now_micros(), pace);
        match tokio::time::timeout(wait, inbox.recv_async()).await {
            Ok(Ok(input)) => inputs.push(input),
            Ok(Err(flume::RecvError::Disconnected)) => return Ok(()),
            Err(_) => {}
        }
        // Whoever is about to send on a busy core does it now: fewer and larger batches.
        std::thread::yield_now();
        // And what waits in the sockets comes in, before the clock ticks.
        tokio::task::yield_now().await;
        inputs.extend(inbox.try_iter().take(INPUTS_PER_STEP));
        let now = clock.now_micros();
        // A stall counts as one tick; of a clock that runs too fast several are due at once.
        let due = now.checked_sub(next_tick).map_or(0, |late| 1 + late / tick_micros);
        let due = due.min(u64::from(pace.div_ceil(1_000).max(1)));
        if due > 0 {
            next_tick = (next_tick + due * tick_micros).max(now);
        }
        if replica.step(inputs.drain(..), due > 0)? == Step::Stop {
            return Ok(());
        }
        for _ in 1..due {
            replica.step([], true)?;
        }
        if due > 0 {
            ticks.fetch_add(due, Ordering::Release);
        }
    }
}

/// Tells the replica that a thread cannot go on.
#[derive(Clone)]
pub struct Alarm {
    /// Where the reason is left.
    pub progress: Arc<Progress>,
    /// Whom to wake.
    pub replica: flume::Sender<Input>,
}

impl Alarm {
    /// Leaves the reason and wakes the replica, which ends the node.
    pub fn raise(&self, why: String) {
        self.progress.notify(Notice::Fatal(why));
        // A full inbox wakes the replica as well.
        self.replica.try_send(Input::Wake).ok();
    }
}

fn start(
    name: &'static str,
    alarm: Alarm,
    run: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|panic| Err(panicked(name, &*panic)));
        if let Err(why) = result {
            alarm.raise(why);
        }
    })
}

fn panicked(thread: &str, panic: &(dyn Any + Send)) -> String {
    let why = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    format!("the {thread} thread panicked: {why}")
}

/// True time until a clock of this pace shows `due_micros`; one that stands still is looked at now
/// and then.
fn until(due_micros: u64, now_micros: u64, pace: u32) -> Duration {
    let left = due_micros.saturating_sub(now_micros).saturating_mul(1_000);
    left.checked_div(u64::from(pace)).map_or(STANDS_STILL, Duration::from_micros)
}
