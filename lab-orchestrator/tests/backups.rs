//! Backups of a running lab, with real processes: they are there, and whoever takes them ends with
//! the lab, even with one that is killed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok(); // It has been killed before, if all went well.
        self.0.wait().ok();
    }
}

fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process of this name that another one started.
fn child_of(parent: u32, name: &str) -> Option<Pid> {
    let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |pid: &i32| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let Some((comm, rest)) = stat.rsplit_once(')') else { return false };
        // Behind the name come the state and the parent.
        comm.ends_with(&format!("({name}"))
            && rest.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    pids.find(is_it).and_then(Pid::from_raw)
}

#[test]
fn backups_are_taken_and_end_with_the_lab() {
    let lab = Path::new(env!("CARGO_BIN_EXE_raft-lab"));
    for program in ["raft-node", "raft-ctl"] {
        let beside = lab.with_file_name(program);
        let how = "cargo build -p node -p node-ctl";
        assert!(beside.is_file(), "{} is missing: {how}", beside.display());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("lab");
    let mut command = Command::new(lab);
    command.args(["up", "--no-open", "--port=0", "--backups=1s", "--dir"]).arg(&dir);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut lab = Killed(command.spawn().expect("the lab starts"));
    let is_backup = |name: &str| name.contains("-rev-") && name.ends_with(".db");
    until("a backup", || {
        let mut found = fs::read_dir(dir.join("desk/backups")).ok()?.flatten();
        found.find(|entry| entry.file_name().to_str().is_some_and(is_backup))
    });
    let tool = until("raft-ctl", || child_of(lab.0.id(), "raft-ctl"));
    lab.0.kill().expect("killed");
    lab.0.wait().expect("waited");
    until("raft-ctl has ended", || test_kill_process(tool).is_err().then_some(()));
}
