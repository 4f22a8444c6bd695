//! What was typed and what it means.
//!
//! ```text
//!  arguments, ETCD_* ──► arguments.rs (Go's way of writing flags, etcd's ignored flags)
//!                           └──► flags.rs (names, defaults, help) ──► meaning.rs (Config)
//! ```
//!
//! Flags, defaults and messages are etcd's, so that what is learned here is true there. Whatever
//! is wrong is said before anything is opened or bound.
//!
//! Source: etcd-io/etcd `server/etcdmain/config.go`, `server/embed/config.go`.

mod arguments;
mod flags;
mod meaning;
#[cfg(test)]
mod tests;

pub use meaning::{
    Asked, Config, ConfigError, ETCD_CLUSTER_VERSION, ETCD_VERSION, InitialState, OWN_VERSION,
    PeerProxy, Retention,
};
