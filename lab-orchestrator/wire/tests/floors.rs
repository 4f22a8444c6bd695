//! Imports run downward here, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "lab_wire",
        &[("transaction", 1), ("watch", 1), ("rows", 0)],
    );
}
