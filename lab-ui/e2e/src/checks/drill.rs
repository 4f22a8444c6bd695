//! A drill as a person plays it: under fog, with a hint, by typed lines, to its score.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::Surroundings;
use crate::accessible::axe;
use crate::checks::recovery::{line, pictures};
use crate::stage::{SOON, Stage};

/// One of three members is gone for good, and is replaced by three lines.
const FILE: &str = "../../scenarios/drills/M-03-replace.toml";

/// The lines of its solution.
const LINES: [&str; 3] = [
    "raft-ctl --endpoints $M1,$M2 member remove $M3_ID",
    "raft-ctl --endpoints $M1,$M2 member add m4 --peer-urls=$M4_PEER",
    "raft-node --name m4 --initial-cluster m1=$M1_PEER,m2=$M2_PEER,m4=$M4_PEER \
     --initial-cluster-state existing",
];

/// What the page's card of the drill says.
const CARD: &str = "document.querySelector('.drill')?.innerText ?? ''";

/// The page tells neither who leads nor what is lost; a hint, three lines, and it is won.
pub(super) async fn drill(surroundings: &Surroundings) -> Result<()> {
    let axe = axe(&surroundings.pictures).await?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE).display().to_string();
    let stage = Stage::open_page(surroundings, &["--drill", &file]).await?;
    let hint = "[...document.querySelectorAll('.drill-acts button')].some(button => \
                button.textContent.startsWith('Hint') && button.ariaDisabled === 'false')";
    stage.tab.wait("it is a person's turn", hint, CARD, SOON).await?;
    let place = stage.tab.text("document.querySelector('.crumb').textContent").await?;
    ensure!(place == "Drills / M-03 Replace a dead member", "see where I am: it says {place}");
    covered(&stage).await?;
    pictures(&stage, surroundings, &axe, "drill").await?;

    stage.tab.click(".drill-acts button").await?;
    let given = "document.querySelectorAll('.drill-hint').length === 1";
    stage.tab.wait("a hint is given", given, CARD, SOON).await?;
    for typed in LINES {
        line(&stage, typed, "done").await?;
    }
    let whole = "[...document.querySelectorAll('.drill .row')].find(row => row.textContent\
                 .startsWith('who has a vote')).lastChild.textContent === 'yes'";
    stage.tab.wait("all who have a vote run", whole, CARD, SOON).await?;
    covered(&stage).await?;
    stage.tab.click_named("I am done").await?;
    let won = "document.querySelector('.drill-end h2')?.textContent.startsWith('Won, ') === true";
    stage.tab.wait("it is won", won, CARD, SOON).await?;
    // Whoever is done may see.
    let story = "document.querySelectorAll('#story li').length > 0";
    let visible = "getComputedStyle(document.querySelector('#ring')).visibility === 'visible'";
    stage.tab.wait("the fog lifts", &format!("{story} && {visible}"), CARD, SOON).await?;
    let end = "document.querySelector('.drill-end').getBoundingClientRect()";
    let seen = format!("(box => box.top >= 0 && box.bottom <= innerHeight)({end})");
    stage.tab.wait("its end is in sight", &seen, &format!("JSON.stringify({end})"), SOON).await?;
    pictures(&stage, surroundings, &axe, "drill-won").await?;
    stage.end().await
}

/// Nothing on the page tells what an operator would have to ask the members for.
async fn covered(stage: &Stage) -> Result<()> {
    let rows = "[...document.querySelectorAll('#members tr[data-member]')]\
                .map(row => row.dataset.role + ' ' + row.dataset.term).join()";
    let roles = stage.tab.text(rows).await?;
    ensure!(
        !roles.is_empty() && roles.split(',').all(|role| role == "n/a n/a"),
        "keep roles and terms covered: the table tells {roles}"
    );
    let text = stage
        .tab
        .text("document.body.innerText + document.querySelector('#speech').textContent")
        .await?;
    for told in ["leads in term", "leader of term", "No leader", "still holds", "follows m"] {
        ensure!(!text.contains(told), "keep `{told}` covered: the page says\n{text}");
    }
    Ok(())
}
