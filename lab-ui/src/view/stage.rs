//! The stage: the quorum, the ring and the log lanes; and the same facts as a table.

use std::rc::Rc;

use lab_protocol::{MemberNo, Standing};
use yew::prelude::*;

use super::{Action, frames::Pointing, recovery::Recovery, terminal::Terminal};
use crate::model::{
    Connection, Summary,
    quorum::{Cell, Quorum},
    summary::{Condition, MemberSummary},
    wording,
};

/// What the stage shows.
#[derive(Clone, PartialEq, Properties)]
pub struct StageProps {
    /// Everything.
    pub summary: Rc<Summary>,
    /// The member that is selected.
    pub selected: Option<MemberNo>,
    /// The terminal is open.
    pub terminal: bool,
    /// The recovery is shown instead of the ring.
    pub recovering: bool,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What the pointer does over the canvases.
    pub pointing: Pointing,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The stage.
#[component]
pub fn Stage(props: &StageProps) -> Html {
    let StageProps { summary, selected, terminal, recovering, closed, pointing, on_action } = props;
    let buttons = summary.members.iter().map(|member| {
        let no = member.no;
        let onclick = {
            let act = on_action.clone();
            move |event: MouseEvent| {
                act.emit(Action::Select(no));
                if event.shift_key() {
                    act.emit(Action::Ask(lab_protocol::Command::Isolate { member: no }));
                }
            }
        };
        let chosen = *selected == Some(no);
        html! {
            <button type="button" class="ring-member" key={no.0} {onclick}
                data-member={no.to_string()} aria-label={member.label.clone()}
                aria-pressed={chosen.to_string()} tabindex={if chosen { "0" } else { "-1" }}></button>
        }
    });
    let pointing_log = pointing.clone();
    let class = classes!(
        "stage",
        recovering.then_some("recovering"),
        terminal.then_some("with-terminal"),
        (!summary.recovery.is_empty()).then_some("with-views"),
    );
    html! {
        <main {class} id="stage">
            if summary.connection == Connection::Lost {
                <p class="banner" role="status"><b>{"The lab is not heard."}</b>
                    {" This is its last picture. The page tries again by itself; if the lab was stopped, start it with cargo lab."}</p>
            }
            if !summary.recovery.is_empty() {
                {views(*recovering, on_action)}
            }
            if *recovering {
                <Recovery recovery={summary.recovery.clone()} closed={*closed}
                    on_action={on_action.clone()} />
            }
            <div class="ring" id="ring-box">
                if summary.known {
                    <Meter quorum={summary.quorum.clone()} />
                    <p class="hint">{hint(summary)}</p>
                }
                <canvas id="ring" role="img" aria-label={summary.ring_label.clone()}
                    onclick={pointing.click.clone()} onpointermove={pointing.over_ring.clone()}
                    onpointerleave={pointing.off_ring.clone()}></canvas>
                <div role="group" aria-label="Members; arrow keys go round">{for buttons}</div>
                if !summary.known {
                    <p class="empty">{"Waiting for the first word of the lab."}</p>
                }
            </div>
            <div class="log" id="log-box">
                <canvas id="log" role="img" aria-label={format!("Logs of the members. Newest entry: {}", summary.newest_entry)}
                    onpointermove={pointing_log.over_log} onpointerleave={pointing_log.off_log}></canvas>
            </div>
            if *terminal {
                <Terminal lines={summary.terminal.clone()} names={summary.names.clone()}
                    closed={*closed} on_action={on_action.clone()} />
            }
            <Table members={summary.members.clone()} />
        </main>
    }
}

/// What the stage shows, once there is a choice.
fn views(recovering: bool, on_action: &Callback<Action>) -> Html {
    let views = [("Cluster", false), ("Recovery", true)].map(|(name, shows)| {
        let onclick = on_action.reform(move |_: MouseEvent| Action::ShowRecovery(shows));
        html! {
            <button type="button" class="segment" key={name} data-view={name} {onclick}
                aria-pressed={(shows == recovering).to_string()}>{name}</button>
        }
    });
    html! {
        <div class="views"><span class="segments" role="group" aria-label="What the stage shows">
            {for views}</span></div>
    }
}

fn hint(summary: &Summary) -> Html {
    match (summary.known, summary.leader) {
        (false, _) => html! {},
        (true, None) => html! { <b class="unknown">{"No leader now"}</b> },
        (true, Some(_)) if !summary.may_command => {
            html! { {"A recording: nothing can be broken."} }
        }
        (true, Some(_)) => html! { {"Click a link to cut it, a member to look at it."} },
    }
}

#[derive(Clone, PartialEq, Properties)]
struct MeterProps {
    quorum: Quorum,
}

/// The quorum: a cell for each voter, a mark behind the last one that is needed, and apart from
/// them a square for each learner, which does not count.
#[component]
fn Meter(props: &MeterProps) -> Html {
    let Quorum { cells, needed, learners, words, lost } = &props.quorum;
    let voters = cells.len() * 26 + 2;
    let width = voters + if *learners > 0 { 8 + learners * 20 } else { 0 };
    let squares = (0..*learners).map(|place| {
        let x = (voters + 9 + place * 20).to_string();
        html! { <rect class="cell-learner" {x} y="5" width="13" height="13" /> }
    });
    let rects = cells.iter().enumerate().map(|(place, cell)| {
        let class = match cell {
            Cell::Together => "cell-up",
            Cell::Apart => "cell-heard",
            Cell::Gone => "cell-gone",
        };
        let x = (place * 26 + 1).to_string();
        html! { <rect {class} {x} y="5" width="22" height="13" rx="3" /> }
    });
    let at = needed * 26 - 1;
    let kept = (!lost).then_some("kept");
    html! {
        <div class="quorum" id="quorum" data-voters={cells.len().to_string()}
            data-needed={needed.to_string()} data-learners={learners.to_string()}>
            <div class="quorum-line"><span>{"Quorum"}</span>
                if !cells.is_empty() {
                    <svg width={width.to_string()} height="24" aria-hidden="true">
                        {for rects}
                        {for squares}
                        <path class={classes!("threshold", kept)} d={format!("M{at} 0V24")} />
                    </svg>
                }
            </div>
            <p class={lost.then_some("lost")}>{words.clone()}</p>
        </div>
    }
}

#[derive(Clone, PartialEq, Properties)]
struct TableProps {
    members: Rc<Vec<MemberSummary>>,
}

/// What the ring and the lanes show, for whoever cannot see them.
#[component]
fn Table(props: &TableProps) -> Html {
    let rows = props.members.iter().map(|member| {
        // What a process that does not run said last is not its role now.
        let up = member.condition == Condition::Up;
        let role = match member.role {
            _ if member.standing == Standing::Removed => "removed".to_owned(),
            Some((role, _)) if up => wording::role(role).to_owned(),
            Some((role, _)) => format!("was {}", wording::role(role)),
            None => "n/a".to_owned(),
        };
        let term = member.role.map_or_else(|| "n/a".to_owned(), |(_, term)| term.to_string());
        let fact = |wanted: &str| {
            let found = member.rows.iter().find(|(name, _)| *name == wanted);
            found.map_or_else(|| "n/a".to_owned(), |(_, fact)| fact.clone())
        };
        let condition = fact("Process");
        let no = member.no.to_string();
        html! {
            <tr key={member.no.0} data-member={no.clone()} data-role={role.clone()} data-term={term.clone()}>
                <th scope="row">{no}</th><td>{role}</td><td>{term}</td><td>{condition}</td>
                <td>{fact("Its leader")}</td><td>{fact("Last, committed, applied")}</td>
            </tr>
        }
    });
    html! {
        <div class="seen-by-readers"><table id="members">
            <caption>{"The members"}</caption>
            <thead><tr>
                <th scope="col">{"Member"}</th><th scope="col">{"Role"}</th><th scope="col">{"Term"}</th>
                <th scope="col">{"Process"}</th><th scope="col">{"Believes the leader is"}</th>
                <th scope="col">{"Last, committed, applied"}</th>
            </tr></thead>
            <tbody>{for rows}</tbody>
        </table></div>
    }
}
