//! Which packages are built together, unoptimised.
//!
//! Cargo unites the features that the packages it is asked for want of their dependencies. Another
//! choice of packages is another union, and hundreds of dependencies are built once more. So every
//! step of a test run asks for the same packages, and names the one program or test it is about.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{Plain, is_installed, provide_until};
use crate::places;
use crate::tally::NotHere;

/// The simulation is only ever built optimised.
const APART: &str = "node-sim";

/// The public clients' programs; their build asks for `protoc`.
pub(crate) const NEEDS_PROTOC: &str = "node-clients";

/// `cargo test` of all packages, and what follows in `arguments`, such as `--test floors`.
///
/// Without `protoc` the public clients cannot be built, and are left out.
pub(crate) fn test(arguments: &str) -> Plain {
    let mut all = Plain::cargo(&format!("test --workspace --exclude {APART}"));
    if has_protoc().is_err() {
        all = all.with(["--exclude", NEEDS_PROTOC]);
    }
    all.with(arguments.split_whitespace())
}

/// How to start the program of the package of its name: as the tests of all packages have built it,
/// if they ran just now; else cargo builds it alone.
pub(crate) fn program(name: &str, built: bool) -> Plain {
    if built {
        Plain::new(debug(name).display().to_string(), Vec::<String>::new())
    } else {
        Plain::cargo(&format!("run --quiet -p {name} --"))
    }
}

/// A program as the tests of all packages have built it.
pub(crate) fn debug(program: &str) -> PathBuf {
    places::target().join("debug").join(program)
}

/// `protoc`, and the common definitions that Debian has in a package of their own.
pub(crate) fn has_protoc() -> Result<()> {
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
