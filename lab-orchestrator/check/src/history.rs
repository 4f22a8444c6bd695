//! The operations of a run: a projection of its journal.

use std::collections::BTreeMap;

use lab_protocol::{Answer, Call, ClientNo, Event, MemberNo, Numbered, OpId, Outcome, TxnAnswer};

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
    /// Whether it is known to have happened.
    pub(crate) fn happened(&self) -> bool {
        self.returned.as_ref().is_some_and(|(_, outcome)| outcome.is_ok())
    }

    /// What a transaction that happened gave back.
    pub(crate) fn transacted(&self) -> Option<&TxnAnswer> {
        match &self.returned {
            Some((_, Outcome::Txn(answer))) => Some(answer),
            Some((_, Outcome::Ok(_) | Outcome::Fail { .. } | Outcome::Info { .. })) | None => None,
        }
    }

    /// The revision in the answer, if the operation is known to have happened.
    pub(crate) fn revision(&self) -> Option<i64> {
        match &self.returned {
            Some((_, Outcome::Ok(answer))) => Some(answer.revision),
            Some((_, Outcome::Txn(answer))) => Some(answer.revision),
            Some((_, Outcome::Fail { .. } | Outcome::Info { .. })) | None => None,
        }
    }

    /// The answer of a call that is no transaction, and when it came, if it happened.
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
            Call::LeaseKeepAlive { lease } => format!("keep-alive of lease {lease:x}"),
            Call::LeaseRevoke { lease } => format!("revoke of lease {lease:x}"),
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

/// The operations of the present cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    operations: Vec<Operation>,
    /// The places of those that are not where their number says: the lab counts without gaps, so
    /// there are few or none.
    strays: BTreeMap<OpId, usize>,
}

impl History {
    pub(crate) fn observe(&mut self, numbered: &Numbered) {
        let moment = Moment::of(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => *self = Self::default(),
            Event::Invoked { op, client, member, call } => {
                let operation = Operation {
                    op: *op,
                    client: *client,
                    member: *member,
                    call: call.clone(),
                    invoked: moment,
                    returned: None,
                };
                let place = self.operations.len();
                self.operations.push(operation);
                if self.expected(*op) != Some(place) {
                    self.strays.insert(*op, place);
                }
            }
            Event::Returned { op, outcome } => {
                if let Some(place) = self.place(*op) {
                    self.operations[place].returned = Some((moment, outcome.clone()));
                }
            }
            _ => {}
        }
    }

    /// A history of operations that are in the order in which they were asked.
    pub(crate) fn of(operations: Vec<Operation>) -> Self {
        let mut history = Self { operations, strays: BTreeMap::new() };
        for place in 0..history.operations.len() {
            let op = history.operations[place].op;
            if history.expected(op) != Some(place) {
                history.strays.insert(op, place);
            }
        }
        history
    }

    /// In the order in which they were asked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter()
    }

    /// In the order in which they were asked.
    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub(crate) fn get(&self, op: OpId) -> Option<&Operation> {
        self.place(op).map(|place| &self.operations[place])
    }

    /// Where it stands in the order in which they were asked.
    pub(crate) fn place(&self, op: OpId) -> Option<usize> {
        let here = |place: &usize| self.operations.get(*place).is_some_and(|at| at.op == op);
        self.expected(op).filter(here).or_else(|| self.strays.get(&op).copied())
    }

    /// Where it stands if all numbers from the first on were given in order.
    fn expected(&self, op: OpId) -> Option<usize> {
        let first = self.operations.first()?.op;
        op.0.checked_sub(first.0).and_then(|place| usize::try_from(place).ok())
    }
}
