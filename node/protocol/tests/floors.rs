//! Imports run downward in what a member says, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "node_protocol",
        &[("telemetry", 1), ("frame", 1), ("ids", 0)],
    );
}
