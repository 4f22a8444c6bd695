//! What the member shows of itself: the glance for faces, status and trace for readers outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use node_protocol::telemetry::{EntryBrief, Fingerprint};
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
        self.tell_steps();
        // A status is built at ticks only: a hundred a second are plenty for any reader. While the
        // clock stands still there are none, and what is done by messages is told all the same.
        if !tick && self.parts.clock.pace() > 0 {
            return;
        }
        let now = self.parts.clock.seen_micros();
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

    /// Traces what the driver found worth telling since the last time.
    pub(super) fn tell_steps(&mut self) {
        for event in self.parts.driver.take_events() {
            self.trace(event);
        }
    }

    pub(super) fn trace(&self, event: TraceEvent) {
        self.parts.telemetry.trace(event, self.parts.clock.seen_micros());
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
        let fingerprints = (first.0..first.0 + count as u64)
            .filter_map(|index| log.entry(Index(index)))
            .map(|entry| Fingerprint { term: Term(entry.term), crc: fingerprint(entry) })
            .collect();
        self.trace(TraceEvent::Appended { entries });
        self.trace(TraceEvent::Fingerprints { first, entries: fingerprints });
    }
}

fn fingerprint(entry: &Entry) -> u32 {
    // Of changes of members the context counts too; other entries have none.
    let kind = [entry.get_entry_type() as u8];
    let whole = crc32c::crc32c_append(crc32c::crc32c(&kind), &entry.data);
    crc32c::crc32c_append(whole, &entry.context)
}

fn brief(entry: &Entry) -> String {
    match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => String::new(),
        EntryType::EntryNormal => crate::kv::brief(&entry.data),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => "change of members".into(),
    }
}
