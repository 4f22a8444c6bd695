//! What all services share: the handle, the limits, and how answers are headed.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use etcd_api::etcdserverpb::ResponseHeader;
use futures_util::stream::BoxStream;
use node_protocol::MemberId;
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::{Status, metadata::MetadataMap};

use super::error::ClientError;
use crate::clock::{Clock, sleep};
use crate::config::Config;
use crate::flush::FlushItem;
use crate::handle::{Handle, Refusal};
use crate::kv::{Op, ReadError, Response, RowsError, Store};
use crate::metrics::Metrics;
use crate::storage::State;
use crate::watch::WatchHub;

/// A stream of answers.
pub(super) type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// Looks, one election timeout apart, at which a stream that requires a leader gives up (etcd's).
const LOOKS_WITHOUT_LEADER: u32 = 3;

/// What a client may ask for at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest request.
    pub max_request_bytes: usize,
    /// Most operations in one branch of a transaction.
    pub max_txn_ops: usize,
    /// Shortest time to live of a lease; a shorter one is raised to it.
    pub min_lease_ttl_seconds: i64,
    /// Size of the state from which on writes are refused.
    pub quota_bytes: u64,
    /// The election timeout.
    pub election_timeout: Duration,
    /// Time between two words to a watch that asked to be told of the progress.
    pub watch_progress_interval: Duration,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            max_request_bytes: config.max_request_bytes,
            max_txn_ops: config.max_txn_ops,
            min_lease_ttl_seconds: config.min_lease_ttl_seconds(),
            quota_bytes: config.quota_backend_bytes,
            election_timeout: config.election_timeout,
            watch_progress_interval: config.watch_progress_interval,
        }
    }
}

/// Chooses ids for leases: positive, and different on every member and at every start.
#[derive(Debug)]
pub struct LeaseIds {
    seed: u64,
    counter: AtomicU64,
}

impl LeaseIds {
    /// Ids of one start of one member. `entropy` is anything that differs between two clusters
    /// with the same ids, such as the wall clock's milliseconds.
    pub fn new(member: MemberId, boot: u64, entropy: u64) -> Self {
        let seed = stirred(member.0 ^ stirred(boot ^ stirred(entropy)));
        Self { seed, counter: AtomicU64::new(0) }
    }

    /// The next id, from 1 to 2^63 - 1.
    pub fn next(&self) -> i64 {
        loop {
            let count = self.counter.fetch_add(1, Ordering::Relaxed);
            let id = stirred(self.seed.wrapping_add(count)) >> 1;
            if let Ok(id @ 1..) = i64::try_from(id) {
                return id;
            }
        }
    }
}

/// Spreads a number over all 64 bits, one to one (SplitMix64's finisher).
fn stirred(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What every service holds, shared by all connections.
pub struct Face {
    /// The replica.
    pub handle: Handle,
    /// Whom to wake when keys change.
    pub watches: Arc<WatchHub>,
    /// The state on disk.
    pub state: Arc<State>,
    /// To the flush thread, which ends with those that feed it and must not wait for this one.
    pub flush: flume::WeakSender<FlushItem>,
    /// The member's numbers.
    pub metrics: Arc<Metrics>,
    /// The wall clock, for the ids of members added.
    pub clock: Arc<dyn Clock>,
    /// What a client may ask for.
    pub limits: Limits,
    /// The cluster's token, for the ids of members added.
    pub token: String,
    /// Ids for leases whose client named none.
    pub lease_ids: LeaseIds,
    /// Cancelled when the member stops; streams end then.
    pub stop: CancellationToken,
    /// Called when this member cannot read its own state: the node has to stop.
    pub broken: Arc<dyn Fn(&RowsError) + Send + Sync>,
}

impl fmt::Debug for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.handle.glance().member;
        f.debug_struct("Face").field("member", &member).field("limits", &self.limits).finish()
    }
}

impl Face {
    /// A whole header.
    pub(super) fn header(&self, revision: i64) -> ResponseHeader {
        let glance = self.handle.glance();
        ResponseHeader {
            cluster_id: glance.cluster.0,
            member_id: glance.member.0,
            revision,
            raft_term: glance.term().0,
        }
    }

    /// Completes a header in which the state machine wrote only the revision.
    pub(super) fn complete(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.map_or(0, |header| header.revision);
        *header = Some(self.header(revision));
    }

    /// A whole header at the store's present revision.
    pub(super) fn header_now(&self) -> ResponseHeader {
        let revision = self.handle.store().revision();
        self.header(revision.0)
    }

    /// Refuses what is longer than `--max-request-bytes`.
    pub(super) fn check_size(&self, request: &impl Message) -> Result<(), ClientError> {
        if request.encoded_len() > self.limits.max_request_bytes {
            return Err(ClientError::TooLarge);
        }
        Ok(())
    }

    /// Replicates a checked command.
    pub(super) async fn propose(&self, op: Op) -> Result<Response, ClientError> {
        self.check_quota(&op).await?;
        self.handle.propose(op).await.map_err(|refusal| {
            // A refusal by the state machine is an answer; all else failed on the way.
            if !matches!(refusal, Refusal::Kv(_)) {
                self.metrics.proposals_failed.inc();
            }
            refusal.into()
        })
    }

    /// Waits until the store is linearizable.
    pub(super) async fn barrier(&self) -> Result<(), ClientError> {
        self.handle.read_barrier().await.map_err(|refusal| {
            self.metrics.read_indexes_failed.inc();
            refusal.into()
        })
    }

    /// Reads the store where it stands.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&Store) -> Result<T, ReadError>,
    ) -> Result<T, ClientError> {
        let result = look(&self.handle.store());
        result.map_err(|error| match error {
            ReadError::Refused(refused) => refused.into(),
            ReadError::Rows(rows) => {
                (self.broken)(&rows);
                ClientError::Broken
            }
        })
    }

    /// Whether the client would rather be told than wait when nobody leads.
    pub(super) fn requires_leader(metadata: &MetadataMap) -> bool {
        metadata.get("hasleader").is_some_and(|value| value == "true")
    }

    /// Returns once nobody has led for three election timeouts, looked at as etcd does.
    ///
    /// Cancel safe.
    pub(super) async fn leader_lost(&self) {
        let mut without = 0;
        // The first look is at once.
        let mut pause = Duration::ZERO;
        while without < LOOKS_WITHOUT_LEADER {
            sleep(&*self.handle.clock, pause).await;
            pause = self.limits.election_timeout;
            without = if self.handle.glance().leader().is_none() { without + 1 } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lease_ids_are_positive_and_differ_between_members_and_starts() {
        let mut seen = BTreeSet::new();
        for (member, boot, entropy) in [(1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 7)] {
            let ids = LeaseIds::new(MemberId(member), boot, entropy);
            for _ in 0..1000 {
                let id = ids.next();
                assert!(id > 0);
                assert!(seen.insert(id), "{id} came twice");
            }
        }
    }
}
