//! `cargo lab-test`: all tests, in steps that can be named, with one table at the end.

use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::command::Plain;
use crate::tally::{Count, Tally, count_of_plain_line, count_of_test_result};
use crate::{
    book, breaks, chromium, clients, crashes, lab, namespaces, page, places, proofs, verify,
};

/// A part of the test run that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Step {
    /// Formats, lints, wasm builds, licences, and every test that needs no browser.
    Host,
    /// Programs of public etcd clients, on real etcd and on our members.
    Clients,
    /// The book and its links.
    Book,
    /// Whole clusters in one thread, by seeds; and that planted bugs are caught.
    Simulation,
    /// Every scenario on real processes.
    Scenarios,
    /// A crash of a real process at every failpoint, and some losses of power.
    Crashes,
    /// Kubernetes' storage workload, leases and watchers on real processes, in some seconds each.
    Proofs,
    /// Every planted bug, and the checks that must notice it.
    Breaks,
    /// The page in a real Chromium.
    Page,
    /// Three members by the README's lines, in network namespaces (Linux, root).
    Namespaces,
}

/// Runs the steps in their own order, all of them when none is named.
pub(crate) fn run(steps: &[Step]) -> Result<()> {
    let mut steps: Vec<Step> =
        if steps.is_empty() { Step::value_variants().to_vec() } else { steps.to_vec() };
    // The book before the programs that embed it, and each step once.
    steps.sort_unstable();
    steps.dedup();
    let mut tally = Tally::default();
    for step in &steps {
        match step {
            Step::Host => host(&mut tally),
            Step::Clients => public_clients(&mut tally),
            Step::Book => tally.measure("book", "built, links hold", || one(book::build())),
            Step::Simulation => simulation(&mut tally),
            Step::Scenarios => scenarios(&mut tally),
            Step::Crashes => crashes::measure(&mut tally),
            Step::Proofs => proofs::measure(&mut tally),
            Step::Breaks => breaks::measure(&mut tally),
            Step::Page => browser(&mut tally),
            Step::Namespaces => {
                tally.measure("namespaces", "three machines by the README", || {
                    lab::build_programs()?;
                    namespaces::run()
                });
            }
        }
    }
    println!("{}", tally.table());
    if tally.total().failed > 0 {
        bail!("pass all tests: see the table above");
    }
    Ok(())
}

fn one(outcome: Result<()>) -> Result<Count> {
    outcome.map(|()| Count::ONE)
}

fn host(tally: &mut Tally) {
    verify::measure(tally, "host");
    // `--no-fail-fast`: one failure must not hide the others.
    tally.measure("host", "tests", || cargo_tests("test --no-fail-fast"));
}

fn public_clients(tally: &mut Tally) {
    let mut ready = false;
    tally.measure("clients", "programs", || {
        clients::build()?;
        ready = true;
        Ok(Count::ONE)
    });
    if !ready {
        return;
    }
    let mut python = None;
    tally.measure("clients", "the Python client", || {
        python = Some(clients::python()?);
        Ok(Count::ONE)
    });
    tally.measure("clients", "the same as from etcd", || {
        run_tests(&clients::comparison(python.as_deref()))
    });
}

/// Runs `cargo test` in some form and adds up its results.
fn cargo_tests(arguments: &str) -> Result<Count> {
    run_tests(&Plain::cargo(arguments))
}

/// As [`cargo_tests`], of a command that is more than its arguments.
fn run_tests(command: &Plain) -> Result<Count> {
    let mut sum = Count::default();
    let status = command.run_lines(|line| {
        if let Some(Count { passed, failed }) = count_of_test_result(line) {
            sum = Count { passed: sum.passed + passed, failed: sum.failed + failed };
        }
    })?;
    counted(sum, status, "cargo test")
}

/// Lifetimes in the test run; `cargo sim --minutes M` lives more.
const LIFETIMES: &str = "500";

fn simulation(tally: &mut Tally) {
    const PACKAGE: &str = "--release -p node-sim --features training";
    tally.measure("simulation", "determinism, planted bugs", || {
        cargo_tests(&format!("test {PACKAGE} --no-fail-fast"))
    });
    tally.measure("simulation", "lifetimes", || {
        one(Plain::cargo(&format!("run --quiet {PACKAGE} -- --lifetimes {LIFETIMES}")).run())
    });
}

fn scenarios(tally: &mut Tally) {
    let mut files = Vec::new();
    tally.measure("scenarios", "programs and files", || {
        lab::build_programs()?;
        files = places::scenarios()?;
        Ok(Count::ONE)
    });
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        tally.measure("scenarios", &name, || drill(&file));
    }
}

/// Performs one scenario; its verdict is the exit code.
fn drill(file: &Path) -> Result<Count> {
    let inside = file.strip_prefix(places::root()).unwrap_or(file);
    let status = Plain::new(places::release("raft-lab").display().to_string(), ["drill", "--runs"])
        .with([places::target().join("runs").display().to_string(), inside.display().to_string()])
        .run_lines(|_| {})?;
    match status.code() {
        Some(0) => Ok(Count::ONE),
        Some(1) => bail!("find the run valid: a check is red, see the verdict above"),
        Some(2) => bail!("judge the run: its verdict is unknown, see why above"),
        Some(code) => bail!("perform the drill: raft-lab ended with {code}, see above"),
        None => bail!("perform the drill: raft-lab ended with {status}"),
    }
}

fn browser(tally: &mut Tally) {
    let mut ready = false;
    tally.measure("page", "built, within its budget", || {
        let sizes = lab::build()?;
        sizes.within_budget()?;
        ready = true;
        Ok(Count::ONE)
    });
    if !ready {
        return;
    }
    tally.measure("page", "in Chromium", || {
        let chromium = chromium::find()?;
        run_in_chromium(chromium, &[])
    });
}

/// Runs the browser's checks with the programs as they are built now.
pub(crate) fn run_in_chromium(chromium: &str, arguments: &[&str]) -> Result<Count> {
    let mut last = None;
    let status = Plain::cargo("run --quiet -p lab-ui-e2e --")
        .with(arguments.iter().copied())
        .env("RAFTLAB_CHROMIUM", chromium)
        .env("RAFTLAB_PROGRAM", &places::release("raft-lab").display().to_string())
        .env("RAFTLAB_PICTURES", &places::target().join("e2e").display().to_string())
        .run_lines(|line| last = count_of_plain_line(line).or(last))?;
    counted(last.context("read the browser tests' last line")?, status, "the browser tests")
}

/// Builds the page and the programs, then runs some of the browser's checks.
pub(crate) fn browser_gate(arguments: &[&str]) -> Result<()> {
    page::Sizes::within_budget(&lab::build()?)?;
    let count = run_in_chromium(chromium::find()?, arguments)?;
    anyhow::ensure!(count.failed == 0, "pass {} browser checks", count.failed);
    Ok(())
}

/// A program that ended badly without a failed result did not finish: that is a failure too.
fn counted(count: Count, status: ExitStatus, what: &str) -> Result<Count> {
    if count.failed == 0 && !status.success() {
        bail!("finish {what}: it ended with {status} after {} passed", count.passed);
    }
    if count.passed + count.failed == 0 {
        bail!("find any test: {what} ran none");
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_run_without_results_or_with_a_bad_end_is_a_failure() {
        let good = ExitStatus::from_raw(0);
        let bad = ExitStatus::from_raw(101 << 8);
        let passed = Count { passed: 3, failed: 0 };
        assert!(counted(passed, good, "x").is_ok());
        assert!(counted(passed, bad, "x").is_err());
        assert!(counted(Count::default(), good, "x").is_err());
        assert_eq!(counted(Count { passed: 3, failed: 1 }, bad, "x").expect("counted").failed, 1);
    }
}
