//! Imports run downward in the tools (these commands, the browser tests, the public clients, the
//! book's builder), and no file of the whole repository is a maze.

use std::fs;
use std::path::{Path, PathBuf};

/// Past this a file holds more than one thing.
const MAX_LINES: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust source below a folder, sorted; what was generated or built is left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "gen", "page"].contains(&name.as_str()) && !name.starts_with('.') {
                found.extend(sources(&path));
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_commands_stand() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "xtask",
        &[
            ("gate", 5),
            ("test", 4),
            ("breaks", 3),
            ("catalogue", 4),
            ("crashes", 3),
            ("proofs", 3),
            ("drills", 3),
            ("lab", 3),
            ("book", 3),
            ("verify", 3),
            ("namespaces", 3),
            ("page", 2),
            ("deny", 2),
            ("chromium", 2),
            ("clients", 2),
            ("running", 2),
            ("selection", 2),
            ("tally", 2),
            ("verdict", 2),
            ("command", 1),
            ("slim", 0),
            ("places", 0),
            ("licence", 0),
        ],
    );
}

// The next three packages are outside default-members: a plain `cargo test` looks at them from here.

#[test]
fn the_browser_tests_stand() {
    floors::check(
        &root().join("lab-ui/e2e").display().to_string(),
        "lab_ui_e2e",
        &[("checks", 3), ("stage", 2), ("accessible", 2), ("browser", 1), ("lab", 1)],
    );
}

#[test]
fn the_public_clients_stand() {
    floors::check(
        &root().join("node/clients").display().to_string(),
        "record_etcd_client",
        &[("parts", 2), ("stage", 1), ("tape", 1), ("answer", 0)],
    );
}

#[test]
fn the_books_builder_stands() {
    floors::check(
        &root().join("book/builder").display().to_string(),
        "book_builder",
        &[("policy", 1), ("links", 1), ("sources", 0)],
    );
}

#[test]
fn no_file_is_a_maze_and_each_says_what_it_is() {
    let sources = sources(&root());
    assert!(sources.len() > 50, "the whole repository is looked at, not {} files", sources.len());
    let mut complaints = Vec::new();
    for path in sources {
        let text = fs::read_to_string(&path).expect("a readable source");
        let lines = text.lines().count();
        if lines > MAX_LINES {
            complaints.push(format!("{} has {lines} lines: look for the seam", path.display()));
        }
        if !text.starts_with("//! ") {
            complaints.push(format!("{} does not begin by saying what it is", path.display()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
