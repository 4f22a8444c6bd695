//! The page when there is nothing to draw: no session yet.

use yew::prelude::*;

use super::marks::Mark;

/// The page for a browser that the lab does not know.
#[component]
pub fn NoSession() -> Html {
    html! {
        <main class="alone">
            <Mark />
            <h1 class="question">{"Open the link that the lab printed"}</h1>
            <p>{"This lab runs and ends real processes, so it answers only to a browser that holds \
                 its token. The token is in the link that "}<code>{"cargo lab"}</code>
               {" printed in its terminal, and is new in each run:"}</p>
            <p><code>{"http://127.0.0.1:7070/#token=…"}</code></p>
            <p>{"This page goes on by itself as soon as the link was opened in this browser."}</p>
        </main>
    }
}
