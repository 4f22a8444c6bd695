//! The terminal: lines that were typed, what they said, and the one that is being typed.

use std::rc::Rc;

use lab_protocol::terminal::{LineEnd, TerminalLine};
use web_sys::{Element, HtmlInputElement};
use yew::prelude::*;

use super::Action;

/// What the terminal shows.
#[derive(Clone, PartialEq, Properties)]
pub struct TerminalProps {
    /// The lines, the oldest first.
    pub lines: Rc<Vec<TerminalLine>>,
    /// The names that can be typed, and for what they stand.
    pub names: Rc<Vec<(String, String)>>,
    /// Why nothing can be typed, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// What can be typed, for the help.
const TOOLS: [(&str, &str); 5] = [
    ("raft-ctl", "get, put, endpoint status, snapshot save, status, restore, …"),
    ("etcdctl, etcdutl", "etcd's own, where they are installed"),
    ("raft-node --name m1 …", "starts a member, as the lab's m1"),
    ("cp  ls  rm  cat  cmp", "files on the desk; m1.etcd is m1's directory"),
    ("\u{2191} \u{2193}  Escape", "earlier lines; closes the terminal"),
];

/// The terminal.
#[component]
pub fn Terminal(props: &TerminalProps) -> Html {
    let TerminalProps { lines, names, closed, on_action } = props;
    let (input, log) = (use_node_ref(), use_node_ref());
    // How many lines back the arrow keys have gone.
    let back = use_mut_ref(|| 0_usize);
    let ended = lines.iter().filter(|line| line.end.is_some()).count();
    let newest = lines.last().map_or(0, |line| line.id.0);
    use_effect_with((newest, ended), {
        let log = log.clone();
        move |_| {
            if let Some(log) = log.cast::<Element>() {
                log.set_scroll_top(log.scroll_height());
            }
        }
    });
    use_effect_with((), {
        let input = input.clone();
        move |()| {
            if let Some(input) = input.cast::<HtmlInputElement>() {
                input.focus().ok(); // An element that cannot be focused stays as it is.
            }
        }
    });
    let onkeydown = {
        let (input, lines, act) = (input.clone(), Rc::clone(lines), on_action.clone());
        let may = closed.is_none();
        Callback::from(move |event: KeyboardEvent| {
            let Some(field) = input.cast::<HtmlInputElement>() else { return };
            let typed: Vec<&String> = lines.iter().map(|line| &line.line).collect();
            let mut back = back.borrow_mut();
            match event.key().as_str() {
                "Enter" if may => {
                    let line = field.value().trim().to_owned();
                    if !line.is_empty() {
                        act.emit(Action::Type(vec![line]));
                        field.set_value("");
                        *back = 0;
                    }
                }
                "ArrowUp" => {
                    event.prevent_default();
                    *back = (*back + 1).min(typed.len());
                    if let Some(line) = typed.len().checked_sub(*back).and_then(|at| typed.get(at))
                    {
                        field.set_value(line);
                    }
                }
                "ArrowDown" => {
                    event.prevent_default();
                    *back = back.saturating_sub(1);
                    let line = typed.len().checked_sub(*back).and_then(|at| typed.get(at));
                    field.set_value(line.map_or("", |line| line.as_str()));
                }
                "Escape" => act.emit(Action::ShowTerminal(false)),
                _ => {}
            }
        })
    };
    let typed = lines.iter().map(said);
    let tools = TOOLS.iter().map(|(name, what)| {
        html! { <div key={*name}><dt>{*name}</dt><dd>{*what}</dd></div> }
    });
    let named = names.iter().map(|(name, value)| {
        html! { <div key={name.clone()}><dt>{name.clone()}</dt><dd>{value.clone()}</dd></div> }
    });
    html! {
        <section class="terminal" id="terminal" aria-label="Terminal">
            <details class="terminal-help">
                <summary>{"What can be typed here"}</summary>
                <dl>{for tools}{for named}</dl>
            </details>
            <div class="terminal-lines" id="terminal-lines" role="log" aria-live="polite"
                aria-label="Lines and what they said" tabindex="0" ref={log}>{for typed}</div>
            <label class="terminal-line"><span class="prompt">{"operator@lab"}</span>{" $ "}
                <input id="terminal-input" ref={input} {onkeydown} spellcheck="false"
                    aria-label="A line for the terminal" autocomplete="off" autocapitalize="off"
                    maxlength="4000" disabled={closed.is_some()}
                    placeholder={closed.unwrap_or_default()} /></label>
        </section>
    }
}

/// One line and what came of it.
fn said(line: &TerminalLine) -> Html {
    let TerminalLine { id, line, end, .. } = line;
    let (out, errors, last) = match end {
        None => ("", "", html! { <p class="under-way">{"under way …"}</p> }),
        Some(LineEnd::Done) => ("", "", html! { <p class="muted">{"started"}</p> }),
        Some(LineEnd::Refused(why)) => {
            ("", "", html! { <p class="fault">{format!("not done: {why}")}</p> })
        }
        Some(LineEnd::Said(said)) => {
            let last = match said.code {
                0 => html! { <p class="seen-by-readers">{"exit 0"}</p> },
                code => html! { <p class="fault">{format!("exit {code}")}</p> },
            };
            (said.out.trim_end(), said.errors.trim_end(), last)
        }
    };
    let state = match end {
        None => "under-way",
        Some(LineEnd::Refused(_)) => "refused",
        Some(LineEnd::Said(said)) if said.code != 0 => "failed",
        Some(LineEnd::Said(_) | LineEnd::Done) => "done",
    };
    html! {
        <div class="typed" key={id.0} data-state={state}>
            <p class="line"><span class="prompt">{"operator@lab"}</span>{" $ "}{line.clone()}</p>
            if !out.is_empty() {
                <pre>{out.to_owned()}</pre>
            }
            if !errors.is_empty() {
                <pre class="errors">{errors.to_owned()}</pre>
            }
            {last}
        </div>
    }
}
