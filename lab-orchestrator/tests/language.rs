//! The words of scenarios, performed on real processes by `raft-lab drill` and `raft-lab matrix`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab_orchestrator::record;
use lab_protocol::{By, Event, Numbered};
use serde_json::Value;

/// A cluster of one: it forms at once and has nobody to wait for.
const ALONE: &str = r#"
title = "t"
about = "a"
[cluster]
members = 1
election_timeout = "300ms"
heartbeat = "30ms"
"#;

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).expect("written");
        path
    }

    fn lab(&self, command: &str, file: &Path, more: &[&str]) -> Output {
        let lab = Path::new(env!("CARGO_BIN_EXE_raft-lab"));
        let node = lab.with_file_name("raft-node");
        assert!(node.is_file(), "{} is missing: cargo build -p node", node.display());
        let runs = self.folder.path().join("runs");
        let mut program = Command::new(lab);
        program.arg(command).arg(file).arg("--runs").arg(runs).arg("--json").args(more);
        program.output().expect("the lab runs")
    }

    /// The reports, and the exit code.
    fn drill(&self, text: &str, more: &[&str]) -> (Value, i32, String) {
        let output = self.lab("drill", &self.file("s", text), more);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let reports = serde_json::from_slice(&output.stdout);
        let reports = reports.unwrap_or_else(|error| panic!("{error}: {told}"));
        (reports, output.status.code().unwrap_or(-1), told)
    }
}

fn judgement<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str) {
    let checks = report["verdict"]["checks"].as_array().expect("checks");
    let found = checks.iter().find(|found| found["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} in {checks:?}"));
    let word = |field: &str| found[field].as_str().expect("a word");
    (word("judgement"), word("because"))
}

/// What a run's scenario asked for, in order.
fn schedule(report: &Value) -> Vec<String> {
    let run = Path::new(report["run"].as_str().expect("a run"));
    let recording = record::read(run).expect("a recording");
    let asked = |numbered: &Numbered| match &numbered.event {
        Event::Asked { by: By::Drill, command, .. } => Some(format!("{command:?}")),
        _ => None,
    };
    recording.events.iter().filter_map(asked).collect()
}

#[test]
fn the_same_seed_asks_for_the_same() {
    let text = r#"
title = "t"
about = "a"
[cluster]
members = 3
election_timeout = "300ms"
heartbeat = "30ms"
[[step]]
say = "one of these"
one_of = [["pause m1 for 200ms"], ["pause m2 for 200ms"], ["pause m3 for 200ms"]]
[[step]]
say = "a mix"
mix = { of = ["pause m1 for 100ms", "cut m1>m2 for 100ms", "halves", "delay m2>m3 20ms", "undo faults"], every = "150ms", for = "2s" }
[[step]]
say = "beside each other"
together = [["wait 100ms", "pause m1 for 50ms", "wait 200ms", "cut m2>m3 for 50ms"], ["wait 200ms", "pause m2 for 50ms"]]
[checks]
converged = {}
"#;
    let stage = Stage::new();
    let run = |seed: &str| {
        let (reports, code, told) = stage.drill(text, &["--seed", seed]);
        assert_eq!(code, 0, "{told}");
        schedule(&reports[0])
    };
    let (first, second, other) = (run("7"), run("7"), run("8"));
    assert!(first.len() >= 12, "{first:?}");
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn steps_wait_repeat_and_are_left_out() {
    let text = format!(
        r#"{ALONE}
[[step]]
say = "two lists, each in its own time"
name = "beside"
together = [["wait 300ms", "put m1"], ["wait until acked >= 1 within 5s", "put m1"]]
wait_until = "answered"
[[step]]
say = "never"
when = "leaders = 7"
do = ["crash m1"]
[[step]]
say = "again"
name = "again"
repeat = 50
until = "acked >= 3"
do = ["put m1", "wait until answered"]
[[step]]
say = "not before its time"
at = "1500ms"
hold = "100ms"
[[expect]]
say = "the second list waited for the first"
during = "beside"
at_end = "acked = 2"
[[expect]]
say = "three and no more"
during = "again"
at_end = "acked = 3"
[[expect]]
say = "the time went by"
at_end = "gap >= 500ms"
[[expect]]
say = "nobody crashed"
never = "not m1 up"
[[expect]]
say = "this is not so"
name = "wrong"
always = "acked < 2"
"#
    );
    let stage = Stage::new();
    let (reports, code, told) = stage.drill(&text, &[]);
    assert_eq!(code, 1, "{told}");
    for number in 1..=4 {
        let (judged, because) = judgement(&reports[0], &format!("expect {number}"));
        assert_eq!(judged, "valid", "{number}: {because}: {told}");
    }
    assert_eq!(judgement(&reports[0], "wrong").0, "invalid");
    assert!(told.contains("left out"), "{told}");
    // What is told again is judged again.
    let run = reports[0]["run"].as_str().expect("a run");
    let lab = Path::new(env!("CARGO_BIN_EXE_raft-lab"));
    let again = Command::new(lab).args(["check", run, "--json"]).output().expect("it runs");
    let again: Value = serde_json::from_slice(&again.stdout).expect("a verdict");
    assert_eq!(again["checks"].as_array().map(Vec::len), Some(5), "{again}");
    assert_eq!(again["judgement"], "invalid");
}

#[test]
fn what_has_to_be_violated_must_be_and_twins_differ() {
    let text = format!(
        r#"{ALONE}
[[variant]]
name = "works"
violated = ["no write"]
[[variant]]
name = "idle"
violated = ["no write"]
[[variant]]
name = "stopped"
violated = []
[[step]]
say = "a write"
name = "write"
only = ["works"]
do = ["put m1"]
wait_until = "acked >= 1"
[[step]]
say = "time"
hold = "300ms"
[[step]]
say = "it is stopped"
only = ["stopped"]
do = ["pause m1"]
hold = "20s"
[[expect]]
say = "nobody writes"
name = "no write"
always = "acked = 0"
"#
    )
    .replacen("[cluster]", "stop_if = [\"m1 paused\"]\n[cluster]", 1);
    let stage = Stage::new();
    let (reports, code, told) = stage.drill(&text, &[]);
    assert_eq!(code, 1, "{told}");
    let all = reports.as_array().expect("reports");
    assert_eq!(all.len(), 3, "{told}");
    let of = |at: usize| all[at]["verdict"]["judgement"].as_str().expect("a word");
    assert_eq!([of(0), of(1), of(2)], ["valid", "invalid", "unknown"], "{told}");
    assert!(judgement(&all[0], "no write").1.contains("violated, as it has to be"));
    assert!(judgement(&all[1], "no write").1.contains("had to be violated"));
    assert!(told.contains("the run was stopped, because `m1 paused`"), "{told}");

    let (one, code, told) = stage.drill(&text, &["--variant", "works"]);
    assert_eq!((one.as_array().map(Vec::len), code), (Some(1), 0), "{told}");
    let none = stage.lab("drill", &stage.file("s", &text), &["--variant", "other"]);
    let told = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(none.status.code() == Some(3) && told.contains("[works, idle, stopped]"), "{told}");
}

#[test]
fn a_matrix_has_seeds_and_a_counter_test() {
    let text = format!(
        r#"{ALONE}
[[step]]
say = "it crashes, and is started again"
do = ["put m1", "wait until acked >= 1", "crash m1 as it", "restart it"]
wait_until = "all agree"
[[step]]
say = "it goes on"
do = ["put m1"]
wait_until = "acked >= 1"
[[expect]]
say = "it began once more"
at_end = "starts of m1 >= 1"
"#
    );
    let stage = Stage::new();
    let folder = stage.folder.path().join("files");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("a.toml"), &text).expect("written");
    std::fs::write(folder.join("b.toml"), &text).expect("written");
    let run = |more: &[&str]| {
        let output = stage.lab("matrix", &folder, more);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let reports: Value = serde_json::from_slice(&output.stdout).expect("reports");
        (reports.as_array().map_or(0, Vec::len), output.status.code(), told)
    };
    let (reports, code, told) = run(&["--seeds", "2", "--jobs", "2"]);
    assert_eq!((reports, code), (4, Some(0)), "{told}");
    assert!(told.contains("4 runs: 4 valid"), "{told}");
    let (reports, code, told) = run(&["--without-faults"]);
    assert_eq!((reports, code), (2, Some(0)), "{told}");
    assert!(told.contains("0 valid") && told.contains("none may be valid"), "{told}");
}
