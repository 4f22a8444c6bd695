//! The program on small books.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Builds a book of one page with this text.
fn build(text: &str) -> (TempDir, Output) {
    let folder = tempfile::tempdir().expect("a folder");
    let book = folder.path().join("book");
    fs::create_dir_all(book.join("src")).expect("made");
    let write = |name: &str, text: &str| fs::write(book.join(name), text).expect("written");
    write("book.toml", "[book]\ntitle = \"Small\"\n");
    write("src/SUMMARY.md", "# Summary\n\n- [One](one.md)\n");
    write("src/one.md", text);
    let output = builder(&book, &folder.path().join("html"));
    (folder, output)
}

fn builder(book: &Path, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_book-builder"))
        .args([book, output])
        .output()
        .expect("the program starts")
}

#[test]
fn a_book_whose_links_hold_is_built() {
    let (folder, output) = build("# One\n\n[Here](#one)\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.path().join("html/one.html").is_file());
}

#[test]
fn a_link_to_nowhere_is_named() {
    let (_folder, output) = build("# One\n\n[There](two.html)\n");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("two.html"), "{said}");
}
