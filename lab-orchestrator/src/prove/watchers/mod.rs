//! Ten thousand watchers on one member, and some that stop reading.
//!
//! ```text
//!  one writer ─► leader ─► the member ─┬─► 100 connections, one stream each, 100 watches each
//!                                      ├─► a stream that stops reading and later goes on
//!                                      └─► a stream that stops reading until after a compaction
//! ```
//!
//! The same load is watched twice, first without and then with the stalled streams: so what they
//! cost the others is seen in one run. While they stall, the member's memory is looked at. A
//! stalled watch that reads again gets all from history, or is told that history is gone.

mod book;
mod ears;
mod run;
mod stall;

pub(super) use run::WatchersArgs;
pub(super) use run::perform;
