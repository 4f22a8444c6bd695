//! etcd's rules of puts, deletions, transactions, ranges, compaction and leases, by table.

use etcd_api::etcdserverpb::response_op::Response as OpResponse;
use etcd_api::etcdserverpb::{RangeResponse, TxnResponse};
use etcd_api::mvccpb::event::EventType;

use super::*;

fn get(store: &Store, request: &RangeRequest) -> Result<RangeResponse, KvError> {
    match store.range(request) {
        Ok(response) => Ok(response),
        Err(ReadError::Refused(refused)) => Err(refused),
        Err(ReadError::Rows(failed)) => panic!("{failed}"),
    }
}

fn revision_of(header: Option<etcd_api::etcdserverpb::ResponseHeader>) -> i64 {
    header.expect("every answer has a header").revision
}

fn txn(store: &mut Store, request: TxnRequest) -> TxnResponse {
    match done(store, Op::Txn(request)) {
        Response::Txn(response) => response,
        other => panic!("not a transaction's answer: {other:?}"),
    }
}

/// The values below were read off etcd 3.4.23 after the same requests.
#[test]
fn hash_kv_is_etcds() {
    let (mut store, mut disk) = new_store();
    let hash = |store: &Store| store.hash_kv(node_protocol::Revision(0)).expect("readable").hash;
    assert_eq!(hash(&store), 1_084_519_789);
    done(&mut store, compact(0));
    done(&mut store, Op::Put(put("a", "1")));
    assert_eq!(hash(&store), 2_587_454_935);
    txn(&mut store, all_of(vec![put("a", "2").op(), all_of(vec![put("b", "3").op()]).op()]));
    assert_eq!(hash(&store), 1_600_554_488);
    txn(&mut store, all_of(vec![put("z", "v").op(), delete("y", "\0").op()]));
    txn(&mut store, all_of(vec![put("z", "v").op()]));
    txn(&mut store, all_of(vec![put("q", "v").op(), delete("q", "").op()]));
    done(&mut store, Op::LeaseGrant { id: 77, ttl_seconds: 100 });
    done(&mut store, Op::Put(PutRequest { lease: 77, ..put("l", "1") }));
    done(&mut store, Op::DeleteRange(delete("a", "")));
    assert_eq!(hash(&store), 833_158_048);
    disk.flush(&mut store);
    done(&mut store, Op::LeaseRevoke { id: 77 });
    assert_eq!(hash(&store), 3_234_276_560);
    done(&mut store, compact(7));
    assert_eq!(hash(&store), 769_060_326, "before the rows are dropped");
    while store.compact_some(1) {}
    assert_eq!(hash(&store), 769_060_326, "after");
    disk.flush(&mut store);
    assert_eq!(hash(&disk.load()), 769_060_326, "after a restart");
    let at = |revision| store.hash_kv(node_protocol::Revision(revision));
    assert!(matches!(at(6), Err(ReadError::Refused(KvError::Compacted))));
    assert!(matches!(at(10), Err(ReadError::Refused(KvError::FutureRevision))));
}

#[test]
fn revisions_versions_and_events() {
    let (mut store, _disk) = new_store();
    assert_eq!(store.revision().0, 1);
    let first = apply(&mut store, Op::Put(put("k", "1")));
    let revised = first.revised.expect("a put has a revision");
    assert_eq!((revised.revision.0, revised.events.len()), (2, 1));
    let again = apply(&mut store, Op::Put(PutRequest { prev_kv: true, ..put("k", "1") }));
    let Ok(Response::Put(answer)) = again.result else { panic!("a put's answer") };
    assert_eq!(revision_of(answer.header), 3, "an identical put counts");
    let before = answer.prev_kv.expect("there was one");
    assert_eq!((before.mod_revision, before.version), (2, 1));

    let nothing = apply(&mut store, Op::DeleteRange(delete("x", "z")));
    assert_eq!(nothing.revised, None, "a deletion of nothing has no revision");
    assert_eq!(store.revision().0, 3);
    let deleted = apply(&mut store, Op::DeleteRange(delete("a", "z")));
    let Ok(Response::DeleteRange(answer)) = deleted.result else { panic!("a deletion's answer") };
    assert_eq!((revision_of(answer.header), answer.deleted), (4, 1));
    assert_eq!(answer.prev_kvs[0].version, 2);
    let event = &deleted.revised.expect("a revision").events[0];
    let kv = event.kv.as_ref().expect("an event has a key");
    assert_eq!(event.r#type(), EventType::Delete);
    assert_eq!((kv.mod_revision, kv.create_revision, kv.value.len()), (4, 0, 0));

    done(&mut store, Op::Put(put("k", "2")));
    let kv = get(&store, &range("k", "")).expect("current").kvs.remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
}

#[test]
fn puts_that_keep_the_value_or_the_lease() {
    let (mut store, mut disk) = new_store();
    done(&mut store, Op::LeaseGrant { id: 5, ttl_seconds: 60 });
    let keep_value = PutRequest { ignore_value: true, ..put("k", "") };
    let keep_lease = PutRequest { ignore_lease: true, ..put("k", "new") };
    for request in [&keep_value, &keep_lease] {
        let refused = apply(&mut store, Op::Put(request.clone()));
        assert_eq!(refused.result, Err(KvError::KeyNotFound));
    }
    let unknown = PutRequest { lease: 99, ..put("k", "v") };
    assert_eq!(apply(&mut store, Op::Put(unknown.clone())).result, Err(KvError::LeaseNotFound));
    let both = PutRequest { ignore_value: true, lease: 99, ..put("k", "") };
    assert_eq!(apply(&mut store, Op::Put(both.clone())).result, Err(KvError::LeaseNotFound));
    let both = apply(&mut store, Op::Txn(all_of(vec![both.op()])));
    assert_eq!(both.result, Err(KvError::KeyNotFound));
    assert_eq!(store.revision().0, 1, "what is refused has no effect");

    done(&mut store, Op::Put(PutRequest { lease: 5, ..put("k", "v") }));
    disk.flush(&mut store);
    done(&mut store, Op::Put(keep_lease));
    done(&mut store, Op::Put(PutRequest { lease: 5, ..keep_value }));
    let kv = get(&store, &range("k", "")).expect("current").kvs.remove(0);
    assert_eq!((kv.value, kv.lease, kv.version), (bytes("new"), 5, 3));
    done(&mut store, Op::Put(put("k", "v")));
    assert!(store.lease(5).expect("still there").keys.is_empty(), "a plain put detaches");
}

#[test]
fn leases() {
    let (mut store, mut disk) = new_store();
    for (id, ttl_seconds, want) in [
        (5, 60, Ok(())),
        (5, 60, Err(KvError::LeaseExists)),
        (-7, 60, Ok(())),
        (0, 60, Err(KvError::LeaseNotFound)),
        (6, MAX_LEASE_TTL_SECONDS + 1, Err(KvError::LeaseTtlTooLarge)),
    ] {
        let applied = apply(&mut store, Op::LeaseGrant { id, ttl_seconds });
        assert_eq!(applied.result.map(|_| ()), want, "lease {id}");
        assert_eq!(applied.lease.is_some(), want.is_ok());
    }
    assert_eq!(store.revision().0, 1, "a grant has no revision");
    for key in ["c", "a", "b"] {
        done(&mut store, Op::Put(PutRequest { lease: 5, ..put(key, "v") }));
    }
    done(&mut store, Op::Put(PutRequest { lease: -7, ..put("b", "v") }));
    done(&mut store, Op::DeleteRange(delete("c", "")));
    done(&mut store, Op::Put(PutRequest { lease: 5, ..put("0", "v") }));
    disk.flush(&mut store);
    let mut loaded = disk.load();
    assert_eq!(loaded.leases(), store.leases());

    for store in [&mut store, &mut loaded] {
        let revoked = apply(store, Op::LeaseRevoke { id: 5 });
        let events = &revoked.revised.expect("keys were deleted").events;
        let keys: Vec<_> = events.iter().filter_map(|e| Some(e.kv.as_ref()?.key.clone())).collect();
        assert_eq!(keys, [bytes("0"), bytes("a")], "in the order of keys, one revision");
        let gone = apply(store, Op::LeaseRevoke { id: 5 });
        assert_eq!((gone.result, gone.revised), (Err(KvError::LeaseNotFound), None));
        assert_eq!(store.lease_count(), 1);
        assert_eq!(keys_of(&get(store, &everything()).expect("current").kvs), ["b"]);
    }
    let empty = apply(&mut store, Op::LeaseGrant { id: 8, ttl_seconds: 9 });
    assert!(empty.result.is_ok());
    assert_eq!(apply(&mut store, Op::LeaseRevoke { id: 8 }).revised, None);
}

#[test]
fn ranges() {
    let (mut store, mut disk) = new_store();
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("c", "2"), ("d", "0")] {
        done(&mut store, Op::Put(put(key, value)));
    }
    done(&mut store, Op::DeleteRange(delete("d", "")));
    disk.flush(&mut store);
    // a@2 b@3 c@4,5 d@6 d deleted@7
    let sorted = |target: i32, order: i32| RangeRequest {
        sort_target: target,
        sort_order: order,
        ..everything()
    };
    let rows: Vec<(RangeRequest, &[&str], i64, bool)> = vec![
        (range("a", ""), &["a"], 1, false),
        (range("x", ""), &[], 0, false),
        (range("b", "\0"), &["b", "c"], 2, false),
        (range("a", "c"), &["a", "b"], 2, false),
        (range("c", "a"), &[], 0, false),
        (RangeRequest { revision: 6, ..everything() }, &["a", "b", "c", "d"], 4, false),
        (RangeRequest { revision: 1, ..everything() }, &[], 0, false),
        (RangeRequest { revision: -3, ..everything() }, &["a", "b", "c"], 3, false),
        (RangeRequest { limit: 2, ..everything() }, &["a", "b"], 3, true),
        (RangeRequest { limit: 3, ..everything() }, &["a", "b", "c"], 3, false),
        (RangeRequest { count_only: true, limit: 1, ..everything() }, &[], 3, false),
        (RangeRequest { min_mod_revision: 3, ..everything() }, &["b", "c"], 3, false),
        (RangeRequest { max_mod_revision: 4, ..everything() }, &["a", "b"], 3, false),
        (RangeRequest { min_create_revision: 4, ..everything() }, &["c"], 3, false),
        (RangeRequest { max_create_revision: 3, limit: 1, ..everything() }, &["a"], 3, true),
        (RangeRequest { min_mod_revision: 3, limit: 1, ..everything() }, &["b"], 3, true),
        (sorted(0, 2), &["c", "b", "a"], 3, false),
        (sorted(4, 1), &["b", "c", "a"], 3, false),
        (sorted(4, 0), &["b", "c", "a"], 3, false),
        (RangeRequest { limit: 1, ..sorted(4, 1) }, &["b"], 3, true),
        (RangeRequest { limit: 1, ..sorted(0, 2) }, &["c"], 3, true),
        (sorted(3, 2), &["c", "b", "a"], 3, false),
        (sorted(2, 2), &["c", "b", "a"], 3, false),
        (sorted(1, 2), &["c", "a", "b"], 3, false),
        (sorted(9, 2), &["a", "b", "c"], 3, false),
        (sorted(4, 9), &["a", "b", "c"], 3, false),
    ];
    for (request, keys, count, more) in rows {
        let response = get(&store, &request).expect("readable");
        assert_eq!(keys_of(&response.kvs), keys, "{request:?}");
        assert_eq!((response.count, response.more), (count, more), "{request:?}");
        assert_eq!(revision_of(response.header), 7, "always the current one");
    }
    let bare = get(&store, &RangeRequest { keys_only: true, ..everything() }).expect("readable");
    assert!(bare.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 0));
    let future = RangeRequest { revision: 8, ..everything() };
    assert_eq!(get(&store, &future), Err(KvError::FutureRevision));
}

#[test]
fn transactions_see_themselves_and_have_one_revision() {
    let (mut store, _disk) = new_store();
    done(&mut store, Op::Put(put("a", "1")));
    let inner = all_of(vec![put("b", "3").op(), range("a", "").op()]);
    let response = txn(
        &mut store,
        all_of(vec![range("a", "").op(), put("a", "2").op(), inner.op(), range("b", "").op()]),
    );
    assert_eq!((response.succeeded, revision_of(response.header)), (true, 3));
    let seen: Vec<(i64, Option<Bytes>)> = flatten(&response)
        .into_iter()
        .map(|op| match op {
            OpResponse::ResponseRange(range) => {
                (revision_of(range.header), range.kvs.first().map(|kv| kv.value.clone()))
            }
            OpResponse::ResponsePut(put) => (revision_of(put.header), None),
            OpResponse::ResponseTxn(txn) => (revision_of(txn.header), None),
            OpResponse::ResponseDeleteRange(delete) => (revision_of(delete.header), None),
        })
        .collect();
    assert_eq!(
        seen,
        [
            (2, Some(bytes("1"))), // before the put: the old revision
            (3, None),
            (0, None), // a nested answer has an empty header
            (3, None),
            (3, Some(bytes("2"))),
            (3, Some(bytes("3"))),
        ]
    );
    let reads = txn(&mut store, all_of(vec![range("a", "").op()]));
    assert_eq!((revision_of(reads.header), store.revision().0), (3, 3));
}

fn flatten(response: &TxnResponse) -> Vec<OpResponse> {
    let mut all = Vec::new();
    for op in response.responses.iter().filter_map(|op| op.response.clone()) {
        all.push(op.clone());
        if let OpResponse::ResponseTxn(nested) = op {
            all.extend(flatten(&nested));
        }
    }
    all
}

#[test]
fn a_nested_comparison_sees_nothing_of_its_own_transaction() {
    let (mut store, _disk) = new_store();
    let nested = TxnRequest {
        compare: vec![compare("a", CompareTarget::Version, CompareResult::Greater, 0)],
        success: vec![put("b", "saw it").op()],
        failure: vec![put("b", "did not").op()],
    };
    txn(&mut store, all_of(vec![put("a", "1").op(), nested.op()]));
    assert_eq!(get(&store, &range("b", "")).expect("current").kvs[0].value, bytes("did not"));
}

#[test]
fn a_transaction_that_fails_anywhere_does_nothing() {
    let (mut store, _disk) = new_store();
    for key in ["a", "b", "c"] {
        done(&mut store, Op::Put(put(key, "1")));
    }
    done(&mut store, compact(3));
    let hash = store.hash();
    for (op, want) in [
        (RangeRequest { revision: 99, ..range("a", "") }.op(), KvError::FutureRevision),
        (RangeRequest { revision: 2, ..range("a", "") }.op(), KvError::Compacted),
        (RangeRequest { revision: -1, ..range("a", "") }.op(), KvError::Compacted),
        (PutRequest { lease: 9, ..put("x", "") }.op(), KvError::LeaseNotFound),
        (PutRequest { ignore_value: true, ..put("x", "") }.op(), KvError::KeyNotFound),
    ] {
        let nested = all_of(vec![op.clone()]).op();
        for op in [op, nested] {
            let applied = apply(&mut store, Op::Txn(all_of(vec![put("a", "2").op(), op.clone()])));
            assert_eq!(applied.result, Err(want), "{op:?}");
            assert_eq!((store.revision().0, store.hash()), (4, hash), "{op:?}");
            // The branch not taken is not looked at.
            let other = TxnRequest { failure: vec![op], ..Default::default() };
            assert!(apply(&mut store, Op::Txn(other)).result.is_ok());
        }
    }
}

#[test]
fn comparisons() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use CompareTarget::{Create, Lease, Mod, Value, Version};
    let (mut store, mut disk) = new_store();
    done(&mut store, Op::LeaseGrant { id: 5, ttl_seconds: 60 });
    done(&mut store, Op::Put(put("k", "6")));
    done(&mut store, Op::Put(PutRequest { lease: 5, ..put("k", "7") }));
    done(&mut store, Op::Put(put("l", "7")));
    disk.flush(&mut store);
    // k: version 2, created 2, modified 3, value 7, lease 5; l: version 1, created and modified 4.
    let to = |end: &str, compare: Compare| Compare { range_end: bytes(end), ..compare };
    let without = |compare: Compare| Compare { target_union: None, ..compare };
    let unions =
        |compare: Compare| Compare { target_union: Some(TargetUnion::ModRevision(3)), ..compare };
    let numbers = |result, target| Compare { result, target, ..compare("k", Mod, Equal, 3) };
    for (compare, want) in [
        (compare("k", Version, Equal, 2), true),
        (compare("k", Version, Greater, 2), false),
        (compare("k", Version, Less, 3), true),
        (compare("k", Version, NotEqual, 2), false),
        (compare("k", Create, Equal, 2), true),
        (compare("k", Mod, Equal, 3), true),
        (compare("k", Lease, Equal, 5), true),
        (compare("k", Value, Equal, 7), true),
        (compare("k", Value, Less, 8), true),
        (compare("no", Version, Equal, 0), true),
        (compare("no", Create, Less, 1), true),
        (compare("no", Mod, Greater, 0), false),
        (compare("no", Lease, NotEqual, 1), true),
        (compare("no", Value, Equal, 7), false),
        (compare("no", Value, NotEqual, 7), false),
        (to("m", compare("k", Value, Equal, 7)), true),
        (to("m", compare("k", Version, Equal, 2)), false),
        (to("\0", compare("a", Version, Greater, 0)), true),
        (to("o", compare("n", Create, Equal, 0)), true),
        (to("o", compare("n", Value, NotEqual, 7)), false),
        (to("a", compare("k", Create, Equal, 0)), true),
        (without(compare("k", Version, Greater, 9)), true),
        (without(compare("k", Value, Greater, 9)), true),
        (unions(compare("k", Version, Equal, 9)), false),
        (unions(compare("no", Version, Equal, 9)), true),
        (numbers(9, 2), true),
        (numbers(0, 9), true),
    ] {
        let request = TxnRequest { compare: vec![compare.clone()], ..Default::default() };
        let response = store.read_txn(&request).expect("readable");
        assert_eq!(response.succeeded, want, "{compare:?}");
        assert_eq!(txn(&mut store, request), response, "through the log as well");
    }
}

#[test]
fn compaction() {
    let (mut store, mut disk) = new_store();
    done(&mut store, compact(0));
    assert_eq!(apply(&mut store, compact(0)).result, Err(KvError::Compacted));
    assert_eq!(apply(&mut store, compact(2)).result, Err(KvError::FutureRevision));
    for value in ["1", "2", "3"] {
        done(&mut store, Op::Put(put("k", value)));
    }
    done(&mut store, Op::DeleteRange(delete("k", "")));
    done(&mut store, Op::Put(put("l", "1")));
    disk.flush(&mut store);
    // k@2,3,4, deleted@5, l@6
    let compacted = apply(&mut store, compact(3));
    let Ok(Response::Compact(answer)) = &compacted.result else { panic!("an answer") };
    assert_eq!((revision_of(answer.header), compacted.revised), (6, None));
    assert_eq!(apply(&mut store, compact(3)).result, Err(KvError::Compacted));
    let at = |store: &Store, revision| get(store, &RangeRequest { revision, ..everything() });
    assert!(store.is_compacting());
    while store.compact_some(1) {}
    assert!(!store.is_compacting());
    disk.flush(&mut store);
    for store in [&store, &disk.load()] {
        assert_eq!(at(store, 2), Err(KvError::Compacted));
        assert_eq!(at(store, 3).expect("the compact revision").kvs[0].value, bytes("2"));
        assert_eq!(at(store, 4).expect("later").kvs[0].version, 3);
    }
    let rows = |disk: &Disk| disk.tables.keys().filter(|(table, _)| *table == Table::Rows).count();
    assert_eq!(rows(&disk), 4);
    done(&mut store, compact(6));
    while store.compact_some(1000) {}
    disk.flush(&mut store);
    assert_eq!(rows(&disk), 1, "a dead key leaves nothing");
    let loaded = disk.load();
    assert_eq!((loaded.revision().0, loaded.compact_revision().0), (6, 6));
    assert_eq!(loaded.hash(), store.hash());
}

#[test]
fn a_compaction_that_a_crash_cut_short_is_ended_after_it() {
    let (mut store, mut disk) = new_store();
    for value in ["1", "2", "3"] {
        done(&mut store, Op::Put(put("k", value)));
        done(&mut store, Op::Put(put("l", value)));
    }
    done(&mut store, compact(7));
    store.compact_some(1);
    disk.flush(&mut store);
    let mut loaded = disk.load();
    assert!(loaded.is_compacting());
    while loaded.compact_some(1) {}
    disk.flush(&mut loaded);
    let rows = disk.tables.keys().filter(|(table, _)| *table == Table::Rows).count();
    assert_eq!((rows, disk.load().hash()), (2, store.hash()));
}

/// etcd-io/etcd#18667: members whose compactions have come differently far answered a transaction
/// that reads a compacted revision differently, and diverged.
#[test]
fn how_far_a_compaction_has_come_decides_nothing() {
    let member = |batches: usize| {
        let (mut store, disk) = new_store();
        for value in 1..6 {
            for key in ["a", "b", "c"] {
                done(&mut store, Op::Put(put(key, &value.to_string())));
            }
        }
        done(&mut store, compact(9));
        for _ in 0..batches {
            store.compact_some(1);
        }
        (store, disk)
    };
    let answers = |batches: usize| {
        let (mut store, _disk) = member(batches);
        let mut answers = Vec::new();
        for revision in [2, 8, 9, 10, 16, 17, 99] {
            let read = RangeRequest { revision, ..range("a", "d") }.op();
            let txn = all_of(vec![put("a", "x").op(), read, delete("c", "").op()]);
            answers.push(apply(&mut store, Op::Txn(txn)).result);
        }
        answers.push(apply(&mut store, compact(9)).result);
        (
            answers,
            store.revision(),
            store.hash(),
            store.hash_kv(node_protocol::Revision(0)).expect("in RAM"),
        )
    };
    let first = answers(0);
    assert!(first.0.contains(&Err(KvError::Compacted)) && first.0.iter().any(Result::is_ok));
    for batches in 1..5 {
        assert_eq!(answers(batches), first, "after {batches} batches");
    }
}

#[test]
fn what_is_not_flushed_stays_in_ram() {
    let (mut store, disk) = new_store();
    done(&mut store, Op::Put(put("k", "1")));
    let up_to = store.last_row();
    disk.rows.flush(&store.take_changes());
    done(&mut store, Op::Put(put("l", "2")));
    store.rows.flushed(up_to, 0);
    assert_eq!(keys_of(&get(&store, &everything()).expect("current").kvs), ["k", "l"]);
}

/// etcd-io/etcd#13766 and its kin: what is on disk is a state, and the rest comes by replay.
#[test]
fn commands_are_applied_once_whatever_is_replayed() {
    let (mut store, mut disk) = new_store();
    let command = |seq| Command {
        id: CommandId { origin: node_protocol::MemberId(1), boot: 1, seq },
        low: 1,
        op: Op::Put(put("k", "v")),
    };
    for seq in 1..=3 {
        assert!(matches!(store.execute(&command(seq)), Ok(Executed::Applied(_))));
    }
    assert!(matches!(store.execute(&command(2)), Ok(Executed::Repeated)));
    disk.flush(&mut store);
    let mut loaded = disk.load();
    assert!(matches!(loaded.execute(&command(3)), Ok(Executed::Repeated)));
    assert!(matches!(loaded.execute(&command(4)), Ok(Executed::Applied(_))));
    assert_eq!(loaded.revision().0, 5);
}

#[test]
fn a_row_that_is_lost_is_no_answer() {
    let (mut store, mut disk) = new_store();
    done(&mut store, Op::Put(put("k", "v")));
    disk.flush(&mut store);
    disk.rows.flush(&[Change::remove(Table::Rows, RowKey::first_of(2).encode().to_vec())]);
    let failed = store.range(&range("k", ""));
    assert!(matches!(failed, Err(ReadError::Rows(RowsError::Missing(_)))), "{failed:?}");
    let request = PutRequest { prev_kv: true, ..put("k", "w") };
    assert!(matches!(store.apply(&Op::Put(request)), Err(RowsError::Missing(_))));
}

#[test]
fn a_damaged_table_is_refused_with_its_entry() {
    let rows = || Arc::new(MemoryRows::default()) as Arc<dyn Rows>;
    for (table, key, value) in [
        (Table::Rows, &b"short"[..], &b""[..]),
        (Table::Rows, b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0", b"\x07"),
        (Table::Leases, b"short", b""),
        (Table::Leases, b"\0\0\0\0\0\0\0\x02", b"\x08"),
        (Table::Sessions, b"\0\0\0\0\0\0\0\x02", b"\x02"),
        (Table::Meta, b"kv/state", b"\x01\x00"),
    ] {
        let refused = Loader::new(rows()).push(table, key, value).expect_err("it is damaged");
        assert_eq!((refused.table, refused.key.as_slice()), (table, key));
    }
}
