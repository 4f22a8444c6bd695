//! `raft-lab`: runs a real cluster, breaks it, keeps its journal and judges it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use lab_orchestrator::attach;
use lab_orchestrator::bench::{self, BenchArgs, CurvesArgs};
use lab_orchestrator::doctor::{self, DoctorArgs};
use lab_orchestrator::drill::{
    self, CheckFileArgs, CrashAllArgs, CrashArgs, DrillArgs, LanguageArgs, MatrixArgs, NodeChoice,
    SoakArgs,
};
use lab_orchestrator::env;
use lab_orchestrator::lab::LabPlan;
use lab_orchestrator::prove::{self, ProveArgs};
use lab_orchestrator::up::{self, Habits, PageOptions, Played};
use lab_orchestrator::workload;
use lab_protocol::scenario::Span;
use tracing_subscriber::EnvFilter;

/// What a run leaves to judge is many small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The lab itself failed; what it was asked for was neither shown nor refuted.
const LAB_FAILED: u8 = 3;

/// Run a real Raft cluster, break it, and see what happens.
#[derive(Debug, Parser)]
#[command(name = "raft-lab", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Do,
}

#[derive(Debug, Subcommand)]
enum Do {
    /// Start a cluster and its page.
    Up(Up),
    /// Show an existing cluster on the page, by its client endpoints alone; nothing is done to it.
    Attach(Attach),
    /// Perform scenarios on real processes and judge them.
    Drill(DrillArgs),
    /// Perform many scenarios, each as every variant and with several seeds.
    Matrix(MatrixArgs),
    /// Read scenario files and say what is wrong with them.
    CheckFile(CheckFileArgs),
    /// Print the words of scenario files: actions, conditions, quantities, expectations, checks.
    Language(LanguageArgs),
    /// Print the JSON Schema of scenario files, for editors.
    Schema,
    /// Judge a recorded run again.
    Check(Check),
    /// Show a recorded run on the page.
    Replay(Replay),
    /// Crash every member at once under load, again and again, and check that nothing is lost.
    CrashAll(CrashAllArgs),
    /// Crash members of the training program at every failpoint and take their power, under load,
    /// and check that nothing is lost.
    Crash(CrashArgs),
    /// Deal every fault that a cluster gets over, one or several at a time, for a given time; judge
    /// it window by window, and measure what grows.
    Soak(SoakArgs),
    /// Prove something of a cluster by a long run of one kind of load.
    Prove(ProveArgs),
    /// Measure puts and reads, ours against others.
    Bench(BenchArgs),
    /// Measure what hardware does to a cluster: fsync, round trip and memory, as curves.
    Curves(CurvesArgs),
    /// Say what size of cluster this machine and a disk suit.
    Doctor(DoctorArgs),
    /// Print what a shell needs to use a running lab and to start its members:
    /// eval "$(raft-lab env)".
    Env(Env),
}

#[derive(Debug, Args)]
struct Page {
    /// Port of the page; without it 7070, or the next that is free.
    #[arg(long)]
    port: Option<u16>,
    /// Loopback address of the page.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Do not open a browser.
    #[arg(long)]
    no_open: bool,
}

#[derive(Debug, Args)]
struct Up {
    /// Number of members, 1 to 9; without it what the directory holds, else 3.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=9))]
    members: Option<u8>,
    #[command(flatten)]
    page: Page,
    /// Where the cluster lives; it is resumed when it is there. Without it everything is
    /// temporary.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Delete the cluster in --dir and start anew.
    #[arg(long, requires = "dir")]
    fresh: bool,
    #[command(flatten)]
    node: NodeChoice,
    /// Where every random choice of the lab comes from; without it one is drawn.
    #[arg(long)]
    seed: Option<u64>,
    /// Start the default workload at once.
    #[arg(long, conflicts_with = "no_workload")]
    workload: bool,
    /// Start without a workload (the default); the page turns it on.
    #[arg(long)]
    no_workload: bool,
    /// Play this drill, such as scenarios/drills/DR-02-two-disks.toml: something happens to the
    /// cluster, and you recover it, on the page or with commands of your own.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["members", "dir", "workload"])]
    drill: Option<PathBuf>,
    /// Take this lesson, such as scenarios/leader-failure.toml: predict on the page what will
    /// happen, see it happen, and read what your predictions were worth.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["members", "dir", "workload", "drill", "backups"]
    )]
    lesson: Option<PathBuf>,
    /// Take a backup so often from the start, such as 30s, and restore each for a test.
    #[arg(long, value_name = "EVERY", value_parser = every)]
    backups: Option<Duration>,
}

#[derive(Debug, Args)]
struct Attach {
    /// Where its members serve clients, such as http://10.0.0.1:2379,http://10.0.0.2:2379. One is
    /// enough; the others are asked where the cluster says.
    #[arg(long, value_name = "URL,…", required = true, value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Record what is seen in a folder of its own below this one.
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
struct Replay {
    /// The directory of the run.
    run: PathBuf,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
struct Env {
    /// The directory of the lab; without it the only one that runs in a temporary directory.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON instead of lines for a shell.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Check {
    /// The directory of the run.
    run: PathBuf,
    /// Judge by this scenario instead of the one that was performed.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Write the verdict, the clients' history and the page in the run's directory anew.
    #[arg(long)]
    report: bool,
    /// Print the report as JSON (also when the output is not a terminal).
    #[arg(long)]
    json: bool,
}

impl From<Page> for PageOptions {
    fn from(page: Page) -> Self {
        let Page { port, host, no_open } = page;
        Self { host, port, open: !no_open }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("raft-lab: failed to {error:#}");
            ExitCode::from(LAB_FAILED)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let workers = match &cli.command {
        // Beside members on the same cores, a thread more is a switch more and measures itself.
        Do::Bench(_) => (cores() / 2).max(1),
        _ => 2,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let code = runtime.block_on(async {
        match cli.command {
            Do::Up(up) => {
                let Up { members, page, dir, fresh, node, seed, workload, .. } = up;
                let Up { backups, drill, lesson, .. } = up;
                if let Some(file) = drill.as_ref().or(lesson.as_ref()) {
                    let read = drill::read_scenario(file);
                    let (name, scenario) =
                        read.with_context(|| format!("read {}", file.display()))?;
                    let seed = seed.or(scenario.seed).unwrap_or_else(draw_seed);
                    let plan = drill::plan(&node, &scenario, seed)?;
                    let played = Some(Box::new(Played { name, scenario, seed }));
                    let (drill, lesson) = match drill {
                        Some(_) => (played, None),
                        None => (None, played),
                    };
                    let habits = Habits { backups, drill, lesson, workload: false };
                    up::up(plan, page.into(), habits).await?;
                    return Ok(ExitCode::SUCCESS);
                }
                let seed = seed.unwrap_or_else(draw_seed);
                let plan = LabPlan {
                    members,
                    dir,
                    fresh,
                    engine: node.engine,
                    node_args: node.node_args.clone(),
                    clients: Some(workload::make_clients()),
                    ..LabPlan::of(node.member()?, seed)
                };
                up::up(plan, page.into(), Habits { workload, backups, ..Habits::default() })
                    .await?;
                Ok(ExitCode::SUCCESS)
            }
            Do::Attach(Attach { endpoints, runs, page }) => {
                attach::attach(&endpoints, runs, page.into()).await?;
                Ok(ExitCode::SUCCESS)
            }
            Do::Drill(args) => Ok(drill::drill(args).await?.into()),
            Do::Matrix(args) => Ok(drill::matrix(args).await?.into()),
            Do::CheckFile(args) => Ok(drill::check_files(&args).into()),
            Do::Language(args) => {
                print!("{}", drill::language(&args));
                Ok(ExitCode::SUCCESS)
            }
            Do::Schema => {
                println!("{}", drill::schema()?);
                Ok(ExitCode::SUCCESS)
            }
            Do::Check(Check { run, scenario, report, json }) => {
                Ok(drill::judge_recording(&run, scenario.as_deref(), (json, report))?.into())
            }
            Do::Replay(Replay { run, page }) => {
                up::replay(run, page.into()).await?;
                Ok(ExitCode::SUCCESS)
            }
            Do::CrashAll(args) => Ok(drill::crash_all(args).await?.into()),
            Do::Crash(args) => Ok(drill::crash(args).await?.into()),
            Do::Soak(args) => Ok(Box::pin(drill::soak(args)).await?.into()),
            Do::Prove(args) => Ok(prove::prove(args).await?.into()),
            Do::Bench(args) => bench::bench(args).await,
            Do::Curves(args) => bench::curves(args).await,
            Do::Doctor(args) => doctor::doctor(&args),
            Do::Env(Env { dir, json }) => {
                env::env(dir.as_deref(), json)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// A time as scenarios write it.
fn every(text: &str) -> Result<Duration, String> {
    match text.parse()? {
        Span::Millis(millis @ 1_000..) => Ok(Duration::from_millis(millis)),
        Span::Millis(_) | Span::Tenths(..) => Err("a second at least".into()),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[expect(clippy::disallowed_methods, reason = "the seed itself is where chance comes in")]
fn draw_seed() -> u64 {
    rand::random()
}
