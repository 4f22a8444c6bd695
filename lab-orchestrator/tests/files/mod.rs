//! The scenario files of the repository, for tests that hold them against the book.

use std::path::{Path, PathBuf};

use lab_orchestrator::drill::read_scenario;
use lab_protocol::scenario::Scenario;

/// The repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every scenario by its path below `scenarios` and without its ending, in the order of the paths.
pub(crate) fn scenarios() -> Vec<(String, Scenario)> {
    let mut all = Vec::new();
    let mut folders = vec![repository().join("scenarios")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the repository has scenarios") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                let (_, scenario) = read_scenario(&path).unwrap_or_else(|error| panic!("{error}"));
                let below = path.strip_prefix(repository().join("scenarios")).expect("below");
                all.push((below.with_extension("").display().to_string(), scenario));
            }
        }
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}
