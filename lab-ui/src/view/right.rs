//! The right column: the selected member in its own words, the links, then what happened.

use std::rc::Rc;

use lab_protocol::{
    MemberNo, Standing,
    story::{StoryLine, Tone},
};
use yew::prelude::*;

use super::{
    Action,
    links::Links,
    marks::{Badge, told},
};
use crate::{
    model::{
        Summary,
        summary::{Condition, MemberSummary},
        wording,
    },
    scene::palette,
};

/// What the column shows.
#[derive(Clone, PartialEq, Properties)]
pub struct RightProps {
    /// Everything.
    pub summary: Rc<Summary>,
    /// The member that is looked at.
    pub selected: Option<MemberNo>,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The column.
#[component]
pub fn Right(props: &RightProps) -> Html {
    let RightProps { summary, selected, closed, on_action } = props;
    let member = selected.and_then(|no| summary.member(no)).cloned();
    let numbers = summary.taking_part();
    if summary.is_fogged() {
        return html! {
            <aside class="right" id="right" aria-label="What an operator sees">
                {processes(summary)}
                <div class="counters">{writes(summary.writes)}</div>
            </aside>
        };
    }
    html! {
        <aside class="right" id="right" aria-label="The selected member, and what happened">
            if let Some(member) = member {
                <Inspector save={summary.save(member.no)} {member} closed={*closed}
                    on_action={on_action.clone()} />
            }
            if summary.known {
                <Links members={numbers} links={summary.links.clone()} closed={*closed}
                    on_action={on_action.clone()} />
            }
            <h2 class="heading story-heading"><span>{"What happened"}</span></h2>
            <Story lines={summary.story.clone()} />
            if summary.known {
                <Counters writes={summary.writes} leaders={summary.leaders_in_a_term} />
            }
        </aside>
    }
}

/// Every member's process, which is all that is told of it under fog.
fn processes(summary: &Summary) -> Html {
    let rows = summary.members.iter().map(|member| {
        let class = (member.condition != Condition::Up).then_some("fault");
        let facts = member.rows.iter().map(|(_, fact)| fact.clone()).collect::<String>();
        html! { <div key={member.no.0}><dt>{member.no.to_string()}</dt><dd {class}>{facts}</dd></div> }
    });
    html! {
        <section aria-label="The members' processes">
            <h2 class="heading"><span>{"What an operator sees"}</span></h2>
            <dl class="card inspector">{for rows}</dl>
        </section>
    }
}

#[derive(Clone, PartialEq, Properties)]
struct InspectorProps {
    member: MemberSummary,
    /// The line that saves a snapshot of it.
    save: Option<String>,
    closed: Option<&'static str>,
    on_action: Callback<Action>,
}

#[component]
fn Inspector(props: &InspectorProps) -> Html {
    let MemberSummary { no, condition, standing, role, id, rows, .. } = &props.member;
    let title = match condition {
        Condition::Up => format!("{no}, as it sees itself"),
        Condition::Planned => format!("{no}, not heard yet"),
        Condition::Paused | Condition::Down { .. } => format!("{no}, what it said last"),
    };
    let rows = rows.iter().map(|(name, fact)| {
        let class = match (*name, role) {
            ("Role", _) if *standing == Standing::Removed => "muted".to_owned(),
            ("Process", _) if *standing == Standing::Removed => String::new(),
            ("Role", Some((_, term))) => format!("term{}", palette::term_hue(*term)),
            ("Process", _) if *condition != Condition::Up => "fault".to_owned(),
            _ => String::new(),
        };
        html! { <div key={*name}><dt>{*name}</dt><dd {class}>{fact.clone()}</dd></div> }
    });
    let open = props.closed.is_none() && *condition == Condition::Up;
    let save = {
        let (act, line) = (props.on_action.clone(), props.save.clone().filter(|_| open));
        Callback::from(move |_: MouseEvent| {
            if let Some(line) = &line {
                act.emit(Action::Type(vec![line.clone()]));
            }
        })
    };
    html! {
        <section aria-label={title.clone()} id="inspector">
            <h2 class="heading"><span>{title}</span>
                if let Some(id) = id {
                    <Badge id={*id} groups={2} />
                }
            </h2>
            <dl class="card inspector">{for rows}</dl>
            if *condition == Condition::Up {
                <button type="button" class="button save" id="save-snapshot" onclick={save}
                    aria-disabled={(!open).to_string()}>{"Take a snapshot"}</button>
            }
        </section>
    }
}

#[derive(Clone, PartialEq, Properties)]
struct StoryProps {
    lines: Rc<Vec<StoryLine>>,
}

/// What happened, newest first: the newest line stands still while the older ones move down.
#[component]
fn Story(props: &StoryProps) -> Html {
    let lines = props.lines.iter().rev().take(120).map(|line| {
        let class = match line.tone {
            Tone::Asked => "asked-line",
            Tone::Seen => "",
            Tone::Fault => "fault-line",
            Tone::Holds => "holds-line",
        };
        html! { <StoryItem key={line.number} {class} at={line.at_micros} text={line.text.clone()} /> }
    });
    html! {
        <ol class="story" id="story" tabindex="0" aria-label="What happened, newest first">{for lines}</ol>
    }
}

#[derive(Clone, PartialEq, Properties)]
pub(super) struct StoryItemProps {
    pub(super) class: &'static str,
    pub(super) at: u64,
    pub(super) text: String,
}

#[component]
pub(super) fn StoryItem(props: &StoryItemProps) -> Html {
    let StoryItemProps { class, at, text } = props;
    html! { <li class={*class}><time>{wording::clock(*at)}</time><span>{told(text)}</span></li> }
}

#[derive(Clone, PartialEq, Properties)]
pub(super) struct CountersProps {
    pub(super) writes: (u64, u64, u64),
    pub(super) leaders: u8,
}

#[component]
pub(super) fn Counters(props: &CountersProps) -> Html {
    let CountersProps { writes: sums, leaders } = *props;
    let (class, said) = match leaders {
        0 => ("muted", "none yet".to_owned()),
        1 => ("holds", "at most 1".to_owned()),
        more => ("fault", format!("{more}")),
    };
    html! {
        <div class="counters">
            {writes(sums)}
            <div class="row"><span>{"Leaders in any one term"}</span><span {class}>{said}</span></div>
        </div>
    }
}

/// What came of the clients' writes.
fn writes((ok, failed, unknown): (u64, u64, u64)) -> Html {
    html! {
        <>
            <div class="row"><span>{"Writes acknowledged"}</span>
                <span class={if ok > 0 { "holds" } else { "muted" }}>{ok}</span></div>
            if failed + unknown > 0 {
                <div class="row"><span>{"Writes failed, unknown"}</span>
                    <span class="unknown">{format!("{failed}, {unknown}")}</span></div>
            }
        </>
    }
}
