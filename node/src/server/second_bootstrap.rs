//! A member that has run already does not begin a second time.

use std::time::Duration;

use node_protocol::{ClusterId, MemberId};
use tokio::task::JoinSet;

use super::{ServerError, dial};
use crate::cluster::Member;
use crate::config::Config;
use crate::transport::bulk;

/// Peers that say nothing for so long are not waited for, as by etcd.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(1);

/// A member of a running cluster that begins with an empty disk has forgotten its votes and what it
/// had acknowledged: it must not take part under its old identity. Whoever knows that it has run
/// says so; a cluster that begins now has nobody who does.
///
/// Source: `etcd-io/etcd server/etcdserver/bootstrap.go`, `isMemberBootstrapped`.
pub(super) async fn refuse(
    config: &Config,
    first: &[Member],
    (cluster, own): (ClusterId, MemberId),
) -> Result<(), ServerError> {
    let mut asked = JoinSet::new();
    for peer in first.iter().filter(|peer| peer.id != own).cloned() {
        let dial = dial(config, &peer.peer_urls);
        asked.spawn(async move {
            let answer = tokio::time::timeout(BOOTSTRAP_TIMEOUT, bulk::fetch_members(&dial)).await;
            let (of, members) = answer.ok()?.ok()?;
            let ran = members.get(own).is_some_and(|member| !member.client_urls.is_empty());
            (of == cluster && ran).then_some(peer)
        });
    }
    match asked.join_all().await.into_iter().flatten().next() {
        None => Ok(()),
        Some(peer) => Err(ServerError::AlreadyBootstrapped { id: own, peer: Box::new(peer) }),
    }
}
