//! What was shown to whom: every answer that tells of keys, with the time between question and
//! answer; and what was deleted on purpose.

use lab_protocol::{Call, Command, Event, KeyRange, Numbered, Outcome, ReadBack, TxnOp, TxnResult};

use crate::Finding;
use crate::history::{History, Operation};
use crate::lineage::Lineage;

/// The operations of a run, and its readings back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Views {
    pub(crate) history: History,
    lineage: Lineage,
    /// Each with the events that asked for it and that tell of it.
    read_backs: Vec<(u64, u64, ReadBack)>,
    read_back_asked: u64,
}

/// Keys that somebody was shown.
pub(crate) struct View<'a> {
    /// The events of the question and of the answer.
    pub(crate) asked: u64,
    pub(crate) told: u64,
    /// Which keys were asked for.
    pub(crate) keys: KeyRange,
    /// Those that were there, with their values.
    pub(crate) rows: Vec<(&'a str, &'a str)>,
    /// Who was shown them, in words.
    pub(crate) who: Shown<'a>,
}

/// Who was shown something.
#[derive(Clone, Copy)]
pub(crate) enum Shown<'a> {
    Operation(&'a Operation),
    ReadBack(&'a ReadBack),
}

impl Shown<'_> {
    pub(crate) fn words(self) -> String {
        match self {
            Self::Operation(operation) => operation.words(),
            Self::ReadBack(read) => format!("reading back {}", read.member),
        }
    }
}

impl View<'_> {
    pub(crate) fn evidence(&self) -> Vec<u64> {
        match self.who {
            Shown::Operation(operation) => operation.evidence(),
            Shown::ReadBack(_) => vec![self.told],
        }
    }

    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.rows.iter().find(|(shown, _)| *shown == key).map(|(_, value)| *value)
    }
}

impl Views {
    pub(crate) fn observe(&mut self, numbered: &Numbered) {
        self.history.observe(numbered);
        self.lineage.observe(numbered, &self.history);
        match &numbered.event {
            Event::RunStarted { .. } => self.read_backs.clear(),
            Event::Asked { command: Command::ReadBack, .. } => self.read_back_asked = numbered.seq,
            Event::ReadBack(read) if read.failed.is_empty() => {
                self.read_backs.push((self.read_back_asked, numbered.seq, read.as_ref().clone()));
            }
            _ => {}
        }
    }

    /// Unknown, of a run in which one cluster came after another: what was lost with the first is
    /// no fault of the second.
    pub(crate) fn of_several_clusters(&self) -> Option<Finding> {
        let why = "one cluster came after another in this run: what the first had is not owed";
        (!self.lineage.is_one()).then(|| Finding::unknown(why))
    }

    /// Everything that was shown of keys under a prefix.
    pub(crate) fn under(&self, prefix: &str) -> Vec<View<'_>> {
        let mut views = Vec::new();
        for operation in self.history.iter() {
            shown_to(operation, prefix, &mut views);
        }
        for (asked, told, read) in &self.read_backs {
            let rows = read.rows.iter().filter(|(key, ..)| key.starts_with(prefix));
            views.push(View {
                asked: *asked,
                told: *told,
                keys: KeyRange { key: prefix.to_owned(), end: Some(format!("{prefix}\u{10ffff}")) },
                rows: rows.map(|(key, value, _)| (key.as_str(), value.as_str())).collect(),
                who: Shown::ReadBack(read),
            });
        }
        views
    }

    /// What may have been deleted of keys under a prefix, and the events that asked for it.
    pub(crate) fn deleted_under(&self, prefix: &str) -> Vec<(KeyRange, u64)> {
        let mut deleted = Vec::new();
        for operation in self.history.iter().filter(|operation| operation.may_have_happened()) {
            let mut note = |keys: &KeyRange| {
                let whole = keys.end.is_some() && keys.contains(prefix);
                if whole || keys.key.starts_with(prefix) {
                    deleted.push((keys.clone(), operation.invoked.seq));
                }
            };
            match &operation.call {
                Call::Delete { key } => note(&KeyRange::one(key)),
                Call::Txn { then, otherwise, .. } => {
                    for op in then.iter().chain(otherwise) {
                        if let TxnOp::Delete { keys } = op {
                            note(keys);
                        }
                    }
                }
                Call::Put { .. }
                | Call::Get { .. }
                | Call::LeaseGrant { .. }
                | Call::LeaseTimeToLive { .. }
                | Call::LeaseKeepAlive { .. }
                | Call::LeaseRevoke { .. }
                | Call::Compact { .. } => {}
            }
        }
        deleted
    }
}

fn shown_to<'a>(operation: &'a Operation, prefix: &str, views: &mut Vec<View<'a>>) {
    let Some((returned, outcome)) = &operation.returned else { return };
    let (asked, told, who) = (operation.invoked.seq, returned.seq, Shown::Operation(operation));
    match (&operation.call, outcome) {
        (Call::Get { key, serializable: false }, Outcome::Ok(answer))
            if key.starts_with(prefix) =>
        {
            let rows = answer.value.iter().map(|(value, _)| (key.as_str(), value.as_str()));
            views.push(View { asked, told, keys: KeyRange::one(key), rows: rows.collect(), who });
        }
        (Call::Txn { then, otherwise, .. }, Outcome::Txn(answer)) => {
            let ops = if answer.succeeded { then } else { otherwise };
            for (op, result) in ops.iter().zip(&answer.results) {
                let (TxnOp::Range { keys }, TxnResult::Range(rows)) = (op, result) else {
                    continue;
                };
                if keys.key.starts_with(prefix) {
                    let rows = rows.iter().map(|row| (row.key.as_str(), row.value.as_str()));
                    views.push(View { asked, told, keys: keys.clone(), rows: rows.collect(), who });
                }
            }
        }
        _ => {}
    }
}
