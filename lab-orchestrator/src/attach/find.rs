//! Who the members of a cluster are, and where each can be asked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_api::etcdserverpb::{Member, MemberListRequest, StatusRequest};
use http::Uri;
use lab_protocol::node_protocol::{ClusterId, MemberId};
use tokio::time::timeout;

use crate::workload::Dialler;

/// An endpoint that does not answer in this time does not count.
const DEADLINE: Duration = Duration::from_secs(3);

/// A cluster as its endpoints tell of it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) cluster: ClusterId,
    /// What it says it speaks.
    pub(super) version: String,
    /// Its members, by name and identity.
    pub(super) members: Vec<FoundMember>,
}

/// One of its members.
#[derive(Clone, Debug)]
pub(super) struct FoundMember {
    pub(super) id: MemberId,
    /// Empty before it told it.
    pub(super) name: String,
    pub(super) peer_url: String,
    /// Where it is asked: the endpoint that was given, else what the cluster says; none of a
    /// member that has not started yet.
    pub(super) origin: Option<Uri>,
    pub(super) is_learner: bool,
}

/// Asks every endpoint who the members are.
///
/// Errors: nobody answers; they are of several clusters.
pub(super) async fn find(dialler: &Dialler, endpoints: &[Uri]) -> Result<Found> {
    let asked = endpoints.iter().map(|origin| timeout(DEADLINE, ask(dialler, origin)));
    let answers = futures_util::future::join_all(asked).await;
    let mut given = BTreeMap::new();
    let mut found: Option<(ClusterId, String, Vec<Member>)> = None;
    let mut failures = Vec::new();
    for (origin, answer) in endpoints.iter().zip(answers) {
        let (id, cluster, version, members) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                failures.push(format!("{error:#}"));
                continue;
            }
            Err(_) => {
                failures.push(format!("{origin} did not answer within {} s", DEADLINE.as_secs()));
                continue;
            }
        };
        given.insert(id, origin.clone());
        match &found {
            Some((other, ..)) if *other != cluster => anyhow::bail!(
                "take the endpoints for one cluster: {origin} is of {cluster}, another of {other}"
            ),
            // A learner does not tell who the members are.
            Some((_, _, known)) if !known.is_empty() => {}
            Some(_) | None => found = Some((cluster, version, members)),
        }
    }
    let found = found.filter(|(_, _, members)| !members.is_empty());
    let (cluster, version, members) = found.with_context(|| {
        format!("hear who the members are from any endpoint: {}", failures.join("; "))
    })?;
    let mut members: Vec<_> = members
        .into_iter()
        .map(|member| {
            let id = MemberId(member.id);
            let told = || member.client_urls.iter().find_map(|url| url.parse().ok());
            let origin = given.get(&id).cloned().or_else(told);
            let peer_url = member.peer_urls.first().cloned().unwrap_or_default();
            FoundMember { id, name: member.name, peer_url, origin, is_learner: member.is_learner }
        })
        .collect();
    members.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    Ok(Found { cluster, version, members })
}

async fn ask(
    dialler: &Dialler,
    origin: &Uri,
) -> Result<(MemberId, ClusterId, String, Vec<Member>)> {
    let failed = || format!("ask {origin}");
    let connection = dialler.dial(origin).await.with_context(failed)?;
    let status = connection.maintenance().status(StatusRequest {}).await.with_context(failed)?;
    let status = status.into_inner();
    let header = status.header.unwrap_or_default();
    let request = MemberListRequest { linearizable: false };
    let members = match connection.cluster().member_list(request).await {
        Ok(list) => list.into_inner().members,
        Err(_) => Vec::new(),
    };
    let (id, cluster) = (MemberId(header.member_id), ClusterId(header.cluster_id));
    Ok((id, cluster, status.version, members))
}
