//! What is refused without looking at the state.

use super::*;

#[test]
fn single_requests() {
    assert_eq!(check_range(&range("", "")), Err(KvError::KeyNotProvided));
    assert_eq!(check_range(&range("a", "")), Ok(()));
    assert_eq!(check_delete_range(&delete("", "")), Err(KvError::KeyNotProvided));
    assert_eq!(check_lease_ttl(MAX_LEASE_TTL_SECONDS), Ok(()));
    assert_eq!(check_lease_ttl(MAX_LEASE_TTL_SECONDS + 1), Err(KvError::LeaseTtlTooLarge));
    for (request, want) in [
        (put("", "v"), Err(KvError::KeyNotProvided)),
        (put("k", ""), Ok(())),
        (PutRequest { ignore_value: true, ..put("k", "v") }, Err(KvError::ValueProvided)),
        (PutRequest { ignore_value: true, ..put("k", "") }, Ok(())),
        (PutRequest { ignore_lease: true, lease: 5, ..put("k", "v") }, Err(KvError::LeaseProvided)),
        (PutRequest { ignore_lease: true, ..put("k", "v") }, Ok(())),
    ] {
        assert_eq!(check_put(&request), want, "{request:?}");
    }
}

/// Each row was put to etcd 3.4.23 and answered so.
#[test]
fn no_key_is_written_twice_in_a_transaction() {
    let nested = |success, failure| TxnRequest { success, failure, ..Default::default() }.op();
    for (case, ops, fine) in [
        ("put twice", vec![put("z", "").op(), put("z", "").op()], false),
        ("put and delete", vec![put("z", "").op(), delete("y", "zz").op()], false),
        ("delete twice", vec![delete("z", "").op(), delete("y", "zz").op()], true),
        ("put and delete all from y on", vec![put("z", "").op(), delete("y", "\0").op()], true),
        ("put beside a deletion", vec![put("zz", "").op(), delete("y", "zz").op()], true),
        (
            "put, delete nested",
            vec![put("z", "").op(), nested(vec![delete("z", "").op()], vec![])],
            false,
        ),
        (
            "delete, put nested",
            vec![delete("z", "").op(), nested(vec![put("z", "").op()], vec![])],
            false,
        ),
        (
            "put in two nested",
            vec![nested(vec![put("z", "").op()], vec![]), nested(vec![put("z", "").op()], vec![])],
            false,
        ),
        (
            "put in both branches",
            vec![nested(vec![put("z", "").op()], vec![put("z", "").op()])],
            true,
        ),
        (
            "delete nested, then put nested",
            vec![
                nested(vec![delete("q", "").op()], vec![]),
                nested(vec![put("q", "").op()], vec![]),
            ],
            false,
        ),
        (
            "put nested, then delete nested",
            vec![
                nested(vec![put("q", "").op()], vec![]),
                nested(vec![delete("q", "").op()], vec![]),
            ],
            true,
        ),
        (
            "delete in one branch, put in the other",
            vec![nested(vec![delete("q", "").op()], vec![put("q", "").op()])],
            true,
        ),
    ] {
        let want = if fine { Ok(()) } else { Err(KvError::DuplicateKey) };
        assert_eq!(check_txn(&all_of(ops.clone()), 128), want, "{case}");
        let failure = TxnRequest { failure: ops, ..Default::default() };
        assert_eq!(check_txn(&failure, 128), want, "{case}, in the failure branch");
    }
}

#[test]
fn a_transaction_has_a_limit_of_operations_across_its_nesting() {
    let puts =
        |count: usize| (0..count).map(|n| put(&format!("k{n}"), "").op()).collect::<Vec<_>>();
    let gets = |count: usize| (0..count).map(|_| range("k", "").op()).collect::<Vec<_>>();
    assert_eq!(check_txn(&all_of(puts(128)), 128), Ok(()));
    assert_eq!(check_txn(&all_of(puts(129)), 128), Err(KvError::TooManyOps));
    let compares = vec![compare("k", CompareTarget::Version, CompareResult::Equal, 0); 129];
    let many = TxnRequest { compare: compares, ..Default::default() };
    assert_eq!(check_txn(&many, 128), Err(KvError::TooManyOps));
    let mut outer = gets(27);
    outer.push(all_of(gets(100)).op());
    assert_eq!(check_txn(&all_of(outer.clone()), 128), Ok(()));
    outer.push(all_of(gets(100)).op());
    assert_eq!(check_txn(&all_of(outer), 128), Err(KvError::TooManyOps));
}

#[test]
fn a_transactions_parts_are_checked() {
    let no_key = compare("", CompareTarget::Version, CompareResult::Equal, 0);
    let no_key = TxnRequest { compare: vec![no_key], ..Default::default() };
    assert_eq!(check_txn(&no_key, 128), Err(KvError::KeyNotProvided));
    for (op, want) in [
        (range("", "").op(), KvError::KeyNotProvided),
        (put("", "").op(), KvError::KeyNotProvided),
        (delete("", "").op(), KvError::KeyNotProvided),
        (RequestOp { request: None }, KvError::KeyNotFound),
        (all_of(vec![put("", "").op()]).op(), KvError::KeyNotProvided),
    ] {
        assert_eq!(check_txn(&all_of(vec![op.clone()]), 128), Err(want), "{op:?}");
    }
}

#[test]
fn which_transactions_only_read() {
    let serializable = RangeRequest { serializable: true, ..range("k", "") };
    for (txn, writes, local) in [
        (all_of(vec![]), false, true),
        (all_of(vec![range("k", "").op()]), false, false),
        (all_of(vec![serializable.clone().op()]), false, true),
        (all_of(vec![all_of(vec![serializable.clone().op()]).op()]), false, true),
        (all_of(vec![serializable.op(), range("k", "").op()]), false, false),
        (all_of(vec![all_of(vec![put("k", "").op()]).op()]), true, false),
        (TxnRequest { failure: vec![delete("k", "").op()], ..Default::default() }, true, false),
    ] {
        assert_eq!((txn_writes(&txn), txn_is_serializable(&txn)), (writes, local), "{txn:?}");
    }
}
