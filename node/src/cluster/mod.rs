//! Membership: who is a member, under which id, and what may change.
//!
//! [`Membership`] is part of the replicated state: every member holds the same one after the same
//! entry. An id that was removed never returns, because a member that comes back with an old disk
//! could break promises its quorum relied on.
//!
//! Left out: anything that needs to know who is reachable. The leader judges that before it
//! proposes a change.
//!
//! Source: etcd-io/etcd `server/etcdserver/api/membership/{member,cluster}.go`.

mod membership;

pub use node_identity::{InitialCluster, InitialClusterError, cluster_id, member_id};

pub use membership::{ChangeError, MAX_LEARNERS, Member, MemberChange, Membership, RecordError};
