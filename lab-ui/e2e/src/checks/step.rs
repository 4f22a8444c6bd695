//! The step mode: time stands still, one tick and one message are granted by clicks, and the
//! journal has these and nothing else.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Surroundings;
use crate::accessible::axe;
use crate::checks::recovery::pictures;
use crate::checks::workload::{events, last_event};
use crate::stage::{SOON, Stage};

const PANEL: &str = "document.querySelector('.step').innerText";

/// The events of one kind.
fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter_map(|event| event["event"].get(kind)).collect()
}

async fn click_step(stage: &Stage, what: &str) -> Result<()> {
    stage.tab.click(&format!("[data-step='{what}']")).await
}

/// Waits for words in the panel.
async fn panel(stage: &Stage, what: &str, condition: &str) -> Result<()> {
    stage.tab.wait(what, condition, PANEL, SOON).await.map(drop)
}

/// The step mode, from its beginning to its end.
pub(super) async fn step(surroundings: &Surroundings) -> Result<()> {
    let axe = axe(&surroundings.pictures).await?;
    let stage = Stage::open(surroundings, &[]).await?;
    stage.workload_runs().await?;
    let leader = stage.leader().await?;
    let follower = if leader == "m1" { "m2" } else { "m1" };
    stage.tab.click(".step summary").await?;
    click_step(&stage, "mode").await?;
    let on = "document.querySelector('[data-step=mode]').ariaPressed === 'true'";
    panel(&stage, "time stands still", on).await?;

    // What the members told last may be of just before; a sign of life comes each second.
    stage.tab.value("new Promise(done => setTimeout(() => done(true), 1500))").await?;
    // Ten ticks of the leader's are a heartbeat for each follower, one tick is less than that.
    let passed = format!("document.querySelector('[data-ticks={follower}]').innerText");
    let before = stage.tab.text(&passed).await?;
    let ticks: u32 = before.split(' ').next().unwrap_or_default().parse()?;
    let began = last_event(&stage).await?;
    click_step(&stage, &format!("Tick {follower}")).await?;
    let one = format!("{passed}.startsWith('{} of ')", ticks + 1);
    panel(&stage, "one tick more", &one).await?;
    let beats = "[...document.querySelectorAll('[data-held]')].filter(one => \
                 one.innerText.startsWith('heartbeat,')).length";
    let before = stage.tab.number(beats).await?;
    let ten = "(field => { field.value = '10'; \
               field.dispatchEvent(new Event('input', { bubbles: true })); return field.value; })\
               (document.querySelector('[data-choice=ticks]'))";
    stage.tab.text(ten).await?;
    click_step(&stage, &format!("Tick {leader}")).await?;
    panel(&stage, "two heartbeats are held", &format!("{beats} === {}", before + 2.0)).await?;
    pictures(&stage, surroundings, &axe, "step").await?;

    // One of them is delivered by the keyboard.
    let link = format!("{leader}>{follower}");
    let button = format!(
        "[...document.querySelectorAll('[data-held]')].filter(one => \
         one.innerText.startsWith('heartbeat,')).map(one => one.querySelector('button')).find(\
         button => button.ariaLabel.endsWith('{link}'))"
    );
    let label = stage.tab.text(&format!("{button}.ariaLabel")).await?;
    let number: u64 = label
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .with_context(|| format!("find a message's number in `{label}`"))?;
    stage.tab.press(&format!("[data-step='{label}']"), "Enter").await?;
    let gone = format!("!document.querySelector('[data-held=\"{number}\"]')");
    panel(&stage, "the heartbeat is delivered", &gone).await?;
    let answered = "[...document.querySelectorAll('[data-held]')].some(one => \
                    one.innerText.startsWith('heartbeat heard'))";
    panel(&stage, "its answer is held", answered).await?;

    let told = events(&stage, began).await?;
    let ticks = of_kind(&told, "ClockMoved");
    let granted: Vec<_> = ticks
        .iter()
        .map(|moved| format!("m{} {}", moved["member"], moved["how"]["Ticked"]["ticks"]))
        .collect();
    let asked = [format!("{follower} 1"), format!("{leader} 10")];
    ensure!(granted == asked, "find these ticks and no others: {asked:?}, not {granted:?}");
    let released = of_kind(&told, "MessageReleased");
    ensure!(
        released.len() == 1 && released[0]["number"] == number,
        "find message {number} released and no other: {released:?}"
    );
    let sent = of_kind(&told, "Message");
    ensure!(sent.len() == 3, "find two heartbeats and one answer: {sent:?}");
    ensure!(
        sent.iter().all(|message| message["fate"] == "Held"),
        "find every message held: {sent:?}"
    );
    for kind in ["FaultBegan", "FaultEnded", "LinkChanged", "Process", "MessageLost"] {
        let found = of_kind(&told, kind);
        ensure!(found.is_empty(), "find no {kind}: {found:?}");
    }

    // A timer runs out by ticks alone: the follower campaigns, and asks for votes.
    click_step(&stage, "Spread timers").await?;
    click_step(&stage, &format!("Campaign {follower}")).await?;
    let asks = "[...document.querySelectorAll('[data-held]')].some(one => \
                /would campaign|asks for a vote/.test(one.innerText))";
    panel(&stage, "a question for a vote is held", asks).await?;
    let drop = "[...document.querySelectorAll('[data-step^=\"Drop message\"]')].length > 0";
    panel(&stage, "it can be dropped", drop).await?;
    let number = stage.tab.text("document.querySelector('[data-held]').dataset.held").await?;
    stage.tab.click(&format!("[data-held='{number}'] button:nth-of-type(2)")).await?;
    let gone = format!("!document.querySelector('[data-held=\"{number}\"]')");
    panel(&stage, "a message is dropped", &gone).await?;

    click_step(&stage, "mode").await?;
    let off = "document.querySelector('[data-step=mode]').ariaPressed === 'false'";
    panel(&stage, "time goes on", off).await?;
    stage.roles(1, 2).await?;
    stage.workload_runs().await?;
    stage.end().await
}
