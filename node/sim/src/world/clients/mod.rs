//! Clients: each asks one thing at a time, waits as long as it likes, and turns elsewhere.
//!
//! ```text
//!   draw ─► Call ─► wire ─► inbox of a member ─► … ─► answers ─► Outcome ─► journal, draw
//! ```

mod answers;
mod draw;
mod watches;

use std::collections::BTreeMap;
use std::hash::Hash as _;

use bytes::Bytes;
use etcd_api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest};
use lab_protocol::{Call, ClientNo, Event, OpId, Outcome};
use node::handle::LeaseAsk;
use node::inbox::Input;
use node::kv::{self, Op};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::oneshot;

use super::{Due, Member, QUIET_MICROS, World, no};
use crate::member::Running;
use answers::{Read, Waiting};
use draw::Told;
use watches::Watcher;
pub(super) use watches::Watching;

/// Clients of a lifetime.
const CLIENTS: u32 = 4;

/// Most operations of one transaction, as a node ships.
const MAX_TXN_OPS: usize = 128;

/// The clients of a lifetime.
pub(super) struct Clients {
    /// Where each is connected.
    seats: Vec<usize>,
    /// How long one thinks at most before it asks again.
    think_micros: u64,
    open: BTreeMap<OpId, Open>,
    next_op: u64,
    told: Told,
    watchers: Vec<Watcher>,
    next_watch: u64,
    /// The end has come: no stream breaks any more.
    are_ending: bool,
}

/// An operation that is not answered yet.
struct Open {
    client: u32,
    member: usize,
    call: Call,
    waiting: Waiting,
}

/// How a call begins.
enum Asked {
    /// It waits.
    Open(Waiting),
    /// It is answered at once.
    Done(Outcome),
}

impl Clients {
    pub(super) fn new(random: &mut ChaCha8Rng, members: usize) -> Self {
        Self {
            seats: (0..CLIENTS).map(|_| random.random_range(0..members)).collect(),
            think_micros: [12_000, 70_000, 90_000, 150_000][random.random_range(0..4)],
            open: BTreeMap::new(),
            next_op: 1,
            told: Told::new(random),
            watchers: Watcher::draw_all(random),
            next_watch: 0,
            are_ending: false,
        }
    }

    /// Whether nobody waits for anything.
    pub(super) fn are_answered(&self) -> bool {
        self.open.is_empty()
    }
}

impl World {
    /// Has every client ask for the first time.
    pub(super) fn let_clients_ask(&mut self) {
        for client in 0..CLIENTS {
            let at = self.random.random_range(100_000..300_000);
            self.due(at, Due::Ask { client });
        }
        self.let_watchers_open();
    }

    pub(super) fn ask(&mut self, client: u32) {
        if self.now() >= QUIET_MICROS - 500_000 {
            return;
        }
        let seat = self.clients.seats[client as usize];
        let op = OpId(self.clients.next_op);
        self.clients.next_op += 1;
        let call = self.clients.told.draw(&mut self.random, op);
        let (client_no, member) = (ClientNo(client + 1), no(seat));
        self.tell(Event::Invoked { op, client: client_no, member, call: call.clone() });
        self.tally.asked += 1;
        match begin(&self.members[seat], op, &call) {
            Asked::Done(outcome) => self.done(op, client, seat, &call, outcome),
            Asked::Open(waiting) => {
                self.clients.open.insert(op, Open { client, member: seat, call, waiting });
                let patience = [50_000, 300_000, 3_000_000][self.random.random_range(0..3)];
                let at = self.now() + patience;
                self.due(at, Due::GiveUp { op });
                self.wake(seat);
            }
        }
    }

    /// Takes in what a member has answered.
    pub(super) fn answers(&mut self, place: usize) {
        let Member { running: Some(running), last_status, .. } = &self.members[place] else {
            return;
        };
        let mut came = Vec::new();
        for (op, open) in &mut self.clients.open {
            if open.member == place
                && let Some(outcome) = open.waiting.poll(running, last_status)
            {
                came.push((*op, outcome));
            }
        }
        for (op, outcome) in came {
            self.returned(op, outcome);
        }
        self.wake_streams(place);
    }

    pub(super) fn give_up(&mut self, op: OpId) {
        self.returned(op, Outcome::Info { error: "no answer in time".into() });
    }

    /// Nothing comes of a member any more.
    pub(super) fn lose_connections(&mut self, place: usize) {
        let open = self.clients.open.iter().filter(|(_, open)| open.member == place);
        let lost: Vec<_> = open.map(|(op, _)| *op).collect();
        for op in lost {
            self.returned(op, Outcome::Info { error: "connection lost".into() });
        }
        self.lose_streams(place);
    }

    fn returned(&mut self, op: OpId, outcome: Outcome) {
        if let Some(Open { client, member, call, waiting }) = self.clients.open.remove(&op) {
            drop(waiting);
            self.done(op, client, member, &call, outcome);
        }
    }

    fn done(&mut self, op: OpId, client: u32, seat: usize, call: &Call, outcome: Outcome) {
        self.clients.told.hear(call, &outcome);
        match &outcome {
            Outcome::Ok(_) | Outcome::Txn(_) => self.tally.acknowledged(kind(call)),
            Outcome::Info { .. } => self.tally.unknown += 1,
            Outcome::Fail { .. } => {}
        }
        let stays = outcome.is_ok();
        (op, &outcome).hash(&mut self.trace);
        self.tell(Event::Returned { op, outcome });
        if !stays || self.random.random_range(0..20) == 0 {
            let to = self.seat();
            self.clients.seats[client as usize] = to;
            if to != seat {
                let (from, to) = (no(seat), no(to));
                self.tell(Event::Reconnected { client: ClientNo(client + 1), from, to });
            }
        }
        let at = self.now() + self.random.random_range(500..self.clients.think_micros);
        self.due(at, Due::Ask { client });
    }
}

/// What is asked, in the words of the tally.
fn kind(call: &Call) -> &'static str {
    match call {
        Call::Put { .. } => "put",
        Call::Delete { .. } => "delete",
        Call::Get { serializable: false, .. } => "read",
        Call::Get { serializable: true, .. } => "serializable read",
        Call::Txn { .. } => "transaction",
        Call::Compact { .. } => "compaction",
        Call::LeaseGrant { .. } => "lease grant",
        Call::LeaseTimeToLive { .. } => "lease question",
        Call::LeaseKeepAlive { .. } => "keep-alive",
        Call::LeaseRevoke { .. } => "lease revoke",
    }
}

/// Asks a member, as its face would.
fn begin(member: &Member, op: OpId, call: &Call) -> Asked {
    let Member { running: Some(running), paused, last_status, .. } = member else {
        return Asked::Done(Outcome::Fail { error: "connection refused".into() });
    };
    let key = |key: &String| Bytes::from(key.clone());
    match call {
        Call::Put { key: at, value } => {
            let (key, value) = (key(at), Bytes::from(value.clone()));
            propose(running, Op::Put(PutRequest { key, value, ..PutRequest::default() }))
        }
        Call::Delete { key: at } => {
            let request = DeleteRangeRequest { key: key(at), ..DeleteRangeRequest::default() };
            propose(running, Op::DeleteRange(request))
        }
        Call::Get { serializable: true, .. } if *paused => {
            Asked::Done(Outcome::Info { error: "no answer".into() })
        }
        Call::Get { key, serializable: true } => {
            Asked::Done(Read::Key(key.clone()).now(running, last_status))
        }
        Call::Get { key, serializable: false } => read(running, Read::Key(key.clone())),
        Call::Txn { compare, then, otherwise } => {
            let request = lab_wire::transaction(compare, then, otherwise);
            match kv::txn_writes(&request) {
                true => propose(running, Op::Txn(request)),
                false => read(running, Read::Txn(request)),
            }
        }
        Call::Compact { revision } => {
            let request = CompactionRequest { revision: *revision, physical: false };
            propose(running, Op::Compact(request))
        }
        Call::LeaseGrant { ttl_seconds } => {
            let id = i64::try_from(op.0).expect("a lifetime is short");
            propose(running, Op::LeaseGrant { id, ttl_seconds: i64::from(*ttl_seconds) })
        }
        Call::LeaseRevoke { lease } => propose(running, Op::LeaseRevoke { id: *lease }),
        Call::LeaseTimeToLive { lease } => {
            ask_leader(running, LeaseAsk::TimeToLive { lease: *lease }, -1)
        }
        Call::LeaseKeepAlive { lease } => {
            ask_leader(running, LeaseAsk::KeepAlive { lease: *lease }, 0)
        }
    }
}

fn propose(running: &Running, op: Op) -> Asked {
    if let Err(refused) = kv::check_op(&op, MAX_TXN_OPS) {
        return Asked::Done(Outcome::Fail { error: refused.to_string() });
    }
    let (ticket, answer) = running.waiters.open(op);
    running.tell(Input::Propose { seq: ticket.seq() });
    Asked::Open(Waiting::Write { answer, _ticket: ticket })
}

fn read(running: &Running, read: Read) -> Asked {
    let (sender, answer) = oneshot::channel();
    running.tell(Input::Read { answer: sender });
    Asked::Open(Waiting::Barrier { answer, read })
}

/// Asks about a lease; `gone` is what etcd says of one that is not there.
fn ask_leader(running: &Running, ask: LeaseAsk, gone: i64) -> Asked {
    let (sender, answer) = oneshot::channel();
    running.tell(Input::Ask { ask, answer: sender });
    Asked::Open(Waiting::Ask { answer, gone })
}
