//! `raft-lab drill`, `check` and `check-file`: files in, reports out.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use lab_check::checks_of;
use lab_protocol::scenario::{Scenario, Span, Target};
use lab_protocol::{Judgement, Verdict};

use super::junit;
use super::report::{print_report, print_verdict, wants_json};
use super::{Outcome, Play, Report, Runner, read_scenario};
use crate::lab::{Lab, LabPlan};
use crate::record::{self, Recorder};
use crate::workload;

/// No recording of a drill grows larger.
const RECORDING_BYTES: u64 = 512 * 1024 * 1024;

/// The file in a run's folder that says what was performed.
const SCENARIO_FILE: &str = "scenario.toml";

/// Which program the members run.
#[derive(Clone, Debug, Args)]
pub struct NodeChoice {
    /// The node program; without it `raft-node` beside this program.
    #[arg(long, value_name = "PATH")]
    pub node: Option<PathBuf>,
    /// A word for every member's command line, before its own flags. Repeat it, such as
    /// --node-arg --break --node-arg check-quorum-off for the training program.
    #[arg(long = "node-arg", value_name = "FLAG", allow_hyphen_values = true)]
    pub node_args: Vec<OsString>,
}

impl NodeChoice {
    /// The program's path.
    pub fn program(&self) -> Result<PathBuf> {
        match &self.node {
            Some(path) => Ok(path.clone()),
            None => {
                let own = std::env::current_exe().context("find this program")?;
                Ok(own.with_file_name("raft-node"))
            }
        }
    }

    /// The training program's path: beside the node program, unless that is it already.
    pub fn training(&self) -> Result<PathBuf> {
        const NAME: &str = "raft-node-training";
        let node = self.program()?;
        let training = node.with_file_name(NAME);
        anyhow::ensure!(
            training.is_file(),
            "find the training program {}, which this scenario needs: `cargo build --release -p \
             node --features training --bin {NAME}` builds it",
            training.display()
        );
        Ok(training)
    }
}

/// Perform scenarios on real processes and judge them.
#[derive(Clone, Debug, Args)]
pub struct DrillArgs {
    /// Scenario files, performed one after the other.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub node: NodeChoice,
    /// Where every random choice comes from; without it the scenario's, else one is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where runs are recorded, each in a folder of its own; made if it is missing. Any of them
    /// can be shown again with `raft-lab replay`.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Who plays where a scenario is a drill: `solution`, `nothing`, or the name of a wrong solution
    /// in the file.
    #[arg(long, value_name = "WHO", default_value = "solution")]
    pub play: String,
    /// Play each drill in every way: won by its solution, lost without it, and lost with each wrong
    /// one, whose reason is told.
    #[arg(long, conflicts_with = "play")]
    pub every_way: bool,
    /// The same with its solution and without one only.
    #[arg(long, conflicts_with_all = ["play", "every_way"])]
    pub both_ways: bool,
    /// Print the reports as JSON (also when the output is not a terminal).
    #[arg(long)]
    pub json: bool,
    /// Write the reports to this file as well, as JUnit's XML: a suite for each scenario, a case for
    /// each check.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Read scenario files without performing them.
#[derive(Clone, Debug, Args)]
pub struct CheckFileArgs {
    /// Scenario files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Performs every file and prints what came of it. Until a signal: then the lab ends in order and
/// there is no verdict.
///
/// Errors: a file cannot be read. What happens later is an [`Outcome`].
pub async fn drill(args: DrillArgs) -> Result<Outcome> {
    // All files are read before anything is started.
    let scenarios: Vec<_> = args
        .files
        .iter()
        .map(|file| read_scenario(file))
        .collect::<Result<_, _>>()
        .context("read the scenario")?;
    let json = wants_json(args.json);
    let mut worst = Outcome::Valid;
    let mut reports = Vec::new();
    let mut runs = Vec::new();
    // What the solution of the drill was worth, which comes first.
    let mut best = 0;
    // How each way of a drill came out.
    let mut ways_told = Vec::new();
    for (file, (name, scenario)) in args.files.iter().zip(&scenarios) {
        for play in ways(&args, name, scenario)? {
            runs.push((file, name, scenario, play));
        }
    }
    for (file, name, scenario, play) in runs {
        let mut say = |line: &str| eprintln!("{line}");
        say(&format!("{name}: {}", scenario.title));
        match perform(&args, file, (name, scenario, &play), &mut say).await {
            Ok(report) => {
                if !json {
                    print_report(&report);
                }
                if play == Play::Solution {
                    best = report.score.as_ref().map_or(0, |score| score.points);
                }
                let proven = (args.every_way || args.both_ways) && scenario.drill.is_some();
                let outcome = match proven {
                    false => report.verdict.judgement.into(),
                    true => as_it_should_be(scenario, &play, &report, best),
                };
                if proven {
                    let how = match outcome {
                        Outcome::Valid => "as it should",
                        _ => "NOT as it should",
                    };
                    ways_told.push(format!("{name} by {play}: {}, {how}", came_out(&report)));
                }
                worst = worst.max(outcome);
                reports.push(report);
            }
            Err(error) => {
                worst = Outcome::LabFailed;
                eprintln!("raft-lab: {name} has no verdict, the lab failed to {error:#}");
                if error.is::<Signalled>() {
                    break;
                }
            }
        }
    }
    if !ways_told.is_empty() {
        eprintln!("{}", ways_told.join("\n"));
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&reports).context("write the reports")?);
    }
    if let Some(path) = &args.junit {
        junit::write(&reports, path).context("write the reports as JUnit's XML")?;
    }
    Ok(worst)
}

/// Who plays in a scenario, one after the other.
fn ways(args: &DrillArgs, name: &str, scenario: &Scenario) -> Result<Vec<Play>> {
    let mut all = vec![Play::Solution, Play::Nothing];
    if let Some(drill) = &scenario.drill {
        all.extend(drill.other.iter().map(|other| Play::Other(other.name.clone())));
        all.extend(drill.wrong.iter().map(|wrong| Play::Wrong(wrong.name.clone())));
    }
    if args.every_way && scenario.drill.is_some() {
        return Ok(all);
    }
    if args.both_ways && scenario.drill.is_some() {
        all.truncate(2);
        return Ok(all);
    }
    let names: Vec<_> = all.iter().map(|play| format!("`{play}`")).collect();
    let asked = all.into_iter().find(|play| play.to_string() == args.play);
    let asked = asked.with_context(|| {
        format!("find `{}` among those who play {name}: there are {}", args.play, names.join(", "))
    })?;
    Ok(vec![asked])
}

/// Won or lost, and what it was worth.
fn came_out(report: &Report) -> String {
    match &report.score {
        Some(score) if score.won => format!("won with {} points", score.points),
        Some(_) | None => "lost".to_owned(),
    }
}

/// A drill must be won by its solution, by another for fewer points than `best`, and lost else; a
/// wrong solution must be known by what it left.
fn as_it_should_be(scenario: &Scenario, play: &Play, report: &Report, best: u32) -> Outcome {
    let won = report.verdict.judgement == Judgement::Valid;
    let told = |why: &str| {
        report.score.iter().any(|score| score.debrief.iter().any(|sentence| sentence == why))
    };
    let fits = match play {
        Play::Solution => won,
        Play::Nothing => !won,
        Play::Other(_) => won && report.score.iter().all(|score| score.points < best),
        Play::Wrong(name) => {
            let wrong = scenario.drill.iter().flat_map(|drill| &drill.wrong);
            !won && wrong.filter(|wrong| wrong.name == *name).all(|wrong| told(&wrong.why))
        }
    };
    // What was to happen before anybody played has to have happened.
    let incident: Vec<_> = (1..=scenario.steps.len()).map(|step| format!("step {step}")).collect();
    let happened = report.verdict.checks.iter().all(|check| !incident.contains(&check.check));
    if fits && happened { Outcome::Valid } else { Outcome::Invalid }
}

async fn perform(
    args: &DrillArgs,
    file: &Path,
    (name, scenario, play): (&str, &Scenario, &Play),
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Report> {
    let began = Instant::now();
    let seed = args.seed.or(scenario.seed).unwrap_or_else(draw_seed);
    let lab = Lab::start(plan(&args.node, scenario, seed)?).await.context("start the lab")?;
    let handle = lab.handle().clone();
    let run = args.runs.join(format!("{name}-{}", run_of(&lab).await));
    let recorder = Recorder::start(handle.journal(), &run, RECORDING_BYTES)
        .with_context(|| format!("record the run in {}", run.display()))?;
    // At once: somebody may edit the file meanwhile.
    std::fs::copy(file, run.join(SCENARIO_FILE)).context("save the scenario with the run")?;
    let runner = Runner::new(handle.clone(), checks_of(scenario), seed, &mut *say);
    let verdict = tokio::select! {
        verdict = runner.perform(name, scenario, play) => verdict.context("perform the scenario"),
        () = signalled() => Err(Signalled.into()),
    };
    if record::save_outputs(&handle, &run).is_err() {
        say("     the members' output could not be saved");
    }
    lab.shutdown().await;
    recorder.finish().await.context("record the run")?;
    let (verdict, score) = verdict?;
    record::save_verdict(&verdict, &run).context("save the verdict")?;
    say(&format!("     seed {seed}, recorded in {}", run.display()));
    let seconds = began.elapsed().as_secs_f64();
    let play = scenario.drill.as_ref().map(|_| play.to_string());
    let title = scenario.title.clone();
    Ok(Report { title, play, seed, seconds, run: Some(run), verdict, score })
}

/// Somebody wants this program to end.
#[derive(Debug, thiserror::Error)]
#[error("go on after a signal")]
pub(crate) struct Signalled;

/// Waits for Ctrl-C or SIGTERM. Cancel safe.
pub(crate) async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Then SIGTERM ends this process at once, and its children by their lifelines.
        tokio::signal::ctrl_c().await.ok();
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// A seed, when nobody gave one.
#[expect(clippy::disallowed_methods, reason = "the seed itself is where chance comes in")]
pub(crate) fn draw_seed() -> u64 {
    rand::random()
}

/// The lab that a scenario wants.
pub fn plan(node: &NodeChoice, scenario: &Scenario, seed: u64) -> Result<LabPlan> {
    let cluster = &scenario.cluster;
    let millis = |span: Span| span.duration(cluster.election_timeout()).as_millis();
    // The training program takes its own words before all others.
    let bug = cluster.bug.iter().flat_map(|bug| ["--break".into(), bug.into()]);
    let mut node_args: Vec<OsString> = bug.collect();
    node_args.extend(node.node_args.iter().cloned());
    node_args.push(format!("--election-timeout={}", millis(cluster.election_timeout)).into());
    node_args.push(format!("--heartbeat-interval={}", millis(cluster.heartbeat)).into());
    node_args
        .extend(cluster.snapshot_count.map(|count| format!("--snapshot-count={count}").into()));
    if !cluster.strict_reconfig_check {
        node_args.push("--strict-reconfig-check=false".into());
    }
    node_args.extend(cluster.flags.iter().map(OsString::from));
    let hold_back: BTreeSet<_> = cluster
        .hold_back
        .iter()
        .filter_map(|target| match target {
            Target::Member(member) => Some(*member),
            // Refused when the file was read.
            _ => None,
        })
        .collect();
    let program = match cluster.training || cluster.bug.is_some() {
        true => node.training()?,
        false => node.program()?,
    };
    Ok(LabPlan {
        members: Some(cluster.members),
        node_args,
        hold_back,
        clients: Some(workload::make_clients()),
        power: cluster.training,
        ..LabPlan::of(program, seed)
    })
}

/// The name of the run, as its first event says.
async fn run_of(lab: &Lab) -> String {
    // The event is there as soon as the lab has started; without it there is nothing to record.
    lab.handle().journal().follow(0).ready().await.ok();
    lab.handle().journal().with_state(|state| state.run.clone())
}

/// Judges a recording again, by the scenario in its folder or another one.
pub fn judge_recording(run: &Path, other: Option<&Path>, json: bool) -> Result<Outcome> {
    let file = other.map_or_else(|| run.join(SCENARIO_FILE), Path::to_owned);
    let (stem, scenario) = read_scenario(&file).with_context(|| {
        format!("judge {}; give the scenario that was performed with --scenario", run.display())
    })?;
    let recording = record::read(run).context("read the recording")?;
    if recording.torn {
        eprintln!("the recording's end is missing; everything before it is judged");
    }
    let name = match other {
        Some(_) => stem,
        None => run.file_name().map_or(stem, |name| name.to_string_lossy().into_owned()),
    };
    let verdict: Verdict = lab_check::judge(&name, &scenario, &recording.events);
    if wants_json(json) {
        println!("{}", serde_json::to_string_pretty(&verdict).context("write the verdict")?);
    } else {
        print_verdict(&verdict);
    }
    Ok(verdict.judgement.into())
}

/// Reads every file and says of each whether it is fine.
pub fn check_files(args: &CheckFileArgs) -> Outcome {
    let mut worst = Outcome::Valid;
    for file in &args.files {
        match read_scenario(file) {
            Ok((name, scenario)) => {
                let (steps, checks) = (scenario.steps.len(), scenario.checks.names().len());
                println!("{name}: {steps} steps, {checks} checks");
            }
            Err(error) => {
                worst = Outcome::LabFailed;
                eprintln!("{:#}", anyhow::Error::from(error));
            }
        }
    }
    worst
}
