//! etcd's database file, in the format of bbolt: written as a stream, and read back.
//!
//! What `etcdctl snapshot save` receives, and what `snapshot status` and `snapshot restore` open,
//! is a bbolt file. A member writes one from its own state by [`Plan`]; tools that recover data
//! open one with [`Reader`]; [`schema`] knows what etcd keeps in it. No socket, no clock.
//!
//! ```text
//!  page   0      1      2        3     4     5     6            n-1
//!       ┌──────┬──────┬────────┬─────┬─────┬─────┬──────┬─ ─ ─┬──────┐ ┌─────────┐
//!       │ meta │ meta │free    │leaf │leaf │leaf:over-  │     │ leaf │ │ SHA-256 │
//!       │      │      │list: 0 │     │     │    :flow   │     │ root │ │ 32 bytes│
//!       └──┬───┴──────┴────────┴─────┴─────┴─────┴──────┴─ ─ ─┴──▲───┘ └─────────┘
//!          └───────── page of the root bucket ───────────────────┘     a saved snapshot only
//! ```
//!
//! The root bucket holds the named buckets, each the root page of a tree of its own: branch pages
//! above, pairs sorted by key in the leaves. [`format`] has the fields.
//!
//! Deliberately absent: changing a file in place, buckets within buckets, the list of free pages
//! (a written image has none free, and a reader needs none), and what etcd keeps in the buckets
//! of alarms and of users.

pub mod format;
mod hash;
mod read;
pub mod schema;
mod write;

pub use hash::{HASH_BYTES, HashError, Split, split_hash};
pub use read::{Pair, Pairs, ReadError, Reader};
pub use write::{Image, Plan, WriteError};
