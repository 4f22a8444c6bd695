//! The lab's own clients: what is asked of the cluster, and who asks.
//!
//! ```text
//!  WorkloadSpec ─► generator (pure, seeded) ─► crew ─► client ─► connection ─► a member
//!                                               │        └─ turns to the next member
//!                                               └─► Invoked, Returned, Reconnected, ReadBack
//! ```
//!
//! [`Generator`] decides what is asked and when: an open loop, so operations start on time whether
//! or not earlier ones have ended. A [`Client`] holds one connection at a time and knows all the
//! members it may turn to, as an etcd client does. A watcher holds one watch and goes on elsewhere when
//! its stream ends. [`Crew`] owns them all.
//!
//! Invariants:
//!
//! - `Invoked` is reported before the first byte of a call leaves, `Returned` after its outcome is
//!   known, both through one channel: the journal never shows an order that the calls did not have.
//! - A write is sent again only when it is certain that it was not sent. Every other failure of a
//!   write is *info*: it may have happened. A failed read is *fail*: it changed nothing.
//! - Without operations and watches nothing runs: no timer, no keep-alive, no polling.
//!
//! Left out on purpose: retries by idempotence tokens.

mod client;
mod connection;
mod crew;
mod generator;
mod read_back;
mod watcher;

pub use client::Client;
pub(crate) use connection::classify;
pub use connection::{CallError, Connection, DialError, Dialler};
pub use crew::Crew;
pub use generator::{Generator, Planned};

/// How a lab makes its clients: a [`Crew`] in each seat.
pub fn make_clients() -> crate::clients::MakeClients {
    Box::new(|seat| Box::new(Crew::start(seat)))
}
