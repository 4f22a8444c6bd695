//! The store against a naive model: the whole history as a list, read by looking through it.

use etcd_api::etcdserverpb::AlarmRequest;
use etcd_api::mvccpb::{KeyValue, event::EventType};
use node_protocol::Revision;
use proptest::prelude::*;

use super::*;

/// One write of one key.
#[derive(Clone, Debug)]
struct Write {
    revision: i64,
    key: Bytes,
    /// `None` for a deletion.
    value: Option<(Bytes, i64)>,
}

/// Everything that ever happened.
#[derive(Default)]
struct Model {
    writes: Vec<Write>,
    leases: Vec<i64>,
    revision: i64,
    compacted: i64,
}

impl Model {
    fn get(&self, key: &[u8], at: i64) -> Option<KeyValue> {
        let mut found: Option<KeyValue> = None;
        for write in self.writes.iter().filter(|write| write.key == key && write.revision <= at) {
            found = write.value.as_ref().map(|(value, lease)| KeyValue {
                key: write.key.clone(),
                create_revision: found.as_ref().map_or(write.revision, |kv| kv.create_revision),
                mod_revision: write.revision,
                version: found.as_ref().map_or(1, |kv| kv.version + 1),
                value: value.clone(),
                lease: *lease,
            });
        }
        found
    }

    fn range(&self, range: &KeyRange, at: i64) -> Vec<KeyValue> {
        let mut keys: Vec<&Bytes> = self.writes.iter().map(|write| &write.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().filter(|k| range.contains(k)).filter_map(|k| self.get(k, at)).collect()
    }

    fn write(&mut self, revision: i64, key: &Bytes, value: Option<(Bytes, i64)>) {
        self.writes.push(Write { revision, key: key.clone(), value });
    }

    fn delete(&mut self, revision: i64, range: &KeyRange) -> usize {
        let doomed = self.range(range, i64::MAX);
        for kv in &doomed {
            self.write(revision, &kv.key, None);
        }
        doomed.len()
    }

    /// Does what the operation says; returns whether it has a revision.
    fn apply(&mut self, op: &Op) {
        let next = self.revision + 1;
        let before = self.writes.len();
        match op {
            Op::Put(put) if put.lease == 0 || self.leases.contains(&put.lease) => {
                self.write(next, &put.key, Some((put.value.clone(), put.lease)));
            }
            Op::DeleteRange(delete) => {
                self.delete(next, &KeyRange::new(&delete.key, &delete.range_end));
            }
            Op::Txn(txn) => {
                let holds = txn.compare.iter().all(|compare| {
                    let version = self.get(&compare.key, i64::MAX).map_or(0, |kv| kv.version);
                    Some(TargetUnion::Version(version)) == compare.target_union
                });
                let ops = if holds { &txn.success } else { &txn.failure };
                for op in ops {
                    match &op.request {
                        Some(Request::RequestPut(put)) => {
                            self.write(next, &put.key, Some((put.value.clone(), 0)));
                        }
                        Some(Request::RequestDeleteRange(delete)) => {
                            self.delete(next, &KeyRange::new(&delete.key, &delete.range_end));
                        }
                        _ => {}
                    }
                }
            }
            Op::Compact(request)
                if request.revision > self.compacted && request.revision <= self.revision =>
            {
                self.compacted = request.revision;
            }
            Op::LeaseGrant { id, .. } if !self.leases.contains(id) => self.leases.push(*id),
            Op::LeaseRevoke { id } if self.leases.contains(id) => {
                self.leases.retain(|lease| lease != id);
                let all = KeyRange::From(bytes("\0"));
                for kv in self.range(&all, i64::MAX).iter().filter(|kv| kv.lease == *id) {
                    self.write(next, &kv.key, None);
                }
            }
            _ => {}
        }
        if self.writes.len() > before {
            self.revision = next;
        }
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    Apply(Op),
    /// Compact so many revisions before the current one.
    CompactBehind(i64),
    /// Drop what compaction made unreachable, of so many keys.
    CompactSome(usize),
    Flush,
    /// Lose the RAM and replay what was not flushed.
    Crash,
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ba", "bb", "c", "d"]).prop_map(str::to_owned)
}

fn end() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "b", "bb", "c", "\0", "a"]).prop_map(str::to_owned)
}

fn a_put() -> impl Strategy<Value = PutRequest> {
    (key(), 0..100_u8).prop_map(|(key, value)| put(&key, &value.to_string()))
}

fn a_delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), end()).prop_map(|(key, end)| delete(&key, &end))
}

fn branch() -> impl Strategy<Value = Vec<RequestOp>> {
    let op = prop_oneof![
        3 => a_put().prop_map(IntoOp::op),
        1 => a_delete().prop_map(IntoOp::op),
        1 => (key(), end()).prop_map(|(key, end)| range(&key, &end).op()),
    ];
    prop::collection::vec(op, 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let txn = (key(), 0..3_i64, branch(), branch()).prop_map(|(key, version, success, failure)| {
        let compare = compare(&key, CompareTarget::Version, CompareResult::Equal, version);
        Op::Txn(TxnRequest { compare: vec![compare], success, failure })
    });
    let leased = (a_put(), 1..4_i64).prop_map(|(put, lease)| PutRequest { lease, ..put });
    prop_oneof![
        8 => a_put().prop_map(|put| Step::Apply(Op::Put(put))),
        2 => leased.prop_map(|put| Step::Apply(Op::Put(put))),
        3 => a_delete().prop_map(|delete| Step::Apply(Op::DeleteRange(delete))),
        4 => txn.prop_map(Step::Apply),
        1 => (1..4_i64).prop_map(|id| Step::Apply(Op::LeaseGrant { id, ttl_seconds: 9 })),
        1 => (1..4_i64).prop_map(|id| Step::Apply(Op::LeaseRevoke { id })),
        1 => (0..3_i32, 0..3_i32).prop_map(|(action, alarm)| {
            Step::Apply(Op::Alarm(AlarmRequest { action, member_id: 7, alarm }))
        }),
        1 => (0..5_i64).prop_map(Step::CompactBehind),
        2 => (1..4_usize).prop_map(Step::CompactSome),
        2 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ]
}

/// The store answers every range at every readable revision as the model does, and tells every
/// event that is not compacted.
fn agree(store: &Store, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(store.revision().0, model.revision);
    prop_assert_eq!(store.compact_revision().0, model.compacted);
    for (key, end) in [("\0", "\0"), ("b", ""), ("b", "c"), ("bb", "\0"), ("c", "a")] {
        for revision in model.compacted.max(1)..=model.revision {
            let got = store.range(&RangeRequest { revision, ..range(key, end) });
            let got = got.map_err(|error| TestCaseError::fail(error.to_string()))?;
            let want = model.range(&KeyRange::new(&bytes(key), &bytes(end)), revision);
            prop_assert_eq!(got.kvs, want, "{} to {} at {}", key, end, revision);
        }
    }
    for (key, end) in [("\0", "\0"), ("b", ""), ("b", "c")] {
        let range = KeyRange::new(&bytes(key), &bytes(end));
        let interest = Interest { range: range.clone(), puts: true, deletes: true, prev_kv: true };
        let from = model.compacted.max(0) + 1;
        let mut next = Revision(from);
        let mut got = Vec::new();
        while next <= store.revision() {
            let limits = PullLimits { revisions: 3, bytes: 500 };
            let pulled = store.events_since(&interest, next, limits);
            let pulled = pulled.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(pulled.next > next, "a pull gets somewhere");
            next = pulled.next;
            got.extend(pulled.events.into_iter().map(|event| {
                let kind = event.r#type();
                let kv = event.kv.expect("an event has a key");
                (kv.mod_revision, kind, kv.key, kv.value, event.prev_kv)
            }));
        }
        let all = model.writes.iter().filter(|write| write.revision >= from);
        let want: Vec<_> = all
            .filter(|write| range.contains(&write.key))
            .map(|write| {
                let kind = if write.value.is_some() { EventType::Put } else { EventType::Delete };
                let value = write.value.clone().map_or(Bytes::new(), |(value, _)| value);
                let before = write.revision - 1;
                let previous = model.get(&write.key, before).filter(|_| before >= model.compacted);
                (write.revision, kind, write.key.clone(), value, previous)
            })
            .collect();
        prop_assert_eq!(got, want);
    }
    Ok(())
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut store, mut disk) = new_store();
    let mut model = Model { revision: 1, compacted: -1, ..Model::default() };
    let mut unflushed = Vec::new();
    // A second store that is never flushed, compacted or crashed: its answers are the same.
    let mut calm = Store::default();
    for step in steps {
        match step {
            Step::Apply(_) | Step::CompactBehind(_) => {
                let op = match step {
                    Step::Apply(op) => op,
                    _ => compact(store.revision().0 - step_behind(&step)),
                };
                let applied = apply(&mut store, op.clone());
                prop_assert_eq!(&applied, &apply(&mut calm, op.clone()));
                if applied.result.is_ok() {
                    model.apply(&op);
                }
                unflushed.push(op);
            }
            Step::CompactSome(keys) => {
                store.compact_some(keys);
            }
            Step::Flush => {
                disk.flush(&mut store);
                unflushed.clear();
            }
            Step::Crash => {
                let hash = store.hash();
                store = disk.load();
                for op in &unflushed {
                    apply(&mut store, op.clone());
                }
                prop_assert_eq!(store.hash(), hash);
            }
        }
        prop_assert_eq!(store.hash(), calm.hash());
        prop_assert_eq!(store.leases(), calm.leases());
    }
    agree(&store, &model)?;
    let hashes = [&store, &calm].map(|store| store.hash_kv(Revision(0)).expect("readable"));
    prop_assert_eq!(hashes[0], hashes[1]);
    Ok(())
}

fn step_behind(step: &Step) -> i64 {
    match step {
        Step::CompactBehind(behind) => *behind,
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_the_model(steps in prop::collection::vec(step(), 1..60)) {
        run(steps)?;
    }
}
