//! Leases: granted and revoked through the log, renewed and timed by the leader alone.

use std::sync::Arc;

use etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_server::Lease,
};
use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::error::{ClientError, status};
use super::face::{Answers, Face};
use super::kv::expect_answer;
use crate::handle::{LeaseAnswer, LeaseAsk, Refusal};
use crate::kv::{self, KvError, Op};

/// Ids tried for one grant before giving up; one is enough but for a chance of 1 in 2^63.
const ID_TRIES: usize = 3;

/// The services need the face to outlive the call that opens a stream.
#[derive(Clone, Debug)]
pub(super) struct Leases(pub(super) Arc<Face>);

#[async_trait]
impl Lease for Leases {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let face = &self.0;
        let LeaseGrantRequest { ttl, id } = request.into_inner();
        kv::check_lease_ttl(ttl).map_err(ClientError::from)?;
        let ttl_seconds = ttl.max(face.limits.min_lease_ttl_seconds);
        let mut tries = ID_TRIES;
        let answer = loop {
            let chosen = if id == 0 { face.lease_ids.next() } else { id };
            tries -= 1;
            match face.propose(Op::LeaseGrant { id: chosen, ttl_seconds }).await {
                Err(ClientError::Refused(Refusal::Kv(KvError::LeaseExists)))
                    if id == 0 && tries > 0 => {}
                answer => break answer?,
            }
        };
        let mut answer = expect_answer!(answer, LeaseGrant);
        face.complete(&mut answer.header);
        Ok(Response::new(answer))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let face = &self.0;
        let LeaseRevokeRequest { id } = request.into_inner();
        let answer = face.propose(Op::LeaseRevoke { id }).await?;
        let mut answer = expect_answer!(answer, LeaseRevoke);
        face.complete(&mut answer.header);
        Ok(Response::new(answer))
    }

    type LeaseKeepAliveStream = Answers<LeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let face = self.0.clone();
        let requires_leader = Face::requires_leader(request.metadata());
        let ended = {
            let face = face.clone();
            async move {
                tokio::select! {
                    () = face.stop.cancelled() => status(Refusal::Stopped),
                    () = face.leader_lost(), if requires_leader => status(Refusal::NoLeader),
                }
            }
        };
        // One answer after the other, in the order of the requests; an error ends the stream.
        let answers = stream::unfold(Some((request.into_inner(), face)), |open| async move {
            let (mut requests, face) = open?;
            let answer = match requests.next().await? {
                Ok(LeaseKeepAliveRequest { id }) => face.keep_alive(id).await,
                Err(status) => Err(status),
            };
            let open = answer.is_ok().then_some((requests, face));
            Some((answer, open))
        });
        Ok(Response::new(until(answers.boxed(), ended)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let face = &self.0;
        let LeaseTimeToLiveRequest { id, keys: wants_keys } = request.into_inner();
        let asked = face.handle.ask_leader(LeaseAsk::TimeToLive { lease: id }).await;
        let (ttl, granted_ttl) = match asked.map_err(ClientError::from)? {
            LeaseAnswer::Known { ttl_seconds, granted_seconds } => (ttl_seconds, granted_seconds),
            LeaseAnswer::Unknown => (-1, 0),
        };
        let mut keys = Vec::new();
        if wants_keys && ttl >= 0 {
            // The keys are part of the replicated state: whoever answers must be up to date.
            face.barrier().await?;
            if let Some(lease) = face.handle.store().lease(id) {
                keys.extend(lease.keys.iter().cloned());
            }
        }
        let header = Some(face.header_now());
        Ok(Response::new(LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys }))
    }

    async fn lease_leases(
        &self,
        _request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let face = &self.0;
        let leases = face.handle.store().leases().keys().map(|&id| LeaseStatus { id }).collect();
        let header = Some(face.header_now());
        Ok(Response::new(LeaseLeasesResponse { header, leases }))
    }
}

impl Face {
    async fn keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        let asked = self.handle.ask_leader(LeaseAsk::KeepAlive { lease: id }).await;
        let ttl = match asked.map_err(ClientError::from)? {
            LeaseAnswer::Known { ttl_seconds, .. } => ttl_seconds,
            LeaseAnswer::Unknown => 0,
        };
        Ok(LeaseKeepAliveResponse { header: Some(self.header_now()), id, ttl })
    }
}

/// The stream, ended by an error as soon as `ended` says which.
pub(super) fn until<T: Send + 'static>(
    answers: Answers<T>,
    ended: impl Future<Output = Status> + Send + 'static,
) -> Answers<T> {
    stream::unfold(Some((answers, Box::pin(ended))), |open| async move {
        let (mut answers, mut ended) = open?;
        tokio::select! {
            answer = answers.next() => Some((answer?, Some((answers, ended)))),
            status = &mut ended => Some((Err(status), None)),
        }
    })
    .boxed()
}
