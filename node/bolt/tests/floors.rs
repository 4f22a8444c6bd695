//! Imports run downward here, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "node_bolt",
        &[("write", 2), ("read", 2), ("hash", 1), ("schema", 1), ("format", 0)],
    );
}
