//! Members: listing and changing them.

use etcd_api::etcdserverpb::{
    Member as WireMember, MemberAddRequest, MemberAddResponse, MemberListRequest,
    MemberListResponse, MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest,
    MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse, cluster_server::Cluster,
};
use node_protocol::MemberId;
use tonic::{Request, Response, Status, async_trait};

use super::error::{ClientError, status};
use super::face::Face;
use crate::cluster::{ChangeError, Member, MemberChange, member_id};
use crate::handle::Refusal;
use node_identity::urls::Url;

#[async_trait]
impl Cluster for Face {
    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        let MemberAddRequest { peer_urls, is_learner } = request.into_inner();
        let peer_urls = checked_urls(peer_urls)?;
        let added_at = self.clock.wall_millis() / 1000;
        let member = Member {
            id: member_id(&peer_urls, &self.token, Some(added_at)),
            name: String::new(),
            peer_urls,
            client_urls: Vec::new(),
            learner: is_learner,
        };
        let members = self.change(MemberChange::Add(member.clone())).await?;
        Ok(Response::new(MemberAddResponse {
            header: Some(self.header(0)),
            member: Some(WireMember::from(&member)),
            members,
        }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let id = MemberId(request.into_inner().id);
        let members = self.change(MemberChange::Remove(id)).await?;
        Ok(Response::new(MemberRemoveResponse { header: Some(self.header(0)), members }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let MemberUpdateRequest { id, peer_urls } = request.into_inner();
        let urls = checked_urls(peer_urls)?;
        let change = MemberChange::UpdatePeerUrls { id: MemberId(id), urls };
        let members = self.change(change).await?;
        Ok(Response::new(MemberUpdateResponse { header: Some(self.header(0)), members }))
    }

    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.barrier().await?;
        }
        let members = self.handle.members().iter().map(WireMember::from).collect();
        Ok(Response::new(MemberListResponse { header: Some(self.header(0)), members }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let id = MemberId(request.into_inner().id);
        let members = self.change(MemberChange::Promote(id)).await?;
        Ok(Response::new(MemberPromoteResponse { header: Some(self.header(0)), members }))
    }
}

impl Face {
    async fn change(&self, change: MemberChange) -> Result<Vec<WireMember>, ClientError> {
        let members = self.handle.change_members(&change).await?;
        Ok(members.iter().map(WireMember::from).collect())
    }
}

/// The URLs, sorted, if there are any and all of them are well formed.
fn checked_urls(mut urls: Vec<String>) -> Result<Vec<String>, Status> {
    if urls.is_empty() || urls.iter().any(|url| Url::parse(url).is_err()) {
        return Err(status(Refusal::Cluster(ChangeError::BadUrls)));
    }
    urls.sort_unstable();
    Ok(urls)
}
