//! The lab's own clients: what is asked of the cluster, and who asks.
//!
//! ```text
//!  WorkloadSpec ─► generator (pure, seeded) ─► crew ─► client ─► connection ─► a member
//!                                               │        └─ turns to the next member
//!                                               └─► Invoked, Returned, Reconnected, ReadBack
//! ```
//!
//! [`Generator`] decides what is asked and when: an open loop, so operations start on time whether
//! or not earlier ones have ended. A [`Mix`] does the same with errands of several operations, which
//! are run by [`errand`]; their keys and what is promised of them are in [`lab_protocol::mix`]. A [`Client`] holds one connection at a time and knows all the
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
//! - A try again is a new operation in the history, with a value of its own.
//!
//! Left out on purpose: retries by idempotence tokens.

mod asking;
mod client;
mod connection;
mod crew;
mod errand;
mod generator;
mod mix;
mod read_back;
mod slots;
mod watcher;

pub use client::Client;
pub(crate) use connection::classify;
pub use connection::{CallError, Connection, DialError, Dialler};
pub use crew::Crew;
pub use generator::{Generator, Planned};
pub use mix::{Errand, Mix, PlannedErrand};

/// How a lab makes its clients: a [`Crew`] in each seat.
pub fn make_clients() -> crate::clients::MakeClients {
    Box::new(|seat| Box::new(Crew::start(seat)))
}
