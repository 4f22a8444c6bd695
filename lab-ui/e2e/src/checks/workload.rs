//! What the page says of clients and messages, held against the journal.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Surroundings;
use crate::stage::{SOON, Stage};

/// How far the strip and the journal may be apart.
const APART_MILLIS: f64 = 50.0;

/// How long clients write before and after the fault.
const AROUND: Duration = Duration::from_secs(3);

/// Kills the leader under load: the gap on the strip is the journal's.
pub(super) async fn gap(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    stage.workload_runs().await?;
    tokio::time::sleep(AROUND).await;
    let before = last_event(&stage).await?;
    let old = stage.leader().await?;
    stage.break_member(&old, "Crash").await?;
    stage.other_leader(&old).await?;
    tokio::time::sleep(AROUND).await;
    let shown = "Number(document.querySelector('#tape')?.dataset.gapMillis || 0)";
    stage.tab.wait("the strip shows a gap", &format!("{shown} > 0"), shown, SOON).await?;
    let shown = stage.tab.number(shown).await?;
    let known = longest_pause_millis(&events(&stage, before).await?)?;
    println!("        gap: the strip shows {shown:.0} ms, the journal has {known:.0} ms");
    ensure!(
        (shown - known).abs() <= APART_MILLIS,
        "show the journal's gap within {APART_MILLIS} ms: {shown:.0} ms on the strip, {known:.0} \
         ms in the journal"
    );
    stage.end().await
}

/// The newest event's number.
pub(super) async fn last_event(stage: &Stage) -> Result<u64> {
    stage.rest("/api/state").await?["seq"].as_u64().context("find `seq` in the lab's state")
}

/// All events after a number; the lab answers with one event a line, so many at a time.
pub(super) async fn events(stage: &Stage, mut after: u64) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    loop {
        let path = format!("/api/events?after={after}");
        let lines = stage.rest_text(&path).await?;
        let before = all.len();
        for line in lines.lines() {
            let event: Value = serde_json::from_str(line).context("read an event as JSON")?;
            after = event["seq"].as_u64().context("find an event's number")?;
            all.push(event);
        }
        // The last answer is the one that is not full.
        if all.len() - before < 1000 {
            return Ok(all);
        }
    }
}

/// The longest pause between two acknowledged writes of these events, in milliseconds.
fn longest_pause_millis(events: &[Value]) -> Result<f64> {
    let mut writes = BTreeSet::new();
    let mut acknowledged = Vec::new();
    for event in events {
        let what = &event["event"];
        if let Some(op) = what["Invoked"]["op"].as_u64()
            && what["Invoked"]["call"].get("Put").is_some()
        {
            writes.insert(op);
        }
        if let Some(op) = what["Returned"]["op"].as_u64()
            && what["Returned"]["outcome"].get("Ok").is_some()
            && writes.contains(&op)
        {
            acknowledged.push(event["at_micros"].as_f64().context("find an event's time")?);
        }
    }
    let pauses = acknowledged.windows(2).map(|pair| (pair[1] - pair[0]) / 1000.0);
    pauses.max_by(f64::total_cmp).context("find two acknowledged writes in the journal")
}

/// Every message that was sent is drawn, counted, or left out by the lab and said to be.
pub(super) async fn accounting(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    stage.workload_runs().await?;
    tokio::time::sleep(AROUND).await;
    // All five are read in one turn of the page's loop, so they belong to one moment.
    let account = stage
        .tab
        .value(
            "(canvas => ['drawn', 'counted', 'unsent', 'lost', 'sent'].map(name => \
             Number(canvas.dataset[name])))(document.querySelector('#ring'))",
        )
        .await?;
    let account: Vec<u64> =
        account.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let [drawn, counted, unsent, lost, sent] = account.as_slice() else {
        anyhow::bail!("read the canvas's five counts: there are {account:?}");
    };
    println!(
        "        accounting: {drawn} drawn + {counted} counted + {unsent} unsent = {sent} sent"
    );
    ensure!(*sent > 100, "see messages: only {sent} were sent");
    ensure!(*drawn > 0, "see a message drawn: none of {sent} was");
    ensure!(
        drawn + counted + unsent == *sent,
        "account for every message: {drawn} drawn + {counted} counted + {unsent} unsent is not \
         {sent} sent"
    );
    ensure!(lost <= sent, "lose no more than was sent: {lost} of {sent}");
    stage.end().await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_longest_pause_is_between_acknowledged_writes_only() {
        let invoked = |op: u64, call: &str| json!({"at_micros": 0, "event": {"Invoked": {"op": op, "call": {call: {}}}}});
        let returned = |op: u64, at: u64, outcome: &str| json!({"at_micros": at, "event": {"Returned": {"op": op, "outcome": {outcome: {}}}}});
        let events = [
            invoked(1, "Put"),
            invoked(2, "Put"),
            invoked(3, "Get"),
            invoked(4, "Put"),
            returned(1, 1_000, "Ok"),
            returned(3, 50_000, "Ok"),
            returned(4, 60_000, "Info"),
            returned(2, 901_000, "Ok"),
        ];
        assert_eq!(longest_pause_millis(&events).expect("two writes"), 900.0);
        assert!(longest_pause_millis(&events[..5]).is_err());
    }
}
