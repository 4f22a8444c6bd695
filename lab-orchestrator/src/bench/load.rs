//! The closed loop: clients that ask again as soon as they were answered.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use etcd_api::etcdserverpb::{PutRequest, RangeRequest, StatusRequest};
use http::Uri;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::samples::{Figures, Samples};
use crate::workload::{Connection, Dialler};

/// Asked, but not counted, before each measurement.
const WARM_UP: Duration = Duration::from_millis(500);

/// A call without an answer for so long counts as an error.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// How long finding a leader may take.
const LEADER_DEADLINE: Duration = Duration::from_secs(30);

/// Keys that each client writes and reads.
const KEYS_PER_CLIENT: usize = 100;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A put of a value.
    Put,
    /// A linearizable range of one key.
    Range,
}

/// How hard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) kind: Kind,
    pub(super) clients: usize,
    pub(super) connections: usize,
    pub(super) value_bytes: usize,
    pub(super) duration: Duration,
}

/// Measures one load on these endpoints: connections are spread over them in turn.
///
/// Errors: nobody was reached, or nobody answered a single call.
pub(super) async fn measure(load: Load, endpoints: &[Uri]) -> Result<Figures> {
    let figures = observe(load, endpoints).await?;
    if figures.answers == 0 {
        bail!("get a single answer; {} calls failed", figures.errors);
    }
    Ok(figures)
}

/// As [`measure`], where no answer is an answer too: its latencies are no numbers then.
pub(super) async fn observe(load: Load, endpoints: &[Uri]) -> Result<Figures> {
    let dialler = Dialler::default();
    let mut connections = Vec::new();
    for number in 0..load.connections {
        let endpoint = &endpoints[number % endpoints.len()];
        connections.push(dialler.dial(endpoint).await.context("connect to a member")?);
    }
    let began = Instant::now() + WARM_UP;
    let end = began + load.duration;
    let mut clients = JoinSet::new();
    for number in 0..load.clients {
        let connection = connections[number % connections.len()].clone();
        clients.spawn(client(load, number, connection, began, end));
    }
    let mut all = Samples::default();
    while let Some(samples) = clients.join_next().await {
        all.merge(samples.context("run a client")?);
    }
    drop(connections);
    dialler.shutdown().await;
    Ok(all.figures(load.duration.as_secs_f64()))
}

async fn client(
    load: Load,
    number: usize,
    connection: Connection,
    began: Instant,
    end: Instant,
) -> Samples {
    let mut kv = connection.kv();
    let keys: Vec<_> = (0..KEYS_PER_CLIENT)
        .map(|key| Bytes::from(format!("bench/{number:04}/{key:04}")))
        .collect();
    let value = Bytes::from(vec![b'x'; load.value_bytes]);
    let mut samples = Samples::with_capacity(4096);
    for key in keys.iter().cycle() {
        let asked = Instant::now();
        if asked >= end {
            break;
        }
        let answered = match load.kind {
            Kind::Put => {
                let (key, value) = (key.clone(), value.clone());
                let request = PutRequest { key, value, ..PutRequest::default() };
                tokio::time::timeout(CALL_DEADLINE, kv.put(request))
                    .await
                    .map(|answer| answer.is_ok())
            }
            Kind::Range => {
                let request = RangeRequest { key: key.clone(), ..RangeRequest::default() };
                tokio::time::timeout(CALL_DEADLINE, kv.range(request))
                    .await
                    .map(|answer| answer.is_ok())
            }
        };
        let now = Instant::now();
        // What began or ended outside the window is not of it.
        if asked < began || now > end {
            continue;
        }
        if matches!(answered, Ok(true)) {
            samples.add(now - asked);
        } else {
            samples.errors += 1;
            // A member that refuses at once must not make this loop spin.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    samples
}

/// The endpoint of the leader, by the members' own status.
pub(super) async fn find_leader(endpoints: &[Uri]) -> Result<Uri> {
    let dialler = Dialler::default();
    let deadline = Instant::now() + LEADER_DEADLINE;
    loop {
        for endpoint in endpoints {
            let leads = async {
                let connection = dialler.dial(endpoint).await.ok()?;
                let status = connection.maintenance().status(StatusRequest {}).await.ok()?;
                let status = status.into_inner();
                let own = status.header.unwrap_or_default().member_id;
                Some(own != 0 && own == status.leader)
            };
            let leads = tokio::time::timeout(Duration::from_secs(1), leads).await;
            if matches!(leads, Ok(Some(true))) {
                dialler.shutdown().await;
                return Ok(endpoint.clone());
            }
        }
        if Instant::now() > deadline {
            dialler.shutdown().await;
            let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
            return Err(anyhow!("find a leader among {}", endpoints.join(", ")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Puts one key through all endpoints at once until the first is acknowledged.
///
/// Each endpoint is dialled every few milliseconds until it takes a connection, and asked again
/// when it refuses: what is measured is the cluster, not a client's patience.
pub(super) async fn first_put(endpoints: &[Uri], within: Duration) -> Result<()> {
    const AGAIN: Duration = Duration::from_millis(5);
    let dialler = Dialler::default();
    let mut asking = JoinSet::new();
    for endpoint in endpoints {
        let (endpoint, dialler) = (endpoint.clone(), dialler.clone());
        asking.spawn(async move {
            loop {
                if let Ok(connection) = dialler.dial(&endpoint).await {
                    let mut kv = connection.kv();
                    while !connection.is_closed() {
                        let request = PutRequest {
                            key: Bytes::from_static(b"bench/first"),
                            value: Bytes::from_static(b"x"),
                            ..PutRequest::default()
                        };
                        if kv.put(request).await.is_ok() {
                            return;
                        }
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    let first = tokio::time::timeout(within, asking.join_next()).await;
    asking.shutdown().await;
    dialler.shutdown().await;
    match first {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(_) | Err(_) => Err(anyhow!("get a first put acknowledged within {within:?}")),
    }
}
