//! Who a member is before it has run: URLs as typed, the first members of a cluster, and ids.
//!
//! Ids are derived, never invented: a member's from its peer URLs and the cluster token, the
//! cluster's from its first members' ids. So three operators who type the same flags on three
//! machines get the same cluster, and a new token gives another one. A first start and a restore
//! from a snapshot begin a cluster alike, so both take it from here.
//!
//! ```text
//!  member id  = first 8 bytes of SHA-1(sorted peer URLs · token [· unix seconds, when added later])
//!  cluster id = first 8 bytes of SHA-1(member ids, ascending, 8 bytes each)
//! ```

mod ids;
mod initial;
pub mod urls;

pub use ids::{cluster_id, member_id};
pub use initial::{FirstMember, InitialCluster, InitialClusterError};
