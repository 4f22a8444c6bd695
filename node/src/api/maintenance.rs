//! An operator's requests, mostly to the one member asked.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest,
    StatusResponse, downgrade_request::DowngradeAction, maintenance_server::Maintenance,
};
use futures_util::{StreamExt, stream};
use node_protocol::{MemberId, Revision};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::error::ClientError;
use super::face::{Answers, Face};
use super::kv::expect_answer;
use crate::causes::with_causes;
use crate::config::ETCD_VERSION;
use crate::flush::FlushItem;
use crate::handle::Refusal;
use crate::image::{ImageError, Measured};
use crate::kv::{self, Op};

/// Pieces of a snapshot that may wait for whoever receives it.
const PIECES: usize = 4;

#[async_trait]
impl Maintenance for Face {
    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        // Even a list goes through the log, as in etcd: it fails without a quorum.
        let answer = self.propose(Op::Alarm(request.into_inner())).await?;
        let mut answer = expect_answer!(answer, Alarm);
        self.complete(&mut answer.header);
        Ok(Response::new(answer))
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let glance = self.handle.glance();
        let leader = glance.leader();
        let bytes =
            |size: &AtomicU64| i64::try_from(size.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        errors.extend(self.handle.store().alarms().map(|active| told(&active)));
        Ok(Response::new(StatusResponse {
            header: Some(self.header_now()),
            version: ETCD_VERSION.to_owned(),
            db_size: bytes(&glance.state_bytes),
            leader: leader.map_or(0, |leader| leader.0),
            raft_index: glance.commit.load(Ordering::Acquire),
            raft_term: glance.term().0,
            raft_applied_index: glance.applied().0,
            errors,
            db_size_in_use: bytes(&glance.state_bytes_in_use),
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
        self.sync_compaction().await?;
        let before = self.state.bytes_on_disk().unwrap_or(0);
        self.metrics.defragments.inc();
        let state = self.state.clone();
        let done = tokio::task::spawn_blocking(move || state.defragment()).await;
        self.metrics.defragments.dec();
        let glance = self.handle.glance();
        glance.measure(&self.state);
        match done {
            // etcd heads it not.
            Ok(Ok(())) => {
                let after = glance.state_bytes.load(Ordering::Relaxed);
                tracing::info!(before, after, "the state was defragmented");
                Ok(Response::new(DefragmentResponse { header: None }))
            }
            Ok(Err(error)) => Err(Status::unknown(with_causes(&error))),
            Err(panic) => Err(Status::internal(panic.to_string())),
        }
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
        self.sync_state().await?;
        let pinned = self.state.pin();
        let (pieces, received) = mpsc::channel(PIECES);
        let (measured, bytes) = oneshot::channel();
        let sending = tokio::task::spawn_blocking(move || {
            let image = Measured::new(pinned)?;
            // Whoever asked may be gone.
            measured.send(image.bytes()).ok();
            image.send(&pieces)
        });
        let Ok(bytes) = bytes.await else {
            return Err(match sending.await {
                Ok(Err(error)) => Status::data_loss(with_causes(&error)),
                other => Status::internal(format!("the snapshot ended early: {other:?}")),
            });
        };
        Ok(Response::new(told_pieces(received, bytes, sending)))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        let to = MemberId(request.into_inner().target_id);
        self.handle.move_leader(to).await.map_err(ClientError::from)?;
        // etcd heads this no more than the answer to a defragmentation.
        Ok(Response::new(MoveLeaderResponse { header: None }))
    }

    async fn downgrade(
        &self,
        request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        let DowngradeRequest { action, version } = request.into_inner();
        Err(match DowngradeAction::try_from(action) {
            Ok(DowngradeAction::Cancel) => {
                Status::failed_precondition("etcdserver: no inflight downgrade job")
            }
            Ok(_) if !is_version(&version) => {
                Status::invalid_argument("etcdserver: wrong downgrade target version format")
            }
            // There is no other version of this server to go down to.
            Ok(_) => Status::invalid_argument("etcdserver: invalid downgrade target version"),
            Err(_) => Status::unknown("etcdserver: unknown method"),
        })
    }
}

/// Whether a text is a version as etcd reads one: two numbers, or three with all that may follow.
fn is_version(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let count = numbers.split('.').filter(|part| is_number(part)).count();
    count == numbers.split('.').count() && (count == 3 || (count == 2 && numbers == text))
}

/// An alarm as etcd's status has it: Go's text of the message, the blank at its end included.
fn told(active: &AlarmMember) -> String {
    let AlarmMember { member_id, alarm } = active;
    match active.alarm() {
        AlarmType::None if *alarm != 0 => format!("memberID:{member_id} alarm:{alarm} "),
        AlarmType::None => format!("memberID:{member_id} "),
        kind => format!("memberID:{member_id} alarm:{} ", kind.as_str_name()),
    }
}

/// The pieces of a snapshot as etcd's messages; what is said to remain does not count the hash. An
/// error behind them tells that they are not all.
fn told_pieces(
    received: mpsc::Receiver<Bytes>,
    bytes: u64,
    sending: JoinHandle<Result<(), ImageError>>,
) -> Answers<SnapshotResponse> {
    let mut remaining = bytes;
    let pieces = ReceiverStream::new(received).map(move |blob| {
        remaining = remaining.saturating_sub(blob.len() as u64);
        // etcd 3.5 heads none of them.
        Ok(SnapshotResponse {
            header: None,
            remaining_bytes: remaining,
            blob,
            version: String::new(),
        })
    });
    let end = stream::once(sending).filter_map(|sent| async move {
        match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(Status::data_loss(with_causes(&error)))),
            Err(panic) => Some(Err(Status::internal(panic.to_string()))),
        }
    });
    pieces.chain(end).boxed()
}

impl Face {
    /// Returns once the state on disk holds all that was applied when this was called.
    async fn sync_state(&self) -> Result<(), ClientError> {
        let (done, synced) = oneshot::channel();
        let flush = self.flush.upgrade().ok_or(Refusal::Stopped)?;
        flush.send_async(FlushItem::Sync { done }).await.map_err(|_| Refusal::Stopped)?;
        drop(flush);
        Ok(synced.await.map_err(|_| Refusal::Stopped)?)
    }

    /// Returns once the rows that compactions made superfluous are gone from the state on disk: who
    /// defragments after a compaction wants their room, and who asks for a physical one its end.
    pub(super) async fn sync_compaction(&self) -> Result<(), ClientError> {
        loop {
            let measured = self.handle.glance().measured.notified();
            let compacting = self.handle.glance().compacting.load(Ordering::Acquire);
            self.sync_state().await?;
            if !compacting {
                return Ok(());
            }
            measured.await;
        }
    }

    /// Hashes all rows, which may take a while: off the tasks that serve other requests.
    async fn hash_rows(&self, revision: Revision) -> Result<crate::kv::HashKv, ClientError> {
        tokio::task::block_in_place(|| self.read(|store| store.hash_kv(revision)))
    }
}
