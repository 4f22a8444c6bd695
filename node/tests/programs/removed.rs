//! A member that was removed: it ends, and whenever it is started again it ends again.

use etcd_api::etcdserverpb::cluster_client::ClusterClient;
use etcd_api::etcdserverpb::{MemberListRequest, MemberRemoveRequest};

use super::member::{Member, Urls, changed};

/// etcd-io/etcd#13196, etcd-io/website#1095: members that were removed came back as if nothing had
/// happened.
#[tokio::test]
async fn a_removed_member_that_returns_ends_and_says_why() {
    let urls = Urls::of(3);
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let mut members: Vec<Member> = (0..3).map(|n| urls.start(n, folders[n].path())).collect();
    members[0].put("key", "before".into()).await;
    let mut leader = 0;
    while !members[leader].leads().await {
        leader = (leader + 1) % 3;
    }
    // The leader hands over first; then one of two goes, and the other is left alone.
    let [other, stays] = [(leader + 1) % 3, (leader + 2) % 3];
    for removed in [leader, other] {
        let mut asked = ClusterClient::new(members[stays].channel().await);
        let list = asked.member_list(MemberListRequest::default()).await.expect("a list");
        let name = format!("m{removed}");
        let member = list.into_inner().members.into_iter().find(|member| member.name == name);
        let id = member.expect("it is in the list").id;
        changed(async || asked.member_remove(MemberRemoveRequest { id }).await).await;
        for time in ["at its removal", "when it returns", "when it returns again"] {
            let (code, said) = members[removed].fallen();
            assert_eq!(code, Some(1), "{time}: {said}");
            assert!(said.contains("has been permanently removed"), "{time}: {said}");
            assert!(said.contains("add it as a new member"), "{time}: {said}");
            members[removed] = urls.start(removed, folders[removed].path());
        }
        members[removed].process.kill().expect("it runs or has run");
        members[stays].put("key", "after".into()).await;
    }
    assert_eq!(members[stays].get("key").await.expect("an answer"), b"after");
}
