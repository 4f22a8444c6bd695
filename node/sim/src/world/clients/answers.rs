//! What members answer, as the lab's clients tell of it.

use bytes::Bytes;
use etcd_api::etcdserverpb::{RangeRequest, TxnRequest};
use lab_protocol::{Answer, Outcome, TxnAnswer};
use node::consensus::waiters::{Answer as Reply, Outcome as Waited, Ticket};
use node::handle::{LeaseAnswer, Refusal};
use node::kv::Response;
use node_protocol::Status;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::member::Running;

/// What a client waits for.
pub(super) enum Waiting {
    /// That a command is applied.
    Write { answer: oneshot::Receiver<Waited>, _ticket: Ticket },
    /// That this member has applied enough to be read.
    Barrier { answer: oneshot::Receiver<Result<(), Refusal>>, read: Read },
    /// The leader's word about a lease.
    Ask { answer: oneshot::Receiver<Result<LeaseAnswer, Refusal>>, gone: i64 },
}

/// What is read then.
pub(super) enum Read {
    /// One key.
    Key(String),
    /// A transaction that only reads.
    Txn(TxnRequest),
}

impl Waiting {
    /// What has come; `None` as long as nothing has.
    pub(super) fn poll(&mut self, running: &Running, status: &Status) -> Option<Outcome> {
        let info = |error: &str| Outcome::Info { error: error.into() };
        let outcome = match self {
            Self::Write { answer, .. } => match answer.try_recv() {
                Ok(Waited::Answered(reply)) => answered(*reply, status),
                Ok(Waited::Stopped) => info("the member stops"),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Closed) => info("connection lost"),
            },
            Self::Barrier { answer, read } => match answer.try_recv() {
                Ok(Ok(())) => read.now(running, status),
                Ok(Err(refusal)) => info(&refusal.to_string()),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Closed) => info("connection lost"),
            },
            Self::Ask { answer, gone } => match answer.try_recv() {
                Ok(Ok(told)) => left(told, *gone, running, status),
                Ok(Err(refusal)) => info(&refusal.to_string()),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Closed) => info("connection lost"),
            },
        };
        Some(outcome)
    }
}

impl Read {
    /// Reads what the member holds at this moment.
    pub(super) fn now(&self, running: &Running, status: &Status) -> Outcome {
        let term = status.term.0;
        let store = running.store.read();
        match self {
            Self::Key(key) => {
                let key = Bytes::copy_from_slice(key.as_bytes());
                let request = RangeRequest { key, ..RangeRequest::default() };
                let answer = store.range(&request).expect("a range of one key");
                let row = answer.kvs.first();
                let value = row.map(|row| (lab_wire::text(&row.value), row.mod_revision));
                let revision = answer.header.unwrap_or_default().revision;
                Outcome::Ok(Answer { revision, term, value, number: answer.count })
            }
            Self::Txn(request) => {
                let answer = store.read_txn(request).expect("ranges of the present");
                Outcome::Txn(Box::new(TxnAnswer { term, ..lab_wire::transacted(answer) }))
            }
        }
    }
}

/// Seconds that a lease has left, or what stands for a lease that is gone.
fn left(told: LeaseAnswer, gone: i64, running: &Running, status: &Status) -> Outcome {
    let number = match told {
        LeaseAnswer::Known { ttl_seconds, .. } => ttl_seconds,
        LeaseAnswer::Unknown => gone,
    };
    let revision = running.store.read().revision().0;
    Outcome::Ok(Answer { revision, term: status.term.0, value: None, number })
}

fn answered(reply: Reply, status: &Status) -> Outcome {
    let term = status.term.0;
    let (header, number) = match reply {
        Reply::Kv(Ok(Response::Put(put))) => (put.header, 0),
        Reply::Kv(Ok(Response::DeleteRange(deleted))) => (deleted.header, deleted.deleted),
        Reply::Kv(Ok(Response::LeaseGrant(granted))) => (granted.header, granted.id),
        Reply::Kv(Ok(Response::LeaseRevoke(revoked))) => (revoked.header, 0),
        Reply::Kv(Ok(Response::Compact(compacted))) => (compacted.header, 0),
        Reply::Kv(Ok(Response::Txn(txn))) => {
            return Outcome::Txn(Box::new(TxnAnswer { term, ..lab_wire::transacted(txn) }));
        }
        Reply::Kv(Ok(
            other @ (Response::Published | Response::ChangeMembers | Response::Alarm(_)),
        )) => {
            return Outcome::Info { error: format!("answered with {other:?}") };
        }
        Reply::Kv(Err(refused)) => return Outcome::Fail { error: refused.to_string() },
        Reply::Members(_) => return Outcome::Info { error: "answered with members".into() },
    };
    let revision = header.unwrap_or_default().revision;
    Outcome::Ok(Answer { revision, term, value: None, number })
}
