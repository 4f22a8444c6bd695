//! `--force-new-cluster`: a survivor goes on alone, and only if it is alone.

use etcd_api::etcdserverpb::cluster_client::ClusterClient;
use etcd_api::etcdserverpb::{Member as Listed, MemberListRequest};

use super::member::{Member, Urls};

/// The members and their cluster, as one of them tells.
async fn list(member: &Member) -> (u64, Vec<Listed>) {
    let mut asked = ClusterClient::new(member.channel().await);
    let answer = asked.member_list(MemberListRequest { linearizable: true }).await;
    let answer = answer.expect("a list").into_inner();
    (answer.header.expect("a header").cluster_id, answer.members)
}

/// Three members with some keys, all ended at once.
async fn crashed(urls: &Urls, folders: &[tempfile::TempDir; 3]) -> u64 {
    let mut members: Vec<Member> = (0..3).map(|n| urls.start(n, folders[n].path())).collect();
    for n in 0..20 {
        members[n % 3].put(&format!("key{n}"), "value".into()).await;
    }
    let (cluster, listed) = list(&members[0]).await;
    assert_eq!(listed.len(), 3);
    members.iter_mut().for_each(Member::crash);
    cluster
}

fn folders() -> [tempfile::TempDir; 3] {
    [(); 3].map(|()| tempfile::tempdir().expect("a directory"))
}

#[tokio::test]
async fn a_survivor_goes_on_alone_with_all_keys_and_the_cluster_s_id() {
    let (urls, folders) = (Urls::of(3), folders());
    let cluster = crashed(&urls, &folders).await;
    let forced = &["--force-new-cluster"][..];
    // Forced, as usual, and forced again: once it is alone the flag changes nothing.
    for (round, flags) in [forced, &[], forced].into_iter().enumerate() {
        let mut member = urls.start_with(0, folders[0].path(), flags);
        for n in 0..20 {
            let value = member.get(&format!("key{n}")).await.expect("an answer");
            assert_eq!(value, b"value", "key{n} in round {round}");
        }
        member.put("after", format!("round {round}").into()).await;
        let (now, listed) = list(&member).await;
        assert_eq!(now, cluster, "a forced cluster keeps its id");
        assert_eq!(listed.len(), 1, "{listed:?}");
        member.crash();
    }
}

#[tokio::test]
async fn nothing_is_forced_while_another_member_lives() {
    let (urls, folders) = (Urls::of(3), folders());
    let cluster = crashed(&urls, &folders).await;
    let other = urls.start(1, folders[1].path());
    // It listens, whether or not it can lead.
    other.channel().await;
    let mut refused = urls.start_with(0, folders[0].path(), &["--force-new-cluster"]);
    let (code, said) = refused.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--force-new-cluster is refused: member "), "{said}");
    assert!(said.contains(" m1 of this cluster answers at "), "{said}");

    // And nothing was changed: together they are what they were.
    let member = urls.start(0, folders[0].path());
    assert_eq!(member.get("key19").await.expect("a quorum answers"), b"value");
    let (now, listed) = list(&member).await;
    assert_eq!((now, listed.len()), (cluster, 3));
}

#[tokio::test]
async fn a_member_that_was_cut_off_and_returns_ends_the_one_that_was_forced() {
    let (urls, folders) = (Urls::of(3), folders());
    crashed(&urls, &folders).await;
    let mut forced = urls.start_with(0, folders[0].path(), &["--force-new-cluster"]);
    forced.put("after", "forced".into()).await;
    // At once, and after a start without the flag.
    for time in ["at once", "after a usual start"] {
        let mut old = urls.start(2, folders[2].path());
        let (code, said) = forced.fallen();
        assert_eq!(code, Some(1), "{time}: {said}");
        assert!(said.contains(" m2 "), "it is named, {time}: {said}");
        assert!(said.contains("--force-new-cluster has cut it off"), "{time}: {said}");
        assert!(old.process.try_wait().expect("it is ours").is_none(), "the old one goes on");
        old.crash();
        forced = urls.start(0, folders[0].path());
        assert_eq!(forced.get("after").await.expect("it serves"), b"forced", "{time}");
    }
}
