//! The processes themselves: spawned by one permanent thread, one task each.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use lab_protocol::{Ended, MemberNo};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Output;
use super::adopted::{self, Adoption};
use super::output::LINE_BYTES;

/// Orders that wait for the thread. The lab waits when it is full; it never is, because the lab
/// has at most one order open for each process.
const ORDERS: usize = 64;

/// A process that was asked to end and has not is killed after this time.
pub(super) const TERM_DEADLINE: Duration = Duration::from_secs(10);

/// The pipes of an ended process are read on for so long, should somebody else hold them open.
const DRAIN_DEADLINE: Duration = Duration::from_millis(300);

/// A process is seen to be stopped within this time, or reported as it is.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// Last lines that are told with the end of a process.
const LAST_LINES: usize = 50;

/// How to start one member's process.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Whose process it is.
    pub member: MemberNo,
    /// The program; no shell is involved.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment beside `PATH`, `HOME` and `RUST_LOG`/`RUST_BACKTRACE`.
    pub environment: BTreeMap<String, OsString>,
    /// Where its output goes.
    pub output: Output,
}

/// What the lab orders.
#[derive(Debug)]
pub enum Order {
    /// Starts a process; the member must have none.
    Start(Box<Launch>),
    /// Takes a process over that somebody else started; the member must have none.
    Adopt(Box<Adoption>),
    /// SIGKILL.
    Crash(MemberNo),
    /// SIGTERM, and SIGKILL when that does not end it within ten seconds. A paused process is
    /// resumed first.
    Stop(MemberNo),
    /// SIGSTOP.
    Pause(MemberNo),
    /// SIGCONT.
    Resume(MemberNo),
    /// Lets the process run only so many percent of the time, by SIGSTOP and SIGCONT in turn;
    /// `None`: all the time again.
    #[expect(missing_docs, reason = "the names say it")]
    Starve { member: MemberNo, percent: Option<u8> },
}

/// What the supervisor reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the variants and fields say it")]
pub enum ProcessEvent {
    Up { member: MemberNo, pid: u32 },
    Paused { member: MemberNo, pid: u32 },
    Resumed { member: MemberNo, pid: u32 },
    Ended { member: MemberNo, ended: Ended, asked: bool, last_lines: Vec<String> },
}

/// The permanent thread. When this is dropped every process is killed and waited for.
#[derive(Debug)]
pub struct Supervisor {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts the thread; what happens is sent to `events`, which must be read.
    pub fn start(events: mpsc::Sender<ProcessEvent>) -> io::Result<Self> {
        let (orders, received) = mpsc::channel(ORDERS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("supervisor".into())
            .spawn(move || runtime.block_on(supervise(received, events)))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Gives an order; what comes of it is reported as an event.
    pub async fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread takes orders until this is dropped; if it is gone, so are its processes.
            orders.send(order).await.ok();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed there, and the processes died with the thread.
            thread.join().ok();
        }
    }
}

/// The thread's loop: spawns, passes signals on, and kills what is left at the end.
async fn supervise(mut orders: mpsc::Receiver<Order>, events: mpsc::Sender<ProcessEvent>) {
    let mut children: BTreeMap<MemberNo, mpsc::Sender<Do>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while let Some(order) = orders.recv().await {
        while tasks.try_join_next().is_some() {}
        let (member, what) = match order {
            Order::Start(launch) => {
                let member = launch.member;
                if children.get(&member).is_some_and(|child| !child.is_closed()) {
                    tracing::error!(%member, "has a process already; a second one is not started");
                    continue;
                }
                // Two at most are ever open for one process (see `ORDERS`).
                let (sender, receiver) = mpsc::channel(8);
                match spawn(&launch) {
                    Ok(child) => {
                        children.insert(member, sender);
                        tasks.spawn(tend(member, child, launch.output, receiver, events.clone()));
                    }
                    Err(error) => {
                        let why = format!("cannot start {}: {error}", launch.program.display());
                        let ended = Ended::NotStarted { why };
                        let last_lines = Vec::new();
                        let event = ProcessEvent::Ended { member, ended, asked: false, last_lines };
                        events.send(event).await.ok(); // The lab is gone when nobody listens.
                    }
                }
                continue;
            }
            Order::Adopt(adoption) => {
                let member = adoption.member;
                let (sender, receiver) = mpsc::channel(8);
                children.insert(member, sender);
                tasks.spawn(adopted::tend(*adoption, receiver, events.clone()));
                continue;
            }
            Order::Crash(member) => (member, Do::Crash),
            Order::Stop(member) => (member, Do::Stop),
            Order::Pause(member) => (member, Do::Pause),
            Order::Resume(member) => (member, Do::Resume),
            Order::Starve { member, percent } => (member, Do::Starve(percent)),
        };
        if let Some(child) = children.get(&member) {
            child.send(what).await.ok(); // It ended meanwhile, which it reports itself.
        }
    }
    // Nobody gives orders any more: every child's channel closes, and its task kills it.
    children.clear();
    while tasks.join_next().await.is_some() {}
}

/// What is done to one process.
#[derive(Debug)]
pub(super) enum Do {
    Crash,
    Stop,
    Pause,
    Resume,
    Starve(Option<u8>),
}

/// One turn of a starved process: it runs, then it stands.
const PULSE: Duration = Duration::from_millis(50);

/// A starved process: when its next signal is due.
#[derive(Debug)]
pub(super) struct Pulse {
    percent: u8,
    stands: bool,
    pub(super) at: Instant,
}

impl Pulse {
    /// A process that runs so many percent of the time, from now on.
    pub(super) fn new(percent: u8) -> Self {
        Self { percent, stands: false, at: Instant::now() }
    }

    /// Its next signal.
    pub(super) fn beat(&mut self, target: &Target) {
        self.stands = !self.stands;
        let runs = PULSE * u32::from(self.percent) / 100;
        let (signal, lasts) = match self.stands {
            true => (Signal::STOP, PULSE.saturating_sub(runs)),
            false => (Signal::CONT, runs),
        };
        target.signal(signal);
        self.at = Instant::now() + lasts;
    }
}

fn spawn(launch: &Launch) -> io::Result<Child> {
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for name in ["PATH", "HOME", "RUST_LOG", "RUST_BACKTRACE", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(&launch.environment);
    ends_with_the_lab(&mut command);
    command.spawn()
}

/// Puts a program into a session of its own, and has it end with the thread that starts it, on
/// Linux: with the lab, if that thread lives as long.
#[cfg_attr(
    unix,
    expect(unsafe_code, reason = "what a child does between fork and exec is unsafe to name")
)]
pub fn ends_with_the_lab(command: &mut Command) {
    let lab = rustix::process::getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are made: `setsid`, `prctl` and
    // `getppid` are plain system calls here, nothing is allocated, no lock is taken. The closure
    // owns a copied number only.
    unsafe {
        command.pre_exec(move || before_exec(lab));
    }
}

/// Runs in the child before it becomes the program: its own session, so that a Ctrl-C at our
/// terminal does not reach it, and death with the lab.
fn before_exec(lab: rustix::process::Pid) -> io::Result<()> {
    rustix::process::setsid()?;
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The lab may have died before the line above: then nobody would ever send that signal.
        if rustix::process::getppid() != Some(lab) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = lab;
    Ok(())
}

/// Tends one process from its start to its end.
async fn tend(
    member: MemberNo,
    mut child: Child,
    output: Output,
    mut orders: mpsc::Receiver<Do>,
    events: mpsc::Sender<ProcessEvent>,
) {
    let pid = child.id().unwrap_or(0);
    let target = Target::of(&child);
    output.line(format!("--- {member} started, process {pid} ---").as_bytes());
    // The lifeline: held open until the end of this function, or of the lab.
    let _lifeline = child.stdin.take();
    let mut drains = JoinSet::new();
    if let Some(stdout) = child.stdout.take() {
        drains.spawn(drain(stdout, output.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        drains.spawn(drain(stderr, output.clone()));
    }
    let report = async |event| {
        events.send(event).await.ok(); // The lab is gone when nobody listens.
    };
    report(ProcessEvent::Up { member, pid }).await;

    let mut asked = false;
    let mut paused = false;
    let mut kill_at: Option<Instant> = None;
    let mut pulse: Option<Pulse> = None;
    let ended = loop {
        let deadline = kill_at.unwrap_or_else(far_future);
        let pulse_at = pulse.as_ref().filter(|_| !paused).map(|pulse| pulse.at);
        tokio::select! {
            status = child.wait() => break ended(status),
            () = sleep_until(deadline), if kill_at.is_some() => {
                tracing::warn!(%member, pid, "did not end when asked, is killed");
                target.signal(Signal::KILL);
                kill_at = None;
            }
            () = sleep_until(pulse_at.unwrap_or(deadline)), if pulse_at.is_some() => {
                if let Some(pulse) = &mut pulse {
                    pulse.beat(&target);
                }
            }
            order = orders.recv() => match order {
                Some(Do::Crash) => {
                    asked = true;
                    target.signal(Signal::KILL);
                }
                Some(Do::Starve(percent)) => {
                    if pulse.take().is_some() && !paused {
                        target.signal(Signal::CONT);
                    }
                    pulse = percent.map(Pulse::new);
                }
                Some(Do::Stop) => {
                    asked = true;
                    target.signal(Signal::TERM);
                    if paused {
                        target.signal(Signal::CONT);
                    }
                    kill_at = Some(Instant::now() + TERM_DEADLINE);
                }
                Some(Do::Pause) => {
                    target.signal(Signal::STOP);
                    target.wait_until_stopped().await;
                    paused = true;
                    report(ProcessEvent::Paused { member, pid }).await;
                }
                Some(Do::Resume) => {
                    target.signal(Signal::CONT);
                    paused = false;
                    report(ProcessEvent::Resumed { member, pid }).await;
                }
                None => {
                    // The lab ends. SIGKILL ends a paused process too.
                    asked = true;
                    target.signal(Signal::KILL);
                    break ended(child.wait().await);
                }
            },
        }
    };
    let all_read = async { while drains.join_next().await.is_some() {} };
    // Whoever holds the pipes open longer is not our member; what it prints is not read.
    timeout(DRAIN_DEADLINE, all_read).await.ok();
    drains.shutdown().await;
    let last_lines = output.last_lines(LAST_LINES);
    output.line(format!("--- {member} ended: {} ---", in_words(&ended)).as_bytes());
    report(ProcessEvent::Ended { member, ended, asked, last_lines }).await;
}

pub(super) fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

fn ended(status: io::Result<ExitStatus>) -> Ended {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit { code },
            (None, Some(number)) => Ended::Signal { number },
            (None, None) => Ended::Exit { code: -1 },
        },
        Err(error) => Ended::NotStarted { why: format!("cannot wait for it: {error}") },
    }
}

pub(super) fn in_words(ended: &Ended) -> String {
    match ended {
        Ended::Exit { code } => format!("exit code {code}"),
        Ended::Signal { number } => format!("signal {number}"),
        Ended::NotStarted { why } => why.clone(),
        Ended::Unseen => "by another hand".to_owned(),
    }
}

/// Reads a pipe to its end, line by line; a longer line is cut, its rest skipped.
async fn drain(pipe: impl AsyncRead + Unpin, output: Output) {
    let mut reader = BufReader::with_capacity(LINE_BYTES, pipe);
    let mut line = Vec::new();
    while let Ok(chunk) = reader.fill_buf().await {
        if chunk.is_empty() {
            break;
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let text = &chunk[..end.unwrap_or(chunk.len())];
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&text[..text.len().min(room)]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            output.line(&line);
            line.clear();
        }
    }
    if !line.is_empty() {
        output.line(&line);
    }
}

/// A process that can be signalled without ever hitting another one.
pub(super) struct Target {
    pub(super) pid: Option<rustix::process::Pid>,
    #[cfg(target_os = "linux")]
    pub(super) descriptor: Option<std::os::fd::OwnedFd>,
}

impl Target {
    /// The child must not have been waited for yet: until then its process id is its own.
    fn of(child: &Child) -> Self {
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        Self {
            pid,
            #[cfg(target_os = "linux")]
            descriptor: pid.and_then(|pid| {
                rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
            }),
        }
    }

    /// Sends a signal; a process that is gone is none of our business.
    pub(super) fn signal(&self, signal: Signal) {
        #[cfg(target_os = "linux")]
        if let Some(descriptor) = &self.descriptor {
            rustix::process::pidfd_send_signal(descriptor, signal).ok();
            return;
        }
        // Without descriptors (macOS, old kernels): the task that waits for the child is the one
        // that calls this, so the child has not been reaped and still owns its process id.
        if let Some(pid) = self.pid {
            rustix::process::kill_process(pid, signal).ok();
        }
    }

    /// SIGSTOP acts a moment after it is sent; returns when it has.
    pub(super) async fn wait_until_stopped(&self) {
        let Some(pid) = self.pid else { return };
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        let stopped = async {
            // The state is the first letter behind the name, which stands in parentheses.
            while let Ok(text) = std::fs::read_to_string(&stat) {
                let state = text.rsplit(')').next().unwrap_or("").trim_start();
                if state.starts_with(['T', 't', 'Z', 'X']) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(STOP_DEADLINE, stopped).await.ok(); // Then it is reported as asked.
    }
}
