//! The command: clusters beside each other, progress, the report.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lab_check::{AckedNotLost, Check, ElectionSafety, Linearizable, MembersEqual, WatchGuarantees};
use lab_protocol::MemberNo;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use super::super::perform::{Signalled, draw_seed, signalled};
use super::super::runner::Trouble;
use super::super::teller::Teller;
use super::super::{Outcome, Runner};
use super::ledger::Ledger;
use super::life::{LOADED, Life};
use super::points::points_of;
use crate::lab::{Lab, LabPlan};
use crate::record::Recorder;
use crate::workload;

/// No recording of a life grows larger.
const RECORDING_BYTES: u64 = 512 * 1024 * 1024;

/// Flags of every member: small segments and a short log, so that what is rare in production
/// happens all the time.
const MEMBER_FLAGS: [&str; 6] = [
    "--wal-segment-bytes",
    "32768",
    "--election-timeout=200",
    "--heartbeat-interval=40",
    "--snapshot-count=40",
    "--experimental-snapshot-catchup-entries=10",
];

/// Crash members at every failpoint and take their power, under load, and check that nothing
/// acknowledged is lost.
#[derive(Clone, Debug, Args)]
pub struct CrashArgs {
    /// Crashes at failpoints in all. Each failpoint is crashed at least once, even with 0.
    #[arg(long, default_value_t = 1000)]
    pub crashes: u32,
    /// Losses of power in all.
    #[arg(long, default_value_t = 200)]
    pub power_losses: u32,
    /// Change the members so many times instead, each time with a member that ends somewhere on the
    /// way from the proposal to the disk.
    #[arg(long, default_value_t = 0, conflicts_with_all = ["crashes", "power_losses"])]
    pub changes: u32,
    /// Clusters beside each other; without it one more than there are cores, as members mostly
    /// wait.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub clusters: Option<u8>,
    /// Members of each cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    pub members: u8,
    /// Puts a second in each cluster.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(40..=500))]
    pub rate: u32,
    /// The training program; without it `raft-node-training` beside this program.
    #[arg(long, value_name = "PATH")]
    pub node: Option<PathBuf>,
    /// A word for every member's command line, before its own flags. Repeat it, such as
    /// --node-arg --break --node-arg nothing-persisted.
    #[arg(long = "node-arg", value_name = "FLAG", allow_hyphen_values = true)]
    pub node_args: Vec<OsString>,
    /// Where every random choice comes from; without it one is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where clusters live while they run; one that fails stays there, with its recording.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
}

/// What all clusters share.
struct Shared {
    program: PathBuf,
    node_args: Vec<OsString>,
    members: u8,
    rate: u32,
    seed: u64,
    folder: PathBuf,
    ledger: Mutex<Ledger>,
    stop: CancellationToken,
}

/// How a cluster's work ended, when it was not all valid.
struct Failure {
    outcome: Outcome,
    why: String,
}

/// Does it, tells how far it has come, and prints the report at the end. Stops at the first
/// failure.
pub async fn crash(args: CrashArgs) -> Result<Outcome> {
    let program = match args.node {
        Some(path) => path,
        None => std::env::current_exe()
            .context("find this program")?
            .with_file_name("raft-node-training"),
    };
    let points = points_of(&program).await?;
    let seed = args.seed.unwrap_or_else(draw_seed);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let clusters =
        args.clusters.unwrap_or_else(|| u8::try_from(cores + 1).unwrap_or(u8::MAX).min(16));
    let folder = args.runs.join(format!("crash-{seed}"));
    let members = args.members;
    let ledger = if args.changes > 0 {
        eprintln!(
            "crash: {} changes of the members, {clusters} clusters that begin with {members}, seed \
             {seed}",
            args.changes
        );
        Ledger::of_changes(points, args.changes, seed)
    } else {
        let (crashes, power_losses) = (args.crashes, args.power_losses);
        eprintln!(
            "crash: {crashes} crashes at {} failpoints and {power_losses} power losses, {clusters} \
             clusters of {members} members, seed {seed}",
            points.len()
        );
        Ledger::new(points, crashes, power_losses, seed)
    };
    let shared = Shared {
        program,
        node_args: args.node_args,
        members: args.members,
        rate: args.rate,
        seed,
        folder,
        ledger: Mutex::new(ledger),
        stop: CancellationToken::new(),
    };
    let began = Instant::now();
    let mut running: FuturesUnordered<_> =
        (1..=clusters).map(|cluster| work(&shared, cluster)).collect();
    let told = Teller::new();
    let mut asked_to_end = std::pin::pin!(signalled());
    let mut ticks = tokio::time::interval(told.every());
    let mut failures = Vec::new();
    let mut interrupted = false;
    loop {
        tokio::select! {
            ended = running.next() => match ended {
                None => break,
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    told.end();
                    eprintln!("crash: {}", failure.why);
                    failures.push(failure);
                    shared.stop.cancel();
                }
            },
            () = &mut asked_to_end, if !interrupted => {
                interrupted = true;
                shared.stop.cancel();
            }
            _ = ticks.tick() => {
                told.tell(&shared.ledger.lock().progress(began.elapsed()));
            }
        }
    }
    told.end();
    // It is empty unless a life failed, and was not made if none began.
    std::fs::remove_dir(&shared.folder).ok();
    let ledger = shared.ledger.lock();
    println!("{}", ledger.report(began.elapsed()));
    if interrupted && failures.is_empty() {
        return Err(Signalled.into());
    }
    let worst = failures.iter().map(|failure| failure.outcome).max();
    if let Some(worst) = worst {
        println!("failed; seed {seed}; what is left lies in {}", shared.folder.display());
        return Ok(worst);
    }
    let missed = ledger.missed();
    if !missed.is_empty() {
        println!(
            "no process ended at {}: nothing is known of them; seed {seed}",
            missed.join(", ")
        );
        return Ok(Outcome::Invalid);
    }
    println!(
        "valid: no acknowledged write lost, every hash equal, every member came back; seed {seed}"
    );
    Ok(Outcome::Valid)
}

/// One cluster after the other in one place, as long as there is something to do.
async fn work(shared: &Shared, cluster: u8) -> Result<(), Failure> {
    let mut number = 0u64;
    while !shared.stop.is_cancelled() && shared.ledger.lock().has_work() {
        number += 1;
        let name = format!("cluster-{cluster}-life-{number}");
        let dir = shared.folder.join(&name);
        let seed = shared.seed ^ (u64::from(cluster) << 32) ^ number;
        let result = life(shared, &dir, seed).await;
        let (outcome, why) = match result {
            Ok(Ok(())) => {
                shared.ledger.lock().lives += 1;
                if let Err(error) = std::fs::remove_dir_all(&dir) {
                    tracing::warn!(dir = %dir.display(), %error, "a finished cluster's files stay");
                }
                continue;
            }
            Ok(Err(Trouble::Broken(why))) => (Outcome::Invalid, why),
            Ok(Err(Trouble::Impossible(why))) => (Outcome::Unknown, why),
            Ok(Err(Trouble::Lab(error))) => {
                (Outcome::LabFailed, format!("{:#}", anyhow::Error::from(error)))
            }
            Err(error) if error.is::<Signalled>() => {
                // It proves nothing and nobody wants to see it.
                std::fs::remove_dir_all(&dir).ok();
                return Ok(());
            }
            Err(error) => (Outcome::LabFailed, format!("{error:#}")),
        };
        return Err(Failure { outcome, why: format!("{name}: {why} (kept in {})", dir.display()) });
    }
    Ok(())
}

/// One life in a lab of its own; recorded, so that a failure can be replayed.
async fn life(shared: &Shared, dir: &Path, seed: u64) -> Result<Result<(), Trouble>> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let held_back = MemberNo(draws.random_range(1..=shared.members));
    let changing = shared.ledger.lock().changes_members();
    let mut node_args = shared.node_args.clone();
    node_args.extend(MEMBER_FLAGS.iter().map(Into::into));
    let plan = LabPlan {
        members: Some(shared.members),
        dir: Some(dir.to_owned()),
        node_args,
        hold_back: if changing { [].into() } else { [held_back].into() },
        power: true,
        clients: Some(workload::make_clients()),
        ..LabPlan::of(shared.program.clone(), seed)
    };
    let lab = Lab::start(plan).await.context("start the lab")?;
    let handle = lab.handle().clone();
    let recording = dir.join("runs").join("life");
    let recorder = Recorder::start(handle.journal(), &recording, RECORDING_BYTES)
        .with_context(|| format!("record the run in {}", recording.display()))?;
    let checks: Vec<Box<dyn Check>> = vec![
        Box::new(ElectionSafety::default()),
        Box::new(AckedNotLost::new(LOADED)),
        Box::new(Linearizable::new(LOADED)),
        Box::new(WatchGuarantees::new(LOADED)),
        Box::new(MembersEqual::default()),
    ];
    let mut say = |_: &str| {};
    let lived = {
        let mut life = Life {
            lab: &lab,
            runner: Runner::new(handle.clone(), checks.into(), seed, &mut say),
            ledger: &shared.ledger,
            draws,
            members: shared.members,
            puts_per_second: shared.rate,
            held_back,
            going: [].into(),
            counted: (0, 0),
        };
        tokio::select! {
            lived = life.live() => Ok(lived),
            () = shared.stop.cancelled() => Err(Signalled.into()),
        }
    };
    lab.shutdown().await;
    recorder.finish().await.context("record the run")?;
    lived
}
