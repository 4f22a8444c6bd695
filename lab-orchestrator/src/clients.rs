//! The seat of the lab's own clients: what the lab asks of them, and how they report.
//!
//! Whoever sits here makes real etcd calls. It reports by [`ClientSeat::events`], and the lab
//! numbers what it is told: `Invoked` before a call begins, `Returned` after it ended, so that the
//! order of the journal never contradicts the order of the calls.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use lab_protocol::{Call, Event, MemberNo, MemberPlan, MixSpec, OpId, WorkloadSpec};
use tokio::sync::{mpsc, oneshot};

/// Capacity of [`ClientSeat::events`]. When full a client waits: an operation is never left out of
/// the history.
pub const CLIENT_EVENTS: usize = 4096;

/// What a client side is given when it starts.
#[derive(Clone, Debug)]
pub struct ClientSeat {
    /// The members and where clients reach them, ascending.
    pub members: Vec<MemberPlan>,
    /// Every random choice comes from it.
    pub seed: u64,
    /// Where it reports `Invoked`, `Returned`, `Reconnected`, `ReadBack` and what watches are told,
    /// in the order of happening; other events are refused.
    pub events: mpsc::Sender<Event>,
}

/// The lab's own clients, as the lab's loop drives them. No call blocks.
pub trait Clients: Send {
    /// Replaces the running workload; an idle spec ends it.
    fn set_workload(&mut self, spec: WorkloadSpec);

    /// Replaces the running mix of errands, whose clients talk to these members at most; an idle one
    /// ends it. Errands that have begun go on to their end.
    fn set_mix(&mut self, mix: MixSpec, members: BTreeSet<MemberNo>);

    /// Has so many clients watch what the workload writes, instead of those that do so now.
    fn set_watches(&mut self, count: u32);

    /// From now on calls may go to this member too. A workload turns to it when it is replaced.
    fn seat(&mut self, plan: &MemberPlan);

    /// Starts one write through one member; the number under which it will be reported.
    fn put(&mut self, member: MemberNo, key: String, value: String) -> OpId;

    /// Starts one read through one member; the number under which it will be reported.
    fn get(&mut self, member: MemberNo, key: String, serializable: bool) -> OpId;

    /// Starts any call through one member, for a client that waits no longer than `deadline`
    /// (`Command::Invoke`); the number under which it will be reported.
    fn invoke(&mut self, member: MemberNo, call: Call, deadline: Duration) -> OpId;

    /// Reads the whole key space and the state's hash back at these members
    /// (`Command::ReadBack`): one `ReadBack` is reported for each, then the receiver resolves.
    fn read_back(&mut self, members: &[MemberNo]) -> oneshot::Receiver<()>;

    /// Ends everything. Operations still open are reported as unknown before it resolves.
    fn shutdown(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Makes the clients of a run. Called inside the lab's runtime, once for each cluster (again
/// after *start over*).
pub type MakeClients = Box<dyn Fn(ClientSeat) -> Box<dyn Clients> + Send + Sync>;
