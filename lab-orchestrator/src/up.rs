//! `raft-lab up` and `raft-lab replay`: a lab (or a recording) with its page, until a signal.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use lab_protocol::scenario::Scenario;
use lab_protocol::{By, Command, Event, LabState, Process, WorkloadSpec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::drill::{Play, Runner, print_score, print_verdict};
use crate::handle::LabHandle;
use crate::http::{Face, ListenError, Listening, Token, listen};
use crate::journal::FollowError;
use crate::lab::{Lab, LabPlan};
use crate::record::{self, Recorder};
use crate::replay::Replay;

/// The page's port unless somebody says otherwise.
pub const DEFAULT_PORT: u16 = 7070;

/// Ports that are tried when the default one is taken.
const PORTS_TRIED: u16 = 30;

/// A cluster has a leader within this time, or a person is told that it has none.
const LEADER_DEADLINE: Duration = Duration::from_secs(20);

/// A recording of a lab with a directory is no longer than this.
const RECORDING_BYTES: u64 = 256 * 1024 * 1024;

/// Where the page is, and for whom.
#[derive(Clone, Debug)]
pub struct PageOptions {
    /// A loopback address.
    pub host: String,
    /// The port; `None` takes the default one, or the next that is free.
    pub port: Option<u16>,
    /// Whether a browser is opened where there is a desktop.
    pub open: bool,
}

/// What a lab does from its start on.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// Clients ask what they ask by default.
    pub workload: bool,
    /// Backups are taken so often.
    pub backups: Option<Duration>,
    /// A drill that a person plays.
    pub drill: Option<Box<Played>>,
    /// A lesson that a person takes.
    pub lesson: Option<Box<Played>>,
}

/// Backups that `--backups` keeps, as many as `raft-ctl backup` does.
const KEPT_BACKUPS: u32 = 48;

/// A drill that a person plays.
#[derive(Clone, Debug)]
pub struct Played {
    /// The file's name.
    pub name: String,
    /// What is in it.
    pub scenario: Scenario,
    /// Every random choice of the drill comes from it.
    pub seed: u64,
}

/// Runs a lab until a signal, or until it cannot go on.
///
/// Errors: a drill's file has no `[drill]` in it, or a lesson's no `[learn]`; the lab or the page cannot be started.
pub async fn up(plan: LabPlan, page: PageOptions, habits: Habits) -> Result<()> {
    if let Some(played) = &habits.drill
        && played.scenario.drill.is_none()
    {
        anyhow::bail!(
            "play {}: nothing in it is left to you, it has no [drill]; `raft-lab drill FILE` \
             performs it",
            played.name
        );
    }
    if let Some(taken) = &habits.lesson
        && taken.scenario.learn.is_none()
    {
        anyhow::bail!(
            "take {} as a lesson: nothing is asked in it, it has no [learn]; `raft-lab drill FILE` \
             performs it",
            taken.name
        );
    }

    let (interrupted, _listening) = interrupted()?;
    raise_file_limit();
    let listening = bind(&page).await?;
    let began = Instant::now();
    let lab = Lab::start(plan).await.context("start the lab")?;
    let shown = Box::pin(shown(&lab, listening, &page, habits, began, &interrupted)).await;
    say("stopping: heal every link, end every process");
    let directory = lab.directory().root().to_owned();
    let temporary = lab.directory().is_temporary();
    lab.shutdown().await;
    if !temporary {
        say(&format!(
            "the cluster rests in {0}; `raft-lab up --dir {0}` resumes it",
            directory.display()
        ));
    }
    if let Some(recorder) = shown? {
        recorder.finish().await.context("record the run")?;
    }
    Ok(())
}

/// Serves a running lab until a signal; what records it, if it is recorded.
async fn shown(
    lab: &Lab,
    listening: Listening,
    page: &PageOptions,
    habits: Habits,
    began: Instant,
    interrupted: &CancellationToken,
) -> Result<Option<Recorder>> {
    let handle = lab.handle().clone();
    let directory = lab.directory();
    let address = listening.address();
    let token = Token::new();
    let secret = directory.write_secret("token", token.reveal()).context("write the token")?;
    let recorder = if directory.is_temporary() {
        None
    } else {
        let run = handle.journal().with_state(|state| state.run.clone());
        let dir = directory.root().join("runs").join(run);
        Some(Recorder::start(handle.journal(), &dir, RECORDING_BYTES).context("record the run")?)
    };
    let face = Face { journal: handle.journal().clone(), lab: Some(handle.clone()) };
    let mut serving = JoinSet::new();
    serving.spawn(listening.serve(face, token.clone(), interrupted.clone()));

    say(&format!("{} in {}", engine(&handle), directory.root().display()));
    if !held_back(&habits) {
        tokio::select! {
            told = tell_start(&handle, began) => told?,
            () = interrupted.cancelled() => {}
        }
    }
    if !interrupted.is_cancelled() {
        greet(&handle.journal().state(), address, &token, &secret, directory.root());
        if habits.workload {
            let spec = WorkloadSpec::default();
            let started = handle.submit(By::Lab, Command::SetWorkload { spec }).await;
            started.context("start the workload")?;
        }
        if let Some(every) = habits.backups {
            let every_millis = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
            let command = Command::SetBackups { every_millis, keep: KEPT_BACKUPS, verify: true };
            handle.submit(By::Lab, command).await.context("begin with backups")?;
        }
        if page.open {
            open_browser(directory, address, &token);
        }
        tokio::select! {
            () = interrupted.cancelled() => {}
            played = attend(&handle, habits.drill.as_deref()) => {
                played?;
                interrupted.cancelled().await;
            }
            taken = teach(&handle, habits.lesson.as_deref()) => {
                taken?;
                interrupted.cancelled().await;
            }
        }
    }
    // Browsers are told goodbye before the lab ends.
    while let Some(served) = serving.join_next().await {
        served.context("serve the page")?;
    }
    Ok(recorder)
}

/// Plays a drill with a person, if one is to be played: tells what it is about, and at the end what
/// came of it. The lab goes on behind it.
async fn attend(handle: &LabHandle, played: Option<&Played>) -> Result<()> {
    let Some(played) = played else { return std::future::pending().await };
    let Some(drill) = &played.scenario.drill else { return std::future::pending().await };
    say(&format!("  {}  {}\n  {}\n", drill.id, played.scenario.title, drill.brief));
    let mut progress = |line: &str| say(line);
    let runner = Runner::of(handle.clone(), &played.scenario, played.seed, &mut progress);
    say("  `hint` helps and costs points, `done` has it judged as you left it\n");
    let attended = runner.attend(&played.name, &played.scenario, drill);
    let (verdict, score) = tokio::select! {
        attended = attended => attended.context("play the drill")?,
        never = listen_at_the_terminal(handle) => match never {},
    };
    print_verdict(&verdict);
    score.iter().for_each(print_score);
    say("the lab goes on as you left it; Ctrl-C ends it");
    Ok(())
}

/// Whether a lesson begins with members that do not run: then nobody leads at first.
fn held_back(habits: &Habits) -> bool {
    let lesson = habits.lesson.as_ref().map(|lesson| &lesson.scenario.cluster.hold_back);
    lesson.is_some_and(|held_back| !held_back.is_empty())
}

/// Has a person take a lesson, if one is to be taken: it runs once they have predicted on the page
/// what it will do. The lab goes on behind it.
async fn teach(handle: &LabHandle, taken: Option<&Played>) -> Result<()> {
    let Some(Played { name, scenario, seed }) = taken else { return std::future::pending().await };
    let Some(learn) = &scenario.learn else { return std::future::pending().await };
    say(&format!("  {}\n  {}\n", scenario.title, learn.hook));
    say("  predict on the page what will happen; then it runs\n");
    let mut progress = |line: &str| say(line);
    let runner = Runner::of(handle.clone(), scenario, *seed, &mut progress);
    let runner = runner.with_lesson(learn.clone());
    let (verdict, score) = match &scenario.drill {
        None => {
            let ran = runner.perform(name, scenario, &Play::Solution);
            Box::pin(ran).await.context("run the lesson")?
        }
        Some(drill) => {
            let attended = runner.attend(name, scenario, drill);
            tokio::select! {
                attended = attended => attended.context("play the drill")?,
                never = listen_at_the_terminal(handle) => match never {},
            }
        }
    };
    print_verdict(&verdict);
    score.iter().for_each(print_score);
    say("the page shows what came of the predictions; Ctrl-C ends the lab");
    Ok(())
}

/// Takes `hint` and `done` from whoever sits at the terminal.
async fn listen_at_the_terminal(handle: &LabHandle) -> Infallible {
    if !io::stdin().is_terminal() {
        return std::future::pending().await;
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let command = match line.trim() {
            "hint" => Command::Hint,
            "done" => Command::FinishDrill,
            "" => continue,
            _ => {
                say("`hint` or `done`; commands are typed on the page, or in a shell of yours");
                continue;
            }
        };
        if let Err(refused) = handle.submit(By::Call, command).await {
            say(&format!("     {refused}"));
        }
    }
    std::future::pending().await
}

/// Shows a recording until a signal.
pub async fn replay(run: PathBuf, page: PageOptions) -> Result<()> {
    let (interrupted, _listening) = interrupted()?;
    let recording = record::read(&run).context("read the recording")?;
    if recording.torn {
        say("the recording's end is missing; everything before it is shown");
    }
    let listening = bind(&page).await?;
    let address = listening.address();
    let token = Token::new();
    let replay = Replay::start(recording.events);
    let face = Face { journal: replay.journal().clone(), lab: None };
    say(&format!("\n  the recording   {}\n  end             Ctrl-C\n", url(address, &token)));
    listening.serve(face, token, interrupted).await;
    Ok(())
}

/// Cancelled by the first Ctrl-C, SIGTERM or SIGHUP; a second one ends this process at once, and
/// its children with it. Signals are heard as long as the set is held.
pub(crate) fn interrupted() -> Result<(CancellationToken, JoinSet<()>)> {
    let token = CancellationToken::new();
    let cancel = token.clone();
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
        .map(signal)
        .into_iter()
        .collect::<io::Result<Vec<_>>>()
        .context("listen for signals")?;
    let mut listening = JoinSet::new();
    listening.spawn(async move {
        for times in 0.. {
            let heard = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
            futures_util::future::select_all(heard).await;
            if times > 0 {
                std::process::exit(130);
            }
            cancel.cancel();
        }
    });
    Ok((token, listening))
}

/// Binds the page's port: the one that was asked for, else the first free from the default on.
pub(crate) async fn bind(page: &PageOptions) -> Result<Listening> {
    if let Some(port) = page.port {
        return listen(&page.host, port).await.context("open the page");
    }
    for port in DEFAULT_PORT..DEFAULT_PORT + PORTS_TRIED {
        match listen(&page.host, port).await {
            Ok(listening) => {
                if port != DEFAULT_PORT {
                    say(&format!("port {DEFAULT_PORT} is in use, the page is at {port}"));
                }
                return Ok(listening);
            }
            Err(ListenError::InUse { .. }) => {}
            Err(error) => return Err(error).context("open the page"),
        }
    }
    let last = DEFAULT_PORT + PORTS_TRIED - 1;
    anyhow::bail!("ports {DEFAULT_PORT} to {last} are all in use; give another one with --port");
}

fn engine(handle: &LabHandle) -> String {
    let (engine, count) =
        handle.journal().with_state(|state| (state.engine.clone(), state.members.len()));
    match count {
        1 => format!("one member, {engine},"),
        count => format!("{count} members, {engine},"),
    }
}

/// Tells how the members come up, until there is a leader or the deadline.
async fn tell_start(handle: &LabHandle, began: Instant) -> Result<()> {
    let deadline = Instant::now() + LEADER_DEADLINE;
    let mut follower = handle.journal().follow(0);
    let mut spinner = Spinner::new();
    loop {
        let next = Instant::now() + Duration::from_millis(120);
        match timeout_at(next.min(deadline), follower.next(1_000)).await {
            Ok(Ok(events)) => {
                for numbered in events {
                    if let Some(line) = start_line(&numbered.event) {
                        spinner.clear();
                        say(&line);
                    }
                }
            }
            Ok(Err(FollowError::Overtaken { .. })) => {}
            Ok(Err(error @ FollowError::Ended)) => return Err(error).context("watch the start"),
            Err(_) => {}
        }
        let state = handle.journal().state();
        if let Some(leader) = state.leader() {
            spinner.clear();
            let term = state.members[&leader].status.as_ref().map_or(0, |status| status.term.0);
            let seconds = began.elapsed().as_secs_f64();
            say(&format!("{leader} leads in term {term}, {seconds:.2} s after the start"));
            return Ok(());
        }
        if Instant::now() >= deadline {
            spinner.clear();
            say("there is no leader yet; the page shows what the members do");
            return Ok(());
        }
        spinner.turn("waiting for a leader");
    }
}

fn start_line(event: &Event) -> Option<String> {
    match event {
        Event::Process { member, process: Process::Up { pid } } => {
            Some(format!("{member} is up, process {pid}"))
        }
        Event::Note { text } => Some(text.clone()),
        _ => None,
    }
}

pub(crate) fn url(address: SocketAddr, token: &Token) -> String {
    format!("http://{address}/#token={}", token.reveal())
}

fn greet(state: &LabState, address: SocketAddr, token: &Token, secret: &Path, directory: &Path) {
    let mut endpoints = Vec::new();
    let mut text = format!("\n  the page     {}\n", url(address, token));
    text.push_str(&format!("  the book     http://{address}/book/\n"));
    for (member, now) in &state.members {
        text.push_str(&format!("  {member}           {}\n", now.plan.client_url));
        endpoints.push(now.plan.client_url.trim_start_matches("http://").to_owned());
    }
    let endpoints = endpoints.join(",");
    text.push_str(&format!("  a write      etcdctl --endpoints={endpoints} put greeting hello\n"));
    let shell = format!("eval \"$(raft-lab env --dir {})\"", directory.display());
    text.push_str(&format!("  a shell      {shell}\n"));
    text.push_str(&format!("  for programs the token is in {}\n", secret.display()));
    text.push_str("  end          Ctrl-C\n");
    say(&text);
}

/// Opens the page where there is a desktop and a person at a terminal. The token goes through a
/// file that only its owner can read: arguments of a process are there for everybody to see.
fn open_browser(directory: &crate::supervisor::LabDirectory, address: SocketAddr, token: &Token) {
    let desktop = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !desktop || !io::stdout().is_terminal() {
        return;
    }
    let page = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Raftlab</title>\
         <meta http-equiv=\"refresh\" content=\"0; url={}\">\n",
        url(address, token)
    );
    let opened =
        directory.write_secret("open.html", &page).map_err(anyhow::Error::from).and_then(|path| {
            let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
            let mut command = std::process::Command::new(program);
            command.arg(path).stdin(std::process::Stdio::null());
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            Ok(command.spawn()?)
        });
    if opened.is_err() {
        say("no browser could be opened; open the URL above");
    }
}

/// Peer connections pass through this process twice: take as many descriptors as are allowed.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // The lab runs with the lower limit too, only with fewer members.
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    }
}

pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Without a reader of our words the lab still runs.
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

/// One line that moves while something is awaited; only at a terminal.
struct Spinner {
    shown: bool,
    turns: usize,
}

impl Spinner {
    fn new() -> Self {
        Self { shown: false, turns: 0 }
    }

    fn turn(&mut self, text: &str) {
        if io::stderr().is_terminal() {
            let sign = ['|', '/', '-', '\\'][self.turns % 4];
            self.turns += 1;
            self.shown = true;
            eprint!("\r{sign} {text} ");
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[2K");
        }
    }
}
