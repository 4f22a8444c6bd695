//! Changes of the members: what is asked of a member's own etcd API, and what it answers.
//!
//! The lab is an operator here, and asks as `etcdctl` does: one call, one answer. What a member
//! refuses comes back in its own words.

use std::time::Duration;

use etcd_api::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MoveLeaderRequest,
};
use http::Uri;
use lab_protocol::MemberNo;
use node_protocol::{ClusterId, MemberId};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::engine::{Engine, initial_cluster};
use crate::workload::{CallError, Connection, Dialler, classify};

/// Longer than a member itself waits (5 s and two election timeouts), so that its words are heard.
const DEADLINE: Duration = Duration::from_secs(15);

/// What etcd says when not all of its voters have been connected for long enough.
const UNHEALTHY: &str = "unhealthy cluster";

/// A young cluster of etcd is asked again for so long: somebody at a shell would do the same.
const HEALTHY: Duration = Duration::from_secs(7);

/// After this time.
const RETRY: Duration = Duration::from_millis(500);

/// A change that a member is asked for.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add { member: MemberNo, learner: bool },
    Promote { id: MemberId },
    Remove { member: MemberNo, id: MemberId },
    TransferLeadership { id: MemberId },
}

/// What the cluster did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Added(Newcomer),
    Removed(MemberNo),
    Otherwise,
}

/// A member that the cluster took in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newcomer {
    pub(super) member: MemberNo,
    pub(super) id: MemberId,
    pub(super) cluster: ClusterId,
    pub(super) learner: bool,
    /// The members by now, as `--initial-cluster` takes them.
    pub(super) initial_cluster: String,
}

/// Asks one member, which listens at `at`.
///
/// Errors: what the member says, or that nothing is known of the outcome.
pub(super) async fn ask(
    dialler: &Dialler,
    engine: &Engine,
    (member, at): (MemberNo, Uri),
    change: Change,
) -> Result<Changed, String> {
    let patience = match engine {
        Engine::RaftNode(_) => Duration::ZERO,
        Engine::Etcd(_) => HEALTHY,
    };
    let healthy_by = Instant::now() + patience;
    let connection =
        dialler.dial(&at).await.map_err(|error| format!("{member} was not reached: {error}"))?;
    let made = async {
        loop {
            match make(&connection, engine, change).await {
                // Nothing was proposed: etcd wants its peers to be connected for five seconds.
                Err(status)
                    if status.message().contains(UNHEALTHY) && Instant::now() < healthy_by =>
                {
                    sleep(RETRY).await;
                }
                made => return made,
            }
        }
    };
    match tokio::time::timeout(DEADLINE, made).await {
        Ok(Ok(changed)) => Ok(changed),
        Ok(Err(status)) => Err(match classify(&status) {
            CallError::Refused { code, message } if is_open(code, &message) => {
                format!("{member} says: {message}; it may still be done")
            }
            CallError::Refused { message, .. } => format!("{member} says: {message}"),
            error @ (CallError::NotSent(_) | CallError::Lost(_)) => {
                format!("{member} did not answer, what came of it is unknown: {error}")
            }
        }),
        Err(_) => Err(format!(
            "{member} did not answer within {} s; what came of it is unknown",
            DEADLINE.as_secs()
        )),
    }
}

/// Whether a member that answers so may have the change in its log. It says `Unavailable` of a
/// cluster that is not healthy, too, and then it proposed nothing.
fn is_open(code: Code, message: &str) -> bool {
    match code {
        Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal => true,
        Code::Unavailable => message.contains("timed out"),
        _ => false,
    }
}

async fn make(connection: &Connection, engine: &Engine, change: Change) -> Result<Changed, Status> {
    let mut cluster = connection.cluster();
    match change {
        Change::Add { member, learner } => add(connection, engine, member, learner).await,
        Change::Promote { id } => {
            cluster.member_promote(MemberPromoteRequest { id: id.0 }).await?;
            Ok(Changed::Otherwise)
        }
        Change::Remove { member, id } => {
            cluster.member_remove(MemberRemoveRequest { id: id.0 }).await?;
            Ok(Changed::Removed(member))
        }
        Change::TransferLeadership { id } => {
            let request = MoveLeaderRequest { target_id: id.0 };
            connection.maintenance().move_leader(request).await?;
            Ok(Changed::Otherwise)
        }
    }
}

/// Adds a member under its virtual name. One that was added before, without anybody hearing the
/// answer, is taken as it is: nobody else has that name.
async fn add(
    connection: &Connection,
    engine: &Engine,
    member: MemberNo,
    learner: bool,
) -> Result<Changed, Status> {
    let mut cluster = connection.cluster();
    let url = engine.peer_url(member);
    let list = cluster.member_list(MemberListRequest::default()).await?.into_inner();
    let known = list.members.into_iter().find(|known| known.peer_urls.contains(&url));
    let (header, added, members) = match known {
        Some(known) => {
            let list = cluster.member_list(MemberListRequest { linearizable: true }).await?;
            let list = list.into_inner();
            (list.header, known, list.members)
        }
        None => {
            let request = MemberAddRequest { peer_urls: vec![url], is_learner: learner };
            let answer = cluster.member_add(request).await?.into_inner();
            (answer.header, answer.member.unwrap_or_default(), answer.members)
        }
    };
    let named: Vec<_> = members
        .iter()
        .flat_map(|one| one.peer_urls.iter().map(|url| (name_behind(engine, url), url.as_str())))
        .collect();
    let named = named.iter().map(|(name, url)| (name.as_str(), *url));
    Ok(Changed::Added(Newcomer {
        member,
        id: MemberId(added.id),
        cluster: ClusterId(header.unwrap_or_default().cluster_id),
        learner: added.is_learner,
        initial_cluster: initial_cluster(named),
    }))
}

/// The name of the member with this peer URL. One that has not started yet has told none, but in
/// the lab the URL says it too.
fn name_behind(engine: &Engine, url: &str) -> String {
    (1..=crate::supervisor::PLACES)
        .map(MemberNo)
        .find(|&member| url == engine.peer_url(member))
        .map_or_else(|| url.trim_start_matches("http://").to_owned(), |member| member.to_string())
}
