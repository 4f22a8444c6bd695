//! Pages for operators and dashboards, and the telemetry websocket.
//!
//! | path | where | what |
//! |---|---|---|
//! | `/health` | client and metrics URLs | can it serve? (`?serializable=true`: even without a quorum) |
//! | `/livez`, `/readyz` | same | the same for a supervisor, `ok` or the checks that failed; `/readyz/CHECK` for one |
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
        Path as UrlPath, Query, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use etcd_api::etcdserverpb::{AlarmMember, AlarmType, RangeRequest};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS},
};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::api::{ClientError, Face};
use crate::clock;
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
        .route("/livez/{check}", get(livez_one))
        .route("/readyz", get(readyz))
        .route("/readyz/{check}", get(readyz_one))
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
    #[error("ALARM {0}")]
    Alarm(&'static str),
    #[error("alarm activated: {0}")]
    AlarmActivated(&'static str),
    #[error("member is a learner")]
    Learner,
}

/// Reads a key as a client would.
async fn try_read(face: &Face, serializable: bool) -> Result<(), Sickness> {
    if !serializable {
        match clock::timeout(&*face.handle.clock, READ_TIMEOUT, face.handle.read_barrier()).await {
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

/// The first active alarm that the health query does not leave out.
fn alarm(face: &Face, query: &[(String, String)]) -> Result<(), Sickness> {
    let excluded = |kind: AlarmType| has(query, "exclude", kind.as_str_name());
    let active: Vec<_> = face.handle.store().alarms().map(|active| active.alarm()).collect();
    match active.into_iter().find(|kind| !excluded(*kind)) {
        None => Ok(()),
        Some(AlarmType::None) => Err(Sickness::Alarm("UNKNOWN")),
        Some(kind) => Err(Sickness::Alarm(kind.as_str_name())),
    }
}

fn has(query: &[(String, String)], name: &str, value: &str) -> bool {
    query.iter().any(|(n, v)| n == name && v == value)
}

/// `?serializable=true`: content with a read that may be stale. `?exclude=NOSPACE`: content with
/// that alarm.
async fn health(State(face): State<Arc<Face>>, Query(query): Asked) -> Response {
    let serializable = has(&query, "serializable", "true");
    let found = match alarm(&face, &query) {
        Err(sickness) => Err(sickness),
        Ok(()) if !serializable && face.handle.glance().leader().is_none() => {
            Err(Sickness::NoLeader)
        }
        Ok(()) => try_read(&face, serializable).await,
    };
    face.metrics.health_checked(found.is_ok());
    let (code, body) = match found {
        Ok(()) => (StatusCode::OK, r#"{"health":"true","reason":""}"#.to_owned()),
        Err(sickness) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{{\"health\":\"false\",\"reason\":\"{sickness}\"}}\n"),
        ),
    };
    (code, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// What a supervisor may ask for, one by one or together.
const LIVE: &[&str] = &["serializable_read"];
const READY: &[&str] =
    &["data_corruption", "serializable_read", "linearizable_read", "non_learner"];

async fn check(face: &Face, name: &str) -> Result<(), Sickness> {
    match name {
        "serializable_read" => try_read(face, true).await,
        "linearizable_read" => try_read(face, false).await,
        "non_learner" if face.handle.glance().learner.load(Ordering::Relaxed) => {
            Err(Sickness::Learner)
        }
        "data_corruption" if face.handle.store().alarms().any(|active| is_corrupt(&active)) => {
            Err(Sickness::AlarmActivated("CORRUPT"))
        }
        _ => Ok(()),
    }
}

fn is_corrupt(active: &AlarmMember) -> bool {
    active.alarm() == AlarmType::Corrupt
}

/// All of `checks` but those that `?exclude=` names; `?verbose` lists them even if all is well.
async fn told(face: &Face, checks: &[&str], query: &[(String, String)]) -> Response {
    let mut list = String::new();
    let mut well = true;
    for name in checks.iter().filter(|name| !has(query, "exclude", name)) {
        match check(face, name).await {
            Ok(()) => writeln!(list, "[+]{name} ok"),
            Err(sickness) => {
                well = false;
                writeln!(list, "[-]{name} failed: {sickness}")
            }
        }
        .expect("a string takes all that is written to it");
    }
    let verbose = query.iter().any(|(name, _)| name == "verbose");
    let (code, body) = match well {
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{list}\n")),
        true if verbose => (StatusCode::OK, format!("{list}ok\n")),
        true => (StatusCode::OK, "ok\n".to_owned()),
    };
    let headers =
        [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (code, headers, body).into_response()
}

type Asked = Query<Vec<(String, String)>>;

async fn livez(State(face): State<Arc<Face>>, Query(query): Asked) -> Response {
    told(&face, LIVE, &query).await
}

async fn readyz(State(face): State<Arc<Face>>, Query(query): Asked) -> Response {
    told(&face, READY, &query).await
}

/// One check of a list by its name, `/readyz/linearizable_read`.
async fn one(face: &Face, checks: &[&'static str], name: &str) -> Response {
    match checks.iter().find(|known| **known == name) {
        Some(known) => told(face, &[known], &[]).await,
        None => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

async fn livez_one(State(face): State<Arc<Face>>, UrlPath(name): UrlPath<String>) -> Response {
    one(&face, LIVE, &name).await
}

async fn readyz_one(State(face): State<Arc<Face>>, UrlPath(name): UrlPath<String>) -> Response {
    one(&face, READY, &name).await
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
        state_bytes_in_use: glance.state_bytes_in_use.load(Ordering::Relaxed),
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
}
