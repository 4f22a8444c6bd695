//! The step mode: all clocks stand still and all links hold their messages; a person grants ticks
//! and messages one at a time.

use std::rc::Rc;

use lab_protocol::{Command, HeldOrder, MemberNo, WorkloadSpec};
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::Action;
use crate::model::step::{HeldLink, StepSummary, Timer};

/// What the part shows.
#[derive(Clone, PartialEq, Properties)]
pub struct StepProps {
    /// How things stand.
    pub step: Rc<StepSummary>,
    /// What the clients ask.
    pub workload: WorkloadSpec,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// Most ticks that are granted at once.
const MAX_TICKS: u32 = 10_000;

/// What can be done to a held message, and the word on its button.
const ORDERS: [(HeldOrder, &str); 3] =
    [(HeldOrder::Release, "Deliver"), (HeldOrder::Drop, "Drop"), (HeldOrder::Duplicate, "Twice")];

/// The part: a switch, and once it is on the timers and the held messages.
#[component]
pub fn Step(props: &StepProps) -> Html {
    let StepProps { step, workload, closed, on_action } = props;
    let closed = closed.is_some();
    // What the clients asked before, to be asked again afterwards.
    let asked = use_state(WorkloadSpec::idle);
    let count = use_state(|| 1_u32);
    let on = step.on;
    let ask = {
        let on_action = on_action.clone();
        move |commands: Vec<Command>| {
            if !closed {
                for command in commands {
                    on_action.emit(Action::Ask(command));
                }
            }
        }
    };
    let button = |name: &str, label: String, commands: Vec<Command>| {
        let ask = ask.clone();
        let onclick = move |_: MouseEvent| ask(commands.clone());
        html! {
            <button type="button" class="button" {onclick} aria-label={label.clone()} data-step={label}
                aria-disabled={closed.to_string()}>{name}</button>
        }
    };
    let switch = {
        let (ask, workload) = (ask.clone(), workload.clone());
        move |_: MouseEvent| {
            // Writes would wait, and their messages pile up.
            let set = |spec| Command::SetWorkload { spec };
            let mut commands = vec![Command::StepMode { on: !on }];
            match on {
                false if !workload.is_idle() => {
                    commands.insert(0, set(WorkloadSpec::idle()));
                    asked.set(workload.clone());
                }
                true if !asked.is_idle() => commands.push(set((*asked).clone())),
                _ => {}
            }
            ask(commands);
        }
    };
    let counted = {
        let count = count.clone();
        move |event: InputEvent| {
            let field = event.target_dyn_into::<HtmlInputElement>();
            let number = field.and_then(|field| field.value().parse().ok()).unwrap_or(1);
            count.set(u32::clamp(number, 1, MAX_TICKS));
        }
    };
    let grant = |member: MemberNo| Command::GrantTicks { member, ticks: *count };
    let timer = |timer: &Timer| {
        let no = timer.no;
        html! {
            <tr key={no.0}>
                <th scope="row">{no.to_string()}</th>
                <td>{timer.role.clone()}{match timer.ticks {
                    Some((passed, all)) => html! {
                        <>
                            <progress max={all.to_string()} value={passed.min(all).to_string()}
                                aria-label={format!("{no}'s election timer")} />
                            <small data-ticks={no.to_string()}>{format!("{passed} of {all}")}</small>
                        </>
                    },
                    None => Html::default(),
                }}</td>
                <td>
                    if timer.stands {
                        {button("Tick", format!("Tick {no}"), vec![grant(no)])}
                    }
                    {button("Campaign", format!("Campaign {no}"), vec![Command::Campaign { member: no }])}
                </td>
            </tr>
        }
    };
    let held = |held: &HeldLink| {
        let link = held.link;
        let messages = held.messages.iter().map(|(number, words)| {
            let number = *number;
            html! {
                <li key={number} data-held={number.to_string()}>
                    <span>{words.clone()}</span>
                    {for ORDERS.map(|(order, word)| {
                        let label = format!("{word} message {number} on {link}");
                        button(word, label, vec![Command::Held { number, order }])
                    })}
                </li>
            }
        });
        html! {
            <li key={link.to_string()}>
                <b>{link.to_string()}</b>
                <ol>{for messages}</ol>
                if held.more > 0 {
                    <p class="sub">{format!("and {} more", held.more)}</p>
                }
            </li>
        }
    };
    let timers = |ticks, apart| vec![Command::SetTimers { ticks, apart }];
    // All after the shortest of them; or each a third of that later than the one before it.
    let drawn = step.timers.iter().filter_map(|timer| timer.ticks);
    let shortest = drawn.map(|(_, all)| all).min().unwrap_or(100).max(1);
    let everybody: Vec<_> =
        step.timers.iter().filter(|timer| timer.stands).map(|timer| grant(timer.no)).collect();
    html! {
        <details class="more-faults step">
            <summary>{"Step by step"}if on { <b>{": time stands still"}</b> }</summary>
            <p class="sub">
                if on {
                    {"Nothing happens but what you grant. Clients' calls wait, and do not time out at the members."}
                } else {
                    {"All clocks stand still and all messages are held. The workload stops meanwhile."}
                }
            </p>
            <button type="button" class="button" onclick={switch} aria-pressed={on.to_string()}
                aria-disabled={closed.to_string()} data-step="mode">
                {if on { "Let time go on" } else { "Stop time" }}
            </button>
            if on {
                <label class="ticks">
                    <input type="number" min="1" max={MAX_TICKS.to_string()} class="field"
                        value={count.to_string()} oninput={counted} data-choice="ticks" />
                    {" ticks at a time; ten are a heartbeat"}
                </label>
                <table class="timers">
                    <caption class="seen-by-readers">{"Members and their election timers"}</caption>
                    <tbody>{for step.timers.iter().map(timer)}</tbody>
                </table>
                <div class="acts">
                    {button("Tick all", "Tick all".to_owned(), everybody)}
                    {button("Timers as drawn", "Timers as drawn".to_owned(), timers(0, 0))}
                    {button("Align timers", "Align timers".to_owned(), timers(shortest, 0))}
                    {button("Spread timers", "Spread timers".to_owned(), timers(shortest, shortest.div_ceil(3)))}
                </div>
                <ul class="held" aria-label="Held messages">{for step.held.iter().map(held)}</ul>
                if step.held.is_empty() {
                    <p class="sub">{"No link holds a message."}</p>
                }
            }
        </details>
    }
}
