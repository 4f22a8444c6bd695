//! Each promise kept and broken, and what is said of it.

use lab_protocol::Judgement::{self, Invalid, Unknown, Valid};
use lab_protocol::{
    Call, ClientNo, Event, KeyRange, MemberNo, Row, TxnOp, TxnResult, WatchEvent, WatchEventKind,
    WatchFilter, WatchId, WatchRequest, WatchResponse, WatchTold,
};

use super::WatchGuarantees;
use crate::script::{Script, check};

fn judge(script: Script, judgement: Judgement, has: &str) {
    check(&mut WatchGuarantees::new(1), script, judgement, has);
}

/// 2: a = one. 3: b = two. 4: a = three and b = four. 5: a deleted. 6: c = five.
fn written() -> Script {
    let puts = vec![put_op("a", "three", 0), put_op("b", "four", 0)];
    Script::new(3)
        .put(1, 1, "a", "one")
        .ok(1, 2, None)
        .put(2, 2, "b", "two")
        .ok(2, 3, None)
        .txn(3, 3, vec![], puts, vec![])
        .transacted(3, 4, true, vec![TxnResult::Put, TxnResult::Put])
        .invoke(4, 1, Call::Delete { key: "a".into() })
        .ok(4, 5, None)
        .put(5, 2, "c", "five")
        .ok(5, 6, None)
}

fn put_op(key: &str, value: &str, lease: i64) -> TxnOp {
    TxnOp::Put { key: key.into(), value: value.into(), lease }
}

fn row(key: &str, value: &str, create: i64, at: i64, version: i64) -> Row {
    let (key, value) = (key.to_owned(), value.to_owned());
    Row { key, value, create_revision: create, mod_revision: at, version, lease: 0 }
}

fn put(row: Row) -> WatchEvent {
    WatchEvent { kind: WatchEventKind::Put, row, prev: None }
}

fn delete(key: &str, at: i64) -> WatchEvent {
    let row = Row { key: key.into(), mod_revision: at, ..Row::default() };
    WatchEvent { kind: WatchEventKind::Delete, row, prev: None }
}

fn a2() -> Row {
    row("a", "one", 2, 2, 1)
}

fn b3() -> Row {
    row("b", "two", 3, 3, 1)
}

fn a4() -> Row {
    row("a", "three", 2, 4, 2)
}

fn b4() -> Row {
    row("b", "four", 3, 4, 2)
}

fn c6() -> Row {
    row("c", "five", 6, 6, 1)
}

/// From which revision on, of all keys of the tests.
fn asked(start_revision: i64) -> WatchRequest {
    let keys = KeyRange { key: "a".into(), end: Some("z".into()) };
    let filters = vec![];
    WatchRequest { keys, start_revision, filters, prev_kv: false, progress_notify: true }
}

fn open(script: Script, watch: u64, request: WatchRequest) -> Script {
    let (watch, client, member) = (WatchId(watch), ClientNo(9), MemberNo(1));
    script.then(Event::WatchOpened { watch, client, member, request })
}

fn hear(script: Script, watch: u64, revision: i64, told: WatchTold) -> Script {
    let response = Box::new(WatchResponse { revision, told });
    script.then(Event::WatchHeard { watch: WatchId(watch), response })
}

fn told(script: Script, watch: u64, events: Vec<WatchEvent>) -> Script {
    hear(script, watch, 6, WatchTold::Events(events))
}

fn close(script: Script, watch: u64) -> Script {
    script.then(Event::WatchClosed { watch: WatchId(watch), why: "the member is gone".into() })
}

fn resume(script: Script, watch: u64, start_revision: i64) -> Script {
    let (watch, member) = (WatchId(watch), MemberNo(2));
    script.then(Event::WatchResumed { watch, member, start_revision })
}

/// The first watch, of everything from revision 2 on, in these responses.
fn watched(responses: Vec<Vec<WatchEvent>>) -> Script {
    let script = hear(open(written(), 1, asked(2)), 1, 6, WatchTold::Created);
    responses.into_iter().fold(script, |script, events| told(script, 1, events))
}

#[test]
fn what_is_told_as_it_happened_is_valid() {
    let all = vec![
        vec![put(a2()), put(b3())],
        vec![put(a4()), put(b4()), delete("a", 5)],
        vec![put(c6())],
    ];
    judge(watched(all.clone()), Valid, "6 changes and 0 bookmarks told to 1 watches");
    // One that is quiet may be told later.
    judge(watched(all[..1].to_vec()), Valid, "2 changes");
    // From what was to come on.
    let now = hear(open(written(), 1, asked(0)), 1, 4, WatchTold::Created);
    judge(told(now, 1, vec![delete("a", 5), put(c6())]), Valid, "2 changes");
}

#[test]
fn too_little_tells_nothing() {
    judge(open(written(), 1, asked(2)), Unknown, "0 changes told to watches in this run");
    let two = written().put(9, 1, "x", "y").ok(9, 6, None);
    let two = told(open(two, 1, asked(2)), 1, vec![put(a2())]);
    judge(two, Unknown, "no one order");
}

#[test]
fn ordered() {
    let needle = "watch ordered: watch 1 (a to z through m1, from revision 2) was told of the put \
                  of a at revision 2, after revision 3";
    judge(watched(vec![vec![put(b3()), put(a2())]]), Invalid, needle);
    // It needs no order of operations.
    let disordered = written().put(9, 1, "x", "y").ok(9, 6, None);
    let disordered = told(open(disordered, 1, asked(2)), 1, vec![put(b3()), put(a2())]);
    judge(disordered, Invalid, needle);
}

#[test]
fn unique() {
    judge(watched(vec![vec![put(a2())], vec![put(b3())]]), Valid, "2 changes");
    let twice = watched(vec![vec![put(a2())], vec![put(a2())]]);
    judge(twice, Invalid, "watch unique: watch 1");
    let twice = watched(vec![vec![put(a2()), put(b3()), put(a2())]]);
    judge(twice, Invalid, "watch unique: watch 1");
}

#[test]
fn atomic() {
    let start = || vec![put(a2()), put(b3())];
    judge(watched(vec![start(), vec![put(b4()), put(a4())]]), Valid, "4 changes");
    let split = watched(vec![start(), vec![put(a4())], vec![put(b4())]]);
    let needle = "watch atomic: watch 1 (a to z through m1, from revision 2) was told by changes of \
                  all up to revision 4, but not of the put of b at revision 4 by operation 3 \
                  (transaction through m3)";
    judge(split, Invalid, needle);
    judge(
        watched(vec![start(), vec![put(a4()), delete("a", 5)]]),
        Invalid,
        "watch atomic: watch 1",
    );
    // Even where nobody knows what that revision changed.
    let unknown = written().put(9, 1, "x", "y").ok(9, 6, None);
    let unknown = told(open(unknown, 1, asked(4)), 1, vec![put(a4())]);
    judge(told(unknown, 1, vec![put(b4())]), Invalid, "another response had told it");
}

#[test]
fn reliable() {
    let missing = watched(vec![vec![put(a2())], vec![put(a4()), put(b4())]]);
    let needle = "watch reliable: watch 1 (a to z through m1, from revision 2) was told by changes \
                  of all up to revision 4, but not of the put of b at revision 3 by operation 2 \
                  (put b through m2)";
    judge(missing, Invalid, needle);
    let wrong = |row| watched(vec![vec![put(row)]]);
    judge(wrong(Row { value: "else".into(), ..a2() }), Invalid, "watch reliable: watch 1");
    judge(wrong(Row { version: 2, ..a2() }), Invalid, "with creation at revision 2 and version 2");
    judge(wrong(Row { lease: 7, ..a2() }), Invalid, "with lease 7, not 0, as operation 1");
    judge(wrong(row("b", "one", 2, 2, 1)), Invalid, "but operation 1 (put a through m1) did not");
    judge(wrong(row("c", "five", 7, 7, 1)), Invalid, "at revision 6, before it happened");
    let deleted = watched(vec![vec![put(a2()), put(b3())], vec![delete("a", 4), put(b4())]]);
    judge(deleted, Invalid, "but operation 3 (transaction through m3) wrote it");
    let early = hear(open(Script::new(3), 1, asked(2)), 1, 2, WatchTold::Events(vec![put(a2())]));
    let early = early.put(1, 1, "a", "one").ok(1, 2, None);
    judge(early, Invalid, "before operation 1 (put a through m1) was asked");
}

#[test]
fn resumable() {
    let broken = || close(watched(vec![vec![put(a2()), put(b3())]]), 1);
    let rest = vec![put(a4()), put(b4()), delete("a", 5)];
    judge(told(resume(broken(), 1, 4), 1, rest.clone()), Valid, "5 changes and 0 bookmarks told");
    // What was asked for again may come again.
    let again = told(resume(broken(), 1, 3), 1, vec![put(b3()), put(a4()), put(b4())]);
    judge(again, Valid, "1 resumed");
    // What was not asked for need not come.
    judge(told(resume(broken(), 1, 6), 1, vec![put(c6())]), Valid, "3 changes");
    let missing = told(resume(broken(), 1, 4), 1, vec![delete("a", 5)]);
    let needle = "watch resumable: watch 1 (a to z through m2, from revision 4) was told by changes \
                  of all up to revision 5, but not of the put of a at revision 4 by operation 3";
    judge(missing, Invalid, needle);
    judge(told(resume(broken(), 1, 4), 1, vec![put(b3())]), Invalid, "watch unique");
    let before = told(resume(broken(), 1, 6), 1, vec![delete("a", 5)]);
    judge(before, Invalid, "watch resumable: watch 1");
}

#[test]
fn bookmarkable() {
    let bookmark = |script, at| hear(script, 1, at, WatchTold::Progress);
    let two = || watched(vec![vec![put(a2()), put(b3())]]);
    let fine = told(bookmark(two(), 3), 1, vec![put(a4()), put(b4())]);
    judge(bookmark(fine, 4), Valid, "4 changes and 2 bookmarks");
    let late = told(bookmark(two(), 4), 1, vec![put(a4()), put(b4())]);
    let needle = "watch bookmarkable: watch 1 (a to z through m1, from revision 2) was told of the \
                  put of a at revision 4, after a bookmark had told it that revision 4 was done";
    judge(late, Invalid, needle);
    // It never came: that is not reliable.
    judge(bookmark(two(), 4), Invalid, "watch reliable: watch 1");
    judge(close(bookmark(two(), 5), 1), Invalid, "was told by a bookmark of all up to revision 5");
    let to_come = hear(open(written(), 1, asked(7)), 1, 6, WatchTold::Created);
    judge(bookmark(to_come, 6), Unknown, "0 changes told to watches");
    // One for others, which was under way before this watch was created.
    let others = hear(bookmark(open(written(), 1, asked(2)), 6), 1, 6, WatchTold::Created);
    judge(told(others, 1, vec![put(a2())]), Valid, "1 changes and 0 bookmarks");
}

#[test]
fn filtered() {
    let request = |filter| WatchRequest { filters: vec![filter], ..asked(2) };
    let puts = || open(written(), 1, request(WatchFilter::NoDelete));
    let all = vec![put(a2()), put(b3()), put(a4()), put(b4()), put(c6())];
    judge(told(puts(), 1, all), Valid, "5 changes");
    let deletions = || open(written(), 1, request(WatchFilter::NoPut));
    judge(told(deletions(), 1, vec![delete("a", 5)]), Valid, "1 changes");
    judge(told(deletions(), 1, vec![put(a2())]), Invalid, "which it did not ask for");
    judge(told(puts(), 1, vec![delete("a", 5)]), Invalid, "watch filtered: watch 1");
    let one = || open(written(), 1, WatchRequest { keys: KeyRange::one("b"), ..asked(2) });
    judge(told(one(), 1, vec![put(b3()), put(b4())]), Valid, "2 changes");
    judge(told(one(), 1, vec![put(a2())]), Invalid, "watch filtered: watch 1 (b through m1");
    let late = told(open(written(), 1, asked(3)), 1, vec![put(a2())]);
    judge(late, Invalid, "watch filtered: watch 1 (a to z through m1, from revision 3)");
}

#[test]
fn prev_kv() {
    let with = |prev: Option<Row>, event: WatchEvent| WatchEvent { prev, ..event };
    let request = WatchRequest { prev_kv: true, ..asked(2) };
    let heard = |script, events| told(open(script, 1, request.clone()), 1, events);
    let start = || vec![with(None, put(a2())), with(None, put(b3()))];
    let all = |of_a: Option<Row>, of_deleted: Option<Row>| {
        let mut events = start();
        events.push(with(of_a, put(a4())));
        events.push(with(Some(b3()), put(b4())));
        events.push(with(of_deleted, delete("a", 5)));
        events
    };
    judge(heard(written(), all(Some(a2()), Some(a4()))), Valid, "5 changes");
    for (what, events, needle) in [
        ("left out", all(None, Some(a4())), "the row before, which nobody had dropped"),
        ("of the deleted", all(Some(a2()), None), "the row before, which nobody had dropped"),
        ("older", all(Some(a2()), Some(a2())), "with a row before it of revision 2, not 4"),
        ("wrong", all(Some(Row { value: "x".into(), ..a2() }), None), "of another value"),
        ("of another key", all(Some(b3()), None), "with another key's row before"),
        ("of a new key", vec![with(Some(b3()), put(a2()))], "but there was none"),
    ] {
        println!("{what}");
        judge(heard(written(), events.clone()), Invalid, "watch prev_kv: watch 1");
        judge(heard(written(), events), Invalid, needle);
    }
    // A compaction may have dropped it.
    let compacted = |at| heard(written().compact(6, 1, at).info(6), all(None, Some(a4())));
    judge(compacted(4), Valid, "5 changes");
    judge(compacted(3), Invalid, "watch prev_kv: watch 1");
    let unasked =
        watched(vec![vec![put(a2()), put(b3())], vec![with(Some(a2()), put(a4())), put(b4())]]);
    judge(unasked, Invalid, "with the row before, which it did not ask for");
}

#[test]
fn compacted() {
    let compacted = |script, at| hear(script, 1, 6, WatchTold::Compacted { compact_revision: at });
    let dropped = |at| written().compact(6, 1, at).ok(6, 6, None);
    let valid = |script| told(open(script, 2, asked(6)), 2, vec![put(c6())]);
    judge(valid(compacted(open(dropped(4), 1, asked(3)), 4)), Valid, "0 resumed, 1 compacted");
    // By one whose outcome is unknown, too.
    let unknown = written().compact(6, 1, 4).info(6);
    judge(valid(compacted(open(unknown, 1, asked(3)), 4)), Valid, "1 compacted");
    // A slow watch may be overtaken.
    let slow = told(open(dropped(4), 1, asked(2)), 1, vec![put(a2())]);
    judge(compacted(slow, 4), Valid, "1 compacted");
    let at_start = compacted(open(dropped(4), 1, asked(4)), 4);
    let needle = "watch compacted: watch 1 (a to z through m1, from revision 4) was told that \
                  revision 4 is compacted, but was to be told of revision 4 next";
    judge(at_start, Invalid, needle);
    let nobody = compacted(open(dropped(4), 1, asked(3)), 5);
    judge(nobody, Invalid, "but nobody had asked for that compaction");
    let failed = written().compact(6, 1, 4).fail(6);
    judge(compacted(open(failed, 1, asked(3)), 4), Invalid, "but nobody had asked");
    let early = compacted(open(written(), 1, asked(3)), 4).compact(6, 1, 4).ok(6, 6, None);
    judge(early, Invalid, "but nobody had asked");
    let to_come = compacted(open(dropped(4), 1, asked(0)), 4);
    judge(to_come, Invalid, "but had asked for what was to come");
    // Nothing may be silently left out instead.
    let short = told(open(dropped(4), 1, asked(3)), 1, vec![put(a4()), put(b4())]);
    judge(short, Invalid, "watch reliable: watch 1");
}

/// Of the put of d, asked before anything else, nobody knows whether it happened.
fn unknown(then: impl Fn(Script) -> Script) -> Script {
    then(Script::new(3).put(7, 1, "d", "six").info(7))
}

#[test]
fn an_unknown_write_is_known_once_a_watch_was_told() {
    let d2 = || row("d", "six", 2, 2, 1);
    let e3 = || row("e", "seven", 3, 3, 1);
    let skipped = || unknown(|script| script.put(8, 2, "e", "seven").ok(8, 3, None));
    judge(told(open(skipped(), 1, asked(2)), 1, vec![put(d2()), put(e3())]), Valid, "2 changes");
    // Nobody but the watch tells of it, so it need not be told; but one word binds all.
    let other = told(open(skipped(), 1, asked(2)), 1, vec![put(e3())]);
    judge(other.clone(), Valid, "1 changes");
    let both = told(open(other, 2, asked(2)), 2, vec![put(d2())]);
    judge(both, Invalid, "put of d at revision 2 by operation 7 (put d through m1)");
    let twice = told(open(skipped(), 1, asked(2)), 1, vec![put(d2()), put(e3())]);
    let twice = told(twice, 1, vec![put(row("d", "six", 2, 4, 2))]);
    judge(twice, Invalid, "which wrote that value, had been seen at revision 2");
    let invented = told(open(skipped(), 1, asked(2)), 1, vec![put(row("d", "else", 2, 2, 1))]);
    judge(
        invented,
        Invalid,
        "watch reliable: watch 1 (a to z through m1, from revision 2) was told \
                              of the put of d at revision 2, but nobody wrote that value",
    );
    let late = Script::new(3).put(8, 2, "e", "seven").ok(8, 2, None).put(7, 1, "d", "six").info(7);
    let late = told(open(late, 1, asked(2)), 1, vec![put(row("e", "seven", 2, 2, 1))]);
    let late = told(late, 1, vec![put(row("d", "six", 3, 3, 1))]);
    judge(late, Valid, "2 changes");
    let early = Script::new(3).put(8, 2, "e", "seven").ok(8, 3, None).put(6, 1, "f", "x").info(6);
    let early = told(open(early, 1, asked(2)), 1, vec![put(row("f", "x", 2, 2, 1))]);
    judge(early, Unknown, "revision 2 can have been made by nobody");
}

#[test]
fn an_unknown_transaction_is_told_whole() {
    let ops = vec![put_op("a", "one", 0), put_op("b", "two", 0)];
    let open_txn = Script::new(3)
        .txn(7, 1, vec![], ops, vec![])
        .info(7)
        .put(8, 2, "e", "seven")
        .ok(8, 3, None);
    let (a, b) = (row("a", "one", 2, 2, 1), row("b", "two", 2, 2, 1));
    let watched = open(open_txn, 1, asked(2));
    judge(told(watched.clone(), 1, vec![put(a.clone()), put(b)]), Valid, "2 changes");
    let half = told(watched, 1, vec![put(a)]);
    judge(
        half,
        Invalid,
        "watch atomic: watch 1 (a to z through m1, from revision 2) was told by \
                          changes of all up to revision 2, but not of the put of b at revision 2 by \
                          operation 7",
    );
}

#[test]
fn an_unknown_deletion_is_taken_for_what_a_watch_says() {
    let script = || {
        let script = Script::new(3).put(1, 1, "a", "one").ok(1, 2, None);
        let script = script.invoke(2, 1, Call::Delete { key: "a".into() }).info(2);
        script.put(3, 2, "b", "two").ok(3, 4, None)
    };
    let b4 = row("b", "two", 4, 4, 1);
    let gone = vec![put(a2()), delete("a", 3), put(b4.clone())];
    judge(told(open(script(), 1, asked(2)), 1, gone.clone()), Valid, "3 changes");
    let both = told(open(script(), 1, asked(2)), 1, gone);
    let both = told(open(both, 2, asked(2)), 2, vec![put(a2()), put(b4.clone())]);
    judge(both, Invalid, "by whoever made that revision, of which watch 1 was told,");
    let other = vec![put(a2()), delete("b", 3)];
    judge(told(open(script(), 1, asked(2)), 1, other), Invalid, "but there was no b");
}

#[test]
fn the_end_of_a_lease_is_told_whole() {
    let leased = |lease| {
        let ops = vec![put_op("a", "one", lease), put_op("b", "two", lease)];
        let script = Script::new(3).txn(1, 1, vec![], ops, vec![]);
        let script = script.transacted(1, 2, true, vec![TxnResult::Put, TxnResult::Put]);
        open(script.put(2, 2, "c", "three").ok(2, 4, None), 1, asked(3))
    };
    let c4 = row("c", "three", 4, 4, 1);
    let all = vec![delete("a", 3), delete("b", 3), put(c4.clone())];
    judge(told(leased(7), 1, all), Valid, "3 changes");
    let half = vec![delete("a", 3), put(c4.clone())];
    judge(told(leased(7), 1, half), Invalid, "watch atomic: watch 1");
    // Without a lease nobody is left who can have made that revision, and no one order.
    judge(told(leased(0), 1, vec![delete("a", 3)]), Unknown, "can have been made by nobody");
    let free = leased(7).put(3, 1, "d", "four").ok(3, 5, None).put(4, 1, "x", "y").info(4);
    let free = told(free, 1, vec![delete("a", 3), delete("b", 3), put(c4)]);
    let free = told(free, 1, vec![put(row("d", "four", 5, 5, 1)), delete("c", 6)]);
    judge(free, Invalid, "no unknown operation and no end of a lease can have done that");
}

#[test]
fn nonsense_is_an_event_like_any_other() {
    for revision in [i64::MIN, -1, 0, 1, i64::MAX] {
        let one = hear(
            open(written(), 1, asked(0)),
            1,
            revision,
            WatchTold::Events(vec![put(row("a", "one", revision, revision, 1))]),
        );
        judge(hear(one, 1, revision, WatchTold::Created), Invalid, "watch reliable: watch 1");
    }
}

#[test]
fn what_was_broken_before_starting_over_stays_broken() {
    let broken = watched(vec![vec![put(b3()), put(a2())]]);
    judge(broken.started_over(3), Invalid, "watch ordered");
    let fine = watched(vec![vec![put(a2()), put(b3())]]).started_over(3);
    judge(fine, Unknown, "0 changes");
}
