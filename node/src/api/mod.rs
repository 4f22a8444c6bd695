//! The face towards clients: etcd's gRPC services and a few HTTP pages, on one port.
//!
//! ```text
//!  listener ─► connection (h2c or HTTP/1.1) ─► dispatch ─┬─► kv watch lease cluster maintenance
//!                                                        │       └─► Face ─► Handle
//!                                                        └─► crate::admin (/health /metrics …)
//! ```
//!
//! A service decodes, asks the [`Handle`](crate::handle::Handle), encodes; it keeps nothing of its
//! own. What a client sees of an error is decided in [`error`] alone. One request is one task of
//! the connection: nothing is handed to another task, responses are moved and not copied, and a
//! read looks at the store where it stands.
//!
//! Left out: users and roles (every client may do everything), the JSON gateway, election and
//! lock services, and Downgrade. A call to any of them is answered with `Unimplemented`.

mod authority;
mod cluster;
mod dispatch;
pub mod error;
mod face;
mod health;
mod hpack;
mod kv;
mod lease;
mod listener;
mod maintenance;
mod quota;
mod watch;

pub use dispatch::Dispatch;
pub use error::{ClientError, status};
pub use face::{Face, LeaseIds, Limits};
pub use listener::{ListenError, bind, serve};

#[cfg(test)]
mod tests;
