//! Lines that a person types: a few programs and five commands, in one folder. No shell.
//!
//! ```text
//!  "raft-ctl snapshot restore x.db --name m1"   "cp m1.etcd/member/snap/db x.db"   "raft-node --name m1"
//!        └─ line: words, names put in, judged ──┬──────────────┬───────────────────────┘
//!                                              tool         built-in                a member
//! ```
//!
//! A line is split into words as a shell does it, `$NAME` of the lab's own names is put in, and
//! that is all: no pipes, no redirection, no other program. Files lie on the *desk*, a folder of
//! the lab; no path leads out of it. A member that is started here is the lab's like any other.
//!
//! Commands of tools that would run further programs or wait for ever are refused by name.

pub mod builtin;
pub mod desk;
pub mod line;

pub use builtin::Builtin;
pub use desk::Desk;
pub use line::{Names, NodeLine, Tool, Typed, read};
