//! `cargo verify` checks and never edits; `cargo tidy` makes the edits.

use anyhow::{Result, bail};

use crate::clients;
use crate::command::{Plain, say};
use crate::page::{self, WASM};
use crate::tally::{Count, Tally};
use crate::{deny, selection};

/// Packages that have to build for wasm: the page and all it stands on.
const FOR_WASM: &str = "-p node-protocol -p lab-protocol -p lab-check -p lab-ui";

/// The formats.
pub(crate) fn formats() -> Result<()> {
    Plain::cargo("fmt --all --check").run()
}

/// The lints, warnings being errors.
pub(crate) fn lints() -> Result<()> {
    clients::clippy("--all-targets")?.with(["--", "-D", "warnings"]).run()
}

/// The wasm builds.
pub(crate) fn wasm() -> Result<()> {
    page::provide_target()?;
    Plain::cargo(&format!("check {FOR_WASM} --target {WASM}")).run()
}

/// The floors tests alone: every package's imports run downward.
fn floors() -> Result<()> {
    selection::test("--quiet --test floors").run()
}

/// Adds the rows that need no cluster to a tally, under the name of a step.
pub(crate) fn measure(tally: &mut Tally, step: &'static str) {
    let one = |outcome: Result<()>| outcome.map(|()| Count::ONE);
    tally.measure(step, "formats", || one(formats()));
    tally.measure(step, "lints", || one(lints()));
    tally.measure(step, "contracts and page build for wasm", || one(wasm()));
    tally.measure(step, "licences, duplicates, arrows", || one(deny::check()));
}

/// Checks everything that can be checked without running a cluster.
pub(crate) fn run() -> Result<()> {
    let mut tally = Tally::default();
    measure(&mut tally, "verify");
    tally.measure("verify", "floors", || floors().map(|()| Count::ONE));
    println!("{}", tally.table());
    if tally.total().failed > 0 {
        bail!("verify this tree: see the table above; `cargo tidy` makes most edits by itself");
    }
    Ok(())
}

/// Formats, and applies the lints' own corrections.
pub(crate) fn tidy() -> Result<()> {
    Plain::cargo("fmt --all").run()?;
    clients::clippy("--all-targets --fix --allow-dirty --allow-staged")?.run()?;
    Plain::cargo("fmt --all").run()?;
    say("tidy: done; `cargo verify` says whether anything is left");
    Ok(())
}
