//! A member that lost its disk is not the same member any more.

use etcd_api::etcdserverpb::MemberListRequest;
use etcd_api::etcdserverpb::cluster_client::ClusterClient;

use super::member::{Member, Urls};

/// Who led before the loss knows how far the member was; whoever leads since then does not. So each
/// member is wiped in turn, the leader among them.
#[tokio::test]
async fn it_is_refused_under_its_old_identity_whoever_leads() {
    for wiped in 0..3 {
        let urls = Urls::of(3);
        let folders = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
        let mut members: Vec<Member> = (0..3).map(|n| urls.start(n, folders[n].path())).collect();
        for n in 0..6 {
            members[n % 3].put(&format!("key{n}"), "value".into()).await;
        }
        let mut asked = ClusterClient::new(members[wiped].channel().await);
        let list = asked.member_list(MemberListRequest { linearizable: true }).await;
        let list = list.expect("a list").into_inner().members;
        assert!(list.iter().all(|member| !member.client_urls.is_empty()), "all have told theirs");

        members[wiped].crash();
        let other = (wiped + 1) % 3;
        // Two of three: if it led, another does now.
        members[other].put("meanwhile", "value".into()).await;
        std::fs::remove_dir_all(folders[wiped].path().join("member")).expect("it is wiped");
        let mut again = urls.start(wiped, folders[wiped].path());
        let (code, said) = again.ended();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("has already been bootstrapped"), "{said}");
        assert_eq!(members[other].get("key0").await.expect("an answer"), b"value");
    }
}
