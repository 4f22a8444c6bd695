//! The curve of memory.

use anyhow::{Context, Result};
use bytes::Bytes;
use etcd_api::etcdserverpb::request_op::Request;
use etcd_api::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use serde::Serialize;
use tokio::task::JoinSet;

use super::draw::{Line, Picture};
use super::stage::{Stage, VALUE_BYTES, resident};
use super::{Ground, columns};
use crate::workload::{Connection, Dialler};

/// How many keys there are when a look is taken.
const KEYS: [u64; 8] = [0, 10_000, 30_000, 100_000, 200_000, 300_000, 500_000, 1_000_000];

/// Puts in a transaction: fewer than the 128 that a server takes.
const PUTS: u64 = 100;

/// Transactions under way.
const WRITERS: u64 = 8;

/// One number of keys.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    keys: u64,
    leader_bytes: u64,
    follower_bytes: u64,
}

pub(super) async fn measure(ground: &Ground) -> Result<Vec<Point>> {
    let stage = Stage::begin(ground, &[]).await?;
    let points = fill(ground, &stage).await;
    stage.end().await;
    points
}

async fn fill(ground: &Ground, stage: &Stage) -> Result<Vec<Point>> {
    let dialler = Dialler::default();
    let endpoint = stage.endpoints().first().context("find a member")?;
    let connection = dialler.dial(endpoint).await.context("connect to a member")?;
    let mut points = Vec::new();
    let mut there = 0;
    for keys in KEYS {
        ground.teller.tell(&format!("memory: {keys} keys of {VALUE_BYTES} bytes"));
        put(&connection, there, keys).await.with_context(|| format!("put {keys} keys"))?;
        there = keys;
        // What is written behind, and what goes back to the system, has come to rest.
        tokio::time::sleep(ground.measure).await;
        let (leader, follower) = stage.processes().context("find the leader")?;
        points.push(Point {
            keys,
            leader_bytes: resident(leader)?,
            follower_bytes: resident(follower)?,
        });
    }
    drop(connection);
    dialler.shutdown().await;
    Ok(points)
}

/// Puts the keys from one number up to another, many in one transaction.
async fn put(connection: &Connection, from: u64, to: u64) -> Result<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let connection = connection.clone();
        writers.spawn(async move {
            let mut kv = connection.kv();
            let mut first = from + writer * PUTS;
            while first < to {
                let success = (first..to.min(first + PUTS)).map(operation).collect();
                kv.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
                first += WRITERS * PUTS;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.context("run a writer")??;
    }
    Ok(())
}

fn operation(number: u64) -> RequestOp {
    let put = PutRequest {
        key: Bytes::from(format!("curves/{number:08}")),
        value: Bytes::from(vec![b'x'; VALUE_BYTES]),
        ..PutRequest::default()
    };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

pub(super) fn table(points: &[Point]) -> Option<String> {
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    let rows: Vec<_> = points
        .iter()
        .map(|point| {
            vec![point.keys.to_string(), mib(point.leader_bytes), mib(point.follower_bytes)]
        })
        .collect();
    let head = ["keys", "leader MiB", "follower MiB"];
    (!rows.is_empty()).then(|| columns(&head, &rows))
}

pub(super) fn picture(points: &[Point]) -> Option<Picture> {
    let line = |name: &'static str, figure: fn(&Point) -> u64| Line {
        name,
        points: points
            .iter()
            .map(|point| (point.keys as f64, figure(point) as f64 / f64::from(1 << 20)))
            .collect(),
    };
    (!points.is_empty()).then(|| Picture {
        title: "What keys cost",
        across: "keys of 256 bytes",
        up: "memory of a member, MiB",
        decades: false,
        lines: vec![
            line("leader", |point| point.leader_bytes),
            line("follower", |point| point.follower_bytes),
        ],
    })
}
