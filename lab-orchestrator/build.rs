//! Makes sure that there is a page to embed: the built one, or a line that says how to build it.
//!
//! Every plain cargo command then works on a clean clone. `xtask` builds the real page into the
//! same folder, and cargo builds this package again when anything in it changes.

use std::path::Path;
use std::{env, fs, io};

const PLACEHOLDER: &str = "<!doctype html><html lang=\"en\"><title>Raftlab</title>\
     <p>The page is not built: run <code>cargo lab</code>.</p></html>\n";

fn main() -> io::Result<()> {
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let page = Path::new(&package).join("page");
    let index = page.join("index.html");
    if !index.exists() {
        fs::create_dir_all(&page)?;
        fs::write(&index, PLACEHOLDER)?;
    }
    println!("cargo::rerun-if-changed=page");
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
