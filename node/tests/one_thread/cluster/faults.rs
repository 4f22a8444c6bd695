//! What can happen to a member besides a crash.

use node::handle::{LeaseAnswer, LeaseAsk, Refusal};
use node::inbox::Input;
use node::storage::MemoryDisk;
use node::transport::Packet;
use tokio::sync::oneshot;

use super::{Cluster, Waiting};

impl Cluster {
    /// A member's process is stopped where it stands; time and messages go on without it.
    pub(crate) fn pause(&mut self, member: usize) {
        self.members[member].paused = true;
    }

    pub(crate) fn resume(&mut self, member: usize) {
        self.members[member].paused = false;
    }

    /// A member hears something in a peer's name, however that came about.
    pub(crate) fn whisper(&mut self, from: usize, to: usize, packet: Packet) {
        let from = self.members[from].id;
        let running = self.members[to].running.as_ref().expect("the receiver runs");
        running.inbox_in.send(Input::Packet { from, packet }).expect("the inbox has room");
    }

    /// A member's next sync fails; the member is expected to end.
    pub(crate) fn fail_next_sync(&mut self, member: usize) {
        self.members[member].may_end = true;
        self.members[member].disk.fail_sync(0);
    }

    /// Gives a member that does not run an empty disk, on which it begins as at its first start.
    pub(crate) fn wipe(&mut self, member: usize) {
        self.members[member].disk = MemoryDisk::new();
        self.members[member].may_end = true;
        self.prepare(member);
    }

    /// Waits until a member ends by itself; says why it did.
    pub(crate) fn await_end(&mut self, member: usize) -> String {
        self.until("the end of a member", |cluster| cluster.members[member].ended.is_some());
        self.members[member].ended.take().expect("it was just there")
    }

    /// Snapshots stay on their way from now on; the senders are told that they did not arrive.
    pub(crate) fn hold_snapshots(&mut self) {
        self.held = Some(Vec::new());
    }

    /// Waits until so many snapshots are on their way.
    pub(crate) fn await_held(&mut self, count: usize) {
        self.until("a snapshot on its way", |cluster| {
            cluster.held.as_ref().is_some_and(|held| held.len() >= count)
        });
    }

    /// All held snapshots arrive at one moment, in the order in which they left or against it.
    pub(crate) fn release_snapshots(&mut self, reversed: bool) {
        let mut held = self.held.take().expect("snapshots are held");
        if reversed {
            held.reverse();
        }
        for (to, input) in held {
            let running = self.members[to].running.as_ref().expect("the receiver runs");
            running.inbox_in.send(input).expect("the inbox has room");
        }
    }

    /// Renews a lease through a member.
    pub(crate) fn keep_alive(&mut self, member: usize, lease: i64) -> LeaseAnswer {
        let waiting = self.begin_ask(member, LeaseAsk::KeepAlive { lease });
        self.await_lease(waiting)
    }

    /// How long a lease has left, by the member that leads.
    pub(crate) fn time_to_live(&mut self, leader: usize, lease: i64) -> LeaseAnswer {
        let waiting = self.begin_ask(leader, LeaseAsk::TimeToLive { lease });
        self.await_lease(waiting)
    }

    fn begin_ask(&mut self, member: usize, ask: LeaseAsk) -> Waiting<Result<LeaseAnswer, Refusal>> {
        let running = self.members[member].running.as_ref().expect("a member that runs is asked");
        let (answer, receiver) = oneshot::channel();
        running.inbox_in.send(Input::Ask { ask, answer }).expect("the inbox has room");
        Waiting { member, answer: receiver, ticket: None }
    }
}
