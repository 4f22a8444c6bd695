//! What is in a saved snapshot.

use node_restore::Status;

use super::fields::Fields;
use super::json::Object;
use super::table::Table;
use super::{Show, Style, line};
use crate::quote::human_bytes;

/// The status of a snapshot's file.
pub(crate) struct SnapshotStatus(pub(crate) Status);

impl SnapshotStatus {
    fn row(&self) -> Vec<String> {
        let Status { hash, revision, total_keys, total_bytes, integrity: _ } = self.0;
        vec![
            format!("{hash:x}"),
            revision.to_string(),
            total_keys.to_string(),
            human_bytes(total_bytes),
        ]
    }
}

impl Show for SnapshotStatus {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, self.row().join(", "));
    }

    fn json(&self) -> String {
        let Status { hash, revision, total_keys, total_bytes, integrity: _ } = self.0;
        // None is left out when it is zero, as elsewhere: this is no message of the API.
        Object::new()
            .raw("hash", hash)
            .raw("revision", revision)
            .raw("totalKey", total_keys)
            .raw("totalSize", total_bytes)
            .end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        let Status { hash, revision, total_keys, total_bytes, integrity: _ } = self.0;
        out.plain("Hash", hash);
        out.plain("Revision", revision);
        out.plain("Keys", total_keys);
        out.plain("Size", total_bytes);
        Some(())
    }

    fn table(&self) -> Option<Table> {
        let mut table = Table::new(&["Hash", "Revision", "Total Keys", "Total Size"]);
        table.row(self.row());
        Some(table)
    }
}
