//! The curve of round trips.

use anyhow::Result;
use serde::Serialize;

use super::draw::{Line, Picture};
use super::stage::{Seen, Stage};
use super::{Ground, columns, latency};

/// Round trips between two members, milliseconds.
const ROUND_TRIPS: [u32; 7] = [0, 2, 10, 20, 50, 100, 200];

/// Election timeouts that are tried, the shortest first, milliseconds; a heartbeat is a tenth.
const TIMEOUTS: [u32; 8] = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/// One round trip.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    round_trip_millis: u32,
    /// The shortest of the timeouts that are tried under which nobody was elected again.
    timeout_millis: Option<u32>,
    puts_per_second: f64,
    p50_millis: f64,
    p99_millis: f64,
    /// What passed under each timeout that was tried: elections a minute.
    tried: Vec<(u32, f64)>,
}

pub(super) async fn measure(ground: &Ground) -> Result<Vec<Point>> {
    let mut points: Vec<Point> = Vec::new();
    for round_trip_millis in ROUND_TRIPS {
        let mut tried = Vec::new();
        let mut kept = None;
        // What does not hold on a shorter way does not hold on a longer one.
        let least = points.last().and_then(|point| point.timeout_millis).unwrap_or(0);
        for timeout_millis in TIMEOUTS.into_iter().filter(|timeout| *timeout >= least) {
            ground.teller.tell(&format!(
                "round trip: {round_trip_millis} ms, election timeout {timeout_millis} ms"
            ));
            let seen = load(ground, round_trip_millis, timeout_millis).await?;
            tried.push((timeout_millis, seen.elections_per_minute));
            let holds = seen.elections_per_minute == 0.0
                && seen.figures.errors == 0
                && seen.figures.answers > 0;
            kept = Some((holds.then_some(timeout_millis), seen.figures));
            if holds {
                break;
            }
        }
        let Some((timeout_millis, figures)) = kept else { continue };
        points.push(Point {
            round_trip_millis,
            timeout_millis,
            puts_per_second: figures.per_second,
            p50_millis: figures.p50_millis,
            p99_millis: figures.p99_millis,
            tried,
        });
    }
    Ok(points)
}

/// Forms a cluster with these timeouts on short ways, and loads it on long ones.
async fn load(ground: &Ground, round_trip_millis: u32, timeout_millis: u32) -> Result<Seen> {
    let words = [
        format!("--election-timeout={timeout_millis}"),
        format!("--heartbeat-interval={}", timeout_millis / 10),
    ];
    let stage = Stage::begin(ground, &words).await?;
    let seen = async {
        if round_trip_millis > 0 {
            stage.delay(round_trip_millis / 2).await?;
        }
        stage.load(ground.measure).await
    }
    .await;
    stage.end().await;
    seen
}

pub(super) fn table(points: &[Point]) -> Option<String> {
    let rows: Vec<_> = points
        .iter()
        .map(|point| {
            let timeout = point.timeout_millis.map(|millis| millis.to_string());
            vec![
                point.round_trip_millis.to_string(),
                timeout.unwrap_or_else(|| "none".to_owned()),
                format!("{:.0}", point.puts_per_second),
                latency(point.p50_millis),
                latency(point.p99_millis),
            ]
        })
        .collect();
    let head = ["round trip + ms", "shortest timeout ms", "puts/s", "put p50 ms", "put p99 ms"];
    (!rows.is_empty()).then(|| columns(&head, &rows))
}

pub(super) fn picture(points: &[Point]) -> Option<Picture> {
    let at = |point: &Point, figure: f64| (f64::from(point.round_trip_millis), figure);
    // No way at all has no place among decades.
    let points: Vec<_> = points.iter().filter(|point| point.round_trip_millis > 0).collect();
    let timeouts = points.iter().filter_map(|point| Some(at(point, point.timeout_millis?.into())));
    (!points.is_empty()).then(|| Picture {
        title: "What a round trip costs",
        across: "each round trip longer by, ms",
        up: "ms",
        decades: true,
        lines: vec![
            Line {
                name: "a put, p50",
                points: points.iter().map(|point| at(point, point.p50_millis)).collect(),
            },
            Line { name: "shortest election timeout", points: timeouts.collect() },
        ],
    })
}
