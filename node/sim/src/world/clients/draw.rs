//! What a client asks next: drawn from the seed and from what clients were told.

use lab_protocol::{
    Call, Compare, CompareResult, CompareTarget, KeyRange, OpId, Outcome, Row, TxnOp, TxnResult,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Keys that clients share: few, so that they meet.
const KEYS: usize = 6;

/// Leases that are asked about: those before have run out.
const NEWEST_LEASES: usize = 3;

/// Of a thousand calls those from here on are of leases.
const LEASE_CALLS: u32 = 890;

/// What clients were told so far, all of them together. They ask with it in mind, so that a
/// compare may hold, a lease may live and a compaction may be possible.
pub(super) struct Told {
    /// Half of what they ask is of leases.
    minds_leases: bool,
    /// The highest revision.
    pub(super) revision: i64,
    /// Leases that were granted, oldest first.
    leases: Vec<i64>,
    /// Of each key, the last row that somebody was shown; what was not shown of it is 0.
    rows: [Row; KEYS],
}

impl Told {
    /// Nothing yet; in one lifetime of four the clients have their minds on leases.
    pub(super) fn new(random: &mut ChaCha8Rng) -> Self {
        let minds_leases = random.random_range(0..4) == 0;
        Self { minds_leases, revision: 0, leases: Vec::new(), rows: Default::default() }
    }

    /// Takes in what came back.
    pub(super) fn hear(&mut self, call: &Call, outcome: &Outcome) {
        match (call, outcome) {
            (Call::LeaseGrant { .. }, Outcome::Ok(answer)) => self.leases.push(answer.number),
            (Call::Get { key, .. }, Outcome::Ok(answer)) => {
                if let Some((value, mod_revision)) = &answer.value {
                    let (value, mod_revision) = (value.clone(), *mod_revision);
                    let seen = Row { key: key.clone(), value, mod_revision, ..Row::default() };
                    self.see(&seen);
                }
            }
            (_, Outcome::Txn(answer)) => {
                for result in &answer.results {
                    if let TxnResult::Range(rows) = result {
                        rows.iter().for_each(|row| self.see(row));
                    }
                }
            }
            _ => {}
        }
        let revision = match outcome {
            Outcome::Ok(answer) => answer.revision,
            Outcome::Txn(answer) => answer.revision,
            Outcome::Fail { .. } | Outcome::Info { .. } => 0,
        };
        self.revision = self.revision.max(revision);
    }

    fn see(&mut self, row: &Row) {
        if let Some(number) = (0..KEYS).find(|number| key(*number) == row.key) {
            self.rows[number] = row.clone();
        }
    }

    /// Draws a call.
    pub(super) fn draw(&self, random: &mut ChaCha8Rng, op: OpId) -> Call {
        let key = key(random.random_range(0..KEYS));
        let first = if self.minds_leases && random.random_bool(0.5) { LEASE_CALLS } else { 0 };
        match random.random_range(first..1000) {
            0..400 => Call::Put { key, value: op.0.to_string() },
            400..440 => Call::Delete { key },
            440..720 => Call::Get { key, serializable: false },
            720..760 => Call::Get { key, serializable: true },
            760..880 => self.transaction(random, op),
            880..LEASE_CALLS => Call::Compact { revision: self.compaction(random) },
            LEASE_CALLS..910 => Call::LeaseGrant { ttl_seconds: random.random_range(1..5) },
            other => match self.lease(random) {
                None => Call::LeaseGrant { ttl_seconds: 3 },
                Some(lease) if other < 960 => Call::LeaseTimeToLive { lease },
                Some(lease) if other < 990 => Call::LeaseKeepAlive { lease },
                Some(lease) => Call::LeaseRevoke { lease },
            },
        }
    }

    /// One of the newest leases.
    fn lease(&self, random: &mut ChaCha8Rng) -> Option<i64> {
        let newest = &self.leases[self.leases.len().saturating_sub(NEWEST_LEASES)..];
        (!newest.is_empty()).then(|| newest[random.random_range(0..newest.len())])
    }

    /// A revision not long ago; now and then one that is still to come.
    fn compaction(&self, random: &mut ChaCha8Rng) -> i64 {
        let back = [0, 10, 60, 60][random.random_range(0..4)];
        match random.random_range(0..10) {
            0 => self.revision + random.random_range(1..10),
            _ => (self.revision - random.random_range(0..=back)).max(1),
        }
    }

    fn transaction(&self, random: &mut ChaCha8Rng, op: OpId) -> Call {
        let compares = [0, 1, 1, 2][random.random_range(0..4)];
        let compare = (0..compares).map(|_| self.compare(random)).collect();
        let reads_only = random.random_range(0..4) == 0;
        let list = |random: &mut ChaCha8Rng, name, count| {
            let mut list = Vec::new();
            for number in 0..count {
                let value = format!("{}{name}{number}", op.0);
                list.push(self.operation(random, &list, value, reads_only));
            }
            list
        };
        let (then, otherwise) = (random.random_range(1..4), random.random_range(0..3));
        let (then, otherwise) = (list(random, 'a', then), list(random, 'b', otherwise));
        Call::Txn { compare, then, otherwise }
    }

    /// Something that often holds, for it is compared with what was seen last.
    fn compare(&self, random: &mut ChaCha8Rng) -> Compare {
        let number = random.random_range(0..KEYS);
        let row = &self.rows[number];
        let target = match random.random_range(0..5) {
            0 => CompareTarget::Value(row.value.clone()),
            1 => CompareTarget::Version(row.version),
            2 => CompareTarget::CreateRevision(row.create_revision),
            _ => CompareTarget::ModRevision(row.mod_revision),
        };
        let result = match random.random_range(0..10) {
            0..6 => CompareResult::Equal,
            6 => CompareResult::NotEqual,
            7 => CompareResult::Less,
            _ => CompareResult::Greater,
        };
        Compare { key: key(number), result, target }
    }

    /// One operation behind those of its list: no list may write a key twice.
    fn operation(
        &self,
        random: &mut ChaCha8Rng,
        before: &[TxnOp],
        value: String,
        reads_only: bool,
    ) -> TxnOp {
        let keys = range(random);
        let kind = random.random_range(0..10);
        if kind < 5 {
            let key = keys.key.clone();
            let taken = before.iter().any(|op| match op {
                TxnOp::Put { key: other, .. } => *other == key,
                TxnOp::Delete { keys } => keys.contains(&key),
                TxnOp::Range { .. } => false,
            });
            if !taken && !reads_only {
                let attached = random.random_range(0..3) == 0;
                let lease = attached.then(|| self.lease(random)).flatten().unwrap_or(0);
                return TxnOp::Put { key, value, lease };
            }
        } else if kind < 7 {
            let taken =
                before.iter().any(|op| matches!(op, TxnOp::Put { key, .. } if keys.contains(key)));
            if !taken && !reads_only {
                return TxnOp::Delete { keys };
            }
        }
        TxnOp::Range { keys }
    }
}

/// The name of a key.
fn key(number: usize) -> String {
    format!("k{number}")
}

/// One key or, less often, several.
pub(super) fn range(random: &mut ChaCha8Rng) -> KeyRange {
    let first = random.random_range(0..KEYS);
    match random.random_range(0..3) {
        0 => {
            let end = random.random_range(first + 1..=KEYS);
            KeyRange { key: key(first), end: Some(key(end)) }
        }
        _ => KeyRange::one(key(first)),
    }
}
