//! A minute of writes at a fixed pace, and whether the cluster kept up with them.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use etcd_api::etcdserverpb as pb;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Desk;
use crate::args::{Check, Perf};
use crate::client::{Client, Patience};
use crate::failure::{Failure, code, say, words};
use crate::quote::{prefix_end, quote};

/// How long the writes go on.
const DURATION: Duration = Duration::from_secs(60);
/// How long cleaning up may take.
const CLEANUP: Patience = Patience::For(Duration::from_secs(30));
const VALUE_BYTES: usize = 1024;
const KEY_BYTES: usize = 256;

/// Results that wait to be counted; writers wait when it is full.
const RESULTS: usize = 1024;

/// One write's duration, or its error.
type Outcome = Result<Duration, String>;

pub(crate) async fn run(desk: &Desk, asked: &Check) -> Result<(), Failure> {
    let Check::Perf(asked) = asked;
    let (pace, clients) = match asked.load.as_str() {
        "s" | "small" => (150, 50),
        "m" | "medium" => (1_000, 200),
        "l" | "large" => (8_000, 500),
        "xl" | "xLarge" => (15_000, 1_000),
        other => {
            return Err(Failure::new(code::BAD_FEATURE, format!("unknown load option {other}")));
        }
    };
    let there = pb::RangeRequest { limit: 1, ..under(&asked.prefix) };
    let found = desk.client.range(Patience::Command, there).await?;
    if !found.kvs.is_empty() {
        let prefix = &asked.prefix;
        let shown = quote(prefix.as_bytes());
        let text =
            format!("prefix {shown} has keys. Delete with 'raft-ctl del --prefix {prefix}' first");
        return Err(Failure::new(code::INVALID_INPUT, text));
    }
    let outcome = tokio::select! {
        outcome = load(desk, &asked.prefix, pace, clients) => Some(outcome),
        _ = tokio::signal::ctrl_c() => None,
    };
    clean(desk, asked).await?;
    match outcome {
        Some(outcomes) => judge(&outcomes, pace),
        None => Err(Failure::silent(code::INTERRUPTED)),
    }
}

fn under(prefix: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: prefix.to_owned().into(),
        range_end: prefix_end(prefix.as_bytes()).into(),
        ..Default::default()
    }
}

/// Writes at the pace given, by as many connections as there are clients.
async fn load(desk: &Desk, prefix: &str, pace: u32, clients: usize) -> Vec<Outcome> {
    let clients: Vec<_> = (0..clients)
        .map(|at| {
            let endpoints = desk.client.endpoints();
            Arc::new(desk.client.only(&endpoints[at % endpoints.len()]))
        })
        .collect();
    // One write at a time for each client: whoever is slow lowers the pace.
    let idle = Arc::new(Semaphore::new(clients.len()));
    let (results, mut counted) = mpsc::channel(RESULTS);
    let mut writes = JoinSet::new();
    let mut outcomes = Vec::new();
    let mut tick = interval(Duration::from_secs(1) / pace);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut bar = Bar::new();
    let began = Instant::now();
    let mut number = 0_u64;
    while began.elapsed() < DURATION {
        tokio::select! {
            biased;
            // Counting first keeps the channel empty.
            Some(outcome) = counted.recv() => outcomes.push(outcome),
            _ = tick.tick() => {
                bar.show(began.elapsed());
                while writes.try_join_next().is_some() {}
                let Ok(permit) = Arc::clone(&idle).try_acquire_owned() else { continue };
                let client = Arc::clone(&clients[number as usize % clients.len()]);
                let results = results.clone();
                let request = write(prefix, number);
                number += 1;
                writes.spawn(async move {
                    let outcome = one(&client, request).await;
                    // Whoever counts is gone only when all is over.
                    results.send(outcome).await.ok();
                    drop(permit);
                });
            }
        }
    }
    drop(results);
    while let Some(outcome) = counted.recv().await {
        outcomes.push(outcome);
    }
    bar.end();
    outcomes
}

/// A key of its own for each write, spread over the prefix.
fn write(prefix: &str, number: u64) -> pb::PutRequest {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = prefix.as_bytes().to_vec();
    key.extend(format!("{spread:016x}").as_bytes());
    key.resize(prefix.len() + KEY_BYTES, 0);
    pb::PutRequest { key: key.into(), value: vec![0; VALUE_BYTES].into(), ..Default::default() }
}

async fn one(client: &Client, request: pb::PutRequest) -> Outcome {
    let since = Instant::now();
    let answer = client.put(Patience::Endless, request).await;
    answer.map(|_| since.elapsed()).map_err(|status| words(&status))
}

async fn clean(desk: &Desk, asked: &Perf) -> Result<(), Failure> {
    let pb::RangeRequest { key, range_end, .. } = under(&asked.prefix);
    let question = pb::DeleteRangeRequest { key, range_end, prev_kv: false };
    match desk.client.delete(CLEANUP, question).await {
        Err(status) => {
            let why = words(&status);
            say(format!("FAIL: Cleanup failed during key deletion: ERROR({why})\n"))?;
        }
        Ok(answer) if asked.auto_compact => {
            let revision = answer.header.map_or(0, |header| header.revision);
            say(format!("Compacting with revision {revision}\n"))?;
            let question = pb::CompactionRequest { revision, physical: true };
            desk.client.compact(CLEANUP, question).await?;
            say(format!("Compacted with revision {revision}\n"))?;
        }
        Ok(_) => {}
    }
    if asked.auto_defrag {
        for endpoint in desk.client.endpoints() {
            let shown = quote(endpoint.as_bytes());
            say(format!("Defragmenting {shown}\n"))?;
            let client = desk.client.only(endpoint);
            client.defragment(CLEANUP, pb::DefragmentRequest {}).await?;
            say(format!("Defragmented {shown}\n"))?;
        }
    }
    Ok(())
}

/// Says what is well and what is not; an error if anything is not.
fn judge(outcomes: &[Outcome], pace: u32) -> Result<(), Failure> {
    let (text, well) = verdict(outcomes, pace);
    say(text)?;
    if well { Ok(()) } else { Err(Failure::silent(code::ERROR)) }
}

fn verdict(outcomes: &[Outcome], pace: u32) -> (String, bool) {
    let seconds: Vec<f64> = outcomes.iter().flatten().map(|took| took.as_secs_f64()).collect();
    let mut errors: BTreeMap<&str, usize> = BTreeMap::new();
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        *errors.entry(error).or_default() += 1;
    }
    let count = seconds.len() as f64;
    let mean = seconds.iter().sum::<f64>() / count.max(1.0);
    let spread = seconds.iter().map(|took| (took - mean).powi(2)).sum::<f64>() / count.max(1.0);
    let spread = spread.sqrt();
    let slowest = seconds.iter().copied().fold(0.0, f64::max);
    let rate = count / DURATION.as_secs_f64();
    let mut text = String::new();
    let mut well = true;
    if !errors.is_empty() {
        well = false;
        text.push_str("FAIL: too many errors\n");
        for (error, times) in errors {
            text.push_str(&format!("FAIL: ERROR({error}) -> {times}\n"));
        }
    }
    let whole = rate as u64 + 1;
    let mut say = |holds: bool, pass: String, fail: String| {
        well &= holds;
        text.push_str(&if holds { pass } else { fail });
    };
    say(
        rate / f64::from(pace) > 0.9,
        format!("PASS: Throughput is {whole} writes/s\n"),
        format!("FAIL: Throughput too low: {whole} writes/s\n"),
    );
    say(
        slowest <= 0.5,
        format!("PASS: Slowest request took {slowest:.6}s\n"),
        format!("Slowest request took too long: {slowest:.6}s\n"),
    );
    say(
        spread <= 0.1,
        format!("PASS: Stddev is {spread:.6}s\n"),
        format!("Stddev too high: {spread:.6}s\n"),
    );
    text.push_str(if well { "PASS\n" } else { "FAIL\n" });
    (text, well)
}

/// How much of the time has passed, at a terminal only.
struct Bar {
    shown: Option<u64>,
}

impl Bar {
    fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal().then_some(u64::MAX) }
    }

    fn show(&mut self, passed: Duration) {
        let seconds = passed.as_secs();
        if self.shown.is_none_or(|shown| shown == seconds) {
            return;
        }
        self.shown = Some(seconds);
        let all = DURATION.as_secs();
        let done = usize::try_from(seconds.min(all)).unwrap_or(0);
        let left = usize::try_from(all - seconds.min(all)).unwrap_or(0);
        let (done, left) = ("#".repeat(done), "-".repeat(left));
        // A bar that cannot be drawn is missed by nobody.
        write!(std::io::stderr(), "\r [{done}{left}] {seconds:2} / {all} s").ok();
    }

    fn end(&self) {
        if self.shown.is_some() {
            writeln!(std::io::stderr()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_cluster_passes_and_a_slow_one_fails() {
        let fast = vec![Ok(Duration::from_millis(2)); 9_000];
        let (text, well) = verdict(&fast, 150);
        assert!(well, "{text}");
        assert!(text.starts_with("PASS: Throughput is 151 writes/s\n"), "{text}");
        let slow = vec![Ok(Duration::from_millis(700)), Err("gone".to_owned())];
        let (text, well) = verdict(&slow, 150);
        assert!(!well);
        assert!(text.contains("FAIL: ERROR(gone) -> 1\nFAIL: Throughput too low: 1"), "{text}");
        assert!(text.ends_with("FAIL\n"), "{text}");
    }
}
