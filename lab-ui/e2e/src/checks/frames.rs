//! Whether the page draws smoothly while it has something to draw.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chromiumoxide::cdp::browser_protocol::performance::EnableParams;
use serde_json::{Value, json};

use crate::Surroundings;
use crate::browser::Tab;
use crate::stage::Stage;

/// How long frames are watched.
const WATCHED: Duration = Duration::from_secs(30);

/// Before that: elections, first drawing, compilation.
const WARM_UP: Duration = Duration::from_secs(3);

/// A frame at 60 Hz, rounded up.
const MEDIAN_MILLIS: f64 = 17.0;

/// One frame in twenty may be missed.
const P95_MILLIS: f64 = 34.0;

/// What our own code may take of a frame.
const SCRIPT_MILLIS: f64 = 4.0;

/// Collects the intervals between frames until it is told to stop.
const COLLECT: &str = "(() => { const seen = []; let last; let on = true; \
     const frame = now => { if (last !== undefined) seen.push(now - last); last = now; \
     if (on) requestAnimationFrame(frame); }; requestAnimationFrame(frame); \
     window.framesSeen = () => { on = false; return seen; }; return true; })()";

/// How often frames are watched at most: a neighbour of this machine can make them late for a
/// while, the page itself makes them late each time.
const WATCHES: usize = 3;

/// The frame gate of the default workload, with software rendering.
pub(super) async fn frames(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    stage.workload_runs().await?;
    stage.tab.page().execute(EnableParams::default()).await.context("ask for metrics")?;
    tokio::time::sleep(WARM_UP).await;
    for watch in 1..=WATCHES {
        let seen = Seen::watch(&stage.tab).await?;
        seen.report(&surroundings.pictures)?;
        match seen.within_budget() {
            Err(error) if watch < WATCHES => println!("        watched again: {error:#}"),
            outcome => {
                outcome?;
                break;
            }
        }
    }
    stage.end().await
}

/// What one watch saw, in milliseconds.
struct Seen {
    frames: usize,
    median: f64,
    p95: f64,
    worst: f64,
    /// What our own code took of a frame.
    script: f64,
}

impl Seen {
    async fn watch(tab: &Tab) -> Result<Self> {
        let script_before = script_seconds(tab).await?;
        tab.value(COLLECT).await?;
        tokio::time::sleep(WATCHED).await;
        let seen = tab.value("window.framesSeen()").await?;
        let script_seconds = script_seconds(tab).await? - script_before;
        let mut intervals: Vec<f64> =
            seen.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        ensure!(intervals.len() > 100, "see frames: only {} in {WATCHED:?}", intervals.len());
        intervals.sort_by(f64::total_cmp);
        let last = (intervals.len() - 1) as f64;
        let at = |quantile: f64| intervals[(last * quantile).round() as usize];
        Ok(Self {
            frames: intervals.len(),
            median: at(0.5),
            p95: at(0.95),
            worst: at(1.0),
            script: script_seconds * 1000.0 / intervals.len() as f64,
        })
    }

    fn within_budget(&self) -> Result<()> {
        let Self { median, p95, script, .. } = self;
        ensure!(
            *median <= MEDIAN_MILLIS,
            "keep the median at {MEDIAN_MILLIS} ms: it is {median:.1}"
        );
        ensure!(*p95 <= P95_MILLIS, "keep the 95th percentile at {P95_MILLIS} ms: it is {p95:.1}");
        ensure!(
            *script <= SCRIPT_MILLIS,
            "keep script at {SCRIPT_MILLIS} ms a frame: it is {script:.2}"
        );
        Ok(())
    }

    /// Says the numbers, and keeps them beside the pictures for whoever compares runs.
    fn report(&self, folder: &Path) -> Result<()> {
        let Self { frames, median, p95, worst, script } = self;
        println!(
            "        frames {frames}: median {median:.1} ms, p95 {p95:.1} ms, worst {worst:.1} ms, \
             script {script:.2} ms a frame"
        );
        let numbers = json!({
            "frames": frames,
            "median_millis": median,
            "p95_millis": p95,
            "worst_millis": worst,
            "script_millis_per_frame": script,
        });
        let path = folder.join("frames.json");
        std::fs::write(&path, format!("{numbers:#}\n"))
            .with_context(|| format!("write {}", path.display()))
    }
}

/// Seconds of script in this tab so far.
async fn script_seconds(tab: &Tab) -> Result<f64> {
    let metrics = tab.page().metrics().await.context("read the tab's metrics")?;
    metrics
        .iter()
        .find(|metric| metric.name == "ScriptDuration")
        .map(|metric| metric.value)
        .context("find ScriptDuration among the metrics")
}
