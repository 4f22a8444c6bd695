//! Tests of the store as a whole: rules by table, and all of it against a naive model.

mod alarms;
mod checks;
mod model;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};

use super::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

fn delete(key: &str, range_end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: bytes(key), range_end: bytes(range_end), prev_kv: true }
}

fn range(key: &str, range_end: &str) -> RangeRequest {
    RangeRequest { key: bytes(key), range_end: bytes(range_end), ..Default::default() }
}

fn everything() -> RangeRequest {
    range("\0", "\0")
}

fn compact(revision: i64) -> Op {
    Op::Compact(CompactionRequest { revision, physical: false })
}

trait IntoOp {
    fn op(self) -> RequestOp;
}

impl IntoOp for PutRequest {
    fn op(self) -> RequestOp {
        RequestOp { request: Some(Request::RequestPut(self)) }
    }
}

impl IntoOp for DeleteRangeRequest {
    fn op(self) -> RequestOp {
        RequestOp { request: Some(Request::RequestDeleteRange(self)) }
    }
}

impl IntoOp for RangeRequest {
    fn op(self) -> RequestOp {
        RequestOp { request: Some(Request::RequestRange(self)) }
    }
}

impl IntoOp for TxnRequest {
    fn op(self) -> RequestOp {
        RequestOp { request: Some(Request::RequestTxn(self)) }
    }
}

/// A transaction without comparisons.
fn all_of(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success, ..Default::default() }
}

fn compare(key: &str, target: CompareTarget, result: CompareResult, operand: i64) -> Compare {
    let union = match target {
        CompareTarget::Version => TargetUnion::Version(operand),
        CompareTarget::Create => TargetUnion::CreateRevision(operand),
        CompareTarget::Mod => TargetUnion::ModRevision(operand),
        CompareTarget::Lease => TargetUnion::Lease(operand),
        CompareTarget::Value => TargetUnion::Value(bytes(&operand.to_string())),
    };
    Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(key),
        range_end: Bytes::new(),
        target_union: Some(union),
    }
}

/// What a flush thread would have on disk.
#[derive(Default)]
struct Disk {
    tables: BTreeMap<(Table, Bytes), Bytes>,
    rows: Arc<MemoryRows>,
}

impl Disk {
    /// Makes everything durable and drops every row from RAM.
    fn flush(&mut self, store: &mut Store) {
        let up_to = store.last_row();
        let changes = store.take_changes();
        self.rows.flush(&changes);
        for Change { table, key, value } in changes {
            match value {
                Some(value) => self.tables.insert((table, key), value),
                None => self.tables.remove(&(table, key)),
            };
        }
        store.rows.flushed(up_to, 0);
    }

    fn load(&self) -> Store {
        let mut loader = Loader::new(Arc::clone(&self.rows) as Arc<dyn Rows>);
        for ((table, key), value) in &self.tables {
            loader.push(*table, key, value).expect("what was flushed is readable");
        }
        loader.finish()
    }
}

fn new_store() -> (Store, Disk) {
    let disk = Disk::default();
    (Store::new(Arc::clone(&disk.rows) as Arc<dyn Rows>), disk)
}

fn apply(store: &mut Store, op: impl Into<Op>) -> Applied {
    store.apply(&op.into()).expect("the rows are in RAM")
}

/// Applies what must succeed.
fn done(store: &mut Store, op: Op) -> Response {
    apply(store, op).result.expect("the operation is fine")
}

fn keys_of(kvs: &[etcd_api::mvccpb::KeyValue]) -> Vec<String> {
    kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}
