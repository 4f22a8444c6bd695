//! `raft-lab drill`, `check` and `check-file`: files in, reports out.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use lab_protocol::recording::About;
use lab_protocol::scenario::{Scenario, Span, Target, Variant};
use lab_protocol::{CheckResult, Event, Judgement, Numbered, Score, Verdict};

use super::file::odd_in_scenario;
use super::junit;
use super::report::{print_report, print_verdict, wants_json};
use super::{Outcome, Play, Report, Runner, read_scenario};
use crate::engine::{Engine, EngineError, EngineName};
use crate::lab::{Lab, LabPlan};
use crate::record::{self, Recorder};
use crate::report::{self, Figures, HISTORY_FILE, Page, REPORT_FILE};
use crate::workload;

/// No recording of a drill grows larger.
const RECORDING_BYTES: u64 = 512 * 1024 * 1024;

/// The file in a run's folder that says what was performed.
const SCENARIO_FILE: &str = "scenario.toml";

/// Which program the members run.
#[derive(Clone, Debug, Args)]
pub struct NodeChoice {
    /// What the members are: `raft-node`, or real etcd. What etcd cannot do is refused, and what it
    /// does not tell is not judged.
    #[arg(long, value_enum, default_value_t)]
    pub engine: EngineName,
    /// The etcd program, for --engine etcd: a path, or a name on the search path.
    #[arg(long, value_name = "PATH", default_value = "etcd")]
    pub etcd: PathBuf,
    /// The node program; without it `raft-node` beside this program.
    #[arg(long, value_name = "PATH")]
    pub node: Option<PathBuf>,
    /// A word for every member's command line, before its own flags. Repeat it, such as
    /// --node-arg --break --node-arg check-quorum-off for the training program.
    #[arg(long = "node-arg", value_name = "FLAG", allow_hyphen_values = true)]
    pub node_args: Vec<OsString>,
}

impl NodeChoice {
    /// The path of the members' program, whatever they are.
    pub fn member(&self) -> Result<PathBuf> {
        match self.engine {
            EngineName::RaftNode => self.program(),
            EngineName::Etcd => Ok(self.etcd.clone()),
        }
    }

    /// The path of our own node, for whoever runs nothing else.
    ///
    /// # Errors
    /// Real etcd is asked for.
    pub fn program(&self) -> Result<PathBuf> {
        anyhow::ensure!(
            self.engine == EngineName::RaftNode,
            "run real etcd here: this command is for raft-node; `up` and `drill` take --engine etcd"
        );
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
    /// Only this variant of scenarios that have some; without it all of them, one after the other.
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
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
    /// What is odd is wrong: faults that are never healed, names that nothing means, checks that
    /// cannot fail or never hold, waits that are too short.
    #[arg(long)]
    pub strict: bool,
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
        let twins: Vec<_> = twins(name, scenario)
            .into_iter()
            .filter(|(_, variant, _)| args.variant.is_none() || args.variant == *variant)
            .collect();
        if let (true, Some(wanted)) = (twins.is_empty(), &args.variant) {
            let known: Vec<_> = scenario.variants.iter().map(|v| v.name.as_str()).collect();
            anyhow::bail!(
                "find the variant `{wanted}` in {name}: there are [{}]",
                known.join(", ")
            );
        }
        for (name, variant, scenario) in twins {
            for play in ways(&args, &name, &scenario)? {
                let seed = args.seed.or(scenario.seed).unwrap_or_else(draw_seed);
                runs.push(Performance {
                    file: file.clone(),
                    name: name.clone(),
                    variant: variant.clone(),
                    scenario: scenario.clone(),
                    play,
                    seed,
                });
            }
        }
    }
    for performance in runs {
        let Performance { name, scenario, play, .. } = &performance;
        let mut say = |line: &str| eprintln!("{line}");
        say(&format!("{name}: {}", scenario.title));
        match Box::pin(performance.perform(&args.node, &args.runs, &mut say)).await {
            Ok(report) => {
                if !json {
                    print_report(&report);
                }
                if *play == Play::Solution {
                    best = report.score.as_ref().map_or(0, |score| score.points);
                }
                let proven = (args.every_way || args.both_ways) && scenario.drill.is_some();
                let outcome = match proven {
                    false => report.verdict.judgement.into(),
                    true => as_it_should_be(scenario, play, &report, best),
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

/// A scenario that is to be performed once.
#[derive(Clone, Debug)]
pub(super) struct Performance {
    pub(super) file: PathBuf,
    /// What it is called: the file's name, and the variant's.
    pub(super) name: String,
    pub(super) variant: Option<String>,
    /// As the variant has it.
    pub(super) scenario: Scenario,
    pub(super) play: Play,
    pub(super) seed: u64,
}

/// A scenario as each of its variants, with names; as it stands when it has none.
pub(super) fn twins(name: &str, scenario: &Scenario) -> Vec<(String, Option<String>, Scenario)> {
    if scenario.variants.is_empty() {
        return vec![(name.to_owned(), None, scenario.clone())];
    }
    let twin = |variant: &Variant| {
        let of = &variant.name;
        (format!("{name} [{of}]"), Some(of.clone()), scenario.with(variant))
    };
    scenario.variants.iter().map(twin).collect()
}

/// The file in a run's folder that says which variant was performed.
const VARIANT_FILE: &str = "variant";

/// Labs of one program are started one after the other: two that looked for ports in the same
/// instant could find the same.
static START: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Performance {
    /// Performs it in a lab of its own, and records the run.
    ///
    /// Errors: the lab failed; or [`Signalled`].
    pub(super) async fn perform(
        &self,
        node: &NodeChoice,
        runs: &Path,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Report> {
        let Self { file, name, variant, scenario, play, seed } = self;
        let (began, seed) = (Instant::now(), *seed);
        let plan = plan(node, scenario, seed)?;
        if let Some(why) = beyond(&plan, scenario).await.context("start the lab")? {
            return Ok(unperformed(name, scenario, seed, why));
        }
        let starting = START.lock().await;
        let lab = Lab::start(plan).await.context("start the lab")?;
        drop(starting);
        let handle = lab.handle().clone();
        let run = runs.join(format!("{}-{}", file_name(name), run_of(&lab).await));
        let recorder = Recorder::start(handle.journal(), &run, RECORDING_BYTES)
            .with_context(|| format!("record the run in {}", run.display()))?;
        // At once: somebody may edit the file meanwhile.
        std::fs::copy(file, run.join(SCENARIO_FILE)).context("save the scenario with the run")?;
        if let Some(variant) = variant {
            std::fs::write(run.join(VARIANT_FILE), variant).context("save the variant's name")?;
        }
        let runner = Runner::of(handle.clone(), scenario, seed, &mut *say);
        let verdict = tokio::select! {
            verdict = runner.perform(name, scenario, play) => {
                verdict.context("perform the scenario")
            }
            () = signalled() => Err(Signalled.into()),
        };
        if record::save_outputs(&handle, &run).is_err() {
            say("     the members' output could not be saved");
        }
        lab.shutdown().await;
        recorder.finish().await.context("record the run")?;
        let (verdict, score) = verdict?;
        record::save_verdict(&verdict, &run).context("save the verdict")?;
        let recording = record::read(&run).context("read the recording")?;
        report::write_history(&recording.events, &run.join(HISTORY_FILE))
            .context("write the clients' history")?;
        let told = (&verdict, score.as_ref());
        let page = write_report(&run, &scenario.title, &recording.events, told)?;
        say(&format!("     seed {seed}, recorded in {}", run.display()));
        say(&format!("     report: {}", page.display()));
        let seconds = began.elapsed().as_secs_f64();
        let play = scenario.drill.as_ref().map(|_| play.to_string());
        let title = scenario.title.clone();
        Ok(Report { title, play, seed, seconds, run: Some(run), verdict, score })
    }
}

/// A name as a file can have it: `N-04-no-pre-vote`.
fn file_name(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Writes the page that tells of a run into its folder.
fn write_report(
    run: &Path,
    title: &str,
    events: &[Numbered],
    (verdict, score): (&Verdict, Option<&Score>),
) -> Result<PathBuf> {
    let about = events.iter().rev().find_map(|numbered| About::of(&numbered.event));
    let about = about.context("find what ran: the journal does not begin")?;
    let figures = Figures::of(events);
    let page = Page { title, about: &about, verdict, score, figures: &figures, more: &[] };
    let path = run.join(REPORT_FILE);
    std::fs::write(&path, report::page(page))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Why members of this kind cannot be as the scenario wants them; none if they can.
///
/// Errors: there is no such program.
async fn beyond(plan: &LabPlan, scenario: &Scenario) -> Result<Option<String>, EngineError> {
    let Engine::Etcd(etcd) = Engine::new(plan.engine, &plan.node, Vec::new())? else {
        return Ok(None);
    };
    let cluster = &scenario.cluster;
    let millis = |span: Span| span.millis(cluster.scale());
    let (election, heartbeat) = (millis(cluster.election_timeout), millis(cluster.heartbeat));
    if let Some(why) = &scenario.not_on_etcd {
        return Ok(Some(format!("the scenario is not for real etcd: {why}")));
    }
    if let Some(bug) = &cluster.bug {
        return Ok(Some(format!("real etcd cannot have the bug `{bug}` planted in it")));
    }
    if election < 5 * heartbeat {
        return Ok(Some(format!(
            "etcd wants an election timeout of five heartbeats at least, not {election} ms with \
             heartbeats every {heartbeat} ms"
        )));
    }
    let flag = etcd.unknown_flag(&plan.node_args).await;
    let version = etcd.version().await;
    Ok(flag.map(|flag| format!("{version} has no flag {flag}")))
}

/// The report of a scenario for which no lab was started.
fn unperformed(name: &str, scenario: &Scenario, seed: u64, why: String) -> Report {
    let result = CheckResult {
        check: "the engine".to_owned(),
        guards: "the members can be as the scenario wants them".to_owned(),
        judgement: Judgement::Unknown,
        because: why,
        evidence: Vec::new(),
    };
    Report {
        title: scenario.title.clone(),
        play: None,
        seed,
        seconds: 0.0,
        run: None,
        verdict: Verdict::of(name, vec![result]),
        score: None,
    }
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
    let millis = |span: Span| span.millis(cluster.scale());
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
    let is_ours = node.engine == EngineName::RaftNode;
    let program = match is_ours && (cluster.training || cluster.bug.is_some()) {
        true => node.training()?,
        false => node.member()?,
    };
    Ok(LabPlan {
        members: Some(cluster.members),
        engine: node.engine,
        node_args,
        hold_back,
        clients: Some(workload::make_clients()),
        power: cluster.training && is_ours,
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
///
/// With `report` the verdict, the clients' history and the page in the folder are written anew.
pub fn judge_recording(
    run: &Path,
    other: Option<&Path>,
    (json, report): (bool, bool),
) -> Result<Outcome> {
    let file = other.map_or_else(|| run.join(SCENARIO_FILE), Path::to_owned);
    let (stem, scenario) = read_scenario(&file).with_context(|| {
        format!("judge {}; give the scenario that was performed with --scenario", run.display())
    })?;
    let variant = std::fs::read_to_string(run.join(VARIANT_FILE)).ok();
    let twin = scenario.variants.iter().find(|twin| Some(&twin.name) == variant.as_ref());
    let scenario = twin.map_or_else(|| scenario.clone(), |twin| scenario.with(twin));
    let recording = record::read(run).context("read the recording")?;
    if recording.torn {
        eprintln!("the recording's end is missing; everything before it is judged");
    }
    let name = match other {
        Some(_) => stem,
        None => run.file_name().map_or(stem, |name| name.to_string_lossy().into_owned()),
    };
    let verdict: Verdict = lab_check::judge(&name, &scenario, &recording.events);
    if report {
        let score = recording.events.iter().rev().find_map(|numbered| match &numbered.event {
            Event::Scored(score) => Some(score.as_ref()),
            _ => None,
        });
        record::save_verdict(&verdict, run).context("save the verdict")?;
        report::write_history(&recording.events, &run.join(HISTORY_FILE))
            .context("write the clients' history")?;
        let page = write_report(run, &scenario.title, &recording.events, (&verdict, score))?;
        eprintln!("report: {}", page.display());
    }
    if wants_json(json) {
        println!("{}", serde_json::to_string_pretty(&verdict).context("write the verdict")?);
    } else {
        print_verdict(&verdict);
    }
    Ok(verdict.judgement.into())
}

/// Reads every file and says of each whether it is fine, and what in it is odd.
pub fn check_files(args: &CheckFileArgs) -> Outcome {
    let mut worst = Outcome::Valid;
    for file in &args.files {
        let read = read_scenario(file)
            .and_then(|(name, scenario)| Ok((name, scenario, odd_in_scenario(file)?)));
        match read {
            Ok((name, scenario, odd)) => {
                let (steps, checks) = (scenario.steps.len(), scenario.checks.names().len());
                let expected = scenario.expectations.len();
                println!("{name}: {steps} steps, {checks} checks, {expected} expectations");
                for (place, why) in &odd {
                    println!("{place}: {why}");
                }
                if args.strict && !odd.is_empty() {
                    worst = worst.max(Outcome::Invalid);
                }
            }
            Err(error) => {
                worst = Outcome::LabFailed;
                eprintln!("{:#}", anyhow::Error::from(error));
            }
        }
    }
    worst
}
