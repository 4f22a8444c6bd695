//! Imports run downward in the page, in no circle, no file is a maze, and the pure floors know no
//! browser.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "lab_ui",
        &[("app", 4), ("view", 3), ("paint", 2), ("feed", 1), ("scene", 1), ("model", 0)],
    );
}

#[test]
fn the_pure_floors_know_no_browser() {
    const BROWSER: [&str; 4] = ["web_sys", "js_sys", "wasm_bindgen", "yew"];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in ["scene", "model"].iter().flat_map(|floor| files(&source.join(floor))) {
        let text = fs::read_to_string(&path).expect("the source is read");
        for name in BROWSER {
            assert!(!text.contains(&format!("{name}::")), "{} uses {name}", path.display());
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .expect("the folder is read")
        .map(|entry| entry.expect("the entry is read").path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}
