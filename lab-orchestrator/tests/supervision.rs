//! The lab as a process: nothing outlives it, whatever becomes of it.
//!
//! The members are a stand-in that obeys the lifeline and ignores its flags.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A member that does nothing: it ends when its lifeline ends, and by SIGTERM.
const STAND_IN: &str = "#!/bin/sh\n\
    if [ \"$1\" = --version ]; then echo 'stand-in 1'; exit 0; fi\n\
    echo 'ready to serve client requests' >&2\n\
    exec cat >/dev/null\n";

/// One that does not even end when it is asked to.
const STUBBORN: &str = "#!/bin/sh\n\
    if [ \"$1\" = --version ]; then echo 'stubborn 1'; exit 0; fi\n\
    trap '' TERM\n\
    while :; do sleep 1; done\n";

struct Lab {
    process: Child,
    /// Kept open: a lab whose words nobody hears still runs, but that is another test.
    _output: BufReader<ChildStdout>,
    members: Vec<Pid>,
    page: String,
    token: String,
    _program: tempfile::TempDir,
}

impl Lab {
    fn start(stand_in: &str, extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let node = program(folder.path(), stand_in);
        let mut process = Command::new(env!("CARGO_BIN_EXE_raft-lab"))
            .args(["up", "--no-open", "--node"])
            .arg(&node)
            .args(extra)
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the lab starts");
        let mut output = BufReader::new(process.stdout.take().expect("piped"));
        let mut members = Vec::new();
        let (mut page, mut token) = (String::new(), String::new());
        while members.len() < 3 {
            let line = next_line(&mut output);
            if let Some((_, pid)) = line.split_once("is up, process ") {
                let pid = pid.trim().parse().expect("a number");
                members.push(Pid::from_raw(pid).expect("not zero"));
            }
            if let Some(url) = line.trim().strip_prefix("the page") {
                let (at, secret) = url.trim().split_once("/#token=").expect("a token");
                (page, token) = (at.to_owned(), secret.to_owned());
            }
        }
        Self { process, _output: output, members, page, token, _program: folder }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).expect("small")).expect("not zero")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Most tests have ended it already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn program(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("stand-in");
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

fn next_line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    let read = output.read_line(&mut line).expect("the lab's words");
    assert!(read > 0, "the lab ended before it said what was awaited");
    line
}

fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn gone(pid: Pid) -> bool {
    test_kill_process(pid).is_err()
}

#[test]
fn no_member_outlives_a_killed_lab_not_even_a_paused_one() {
    for stand_in in [STAND_IN, STUBBORN] {
        let lab = Lab::start(stand_in, &["--port", "0"]);
        kill_process(lab.members[1], Signal::STOP).expect("paused");
        kill_process(lab.pid(), Signal::KILL).expect("killed");
        for &member in &lab.members {
            within(Duration::from_secs(2), "every member has ended", || gone(member));
        }
    }
}

#[test]
fn a_lab_that_is_asked_to_end_ends_everything_and_tidies_up() {
    let mut lab = Lab::start(STAND_IN, &["--port", "0"]);
    let folder = lab._program.path().to_owned();
    let labs = || {
        let entries = fs::read_dir(&folder).expect("lists").map(|entry| entry.expect("entry"));
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("raftlab-")).count()
    };
    assert_eq!(labs(), 1, "a temporary directory");
    // One member is paused by somebody else: it must be ended too.
    kill_process(lab.members[2], Signal::STOP).expect("paused");
    kill_process(lab.pid(), Signal::TERM).expect("asked");
    within(Duration::from_secs(12), "the lab has ended", || {
        lab.process.try_wait().expect("waits").is_some()
    });
    let status = lab.process.wait().expect("waited");
    assert_eq!(status.code(), Some(0));
    assert!(lab.members.iter().all(|&member| gone(member)));
    assert_eq!(labs(), 0, "nothing is left behind");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let folder = tempfile::tempdir().expect("a directory");
    let node = program(folder.path(), STAND_IN);
    let said = Command::new(env!("CARGO_BIN_EXE_raft-lab"))
        .args(["up", "--no-open", "--port", &port, "--node"])
        .arg(&node)
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(3), "{text}");
    assert!(text.contains(&port) && text.contains("--port"), "{text}");
}

#[test]
fn bad_input_is_answered_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a directory");
    let node = program(folder.path(), STAND_IN).display().to_string();
    let foreign = tempfile::tempdir().expect("a directory");
    fs::write(foreign.path().join("thesis.tex"), "years").expect("written");
    let foreign = foreign.path().display().to_string();
    let rows: [(&[&str], &str); 6] = [
        (&["up", "--members", "10"], "1..=9"),
        (&["up", "--nonsense"], "--nonsense"),
        (&["up", "--node", "/no/such/node"], "--node"),
        (&["up", "--node", &node, "--host", "0.0.0.0"], "127.0.0.1"),
        (&["up", "--node", &node, "--dir", &foreign], "--dir"),
        (&["replay", &foreign], "journal.postcard"),
    ];
    for (args, hint) in rows {
        let said = Command::new(env!("CARGO_BIN_EXE_raft-lab")).args(args).output().expect("runs");
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(!said.status.success(), "{args:?}");
        assert!(text.contains(hint), "{args:?} says: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_cluster_in_a_directory_is_resumed() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("lab").display().to_string();
    let first = ["--port=0", "--dir", &dir, "--members=3"];
    for args in [&first[..], &first[..3]] {
        let lab = Lab::start(STAND_IN, args);
        kill_process(lab.pid(), Signal::KILL).expect("killed");
        for &member in &lab.members {
            within(Duration::from_secs(2), "every member has ended", || gone(member));
        }
    }
    let folder = tempfile::tempdir().expect("a directory");
    let node = program(folder.path(), STAND_IN);
    let said = Command::new(env!("CARGO_BIN_EXE_raft-lab"))
        .args(["up", "--port=0", "--members=5", "--dir", &dir, "--node"])
        .arg(node)
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(text.contains("holds a cluster of 3 members, not 5"), "{text}");
}

#[test]
fn the_token_is_in_no_argument_and_no_output_of_a_member() {
    let mut lab = Lab::start(STAND_IN, &["--port", "0"]);
    // The page's URL is told when there is a leader, or after a while without one; the token's
    // file is there at once.
    let token = token_file(lab._program.path());
    assert_eq!(token.len(), 64);
    for &pid in lab.members.iter().chain([&lab.pid()]) {
        let args = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let environment =
            fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        for text in [args, environment] {
            assert!(!String::from_utf8_lossy(&text).contains(&token));
        }
    }
    assert!(lab.page.is_empty() || lab.token == token);
    lab.process.kill().expect("killed");
}

fn token_file(folder: &Path) -> String {
    let lab = fs::read_dir(folder)
        .expect("lists")
        .map(|entry| entry.expect("entry").path())
        .find(|path| path.is_dir())
        .expect("the lab's directory");
    let path = lab.join("token");
    let mode = fs::metadata(&path).expect("a token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::read_to_string(path).expect("reads")
}
