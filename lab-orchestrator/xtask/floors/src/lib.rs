//! The house rules of a package: imports run downward, in no circle, and no file is a maze.
//!
//! Each package has a `tests/floors.rs` with one table: its modules and their floors. A module
//! may use modules of lower floors, and of its own floor as long as no circle comes of it. A new
//! module needs a row, and its floor a reason in `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Past this a file holds more than one thing.
const MAX_LINES: usize = 800;

/// Checks the sources of the package in `folder` (its `CARGO_MANIFEST_DIR`).
///
/// `name` is what its binaries call its library; `floors` has a row for each module directly below
/// `src`, its name without `.rs`. `lib`, `main` and `bin` are above all floors. Files in a folder
/// called `gen` are generated and not looked at.
///
/// # Panics
/// With every complaint at once, one a line.
pub fn check(folder: &str, name: &str, floors: &[(&str, u8)]) {
    let source = Path::new(folder).join("src");
    let floors: BTreeMap<&str, u8> = floors.iter().copied().collect();
    let mut complaints = Vec::new();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let exports = exports(&fs::read_to_string(source.join("lib.rs")).unwrap_or_default());
    let files = sources(&source);
    assert!(!files.is_empty(), "{} has no sources", source.display());
    for path in files {
        let text = fs::read_to_string(&path).expect("a source is text");
        let shown = path.strip_prefix(folder).expect("inside the folder").display().to_string();
        let lines = text.lines().count();
        if lines > MAX_LINES {
            complaints.push(format!("{shown} has {lines} lines: look for the seam"));
        }
        if !text.starts_with("//! ") {
            complaints.push(format!("{shown} does not begin by saying what it is"));
        }
        let module = module(&path, &source);
        if ["lib", "main", "bin"].contains(&module.as_str()) {
            continue;
        }
        seen.insert(module.clone());
        let Some(own) = floors.get(module.as_str()) else {
            complaints.push(format!("{shown}: module `{module}` has no floor: add a row"));
            continue;
        };
        // Test modules may look at everything.
        if path.file_stem().is_some_and(|stem| stem == "tests")
            || path.components().any(|part| part.as_os_str() == "tests")
        {
            continue;
        }
        for used in used(&text, name, &exports) {
            match floors.get(used.as_str()) {
                Some(floor) if floor > own => {
                    complaints.push(format!("{shown} uses `{used}`, which is on a higher floor"));
                }
                Some(_) if used != module => {
                    uses.entry(module.clone()).or_default().insert(used);
                }
                Some(_) | None => {}
            }
        }
    }
    for row in floors.keys().filter(|row| !seen.contains(**row)) {
        complaints.push(format!("there is no module `{row}`: remove its row"));
    }
    if let Some(circle) = circle(&uses) {
        complaints.push(format!("imports run in a circle: {}", circle.join(" -> ")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Every Rust source below a folder, sorted.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "gen") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The module a file belongs to: the first part of its path below `src`.
fn module(path: &Path, source: &Path) -> String {
    let inside = path.strip_prefix(source).expect("inside the source");
    let first = inside.components().next().expect("a file has a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// What a `lib.rs` gives out under its own name, and the module each comes from:
/// `pub use ids::{Index, Term};` gives `Index` and `Term`, both from `ids`.
fn exports(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (at, _) in text.match_indices("\npub use ") {
        let rest = &text[at + "\npub use ".len()..];
        let Some((module, names)) = rest.split(';').next().and_then(|path| path.split_once("::"))
        else {
            continue;
        };
        for name in names.trim_matches(['{', '}', '\n', ' ']).split(',') {
            let name = name.rsplit([' ', ':']).next().unwrap_or(name).trim();
            found.insert(name.to_owned(), module.to_owned());
        }
    }
    found
}

/// The modules that a text names behind `crate::` or `name::`, comments and tests left out; for
/// what `lib.rs` gives out, the module behind it.
fn used(text: &str, name: &str, exports: &BTreeMap<String, String>) -> BTreeSet<String> {
    let program = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    let code: String = program
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let own = format!("{name}::");
    let mut found = BTreeSet::new();
    for place in ["crate::", own.as_str()] {
        for (at, _) in code.match_indices(place) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
                continue;
            }
            let words = first_words(&code[at + place.len()..]).into_iter();
            found.extend(words.filter_map(|word| match exports.get(&word) {
                Some(module) => Some(module.clone()),
                None => is_module(&word).then_some(word),
            }));
        }
    }
    found
}

/// `a::B` gives a; `{a::B, c::{D, E}, F}` gives a, c and F.
fn first_words(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let Some(list) = text.strip_prefix('{') else {
        return vec![word(text)];
    };
    let mut depth = 0;
    let mut expect = true;
    let mut words = Vec::new();
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expect = true,
            _ if expect && letter.is_alphanumeric() => {
                words.push(word(&list[at..]));
                expect = false;
            }
            _ => {}
        }
    }
    words
}

/// Types begin with a capital; those that live in `lib` or `main` are of every floor.
fn is_module(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_lowercase())
}

/// Modules that use each other in a ring, if there are any.
fn circle(uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk<'a>(
        at: &'a str,
        uses: &'a BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|module| *module == at) {
            let mut ring: Vec<String> = path[start..].iter().map(ToString::to_string).collect();
            ring.push(at.to_owned());
            return Some(ring);
        }
        if done.contains(at) {
            return None;
        }
        path.push(at);
        for next in uses.get(at).into_iter().flatten() {
            if let Some(ring) = walk(next, uses, path, done) {
                return Some(ring);
            }
        }
        path.pop();
        done.insert(at);
        None
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|start| walk(start, uses, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_seen() {
        let text = "//! Text.\nuse crate::command::{say, Plain};\nuse crate::{lab, page::{a, b}};\n\
                    use crate::Look;\n// crate::ignored\nlet x = crate::places::root();\n\
                    use own::lib_name;\nnot_crate::other();\nlet x: crate::Term;\n#[cfg(test)]\n\
                    mod tests {\nuse crate::gate;";
        let exports = exports("mod ids;\npub use ids::{\n    Index, Term,\n};\npub use serde;\n");
        let seen: Vec<_> = used(text, "own", &exports).into_iter().collect();
        assert_eq!(seen, ["command", "ids", "lab", "lib_name", "page", "places"]);
    }

    #[test]
    fn a_circle_is_found_and_named() {
        let edges = |list: &[(&str, &str)]| {
            let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (from, to) in list {
                uses.entry((*from).into()).or_default().insert((*to).into());
            }
            circle(&uses)
        };
        assert_eq!(edges(&[("a", "b"), ("b", "c"), ("a", "c")]), None);
        assert_eq!(
            edges(&[("a", "b"), ("b", "c"), ("c", "b")]),
            Some(vec!["b".into(), "c".into(), "b".into()])
        );
    }
}
