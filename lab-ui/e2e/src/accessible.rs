//! axe-core, the accessibility checker, run inside the page.
//!
//! It is fetched by `npm pack` on first use and kept beside the pictures: it is a checker for
//! tests and no part of the page.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::browser::Tab;

/// The version that is fetched: a checker that changes by itself makes yesterday's page fail.
const VERSION: &str = "4.14.1";

/// The text of axe-core, fetched when it is not there yet.
pub(crate) async fn axe(folder: &Path) -> Result<String> {
    let kept = folder.join(format!("axe-core-{VERSION}.min.js"));
    if !kept.is_file() {
        fetch(&kept).await.with_context(|| format!("fetch axe-core {VERSION}"))?;
    }
    tokio::fs::read_to_string(&kept).await.with_context(|| format!("read {}", kept.display()))
}

async fn fetch(kept: &Path) -> Result<()> {
    provide_npm().await?;
    let scratch = tempfile::tempdir().context("make a folder")?;
    let run = async |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let output = Command::new(words[0])
            .args(&words[1..])
            .current_dir(scratch.path())
            .output()
            .await
            .with_context(|| format!("start `{line}`"))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "run `{line}`: {}", complaint.trim());
        anyhow::Ok(())
    };
    run(&format!("npm pack --silent axe-core@{VERSION}")).await?;
    run(&format!("tar -xzf axe-core-{VERSION}.tgz package/axe.min.js")).await?;
    if let Some(parent) = kept.parent() {
        tokio::fs::create_dir_all(parent).await.context("create the folder")?;
    }
    tokio::fs::copy(scratch.path().join("package/axe.min.js"), kept)
        .await
        .context("keep the file")?;
    Ok(())
}

/// npm, installed on Debian as root when it is missing.
async fn provide_npm() -> Result<()> {
    let runs = || async {
        let version = Command::new("npm").arg("--version").output().await;
        version.is_ok_and(|output| output.status.success())
    };
    if !runs().await {
        for arguments in
            [&["update"][..], &["install", "--yes", "--no-install-recommends", "npm"][..]]
        {
            // A failure shows itself below: npm is there then, or it is not.
            Command::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .output()
                .await
                .ok();
        }
    }
    if !runs().await {
        bail!("find npm, which fetches the accessibility checker: install npm");
    }
    Ok(())
}

/// Runs axe-core in a page and fails for any violation.
pub(crate) async fn ensure_accessible(tab: &Tab, axe: &str, when: &str) -> Result<()> {
    tab.value(&format!("(() => {{ {axe}; return true; }})()")).await.context("load axe-core")?;
    let found = tab
        .text(
            "axe.run(document, { resultTypes: ['violations'] }).then(result => \
             result.violations.map(violation => violation.id + ' (' + violation.impact + '): ' + \
             violation.help + ' at ' + violation.nodes.slice(0, 3).map(node => \
             node.target.join(' ') + ' {' + (node.any[0]?.message ?? node.failureSummary) + '}')\
             .join(' | ')).join('\\n        '))",
        )
        .await
        .context("run axe-core")?;
    ensure!(found.is_empty(), "find no accessibility violation {when}:\n        {found}");
    Ok(())
}
