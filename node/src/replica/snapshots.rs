//! Snapshots in and out, and the log's start.

use std::sync::atomic::Ordering;

use node_protocol::{Index, Term, TraceEvent};
use raft::eraftpb::{Message, MessageType, Snapshot};

use super::{Fatal, Replica};
use crate::apply::Item;
use crate::failpoint::{Failpoint, hit};
use crate::storage::ReceivedSnapshot;
use crate::storage::wal::{Batch, Mark};
use crate::training::Break;
use crate::transport::Packet;

impl Replica {
    /// Snapshots are too long for a link: each goes out on a connection of its own.
    pub(super) fn hand_snapshots_over(&mut self) {
        let is_snapshot = |packet: &Packet| {
            matches!(packet, Packet::Raft(message)
                if message.get_msg_type() == MessageType::MsgSnapshot)
        };
        for (to, packet) in self.out.extract_if(.., |(_, packet)| is_snapshot(packet)) {
            let Packet::Raft(message) = packet else { continue };
            tracing::info!(%to, index = message.get_snapshot().get_metadata().index, "sends a snapshot");
            self.parts.snapshots.send(*message);
        }
    }

    pub(super) fn snapshot_arrived(
        &mut self,
        message: Message,
        received: ReceivedSnapshot,
    ) -> Result<(), Fatal> {
        let index = Index(message.get_snapshot().get_metadata().index);
        if index <= self.parts.progress.applied() {
            return Ok(());
        }
        hit(Failpoint::SnapshotArrived);
        self.message(message)?;
        // Two may arrive at one moment, in any order. Only the one that was accepted will be
        // asked for.
        let accepted = self.parts.driver.accepted_snapshot();
        let both = [Some((index, received)), self.arrived.take()];
        self.arrived = both.into_iter().flatten().find(|(index, _)| Some(*index) == accepted);
        Ok(())
    }

    /// Lets the threads behind make a received snapshot the state, durably.
    pub(super) fn install(&mut self, snapshot: &Snapshot) -> Result<(), Fatal> {
        let index = Index(snapshot.get_metadata().index);
        let received = match self.arrived.take() {
            Some((arrived, received)) if arrived == index => received,
            _ => return Err(Fatal::Elsewhere(format!("the snapshot at {index} is not here"))),
        };
        // The apply thread only ends after this one.
        self.parts.apply.send(Item::Install { received }).ok();
        Ok(())
    }

    /// The state is durable: the log starts anew behind it.
    pub(super) fn installed(&mut self, index: Index, term: Term) -> Result<(), Fatal> {
        let Some(round) = self.installing.take() else { return Ok(()) };
        tracing::info!(%index, %term, "snapshot installed");
        self.parts.apply.send(Item::Installed { applied: index, applied_term: term }).ok();
        hit(Failpoint::SnapshotInstalled);
        if !self.parts.planted.has(Break::SnapshotKeepsLog) {
            let mark = Some(Mark { index, term });
            self.parts.wal.write_and_sync(Batch { mark, ..Batch::default() })?;
        }
        hit(Failpoint::SnapshotMarked);
        self.repeer();
        let bytes = self.parts.glance.state_bytes.load(Ordering::Relaxed);
        self.trace(TraceEvent::SnapshotInstalled { index, bytes });
        self.finish(round)?;
        for input in std::mem::take(&mut self.kept) {
            self.take(input)?;
        }
        Ok(())
    }

    /// Drops log entries that are durable in the state, but for a tail that lets a follower that
    /// was away for a moment catch up without a snapshot.
    pub(super) fn compact(&mut self) -> Result<(), Fatal> {
        let flushed = self.parts.progress.flushed();
        let count = self.parts.snapshot_count;
        let keep = self.parts.catchup_entries;
        if flushed.0 < self.parts.driver.log().first().0 + count + keep {
            return Ok(());
        }
        let up_to = Index(flushed.0 - keep);
        self.parts.driver.compact(up_to);
        if !self.parts.planted.has(Break::NothingPersisted) {
            self.parts.wal.compact(up_to)?;
        }
        let first = self.parts.driver.log().first();
        tracing::info!(%first, "log compacted");
        self.trace(TraceEvent::Compacted { first });
        Ok(())
    }
}
