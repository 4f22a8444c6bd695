//! Imports run downward in the three tools (these commands, the browser tests, the book's
//! builder), and no file of the whole repository is a maze.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Past this a file holds more than one thing.
const MAX_LINES: usize = 800;

/// Each tool's folder, and the floor of each of its modules.
const TOOLS: [(&str, &[(&str, u8)]); 3] = [
    (
        "lab-orchestrator/xtask/src",
        &[
            ("main", 6),
            ("gate", 5),
            ("test", 4),
            ("lab", 3),
            ("book", 3),
            ("verify", 3),
            ("namespaces", 3),
            ("page", 2),
            ("deny", 2),
            ("chromium", 2),
            ("running", 2),
            ("tally", 2),
            ("command", 1),
            ("places", 0),
            ("licence", 0),
        ],
    ),
    (
        "lab-ui/e2e/src",
        &[("main", 4), ("checks", 3), ("stage", 2), ("accessible", 2), ("browser", 1), ("lab", 1)],
    ),
    ("book/builder/src", &[("main", 2), ("policy", 1), ("links", 1), ("sources", 0)]),
];

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

/// The modules that a text names behind `crate::`, its tests left out.
fn used(text: &str) -> Vec<String> {
    let program = text.split("#[cfg(test)]").next().unwrap_or(text);
    let mut names = Vec::new();
    for rest in program.split("crate::").skip(1) {
        let listed = match rest.strip_prefix('{') {
            Some(inside) => inside.split('}').next().unwrap_or_default(),
            None => rest
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .next()
                .unwrap_or_default(),
        };
        for name in listed.split(',') {
            let word = name.trim().split("::").next().unwrap_or_default();
            // Modules are lower case; types that live in `main` are of every floor.
            if word.starts_with(|letter: char| letter.is_ascii_lowercase()) {
                names.push(word.to_owned());
            }
        }
    }
    names
}

#[test]
fn imports_run_downward() {
    let mut upward = Vec::new();
    for (folder, floors) in TOOLS {
        let floors: BTreeMap<&str, u8> = floors.iter().copied().collect();
        let folder = root().join(folder);
        for path in sources(&folder) {
            let inside = path.strip_prefix(&folder).expect("inside the folder");
            let module = inside.components().next().expect("a file has a name");
            let module = module.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            let own = *floors
                .get(module.as_str())
                .unwrap_or_else(|| panic!("{} has no floor: add a row", path.display()));
            let text = fs::read_to_string(&path).expect("a readable source");
            for name in used(&text) {
                if floors.get(name.as_str()).is_some_and(|floor| *floor > own) {
                    upward.push(format!("{} uses {name}", path.display()));
                }
            }
        }
    }
    assert!(upward.is_empty(), "imports that run upward:\n{}", upward.join("\n"));
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

#[test]
fn what_is_used_is_seen() {
    let text = "use crate::command::{say, Plain};\nuse crate::{lab, page};\nuse crate::Look;\n\
                crate::places::root();\n#[cfg(test)]\nuse crate::gate;";
    assert_eq!(used(text), ["command", "lab", "page", "places"]);
}
