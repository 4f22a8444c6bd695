//! The recovery: the cluster that was, the file, the cluster that is new, and what lies between.

use std::rc::Rc;

use lab_protocol::Command;
use yew::prelude::*;

use super::{
    Action,
    marks::{Badge, told},
};
use crate::{
    model::{
        fog,
        recovery::{ClusterCard, FileCard, LostCard, RecoverySummary, SeatCard, SeatLook},
        typing,
    },
    scene::palette,
};

/// What the view shows.
#[derive(Clone, PartialEq, Properties)]
pub struct RecoveryProps {
    /// Everything.
    pub recovery: Rc<RecoverySummary>,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The three cards, and what was lost.
#[component]
pub fn Recovery(props: &RecoveryProps) -> Html {
    let RecoveryProps { recovery, closed, on_action } = props;
    let chosen = use_state(|| None::<String>);
    let wanted = |file: &&FileCard| Some(&file.name) == chosen.as_ref();
    let file = recovery.files.iter().find(wanted).or(recovery.files.first());
    let choose = |name: &str| {
        let (chosen, name) = (chosen.clone(), name.to_owned());
        Callback::from(move |_: MouseEvent| chosen.set(Some(name.clone())))
    };
    let others = recovery.files.iter().filter(|other| Some(&other.name) != file.map(|it| &it.name));
    let others = others.map(|other| {
        html! {
            <button type="button" class="button other-file" key={other.name.clone()}
                onclick={choose(&other.name)}>{other.name.clone()}
                <span class={other.integrity.1}>{other.integrity.0.clone()}</span></button>
        }
    });
    let restore = file.and_then(|file| {
        let lines = file.restore.as_ref().ok().filter(|_| closed.is_none())?;
        Some(Action::Type(lines.clone()))
    });
    let clear = !recovery.fogged;
    html! {
        <div class="recovery" id="recovery">
            <div class="clusters">
                if clear {
                    {cluster("Old cluster", recovery.old.as_ref(), None, on_action)}
                }
                <div>
                    if let Some(file) = file {
                        {card(file, closed.is_none(), on_action)}
                        <p class="why">
                            if recovery.fogged {
                                {fog::WORDS}
                            } else if let Err(why) = &file.restore {
                                {format!("Restore: {why}.")}
                            } else {
                                {"Restore gives every member a new identity, so the old ones can \
                                  never join by accident."}
                            }
                        </p>
                    }
                    <div class="other-files">{for others}</div>
                </div>
                if clear {
                    {cluster("New cluster", recovery.new.as_ref(), restore, on_action)}
                }
            </div>
            if let Some(file) = file.filter(|_| clear) {
                {lost(&file.lost)}
            }
        </div>
    }
}

/// A cluster; `drop` is what happens when the file is dropped on it.
fn cluster(
    title: &'static str,
    card: Option<&ClusterCard>,
    drop: Option<Action>,
    on_action: &Callback<Action>,
) -> Html {
    let ondragover = {
        let takes = drop.is_some();
        Callback::from(move |event: DragEvent| {
            if takes {
                event.prevent_default();
            }
        })
    };
    let ondrop = {
        let act = on_action.clone();
        Callback::from(move |event: DragEvent| {
            event.prevent_default();
            if let Some(action) = &drop {
                act.emit(action.clone());
            }
        })
    };
    let members = card.iter().flat_map(|card| &card.members).map(seat);
    let name = if title == "Old cluster" { "old-cluster" } else { "new-cluster" };
    html! {
        <section class="card cluster" id={name} aria-label={title} {ondragover} {ondrop}>
            <h2 class="cluster-head"><span>{title}</span>
                if let Some(card) = card {
                    <Badge id={card.id} groups={2} />
                }
            </h2>
            if card.is_none() {
                <p class="sub">{"Not begun. Restore a snapshot, or drag its card here: every member \
                    gets a new identity."}</p>
            }
            <ul>{for members}</ul>
        </section>
    }
}

/// A member of a cluster, and what became of it.
fn seat(member: &SeatCard) -> Html {
    let SeatCard { no, id, what, detail, look, term } = member;
    let round = match look {
        SeatLook::Runs => format!("seat term{}", palette::term_hue(*term)),
        SeatLook::Gone => "seat gone".to_owned(),
        SeatLook::Destroyed => "seat gone fault".to_owned(),
    };
    html! {
        <li class="seated" key={no.0} data-member={no.to_string()} data-what={what.clone()}>
            <span class={round} aria-hidden="true">{no.to_string()}</span>
            <span class="fate"><span class="seen-by-readers">{no.to_string()}</span>
                <b>{what.clone()}</b><span class="sub">{detail.clone()}</span></span>
            if let Some(id) = id {
                <Badge id={*id} groups={1} />
            }
        </li>
    }
}

/// A file, and what can be done with it.
fn card(file: &FileCard, open: bool, on_action: &Callback<Action>) -> Html {
    let FileCard { name, hash, integrity: (integrity, class), rows, restore, .. } = file;
    let ask = |action: Option<Action>| {
        let (act, action) = (on_action.clone(), action.filter(|_| open));
        Callback::from(move |_: MouseEvent| {
            if let Some(action) = &action {
                act.emit(action.clone());
            }
        })
    };
    let inspect = ask(Some(Action::Type(vec![typing::inspect(name)])));
    let damage = ask(Some(Action::Ask(Command::DamageSnapshot { name: name.clone() })));
    let lines = restore.as_ref().ok().cloned();
    let may_restore = open && lines.is_some();
    let restores = ask(lines.map(Action::Type));
    let ondragstart = {
        let name = name.clone();
        Callback::from(move |event: DragEvent| {
            if let Some(carried) = event.data_transfer() {
                carried.set_data("text/plain", &name).ok(); // Without it nothing is carried, and nothing dropped.
            }
        })
    };
    let rows = rows.iter().map(|(what, fact)| {
        html! { <div key={*what}><dt>{*what}</dt><dd>{fact.clone()}</dd></div> }
    });
    html! {
        <section class="file" id="snapshot-file" data-name={name.clone()} draggable="true"
            aria-label={format!("Snapshot {name}")} {ondragstart}>
            <svg class="fold" width="23" height="23" viewBox="0 0 23 23" aria-hidden="true">
                <path class="fold-off" d="M0 0H23V23Z" /><path class="fold-line" d="M0 .8 22.2 23" />
            </svg>
            <h2>{name.clone()}</h2>
            <dl class="inspector">
                <div><dt>{"Hash"}</dt><dd>{hash.clone()}{" "}
                    <span class={*class} id="integrity">{integrity.clone()}</span></dd></div>
                {for rows}
            </dl>
            <div class="file-acts">
                <button type="button" class="button" onclick={inspect}
                    aria-disabled={(!open).to_string()}>{"Inspect"}</button>
                <button type="button" class="button harm" onclick={damage}
                    aria-disabled={(!open).to_string()}>{"Damage"}</button>
                <button type="button" class="button strong" onclick={restores} id="restore"
                    aria-disabled={(!may_restore).to_string()}>{"Restore"}</button>
            </div>
        </section>
    }
}

/// What was acknowledged and is not in the file.
fn lost(card: &LostCard) -> Html {
    let LostCard { title, any, rows, more, holder } = card;
    let rows = rows.iter().map(|(revision, key, at)| {
        html! {
            <li key={revision.clone()}><span>{revision.clone()}</span><span>{key.clone()}</span>
                <span>{at.clone()}</span></li>
        }
    });
    html! {
        <section class="lost-writes" id="lost" aria-label="Writes that the snapshot has not"
            data-any={any.to_string()}>
            <h2 class="heading"><span class={if *any { "fault" } else { "holds" }}>{title.clone()}</span></h2>
            <ol>{for rows}
                if *more > 0 {
                    <li class="more">{format!("and {more} before them")}</li>
                }
            </ol>
            if let Some((first, then)) = holder {
                <p class="holder"><b>{told(first)}</b>{then.clone()}</p>
            }
        </section>
    }
}
