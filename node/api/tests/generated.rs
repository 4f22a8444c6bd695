//! Compares `src/gen/` with what `proto/` generates; with `UPDATE=1` writes it anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

const PROTOS: [&str; 6] =
    ["kv.proto", "auth.proto", "rpc.proto", "lock.proto", "election.proto", "health.proto"];

const REGENERATE: &str = "run `UPDATE=1 cargo test -p etcd-api --test generated` and commit";

#[test]
fn committed_code_is_what_the_protos_generate() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed_dir = package.join("src/gen");
    let fresh_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gen");
    if fresh_dir.exists() {
        fs::remove_dir_all(&fresh_dir).expect("remove what an earlier run left");
    }
    fs::create_dir_all(&fresh_dir).expect("make the directory to generate into");

    let descriptors = protox::compile(PROTOS, [package.join("proto")]).expect("parse the protos");
    tonic_prost_build::configure()
        .bytes(".")
        .emit_rerun_if_changed(false)
        .out_dir(&fresh_dir)
        .compile_fds(descriptors)
        .expect("generate from the protos");

    let fresh = rust_files(&fresh_dir);
    assert!(!fresh.is_empty(), "nothing was generated");
    if env::var_os("UPDATE").is_some_and(|value| value == "1") {
        for name in rust_files(&committed_dir).keys() {
            fs::remove_file(committed_dir.join(name)).expect("remove the old file");
        }
        for (name, text) in &fresh {
            fs::write(committed_dir.join(name), text).expect("write the new file");
        }
    }

    let committed = rust_files(&committed_dir);
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&fresh), "other files in src/gen: {REGENERATE}");
    for (name, text) in &fresh {
        // Not `assert_eq`, which would print both files.
        assert!(committed[name] == *text, "src/gen/{name} is out of date: {REGENERATE}");
    }
}

/// Returns the text of every Rust file directly in `dir`, by file name.
fn rust_files(dir: &Path) -> BTreeMap<String, String> {
    fs::read_dir(dir)
        .expect("list the directory")
        .map(|entry| entry.expect("list the directory").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.file_name().expect("it has an extension").to_string_lossy();
            (name.into_owned(), fs::read_to_string(&path).expect("read the file"))
        })
        .collect()
}
