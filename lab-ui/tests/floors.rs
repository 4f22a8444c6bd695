//! The house rules of this package: imports run downward, and no file is too long.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors, top first. A module may use its own floor's modules below it in this list, and
/// those only.
const FLOORS: [(&str, &[&str]); 6] = [
    ("app", &["view", "paint", "scene", "model", "feed"]),
    ("view", &["paint", "scene", "model", "feed"]),
    ("paint", &["scene"]),
    ("feed", &["model"]),
    ("scene", &["model"]),
    ("model", &[]),
];

/// No file is longer.
const LONGEST_LINES: usize = 800;

/// What the pure floors must not name.
const BROWSER: [&str; 4] = ["web_sys", "js_sys", "wasm_bindgen", "yew"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is read") {
        let path = entry.expect("the entry is read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn floor_of(path: &Path, root: &Path) -> Option<&'static str> {
    let inside = path.strip_prefix(root).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.trim_end_matches(".rs");
    FLOORS.iter().map(|(floor, _)| *floor).find(|floor| *floor == name)
}

/// The floors that a text imports from: `crate::x…` and, in a list, `crate::{x…, y…}`.
fn imports(text: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    for (place, _) in code.match_indices("crate::") {
        let rest = &code[place + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let end = list
                    .char_indices()
                    .find(|(_, letter)| {
                        match letter {
                            '{' => depth += 1,
                            '}' => depth -= 1,
                            _ => {}
                        }
                        depth < 0
                    })
                    .map_or(list.len(), |(end, _)| end);
                let mut depth = 0;
                list[..end]
                    .split(|letter| {
                        match letter {
                            '{' => depth += 1,
                            '}' => depth -= 1,
                            _ => {}
                        }
                        letter == ',' && depth == 0
                    })
                    .map(str::trim)
                    .collect()
            }
            None => vec![rest],
        };
        for name in names {
            let name: String = name
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            found.extend(FLOORS.iter().map(|(floor, _)| *floor).filter(|floor| **floor == *name));
        }
    }
    found
}

#[test]
fn imports_run_downward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let Some(floor) = floor_of(&path, &root) else { continue };
        let (_, below) = FLOORS.iter().find(|(name, _)| *name == floor).expect("a known floor");
        let text = fs::read_to_string(&path).expect("the source is read");
        for import in imports(&text) {
            assert!(
                import == floor || below.contains(&import),
                "{} is on floor `{floor}` and uses `{import}`, which is not below it",
                path.display()
            );
        }
    }
}

#[test]
fn the_pure_floors_know_no_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        if !matches!(floor_of(&path, &root), Some("scene" | "model")) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("the source is read");
        for name in BROWSER {
            assert!(!text.contains(&format!("{name}::")), "{} uses {name}", path.display());
        }
    }
}

#[test]
fn files_open_with_a_sentence_and_end_before_they_tire() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in sources(&root.join("src")).into_iter().chain(sources(&root.join("tests"))) {
        let text = fs::read_to_string(&path).expect("the source is read");
        assert!(text.starts_with("//! "), "{} does not say what it is", path.display());
        let lines = text.lines().count();
        assert!(lines <= LONGEST_LINES, "{}: {lines} lines", path.display());
    }
}

#[test]
fn the_check_of_imports_bites() {
    assert_eq!(
        imports("use crate::{feed::X, model::{Store, paint}, scene};"),
        ["feed", "model", "scene"]
    );
    assert_eq!(imports("fn f() { crate::view::act() }"), ["view"]);
    assert_eq!(imports("// crate::view\nuse crate::paint::Surface;"), ["paint"]);
}
