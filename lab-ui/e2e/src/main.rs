//! The page in a real Chromium: real members, a real browser, real clicks.
//!
//! ```text
//!  raft-lab up ── page, REST, websocket ──► Chromium (headless) ◄── DevTools ── these checks
//! ```
//!
//! Each check starts its own lab unless it only looks, so that no check depends on what another
//! left behind. `cargo lab-test page` builds what is needed and sets the three variables:
//! `RAFTLAB_PROGRAM` (the lab), `RAFTLAB_CHROMIUM` (the browser), `RAFTLAB_PICTURES` (a folder for
//! screenshots). Arguments name the checks to run; all run when none is named. The last line is
//! `N passed, N failed`.

mod accessible;
mod browser;
mod checks;
mod lab;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::checks::{CHECKS, Check};

/// What every check is given.
pub(crate) struct Surroundings {
    /// The lab's program.
    pub(crate) program: PathBuf,
    /// The browser's program.
    pub(crate) chromium: PathBuf,
    /// Where pictures are written.
    pub(crate) pictures: PathBuf,
}

/// No check takes longer, unless it hangs.
const LONGEST: Duration = Duration::from_secs(180);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("failed to {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the named checks, and returns how many failed.
async fn run() -> Result<usize> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let unknown = names.iter().find(|name| CHECKS.iter().all(|check| check.name != name.as_str()));
    if let Some(unknown) = unknown {
        let known: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        anyhow::bail!("find the check `{unknown}`; there are {}", known.join(", "));
    }
    let surroundings = surroundings()?;
    let chosen = CHECKS
        .iter()
        .filter(|check| names.is_empty() || names.iter().any(|name| name == check.name));
    let (mut passed, mut failed) = (0, 0);
    for Check { name, shows, run } in chosen {
        let began = Instant::now();
        let outcome = match tokio::time::timeout(LONGEST, run(&surroundings)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("finish within {} s", LONGEST.as_secs())),
        };
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("passed  {name:<14} {seconds:>5.1} s  {shows}");
            }
            Err(error) => {
                failed += 1;
                println!(
                    "FAILED  {name:<14} {seconds:>5.1} s  {shows}\n        failed to {error:#}"
                );
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}

fn surroundings() -> Result<Surroundings> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .with_context(|| format!("find {name}: `cargo lab-test page` sets it"))
    };
    let program = variable("RAFTLAB_PROGRAM")?;
    ensure!(
        program.is_file(),
        "find {}: `cargo build --release -p lab-orchestrator` builds it",
        program.display()
    );
    let pictures = variable("RAFTLAB_PICTURES")?;
    std::fs::create_dir_all(&pictures).with_context(|| format!("create {}", pictures.display()))?;
    Ok(Surroundings { program, chromium: variable("RAFTLAB_CHROMIUM")?, pictures })
}
