//! Puts, deletions and transactions.

use std::cmp::Ordering;

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
    RequestOp, ResponseOp, TxnRequest, TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response as OpResponse,
};
use etcd_api::mvccpb::{Event, KeyValue, event::EventType};

use super::change::{Change, Table};
use super::error::{KvError, ReadError, RowsError};
use super::index::Version;
use super::keys::KeyRange;
use super::row::{self, RowKind};
use super::store::{Store, Writing, header};

/// Which way a transaction and the nested ones it reaches go. All is decided before any write, so
/// a nested comparison never sees what its own transaction wrote.
struct Path {
    succeeded: bool,
    /// One for each nested transaction of the branch taken, in order.
    nested: Vec<Path>,
}

impl Path {
    fn branch<'a>(&self, request: &'a TxnRequest) -> &'a [RequestOp] {
        if self.succeeded { &request.success } else { &request.failure }
    }
}

impl Store {
    /// What must hold of the state before a put. Where both are missing, a put on its own tells
    /// of the lease first, one in a transaction of the key, as in etcd.
    pub(super) fn check_put(&self, request: &PutRequest) -> Result<(), KvError> {
        self.check_put_lease(request).and_then(|()| self.check_put_key(request))
    }

    fn check_put_lease(&self, request: &PutRequest) -> Result<(), KvError> {
        if request.lease != 0 && self.lease(request.lease).is_none() {
            return Err(KvError::LeaseNotFound);
        }
        Ok(())
    }

    fn check_put_key(&self, request: &PutRequest) -> Result<(), KvError> {
        let needs_key = request.ignore_value || request.ignore_lease;
        if needs_key && self.index.get(&request.key, i64::MAX).is_none() {
            return Err(KvError::KeyNotFound);
        }
        Ok(())
    }

    pub(super) fn put(
        &mut self,
        writing: &mut Writing,
        request: &PutRequest,
    ) -> Result<PutResponse, RowsError> {
        let PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease } = request;
        let before = match self.index.get(key, i64::MAX) {
            Some(version) if *prev_kv || *ignore_value => Some(self.rows.get(version.row)?.1),
            _ => None,
        };
        let value = match &before {
            Some(before) if *ignore_value => before.value.clone(),
            _ => value.clone(),
        };
        let lease = if *ignore_lease { self.index.lease(key) } else { *lease };
        self.put_key(writing, key, value, lease);
        let prev_kv = before.filter(|_| *prev_kv);
        Ok(PutResponse { header: header(writing.revision), prev_kv })
    }

    fn put_key(&mut self, writing: &mut Writing, key: &Bytes, value: Bytes, lease: i64) {
        let row = writing.next_row();
        let (Version { created, version, .. }, lease_before) = self.index.put(key, row, lease);
        self.leases.reattach(key, lease_before, lease);
        let kv = KeyValue {
            key: key.clone(),
            create_revision: created,
            mod_revision: row.main,
            version,
            value,
            lease,
        };
        self.write_row(writing, RowKind::Put, kv);
    }

    /// Deletes a key that exists.
    pub(super) fn delete_key(&mut self, writing: &mut Writing, key: Bytes) {
        let lease = self.index.tombstone(&key, writing.next_row());
        self.leases.reattach(&key, lease, 0);
        let kv = KeyValue { key, ..KeyValue::default() };
        self.write_row(writing, RowKind::Tombstone, kv);
    }

    /// Writes the next row of a write down, and makes the event that tells of it.
    fn write_row(&mut self, writing: &mut Writing, kind: RowKind, mut kv: KeyValue) {
        let name = writing.next_row();
        let (key, row) = row::encode(name, kind, &kv);
        let r#type = match kind {
            RowKind::Put => EventType::Put,
            RowKind::Tombstone => EventType::Delete,
        };
        // The event shares the row's bytes, not the request's: a small value would otherwise keep
        // a large message alive.
        if let Ok((_, stored)) = row::decode_row(&row) {
            kv = stored;
        }
        kv.mod_revision = name.main;
        self.rows.insert(name, row.clone());
        self.record(Change::set(Table::Rows, key, row));
        writing.events.push(Event { r#type: r#type.into(), kv: Some(kv), prev_kv: None });
    }

    pub(super) fn delete_range(
        &mut self,
        writing: &mut Writing,
        request: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, RowsError> {
        let range = KeyRange::new(&request.key, &request.range_end);
        let doomed: Vec<(Bytes, Version)> = self
            .index
            .range(&range, i64::MAX)
            .map(|(key, version)| (key.clone(), version))
            .collect();
        let deleted = i64::try_from(doomed.len()).expect("a vector's length fits");
        let mut prev_kvs = Vec::new();
        for (key, version) in doomed {
            if request.prev_kv {
                prev_kvs.push(self.rows.get(version.row)?.1);
            }
            self.delete_key(writing, key);
        }
        Ok(DeleteRangeResponse { header: header(writing.visible()), deleted, prev_kvs })
    }

    pub(super) fn txn(
        &mut self,
        writing: &mut Writing,
        request: &TxnRequest,
    ) -> Result<Result<TxnResponse, KvError>, RowsError> {
        let path = self.path(request)?;
        if let Err(refused) = self.check_path(request, &path) {
            return Ok(Err(refused));
        }
        let mut response = self.run(writing, request, &path)?;
        response.header = header(writing.visible());
        Ok(Ok(response))
    }

    /// A transaction that only reads (see [`txn_writes`](super::txn_writes)), at the current
    /// revision. Panics at an operation that writes: that one belongs into the log.
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
        let path = self.path(request)?;
        self.check_path(request, &path)?;
        let mut response = self.run_reads(request, &path)?;
        response.header = header(self.revision);
        Ok(response)
    }

    fn path(&self, request: &TxnRequest) -> Result<Path, RowsError> {
        let mut succeeded = true;
        for compare in &request.compare {
            succeeded = succeeded && self.holds(compare)?;
        }
        let mut path = Path { succeeded, nested: Vec::new() };
        for op in path.branch(request) {
            if let Some(Request::RequestTxn(nested)) = &op.request {
                path.nested.push(self.path(nested)?);
            }
        }
        Ok(path)
    }

    /// Refuses a transaction before it writes anything: first for its puts, then for its ranges.
    fn check_path(&self, request: &TxnRequest, path: &Path) -> Result<(), KvError> {
        self.check_ops(request, path, &|store, op| match op {
            Request::RequestPut(put) => {
                store.check_put_key(put).and_then(|()| store.check_put_lease(put))
            }
            _ => Ok(()),
        })?;
        self.check_ops(request, path, &|store, op| match op {
            Request::RequestRange(range) => store.check_revision_in_txn(range),
            _ => Ok(()),
        })
    }

    fn check_ops(
        &self,
        request: &TxnRequest,
        path: &Path,
        check: &dyn Fn(&Self, &Request) -> Result<(), KvError>,
    ) -> Result<(), KvError> {
        let mut nested_paths = path.nested.iter();
        for op in path.branch(request).iter().filter_map(|op| op.request.as_ref()) {
            if let Request::RequestTxn(nested) = op {
                let path = nested_paths.next().expect("a path for each nested transaction");
                self.check_ops(nested, path, check)?;
            } else {
                check(self, op)?;
            }
        }
        Ok(())
    }

    /// As etcd: inside a transaction a negative revision is compared like any other, and only 0
    /// means the current one.
    fn check_revision_in_txn(&self, range: &RangeRequest) -> Result<(), KvError> {
        match range.revision {
            0 => Ok(()),
            revision if revision > self.revision => Err(KvError::FutureRevision),
            revision if revision < self.compacted => Err(KvError::Compacted),
            _ => Ok(()),
        }
    }

    fn run(
        &mut self,
        writing: &mut Writing,
        request: &TxnRequest,
        path: &Path,
    ) -> Result<TxnResponse, RowsError> {
        let mut nested_paths = path.nested.iter();
        let mut responses = Vec::new();
        for op in path.branch(request) {
            let response = match &op.request {
                Some(Request::RequestRange(range)) => {
                    Some(OpResponse::ResponseRange(self.range_within(range, writing.visible())?))
                }
                Some(Request::RequestPut(put)) => {
                    Some(OpResponse::ResponsePut(self.put(writing, put)?))
                }
                Some(Request::RequestDeleteRange(delete)) => {
                    Some(OpResponse::ResponseDeleteRange(self.delete_range(writing, delete)?))
                }
                Some(Request::RequestTxn(nested)) => {
                    let path = nested_paths.next().expect("a path for each nested transaction");
                    Some(OpResponse::ResponseTxn(self.run(writing, nested, path)?))
                }
                None => None,
            };
            responses.push(ResponseOp { response });
        }
        Ok(TxnResponse { header: header(0), succeeded: path.succeeded, responses })
    }

    fn run_reads(&self, request: &TxnRequest, path: &Path) -> Result<TxnResponse, RowsError> {
        let mut nested_paths = path.nested.iter();
        let mut responses = Vec::new();
        for op in path.branch(request) {
            let response = match &op.request {
                Some(Request::RequestRange(range)) => {
                    Some(OpResponse::ResponseRange(self.range_within(range, self.revision)?))
                }
                Some(Request::RequestTxn(nested)) => {
                    let path = nested_paths.next().expect("a path for each nested transaction");
                    Some(OpResponse::ResponseTxn(self.run_reads(nested, path)?))
                }
                Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => {
                    panic!("a transaction that writes goes through the log")
                }
                None => None,
            };
            responses.push(ResponseOp { response });
        }
        Ok(TxnResponse { header: header(0), succeeded: path.succeeded, responses })
    }

    /// Whether a comparison holds of every key in its range. An empty range counts as one missing
    /// key, of which all is 0 and no comparison of the value holds.
    fn holds(&self, compare: &Compare) -> Result<bool, RowsError> {
        let range = KeyRange::new(&compare.key, &compare.range_end);
        let mut empty = true;
        for (key, version) in self.index.range(&range, i64::MAX) {
            empty = false;
            let order = match (target(compare), &compare.target_union) {
                (Some(CompareTarget::Version), union) => version.version.cmp(&match union {
                    Some(TargetUnion::Version(operand)) => *operand,
                    _ => 0,
                }),
                (Some(CompareTarget::Create), union) => version.created.cmp(&match union {
                    Some(TargetUnion::CreateRevision(operand)) => *operand,
                    _ => 0,
                }),
                (Some(CompareTarget::Mod), union) => version.row.main.cmp(&match union {
                    Some(TargetUnion::ModRevision(operand)) => *operand,
                    _ => 0,
                }),
                (Some(CompareTarget::Lease), union) => self.index.lease(key).cmp(&match union {
                    Some(TargetUnion::Lease(operand)) => *operand,
                    _ => 0,
                }),
                (Some(CompareTarget::Value), union) => {
                    let (_, kv) = self.rows.get(version.row)?;
                    kv.value.as_ref().cmp(match union {
                        Some(TargetUnion::Value(operand)) => operand,
                        _ => b"",
                    })
                }
                (None, _) => Ordering::Equal,
            };
            if !satisfies(order, compare) {
                return Ok(false);
            }
        }
        Ok(!empty || missing_holds(compare))
    }
}

fn target(compare: &Compare) -> Option<CompareTarget> {
    CompareTarget::try_from(compare.target).ok()
}

fn missing_holds(compare: &Compare) -> bool {
    let operand = match (target(compare), &compare.target_union) {
        (Some(CompareTarget::Value), _) => return false,
        (Some(CompareTarget::Version), Some(TargetUnion::Version(operand)))
        | (Some(CompareTarget::Create), Some(TargetUnion::CreateRevision(operand)))
        | (Some(CompareTarget::Mod), Some(TargetUnion::ModRevision(operand)))
        | (Some(CompareTarget::Lease), Some(TargetUnion::Lease(operand))) => *operand,
        _ => 0,
    };
    satisfies(0.cmp(&operand), compare)
}

/// Whether an order is the one asked for; an unknown one always is, as in etcd.
fn satisfies(order: Ordering, compare: &Compare) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Err(_) => true,
    }
}
