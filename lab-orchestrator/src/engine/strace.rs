//! Faults of a disk that are injected from outside, by `strace`: for members without a control
//! socket.
//!
//! strace stands between a process and the system, and changes what some system calls do. Etcd
//! syncs its log by `fdatasync` and its database by `fsync` or `fdatasync`; files grow by
//! `fallocate` and `ftruncate`, as both are written in pieces that were reserved before. While
//! strace stands there, each other system call of the process takes some microseconds longer, too.
//!
//! A process has one tracer at most, so one strace carries all faults of a member's disk.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use lab_protocol::{Fault, MemberNo};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// strace has taken hold of a process in this time, or it cannot.
const ATTACH_DEADLINE: Duration = Duration::from_secs(5);

/// strace lets a process go in this time.
const DETACH_DEADLINE: Duration = Duration::from_secs(3);

/// A sync that is stuck takes so long.
const STUCK_SECONDS: u32 = 86_400;

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// What makes a file durable.
const SYNCS: &str = "fsync,fdatasync,msync,sync_file_range";

/// What makes a file larger before it is written to.
const GROWTH: &str = "fallocate,ftruncate";

const MISSING: &str = "strace is not installed, and nothing else can touch the disk of a member \
    that is not ours; install the package strace";

/// A strace that holds a process. When it is dropped, it is killed, and the process goes on.
#[derive(Debug)]
pub struct Tracer {
    strace: Child,
}

/// Orders that wait; whoever gives one waits for its answer.
const ORDERS: usize = 16;

/// Keeps the straces of all members. When it is dropped, every process is let go.
#[derive(Debug)]
pub struct Tracers {
    orders: mpsc::Sender<Order>,
    _task: JoinSet<()>,
}

/// Who is to suffer from what, from now on.
#[derive(Debug)]
struct Order {
    member: MemberNo,
    pid: u32,
    faults: Vec<Fault>,
    reply: oneshot::Sender<Result<(), String>>,
}

impl Tracers {
    /// The task that keeps them.
    pub fn start() -> Self {
        let (orders, mut given) = mpsc::channel::<Order>(ORDERS);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut tracers: BTreeMap<MemberNo, Tracer> = BTreeMap::new();
            while let Some(Order { member, pid, faults, reply }) = given.recv().await {
                if let Some(tracer) = tracers.remove(&member) {
                    tracer.detach().await;
                }
                let how = match faults.is_empty() {
                    true => Ok(()),
                    false => Tracer::attach(pid, &faults).await.map(|tracer| {
                        tracers.extend(tracer.map(|tracer| (member, tracer)));
                    }),
                };
                reply.send(how).ok(); // Who asked has left.
            }
        });
        Self { orders, _task: task }
    }

    /// Has a member's process suffer from exactly these faults; what came of it.
    ///
    /// # Errors
    /// For a person: why the process suffers from none of them.
    pub fn set(
        &self,
        member: MemberNo,
        pid: u32,
        faults: Vec<Fault>,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let orders = self.orders.clone();
        async move {
            let gone = |()| "the lab is ending".to_owned();
            let (reply, answer) = oneshot::channel();
            orders.send(Order { member, pid, faults, reply }).await.map_err(|_| gone(()))?;
            answer.await.map_err(|_| gone(()))?
        }
    }
}

/// What strace is told for a fault; none if it cannot inject it.
fn rules_of(fault: Fault) -> Option<String> {
    Some(match fault {
        Fault::SlowSync { millis, .. } => {
            format!("inject={SYNCS}:delay_exit={}", u64::from(millis) * 1_000)
        }
        Fault::StuckSync { .. } => format!("inject={SYNCS}:delay_enter={STUCK_SECONDS}s"),
        Fault::FailingSync { .. } => format!("inject={SYNCS}:error=EIO"),
        Fault::FullDisk { .. } => format!("inject={GROWTH}:error=ENOSPC"),
        Fault::ReadOnlyDisk { .. }
        | Fault::DriftingClock { .. }
        | Fault::FrozenClock { .. }
        | Fault::Starved { .. }
        | Fault::Restarting { .. }
        | Fault::Flapping { .. } => return None,
    })
}

/// Whether a fault can be injected so at all.
pub fn can(fault: Fault) -> bool {
    rules_of(fault).is_some()
}

/// Whether strace is there.
///
/// # Errors
/// For a person: it is not installed, or cannot be run.
pub async fn installed() -> Result<(), String> {
    let mut strace = Command::new("strace");
    strace.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match strace.status().await {
        Ok(_) => Ok(()),
        Err(error) => Err(in_words(&error)),
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => MISSING.to_owned(),
        _ => format!("strace cannot be run: {error}"),
    }
}

impl Tracer {
    /// Has strace take hold of a process and inject these faults; it does when this returns. None
    /// if the process has ended, be it of them.
    ///
    /// # Errors
    /// For a person: strace is not installed, or the system does not let it.
    pub async fn attach(pid: u32, faults: &[Fault]) -> Result<Option<Self>, String> {
        let mut command = Command::new("strace");
        command.args(["-q", "-f", "-o", "/dev/null", "-p", &pid.to_string()]);
        command.args(["-e", "signal=none", "-e", &format!("trace={SYNCS},{GROWTH}")]);
        for rules in faults.iter().filter_map(|fault| rules_of(*fault)) {
            command.args(["-e", &rules]);
        }
        let mut strace = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| in_words(&error))?;
        let held = async {
            while !is_held(pid) && matches!(strace.try_wait(), Ok(None)) {
                sleep(LOOK).await;
            }
        };
        let in_time = timeout(ATTACH_DEADLINE, held).await.is_ok();
        if is_held(pid) {
            return Ok(Some(Self { strace }));
        }
        if is_gone(pid) {
            return Ok(None);
        }
        if in_time {
            let mut words = String::new();
            if let Some(mut said) = strace.stderr.take() {
                said.read_to_string(&mut words).await.ok(); // Without them the message still helps.
            }
            return Err(format!(
                "strace could not take hold of process {pid} ({}); where \
                 /proc/sys/kernel/yama/ptrace_scope is not 0, only root may",
                words.trim()
            ));
        }
        Err(format!("strace did not take hold of process {pid} in time"))
    }

    /// Lets the process go; it has been let go when this returns.
    pub async fn detach(mut self) {
        if let Some(pid) = self.strace.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // It has not been waited for, so the number is still its own.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        if timeout(DETACH_DEADLINE, self.strace.wait()).await.is_err() {
            // The system lets go of whatever a killed tracer held.
            self.strace.kill().await.ok();
        }
    }
}

/// Whether a process has ended, waited for or not.
fn is_gone(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The state is the first letter behind the name, which stands in parentheses.
    stat.rsplit(')').next().unwrap_or("").trim_start().starts_with(['Z', 'X'])
}

/// Whether every thread of a process has a tracer.
fn is_held(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        std::fs::read_to_string(thread.path().join("status"))
            .is_ok_and(|status| !status.lines().any(|line| line == "TracerPid:\t0"))
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Syncs a file again and again, a line each time.
    const SYNCING: &str =
        "while :; do dd if=/dev/zero of=\"$0\" bs=1 count=1 conv=fsync 2>&1; done";

    #[tokio::test]
    async fn a_process_is_held_and_let_go() {
        if installed().await.is_err() {
            eprintln!("SKIPPED: {MISSING}");
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = std::process::Command::new("sh")
            .args(["-c", SYNCING])
            .arg(dir.path().join("file"))
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let member = MemberNo(1);
        let attached = Tracer::attach(process.id(), &[Fault::StuckSync { member }]).await;
        let began = Instant::now();
        match attached {
            Ok(tracer) => {
                let tracer = tracer.expect("it runs");
                assert!(is_held(process.id()));
                tracer.detach().await;
                assert!(!is_held(process.id()) && began.elapsed() < Duration::from_secs(60));
            }
            // A system that forbids it says so.
            Err(why) => assert!(why.contains("ptrace_scope"), "{why}"),
        }
        process.kill().expect("it is ours");
        process.wait().expect("waited for");
    }

    #[tokio::test]
    async fn who_is_gone_is_not_held() {
        if installed().await.is_err() {
            eprintln!("SKIPPED: {MISSING}");
            return;
        }
        let fault = Fault::FailingSync { member: MemberNo(1) };
        let nobody = Tracer::attach(u32::MAX / 4, &[fault]).await.expect("no error");
        assert!(nobody.is_none());
    }
}
