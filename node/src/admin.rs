//! Pages for operators and dashboards, and the telemetry websocket.
//!
//! | path | where | what |
//! |---|---|---|
//! | `/health` | client and metrics URLs | can it serve? (`?serializable=true`: even without a quorum) |
//! | `/livez`, `/readyz` | same | the same for a supervisor, `ok` or the check that failed |
//! | `/version` | same | the etcd version reported to clients |
//! | `/metrics` | same | Prometheus text |
//! | `/telemetry` | telemetry URLs, loopback | websocket of [`node_protocol::TelemetryFrame`]s |
//!
//! Only GET; nothing here changes anything. Bodies are etcd's, because load balancers and
//! supervisors compare them.
//!
//! The telemetry websocket shows everything and asks nobody who they are. So it is served on
//! loopback only, to a Host that is exactly its own address, and never to a browser: a page could
//! be from anywhere, and a browser always says so by `Origin`.
//!
//! Source: etcd-io/etcd `server/etcdserver/api/etcdhttp/{health,version}.go`.

use std::{
    collections::BTreeSet,
    fmt::Write,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    extract::{
        Query, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use etcd_api::etcdserverpb::RangeRequest;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS},
};
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::api::{ClientError, Face};
use crate::config::{ETCD_CLUSTER_VERSION, ETCD_VERSION};
use crate::kv::Store;
use crate::metrics::Observed;
use crate::telemetry::Telemetry;

/// Time a linearizable read has to prove the member healthy (etcd's).
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Time a telemetry reader has to take the last frames when the member stops.
const FAREWELL: Duration = Duration::from_millis(250);

/// The pages of the client and metrics URLs.
pub fn pages(face: Arc<Face>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .with_state(face)
}

/// What can be wrong with a member.
#[derive(Debug, thiserror::Error)]
enum Sickness {
    #[error("RAFT NO LEADER")]
    NoLeader,
    #[error("RANGE ERROR:{0}")]
    Range(&'static str),
}

/// Reads a key as a client would.
async fn try_read(face: &Face, serializable: bool) -> Result<(), Sickness> {
    if !serializable {
        match timeout(READ_TIMEOUT, face.handle.read_barrier()).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => {
                return Err(Sickness::Range(ClientError::from(refusal).client_error().1));
            }
            Err(_) => return Err(Sickness::Range("context deadline exceeded")),
        }
    }
    let request = RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        limit: 1,
        keys_only: true,
        ..RangeRequest::default()
    };
    face.read(|store: &Store| store.range(&request))
        .map(|_| ())
        .map_err(|error| Sickness::Range(error.client_error().1))
}

#[derive(Deserialize)]
struct HealthQuery {
    /// Content with a read that may be stale.
    #[serde(default)]
    serializable: String,
}

async fn health(State(face): State<Arc<Face>>, Query(query): Query<HealthQuery>) -> Response {
    let serializable = query.serializable == "true";
    let found = if !serializable && face.handle.glance().leader().is_none() {
        Err(Sickness::NoLeader)
    } else {
        try_read(&face, serializable).await
    };
    face.metrics.health_checked(found.is_ok());
    let (code, body) = match found {
        Ok(()) => (StatusCode::OK, r#"{"health":"true","reason":""}"#.to_owned()),
        Err(sickness) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(r#"{{"health":"false","reason":"{sickness}"}}"#),
        ),
    };
    (code, [(CONTENT_TYPE, "application/json")], body).into_response()
}

#[derive(Deserialize)]
struct ChecksQuery {
    /// List the checks even if all is well; any value, or none.
    verbose: Option<String>,
}

async fn livez(State(face): State<Arc<Face>>, Query(query): Query<ChecksQuery>) -> Response {
    let checks = [("serializable_read", try_read(&face, true).await)];
    told("/livez", &checks, query.verbose.is_some())
}

async fn readyz(State(face): State<Arc<Face>>, Query(query): Query<ChecksQuery>) -> Response {
    let checks = [
        ("serializable_read", try_read(&face, true).await),
        ("linearizable_read", try_read(&face, false).await),
    ];
    told("/readyz", &checks, query.verbose.is_some())
}

fn told(path: &str, checks: &[(&str, Result<(), Sickness>)], verbose: bool) -> Response {
    let mut list = String::new();
    for (name, result) in checks {
        match result {
            Ok(()) => writeln!(list, "[+]{name} ok"),
            Err(sickness) => writeln!(list, "[-]{name} failed: {sickness}"),
        }
        .expect("a string takes all that is written to it");
    }
    let (code, body) = if checks.iter().any(|(_, result)| result.is_err()) {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{list}{path} check failed\n"))
    } else if verbose {
        (StatusCode::OK, format!("{list}{path} check passed\n"))
    } else {
        (StatusCode::OK, "ok\n".to_owned())
    };
    let headers =
        [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (code, headers, body).into_response()
}

async fn version(State(face): State<Arc<Face>>) -> Response {
    let glance = face.handle.glance();
    let led = glance.leader().is_some() || glance.leader_changes.load(Ordering::Relaxed) > 0;
    let cluster = if led { ETCD_CLUSTER_VERSION } else { "not_decided" };
    let body = format!(r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{cluster}"}}"#);
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(face): State<Arc<Face>>) -> Response {
    let glance = face.handle.glance();
    let leader = glance.leader();
    let (current_revision, compact_revision) = {
        let store = face.handle.store();
        (store.revision().0, store.compact_revision().0)
    };
    let (watch_streams, watchers) = face.watches.counts();
    let text = face.metrics.render(&Observed {
        has_leader: leader.is_some(),
        is_leader: leader == Some(glance.member),
        is_learner: glance.learner.load(Ordering::Relaxed),
        leader_changes: glance.leader_changes.load(Ordering::Relaxed),
        committed: glance.commit.load(Ordering::Relaxed),
        applied: glance.applied().0,
        pending: u64::try_from(face.handle.waiting()).unwrap_or(u64::MAX),
        state_bytes: glance.state_bytes.load(Ordering::Relaxed),
        quota_bytes: face.limits.quota_bytes,
        current_revision,
        compact_revision,
        watch_streams,
        watchers,
    });
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// What the telemetry websocket needs.
#[derive(Clone)]
struct Watched {
    telemetry: Telemetry,
    /// The `Host`s it answers to: its own addresses.
    hosts: Arc<BTreeSet<String>>,
    stop: CancellationToken,
    readers: TaskTracker,
}

/// The telemetry websocket. `hosts` are the addresses it is served on, as `host:port`. Readers
/// run in `readers`, to be waited for at the end, and end with `stop`.
pub fn telemetry(
    telemetry: Telemetry,
    hosts: impl IntoIterator<Item = String>,
    stop: CancellationToken,
    readers: TaskTracker,
) -> Router {
    let hosts = Arc::new(hosts.into_iter().collect());
    let watched = Watched { telemetry, hosts, stop, readers };
    Router::new().route("/telemetry", get(open_telemetry)).with_state(watched)
}

async fn open_telemetry(
    State(watched): State<Watched>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    if let Err(reason) = may_follow(&headers, &watched.hosts) {
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejected) => return rejected.into_response(),
    };
    let Watched { telemetry, stop, readers, .. } = watched;
    // The reader runs in a task of the websocket; the token lets the node wait for its end.
    let running = readers.token();
    upgrade.on_upgrade(move |socket| async move {
        follow(socket, &telemetry, &stop).await;
        drop(running);
    })
}

/// Whether a request may follow the member, by its head.
fn may_follow(headers: &HeaderMap, hosts: &BTreeSet<String>) -> Result<(), &'static str> {
    if headers.contains_key(ORIGIN) {
        return Err("telemetry is not for browsers\n");
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if host.is_none_or(|host| !hosts.contains(host)) {
        return Err("telemetry answers only to its own address as Host\n");
    }
    Ok(())
}

/// Sends frames until the reader goes or the member stops.
async fn follow(mut socket: WebSocket, telemetry: &Telemetry, stop: &CancellationToken) {
    let mut reader = telemetry.subscribe();
    loop {
        let frame = tokio::select! {
            () = stop.cancelled() => break,
            frame = reader.next() => frame,
            // Nothing is expected of a reader but its end; pings are answered underneath.
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        // What is being sent when the member stops is sent to its end, in bounded time.
        let given_up = async {
            stop.cancelled().await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            sent = socket.send(Message::Binary(frame.encode().into())) => if sent.is_err() {
                return;
            },
            () = given_up => return,
        }
    }
    // The last steps of a member are the most telling ones. A reader that does not take them in
    // time learns from the end of the connection.
    let farewell = async {
        for frame in reader.rest() {
            socket.send(Message::Binary(frame.encode().into())).await?;
        }
        socket.send(Message::Close(None)).await
    };
    timeout(FAREWELL, farewell).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_is_for_programs_of_this_machine() {
        let hosts = BTreeSet::from(["127.0.0.1:7001".to_owned()]);
        for (host, origin, allowed) in [
            (Some("127.0.0.1:7001"), None, true),
            (Some("127.0.0.1:7001"), Some("http://127.0.0.1:7001"), false),
            (Some("127.0.0.1:7001"), Some("null"), false),
            (Some("localhost:7001"), None, false),
            (Some("evil.example:7001"), None, false),
            (Some("127.0.0.1"), None, false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, host.parse().expect("a header value"));
            }
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().expect("a header value"));
            }
            let seen = may_follow(&headers, &hosts).is_ok();
            assert_eq!(seen, allowed, "host {host:?}, origin {origin:?}");
        }
    }

    #[test]
    fn a_failed_check_is_named() {
        let well = told("/livez", &[("serializable_read", Ok(()))], false);
        assert_eq!(well.status(), StatusCode::OK);
        let sick = told("/readyz", &[("linearizable_read", Err(Sickness::NoLeader))], false);
        assert_eq!(sick.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
