//! What can be said of a request without looking at any state. The face calls these before it
//! proposes, and they go into nested transactions.
//!
//! Compare `etcd-io/etcd server/etcdserver/api/v3rpc/key.go`.

use std::collections::BTreeSet;

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    range_request::SortTarget, request_op::Request,
};

use super::command::Op;
use super::error::KvError;
use super::keys::KeyRange;

/// The longest time to live a lease may have; beyond it arithmetic with nanoseconds overflows.
pub const MAX_LEASE_TTL_SECONDS: i64 = 9_000_000_000;

/// Checks any operation that is proposed. `max_txn_ops` is `--max-txn-ops`.
pub fn check_op(op: &Op, max_txn_ops: usize) -> Result<(), KvError> {
    match op {
        Op::Put(request) => check_put(request),
        Op::DeleteRange(request) => check_delete_range(request),
        Op::Txn(request) => check_txn(request, max_txn_ops),
        Op::LeaseGrant { ttl_seconds, .. } => check_lease_ttl(*ttl_seconds),
        Op::Compact(_)
        | Op::LeaseRevoke { .. }
        | Op::Publish { .. }
        | Op::ChangeMembers(_)
        | Op::Alarm(_) => Ok(()),
    }
}

/// Checks a range request.
pub fn check_range(request: &RangeRequest) -> Result<(), KvError> {
    check_key(&request.key)?;
    // As in 3.6. A member of 3.5 ends when it is asked to sort by what it does not know.
    let target = SortTarget::try_from(request.sort_target);
    target.map(|_| ()).map_err(|_| KvError::SortUnknown)
}

/// Checks a put request.
pub fn check_put(request: &PutRequest) -> Result<(), KvError> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(KvError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(KvError::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete request.
pub fn check_delete_range(request: &DeleteRangeRequest) -> Result<(), KvError> {
    check_key(&request.key)
}

/// Checks the wanted time to live of a lease.
pub fn check_lease_ttl(ttl_seconds: i64) -> Result<(), KvError> {
    if ttl_seconds > MAX_LEASE_TTL_SECONDS {
        return Err(KvError::LeaseTtlTooLarge);
    }
    Ok(())
}

/// Checks a transaction, its nested ones included: keys, number of operations, and that no key is
/// written twice.
pub fn check_txn(request: &TxnRequest, max_txn_ops: usize) -> Result<(), KvError> {
    check_txn_ops(request, max_txn_ops)?;
    branch_writes(&request.success)?;
    branch_writes(&request.failure)?;
    Ok(())
}

/// Whether an operation may make the state grow: what is refused while a member is out of space.
pub fn op_grows(op: &Op) -> bool {
    op_cost(op) > 0
}

/// What a put costs besides its key and value, and what a lease costs, against the quota (etcd's).
const PUT_COST: usize = 256;
const LEASE_COST: usize = 64;

/// By how many bytes an operation may make the state grow, as etcd reckons; 0 if it cannot.
pub fn op_cost(op: &Op) -> u64 {
    fn of_put(put: &PutRequest) -> usize {
        PUT_COST + put.key.len() + put.value.len()
    }
    fn of_branch(ops: &[RequestOp]) -> usize {
        let costs = ops.iter().map(|op| match &op.request {
            Some(Request::RequestPut(put)) => of_put(put),
            Some(Request::RequestTxn(nested)) => of_txn(nested),
            Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
        });
        costs.sum()
    }
    fn of_txn(request: &TxnRequest) -> usize {
        of_branch(&request.success).max(of_branch(&request.failure))
    }
    let bytes = match op {
        Op::Put(request) => of_put(request),
        Op::Txn(request) => of_txn(request),
        Op::LeaseGrant { .. } => LEASE_COST,
        Op::DeleteRange(_)
        | Op::Compact(_)
        | Op::LeaseRevoke { .. }
        | Op::Publish { .. }
        | Op::ChangeMembers(_)
        | Op::Alarm(_) => 0,
    };
    bytes as u64
}

/// Whether a transaction can write, whichever branch it takes. One that cannot is a read.
pub fn txn_writes(request: &TxnRequest) -> bool {
    request.success.iter().chain(&request.failure).any(|op| match &op.request {
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => true,
        Some(Request::RequestTxn(nested)) => txn_writes(nested),
        Some(Request::RequestRange(_)) | None => false,
    })
}

/// Whether every range of a transaction that only reads is serializable, so that it may be
/// answered from this member's own store.
pub fn txn_is_serializable(request: &TxnRequest) -> bool {
    request.success.iter().chain(&request.failure).all(|op| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        Some(Request::RequestTxn(nested)) => txn_is_serializable(nested),
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) | None => false,
    })
}

fn check_key(key: &Bytes) -> Result<(), KvError> {
    if key.is_empty() { Err(KvError::KeyNotProvided) } else { Ok(()) }
}

fn check_txn_ops(request: &TxnRequest, max_txn_ops: usize) -> Result<(), KvError> {
    let TxnRequest { compare, success, failure } = request;
    let ops = compare.len().max(success.len()).max(failure.len());
    let left = max_txn_ops.checked_sub(ops).ok_or(KvError::TooManyOps)?;
    compare.iter().try_for_each(|Compare { key, .. }| check_key(key))?;
    success.iter().chain(failure).try_for_each(|RequestOp { request }| match request {
        Some(Request::RequestRange(request)) => check_range(request),
        Some(Request::RequestPut(request)) => check_put(request),
        Some(Request::RequestDeleteRange(request)) => check_delete_range(request),
        Some(Request::RequestTxn(request)) => check_txn_ops(request, left),
        None => Err(KvError::KeyNotFound),
    })
}

/// What one branch of a transaction may write.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Bytes>,
    deletes: Vec<KeyRange>,
}

impl Writes {
    fn put(&mut self, key: &Bytes) -> Result<(), KvError> {
        if self.deletes.iter().any(|range| range.contains(key)) || !self.puts.insert(key.clone()) {
            return Err(KvError::DuplicateKey);
        }
        Ok(())
    }

    /// Notes a deletion, unless it has no end: etcd does not count a deletion of all keys from one
    /// on, and clients clear a store and fill it again in one transaction.
    fn delete(&mut self, delete: &DeleteRangeRequest) {
        match KeyRange::new(&delete.key, &delete.range_end) {
            KeyRange::From(_) => {}
            range => self.deletes.push(range),
        }
    }
}

/// Collects what the operations of one branch write, deepest first. The two branches of a nested
/// transaction may share keys, because only one of them is taken. Deletions of this level count
/// before all else, those of a nested transaction only for what stands after it, as in etcd.
fn branch_writes(ops: &[RequestOp]) -> Result<Writes, KvError> {
    let mut all = Writes::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            all.delete(delete);
        }
    }
    for op in ops {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            let then = branch_writes(&nested.success)?;
            let otherwise = branch_writes(&nested.failure)?;
            for key in then.puts.union(&otherwise.puts) {
                all.put(key)?;
            }
            all.deletes.extend(then.deletes);
            all.deletes.extend(otherwise.deletes);
        }
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            all.put(&put.key)?;
        }
    }
    Ok(all)
}
