//! Keys and rows.

use bytes::Bytes;
use etcd_api::mvccpb::KeyValue;
use lab_protocol::{KeyRange, Row};

/// The two fields that say which keys: `key` and `range_end`.
pub fn range(keys: &KeyRange) -> (Bytes, Bytes) {
    let end = keys.end.clone().unwrap_or_default();
    (Bytes::from(keys.key.clone()), Bytes::from(end))
}

/// A key with what is kept of it.
pub fn row(row: KeyValue) -> Row {
    let KeyValue { key, create_revision, mod_revision, version, value, lease } = row;
    Row { key: text(&key), value: text(&value), create_revision, mod_revision, version, lease }
}

/// Keys and values are text in the lab.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
