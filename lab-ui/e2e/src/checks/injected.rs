//! Every fault of *Disks, clocks, messages*: injected by the page, seen where it acts, taken off.

use anyhow::Result;

use crate::Surroundings;
use crate::accessible::axe;
use crate::checks::recovery::pictures;
use crate::stage::{SOON, Stage};

/// Faults of a member that act until they are lifted, as the page calls them; and whether the
/// member's process ends of it.
const OF_A_MEMBER: [(&str, bool); 9] = [
    ("Slow fsync", false),
    ("Stuck fsync", false),
    ("Starved process", false),
    ("Restarting", false),
    ("Drifting clock", false),
    ("Frozen clock", false),
    ("Failing fsync", true),
    ("Full disk", false),
    ("Read-only disk", true),
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
         select.selectedIndex = [...select.options].findIndex(one => one.text === '{name}'); \
         select.dispatchEvent(new Event('change', {{ bubbles: true }})); \
         return String(select.selectedIndex); }})()"
    );
    stage.tab.text(&choose).await?;
    let chosen = format!(
        "[...document.querySelector('[data-choice=fault]').options].find(one => one.selected)\
         .text === '{name}'"
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
    for (name, ends) in OF_A_MEMBER {
        inject(&stage, name).await?;
        let acts = "document.querySelectorAll('.acting li').length === 1";
        stage.tab.wait(&format!("{name} acts"), acts, ACTING, SOON).await?;
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
    inject(&stage, "Hold messages").await?;
    inject(&stage, "Slow fsync").await?;
    let acts = "document.querySelectorAll('.acting li').length === 1";
    stage.tab.wait("the disk is slow", acts, ACTING, SOON).await?;
    pictures(&stage, surroundings, &axe, "faults").await?;
    inject(&stage, "Reset connections").await?;
    let told = "[...document.querySelectorAll('#story li')].some(line => \
                line.textContent.includes('is reset'))";
    stage
        .tab
        .wait("a reset is told", told, "document.querySelector('#story').innerText", SOON)
        .await?;
    stage.end().await
}
