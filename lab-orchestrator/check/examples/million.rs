//! Judges a million operations against the clock, then the same with one violation planted.
//!
//! `million [OPERATIONS [SECONDS]]`: how many, and how long each judging may take. It ends with 1
//! when a verdict is wrong, names other operations than those that contradict each other, or takes
//! too long. Where the system tells the processor's time, that is what counts: the thread waits for
//! nobody, so on a quiet machine it is the time on the clock, and on a busy one it is still its own.

#[path = "../tests/made/mod.rs"]
mod made;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab_check::{Check as _, Linearizable};
use lab_protocol::{Call, CheckResult, Event, Judgement, Numbered, OpId, Outcome, TxnResult};
use made::history::{Shape, make};

/// As in `raft-lab`, which judges a run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEED: u64 = 1;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let operations = numbers.next().and_then(Result::ok).unwrap_or(1_000_000);
    let seconds = numbers.next().and_then(Result::ok).unwrap_or(2);
    let allowed = Duration::from_secs(u64::from(seconds));
    let shape = Shape {
        operations: operations as usize,
        clients: 64,
        keys: 20_000,
        unknown_per_mille: 10,
        compactions_percent: 1,
        steps_between_leases: 30_000,
        watches: 0,
    };
    let mut events = make(SEED, shape);
    let unknown = events.iter().filter(|numbered| ends_unknown(&numbered.event)).count();
    println!("seed {SEED}: {operations} operations of 64 clients on {} keys", shape.keys);
    println!("{unknown} of them, transactions too, with an unknown outcome");
    let before = peak_mebibytes();
    let right = Judged::of(&events);
    right.print();
    if let (Some(before), Some(after)) = (before, peak_mebibytes()) {
        println!("memory: {before} MiB with the history, {after} MiB after judging it");
    }
    let Some(planted) = plant(&mut events) else {
        println!("nothing can be planted: no read saw a key that had been seen before");
        return ExitCode::FAILURE;
    };
    println!("planted: {}", planted.what);
    let wrong = Judged::of(&events);
    wrong.print();
    let named = planted.is_named_by(&wrong.result, &events);
    let pair = if named { "the offending pair was named" } else { "another pair was named" };
    println!("{pair}: operations {} and {}", planted.reader.0, planted.writer.0);
    let told = right.result.judgement == Judgement::Valid && named;
    let in_time = [&right, &wrong].iter().all(|judged| judged.own_time() <= allowed);
    if !in_time {
        println!("too late: {seconds} s are allowed");
    }
    if told && in_time { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A verdict, and what all events and the verdict took together.
struct Judged {
    result: CheckResult,
    clock: Duration,
    /// The processor's time, where the system tells it.
    processor: Option<Duration>,
}

impl Judged {
    fn of(events: &[Numbered]) -> Self {
        let (began, used) = (Instant::now(), processor_time());
        let mut check = Linearizable::new(1000);
        for event in events {
            check.observe(event);
        }
        let result = check.verdict();
        let (clock, now) = (began.elapsed(), processor_time());
        let processor = used.zip(now).map(|(used, now)| now.saturating_sub(used));
        Self { result, clock, processor }
    }

    fn own_time(&self) -> Duration {
        self.processor.unwrap_or(self.clock)
    }

    fn print(&self) {
        let (own, clock) = (self.own_time().as_secs_f64(), self.clock.as_secs_f64());
        println!("judged in {own:.2} s ({clock:.2} s on the clock): {:?}", self.result.judgement);
        println!("  {}", self.result.because);
    }
}

/// One violation: a read saw what another operation had overwritten.
struct Planted {
    what: String,
    reader: OpId,
    writer: OpId,
}

impl Planted {
    /// Whether a verdict tells of both operations, in words and by their events.
    fn is_named_by(&self, result: &CheckResult, events: &[Numbered]) -> bool {
        let tells = |op: OpId| {
            let ended = events.iter().find(|numbered| match numbered.event {
                Event::Returned { op: other, .. } => other == op,
                _ => false,
            });
            result.because.contains(&format!("operation {} (", op.0))
                && ended.is_some_and(|ended| result.evidence.contains(&ended.seq))
        };
        result.judgement == Judgement::Invalid && tells(self.reader) && tells(self.writer)
    }
}

/// Somewhere behind the middle a read sees the value that an earlier one had seen, though the write
/// after that value is acknowledged.
fn plant(events: &mut [Numbered]) -> Option<Planted> {
    let middle = events.len() / 2;
    let mut reads: HashMap<OpId, String> = HashMap::new();
    let mut writers: HashMap<i64, OpId> = HashMap::new();
    let mut seen: HashMap<String, (String, i64)> = HashMap::new();
    for (place, numbered) in events.iter_mut().enumerate() {
        match &mut numbered.event {
            Event::Invoked { op, call: Call::Get { key, .. }, .. } => {
                reads.insert(*op, key.clone());
            }
            Event::Returned { op, outcome: Outcome::Txn(answer) }
                if answer.results.contains(&TxnResult::Put) =>
            {
                writers.insert(answer.revision, *op);
            }
            Event::Returned { op, outcome: Outcome::Ok(answer) } => {
                let (Some(key), Some((value, revision))) = (reads.remove(op), &mut answer.value)
                else {
                    // A deletion of nothing and a compaction made no revision; nobody sees theirs.
                    writers.entry(answer.revision).or_insert(*op);
                    continue;
                };
                if let (Some((old, was)), Some(&writer)) = (seen.get(&key), writers.get(revision))
                    && was < revision
                    && place > middle
                {
                    let (reader, now, at) = (*op, *revision, answer.revision);
                    let what = format!(
                        "operation {} sees at revision {at} the {key} of revision {was}, which \
                         operation {} had overwritten at revision {now}",
                        reader.0, writer.0
                    );
                    value.clone_from(old);
                    *revision = *was;
                    return Some(Planted { what, reader, writer });
                }
                seen.insert(key, (value.clone(), *revision));
            }
            _ => {}
        }
    }
    None
}

fn ends_unknown(event: &Event) -> bool {
    matches!(event, Event::Returned { outcome: Outcome::Info { .. }, .. })
}

/// What this thread has used of a processor (Linux, `proc_pid_schedstat`).
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// The most memory that was in use at once (Linux, `proc_pid_status`).
fn peak_mebibytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes / 1024)
}
