//! Every fault of *Disks, clocks, messages*: injected by the page, seen where it acts, taken off.

use anyhow::Result;

use crate::Surroundings;
use crate::accessible::axe;
use crate::checks::recovery::pictures;
use crate::stage::{SOON, Stage};

/// Faults of a member that act until they are lifted, as the page calls them; the word for each
/// beside the member; and whether the member's process ends of it.
const OF_A_MEMBER: [(&str, &str, bool); 9] = [
    ("Slow fsync", "slow fsync", false),
    ("Stuck fsync", "stuck fsync", false),
    ("Starved process", "starved", false),
    ("Restarting", "restarting", false),
    ("Drifting clock", "drifting clock", false),
    ("Frozen clock", "frozen clock", false),
    ("Failing fsync", "failing fsync", true),
    ("Full disk", "full disk", false),
    ("Read-only disk", "read-only disk", true),
];

/// What a link can be made to do, and the word for it in the table of links.
const OF_A_LINK: [(&str, &str); 8] = [
    ("Hold messages", "held"),
    ("Delay messages", "slow"),
    ("Throttle", "thin"),
    ("Refuse connections", "shut"),
    ("Half open", "half"),
    ("Drop messages", "lossy"),
    ("Repeat messages", "lossy"),
    ("Mix up messages", "lossy"),
];

const ACTING: &str = "document.querySelector('.acting').innerText";

/// Chooses a fault by its name and has it injected.
async fn inject(stage: &Stage, name: &str) -> Result<()> {
    let choose = format!(
        "(() => {{ const select = document.querySelector('[data-choice=fault]'); \
         select.selectedIndex = [...select.options].findIndex(one => one.text === {name:?}); \
         select.dispatchEvent(new Event('change', {{ bubbles: true }})); \
         return String(select.selectedIndex); }})()"
    );
    stage.tab.text(&choose).await?;
    let chosen = format!(
        "[...document.querySelector('[data-choice=fault]').options].find(one => one.selected)\
         .text === {name:?}"
    );
    stage.tab.wait(&format!("{name} is chosen"), &chosen, ACTING, SOON).await?;
    stage.tab.click("[data-choice=go]").await
}

/// Every fault is injected, drawn or told where it acts, and taken off again.
pub(super) async fn injected(surroundings: &Surroundings) -> Result<()> {
    let axe = axe(&surroundings.pictures).await?;
    let stage = Stage::open(surroundings, &[]).await?;
    // A disk is not asked for anything without writes.
    stage.workload_runs().await?;
    let leader = stage.leader().await?;
    let member = if leader == "m1" { "m2" } else { "m1" };
    stage.choose(member).await?;
    stage.tab.click(".more-faults summary").await?;
    for (name, word, ends) in OF_A_MEMBER {
        inject(&stage, name).await?;
        let acts = "document.querySelectorAll('.acting li').length === 1";
        stage.tab.wait(&format!("{name} acts"), acts, ACTING, SOON).await?;
        let drawn = format!("/{member}: [^.]*, {word}\\./.test({RING})");
        stage.tab.wait(&format!("{name} is drawn at {member}"), &drawn, RING, SOON).await?;
        if ends {
            stage.process(member, "down").await?;
        }
        stage.tab.click(".acting [data-lift]").await?;
        let lifted = "document.querySelectorAll('.acting li').length === 0";
        stage.tab.wait(&format!("{name} is lifted"), lifted, ACTING, SOON).await?;
        if ends {
            stage.break_member(member, "Restart").await?;
        }
        stage.roles(1, 2).await?;
    }
    stage.show_links().await?;
    for (name, word) in OF_A_LINK {
        inject(&stage, name).await?;
        let to = if member == "m1" { "m2" } else { "m1" };
        let link = format!("{member}>{to}");
        stage.link(&link, word).await?;
        stage.toggle(&link).await?;
        stage.link(&link, "open").await?;
        stage.roles(1, 2).await?;
    }
    let to = if member == "m1" { "m2" } else { "m1" };
    let link = format!("{member}>{to}");
    inject(&stage, "Flapping link").await?;
    let acts = format!("document.querySelector('.acting').innerText.includes('{link} flaps')");
    stage.tab.wait("a link flaps", &acts, ACTING, SOON).await?;
    // It is shown in the condition that it is in, one after the other.
    stage.link(&link, "cut").await?;
    stage.link(&link, "open").await?;
    stage.tab.click(".acting [data-lift]").await?;
    let lifted = "document.querySelectorAll('.acting li').length === 0";
    stage.tab.wait("the link flaps no more", lifted, ACTING, SOON).await?;
    stage.link(&link, "open").await?;
    stage.roles(1, 2).await?;
    processes(&stage, member).await?;
    inject(&stage, "Hold messages").await?;
    inject(&stage, "Slow fsync").await?;
    let acts = "document.querySelectorAll('.acting li').length === 1";
    stage.tab.wait("the disk is slow", acts, ACTING, SOON).await?;
    pictures(&stage, surroundings, &axe, "faults").await?;
    inject(&stage, "Reset connections").await?;
    told(&stage, "is reset").await?;
    inject(&stage, "Jump of the wall clock").await?;
    told(&stage, &format!("{member}'s wall clock jumps by 3600000 ms")).await?;
    stage.end().await
}

/// The ring in words.
const RING: &str = "document.querySelector('#ring').getAttribute('aria-label')";

/// Waits until the story tells this.
async fn told(stage: &Stage, words: &str) -> Result<()> {
    let told = format!(
        "[...document.querySelectorAll('#story li')].some(line => line.textContent.includes({}))",
        serde_json::Value::from(words)
    );
    let story = "document.querySelector('#story').innerText";
    stage.tab.wait(&format!("the story tells: {words}"), &told, story, SOON).await?;
    Ok(())
}

/// A process is ended, stopped and paused, its files are damaged, and it is as it was.
async fn processes(stage: &Stage, member: &str) -> Result<()> {
    stage.break_member(member, "Pause").await?;
    stage.process(member, "paused").await?;
    stage.break_member(member, "Resume").await?;
    stage.process(member, "up").await?;
    stage.break_member(member, "Crash").await?;
    stage.process(member, "down").await?;
    stage.break_member(member, "Restart").await?;
    stage.roles(1, 2).await?;
    inject(stage, "Stop in order").await?;
    stage.process(member, "down").await?;
    for (file, name) in [("log", "Flip bits of its log"), ("state", "Flip bits of its state")] {
        // Twice flipped is as it was.
        for _ in 0..2 {
            inject(stage, name).await?;
            told(stage, &format!("On {member}'s disk a bit is flipped in the {file}")).await?;
        }
    }
    stage.break_member(member, "Restart").await?;
    stage.roles(1, 2).await?;
    // What cannot be undone is done to a member that then begins with an empty disk.
    inject(stage, "Stop in order").await?;
    stage.process(member, "down").await?;
    for (file, name) in [("log", "Cut off its log's end"), ("state", "Cut off its state's end")] {
        inject(stage, name).await?;
        told(stage, &format!("On {member}'s disk a third is cut off the {file}")).await?;
    }
    // Asked twice.
    stage.tab.click_named("Start over").await?;
    let asks = "document.body.innerText.includes('End all processes, delete all disks?')";
    stage.tab.wait("it is asked again", asks, asks, SOON).await?;
    stage.tab.click_named("Start over").await?;
    stage.process(member, "up").await?;
    stage.roles(1, 2).await
}
