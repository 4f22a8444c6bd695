//! Where things are in this repository.

use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
///
/// Cargo tells it at run time, so a checkout that was moved is still found; a binary that was
/// started by hand falls back on where it was compiled.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.ancestors().nth(2).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR`, else `target`.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// A program of the release build.
pub(crate) fn release(program: &str) -> PathBuf {
    target().join("release").join(program)
}

/// The built page, embedded in `raft-lab` and not committed.
pub(crate) fn page() -> PathBuf {
    root().join("lab-orchestrator").join("page")
}

/// The page's own source folder.
pub(crate) fn ui() -> PathBuf {
    root().join("lab-ui")
}

/// The committed scenarios that are no drills, in the order of their names; those of faults last.
pub(crate) fn scenarios() -> anyhow::Result<Vec<PathBuf>> {
    let folder = root().join("scenarios");
    let mut all = files(&folder)?;
    all.extend(files(&folder.join("faults"))?);
    Ok(all)
}

/// The catalogue's scenarios that are no drills, in the order of their names.
pub(crate) fn catalogue() -> anyhow::Result<Vec<PathBuf>> {
    files(&root().join("scenarios").join("catalogue"))
}

/// The committed drills, in the order of their names.
pub(crate) fn drills() -> anyhow::Result<Vec<PathBuf>> {
    files(&root().join("scenarios").join("drills"))
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    use anyhow::Context as _;
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    anyhow::ensure!(
        !files.is_empty(),
        "find a scenario in {}: there should be at least one .toml file",
        folder.display()
    );
    Ok(files)
}
