//! Members that `--force-new-cluster` cuts off: not one of them may be alive.

use node_protocol::MemberId;
use tokio::task::JoinSet;

use super::{ServerError, dial};
use crate::alone::{self, CutOff};
use crate::config::Config;
use crate::recover::Opened;
use crate::threads::Alarm;
use crate::transport::bulk;
use crate::transport::listener::Outcasts;

/// Asks every other member; one that answers, and is of this cluster, is alive.
pub(super) async fn refuse_while_others_live(
    config: &Config,
    opened: &Opened,
) -> Result<(), ServerError> {
    let members = alone::members(opened)?;
    let (own, cluster) = (opened.metadata.member_id, opened.metadata.cluster_id);
    let mut asked = JoinSet::new();
    for member in members.members().filter(|member| member.id != own).cloned() {
        let dial = dial(config, &member.peer_urls);
        asked.spawn(async move {
            let answer = bulk::fetch_members(&dial).await.ok()?;
            (answer.0 == cluster).then_some(member)
        });
    }
    match asked.join_all().await.into_iter().flatten().next() {
        None => Ok(()),
        Some(member) => {
            let url = member.peer_urls.join(",");
            Err(ServerError::StillAlive { member: Box::new(member), url })
        }
    }
}

/// Ends this member when one calls that was cut off.
pub(super) struct CalledOff {
    pub(super) cut_off: CutOff,
    pub(super) alarm: Alarm,
}

impl Outcasts for CalledOff {
    fn called(&self, caller: MemberId) -> bool {
        let Some(known) = self.cut_off.get(caller) else { return false };
        self.alarm.raise(format!(
            "member {caller} {known} of this cluster is alive, and --force-new-cluster has cut it \
             off: two histories under one cluster id. End it and take its data directory away; \
             or end both and restore a snapshot, which begins a new cluster"
        ));
        true
    }
}
