//! A recorded run, shown again: the page comes to exactly what it showed when the run was live.

use anyhow::{Context as _, Result, ensure};

use crate::Surroundings;
use crate::browser::{Chromium, Look};
use crate::lab::Lab;
use crate::stage::{SOON, Stage};

/// Everything the page tells of the cluster in words: members with role, term, process, leader and
/// log, the condition of each link, the quorum, and each line of the story with its time.
const TOLD: &str = "JSON.stringify({ \
     members: [...document.querySelectorAll('#members tr[data-member]')].map(row => \
     [row.dataset.member, row.dataset.role, row.dataset.term, \
     ...[...row.cells].map(cell => cell.textContent)]), \
     links: [...document.querySelectorAll('button[data-link]')].map(link => \
     link.dataset.link + ' ' + link.textContent.trim()), \
     quorum: { ...document.querySelector('#quorum').dataset }, \
     story: [...document.querySelectorAll('#story li')].map(line => line.textContent) })";

/// A crash, an election and a cut link stay as they are; then the lab ends, and its recording shows
/// the same in a page that has never seen the lab.
pub(super) async fn replayed(surroundings: &Surroundings) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for the lab")?;
    let place = folder.path().display().to_string();
    let stage = Stage::open(surroundings, &["--dir", &place]).await?;
    stage.workload_runs().await?;
    let old = stage.leader().await?;
    stage.break_member(&old, "Crash").await?;
    let new = stage.other_leader(&old).await?;
    stage.toggle(&format!("{new}>{old}")).await?;
    stage.link(&format!("{new}>{old}"), "cut").await?;
    stage.tab.click("#workload").await?;
    // Two looks with more than a status between them: nothing is under way any more.
    let still = format!(
        "(now => {{ const was = window.told; window.told = now; return was === now; }})({TOLD})"
    );
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        if stage.tab.value(&still).await? == serde_json::Value::Bool(true) {
            break;
        }
    }
    let live = stage.tab.text(TOLD).await?;
    ensure!(live.contains("cut") && live.contains(&old), "see what was done: {live}");
    let Stage { lab, chromium, tab } = stage;
    tab.ensure_silent()?;
    chromium.close().await?;
    lab.end().await?;

    let runs = folder.path().join("runs");
    let run = std::fs::read_dir(&runs)
        .with_context(|| format!("list {}", runs.display()))?
        .next()
        .context("find the recording")??;
    let recording = run.path().display().to_string();
    let replay = Lab::replay(&surroundings.program, &recording).await?;
    let mut chromium = Chromium::start(&surroundings.chromium).await?;
    let tab = chromium.tab().await?;
    tab.look(Look::DESKTOP).await?;
    tab.go(&replay.url).await?;
    let ready = "'ready' in document.documentElement.dataset";
    tab.wait("the page runs", ready, "document.title", SOON).await?;
    let links = "(links => links !== null && (links.open = true))\
                 (document.querySelector('details.links'))";
    tab.wait("the table of links is open", links, "''", SOON).await?;
    let same = format!("{TOLD} === {}", serde_json::to_string(&live)?);
    // It plays at the pace of the run.
    let tape = std::time::Duration::from_secs(90);
    tab.wait(&format!("the page tells what it told live:\n{live}\n"), &same, TOLD, tape).await?;
    tab.ensure_silent()?;
    chromium.close().await?;
    replay.end().await
}
