//! `raft-lab curves`: what hardware does to a cluster, measured on this machine.
//!
//! ```text
//!  sync        a longer fsync       ─► puts take longer; from some length on leaders are deposed
//!  round-trip  a longer round trip  ─► puts take longer; timeouts that hold grow with it
//!  memory      more keys            ─► more memory
//! ```
//!
//! Each point is a cluster of its own, three members of the lab, under load. An fsync is made
//! longer by the fault of a slow disk, a round trip by the lab's network: everything else is
//! this machine's. What is told is what was seen; where elections begin depends on the machine.

mod draw;
mod memory;
mod round_trip;
mod stage;
mod sync;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::drill::{Signalled, Teller, signalled, wants_json};

/// A curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Curve {
    /// How long an fsync takes, and what puts and elections make of it.
    Sync,
    /// How long a message and its answer take, and which timeouts hold.
    RoundTrip,
    /// How many keys there are, and how much memory a member has.
    Memory,
}

/// Measure what hardware does to a cluster: fsync, round trip and memory, as curves.
///
/// It starts three members for each point, makes the one thing worse that the curve is about, and
/// loads them. The whole takes some eight minutes.
#[derive(Clone, Debug, Args)]
pub struct CurvesArgs {
    /// The curves; all of them when none is named.
    #[arg(value_enum)]
    curves: Vec<Curve>,
    /// How long each point is measured, seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The node program; without it `raft-node` beside this program.
    #[arg(long, value_name = "PATH")]
    node: Option<PathBuf>,
    /// Draw each curve into a file in this directory, such as sync.svg.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Print everything that was measured as JSON (also when the output is not a terminal).
    #[arg(long)]
    json: bool,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize)]
struct Measured {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sync: Vec<sync::Point>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    round_trip: Vec<round_trip::Point>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    memory: Vec<memory::Point>,
}

/// What every curve is told.
struct Ground {
    node: PathBuf,
    measure: Duration,
    teller: Teller,
}

/// Measures, prints and draws. Ends everything that it started, also after a signal.
///
/// Errors: a cluster could not be formed, or a file not be written.
pub async fn curves(args: CurvesArgs) -> Result<ExitCode> {
    let node = match &args.node {
        Some(path) => path.clone(),
        None => {
            let own = std::env::current_exe().context("find this program")?;
            own.with_file_name("raft-node")
        }
    };
    anyhow::ensure!(
        node.is_file(),
        "find the node program {}: `cargo build --release -p node` builds it",
        node.display()
    );
    let measure = Duration::from_secs(args.seconds);
    let ground = Ground { node, measure, teller: Teller::new() };
    let measured = tokio::select! {
        measured = measure_all(&args.curves, &ground) => measured?,
        // A lab that is dropped kills its processes.
        () = signalled() => return Err(Signalled.into()),
    };
    ground.teller.end();
    if let Some(folder) = &args.svg {
        draw_all(&measured, folder)?;
    }
    if wants_json(args.json) {
        println!("{}", serde_json::to_string_pretty(&measured).context("write the figures")?);
    } else {
        print!("{}", tables(&measured));
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure_all(curves: &[Curve], ground: &Ground) -> Result<Measured> {
    let wanted = |curve| curves.is_empty() || curves.contains(&curve);
    let mut measured = Measured::default();
    if wanted(Curve::Sync) {
        measured.sync = sync::measure(ground).await.context("measure the curve of fsync")?;
    }
    if wanted(Curve::RoundTrip) {
        measured.round_trip =
            round_trip::measure(ground).await.context("measure the curve of round trips")?;
    }
    if wanted(Curve::Memory) {
        measured.memory = memory::measure(ground).await.context("measure the curve of memory")?;
    }
    Ok(measured)
}

fn tables(measured: &Measured) -> String {
    let parts = [
        sync::table(&measured.sync),
        round_trip::table(&measured.round_trip),
        memory::table(&measured.memory),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn draw_all(measured: &Measured, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let pictures = [
        ("sync.svg", sync::picture(&measured.sync)),
        ("round-trip.svg", round_trip::picture(&measured.round_trip)),
        ("memory.svg", memory::picture(&measured.memory)),
    ];
    for (name, picture) in pictures {
        let Some(picture) = picture else { continue };
        let path = folder.join(name);
        let drawn = draw::draw(&picture).with_context(|| format!("draw {name}"))?;
        std::fs::write(&path, drawn).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// A latency, or that there is none because nothing was answered.
fn latency(millis: f64) -> String {
    if millis.is_finite() { format!("{millis:.1}") } else { "none".to_owned() }
}

/// A table in which every column is as wide as its widest cell.
fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].len());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().enumerate().map(|(at, cell)| format!("{cell:>0$}", width(at)));
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    [line(head.to_vec())].into_iter().chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["1".to_owned(), "20.5".to_owned()], vec!["1000".into(), "3".into()]];
        assert_eq!(columns(&["ms", "puts"], &rows), "  ms  puts\n   1  20.5\n1000     3\n");
    }
}
