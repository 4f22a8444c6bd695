//! Imports run downward in the checks, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "lab_check",
        &[
            ("script", 3),
            ("bootstrap", 2),
            ("clients", 2),
            ("convergence", 2),
            ("durable", 2),
            ("election", 2),
            ("gap", 2),
            ("lease", 2),
            ("linear", 2),
            ("partition", 2),
            ("quorum", 2),
            ("watch", 2),
            ("commit_rules", 2),
            ("log_rules", 2),
            ("cluster", 1),
            ("logs", 1),
            ("history", 0),
        ],
    );
}
