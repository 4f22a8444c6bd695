//! What the member shows of itself: the glance for faces, status and trace for readers outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use node_protocol::telemetry::EntryBrief;
use node_protocol::{Index, Role, Status, Term, TraceEvent};
use raft::eraftpb::{Entry, EntryType};

use super::Replica;

impl Replica {
    pub(super) fn glance(&self) {
        let glance = &self.parts.glance;
        glance.commit.store(self.parts.driver.commit().0, Ordering::Release);
        glance.term.store(self.parts.driver.standing().term.0, Ordering::Release);
        glance.learner.store(self.parts.driver.standing().role == Role::Learner, Ordering::Relaxed);
    }

    pub(super) fn publish(&mut self, tick: bool) {
        let events = self.parts.driver.take_events();
        for event in events {
            self.trace(event);
        }
        // A status is built at ticks only: a hundred a second are plenty for any reader.
        if !tick {
            return;
        }
        let now = self.parts.clock.now_micros();
        let mut status = Status::default_at(now);
        self.parts.driver.fill(&mut status);
        status.applied = self.parts.progress.applied();
        status.tick_micros = self.parts.tick_micros;
        {
            let store = self.parts.store.read();
            status.revision = store.revision();
            status.leases = u32::try_from(store.leases().len()).unwrap_or(u32::MAX);
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        status.waiting_proposals = count(self.parts.waiters.len());
        status.waiting_reads = count(self.reads.len());
        status.fsync_last_micros = u32::try_from(self.last_sync.as_micros()).unwrap_or(u32::MAX);
        status.state_bytes = self.parts.glance.state_bytes.load(Ordering::Relaxed);
        let same = self.published.as_ref().is_some_and(|last| last.same_but_for_time(&status));
        if same && now < self.published_at_micros + 100_000 {
            return;
        }
        self.published_at_micros = now;
        self.published = Some(status.clone());
        self.parts.telemetry.publish(Arc::new(status));
    }

    pub(super) fn trace(&self, event: TraceEvent) {
        self.parts.telemetry.trace(event, self.parts.clock.now_micros());
    }

    pub(super) fn trace_appended(&self, first: Index, count: usize) {
        if !self.parts.telemetry.followed() {
            return;
        }
        let skip = count.saturating_sub(8) as u64;
        let log = self.parts.driver.log();
        let entries = (first.0 + skip..first.0 + count as u64)
            .filter_map(|index| log.entry(Index(index)))
            .map(|entry| EntryBrief {
                index: Index(entry.index),
                term: Term(entry.term),
                text: brief(entry),
            })
            .collect();
        self.trace(TraceEvent::Appended { entries });
    }
}

fn brief(entry: &Entry) -> String {
    match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => String::new(),
        EntryType::EntryNormal => crate::kv::brief(&entry.data),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => "change of members".into(),
    }
}
