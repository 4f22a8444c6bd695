//! The calls, by what they are about; played in this order, on one cluster.

pub(crate) mod compaction;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod maintenance;
pub(crate) mod members;
pub(crate) mod transactions;
pub(crate) mod watches;
