//! `raft-lab crash-all`: crash every member at once under load, again and again, and look.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use lab_check::{AckedNotLost, Check, ElectionSafety, Linearizable, MembersEqual};
use lab_protocol::scenario::Condition;
use lab_protocol::{Command, Judgement, MemberNo, Verdict, WorkloadSpec};

use super::perform::{Signalled, draw_seed, signalled};
use super::report::{print_verdict, wants_json};
use super::runner::Trouble;
use super::{NodeChoice, Outcome, Runner};
use crate::lab::{Lab, LabPlan};
use crate::workload;

/// How long a cluster may take to be whole again after everything crashed.
const RECOVER: Duration = Duration::from_secs(30);

/// Acknowledged puts a round needs before the crash; with fewer it would prove nothing.
const LOADED: u32 = 30;

/// Crash every member at once under load, restart, and check that nothing acknowledged is lost.
#[derive(Clone, Debug, Args)]
pub struct CrashAllArgs {
    /// How often.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Number of members.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub members: u8,
    /// Puts a second while it is crashed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(40..=2000))]
    pub rate: u32,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub node: NodeChoice,
    /// Where every random choice comes from; without it one is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Print the verdict as JSON (also when the output is not a terminal).
    #[arg(long)]
    pub json: bool,
}

/// Does it, prints a line a round and the verdict at the end. Stops at the first round that is not
/// valid.
pub async fn crash_all(args: CrashAllArgs) -> Result<Outcome> {
    let seed = args.seed.unwrap_or_else(draw_seed);
    let node_args: Vec<OsString> = args.node.node_args.clone();
    let plan = LabPlan {
        members: Some(args.members),
        node_args,
        clients: Some(workload::make_clients()),
        ..LabPlan::of(args.node.program()?, seed)
    };
    eprintln!("crash-all: {} rounds, {} members, seed {seed}", args.rounds, args.members);
    let lab = Lab::start(plan).await.context("start the lab")?;
    let mut say = |line: &str| eprintln!("{line}");
    let performed = tokio::select! {
        performed = rounds(&lab, &args, seed, &mut say) => performed,
        () = signalled() => Err(Signalled.into()),
    };
    lab.shutdown().await;
    let verdict = performed?;
    if wants_json(args.json) {
        println!("{}", serde_json::to_string_pretty(&verdict).context("write the verdict")?);
    } else {
        print_verdict(&verdict);
    }
    Ok(verdict.judgement.into())
}

async fn rounds(
    lab: &Lab,
    args: &CrashAllArgs,
    seed: u64,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Verdict> {
    let checks: Vec<Box<dyn Check>> = vec![
        Box::new(ElectionSafety::default()),
        Box::new(AckedNotLost::new(LOADED)),
        Box::new(Linearizable::new(LOADED)),
        Box::new(MembersEqual::default()),
    ];
    let mut runner = Runner::new(lab.handle().clone(), checks.into(), seed, say);
    settle(runner.wait_for(&Condition::AllAgree, RECOVER).await).context("form the cluster")?;
    for number in 1..=args.rounds {
        let line = match round(&mut runner, args).await {
            Ok(line) => line,
            Err(Trouble::Lab(error)) => return Err(error).context("go on with the lab"),
            Err(Trouble::Impossible(why)) => {
                anyhow::bail!("perform round {number} (seed {seed}): {why}")
            }
            // A cluster that does not come back has broken its promise; the verdict says how.
            Err(Trouble::Broken(why)) => {
                runner.say(&format!("round {number}: {why}"));
                return Ok(not_recovered(runner.verdict("crash-all"), number, why));
            }
        };
        runner.say(&format!("round {number}: {line}"));
        let verdict = runner.verdict("crash-all");
        if verdict.judgement != Judgement::Valid {
            return Ok(verdict);
        }
    }
    Ok(runner.verdict("crash-all"))
}

async fn round(runner: &mut Runner<'_>, args: &CrashAllArgs) -> Result<String, Trouble> {
    let (acked, unknown) = (runner.seen.acked, runner.seen.unknown);
    let spec = WorkloadSpec {
        puts_per_second: args.rate,
        reads_per_second: args.rate / 4,
        // So many that a lost write is seldom hidden by a later one to the same key.
        keys: 4096,
        ..WorkloadSpec::default()
    };
    runner.submit(Command::SetWorkload { spec }).await?;
    runner.wait_for(&Condition::Acked(LOADED), RECOVER).await?;
    let moment = Duration::from_millis(runner.draws.below(400) as u64);
    runner.follow_until(tokio::time::Instant::now() + moment, |_| false).await?;

    let all: BTreeSet<_> = (1..=args.members).map(MemberNo).collect();
    runner.submit_each(&all, |member| Command::Crash { member }).await?;
    let began = Instant::now();
    runner.submit_each(&all, |member| Command::Restart { member }).await?;
    // The load goes on: the first answer says that the cluster is back.
    runner.catch_up()?;
    runner.wait_for(&Condition::Acked(1), RECOVER).await?;
    let back = began.elapsed();
    runner.quiet().await?;
    runner.wait_for(&Condition::Converged, RECOVER).await?;
    runner.seen.hashes.clear();
    runner.submit(Command::ReadBack).await?;
    runner.catch_up()?;

    let hashes: BTreeSet<_> = runner.seen.hashes.values().copied().collect();
    let hash = match hashes.iter().collect::<Vec<_>>().as_slice() {
        [(revision, hash)] => format!(
            "hash {hash:08x} at revision {revision} on {} members",
            runner.seen.hashes.len()
        ),
        _ => "hashes differ".to_owned(),
    };
    Ok(format!(
        "{} acknowledged, {} unknown, back after {:.2} s, {hash}",
        runner.seen.acked - acked,
        runner.seen.unknown - unknown,
        back.as_secs_f64()
    ))
}

fn not_recovered(verdict: Verdict, round: u32, because: String) -> Verdict {
    let mut checks = verdict.checks;
    checks.insert(
        0,
        lab_protocol::CheckResult {
            check: format!("round {round}"),
            guards: "after every member crashed the cluster recovers by itself".into(),
            judgement: Judgement::Invalid,
            because,
            evidence: vec![],
        },
    );
    Verdict::of(verdict.scenario, checks)
}

fn settle(result: Result<(), Trouble>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(Trouble::Impossible(why) | Trouble::Broken(why)) => Err(anyhow::anyhow!(why)),
        Err(Trouble::Lab(error)) => Err(error.into()),
    }
}
