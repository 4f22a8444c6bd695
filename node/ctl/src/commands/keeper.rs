//! A lease that is renewed, three times in its lifetime.

use std::time::Duration;

use etcd_api::etcdserverpb as pb;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;

use crate::client::{Client, Patience, leases};

/// Between two tries to renew a lease whose member is gone.
const PAUSE: Duration = Duration::from_millis(500);

/// Renews one lease.
#[derive(Debug)]
pub(crate) struct Keeper<'a> {
    client: &'a Client,
    lease: i64,
    /// Its length, as last told.
    ttl: Duration,
    /// When it was last renewed.
    renewed: Instant,
}

impl<'a> Keeper<'a> {
    pub(crate) fn new(client: &'a Client, lease: i64) -> Self {
        Self { client, lease, ttl: Duration::ZERO, renewed: Instant::now() }
    }

    /// Renews the lease now; nothing comes back if there is no such lease.
    pub(crate) async fn renew(&mut self) -> Result<Option<pb::LeaseKeepAliveResponse>, Status> {
        let wire = self.client.wire(Patience::Command).await?;
        let asked = Instant::now();
        let question = tokio_stream::once(pb::LeaseKeepAliveRequest { id: self.lease });
        let mut answers = leases(wire).lease_keep_alive(question).await?.into_inner();
        let answer = answers.message().await?;
        let answer = answer.ok_or_else(|| Status::unavailable("the stream ended"))?;
        let Ok(ttl @ 1..) = u64::try_from(answer.ttl) else { return Ok(None) };
        self.ttl = Duration::from_secs(ttl);
        self.renewed = asked;
        Ok(Some(answer))
    }

    /// Waits until it is time and renews; nothing comes back once the lease is gone.
    ///
    /// While no member answers it goes on, for as long as the lease can still be there.
    pub(crate) async fn next(&mut self) -> Option<pb::LeaseKeepAliveResponse> {
        let gone = self.renewed + self.ttl;
        sleep_until(self.renewed + self.ttl / 3).await;
        loop {
            match timeout_at(gone, self.renew()).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(_)) => {
                    self.client.hang_up().await;
                    sleep_until((Instant::now() + PAUSE).min(gone)).await;
                }
                Err(_) => return None,
            }
        }
    }
}
