//! A made run as promised, changed at one place: the rule that is there to find it must find it,
//! and no other.

use std::time::Duration;

use bytes::Bytes;
use etcd_api::mvccpb::{Event, KeyValue, event::EventType};

use super::super::rule::Rule;
use super::book::{
    Book, Change, Guard, Lease, Outcome, Overtaken, Reach, Reel, Scope, Told, View, Why, Write,
};
use super::judge::{Wanted, judge};

const WANTED: Wanted = Wanted { writes: 1, lists: 1, compactions: 1 };
const LEASE: i64 = 77;

fn row(key: &'static str, created: i64, revision: i64, version: i64, lease: i64) -> KeyValue {
    KeyValue {
        key: key.into(),
        create_revision: created,
        mod_revision: revision,
        version,
        value: format!("at {revision}").into(),
        lease,
    }
}

fn put(row: &KeyValue, before: Option<&KeyValue>) -> Event {
    Event { r#type: EventType::Put.into(), kv: Some(row.clone()), prev_kv: before.cloned() }
}

fn delete(key: &'static str, revision: i64, before: &KeyValue) -> Event {
    let kv = KeyValue { key: key.into(), mod_revision: revision, ..KeyValue::default() };
    Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv: Some(before.clone()) }
}

fn told(events: &[Event], at_seconds: u64) -> Told {
    let header = events[0].kv.as_ref().expect("an event has a row").mod_revision;
    let at = Duration::from_secs(at_seconds);
    Told::Events { header, events: events.to_vec(), at, compacting: 0 }
}

fn write(key: &'static str, guard: i64, revision: i64, lease: i64) -> Write {
    Write {
        who: "writer".into(),
        key: key.into(),
        guard: Guard::ModRevision(guard),
        change: Change::Put { value: format!("at {revision}").into(), lease },
        floor: revision - 1,
        outcome: Outcome::At(revision),
    }
}

fn view(scope: Scope, revision: i64, rows: &[&KeyValue]) -> View {
    View {
        who: "lister".into(),
        scope,
        revision,
        rows: rows.iter().map(|row| (*row).clone()).collect(),
        pages: 2,
        floor: revision,
        wrong: None,
    }
}

/// Revisions 2 to 7: `p/a` is created, updated, deleted; `e/1` and `e/2` hang on a lease of 5 s and
/// go with it at 7. The compactors reached 3.
fn sound() -> Book {
    let a2 = row("p/a", 2, 2, 1, 0);
    let e3 = row("e/1", 3, 3, 1, LEASE);
    let a4 = row("p/a", 2, 4, 2, 0);
    let e5 = row("e/2", 5, 5, 1, LEASE);
    let heard = vec![
        told(&[put(&a2, None)], 1),
        told(&[put(&e3, None)], 1),
        told(&[put(&a4, Some(&a2))], 2),
        told(&[put(&e5, None)], 2),
        told(&[delete("p/a", 6, &a4)], 3),
        told(&[delete("e/1", 7, &e3), delete("e/2", 7, &e5)], 9),
    ];
    let reel = |who: &str, scope: Scope, listed, rows: &[&KeyValue], told: &[Told], audits| Reel {
        who: who.into(),
        scope,
        listed,
        rows: rows.iter().map(|row| (*row).clone()).collect(),
        told: told.to_vec(),
        ended: String::new(),
        audits,
        to_the_end: true,
    };
    let auditor = reel("auditor", Scope::prefix(""), 1, &[], &heard, true);
    // It listed `p/` at 2, and its stream broke after a bookmark.
    let pods = [
        Told::Bookmark(3),
        Told::Resumed { by_bookmark: true, why: Why::Ended },
        heard[2].clone(),
        heard[4].clone(),
        Told::Bookmark(7),
    ];
    let informer = reel("informer", Scope::prefix("p/"), 2, &[&a2], &pods, false);
    let delete = Write { change: Change::Delete, ..write("p/a", 4, 6, 0) };
    let conflict = Write {
        outcome: Outcome::Conflict { revision: 5, found: Some(a4.clone()) },
        floor: 4,
        ..write("p/a", 2, 99, 0)
    };
    let unknown = Write { outcome: Outcome::Unknown("lost".into()), ..write("e/2", 0, 5, LEASE) };
    let lost = Write { outcome: Outcome::Unknown("lost".into()), ..write("p/b", 0, 98, 0) };
    Book {
        writes: vec![
            write("p/a", 0, 2, 0),
            write("e/1", 0, 3, LEASE),
            write("p/a", 2, 4, 0),
            unknown,
            delete,
            conflict,
            lost,
        ],
        views: vec![
            view(Scope::prefix("p/"), 2, &[&a2]),
            view(Scope::prefix(""), 5, &[&e3, &e5, &a4]),
            view(Scope::prefix(""), 7, &[]),
        ],
        reaches: vec![
            Reach { who: "lister".into(), revision: 2, refused: true, asked: 3, done: 0 },
            Reach { who: "lister".into(), revision: 3, refused: false, asked: 3, done: 3 },
        ],
        reels: vec![auditor, informer],
        leases: [(LEASE, Lease { sent: Duration::from_secs(1), ttl: Duration::from_secs(5) })]
            .into(),
        overtaken: vec![Overtaken {
            who: "informer".into(),
            audits: false,
            from: 2,
            compacted: 3,
            asked: 3,
        }],
        ends: [("connection lost".to_owned(), 1)].into(),
        told: 7,
        compacting: 3,
        compacted: 3,
        compactions: 1,
        bad_compactions: vec![],
        last: Some(view(Scope::prefix(""), 7, &[])),
        left_over: Some(vec![]),
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Book), broken: &[&str]) {
    let mut book = sound();
    change(&mut book);
    let rules = judge(&book, WANTED);
    let found: Vec<_> = rules.iter().filter(|rule| rule.is_broken()).map(Rule::name).collect();
    let results: Vec<_> = rules.iter().map(Rule::result).collect();
    assert_eq!(found, broken, "{results:#?}");
}

fn informer(book: &mut Book) -> &mut Vec<Told> {
    &mut book.reels[1].told
}

fn events(told: &mut Told) -> &mut Vec<Event> {
    match told {
        Told::Events { events, .. } => events,
        Told::Bookmark(_) | Told::Resumed { .. } => panic!("these are no events"),
    }
}

#[test]
fn a_run_as_promised_is_valid() {
    check(|_| {}, &[]);
    for result in judge(&sound(), WANTED).iter().map(Rule::result) {
        assert_eq!(result.judgement, lab_protocol::Judgement::Valid, "{result:?}");
    }
}

#[test]
fn a_gap_in_the_history_is_found() {
    let gap = |book: &mut Book| {
        book.overtaken.clear();
        book.reels[0].told.remove(1);
        // Nobody else knew of it.
        book.writes.remove(1);
    };
    let mut book = sound();
    gap(&mut book);
    let rules = judge(&book, WANTED);
    assert!(rules[0].is_broken(), "{rules:?}");
}

#[test]
fn auditors_that_differ_are_found() {
    let change = |book: &mut Book| {
        let mut other = book.reels[0].clone();
        events(&mut other.told[0])[0].kv.as_mut().expect("a row").value = "else".into();
        book.reels.push(other);
    };
    let mut book = sound();
    change(&mut book);
    assert!(judge(&book, WANTED)[0].is_broken());
}

#[test]
fn an_informer_s_gap_duplicate_and_swap_are_found() {
    // Without the update the cache is behind when the delete comes.
    let gapless = "watch_goes_on_from_list";
    let prev = "prev_kv_is_the_cache";
    check(|book| drop(informer(book).remove(2)), &[gapless, prev]);
    let twice = |book: &mut Book| {
        let again = informer(book)[2].clone();
        informer(book).insert(3, again);
    };
    check(twice, &[gapless, prev]);
    check(|book| informer(book).swap(2, 3), &[gapless, prev, "caches_equal_a_final_list"]);
    // The last change is missing, though a bookmark says that everything was told.
    check(|book| drop(informer(book).remove(3)), &[gapless, "caches_equal_a_final_list"]);
}

#[test]
fn a_wrong_row_before_is_found() {
    let other = |book: &mut Book| {
        let prev = &mut events(&mut informer(book)[2])[0].prev_kv;
        prev.as_mut().expect("a row").version = 9;
    };
    check(other, &["prev_kv_is_the_cache"]);
    check(|book| events(&mut informer(book)[2])[0].prev_kv = None, &["prev_kv_is_the_cache"]);
}

#[test]
fn a_bookmark_that_comes_too_soon_is_found() {
    check(|book| informer(book)[0] = Told::Bookmark(4), &["bookmarks"]);
    check(|book| informer(book).insert(1, Told::Bookmark(2)), &["bookmarks"]);
}

#[test]
fn an_informer_that_does_not_come_to_the_end_is_found() {
    check(|book| drop(informer(book).pop()), &["caches_equal_a_final_list"]);
}

#[test]
fn a_list_that_is_torn_or_old_is_found() {
    // The second page is of a later revision.
    let torn = |book: &mut Book| drop(book.views[1].rows.pop());
    check(torn, &["lists_at_one_revision"]);
    let count = |book: &mut Book| book.views[1].wrong = Some("shows 2 of 1".into());
    check(count, &["lists_at_one_revision"]);
    // Refused at its first page, it shows nothing, and nothing old.
    let refused = |book: &mut Book| {
        let wrong = Some("refused: too long".into());
        let scope = Scope::prefix("");
        book.views.push(View { pages: 0, floor: 7, wrong, ..view(scope, 0, &[]) });
    };
    check(refused, &["lists_at_one_revision"]);
    check(|book| book.views[1].floor = 6, &["answers_are_fresh"]);
    check(|book| book.writes[2].floor = 4, &["answers_are_fresh"]);
}

#[test]
fn a_write_that_is_lost_repeated_or_against_its_guard_is_found() {
    let guarded = &["guarded_writes"][..];
    // It was told that it happened, and something else did.
    let lost = Write { key: Bytes::from_static(b"p/c"), ..write("p/a", 0, 5, 0) };
    check(|book| book.writes.push(lost), guarded);
    check(|book| book.writes.push(write("p/c", 0, 8, 0)), guarded);
    check(|book| book.writes[2].guard = Guard::ModRevision(1), guarded);
    // It was told no, and it happened.
    check(|book| book.writes[2].outcome = Outcome::Refused("no".into()), guarded);
    check(|book| book.writes[3].change = Change::Delete, guarded);
    // A conflict where there was none, or that shows what was not there.
    check(|book| book.writes[5].guard = Guard::ModRevision(4), guarded);
    check(|book| book.writes[5].outcome = Outcome::Conflict { revision: 5, found: None }, guarded);
}

#[test]
fn a_lease_that_ends_early_late_or_in_part_is_found() {
    let leases = &["leases_over_many_keys"][..];
    let early = |book: &mut Book| {
        let Told::Events { at, .. } = &mut book.reels[0].told[5] else { panic!("events") };
        *at = Duration::from_millis(5_900);
    };
    check(early, leases);
    check(|book| book.left_over = Some(vec!["e/1".into()]), leases);
    let part = |book: &mut Book| drop(events(&mut book.reels[0].told[5]).pop());
    let mut book = sound();
    part(&mut book);
    book.views.retain(|view| view.revision != 7);
    assert!(judge(&book, WANTED).iter().any(|rule| rule.is_broken() && rule.name() == leases[0]));
}

#[test]
fn a_compaction_nobody_asked_for_or_that_shows_nothing_is_found() {
    let compaction = &["guarded_compaction"][..];
    check(|book| book.reaches[0].revision = 3, compaction);
    check(|book| book.reaches[1].revision = 2, compaction);
    check(|book| book.overtaken[0].from = 3, compaction);
    check(|book| book.overtaken[0].compacted = 4, compaction);
    check(|book| book.bad_compactions.push("refused".into()), compaction);
}
