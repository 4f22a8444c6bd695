//! Auto-compaction: a member forgets old revisions by itself, and serves the newer ones.

use std::time::{Duration, Instant};

use etcd_api::etcdserverpb::RangeRequest;
use etcd_api::etcdserverpb::kv_client::KvClient;
use tonic::Code;
use tonic::transport::Channel;

use super::member::{Member, PATIENCE, Urls};

/// Revisions that are written: the last of so many puts is at this one and one more.
const PUTS: u8 = 20;

/// What `key` held at a revision; nothing once that is compacted.
async fn at(client: &mut KvClient<Channel>, revision: i64) -> Option<String> {
    let request = RangeRequest { key: "key".into(), revision, ..RangeRequest::default() };
    match client.range(request).await {
        Ok(answer) => {
            let kv = answer.into_inner().kvs.into_iter().next().expect("it was written");
            Some(String::from_utf8(kv.value.to_vec()).expect("it is text"))
        }
        Err(status) => {
            let compacted = "etcdserver: mvcc: required revision has been compacted";
            assert_eq!((status.code(), status.message()), (Code::OutOfRange, compacted));
            None
        }
    }
}

/// Writes the values 2 to 21, each at the revision of that number.
async fn write(member: &Member) {
    for value in 2..PUTS + 2 {
        member.put("key", value.to_string().into()).await;
    }
}

/// Waits until a revision is compacted.
async fn await_compacted(client: &mut KvClient<Channel>, revision: i64) {
    let since = Instant::now();
    while at(client, revision).await.is_some() {
        assert!(since.elapsed() < PATIENCE, "revision {revision} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_period_is_kept() {
    let folder = tempfile::tempdir().expect("a directory");
    // Periods are not rounded: one of a second is looked at ten times in it and compacted by then.
    let flags = ["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1s"];
    let member = Urls::of(1).start_with(0, folder.path(), &flags);
    write(&member).await;
    let mut client = KvClient::new(member.channel().await);
    let last = i64::from(PUTS) + 1;
    // What is current stays, however often it compacts.
    await_compacted(&mut client, last - 1).await;
    assert_eq!(at(&mut client, 2).await, None);
    assert_eq!(at(&mut client, last).await, Some(last.to_string()));
    // It goes on compacting.
    member.put("key", "again".into()).await;
    await_compacted(&mut client, last).await;
    assert_eq!(at(&mut client, last + 1).await.as_deref(), Some("again"));
}

#[tokio::test]
async fn so_many_revisions_are_kept() {
    let folder = tempfile::tempdir().expect("a directory");
    let flags = ["--auto-compaction-mode", "revision", "--auto-compaction-retention", "5"];
    let urls = Urls::of(1);
    let mut member = urls.start_with(0, folder.path(), &flags);
    write(&member).await;
    // The number is looked at every five minutes, and at the start, once somebody leads.
    member.crash();
    let member = urls.start_with(0, folder.path(), &flags);
    let mut client = KvClient::new(member.channel().await);
    let current = i64::from(PUTS) + 1;
    await_compacted(&mut client, current - 6).await;
    for revision in 2..current - 5 {
        assert_eq!(at(&mut client, revision).await, None, "{revision}");
    }
    for revision in current - 5..=current {
        assert_eq!(at(&mut client, revision).await, Some(revision.to_string()));
    }
}
