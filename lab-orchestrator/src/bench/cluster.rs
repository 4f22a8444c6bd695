//! Three members of one kind, started for measuring and ended with certainty.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use http::Uri;
use lab_protocol::MemberNo;
use serde::Serialize;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::supervisor::{Launch, Order, Output, ProcessEvent, Supervisor, reserve};

/// Members of each cluster.
const MEMBERS: u8 = 3;

/// Process events that wait to be read; more than three processes can ever cause.
const PROCESS_EVENTS: usize = 64;

/// Whose members are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    /// Our node.
    Ours,
    /// Real etcd.
    Etcd,
    /// Whatever answers at the given endpoints.
    Endpoints,
}

impl Side {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Etcd => "etcd",
            Self::Endpoints => "endpoints",
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) side: Side,
    pub(super) path: PathBuf,
}

/// Three running members. When it is dropped all are killed and waited for.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) endpoints: Vec<Uri>,
    events: mpsc::Receiver<ProcessEvent>,
    outputs: Vec<Output>,
    supervisor: Option<Supervisor>,
    data: Option<TempDir>,
}

impl Program {
    /// Starts three members with empty data directories below `root`.
    pub(super) async fn start(&self, root: &Path) -> Result<Cluster> {
        let data = tempfile::Builder::new()
            .prefix(self.side.word())
            .tempdir_in(root)
            .context("make data directories")?;
        let reservation = reserve(MEMBERS, &[]).context("find free ports")?;
        let ports = &reservation.members;
        let (process_events, events) = mpsc::channel(PROCESS_EVENTS);
        let supervisor = Supervisor::start(process_events).context("start the supervisor")?;
        let peers: Vec<_> = (1..=MEMBERS)
            .zip(ports)
            .map(|(number, ports)| format!("m{number}=http://127.0.0.1:{}", ports.peer))
            .collect();
        let token = data.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut endpoints = Vec::new();
        let mut outputs = Vec::new();
        for (number, ports) in (1..=MEMBERS).zip(ports) {
            let client = format!("http://127.0.0.1:{}", ports.client);
            let peer = format!("http://127.0.0.1:{}", ports.peer);
            let mut args: Vec<OsString> = Vec::new();
            let mut flag = |name: &str, value: &str| {
                args.push(name.into());
                args.push(value.into());
            };
            flag("--name", &format!("m{number}"));
            flag("--data-dir", &data.path().join(format!("m{number}")).to_string_lossy());
            flag("--listen-client-urls", &client);
            flag("--advertise-client-urls", &client);
            flag("--listen-peer-urls", &peer);
            flag("--initial-advertise-peer-urls", &peer);
            flag("--initial-cluster", &peers.join(","));
            flag("--initial-cluster-token", &token);
            flag("--initial-cluster-state", "new");
            match self.side {
                Side::Ours => args.push("--exit-on-stdin-eof".into()),
                // Its own words about every slow disk would be measured too.
                Side::Etcd => {
                    flag("--log-level", "error");
                    flag("--logger", "zap");
                }
                Side::Endpoints => bail!("start what is only reached by endpoints"),
            }
            let output = Output::new(None);
            let launch = Launch {
                member: MemberNo(number),
                program: self.path.clone(),
                args,
                environment: BTreeMap::new(),
                output: output.clone(),
            };
            supervisor.order(Order::Start(Box::new(launch))).await;
            endpoints.push(client.parse().context("write an address")?);
            outputs.push(output);
        }
        let (supervisor, data) = (Some(supervisor), Some(data));
        Ok(Cluster { endpoints, events, outputs, supervisor, data })
    }
}

impl Cluster {
    /// The process ids of all members, once all run.
    pub(super) async fn pids(&mut self) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        while pids.len() < usize::from(MEMBERS) {
            match self.events.recv().await {
                Some(ProcessEvent::Up { pid, .. }) => pids.push(pid),
                Some(ProcessEvent::Ended { member, ended, .. }) => {
                    bail!("start {member}, which ended: {ended:?}\n{}", self.last_words());
                }
                Some(ProcessEvent::Paused { .. } | ProcessEvent::Resumed { .. }) => {}
                None => bail!("hear of the members' processes"),
            }
        }
        Ok(pids)
    }

    /// The last lines of every member, for whoever wonders why it does not answer.
    pub(super) fn last_words(&self) -> String {
        let lines = |output: &Output| output.last_lines(5).join("\n");
        self.outputs.iter().map(lines).collect::<Vec<_>>().join("\n")
    }

    /// Kills every member and deletes its data.
    pub(super) async fn end(mut self) {
        let (supervisor, data) = (self.supervisor.take(), self.data.take());
        // Both wait; a panic there has been printed.
        tokio::task::spawn_blocking(move || {
            drop(supervisor);
            drop(data);
        })
        .await
        .ok();
    }
}
