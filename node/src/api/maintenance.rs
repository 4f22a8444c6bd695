//! An operator's requests, mostly to the one member asked.

use std::sync::atomic::Ordering;

use etcd_api::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest,
    MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
    alarm_request::AlarmAction, maintenance_server::Maintenance,
};
use node_protocol::{MemberId, Revision};
use tonic::{Request, Response, Status, async_trait};

use super::error::ClientError;
use super::face::{Answers, Face};
use crate::config::ETCD_VERSION;

#[async_trait]
impl Maintenance for Face {
    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        match request.into_inner().action() {
            // Nothing here raises an alarm, so there is none to list and none to clear. In etcd
            // both go through the log, and fail without a quorum.
            AlarmAction::Get | AlarmAction::Deactivate => {
                self.barrier().await?;
                let header = Some(self.header_now());
                Ok(Response::new(AlarmResponse { header, alarms: Vec::new() }))
            }
            AlarmAction::Activate => {
                Err(Status::unimplemented("raising alarms is not served by this version"))
            }
        }
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let glance = self.handle.glance();
        let leader = glance.leader();
        let size = i64::try_from(glance.state_bytes.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        Ok(Response::new(StatusResponse {
            header: Some(self.header_now()),
            version: ETCD_VERSION.to_owned(),
            db_size: size,
            leader: leader.map_or(0, |leader| leader.0),
            raft_index: glance.commit.load(Ordering::Acquire),
            raft_term: glance.term().0,
            raft_applied_index: glance.applied().0,
            errors,
            db_size_in_use: size,
            is_learner: glance.learner.load(Ordering::Relaxed),
            // Fields of etcd 3.6; we report 3.5.
            storage_version: String::new(),
            db_size_quota: 0,
            downgrade_info: None,
        }))
    }

    async fn defragment(
        &self,
        _request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        // The state file reuses freed pages by itself; there is nothing an operator need wait for.
        Ok(Response::new(DefragmentResponse { header: Some(self.header_now()) }))
    }

    async fn hash(&self, _request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let hashed = self.hash_rows(Revision(0)).await?;
        let header = Some(self.header_now());
        Ok(Response::new(HashResponse { header, hash: hashed.hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        let revision = Revision(request.into_inner().revision);
        let hashed = self.hash_rows(revision).await?;
        Ok(Response::new(HashKvResponse {
            header: Some(self.header_now()),
            hash: hashed.hash,
            compact_revision: hashed.compact_revision.0,
            hash_revision: hashed.hash_revision.0,
        }))
    }

    type SnapshotStream = Answers<SnapshotResponse>;

    async fn snapshot(
        &self,
        _request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Status::unimplemented(
            "snapshots for etcdctl are not served by this version; stop the member and copy its \
             data directory",
        ))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        let to = MemberId(request.into_inner().target_id);
        self.handle.move_leader(to).await.map_err(ClientError::from)?;
        Ok(Response::new(MoveLeaderResponse { header: Some(self.header_now()) }))
    }

    async fn downgrade(
        &self,
        _request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        Err(Status::unimplemented("there is no other version of this server to go down to"))
    }
}

impl Face {
    /// Hashes all rows, which may take a while: off the tasks that serve other requests.
    async fn hash_rows(&self, revision: Revision) -> Result<crate::kv::HashKv, ClientError> {
        tokio::task::block_in_place(|| self.read(|store| store.hash_kv(revision)))
    }
}
