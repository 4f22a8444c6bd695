//! The whole face over real connections, with a stand-in for the replica: one thread that applies
//! every command at once.

use std::{
    io::Cursor,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, Compare, DefragmentRequest,
    DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberAddRequest,
    MemberListRequest, MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, PutRequest,
    RangeRequest, RequestOp, SnapshotRequest, StatusRequest, TxnRequest, WatchCreateRequest,
    WatchProgressRequest, WatchRequest, WatchResponse, alarm_request::AlarmAction,
    cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, request_op, watch_client::WatchClient,
    watch_request::RequestUnion,
};
use etcd_api::health::{HealthCheckRequest, health_client::HealthClient};
use node_protocol::{
    ClusterId, Index, MemberId, Revision, Role, Status as Picture, TelemetryFrame, Term,
};
use parking_lot::RwLock;
use raft::eraftpb::ConfState;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Streaming, transport::Channel};

use super::{Dispatch, Face, LeaseIds, Limits, bind, serve};
use crate::admin;
use crate::clock::{MadeUpClock, RealClock};
use crate::cluster::{Member, MemberChange, Membership};
use crate::consensus::waiters::{Answer, Waiters};
use crate::flush::FlushItem;
use crate::handle::{Glance, Handle, LeaseAnswer, LeaseAsk, Refusal};
use crate::inbox::Input;
use crate::kv::{Command, Executed, Op, Store};
use crate::metrics::Metrics;
use crate::storage::{Applied, Disk, Identity, MemoryDisk, State, StateOptions};
use crate::telemetry::{Speaker, Telemetry};
use crate::training::Planted;
use crate::watch::WatchHub;
use node_identity::urls::Url;

const MEMBER: MemberId = MemberId(0xa1);
const PATIENCE: Duration = Duration::from_secs(10);

/// A member without a replica, serving clients on a port of its own.
struct Stage {
    face: Arc<Face>,
    glance: Arc<Glance>,
    clock: Arc<MadeUpClock>,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinSet<()>,
    replica: Option<JoinHandle<()>>,
    _flush: flume::Sender<FlushItem>,
}

impl Stage {
    async fn set() -> Self {
        let glance = Arc::new(Glance {
            member: MEMBER,
            cluster: ClusterId(0xc1),
            term: AtomicU64::new(2),
            leader: AtomicU64::new(MEMBER.0),
            commit: AtomicU64::new(5),
            applied: AtomicU64::new(5),
            learner: AtomicBool::new(false),
            state_bytes: AtomicU64::new(4096),
            state_bytes_in_use: AtomicU64::new(1024),
            measured: Notify::new(),
            grown_bytes: AtomicU64::new(0),
            compacting: AtomicBool::new(false),
            leader_changes: AtomicU64::new(1),
        });
        // Full: the face is told there are too many requests; these tests never come near.
        let (inbox, inputs) = flume::bounded(64);
        let first = Member {
            id: MEMBER,
            name: "m1".into(),
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            client_urls: vec!["http://127.0.0.1:2379".into()],
            learner: false,
        };
        let speaker = Speaker {
            member: MEMBER,
            name: "m1".into(),
            cluster: ClusterId(0xc1),
            etcd_version: "3.5.0".into(),
            restored: None,
        };
        let handle = Handle {
            inbox,
            waiters: Waiters::new(MEMBER, 1),
            store: Arc::new(RwLock::new(Store::default())),
            membership: Arc::new(RwLock::new(Membership::bootstrap([first]))),
            glance: glance.clone(),
            status: Telemetry::new(speaker, picture()).status(),
            request_timeout: Duration::from_secs(2),
            clock: Arc::new(RealClock),
            planted: Planted::default(),
        };
        let watches = WatchHub::new(Revision(1));
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        let directory = Path::new("/member");
        disk.create_dir(directory).expect("a disk in RAM");
        let identity = Identity { cluster_id: ClusterId(0xc1), member_id: MEMBER };
        let applied = Applied { index: Index(5), term: Term(2), conf_state: ConfState::default() };
        let state =
            State::create(&disk, directory, identity, &applied, &[], StateOptions::default());
        let state = Arc::new(state.expect("an empty disk"));
        let replica = {
            let (handle, watches) = (handle.clone(), watches.clone());
            std::thread::spawn(move || stand_in(&handle, &watches, &inputs))
        };
        let (flush, to_flush) = flume::unbounded();
        std::thread::spawn(move || {
            for item in to_flush {
                if let FlushItem::Sync { done } = item {
                    done.send(()).expect("somebody waits");
                }
            }
        });
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new(MEMBER, ClusterId(0xc1)));
        let clock = Arc::new(MadeUpClock::default());
        let face = Arc::new(Face {
            handle,
            watches,
            state,
            flush: flush.downgrade(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            limits: Limits {
                max_request_bytes: 100_000,
                max_txn_ops: 4,
                min_lease_ttl_seconds: 2,
                quota_bytes: 1 << 30,
                election_timeout: Duration::from_millis(20),
                watch_progress_interval: Duration::from_secs(600),
            },
            token: "token".into(),
            lease_ids: LeaseIds::new(MEMBER, 1, 0),
            stop: stop.clone(),
            broken: Arc::new(|error| panic!("the store cannot be read: {error}")),
        });
        let url = Url::parse("http://127.0.0.1:0").expect("well formed");
        let listener = bind(&url, "listen-client-urls").expect("a free port");
        let listener = TcpListener::from_std(listener).expect("does not block");
        let address = listener.local_addr().expect("is bound");
        let dispatch = Dispatch::new(&face, admin::pages(face.clone()));
        let drain = Duration::from_secs(1);
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, dispatch, metrics, stop.clone(), drain));
        let replica = Some(replica);
        Self { face, glance, clock, address, stop, serving, replica, _flush: flush }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address));
        endpoint.expect("well formed").connect().await.expect("listens")
    }

    async fn strike(mut self) {
        self.stop.cancel();
        timeout(PATIENCE, self.serving.join_all()).await.expect("all connections end");
        self.face.handle.inbox.send(Input::Stop).expect("the stand-in listens");
        self.replica.take().expect("strikes once").join().expect("the stand-in ends well");
    }

    /// One HTTP/1.1 exchange; returns the head and the body.
    async fn page(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("listens");
        let request = format!("{request} HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("is read");
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .expect("an answer in time")
            .expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }
}

fn picture() -> Picture {
    Picture {
        at_micros: 0,
        role: Role::Leader,
        term: Term(2),
        vote: None,
        leader: Some(MEMBER),
        first: Index(1),
        last: Index(5),
        persisted: Index(5),
        commit: Index(5),
        applied: Index(5),
        terms: Vec::new(),
        revision: Revision(1),
        tick_micros: 10_000,
        election_elapsed_ticks: 0,
        election_timeout_ticks: 100,
        promotable: true,
        voters: vec![MEMBER],
        learners: Vec::new(),
        progress: Vec::new(),
        waiting_proposals: 0,
        waiting_reads: 0,
        leases: 0,
        fsync_last_micros: 0,
        state_bytes: 0,
    }
}

/// Does what a replica does, at once and alone, until told to stop.
fn stand_in(handle: &Handle, watches: &WatchHub, inputs: &flume::Receiver<Input>) {
    while let Ok(input) = inputs.recv() {
        let led = handle.glance.leader().is_some();
        match input {
            Input::Propose { seq } if led => {
                let bytes = handle.waiters.command(seq).expect("the face waits");
                let command = Command::decode(&bytes).expect("the face encodes well");
                let id = command.id;
                handle.waiters.answer(id, execute(handle, watches, &command));
            }
            Input::Read { answer } => {
                let result = if led { Ok(()) } else { Err(Refusal::TimedOut) };
                answer.send(result).ok();
            }
            Input::Ask { ask, answer } => {
                let (LeaseAsk::KeepAlive { lease } | LeaseAsk::TimeToLive { lease }) = ask;
                let known = handle.store().lease(lease).map(|lease| lease.ttl_seconds);
                let told = known.map_or(LeaseAnswer::Unknown, |seconds| LeaseAnswer::Known {
                    ttl_seconds: seconds,
                    granted_seconds: seconds,
                });
                answer.send(if led { Ok(told) } else { Err(Refusal::NoLeader) }).ok();
            }
            Input::Stop => return,
            other => drop(other),
        }
    }
}

fn execute(handle: &Handle, watches: &WatchHub, command: &Command) -> Answer {
    if let Op::ChangeMembers(change) = &command.op {
        let change = MemberChange::decode(change).expect("the face encodes well");
        let mut membership = handle.membership.write();
        return Answer::Members(membership.check(&change).map(|()| {
            membership.apply(&change);
            membership.members().cloned().collect()
        }));
    }
    let executed = handle.store.write().execute(command).expect("rows are in memory");
    let Executed::Applied(applied) = executed else { panic!("sent once") };
    if let Some(revised) = &applied.revised {
        watches.publish(revised);
    }
    Answer::Kv(applied.result)
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_owned()),
        ..PutRequest::default()
    }
}

fn get(key: &str) -> RangeRequest {
    RangeRequest { key: Bytes::from(key.to_owned()), ..RangeRequest::default() }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, tonic::Status>) -> (Code, String) {
    let status = answer.expect_err("is refused");
    (status.code(), status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_written_read_and_deleted_with_whole_headers() {
    let stage = Stage::set().await;
    let mut kv = KvClient::new(stage.channel().await);
    let header = kv.put(put("a", "1")).await.expect("is put").into_inner().header;
    let header = header.expect("a header");
    assert_eq!((header.cluster_id, header.member_id), (0xc1, 0xa1));
    assert_eq!((header.revision, header.raft_term), (2, 2));
    let read = kv.range(get("a")).await.expect("is read").into_inner();
    assert_eq!((read.count, &read.kvs[0].value[..]), (1, &b"1"[..]));
    assert_eq!(read.header.expect("a header").member_id, 0xa1);
    let txn = TxnRequest {
        compare: vec![Compare { key: "a".into(), ..Compare::default() }],
        success: Vec::new(),
        failure: vec![
            RequestOp { request: Some(request_op::Request::RequestPut(put("b", "2"))) },
            RequestOp { request: Some(request_op::Request::RequestRange(get("b"))) },
        ],
    };
    let done = kv.txn(txn).await.expect("is done").into_inner();
    assert!(!done.succeeded);
    assert_eq!((done.responses.len(), done.header.expect("a header").revision), (2, 3));
    let gone = kv
        .delete_range(DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() })
        .await
        .expect("is deleted")
        .into_inner();
    assert_eq!(gone.deleted, 1);
    kv.compact(CompactionRequest { revision: 4, physical: true }).await.expect("is compacted");
    let old = RangeRequest { revision: 2, ..get("a") };
    assert_eq!(
        refused(kv.range(old).await),
        (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted".into())
    );
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_before_they_are_proposed() {
    let stage = Stage::set().await;
    let mut kv = KvClient::new(stage.channel().await);
    let invalid = |text: &str| (Code::InvalidArgument, format!("etcdserver: {text}"));
    assert_eq!(refused(kv.put(put("", "v")).await), invalid("key is not provided"));
    assert_eq!(refused(kv.range(get("")).await), invalid("key is not provided"));
    let unsorted = RangeRequest { sort_target: 9, ..get("k") };
    assert_eq!(refused(kv.range(unsorted).await), invalid("invalid sort option"));
    let large = put("k", &"v".repeat(150_000));
    assert_eq!(refused(kv.put(large).await), invalid("request is too large"));
    let op = RequestOp { request: Some(request_op::Request::RequestPut(put("a", ""))) };
    let txn = |count| TxnRequest { success: vec![op.clone(); count], ..TxnRequest::default() };
    assert_eq!(refused(kv.txn(txn(5)).await), invalid("too many operations in txn request"));
    assert_eq!(refused(kv.txn(txn(2)).await), invalid("duplicate key given in txn request"));
    assert_eq!(stage.face.handle.store().revision(), Revision(1));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_member_refuses_what_would_make_it_grow() {
    let stage = Stage::set().await;
    let mut kv = KvClient::new(stage.channel().await);
    kv.put(put("a", "1")).await.expect("there is room");
    stage.glance.state_bytes.store(u64::MAX, Ordering::SeqCst);
    let full = (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded".to_owned());
    assert_eq!(refused(kv.put(put("a", "2")).await), full);
    let mut lease = LeaseClient::new(stage.channel().await);
    let grant = LeaseGrantRequest { ttl: 60, id: 0 };
    assert_eq!(refused(lease.lease_grant(grant).await), full);
    let delete = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    let deleted = kv.delete_range(delete).await.expect("room is made").into_inner().deleted;
    assert_eq!(deleted, 1);

    // The alarm outlives its cause, and is seen everywhere.
    let active = AlarmMember { member_id: MEMBER.0, alarm: AlarmType::Nospace.into() };
    let mut maintenance = MaintenanceClient::new(stage.channel().await);
    let list = maintenance.alarm(AlarmRequest::default()).await.expect("is told");
    assert_eq!(list.into_inner().alarms, [active]);
    let status = maintenance.status(StatusRequest {}).await.expect("is told").into_inner();
    assert_eq!(status.errors, ["memberID:161 alarm:NOSPACE "]);
    for (request, code, text) in [
        ("GET /health", 503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n"),
        ("GET /health?exclude=NOSPACE", 200, r#"{"health":"true","reason":""}"#),
        ("GET /readyz", 200, "ok\n"),
    ] {
        let (head, body) = stage.page(request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code}")), "{request}: {head}");
        assert_eq!(body, text, "{request}");
    }
    maintenance.defragment(DefragmentRequest {}).await.expect("is done");
    assert!(stage.glance.state_bytes.load(Ordering::SeqCst) < 1 << 30, "it was measured again");
    assert_eq!(refused(kv.put(put("a", "2")).await), full);
    let disarm = AlarmRequest {
        action: AlarmAction::Deactivate.into(),
        member_id: MEMBER.0,
        alarm: AlarmType::Nospace.into(),
    };
    let ended = maintenance.alarm(disarm).await.expect("is ended").into_inner();
    assert_eq!(ended.alarms, [active]);
    kv.put(put("a", "2")).await.expect("there is room");
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_only_stale_reads_are_answered() {
    let stage = Stage::set().await;
    stage.glance.leader.store(0, Ordering::SeqCst);
    let mut kv = KvClient::new(stage.channel().await);
    let unavailable = |text: &str| (Code::Unavailable, format!("etcdserver: {text}"));
    assert_eq!(refused(kv.range(get("a")).await), unavailable("request timed out"));
    let stale = RangeRequest { serializable: true, ..get("a") };
    assert_eq!(kv.range(stale).await.expect("is answered").into_inner().count, 0);
    assert_eq!(
        refused(kv.put(put("a", "1")).await),
        (Code::DeadlineExceeded, "context deadline exceeded".into())
    );
    let mut request = Request::new(put("a", "1"));
    request.metadata_mut().insert("hasleader", "true".parse().expect("metadata"));
    assert_eq!(refused(kv.put(request).await), unavailable("no leader"));
    let mut maintenance = MaintenanceClient::new(stage.channel().await);
    let status = maintenance.status(StatusRequest {}).await.expect("is answered").into_inner();
    assert_eq!((status.leader, status.errors), (0, vec!["etcdserver: no leader".to_owned()]));
    let (head, body) = stage.page("GET /health").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(body, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    let (head, _) = stage.page("GET /health?serializable=true").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_answers_only_stale_reads_and_its_status() {
    let stage = Stage::set().await;
    stage.glance.learner.store(true, Ordering::SeqCst);
    let mut kv = KvClient::new(stage.channel().await);
    let no = (Code::Unavailable, "etcdserver: rpc not supported for learner".to_owned());
    assert_eq!(refused(kv.put(put("a", "1")).await), no);
    assert_eq!(refused(kv.range(get("a")).await), no);
    kv.range(RangeRequest { serializable: true, ..get("a") }).await.expect("is answered");
    let mut maintenance = MaintenanceClient::new(stage.channel().await);
    let status = maintenance.status(StatusRequest {}).await.expect("is answered").into_inner();
    assert!(status.is_learner);
    stage.strike().await;
}

async fn next(stream: &mut Streaming<WatchResponse>) -> WatchResponse {
    timeout(PATIENCE, stream.message())
        .await
        .expect("a response in time")
        .expect("no error")
        .expect("the stream goes on")
}

fn create(start_revision: i64) -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: "a".into(),
            range_end: "b".into(),
            start_revision,
            ..WatchCreateRequest::default()
        })),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_told_of_history_then_of_changes_and_of_the_end() {
    let stage = Stage::set().await;
    let mut kv = KvClient::new(stage.channel().await);
    kv.put(put("a1", "old")).await.expect("is put");
    let (requests, outgoing) = mpsc::channel(4);
    requests.send(create(2)).await.expect("is open");
    let mut watch = WatchClient::new(stage.channel().await);
    let answer = watch.watch(ReceiverStream::new(outgoing)).await.expect("is opened");
    let mut stream = answer.into_inner();
    let created = next(&mut stream).await;
    assert!(created.created && created.events.is_empty());
    assert_eq!(created.header.expect("a header").member_id, 0xa1);
    let history = next(&mut stream).await;
    assert_eq!(history.events[0].kv.as_ref().expect("a key").mod_revision, 2);
    kv.put(put("z", "elsewhere")).await.expect("is put");
    kv.put(put("a2", "new")).await.expect("is put");
    let change = next(&mut stream).await;
    assert_eq!(change.events[0].kv.as_ref().expect("a key").key, "a2");
    assert_eq!(change.header.expect("a header").revision, 4);
    let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
    requests.send(WatchRequest { request_union: Some(progress) }).await.expect("is open");
    let progress = next(&mut stream).await;
    assert_eq!((progress.watch_id, progress.header.expect("a header").revision), (-1, 4));
    stage.stop.cancel();
    let ended = timeout(PATIENCE, stream.message()).await.expect("ends in time");
    assert_eq!(refused(ended), (Code::Unavailable, "etcdserver: server stopped".into()));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_requires_a_leader_ends_when_there_is_none() {
    let stage = Stage::set().await;
    let (requests, outgoing) = mpsc::channel(4);
    requests.send(create(0)).await.expect("is open");
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("hasleader", "true".parse().expect("metadata"));
    let mut watch = WatchClient::new(stage.channel().await);
    let mut stream = watch.watch(request).await.expect("is opened").into_inner();
    assert!(next(&mut stream).await.created);
    stage.glance.leader.store(0, Ordering::SeqCst);
    let ended = timeout(PATIENCE, stream.message()).await.expect("ends in time");
    assert_eq!(refused(ended), (Code::Unavailable, "etcdserver: no leader".into()));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_granted_renewed_and_revoked() {
    let stage = Stage::set().await;
    let mut leases = LeaseClient::new(stage.channel().await);
    let granted = leases
        .lease_grant(LeaseGrantRequest { ttl: 0, id: 0 })
        .await
        .expect("is granted")
        .into_inner();
    assert_eq!(granted.ttl, 2);
    assert!(granted.id > 0);
    let id = granted.id;
    assert_eq!(
        refused(leases.lease_grant(LeaseGrantRequest { ttl: 5, id }).await),
        (Code::FailedPrecondition, "etcdserver: lease already exists".into())
    );
    assert_eq!(
        refused(leases.lease_grant(LeaseGrantRequest { ttl: i64::MAX, id: 0 }).await),
        (Code::OutOfRange, "etcdserver: too large lease TTL".into())
    );
    let mut kv = KvClient::new(stage.channel().await);
    kv.put(PutRequest { lease: id, ..put("k", "v") }).await.expect("is put");
    let ask = LeaseTimeToLiveRequest { id, keys: true };
    let told = leases.lease_time_to_live(ask).await.expect("is told").into_inner();
    assert_eq!((told.ttl, told.granted_ttl, told.keys), (2, 2, vec![Bytes::from("k")]));
    let (requests, outgoing) = mpsc::channel(4);
    let renewals = leases.lease_keep_alive(ReceiverStream::new(outgoing));
    for wanted in [id, 7] {
        requests.send(LeaseKeepAliveRequest { id: wanted }).await.expect("is open");
    }
    let mut renewals = renewals.await.expect("is opened").into_inner();
    for expected in [(id, 2), (7, 0)] {
        let renewed = renewals.message().await.expect("no error").expect("goes on");
        assert_eq!((renewed.id, renewed.ttl), expected);
    }
    drop(requests);
    assert!(renewals.message().await.expect("no error").is_none());
    let all = leases.lease_leases(LeaseLeasesRequest {}).await.expect("is told").into_inner();
    assert_eq!(all.leases.len(), 1);
    leases.lease_revoke(LeaseRevokeRequest { id }).await.expect("is revoked");
    assert_eq!(
        refused(leases.lease_revoke(LeaseRevokeRequest { id }).await),
        (Code::NotFound, "etcdserver: requested lease not found".into())
    );
    let unknown = LeaseTimeToLiveRequest { id, keys: true };
    let told = leases.lease_time_to_live(unknown).await.expect("is told").into_inner();
    assert_eq!((told.ttl, told.granted_ttl), (-1, 0));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_added_and_removed() {
    let stage = Stage::set().await;
    let mut cluster = ClusterClient::new(stage.channel().await);
    let request = MemberListRequest { linearizable: true };
    let list = cluster.member_list(request).await.expect("is listed").into_inner();
    assert_eq!((list.members.len(), list.members[0].name.as_str()), (1, "m1"));
    assert_eq!(list.header.expect("a header").revision, 0);
    let add = |url: &str| MemberAddRequest { peer_urls: vec![url.into()], is_learner: false };
    let added = cluster.member_add(add("http://10.0.0.2:2380")).await.expect("is added");
    let added = added.into_inner();
    let id = added.member.expect("the new one").id;
    assert_eq!(added.members.len(), 2);
    // Within the same second the same URLs would make the same id.
    stage.clock.advance_micros(1_000_000);
    assert_eq!(
        refused(cluster.member_add(add("http://10.0.0.2:2380")).await),
        (Code::FailedPrecondition, "etcdserver: Peer URLs already exists".into())
    );
    assert_eq!(
        refused(cluster.member_add(add("10.0.0.2:2380")).await),
        (Code::InvalidArgument, "etcdserver: given member URLs are invalid".into())
    );
    for peer_urls in [vec![], vec!["".into()], vec!["abc".into()], vec!["http://a:1/b".into()]] {
        assert_eq!(
            refused(cluster.member_update(MemberUpdateRequest { id, peer_urls }).await),
            (Code::InvalidArgument, "etcdserver: given member URLs are invalid".into())
        );
    }
    let left = cluster.member_remove(MemberRemoveRequest { id }).await.expect("is removed");
    assert_eq!(left.into_inner().members.len(), 1);
    assert_eq!(
        refused(cluster.member_remove(MemberRemoveRequest { id }).await),
        (Code::NotFound, "etcdserver: member not found".into())
    );
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_learns_how_the_member_is() {
    let stage = Stage::set().await;
    let mut maintenance = MaintenanceClient::new(stage.channel().await);
    let status = maintenance.status(StatusRequest {}).await.expect("is told").into_inner();
    assert_eq!((status.leader, status.raft_index, status.db_size), (0xa1, 5, 4096));
    assert!(status.version.starts_with("3.5."));
    let hash = maintenance.hash_kv(HashKvRequest { revision: 0 }).await.expect("is hashed");
    assert_eq!(hash.into_inner().hash_revision, 1);
    let alarms = maintenance.alarm(AlarmRequest::default()).await.expect("is told");
    assert!(alarms.into_inner().alarms.is_empty());
    for (action, alarm) in [(1, 0), (1, 9), (1, -1), (2, 9), (9, 1), (-1, 1)] {
        let request = AlarmRequest { action, member_id: 5, alarm };
        let alarms = maintenance.alarm(request).await.expect("is told").into_inner().alarms;
        assert!(alarms.is_empty(), "neither raised nor lowered: {action} {alarm}");
    }
    assert_eq!(
        refused(maintenance.move_leader(MoveLeaderRequest { target_id: 9 }).await),
        (Code::FailedPrecondition, "etcdserver: bad leader transferee".into())
    );
    let mut snapshot =
        maintenance.snapshot(SnapshotRequest {}).await.expect("is sent").into_inner();
    let mut remaining = Vec::new();
    let mut image = Vec::new();
    while let Some(piece) = snapshot.message().await.expect("no error") {
        remaining.push(piece.remaining_bytes);
        image.extend_from_slice(&piece.blob);
    }
    assert_eq!(image.len() % 512, 32, "a hash stands behind whole pages");
    assert_eq!(remaining[remaining.len() - 2..], [0, 0]);
    node_bolt::split_hash(&mut Cursor::new(image)).expect("the hash holds");
    let mut health = HealthClient::new(stage.channel().await);
    let serving = health.check(HealthCheckRequest::default()).await.expect("is told");
    assert_eq!(serving.into_inner().status, 1);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_share_the_port_with_grpc() {
    let stage = Stage::set().await;
    KvClient::new(stage.channel().await).put(put("a", "1")).await.expect("is put");
    for (request, code, text) in [
        ("GET /health", 200, r#"{"health":"true","reason":""}"#),
        ("POST /health", 405, ""),
        ("GET /livez", 200, "ok\n"),
        ("GET /readyz?verbose", 200, "[+]linearizable_read ok\n[+]non_learner ok\nok\n"),
        ("GET /readyz/data_corruption", 200, "ok\n"),
        ("GET /livez/data_corruption", 404, ""),
        ("GET /version", 200, r#""etcdserver":"3.5."#),
        ("GET /metrics", 200, "etcd_server_has_leader 1"),
        ("GET /metrics", 200, r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Put""#),
        ("GET /nothing", 404, ""),
    ] {
        let (head, body) = stage.page(request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code}")), "{request}: {head}");
        assert!(body.contains(text), "{request}: {body}");
    }
    let mut auth = etcd_api::etcdserverpb::auth_client::AuthClient::new(stage.channel().await);
    let request = etcd_api::etcdserverpb::AuthStatusRequest {};
    assert_eq!(
        refused(auth.auth_status(request).await),
        (Code::Unimplemented, "unknown service etcdserverpb.Auth".into())
    );
    stage.strike().await;
}

/// Opens the websocket by hand; returns the connection after the head of the answer.
async fn open_telemetry(address: SocketAddr, extra: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.expect("listens");
    let request = format!(
        "GET /telemetry HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{extra}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("is read");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    (stream, String::from_utf8(head).expect("text"))
}

/// The next binary message; `None` when the server closes. Frames of a server are not masked.
async fn next_frame(stream: &mut TcpStream) -> Option<TelemetryFrame> {
    let kind = stream.read_u8().await.expect("a frame") & 0x0f;
    let length = match stream.read_u8().await.expect("a length") {
        126 => usize::from(stream.read_u16().await.expect("a length")),
        short => usize::from(short),
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a body");
    (kind == 2).then(|| TelemetryFrame::decode(&body).expect("a frame of ours"))
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_is_followed_to_the_very_end() {
    let speaker = Speaker {
        member: MEMBER,
        name: "m1".into(),
        cluster: ClusterId(1),
        etcd_version: "3.5.0".into(),
        restored: None,
    };
    let telemetry = Telemetry::new(speaker, picture());
    let url = Url::parse("http://127.0.0.1:0").expect("well formed");
    let listener = bind(&url, "listen-telemetry-urls").expect("a free port");
    let listener = TcpListener::from_std(listener).expect("does not block");
    let address = listener.local_addr().expect("is bound");
    let (stop, readers) = (CancellationToken::new(), TaskTracker::new());
    let router =
        admin::telemetry(telemetry.clone(), [address.to_string()], stop.clone(), readers.clone());
    let metrics = Arc::new(Metrics::new(MEMBER, ClusterId(1)));
    let service = hyper_util::service::TowerToHyperService::new(router);
    let drain = Duration::from_secs(1);
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, service, metrics, stop.clone(), drain));

    let (_, head) = open_telemetry(address, "origin: http://evil.example\r\n").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    let (mut stream, head) = open_telemetry(address, "").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let first = next_frame(&mut stream).await;
    assert!(matches!(first, Some(TelemetryFrame::Hello { member: MEMBER, .. })), "{first:?}");
    let second = next_frame(&mut stream).await;
    assert!(matches!(second, Some(TelemetryFrame::Status(_))), "{second:?}");
    telemetry.trace(node_protocol::TraceEvent::Stopping, 1);
    stop.cancel();
    let mut heard_the_end = false;
    while let Some(frame) = timeout(PATIENCE, next_frame(&mut stream)).await.expect("in time") {
        if let TelemetryFrame::Trace(events) = frame {
            heard_the_end = events
                .iter()
                .any(|traced| matches!(traced.event, node_protocol::TraceEvent::Stopping));
        }
    }
    assert!(heard_the_end, "the last step is told");
    readers.close();
    timeout(PATIENCE, readers.wait()).await.expect("readers end");
    timeout(PATIENCE, serving.join_all()).await.expect("serving ends");
}
