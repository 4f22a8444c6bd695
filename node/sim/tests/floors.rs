//! Imports run downward in the simulation, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "node_sim",
        &[
            ("saved", 5),
            ("shrink", 5),
            ("run", 4),
            ("world", 3),
            ("member", 2),
            ("journal", 1),
            ("plan", 1),
            ("tally", 0),
        ],
    );
}
