//! `cargo book`: the book, built by its own package into the page that the lab serves.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::command::say;
use crate::page::write_changed;
use crate::{places, selection};

/// Builds the book, checks its links, and puts it where `raft-lab` embeds it.
///
/// The builder is a package outside the default members, so that `cargo lab` never waits for it.
/// Files whose content stays the same are not touched: the lab is not built again for them.
///
/// `programs_built`: the tests of all packages have built the builder.
pub(crate) fn build(programs_built: bool) -> Result<()> {
    let built = places::target().join("book");
    selection::program("book-builder", programs_built)
        .with([places::root().join("book").display().to_string(), built.display().to_string()])
        .run()
        .context("build the book")?;
    mirror(&built, &places::page().join("book"))?;
    say("book: the next `cargo lab` serves it under /book");
    Ok(())
}

/// Makes `copy` hold exactly what `source` holds.
fn mirror(source: &Path, copy: &Path) -> Result<()> {
    fs::create_dir_all(copy).with_context(|| format!("create {}", copy.display()))?;
    let names = |folder: &Path| -> Result<Vec<_>> {
        let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
    };
    let wanted = names(source)?;
    for name in names(copy)?.iter().filter(|name| !wanted.contains(name)) {
        let stale = copy.join(name);
        let removed =
            if stale.is_dir() { fs::remove_dir_all(&stale) } else { fs::remove_file(&stale) };
        removed.with_context(|| format!("remove {}", stale.display()))?;
    }
    for name in wanted {
        let (from, to) = (source.join(&name), copy.join(&name));
        if from.is_dir() {
            mirror(&from, &to)?;
        } else {
            let bytes = fs::read(&from).with_context(|| format!("read {}", from.display()))?;
            write_changed(&to, &bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_holds_what_the_source_holds_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, copy) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(source.join("deep")).expect("made");
        fs::create_dir_all(copy.join("stale")).expect("made");
        fs::write(source.join("deep/x.html"), "x").expect("written");
        mirror(&source, &copy).expect("mirrored");
        assert_eq!(fs::read_to_string(copy.join("deep/x.html")).expect("there"), "x");
        assert!(!copy.join("stale").exists());
    }
}
