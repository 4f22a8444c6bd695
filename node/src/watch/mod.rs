//! Watches: whoever asked is told of every change of a range of keys, from any revision on.
//!
//! Nothing is pushed. The apply thread only marks which watches have something to fetch, and wakes
//! the streams they belong to; each stream then pulls from the store at its own pace.
//!
//! ```text
//!   apply ─► WatchHub::publish(revision) ─► marks watches, wakes streams
//!                                                    │
//!   face ◄─ responses ◄─ WatchStream::poll(store) ◄──┘
//!                               │
//!                               └─ Store::events_since: newest revisions in RAM, else rows
//! ```
//!
//! So a slow reader costs a mark and a revision number, never memory, and holds up nobody. A write
//! touches only the watches whose keys it changed: they are found by key, by prefix, or for other
//! ranges by their first key.
//!
//! The order in which things must happen: a revision is published after it can be read from the
//! store, in order; a stream takes its marks, then reads. Then whatever was published when the
//! marks were taken has been sent when all marked watches have caught up, and a progress response
//! may say so.

mod hub;
mod stream;
#[cfg(test)]
mod tests;

pub use hub::WatchHub;
pub use stream::{Polled, WatchStream};
