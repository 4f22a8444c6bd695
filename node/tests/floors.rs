//! Imports run downward in the node, in no circle, and no file is a maze.

#[test]
fn the_house_stands() {
    floors::check(
        env!("CARGO_MANIFEST_DIR"),
        "node",
        &[
            ("program", 9),
            ("server", 8),
            ("threads", 7),
            ("api", 7),
            ("admin", 7),
            ("alone", 7),
            ("replica", 6),
            ("apply", 6),
            ("flush", 6),
            ("compactor", 6),
            ("handle", 5),
            ("inbox", 4),
            ("corruption", 4),
            ("import", 4),
            ("offline", 4),
            ("transport", 3),
            ("consensus", 3),
            ("recover", 3),
            ("progress", 3),
            ("image", 3),
            ("storage", 2),
            ("cluster", 2),
            ("config", 2),
            ("lease", 2),
            ("watch", 2),
            ("metrics", 2),
            ("telemetry", 2),
            ("training", 2),
            ("kv", 1),
            ("carried", 2),
            ("causes", 0),
            ("clock", 0),
            ("failpoint", 0),
        ],
    );
}
