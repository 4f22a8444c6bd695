//! How a cluster ends: when the lab starts over, and when the lab itself ends.

use lab_protocol::{Event, LinkCondition, MixSpec, WorkloadSpec};
use tokio::time::{Instant, timeout_at};

use super::super::plan::{planned, run_name};
use super::snapshots::Snapshots;
use super::{Await, BATCH, Inputs, Loop, Parts, STOP_DEADLINE, Seated, blocking, in_full};
use crate::handle::{Request, SubmitError};
use crate::supervisor::{DirectoryError, LabRecord, Order, Seats};

impl Loop {
    /// The second half of starting over: nothing runs any more.
    pub(super) async fn started_over(&mut self, inputs: &mut Inputs) {
        self.end_clients().await;
        self.end_backups().await;
        self.end_changes();
        self.end_faults().await;
        self.starting_over = false;
        self.tokens.clear();
        self.data_dirs.clear();
        self.restored.clear();
        self.typing.shutdown().await;
        self.snapshots = Snapshots::default();
        self.leaving.clear();
        let directory = self.parts.directory.clone();
        let run = run_name();
        let Parts { record, ports, plans, engine, .. } = &mut self.parts;
        *record = LabRecord::new(record.members, format!("raftlab-{run}"), ports.members.clone());
        let members = record.taking_part();
        *plans = members.iter().map(|&member| planned(member, ports, engine)).collect();
        let new = record.clone();
        let wiped = blocking(move || -> Result<(), DirectoryError> {
            directory.wipe_desk()?;
            directory.write_record(&new)
        });
        if let Err(error) = wiped.await {
            let text = format!("the lab could not start over: {}", in_full(&error));
            self.append(Event::Note { text });
        }
        // What came of the old cluster's messages belongs to the old run.
        self.parts.fabric.hang_up().await;
        self.tell_traffic(inputs);
        self.parts.fabric.start_over();
        self.begin(run);
        self.write_seats().await;
        // It is done when every process of the new cluster runs.
        let ups: Vec<_> = members.iter().map(|&member| Await::Up(member)).collect();
        let mut how = Ok(());
        for member in members {
            if let Err(why) = self.start(member).await {
                self.append(Event::Note { text: why.clone() });
                how = Err(why);
            }
        }
        match how {
            Ok(()) => self.underway.replace(Await::StartedOver, &ups),
            Err(_) => {
                for (pending, how) in self.underway.met(Await::StartedOver, &how) {
                    self.settled(pending.id, pending.reply, how);
                }
            }
        }
    }

    /// When the lab starts over: starts the new cluster once nothing of the old one runs.
    pub(super) async fn go_on_starting_over(&mut self, inputs: &mut Inputs) {
        if self.starting_over && self.running().is_empty() {
            self.started_over(inputs).await;
        }
    }

    /// Ends the clients, hearing what they still report.
    pub(super) async fn end_clients(&mut self) {
        let Some(Seated { clients, mut reports }) = self.clients.take() else { return };
        let mut shutdown = clients.shutdown();
        let mut ended = false;
        loop {
            let mut events = Vec::new();
            tokio::select! {
                () = &mut shutdown, if !ended => ended = true,
                count = reports.recv_many(&mut events, BATCH) => {
                    self.reported(events);
                    if count == 0 {
                        break;
                    }
                }
            }
            if ended && reports.is_empty() {
                break;
            }
        }
    }

    /// Heals everything, ends everything, in order.
    pub(super) async fn finish(mut self, mut inputs: Inputs) {
        inputs.asked.close();
        while let Ok(request) = inputs.asked.try_recv() {
            match request {
                Request::Tell { event } => self.append(event),
                Request::Command { reply, .. } => {
                    reply.send(Err(SubmitError::Ended)).ok(); // Who asked has left already.
                }
            }
        }
        if self.clients.is_some() {
            let spec = WorkloadSpec::idle();
            let runs = self.journal.with_state(|state| {
                state.workload.as_ref().is_some_and(|workload| !workload.is_idle())
            });
            if runs {
                self.append(Event::WorkloadChanged { spec });
            }
            let errands = self
                .journal
                .with_state(|state| state.mix.as_ref().is_some_and(|mix| !mix.is_idle()));
            if errands {
                self.append(Event::MixChanged { mix: MixSpec::idle() });
            }
            self.end_clients().await;
        }
        self.end_backups().await;
        self.end_faults().await;
        for link in self.parts.fabric.links() {
            self.parts.fabric.set(link, LinkCondition::Open);
            self.drain_wires(&mut inputs);
        }
        self.dialler.shutdown().await;
        for pending in self.underway.clear() {
            pending.reply.send(Err(SubmitError::Ended)).ok(); // Who asked has left already.
        }
        self.stop_all(&mut inputs).await;
        self.parts.fabric.hang_up().await;
        self.tell_traffic(&mut inputs);
        Seats::forget(&self.parts.directory);
        self.append(Event::RunEnded);
        self.journal.publish();
        let Parts { supervisor, fabric, .. } = self.parts;
        fabric.close().await;
        // Waits for the thread, which kills what has not ended by now.
        blocking(move || drop(supervisor)).await;
    }

    pub(super) async fn stop_all(&mut self, inputs: &mut Inputs) {
        for order in [Order::Stop, Order::Crash] {
            let deadline = Instant::now() + STOP_DEADLINE;
            for member in self.running() {
                self.parts.supervisor.order(order(member)).await;
            }
            while !self.running().is_empty() {
                let event = tokio::select! {
                    event = timeout_at(deadline, inputs.processes.recv()) => event,
                    // Members must not wait to be heard while they end.
                    Some(event) = inputs.observed.recv() => {
                        self.observed(event);
                        continue;
                    }
                };
                match event {
                    Ok(Some(event)) => self.process(event, inputs).await,
                    Ok(None) | Err(_) => break,
                }
            }
        }
    }
}
