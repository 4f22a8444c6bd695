//! Imports run downward in the checks, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "lab_check",
        &[
            ("score", 3),
            ("script", 3),
            ("backups", 2),
            ("bootstrap", 2),
            ("clients", 2),
            ("durable", 2),
            ("election", 2),
            ("gap", 2),
            ("lease", 2),
            ("linear", 2),
            ("membership", 2),
            ("partition", 2),
            ("quorum", 2),
            ("recovery", 2),
            ("watch", 2),
            ("commit_rules", 2),
            ("log_rules", 2),
            ("cluster", 1),
            ("lineage", 1),
            ("logs", 1),
            ("convergence", 0),
            ("history", 0),
        ],
    );
}
