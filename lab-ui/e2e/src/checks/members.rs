//! Changing who takes part, by pointer and by keyboard, and seeing it when it was committed.

use anyhow::{Result, ensure};

use crate::Surroundings;
use crate::accessible::{axe, ensure_accessible};
use crate::browser::Look;
use crate::stage::{SOON, Stage};

/// What was refused last, as the page says it.
const REFUSED: &str = "document.querySelector('#refused').textContent";

/// What holds the keyboard's focus.
const FOCUS: &str = "document.activeElement.textContent.trim()";

/// The smallest gap between two members' buttons on the ring, in pixels; they are round.
const APART: &str = "(seats => Math.min(...seats.flatMap((a, n) => seats.slice(n + 1).map(b => \
     Math.hypot(a.x - b.x, a.y - b.y) - a.width))))\
     ([...document.querySelectorAll('.ring-member')].map(button => \
     button.getBoundingClientRect()))";

/// Adds a learner, promotes it, makes it the leader, removes another member: each counts in the
/// quorum when it was committed, and what the cluster refuses is said in its own words.
pub(super) async fn pointer(surroundings: &Surroundings) -> Result<()> {
    let axe = axe(&surroundings.pictures).await?;
    let stage = Stage::open(surroundings, &[]).await?;
    stage.quorum_is("3,2,0").await?;
    stage.show_members().await?;

    stage.click_deed("Add learner").await?;
    stage.role_is("m4", "learner").await?;
    stage.quorum_is("3,2,1").await?;
    stage.click_deed("Add learner").await?;
    refused(&stage, "etcdserver: too many learner members in cluster").await?;
    ensure!(stage.quorum().await? == "3,2,1", "change nothing when a change is refused");
    stage.choose("m4").await?;
    pictures(&stage, surroundings, &axe, "learner").await?;

    in_sync(&stage, "m4").await?;
    stage.click_deed("Promote").await?;
    stage.quorum_is("4,3,0").await?;
    stage.role_is("m4", "follower").await?;
    stage.click_deed("Make leader").await?;
    stage.role_is("m4", "leader").await?;

    stage.choose("m1").await?;
    stage.click_deed("Remove").await?;
    let asks = "[...document.querySelectorAll('button')].some(button => \
                button.textContent.trim() === 'Remove it')";
    stage.tab.wait("the page asks again", asks, "''", SOON).await?;
    ensure!(stage.quorum().await? == "4,3,0", "count every voter until the removal is committed");
    stage.tab.click_named("Remove it").await?;
    stage.quorum_is("3,2,0").await?;
    stage.role_is("m1", "removed").await?;
    stage.process("m1", "down").await?;
    stage.click_deed("Add voter").await?;
    stage.quorum_is("4,3,0").await?;
    stage.role_is("m5", "follower").await?;
    pictures(&stage, surroundings, &axe, "removed").await?;
    without_a_majority(&stage).await?;
    stage.end().await
}

/// While nothing can be committed nothing changes, whatever is asked.
async fn without_a_majority(stage: &Stage) -> Result<()> {
    stage.tab.click("button[data-deeds='Break']").await?;
    stage.break_member("m2", "Pause").await?;
    stage.process("m2", "paused").await?;
    stage.break_member("m3", "Pause").await?;
    stage.process("m3", "paused").await?;
    stage.show_members().await?;
    stage.choose("m5").await?;
    stage.click_deed("Remove").await?;
    stage.tab.click_named("Remove it").await?;
    // Whether it was refused at once or given up in the end: the member's words are there.
    refused(stage, "says: ").await?;
    ensure!(stage.quorum().await? == "4,3,0", "count only what was committed");
    stage.tab.click_named("Undo all faults").await?;
    stage.process("m2", "up").await?;
    stage.process("m3", "up").await
}

/// The same as far as it changes something, with the keyboard alone.
pub(super) async fn keyboard(surroundings: &Surroundings) -> Result<()> {
    let stage = Stage::open(surroundings, &[]).await?;
    stage.quorum_is("3,2,0").await?;
    let first = stage.placed("m1").await?;
    stage.tab.press(&first, "l").await?;
    stage.role_is("m4", "learner").await?;
    stage.quorum_is("3,2,1").await?;

    let newcomer = stage.placed("m4").await?;
    stage.tab.press(&newcomer, "Enter").await?;
    in_sync(&stage, "m4").await?;
    stage.possible("Promote").await?;
    stage.tab.press(&newcomer, "v").await?;
    stage.quorum_is("4,3,0").await?;
    stage.possible("Make leader").await?;
    stage.tab.press(&newcomer, "t").await?;
    stage.role_is("m4", "leader").await?;

    // Round the ring by the arrow, from the last to the first.
    stage.tab.press(&newcomer, "ArrowRight").await?;
    stage.possible("Make leader").await?;
    stage.tab.press(":focus", "x").await?;
    focused(&stage, "RemoveX").await?;
    stage.tab.press(":focus", "Enter").await?;
    let asks = "document.querySelector('.undo .harm') !== null";
    stage.tab.wait("the page asks again", asks, FOCUS, SOON).await?;
    stage.tab.press(":focus", "Tab").await?;
    focused(&stage, "Remove it").await?;
    ensure!(stage.quorum().await? == "4,3,0", "count every voter until the removal is committed");
    stage.tab.press(":focus", "Enter").await?;
    stage.quorum_is("3,2,0").await?;
    stage.role_is("m1", "removed").await?;
    stage.process("m1", "down").await?;
    stage.end().await
}

/// Waits until the page says that something was refused, and why.
async fn refused(stage: &Stage, why: &str) -> Result<()> {
    let condition = format!("{REFUSED}.includes('{why}')");
    stage.tab.wait(&format!("`{why}` is said"), &condition, REFUSED, SOON).await?;
    Ok(())
}

async fn focused(stage: &Stage, text: &str) -> Result<()> {
    let condition = format!("{FOCUS} === '{text}'");
    stage.tab.wait(&format!("`{text}` has the focus"), &condition, FOCUS, SOON).await?;
    Ok(())
}

/// Waits until a member has told the log that the leader has.
async fn in_sync(stage: &Stage, member: &str) -> Result<()> {
    let logs = "[...document.querySelectorAll('#members tr[data-member]')].map(row => \
                [row.dataset.member, row.dataset.role, row.cells[5].textContent])";
    let condition = format!(
        "(logs => logs.find(([name]) => name === '{member}')[2] === \
         logs.find(([, role]) => role === 'leader')?.[2])({logs})"
    );
    let what = format!("{member} holds the leader's log");
    stage.tab.wait(&what, &condition, &format!("{logs}.join('; ')"), SOON).await?;
    Ok(())
}

/// Pictures in light and in dark; members stand apart, and axe finds nothing.
async fn pictures(stage: &Stage, surroundings: &Surroundings, axe: &str, name: &str) -> Result<()> {
    for (look, colours) in
        [(Look::DESKTOP, "light"), (Look { dark: true, ..Look::DESKTOP }, "dark")]
    {
        stage.tab.look(look).await?;
        let twice = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => \
                     setTimeout(() => done(true), 300))))";
        stage.tab.value(twice).await?;
        let picture = surroundings.pictures.join(format!("members-{name}-{colours}.png"));
        stage.tab.picture(&picture).await?;
        let apart = stage.tab.number(APART).await?;
        ensure!(apart >= 0.0, "keep members apart: two overlap by {} px", -apart);
        ensure_accessible(&stage.tab, axe, &format!("with members {name}, {colours}")).await?;
    }
    stage.tab.look(Look::DESKTOP).await
}
