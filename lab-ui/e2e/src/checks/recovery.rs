//! Two disks destroyed and the keys brought back, as etcd's text does it: by the page's buttons and
//! by lines that are typed.

use anyhow::{Result, ensure};

use crate::Surroundings;
use crate::accessible::{axe, ensure_accessible};
use crate::browser::Look;
use crate::stage::{SOON, Stage};

/// The lines of the text, with the lab's names. `N` is a member's number.
const RESTORE: &str = "raft-ctl snapshot restore snapshot.db --name mN --data-dir mN-new.etcd \
     --initial-cluster m1=$M1_PEER,m2=$M2_PEER,m3=$M3_PEER --initial-cluster-token lab-2 \
     --initial-advertise-peer-urls $MN_PEER";
const START: &str = "raft-node --name mN --data-dir mN-new.etcd --listen-client-urls $MN_CLIENT \
     --advertise-client-urls $MN_CLIENT --listen-peer-urls $MN_LISTEN &";

/// The terminal's lines by what came of them.
const TYPED: &str = "[...document.querySelectorAll('.typed')].map(line => line.dataset.state + ' ' + line.innerText)";

/// Acknowledged writes, as the page counts them.
const WRITES: &str = "Number([...document.querySelectorAll('.counters .row')].find(row => \
     row.textContent.startsWith('Writes ack'))?.lastChild.textContent ?? 0)";

/// What stands under the three cards.
const LOST: &str = "(document.querySelector('#lost')?.innerText ?? '')";

/// A snapshot by its button, two disks destroyed, three members restored and started by typed
/// lines: new identities, and what was acknowledged after the snapshot is listed as lost.
pub(super) async fn recovery(surroundings: &Surroundings) -> Result<()> {
    let axe = axe(&surroundings.pictures).await?;
    let stage = Stage::open(surroundings, &[]).await?;
    stage.workload_runs().await?;
    writes(&stage, 60.0).await?;

    stage.choose("m3").await?;
    stage.tab.click("#save-snapshot").await?;
    let verified = "document.querySelector('#integrity')?.textContent === 'verified'";
    stage.tab.wait("the snapshot is verified", verified, LOST, SOON).await?;
    let more = stage.tab.number(WRITES).await? + 60.0;
    writes(&stage, more).await?;
    let any = "document.querySelector('#lost')?.dataset.any === 'true'";
    stage.tab.wait("newer writes are listed", any, LOST, SOON).await?;

    // Nobody writes while the disks go, so that the survivor has heard of every write.
    stage.tab.click("#workload").await?;
    let holds = format!("{LOST}.includes('still holds them')");
    stage.tab.wait("every live member holds all", &holds, LOST, SOON).await?;
    stage.tab.click("[data-view='Cluster']").await?;
    for member in ["m1", "m2"] {
        stage.break_member(member, "Crash").await?;
        stage.process(member, "down").await?;
        stage.break_member(member, "Wipe disk").await?;
        stage.tab.click_named("Wipe it").await?;
        stage.tab.click("[data-view='Recovery']").await?;
        fate(&stage, "old-cluster", member, "disk destroyed").await?;
        stage.tab.click("[data-view='Cluster']").await?;
    }
    stage.tab.click("[data-view='Recovery']").await?;
    let holds = format!("{LOST}.includes('m3 still holds them')");
    stage.tab.wait("the survivor is named", &holds, LOST, SOON).await?;
    pictures(&stage, surroundings, &axe, "recovery-survivor").await?;

    stage.tab.click("[data-view='Cluster']").await?;
    stage.break_member("m3", "Crash").await?;
    stage.process("m3", "down").await?;
    stage.tab.click("[data-view='Recovery']").await?;
    line(&stage, "raft-ctl snapshot status snapshot.db -w table", "done").await?;
    for number in ["1", "2", "3"] {
        let typed =
            RESTORE.replace("mN", &format!("m{number}")).replace("MN", &format!("M{number}"));
        line(&stage, &typed, "done").await?;
    }
    for number in ["1", "2", "3"] {
        let typed = START.replace("mN", &format!("m{number}")).replace("MN", &format!("M{number}"));
        line(&stage, &typed, "done").await?;
    }
    for member in ["m1", "m2", "m3"] {
        fate(&stage, "new-cluster", member, "").await?;
    }
    let gone = format!("{LOST}.includes('gone with it')");
    stage.tab.wait("the lost writes are listed", &gone, LOST, SOON).await?;
    let badges = "[...document.querySelectorAll('#recovery .badge')].map(badge => badge.title)";
    let different = format!("new Set({badges}).size === 8");
    let all = format!("{badges}.join(' ')");
    stage.tab.wait("both clusters and all members differ", &different, &all, SOON).await?;
    stage.roles(1, 2).await?;
    stage.workload_runs().await?;
    let more = stage.tab.number(WRITES).await? + 20.0;
    writes(&stage, more).await?;
    pictures(&stage, surroundings, &axe, "recovery-restored").await?;
    damaged(&stage).await?;
    stage.end().await
}

/// A damaged file is shown so, and is not restored.
async fn damaged(stage: &Stage) -> Result<()> {
    line(stage, "bash -c ls", "refused").await?;
    stage.tab.click_named("Damage").await?;
    let damaged = "document.querySelector('#integrity')?.textContent === 'damaged'";
    let seen = "document.querySelector('#snapshot-file')?.innerText";
    stage.tab.wait("the damage is seen", damaged, seen, SOON).await?;
    let typed = "raft-ctl snapshot restore snapshot.db --name m9 --data-dir aside.etcd \
                 --initial-cluster m9=$M9_PEER --initial-advertise-peer-urls $M9_PEER";
    line(stage, typed, "failed").await
}

/// Waits until the page counts so many acknowledged writes.
async fn writes(stage: &Stage, wanted: f64) -> Result<()> {
    let condition = format!("{WRITES} >= {wanted}");
    let what = format!("{wanted} writes are acknowledged");
    stage.tab.wait(&what, &condition, WRITES, SOON).await?;
    Ok(())
}

/// Types a line at the terminal, and waits until it has ended so.
pub(super) async fn line(stage: &Stage, line: &str, end: &str) -> Result<()> {
    if stage.tab.text("String(document.querySelector('#terminal') !== null)").await? != "true" {
        stage.tab.click("#open-terminal").await?;
    }
    let lines = "document.querySelectorAll('.typed').length";
    let before = stage.tab.number(lines).await?;
    stage.tab.enter("#terminal-input", line).await?;
    let state = format!("[...document.querySelectorAll('.typed')].at({before})?.dataset.state");
    let condition = format!("{state} === '{end}'");
    let seen = format!("{TYPED}.slice(-2).join(' | ')");
    stage.tab.wait(&format!("`{line}` is {end}"), &condition, &seen, SOON).await?;
    Ok(())
}

/// Waits until a member of one of the two clusters is shown so; running, if nothing is said.
async fn fate(stage: &Stage, cluster: &str, member: &str, wanted: &str) -> Result<()> {
    let what =
        format!("document.querySelector(\"#{cluster} [data-member='{member}']\")?.dataset.what");
    let condition = match wanted {
        "" => format!("['restored', 'leads'].includes({what})"),
        wanted => format!("{what} === '{wanted}'"),
    };
    let name = format!("{member} of the {cluster} is shown: {wanted}");
    stage.tab.wait(&name, &condition, &what, SOON).await?;
    Ok(())
}

/// Pictures in light and in dark; nothing is cut off, and axe finds nothing.
pub(super) async fn pictures(
    stage: &Stage,
    surroundings: &Surroundings,
    axe: &str,
    name: &str,
) -> Result<()> {
    for (look, colours) in
        [(Look::DESKTOP, "light"), (Look { dark: true, ..Look::DESKTOP }, "dark")]
    {
        stage.tab.look(look).await?;
        let twice = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => \
                     setTimeout(() => done(true), 300))))";
        stage.tab.value(twice).await?;
        let picture = surroundings.pictures.join(format!("{name}-{colours}.png"));
        stage.tab.picture(&picture).await?;
        let over = "document.documentElement.scrollWidth - innerWidth";
        let over = stage.tab.number(over).await?;
        ensure!(over <= 0.0, "keep the page in its window: it is {over} px too wide");
        ensure_accessible(&stage.tab, axe, &format!("{name}, {colours}")).await?;
    }
    stage.tab.look(Look::DESKTOP).await
}
