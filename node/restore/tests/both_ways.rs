//! A hundred thousand keys, from a member of ours into real etcd and back: every key, revision,
//! version and lease is the same at each station.

#[expect(dead_code, reason = "other tests ask for more")]
mod member;

use etcd_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseLeasesRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
};
use etcd_api::mvccpb::KeyValue;
use member::Member;
use node_oracle::{Programs, own};

const KEYS: usize = 100_000;
const REWRITTEN: usize = 20_000;
const DELETED: usize = 1_000;
const LEASES: i64 = 50;
const LEASED_EACH: usize = 100;
/// Puts of one transaction.
const AT_ONCE: usize = 100;

fn key(number: usize) -> Vec<u8> {
    format!("registry/{number:06}").into_bytes()
}

/// Everything that can be asked of a key space.
#[derive(Debug, PartialEq)]
struct Content {
    now: Vec<KeyValue>,
    before: Vec<KeyValue>,
    leases: Vec<(i64, i64)>,
    hash: (u32, i64),
}

impl Content {
    /// Asks a member; `before` is a revision at which everything is asked, too.
    async fn of(member: &Member, before: i64) -> Self {
        let mut leases = Vec::new();
        let mut asked = member.lease();
        for lease in
            asked.lease_leases(LeaseLeasesRequest {}).await.expect("a list").into_inner().leases
        {
            let question = LeaseTimeToLiveRequest { id: lease.id, keys: true };
            let answer = asked.lease_time_to_live(question).await.expect("its time").into_inner();
            assert_eq!(answer.keys.len(), LEASED_EACH, "keys of lease {:x}", lease.id);
            leases.push((lease.id, answer.granted_ttl));
        }
        leases.sort_unstable();
        let hash = member.maintenance().hash_kv(HashKvRequest { revision: 0 }).await;
        let hash = hash.expect("a hash").into_inner();
        Self {
            now: all(member, 0).await,
            before: all(member, before).await,
            leases,
            hash: (hash.hash, hash.compact_revision),
        }
    }
}

/// All keys at a revision, in pages.
async fn all(member: &Member, revision: i64) -> Vec<KeyValue> {
    let mut found: Vec<KeyValue> = Vec::new();
    loop {
        let from = found.last().map_or_else(|| vec![0], |kv| [&*kv.key, b"\0"].concat());
        let page = RangeRequest {
            key: from.into(),
            range_end: vec![0].into(),
            limit: 10_000,
            revision,
            ..RangeRequest::default()
        };
        let answer = member.kv().range(page).await.expect("a page").into_inner();
        found.extend(answer.kvs);
        if !answer.more {
            return found;
        }
    }
}

fn put(number: usize, value: String, lease: i64) -> RequestOp {
    let put = PutRequest {
        key: key(number).into(),
        value: value.into_bytes().into(),
        lease,
        ..PutRequest::default()
    };
    RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

/// Writes keys with history, leases and a compaction; returns a revision behind that.
async fn fill(member: &Member) -> i64 {
    let mut granting = member.lease();
    for id in 1..=LEASES {
        let lease = LeaseGrantRequest { id, ttl: 1_000 + id };
        granting.lease_grant(lease).await.expect("a lease");
    }
    let mut kv = member.kv();
    let numbers: Vec<usize> = (0..KEYS).chain(0..REWRITTEN).collect();
    for (round, numbers) in numbers.chunks(AT_ONCE).enumerate() {
        // Of the keys that are not written again.
        let lease_of = |number: usize| {
            let group = number.checked_sub(REWRITTEN).map(|place| (place / LEASED_EACH) as i64);
            group.filter(|group| *group < LEASES).map_or(0, |group| group + 1)
        };
        let success =
            numbers.iter().map(|n| put(*n, format!("{round} of {n}"), lease_of(*n))).collect();
        kv.txn(TxnRequest { success, ..TxnRequest::default() }).await.expect("a transaction");
    }
    let deleted = DeleteRangeRequest {
        key: key(KEYS - DELETED).into(),
        range_end: key(KEYS).into(),
        ..DeleteRangeRequest::default()
    };
    let answer = kv.delete_range(deleted).await.expect("deleted").into_inner();
    assert_eq!(answer.deleted, DELETED as i64);
    let revision = answer.header.expect("a header").revision;
    let compaction = CompactionRequest { revision: revision - 150, physical: true };
    kv.compact(compaction).await.expect("compacted");
    revision - 100
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys_go_to_etcd_and_come_back() {
    let Some(Programs { etcd, etcdctl, .. }) = Programs::find() else { return };
    let (node, ctl) = (own("raft-node"), own("raft-ctl"));
    let folder = tempfile::tempdir().expect("a folder");

    let ours = Member::start(&node, folder.path(), "ours", None).await;
    let before = fill(&ours).await;
    let first = Content::of(&ours, before).await;
    assert_eq!(first.now.len(), KEYS - DELETED);
    assert_eq!(first.leases.len(), LEASES as usize);
    let saved = ours.save(&etcdctl, &folder.path().join("ours.db"));
    drop(ours);

    let theirs = Member::start(&etcd, folder.path(), "theirs", Some((&etcdctl, &saved))).await;
    assert!(Content::of(&theirs, before).await == first, "real etcd serves what was saved");
    let saved = theirs.save(&etcdctl, &folder.path().join("theirs.db"));
    drop(theirs);

    let again = Member::start(&node, folder.path(), "again", Some((&ctl, &saved))).await;
    assert!(Content::of(&again, before).await == first, "a member of ours serves it again");
}
