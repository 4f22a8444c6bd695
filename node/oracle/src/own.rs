//! Our own programs, as cargo has built them.

use std::path::PathBuf;

/// The path of a program of this workspace, such as `raft-node`, built in the same profile as the
/// test that asks.
///
/// Cargo gives a test the programs of its own package only; a whole `cargo test` has built all.
///
/// # Panics
/// If it is not built; the message says how to.
pub fn own(program: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    // target/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("cargo's folder of programs");
    let path = folder.join(program);
    assert!(
        path.is_file(),
        "{} is not built: `cargo build -p node -p node-ctl` first, or `cargo test` for all",
        path.display()
    );
    path
}
