//! Imports run downward here, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "node_identity",
        &[("initial", 1), ("ids", 0), ("urls", 0)],
    );
}
