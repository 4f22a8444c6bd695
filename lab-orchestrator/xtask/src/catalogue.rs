//! The catalogue: every scenario of the repository, performed by `raft-lab matrix`.
//!
//! `cargo gate catalogue` performs all of them, as every variant; with `--without-faults` the same
//! with nothing broken, and none may be valid. `cargo gate etcd` performs them on real etcd.
//! `cargo lab-test catalogue` performs a few of each track.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::Plain;
use crate::tally::{Count, Tally};
use crate::{breaks, lab, places, verdict};

/// Those of `cargo lab-test`: a few of each track, which are over soon.
const SUBSET: [&str; 12] = [
    "Q-01",
    "E-01",
    "E-06",
    "N-02",
    "N-04",
    "C-03",
    "C-05",
    "D-08",
    "D-13",
    "M-09",
    "G-03",
    "bug-win-without-majority",
];

/// How many are performed beside each other; most of the time each of them waits.
const JOBS: &str = "3";

/// Performs all, or those whose names begin with one of the arguments; words that begin with `-` go
/// to `raft-lab matrix`.
pub(crate) fn gate(arguments: &[String]) -> Result<()> {
    let (flags, files) = chosen(arguments)?;
    breaks::build()?;
    perform(&flags, &files)
}

/// The same on real etcd, the `etcd` on the search path: each run is valid, or the scenario's file
/// says why it is not.
pub(crate) fn gate_on_etcd(arguments: &[String]) -> Result<()> {
    let (flags, files) = chosen(arguments)?;
    lab::build_programs()?;
    perform(&[vec!["--engine".to_owned(), "etcd".to_owned()], flags].concat(), &files)
}

/// The flags among these words, and the scenarios whose names begin with one of the others.
fn chosen(arguments: &[String]) -> Result<(Vec<String>, Vec<PathBuf>)> {
    let (flags, wanted): (Vec<_>, Vec<_>) =
        arguments.iter().cloned().partition(|argument| argument.starts_with('-'));
    let mut files = places::scenarios()?;
    files.extend(places::catalogue()?);
    files.extend(places::drills()?);
    if !wanted.is_empty() {
        files.retain(|file| wanted.iter().any(|wanted| name(file).starts_with(wanted.as_str())));
    }
    ensure!(!files.is_empty(), "find a scenario that is called {}", wanted.join(" or "));
    Ok((flags, files))
}

/// The step of the test run.
pub(crate) fn measure(tally: &mut Tally) {
    tally.measure("catalogue", "a few of each track", || {
        breaks::build()?;
        let mut files = places::catalogue()?;
        files.retain(|file| SUBSET.iter().any(|id| name(file).starts_with(id)));
        ensure!(files.len() == SUBSET.len(), "find each of {}", SUBSET.join(", "));
        let passed = u64::try_from(files.len()).unwrap_or(u64::MAX);
        perform(&[], &files)?;
        Ok(Count { passed, failed: 0 })
    });
}

fn name(file: &std::path::Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn perform(flags: &[String], files: &[PathBuf]) -> Result<()> {
    let root = places::root();
    let inside = files.iter().map(|file| file.strip_prefix(&root).unwrap_or(file));
    let matrix =
        Plain::new(places::release("raft-lab").display().to_string(), ["matrix", "--runs"])
            .with([places::target().join("runs").display().to_string()])
            .with(["--json", "--jobs", JOBS])
            .with(flags.iter().cloned())
            .with(inside.map(|file| file.display().to_string()));
    let (status, printed) = matrix.run_and_read()?;
    if status.success() {
        return Ok(());
    }
    let verdicts = verdict::read(&printed).context("read what came of the scenarios")?;
    let red: Vec<_> = verdicts.into_iter().filter(|verdict| !verdict.red.is_empty()).collect();
    let said: Vec<_> = red.into_iter().map(|verdict| verdict.because).collect();
    bail!("find every run as it should be ({status}):\n{}", said.join("\n\n"));
}
