//! The top bar: where I am, whose cluster, and whether it is live.

use std::rc::Rc;

use yew::prelude::*;

use super::{
    Action,
    marks::{Badge, Mark},
};
use crate::{
    model::{Connection, drill::DrillSummary},
    scene::Theme,
};

/// What the bar shows.
#[derive(Clone, PartialEq, Properties)]
pub struct TopProps {
    /// Name of the run.
    pub run: String,
    /// The drill that is played.
    pub drill: Option<Rc<DrillSummary>>,
    /// The cluster's identity.
    pub cluster: Option<u64>,
    /// How the page stands with the lab.
    pub connection: Connection,
    /// Commands are accepted.
    pub may_command: bool,
    /// The theme that is on.
    pub theme: Theme,
    /// The right column of a middling screen is open.
    pub drawer: bool,
    /// The terminal is open.
    pub terminal: bool,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// The top bar.
#[component]
pub fn Top(props: &TopProps) -> Html {
    let TopProps {
        run,
        drill,
        cluster,
        connection,
        may_command,
        theme,
        drawer,
        terminal,
        on_action,
    } = props;
    let (place, inside) = match drill {
        Some(drill) => ("Drills", format!("{} {}", drill.id, drill.title)),
        None => ("Free lab", run.clone()),
    };
    let (class, said) = match (connection, may_command) {
        (Connection::Live, true) => ("state live holds", "Live"),
        (Connection::Live, false) => ("state live muted", "Replay"),
        (Connection::Connecting, _) => ("state unknown", "Connecting"),
        (Connection::Lost, _) => ("state unknown", "Reconnecting"),
        (Connection::NoSession, _) => ("state unknown", "No session"),
    };
    let toggle_theme = on_action.reform(|_: MouseEvent| Action::ToggleTheme);
    let toggle_drawer = on_action.reform(|_: MouseEvent| Action::ToggleDrawer);
    let toggle_terminal = {
        let open = !terminal;
        on_action.reform(move |_: MouseEvent| Action::ShowTerminal(open))
    };
    let other = match theme {
        Theme::Light => "Dark",
        Theme::Dark => "Light",
    };
    html! {
        <header class="top">
            <Mark />
            <h1 class="crumb">{place}
                if !inside.is_empty() {
                    {" / "}<b>{inside}</b>
                }
            </h1>
            <span class="space"></span>
            if let Some(id) = cluster {
                <Badge id={*id} name="cluster" />
            }
            <span class={class} id="connection"><i></i>{said}</span>
            <button class="button terminal-button" type="button" onclick={toggle_terminal}
                id="open-terminal" aria-keyshortcuts="/" aria-pressed={terminal.to_string()}>{"Terminal"}</button>
            <a class="button book" href="/book/">{"Book"}</a>
            <button class="button" type="button" onclick={toggle_theme}
                aria-label={format!("{other} theme")}>{other}</button>
            <button class="button drawer-button" type="button" onclick={toggle_drawer}
                aria-expanded={drawer.to_string()} aria-controls="right">{"Details"}</button>
        </header>
    }
}
