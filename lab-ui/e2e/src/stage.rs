//! The page as a person uses it: its members, links and buttons, by what they say of themselves.
//!
//! | what | where | says |
//! |---|---|---|
//! | a member | `#members tr[data-member="m1"]` | `data-role`, and its process in words |
//! | a member's control | `#ring-box button[data-member="m1"]` | |
//! | a deed | `button[data-deed="Crash"]` | `aria-disabled` |
//! | a side of the panel | `button[data-deeds="Members"]` | `aria-pressed` |
//! | what was refused | `#refused` | why, in words |
//! | the quorum | `#quorum` | `data-voters`, `data-needed`, `data-learners` |
//! | a link's control | `button[data-link="m1>m2"]`, in the table of links | open, cut, slow |
//! | the workload's switch | `#workload` | checked |
//! | the messages' account | `#ring` | `data-drawn`, `-counted`, `-unsent`, `-lost`, `-sent` |
//! | the last gap | `#tape` | `data-gap-millis` |

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::Surroundings;
use crate::browser::{Chromium, Look, Tab};
use crate::lab::Lab;

/// How long the page may take to start, a leader to be elected, a click to take effect.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The members as the page's table tells them: name, role, process (up, paused, down, planned).
const MEMBERS: &str = "[...document.querySelectorAll('#members tr[data-member]')].map(row => ({ \
     name: row.dataset.member, role: row.dataset.role, \
     process: (words => words.startsWith('up') ? 'up' : words.startsWith('paused') ? 'paused' : \
     words.startsWith('not started') ? 'planned' : 'down')(row.cells[3].textContent) }))";

/// The links as the page's table tells them.
const LINKS: &str = "[...document.querySelectorAll('button[data-link]')].map(link => ({ \
     name: link.dataset.link, condition: link.textContent.trim() }))";

/// The quorum as its meter tells it.
const QUORUM: &str = "(({ voters, needed, learners }) => [voters, needed, learners].join())\
     (document.querySelector('#quorum').dataset)";

/// A lab, a browser and the page in it.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) chromium: Chromium,
    pub(crate) tab: Tab,
}

impl Stage {
    /// Starts a lab, opens its page, and waits until one leader and the followers are shown.
    pub(crate) async fn open(surroundings: &Surroundings, arguments: &[&str]) -> Result<Self> {
        let stage = Self::open_page(surroundings, arguments).await?;
        stage.roles(1, 2).await?;
        Ok(stage)
    }

    /// Starts a lab, opens its page, and waits until it runs.
    pub(crate) async fn open_page(surroundings: &Surroundings, arguments: &[&str]) -> Result<Self> {
        let lab = Lab::start(&surroundings.program, arguments).await?;
        let mut chromium = Chromium::start(&surroundings.chromium).await?;
        let tab = chromium.tab().await?;
        tab.look(Look::DESKTOP).await?;
        tab.go(&lab.url).await?;
        let stage = Self { lab, chromium, tab };
        stage.runs().await?;
        Ok(stage)
    }

    /// Waits until the page runs and shows one leader and two followers.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.runs().await?;
        self.roles(1, 2).await
    }

    /// Waits until the page runs.
    async fn runs(&self) -> Result<()> {
        let ready = "'ready' in document.documentElement.dataset";
        let body = "document.body ? document.body.innerText.slice(0, 300) : ''";
        self.tab.wait("the page runs", ready, body, SOON).await?;
        Ok(())
    }

    /// Waits until this many leaders and followers are shown, among processes that are up.
    pub(crate) async fn roles(&self, leaders: usize, followers: usize) -> Result<()> {
        let condition = format!(
            "(members => ['leader', 'follower'].map(role => members.filter(member => \
             member.process === 'up' && member.role === role).length).join() === \
             '{leaders},{followers}')({MEMBERS})"
        );
        let what = format!("{leaders} leader and {followers} followers are shown");
        self.tab.wait(&what, &condition, &listed(MEMBERS), SOON).await?;
        Ok(())
    }

    /// The member that is shown as leader, such as `m2`.
    pub(crate) async fn leader(&self) -> Result<String> {
        let leader = self.tab.text(&leader_but("")).await?;
        anyhow::ensure!(
            !leader.is_empty(),
            "find a leader among: {}",
            self.tab.text(&listed(MEMBERS)).await?
        );
        Ok(leader)
    }

    /// Waits until a member other than `old` is shown as leader.
    pub(crate) async fn other_leader(&self, old: &str) -> Result<String> {
        let condition = format!("{} !== ''", leader_but(old));
        let what = format!("a leader other than {old} is shown");
        self.tab.wait(&what, &condition, &listed(MEMBERS), SOON).await?;
        self.tab.text(&leader_but(old)).await
    }

    /// The role that a member is shown in.
    pub(crate) fn role_of(member: &str) -> String {
        format!("{MEMBERS}.find(member => member.name === '{member}').role")
    }

    /// Waits until a member's button has its place on the ring; returns its selector.
    pub(crate) async fn placed(&self, member: &str) -> Result<String> {
        let button = format!("#ring-box button[data-member='{member}']");
        let visibility =
            format!("getComputedStyle(document.querySelector(\"{button}\")).visibility");
        let placed = format!("{visibility} === 'visible'");
        self.tab.wait(&format!("{member} has its place"), &placed, &visibility, SOON).await?;
        Ok(button)
    }

    /// Chooses a member on the ring, and sees that it is the one chosen.
    pub(crate) async fn choose(&self, member: &str) -> Result<()> {
        let button = self.placed(member).await?;
        self.tab.click(&button).await?;
        let pressed = "[...document.querySelectorAll(\"#ring-box button[aria-pressed='true']\")]\
                       .map(button => button.dataset.member).join()";
        let condition = format!("{pressed} === '{member}'");
        self.tab.wait(&format!("{member} alone is chosen"), &condition, pressed, SOON).await?;
        Ok(())
    }

    /// Chooses a member, waits until the deed is possible, and clicks it.
    pub(crate) async fn break_member(&self, member: &str, deed: &str) -> Result<()> {
        self.choose(member).await?;
        self.possible(deed).await?;
        self.tab.click(&possible(deed)).await
    }

    /// Waits until a deed is possible for the chosen member.
    pub(crate) async fn possible(&self, deed: &str) -> Result<()> {
        let condition = format!("document.querySelector(\"{}\") !== null", possible(deed));
        let why = "document.querySelector('#why')?.textContent ?? ''";
        self.tab.wait(&format!("`{deed}` is possible"), &condition, why, SOON).await?;
        Ok(())
    }

    /// Waits until a member's process is shown in this condition.
    pub(crate) async fn process(&self, member: &str, process: &str) -> Result<()> {
        let condition = format!(
            "{MEMBERS}.some(member => member.name === '{member}' && member.process === '{process}')"
        );
        let what = format!("{member} is shown {process}");
        self.tab.wait(&what, &condition, &listed(MEMBERS), SOON).await?;
        Ok(())
    }

    /// Turns the panel to the deeds that change the members.
    pub(crate) async fn show_members(&self) -> Result<()> {
        self.tab.click("button[data-deeds='Members']").await?;
        let shown = "document.querySelector(\"button[data-deed='Promote']\") !== null";
        self.tab.wait("the panel shows who takes part", shown, "''", SOON).await?;
        Ok(())
    }

    /// Waits until a deed is possible, and clicks it.
    pub(crate) async fn click_deed(&self, deed: &str) -> Result<()> {
        self.possible(deed).await?;
        self.tab.click(&possible(deed)).await
    }

    /// Voters, how many of them are needed, and learners, as the meter shows them now.
    pub(crate) async fn quorum(&self) -> Result<String> {
        self.tab.text(QUORUM).await
    }

    /// Waits until the meter shows so many voters, needed, and learners.
    pub(crate) async fn quorum_is(&self, wanted: &str) -> Result<()> {
        let condition = format!("{QUORUM} === '{wanted}'");
        let what = format!("the quorum is {wanted} (voters, needed, learners)");
        self.tab.wait(&what, &condition, QUORUM, SOON).await?;
        Ok(())
    }

    /// Waits until a member is shown in this role.
    pub(crate) async fn role_is(&self, member: &str, role: &str) -> Result<()> {
        let condition = format!(
            "{MEMBERS}.some(member => member.name === '{member}' && member.role === '{role}')"
        );
        let what = format!("{member} is shown as {role}");
        self.tab.wait(&what, &condition, &listed(MEMBERS), SOON).await?;
        Ok(())
    }

    /// Opens the table of links.
    pub(crate) async fn show_links(&self) -> Result<()> {
        if self.tab.value("document.querySelector('details.links').open").await?
            != Value::Bool(true)
        {
            self.tab.click("details.links > summary").await?;
        }
        let open = "document.querySelector('details.links').open";
        self.tab.wait("the table of links is open", open, open, SOON).await?;
        Ok(())
    }

    /// Clicks a link in the table: cuts it when it is open, heals it when it is not.
    pub(crate) async fn toggle(&self, link: &str) -> Result<()> {
        self.show_links().await?;
        self.tab.click(&format!("button[data-link='{link}']")).await
    }

    /// Waits until a link is shown in this condition.
    pub(crate) async fn link(&self, link: &str, wanted: &str) -> Result<()> {
        let condition = format!(
            "{LINKS}.some(link => link.name === '{link}' && link.condition === '{wanted}')"
        );
        let what = format!("the link {link} is shown {wanted}");
        self.tab.wait(&what, &condition, &listed(LINKS), SOON).await?;
        Ok(())
    }

    /// Waits until exactly so many links are shown cut.
    pub(crate) async fn cuts(&self, wanted: usize) -> Result<()> {
        let condition =
            format!("{LINKS}.filter(link => link.condition === 'cut').length === {wanted}");
        let what = format!("{wanted} links are shown cut");
        self.tab.wait(&what, &condition, &listed(LINKS), SOON).await?;
        Ok(())
    }

    /// Turns the default workload on, unless it runs.
    pub(crate) async fn workload_runs(&self) -> Result<()> {
        let on = "document.querySelector('#workload').checked";
        if self.tab.value(on).await? != Value::Bool(true) {
            self.tab.click("#workload").await?;
        }
        self.tab.wait("the workload runs", on, on, SOON).await?;
        Ok(())
    }

    /// Asks the lab over REST, as the page does, with the page's own cookie.
    pub(crate) async fn rest_text(&self, path: &str) -> Result<String> {
        self.tab
            .text(&format!(
                "fetch('{path}').then(answer => answer.ok ? answer.text() : \
                 Promise.reject(new Error('{path}: ' + answer.status)))"
            ))
            .await
            .with_context(|| format!("read {path}"))
    }

    /// Asks the lab over REST for JSON.
    pub(crate) async fn rest(&self, path: &str) -> Result<Value> {
        let text = self.rest_text(path).await?;
        serde_json::from_str(&text).with_context(|| format!("read {path} as JSON"))
    }

    /// Ends with the console silent, the browser closed and the lab ended.
    pub(crate) async fn end(self) -> Result<()> {
        self.tab.ensure_silent()?;
        self.chromium.close().await?;
        self.lab.end().await
    }
}

/// The first leader's name that is not `old`, or nothing.
fn leader_but(old: &str) -> String {
    format!(
        "({MEMBERS}.find(member => member.process === 'up' && member.role === 'leader' && \
         member.name !== '{old}')?.name ?? '')"
    )
}

/// A deed that can be done now.
fn possible(deed: &str) -> String {
    format!("button[data-deed='{deed}'][aria-disabled='false']")
}

/// A list of the page's as text.
fn listed(list: &str) -> String {
    format!("{list}.map(row => Object.values(row).join(' ')).join(', ')")
}
