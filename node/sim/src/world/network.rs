//! The network: what members sent is on its way, arrives, is lost, comes twice or late.

use std::hash::Hash as _;

use lab_protocol::{Event, Link, LinkCondition};
use node::inbox::Input;
use node::storage::{SnapshotReader, SnapshotWriter};
use node::transport::links::LinkNews;
use node::transport::{Packet, codec};
use raft::eraftpb::Message;
use rand::Rng;

use super::{Broken, Due, World, caught, no};
use crate::member::Wire;

impl World {
    /// Puts what a member sent on its way.
    pub(super) fn collect(&mut self, place: usize, delay: u64) {
        let Wire { packets, snapshots, dialled } = std::mem::take(&mut *self.common.wire.lock());
        // Not always this member's: one that starts dials before it is first run.
        for ends in dialled {
            let [from, to] = <[_; 2]>::from(ends)
                .map(|id| self.members.iter().position(|member| member.id == id));
            if let (Some(from), Some(to)) = (from, to) {
                let at = self.arrival(delay);
                self.due(at, Due::Dial { from, to });
            }
        }
        for (from, to, packet) in packets {
            self.bytes.clear();
            codec::encode(&packet, from, to, 0, &mut self.bytes);
            (from.0, to.0, crc32c::crc32c(&self.bytes)).hash(&mut self.trace);
            self.tally.messages += 1;
            let Some(to) = self.members.iter().position(|member| member.id == to) else { continue };
            let leaves = self.now() + delay;
            if self.random.random_range(0..1000) < self.lossy {
                self.show_message((place, to), leaves, None);
                continue;
            }
            let at = self.arrival(delay);
            let number = self.show_message((place, to), leaves, Some(at));
            if self.random.random_range(0..1000) < self.repeating {
                let again = at + self.random.random_range(0..200_000);
                let packet = packet.clone();
                let number = self.show_message((place, to), leaves, Some(again));
                self.due(again, Due::Deliver { from: place, to, packet, number });
            }
            self.due(at, Due::Deliver { from: place, to, packet, number });
        }
        for message in snapshots {
            let at = self.arrival(delay) + self.random.random_range(0..50_000);
            self.due(at, Due::Snapshot { message: Box::new(message) });
        }
    }

    pub(super) fn arrival(&mut self, delay: u64) -> u64 {
        let slow = self.random.random_range(0..=self.slow_micros);
        self.now() + delay + 100 + self.random.random_range(0..900) + slow
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, packet: Packet, number: u64) {
        self.show_arrival((from, to), number);
        if self.cut.contains(&(from, to)) {
            return;
        }
        if self.is_refused(from, to) {
            return;
        }
        let from = self.members[from].id;
        if let Some(running) = &self.members[to].running {
            running.tell(Input::Packet { from, packet });
            self.wake(to);
        }
    }

    /// A member calls another, and is told if that one does not want it.
    pub(super) fn dial(&mut self, from: usize, to: usize) {
        if !self.cut.contains(&(from, to)) {
            self.is_refused(from, to);
        }
    }

    /// Whether a member is refused by one that knows that it was removed; it hears why, if there
    /// is a way back.
    fn is_refused(&mut self, from: usize, to: usize) -> bool {
        let Some(running) = &self.members[to].running else { return false };
        if !running.membership.read().removed(self.members[from].id) {
            return false;
        }
        let peer = self.members[to].id;
        if let (false, Some(caller)) = (self.cut.contains(&(to, from)), &self.members[from].running)
        {
            let why = String::new();
            caller.tell(Input::Link(LinkNews { peer, connected: false, removed: true, why }));
            self.wake(from);
        }
        true
    }

    /// Carries a snapshot over, through the shipped reader and writer.
    pub(super) fn carry_snapshot(&mut self, mut message: Message) -> Result<(), Broken> {
        let place = |id: u64| self.members.iter().position(|member| member.id.0 == id);
        let (Some(from), Some(to)) = (place(message.from), place(message.to)) else {
            return Ok(());
        };
        let whole = !self.cut.contains(&(from, to))
            && !self.cut.contains(&(to, from))
            && !self.members[to].is_stuck();
        let mut arrived = false;
        if let (true, Some(sender), Some(receiver)) =
            (whole, &self.members[from].running, &self.members[to].running)
        {
            let carried = caught(|| {
                let mut reader = SnapshotReader::new(&sender.state);
                let mut writer = SnapshotWriter::new(&receiver.state);
                while let Some(chunk) = reader.next_chunk().map_err(|e| e.to_string())? {
                    writer.write(&chunk).map_err(|e| e.to_string())?;
                }
                writer.finish().map_err(|e| e.to_string())
            });
            match carried {
                Ok(received) => {
                    let metadata = message.mut_snapshot().mut_metadata();
                    metadata.index = received.applied().index.0;
                    metadata.term = received.applied().term.0;
                    metadata.set_conf_state(received.applied().conf_state.clone());
                    let message = Box::new(message);
                    receiver.tell(Input::Arrived { message, received });
                    arrived = true;
                }
                // The receiver's disk failed: the sender hears that nothing arrived.
                Err(why) => {
                    if !self.members[to].sync_fails && !self.members[to].power_loss_in_sync {
                        return Err(format!("a snapshot cannot be carried over: {why}"));
                    }
                    self.ended(to, &why)?;
                }
            }
        }
        if arrived {
            self.wake(to);
        }
        let to = self.members[to].id;
        if let Some(sender) = &self.members[from].running {
            sender.tell(Input::Sent { to, arrived });
            self.wake(from);
        }
        Ok(())
    }

    /// Tells every member that runs whether it can send to this one, and is called by it.
    pub(super) fn tell_link(&mut self, of: usize, connected: bool) {
        let peer = self.members[of].id;
        for place in (0..self.members.len()).filter(|place| *place != of) {
            if let Some(running) = &self.members[place].running {
                let why = String::new();
                running.tell(Input::Link(LinkNews { peer, connected, removed: false, why }));
                running.tell(Input::Caller { from: peer, connected });
                self.wake(place);
            }
        }
    }

    pub(super) fn cut_where(&mut self, cut: impl Fn(usize, usize) -> bool) {
        let count = self.members.len();
        for (from, to) in (0..count).flat_map(|one| (0..count).map(move |two| (one, two))) {
            if from != to && cut(from, to) && self.cut.insert((from, to)) {
                self.link_changed(from, to, LinkCondition::Cut);
            }
        }
    }

    pub(super) fn heal_where(&mut self, healed: impl Fn(usize, usize) -> bool) {
        let links: Vec<_> = self.cut.extract_if(.., |(from, to)| healed(*from, *to)).collect();
        for (from, to) in links {
            self.link_changed(from, to, self.whole_link());
        }
    }

    pub(super) fn link_changed(&mut self, from: usize, to: usize, condition: LinkCondition) {
        let link = Link { from: no(from), to: no(to) };
        self.tell(Event::LinkChanged { link, condition });
    }
}
