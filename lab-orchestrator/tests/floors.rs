//! Imports run downward in the orchestrator, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "lab_orchestrator",
        &[
            ("up", 5),
            ("attach", 5),
            ("bench", 5),
            ("env", 5),
            ("doctor", 5),
            ("drill", 5),
            ("prove", 5),
            ("lab", 4),
            ("http", 4),
            ("handle", 3),
            ("replay", 3),
            ("record", 3),
            ("report", 3),
            ("engine", 2),
            ("observer", 2),
            ("workload", 2),
            ("clients", 1),
            ("fabric", 1),
            ("journal", 1),
            ("supervisor", 1),
            ("terminal", 1),
            ("clock", 0),
        ],
    );
}
