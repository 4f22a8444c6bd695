//! `cargo lab`: the page, both programs, then this process becomes the lab.

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::command::{Plain, say};
use crate::{page, places};

/// Builds the programs as they ship; nothing else is built.
pub(crate) fn build_programs() -> Result<()> {
    let packages = "-p node -p node-ctl -p lab-orchestrator";
    let programs = "--bin raft-node --bin raft-ctl --bin raft-lab";
    Plain::cargo(&format!("build --release {packages} {programs}"))
        .run()
        .context("build raft-node, raft-ctl and raft-lab")
}

/// Builds what the lab needs, in order: `raft-lab` embeds the page.
pub(crate) fn build() -> Result<page::Sizes> {
    say("cargo lab: three steps: the page, the programs, the lab");
    let sizes = page::build()?;
    sizes.print();
    build_programs()?;
    Ok(sizes)
}

/// Builds, then becomes `raft-lab up` with these arguments, so that Ctrl-C and signals reach it.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    build()?;
    if !places::page().join("book").join("index.html").is_file() {
        say("the book is not built: `cargo book` first, and the lab serves it under /book");
    }
    let lab = Plain::new(places::release("raft-lab").display().to_string(), ["up"])
        .with(arguments.iter().filter(|argument| *argument != "--").cloned());
    match become_program(&lab)? {}
}

/// Replaces this process; returns only when that failed.
fn become_program(program: &Plain) -> Result<Infallible> {
    program.announce();
    let error = program.command().exec();
    Err(error).with_context(|| format!("start `{}`", program.shown()))
}
