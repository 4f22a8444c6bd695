//! `raft-lab matrix`: many scenarios, each as every variant and with several seeds, some beside each
//! other; and the counter-test, in which nothing may be valid because nothing was broken.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use lab_protocol::Judgement;
use lab_protocol::scenario::Scenario;

use super::perform::{Performance, Signalled, draw_seed, twins};
use super::report::{judgement_word, wants_json};
use super::{NodeChoice, Outcome, Play, Report, junit, read_scenario};
use crate::engine::EngineName;

/// Perform many scenarios, each as every variant and with several seeds, and tell them in a table.
#[derive(Clone, Debug, Args)]
pub struct MatrixArgs {
    /// Scenario files, or directories of them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// On real etcd a difference is as it should be where the scenario's file says why (`on_etcd`,
    /// `not_on_etcd`).
    #[command(flatten)]
    pub node: NodeChoice,
    /// How many seeds each is performed with: the scenario's own, or the first, and those behind it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub seeds: u32,
    /// The first seed; without it the scenario's, else one is drawn.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// How many are performed beside each other. They share the machine: more than the cores is
    /// seldom of use.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
    /// The counter-test: every sentence that breaks something or changes the cluster is left out,
    /// drills are played by nobody, and none may be valid. It shows that a verdict comes from what
    /// happened.
    #[arg(long)]
    pub without_faults: bool,
    /// Where runs are recorded, each in a folder of its own.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the reports as JSON (also when the output is not a terminal).
    #[arg(long)]
    pub json: bool,
    /// Write the reports to this file as well, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// What came of one of them.
struct Cell {
    name: String,
    seed: u64,
    /// `None`: the lab failed, and why.
    done: Result<Report, String>,
    outcome: Outcome,
}

/// Performs all of them and prints what came of them.
///
/// Errors: a file cannot be read. What happens later is an [`Outcome`].
pub async fn matrix(args: MatrixArgs) -> Result<Outcome> {
    let mut all = Vec::new();
    for path in files(&args.paths)? {
        let (name, scenario) = read_scenario(&path).context("read the scenario")?;
        let first = args.seed.or(scenario.seed).unwrap_or_else(draw_seed);
        for (name, variant, twin) in twins(&name, &scenario) {
            let twin = if args.without_faults { twin.without_faults() } else { twin };
            let play = if args.without_faults { Play::Nothing } else { Play::Solution };
            for more in 0..u64::from(args.seeds) {
                all.push(Performance {
                    file: path.clone(),
                    name: name.clone(),
                    variant: variant.clone(),
                    scenario: twin.clone(),
                    play: play.clone(),
                    seed: first.wrapping_add(more),
                });
            }
        }
    }
    let bar = bar(all.len());
    let args = Arc::new(args);
    let cells = futures_util::stream::iter(all.into_iter().map(|performance| {
        let (args, bar) = (args.clone(), bar.clone());
        async move {
            let cell = Box::pin(cell(&args, performance)).await;
            bar.suspend(|| eprintln!("{}", line(&cell)));
            bar.inc(1);
            cell
        }
    }));
    let mut done = Vec::new();
    let mut cells = cells.buffered(usize::from(args.jobs));
    while let Some(cell) = cells.next().await {
        let signalled = matches!(&cell.done, Err(why) if why.contains(SIGNAL));
        done.push(cell);
        if signalled {
            break;
        }
    }
    drop(cells);
    bar.finish_and_clear();
    let worst = done.iter().map(|cell| cell.outcome).max().unwrap_or(Outcome::Valid);
    eprintln!("{}", sum(&done, args.without_faults));
    let reports: Vec<_> = done.into_iter().filter_map(|cell| cell.done.ok()).collect();
    if wants_json(args.json) {
        println!("{}", serde_json::to_string_pretty(&reports).context("write the reports")?);
    }
    if let Some(path) = &args.junit {
        junit::write(&reports, path).context("write the reports as JUnit's XML")?;
    }
    Ok(worst)
}

const SIGNAL: &str = "go on after a signal";

async fn cell(args: &MatrixArgs, performance: Performance) -> Cell {
    let (name, seed) = (performance.name.clone(), performance.seed);
    let on_etcd = args.node.engine == EngineName::Etcd;
    let mut silent = |_: &str| {};
    let done = Box::pin(performance.perform(&args.node, &args.runs, &mut silent)).await;
    let outcome = match (&done, args.without_faults) {
        (Err(_), _) => Outcome::LabFailed,
        (Ok(report), false) if on_etcd && is_known(&performance.scenario, report) => Outcome::Valid,
        (Ok(report), false) => report.verdict.judgement.into(),
        (Ok(report), true) => match report.verdict.judgement {
            Judgement::Valid => Outcome::Invalid,
            Judgement::Unknown | Judgement::Invalid => Outcome::Valid,
        },
    };
    let done = done.map_err(|error| match error.is::<Signalled>() {
        true => SIGNAL.to_owned(),
        false => format!("{error:#}"),
    });
    Cell { name, seed, done, outcome }
}

/// Whether the file says why the run on real etcd is not valid: why it was not performed, or why
/// each check that is red there is.
fn is_known(scenario: &Scenario, report: &Report) -> bool {
    let mut red = report.verdict.checks.iter().filter(|check| check.judgement != Judgement::Valid);
    report.run.is_none() || red.all(|check| scenario.on_etcd.contains_key(&check.check))
}

/// The scenario files that paths mean, in order of their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries =
            std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.context("list scenarios")?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                found.push(path);
            }
        }
        anyhow::ensure!(!found.is_empty(), "find scenarios (*.toml) in {}", path.display());
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn bar(count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len}, {elapsed} ({eta} left)");
    let bar = ProgressBar::new(count as u64).with_style(style.expect("a fixed template"));
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// One row of the table: what it was, what came of it, and the first reason why it is not valid.
fn line(cell: &Cell) -> String {
    let Cell { name, seed, done, outcome: _ } = cell;
    match done {
        Err(why) => format!("no verdict  {name}  seed {seed}  the lab failed to {why}"),
        Ok(report) => {
            let verdict = &report.verdict;
            let worst = verdict.checks.iter().filter(|check| check.judgement != Judgement::Valid);
            let why = worst.max_by_key(|check| check.judgement);
            let why = why.map(|check| format!("  {}: {}", check.check, check.because));
            let word = judgement_word(verdict.judgement);
            let seconds = report.seconds;
            format!("{word:<10}  {name}  seed {seed}  {seconds:.0} s{}", why.unwrap_or_default())
        }
    }
}

fn sum(cells: &[Cell], without_faults: bool) -> String {
    let count = |wanted: Judgement| {
        let is = |cell: &&Cell| {
            cell.done.as_ref().is_ok_and(|report| report.verdict.judgement == wanted)
        };
        cells.iter().filter(is).count()
    };
    let failed = cells.iter().filter(|cell| cell.done.is_err()).count();
    let mut text = format!(
        "{} runs: {} valid, {} invalid, {} unknown, {failed} without a verdict",
        cells.len(),
        count(Judgement::Valid),
        count(Judgement::Invalid),
        count(Judgement::Unknown),
    );
    if without_faults {
        text.push_str("; without its faults none may be valid");
    }
    text
}
