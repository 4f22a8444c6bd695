//! Three members of a lab, the load on them, and how often they elected somebody meanwhile.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::Uri;
use lab_check::convergence;
use lab_protocol::{By, Command, Fault, LabState, Link, MemberNo, Process};
use tokio::time::Instant;

use super::Ground;
use crate::bench::load::{self, Kind, Load};
use crate::bench::samples::Figures;
use crate::lab::{Lab, LabPlan};

/// Members of each cluster.
const MEMBERS: u8 = 3;

/// How long a cluster may take to form.
const FORM: Duration = Duration::from_secs(60);

/// How often the lab's state is looked at while something is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Clients that put, each as soon as it was answered: enough for batches, too few for the cores to
/// be what limits.
const CLIENTS: usize = 16;

/// Size of a value, bytes.
pub(super) const VALUE_BYTES: usize = 256;

/// What a load came to.
pub(super) struct Seen {
    pub(super) figures: Figures,
    /// Terms that passed, each minute.
    pub(super) elections_per_minute: f64,
}

/// A running lab.
pub(super) struct Stage {
    lab: Lab,
    endpoints: Vec<Uri>,
}

impl Stage {
    /// Starts three members with these words on their command line, and waits until they follow
    /// one leader.
    pub(super) async fn begin(ground: &Ground, words: &[String]) -> Result<Self> {
        let plan = LabPlan {
            members: Some(MEMBERS),
            node_args: words.iter().map(OsString::from).collect(),
            ..LabPlan::of(ground.node.clone(), 1)
        };
        let lab = Lab::start(plan).await.context("start the lab")?;
        let endpoints = lab.handle().journal().with_state(|state| {
            let urls = state.members.values().map(|member| member.plan.client_url.parse());
            urls.collect::<Result<_, _>>()
        });
        let stage = Self { lab, endpoints: endpoints.context("read the members' addresses")? };
        match stage.whole().await {
            Ok(()) => Ok(stage),
            Err(why) => {
                stage.end().await;
                Err(why)
            }
        }
    }

    /// Has each sync of each member's disk take so much longer.
    pub(super) async fn slow_syncs(&self, millis: u32) -> Result<()> {
        let members = self
            .lab
            .handle()
            .journal()
            .with_state(|state| state.members.keys().copied().collect::<Vec<_>>());
        for member in members.into_iter().filter(|_| millis > 0) {
            let fault = Fault::SlowSync { member, millis };
            let asked = self.lab.handle().submit(By::Call, Command::Inject { fault }).await;
            asked.with_context(|| format!("slow the disk of {member}"))?;
        }
        Ok(())
    }

    pub(super) async fn end(self) {
        self.lab.shutdown().await;
    }

    pub(super) fn endpoints(&self) -> &[Uri] {
        &self.endpoints
    }

    fn look<T>(&self, look: impl FnOnce(&LabState) -> T) -> T {
        self.lab.handle().journal().with_state(look)
    }

    async fn whole(&self) -> Result<()> {
        let deadline = Instant::now() + FORM;
        while self.look(convergence::agreed).is_none() {
            if let Some(no) = self.look(fallen) {
                let said = self.lab.handle().output(no).unwrap_or_default();
                bail!("form the cluster: {no} ended by itself\n{said}");
            }
            if Instant::now() > deadline {
                let account = self.look(convergence::account);
                bail!("form the cluster within {} s: {account}", FORM.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The process of the leader, and of a follower.
    pub(super) fn processes(&self) -> Option<(u32, u32)> {
        self.look(|state| {
            let leader = convergence::agreed(state)?;
            let pid = |no: MemberNo| match state.members.get(&no)?.process {
                Process::Up { pid } => Some(pid),
                Process::Planned | Process::Paused { .. } | Process::Down { .. } => None,
            };
            let follower = state.members.keys().copied().find(|no| *no != leader)?;
            Some((pid(leader)?, pid(follower)?))
        })
    }

    /// Makes every message between two members take so long.
    pub(super) async fn delay(&self, millis: u32) -> Result<()> {
        let numbers: Vec<_> = self.look(|state| state.members.keys().copied().collect());
        for from in &numbers {
            for to in numbers.iter().filter(|to| *to != from) {
                let link = Link { from: *from, to: *to };
                let command = Command::Delay { link, millis, jitter_millis: 0 };
                self.lab.handle().submit(By::Drill, command).await.context("delay a link")?;
            }
        }
        Ok(())
    }

    /// The highest term that a member told of.
    fn term(&self) -> u64 {
        self.look(|state| {
            let terms = state.members.values().filter_map(|member| member.status.as_ref());
            terms.map(|status| status.term.0).max().unwrap_or(0)
        })
    }

    /// Puts through all members for so long.
    pub(super) async fn load(&self, duration: Duration) -> Result<Seen> {
        let (term, began) = (self.term(), Instant::now());
        let load = Load {
            kind: Kind::Put,
            clients: CLIENTS,
            connections: self.endpoints.len(),
            value_bytes: VALUE_BYTES,
            duration,
        };
        let figures = load::observe(load, &self.endpoints).await?;
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        let elections_per_minute = (self.term() - term) as f64 / minutes;
        Ok(Seen { figures, elections_per_minute })
    }
}

/// A member whose process ended although nobody asked for it.
fn fallen(state: &LabState) -> Option<MemberNo> {
    let down = |process: &Process| matches!(process, Process::Down { asked: false, .. });
    state.members.iter().find(|(_, member)| down(&member.process)).map(|(no, _)| *no)
}

/// The memory that a process has, in bytes.
pub(super) fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kib: u64 = kib
        .and_then(|kib| kib.trim().parse().ok())
        .ok_or_else(|| anyhow!("find VmRSS in {path}"))?;
    Ok(kib * 1024)
}
