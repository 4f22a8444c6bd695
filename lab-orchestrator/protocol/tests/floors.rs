//! Imports run downward in the lab's contract, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "lab_protocol",
        &[
            ("socket", 4),
            ("lab_state", 3),
            ("recording", 3),
            ("engine", 0),
            ("event", 2),
            ("command", 1),
            ("drill", 1),
            ("operation", 1),
            ("watch", 1),
            ("fault", 0),
            ("mix", 1),
            ("gather", 0),
            ("lesson", 0),
            ("scenario", 1),
            ("transaction", 0),
            ("verdict", 0),
        ],
    );
}
