//! Histories, right and wrong, and what is said of each.

use super::Linearizable;
use crate::Check as _;
use crate::script::{Script, check};
use lab_protocol::Judgement::{Invalid, Unknown, Valid};
use lab_protocol::{
    Call, Compare, CompareResult, CompareTarget, Event, KeyRange, Row, TxnOp, TxnResult,
};

/// k = one at revision 2, then k = two at revision 3.
fn two_puts() -> Script {
    Script::new(3).put(1, 1, "k", "one").ok(1, 2, None).put(2, 2, "k", "two").ok(2, 3, None)
}

fn judge(script: Script, judgement: lab_protocol::Judgement, has: &str) {
    check(&mut Linearizable::new(3), script, judgement, has);
}

#[test]
fn an_order_that_agrees_with_time_is_valid() {
    judge(two_puts().get(3, 3, "k", false).ok(3, 3, Some(("two", 3))), Valid, "2 writes");
    // A read that overlaps the second write may see either.
    let overlapping = Script::new(3)
        .put(1, 1, "k", "one")
        .ok(1, 2, None)
        .put(2, 2, "k", "two")
        .get(3, 3, "k", false)
        .ok(2, 3, None)
        .ok(3, 2, Some(("one", 2)));
    judge(overlapping, Valid, "1 reads");
    // A serializable read may be old.
    judge(two_puts().get(3, 3, "k", true).ok(3, 2, Some(("one", 2))), Valid, "1 reads");
    // Of a write with an unknown outcome, either.
    let unknown = two_puts().put(3, 1, "k", "three").info(3).get(4, 2, "k", false);
    judge(unknown.clone().ok(4, 3, Some(("two", 3))), Valid, "1 writes unknown");
    judge(unknown.ok(4, 4, Some(("three", 4))), Valid, "1 writes unknown");
    let deleted = two_puts()
        .invoke(3, 1, Call::Delete { key: "k".into() })
        .ok(3, 4, None)
        .get(4, 2, "k", false)
        .ok(4, 4, None);
    judge(deleted, Valid, "3 writes");
}

#[test]
fn an_unknown_delete_is_not_forgotten_when_a_later_one_fails() {
    let delete = || Call::Delete { key: "k".into() };
    let script = two_puts().invoke(3, 1, delete()).info(3).invoke(4, 2, delete()).fail(4);
    judge(script.get(5, 3, "k", false).ok(5, 4, None), Valid, "1 writes unknown");
}

#[test]
fn too_little_tells_nothing() {
    judge(Script::new(3).put(1, 1, "k", "v").ok(1, 2, None), Unknown, "at least 3");
    let only_writes = two_puts().put(3, 1, "k", "x").ok(3, 4, None);
    judge(only_writes, Unknown, "0 reads");
}

#[test]
fn every_rule_bites_and_names_the_operation() {
    let get = |script: Script, serializable| script.get(9, 3, "k", serializable);
    for (what, script, needle) in [
        (
            "stale read",
            get(two_puts(), false).ok(9, 2, Some(("one", 2))),
            "operation 9 (read of k through m3) began after operation 2",
        ),
        (
            "stale content",
            get(two_puts(), false).ok(9, 3, Some(("one", 2))),
            "saw k of revision 2, but operation 2",
        ),
        ("acked write invisible", get(two_puts(), false).ok(9, 3, None), "found no k"),
        ("revision reused", two_puts().put(9, 3, "x", "y").ok(9, 3, None), "both made revision 3"),
        (
            "revision goes back",
            get(two_puts(), false).ok(9, 3, Some(("two", 3))).put(8, 1, "x", "y").ok(8, 1, None),
            "but happened at revision 1",
        ),
        (
            "from the future",
            get(two_puts(), false).ok(9, 3, Some(("two", 4))),
            "saw revision 4 of k at revision 3",
        ),
        (
            "wrong value",
            get(two_puts(), true).ok(9, 3, Some(("else", 3))),
            "another value of k at revision 3",
        ),
        ("invented", get(two_puts(), false).ok(9, 4, Some(("else", 4))), "that nobody wrote"),
        (
            "a failed write is there",
            get(two_puts().put(8, 1, "k", "three").fail(8), false).ok(9, 4, Some(("three", 4))),
            "failed: refused",
        ),
        (
            "applied twice",
            get(two_puts(), false).ok(9, 5, Some(("two", 5))),
            "operation 2 (put k through m2), which wrote that value, was acknowledged",
        ),
        (
            "an unknown write applied twice",
            get(two_puts().put(8, 1, "k", "three").info(8), false)
                .ok(9, 4, Some(("three", 4)))
                .get(10, 1, "k", false)
                .ok(10, 5, Some(("three", 5))),
            "it had been seen at revision 4",
        ),
        (
            "read back differs",
            two_puts().get(9, 1, "k", false).ok(9, 3, Some(("two", 3))).read_back(
                2,
                3,
                &[("k", "one", 2)],
            ),
            "reading back m2",
        ),
    ] {
        println!("{what}");
        judge(script, Invalid, needle);
    }
}

#[test]
fn a_violation_is_explained_by_the_two_operations_that_contradict_each_other() {
    let stale = two_puts().get(3, 3, "x", false).ok(3, 3, None).get(4, 1, "k", false).ok(
        4,
        3,
        Some(("one", 2)),
    );
    let mut check = Linearizable::new(3);
    for event in &stale.events {
        check.observe(event);
    }
    let result = check.verdict();
    assert_eq!(
        result.because,
        "operation 4 (read of k through m1) at revision 3 saw k of revision 2, but operation 2 \
         (put k through m2) had made revision 3 of k"
    );
    let told = |op: u64| {
        let of = |event: &Event| match event {
            Event::Invoked { op, .. } | Event::Returned { op, .. } => op.0,
            _ => 0,
        };
        stale.events.iter().filter(move |told| of(&told.event) == op).map(|told| told.seq)
    };
    assert_eq!(result.evidence, told(2).chain(told(4)).collect::<Vec<_>>());
}

#[test]
fn what_was_broken_before_starting_over_stays_broken() {
    let stale = two_puts().get(9, 3, "k", false).ok(9, 2, Some(("one", 2)));
    judge(stale.started_over(3), Invalid, "operation 9");
    let fine = two_puts().started_over(3).put(1, 1, "k", "one").ok(1, 2, None);
    judge(fine, Unknown, "1 acknowledged");
}

fn put(key: &str, value: &str) -> TxnOp {
    TxnOp::Put { key: key.into(), value: value.into(), lease: 0 }
}

fn delete(keys: KeyRange) -> TxnOp {
    TxnOp::Delete { keys }
}

fn range(keys: KeyRange) -> TxnOp {
    TxnOp::Range { keys }
}

/// Every key of the tests.
fn all() -> KeyRange {
    KeyRange { key: "a".into(), end: Some("z".into()) }
}

fn when(key: &str, result: CompareResult, target: CompareTarget) -> Vec<Compare> {
    vec![Compare { key: key.into(), result, target }]
}

fn row(key: &str, value: &str, create: i64, at: i64, version: i64) -> Row {
    let (key, value) = (key.to_owned(), value.to_owned());
    Row { key, value, create_revision: create, mod_revision: at, version, lease: 0 }
}

/// If k is of revision 3, writes k and x, counts k's and reads all; else reads k.
fn swap(op: u64) -> impl Fn(Script) -> Script {
    move |script| {
        script.txn(
            op,
            3,
            when("k", CompareResult::Equal, CompareTarget::ModRevision(3)),
            vec![range(all()), put("k", "three"), put("x", "one"), range(all())],
            vec![range(KeyRange::one("k"))],
        )
    }
}

fn swapped() -> Vec<TxnResult> {
    vec![
        TxnResult::Range(vec![row("k", "two", 2, 3, 2)]),
        TxnResult::Put,
        TxnResult::Put,
        TxnResult::Range(vec![row("k", "three", 2, 4, 3), row("x", "one", 4, 4, 1)]),
    ]
}

#[test]
fn transactions_that_agree_with_the_order_are_valid() {
    let swapped = swap(3)(two_puts()).transacted(3, 4, true, swapped());
    let read = swapped.clone().get(4, 1, "x", false).ok(4, 4, Some(("one", 4)));
    judge(read, Valid, "3 writes and 1 reads");
    let again = swap(4)(swapped.clone()).transacted(
        4,
        4,
        false,
        vec![TxnResult::Range(vec![row("k", "three", 2, 4, 3)])],
    );
    judge(again, Valid, "3 writes and 1 reads");
    // A deletion of several keys is one revision; a key that comes again is new.
    let gone = swapped
        .txn(4, 1, vec![], vec![delete(all()), range(all())], vec![])
        .transacted(4, 5, true, vec![TxnResult::Deleted(2), TxnResult::Range(vec![])])
        .put(5, 1, "k", "four")
        .ok(5, 6, None)
        .txn(6, 1, vec![], vec![range(all())], vec![])
        .transacted(6, 6, true, vec![TxnResult::Range(vec![row("k", "four", 6, 6, 1)])]);
    judge(gone, Valid, "5 writes and 1 reads");
}

#[test]
fn a_transaction_with_an_unknown_outcome_happened_whole_or_not() {
    let open = || swap(3)(two_puts()).info(3);
    let get = |script: Script, op, key| script.get(op, 1, key, false);
    judge(get(open(), 4, "k").ok(4, 3, Some(("two", 3))), Valid, "1 writes unknown");
    let happened = get(open(), 4, "k").ok(4, 4, Some(("three", 4)));
    judge(happened.clone(), Valid, "1 writes unknown");
    let both = get(happened.clone(), 5, "x").ok(5, 4, Some(("one", 4)));
    judge(both, Valid, "1 writes unknown");
    let half = get(happened, 5, "x").ok(5, 4, None);
    judge(
        half,
        Invalid,
        "found no x, but operation 3 (transaction through m3) had made revision 4",
    );
    // It cannot have happened behind a write that makes its compares fail.
    let late = open().put(4, 1, "k", "else").ok(4, 4, None);
    let late = get(late, 5, "x").ok(5, 5, Some(("one", 5)));
    judge(late, Invalid, "did not write x at revision 5, where it was seen");
}

#[test]
fn every_answer_of_a_transaction_is_judged() {
    let changed = |place: usize, result: TxnResult| {
        let mut results = swapped();
        results[place] = result;
        swap(9)(two_puts()).transacted(9, 4, true, results)
    };
    let read = |rows| {
        two_puts().txn(9, 3, vec![], vec![range(all())], vec![]).transacted(
            9,
            3,
            true,
            vec![TxnResult::Range(rows)],
        )
    };
    let compares = |target, result, succeeded| {
        two_puts().txn(9, 3, when("k", result, target), vec![], vec![]).transacted(
            9,
            3,
            succeeded,
            vec![],
        )
    };
    let equal = CompareResult::Equal;
    for (what, script, needle) in [
        (
            "wrong way",
            swap(9)(two_puts()).transacted(
                9,
                3,
                false,
                vec![TxnResult::Range(vec![row("k", "two", 2, 3, 2)])],
            ),
            "its compares did not hold, but operation 2 (put k through m2) had made revision 3 of k",
        ),
        (
            "value compares",
            compares(CompareTarget::Value("one".into()), equal, true),
            "its compares held, but operation 2",
        ),
        ("version", compares(CompareTarget::Version(2), CompareResult::Less, true), "held, but"),
        ("creation", compares(CompareTarget::CreateRevision(2), equal, false), "did not hold"),
        (
            "sees its own write too early",
            changed(0, TxnResult::Range(vec![row("k", "three", 2, 4, 3)])),
            "saw k of revision 4, but nobody wrote it at that revision",
        ),
        (
            "does not see its own write",
            changed(3, TxnResult::Range(vec![row("k", "two", 2, 3, 2)])),
            "saw k of revision 3, but operation 9",
        ),
        (
            "a key of the range is missing",
            changed(3, TxnResult::Range(vec![row("k", "three", 2, 4, 3)])),
            "found no x, but operation 9",
        ),
        ("other result", changed(1, TxnResult::Deleted(1)), "do not fit its operations"),
        ("version counts", read(vec![row("k", "two", 2, 3, 3)]), "version 3, lease 0, which does"),
        ("creation counts", read(vec![row("k", "two", 3, 3, 2)]), "created at revision 3"),
        (
            "a lease that nobody gave",
            read(vec![Row { lease: 5, ..row("k", "two", 2, 3, 2) }]),
            "lease 5",
        ),
        ("twice", read(vec![row("k", "two", 2, 3, 2), row("k", "two", 2, 3, 2)]), "twice"),
        ("invented", read(vec![row("k", "two", 2, 3, 2), row("m", "x", 2, 2, 1)]), "nobody wrote"),
        (
            "deletes more than there is",
            two_puts().txn(9, 3, vec![], vec![delete(all())], vec![]).transacted(
                9,
                4,
                true,
                vec![TxnResult::Deleted(2)],
            ),
            "deleted 2 keys at revision 4, but 1 were there: operation 2",
        ),
        (
            "one revision for two",
            swap(9)(two_puts()).put(8, 1, "y", "y").ok(8, 4, None).transacted(
                9,
                4,
                true,
                swapped(),
            ),
            "both made revision 4",
        ),
        (
            "back in time",
            two_puts().txn(9, 3, vec![], vec![range(KeyRange::one("k"))], vec![]).transacted(
                9,
                2,
                true,
                vec![TxnResult::Range(vec![row("k", "one", 2, 2, 1)])],
            ),
            "operation 9 (transaction through m3) began after operation 2",
        ),
    ] {
        println!("{what}");
        judge(script, Invalid, needle);
    }
}

#[test]
fn a_lease_that_ends_may_delete_its_keys() {
    let leased = |lease| {
        let put = TxnOp::Put { key: "k".into(), value: "one".into(), lease };
        let script = Script::new(3)
            .txn(1, 1, vec![], vec![put], vec![])
            .transacted(1, 2, true, vec![TxnResult::Put])
            .put(2, 2, "x", "two");
        script.ok(2, 4, None).get(3, 1, "k", false).ok(3, 4, None)
    };
    judge(leased(7), Valid, "1 revisions made by one of those");
    judge(leased(0), Invalid, "found no k, but operation 1");
}

#[test]
fn a_revision_is_made_by_somebody() {
    let skipped = two_puts().put(3, 1, "x", "y").ok(3, 5, None);
    judge(skipped.clone(), Invalid, "revision 4 can have been made by nobody");
    let open = |script: Script| script.put(4, 1, "x", "z").info(4).get(5, 1, "x", false);
    let late = open(skipped).ok(5, 5, Some(("y", 5)));
    judge(late, Invalid, "revision 4 can have been made by nobody");
    let early = two_puts().put(4, 1, "x", "z").info(4).put(3, 1, "x", "y").ok(3, 5, None);
    let early = early.get(5, 1, "x", false).ok(5, 5, Some(("y", 5)));
    judge(early, Valid, "1 revisions made by one of those");
}

#[test]
fn compactions_are_in_order_and_not_ahead() {
    let compacted =
        |first, second| two_puts().compact(3, 1, first).ok(3, 3, None).compact(4, 2, second);
    let get =
        |script: Script| script.ok(4, 3, None).get(5, 1, "k", false).ok(5, 3, Some(("two", 3)));
    judge(get(compacted(2, 3)), Valid, "4 writes and 1 reads");
    judge(get(compacted(3, 3)), Invalid, "(compaction at 3 through m1) had happened before");
    judge(get(compacted(3, 2)), Invalid, "(compaction at 3 through m1) had returned before");
    judge(get(compacted(2, 4)), Invalid, "dropped the future");
    let late = compacted(2, 3).ok(4, 2, None);
    judge(late, Invalid, "operation 4 (compaction at 3 through m2) began after");
}

#[test]
fn a_revoke_deletes_what_is_attached_and_nothing_else() {
    let put = |key: &str, lease| TxnOp::Put { key: key.into(), value: key.into(), lease };
    let attached = || {
        let puts = vec![put("k", 7), put("l", 7), put("m", 0)];
        Script::new(3).txn(1, 1, vec![], puts, vec![]).transacted(
            1,
            2,
            true,
            vec![TxnResult::Put, TxnResult::Put, TxnResult::Put],
        )
    };
    let revoke = |script: Script| script.invoke(2, 1, Call::LeaseRevoke { lease: 7 });
    let read = |script: Script, op, key, at, found: Option<&'static str>| {
        script.get(op, 3, key, false).ok(op, at, found.map(|value| (value, 2)))
    };
    let revoked = || revoke(attached()).ok(2, 3, None);
    let all = read(read(read(revoked(), 3, "k", 3, None), 4, "l", 3, None), 5, "m", 3, Some("m"));
    judge(all, Valid, "1 revisions made by one of those");
    judge(read(revoked(), 3, "k", 3, Some("k")), Invalid, "operation 2 (revoke of lease 7");
    judge(read(revoked(), 3, "m", 3, None), Invalid, "found no m");
    // It may have happened, or not yet.
    let unknown = || read(revoke(attached()).info(2), 3, "k", 2, Some("k"));
    judge(read(unknown(), 4, "k", 2, Some("k")), Valid, "2 reads");
    judge(read(unknown(), 4, "k", 3, None), Valid, "1 revisions made by one of those");
    // A put at the revoke's own revision came before it, and took its key off the lease.
    let before = revoke(attached()).put(3, 2, "k", "new").ok(3, 3, None);
    let before = before.put(4, 2, "l", "new").ok(4, 4, None).ok(2, 4, None);
    judge(read(before, 5, "m", 4, Some("m")), Valid, "0 revisions made");
    // An unknown put that nobody saw but a deletion.
    let unseen = attached().put(4, 2, "k", "new").info(4);
    let unseen = revoke(unseen).ok(2, 4, None).invoke(5, 3, Call::Delete { key: "k".into() });
    judge(unseen.answer(5, 5, 2, None, 1), Unknown, "do not tell an order");
    // Time does not go back.
    judge(revoke(attached()).ok(2, 1, None), Invalid, "but happened at revision 1");
}
