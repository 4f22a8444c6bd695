//! What etcd keeps in its database: the names of its buckets, and the bytes of their rows.
//!
//! | bucket | key | value |
//! |---|---|---|
//! | [`KEY`] | [`RevisionKey`] | the pair at that revision, `mvccpb.KeyValue` |
//! | [`META`] | a name, see [`MetaRows`] | a number or a revision |
//! | [`LEASE`] | the id | [`Lease`] |
//! | [`MEMBERS`] | the id in hex | [`Member`], as JSON |
//! | [`MEMBERS_REMOVED`] | the id in hex | [`REMOVED`] |
//! | [`CLUSTER`] | [`CLUSTER_VERSION`] | the version as text |
//! | [`ALARM`], [`AUTH`], [`AUTH_USERS`], [`AUTH_ROLES`] | | nothing of these here |
//!
//! Source: `etcd-io/etcd server/storage/schema`, `server/storage/mvcc/revision.go`,
//! `server/lease/leasepb`; the buckets are those of 3.4 and later.

mod lease;
mod member;
mod meta;
mod revision;

pub use lease::{Lease, LeaseError};
pub use member::{Member, MemberError, member_id, member_key};
pub use meta::{MetaError, MetaRows};
pub use revision::{RevisionError, RevisionKey};

/// Every revision that is not compacted.
pub const KEY: &[u8] = b"key";
/// How far the state is.
pub const META: &[u8] = b"meta";
/// The leases.
pub const LEASE: &[u8] = b"lease";
/// The members; `snapshot restore` puts others in their place. That of 3.4 leaves these rows, does
/// not look at them again, and deletes a client's key that is called like one of them.
pub const MEMBERS: &[u8] = b"members";
/// Ids that may not come back.
pub const MEMBERS_REMOVED: &[u8] = b"members_removed";
/// What the cluster agreed on beside its members.
pub const CLUSTER: &[u8] = b"cluster";
/// Alarms that are on.
pub const ALARM: &[u8] = b"alarm";
/// Whether users must say who they are.
pub const AUTH: &[u8] = b"auth";
/// The users.
pub const AUTH_USERS: &[u8] = b"authUsers";
/// The roles.
pub const AUTH_ROLES: &[u8] = b"authRoles";

/// The buckets of a member of 3.4, ascending. Stock tools take each for granted: an image has them
/// all, empty or not.
pub const BUCKETS: [&[u8]; 10] =
    [ALARM, AUTH, AUTH_ROLES, AUTH_USERS, CLUSTER, KEY, LEASE, MEMBERS, MEMBERS_REMOVED, META];

/// The key in [`CLUSTER`] whose value is a version such as `3.5.0`.
pub const CLUSTER_VERSION: &[u8] = b"clusterVersion";
/// The value of each row of [`MEMBERS_REMOVED`].
pub const REMOVED: &[u8] = b"removed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_ascend() {
        assert!(BUCKETS.is_sorted());
    }
}
