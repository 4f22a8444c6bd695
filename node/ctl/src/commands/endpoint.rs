//! Each endpoint's health, status and sum.

use etcd_api::etcdserverpb as pb;
use tokio::time::Instant;

use super::Desk;
use crate::args::{Endpoint, EndpointCommand};
use crate::client::{Client, Patience};
use crate::failure::{Failure, code, complain, words};
use crate::show::{Hashes, Health, Healths, Statuses, alarm};

pub(crate) async fn run(desk: &Desk, asked: &Endpoint) -> Result<(), Failure> {
    let endpoints = desk.endpoints(asked.cluster).await?;
    match &asked.command {
        EndpointCommand::Health(_) => health(desk, &endpoints).await,
        EndpointCommand::Status(_) => status(desk, &endpoints).await,
        EndpointCommand::Hashkv(asked) => hash(desk, &endpoints, asked.rev).await,
    }
}

/// All at once, so that one that is gone does not keep the others waiting.
async fn health(desk: &Desk, endpoints: &[String]) -> Result<(), Failure> {
    let mut asked = tokio::task::JoinSet::new();
    for (at, endpoint) in endpoints.iter().enumerate() {
        let client = desk.client.only(endpoint);
        let endpoint = endpoint.clone();
        asked.spawn(async move { (at, one(&client, endpoint).await) });
    }
    let mut found = asked.join_all().await;
    found.sort_by_key(|(at, _)| *at);
    let all: Vec<_> = found.into_iter().map(|(_, health)| health).collect();
    let well = all.iter().all(|health| health.error.is_empty());
    desk.style.print(&Healths(all))?;
    if well { Ok(()) } else { Err(Failure::error("unhealthy cluster")) }
}

async fn one(client: &Client, endpoint: String) -> Health {
    let since = Instant::now();
    let question = pb::RangeRequest { key: "health".into(), ..Default::default() };
    let answer = client.range(Patience::Command, question).await;
    let took = Some(since.elapsed());
    let error = match answer {
        // To be refused, the question went through the cluster.
        Err(status) if status.message() != "etcdserver: permission denied" => words(&status),
        Ok(_) | Err(_) => alarms(client).await,
    };
    Health { endpoint, took, error }
}

async fn alarms(client: &Client) -> String {
    match client.alarms(Patience::Command, pb::AlarmRequest::default()).await {
        Err(_) => "Unable to fetch the alarm list".to_owned(),
        Ok(answer) if answer.alarms.is_empty() => String::new(),
        Ok(answer) => {
            let names: String =
                answer.alarms.iter().map(|one| format!("{} ", alarm(one))).collect();
            format!("Active Alarm(s): {names}")
        }
    }
}

async fn status(desk: &Desk, endpoints: &[String]) -> Result<(), Failure> {
    let mut found = Vec::new();
    for endpoint in endpoints {
        let client = desk.client.only(endpoint);
        match client.status(Patience::Command, pb::StatusRequest {}).await {
            Ok(answer) => found.push((endpoint.clone(), answer)),
            Err(status) => {
                let why = words(&status);
                complain(&format!("Failed to get the status of endpoint {endpoint} ({why})"));
            }
        }
    }
    let all = found.len() == endpoints.len();
    desk.style.print(&Statuses(found))?;
    if all { Ok(()) } else { Err(Failure::silent(code::ERROR)) }
}

async fn hash(desk: &Desk, endpoints: &[String], revision: i64) -> Result<(), Failure> {
    let mut found = Vec::new();
    let mut last = None;
    for endpoint in endpoints {
        let client = desk.client.only(endpoint);
        match client.hash_kv(Patience::Command, pb::HashKvRequest { revision }).await {
            Ok(answer) => found.push((endpoint.clone(), answer)),
            Err(status) => {
                let why = words(&status);
                complain(&format!("Failed to get the hash of endpoint {endpoint} ({why})"));
                last = Some(Failure::from(status));
            }
        }
    }
    desk.style.print(&Hashes(found))?;
    last.map_or(Ok(()), Err)
}
