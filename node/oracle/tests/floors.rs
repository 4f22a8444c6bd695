//! Imports run downward in the oracle, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "node_oracle",
        &[("cluster", 2), ("programs", 1), ("own", 0), ("ports", 0)],
    );
}
