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

/// The frame gate of the default workload, with software rendering.
pub(super) async fn frames(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    stage.workload_runs().await?;
    stage.tab.page().execute(EnableParams::default()).await.context("ask for metrics")?;
    tokio::time::sleep(WARM_UP).await;
    let script_before = script_seconds(&stage.tab).await?;
    stage.tab.value(COLLECT).await?;
    tokio::time::sleep(WATCHED).await;
    let seen = stage.tab.value("window.framesSeen()").await?;
    let script_seconds = script_seconds(&stage.tab).await? - script_before;
    let mut intervals: Vec<f64> =
        seen.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    ensure!(intervals.len() > 100, "see frames: only {} in {WATCHED:?}", intervals.len());
    intervals.sort_by(f64::total_cmp);
    let at = |quantile: f64| intervals[((intervals.len() - 1) as f64 * quantile).round() as usize];
    let script_millis = script_seconds * 1000.0 / intervals.len() as f64;
    let (median, p95, worst) = (at(0.5), at(0.95), at(1.0));
    report(
        &surroundings.pictures,
        &json!({
            "frames": intervals.len(),
            "median_millis": median,
            "p95_millis": p95,
            "worst_millis": worst,
            "script_millis_per_frame": script_millis,
        }),
    )?;
    println!(
        "        frames {}: median {median:.1} ms, p95 {p95:.1} ms, worst {worst:.1} ms, script \
         {script_millis:.2} ms a frame",
        intervals.len()
    );
    ensure!(median <= MEDIAN_MILLIS, "keep the median at {MEDIAN_MILLIS} ms: it is {median:.1}");
    ensure!(p95 <= P95_MILLIS, "keep the 95th percentile at {P95_MILLIS} ms: it is {p95:.1}");
    ensure!(
        script_millis <= SCRIPT_MILLIS,
        "keep script at {SCRIPT_MILLIS} ms a frame: it is {script_millis:.2}"
    );
    stage.end().await
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

/// Keeps the numbers beside the pictures, for whoever compares runs.
fn report(folder: &Path, numbers: &Value) -> Result<()> {
    let path = folder.join("frames.json");
    std::fs::write(&path, format!("{numbers:#}\n"))
        .with_context(|| format!("write {}", path.display()))
}
