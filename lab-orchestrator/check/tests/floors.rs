//! Imports run downward in the checks, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "lab_check",
        &[
            ("judges", 4),
            ("score", 3),
            ("expectations", 3),
            ("phrase", 2),
            ("tally", 1),
            ("window", 3),
            ("measure", 3),
            ("script", 3),
            ("untold", 2),
            ("backups", 2),
            ("bootstrap", 2),
            ("clients", 2),
            ("durable", 2),
            ("election", 2),
            ("gap", 2),
            ("lease", 2),
            ("linear", 2),
            ("lists", 2),
            ("locks", 2),
            ("membership", 2),
            ("partition", 2),
            ("quorum", 2),
            ("recovery", 2),
            ("sets", 2),
            ("watch", 2),
            ("views", 1),
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
