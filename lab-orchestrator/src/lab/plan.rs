//! A lab as planned, started and ended.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lab_protocol::{MemberNo, MemberPlan};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::turn::{Inputs, Loop};
use crate::clients::MakeClients;
use crate::clock::{RunClock, wall_millis};
use crate::engine::{Engine, EngineError, EngineName, client_url};
use crate::fabric::{Endpoint, Fabric, WIRE_EVENTS};
use crate::handle::{LabHandle, REQUESTS};
use crate::journal::{self, RING_BYTES};
use crate::observer::{FOUND, Finder, OBSERVATIONS, Observer};
use crate::supervisor::{
    DirectoryError, LabDirectory, LabRecord, Output, PLACES, PortError, Reservation, Supervisor,
    reserve,
};

/// Members of a lab when nobody says how many.
const DEFAULT_MEMBERS: u8 = 3;

/// Process events that wait for the loop. When full the supervisor waits; the loop never waits
/// for the supervisor meanwhile.
const PROCESS_EVENTS: usize = 256;

/// What kind of lab is wanted.
pub struct LabPlan {
    /// Number of members, 1 to 9; `None` takes what the directory holds, else three.
    pub members: Option<u8>,
    /// Where everything lies; `None` makes a temporary directory.
    pub dir: Option<PathBuf>,
    /// Deletes the cluster that is in the directory.
    pub fresh: bool,
    /// What the members are.
    pub engine: EngineName,
    /// The program: our node, or etcd.
    pub node: PathBuf,
    /// Flags that every member is given beside its own.
    pub node_args: Vec<OsString>,
    /// Every random choice of the lab comes from it.
    pub seed: u64,
    /// Members whose process is not started at first; a restart starts them.
    pub hold_back: BTreeSet<MemberNo>,
    /// Gives each member a disk that can lose its power, which only the training program has.
    pub power: bool,
    /// Makes the lab's own clients; without it workloads, puts and gets are refused.
    pub clients: Option<MakeClients>,
}

impl LabPlan {
    /// A temporary lab of this node, of default size, without clients.
    pub fn of(node: PathBuf, seed: u64) -> Self {
        Self {
            members: None,
            dir: None,
            fresh: false,
            engine: EngineName::RaftNode,
            node,
            node_args: Vec::new(),
            seed,
            hold_back: BTreeSet::new(),
            power: false,
            clients: None,
        }
    }
}

impl fmt::Debug for LabPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, dir, fresh, engine, node, node_args, seed, hold_back, power, clients } =
            self;
        f.debug_struct("LabPlan")
            .field("members", members)
            .field("dir", dir)
            .field("fresh", fresh)
            .field("engine", engine)
            .field("node", node)
            .field("node_args", node_args)
            .field("seed", seed)
            .field("hold_back", hold_back)
            .field("power", power)
            .field("clients", &clients.is_some())
            .finish()
    }
}

/// Why a lab did not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error("a lab has 1 to 9 members, not {0}")]
    Size(u8),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Ports(#[from] PortError),
    #[error("cannot start the supervisor's thread")]
    Supervisor(#[source] io::Error),
    #[error("cannot open the fabric's listeners on loopback")]
    Fabric(#[source] io::Error),
}

/// A running lab. It must be [`shutdown`](Self::shutdown); when it is dropped instead, every
/// process is killed.
#[derive(Debug)]
pub struct Lab {
    handle: LabHandle,
    directory: Arc<LabDirectory>,
    ended: CancellationToken,
    running: JoinSet<()>,
}

impl Lab {
    /// Starts the lab and asks every member's process to start. What comes of that is in the
    /// journal.
    pub async fn start(plan: LabPlan) -> Result<Self, StartError> {
        let engine = Engine::new(plan.engine, &plan.node, plan.node_args)?;
        if let Some(size) = plan.members.filter(|size| !(1..=9).contains(size)) {
            return Err(StartError::Size(size));
        }
        let directory = Arc::new(LabDirectory::open(plan.dir.as_deref(), plan.fresh)?);
        let record = directory.record(plan.members)?;
        // Members may be added: every place has its ports, proxy and follower from the start.
        let wanted = record.as_ref().map_or(&[][..], |record| &record.ports);
        let ports = reserve(PLACES, wanted)?;
        let run = run_name();
        let mut record = record.unwrap_or_else(|| {
            let size = plan.members.unwrap_or(DEFAULT_MEMBERS);
            LabRecord::new(size, format!("raftlab-{run}"), Vec::new())
        });
        record.ports.clone_from(&ports.members);
        directory.write_record(&record)?;

        let clock = RunClock::start();
        let places: Vec<MemberNo> = (1..=PLACES).map(MemberNo).collect();
        let (wire_events, wires) = mpsc::channel(WIRE_EVENTS);
        let (observations, observed) = mpsc::channel(OBSERVATIONS);
        let (process_events, processes) = mpsc::channel(PROCESS_EVENTS);
        let (requests, asked) = mpsc::channel(REQUESTS);

        let seats = places.iter().copied().zip(ports.members.iter().copied());
        let endpoints: Vec<_> = seats
            .clone()
            .map(|(member, ports)| Endpoint {
                member,
                peer_port: ports.peer,
                client_port: ports.client,
            })
            .collect();
        let fabric = Fabric::open(&endpoints, plan.seed, clock, wire_events)
            .await
            .map_err(StartError::Fabric)?;
        // Who does not speak by itself is asked, and its output is read.
        let (speaks, asked_at): (Vec<_>, Vec<_>) = match engine.takes_orders() {
            true => (seats.clone().map(|(no, ports)| (no, ports.telemetry)).collect(), Vec::new()),
            false => (Vec::new(), seats.clone().map(|(no, ports)| (no, ports.client)).collect()),
        };
        let mut outputs = BTreeMap::new();
        let mut listens = BTreeMap::new();
        for &member in &places {
            let output = Output::new(Some(directory.output_path(member)));
            if !asked_at.is_empty() {
                listens.insert(member, output.listen());
            }
            outputs.insert(member, output);
        }
        let outputs = Arc::new(outputs);
        let observer = match engine.takes_orders() {
            true => Observer::start(&speaks, clock, &observations),
            false => Observer::ask(&asked_at, listens, clock, &observations),
        };
        let (tells, found) = mpsc::channel(FOUND);
        let finder = Finder::start(&speaks, tells);
        let supervisor = Supervisor::start(process_events).map_err(StartError::Supervisor)?;
        let seated = |no| planned(no, &ports, &engine);
        let plans = record.taking_part().into_iter().map(seated).collect();
        let (writer, journal) = journal::open(clock, RING_BYTES);
        let engine_version = engine.version().await;
        let ended = CancellationToken::new();
        let ended_too = ended.clone();
        let inputs = Inputs { asked, wires, observed, processes, found, ended: ended_too };
        let lab = Loop::new(
            super::turn::Parts {
                plans,
                record,
                ports,
                clock,
                seed: plan.seed,
                engine,
                engine_version,
                directory: directory.clone(),
                outputs: outputs.clone(),
                fabric,
                observer,
                finder,
                supervisor,
                power: plan.power,
                make_clients: plan.clients,
            },
            writer,
        );
        let mut running = JoinSet::new();
        running.spawn(lab.run(run, plan.hold_back, inputs));
        // The first event is in the journal when this returns: the state is never empty.
        journal.follow(0).ready().await.ok();
        let handle = LabHandle { requests, journal, outputs };
        Ok(Self { handle, directory, ended, running })
    }

    /// How to ask it.
    pub fn handle(&self) -> &LabHandle {
        &self.handle
    }

    /// Where its files lie.
    pub fn directory(&self) -> &LabDirectory {
        &self.directory
    }

    /// Heals everything, stops every process in order (SIGTERM, after a deadline SIGKILL), ends
    /// the journal. A temporary directory is deleted when the last holder of it is gone.
    pub async fn shutdown(mut self) {
        self.ended.cancel();
        // A panic in the loop has been printed; its processes died with the supervisor.
        while self.running.join_next().await.is_some() {}
    }
}

/// A member in its place.
pub(super) fn planned(member: MemberNo, ports: &Reservation, engine: &Engine) -> MemberPlan {
    let ports = ports.members[usize::from(member.0) - 1];
    MemberPlan { member, client_url: client_url(ports), peer_url: engine.peer_url(member) }
}

/// A name for a run that is unique and says when it began: `2026-11-22-21-55-04-3f9a`.
pub(crate) fn run_name() -> String {
    let seconds = wall_millis() / 1_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let mut tail = [0; 2];
    // Two labs of one second then share a name, and nothing else.
    OsRng.try_fill_bytes(&mut tail).ok();
    let tail = u16::from_le_bytes(tail);
    format!("{year:04}-{month:02}-{day:02}-{hour:02}-{minute:02}-{second:02}-{tail:04x}")
}

/// Year, month and day of so many days after 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_779, (2026, 11, 22)),
        ] {
            assert_eq!(civil(days), date);
        }
    }
}
