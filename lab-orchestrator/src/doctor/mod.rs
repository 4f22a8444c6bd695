//! `raft-lab doctor DIR`: what this machine and this disk are good for.
//!
//! ```text
//!  disk ── syncs of small appends, as a log makes them ──► p99 ┐
//!       └─ one large write ──► bytes a second                  ├─► judge: none, small … xlarge
//!  machine ── cores, memory, room ─────────────────────────────┘
//! ```
//!
//! Sizes and their figures are those of etcd's guides on hardware and on disks; what is measured
//! is written into a file of DIR that is removed again.
//!
//! Left out: the network to the other machines, which `raft-ctl check perf` on a running cluster
//! includes.

mod disk;
mod judge;
mod machine;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use disk::Disk;
use judge::{Finding, Size};
use machine::Machine;

/// What is typed behind `raft-lab doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Give the directory in which a member's data would lie: what counts is that disk.
It ends with 0 if the machine suits a cluster of some size, with 1 if it suits none, and with 3 if
it could not be examined.

Example:
  raft-lab doctor /var/lib/raft-node")]
pub struct DoctorArgs {
    /// The directory whose disk is examined.
    dir: PathBuf,
    /// How long the disk is measured, in seconds.
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Print the findings as JSON (also when the output is not a terminal).
    #[arg(long)]
    json: bool,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Report {
    dir: PathBuf,
    disk: Disk,
    machine: Machine,
    findings: Vec<Finding>,
    /// The largest cluster that all findings allow.
    suits: Option<Size>,
}

/// Examines and tells.
///
/// # Errors
/// If the directory or the machine cannot be examined.
pub fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    let DoctorArgs { dir, seconds, json } = args;
    let shows = std::io::stderr().is_terminal();
    let mut told = u64::MAX;
    let disk = disk::measure(dir, Duration::from_secs(*seconds), |passed| {
        if shows && passed.as_secs() != told {
            told = passed.as_secs();
            // Progress that cannot be drawn is missed by nobody.
            write!(std::io::stderr(), "\rmeasuring the disk: {told} of {seconds} s ").ok();
        }
    });
    if shows {
        write!(std::io::stderr(), "\r\u{1b}[K").ok();
    }
    let disk = disk.with_context(|| format!("measure the disk of {}", dir.display()))?;
    let machine = machine::examine(dir).context("examine the machine")?;
    let findings = judge::judge(&disk, &machine);
    let suits = judge::suits(&findings);
    let report = Report { dir: dir.clone(), disk, machine, findings, suits };
    let mut out = std::io::stdout().lock();
    let text = if *json || !std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(&report).context("write the findings")? + "\n"
    } else {
        in_words(&report, std::env::var_os("NO_COLOR").is_none())
    };
    // Who reads along may have seen enough.
    out.write_all(text.as_bytes()).ok();
    Ok(if report.suits.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A table, and below it what to do about the worst.
fn in_words(report: &Report, colour: bool) -> String {
    let paint = |code: &str, text: String| {
        if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text }
    };
    let mut text = format!("{}\n\n", report.dir.display());
    for Finding { what, found, suits, advice: _ } in &report.findings {
        let size = match suits {
            Some(size) => paint("32", format!("up to {size}")),
            None => paint("31", "for no cluster".to_owned()),
        };
        text.push_str(&format!("  {what:<22} {found:<34} {size}\n"));
    }
    let verdict = match report.suits {
        Some(size) => paint("1;32", format!("suits clusters up to {size}: {}", size.meaning())),
        None => paint("1;31", "suits no cluster that others depend on".to_owned()),
    };
    text.push_str(&format!("\n{verdict}\n"));
    let limiting = report.findings.iter().filter(|finding| finding.suits == report.suits);
    for Finding { advice, .. } in limiting {
        text.push_str(&format!("  {advice}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_is_told_with_its_advice() {
        let findings = vec![
            Finding {
                what: "memory",
                found: "64 GiB".to_owned(),
                suits: Some(Size::XLarge),
                advice: "more memory",
            },
            Finding {
                what: "fsync",
                found: "p99 12 ms".to_owned(),
                suits: None,
                advice: "a faster disk",
            },
        ];
        let suits = judge::suits(&findings);
        let report = Report {
            dir: PathBuf::from("/d"),
            disk: Disk::default(),
            machine: Machine::default(),
            findings,
            suits,
        };
        let text = in_words(&report, false);
        assert!(text.contains("suits no cluster"), "{text}");
        assert!(text.contains("a faster disk") && !text.contains("more memory"), "{text}");
    }

    #[test]
    fn a_real_directory_is_examined_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk =
            disk::measure(folder.path(), Duration::from_millis(200), |_| {}).expect("a disk");
        assert!(disk.syncs > 0 && disk.sync_p50_millis <= disk.sync_p99_millis, "{disk:?}");
        let machine = machine::examine(folder.path()).expect("a machine");
        assert!(machine.cores > 0 && machine.free_bytes > 0, "{machine:?}");
        let left = std::fs::read_dir(folder.path()).expect("it is there").count();
        assert_eq!(left, 0, "nothing is left behind");
        assert!(disk::measure(&folder.path().join("nowhere"), Duration::ZERO, |_| {}).is_err());
    }
}
