//! Members that somebody starts in a shell of their own, with real processes: adopted, watched,
//! signalled and ended like the lab's own; strangers are told apart.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab_orchestrator::lab::{Lab, LabPlan};
use lab_protocol::{By, Command as Asked, Ended, LabState, MemberNo, Process};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const M2: MemberNo = MemberNo(2);
const M3: MemberNo = MemberNo(3);

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Started(Child);

impl Started {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("it runs");
    }

    fn is_gone(&mut self) -> bool {
        self.0.try_wait().expect("waits").is_some()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Most have ended by now.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn node() -> PathBuf {
    let node = Path::new(env!("CARGO_BIN_EXE_raft-lab")).with_file_name("raft-node");
    assert!(node.is_file(), "{} is missing: cargo build -p node", node.display());
    node
}

/// A line in a shell that knows what `raft-lab env` prints.
fn shell(dir: &Path, line: &str) -> Started {
    let script = format!("set -eu\neval \"$(\"$RAFT_LAB\" env --dir \"$DIR\")\"\n{line}\n");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("RAFT_LAB", env!("CARGO_BIN_EXE_raft-lab")).env("DIR", dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Started(command.spawn().expect("there is a shell"))
}

async fn until(lab: &Lab, what: &str, holds: impl Fn(&LabState) -> bool) {
    let mut follower = lab.handle().journal().follow(0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = lab.handle().journal().state();
        if holds(&state) {
            return;
        }
        let lines: Vec<_> = state.story.lines.iter().map(|line| line.text.as_str()).collect();
        let told = lines.join("\n");
        let left = deadline.checked_duration_since(Instant::now());
        let left = left.unwrap_or_else(|| panic!("{what} was awaited, and this was seen:\n{told}"));
        // New events, or the deadline.
        let short = left.min(Duration::from_millis(200));
        tokio::time::timeout(short, follower.next(10_000)).await.ok();
    }
}

async fn ask(lab: &Lab, command: Asked) {
    lab.handle().submit(By::Call, command).await.expect("done");
}

fn process(state: &LabState, member: MemberNo) -> &Process {
    &state.members[&member].process
}

fn says(state: &LabState, words: &str) -> bool {
    state.story.lines.iter().any(|line| line.text.contains(words))
}

fn plan(dir: &Path) -> LabPlan {
    LabPlan { members: Some(3), dir: Some(dir.to_owned()), ..LabPlan::of(node(), 1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_started_by_hand_is_the_labs() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("lab");
    let lab = Lab::start(plan(&dir)).await.expect("starts");
    until(&lab, "a leader", |state| state.leader().is_some()).await;
    ask(&lab, Asked::Crash { member: M2 }).await;

    // It is adopted, heard, and its end is seen.
    let first = shell(&dir, "eval \"exec $M2_START\"");
    let pid = first.pid();
    until(&lab, "m2 up", |state| *process(state, M2) == Process::Up { pid }).await;
    until(&lab, "m2 heard", |state| {
        state.members[&M2].status.as_ref().is_some_and(|status| status.leader.is_some())
    })
    .await;
    first.signal(Signal::KILL);
    let ended = |asked, ended| Process::Down { ended, asked, wiped: false };
    until(&lab, "m2 down", |state| *process(state, M2) == ended(false, Ended::Unseen)).await;

    // What the lab does to its own works on it; its line may be typed as in the guide.
    let line = "cd \"$RAFTLAB_DESK\"; exec \"$NODE\" --name m2 --listen-client-urls \"$M2_CLIENT\" \
                --advertise-client-urls \"$M2_CLIENT\" --listen-peer-urls \"$M2_LISTEN\" \
                --initial-advertise-peer-urls \"$M2_PEER\" $M2_SEAT";
    let second = shell(&dir, &line.replace("\"$NODE\"", &node().display().to_string()));
    let pid = second.pid();
    until(&lab, "m2 up", |state| *process(state, M2) == Process::Up { pid }).await;
    ask(&lab, Asked::Pause { member: M2 }).await;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    assert!(stat.contains(") T "), "{stat}");
    ask(&lab, Asked::Resume { member: M2 }).await;
    ask(&lab, Asked::Crash { member: M2 }).await;
    let crashed = ended(true, Ended::Signal { number: 9 });
    assert_eq!(*process(&lab.handle().journal().state(), M2), crashed);

    // The lab may start it itself in between.
    ask(&lab, Asked::Restart { member: M2 }).await;
    ask(&lab, Asked::Stop { member: M2 }).await;

    // It is ended with the lab.
    let mut third = shell(&dir, "m2");
    until(&lab, "m2 up", |state| matches!(process(state, M2), Process::Up { .. })).await;
    let Process::Up { pid } = *process(&lab.handle().journal().state(), M2) else {
        panic!("it runs")
    };
    lab.shutdown().await;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    let deadline = Instant::now() + PATIENCE;
    while !third.is_gone() || test_kill_process(pid).is_ok() {
        assert!(Instant::now() < deadline, "m2 outlived the lab");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = Command::new(env!("CARGO_BIN_EXE_raft-lab"))
        .args(["env", "--dir"])
        .arg(&dir)
        .output()
        .expect("runs");
    assert!(String::from_utf8_lossy(&said.stderr).contains("no lab runs in"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_not_adopted() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("lab");
    let lab = Lab::start(plan(&dir)).await.expect("starts");
    until(&lab, "a leader", |state| state.leader().is_some()).await;
    ask(&lab, Asked::Stop { member: M3 }).await;
    let elsewhere = folder.path().join("elsewhere").display().to_string();
    let seats = std::fs::read_to_string(dir.join("running.json")).expect("written down");
    let seats: serde_json::Value = serde_json::from_str(&seats).expect("JSON");
    let telemetry = seats["members"][2]["telemetry_url"].as_str().expect("a URL");
    // Its peers would be reached past the links that the lab breaks.
    let past_the_links = format!(
        "exec {} --name m3 --data-dir \"$RAFTLAB_DESK/m3.etcd\" --listen-client-urls $M3_CLIENT \
         --advertise-client-urls $M3_CLIENT --listen-peer-urls $M3_LISTEN \
         --initial-advertise-peer-urls $M3_PEER --listen-telemetry-urls {telemetry}",
        node().display()
    );
    let rows = [
        // First, for what a copy of its directory promises later, this one would not know of.
        (past_the_links.as_str(), "does not dial its peers by the lab's proxy"),
        // With what it has: an empty directory would not do, for m3 has run already.
        (
            "cp -r \"$RAFTLAB_DESK/m3.etcd\" ELSEWHERE; \
             eval \"exec $M3_START\" --data-dir ELSEWHERE",
            "its data directory is not on the desk",
        ),
        (
            "eval \"exec $M3_START\" --name m7 --initial-cluster m7=$M3_PEER --data-dir ELSEWHERE7",
            "its name is m7",
        ),
    ];
    for (line, why) in rows {
        let line = line.replace("ELSEWHERE", &elsewhere);
        let stranger = shell(&dir, &line);
        until(&lab, why, |state| says(state, why)).await;
        assert!(matches!(process(&lab.handle().journal().state(), M3), Process::Down { .. }));
        drop(stranger);
    }
    lab.shutdown().await;
}
