//! The lab's calls and watches in etcd's own messages, there and back.
//!
//! The lab's own clients ask real members by these; the simulation's clients give the same messages
//! to a member's parts. Neither says anything of connections.

mod rows;
mod transaction;
mod watch;

pub use rows::{range, row, text};
pub use transaction::{transacted, transaction};
pub use watch::{progress, watch, watched};
