//! How one operation is made and reported: `Invoked`, the call, `Returned`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lab_protocol::node_protocol::ClusterId;
use lab_protocol::{Call, Event, MemberNo, OpId, Outcome};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Client;

/// What everybody who asks shares. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) events: mpsc::Sender<Event>,
    /// Operations of the run so far.
    pub(super) operations: Arc<AtomicU64>,
    /// The lab ends.
    pub(super) ending: CancellationToken,
    /// The first cluster that answered.
    pub(super) first_cluster: Arc<OnceLock<ClusterId>>,
}

impl Asking {
    /// The number of the next operation.
    pub(super) fn next_op(&self) -> OpId {
        OpId(self.operations.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Makes one call and reports it; `None` if nobody listens any more.
    ///
    /// It may be dropped only when the lab has ended: an operation is never left open else.
    pub(super) async fn ask(
        &self,
        client: &Client,
        (op, member): (OpId, MemberNo),
        call: &Call,
        deadline: Duration,
    ) -> Option<Outcome> {
        let deadline = Instant::now() + deadline;
        let invoked = Event::Invoked { op, client: client.no(), member, call: call.clone() };
        self.events.send(invoked).await.ok()?;
        let performed = client.perform(call, deadline);
        let (outcome, answered_by) = match self.ending.run_until_cancelled(performed).await {
            Some(performed) => performed,
            None if call.is_write() => (Outcome::Info { error: "the lab ended".into() }, None),
            None => (Outcome::Fail { error: "the lab ended".into() }, None),
        };
        if let Some(cluster) = answered_by
            && (self.first_cluster.set(cluster).is_ok()
                || self.first_cluster.get() != Some(&cluster))
        {
            self.events.send(Event::AnsweredBy { op, cluster }).await.ok();
        }
        // The lab that would listen is ending when this fails.
        self.events.send(Event::Returned { op, outcome: outcome.clone() }).await.ok();
        Some(outcome)
    }
}
