//! Transactions.

use bytes::Bytes;
use etcd_api::etcdserverpb::compare::{
    CompareResult as WireResult, CompareTarget as WireTarget, TargetUnion,
};
use etcd_api::etcdserverpb::request_op::Request;
use etcd_api::etcdserverpb::response_op::Response;
use etcd_api::etcdserverpb::{
    Compare as WireCompare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    TxnResponse,
};
use lab_protocol::{Compare, CompareResult, CompareTarget, TxnAnswer, TxnOp, TxnResult};

use crate::rows::{range, row};

/// A transaction.
pub fn transaction(compare: &[Compare], then: &[TxnOp], otherwise: &[TxnOp]) -> TxnRequest {
    TxnRequest {
        compare: compare.iter().map(compared).collect(),
        success: then.iter().map(operation).collect(),
        failure: otherwise.iter().map(operation).collect(),
    }
}

/// What came of a transaction.
pub fn transacted(answer: TxnResponse) -> TxnAnswer {
    let header = answer.header.unwrap_or_default();
    let result = |response| match response {
        Response::ResponseRange(range) => {
            Some(TxnResult::Range(range.kvs.into_iter().map(row).collect()))
        }
        Response::ResponsePut(_) => Some(TxnResult::Put),
        Response::ResponseDeleteRange(deleted) => Some(TxnResult::Deleted(deleted.deleted)),
        // No transaction is asked inside another.
        Response::ResponseTxn(_) => None,
    };
    TxnAnswer {
        revision: header.revision,
        term: header.raft_term,
        succeeded: answer.succeeded,
        results: answer.responses.into_iter().filter_map(|op| result(op.response?)).collect(),
    }
}

fn compared(compare: &Compare) -> WireCompare {
    let result = match compare.result {
        CompareResult::Equal => WireResult::Equal,
        CompareResult::Greater => WireResult::Greater,
        CompareResult::Less => WireResult::Less,
        CompareResult::NotEqual => WireResult::NotEqual,
    };
    let (target, union) = match &compare.target {
        CompareTarget::Value(value) => {
            (WireTarget::Value, TargetUnion::Value(Bytes::from(value.clone())))
        }
        CompareTarget::Version(version) => (WireTarget::Version, TargetUnion::Version(*version)),
        CompareTarget::CreateRevision(revision) => {
            (WireTarget::Create, TargetUnion::CreateRevision(*revision))
        }
        CompareTarget::ModRevision(revision) => {
            (WireTarget::Mod, TargetUnion::ModRevision(*revision))
        }
    };
    WireCompare {
        result: result.into(),
        target: target.into(),
        key: Bytes::from(compare.key.clone()),
        range_end: Bytes::new(),
        target_union: Some(union),
    }
}

fn operation(op: &TxnOp) -> RequestOp {
    let request = match op {
        TxnOp::Range { keys } => {
            let (key, range_end) = range(keys);
            Request::RequestRange(RangeRequest { key, range_end, ..RangeRequest::default() })
        }
        TxnOp::Put { key, value, lease } => Request::RequestPut(PutRequest {
            key: Bytes::from(key.clone()),
            value: Bytes::from(value.clone()),
            lease: *lease,
            ..PutRequest::default()
        }),
        TxnOp::Delete { keys } => {
            let (key, range_end) = range(keys);
            Request::RequestDeleteRange(DeleteRangeRequest { key, range_end, prev_kv: false })
        }
    };
    RequestOp { request: Some(request) }
}
