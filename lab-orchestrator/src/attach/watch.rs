//! The loop of an observed cluster: it puts what is heard into a journal, and refuses the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::Uri;
use lab_protocol::node_protocol::MemberId;
use lab_protocol::{CommandId, Ended, EngineKind, Event, Feed, MemberNo, MemberPlan, Process};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::find::{Found, FoundMember, find};
use crate::clock::{RunClock, wall_millis};
use crate::handle::{LabHandle, REQUESTS, Request, SubmitError};
use crate::journal::{self, JournalWriter, RING_BYTES};
use crate::lab::run_name;
use crate::observer::{OBSERVATIONS, Observer};
use crate::supervisor::PLACES;
use crate::workload::Dialler;

const REFUSAL: &str = "this cluster is only observed: the lab started none of its members and \
    stands on none of their wires; `raft-lab up` starts one to break";

/// Members that nobody knows yet are looked for no sooner again than after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A cluster that is observed. It must be [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct Watch {
    handle: LabHandle,
    ended: CancellationToken,
    running: JoinSet<()>,
}

/// What the loop has.
struct Loop {
    journal: JournalWriter,
    clock: RunClock,
    dialler: Dialler,
    endpoints: Vec<Uri>,
    observations: mpsc::Sender<Event>,
    /// One for the members of the beginning, and one for each that came later.
    observers: Vec<Observer>,
    known: BTreeMap<MemberId, MemberNo>,
    /// Members that the cluster counts and nobody here knows.
    strangers: BTreeSet<MemberId>,
    /// Known members of whom nobody said yet where they can be asked: one of etcd publishes that
    /// after its start.
    mute: BTreeSet<MemberId>,
    looking: JoinSet<Result<Found>>,
    look_at: Instant,
    last_command: u64,
}

impl Watch {
    /// Finds out who the members are, and observes them from then on.
    ///
    /// # Errors
    /// No endpoint answers, or they are of several clusters, or of more members than there are
    /// places on the page.
    pub async fn start(endpoints: Vec<Uri>) -> Result<Self> {
        let dialler = Dialler::default();
        let found = find(&dialler, &endpoints).await?;
        anyhow::ensure!(
            found.members.len() <= usize::from(PLACES),
            "show a cluster of {} members; there are places for {PLACES}",
            found.members.len()
        );
        let clock = RunClock::start();
        let (observations, observed) = mpsc::channel(OBSERVATIONS);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (writer, journal) = journal::open(clock, RING_BYTES);
        let mut watch = Loop {
            journal: writer,
            clock,
            dialler,
            endpoints,
            observations,
            observers: Vec::new(),
            known: BTreeMap::new(),
            strangers: BTreeSet::new(),
            mute: BTreeSet::new(),
            looking: JoinSet::new(),
            look_at: Instant::now(),
            last_command: 0,
        };
        watch.begin(&found);
        let ended = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(watch.run(asked, observed, ended.clone()));
        let handle = LabHandle { requests, journal, outputs: Arc::default() };
        Ok(Self { handle, ended, running })
    }

    /// Its journal, and whoever refuses.
    pub fn handle(&self) -> &LabHandle {
        &self.handle
    }

    /// Ends the journal. The cluster goes on.
    pub async fn shutdown(mut self) {
        self.ended.cancel();
        // A panic in the loop has been printed.
        while self.running.join_next().await.is_some() {}
    }
}

impl Loop {
    fn begin(&mut self, found: &Found) {
        let places: Vec<_> = (1..=PLACES).map(MemberNo).zip(&found.members).collect();
        let members = places.iter().map(|(member, found)| plan(*member, found)).collect();
        self.journal.append(Event::RunStarted {
            run: run_name(),
            seed: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: EngineKind::observed(&found.version),
            token: String::new(),
            wall_millis: wall_millis(),
            members,
        });
        for (member, found) in &places {
            self.known.insert(found.id, *member);
            self.journal.append(Event::Note { text: introduced(*member, found) });
        }
        self.observe(places);
        self.journal.publish();
    }

    fn observe(&mut self, members: Vec<(MemberNo, &FoundMember)>) {
        let mute = members.iter().filter(|(_, found)| found.origin.is_none());
        self.mute.extend(mute.map(|(_, found)| found.id));
        let asked = members
            .into_iter()
            .filter_map(|(member, found)| Some((member, found.id, found.origin.clone()?)));
        let observer = Observer::ask_strangers(asked.collect(), self.clock, &self.observations);
        self.observers.push(observer);
    }

    async fn run(
        mut self,
        mut asked: mpsc::Receiver<Request>,
        mut observed: mpsc::Receiver<Event>,
        ended: CancellationToken,
    ) {
        loop {
            let awaited = !self.strangers.is_empty() || !self.mute.is_empty();
            let looks = awaited && self.looking.is_empty();
            tokio::select! {
                () = ended.cancelled() => break,
                Some(request) = asked.recv() => self.refuse(request),
                Some(event) = observed.recv() => self.heard(event),
                Some(Ok(found)) = self.looking.join_next() => self.looked(found),
                () = sleep_until(self.look_at), if looks => self.look(),
            }
            self.journal.publish();
        }
        self.observers.clear();
        self.looking.shutdown().await;
        self.dialler.shutdown().await;
        self.journal.append(Event::RunEnded);
        self.journal.publish();
    }

    fn refuse(&mut self, request: Request) {
        match request {
            Request::Tell { event } => drop(self.journal.append(event)),
            Request::Command { by, command, reply } => {
                self.last_command += 1;
                let id = CommandId(self.last_command);
                self.journal.append(Event::Asked { id, by, command });
                let why = REFUSAL.to_owned();
                self.journal.append(Event::Refused { id, why: why.clone() });
                self.journal.publish();
                reply.send(Err(SubmitError::Refused { id, why })).ok(); // Who asked has left.
            }
        }
    }

    /// Something was heard of a member: it is up as long as it answers.
    fn heard(&mut self, event: Event) {
        let is_up = |member: &MemberNo| {
            self.journal.with_state(|state| {
                let known = state.members.get(member);
                known.is_some_and(|known| matches!(known.process, Process::Up { .. }))
            })
        };
        match &event {
            Event::Identified { member, .. } if !is_up(member) => {
                let process = Process::Up { pid: 0 };
                self.journal.append(Event::Process { member: *member, process });
            }
            Event::Telemetry { member, feed: Feed::Lost } => {
                let ended = Ended::Unseen;
                let process = Process::Down { ended, asked: false, wiped: false };
                let member = *member;
                self.journal.append(event);
                self.journal.append(Event::Process { member, process });
                return;
            }
            Event::Status { status, .. } => {
                let counted = status.voters.iter().chain(&status.learners);
                let unknown = counted.filter(|id| !self.known.contains_key(id));
                self.strangers = unknown.copied().collect();
            }
            _ => {}
        }
        self.journal.append(event);
    }

    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK_AGAIN;
        let (dialler, endpoints) = (self.dialler.clone(), self.endpoints.clone());
        self.looking.spawn(async move { find(&dialler, &endpoints).await });
    }

    /// The members were asked for again, because there is a new one, or one that can be asked now.
    fn looked(&mut self, found: Result<Found>) {
        // It is looked again as long as somebody is not known or not reached.
        let Ok(found) = found.context("look for members") else { return };
        self.mute.retain(|id| found.members.iter().any(|member| member.id == *id));
        for new in &found.members {
            if let Some(&member) = self.known.get(&new.id) {
                if new.origin.is_some() && self.mute.remove(&new.id) {
                    self.journal.append(Event::Seated { plan: plan(member, new) });
                    self.journal.append(Event::Note { text: introduced(member, new) });
                    self.observe(vec![(member, new)]);
                }
                continue;
            }
            let last = self.known.values().max().map_or(0, |member| member.0);
            if last >= PLACES {
                let text = format!("{} joined; there is no place for it on the page", new.id);
                self.journal.append(Event::Note { text });
                self.known.insert(new.id, MemberNo(last));
                continue;
            }
            let member = MemberNo(last + 1);
            self.known.insert(new.id, member);
            self.journal.append(Event::MemberAdded {
                plan: plan(member, new),
                id: new.id,
                cluster: found.cluster,
                learner: new.is_learner,
            });
            self.journal.append(Event::Note { text: introduced(member, new) });
            self.observe(vec![(member, new)]);
        }
    }
}

fn plan(member: MemberNo, found: &FoundMember) -> MemberPlan {
    let client_url = found.origin.as_ref().map(ToString::to_string).unwrap_or_default();
    let client_url = client_url.trim_end_matches('/').to_owned();
    MemberPlan { member, client_url, peer_url: found.peer_url.clone() }
}

fn introduced(member: MemberNo, found: &FoundMember) -> String {
    let FoundMember { id, name, origin, .. } = found;
    let name = if name.is_empty() { "a member that has not started" } else { name };
    match origin {
        Some(origin) => format!("{member} is {name}, {id}, asked at {origin}"),
        None => format!("{member} is {name}, {id}; nobody says where it can be asked"),
    }
}
