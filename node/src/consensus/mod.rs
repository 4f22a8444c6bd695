//! Consensus: `raft::RawNode` in, ordered effects out.
//!
//! ```text
//!   ticks, messages, proposals, reads ──► Driver ──► Round { send, install, persist,
//!                                            ▲               send after the fsync, apply, reads }
//!                                            └── advance(round), applied(index), configure(..)
//! ```
//!
//! Nothing here touches a socket, a file, a clock or a random source: time comes as ticks, and the
//! random election timeouts of raft-rs are overridden from a seed ([`Driver`]), so that the same
//! inputs give the same outputs, bit for bit. An entry's data is bytes here.
//!
//! - [`log`]: the Raft log in memory, as raft-rs wants to read it.
//! - [`driver`]: the Raft node and the order of its effects (thesis §10.2.1).
//! - [`reads`]: linearizable reads that wait for a round of heartbeats (thesis §6.4).
//! - `split`: appends that fit a frame.
//! - [`waiters`]: commands that wait for their answer.
//! - [`trace`]: what the member says of its own steps.
//!
//! Left out: the encoding of messages ([`crate::transport`]), what a command means
//! ([`crate::kv`]), and any decision about time ([`crate::replica`]).

mod change;
pub mod driver;
pub mod log;
pub mod reads;
mod split;
pub mod trace;
pub mod waiters;

pub use driver::{Driver, Persist, Round, Settings, Tail};
pub use log::Log;
