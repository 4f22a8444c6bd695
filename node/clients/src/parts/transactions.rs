//! Txn: compares, operations, nesting, and what is refused.

use anyhow::Result;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};

use crate::stage::Stage;
use crate::tape::{about, hear};

pub(crate) async fn play(stage: &Stage) -> Result<()> {
    compares(stage).await?;
    operations(stage).await?;
    nested(stage).await?;
    refused(stage).await
}

fn put(key: &str, value: &str) -> TxnOp {
    TxnOp::put(key, value, None)
}

fn get(key: &str) -> TxnOp {
    TxnOp::get(key, None)
}

fn delete(key: &str) -> TxnOp {
    TxnOp::delete(key, None)
}

/// Whether they hold, and the key they are about.
fn when(compares: impl Into<Vec<Compare>>) -> Txn {
    Txn::new().when(compares).and_then([get("t")]).or_else([get("nobody")])
}

async fn compares(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    hear!(m1.put("t", "b", None));
    hear!(m1.put("t", "m", None));
    hear!(m1.put("t/1", "m", None));
    for op in [CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual] {
        for key in ["t", "nobody"] {
            about(&format!("{op:?} of {key}"))?;
            for number in [0, 2] {
                hear!(m1.txn(when([Compare::version(key, op, number)])));
            }
            hear!(m1.txn(when([Compare::create_revision(key, op, 30)])));
            hear!(m1.txn(when([Compare::mod_revision(key, op, 30)])));
            hear!(m1.txn(when([Compare::value(key, op, "m")])));
            hear!(m1.txn(when([Compare::value(key, op, "")])));
            hear!(m1.txn(when([Compare::lease(key, op, 0)])));
        }
        let whole = Compare::value("t", op, "m").with_prefix();
        hear!(m1.txn(when([whole])));
        let nothing = Compare::version("u", op, 0).with_range("v");
        hear!(m1.txn(when([nothing])));
    }
    hear!(m1.txn(when([])));
    let (holds, fails) =
        (Compare::version("t", CompareOp::Equal, 2), Compare::version("t", CompareOp::Equal, 3));
    hear!(m1.txn(when([holds.clone(), holds.clone()])));
    hear!(m1.txn(when([holds, fails])));
    hear!(m1.txn(when([Compare::version("", CompareOp::Equal, 0)])));
    Ok(())
}

async fn operations(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    hear!(m1.txn(Txn::new()));
    hear!(m1.txn(Txn::new().and_then([put("o/1", "1"), put("o/2", "2")])));
    hear!(m2.txn(Txn::new().and_then([get("o/1"), put("o/1", "3"), get("o/1")])));
    let before = PutOptions::new().with_prev_key();
    hear!(m1.txn(Txn::new().and_then([TxnOp::put("o/1", "4", Some(before))])));
    hear!(m1.txn(Txn::new().and_then([put("o/3", "5"), get("o/3"), delete("o/2"), get("o/2")])));
    let all = DeleteOptions::new().with_prefix().with_prev_key();
    hear!(m1.txn(Txn::new().and_then([TxnOp::delete("o/", Some(all)), get("o/1")])));
    hear!(m1.txn(Txn::new().and_then([delete("o/1"), delete("nobody")])));
    hear!(m1.txn(Txn::new().and_then([delete("o/1"), put("o/9", "x"), delete("o/1")])));
    let page = GetOptions::new().with_prefix().with_limit(1).with_keys_only();
    hear!(m1.txn(Txn::new().and_then([TxnOp::get("t", Some(page))])));
    stage.level().await?;
    let local = GetOptions::new().with_serializable();
    hear!(m2.txn(Txn::new().and_then([TxnOp::get("t", Some(local))])));
    let old = GetOptions::new().with_revision(36);
    hear!(m1.txn(Txn::new().and_then([TxnOp::get("t", Some(old)), put("o/9", "y")])));
    let never = Compare::version("t", CompareOp::Equal, 99);
    hear!(m1.txn(Txn::new().when([never.clone()]).and_then([put("o/9", "z")])));
    hear!(m1.txn(Txn::new().when([never]).or_else([put("o/9", "z"), delete("t/1")])));
    hear!(m1.get("o/", Some(GetOptions::new().with_prefix())));
    Ok(())
}

async fn nested(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let there = |key: &str| Compare::version(key, CompareOp::Greater, 0);
    let inner = |key: &str| {
        Txn::new().when([there(key)]).and_then([put("n", "then")]).or_else([put("n", "else")])
    };
    hear!(m1.txn(Txn::new().and_then([TxnOp::txn(inner("t"))])));
    hear!(m1.txn(Txn::new().and_then([TxnOp::txn(inner("nobody"))])));
    // The path is chosen before anything is written.
    hear!(m1.txn(Txn::new().and_then([put("fresh", "1"), TxnOp::txn(inner("fresh"))])));
    let deep = Txn::new().and_then([get("n"), TxnOp::txn(inner("n")), get("n")]);
    hear!(m1.txn(Txn::new().and_then([TxnOp::txn(deep), get("n")])));
    let reading = Txn::new().and_then([TxnOp::txn(Txn::new().and_then([get("n")]))]);
    hear!(m1.txn(reading));
    hear!(m1.txn(Txn::new().and_then([put("n", "twice"), TxnOp::txn(inner("t"))])));
    Ok(())
}

async fn refused(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let many = |count: usize| -> Vec<_> {
        (0..count).map(|number| put(&format!("many/{number}"), "x")).collect()
    };
    let below = DeleteOptions::new().with_prefix();
    hear!(m1.txn(Txn::new().and_then([put("d", "1"), put("d", "2")])));
    hear!(m1.txn(Txn::new().and_then([put("d/1", "1"), TxnOp::delete("d", Some(below.clone()))])));
    hear!(m1.txn(Txn::new().or_else([delete("d"), put("d", "2")])));
    hear!(m1.txn(Txn::new().and_then([put("", "1")])));
    hear!(m1.txn(Txn::new().and_then([get("")])));
    hear!(m1.txn(Txn::new().and_then([delete("")])));
    hear!(m1.txn(Txn::new().or_else([put("", "1")])));
    let leased = PutOptions::new().with_lease(4_711);
    hear!(m1.txn(Txn::new().and_then([put("d", "1"), TxnOp::put("e", "1", Some(leased))])));
    let kept = PutOptions::new().with_ignore_value();
    hear!(m1.txn(Txn::new().and_then([put("d", "1"), TxnOp::put("e", "", Some(kept))])));
    // Without a write beside it: etcd does that on the members that are not asked.
    let future = GetOptions::new().with_revision(1_000);
    hear!(m1.txn(Txn::new().and_then([TxnOp::get("t", Some(future))])));
    hear!(m1.get("d", None));
    hear!(m1.txn(Txn::new().and_then(many(128))));
    hear!(m1.txn(Txn::new().and_then(many(129))));
    hear!(m1.txn(Txn::new().or_else(many(129))));
    let compares: Vec<_> = (0..129).map(|_| Compare::version("t", CompareOp::Less, 9)).collect();
    hear!(m1.txn(Txn::new().when(compares)));
    let inner = Txn::new().and_then(many(127));
    hear!(m1.txn(Txn::new().and_then([put("d", "1"), TxnOp::txn(inner)])));
    let half = |key: &str| put(key, &"x".repeat(800_000));
    hear!(m1.txn(Txn::new().and_then([half("h/1"), half("h/2")])));
    hear!(m1.delete("many/", Some(below)));
    Ok(())
}
