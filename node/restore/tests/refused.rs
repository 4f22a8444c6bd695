//! Files that cannot be restored: cut off, flipped, foreign. A clear word, and nothing is left.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use etcd_api::mvccpb::KeyValue;
use node_bolt::format::PageSize;
use node_bolt::schema::{self, MetaRows, RevisionKey};
use node_bolt::{Image, Plan, WriteError};
use node_identity::InitialCluster;
use node_identity::urls::Url;
use node_restore::{Begun, Restore, RestoreError, Restored, directory};
use prost::Message as _;

const KEYS: i64 = 500;

fn fill(image: &mut Image<'_>) -> Result<(), WriteError> {
    image.bucket(schema::KEY)?;
    for main in 2..2 + KEYS {
        let pair = KeyValue {
            key: format!("key/{main:04}").into_bytes().into(),
            value: b"value".to_vec().into(),
            create_revision: main,
            mod_revision: main,
            version: 1,
            lease: 0,
        };
        let key = RevisionKey { main, sub: 0, tombstone: false };
        image.pair(&key.to_bytes(), &pair.encode_to_vec())?;
    }
    image.bucket(schema::META)?;
    let meta = MetaRows { consistent_index: Some(900), term: Some(3), ..MetaRows::default() };
    meta.rows().try_for_each(|(name, value)| image.pair(name, &value))
}

/// A snapshot as a member sends it.
fn snapshot() -> Vec<u8> {
    let plan = Plan::measure(PageSize::default(), fill).expect("the rows are right");
    let mut bytes = Vec::new();
    plan.write_with_hash(&mut bytes, fill).expect("it is written");
    bytes
}

fn restore(folder: &Path, bytes: &[u8], skip_hash_check: bool) -> Result<Restored, RestoreError> {
    let snapshot = folder.join("snapshot.db");
    fs::write(&snapshot, bytes).expect("a file");
    let line = "m1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380";
    let order = Restore {
        snapshot,
        data_dir: folder.join("m1.etcd"),
        wal_dir: None,
        name: "m1".to_owned(),
        initial_cluster: InitialCluster::parse(line).expect("well formed"),
        token: "again".to_owned(),
        advertised: Url::parse_list("http://127.0.0.1:2380").expect("well formed"),
        skip_hash_check,
        bump: None,
    };
    order.run(&mut |_| ControlFlow::Continue(()))
}

/// Whatever came of it: a directory is whole, or not there.
fn check(what: &str, bytes: &[u8], skip_hash_check: bool) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("m1.etcd");
    match restore(folder.path(), bytes, skip_hash_check) {
        Err(error) => {
            assert!(!data_dir.exists(), "{what}: {error}, and something is left");
            Some(error.to_string())
        }
        Ok(restored) => {
            let wal_dir = directory::wal_dir(&data_dir);
            let begun =
                Begun::read(&data_dir, &wal_dir).expect("it is whole").expect("it is there");
            assert_eq!(begun.beginning.member, restored.member, "{what}");
            None
        }
    }
}

#[test]
fn a_whole_file_is_restored_once() {
    let bytes = snapshot();
    assert_eq!(check("as saved", &bytes, false), None);
    let folder = tempfile::tempdir().expect("a folder");
    let restored = restore(folder.path(), &bytes, false).expect("it is whole");
    assert_eq!((restored.rows, restored.revision), (500, 501));
    let again = restore(folder.path(), &bytes, false).expect_err("it is there already");
    assert!(again.to_string().ends_with("m1.etcd\" not empty or could not be read"), "{again}");
    assert!(folder.path().join("m1.etcd").exists(), "what was there stays");
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    let bytes = snapshot();
    for length in (0..bytes.len()).step_by(997).chain([bytes.len() - 1, bytes.len() - 32]) {
        let cut = &bytes[..length];
        let refused = check("cut off", cut, false).expect("it is not whole");
        let known = ["snapshot missing hash", "expected sha256 "];
        assert!(known.iter().any(|words| refused.starts_with(words)), "{length}: {refused}");
        // All but the hash is a whole database, to be taken knowingly.
        if length < bytes.len() - 32 {
            let refused = check("cut off", cut, true).expect("it is not whole");
            assert!(refused.contains("cannot be restored: "), "{length}: {refused}");
        }
    }
    assert_eq!(check("without its hash", &bytes[..bytes.len() - 32], true), None);
}

#[test]
fn a_flipped_bit_is_noticed_by_the_hash_and_never_leaves_half_a_directory() {
    let bytes = snapshot();
    for at in (0..bytes.len() * 8).step_by(4_099) {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let refused = check("flipped", &flipped, false).expect("the hash tells");
        assert!(refused.starts_with("expected sha256 ["), "bit {at}: {refused}");
        // Knowingly: it is refused, or restored whole; a changed value nobody can see.
        check("flipped, unchecked", &flipped, true);
    }
}

#[test]
fn a_foreign_file_is_refused() {
    let page = vec![b'x'; 8192];
    for (bytes, expected) in [
        (&b""[..], "this is no bbolt file"),
        (b"hello", "this is no bbolt file"),
        (&page, "this is no bbolt file"),
    ] {
        let refused = check("foreign", bytes, true).expect("it is no database");
        assert!(refused.contains(expected), "{refused}");
        let refused = check("foreign", bytes, false).expect("it has no hash");
        assert_eq!(refused, "snapshot missing hash but --skip-hash-check=false");
    }
    // A sound database of another program.
    let other = |image: &mut Image<'_>| -> Result<(), WriteError> {
        image.bucket(b"photos")?;
        image.pair(b"a", b"b")
    };
    let plan = Plan::measure(PageSize::default(), other).expect("it is right");
    let mut bytes = Vec::new();
    plan.write_with_hash(&mut bytes, other).expect("it is written");
    let refused = check("another program's", &bytes, false).expect("it is not etcd's");
    assert!(refused.contains("it has no bucket `key`"), "{refused}");
}
