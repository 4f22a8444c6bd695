//! `raft-ctl backup` beside real members: what is kept, what is found, what is told, how it ends.
//!
//! One cluster of real etcd for all of it, and one of ours where `raft-node` is built (or named by
//! `RAFTLAB_NODE`). Nothing is judged by how long it took.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use node_oracle::{Cluster, Kind, LOOK, PLACES, Programs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long whatever is awaited may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A call of `raft-ctl`, not yet made.
fn raft_ctl(endpoints: &str, dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-ctl"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCDCTL_")) {
        command.env_remove(name);
    }
    command.args(["--endpoints", endpoints, "backup", "--dir"]).arg(dir).args(words);
    command
}

/// What a call that ends by itself said.
fn call(endpoints: &str, dir: &Path, words: &[&str]) -> Output {
    raft_ctl(endpoints, dir, words).output().expect("raft-ctl runs")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The only line of a call with `-w json`.
fn line(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no line: {text}{}", errors(output)))
}

/// Lines as they come.
type Lines = Arc<Mutex<Vec<String>>>;

/// A backup every second; it is killed with this.
struct Habit {
    process: Child,
    said: Lines,
    complained: Lines,
}

impl Drop for Habit {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Habit {
    fn start(endpoints: &str, dir: &Path, words: &[&str]) -> Self {
        let mut command = raft_ctl(endpoints, dir, &["--every", "1s", "--verify", "-w", "json"]);
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("raft-ctl starts");
        let said = follow(process.stdout.take().expect("piped"));
        let complained = follow(process.stderr.take().expect("piped"));
        Self { process, said, complained }
    }

    /// The periods told so far.
    fn periods(&self) -> Vec<Value> {
        let said = self.said.lock().expect("nobody panics with it");
        said.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    fn complaints(&self) -> String {
        self.complained.lock().expect("nobody panics with it").join("\n")
    }

    /// Waits until a condition holds of the periods told.
    fn await_periods(&mut self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        self.await_both(what, |periods, _| holds(periods));
    }

    /// Waits until something was complained of.
    fn await_complaint(&mut self, expected: &str) {
        self.await_both(expected, |_, complaints| complaints.contains(expected));
    }

    fn await_both(&mut self, what: &str, holds: impl Fn(&[Value], &str) -> bool) {
        let since = Instant::now();
        while !holds(&self.periods(), &self.complaints()) {
            let ended = self.process.try_wait().expect("it is our child");
            let (periods, complaints) = (self.periods(), self.complaints());
            assert!(
                ended.is_none() && since.elapsed() < PATIENCE,
                "{what}: ended {ended:?}, said {periods:#?}, complained {complaints}"
            );
            std::thread::sleep(LOOK);
        }
    }

    /// As Ctrl-C does; returns the exit code.
    fn interrupt(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), Signal::INT).expect("it runs");
        let since = Instant::now();
        loop {
            if let Some(ended) = self.process.try_wait().expect("it is our child") {
                return ended.code();
            }
            assert!(since.elapsed() < PATIENCE, "it does not end: {}", self.complaints());
            std::thread::sleep(LOOK);
        }
    }
}

/// Reads until the end, which comes with the process's.
fn follow(output: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let filled = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            filled.lock().expect("nobody panics with it").push(line);
        }
    });
    lines
}

fn is_good(period: &Value) -> bool {
    period["verified"] == true
}

fn good(periods: &[Value]) -> usize {
    periods.iter().filter(|period| is_good(period)).count()
}

/// All files and folders of a folder, but the book.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry"));
    let names = entries.map(|entry| entry.file_name().into_string().expect("text"));
    let mut names: Vec<_> = names.filter(|name| name != ".raft-ctl-backup").collect();
    names.sort_unstable();
    names
}

/// The backups that count, the oldest first.
fn backups(dir: &Path) -> Vec<PathBuf> {
    let names = names(dir).into_iter();
    let ours = names.filter(|name| name.contains("Z-rev-") && name.ends_with(".db"));
    ours.map(|name| dir.join(name)).collect()
}

fn revision(backup: &Path) -> i64 {
    let name = backup.file_name().and_then(|name| name.to_str()).expect("text");
    let (_, revision) = name.trim_end_matches(".db").split_once("-rev-").expect("its form");
    revision.parse().expect("a number")
}

/// One byte in the middle becomes another.
fn flip(file: &Path) {
    let mut file = fs::File::options().read(true).write(true).open(file).expect("a file");
    let middle = file.metadata().expect("its size").len() / 2;
    let mut byte = [0];
    file.seek(SeekFrom::Start(middle)).expect("within");
    file.read_exact(&mut byte).expect("a byte");
    file.seek(SeekFrom::Start(middle)).expect("within");
    file.write_all(&[byte[0] ^ 0x10]).expect("written");
}

#[test]
fn backups_of_etcd() {
    let Some(programs) = Programs::find() else { return };
    let ports = node_oracle::ports(2 * PLACES);
    let mut cluster = Cluster::start(&programs, Kind::Etcd, &ports, &[]);
    one_is_made_and_etcd_knows_it(&cluster);
    the_newest_are_kept_and_nothing_else_is_touched(&cluster);
    rot_is_found_and_set_apart(&cluster);
    rot_fails_a_single_run(&cluster);
    a_member_that_is_down_is_told_until_it_is_back(&mut cluster);
    the_next_member_is_asked(&mut cluster);
}

#[test]
fn backups_of_raft_node() {
    let Some(programs) = Programs::find() else { return };
    let beside = Path::new(env!("CARGO_BIN_EXE_raft-ctl")).with_file_name("raft-node");
    let raft_node = std::env::var_os("RAFTLAB_NODE").map_or(beside, PathBuf::from);
    if !raft_node.exists() {
        eprintln!("NOT RUN: {} is not built: cargo build -p node", raft_node.display());
        return;
    }
    let raft_node = raft_node.to_str().expect("text");
    let ports = node_oracle::ports(2 * PLACES);
    let cluster = Cluster::start(&programs, Kind::RaftNode(raft_node), &ports, &[]);
    one_is_made_and_etcd_knows_it(&cluster);
    rot_is_found_and_set_apart(&cluster);
}

fn one_is_made_and_etcd_knows_it(cluster: &Cluster<'_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("new/backups");
    let output = call(&cluster.endpoints(&[]), &dir, &["--once", "--verify", "-w", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let told = line(&output);
    let [file] = &*backups(&dir) else { panic!("one file: {:?}", names(&dir)) };
    assert_eq!(names(&dir).len(), 1, "nothing half done");
    assert_eq!(told["file"], file.to_str().expect("text"));
    assert_eq!(told["revision"], revision(file));
    assert_eq!(told["verified"], true);
    assert_eq!(told["lastGood"], told["time"]);
    let file = file.to_str().expect("text");
    let status = cluster.call(&[], &["snapshot", "status", file, "-w", "json"], "");
    let status = status.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    let status = status.expect("etcd knows the file");
    for number in ["revision", "totalKey", "totalSize", "hash"] {
        assert_eq!(told[number], status[number], "{number}");
    }
    // For people, and not restored for a test.
    let output = call(&cluster.endpoints(&[]), &dir, &["--once"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with(", not verified\n") && text.contains(", revision "), "{text}");
    assert_eq!(backups(&dir).len(), 2, "each has a name of its own");
}

fn the_newest_are_kept_and_nothing_else_is_touched(cluster: &Cluster<'_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let foreign = [
        "notes",
        "backup.db",
        "2020-01-01T00-00-00Z-rev-1.db.damaged",
        "2020-01-01T00-00-00Z-rev-01.db",
        "copy-of-2020-01-01T00-00-00Z-rev-1.db",
        ".raft-ctl-backup.old",
    ];
    for name in foreign {
        fs::write(dir.join(name), name).expect("a file");
    }
    let mut habit = Habit::start(&cluster.endpoints(&[]), dir, &["--keep", "3"]);
    for round in 1..=6 {
        habit.await_periods("good backups", |periods| good(periods) >= round);
        assert_eq!(cluster.call(&[], &["put", "round", &round.to_string()], ""), "OK\n");
    }
    habit.await_periods("an older file tried again", |periods| {
        periods.iter().any(|period| period["verifiedAgain"].is_string())
    });
    let periods = habit.periods();
    assert_eq!(habit.interrupt(), Some(0));
    let kept: Vec<_> = periods.iter().map(|period| period["kept"].as_u64()).collect();
    assert_eq!(kept[..5], [Some(1), Some(2), Some(3), Some(3), Some(3)], "{periods:#?}");
    let file = |period: &Value| PathBuf::from(period["file"].as_str().expect("all are good"));
    assert!(periods.iter().map(file).map(|file| revision(&file)).is_sorted());
    assert!(revision(&file(&periods[5])) > revision(&file(&periods[0])));
    for period in &periods[..periods.len() - 3] {
        assert!(!file(period).exists(), "{} is kept", file(period).display());
    }
    for name in foreign {
        assert_eq!(fs::read_to_string(dir.join(name)).expect("it is there"), name);
    }
    for name in names(dir) {
        assert!(!name.ends_with(".part") && !name.ends_with(".test"), "{name} is left");
    }
}

fn rot_is_found_and_set_apart(cluster: &Cluster<'_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let endpoints = cluster.endpoints(&[]);
    for _ in 0..3 {
        assert!(call(&endpoints, dir, &["--once"]).status.success());
    }
    let rotten = backups(dir)[1].clone();
    flip(&rotten);
    let mut habit = Habit::start(&endpoints, dir, &["--keep", "100"]);
    let apart = format!("{}.damaged", rotten.display());
    let found = |periods: &[Value]| {
        let found = periods.iter().position(|period| !period["damaged"].is_null());
        found.map(|at| (at, periods[at]["damaged"][0] == *apart))
    };
    habit.await_periods("rot", |periods| found(periods).is_some());
    let (at, is_it) = found(&habit.periods()).expect("it was awaited");
    assert!(is_it, "{:#?}", habit.periods());
    habit.await_periods("it goes on", |periods| good(&periods[at + 1..]) > 0);
    habit.await_complaint("cannot be restored: ");
    habit.await_complaint(&format!("It is set apart as {apart}"));
    habit.await_complaint("no backup newer than ");
    assert!(!rotten.exists() && Path::new(&apart).exists());
    assert_eq!(habit.interrupt(), Some(0));
}

fn rot_fails_a_single_run(cluster: &Cluster<'_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let endpoints = cluster.endpoints(&[]);
    assert!(call(&endpoints, dir, &["--once"]).status.success());
    let rotten = backups(dir).remove(0);
    flip(&rotten);
    let output = call(&endpoints, dir, &["--once", "--verify", "-w", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let told = line(&output);
    assert_eq!(told["verified"], true, "the new one is good");
    assert_eq!(told["damaged"][0], format!("{}.damaged", rotten.display()));
    assert_eq!(call(&endpoints, dir, &["--once", "--verify"]).status.code(), Some(0));
}

fn a_member_that_is_down_is_told_until_it_is_back(cluster: &mut Cluster<'_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    cluster.crash(1);
    let mut habit = Habit::start(&cluster.endpoints(&[1]), dir, &[]);
    habit.await_periods("a failure", |periods| !periods.is_empty());
    let period = &habit.periods()[0];
    assert!(period["file"].is_null() && period["lastGood"].is_null(), "{period}");
    habit.await_complaint("no backup of http://127.0.0.1:");
    habit.await_complaint("there is no backup at all");
    cluster.run(1);
    habit.await_periods("a backup once it is back", |periods| good(periods) > 0);
    cluster.crash(1);
    habit.await_periods("a failure again", |periods| !is_good(&periods[periods.len() - 1]));
    let period = habit.periods().pop().expect("the last");
    assert!(period["lossWindowSeconds"].is_u64() && period["lastGood"].is_string(), "{period}");
    habit.await_complaint("no backup newer than ");
    assert_eq!(habit.interrupt(), Some(0), "there was a good one");

    let empty = tempfile::tempdir().expect("a folder");
    let mut habit = Habit::start(&cluster.endpoints(&[1]), empty.path(), &[]);
    habit.await_periods("a failure", |periods| !periods.is_empty());
    assert_eq!(habit.interrupt(), Some(5), "there was none");
    let output = call(&cluster.endpoints(&[1]), dir, &["--once"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("no backup newer than "), "{}", errors(&output));
    assert!(output.stdout.is_empty());
}

/// The first member is still down.
fn the_next_member_is_asked(cluster: &mut Cluster<'_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoints = cluster.endpoints(&[1, 2]);
    let output = call(&endpoints, folder.path(), &["--once", "--verify", "-w", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(line(&output)["endpoint"], cluster.endpoints(&[2]));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("backups");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let check = |dir: &Path, words: &[&str], code: i32, expected: &str| {
        let output = call("127.0.0.1:1", dir, words);
        let said = errors(&output);
        assert_eq!((output.status.code(), said.trim_end()), (Some(code), expected), "{words:?}");
    };
    check(&dir, &["--every", "0"], 128, "Error: --every must be 1s at least, and is 0s");
    check(&dir, &["--every", "20ms"], 128, "Error: --every must be 1s at least, and is 20ms");
    check(
        &dir,
        &["--every", "30"],
        1,
        "Error: invalid argument \"30\" for \"--every\" flag: time: missing unit in duration \
         \"30\"",
    );
    check(
        &dir,
        &["--keep", "0"],
        128,
        "Error: --keep must be 1 at least: the last good backup is never removed",
    );
    check(
        &dir,
        &["-w", "table"],
        4,
        "Error: backup prints a line at a time: use -w simple or -w json",
    );
    check(&dir, &["x"], 128, "Error: backup takes no arguments: the folder is given by --dir");
    assert!(!dir.exists(), "nothing was begun");
    let expected =
        format!("Error: backups cannot be written to {}: not a directory", file.display());
    check(&file, &["--once"], 1, &expected);
}

#[test]
fn two_do_not_share_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut habit = Habit::start("127.0.0.1:1", folder.path(), &[]);
    habit.await_periods("it works", |periods| !periods.is_empty());
    let output = call("127.0.0.1:1", folder.path(), &["--once"]);
    let expected = format!("Error: another raft-ctl backup works in {}", folder.path().display());
    assert_eq!(errors(&output).trim_end(), expected);
    assert_eq!(output.status.code(), Some(1));
}
