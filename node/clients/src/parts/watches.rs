//! Watch: history and live, several on one stream, filters, progress, fragments, endings.

use anyhow::{Context as _, Result, bail};
use etcd_client::{Client, PutOptions, Txn, TxnOp, WatchFilterType, WatchOptions, WatchStream};

use crate::stage::Stage;
use crate::tape::{self, PATIENCE, hear};

pub(crate) async fn play(stage: &Stage) -> Result<()> {
    history(stage).await?;
    live(stage).await?;
    together(stage).await?;
    endings(stage).await?;
    fragments(stage).await
}

/// Opens a stream with its first watch, and records the answers that come, so many of them.
macro_rules! watch {
    ($answers:expr, $call:expr) => {{
        let mut stream = $call.await?;
        next(&mut stream, stringify!($call), $answers).await?;
        stream
    }};
}

/// Records what a stream says next, so many answers.
async fn next(stream: &mut WatchStream, what: &str, answers: usize) -> Result<()> {
    for _ in 0..answers {
        let Ok(message) = tokio::time::timeout(PATIENCE, stream.message()).await else {
            bail!("{what}: no answer in {PATIENCE:?}");
        };
        let answer = message.map(|answer| answer.context("the stream goes on"));
        match answer {
            Ok(answer) => tape::heard(what, Ok(answer?))?,
            Err(error) => tape::heard(what, Err(error))?,
        };
    }
    Ok(())
}

/// The revision of the key space now, for watches that begin behind it.
async fn revision(client: &mut Client) -> Result<i64> {
    let answer = client.get("nobody", None).await?;
    Ok(answer.header().context("an answer has a header")?.revision())
}

fn options() -> WatchOptions {
    WatchOptions::new()
}

async fn history(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    let began = 1 + revision(&mut m1).await?;
    hear!(m1.put("w", "1", None));
    hear!(m1.put("w/1", "2", None));
    hear!(m1.put("w", "3", None));
    hear!(m1.delete("w", None));
    let both = [TxnOp::put("w", "4", None), TxnOp::put("w/2", "5", None)];
    hear!(m1.txn(Txn::new().and_then(both)));
    hear!(m1.put("x", "6", None));
    stage.level().await?;
    watch!(2, m1.watch("w", Some(options().with_start_revision(began))));
    watch!(2, m2.watch("w", Some(options().with_start_revision(began))));
    watch!(2, m1.watch("w", Some(options().with_start_revision(began).with_prev_key())));
    watch!(2, m1.watch("w", Some(options().with_start_revision(began + 1).with_prev_key())));
    watch!(2, m1.watch("w", Some(options().with_start_revision(began).with_prefix())));
    watch!(2, m1.watch("w/", Some(options().with_start_revision(began).with_prefix())));
    watch!(2, m1.watch("w/1", Some(options().with_start_revision(began).with_range("w/3"))));
    watch!(2, m1.watch("w/2", Some(options().with_start_revision(began).with_from_key())));
    watch!(2, m1.watch("", Some(options().with_start_revision(began).with_all_keys())));
    let no_put = options().with_filters([WatchFilterType::NoPut]);
    watch!(2, m1.watch("w", Some(no_put.with_start_revision(began).with_prev_key())));
    let no_delete = options().with_filters([WatchFilterType::NoDelete]);
    watch!(2, m1.watch("w", Some(no_delete.with_start_revision(began))));
    watch!(2, m1.watch("x", Some(options().with_start_revision(began + 3))));
    Ok(())
}

async fn live(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut strict = stage.strict_client(3).await?;
    stage.level().await?;
    let mut stream = watch!(1, m1.watch("l", Some(options().with_prefix().with_prev_key())));
    let mut other = watch!(1, strict.watch("l", Some(options().with_prefix())));
    hear!(m1.put("l", "1", None));
    next(&mut stream, "m1 hears a put", 1).await?;
    next(&mut other, "m3 hears a put", 1).await?;
    hear!(m1.put("l", "2", None));
    next(&mut stream, "m1 hears another", 1).await?;
    next(&mut other, "m3 hears another", 1).await?;
    let all = [TxnOp::put("l/1", "3", None), TxnOp::delete("l", None), TxnOp::put("y", "4", None)];
    hear!(m1.txn(Txn::new().and_then(all)));
    next(&mut stream, "m1 hears a transaction", 1).await?;
    next(&mut other, "m3 hears a transaction", 1).await?;
    hear!(m1.delete("l/1", None));
    next(&mut stream, "m1 hears a delete", 1).await?;
    next(&mut other, "m3 hears a delete", 1).await?;
    stream.request_progress().await?;
    next(&mut stream, "m1 tells of progress", 1).await?;
    // From a revision that is not there yet: silent until it is.
    let future = 2 + revision(&mut m1).await?;
    let mut stream = watch!(1, m1.watch("l", Some(options().with_start_revision(future))));
    hear!(m1.put("l", "too early", None));
    hear!(m1.put("l", "in time", None));
    next(&mut stream, "m1 hears the future", 1).await
}

/// Watches that share a stream.
async fn together(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut stream = watch!(1, m1.watch("t1", None));
    stream.watch("t2", None).await?;
    next(&mut stream, "a second watch", 1).await?;
    stream.watch("t3", Some(options().with_watch_id(77))).await?;
    next(&mut stream, "a watch with an id of its own", 1).await?;
    stream.watch("t4", Some(options().with_watch_id(77))).await?;
    next(&mut stream, "a watch with an id in use", 1).await?;
    stream.watch("t5", None).await?;
    next(&mut stream, "a watch after that", 1).await?;
    stream.watch("t9", Some(options().with_range("t6"))).await?;
    next(&mut stream, "a watch of an empty range", 1).await?;
    stream.watch("t9", Some(options().with_range("t9"))).await?;
    next(&mut stream, "another watch of an empty range", 1).await?;
    stream.watch("", None).await?;
    next(&mut stream, "a watch without a key", 1).await?;
    for key in ["t1", "t2", "t3", "t5"] {
        hear!(m1.put(key, "x", None));
        next(&mut stream, "one of the watches hears", 1).await?;
    }
    stream.cancel(1).await?;
    next(&mut stream, "the second is cancelled", 1).await?;
    // Nothing is said of these two: what comes next is of the third.
    stream.cancel(1).await?;
    stream.cancel(1_234).await?;
    hear!(m1.put("t2", "unheard", None));
    hear!(m1.put("t3", "heard", None));
    next(&mut stream, "the third hears", 1).await?;
    stream.cancel(77).await?;
    next(&mut stream, "the third is cancelled", 1).await?;
    stream.request_progress().await?;
    next(&mut stream, "progress", 1).await?;
    stream.watch("t3", Some(options().with_watch_id(77))).await?;
    next(&mut stream, "its id is free again", 1).await?;
    stream.watch("idle", Some(options().with_progress_notify())).await?;
    next(&mut stream, "a watch that is told of progress", 2).await
}

async fn endings(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let began = 1 + revision(&mut m1).await?;
    for value in ["1", "2", "3", "4"] {
        hear!(m1.put("c", value, None));
    }
    hear!(m1.compact(began + 2, None));
    let mut stream = watch!(2, m1.watch("c", Some(options().with_start_revision(began + 1))));
    stream.watch("c", Some(options().with_start_revision(began + 2).with_prev_key())).await?;
    next(&mut stream, "from the compacted revision on", 2).await?;
    stream.watch("c", Some(options().with_start_revision(1))).await?;
    next(&mut stream, "from the beginning", 2).await?;
    hear!(m1.put("c", "5", None));
    next(&mut stream, "the one that is left hears", 1).await
}

/// A response too large for one message, in parts where that was asked for.
async fn fragments(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let large =
        |letter: &str, part: usize| TxnOp::put(format!("f/{part}"), letter.repeat(400_000), None);
    let three = |letter: &str| (1..=3).map(|part| large(letter, part)).collect::<Vec<_>>();
    hear!(m1.txn(Txn::new().and_then(three("x"))));
    let fragment = options().with_prefix().with_prev_key().with_fragment();
    let mut parts = watch!(1, m1.watch("f/", Some(fragment)));
    let mut whole = watch!(1, m1.watch("f/", Some(options().with_prefix().with_prev_key())));
    hear!(m1.txn(Txn::new().and_then(three("y"))));
    next(&mut parts, "in parts", 2).await?;
    next(&mut whole, "as a whole", 1).await?;
    hear!(m1.put("f/1", "z", Some(PutOptions::new().with_prev_key())));
    next(&mut parts, "small again", 1).await?;
    next(&mut whole, "small again", 1).await
}
