//! A lesson: nothing runs before it was predicted, and each prediction is graded by what the run
//! did, also when it went another way than it usually goes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Surroundings;
use crate::accessible::axe;
use crate::checks::recovery::pictures;
use crate::checks::workload::events;
use crate::stage::{SOON, Stage};

/// The leader is killed; somebody else leads on.
const FILE: &str = "../../scenarios/leader-failure.toml";

/// What the card of the lesson says.
const CARD: &str = "document.querySelector('.lesson')?.innerText ?? ''";

/// A lesson's run takes about half a minute.
const RUN: Duration = Duration::from_secs(75);

/// Answers a question whose answers are choices or members.
async fn choose(stage: &Stage, question: &str, answer: &str) -> Result<()> {
    stage.tab.click(&format!("[data-question={question}] [data-answer='{answer}']")).await
}

/// Answers a question by a number.
async fn number(stage: &Stage, question: &str, number: &str) -> Result<()> {
    stage.tab.enter(&format!("[data-question={question}] [data-answer]"), number).await
}

/// How a question's prediction was graded.
async fn grade(stage: &Stage, question: &str) -> Result<String> {
    stage
        .tab
        .text(&format!("document.querySelector('[data-revealed={question}]').dataset.grade"))
        .await
}

/// The lesson until its reveal. Who led at first is predicted to lead at the end; `hand_back` has
/// it made leader again once it is back, which this lesson's file does not do.
async fn take(surroundings: &Surroundings, axe: &str, hand_back: bool) -> Result<(Stage, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE).display().to_string();
    let stage = Stage::open_page(surroundings, &["--lesson", &file]).await?;
    stage.roles(1, 2).await?;
    let asks = "document.querySelectorAll('[data-question]').length === 4";
    stage.tab.wait("four questions", asks, CARD, SOON).await?;
    let leader = stage.leader().await?;
    // Whoever has not predicted can break nothing, and nothing runs.
    let locked = "document.querySelector('[data-deed=Crash]').ariaDisabled === 'true'";
    stage.tab.wait("deeds are locked", locked, CARD, SOON).await?;
    let waits = "document.querySelector('[data-lesson=predict]').ariaDisabled === 'true'";
    stage.tab.wait("answers are missing", waits, CARD, SOON).await?;
    number(&stage, "gap", "1.5").await?;
    choose(&stage, "who", &leader).await?;
    choose(&stage, "lost", "None").await?;
    number(&stage, "terms", "1").await?;
    if !hand_back {
        pictures(&stage, surroundings, axe, "lesson-asks").await?;
        let told = events(&stage, 0).await?;
        let begun = told.iter().find(|event| event["event"].get("Step").is_some());
        ensure!(begun.is_none(), "find that no step has begun: {begun:?}");
    }
    stage.tab.click("[data-lesson=predict]").await?;
    let runs = format!("({CARD}).includes('It runs')");
    stage.tab.wait("it runs", &runs, CARD, SOON).await?;
    stage.process(&leader, "down").await?;
    stage.other_leader(&leader).await?;
    if hand_back {
        // The lesson brings it back itself.
        stage.process(&leader, "up").await?;
        stage.roles(1, 2).await?;
        stage.show_members().await?;
        stage.choose(&leader).await?;
        stage.click_deed("Make leader").await?;
        stage.role_is(&leader, "leader").await?;
    }
    let revealed = "document.querySelectorAll('[data-revealed]').length === 4";
    stage.tab.wait("what was so is revealed", revealed, CARD, RUN).await?;
    Ok((stage, leader))
}

/// The same lesson twice: as it usually goes, and another way.
pub(super) async fn lesson(surroundings: &Surroundings) -> Result<()> {
    let axe = axe(&surroundings.pictures).await?;
    let (stage, leader) = take(surroundings, &axe, false).await?;
    let other = stage.leader().await?;
    ensure!(other != leader, "see another leader than {leader}");
    ensure!(grade(&stage, "who").await? == "wrong", "see a wrong prediction called wrong");
    ensure!(grade(&stage, "lost").await? == "right", "see a right prediction called right");
    let told = stage.tab.text(CARD).await?;
    for words in
        [&format!("You said {leader}, 50 % sure."), &format!("It was {other}."), "Many believe"]
    {
        ensure!(told.contains(words), "read `{words}` in: {told}");
    }
    // What the page says is what the journal says.
    let told = events(&stage, 0).await?;
    let revealed = told.iter().find_map(|event| event["event"]["Lesson"].get("Revealed"));
    let answers = &revealed.context("find the reveal in the journal")?["answers"];
    ensure!(answers[1]["was"]["Member"] == other[1..].parse::<u64>()?, "find {other}: {answers}");
    ensure!(answers[1]["grade"] == "Wrong" && answers[2]["grade"] == "Right", "grades: {answers}");
    stage.tab.value("document.querySelector('.lesson').scrollIntoView()").await?;
    pictures(&stage, surroundings, &axe, "lesson-revealed").await?;
    stage.end().await?;

    let (stage, leader) = take(surroundings, &axe, true).await?;
    let now = stage.leader().await?;
    let expected = if now == leader { "right" } else { "wrong" };
    let graded = grade(&stage, "who").await?;
    ensure!(now == leader, "see {leader} lead again, as it was made to; {now} does");
    ensure!(graded == expected, "see what happened graded: {now} leads, and it is {graded}");
    stage.end().await
}
