//! What a watch stream answers in every situation, and that it scales.

use std::sync::Arc;

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, WatchCancelRequest,
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse, request_op::Request,
    watch_create_request::FilterType, watch_request::RequestUnion,
};
use proptest::prelude::*;

use super::*;
use crate::kv::{Change, Loader, MemoryRows, Op, Rows, Store, Table};
use crate::training::Planted;

/// A store and its hub, as the apply thread holds them.
struct World {
    store: Store,
    hub: Arc<WatchHub>,
    rows: Arc<MemoryRows>,
    /// Everything ever flushed.
    flushed: Vec<Change>,
}

impl World {
    fn new() -> Self {
        let rows = Arc::new(MemoryRows::default());
        let store = Store::new(Arc::clone(&rows) as Arc<dyn Rows>);
        let hub = WatchHub::new(store.revision());
        Self { store, hub, rows, flushed: Vec::new() }
    }

    fn stream(&self) -> WatchStream {
        WatchStream::new(Arc::clone(&self.hub), 4096, Planted::default())
    }

    fn apply(&mut self, op: impl Into<Op>) {
        let applied = self.store.apply(&op.into()).expect("the rows are in RAM");
        assert!(applied.result.is_ok(), "{:?}", applied.result);
        if let Some(revised) = applied.revised {
            self.hub.publish(&revised);
        }
    }

    fn put(&mut self, key: &str, value: &str) {
        self.apply(Op::Put(put(key, value)));
    }

    fn delete(&mut self, key: &str) {
        self.apply(Op::DeleteRange(DeleteRangeRequest { key: bytes(key), ..Default::default() }));
    }

    fn compact(&mut self, revision: i64) {
        self.apply(Op::Compact(CompactionRequest { revision, physical: false }));
        while self.store.compact_some(1) {}
    }

    fn flush(&mut self) {
        let up_to = self.store.last_row();
        let changes = self.store.take_changes();
        self.rows.flush(&changes);
        self.flushed.extend(changes);
        self.store.flushed(up_to);
    }

    /// A store read back from what was flushed: no young revisions in RAM.
    fn restart(&mut self) {
        self.flush();
        let mut tables = std::collections::BTreeMap::new();
        for Change { table, key, value } in &self.flushed {
            tables.insert((*table, key.clone()), value.clone());
        }
        let mut loader = Loader::new(Arc::clone(&self.rows) as Arc<dyn Rows>);
        for ((table, key), value) in &tables {
            if let Some(value) = value {
                loader.push(*table, key, value).expect("what was flushed is readable");
            }
        }
        self.store = loader.finish();
    }

    /// Everything the stream has to say, until it has no more.
    fn poll(&self, stream: &mut WatchStream) -> Vec<WatchResponse> {
        let mut responses = Vec::new();
        loop {
            let polled = stream.poll(&self.store).expect("the rows are in RAM");
            responses.extend(polled.responses);
            if !polled.more {
                return responses;
            }
        }
    }

    /// Hands a request in; returns all that is said then.
    fn ask(&self, stream: &mut WatchStream, union: RequestUnion) -> Vec<WatchResponse> {
        let request = WatchRequest { request_union: Some(union) };
        let mut responses = stream.request(request, &self.store);
        responses.extend(self.poll(stream));
        responses
    }

    fn watch(&self, stream: &mut WatchStream, create: WatchCreateRequest) -> Vec<WatchResponse> {
        self.ask(stream, RequestUnion::CreateRequest(create))
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

fn of(key: &str, range_end: &str, start_revision: i64) -> WatchCreateRequest {
    let (key, range_end) = (bytes(key), bytes(range_end));
    WatchCreateRequest { key, range_end, start_revision, ..Default::default() }
}

/// A response in one line: what it is, for which watch, at which revision, and its events.
fn line(response: &WatchResponse) -> String {
    let mut text = String::new();
    for (is, word) in [
        (response.created, "created "),
        (response.canceled, "canceled "),
        (response.fragment, "fragment "),
    ] {
        text += if is { word } else { "" };
    }
    text += &format!("{} @{}", response.watch_id, response.header.expect("a header").revision);
    if response.compact_revision != 0 {
        text += &format!(" compacted={}", response.compact_revision);
    }
    if !response.cancel_reason.is_empty() {
        text += &format!(" ({})", response.cancel_reason);
    }
    for event in &response.events {
        let kv = event.kv.as_ref().expect("an event has a key");
        let (key, value) = (String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
        text += &match event.r#type {
            0 => format!(" {key}={value}@{}", kv.mod_revision),
            _ => format!(" -{key}@{}", kv.mod_revision),
        };
        if let Some(before) = &event.prev_kv {
            text += &format!("<{}", String::from_utf8_lossy(&before.value));
        }
    }
    text
}

#[track_caller]
fn check(responses: &[WatchResponse], expected: &[&str]) {
    assert_eq!(responses.iter().map(line).collect::<Vec<_>>(), expected);
}

#[test]
fn live_events_after_creation_only() {
    let mut world = World::new();
    let mut stream = world.stream();
    world.put("k", "0");
    check(&world.watch(&mut stream, of("k", "", 0)), &["created 0 @2"]);
    world.put("k", "1");
    world.put("other", "x");
    check(&world.poll(&mut stream), &["0 @4 k=1@3"]);
    world.delete("k");
    check(&world.poll(&mut stream), &["0 @5 -k@5"]);
    check(&world.poll(&mut stream), &[]);
}

#[test]
fn ids_are_chosen_or_given() {
    let world = World::new();
    let mut stream = world.stream();
    let with_id = |watch_id| WatchCreateRequest { watch_id, ..of("k", "", 0) };
    check(&world.watch(&mut stream, with_id(1)), &["created 1 @1"]);
    check(&world.watch(&mut stream, of("k", "", 0)), &["created 0 @1"]);
    check(&world.watch(&mut stream, of("k", "", 0)), &["created 2 @1"]);
    check(
        &world.watch(&mut stream, with_id(2)),
        &["created canceled -1 @1 (mvcc: duplicate watch ID provided on the WatchStream)"],
    );
    assert_eq!(stream.watches(), 3);
}

#[test]
fn what_cannot_be_watched_is_refused_at_creation() {
    let world = World::new();
    let mut stream = world.stream();
    for (create, want) in [
        (of("b", "a", 0), "created canceled -1 @1 (mvcc: watcher range is empty)"),
        (of("b", "b", 0), "created canceled -1 @1 (mvcc: watcher range is empty)"),
        (
            of("k", "", -1),
            "created canceled -1 @1 (etcdserver: mvcc: required revision has been compacted)",
        ),
        (of("", "\0", 0), "created 0 @1"),
    ] {
        check(&world.watch(&mut stream, create), &[want]);
    }
}

#[test]
fn an_empty_key_is_the_smallest_one() {
    let mut world = World::new();
    let mut stream = world.stream();
    world.watch(&mut stream, of("", "\0", 0));
    world.put("a", "1");
    world.put("z", "2");
    check(&world.poll(&mut stream), &["0 @3 a=1@2 z=2@3"]);
}

#[test]
fn history_then_live_without_gap_or_repetition() {
    for restarted in [false, true] {
        let mut world = World::new();
        for value in ["1", "2", "3"] {
            world.put("k", value);
            world.put("l", value);
        }
        if restarted {
            world.restart();
        }
        let mut stream = world.stream();
        let created = world.watch(&mut stream, of("k", "", 3));
        check(&created, &["created 0 @7", "0 @7 k=2@4 k=3@6"]);
        let created = world.watch(&mut stream, of("k", "m", 5));
        check(&created, &["created 1 @7", "1 @7 l=2@5 k=3@6 l=3@7"]);
        world.put("k", "4");
        check(&world.poll(&mut stream), &["0 @8 k=4@8", "1 @8 k=4@8"]);
    }
}

/// etcd-io/etcd#20221: a start in the future stays silent until it is reached.
#[test]
fn a_start_in_the_future_is_silent_until_then() {
    let mut world = World::new();
    let mut stream = world.stream();
    check(&world.watch(&mut stream, of("k", "", 4)), &["created 0 @1"]);
    for value in ["2", "3"] {
        world.put("k", value);
        check(&world.poll(&mut stream), &[]);
    }
    world.put("k", "4");
    check(&world.poll(&mut stream), &["0 @4 k=4@4"]);
}

#[test]
fn a_compacted_start_is_said_so() {
    let mut world = World::new();
    for value in ["1", "2", "3"] {
        world.put("k", value);
    }
    world.compact(3);
    let mut stream = world.stream();
    let created = world.watch(&mut stream, of("k", "", 2));
    check(&created, &["created 0 @4", "canceled 0 @0 compacted=3"]);
    assert_eq!(stream.watches(), 0);
    let created = world.watch(&mut stream, of("k", "", 3));
    check(&created, &["created 1 @4", "1 @4 k=2@3 k=3@4"]);
}

/// etcd-io/etcd#18089: the deletion at the very revision compacted at is not lost.
#[test]
fn a_deletion_at_the_compact_revision_is_told() {
    let mut world = World::new();
    world.put("k", "1");
    world.delete("k");
    world.put("l", "1");
    world.compact(3);
    for _ in 0..2 {
        let mut stream = world.stream();
        let created = world.watch(&mut stream, of("", "\0", 3));
        check(&created, &["created 0 @4", "0 @4 -k@3 l=1@4"]);
        world.restart();
    }
}

#[test]
fn a_watch_that_falls_behind_a_compaction_ends() {
    let mut world = World::new();
    let mut stream = world.stream();
    world.watch(&mut stream, of("k", "", 0));
    for value in ["1", "2", "3"] {
        world.put("k", value);
    }
    world.compact(4);
    check(&world.poll(&mut stream), &["canceled 0 @0 compacted=4"]);
}

/// Python's aetcd cancels what a compaction has ended, and etcd answers that once.
#[test]
fn a_compacted_watch_keeps_its_id_until_it_is_cancelled() {
    let mut world = World::new();
    for value in ["1", "2", "3"] {
        world.put("k", value);
    }
    world.compact(3);
    let mut stream = world.stream();
    let seventh = || WatchCreateRequest { watch_id: 7, ..of("k", "", 2) };
    check(&world.watch(&mut stream, seventh()), &["created 7 @4", "canceled 7 @0 compacted=3"]);
    let taken = "created canceled -1 @4 (mvcc: duplicate watch ID provided on the WatchStream)";
    check(&world.watch(&mut stream, seventh()), &[taken]);
    let cancel = || RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 7 });
    check(&world.ask(&mut stream, cancel()), &["canceled 7 @4"]);
    check(&world.ask(&mut stream, cancel()), &[]);
    check(&world.watch(&mut stream, seventh()), &["created 7 @4", "canceled 7 @0 compacted=3"]);
}

#[test]
fn cancel() {
    let mut world = World::new();
    let mut stream = world.stream();
    world.watch(&mut stream, of("k", "", 0));
    let cancel = |watch_id| RequestUnion::CancelRequest(WatchCancelRequest { watch_id });
    check(&world.ask(&mut stream, cancel(7)), &[]);
    check(&world.ask(&mut stream, cancel(0)), &["canceled 0 @1"]);
    check(&world.ask(&mut stream, cancel(0)), &[]);
    world.put("k", "1");
    check(&world.poll(&mut stream), &[]);
    assert_eq!(world.hub.counts(), (1, 0));
    world.watch(&mut stream, of("a", "b", 0));
    drop(stream);
    assert_eq!(world.hub.counts(), (0, 0), "a stream that ends leaves nothing");
}

#[test]
fn filters_and_previous_versions() {
    let mut world = World::new();
    let mut stream = world.stream();
    let only =
        |filter: FilterType| WatchCreateRequest { filters: vec![filter.into()], ..of("k", "", 0) };
    world.watch(&mut stream, only(FilterType::Nodelete));
    world.watch(&mut stream, only(FilterType::Noput));
    world.watch(&mut stream, WatchCreateRequest { prev_kv: true, ..of("k", "", 0) });
    world.put("k", "1");
    check(&world.poll(&mut stream), &["0 @2 k=1@2", "2 @2 k=1@2"]);
    world.put("k", "2");
    world.delete("k");
    check(&world.poll(&mut stream), &["0 @4 k=2@3", "1 @4 -k@4", "2 @4 k=2@3<1 -k@4<2"]);

    // From the compact revision on nothing before it is shown, whether it is dropped yet or not.
    world.put("k", "3");
    world.put("k", "4");
    world.apply(Op::Compact(CompactionRequest { revision: 6, physical: false }));
    let mut stream = world.stream();
    let created = world.watch(&mut stream, WatchCreateRequest { prev_kv: true, ..of("k", "", 6) });
    check(&created, &["created 0 @6", "0 @6 k=4@6"]);
}

#[test]
fn one_transaction_is_one_response() {
    let mut world = World::new();
    let mut stream = world.stream();
    world.watch(&mut stream, of("", "\0", 0));
    let op = |key: &str| RequestOp { request: Some(Request::RequestPut(put(key, "v"))) };
    let success = ["b", "a", "c"].map(op).to_vec();
    world.apply(Op::Txn(TxnRequest { success, ..Default::default() }));
    check(&world.poll(&mut stream), &["0 @2 b=v@2 a=v@2 c=v@2"]);
}

#[test]
fn progress_never_runs_ahead_of_events() {
    let mut world = World::new();
    world.put("k", "1");
    let mut stream = world.stream();
    let progress = || RequestUnion::ProgressRequest(WatchProgressRequest {});
    check(&world.ask(&mut stream, progress()), &["-1 @2"]);
    world.watch(&mut stream, of("k", "", 0));
    world.put("k", "2");
    check(&world.ask(&mut stream, progress()), &["0 @3 k=2@3", "-1 @3"]);

    // A revision is in the store but not published yet: it is not promised.
    let applied = world.store.apply(&Op::Put(put("k", "3"))).expect("in RAM");
    check(&world.ask(&mut stream, progress()), &["-1 @3"]);
    world.hub.publish(&applied.revised.expect("a put has a revision"));
    check(&world.ask(&mut stream, progress()), &["0 @4 k=3@4", "-1 @4"]);

    // Watches that read history hold progress back until all are through: more than one poll.
    let mut late = world.stream();
    for _ in 0..40 {
        let create = RequestUnion::CreateRequest(of("k", "", 1));
        late.request(WatchRequest { request_union: Some(create) }, &world.store);
    }
    late.request(WatchRequest { request_union: Some(progress()) }, &world.store);
    assert!(late.poll(&world.store).expect("in RAM").more);
    let responses = world.poll(&mut late);
    assert_eq!(responses.len(), 9);
    check(&responses[8..], &["-1 @4"]);
}

#[test]
fn progress_is_told_to_quiet_watches_that_asked_for_it() {
    let mut world = World::new();
    let mut stream = world.stream();
    let notified = |key| WatchCreateRequest { progress_notify: true, ..of(key, "", 0) };
    world.watch(&mut stream, notified("a"));
    world.watch(&mut stream, notified("b"));
    world.watch(&mut stream, of("c", "", 0));
    world.put("a", "1");
    check(&world.poll(&mut stream), &["0 @2 a=1@2"]);
    stream.notify_progress();
    check(&world.poll(&mut stream), &["1 @2"]);
    stream.notify_progress();
    check(&world.poll(&mut stream), &["0 @2", "1 @2"]);
    check(&world.poll(&mut stream), &[]);
}

#[test]
fn large_responses_are_split_where_the_client_allows_it() {
    let mut world = World::new();
    let mut stream = world.stream();
    let big = "x".repeat(2000);
    let ops = (0..5)
        .map(|n| RequestOp { request: Some(Request::RequestPut(put(&format!("k{n}"), &big))) });
    world.watch(&mut stream, WatchCreateRequest { fragment: true, ..of("", "\0", 0) });
    world.watch(&mut stream, of("", "\0", 0));
    world.apply(Op::Txn(TxnRequest { success: ops.collect(), ..Default::default() }));
    let responses = world.poll(&mut stream);
    let shape: Vec<_> = responses
        .iter()
        .map(|response| (response.watch_id, response.fragment, response.events.len()))
        .collect();
    assert_eq!(shape, [(0, true, 2), (0, true, 2), (0, false, 1), (1, false, 5)]);
    for response in responses.iter().filter(|response| response.watch_id == 0) {
        assert!(prost::Message::encoded_len(response) <= 4096);
    }
}

#[test]
fn a_snapshot_replaces_the_store_under_the_watches() {
    let mut world = World::new();
    let mut stream = world.stream();
    world.watch(&mut stream, of("k", "", 0));
    world.put("k", "1");
    check(&world.poll(&mut stream), &["0 @2 k=1@2"]);
    // What follows happens elsewhere and arrives as a whole.
    for value in ["2", "3"] {
        world.store.apply(&Op::Put(put("k", value))).expect("in RAM");
    }
    world.restart();
    world.hub.jump(world.store.revision());
    check(&world.poll(&mut stream), &["0 @4 k=2@3 k=3@4"]);
}

#[tokio::test]
async fn only_streams_concerned_are_woken() {
    use std::time::Duration;
    let mut world = World::new();
    let mut concerned = world.stream();
    let mut other = world.stream();
    world.watch(&mut concerned, of("a", "b", 0));
    world.watch(&mut other, of("b", "", 0));
    world.put("ab", "1");
    concerned.wake().notified().await;
    let wake = other.wake();
    let woken = tokio::time::timeout(Duration::ZERO, wake.notified()).await;
    assert!(woken.is_err(), "nothing happened to its key");
}

/// Ten thousand watches: a write marks the few it concerns, by key, by prefix and by range.
#[test]
fn a_write_costs_the_watches_it_concerns() {
    let mut world = World::new();
    let mut stream = world.stream();
    for n in 0..10_000 {
        let create = RequestUnion::CreateRequest(of(&format!("k{n:05}"), "", 0));
        stream.request(WatchRequest { request_union: Some(create) }, &world.store);
    }
    for (key, end) in [("k0", "k1"), ("k1", "k2"), ("k00004", "k00006"), ("k1", "\0")] {
        world.watch(&mut stream, of(key, end, 0));
    }
    world.put("k00005", "v");
    let polled = stream.poll(&world.store).expect("in RAM");
    let ids: Vec<_> = polled.responses.iter().map(|response| response.watch_id).collect();
    assert_eq!((ids, polled.more), (vec![5, 10_000, 10_002], false));
    assert_eq!(world.hub.counts(), (1, 10_004));
}

proptest! {
    /// Whatever is watched from wherever, polled whenever: every event of the range from there on
    /// comes exactly once and in order.
    #[test]
    fn every_event_comes_once_and_in_order(
        steps in prop::collection::vec((0..6_u8, 0..4_usize, 0..12_i64), 1..80),
    ) {
        const KEYS: [&str; 4] = ["a", "ab", "b", "c"];
        const RANGES: [(&str, &str); 4] = [("a", ""), ("a", "b"), ("ab", "\0"), ("a", "c")];
        let mut world = World::new();
        let mut stream = world.stream();
        let mut all: Vec<(i64, Bytes)> = Vec::new();
        let mut expected_from: Vec<(usize, i64)> = Vec::new();
        let mut got: Vec<Vec<(i64, Bytes)>> = Vec::new();
        let take = |responses: Vec<WatchResponse>, got: &mut Vec<Vec<(i64, Bytes)>>| {
            for response in responses {
                let id = usize::try_from(response.watch_id).expect("no refusals here");
                got.resize(got.len().max(id + 1), Vec::new());
                for kv in response.events.into_iter().filter_map(|event| event.kv) {
                    got[id].push((kv.mod_revision, kv.key));
                }
            }
        };
        for (action, pick, start) in steps {
            match action {
                0..=2 => {
                    world.put(KEYS[pick], "v");
                    all.push((world.store.revision().0, bytes(KEYS[pick])));
                }
                3 => {
                    let (key, end) = RANGES[pick];
                    let first = if start == 0 { world.store.revision().0 + 1 } else { start };
                    expected_from.push((pick, first));
                    let request = RequestUnion::CreateRequest(of(key, end, start));
                    let request = WatchRequest { request_union: Some(request) };
                    take(stream.request(request, &world.store), &mut got);
                }
                4 => {
                    let polled = stream.poll(&world.store).expect("readable");
                    take(polled.responses, &mut got);
                }
                _ => world.restart(),
            }
        }
        take(world.poll(&mut stream), &mut got);
        for (id, (pick, first)) in expected_from.into_iter().enumerate() {
            let (key, end) = RANGES[pick];
            let range = crate::kv::KeyRange::new(&bytes(key), &bytes(end));
            let want: Vec<_> = all
                .iter()
                .filter(|(revision, key)| *revision >= first && range.contains(key))
                .cloned()
                .collect();
            prop_assert_eq!(&got[id], &want);
        }
    }
}

/// The tables a restart reads are the ones a flush writes.
#[test]
fn a_restart_keeps_the_revision() {
    let mut world = World::new();
    world.put("k", "v");
    world.restart();
    assert_eq!(world.store.revision().0, 2);
    assert!(world.flushed.iter().any(|change| change.table == Table::Meta));
}
