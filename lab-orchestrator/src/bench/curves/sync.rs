//! The curve of fsync.

use anyhow::{Context, Result};
use serde::Serialize;

use super::draw::{Line, Picture};
use super::stage::Stage;
use super::{Ground, columns, latency};
use crate::bench::limits::fsync_figures;

/// How much longer each fsync takes, milliseconds.
const LONGER: [u32; 11] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// One length of an fsync.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    /// What half of all fsyncs take at most: this disk's, and what it was made longer by.
    fsync_millis: f64,
    puts_per_second: f64,
    p50_millis: f64,
    p99_millis: f64,
    /// Puts that were not answered.
    errors: u64,
    elections_per_minute: f64,
}

pub(super) async fn measure(ground: &Ground) -> Result<Vec<Point>> {
    let folder = tempfile::tempdir().context("make a directory for the disk's own fsync")?;
    let own_millis = fsync_figures(folder.path()).context("measure this disk")?.p50_millis;
    let mut points = Vec::new();
    for longer_millis in LONGER {
        ground.teller.tell(&format!("sync: {longer_millis} ms longer"));
        let stage = Stage::begin(ground, &[]).await?;
        stage.slow_syncs(longer_millis).await?;
        let seen = stage.load(ground.measure).await;
        stage.end().await;
        let seen = seen?;
        points.push(Point {
            fsync_millis: own_millis + f64::from(longer_millis),
            puts_per_second: seen.figures.per_second,
            p50_millis: seen.figures.p50_millis,
            p99_millis: seen.figures.p99_millis,
            errors: seen.figures.errors,
            elections_per_minute: seen.elections_per_minute,
        });
    }
    Ok(points)
}

pub(super) fn table(points: &[Point]) -> Option<String> {
    let rows: Vec<_> = points
        .iter()
        .map(|point| {
            vec![
                format!("{:.1}", point.fsync_millis),
                format!("{:.0}", point.puts_per_second),
                latency(point.p50_millis),
                latency(point.p99_millis),
                point.errors.to_string(),
                format!("{:.1}", point.elections_per_minute),
            ]
        })
        .collect();
    let head = ["fsync ms", "puts/s", "put p50 ms", "put p99 ms", "not answered", "elections/min"];
    (!rows.is_empty()).then(|| columns(&head, &rows))
}

pub(super) fn picture(points: &[Point]) -> Option<Picture> {
    let line = |name: &'static str, figure: fn(&Point) -> f64| Line {
        name,
        points: points.iter().map(|point| (point.fsync_millis, figure(point))).collect(),
    };
    (!points.is_empty()).then(|| Picture {
        title: "What an fsync costs",
        across: "an fsync takes, ms",
        up: "a put takes, ms",
        decades: true,
        lines: vec![line("p50", |point| point.p50_millis), line("p99", |point| point.p99_millis)],
    })
}
