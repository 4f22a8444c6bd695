//! The format `fields`: `"Name" : value`, a field a line.

use std::fmt::Display;

use etcd_api::etcdserverpb::ResponseHeader;
use etcd_api::mvccpb::KeyValue;

use crate::quote::quote;

/// Fields, as they are collected.
#[derive(Debug, Default)]
pub(crate) struct Fields(String);

impl Fields {
    /// A number, a truth, a name.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("\"{name}\" : {value}\n"));
    }

    /// Bytes or text, in quotes.
    pub(crate) fn quoted(&mut self, name: &str, value: &[u8]) {
        self.plain(name, quote(value));
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    pub(crate) fn header(&mut self, header: Option<&ResponseHeader>) {
        let ResponseHeader { cluster_id, member_id, revision, raft_term } =
            header.copied().unwrap_or_default();
        self.plain("ClusterID", cluster_id);
        self.plain("MemberID", member_id);
        self.plain("Revision", revision);
        self.plain("RaftTerm", raft_term);
    }

    /// A pair; `prefix` says that it is the one from before.
    pub(crate) fn key_value(&mut self, prefix: &str, kv: &KeyValue) {
        let KeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
        self.quoted(&format!("{prefix}Key"), key);
        self.plain(&format!("{prefix}CreateRevision"), create_revision);
        self.plain(&format!("{prefix}ModRevision"), mod_revision);
        self.plain(&format!("{prefix}Version"), version);
        self.quoted(&format!("{prefix}Value"), value);
        self.plain(&format!("{prefix}Lease"), lease);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}
