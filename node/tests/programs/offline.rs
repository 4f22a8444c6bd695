//! `raft-node defrag`: on the data of a member that does not run, never under one that does.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use etcd_api::etcdserverpb::kv_client::KvClient;
use etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_api::etcdserverpb::{CompactionRequest, StatusRequest};

use super::member::{PATIENCE, Urls};

/// What `defrag` says of a data directory, and how it ends.
fn defrag(data_dir: &Path) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_raft-node"))
        .args(["defrag", "--data-dir"])
        .arg(data_dir)
        .output()
        .expect("the program starts");
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).expect("it is text"), output.status.code())
}

#[tokio::test]
async fn a_data_directory_is_defragmented_while_no_member_runs_on_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let urls = Urls::of(1);
    let mut member = urls.start(0, folder.path());
    for n in 0..20 {
        member.put("large", vec![n; 1 << 20]).await;
    }
    member.put("small", "kept".into()).await;
    let compaction = CompactionRequest { revision: 22, physical: true };
    let mut client = KvClient::new(member.channel().await);
    client.compact(compaction).await.expect("it compacts");
    // The state is written behind: after a stop all of this is in it.
    let (code, said) = member.ended();
    assert_eq!(code, Some(0), "{said}");

    let mut member = urls.start(0, folder.path());
    let mut maintenance = MaintenanceClient::new(member.channel().await);
    let since = Instant::now();
    loop {
        let status = maintenance.status(StatusRequest {}).await.expect("it answers").into_inner();
        if status.db_size_in_use < 2 << 20 {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{} bytes of rows", status.db_size_in_use);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (said, code) = defrag(folder.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a member runs on") && said.contains("stop it first"), "{said}");
    member.put("small", "kept too".into()).await;

    // A crash: the state is one that was never closed.
    member.crash();
    let state = folder.path().join("member/state.redb");
    let size = || std::fs::metadata(&state).expect("it is there").len();
    let before = size();
    let (said, code) = defrag(folder.path());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("Finished defragmenting "), "{said}");
    assert!(size() < before / 2, "{} of {before} bytes: {said}", size());
    let member = urls.start(0, folder.path());
    member.put("after", "x".into()).await;
    assert_eq!(member.get("small").await.expect("it answers"), b"kept too");
    assert_eq!(member.get("large").await.expect("it answers"), [19; 1 << 20]);
}

#[test]
fn where_no_member_was_nothing_is_created() {
    let folder = tempfile::tempdir().expect("a directory");
    for mistyped in [folder.path(), &folder.path().join("m1")] {
        let (said, code) = defrag(mistyped);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("there is no member's data in"), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
}
