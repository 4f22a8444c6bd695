//! The book's chapters and built pages as files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Checks that every file a chapter includes is there: mdBook would print the mark and go on.
pub(crate) fn includes_hold(source: &Path) -> Result<()> {
    for chapter in files_below(source, "md")? {
        let text =
            fs::read_to_string(&chapter).with_context(|| format!("read {}", chapter.display()))?;
        for included in text.split("{{#include ").skip(1) {
            let name = included.split(['}', ':']).next().unwrap_or_default().trim();
            let path = chapter.parent().unwrap_or(source).join(name);
            ensure!(
                path.is_file(),
                "find `{name}`, which {} includes: no file {}",
                chapter.display(),
                path.display()
            );
        }
    }
    Ok(())
}

/// All files below a folder whose name ends in `.extension`, sorted.
pub(crate) fn files_below(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
