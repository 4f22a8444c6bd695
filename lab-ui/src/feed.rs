//! The websocket to the lab: frames in, commands out, and how to get back after a loss.
//!
//! The lab prints a link whose fragment carries the run's token. The page trades it for a cookie
//! and takes it out of the address, so that it is neither kept in the history nor sent along.
//! After a loss the page tries again, first after a quarter of a second and at most every four;
//! each new connection begins with the whole state, so nothing has to be remembered.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array};
use lab_protocol::{ClientFrame, Command, ServerFrame};
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{BinaryType, MessageEvent, RequestInit, WebSocket};

use crate::model::{Connection, Store, store::Received};

/// First pause before a new attempt.
const FIRST_PAUSE_MILLIS: i32 = 250;

/// Longest pause.
const LONGEST_PAUSE_MILLIS: i32 = 4_000;

/// The feed; clones are handles to the same one.
#[derive(Clone)]
pub struct Feed {
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    store: Rc<RefCell<Store>>,
    socket: Option<Socket>,
    pause_millis: i32,
    ticket: u64,
}

/// A socket and the callbacks that must live as long as it does.
struct Socket {
    socket: WebSocket,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut()>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Feed")
    }
}

/// Milliseconds since the page was loaded; never falls.
pub fn page_millis() -> f64 {
    web_sys::window().and_then(|window| window.performance()).map_or(0.0, |clock| clock.now())
}

impl Feed {
    /// Starts: the token first if the address has one, then the socket.
    pub fn start(store: Rc<RefCell<Store>>) -> Self {
        let inner = Inner { store, socket: None, pause_millis: FIRST_PAUSE_MILLIS, ticket: 0 };
        let feed = Self { inner: Rc::new(RefCell::new(inner)) };
        let starting = feed.clone();
        spawn_local(async move {
            if let Some(token) = take_token() {
                // A token that is refused shows itself at the socket.
                post_session(&token).await.ok();
            }
            starting.open();
        });
        feed
    }

    /// Asks something of the lab; the journal will say what came of it.
    pub fn ask(&self, command: Command) {
        let mut inner = self.inner.borrow_mut();
        inner.ticket += 1;
        let ticket = inner.ticket;
        inner.send(&ClientFrame::Command { ticket, command });
    }

    /// Asks for the whole state, after the page was hidden.
    pub fn resync(&self) {
        self.inner.borrow().send(&ClientFrame::Resync);
    }

    fn open(&self) {
        let Some(window) = web_sys::window() else { return };
        let location = window.location();
        let scheme = match location.protocol().as_deref() {
            Ok("https:") => "wss",
            _ => "ws",
        };
        let Ok(host) = location.host() else { return };
        let Ok(socket) = WebSocket::new(&format!("{scheme}://{host}/api/socket")) else {
            self.later();
            return;
        };
        socket.set_binary_type(BinaryType::Arraybuffer);
        let feed = self.clone();
        let message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            feed.receive(&event);
        });
        let feed = self.clone();
        let close = Closure::<dyn FnMut()>::new(move || feed.closed());
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(close.as_ref().unchecked_ref()));
        self.inner.borrow_mut().socket = Some(Socket { socket, _message: message, _close: close });
    }

    fn receive(&self, event: &MessageEvent) {
        let Ok(buffer) = event.data().dyn_into::<ArrayBuffer>() else { return };
        let bytes = Uint8Array::new(&buffer).to_vec();
        let mut inner = self.inner.borrow_mut();
        let received = match ServerFrame::decode(&bytes) {
            Ok(frame) => inner.store.borrow_mut().receive(frame, page_millis()),
            // Another version of the lab, most likely.
            Err(_) => Received::Reload,
        };
        match received {
            Received::Nothing => {}
            Received::Seen(seq) => {
                inner.pause_millis = FIRST_PAUSE_MILLIS;
                inner.send(&ClientFrame::Seen { seq });
            }
            Received::Resync => inner.send(&ClientFrame::Resync),
            Received::Reload => reload_once(),
        }
    }

    /// The socket is gone, or was never let in.
    fn closed(&self) {
        let heard = {
            let mut inner = self.inner.borrow_mut();
            let store = Rc::clone(&inner.store);
            inner.detach();
            let mut store = store.borrow_mut();
            let heard = store.connection != Connection::Connecting;
            store.disconnect(page_millis());
            heard
        };
        if heard {
            self.later();
            return;
        }
        // A browser does not tell why a socket was refused; a plain request does.
        let feed = self.clone();
        spawn_local(async move {
            if is_without_session().await {
                let inner = feed.inner.borrow();
                let mut store = inner.store.borrow_mut();
                store.connection = Connection::NoSession;
                store.version += 1;
            }
            feed.later();
        });
    }

    /// Tries again after a pause that grows.
    fn later(&self) {
        let pause_millis = {
            let mut inner = self.inner.borrow_mut();
            let pause_millis = inner.pause_millis;
            inner.pause_millis = (pause_millis * 2).min(LONGEST_PAUSE_MILLIS);
            pause_millis
        };
        let feed = self.clone();
        let again = Closure::once_into_js(move || feed.open());
        if let Some(window) = web_sys::window() {
            window
                .set_timeout_with_callback_and_timeout_and_arguments_0(
                    again.unchecked_ref(),
                    pause_millis,
                )
                .ok(); // Only a window that is going away refuses.
        }
    }
}

impl Inner {
    fn send(&self, frame: &ClientFrame) {
        let open = self.socket.as_ref().filter(|held| held.socket.ready_state() == WebSocket::OPEN);
        if let Some(held) = open {
            // A socket that closes at this moment reports it by itself.
            held.socket.send_with_u8_array(&frame.encode()).ok();
        }
    }

    /// Lets go of a socket that has closed. Its callbacks are dropped later: one of them runs now.
    fn detach(&mut self) {
        if let Some(held) = self.socket.take() {
            held.socket.set_onmessage(None);
            held.socket.set_onclose(None);
            spawn_local(async move { drop(held) });
        }
    }
}

/// Takes `#token=…` out of the address.
fn take_token() -> Option<String> {
    let window = web_sys::window()?;
    let location = window.location();
    let hash = location.hash().ok()?;
    let token = token_of(&hash)?.to_owned();
    let clean = format!("{}{}", location.pathname().ok()?, location.search().ok()?);
    let history = window.history().ok()?;
    history.replace_state_with_url(&JsValue::NULL, "", Some(&clean)).ok()?;
    Some(token)
}

/// The token in an address's fragment.
fn token_of(hash: &str) -> Option<&str> {
    let parts = hash.strip_prefix('#')?.split('&');
    parts.filter_map(|part| part.strip_prefix("token=")).find(|token| !token.is_empty())
}

async fn post_session(token: &str) -> Result<(), JsValue> {
    let window = web_sys::window().ok_or(JsValue::NULL)?;
    let headers = web_sys::Headers::new()?;
    headers.set("content-type", "application/json")?;
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_headers(&headers);
    init.set_body(&JsValue::from_str(&session_body(token)));
    JsFuture::from(window.fetch_with_str_and_init("/api/session", &init)).await?;
    Ok(())
}

/// A token is hexadecimal or base64; whatever else a person pastes is still one JSON string.
fn session_body(token: &str) -> String {
    let mut body = String::from("{\"token\":\"");
    for letter in token.chars() {
        match letter {
            '"' | '\\' => body.extend(['\\', letter]),
            letter if letter.is_control() => {}
            letter => body.push(letter),
        }
    }
    body + "\"}"
}

/// Whether the lab answers, but not to this browser.
async fn is_without_session() -> bool {
    let Some(window) = web_sys::window() else { return false };
    let Ok(response) = JsFuture::from(window.fetch_with_str("/api/session")).await else {
        return false;
    };
    let status = response.dyn_into::<web_sys::Response>().map(|response| response.status());
    matches!(status, Ok(401 | 403))
}

/// Loads the page again, once: a lab that still speaks another version then is said so.
fn reload_once() {
    let Some(window) = web_sys::window() else { return };
    let Ok(Some(storage)) = window.session_storage() else { return };
    // Whole seconds: reading a float would bring a parser of ten thousand bytes.
    let now = (js_sys::Date::now() / 1_000.0) as u64;
    let last = storage.get_item("raftlab.reloaded").ok().flatten();
    let recently =
        last.and_then(|at| at.parse::<u64>().ok()).is_some_and(|at| now.saturating_sub(at) < 10);
    if !recently {
        storage.set_item("raftlab.reloaded", &now.to_string()).ok(); // Full storage: no harm.
        window.location().reload().ok(); // Only a window that is going away refuses.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_the_fragment() {
        for (hash, token) in [
            ("#token=abc", Some("abc")),
            ("#view=1&token=abc", Some("abc")),
            ("#token=", None),
            ("", None),
            ("#nothing", None),
        ] {
            assert_eq!(token_of(hash), token, "{hash}");
        }
    }

    #[test]
    fn a_token_stays_one_string() {
        assert_eq!(session_body(r#"a"b\c"#), r#"{"token":"a\"b\\c"}"#);
    }
}
