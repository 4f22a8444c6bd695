//! Rows that a restored snapshot brought and nobody here understands: etcd's users and roles.
//!
//! They are kept among the single values, under names of their own, so they travel with every
//! snapshot; [`import`](crate::import) writes them, and [`image`](crate::image) gives them back.

use node_bolt::schema;

/// The buckets that are carried through.
pub const CARRIED_BUCKETS: [&[u8]; 3] = [schema::AUTH, schema::AUTH_ROLES, schema::AUTH_USERS];

/// The name of a pair of a bucket, in [`Table::Meta`](crate::kv::Table): `etcd/`, the bucket, `/`,
/// the key.
pub fn carried_key(bucket: &[u8], key: &[u8]) -> Vec<u8> {
    [b"etcd/", bucket, b"/", key].concat()
}
