//! Commands that wait for their answer at the member their client reached.
//!
//! Each command gets a sequence number; with the member's id and boot number that names it for
//! ever (see [`crate::kv::session`]). Until it is answered or given up its bytes stay here, so
//! that it can be sent again to a new leader. Each command also says which of its elders are
//! still open (`low`), which lets the state machine forget the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use node_protocol::MemberId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::cluster::{ChangeError, Member};
use crate::kv::{Command, CommandId, KvError, Op, Response};

/// What a command led to.
#[derive(Debug)]
pub enum Answer {
    /// The key space or its leases were asked.
    Kv(Result<Response, KvError>),
    /// The members were to change; those after the change.
    Members(Result<Vec<Member>, ChangeError>),
}

/// How waiting ended.
#[derive(Debug)]
pub enum Outcome {
    /// The command was applied, and this came of it.
    Answered(Box<Answer>),
    /// The member stops; the command may still be applied.
    Stopped,
}

/// The commands of one member that wait.
#[derive(Debug)]
pub struct Waiters {
    origin: MemberId,
    boot: u64,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Waiting>,
    stopped: bool,
}

#[derive(Debug)]
struct Waiting {
    command: Bytes,
    answer: oneshot::Sender<Outcome>,
}

/// A command's place in the table; dropping it gives the answer up.
#[derive(Debug)]
pub struct Ticket {
    seq: u64,
    waiters: Arc<Waiters>,
}

impl Ticket {
    /// The command's sequence number.
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiters.table.lock().open.remove(&self.seq);
    }
}

impl Waiters {
    /// An empty table. `boot` is greater than at any earlier start of this member.
    pub fn new(origin: MemberId, boot: u64) -> Arc<Self> {
        let table = Table { next: 1, open: BTreeMap::new(), stopped: false };
        Arc::new(Self { origin, boot, table: Mutex::new(table) })
    }

    /// This start of the member.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Names a command and waits for its answer.
    pub fn open(self: &Arc<Self>, op: Op) -> (Ticket, oneshot::Receiver<Outcome>) {
        let (answer, receiver) = oneshot::channel();
        let mut table = self.table.lock();
        let seq = table.next;
        table.next += 1;
        let low = table.open.keys().next().copied().unwrap_or(seq);
        let id = CommandId { origin: self.origin, boot: self.boot, seq };
        let command = Command { id, low, op }.encode();
        if table.stopped {
            drop(answer);
        } else {
            table.open.insert(seq, Waiting { command, answer });
        }
        (Ticket { seq, waiters: self.clone() }, receiver)
    }

    /// Names a command that nobody waits for and that is never sent again.
    pub fn name_only(&self, op: Op) -> Bytes {
        let mut table = self.table.lock();
        let seq = table.next;
        table.next += 1;
        let low = table.open.keys().next().copied().unwrap_or(seq);
        let id = CommandId { origin: self.origin, boot: self.boot, seq };
        Command { id, low, op }.encode()
    }

    /// The bytes of a command that still waits.
    pub fn command(&self, seq: u64) -> Option<Bytes> {
        self.table.lock().open.get(&seq).map(|waiting| waiting.command.clone())
    }

    /// Every command that still waits, oldest first.
    pub fn all(&self) -> Vec<(u64, Bytes)> {
        let table = self.table.lock();
        table.open.iter().map(|(&seq, waiting)| (seq, waiting.command.clone())).collect()
    }

    /// Hands an answer to whoever waits for it here; does nothing for other members' commands.
    pub fn answer(&self, id: CommandId, answer: Answer) {
        if id.origin != self.origin || id.boot != self.boot {
            return;
        }
        let waiting = self.table.lock().open.remove(&id.seq);
        if let Some(Waiting { answer: sender, .. }) = waiting {
            // The client may have gone; the command has been applied all the same.
            sender.send(Outcome::Answered(Box::new(answer))).ok();
        }
    }

    /// Whether this member's present start sent the command.
    pub fn is_mine(&self, id: CommandId) -> bool {
        id.origin == self.origin && id.boot == self.boot
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.table.lock().open.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells everybody that no answer will come.
    pub fn stop(&self) {
        let mut table = self.table.lock();
        table.stopped = true;
        for (_, waiting) in std::mem::take(&mut table.open) {
            waiting.answer.send(Outcome::Stopped).ok();
        }
    }
}
