//! How it looks: pictures for people, and what a program can say about them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Surroundings;
use crate::accessible::{axe, ensure_accessible};
use crate::browser::Look;
use crate::stage::{SOON, Stage};

/// Name of the picture, and the window it shows.
const LOOKS: [(&str, Look); 5] = [
    ("light", Look::DESKTOP),
    ("dark", Look { dark: true, ..Look::DESKTOP }),
    ("laptop", Look { width: 1280, height: 720, ..Look::DESKTOP }),
    ("small", Look { width: 390, height: 844, mobile: true, dark: false, calm: false }),
    ("small-dark", Look { width: 390, height: 844, mobile: true, dark: true, calm: true }),
];

/// How long clients write before and after the fault that is looked at.
const UNDER_LOAD: Duration = Duration::from_secs(4);

/// The page in every look: a picture, axe, and no sideways scrolling; then once more while broken.
pub(super) async fn looks(surroundings: &Surroundings) -> Result<()> {
    let axe = axe(&surroundings.pictures).await?;
    let stage = Stage::open(surroundings, &[]).await?;
    let mut found = Vec::new();
    for (name, look) in LOOKS {
        stage.tab.look(look).await?;
        settle(&stage).await?;
        stage.tab.picture(&surroundings.pictures.join(format!("{name}.png"))).await?;
        found.extend(nothing_cut_off(&stage, name).await.err());
        let when = format!("in the look `{name}`");
        found.extend(ensure_accessible(&stage.tab, &axe, &when).await.err());
    }
    stage.tab.look(Look::DESKTOP).await?;
    stage.workload_runs().await?;
    tokio::time::sleep(UNDER_LOAD).await;
    let old = stage.leader().await?;
    stage.break_member(&old, "Crash").await?;
    stage.other_leader(&old).await?;
    stage.choose(&old).await?;
    tokio::time::sleep(UNDER_LOAD).await;
    for (name, look) in [("broken-light", Look::DESKTOP), ("broken-dark", LOOKS[1].1)] {
        stage.tab.look(look).await?;
        settle(&stage).await?;
        stage.tab.picture(&surroundings.pictures.join(format!("{name}.png"))).await?;
        let when = format!("in the look `{name}`");
        found.extend(ensure_accessible(&stage.tab, &axe, &when).await.err());
    }
    // All looks are looked at before any of them fails the check.
    let found: Vec<String> = found.iter().map(|error| format!("{error:#}")).collect();
    ensure!(found.is_empty(), "{}", found.join("; "));
    stage.end().await
}

/// Waits until the page has drawn twice in its new size.
async fn settle(stage: &Stage) -> Result<()> {
    let twice = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => \
                 setTimeout(() => done(true), 300))))";
    stage.tab.value(twice).await.context("wait for two frames")?;
    Ok(())
}

/// Fails when the page is wider than its window, and names what sticks out.
async fn nothing_cut_off(stage: &Stage, name: &str) -> Result<()> {
    let sticking_out = stage
        .tab
        .text(
            "(root => root.scrollWidth <= root.clientWidth ? '' : [...document.body\
             .querySelectorAll('*')].filter(element => element.getBoundingClientRect().right > \
             root.clientWidth + 1).slice(0, 6).map(element => element.tagName.toLowerCase() + \
             (element.id ? '#' + element.id : '') + (element.className.baseVal === undefined && \
             element.className ? '.' + element.className.replaceAll(' ', '.') : '') + ' to ' + \
             Math.round(element.getBoundingClientRect().right)).join(', ') || \
             'something')(document.documentElement)",
        )
        .await?;
    ensure!(
        sticking_out.is_empty(),
        "fit the window of the look `{name}`: these stick out of it: {sticking_out}"
    );
    Ok(())
}

/// The book opens, without a complaint about what the policy blocks, and its contents are there.
pub(super) async fn book(surroundings: &Surroundings) -> Result<()> {
    let mut stage = Stage::open(surroundings, &[]).await?;
    let book = stage.chromium.tab().await?;
    book.look(Look::DESKTOP).await?;
    let url = format!("{}/book/", stage.lab.origin);
    book.go(&url).await?;
    let contents = "document.querySelectorAll('.sidebar a, #mdbook-sidebar a').length > 5";
    let body = "document.body ? document.body.innerText.slice(0, 300) : ''";
    book.wait("the book shows its contents", contents, body, SOON)
        .await
        .with_context(|| format!("read {url} (`cargo book` builds it before the lab is built)"))?;
    book.picture(&surroundings.pictures.join("book.png")).await?;
    book.ensure_silent()?;
    stage.end().await
}
