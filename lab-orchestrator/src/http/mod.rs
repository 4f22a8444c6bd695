//! The lab's web face: the page, the book, REST, one websocket for each browser.
//!
//! ```text
//!  every request ─► guard (Host, Origin, method, token) ─► { page | book | api | websocket }
//! ```
//!
//! It is a control plane on loopback, and a web page from anywhere can make a browser send
//! requests there. So every route, static files included, demands an exact `Host`; every `/api`
//! route demands the run's token, as a cookie or as a bearer; whatever could change something, and
//! the websocket, demands an exact `Origin` as well. GET changes nothing. No answer carries a CORS
//! header.
//!
//! Invariants: nothing here can do what a drill cannot: it submits commands and follows the
//! journal. A browser's queue is its cursor in the journal; a slow browser costs nothing and gets
//! the state anew. The token is never logged and never in a path or query.

mod api;
mod assets;
mod guard;
mod serve;
mod session;
mod socket;

pub use guard::AllowedHosts;
pub use serve::{Face, ListenError, Listening, listen};
pub use session::Token;
