//! What the loop does for a line of the terminal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use lab_protocol::{CommandId, Event, LabState, MemberNo, Process, Said};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Await, Loop, blocking, in_full};
use crate::engine::client_url;
use crate::supervisor::PLACES;
use crate::terminal::{self, Builtin, Desk, Names, NodeLine, Tool, Typed};

/// A tool that takes longer is ended.
const DEADLINE: Duration = Duration::from_secs(60);

/// What `timeout` of the shell says of one that took too long.
const TOO_LONG: i32 = 124;

/// No more of what a tool says is kept.
const SAID_BYTES: usize = 64 << 10;

/// Lines under way at once; more are refused.
const UNDERWAY: usize = 8;

impl Loop {
    /// Carries a line out; what must be seen before it is done.
    pub(super) async fn typed(
        &mut self,
        id: CommandId,
        line: &str,
    ) -> Result<Option<Await>, String> {
        if self.typing.len() >= UNDERWAY {
            return Err(format!("{UNDERWAY} lines are under way already; wait for one"));
        }
        let desk = Desk::new(self.parts.directory.desk().map_err(|error| in_full(&error))?);
        match terminal::read(line, &self.names(), &desk)? {
            None => Ok(None),
            Some(Typed::Node(node)) => self.start_typed(&node).await.map(Some),
            Some(Typed::Builtin(builtin)) => {
                self.spare(&builtin, &desk)?;
                self.typing.spawn(async move {
                    let ended = blocking(move || builtin.run(&desk)).await;
                    let (out, errors, code) = match ended {
                        Ok(out) => (out, String::new(), 0),
                        Err(why) => (String::new(), why + "\n", 1),
                    };
                    Said { id, out, errors, code }
                });
                Ok(Some(Await::Said(id)))
            }
            Some(Typed::Tool { tool, words, variables }) => {
                let program = self.program(tool);
                self.typing.spawn(run(id, program, words, variables, desk));
                Ok(Some(Await::Said(id)))
            }
        }
    }

    /// A line has ended.
    pub(super) fn said(&mut self, said: Said) {
        let id = said.id;
        if let Some(added) = added_id(&said.out) {
            self.added = Some(added.to_owned());
        }
        self.append(Event::Said(Box::new(said)));
        self.look();
        for (pending, how) in self.underway.met(Await::Said(id), &Ok(())) {
            self.settled(pending.id, pending.reply, how);
        }
    }

    /// What `$NAME` stands for: `$M1` where clients reach a member, `$M1_PEER` what its peers call
    /// it, `$M1_LISTEN` where it listens to them, `$ENDPOINTS` where all members are reached,
    /// `$M1_ID` the identity it told, `$ADDED_ID` the one that the last `member add` told,
    /// `$CLUSTER` what `--initial-cluster` says of those the run began with, `$TOKEN` its token,
    /// `$BACKUP` the last good backup.
    pub(super) fn names(&self) -> Names {
        let mut names = BTreeMap::new();
        let ports = (1..).map(MemberNo).zip(&self.parts.ports.members);
        for (member, ports) in ports {
            let name = member.to_string().to_uppercase();
            names.insert(name.clone(), format!("127.0.0.1:{}", ports.client));
            names.insert(format!("{name}_CLIENT"), client_url(*ports));
            names.insert(format!("{name}_PEER"), self.parts.engine.peer_url(member));
            names.insert(format!("{name}_LISTEN"), format!("http://127.0.0.1:{}", ports.peer));
        }
        let all: Vec<_> =
            self.parts.plans.iter().map(|plan| plan.client_url.replace("http://", "")).collect();
        names.insert("ENDPOINTS".to_owned(), all.join(","));
        let identities = self.journal.with_state(|state| {
            let told = state.members.iter().filter_map(|(no, member)| Some((*no, member.id?.0)));
            told.collect::<Vec<_>>()
        });
        for (member, id) in identities {
            names.insert(format!("{}_ID", member.to_string().to_uppercase()), id.to_string());
        }
        names.extend(self.added.clone().map(|id| ("ADDED_ID".to_owned(), id)));
        let founders = (1..=self.parts.record.members).map(MemberNo);
        let engine = &self.parts.engine;
        let cluster: Vec<_> = founders.map(|no| format!("{no}={}", engine.peer_url(no))).collect();
        names.insert("CLUSTER".to_owned(), cluster.join(","));
        names.insert("TOKEN".to_owned(), self.parts.record.token.clone());
        let last = |state: &LabState| state.backups.last_good().map(|last| last.file.clone());
        names.extend(self.journal.with_state(last).map(|file| ("BACKUP".to_owned(), file)));
        Names(names)
    }

    /// Where a tool is: beside the members' program, or wherever it is installed.
    pub(super) fn program(&self, tool: Tool) -> PathBuf {
        let beside = self.parts.engine.program().with_file_name(tool.program());
        // Beside real etcd there is none of ours, but beside this program.
        let own = || Some(std::env::current_exe().ok()?.with_file_name(tool.program()));
        let chosen = std::env::var_os("RAFTLAB_ETCD").map(PathBuf::from);
        let chosen = chosen.map(|folder| folder.join(tool.program()));
        match (tool, chosen) {
            (Tool::RaftCtl, _) if beside.is_file() => beside,
            (Tool::RaftCtl, _) if let Some(own) = own().filter(|own| own.is_file()) => own,
            (Tool::Etcdctl | Tool::Etcdutl, Some(chosen)) => chosen,
            (Tool::RaftCtl | Tool::Etcdctl | Tool::Etcdutl, _) => tool.program().into(),
        }
    }

    /// A running member's files are copied and read; they are not taken from under it.
    pub(super) fn spare(&self, builtin: &Builtin, desk: &Desk) -> Result<(), String> {
        let written: Vec<&String> = match builtin {
            Builtin::Rm { paths, .. } => paths.iter().collect(),
            Builtin::Cp { to, .. } => vec![to],
            Builtin::Ls { .. } | Builtin::Cat { .. } | Builtin::Cmp { .. } => Vec::new(),
        };
        written.into_iter().try_for_each(|typed| self.unused(typed, desk).map(drop))
    }

    /// The place that a path means, if no running member has it.
    pub(super) fn unused(&self, typed: &str, desk: &Desk) -> Result<PathBuf, String> {
        let place = desk.place(typed)?;
        for member in self.running() {
            let own = self.data_dirs.get(&member).cloned();
            let own = own.unwrap_or_else(|| desk.root().join(format!("{member}.etcd")));
            if place.starts_with(&own) || own.starts_with(&place) {
                return Err(format!("{member} runs on {typed}; crash or stop it first"));
            }
        }
        Ok(place)
    }

    /// Starts a member as typed.
    async fn start_typed(&mut self, node: &NodeLine) -> Result<Await, String> {
        let NodeLine { member, data_dir, flags } = node;
        let process = self
            .journal
            .with_state(|state| state.members.get(member).map(|member| member.process.clone()));
        match process {
            None if member.0 > PLACES => {
                return Err(format!("a lab has places for m1 to m{PLACES}, there is no {member}"));
            }
            None => {
                let cluster = flags.iter().find_map(|flag| flag.strip_prefix("--initial-cluster="));
                let plan = self.place(*member, cluster.unwrap_or_default().to_owned()).await;
                self.append(Event::Seated { plan });
            }
            Some(Process::Up { .. } | Process::Paused { .. }) => {
                return Err(format!("{member} runs already; crash or stop it first"));
            }
            Some(Process::Planned | Process::Down { .. }) => {}
        }
        self.data_dirs.insert(*member, data_dir.clone());
        self.start_with(*member, Some(flags.as_slice())).await?;
        Ok(Await::Up(*member))
    }
}

/// The identity that `member add` tells: `Member 8211f1d0f64f3269 added to cluster …`.
fn added_id(out: &str) -> Option<&str> {
    let line = out.lines().find(|line| line.contains(" added to cluster "))?;
    line.strip_prefix("Member ")?.split_whitespace().next()
}

/// Runs a tool to its end, or to its deadline.
async fn run(
    id: CommandId,
    program: PathBuf,
    words: Vec<String>,
    variables: BTreeMap<String, String>,
    desk: Desk,
) -> Said {
    let mut command = Command::new(&program);
    command
        .args(&words)
        .current_dir(desk.root())
        .env_clear()
        .env("ETCDCTL_API", "3")
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let failed = |why: String| Said { id, out: String::new(), errors: why + "\n", code: 127 };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return failed(format!("{} is not installed here", program.display()));
        }
        Err(error) => return failed(format!("{} cannot be run: {error}", program.display())),
    };
    let (out, errors) = (child.stdout.take(), child.stderr.take());
    let all = async { tokio::join!(keep(out), keep(errors), child.wait()) };
    match timeout(DEADLINE, all).await {
        Ok((out, errors, status)) => {
            let code = status.ok().and_then(|status| status.code()).unwrap_or(-1);
            Said { id, out, errors, code }
        }
        Err(_) => {
            let errors = format!("took longer than {} s and was ended\n", DEADLINE.as_secs());
            Said { id, out: String::new(), errors, code: TOO_LONG }
        }
    }
}

/// The last of what a pipe says, as text.
async fn keep(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut kept = Vec::new();
    let mut piece = vec![0; 16 << 10];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        let over = kept.len().saturating_sub(SAID_BYTES);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
