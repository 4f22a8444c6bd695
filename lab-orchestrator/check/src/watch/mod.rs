//! What etcd promises of watches (etcd's documentation, *KV API guarantees*, "Watch APIs"), held
//! against what the operations of the run wrote.
//!
//! | rule | a watch |
//! |---|---|
//! | ordered | is told of changes in the order of their revisions |
//! | unique | is never told twice of a change |
//! | atomic | is told of all that one revision changed in one response |
//! | reliable | is told of every change up to the last it was told of, and as it was |
//! | resumable | that goes on elsewhere is told of all from where it asked to go on |
//! | bookmarkable | is told of nothing at or before a bookmark once it has the bookmark |
//! | filtered | is told of what it asked for: its keys, its kinds of changes, from its start on |
//! | prev_kv | is told the row before a change if it asked, and only then |
//! | compacted | ends as compacted only behind a compaction above what it would be told next |
//!
//! ```text
//!  order of `linear` ─┐
//!  what watches told ─┴─► Truth    what each revision changed, and the rows before
//!  each watch ─► judge    response by response, over all its streams, against the truth
//! ```
//!
//! # What is known
//!
//! An acknowledged write says which revision it made, and the replay of `linear` says what that
//! changed. A revision of a write with an unknown outcome is known when somebody saw its value: a
//! read or, here, any watch. Of what was deleted by nobody who is known, one watch's word is taken
//! if an unknown deletion or the end of a lease can have done it; then it holds for every watch.
//!
//! What is found broken is broken. What cannot be seen: a change that no watch was told of and that
//! nobody is known to have made; the row before, and how often it had been written, where such a
//! change may lie between; that a quiet watch should have been told something by now. Where the
//! operations have no one order at all, only the rules that look at a watch alone can be broken,
//! and the verdict is unknown otherwise.
//!
//! A watch may be compacted when it has been open for long and was too slow, so what counts is the
//! revision it would be told next, which for a new watch is its start. A row before a change may be
//! missing once a compaction dropped it (`etcd-io/etcd server/etcdserver/api/v3rpc/watch.go`).
//!
//! A bookmark that arrives before the watch is created says nothing of it: a member tells all watches
//! of a connection at once how far they have come, and it was under way for the others.
//!
//! Left out on purpose: the order of changes within a revision, which etcd does not promise; and
//! whatever is heard of a stream that has ended.

mod check;
mod judge;
mod rows;
mod rule;
#[cfg(test)]
mod tests;
mod told;
mod truth;

pub use check::WatchGuarantees;
