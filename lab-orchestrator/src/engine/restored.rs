//! Whether a directory of etcd's was made by `snapshot restore` and has not been run on yet.
//!
//! Our own node tells so itself. Etcd does not, so the lab looks into the files before it starts
//! it: what a restored cluster began with is needed to judge what was lost.

use std::path::Path;

use lab_protocol::node_protocol::ClusterId;
use node_restore::{Begun, BegunError};

/// What a cluster that was restored begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The newest revision of the snapshot.
    pub snapshot: i64,
    /// Its own revision at its beginning; more where revisions were bumped.
    pub began_at: i64,
}

/// Reads what a member's directory begins with; none of one that was run on, or that is empty. It
/// reads the whole database, on the calling thread.
pub fn restored(data_dir: &Path) -> Option<Restored> {
    // A directory that cannot be read so is not as `snapshot restore` leaves it.
    let mut begun = Begun::read(data_dir, &data_dir.join("member/wal")).ok()??;
    let (mut snapshot, mut began_at) = (0, 0);
    let rows = begun.rows(|revision, pair| {
        began_at = revision.main;
        // A row of no key only bumps the revision.
        if !pair.value.is_empty() {
            snapshot = revision.main;
        }
        Ok::<_, BegunError>(())
    });
    rows.ok()?;
    let cluster = ClusterId(begun.beginning.cluster.0);
    // One that merely began has no key yet.
    (snapshot > 0).then_some(Restored { cluster, snapshot, began_at })
}
