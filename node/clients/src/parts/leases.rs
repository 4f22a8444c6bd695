//! LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive and LeaseLeases.

use anyhow::{Context as _, Result};
use etcd_client::{
    GetOptions, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions, WatchOptions,
};

use crate::stage::Stage;
use crate::tape::{self, hear};

pub(crate) async fn play(stage: &Stage) -> Result<()> {
    grants(stage).await?;
    attached(stage).await?;
    kept_alive(stage).await?;
    ended(stage).await
}

fn id(id: i64) -> Option<LeaseGrantOptions> {
    Some(LeaseGrantOptions::new().with_id(id))
}

fn lease(id: i64) -> Option<PutOptions> {
    Some(PutOptions::new().with_lease(id))
}

fn keys() -> Option<LeaseTimeToLiveOptions> {
    Some(LeaseTimeToLiveOptions::new().with_keys())
}

async fn grants(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    hear!(m1.leases());
    hear!(m1.lease_grant(600, id(1_001)));
    hear!(m1.lease_grant(600, id(1_001)));
    hear!(m2.lease_grant(700, id(1_002)));
    hear!(m1.lease_grant(9_000_000_000, id(1_003)));
    hear!(m1.lease_grant(9_000_000_001, id(1_004)));
    hear!(m1.lease_grant(i64::MAX, id(1_004)));
    hear!(m1.lease_grant(800, id(-5)));
    // An id that the member chooses.
    let granted = m1.lease_grant(900, None).await?;
    tape::name(granted.id().cast_unsigned(), "lease")?;
    tape::heard("m1.lease_grant(900, None)", Ok(granted))?;
    stage.level().await?;
    hear!(m1.leases());
    hear!(m2.leases());
    hear!(m1.lease_time_to_live(1_001, None));
    hear!(m1.lease_time_to_live(1_003, None));
    hear!(m1.lease_time_to_live(-5, None));
    hear!(m1.lease_time_to_live(1_234, None));
    hear!(m1.lease_time_to_live(1_234, keys()));
    hear!(m1.lease_time_to_live(0, None));
    Ok(())
}

async fn attached(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m3 = stage.client(3).await?;
    hear!(m1.lease_time_to_live(1_001, keys()));
    hear!(m1.put("lease/2", "x", lease(1_001)));
    hear!(m1.put("lease/1", "y", lease(1_001)));
    hear!(m3.put("lease/3", "z", lease(1_001)));
    hear!(m1.get("lease/", Some(GetOptions::new().with_prefix())));
    stage.level().await?;
    hear!(m1.lease_time_to_live(1_001, keys()));
    hear!(m3.lease_time_to_live(1_001, keys()));
    hear!(m1.put("lease/1", "of another", lease(1_002)));
    hear!(m1.put("lease/2", "of none", None));
    let kept = PutOptions::new().with_ignore_lease().with_prev_key();
    hear!(m1.put("lease/3", "still", Some(kept)));
    hear!(m1.lease_time_to_live(1_001, keys()));
    hear!(m1.lease_time_to_live(1_002, keys()));
    hear!(m1.delete("lease/3", None));
    hear!(m1.lease_time_to_live(1_001, keys()));
    hear!(m1.put("lease/4", "x", lease(-5)));
    hear!(m1.put("lease/4", "x", lease(1_234)));
    Ok(())
}

async fn kept_alive(stage: &Stage) -> Result<()> {
    stage.level().await?;
    for place in 1..=3 {
        let mut client = stage.client(place).await?;
        tape::about(&format!("m{place}"))?;
        // The client takes the first answer for itself.
        let (mut keeper, mut stream) = client.lease_keep_alive(1_001).await?;
        for _ in 0..2 {
            keeper.keep_alive().await?;
            let answer = stream.message().await?.context("the stream goes on")?;
            tape::heard("keeper.keep_alive()", Ok(answer))?;
        }
        // Only the error is recorded: a stream cannot be.
        let unknown = client.lease_keep_alive(1_234).await.map(|_| true);
        tape::heard("client.lease_keep_alive(1_234)", unknown)?;
    }
    Ok(())
}

async fn ended(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    hear!(m1.put("lease/5", "x", lease(1_001)));
    hear!(m1.put("lease/0", "x", lease(1_001)));
    let everything = WatchOptions::new().with_prefix().with_prev_key();
    let mut stream = m1.watch("lease/", Some(everything)).await?;
    let created = stream.message().await?.context("the watch is there")?;
    tape::heard("a watch of what the leases hold", Ok(created))?;
    hear!(m2.lease_revoke(1_001));
    let revoked = stream.message().await?.context("the stream goes on")?;
    tape::heard("the keys of a revoked lease", Ok(revoked))?;
    stage.level().await?;
    hear!(m1.lease_revoke(1_001));
    hear!(m1.lease_time_to_live(1_001, keys()));
    hear!(m1.lease_revoke(0));
    // Too short a time is made longer.
    hear!(m1.lease_grant(1, id(2_001)));
    hear!(m1.lease_grant(0, id(2_002)));
    hear!(m1.lease_grant(-7, id(2_003)));
    for id in 2_001..=2_003 {
        hear!(m1.lease_revoke(id));
    }
    hear!(m1.lease_grant(2, id(2_004)));
    hear!(m1.put("lease/6", "x", lease(2_004)));
    let put = stream.message().await?.context("the stream goes on")?;
    tape::heard("a key of a short lease", Ok(put))?;
    let expired = stream.message().await?.context("the stream goes on")?;
    tape::heard("it is gone by itself", Ok(expired))?;
    hear!(m1.lease_revoke(2_004));
    hear!(m1.get("lease/", Some(GetOptions::new().with_prefix())));
    for id in [1_002, 1_003, -5] {
        hear!(m1.lease_revoke(id));
    }
    stage.level().await?;
    hear!(m2.leases());
    Ok(())
}
