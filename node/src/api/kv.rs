//! Keys: reads and writes of them.

use etcd_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse, kv_server::Kv,
};
use tonic::{Request, Response, Status, async_trait};

use super::error::ClientError;
use super::face::Face;
use crate::kv::{self, Op};

/// The state machine answers an operation by its own kind of answer; anything else is a fault in
/// the program, not in the request.
macro_rules! expect_answer {
    ($response:expr, $kind:ident) => {
        match $response {
            kv::Response::$kind(answer) => answer,
            other => unreachable!("{} is answered by {other:?}", stringify!($kind)),
        }
    };
}
pub(super) use expect_answer;

#[async_trait]
impl Kv for Face {
    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let request = request.into_inner();
        kv::check_range(&request).map_err(ClientError::from)?;
        if !request.serializable || !self.handle.serves_alone() {
            self.refuse_learner()?;
            self.barrier().await?;
        }
        let mut answer = self.read(|store| store.range(&request))?;
        self.complete(&mut answer.header);
        Ok(Response::new(answer))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let request = request.into_inner();
        kv::check_put(&request).map_err(ClientError::from)?;
        self.check_size(&request)?;
        let mut answer = expect_answer!(self.propose(Op::Put(request)).await?, Put);
        self.complete(&mut answer.header);
        Ok(Response::new(answer))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let request = request.into_inner();
        kv::check_delete_range(&request).map_err(ClientError::from)?;
        self.check_size(&request)?;
        let answer = self.propose(Op::DeleteRange(request)).await?;
        let mut answer = expect_answer!(answer, DeleteRange);
        self.complete(&mut answer.header);
        Ok(Response::new(answer))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let request = request.into_inner();
        kv::check_txn(&request, self.limits.max_txn_ops).map_err(ClientError::from)?;
        let mut answer = if kv::txn_writes(&request) {
            self.check_size(&request)?;
            expect_answer!(self.propose(Op::Txn(request)).await?, Txn)
        } else {
            if !kv::txn_is_serializable(&request) {
                self.barrier().await?;
            }
            self.read(|store| store.read_txn(&request))?
        };
        self.complete(&mut answer.header);
        Ok(Response::new(answer))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let request = request.into_inner();
        let mut answer = expect_answer!(self.propose(Op::Compact(request)).await?, Compact);
        if request.physical {
            self.sync_compaction().await?;
        }
        self.complete(&mut answer.header);
        Ok(Response::new(answer))
    }
}

impl Face {
    /// A learner may lag without anybody noticing, so it answers only reads that may be stale.
    fn refuse_learner(&self) -> Result<(), ClientError> {
        if self.handle.glance().learner.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(ClientError::Learner);
        }
        Ok(())
    }
}
