//! Programs of public etcd clients, in Rust and in Python, on real etcd and on our members.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{Plain, is_ci, is_installed, provide_until, say};
use crate::places;
use crate::tally::NotHere;

/// The package of the programs; its build asks for `protoc`.
const PACKAGE: &str = "node-clients";

/// What the Python client is, and all it stands on, by versions and hashes.
const REQUIREMENTS: &str = "node/clients/python/requirements.txt";

/// Builds our member; the test builds the programs, for which all is there then.
pub(crate) fn build() -> Result<()> {
    protoc()?;
    Plain::cargo("build -p node --bin raft-node").run()
}

/// The comparison; of the Rust client alone where there is no Python that has the other.
pub(crate) fn comparison(python: Option<&Path>) -> Plain {
    let program = places::target().join("debug").join("raft-node").display().to_string();
    let mut tests = Plain::cargo(&format!("test -p {PACKAGE} --no-fail-fast"));
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
    match protoc() {
        Ok(()) => Ok(all),
        Err(error) if is_ci() => Err(error),
        Err(error) => {
            say(&format!("{PACKAGE} is left out: failed to {error:#}"));
            Ok(all.with(["--exclude", PACKAGE]))
        }
    }
}

/// `protoc`, and the common definitions that Debian has in a package of their own.
fn protoc() -> Result<()> {
    let definitions = || {
        let search = std::env::var_os("PATH").unwrap_or_default();
        let beside = std::env::split_paths(&search)
            .filter(|folder| folder.join("protoc").is_file())
            .map(|folder| folder.join("../include"));
        let named = std::env::var_os("PROTOC_INCLUDE").map(PathBuf::from);
        named.into_iter().chain(beside).any(|folder| folder.join("google/protobuf").is_dir())
    };
    provide_until(|| is_installed("protoc"), "protoc", &["protobuf-compiler"]);
    if is_installed("protoc")
        && provide_until(definitions, "google/protobuf/descriptor.proto", &["libprotobuf-dev"])
    {
        return Ok(());
    }
    let why = "find protoc and its definitions: install them (on Debian and Ubuntu: sudo apt-get \
               install protobuf-compiler libprotobuf-dev)";
    Err(NotHere(why.to_owned()).into())
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
