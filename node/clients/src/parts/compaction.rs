//! Compact, and reads before and after it.

use anyhow::Result;
use etcd_client::{CompactionOptions, GetOptions, Txn, TxnOp};

use crate::stage::Stage;
use crate::tape::hear;

pub(crate) async fn play(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    let mut m3 = stage.client(3).await?;
    let Some(first) = hear!(m1.put("k", "1", None)) else { return Ok(()) };
    let first = first.header().map_or(0, etcd_client::ResponseHeader::revision);
    hear!(m1.put("k", "2", None));
    hear!(m1.delete("k", None));
    hear!(m1.put("k", "3", None));
    hear!(m1.put("k", "4", None));
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    hear!(m1.get("k", at(first)));
    hear!(m1.compact(first + 1, None));
    hear!(m1.compact(first + 1, None));
    hear!(m1.compact(first, None));
    hear!(m1.compact(0, None));
    hear!(m1.compact(-1, None));
    hear!(m1.compact(first + 1_000, None));
    hear!(m1.get("k", at(first)));
    hear!(m2.get("k", at(first)));
    hear!(m1.get("k", at(first + 1)));
    hear!(m1.get("k", at(first + 2)));
    hear!(m1.get("k", at(1)));
    let old = GetOptions::new().with_revision(first);
    hear!(m1.txn(Txn::new().and_then([TxnOp::get("k", Some(old))])));
    hear!(m3.compact(first + 2, Some(CompactionOptions::new().with_physical())));
    hear!(m1.get("k", at(first + 2)));
    hear!(m1.get("k", at(first + 3)));
    hear!(m2.compact(first + 4, None));
    hear!(m1.get("k", None));
    Ok(())
}
