//! The lab's backups: `raft-ctl backup` runs beside the members, and what it says becomes events.
//!
//! ```text
//!  SetBackups ─► raft-ctl backup --every … -w json ─ a line a period ─► read() ─► Event::Backup
//! ```
//!
//! It runs in the lab's desk and writes to `backups/` there. Two never run at once: a new one waits
//! for the end of the old one. It ends with the lab, as members do.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use lab_protocol::{Backup, BackupVerdict, Event};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Loop, in_full};
use crate::clock::{RunClock, wall_millis};
use crate::supervisor::ends_with_the_lab;
use crate::terminal::Tool;

/// What waits to be heard. When full, whoever reads raft-ctl waits, and raft-ctl with it.
const SAID: usize = 16;

/// The folder on the desk.
const FOLDER: &str = "backups";

/// The time in a backup's name.
const TIME: &str = "%Y-%m-%dT%H-%M-%SZ";

/// Behind the name of one that was set apart.
const DAMAGED: &str = ".damaged";

/// A tool that was asked to end and has not is killed after this time.
const TERM_DEADLINE: Duration = Duration::from_secs(10);

/// How backups are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spec {
    every_millis: u64,
    keep: u32,
    verify: bool,
}

/// What is said of backups.
#[derive(Debug)]
pub(super) enum Said {
    /// This came of one.
    Backup(Backup),
    /// No more are taken by this one, and nobody asked it to end.
    Over(u64),
}

/// The tool that runs, if one does.
pub(super) struct Habit {
    running: JoinSet<()>,
    says: mpsc::Sender<Said>,
    said: mpsc::Receiver<Said>,
    /// What runs, and how it is ended.
    present: Option<(Spec, CancellationToken)>,
    /// Counts the tools that were started.
    number: u64,
    /// Held by the one that runs.
    turn: Arc<Mutex<()>>,
}

impl Default for Habit {
    fn default() -> Self {
        let (says, said) = mpsc::channel(SAID);
        let (running, turn) = (JoinSet::new(), Arc::default());
        Self { running, says, said, present: None, number: 0, turn }
    }
}

impl Habit {
    /// What is said next. Cancel safe; never returns while nothing is said.
    pub(super) async fn next(&mut self) -> Said {
        match self.said.recv().await {
            Some(said) => said,
            None => std::future::pending().await, // A sender is held here.
        }
    }
}

impl Loop {
    /// Takes backups in another way from now on.
    pub(super) fn set_backups(&mut self, every_millis: u64, keep: u32, verify: bool) {
        let spec = Spec { every_millis, keep, verify };
        self.end_habit();
        if every_millis > 0 {
            self.begin_habit(spec);
        }
        self.append(Event::BackupsChanged { every_millis, keep, verify });
    }

    /// Begins anew, with all members that there are now.
    pub(super) fn renew_backups(&mut self) {
        if let Some((spec, _)) = self.backups.present {
            self.end_habit();
            self.begin_habit(spec);
        }
    }

    fn end_habit(&mut self) {
        if let Some((_, token)) = self.backups.present.take() {
            token.cancel();
        }
        // Those that have ended.
        while self.backups.running.try_join_next().is_some() {}
    }

    fn begin_habit(&mut self, spec: Spec) {
        let Spec { every_millis, keep, verify } = spec;
        let desk = match self.parts.directory.desk() {
            Ok(desk) => desk,
            Err(error) => {
                let text = format!("no backups are taken: {}", in_full(&error));
                self.append(Event::Note { text });
                return;
            }
        };
        let endpoints: Vec<_> =
            self.parts.plans.iter().map(|plan| plan.client_url.replace("http://", "")).collect();
        let mut words = vec![
            format!("--endpoints={}", endpoints.join(",")),
            "-w=json".to_owned(),
            "backup".to_owned(),
            format!("--every={every_millis}ms"),
            format!("--keep={keep}"),
            format!("--dir={FOLDER}"),
        ];
        words.extend(verify.then(|| "--verify".to_owned()));
        let token = CancellationToken::new();
        self.backups.number += 1;
        let tool = Running {
            program: self.program(Tool::RaftCtl),
            words,
            desk,
            number: self.backups.number,
            clock: self.parts.clock,
            says: self.backups.says.clone(),
            token: token.clone(),
        };
        self.backups.running.spawn(tool.run(self.backups.turn.clone()));
        self.backups.present = Some((spec, token));
    }

    /// Something is said of backups.
    pub(super) fn backup_said(&mut self, said: Said) {
        match said {
            Said::Backup(backup) => self.append(Event::Backup(backup)),
            Said::Over(number) if number == self.backups.number => {
                self.backups.present = None;
                self.append(Event::BackupsChanged { every_millis: 0, keep: 0, verify: false });
            }
            Said::Over(_) => {}
        }
    }

    /// Takes no more backups, and hears what is still said of them.
    pub(super) async fn end_backups(&mut self) {
        self.end_habit();
        loop {
            tokio::select! {
                said = self.backups.said.recv() => {
                    if let Some(said) = said {
                        self.backup_said(said);
                    }
                }
                ended = self.backups.running.join_next() => {
                    if ended.is_none() {
                        break;
                    }
                }
            }
        }
        while let Ok(said) = self.backups.said.try_recv() {
            self.backup_said(said);
        }
    }
}

/// One `raft-ctl backup`.
struct Running {
    program: PathBuf,
    words: Vec<String>,
    desk: PathBuf,
    number: u64,
    clock: RunClock,
    says: mpsc::Sender<Said>,
    token: CancellationToken,
}

impl Running {
    /// Runs it until it is asked to end, or ends by itself.
    async fn run(self, turn: Arc<Mutex<()>>) {
        let _turn = turn.lock().await;
        if self.token.is_cancelled() {
            return;
        }
        let Err(why) = self.tool().await else { return };
        let verdict = BackupVerdict::Failed { why };
        let at_micros = self.clock.now_micros();
        let none = Backup { file: String::new(), revision: 0, at_micros, verdict };
        for said in [Said::Backup(none), Said::Over(self.number)] {
            self.says.send(said).await.ok(); // The lab is gone when nobody listens.
        }
    }

    /// Errors: it ended, and nobody asked it to.
    async fn tool(&self) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(&self.words).current_dir(&self.desk).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        ends_with_the_lab(&mut command);
        let mut child = command
            .spawn()
            .map_err(|error| format!("{} cannot be run: {error}", self.program.display()))?;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut errors = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut last_error, mut reads_errors) = (String::new(), true);
        let mut kill_at: Option<Instant> = None;
        loop {
            let deadline = kill_at.unwrap_or_else(Instant::now);
            tokio::select! {
                () = self.token.cancelled(), if kill_at.is_none() => {
                    let pid = child.id().and_then(|id| i32::try_from(id).ok());
                    // It has not been waited for, so its process id is its own.
                    if let Some(pid) = pid.and_then(Pid::from_raw) {
                        kill_process(pid, Signal::TERM).ok();
                    }
                    kill_at = Some(Instant::now() + TERM_DEADLINE);
                }
                () = sleep_until(deadline), if kill_at.is_some() => {
                    child.start_kill().ok(); // It may have ended this moment.
                    break;
                }
                line = lines.next_line() => {
                    let Ok(Some(line)) = line else { break };
                    for backup in read(&line, |at| self.in_the_run(at)) {
                        self.says.send(Said::Backup(backup)).await.ok();
                    }
                }
                line = errors.next_line(), if reads_errors => match line {
                    Ok(Some(line)) => last_error = line,
                    Ok(None) | Err(_) => reads_errors = false,
                },
            }
        }
        let status = child.wait().await;
        if kill_at.is_some() {
            return Ok(());
        }
        let how = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Err(format!("raft-ctl backup ended with {how}: {last_error}"))
    }

    /// A wall clock's time in the run's; now if there is none.
    fn in_the_run(&self, at: Option<Timestamp>) -> u64 {
        let now = self.clock.now_micros();
        let at = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
        let age_millis = at.map_or(0, |at| wall_millis().saturating_sub(at));
        now.saturating_sub(age_millis.saturating_mul(1_000))
    }
}

/// What `raft-ctl backup -w json` says of one period, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Period {
    #[serde(default)]
    file: String,
    #[serde(default)]
    verified: bool,
    #[serde(default)]
    damaged: Vec<String>,
    #[serde(default)]
    errors: Vec<String>,
}

/// What came of the period that a line tells; `in_the_run` turns its times into the run's.
fn read(line: &str, in_the_run: impl Fn(Option<Timestamp>) -> u64) -> Vec<Backup> {
    let Ok(Period { file, verified, damaged, errors }) = serde_json::from_str(line) else {
        return Vec::new();
    };
    let backup = |file: &str, verdict| {
        let (at, revision) = named(file).map_or((None, 0), |(at, rev)| (Some(at), rev));
        Backup { file: file.to_owned(), revision, at_micros: in_the_run(at), verdict }
    };
    let mut backups = Vec::new();
    for apart in &damaged {
        let file = apart.strip_suffix(DAMAGED).unwrap_or(apart);
        let said = errors.iter().find_map(|error| error.strip_prefix(file));
        let why = said.and_then(|said| said.strip_prefix(" cannot be restored: "));
        let why = why.unwrap_or("it cannot be restored").to_owned();
        backups.push(backup(file, BackupVerdict::Damaged { why }));
    }
    match (file.is_empty(), verified) {
        (false, true) => backups.push(backup(&file, BackupVerdict::Verified)),
        (false, false) => backups.push(backup(&file, BackupVerdict::Taken)),
        (true, _) => {
            let other = |error: &&String| !error.contains(" cannot be restored: ");
            let why: Vec<_> = errors.iter().filter(other).map(String::as_str).collect();
            if !why.is_empty() {
                backups.push(backup("", BackupVerdict::Failed { why: why.join("; ") }));
            }
        }
    }
    backups
}

/// When a backup was taken and up to which revision, by its name.
fn named(file: &str) -> Option<(Timestamp, i64)> {
    let name = file.rsplit('/').next()?;
    let (at, revision) = name.strip_suffix(".db")?.split_once("-rev-")?;
    let at = Offset::UTC.to_timestamp(DateTime::strptime(TIME, at).ok()?).ok()?;
    Some((at, revision.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_raft_ctl_becomes_what_came_of_backups() {
        const OLD: &str = "backups/1970-01-01T00-00-05Z-rev-9.db";
        const NEW: &str = "backups/1970-01-01T00-00-07Z-rev-12.db";
        let at = |at: Option<Timestamp>| at.map_or(1, |at| at.as_microsecond().cast_unsigned());
        let backup = |file: &str, revision, at_micros, verdict| Backup {
            file: file.to_owned(),
            revision,
            at_micros,
            verdict,
        };
        let why = |why: &str| why.to_owned();
        let verified = |yes| backup(NEW, 12, 7_000_000, yes);
        let rows = [
            (
                format!(
                    r#"{{"time":"t","file":"{NEW}","verified":true,"damaged":[],"errors":[]}}"#
                ),
                vec![verified(BackupVerdict::Verified)],
            ),
            (
                format!(
                    r#"{{"file":"{NEW}","verified":false,"errors":["{NEW} is kept, untested"]}}"#
                ),
                vec![verified(BackupVerdict::Taken)],
            ),
            (
                format!(
                    r#"{{"file":"{NEW}","verified":true,"damaged":["{OLD}.damaged"],"errors":["{OLD} cannot be restored: rot. It is set apart as {OLD}.damaged"]}}"#
                ),
                vec![
                    backup(
                        OLD,
                        9,
                        5_000_000,
                        BackupVerdict::Damaged {
                            why: format!("rot. It is set apart as {OLD}.damaged"),
                        },
                    ),
                    verified(BackupVerdict::Verified),
                ],
            ),
            (
                why(r#"{"errors":["no backup of a: refused","no backup of b: refused"],"kept":2}"#),
                vec![backup(
                    "",
                    0,
                    1,
                    BackupVerdict::Failed {
                        why: why("no backup of a: refused; no backup of b: refused"),
                    },
                )],
            ),
            (why("no JSON"), vec![]),
        ];
        for (line, expected) in rows {
            assert_eq!(read(&line, at), expected, "{line}");
        }
    }
}
