//! What to break: one member, the network between all of them, and how to undo it; and, on the
//! panel's other side, who takes part.

use std::collections::BTreeSet;

use lab_protocol::{Command, Grudge, MemberNo, Standing, gather};
use yew::prelude::*;

use super::{Action, Deed, Deeds};
use crate::model::summary::{Condition, MemberSummary};

/// What the panel shows.
#[derive(Clone, PartialEq, Properties)]
pub struct BreakProps {
    /// The members.
    pub members: std::rc::Rc<Vec<MemberSummary>>,
    /// The member that the buttons act on.
    pub selected: Option<MemberNo>,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// Something is broken.
    pub faults: bool,
    /// The editor of partitions is open.
    pub editing: bool,
    /// Which deeds are shown.
    pub deeds: Deeds,
    /// Why the last command was not carried out; empty if it was.
    pub refused: String,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The panel.
#[component]
pub fn BreakPanel(props: &BreakProps) -> Html {
    let BreakProps { members, selected, closed, faults, editing, deeds: shown, refused, on_action } =
        props;
    let sure = use_state(|| None::<Sure>);
    let member = selected.and_then(|no| members.iter().find(|member| member.no == no));
    let reasons = reasons(member, *closed, *shown);
    let deeds = Deed::of(*shown).iter().map(|&deed| {
        let act = on_action.clone();
        let member = member.cloned();
        let open = closed.is_none() && deed.command(member.as_ref()).is_ok();
        let name = deed.name(member.as_ref());
        let (sure, closed, editing) = (sure.clone(), closed.is_some(), *editing);
        let onclick = move |_: MouseEvent| {
            if closed {
                return;
            }
            match deed.command(member.as_ref()) {
                Ok(Some(Command::Wipe { member })) => sure.set(Some(Sure::Wipe(member))),
                Ok(Some(Command::RemoveMember { member })) => sure.set(Some(Sure::Remove(member))),
                Ok(Some(command)) => act.emit(Action::Ask(command)),
                Ok(None) => act.emit(Action::EditPartition(!editing)),
                Err(_) => {}
            }
        };
        let pressed = (deed == Deed::Partition).then(|| editing.to_string());
        html! {
            <button type="button" class="button act" {onclick} aria-disabled={(!open).to_string()}
                aria-describedby="why" aria-keyshortcuts={deed.key()} aria-pressed={pressed}
                data-deed={name}>
                {name}<kbd aria-hidden="true">{deed.key()}</kbd>
            </button>
        }
    });
    let side = |deeds: Deeds| {
        let onclick = on_action.reform(move |_: MouseEvent| Action::Show(deeds));
        html! {
            <button type="button" class="side-name" {onclick} data-deeds={format!("{deeds:?}")}
                aria-pressed={(deeds == *shown).to_string()}>{side_name(deeds)}</button>
        }
    };
    let undo = on_action.reform(|_: MouseEvent| Action::Ask(Command::UndoFaults));
    let undo_open = *faults && closed.is_none();
    let undo = if undo_open { undo } else { Callback::noop() };
    let start_over = {
        let (sure, closed) = (sure.clone(), closed.is_some());
        move |_: MouseEvent| {
            if !closed {
                sure.set(Some(Sure::StartOver));
            }
        }
    };
    html! {
        <section class="group" aria-label={side_name(*shown)}>
            <h2 class="heading sides-heading">{for [Deeds::Break, Deeds::Members].map(side)}</h2>
            <Chips members={members.clone()} selected={*selected} on_action={on_action.clone()} />
            <div class="acts">{for deeds}</div>
            <p class="why" id="why">{reasons}</p>
            <p class="why said" role="status" id="refused">
                if !refused.is_empty() { {format!("Not done: {refused}.")} }
            </p>
            {
                match *sure {
                    Some(asked) => confirm(asked, &sure, on_action),
                    None => html! {
                        <div class="acts undo">
                            <button type="button" class="button" onclick={undo}
                                aria-disabled={(!undo_open).to_string()}
                                title={if *faults { "" } else { "nothing is broken" }}>
                                {"Undo all faults"}
                            </button>
                            <button type="button" class="button" onclick={start_over}
                                aria-disabled={closed.is_some().to_string()}>{"Start over"}</button>
                        </div>
                    },
                }
            }
        </section>
    }
}

/// What a side of the panel is called.
fn side_name(deeds: Deeds) -> &'static str {
    match deeds {
        Deeds::Break => "Break something",
        Deeds::Members => "Change members",
    }
}

/// What is asked twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sure {
    Wipe(MemberNo),
    Remove(MemberNo),
    StartOver,
}

fn confirm(asked: Sure, sure: &UseStateHandle<Option<Sure>>, act: &Callback<Action>) -> Html {
    let (question, yes, command) = match asked {
        Sure::Wipe(member) => {
            (format!("Delete the disk of {member}?"), "Wipe it", Command::Wipe { member })
        }
        Sure::Remove(member) => (
            format!("Remove {member} from the cluster, for ever?"),
            "Remove it",
            Command::RemoveMember { member },
        ),
        Sure::StartOver => {
            ("End all processes, delete all disks?".to_owned(), "Start over", Command::StartOver)
        }
    };
    let close = {
        let sure = sure.clone();
        move |_: MouseEvent| sure.set(None)
    };
    let go = {
        let (sure, act) = (sure.clone(), act.clone());
        move |_: MouseEvent| {
            sure.set(None);
            act.emit(Action::Ask(command.clone()));
        }
    };
    html! {
        <div class="undo" role="group" aria-label={question.clone()}>
            <p class="sub sure">{question}</p>
            <div class="acts">
                <button type="button" class="button harm" onclick={go}>{yes}</button>
                <button type="button" class="button" onclick={close}>{"Keep"}</button>
            </div>
        </div>
    }
}

/// Why some of the buttons cannot be pressed now.
fn reasons(member: Option<&MemberSummary>, closed: Option<&'static str>, shown: Deeds) -> String {
    if let Some(closed) = closed {
        return capital(closed);
    }
    let Some(member) = member else { return "Select a member.".to_owned() };
    let mut said: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for deed in Deed::of(shown) {
        if let Err(why) = deed.command(Some(member)) {
            match said.iter_mut().find(|(reason, _)| *reason == why) {
                Some((_, deeds)) => deeds.push(deed.name(Some(member))),
                None => said.push((why, vec![deed.name(Some(member))])),
            }
        }
    }
    let told: Vec<_> =
        said.iter().map(|(why, deeds)| format!("{}: {why}.", deeds.join(", "))).collect();
    told.join(" ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase().to_string());
    let first = first.unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// The members as a row of choices.
#[derive(Clone, PartialEq, Properties)]
struct ChipsProps {
    members: std::rc::Rc<Vec<MemberSummary>>,
    selected: Option<MemberNo>,
    on_action: Callback<Action>,
}

#[component]
fn Chips(props: &ChipsProps) -> Html {
    let ChipsProps { members, selected, on_action } = props;
    let chips = members.iter().map(|member| {
        let no = member.no;
        let chosen = *selected == Some(no);
        let gone = matches!(member.condition, Condition::Down { .. }).then_some("gone");
        let shape = match member.standing {
            Standing::Learner => Some("learner"),
            Standing::Removed => Some("removed"),
            Standing::Unknown | Standing::Voter | Standing::Elsewhere => None,
        };
        let onclick = on_action.reform(move |_: MouseEvent| Action::Select(no));
        html! {
            <button type="button" role="radio" class={classes!("chip", gone, shape)} {onclick}
                key={no.0} aria-checked={chosen.to_string()}
                tabindex={if chosen { "0" } else { "-1" }} data-member={no.to_string()}>
                {no.to_string()}
            </button>
        }
    });
    html! {
        <div class="chips" role="radiogroup" aria-label="Member to act on">{for chips}</div>
    }
}

/// What the editor of partitions shows.
#[derive(Clone, PartialEq, Properties)]
pub struct PartitionProps {
    /// The members.
    pub members: Vec<MemberNo>,
    /// The leader: it begins alone on its side.
    pub leader: Option<MemberNo>,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The editor of partitions: who stands on which side.
#[component]
pub fn PartitionEditor(props: &PartitionProps) -> Html {
    let PartitionProps { members, leader, closed, on_action } = props;
    let begin = || gather::set(leader.iter().copied());
    let apart = use_state(begin);
    let rows = members.iter().map(|&no| {
        let side = |name: &'static str, here: bool| {
            let pressed = apart.contains(&no) == here;
            let apart = apart.clone();
            let onclick = move |_: MouseEvent| {
                let mut sides = (*apart).clone();
                if here {
                    sides.insert(no)
                } else {
                    sides.remove(&no)
                };
                apart.set(sides);
            };
            html! {
                <button type="button" class="segment" {onclick} aria-pressed={pressed.to_string()}
                    aria-label={format!("{no} on side {name}")}>{name}</button>
            }
        };
        html! {
            <div class="side" key={no.0}>
                <span>{no.to_string()}</span>
                <span class="segments">{side("A", true)}{side("B", false)}</span>
            </div>
        }
    });
    let groups: [BTreeSet<_>; 2] = [
        gather::set(members.iter().copied().filter(|no| apart.contains(no))),
        gather::set(members.iter().copied().filter(|no| !apart.contains(no))),
    ];
    let empty = groups.iter().any(BTreeSet::is_empty);
    let why = match (closed, empty) {
        (Some(closed), _) => closed,
        (None, true) => "a side is empty",
        (None, false) => "",
    };
    let grudge = Grudge::groups(members, &groups);
    let majority = members.len() / 2 + 1;
    let words = match (empty, groups[0].len() >= majority, groups[1].len() >= majority) {
        (true, ..) => "Put at least one member on each side.",
        (_, true, _) => "Side A keeps a majority.",
        (_, _, true) => "Side B keeps a majority.",
        (_, false, false) => "No side has a majority.",
    };
    let apply = {
        let act = on_action.clone();
        let open = why.is_empty();
        move |_: MouseEvent| {
            if open {
                act.emit(Action::Ask(Command::Partition { grudge: grudge.clone() }));
                act.emit(Action::EditPartition(false));
            }
        }
    };
    let cancel = on_action.reform(|_: MouseEvent| Action::EditPartition(false));
    html! {
        <section class="card group" aria-label="Partition">
            <h2 class="question">{"Split the network"}</h2>
            <p class="sub">{"The two sides do not hear each other. "}{words}</p>
            <div class="sides">{for rows}</div>
            <div class="acts">
                <button type="button" class="button strong" onclick={apply} title={why}
                    aria-disabled={(!why.is_empty()).to_string()}>{"Split"}</button>
                <button type="button" class="button" onclick={cancel}>{"Cancel"}</button>
            </div>
        </section>
    }
}
