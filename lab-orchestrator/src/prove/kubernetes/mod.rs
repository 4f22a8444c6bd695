//! What a Kubernetes API server asks of its storage, while leaders crash.
//!
//! ```text
//!  writers    create, update, delete: txn guarded by mod_revision, else-branch reads the key
//!  reporters  events on leases that many of them share
//!  listers    pages with limit and continue key, all at the first page's revision
//!  informers  a list, then a watch from its revision on; bookmarks; resumed or listed anew
//!  compactors rivals guarded by the version of one key; the winner compacts
//! ```
//!
//! Two auditors watch every key from the empty store on. Every revision changes a key, so a hole
//! in what they hear would be seen: what they hear is the history, and all that anybody else was
//! told has to fit into it.

mod book;
mod calls;
mod informer;
mod judge;
mod run;
#[cfg(test)]
mod tests;

pub(super) use run::KubernetesArgs;
pub(super) use run::perform;
