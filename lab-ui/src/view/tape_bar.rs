//! Under the tape: the time, what it shows, and how to look back.

use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::Action;
use crate::model::{Connection, wording};

/// What the bar shows.
#[derive(Clone, PartialEq, Properties)]
pub struct TapeBarProps {
    /// What the tape shows, in words.
    pub label: String,
    /// The lab's time, tenths of a second.
    pub now_deciseconds: u64,
    /// How far back the tape ends; 0 follows.
    pub back_micros: u64,
    /// How far back it can end.
    pub oldest_micros: u64,
    /// The tape stands still.
    pub held: bool,
    /// Seconds that the tape shows.
    pub span_seconds: u64,
    /// How the page stands with the lab.
    pub connection: Connection,
    /// Commands are accepted.
    pub live: bool,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// Lengths of the tape a person can choose, in seconds.
const SPANS: [(u64, &str); 3] = [(15, "15 s"), (30, "30 s"), (120, "2 min")];

/// The tape with its bar.
#[component]
pub fn TapeBar(props: &TapeBarProps) -> Html {
    let TapeBarProps {
        label,
        now_deciseconds,
        back_micros,
        oldest_micros,
        held,
        span_seconds,
        live,
        on_action,
        connection,
    } = props;
    let scrub = on_action.reform({
        let oldest = *oldest_micros;
        move |event: InputEvent| {
            let input = event.target_dyn_into::<HtmlInputElement>();
            let place = input.and_then(|input| input.value().parse::<u64>().ok()).unwrap_or(0);
            Action::LookBack(oldest.saturating_sub(place * 100_000))
        }
    });
    let hold = on_action.reform({
        let held = *held;
        move |_: MouseEvent| Action::HoldTape(!held)
    });
    let steps = oldest_micros / 100_000;
    let place = steps.saturating_sub(back_micros / 100_000);
    let shown = (now_deciseconds * 100_000).saturating_sub(*back_micros);
    let words = match (*back_micros, *live) {
        (0, _) if *now_deciseconds == 0 => "nothing has happened yet".to_owned(),
        (0, _) if *connection == Connection::Lost => "the last that was heard".to_owned(),
        (0, true) => "live, as it happens".to_owned(),
        (0, false) => "a recording".to_owned(),
        (back, _) => format!("{} before now; the ring stays live", wording::ago(back)),
    };
    let spans = SPANS.iter().map(|&(seconds, name)| {
        let onclick = on_action.reform(move |_: MouseEvent| Action::TapeSpan(seconds));
        html! {
            <button type="button" class="segment" {onclick} key={seconds}
                aria-pressed={(seconds == *span_seconds).to_string()}>{name}</button>
        }
    });
    html! {
        <footer class="tape" aria-label="Tape of time">
            <canvas id="tape" role="img" aria-label={label.clone()}></canvas>
            <div class="tape-bar">
                <span class="fact">{said(shown)}</span>
                <span class="tape-words muted">{words}</span>
                <input type="range" class="scrub" aria-label="Look back over the tape" min="0"
                    max={steps.to_string()} value={place.to_string()} oninput={scrub}
                    aria-valuetext={format!("{} before now", wording::ago(*back_micros))} />
                <button type="button" class="button" onclick={hold} aria-keyshortcuts="Space">
                    {if *held { "Back to now" } else { "Hold" }}
                </button>
                <span class="segments" role="group" aria-label="Length of the tape">{for spans}</span>
            </div>
        </footer>
    }
}

fn said(micros: u64) -> String {
    match micros / 1_000_000 {
        seconds @ 0..60 => format!("{seconds}.{} s", micros % 1_000_000 / 100_000),
        seconds => format!("{}:{:02}.{}", seconds / 60, seconds % 60, micros % 1_000_000 / 100_000),
    }
}
