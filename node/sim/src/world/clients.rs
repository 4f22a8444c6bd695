//! Clients: each asks one thing at a time, waits as long as it likes, and turns elsewhere.

use std::hash::Hash as _;

use bytes::Bytes;
use etcd_api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use lab_protocol::{Answer, Call, ClientNo, Event, OpId, Outcome};
use node::consensus::waiters::{Answer as Reply, Outcome as Waited, Ticket};
use node::handle::{LeaseAnswer, LeaseAsk, Refusal};
use node::inbox::Input;
use node::kv::{Op, Response};
use node_protocol::Status;
use rand::Rng;
use tokio::sync::oneshot;

use super::{Due, Member, QUIET_MICROS, World, no};
use crate::member::Running;

/// Keys that clients share: few, so that they meet.
const KEYS: u32 = 6;

/// What a client waits for.
enum Waiting {
    Write { answer: oneshot::Receiver<Waited>, _ticket: Ticket },
    Read { answer: oneshot::Receiver<Result<(), Refusal>>, key: String },
    Ask { answer: oneshot::Receiver<Result<LeaseAnswer, Refusal>> },
}

/// An operation that is not answered yet.
pub(super) struct Open {
    client: u32,
    pub(super) member: usize,
    waiting: Waiting,
    /// It grants a lease.
    grants: bool,
}

impl World {
    pub(super) fn ask(&mut self, client: u32) {
        if self.now() >= QUIET_MICROS - 500_000 {
            return;
        }
        let seat = self.seats[client as usize];
        let key = format!("k{}", self.random.random_range(0..KEYS));
        let op = OpId(self.next_op);
        self.next_op += 1;
        let call = match self.random.random_range(0..100) {
            0..50 => Call::Put { key, value: op.0.to_string() },
            50..55 => Call::Delete { key },
            55..88 => Call::Get { key, serializable: false },
            88..92 => Call::Get { key, serializable: true },
            92 => Call::LeaseGrant { ttl_seconds: self.random.random_range(1..5) },
            _ => match self.granted.last_chunk::<2>() {
                // One of the newest: those before have run out.
                Some(newest) => {
                    Call::LeaseTimeToLive { lease: newest[self.random.random_range(0..2)] }
                }
                None => Call::LeaseGrant { ttl_seconds: 3 },
            },
        };
        let (client_no, member) = (ClientNo(client + 1), no(seat));
        self.tell(Event::Invoked { op, client: client_no, member, call: call.clone() });
        self.tally.asked += 1;
        let Some(running) = &self.members[seat].running else {
            let error = "connection refused".into();
            return self.done(op, client, seat, false, Outcome::Fail { error });
        };
        let grants = matches!(call, Call::LeaseGrant { .. });
        let waiting = match call {
            Call::Put { key, value } => {
                let (key, value) = (Bytes::from(key), Bytes::from(value));
                let request = PutRequest { key, value, ..PutRequest::default() };
                propose(running, Op::Put(request))
            }
            Call::Delete { key } => {
                let key = Bytes::from(key);
                let request = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
                propose(running, Op::DeleteRange(request))
            }
            Call::Get { key, serializable: true } => {
                if self.members[seat].paused {
                    let error = "no answer".into();
                    return self.done(op, client, seat, false, Outcome::Info { error });
                }
                let answer = range(running, &key, &self.members[seat].last_status);
                return self.done(op, client, seat, false, Outcome::Ok(answer));
            }
            Call::Get { key, serializable: false } => {
                let (sender, answer) = oneshot::channel();
                running.tell(Input::Read { answer: sender });
                Waiting::Read { answer, key }
            }
            Call::LeaseGrant { ttl_seconds } => {
                let id = i64::try_from(op.0).expect("a lifetime is short");
                propose(running, Op::LeaseGrant { id, ttl_seconds: i64::from(ttl_seconds) })
            }
            Call::Txn { .. } | Call::Compact { .. } => unreachable!("no client draws one"),
            Call::LeaseTimeToLive { lease } => {
                let (sender, answer) = oneshot::channel();
                running.tell(Input::Ask { ask: LeaseAsk::TimeToLive { lease }, answer: sender });
                Waiting::Ask { answer }
            }
        };
        self.open.insert(op, Open { client, member: seat, waiting, grants });
        let patience = [50_000, 300_000, 3_000_000][self.random.random_range(0..3)];
        let at = self.now() + patience;
        self.due(at, Due::GiveUp { op });
        self.wake(seat);
    }

    /// Looks which open operations of a member were answered.
    pub(super) fn answers(&mut self, place: usize) {
        let ops: Vec<_> =
            self.open.iter().filter(|(_, open)| open.member == place).map(|(op, _)| *op).collect();
        for op in ops {
            let Some(open) = self.open.get_mut(&op) else { continue };
            let Member { running: Some(running), last_status, .. } = &self.members[place] else {
                continue;
            };
            let info = |error: String| Outcome::Info { error };
            let outcome = match &mut open.waiting {
                Waiting::Write { answer, .. } => match answer.try_recv() {
                    Ok(Waited::Answered(reply)) => answered(*reply, last_status),
                    Ok(Waited::Stopped) => info("the member stops".into()),
                    Err(oneshot::error::TryRecvError::Empty) => continue,
                    Err(oneshot::error::TryRecvError::Closed) => info("connection lost".into()),
                },
                Waiting::Read { answer, key } => match answer.try_recv() {
                    Ok(Ok(())) => Outcome::Ok(range(running, key, last_status)),
                    Ok(Err(refusal)) => info(refusal.to_string()),
                    Err(oneshot::error::TryRecvError::Empty) => continue,
                    Err(oneshot::error::TryRecvError::Closed) => info("connection lost".into()),
                },
                Waiting::Ask { answer } => match answer.try_recv() {
                    Ok(Ok(told)) => Outcome::Ok(left(told, running, last_status)),
                    Ok(Err(refusal)) => info(refusal.to_string()),
                    Err(oneshot::error::TryRecvError::Empty) => continue,
                    Err(oneshot::error::TryRecvError::Closed) => info("connection lost".into()),
                },
            };
            self.returned(op, outcome);
        }
    }

    pub(super) fn give_up(&mut self, op: OpId) {
        self.returned(op, Outcome::Info { error: "no answer in time".into() });
    }

    pub(super) fn returned(&mut self, op: OpId, outcome: Outcome) {
        if let Some(Open { client, member, waiting, grants }) = self.open.remove(&op) {
            drop(waiting);
            self.done(op, client, member, grants, outcome);
        }
    }

    fn done(&mut self, op: OpId, client: u32, seat: usize, grants: bool, outcome: Outcome) {
        match &outcome {
            Outcome::Ok(answer) => {
                self.tally.acknowledged += 1;
                self.granted.extend(grants.then_some(answer.number));
            }
            Outcome::Info { .. } => self.tally.unknown += 1,
            Outcome::Txn(_) => self.tally.acknowledged += 1,
            Outcome::Fail { .. } => {}
        }
        let stays = outcome.is_ok();
        (op.0, format!("{outcome:?}")).hash(&mut self.trace);
        self.tell(Event::Returned { op, outcome });
        if !stays || self.random.random_range(0..20) == 0 {
            let to = self.seat();
            self.seats[client as usize] = to;
            if to != seat {
                let (from, to) = (no(seat), no(to));
                self.tell(Event::Reconnected { client: ClientNo(client + 1), from, to });
            }
        }
        let at = self.now() + self.random.random_range(500..self.think_micros);
        self.due(at, Due::Ask { client });
    }
}

fn propose(running: &Running, op: Op) -> Waiting {
    let (ticket, answer) = running.waiters.open(op);
    running.tell(Input::Propose { seq: ticket.seq() });
    Waiting::Write { answer, _ticket: ticket }
}

fn range(running: &Running, key: &str, status: &Status) -> Answer {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let request = RangeRequest { key, ..RangeRequest::default() };
    let answer = running.store.read().range(&request).expect("a range of one key");
    let value = answer
        .kvs
        .first()
        .map(|row| (String::from_utf8_lossy(&row.value).into_owned(), row.mod_revision));
    let revision = answer.header.unwrap_or_default().revision;
    Answer { revision, term: status.term.0, value, number: answer.count }
}

/// Seconds that a lease has left; -1 when there is none.
fn left(told: LeaseAnswer, running: &Running, status: &Status) -> Answer {
    let number = match told {
        LeaseAnswer::Known { ttl_seconds, .. } => ttl_seconds,
        LeaseAnswer::Unknown => -1,
    };
    let revision = running.store.read().revision().0;
    Answer { revision, term: status.term.0, value: None, number }
}

fn answered(reply: Reply, status: &Status) -> Outcome {
    let term = status.term.0;
    let answer = |revision, number| Answer { revision, term, value: None, number };
    match reply {
        Reply::Kv(Ok(Response::Put(put))) => {
            Outcome::Ok(answer(put.header.unwrap_or_default().revision, 0))
        }
        Reply::Kv(Ok(Response::DeleteRange(deleted))) => {
            let revision = deleted.header.unwrap_or_default().revision;
            Outcome::Ok(answer(revision, deleted.deleted))
        }
        Reply::Kv(Ok(Response::LeaseGrant(granted))) => {
            Outcome::Ok(answer(granted.header.unwrap_or_default().revision, granted.id))
        }
        Reply::Kv(Ok(other)) => Outcome::Info { error: format!("answered with {other:?}") },
        Reply::Kv(Err(refused)) => Outcome::Fail { error: refused.to_string() },
        Reply::Members(_) => Outcome::Info { error: "answered with members".into() },
    }
}
