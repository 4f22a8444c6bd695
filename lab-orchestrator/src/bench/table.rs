//! The figures of a bench in words.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cluster::Side;
use super::samples::{Figures, median};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// Cores of this machine.
    pub(super) cores: usize,
    /// How long this disk took to make a small append durable, before each round.
    pub(super) fsync: Vec<Figures>,
    /// Size of a value.
    pub(super) value_bytes: usize,
    /// Each case: for each side the figures of every round.
    pub(super) cases: Vec<Case>,
    /// First put after starting three empty members, milliseconds, of each start.
    pub(super) first_put_millis: BTreeMap<Side, Vec<f64>>,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Case {
    /// What is asked, and how.
    pub(super) name: String,
    /// Whether latency is what counts (else throughput).
    pub(super) by_latency: bool,
    /// The figures of every round.
    pub(super) rounds: BTreeMap<Side, Vec<Figures>>,
}

/// One round's figures of one case on one side, in a line.
pub(super) fn line(side: Side, figures: &Figures) -> String {
    let Figures { per_second, p50_millis, p99_millis, max_millis, errors, .. } = figures;
    let cores = match (figures.member_cores, figures.client_cores) {
        (Some(members), Some(client)) => {
            format!("  cores: members {members:.2}, clients {client:.2}")
        }
        (None, Some(client)) => format!("  cores: clients {client:.2}"),
        (_, None) => String::new(),
    };
    let errors = if *errors == 0 { String::new() } else { format!("  {errors} errors") };
    format!(
        "{:<10}{per_second:>9.0}/s  p50 {p50_millis:>7.2} ms  p99 {p99_millis:>7.2} ms  \
         max {max_millis:>7.1} ms{errors}{cores}",
        side.word()
    )
}

fn of(rounds: &[Figures], figure: impl Fn(&Figures) -> f64) -> f64 {
    median(rounds.iter().map(figure))
}

/// Medians over the rounds, ratios of ours to etcd's, and what limited them.
pub(super) fn summary(measured: &Measured) -> String {
    let mut text = String::from("medians\n");
    for case in &measured.cases {
        text.push_str(&format!("  {}\n", case.name));
        for (side, rounds) in &case.rounds {
            let (per_second, p50) = (of(rounds, |f| f.per_second), of(rounds, |f| f.p50_millis));
            let p99 = of(rounds, |f| f.p99_millis);
            text.push_str(&format!(
                "    {:<10}{per_second:>9.0}/s  p50 {p50:>7.2} ms  p99 {p99:>7.2} ms\n",
                side.word()
            ));
        }
        if let (Some(ours), Some(etcd)) =
            (case.rounds.get(&Side::Ours), case.rounds.get(&Side::Etcd))
        {
            let ratio = |figure: fn(&Figures) -> f64| of(ours, figure) / of(etcd, figure);
            text.push_str(&format!(
                "    ours to etcd: throughput {:.2}, p50 {:.2}, p99 {:.2}\n",
                ratio(|f| f.per_second),
                ratio(|f| f.p50_millis),
                ratio(|f| f.p99_millis)
            ));
        }
        text.push_str(&limited(case, measured.cores));
    }
    text.push_str(&starts(&measured.first_put_millis));
    if !measured.fsync.is_empty() {
        text.push_str(&format!(
            "hardware\n    {} cores; this disk makes a 512-byte append durable in {:.2} ms \
             (median), {:.2} ms (p99)\n",
            measured.cores,
            of(&measured.fsync, |f| f.p50_millis),
            of(&measured.fsync, |f| f.p99_millis)
        ));
    }
    text
}

/// Whether the cores were the limit of a case, by who kept them busy.
fn limited(case: &Case, cores: usize) -> String {
    let mut text = String::new();
    for (side, rounds) in &case.rounds {
        let members = of(rounds, |f| f.member_cores.unwrap_or(f64::NAN));
        let clients = of(rounds, |f| f.client_cores.unwrap_or(f64::NAN));
        let idle = of(rounds, |f| f.idle_cores.unwrap_or(f64::NAN));
        if !members.is_nan() && !idle.is_nan() {
            let others = (cores as f64 - members - clients - idle).max(0.0);
            let limit =
                if idle < 0.15 * cores as f64 { "the cores limit" } else { "cores are left" };
            text.push_str(&format!(
                "    {:<10}of {cores} cores: members {members:.2}, clients {clients:.2}, other \
                 programs {others:.2}, idle {idle:.2}: {limit}\n",
                side.word()
            ));
        }
    }
    text
}

fn starts(first_put_millis: &BTreeMap<Side, Vec<f64>>) -> String {
    if first_put_millis.values().all(Vec::is_empty) {
        return String::new();
    }
    let mut text = String::from("  first put after starting three empty members\n");
    let slowest = |starts: &[f64]| starts.iter().copied().fold(0.0, f64::max);
    for (side, starts) in first_put_millis {
        text.push_str(&format!(
            "    {:<10}median {:>7.0} ms  slowest {:>7.0} ms  of {}\n",
            side.word(),
            median(starts.iter().copied()),
            slowest(starts),
            starts.len()
        ));
    }
    if let (Some(ours), Some(etcd)) =
        (first_put_millis.get(&Side::Ours), first_put_millis.get(&Side::Etcd))
    {
        text.push_str(&format!(
            "    ours to etcd: median {:.2}, slowest {:.2}\n",
            median(ours.iter().copied()) / median(etcd.iter().copied()),
            slowest(ours) / slowest(etcd)
        ));
    }
    text
}
