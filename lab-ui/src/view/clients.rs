//! The clients: the workload, and single writes and reads through a chosen member.

use std::rc::Rc;

use lab_protocol::{Command, MemberNo, WorkloadSpec};
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use super::Action;
use crate::model::summary::{ResultSummary, Told};

/// Results shown; the lab keeps a few more.
const SHOWN: usize = 3;

/// Highest rate of the sliders. The lab takes more, over its API.
const HIGHEST: &str = "200";

/// What the panel shows.
#[derive(Clone, PartialEq, Properties)]
pub struct ClientsProps {
    /// The members.
    pub members: Vec<MemberNo>,
    /// The workload that runs.
    pub workload: WorkloadSpec,
    /// The newest single operations.
    pub results: Rc<Vec<ResultSummary>>,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The panel.
#[component]
pub fn Clients(props: &ClientsProps) -> Html {
    let ClientsProps { members, workload, results, closed, on_action } = props;
    // What runs when the switch is turned on again.
    let kept = use_state(WorkloadSpec::default);
    let runs = !workload.is_idle();
    let shown = if runs { workload.clone() } else { (*kept).clone() };
    let set = {
        let (act, kept) = (on_action.clone(), kept.clone());
        move |spec: WorkloadSpec, run: bool| {
            if !spec.is_idle() {
                kept.set(spec.clone());
            }
            if run {
                act.emit(Action::Ask(Command::SetWorkload { spec }));
            }
        }
    };
    let toggle = {
        let (set, shown, kept) = (set.clone(), shown.clone(), kept.clone());
        Callback::from(move |event: Event| {
            let on =
                event.target_dyn_into::<HtmlInputElement>().is_some_and(|input| input.checked());
            if on {
                set(shown.clone(), true);
            } else {
                kept.set(shown.clone());
                set(WorkloadSpec::idle(), true);
            }
        })
    };
    let slider = |name: &'static str, id: &'static str, value: u32, write: bool| {
        let (set, shown) = (set.clone(), shown.clone());
        let onchange = Callback::from(move |event: Event| {
            let input = event.target_dyn_into::<HtmlInputElement>();
            let Some(rate) = input.and_then(|input| input.value().parse().ok()) else { return };
            let mut spec = shown.clone();
            if write {
                spec.puts_per_second = rate
            } else {
                spec.reads_per_second = rate
            }
            set(spec, runs);
        });
        html! {
            <div class="slide">
                <label for={id}>{name}</label>
                <input type="range" {id} min="0" max={HIGHEST} step="10" value={value.to_string()}
                    {onchange} disabled={closed.is_some()} aria-valuetext={format!("{value} a second")} />
                <output for={id}>{format!("{value}/s")}</output>
            </div>
        }
    };
    let mode = |name: &'static str, serializable: bool| {
        let (set, shown) = (set.clone(), shown.clone());
        let pressed = shown.serializable_reads == serializable;
        let onclick = Callback::from(move |_: MouseEvent| {
            let spec = WorkloadSpec { serializable_reads: serializable, ..shown.clone() };
            set(spec, runs);
        });
        html! {
            <button type="button" class="segment" {onclick} disabled={closed.is_some()}
                aria-pressed={pressed.to_string()}>{name}</button>
        }
    };
    html! {
        <section class="group" aria-label="Clients">
            <div class="heading">
                <h2>{"Clients"}</h2>
                <span class="switched">
                    <label for="workload">{if runs { "running" } else { "off" }}</label>
                    <input type="checkbox" role="switch" class="switch" id="workload"
                        aria-label="Workload" checked={runs} onchange={toggle}
                        disabled={closed.is_some()} />
                </span>
            </div>
            <div class="card">
                {slider("Writes", "puts", shown.puts_per_second, true)}
                {slider("Reads", "reads", shown.reads_per_second, false)}
                <div class="segments" role="group" aria-label="How reads are answered">
                    {mode("linearizable", false)}{mode("serializable", true)}
                </div>
                <hr class="split" />
                <One members={members.clone()} closed={*closed} serializable={shown.serializable_reads}
                    on_action={on_action.clone()} />
                <Results results={results.clone()} />
            </div>
        </section>
    }
}

#[derive(Clone, PartialEq, Properties)]
struct OneProps {
    members: Vec<MemberNo>,
    closed: Option<&'static str>,
    serializable: bool,
    on_action: Callback<Action>,
}

/// One write or one read.
#[component]
fn One(props: &OneProps) -> Html {
    let OneProps { members, closed, serializable, on_action } = props;
    let key = use_state(|| "greeting".to_owned());
    let value = use_state(|| "hello".to_owned());
    let through = use_state(|| None::<MemberNo>);
    let member = through.or_else(|| members.first().copied());
    let typed = |field: &UseStateHandle<String>| {
        let field = field.clone();
        Callback::from(move |event: InputEvent| {
            if let Some(input) = event.target_dyn_into::<HtmlInputElement>() {
                field.set(input.value());
            }
        })
    };
    let choose = {
        let through = through.clone();
        Callback::from(move |event: Event| {
            let select = event.target_dyn_into::<HtmlSelectElement>();
            through.set(select.and_then(|select| select.value().parse().ok()));
        })
    };
    let open = closed.is_none() && !key.is_empty() && member.is_some();
    let ask = |write: bool| {
        let (act, key, value) = (on_action.clone(), key.clone(), value.clone());
        let serializable = *serializable;
        Callback::from(move |_: MouseEvent| {
            let Some(member) = member.filter(|_| open) else { return };
            let key = (*key).clone();
            act.emit(Action::Ask(match write {
                true => Command::Put { member, key, value: (*value).clone() },
                false => Command::Get { member, key, serializable },
            }));
        })
    };
    let options = members.iter().map(|no| {
        html! { <option value={no.to_string()} selected={member == Some(*no)}>{no.to_string()}</option> }
    });
    let why = if key.is_empty() { "type a key" } else { closed.unwrap_or_default() };
    html! {
        <>
            <div class="one">
                <input aria-label="Key" value={(*key).clone()} oninput={typed(&key)} maxlength="64"
                    spellcheck="false" autocomplete="off" />
                <input aria-label="Value" value={(*value).clone()} oninput={typed(&value)}
                    maxlength="200" spellcheck="false" autocomplete="off" />
                <select aria-label="Through member" onchange={choose}>{for options}</select>
            </div>
            <div class="one-acts">
                <button type="button" class="button" onclick={ask(true)} title={why}
                    aria-disabled={(!open).to_string()}>{"Write"}</button>
                <button type="button" class="button" onclick={ask(false)} title={why}
                    aria-disabled={(!open).to_string()}>{"Read"}</button>
            </div>
        </>
    }
}

#[derive(Clone, PartialEq, Properties)]
struct ResultsProps {
    results: Rc<Vec<ResultSummary>>,
}

#[component]
fn Results(props: &ResultsProps) -> Html {
    let lines = props.results.iter().take(SHOWN).map(|result| {
        let (class, word, shape) = match result.told {
            Told::Waits => ("muted", "waits", html! { <circle class="shape" cx="6" cy="6" r="4" /> }),
            Told::Ok => ("holds", "ok", html! { <path class="shape" d="M2 6.5 5 9.5 10.5 3" /> }),
            Told::Failed => {
                ("fault", "failed", html! { <path class="shape" d="M2.5 2.5l7 7M9.5 2.5l-7 7" /> })
            }
            Told::Unknown => {
                ("unknown", "unknown", html! { <path class="shape" d="M6 1.5 10.5 6 6 10.5 1.5 6Z" /> })
            }
        };
        html! {
            <li class="result" key={result.op} title={result.detail.clone()}>
                <svg class={class} width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">{shape}</svg>
                <span class="what">{format!("{}: {}", result.member, result.what)}</span>
                <span class={classes!("told", class)}>{word}</span>
                if result.told == Told::Ok {
                    <span class="fact muted">{short(&result.detail)}</span>
                }
            </li>
        }
    });
    html! { <ul class="results" aria-label="Recent results">{for lines}</ul> }
}

fn short(detail: &str) -> String {
    match detail.char_indices().nth(14) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail.to_owned(),
    }
}
