//! Status, Alarm, Defragment, Hash, HashKV, Snapshot and MoveLeader.

use anyhow::Result;
use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions, SnapshotStreaming, Txn, TxnOp,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::stage::Stage;
use crate::tape::{self, hear};

pub(crate) async fn play(stage: &Stage) -> Result<()> {
    state(stage).await?;
    hashes(stage).await?;
    alarms(stage).await?;
    leaders(stage).await
}

async fn state(stage: &Stage) -> Result<()> {
    stage.lead(1).await?;
    stage.level().await?;
    for place in 1..=3 {
        let mut client = stage.client(place).await?;
        tape::about(&format!("m{place}"))?;
        hear!(client.status());
        hear!(client.defragment());
        let snapshot = client.snapshot().await?;
        tape::line("client.snapshot()", &saved(snapshot).await?)?;
    }
    Ok(())
}

/// What a snapshot is, whatever is in it: etcd's database and ours are laid out differently.
async fn saved(mut stream: SnapshotStreaming) -> Result<serde_json::Value> {
    let mut image = Vec::new();
    let mut remaining = Vec::new();
    let mut headers = 0;
    while let Some(part) = stream.message().await? {
        headers += usize::from(part.header().is_some());
        remaining.push((image.len() + part.blob().len(), part.remaining_bytes()));
        image.extend_from_slice(part.blob());
    }
    let database = image.len().saturating_sub(32);
    let counted = |(sent, remaining): &(usize, u64)| {
        *remaining == u64::try_from(database.saturating_sub(*sent)).unwrap_or(u64::MAX)
    };
    Ok(json!({
        "headers": headers,
        "remaining_is_counted": remaining.iter().all(counted),
        "whole_pages": database > 0 && database % 4_096 == 0,
        "sum_at_the_end": Sha256::digest(&image[..database])[..] == image[database..],
    }))
}

/// The hash of the key space is the same to the bit; that of the whole file is chance.
async fn hashes(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let Some(put) = hear!(m1.put("hash", "1", None)) else { return Ok(()) };
    let last = put.header().map_or(0, etcd_client::ResponseHeader::revision);
    hear!(m1.put("hash", "2", None));
    hear!(m1.delete("hash", None));
    hear!(m1.hash_kv(0));
    hear!(m1.hash_kv(last));
    hear!(m1.hash_kv(last + 1));
    hear!(m1.hash_kv(last + 1_000));
    hear!(m1.hash_kv(1));
    hear!(m1.hash_kv(-1));
    hear!(m1.compact(last + 1, Some(CompactionOptions::new().with_physical())));
    // Not at the compacted revision itself: there 3.4 refuses, and 3.5 tells the hash it had before
    // it compacted.
    hear!(m1.hash_kv(0));
    hear!(m1.hash_kv(last));
    hear!(m1.hash_kv(last + 2));
    hear!(m1.hash());
    Ok(())
}

async fn alarm(
    client: &mut Client,
    action: AlarmAction,
    alarm: AlarmType,
    member: u64,
) -> Result<()> {
    let mut options = AlarmOptions::new();
    options.with_member(member);
    let call = format!("alarm({}, {}, member)", action.as_str_name(), alarm.as_str_name());
    tape::heard(&call, client.alarm(action, alarm, Some(options)).await)?;
    Ok(())
}

async fn alarms(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let [first, second] = [stage.lead(1).await?, stage.id(2).await?];
    let (get, activate, deactivate) =
        (AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate);
    let full = AlarmType::Nospace;
    alarm(&mut m1, get, AlarmType::None, 0).await?;
    alarm(&mut m1, deactivate, full, first).await?;
    alarm(&mut m1, activate, full, first).await?;
    alarm(&mut m1, activate, full, first).await?;
    alarm(&mut m1, get, AlarmType::None, 0).await?;
    alarm(&mut m1, get, full, 0).await?;
    alarm(&mut m1, get, full, second).await?;
    alarm(&mut m1, get, AlarmType::Corrupt, 0).await?;
    hear!(m1.put("alarm", "refused", None));
    hear!(m1.txn(Txn::new().and_then([TxnOp::put("alarm", "refused", None)])));
    hear!(m1.txn(Txn::new().and_then([TxnOp::get("alarm", None)])));
    hear!(m1.txn(Txn::new().and_then([TxnOp::delete("alarm", None)])));
    hear!(m1.lease_grant(60, None));
    hear!(m1.delete("alarm", None));
    hear!(m1.get("alarm", None));
    hear!(m1.status());
    alarm(&mut m1, activate, full, second).await?;
    alarm(&mut m1, get, AlarmType::None, 0).await?;
    alarm(&mut m1, deactivate, full, first).await?;
    hear!(m1.put("alarm", "still refused", None));
    alarm(&mut m1, deactivate, full, second).await?;
    alarm(&mut m1, get, AlarmType::None, 0).await?;
    hear!(m1.put("alarm", "taken", None));
    alarm(&mut m1, activate, AlarmType::Corrupt, first).await?;
    hear!(m1.status());
    hear!(m1.put("alarm", "refused", None));
    hear!(m1.get("alarm", None));
    hear!(m1.delete("alarm", None));
    hear!(m1.compact(5, None));
    hear!(m1.lease_grant(60, None));
    alarm(&mut m1, get, AlarmType::None, 0).await?;
    alarm(&mut m1, deactivate, AlarmType::Corrupt, first).await?;
    alarm(&mut m1, get, AlarmType::None, 0).await?;
    hear!(m1.put("alarm", "taken again", None));
    Ok(())
}

async fn leaders(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    let [first, second] = [stage.lead(1).await?, stage.id(2).await?];
    hear!(m2.move_leader(first));
    hear!(m1.move_leader(1_234));
    hear!(m1.move_leader(0));
    hear!(m1.move_leader(first));
    hear!(m1.move_leader(second));
    stage.lead(2).await?;
    stage.level().await?;
    hear!(m1.status());
    hear!(m2.status());
    hear!(m1.move_leader(second));
    hear!(m1.put("moved", "1", None));
    hear!(m2.get("moved", None));
    stage.lead(1).await?;
    Ok(())
}
