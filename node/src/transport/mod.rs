//! Peers: who may connect, what a frame holds, how a snapshot travels.
//!
//! ```text
//!  replica ──send──► Links ── one connection a peer, dialled by us ──► its listener ──► its inbox
//!                      └───── a second one while a snapshot travels ──►
//! ```
//!
//! Each directed link has its own connection: the member that dialled sends, the other answers the
//! handshake and then stays silent. The replica writes frames straight into the socket when it
//! takes them, so a message costs no thread change; what the socket does not take waits in a
//! bounded buffer, and what does not fit there is dropped, which Raft is made for.
//!
//! - [`codec`]: a Raft message, a forwarded command, a question to the leader, as a frame.
//! - [`handshake`]: cluster, member and version must fit before anything else is read.
//! - [`links`]: outgoing connections. [`listener`]: incoming ones. [`bulk`]: snapshots.
//!
//! A peer's bytes are parsed within bounds and never by raft-rs's own codec.

pub mod bulk;
pub mod codec;
pub mod handshake;
pub mod links;
pub mod listener;

pub use codec::{Forwarded, Packet};
