//! Imports run downward in the client, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "raft_ctl",
        &[
            ("commands", 3),
            ("show", 2),
            ("client", 2),
            ("args", 1),
            ("failure", 0),
            ("duration", 0),
            ("quote", 0),
        ],
    );
}
