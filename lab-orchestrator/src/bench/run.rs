//! The bench itself: what is measured, in which order, on which side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use http::Uri;

use super::cluster::{Cluster, Program, Side};
use super::limits::{Cores, fsync_figures};
use super::load::{Kind, Load, find_leader, first_put, measure};
use super::samples::Figures;
use super::table::{Case, Measured, line, summary};
use crate::drill::{Signalled, signalled};

/// How long a cluster may take to acknowledge its first put.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// What is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Rival {
    /// The etcd that is installed.
    Etcd,
}

/// Measure a cluster, or ours beside real etcd.
///
/// Without --endpoints it starts three of our members (and with --against three of the other
/// side) on loopback, without a lab in between, on one disk, and ends them afterwards.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Measure what answers here instead, such as http://127.0.0.1:2379; several with commas.
    #[arg(long, value_delimiter = ',', value_name = "URL", conflicts_with = "against")]
    endpoints: Vec<String>,
    /// Measure this too, taking turns, and print the ratios.
    #[arg(long)]
    against: Option<Rival>,
    /// How often each case is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each case is measured, seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Clients of the busy cases.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Connections that they share, spread over all members.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Size of a value, bytes.
    #[arg(long, default_value_t = 256)]
    value_bytes: u32,
    /// How often each side is started empty for the first put; 0 leaves it out.
    #[arg(long, default_value_t = 10)]
    starts: u32,
    /// Our node program; without it `raft-node` beside this program.
    #[arg(long, value_name = "PATH")]
    node: Option<PathBuf>,
    /// Where the members' data lies for the time; without it the directory for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print everything that was measured as JSON.
    #[arg(long)]
    json: bool,
}

/// Measures and prints. Ends everything that it started, also after a signal.
pub async fn bench(args: BenchArgs) -> Result<ExitCode> {
    let measured = tokio::select! {
        measured = measure_all(&args) => measured?,
        // Members die with their supervisors, which are dropped here.
        () = signalled() => return Err(Signalled.into()),
    };
    if args.json {
        let text = serde_json::to_string_pretty(&measured).context("write the figures")?;
        println!("{text}");
    } else {
        print!("{}", summary(&measured));
    }
    Ok(ExitCode::SUCCESS)
}

/// One side, running.
struct Running {
    side: Side,
    endpoints: Vec<Uri>,
    leader: Uri,
    pids: Vec<u32>,
    cluster: Option<Cluster>,
}

async fn measure_all(args: &BenchArgs) -> Result<Measured> {
    let root = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .context("make a directory for the members' data")?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut measured = Measured {
        cores,
        fsync: Vec::new(),
        value_bytes: args.value_bytes as usize,
        cases: Vec::new(),
        first_put_millis: BTreeMap::new(),
    };
    if !args.endpoints.is_empty() {
        let endpoints = args
            .endpoints
            .iter()
            .map(|url| url.parse::<Uri>().with_context(|| format!("read the address `{url}`")))
            .collect::<Result<Vec<_>>>()?;
        let leader = find_leader(&endpoints).await?;
        let side = Side::Endpoints;
        let running = Running { side, endpoints, leader, pids: Vec::new(), cluster: None };
        (measured.cases, _) = rounds(args, &[running], None).await?;
        return Ok(measured);
    }
    let programs = programs(args)?;
    let mut sides = Vec::new();
    for program in &programs {
        sides.push(start(program, root.path()).await?);
    }
    let cases = rounds(args, &sides, Some(root.path())).await;
    for side in sides {
        if let Some(cluster) = side.cluster {
            cluster.end().await;
        }
    }
    (measured.cases, measured.fsync) = cases?;
    measured.first_put_millis = first_puts(args, &programs, root.path()).await?;
    Ok(measured)
}

fn programs(args: &BenchArgs) -> Result<Vec<Program>> {
    let ours = match &args.node {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("find this program")?.with_file_name("raft-node"),
    };
    if !ours.is_file() {
        bail!(
            "find our node at {}; build it (cargo build --release) or give --node",
            ours.display()
        );
    }
    let mut programs = vec![Program { side: Side::Ours, path: ours }];
    if args.against == Some(Rival::Etcd) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|p| p.is_file());
        let Some(path) = found else {
            bail!("find `etcd` in PATH; install it (Debian: etcd-server) or leave --against away");
        };
        programs.push(Program { side: Side::Etcd, path });
    }
    Ok(programs)
}

async fn start(program: &Program, root: &Path) -> Result<Running> {
    let mut cluster = program.start(root).await?;
    let pids = cluster.pids().await?;
    let endpoints = cluster.endpoints.clone();
    let leader = find_leader(&endpoints)
        .await
        .with_context(|| format!("start {}:\n{}", program.side.word(), cluster.last_words()))?;
    Ok(Running { side: program.side, endpoints, leader, pids, cluster: Some(cluster) })
}

/// Measures every case on every side, `args.rounds` times; the disk too, where the data lies.
async fn rounds(
    args: &BenchArgs,
    sides: &[Running],
    disk: Option<&Path>,
) -> Result<(Vec<Case>, Vec<Figures>)> {
    let mut fsync = Vec::new();
    let loads = loads(args);
    let mut cases: Vec<_> = loads
        .iter()
        .map(|(name, load, _)| Case {
            name: name.clone(),
            by_latency: load.clients == 1,
            rounds: BTreeMap::new(),
        })
        .collect();
    for round in 1..=args.rounds {
        if let Some(disk) = disk {
            fsync.push(fsync_figures(disk).context("measure the disk")?);
        }
        for ((name, load, to_leader), case) in loads.iter().zip(&mut cases) {
            eprintln!("round {round} of {}: {name}", args.rounds);
            // Who goes first changes with every round.
            let mut order: Vec<_> = sides.iter().collect();
            if round % 2 == 0 {
                order.reverse();
            }
            for side in order {
                let leader = std::slice::from_ref(&side.leader);
                let endpoints = if *to_leader { leader } else { &side.endpoints[..] };
                let cores = Cores::start(&side.pids);
                let measured = measure(*load, endpoints).await;
                let mut figures =
                    measured.with_context(|| format!("measure {}: {name}", side.side.word()))?;
                cores.finish(&mut figures);
                eprintln!("  {}", line(side.side, &figures));
                case.rounds.entry(side.side).or_default().push(figures);
            }
        }
    }
    Ok((cases, fsync))
}

/// The loads: a name, how hard, and whether it goes to the leader alone.
fn loads(args: &BenchArgs) -> Vec<(String, Load, bool)> {
    let (clients, connections) = (args.clients, args.connections);
    let load = |kind, clients: u32, connections: u32| Load {
        kind,
        clients: clients as usize,
        connections: connections as usize,
        value_bytes: args.value_bytes as usize,
        duration: Duration::from_secs(args.seconds),
    };
    let spread = format!("{clients} clients on {connections} connections over all members");
    vec![
        ("put, 1 client to the leader".into(), load(Kind::Put, 1, 1), true),
        (format!("put, {spread}"), load(Kind::Put, clients, connections), false),
        ("linearizable range, 1 client to the leader".into(), load(Kind::Range, 1, 1), true),
        (format!("linearizable range, {spread}"), load(Kind::Range, clients, connections), false),
    ]
}

/// Starts each side empty, in turns, and times from the first process to the first answer.
async fn first_puts(
    args: &BenchArgs,
    programs: &[Program],
    root: &Path,
) -> Result<BTreeMap<Side, Vec<f64>>> {
    let mut millis: BTreeMap<Side, Vec<f64>> = BTreeMap::new();
    for number in 1..=args.starts {
        let mut order: Vec<_> = programs.iter().collect();
        if number % 2 == 0 {
            order.reverse();
        }
        let mut words = Vec::new();
        for program in order {
            let began = Instant::now();
            let cluster = program.start(root).await?;
            let answered = first_put(&cluster.endpoints, START_DEADLINE).await;
            let took = began.elapsed().as_secs_f64() * 1000.0;
            let last_words = cluster.last_words();
            cluster.end().await;
            answered.with_context(|| format!("start {}:\n{last_words}", program.side.word()))?;
            millis.entry(program.side).or_default().push(took);
            words.push(format!("{} {took:.0} ms", program.side.word()));
        }
        eprintln!("start {number} of {}: first put after {}", args.starts, words.join(", "));
    }
    Ok(millis)
}
