//! The card of a drill that is played: what to do, what counts, what helps, and what came of it.

use std::rc::Rc;

use lab_protocol::Command;
use yew::prelude::*;

use super::Action;
use crate::model::drill::{DrillSummary, GoalSummary};

/// What the card shows.
#[derive(Clone, PartialEq, Properties)]
pub struct DrillProps {
    /// The drill.
    pub drill: Rc<DrillSummary>,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The card.
#[component]
pub fn Drill(props: &DrillProps) -> Html {
    let DrillProps { drill, closed, on_action } = props;
    let DrillSummary { id, title, brief, clock, open, goals, hints, hints_left, end, .. } =
        &**drill;
    let may = *open && closed.is_none();
    let ask = |command: Command, may: bool| match may {
        true => on_action.reform(move |_: MouseEvent| Action::Ask(command.clone())),
        false => Callback::noop(),
    };
    let (left, points) = *hints_left;
    let may_hint = may && left > 0;
    let rows = goals.iter().map(|GoalSummary { what, stands: (word, class), because }| {
        html! {
            <div class="row" title={because.clone()}>
                <dt>{what.clone()}</dt><dd class={*class}>{*word}</dd>
            </div>
        }
    });
    html! {
        <section class="drill" aria-label="The drill">
            <div class="card">
                <p class="drill-id">{format!("Drill {id}")}</p>
                <h1>{title.clone()}</h1>
                <p>{brief.clone()}</p>
                <p class="drill-clock"><b>{clock.0.clone()}</b>{format!(" {}", clock.1)}</p>
            </div>
            if let Some((heading, said)) = end {
                <div class="card drill-end" role="status">
                    <h2>{heading.clone()}</h2>
                    {for said.iter().map(|said| html! { <p>{said.clone()}</p> })}
                </div>
            }
            if !goals.is_empty() {
                <h2 class="heading"><span>{"What counts"}</span></h2>
                <dl class="card rows">{for rows}</dl>
            }
            <h2 class="heading"><span>{"Help"}</span></h2>
            {for hints.iter().map(|hint| html! { <p class="drill-hint">{hint.clone()}</p> })}
            <div class="drill-acts">
                <button type="button" class="button" onclick={ask(Command::Hint, may_hint)}
                    aria-disabled={(!may_hint).to_string()}>
                    {format!("Hint, {points} points")}<kbd>{format!("{left} left")}</kbd>
                </button>
                <button type="button" class="button strong" onclick={ask(Command::FinishDrill, may)}
                    aria-disabled={(!may).to_string()}>{"I am done"}</button>
            </div>
            <p class="hint-line">{"Type real commands. What you reach is graded, not what you type."}</p>
        </section>
    }
}
