//! A member that is added under a peer URL where nobody is: accepted as etcd accepts it, counted in
//! the quorum from then on, and cured by the right URL or by its removal.

use std::time::Duration;

use etcd_api::etcdserverpb::cluster_client::ClusterClient;
use etcd_api::etcdserverpb::kv_client::KvClient;
use etcd_api::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberRemoveRequest, MemberUpdateRequest, PutRequest,
};
use tonic::Request;

use super::member::{Member, Urls, changed};

/// Long enough for a write where a quorum is there.
const WHILE: Duration = Duration::from_secs(3);

/// Whether a write comes to nothing.
async fn waits(member: &Member) -> bool {
    let mut kv = KvClient::new(member.channel().await);
    let mut put = Request::new(PutRequest { key: "k".into(), ..PutRequest::default() });
    put.set_timeout(WHILE);
    kv.put(put).await.is_err()
}

#[tokio::test]
async fn a_wrong_peer_url_raises_the_quorum_until_it_is_cured() {
    let urls = Urls::of(4);
    let folders = [(); 4].map(|()| tempfile::tempdir().expect("a directory"));
    let first = urls.first(3);
    let mut members: Vec<Member> = (0..3).map(|n| first.start(n, folders[n].path())).collect();
    members[0].put("k", "1".into()).await;
    let mut cluster = ClusterClient::new(members[0].channel().await);

    // Nobody listens there, which nobody can know.
    let request =
        MemberAddRequest { peer_urls: vec!["http://127.0.0.1:1".into()], is_learner: false };
    let added = changed(async || cluster.member_add(request.clone()).await).await;
    let id = added.member.expect("the member").id;
    assert_eq!(added.members.len(), 4);
    assert!(!waits(&members[0]).await, "three of four are a quorum");

    // Three of four: one more that is missing is one too many, where three members bear one.
    members[2].crash();
    assert!(waits(&members[0]).await, "two of four are none");
    members[2] = first.start(2, folders[2].path());
    members[0].put("k", "2".into()).await;

    // Cured by the right URL: the member that was meant starts and counts.
    let update = MemberUpdateRequest { id, peer_urls: vec![format!("http://{}", urls.peer(3))] };
    cluster.member_update(update).await.expect("it is updated");
    let fourth = urls.start_with(3, folders[3].path(), &["--initial-cluster-state", "existing"]);
    while fourth.get("k").await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    members[2].crash();
    members[0].put("k", "3".into()).await;
    members[2] = first.start(2, folders[2].path());
    members[0].put("k", "4".into()).await;

    // Cured by removal: two of three are a quorum again, whoever is missing.
    cluster.member_remove(MemberRemoveRequest { id }).await.expect("it is removed");
    drop(fourth);
    let request =
        MemberAddRequest { peer_urls: vec!["http://127.0.0.1:2".into()], is_learner: false };
    let added = changed(async || cluster.member_add(request.clone()).await).await;
    let id = added.member.expect("the member").id;
    cluster.member_remove(MemberRemoveRequest { id }).await.expect("it is removed");
    let list = cluster.member_list(MemberListRequest::default()).await.expect("a list");
    assert_eq!(list.into_inner().members.len(), 3);
    members[2].crash();
    members[0].put("k", "5".into()).await;
}
