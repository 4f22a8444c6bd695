//! Numbers for dashboards and alerts, under etcd's names.
//!
//! Whoever works updates a typed field; that is an atomic addition, without looking a name up.
//! What can be known at a glance (leader, indexes, sizes) is read only when somebody asks.
//!
//! Source of the names: etcd-io/etcd `server/etcdserver/metrics.go`, `server/storage/wal/metrics.go`.

use std::sync::OnceLock;

use node_protocol::{ClusterId, MemberId};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector, exponential_buckets,
};
use tonic::Code;

use crate::config::{ETCD_CLUSTER_VERSION, ETCD_VERSION, OWN_VERSION};

/// Every gRPC method served: its path, and how it is called. Sorted by path.
pub(crate) const METHODS: [(&str, MethodKind); 26] = {
    use MethodKind::{BidiStream, ServerStream, Unary};
    [
        ("/etcdserverpb.Cluster/MemberAdd", Unary),
        ("/etcdserverpb.Cluster/MemberList", Unary),
        ("/etcdserverpb.Cluster/MemberPromote", Unary),
        ("/etcdserverpb.Cluster/MemberRemove", Unary),
        ("/etcdserverpb.Cluster/MemberUpdate", Unary),
        ("/etcdserverpb.KV/Compact", Unary),
        ("/etcdserverpb.KV/DeleteRange", Unary),
        ("/etcdserverpb.KV/Put", Unary),
        ("/etcdserverpb.KV/Range", Unary),
        ("/etcdserverpb.KV/Txn", Unary),
        ("/etcdserverpb.Lease/LeaseGrant", Unary),
        ("/etcdserverpb.Lease/LeaseKeepAlive", BidiStream),
        ("/etcdserverpb.Lease/LeaseLeases", Unary),
        ("/etcdserverpb.Lease/LeaseRevoke", Unary),
        ("/etcdserverpb.Lease/LeaseTimeToLive", Unary),
        ("/etcdserverpb.Maintenance/Alarm", Unary),
        ("/etcdserverpb.Maintenance/Defragment", Unary),
        ("/etcdserverpb.Maintenance/Downgrade", Unary),
        ("/etcdserverpb.Maintenance/Hash", Unary),
        ("/etcdserverpb.Maintenance/HashKV", Unary),
        ("/etcdserverpb.Maintenance/MoveLeader", Unary),
        ("/etcdserverpb.Maintenance/Snapshot", ServerStream),
        ("/etcdserverpb.Maintenance/Status", Unary),
        ("/etcdserverpb.Watch/Watch", BidiStream),
        ("/grpc.health.v1.Health/Check", Unary),
        ("/grpc.health.v1.Health/Watch", ServerStream),
    ]
};

/// How a gRPC method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodKind {
    /// One request, one response.
    Unary,
    /// One request, many responses.
    ServerStream,
    /// Many of both.
    BidiStream,
}

impl MethodKind {
    fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

/// gRPC's codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Which of [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method(usize);

impl Method {
    /// The method with this path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        METHODS.binary_search_by(|(known, _)| (*known).cmp(path)).ok().map(Self)
    }

    pub(crate) fn kind(self) -> MethodKind {
        METHODS[self.0].1
    }

    /// Name of the service it belongs to.
    pub(crate) fn service(self) -> &'static str {
        self.labels()[1]
    }

    /// Whether any method belongs to a service of this name.
    pub(crate) fn has_service(name: &str) -> bool {
        (0..METHODS.len()).any(|number| Self(number).service() == name)
    }

    /// Whether a learner answers it; of `Range` only the serializable kind.
    pub(crate) fn learner_answers(self) -> bool {
        matches!(
            METHODS[self.0].0,
            "/etcdserverpb.KV/Range"
                | "/etcdserverpb.Maintenance/Status"
                | "/etcdserverpb.Maintenance/Snapshot"
        ) || self.service() == "grpc.health.v1.Health"
    }

    fn labels(self) -> [&'static str; 3] {
        let (path, kind) = METHODS[self.0];
        let (service, method) =
            path[1..].split_once('/').expect("every path has a service and a method");
        [kind.label(), service, method]
    }
}

/// A method's counters, found once.
struct MethodCounters {
    started: IntCounter,
    handled: [OnceLock<IntCounter>; CODES.len()],
}

/// All numbers of one member.
pub struct Metrics {
    registry: Registry,
    /// Seconds each fsync of the log took.
    pub wal_fsync_seconds: Histogram,
    /// Seconds each commit of the state took.
    pub backend_commit_seconds: Histogram,
    /// Seconds it took to build a snapshot for a peer.
    pub snapshot_seconds: Histogram,
    /// Proposals that got no answer in time, or a refusal before they were replicated.
    pub proposals_failed: IntCounter,
    /// Linearizable reads that failed.
    pub read_indexes_failed: IntCounter,
    /// Batches that took longer than 100 ms to apply.
    pub slow_applies: IntCounter,
    /// Heartbeats that could not be sent in time.
    pub heartbeat_send_failures: IntCounter,
    /// Leases that ran out.
    pub leases_expired: IntCounter,
    /// Bytes read from client connections.
    pub client_received_bytes: IntCounter,
    /// Bytes written to client connections.
    pub client_sent_bytes: IntCounter,
    /// Defragmentations that go on.
    pub defragments: IntGauge,
    health_success: IntCounter,
    health_failures: IntCounter,
    peer_sent_bytes: IntCounterVec,
    peer_received_bytes: IntCounterVec,
    peer_sent_failures: IntCounterVec,
    peer_round_trip_seconds: HistogramVec,
    grpc_handled: IntCounterVec,
    methods: Vec<MethodCounters>,
    glance: Gauges,
}

/// What is filled in only when somebody asks.
struct Gauges {
    has_leader: IntGauge,
    is_leader: IntGauge,
    is_learner: IntGauge,
    leader_changes: IntGauge,
    proposals_committed: IntGauge,
    proposals_applied: IntGauge,
    proposals_pending: IntGauge,
    db_total_bytes: IntGauge,
    db_total_bytes_old_name: IntGauge,
    db_in_use_bytes: IntGauge,
    quota_bytes: IntGauge,
    current_revision: IntGauge,
    compact_revision: IntGauge,
    watch_streams: IntGauge,
    watchers: IntGauge,
    resident_bytes: IntGauge,
    cpu_seconds: Gauge,
}

/// A member at the moment somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// Somebody leads.
    pub has_leader: bool,
    /// This member leads.
    pub is_leader: bool,
    /// This member is a learner.
    pub is_learner: bool,
    /// Times the leader changed.
    pub leader_changes: u64,
    /// Commit index.
    pub committed: u64,
    /// Applied index.
    pub applied: u64,
    /// Commands that wait for an answer.
    pub pending: u64,
    /// How much of the disk the state takes, in bytes.
    pub state_bytes: u64,
    /// How much of that is rows.
    pub state_bytes_in_use: u64,
    /// Size of the state above which writes are refused.
    pub quota_bytes: u64,
    /// Revision of the key space.
    pub current_revision: i64,
    /// Last compacted revision.
    pub compact_revision: i64,
    /// Watch streams that are open.
    pub watch_streams: usize,
    /// Watches that are open.
    pub watchers: usize,
}

/// Names a metric and makes it known.
struct Names<'a>(&'a Registry);

impl Names<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: Result<C, prometheus::Error>) -> C {
        let collector = collector.expect("names and buckets are written down below, well formed");
        self.0.register(Box::new(collector.clone())).expect("each name is registered once");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn seconds(&self, name: &str, help: &str, first: f64, count: usize) -> Histogram {
        let buckets = exponential_buckets(first, 2.0, count).expect("a positive first bucket");
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }

    /// A gauge that is always 1 and says something by its labels.
    fn fact(&self, name: &str, help: &str, labels: &[(&str, &str)]) {
        let (names, values): (Vec<&str>, Vec<&str>) = labels.iter().copied().unzip();
        let fact = self.add(IntGaugeVec::new(Opts::new(name, help), &names));
        fact.with_label_values(&values).set(1);
    }
}

impl Metrics {
    /// The numbers of this member, all zero.
    pub fn new(member: MemberId, cluster: ClusterId) -> Self {
        let registry = Registry::new();
        let names = Names(&registry);
        names.fact(
            "etcd_server_id",
            "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
            &[("server_id", &member.to_string())],
        );
        names.fact(
            "etcd_server_version",
            "The etcd version whose behaviour this member reports.",
            &[("server_version", ETCD_VERSION)],
        );
        names.fact(
            "etcd_cluster_version",
            "The cluster version that goes with it.",
            &[("cluster_version", ETCD_CLUSTER_VERSION)],
        );
        names.fact(
            "raftlab_build_info",
            "This program's own version.",
            &[("version", OWN_VERSION), ("cluster_id", &cluster.to_string())],
        );
        let grpc_started = names.counters(
            "grpc_server_started_total",
            "RPCs started on the server.",
            &["grpc_type", "grpc_service", "grpc_method"],
        );
        let methods = (0..METHODS.len())
            .map(|number| MethodCounters {
                started: grpc_started.with_label_values(&Method(number).labels()),
                handled: Default::default(),
            })
            .collect();
        Self {
            wal_fsync_seconds: names.seconds(
                "etcd_disk_wal_fsync_duration_seconds",
                "Seconds an fsync of the log took.",
                0.001,
                14,
            ),
            backend_commit_seconds: names.seconds(
                "etcd_disk_backend_commit_duration_seconds",
                "Seconds a commit of the state took.",
                0.001,
                14,
            ),
            snapshot_seconds: names.seconds(
                "etcd_disk_backend_snapshot_duration_seconds",
                "Seconds it took to build a snapshot.",
                0.01,
                17,
            ),
            proposals_failed: names.counter(
                "etcd_server_proposals_failed_total",
                "Proposals that got no answer in time, or were refused before they were replicated.",
            ),
            read_indexes_failed: names
                .counter("etcd_server_read_indexes_failed_total", "Linearizable reads that failed."),
            slow_applies: names.counter(
                "etcd_server_slow_apply_total",
                "Batches of entries that took longer than 100 ms to apply.",
            ),
            heartbeat_send_failures: names.counter(
                "etcd_server_heartbeat_send_failures_total",
                "Heartbeats that could not be sent in time.",
            ),
            leases_expired: names
                .counter("etcd_debugging_server_lease_expired_total", "Leases that ran out."),
            client_received_bytes: names.counter(
                "etcd_network_client_grpc_received_bytes_total",
                "Bytes read from client connections.",
            ),
            client_sent_bytes: names.counter(
                "etcd_network_client_grpc_sent_bytes_total",
                "Bytes written to client connections.",
            ),
            defragments: names
                .gauge("etcd_disk_defrag_inflight", "Defragmentations that go on; 0 or 1."),
            health_success: names
                .counter("etcd_server_health_success", "Health checks that found it healthy."),
            health_failures: names
                .counter("etcd_server_health_failures", "Health checks that did not."),
            peer_sent_bytes: names.counters(
                "etcd_network_peer_sent_bytes_total",
                "Bytes sent to a peer.",
                &["To"],
            ),
            peer_received_bytes: names.counters(
                "etcd_network_peer_received_bytes_total",
                "Bytes received from a peer.",
                &["From"],
            ),
            peer_sent_failures: names.counters(
                "etcd_network_peer_sent_failures_total",
                "Messages to a peer that could not be sent.",
                &["To"],
            ),
            peer_round_trip_seconds: {
                let buckets =
                    exponential_buckets(0.0001, 2.0, 16).expect("a positive first bucket");
                let name = "etcd_network_peer_round_trip_time_seconds";
                let help = "Seconds between a message to a peer and its answer.";
                let options = HistogramOpts::new(name, help).buckets(buckets);
                names.add(HistogramVec::new(options, &["To"]))
            },
            grpc_handled: names.counters(
                "grpc_server_handled_total",
                "RPCs completed on the server, whatever came of them.",
                &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
            ),
            methods,
            glance: Gauges::new(&names),
            registry,
        }
    }

    /// Bytes sent to a peer. Keep it: looking it up costs more than counting.
    pub fn peer_sent_bytes(&self, to: MemberId) -> IntCounter {
        self.peer_sent_bytes.with_label_values(&[to.to_string()])
    }

    /// Bytes received from a peer. Keep it.
    pub fn peer_received_bytes(&self, from: MemberId) -> IntCounter {
        self.peer_received_bytes.with_label_values(&[from.to_string()])
    }

    /// Messages to a peer that could not be sent. Keep it.
    pub fn peer_sent_failures(&self, to: MemberId) -> IntCounter {
        self.peer_sent_failures.with_label_values(&[to.to_string()])
    }

    /// Seconds between a message to a peer and its answer. Keep it.
    pub fn peer_round_trip_seconds(&self, to: MemberId) -> Histogram {
        self.peer_round_trip_seconds.with_label_values(&[to.to_string()])
    }

    pub(crate) fn started(&self, method: Method) {
        self.methods[method.0].started.inc();
    }

    pub(crate) fn handled(&self, method: Method, code: Code) {
        let number = usize::try_from(code as i32).unwrap_or_default();
        self.methods[method.0].handled[number]
            .get_or_init(|| {
                let [kind, service, name] = method.labels();
                self.grpc_handled.with_label_values(&[kind, service, name, CODES[number]])
            })
            .inc();
    }

    pub(crate) fn health_checked(&self, healthy: bool) {
        if healthy { &self.health_success } else { &self.health_failures }.inc();
    }

    /// All numbers as Prometheus' text.
    pub fn render(&self, observed: &Observed) -> String {
        self.glance.set(observed);
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&self.registry.gather(), &mut text)
            .expect("a string takes all that is written to it");
        text
    }
}

impl Gauges {
    fn new(names: &Names<'_>) -> Self {
        Self {
            has_leader: names
                .gauge("etcd_server_has_leader", "Whether somebody leads. 1 is yes, 0 is no."),
            is_leader: names
                .gauge("etcd_server_is_leader", "Whether this member leads. 1 is yes, 0 is no."),
            is_learner: names
                .gauge("etcd_server_is_learner", "Whether this member is a learner. 1 is yes."),
            leader_changes: names.gauge(
                "etcd_server_leader_changes_seen_total",
                "Times the leader changed, as seen from here.",
            ),
            proposals_committed: names
                .gauge("etcd_server_proposals_committed_total", "Entries committed."),
            proposals_applied: names
                .gauge("etcd_server_proposals_applied_total", "Entries applied."),
            proposals_pending: names.gauge(
                "etcd_server_proposals_pending",
                "Commands that wait for an answer at this member.",
            ),
            db_total_bytes: names
                .gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of the state on disk."),
            db_total_bytes_old_name: names
                .gauge("etcd_debugging_mvcc_db_total_size_in_bytes", "Bytes of the state on disk."),
            db_in_use_bytes: names.gauge(
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Bytes of the state on disk that hold something.",
            ),
            quota_bytes: names.gauge(
                "etcd_server_quota_backend_bytes",
                "Size of the state above which writes are refused.",
            ),
            current_revision: names
                .gauge("etcd_debugging_mvcc_current_revision", "Revision of the key space."),
            compact_revision: names
                .gauge("etcd_debugging_mvcc_compact_revision", "Last compacted revision."),
            watch_streams: names
                .gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams that are open."),
            watchers: names.gauge("etcd_debugging_mvcc_watcher_total", "Watches that are open."),
            resident_bytes: names
                .gauge("process_resident_memory_bytes", "Resident memory of this process."),
            cpu_seconds: names.add(Gauge::new(
                "process_cpu_seconds_total",
                "Processor time of this process, in seconds.",
            )),
        }
    }

    fn set(&self, observed: &Observed) {
        let Observed {
            has_leader,
            is_leader,
            is_learner,
            leader_changes,
            committed,
            applied,
            pending,
            state_bytes,
            state_bytes_in_use,
            quota_bytes,
            current_revision,
            compact_revision,
            watch_streams,
            watchers,
        } = *observed;
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.has_leader.set(i64::from(has_leader));
        self.is_leader.set(i64::from(is_leader));
        self.is_learner.set(i64::from(is_learner));
        self.leader_changes.set(whole(leader_changes));
        self.proposals_committed.set(whole(committed));
        self.proposals_applied.set(whole(applied));
        self.proposals_pending.set(whole(pending));
        self.db_total_bytes.set(whole(state_bytes));
        self.db_total_bytes_old_name.set(whole(state_bytes));
        self.db_in_use_bytes.set(whole(state_bytes_in_use));
        self.quota_bytes.set(whole(quota_bytes));
        self.current_revision.set(current_revision);
        self.compact_revision.set(compact_revision);
        self.watch_streams.set(i64::try_from(watch_streams).unwrap_or(i64::MAX));
        self.watchers.set(i64::try_from(watchers).unwrap_or(i64::MAX));
        let (resident_bytes, cpu_seconds) = process_account();
        self.resident_bytes.set(whole(resident_bytes));
        self.cpu_seconds.set(cpu_seconds);
    }
}

/// Resident bytes and processor seconds of this process; zero where the system does not say.
fn process_account() -> (u64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, counted after the program's name, which may hold blanks. Their unit is a
    // hundredth of a second on every Linux.
    let hundredths: u64 = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_whitespace()
                .skip(11)
                .take(2)
                .filter_map(|word| word.parse::<u64>().ok())
                .sum()
        })
        .unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "seconds for a dashboard")]
    let seconds = hundredths as f64 / 100.0;
    (resident_kib * 1024, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_path() {
        assert!(METHODS.is_sorted_by_key(|(path, _)| path));
        for (number, (path, kind)) in METHODS.into_iter().enumerate() {
            assert_eq!(Method::of(path), Some(Method(number)));
            assert_eq!(Method(number).kind(), kind);
        }
        assert_eq!(Method::of("/etcdserverpb.KV/Nope"), None);
    }

    #[test]
    fn dashboards_find_etcds_names() {
        let metrics = Metrics::new(MemberId(0x8e9e), ClusterId(2));
        metrics.wal_fsync_seconds.observe(0.002);
        metrics.peer_sent_bytes(MemberId(0xab)).inc_by(7);
        let put = Method::of("/etcdserverpb.KV/Put").expect("is served");
        metrics.started(put);
        metrics.handled(put, Code::Ok);
        metrics.handled(put, Code::Unavailable);
        let text =
            metrics.render(&Observed { has_leader: true, applied: 9, ..Observed::default() });
        for line in [
            "etcd_server_has_leader 1",
            "etcd_server_is_leader 0",
            "etcd_server_proposals_applied_total 9",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 1",
            "etcd_network_peer_sent_bytes_total{To=\"ab\"} 7",
            "etcd_server_id{server_id=\"8e9e\"} 1",
            "grpc_server_started_total{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
            "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
            "grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is missing from\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes"));
    }
}
