//! What no command line can ask for: values that etcd's own clients do not send, by raw gRPC.

use std::fmt::Debug;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_api::etcdserverpb::alarm_request::AlarmAction;
use etcd_api::etcdserverpb::cluster_client::ClusterClient;
use etcd_api::etcdserverpb::compare::{CompareResult, TargetUnion};
use etcd_api::etcdserverpb::downgrade_request::DowngradeAction;
use etcd_api::etcdserverpb::kv_client::KvClient;
use etcd_api::etcdserverpb::lease_client::LeaseClient;
use etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_api::etcdserverpb::request_op::Request as Asked;
use etcd_api::etcdserverpb::watch_client::WatchClient;
use etcd_api::etcdserverpb::watch_request::RequestUnion;
use etcd_api::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, Compare, DefragmentRequest, DeleteRangeRequest,
    DowngradeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberAddRequest, MemberListRequest,
    MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, PutRequest,
    RangeRequest, RequestOp, StatusRequest, TxnRequest, WatchCancelRequest, WatchCreateRequest,
    WatchRequest,
};
use node_oracle::{Cluster, FIRST, LOOK, PATIENCE};
use regex::Regex;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

/// How long a stream has to say something more, once it said something.
const SILENCE: Duration = Duration::from_millis(300);

/// What is chance in an answer.
static CHANCE: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
    let regex = |pattern| Regex::new(pattern).expect("the pattern is sound");
    [
        (regex(r"raft_term: \d+"), "raft_term: <term>"),
        // How a request that is none is described is the library's.
        (regex(r"Internal: .*(?:unmarshal|decode).*"), "Internal: <not a message>"),
        // From 3.6 on.
        (regex(r", hash_revision: -?\d+"), ""),
    ]
});

/// One question, and all that was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) asked: &'static str,
    pub(crate) answer: String,
}

struct Raw {
    channel: Channel,
    /// Whether the etcd at hand is of this version or a later one.
    since_3_5: bool,
    said: Vec<Said>,
}

impl Raw {
    fn note(&mut self, asked: &'static str, answer: &str) {
        let mut answer = answer.to_owned();
        for (chance, name) in CHANCE.iter() {
            answer = chance.replace_all(&answer, *name).into_owned();
        }
        self.said.push(Said { asked, answer });
    }

    fn heard<T: Debug>(&mut self, asked: &'static str, answer: Result<Response<T>, Status>) {
        match answer {
            Ok(answer) => self.note(asked, &format!("{:?}", answer.into_inner())),
            Err(status) => self.note(asked, &refused(&status)),
        }
    }

    /// Whatever a stream says until it is silent.
    async fn followed<T: Debug>(
        &mut self,
        asked: &'static str,
        answer: Result<Response<Streaming<T>>, Status>,
    ) {
        let mut stream = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => return self.note(asked, &refused(&status)),
        };
        let (mut all, mut patience) = (Vec::new(), PATIENCE);
        while let Ok(said) = tokio::time::timeout(patience, stream.next()).await {
            match said {
                None => break,
                Some(Ok(message)) => all.push(format!("{message:?}")),
                Some(Err(status)) => all.push(refused(&status)),
            }
            patience = SILENCE;
        }
        self.note(asked, &all.join("\n"));
    }
}

fn refused(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() }
}

fn get(key: &'static str) -> RangeRequest {
    RangeRequest { key: bytes(key), ..RangeRequest::default() }
}

fn op(request: Asked) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// Asks the first member everything; what was answered, in order.
pub(crate) fn ask(cluster: &Cluster<'_>) -> Vec<Said> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let endpoint = Endpoint::from_shared(cluster.client_urls[0].clone()).expect("a URL");
    runtime.block_on(async {
        let channel = endpoint.timeout(PATIENCE).connect().await.expect("it listens");
        first_leads(cluster).await;
        let since_3_5 = cluster.programs.is_since("3.5");
        let mut raw = Raw { channel, since_3_5, said: Vec::new() };
        keys(&mut raw).await;
        transactions(&mut raw).await;
        watches(&mut raw).await;
        leases(&mut raw).await;
        members(&mut raw).await;
        maintenance(&mut raw).await;
        if since_3_5 {
            alarms(&mut raw).await;
            downgrades(&mut raw).await;
        }
        corrupt(&mut raw).await;
        raw.said
    })
}

/// Some answers are the leader's alone, and it is the first member that is asked.
async fn first_leads(cluster: &Cluster<'_>) {
    let since = Instant::now();
    let mut first = None;
    for url in cluster.client_urls.iter().take(FIRST).cycle() {
        assert!(since.elapsed() < PATIENCE, "the first member does not lead");
        let endpoint = Endpoint::from_shared(url.clone()).expect("a URL");
        let mut asked = MaintenanceClient::new(endpoint.connect().await.expect("it listens"));
        let status = asked.status(StatusRequest {}).await.expect("a status").into_inner();
        let id = status.header.expect("a header").member_id;
        let target_id = *first.get_or_insert(id);
        match status.leader {
            leader if leader == target_id => return,
            // It may have lost its office since, and then is asked again.
            leader if leader == id => {
                asked.move_leader(MoveLeaderRequest { target_id }).await.ok();
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

async fn keys(raw: &mut Raw) {
    let mut kv = KvClient::new(raw.channel.clone());
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        raw.heard("put", kv.put(put(key, value)).await);
    }
    raw.heard("range without a key", kv.range(RangeRequest::default()).await);
    let all = || RangeRequest { range_end: bytes("z"), ..get("a") };
    let ranges = [
        ("unknown sort order", RangeRequest { sort_order: 9, ..all() }),
        ("negative sort order", RangeRequest { sort_order: -1, ..all() }),
        ("negative limit", RangeRequest { limit: -5, ..all() }),
        ("negative revision", RangeRequest { revision: -7, ..all() }),
        ("future revision", RangeRequest { revision: 1 << 40, ..all() }),
        ("negative bounds", RangeRequest { min_mod_revision: -1, max_mod_revision: -1, ..all() }),
        ("bounds that cross", RangeRequest { min_mod_revision: 9, max_mod_revision: 1, ..all() }),
        ("count of keys only", RangeRequest { count_only: true, keys_only: true, ..all() }),
        ("an end before the key", RangeRequest { range_end: bytes("A"), ..all() }),
        ("an end equal to the key", RangeRequest { range_end: bytes("a"), ..all() }),
        ("from a key on", RangeRequest { range_end: bytes("\0"), ..get("b") }),
    ];
    for (asked, range) in ranges {
        raw.heard(asked, kv.range(range).await);
    }
    let puts = [
        ("put without a key", PutRequest { key: Bytes::new(), ..put("a", "1") }),
        ("put with a lease of nobody", PutRequest { lease: 77, ..put("a", "1") }),
        ("put with a negative lease", PutRequest { lease: -7, ..put("a", "1") }),
        ("put that keeps and gives a value", PutRequest { ignore_value: true, ..put("a", "1") }),
        (
            "put that keeps and gives a lease",
            PutRequest { ignore_lease: true, lease: 1, ..put("a", "1") },
        ),
        (
            "put that keeps the value of nothing",
            PutRequest { ignore_value: true, ..put("none", "") },
        ),
        (
            "put of 1.5 MiB and some",
            PutRequest { value: vec![0; 1_572_864].into(), ..put("a", "") },
        ),
        ("put of 3 MiB", PutRequest { value: vec![0; 3 << 20].into(), ..put("a", "") }),
    ];
    for (asked, request) in puts {
        raw.heard(asked, kv.put(request).await);
    }
    raw.heard("delete without a key", kv.delete_range(DeleteRangeRequest::default()).await);
    for (asked, revision) in [("zero", 0), ("negative", -3), ("future", 1 << 40)] {
        let request = CompactionRequest { revision, physical: false };
        raw.heard(asked, kv.compact(request).await);
    }
    raw.heard("all", kv.range(all()).await);
}

async fn transactions(raw: &mut Raw) {
    let mut kv = KvClient::new(raw.channel.clone());
    let on = |key| Compare { key: bytes(key), ..Compare::default() };
    let yes = || vec![op(Asked::RequestPut(put("t", "yes")))];
    let no = || vec![op(Asked::RequestRange(get("t")))];
    let either = |compare| TxnRequest { compare: vec![compare], success: yes(), failure: no() };
    let less = CompareResult::Less as i32;
    let compares = [
        ("unknown result", Compare { result: 9, ..on("a") }),
        ("unknown target", Compare { target: 9, ..on("a") }),
        ("nothing to compare with", Compare { target: 1, result: less, ..on("a") }),
        (
            "a version for a value",
            Compare { target: 3, target_union: Some(TargetUnion::Version(1)), ..on("a") },
        ),
        ("no key", Compare::default()),
        ("a key that is not there", on("none")),
    ];
    for (asked, compare) in compares {
        raw.heard(asked, kv.txn(either(compare)).await);
    }
    let of = |success| TxnRequest { success, ..TxnRequest::default() };
    let puts = |count| -> Vec<_> {
        let each = |n: u32| {
            let key = format!("many/{n}").into();
            op(Asked::RequestPut(PutRequest { key, ..put("", "") }))
        };
        (0..count).map(each).collect()
    };
    let nested = |txn| vec![op(Asked::RequestTxn(txn))];
    let delete = DeleteRangeRequest {
        key: bytes("t"),
        range_end: bytes("u"),
        ..DeleteRangeRequest::default()
    };
    let both = || vec![op(Asked::RequestPut(put("t", "1"))), op(Asked::RequestDeleteRange(delete))];
    let txns = [
        ("nothing", of(vec![])),
        ("an operation that is none", of(vec![RequestOp { request: None }])),
        ("129 operations", of(puts(129))),
        ("128 operations", of(puts(128))),
        ("129 comparisons", TxnRequest { compare: vec![on("a"); 129], ..TxnRequest::default() }),
        ("a key twice", of([yes(), yes()].concat())),
        ("a put and its deletion", of(both())),
        ("a txn in a txn", of(nested(either(on("a"))))),
        ("a key twice in two txns", of([yes(), nested(of(yes()))].concat())),
        ("a range without a key", of(vec![op(Asked::RequestRange(RangeRequest::default()))])),
        ("a put without a key", of(vec![op(Asked::RequestPut(PutRequest::default()))])),
        ("129 operations in a txn in a txn", of(nested(of(puts(129))))),
    ];
    for (asked, txn) in txns {
        raw.heard(asked, kv.txn(txn).await);
    }
}

async fn watches(raw: &mut Raw) {
    let mut watch = WatchClient::new(raw.channel.clone());
    let create = |key| WatchCreateRequest { key: bytes(key), ..WatchCreateRequest::default() };
    let asked = |union| WatchRequest { request_union: Some(union) };
    let create = |change: fn(WatchCreateRequest) -> WatchCreateRequest| {
        asked(RequestUnion::CreateRequest(change(create("t"))))
    };
    let cancel = |watch_id| asked(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
    let streams = [
        ("an unknown filter", vec![create(|w| WatchCreateRequest { filters: vec![7], ..w })]),
        (
            "from a negative revision",
            vec![create(|w| WatchCreateRequest { start_revision: -3, ..w })],
        ),
        ("from the beginning", vec![create(|w| WatchCreateRequest { start_revision: 1, ..w })]),
        ("with a negative id", vec![create(|w| WatchCreateRequest { watch_id: -2, ..w })]),
        (
            "an id twice",
            vec![
                create(|w| WatchCreateRequest { watch_id: 5, ..w }),
                create(|w| WatchCreateRequest { watch_id: 5, ..w }),
            ],
        ),
        (
            "of no key",
            vec![create(|w| WatchCreateRequest { key: Bytes::new(), start_revision: 5, ..w })],
        ),
        (
            "an end before the key",
            vec![create(|w| WatchCreateRequest { range_end: bytes("a"), ..w })],
        ),
        ("a cancel of nothing, and a watch", vec![cancel(77), create(|w| w)]),
        ("a cancel twice", vec![create(|w| w), cancel(0), cancel(0), create(|w| w)]),
        ("nothing, and a watch", vec![WatchRequest { request_union: None }, create(|w| w)]),
    ];
    for (asked, requests) in streams {
        if asked == "from a negative revision" && !raw.since_3_5 {
            continue;
        }
        // The requests stay open, or the stream would end with them.
        let requests = tokio_stream::iter(requests).chain(tokio_stream::pending());
        let answer = watch.watch(requests).await;
        raw.followed(asked, answer).await;
    }
}

async fn leases(raw: &mut Raw) {
    let mut lease = LeaseClient::new(raw.channel.clone());
    let grants = [
        ("grant without a time", LeaseGrantRequest { ttl: 0, id: 11 }),
        ("grant of a negative time", LeaseGrantRequest { ttl: -5, id: 12 }),
        ("grant of more than can be", LeaseGrantRequest { ttl: 9_000_000_001, id: 13 }),
        ("grant of all there can be", LeaseGrantRequest { ttl: 9_000_000_000, id: 14 }),
        ("grant of a negative id", LeaseGrantRequest { ttl: 500, id: -3 }),
        ("grant twice", LeaseGrantRequest { ttl: 500, id: 14 }),
    ];
    for (asked, grant) in grants {
        raw.heard(asked, lease.lease_grant(grant).await);
    }
    for (asked, id) in [("revoke of nothing", 0), ("of nobody's", 99), ("of a negative id", -3)] {
        raw.heard(asked, lease.lease_revoke(LeaseRevokeRequest { id }).await);
    }
    for (asked, id) in [("time of nothing", 0), ("time of nobody's", 99)] {
        let request = LeaseTimeToLiveRequest { id, keys: true };
        raw.heard(asked, lease.lease_time_to_live(request).await);
    }
    let kept = [0, 99, -8].map(|id| LeaseKeepAliveRequest { id });
    let kept = tokio_stream::iter(kept).chain(tokio_stream::pending());
    let answer = lease.lease_keep_alive(kept).await;
    raw.followed("what is not there, kept", answer).await;
    raw.heard("revoke", lease.lease_revoke(LeaseRevokeRequest { id: 14 }).await);
    raw.heard("leases", lease.lease_leases(LeaseLeasesRequest {}).await);
}

async fn members(raw: &mut Raw) {
    let mut cluster = ClusterClient::new(raw.channel.clone());
    let list = MemberListRequest::default();
    let listed = cluster.member_list(list).await.expect("a list").into_inner().members;
    let known = listed[0].peer_urls.clone();
    let urls = |urls: &[&str]| -> Vec<String> { urls.iter().map(|&url| url.to_owned()).collect() };
    let malformed = [
        ("no URL", urls(&[])),
        ("an empty URL", urls(&[""])),
        ("a word", urls(&["abc"])),
        ("no scheme", urls(&["127.0.0.1:2380"])),
        ("no port", urls(&["http://127.0.0.1"])),
        ("a path", urls(&["http://127.0.0.1:2380/path"])),
        ("an unknown scheme", urls(&["ftp://127.0.0.1:2380"])),
        ("a port that is none", urls(&["http://127.0.0.1:port"])),
        ("one good, one bad", urls(&["http://127.0.0.1:2380", "abc"])),
        ("a control character", urls(&["http://127.0.0.1:23\u{1}80"])),
    ];
    for (asked, urls) in malformed {
        let request = MemberAddRequest { peer_urls: urls, is_learner: false };
        raw.heard(asked, cluster.member_add(request).await);
    }
    let request = MemberAddRequest { peer_urls: known.clone(), is_learner: false };
    raw.heard("URLs of another, added", cluster.member_add(request).await);
    let request = MemberUpdateRequest { id: listed[1].id, peer_urls: known };
    raw.heard("URLs of another, taken", cluster.member_update(request).await);
    for (asked, id) in [("remove nobody", 0), ("remove a stranger", 99)] {
        raw.heard(asked, cluster.member_remove(MemberRemoveRequest { id }).await);
    }
    for (asked, id) in [("promote nobody", 0), ("promote a voter", listed[1].id)] {
        raw.heard(asked, cluster.member_promote(MemberPromoteRequest { id }).await);
    }
    let update = MemberUpdateRequest { id: 99, peer_urls: urls(&["http://127.0.0.1:2380"]) };
    raw.heard("update a stranger", cluster.member_update(update).await);
    let after = cluster.member_list(MemberListRequest::default()).await;
    let after = after.expect("a list").into_inner().members;
    assert_eq!(after, listed, "the members are as they were");
}

/// Before 3.5 their answers have no header, and an alarm of no kind can be raised.
async fn alarms(raw: &mut Raw) {
    let mut maintenance = MaintenanceClient::new(raw.channel.clone());
    let (get, activate) = (AlarmAction::Get as i32, AlarmAction::Activate as i32);
    let deactivate = AlarmAction::Deactivate as i32;
    let alarms = [
        ("alarms", get, 0, 0),
        ("alarms of an unknown kind", get, 0, 9),
        ("raise none", activate, 5, 0),
        ("alarms of none", get, 0, 0),
        ("lower none", deactivate, 5, 0),
        ("lower what is not raised", deactivate, 5, 1),
        ("alarms again", get, 0, 0),
    ];
    for (asked, action, member_id, alarm) in alarms {
        let request = AlarmRequest { action, member_id, alarm };
        raw.heard(asked, maintenance.alarm(request).await);
    }
}

async fn maintenance(raw: &mut Raw) {
    let mut maintenance = MaintenanceClient::new(raw.channel.clone());
    for (asked, revision) in [("hash of a negative revision", -1), ("of a future one", 1 << 40)] {
        raw.heard(asked, maintenance.hash_kv(HashKvRequest { revision }).await);
    }
    for (asked, target_id) in [("lead, nobody", 0), ("lead, stranger", 99)] {
        raw.heard(asked, maintenance.move_leader(MoveLeaderRequest { target_id }).await);
    }
    raw.heard("defragment", maintenance.defragment(DefragmentRequest {}).await);
}

/// Asked for whole, but never enabled: here is no other version to go down to.
async fn downgrades(raw: &mut Raw) {
    let mut maintenance = MaintenanceClient::new(raw.channel.clone());
    let (validate, enable) = (DowngradeAction::Validate as i32, DowngradeAction::Enable as i32);
    let cancel = DowngradeAction::Cancel as i32;
    for (asked, action, version) in [
        ("validate nothing", validate, ""),
        ("validate a word", validate, "abc"),
        ("validate four numbers", validate, "3.5.0.0"),
        ("validate two numbers", validate, "3.5"),
        ("validate no numbers", validate, "3.."),
        ("validate what follows", validate, "3.5.0-rc.1"),
        ("validate 3.3.0", validate, "3.3.0"),
        ("validate 3.5.0", validate, "3.5.0"),
        ("validate 3.6.0", validate, "3.6.0"),
        ("enable a word", enable, "abc"),
        ("enable 3.3.0", enable, "3.3.0"),
        ("enable 3.5.0", enable, "3.5.0"),
        ("cancel", cancel, ""),
        ("unknown action", 9, "3.4.0"),
    ] {
        let request = DowngradeRequest { action, version: version.into() };
        raw.heard(asked, maintenance.downgrade(request).await);
    }
}

/// What is answered while the alarm CORRUPT is raised, and after it.
async fn corrupt(raw: &mut Raw) {
    let mut maintenance = MaintenanceClient::new(raw.channel.clone());
    let mut kv = KvClient::new(raw.channel.clone());
    let mut lease = LeaseClient::new(raw.channel.clone());
    let mut cluster = ClusterClient::new(raw.channel.clone());
    let mut watch = WatchClient::new(raw.channel.clone());
    let alarm = |action: AlarmAction| AlarmRequest {
        action: action as i32,
        member_id: 5,
        alarm: AlarmType::Corrupt as i32,
    };
    let raised = maintenance.alarm(alarm(AlarmAction::Activate)).await.expect("it is raised");
    raw.note("raise CORRUPT", &format!("{:?}", raised.into_inner().alarms));
    raw.heard("range", kv.range(get("a")).await);
    let serializable = RangeRequest { serializable: true, ..get("a") };
    raw.heard("serializable range", kv.range(serializable).await);
    raw.heard("put", kv.put(put("a", "corrupt")).await);
    let delete = DeleteRangeRequest { key: bytes("a"), ..DeleteRangeRequest::default() };
    raw.heard("delete", kv.delete_range(delete).await);
    let reading = |serializable| TxnRequest {
        success: vec![op(Asked::RequestRange(RangeRequest { serializable, ..get("a") }))],
        ..TxnRequest::default()
    };
    raw.heard("txn that reads", kv.txn(reading(false)).await);
    raw.heard("txn that reads, serializable", kv.txn(reading(true)).await);
    let writing = TxnRequest {
        success: vec![op(Asked::RequestPut(put("a", "corrupt")))],
        ..TxnRequest::default()
    };
    raw.heard("txn that writes", kv.txn(writing).await);
    let compaction = CompactionRequest { revision: 2, physical: false };
    raw.heard("compaction", kv.compact(compaction).await);
    raw.heard("grant", lease.lease_grant(LeaseGrantRequest { ttl: 500, id: 21 }).await);
    raw.heard("revoke", lease.lease_revoke(LeaseRevokeRequest { id: 21 }).await);
    let time = LeaseTimeToLiveRequest { id: 99, keys: false };
    raw.heard("time to live", lease.lease_time_to_live(time).await);
    let create = WatchCreateRequest { key: bytes("a"), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let create = tokio_stream::iter([create]).chain(tokio_stream::pending());
    let answer = watch.watch(create).await;
    raw.followed("watch", answer).await;
    let list = cluster.member_list(MemberListRequest { linearizable: true }).await;
    raw.note("members", &list.map_or_else(|status| refused(&status), |_| "a list".to_owned()));
    let hash = maintenance.hash_kv(HashKvRequest { revision: 2 }).await;
    raw.heard("hash", hash);
    let lowered = maintenance.alarm(alarm(AlarmAction::Deactivate)).await.expect("it is lowered");
    raw.note("lower CORRUPT", &format!("{:?}", lowered.into_inner().alarms));
    raw.heard("put after it", kv.put(put("a", "sound")).await);
    raw.heard("range after it", kv.range(get("a")).await);
}
