//! `member/snap/db`, copied by hand and restored.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use node_identity::InitialCluster;
use node_identity::urls::Url;
use node_restore::{Integrity, Restore, RestoreError, Status};

use super::member::{Member, PATIENCE, Urls};

/// Restores a copied file as the only member of a new cluster.
fn restore(urls: &Urls, copy: &Path, into: &Path) {
    let peer = format!("http://{}", urls.peer(0));
    let order = |skip_hash_check| Restore {
        snapshot: copy.to_path_buf(),
        data_dir: into.to_path_buf(),
        wal_dir: None,
        name: "m0".to_owned(),
        initial_cluster: InitialCluster::parse(&format!("m0={peer}")).expect("well formed"),
        token: "restored".to_owned(),
        advertised: Url::parse_list(&peer).expect("well formed"),
        skip_hash_check,
        bump: None,
    };
    let refused = order(false).run(&mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(RestoreError::HashMissing)), "{refused:?}");
    assert!(!into.exists(), "what is refused leaves nothing");
    order(true).run(&mut |_| ControlFlow::Continue(())).expect("it is restored knowingly");
}

/// How many of `key0`, `key1`, … a member has; none is missing between them.
async fn count(member: &Member, written: usize) -> usize {
    let mut has = Vec::new();
    for n in 0..written {
        has.push(!member.get(&format!("key{n}")).await.expect("an answer").is_empty());
    }
    let count = has.iter().filter(|has| **has).count();
    assert!(has[..count].iter().all(|has| *has), "the first {count} of {has:?}");
    count
}

#[tokio::test]
async fn a_copy_has_everything_but_what_is_still_in_the_log() {
    const WRITTEN: usize = 95;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let database = data.join("member/snap/db");
    let mut member = Member::start(&data);
    member.put("key0", "first".into()).await;
    // There is one from the start on, written beside all else.
    let since = Instant::now();
    while !database.is_file() {
        assert!(since.elapsed() < PATIENCE, "there is no copy");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for n in 0..WRITTEN {
        member.put(&format!("key{n}"), "value".into()).await;
    }
    // It is renewed every ten entries, as the log is shortened; not in the same moment.
    let status = Status::read(&database).expect("it is whole whenever it is copied");
    assert_eq!(status.integrity, Integrity::Missing);
    let copied = folder.path().join("while-it-runs.db");
    fs::copy(&database, &copied).expect("it is copied");
    let (code, said) = member.ended();
    assert_eq!(code, Some(0), "{said}");
    let clean = folder.path().join("after-a-clean-stop.db");
    fs::copy(&database, &clean).expect("it is copied");

    let mut counts = Vec::new();
    for copy in [&copied, &clean] {
        let urls = Urls::of(1);
        let into = copy.with_extension("etcd");
        restore(&urls, copy, &into);
        let mut restored = urls.start(0, &into);
        counts.push(count(&restored, WRITTEN).await);
        restored.put("after", "restored".into()).await;
        restored.crash();
    }
    assert!(counts[0] <= WRITTEN, "{counts:?}");
    assert_eq!(counts[1], WRITTEN, "after a clean stop nothing is in the log alone");
}
