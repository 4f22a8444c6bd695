//! Builds the book with the mdbook library, makes it fit the lab's security policy, checks links.
//!
//! ```text
//!  book/ ── mdBook ──► HTML ── policy: scripts moved into files ──► links: all hold ──► ready
//! ```
//!
//! Usage: `book-builder BOOK OUTPUT`, the folder of `book.toml` and where the book is put. What is
//! in OUTPUT already is replaced.

mod links;
mod policy;
mod sources;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mdbook_driver::MDBook;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [book, output] = arguments.as_slice() else {
        eprintln!("usage: book-builder BOOK OUTPUT");
        return ExitCode::from(2);
    };
    match build(book, output) {
        Ok(pages) => {
            eprintln!("book: {pages} pages in {}; all links hold", output.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("failed to {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the book and returns how many pages it has.
fn build(book: &Path, output: &Path) -> Result<usize> {
    sources::includes_hold(&book.join("src"))?;
    let mut driver = MDBook::load(book).with_context(|| format!("load {}", book.display()))?;
    driver.config.build.build_dir = output.to_owned();
    // A chapter that the summary names and nobody wrote is an error, not an empty page.
    driver.config.build.create_missing = false;
    driver.build().context("build the book")?;
    let pages = policy::apply(output)?;
    links::check(output, &pages)?;
    Ok(pages.len())
}
