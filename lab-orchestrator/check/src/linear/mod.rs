//! One order of all operations, exact because the cluster gives it.
//!
//! Every write answers with the revision it made, every read with the revision it saw. So the
//! order is known and need not be searched: first the write of a revision, all of a transaction
//! at once, then the reads at it. The rules:
//!
//! 1. No two operations made the same revision, and every revision from 2 up to the highest that
//!    anybody was told was made by somebody. Where nobody is known to have made it (a *gap*), an
//!    operation whose outcome is unknown or the end of a lease must have; an operation that
//!    failed never has.
//! 2. *Real time.* A write that began after revision r had been told to somebody made a later
//!    one; a linearizable read then saw r or a later one.
//! 3. *Content.* The writes are replayed in the order of their revisions. Every answer must be
//!    what the replay gives: values, revisions, versions, leases and counts, and of a transaction
//!    that its compares held or did not.
//! 4. A write whose outcome is unknown happened at one revision at most.
//! 5. Compactions happened in the order of what they dropped, and none dropped the future.
//!
//! ```text
//!  Gathered ─► times    rules 2 and 5, and who made which revision
//!           ─► gaps     rules 1 and 4: unknown writes by their values, then the rest by count
//!           ─► replay   rule 3, over the `keys` and `rows` of the store
//!           ─► Order    what came of it, for this check and for `watch`
//! ```
//!
//! Serializable reads may be old, but never wrong: all but the lower bound of rule 2 holds for them.
//!
//! # How exact
//!
//! What it finds broken is broken. It finds all there is as long as every gap has its writer,
//! known by the unique value that somebody saw; then the order has no freedom left. Of a gap of
//! which nobody saw a value it only asks that enough operations could fill it, and that each
//! answer, taken alone, could come of one of them; two answers that need the same unknown
//! deletion both pass.
//!
//! A search for an order (Wing and Gong 1993, with Lowe's memory of what was tried, 2017) places
//! those too. A search that does not look at revisions sees less in turn: the order in which two
//! overlapping writes made their revisions, a revision that was left out or used twice, a read
//! whose value is right and whose revision is not. `tests/second_opinion` holds this check and such
//! searches to that, over thousands of small histories: wherever both can judge, they agree.
//!
//! Left out on purpose: why an operation failed (that a compacted revision is refused is for the
//! member's own tests), and reads of old revisions, which no client of the lab asks.

mod check;
mod gaps;
mod gathered;
mod keys;
mod order;
mod replay;
mod rows;
mod run;
#[cfg(test)]
mod tests;
mod times;

pub use check::Linearizable;
pub(crate) use gaps::each_value;
pub(crate) use gathered::Gathered;
pub(crate) use order::Order;
pub(crate) use run::{Run, Who, is_open_write};
