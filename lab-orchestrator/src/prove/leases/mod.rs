//! Leases over forced changes of leader: none ends early, all end once the cluster is quiet.
//!
//! The client's clock judges. A lease may not end before its time to live has passed since the
//! *sending* of the last request for it that was answered; whoever leads cannot have begun to
//! count earlier. It has to be gone when its time has passed since the cluster became quiet, with
//! an allowance: a new leader gives each lease its full time again and an election timeout on top.

mod book;
mod run;

pub(super) use run::LeasesArgs;
pub(super) use run::perform;
