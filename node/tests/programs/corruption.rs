//! A member whose keys are others than those of its peers, though its disk is whole.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use node::kv::{Change, Table};
use node::storage::{DataDirectory, Disk, FlushBatch, RealDisk, State, StateError, StateOptions};

use super::member::{Member, PATIENCE, Urls};

const CHECK: &str = "--experimental-initial-corrupt-check";

/// Writes another value in the place of `secret`, with all that belongs to it.
fn falsify(data_dir: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let directory = DataDirectory::lock(&*disk, data_dir).expect("nobody runs on it");
    let options = StateOptions::default();
    let state = State::open(&disk, directory.member_dir(), options).expect("it is whole");
    let mut falsified = Vec::new();
    state
        .load(|table, key, value| {
            let secret = value.windows(6).position(|bytes| bytes == b"secret");
            if let (Table::Rows, Some(at)) = (table, secret) {
                let mut value = value.to_vec();
                value[at..at + 6].copy_from_slice(b"public");
                let key = Bytes::copy_from_slice(key);
                falsified.push(Change::set(table, key, value));
            }
            Ok::<_, StateError>(())
        })
        .expect("it can be read");
    assert_eq!(falsified.len(), 1, "the one put");
    let applied = state.applied();
    let (index, term) = (applied.index, applied.term);
    let batch =
        FlushBatch { changes: &falsified, applied: index, applied_term: term, conf_state: None };
    state.flush(batch).expect("it can be written");
}

/// etcd-io/etcd#13766 and its kin: members went on for weeks with other keys, and nobody looked.
#[tokio::test]
async fn a_member_with_other_keys_ends_before_it_serves_anybody() {
    let urls = Urls::of(3);
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let mut members: Vec<Member> = (0..3).map(|n| urls.start(n, folders[n].path())).collect();
    members[0].put("key", "secret".into()).await;
    assert_eq!(members[2].get("key").await.expect("an answer"), b"secret");
    let (code, said) = members[2].ended();
    assert_eq!(code, Some(0), "{said}");

    // It is right, and the others say so.
    members[2] = urls.start_with(2, folders[2].path(), &[CHECK]);
    assert_eq!(members[2].get("key").await.expect("an answer"), b"secret");
    let (code, said) = members[2].ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("has the same keys").count(), 2, "{said}");

    falsify(folders[2].path());
    for _ in ["at first", "and again"] {
        let since = Instant::now();
        let (code, said) = loop {
            members[2] = urls.start_with(2, folders[2].path(), &[CHECK]);
            let (code, said) = members[2].fallen();
            // A test beside this one may just be starting a program, which holds this process's
            // files, and with them the lock of `falsify`, for a moment longer.
            let held = said.contains("another process uses the data directory");
            if !held || since.elapsed() > PATIENCE {
                break (code, said);
            }
        };
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("found data inconsistency with peers"), "{said}");
        assert!(!said.contains("ready to serve"), "{said}");
    }
    // Who does not ask is not told: its disk is whole.
    members[2] = urls.start(2, folders[2].path());
    assert_eq!(members[2].get("key").await.expect("an answer"), b"public");
}
