//! Imports run downward here, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "node_restore",
        &[("begun", 2), ("restore", 2), ("status", 2), ("directory", 1), ("file", 1)],
    );
}
