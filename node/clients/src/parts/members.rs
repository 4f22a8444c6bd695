//! MemberList, MemberAdd, MemberUpdate, MemberPromote, MemberRemove; and what a learner refuses.

use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_client::{
    AlarmAction, AlarmType, Client, GetOptions, LeaseTimeToLiveOptions, MemberAddOptions, Txn,
    TxnOp,
};

use crate::stage::{FIRST, Stage};
use crate::tape::{self, hear, hear_unless};

/// What a member says as long as it has not been connected to the others for some seconds.
const UNHEALTHY: &str = "unhealthy cluster";

/// Asks for a change of the members, records it, and writes a key behind it. As long as the applied
/// index has not passed one change, etcd's raft ignores the next, and whoever asked for that is
/// never answered; once a later write is answered, it has.
///
/// Source: `etcd-io/raft raft.go`, `pendingConfIndex`.
macro_rules! change {
    ($client:ident, $call:expr) => {{
        hear_unless!(UNHEALTHY, $call);
        settle(&mut $client).await?
    }};
}

async fn settle(client: &mut Client) -> Result<()> {
    client.put("settled", "", None).await.context("write behind a change")?;
    Ok(())
}

pub(crate) async fn play(stage: &Stage) -> Result<()> {
    let first = stage.lead(1).await?;
    refused(stage, first).await?;
    let fourth = added(stage).await?;
    learner(stage, fourth).await?;
    promoted(stage, fourth).await?;
    updated(stage, fourth).await?;
    removed(stage, fourth).await
}

fn learner_option() -> Option<MemberAddOptions> {
    Some(MemberAddOptions::new().with_is_learner())
}

async fn refused(stage: &Stage, first: u64) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    hear!(m1.member_list());
    hear!(m2.member_list());
    change!(m1, m1.member_add(["nowhere"], None));
    change!(m1, m1.member_add(["http://127.0.0.1"], None));
    change!(m1, m1.member_add([""; 0], None));
    change!(m1, m1.member_add([stage.peer(1)], None));
    change!(m1, m1.member_remove(1_234));
    change!(m1, m1.member_promote(1_234));
    change!(m1, m1.member_promote(first));
    change!(m2, m2.member_promote(first));
    change!(m1, m1.member_update(1_234, [stage.peer(4)]));
    change!(m1, m1.member_update(first, [stage.peer(2)]));
    Ok(())
}

/// Adds a learner and starts it; returns its id.
async fn added(stage: &Stage) -> Result<u64> {
    let mut m1 = stage.client(1).await?;
    let answer = m1.member_add([stage.peer(4)], learner_option()).await?;
    let fourth = answer.member().context("it is told who was added")?.id();
    tape::name(fourth, "m4")?;
    tape::heard("m1.member_add([stage.peer(4)], learner_option())", Ok(answer))?;
    settle(&mut m1).await?;
    hear!(m1.member_list());
    // A new member's id is made of its URLs and the second: asked again within one, both servers
    // would name the id, not the URLs.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    change!(m1, m1.member_add([stage.peer(4)], learner_option()));
    change!(m1, m1.member_add([stage.peer(5)], learner_option()));
    change!(m1, m1.member_promote(fourth));
    hear!(m1.put("learner", "1", None));
    tape::start(4)?;
    tape::until("m4 says who it is", async || {
        let list = m1.member_list().await.ok()?;
        list.members().iter().any(|member| member.name() == "m4").then_some(())
    })
    .await?;
    hear!(m1.member_list());
    Ok(fourth)
}

/// What a learner answers, and what it refuses.
async fn learner(stage: &Stage, fourth: u64) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m4 = stage.client(4).await?;
    let local = || Some(GetOptions::new().with_serializable());
    tape::until("the learner has what was written", async || {
        let answer = m4.get("learner", local()).await.ok()?;
        (answer.count() == 1).then_some(())
    })
    .await?;
    hear!(m4.get("learner", local()));
    hear!(m4.get("learner", None));
    hear!(m4.put("learner", "2", None));
    hear!(m4.delete("learner", None));
    hear!(m4.txn(Txn::new().and_then([TxnOp::get("learner", local())])));
    hear!(m4.compact(5, None));
    hear!(m4.lease_grant(60, None));
    hear!(m4.lease_revoke(1));
    hear!(m4.lease_time_to_live(1, None::<LeaseTimeToLiveOptions>));
    hear!(m4.leases());
    hear!(m4.member_list());
    hear!(m4.member_remove(fourth));
    hear!(m4.member_promote(fourth));
    hear!(m4.alarm(AlarmAction::Get, AlarmType::None, None));
    hear!(m4.hash_kv(0));
    hear!(m4.defragment());
    hear!(m4.status());
    streams(&mut m4).await?;
    hear!(m1.move_leader(fourth));
    Ok(())
}

/// Streams fail when they are opened or when they are read; here only whether they do.
async fn streams(m4: &mut Client) -> Result<()> {
    let watch = async {
        let answer = m4.watch("learner", None).await?.message().await?;
        Ok(answer.is_some())
    };
    let watch = watch.await;
    tape::heard("m4.watch(learner)", watch)?;
    let snapshot = async {
        let mut stream = m4.snapshot().await?;
        while stream.message().await?.is_some() {}
        Ok(true)
    };
    let snapshot = snapshot.await;
    tape::heard("m4.snapshot()", snapshot)?;
    tape::heard("m4.lease_keep_alive(1)", m4.lease_keep_alive(1).await.map(|_| true))?;
    Ok(())
}

async fn promoted(stage: &Stage, fourth: u64) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m4 = stage.client(4).await?;
    hear_unless!("in sync", m1.member_promote(fourth));
    settle(&mut m1).await?;
    change!(m1, m1.member_promote(fourth));
    hear!(m1.member_list());
    hear!(m1.put("voter", "1", None));
    tape::until("m4 serves as a voter", async || m4.get("voter", None).await.ok()).await?;
    hear!(m4.get("voter", None));
    hear!(m4.put("voter", "2", None));
    hear!(m4.member_list());
    hear!(m4.status());
    Ok(())
}

async fn updated(stage: &Stage, fourth: u64) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m3 = stage.client(3).await?;
    change!(m1, m1.member_update(fourth, [stage.peer(4), stage.peer(5)]));
    hear!(m1.member_list());
    change!(m3, m3.member_update(fourth, [stage.peer(4)]));
    stage.level().await?;
    hear!(m3.member_list());
    Ok(())
}

async fn removed(stage: &Stage, fourth: u64) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    change!(m1, m1.member_remove(fourth));
    change!(m1, m1.member_remove(fourth));
    change!(m1, m1.member_promote(fourth));
    change!(m1, m1.member_update(fourth, [stage.peer(4)]));
    hear!(m1.member_list());
    // One that never starts, and is removed again.
    let mut answer = None;
    let since = std::time::Instant::now();
    while answer.is_none() && since.elapsed() < tape::PATIENCE {
        match m1.member_add([stage.peer(5)], None).await {
            Err(error) if error.to_string().contains(UNHEALTHY) => {}
            other => answer = Some(other?),
        }
    }
    let answer = answer.context("the cluster is healthy")?;
    let fifth = answer.member().context("it is told who was added")?.id();
    tape::name(fifth, "m5")?;
    tape::heard("m1.member_add([stage.peer(5)], None)", Ok(answer))?;
    settle(&mut m1).await?;
    stage.level().await?;
    hear!(m2.member_list());
    change!(m2, m2.member_remove(fifth));
    for place in 1..=FIRST {
        let mut client = stage.client(place).await?;
        tape::about(&format!("m{place}"))?;
        hear!(client.put("last", "1", None));
        hear!(client.member_list());
    }
    Ok(())
}
