//! Breaking members and links by hand, and seeing it.

use anyhow::{Result, ensure};

use crate::Surroundings;
use crate::stage::{SOON, Stage};

/// The page shows one leader and two followers; opening it is the check.
pub(super) async fn leader(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    let leader = stage.leader().await?;
    ensure!(["m1", "m2", "m3"].contains(&leader.as_str()), "read the leader's name: `{leader}`");
    stage.cuts(0).await?;
    stage.end().await
}

/// Loads the page anew and watches it come up: at no moment are two members' buttons on the same
/// spot, where a click on one would choose the other.
pub(super) async fn seats(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    let watch = "window.looks = 0; window.stacked = 0; new MutationObserver(() => { \
                 const buttons = [...document.querySelectorAll('.ring-member')].filter(button => \
                 getComputedStyle(button).visibility === 'visible'); \
                 const seats = buttons.map(({ style }) => `${style.left} ${style.top}`); \
                 window.looks += seats.length > 0; \
                 window.stacked += new Set(seats).size < seats.length; \
                 }).observe(document, { childList: true, subtree: true, attributes: true });";
    stage.tab.page().evaluate_on_new_document(watch).await?;
    stage.tab.page().reload().await?;
    stage.ready().await?;
    let looks = "window.looks";
    stage.tab.wait("the members' buttons are there", "window.looks > 0", looks, SOON).await?;
    let (looks, stacked) =
        (stage.tab.number(looks).await?, stage.tab.number("window.stacked").await?);
    ensure!(stacked == 0.0, "keep buttons apart: {stacked} of {looks} looks found two on one spot");
    stage.end().await
}

/// Kills the leader by click; another is shown; restart brings the old one back as a follower.
pub(super) async fn crash(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    let old = stage.leader().await?;
    stage.break_member(&old, "Crash").await?;
    stage.process(&old, "down").await?;
    stage.other_leader(&old).await?;
    stage.break_member(&old, "Restart").await?;
    stage.process(&old, "up").await?;
    stage.roles(1, 2).await?;
    stage.end().await
}

/// Pauses and resumes a follower with the keyboard alone.
pub(super) async fn keyboard(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    let leader = stage.leader().await?;
    let follower = if leader == "m1" { "m2" } else { "m1" };
    stage.tab.press(&stage.placed(follower).await?, "Enter").await?;
    stage.possible("Pause").await?;
    stage.tab.press("button[data-deed='Pause']", "Enter").await?;
    stage.process(follower, "paused").await?;
    stage.possible("Resume").await?;
    stage.tab.press("button[data-deed='Resume']", "Enter").await?;
    stage.process(follower, "up").await?;
    stage.roles(1, 2).await?;
    stage.end().await
}

/// Cuts a link by its control: it is shown cut, messages die there, a second click heals it.
pub(super) async fn cut(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    let leader = stage.leader().await?;
    let follower = if leader == "m1" { "m2" } else { "m1" };
    let link = format!("{leader}>{follower}");
    let lost = "Number(document.querySelector('#ring').dataset.lost)";
    let lost_before = stage.tab.number(lost).await?;
    stage.toggle(&link).await?;
    stage.link(&link, "cut").await?;
    stage.cuts(1).await?;
    // A leader goes on sending: heartbeats at least.
    stage
        .tab
        .wait("messages die on the cut link", &format!("{lost} > {lost_before}"), lost, SOON)
        .await?;
    stage.toggle(&link).await?;
    stage.link(&link, "open").await?;
    stage.roles(1, 2).await?;
    stage.end().await
}

/// Puts the leader alone by *isolate*; the others elect; *undo all faults* brings it back.
pub(super) async fn isolate(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    let old = stage.leader().await?;
    stage.break_member(&old, "Isolate").await?;
    // All four of its links, both directions.
    stage.cuts(4).await?;
    stage.other_leader(&old).await?;
    // The leader on the minority side leaves office by itself.
    let role = Stage::role_of(&old);
    let left = format!("{role} !== 'leader'");
    stage.tab.wait("the old leader leaves office", &left, &role, SOON).await?;
    stage.tab.click_named("Undo all faults").await?;
    stage.cuts(0).await?;
    stage.roles(1, 2).await?;
    stage.end().await
}

/// Splits the network by the editor: the leader begins alone on its side; undo brings it back.
pub(super) async fn split(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    let old = stage.leader().await?;
    stage.break_member(&old, "Partition").await?;
    let editor = "[...document.querySelectorAll('button')].some(button => \
                  button.textContent.trim() === 'Split')";
    stage.tab.wait("the editor of partitions is open", editor, "''", SOON).await?;
    stage.tab.click_named("Split").await?;
    stage.cuts(4).await?;
    stage.other_leader(&old).await?;
    stage.tab.click_named("Undo all faults").await?;
    stage.cuts(0).await?;
    stage.roles(1, 2).await?;
    stage.end().await
}

/// Reloads while a member is down: the page shows what it showed.
pub(super) async fn reload(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    let old = stage.leader().await?;
    stage.break_member(&old, "Crash").await?;
    stage.process(&old, "down").await?;
    let new = stage.other_leader(&old).await?;
    stage.tab.page().reload().await?;
    let ready = "'ready' in document.documentElement.dataset";
    stage.tab.wait("the page runs again", ready, "document.title", SOON).await?;
    stage.process(&old, "down").await?;
    stage.roles(1, 1).await?;
    ensure!(stage.leader().await? == new, "show the same leader after a reload");
    stage.end().await
}
