//! `cargo lab-test`: all tests, in steps that can be named, with one table at the end.

use std::process::ExitStatus;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::command::Plain;
use crate::tally::{Count, Tally, count_of_plain_line, count_of_test_result};
use crate::{
    book, breaks, catalogue, chromium, clients, crashes, drills, lab, namespaces, page, places,
    proofs, selection, verdict, verify,
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
    /// A few scenarios of each track of the catalogue, beside each other.
    Catalogue,
    /// Some drills, won by their solution and lost without one.
    Drills,
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
    let mut page_is_built = false;
    let built = steps.contains(&Step::Host);
    for step in &steps {
        // What `raft-lab` embeds comes before the first step that builds it: it takes minutes.
        if *step >= Step::Scenarios && steps.contains(&Step::Page) && !page_is_built {
            tally.measure("page", "built, within its budget", || {
                page::build()?.within_budget()?;
                Ok(Count::ONE)
            });
            page_is_built = true;
        }
        match step {
            Step::Host => host(&mut tally),
            Step::Clients => public_clients(&mut tally, built),
            Step::Book => {
                tally.measure("book", "built, links hold", || one(book::build(built)));
            }
            Step::Simulation => simulation(&mut tally),
            Step::Scenarios => scenarios(&mut tally),
            Step::Catalogue => catalogue::measure(&mut tally),
            Step::Drills => drills::measure(&mut tally),
            Step::Crashes => crashes::measure(&mut tally),
            Step::Proofs => proofs::measure(&mut tally),
            Step::Breaks => breaks::measure(&mut tally),
            Step::Page => browser(&mut tally, built),
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
    tally.measure("host", "tests", || run_tests(&selection::test("--no-fail-fast")));
}

/// `built`: the tests before have built all programs.
fn public_clients(tally: &mut Tally, built: bool) {
    let mut ready = false;
    tally.measure("clients", "programs", || {
        clients::build(built)?;
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
        run_tests(&Plain::cargo(&format!("test {PACKAGE} --no-fail-fast")))
    });
    tally.measure("simulation", "lifetimes", || {
        one(Plain::cargo(&format!("run --quiet {PACKAGE} -- --lifetimes {LIFETIMES}")).run())
    });
}

fn scenarios(tally: &mut Tally) {
    let mut files = Vec::new();
    tally.measure("scenarios", "programs and files", || {
        // Some need members that can lose their power.
        breaks::build()?;
        files = places::scenarios()?;
        Ok(Count::ONE)
    });
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        tally.measure("scenarios", &name, || one(verdict::perform(&[], &[&file])));
    }
}

fn browser(tally: &mut Tally, built: bool) {
    tally.measure("page", "in Chromium", || {
        let chromium = chromium::find()?;
        lab::build()?;
        run_in_chromium(chromium, &[], built)
    });
}

/// Runs the browser's checks with the programs as they are built now.
///
/// `built`: the tests of all packages have built the checks too.
fn run_in_chromium(chromium: &str, arguments: &[&str], built: bool) -> Result<Count> {
    let mut last = None;
    let status = selection::program("lab-ui-e2e", built)
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
    let count = run_in_chromium(chromium::find()?, arguments, false)?;
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
