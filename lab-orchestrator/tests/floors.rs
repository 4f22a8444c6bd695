//! Imports run downward: no module uses one on a higher floor, and no file is a maze.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the package and its floor. A new module needs a row, and a reason for its floor
/// in `ARCHITECTURE.md`.
const FLOORS: [(&str, u8); 18] = [
    ("main", 6),
    ("up", 5),
    ("bench", 5),
    ("drill", 5),
    ("lab", 4),
    ("http", 4),
    ("handle", 3),
    ("replay", 3),
    ("record", 3),
    ("engine", 2),
    ("observer", 2),
    ("workload", 2),
    ("clients", 1),
    ("fabric", 1),
    ("journal", 1),
    ("supervisor", 1),
    ("clock", 0),
    ("lib", 7),
];

const MAX_LINES: usize = 800;

fn floor(module: &str) -> u8 {
    let row = FLOORS.iter().find(|(name, _)| *name == module);
    row.unwrap_or_else(|| panic!("module `{module}` has no floor; give it a row here")).1
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module of the package that a file belongs to: the first part of its path.
fn module(path: &Path, source: &Path) -> String {
    let inside = path.strip_prefix(source).expect("inside the source");
    let first = inside.components().next().expect("a file has a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Modules named behind `crate::` in a text, braces included.
fn used(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    let mut names = Vec::new();
    for place in ["crate::", "lab_orchestrator::"] {
        for (at, _) in text.match_indices(place) {
            let rest = &text[at + place.len()..];
            match rest.strip_prefix('{') {
                Some(inside) => {
                    // One level of braces is enough: `use crate::{a::B, c::{D, E}}`.
                    let mut depth = 0;
                    let mut at_name = true;
                    for (at, char) in inside.char_indices() {
                        match char {
                            '{' => depth += 1,
                            '}' if depth == 0 => break,
                            '}' => depth -= 1,
                            ',' if depth == 0 => at_name = true,
                            char if at_name && char.is_alphanumeric() => {
                                names.push(word(&inside[at..]));
                                at_name = false;
                            }
                            _ => {}
                        }
                    }
                }
                None => names.push(word(rest)),
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// A source without its unit tests, which may look anywhere.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn imports_run_downward() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    let mut upward = Vec::new();
    for path in found {
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let own = module(&path, &source);
        let text = fs::read_to_string(&path).expect("a readable source");
        for used in used(without_tests(&text)) {
            if floor(&used) > floor(&own) {
                upward.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(upward.is_empty(), "imports that run upward:\n{}", upward.join("\n"));
}

#[test]
fn no_file_is_a_maze() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(&package.join("src"), &mut found);
    files(&package.join("tests"), &mut found);
    for path in found {
        let text = fs::read_to_string(&path).expect("a readable source");
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines; look for the seam", path.display());
        let first = text.lines().next().unwrap_or("");
        assert!(first.starts_with("//! "), "{} does not say what it is", path.display());
    }
}

#[test]
fn the_scanner_sees_what_is_used() {
    let text = "use crate::journal::Journal;\nuse crate::{lab::{Lab, Plan}, http};\ncrate::up::x()";
    let mut names = used(text);
    names.sort();
    assert_eq!(names, ["http", "journal", "lab", "up"]);
}
