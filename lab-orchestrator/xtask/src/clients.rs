//! Programs of public etcd clients, in Rust and in Python, on real etcd and on our members.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{Plain, is_ci, provide_until, say};
use crate::tally::NotHere;
use crate::{places, selection};

/// What the Python client is, and all it stands on, by versions and hashes.
const REQUIREMENTS: &str = "node/clients/python/requirements.txt";

/// Builds our member and the programs, unless the tests of all packages have done it.
pub(crate) fn build(built: bool) -> Result<()> {
    selection::has_protoc()?;
    if built {
        return Ok(());
    }
    // A test that is not run: for its sake cargo builds the programs of its package.
    selection::test("--no-run --test programs").run()
}

/// The comparison; of the Rust client alone where there is no Python that has the other.
pub(crate) fn comparison(python: Option<&Path>) -> Plain {
    let program = selection::debug("raft-node").display().to_string();
    let mut tests = selection::test("--no-fail-fast --test same_as_etcd");
    tests = tests.env("RAFTLAB_NODE", &program);
    if let Some(python) = python {
        tests = tests.env("RAFTLAB_PYTHON", &python.display().to_string());
    }
    // With what they print: how many answers are equal.
    tests.with(["--", "--nocapture"])
}

/// Clippy for all packages that can be built here: without `protoc` the public clients cannot, and
/// that is said; in CI it is an error.
pub(crate) fn clippy(arguments: &str) -> Result<Plain> {
    let all = Plain::cargo(&format!("clippy --workspace {arguments}"));
    match selection::has_protoc() {
        Ok(()) => Ok(all),
        Err(error) if is_ci() => Err(error),
        Err(error) => {
            say(&format!("{} is left out: failed to {error:#}", selection::NEEDS_PROTOC));
            Ok(all.with(["--exclude", selection::NEEDS_PROTOC]))
        }
    }
}

/// A Python that has the client, in an environment of its own below the target folder; it is made
/// anew when the requirements change.
pub(crate) fn python() -> Result<PathBuf> {
    let environment = places::target().join("clients-python");
    let python = environment.join("bin").join("python");
    let wanted = fs::read_to_string(places::root().join(REQUIREMENTS))
        .with_context(|| format!("read {REQUIREMENTS}"))?;
    // Written last, so that half an environment is not taken for a whole one.
    let installed = environment.join("requirements.txt");
    let imports = || run(&python, &["-c", "import aetcd"]).succeeds();
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) && imports() {
        return Ok(python);
    }
    let has_venv = || Plain::new("python3", ["-c", "import ensurepip, venv"]).succeeds();
    if !provide_until(has_venv, "python3 with venv", &["python3", "python3-venv"]) {
        let why = "find python3 with venv: install it (on Debian and Ubuntu: sudo apt-get install \
                   python3 python3-venv)";
        return Err(NotHere(why.to_owned()).into());
    }
    let folder = environment.display().to_string();
    Plain::new("python3", ["-m", "venv", "--clear", &folder]).run()?;
    let install = "-m pip --disable-pip-version-check install --quiet --require-hashes -r";
    let install: Vec<_> = install.split(' ').chain([REQUIREMENTS]).collect();
    if let Err(error) = run(&python, &install).run() {
        return Err(NotHere(format!("install the Python client from PyPI: {error:#}")).into());
    }
    if !imports() {
        bail!("import the Python client that was just installed");
    }
    fs::write(&installed, wanted).with_context(|| format!("write {}", installed.display()))?;
    Ok(python)
}

fn run(python: &Path, arguments: &[&str]) -> Plain {
    Plain::new(python.display().to_string(), arguments.iter().copied())
}
