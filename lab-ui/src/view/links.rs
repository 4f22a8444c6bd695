//! The links as a table: the same switches as the arrows on the ring, for the keyboard.

use std::rc::Rc;

use lab_protocol::{Link, LinkCondition, MemberNo};
use yew::prelude::*;

use super::Action;
use crate::model::summary::LinkSummary;

/// What the table shows.
#[derive(Clone, PartialEq, Properties)]
pub struct LinksProps {
    /// The members.
    pub members: Vec<MemberNo>,
    /// The links.
    pub links: Rc<Vec<LinkSummary>>,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The table: a row for each sender, a column for each receiver.
#[component]
pub fn Links(props: &LinksProps) -> Html {
    let LinksProps { members, links, closed, on_action } = props;
    let count = |wanted: fn(&LinkCondition) -> bool| {
        links.iter().filter(|link| wanted(&link.condition)).count()
    };
    let cut = count(|condition| *condition == LinkCondition::Cut);
    let slow = count(|condition| !matches!(condition, LinkCondition::Open | LinkCondition::Cut));
    let said = match (cut, slow) {
        (0, 0) => html! { {format!("all {} open", links.len())} },
        (cut, 0) => html! { <b>{format!("{cut} of {} cut", links.len())}</b> },
        (0, slow) => html! { <b>{format!("{slow} of {} disturbed", links.len())}</b> },
        (cut, slow) => html! { <b>{format!("{cut} cut, {slow} disturbed")}</b> },
    };
    // In a large table a cell has no room for a word.
    let small = members.len() > 6;
    let rows = members.iter().map(|&from| {
        let cells = members.iter().map(|&to| {
            let found = links.iter().find(|known| known.link == Link { from, to });
            html! { <td key={to.0}>{found.map_or_else(own, |link| cell(link, small, *closed, on_action))}</td> }
        });
        html! { <tr key={from.0}><th scope="row">{from.to_string()}</th>{for cells}</tr> }
    });
    html! {
        <details class="links">
            <summary>{"Links: "}{said}</summary>
            <table class="matrix">
                <caption class="seen-by-readers">
                    {"Links from the member of the row to the member of the column"}
                </caption>
                <thead><tr>
                    <th scope="col">{if small { "" } else { "from, to" }}</th>
                    {for members.iter().map(|no| html! { <th scope="col" key={no.0}>{no.to_string()}</th> })}
                </tr></thead>
                <tbody>{for rows}</tbody>
            </table>
        </details>
    }
}

fn own() -> Html {
    html! { <span aria-hidden="true">{"·"}</span> }
}

fn cell(
    known: &LinkSummary,
    small: bool,
    closed: Option<&'static str>,
    act: &Callback<Action>,
) -> Html {
    let link = known.link;
    let (class, word, does) = match known.condition {
        LinkCondition::Open => ("", "open", "press to cut it"),
        LinkCondition::Cut => ("cut", "cut", "press to heal it"),
        LinkCondition::Delayed { .. } => ("slow", "slow", "press to heal it"),
        LinkCondition::Held => ("slow", "held", "press to heal it"),
        LinkCondition::Refused => ("cut", "shut", "press to heal it"),
        LinkCondition::Throttled { .. } => ("slow", "thin", "press to heal it"),
        LinkCondition::HalfOpen => ("slow", "half", "press to heal it"),
        LinkCondition::Mangled { .. } => ("slow", "lossy", "press to heal it"),
    };
    let shown = if small && word == "open" { "" } else { word };
    let onclick = act.reform(move |_: MouseEvent| Action::Toggle(link));
    let onfocus = act.reform(move |_: FocusEvent| Action::Hover(Some(link)));
    let onblur = act.reform(|_: FocusEvent| Action::Hover(None));
    let label = format!("{} to {}: {word}, {does}", link.from, link.to);
    html! {
        <button type="button" {class} {onclick} {onfocus} {onblur} disabled={closed.is_some()}
            aria-label={label} data-link={link.to_string()}
            title={format!("{} sent, {} lost", known.sent, known.lost)}>{shown}</button>
    }
}
