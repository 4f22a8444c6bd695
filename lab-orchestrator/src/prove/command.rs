//! The command: which proof, its progress, its verdict.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use lab_protocol::Verdict;
use serde::Serialize;

use super::kubernetes::{self, KubernetesArgs};
use super::leases::{self, LeasesArgs};
use super::watchers::{self, WatchersArgs};
use crate::drill::{
    NodeChoice, Outcome, Signalled, draw_seed, print_verdict, signalled, wants_json,
};

pub(super) use crate::drill::Teller;

/// Prove something of a cluster by a long run of one kind of load.
#[derive(Clone, Debug, Args)]
pub struct ProveArgs {
    /// What is to be proved.
    #[command(subcommand)]
    pub proof: Proof,
}

/// What can be proved.
#[derive(Clone, Debug, Subcommand)]
pub enum Proof {
    Kubernetes(KubernetesArgs),
    Leases(LeasesArgs),
    Watchers(WatchersArgs),
}

/// What every proof is told.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Number of members.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    pub members: u8,
    #[command(flatten)]
    pub node: NodeChoice,
    /// Where every random choice comes from; without it one is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Print the verdict as JSON (also when the output is not a terminal).
    #[arg(long)]
    pub json: bool,
}

/// The verdict, and how to come to it again.
#[derive(Serialize)]
struct Report {
    seed: u64,
    seconds: f64,
    #[serde(flatten)]
    verdict: Verdict,
}

/// Does it, tells how far it has come, and prints the verdict at the end.
///
/// Errors: the lab failed, or a signal came; there is no verdict then.
pub async fn prove(args: ProveArgs) -> Result<Outcome> {
    let common = match &args.proof {
        Proof::Kubernetes(args) => &args.common,
        Proof::Leases(args) => &args.common,
        Proof::Watchers(args) => &args.common,
    };
    let seed = common.seed.unwrap_or_else(draw_seed);
    let json = wants_json(common.json);
    let began = Instant::now();
    let teller = Teller::new();
    let proved = async {
        match &args.proof {
            Proof::Kubernetes(args) => kubernetes::perform(args, seed, &teller).await,
            Proof::Leases(args) => leases::perform(args, seed, &teller).await,
            Proof::Watchers(args) => watchers::perform(args, seed, &teller).await,
        }
    };
    // A lab that is dropped kills its processes.
    let verdict = tokio::select! {
        verdict = proved => verdict?,
        () = signalled() => return Err(Signalled.into()),
    };
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("{}: {seconds:.0} s, seed {seed}", verdict.scenario);
    let outcome = verdict.judgement.into();
    if json {
        let report = Report { seed, seconds, verdict };
        println!("{}", serde_json::to_string_pretty(&report).context("write the verdict")?);
    } else {
        print_verdict(&verdict);
    }
    Ok(outcome)
}
