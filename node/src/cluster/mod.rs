//! Identity and membership: who is a member, under which id, and what may change.
//!
//! Ids are derived, never invented: a member's from its peer URLs and the cluster token, the
//! cluster's from its first members' ids. So three operators who type the same flags on three
//! machines get the same cluster, and a new token gives another one.
//!
//! ```text
//!  member id  = first 8 bytes of SHA-1(sorted peer URLs · token [· unix seconds, when added later])
//!  cluster id = first 8 bytes of SHA-1(member ids, ascending, 8 bytes each)
//! ```
//!
//! [`Membership`] is part of the replicated state: every member holds the same one after the same
//! entry. An id that was removed never returns, because a member that comes back with an old disk
//! could break promises its quorum relied on.
//!
//! Left out: anything that needs to know who is reachable. The leader judges that before it
//! proposes a change.
//!
//! Source: etcd-io/etcd `server/etcdserver/api/membership/{member,cluster}.go`.

mod identity;
mod initial;
mod membership;

pub use identity::{cluster_id, member_id};
pub use initial::{InitialCluster, InitialClusterError};
pub use membership::{ChangeError, MAX_LEARNERS, Member, MemberChange, Membership, RecordError};
