//! The operations of a run: a projection of its journal.

use std::collections::BTreeMap;

use lab_protocol::{Answer, Call, ClientNo, Event, MemberNo, Numbered, OpId, Outcome};

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) op: OpId,
    pub(crate) client: ClientNo,
    /// The member its client was connected to when it began.
    pub(crate) member: MemberNo,
    pub(crate) call: Call,
    pub(crate) invoked: Moment,
    /// When and how it ended; `None` while it is open.
    pub(crate) returned: Option<(Moment, Outcome)>,
}

/// A place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) seq: u64,
    pub(crate) at_micros: u64,
}

impl Moment {
    pub(crate) fn of(numbered: &Numbered) -> Self {
        Self { seq: numbered.seq, at_micros: numbered.at_micros }
    }
}

impl Operation {
    /// The answer and when it came, if the operation is known to have happened.
    pub(crate) fn acknowledged(&self) -> Option<(Moment, &Answer)> {
        match &self.returned {
            Some((moment, Outcome::Ok(answer))) => Some((*moment, answer)),
            Some((_, Outcome::Txn(_) | Outcome::Fail { .. } | Outcome::Info { .. })) | None => None,
        }
    }

    /// Whether it can have had an effect.
    pub(crate) fn may_have_happened(&self) -> bool {
        !matches!(self.returned, Some((_, Outcome::Fail { .. })))
    }

    /// Events that show it.
    pub(crate) fn evidence(&self) -> Vec<u64> {
        let returned = self.returned.as_ref().map(|(moment, _)| moment.seq);
        std::iter::once(self.invoked.seq).chain(returned).collect()
    }

    /// Itself in words: `operation 17, put w/0003 through m2`.
    pub(crate) fn words(&self) -> String {
        let what = match &self.call {
            Call::Put { key, .. } => format!("put {key}"),
            Call::Get { key, serializable: false } => format!("read of {key}"),
            Call::Get { key, serializable: true } => format!("serializable read of {key}"),
            Call::Delete { key } => format!("delete {key}"),
            Call::LeaseGrant { ttl_seconds } => format!("grant of a lease of {ttl_seconds} s"),
            Call::LeaseTimeToLive { lease } => format!("time to live of lease {lease:x}"),
            Call::Txn { .. } => "transaction".into(),
            Call::Compact { revision } => format!("compaction at {revision}"),
        };
        format!("operation {} ({what} through {})", self.op.0, self.member)
    }

    /// How it ended, in words.
    pub(crate) fn end(&self) -> String {
        match &self.returned {
            None => "is still open".into(),
            Some((_, Outcome::Ok(_) | Outcome::Txn(_))) => "was acknowledged".into(),
            Some((_, Outcome::Fail { error })) => format!("failed: {error}"),
            Some((_, Outcome::Info { error })) => format!("ended unknown: {error}"),
        }
    }
}

/// The operations of the present cluster, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    operations: BTreeMap<OpId, Operation>,
}

impl History {
    pub(crate) fn observe(&mut self, numbered: &Numbered) {
        let moment = Moment::of(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => self.operations.clear(),
            Event::Invoked { op, client, member, call } => {
                let operation = Operation {
                    op: *op,
                    client: *client,
                    member: *member,
                    call: call.clone(),
                    invoked: moment,
                    returned: None,
                };
                self.operations.insert(*op, operation);
            }
            Event::Returned { op, outcome } => {
                if let Some(operation) = self.operations.get_mut(op) {
                    operation.returned = Some((moment, outcome.clone()));
                }
            }
            _ => {}
        }
    }

    /// In the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values()
    }

    pub(crate) fn get(&self, op: OpId) -> Option<&Operation> {
        self.operations.get(&op)
    }
}
