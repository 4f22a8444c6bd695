//! Clients that ask the model, leases that end, and the journal of it.

use lab_protocol::{
    Call, ClientNo, Compare, CompareResult, CompareTarget, Event, KeyRange, MemberNo, Numbered,
    OpId, Outcome, ReadBack, TxnOp,
};

use super::Chances;
use super::store::Store;
use super::watching::Watching;

/// What a history is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) operations: usize,
    pub(crate) clients: usize,
    pub(crate) keys: usize,
    /// Operations of a thousand whose outcome is not known; half of them happen, some late.
    pub(crate) unknown_per_mille: usize,
    /// Operations of a hundred that compact.
    pub(crate) compactions_percent: usize,
    /// A lease ends every so many steps. The serializable reads that follow see the store as it is
    /// then.
    pub(crate) steps_between_leases: usize,
    /// Watches that are opened in all.
    pub(crate) watches: usize,
}

/// One client.
enum Client {
    Idle,
    /// It has asked, and nothing has happened.
    Asked(OpId, Call),
    /// Something has happened, and it was not told.
    Done(OpId, Outcome),
}

/// Makes a history that is right.
pub(crate) fn make(seed: u64, shape: Shape) -> Vec<Numbered> {
    let mut maker = Maker {
        chances: Chances::new(seed),
        shape,
        store: Store::new(),
        stale: Store::new(),
        watching: Watching::new(),
        late: Vec::new(),
        lease: 1,
        asked: 0,
        events: Vec::with_capacity(2 * shape.operations),
    };
    let mut clients: Vec<_> = (0..shape.clients).map(|_| Client::Idle).collect();
    let mut busy = true;
    while busy {
        let place = maker.chances.below(clients.len());
        clients[place] = maker.step(place, std::mem::replace(&mut clients[place], Client::Idle));
        busy = maker.asked < shape.operations
            || clients.iter().any(|client| !matches!(client, Client::Idle));
    }
    maker.read_back();
    maker.events
}

struct Maker {
    chances: Chances,
    shape: Shape,
    store: Store,
    /// What a member that lags behind holds.
    stale: Store,
    watching: Watching,
    /// Writes given up by their clients that may still happen.
    late: Vec<Call>,
    /// The one that has not ended.
    lease: i64,
    asked: usize,
    events: Vec<Numbered>,
}

impl Maker {
    fn step(&mut self, place: usize, client: Client) -> Client {
        if !self.late.is_empty() && self.chances.below(4 * self.shape.clients) == 0 {
            let which = self.chances.below(self.late.len());
            let call = self.late.swap_remove(which);
            self.change(|store| _ = store.apply(&call));
        }
        if self.chances.below(self.shape.steps_between_leases) == 0 {
            self.stale = self.store.clone();
            let lease = self.lease;
            self.change(|store| store.expire(lease));
            self.lease += 1;
        }
        if self.shape.watches > 0 && self.chances.below(3) == 0 {
            let keys = self.keys();
            let Self { shape, store, watching, chances, .. } = self;
            if let Some(event) = watching.step(store, shape.watches, keys, chances) {
                self.tell(event);
            }
        }
        match client {
            Client::Idle if self.asked < self.shape.operations => self.ask(place),
            Client::Idle => Client::Idle,
            Client::Asked(op, call) => self.happen(op, call),
            Client::Done(op, outcome) => {
                self.tell(Event::Returned { op, outcome });
                Client::Idle
            }
        }
    }

    fn ask(&mut self, place: usize) -> Client {
        self.asked += 1;
        let op = OpId(self.asked as u64);
        let call = self.call(op);
        let client = ClientNo(u32::try_from(place + 1).expect("few clients"));
        let member = MemberNo(u8::try_from(place % 3 + 1).expect("below four"));
        self.tell(Event::Invoked { op, client, member, call: call.clone() });
        Client::Asked(op, call)
    }

    fn happen(&mut self, op: OpId, call: Call) -> Client {
        let unknown = self.chances.per_mille(self.shape.unknown_per_mille);
        let outcome = match (unknown, self.chances.below(4)) {
            (true, which) => {
                match which {
                    0 => self.change(|store| _ = store.apply(&call)),
                    1 => self.late.push(call),
                    _ => {}
                }
                Outcome::Info { error: "no answer in time".into() }
            }
            (false, _) if self.chances.per_mille(10) => Outcome::Fail { error: "refused".into() },
            (false, _) => match call {
                Call::Get { serializable: true, .. } => self.stale.apply(&call),
                _ => {
                    let mut outcome = None;
                    self.change(|store| outcome = Some(store.apply(&call)));
                    outcome.expect("it was applied")
                }
            },
        };
        Client::Done(op, outcome)
    }

    /// Changes the store, and notes for the watches what that changed.
    fn change(&mut self, change: impl FnOnce(&mut Store)) {
        if self.shape.watches == 0 {
            return change(&mut self.store);
        }
        let before = self.store.clone();
        change(&mut self.store);
        self.watching.changed(&before, &self.store);
    }

    /// A member tells all it holds.
    fn read_back(&mut self) {
        let rows = self.store.rows.values();
        let rows = rows.map(|row| (row.key.clone(), row.value.clone(), row.mod_revision)).collect();
        let revision = self.store.revision;
        self.tell(Event::ReadBack(Box::new(ReadBack {
            member: MemberNo(1),
            revision,
            rows,
            hash: (revision, 0),
            failed: String::new(),
        })));
    }

    fn tell(&mut self, event: Event) {
        let seq = self.events.len() as u64 + 1;
        self.events.push(Numbered { seq, at_micros: 10 * seq, event });
    }

    fn call(&mut self, op: OpId) -> Call {
        if self.chances.below(100) < self.shape.compactions_percent {
            let back = i64::try_from(self.chances.below(3)).expect("small");
            return Call::Compact { revision: self.store.revision - back };
        }
        let key = self.key();
        match self.chances.below(100) {
            0..37 => Call::Put { key, value: op.0.to_string() },
            37..70 => Call::Get { key, serializable: false },
            70..75 => Call::Get { key, serializable: true },
            75..83 => Call::Delete { key },
            _ => Call::Txn {
                compare: (0..self.chances.below(3)).map(|_| self.compare()).collect(),
                then: self.ops(op, "t"),
                otherwise: self.ops(op, "o"),
            },
        }
    }

    fn key(&mut self) -> String {
        name(self.chances.below(self.shape.keys))
    }

    fn keys(&mut self) -> KeyRange {
        let first = self.chances.below(self.shape.keys);
        match self.chances.below(2) {
            0 => KeyRange::one(name(first)),
            _ => {
                let end = first + 1 + self.chances.below(4);
                KeyRange { key: name(first), end: Some(name(end)) }
            }
        }
    }

    /// Half of the compares hold when they are asked.
    fn compare(&mut self) -> Compare {
        let key = self.key();
        let now = self.store.rows.get(&key).cloned().unwrap_or_default();
        let other = i64::try_from(self.chances.below(2)).expect("small");
        let target = match self.chances.below(4) {
            0 => CompareTarget::Value(now.value),
            1 => CompareTarget::Version(now.version + other),
            2 => CompareTarget::CreateRevision(now.create_revision + other),
            _ => CompareTarget::ModRevision(now.mod_revision + other),
        };
        let result = match self.chances.below(6) {
            0 => CompareResult::Greater,
            1 => CompareResult::Less,
            2 => CompareResult::NotEqual,
            _ => CompareResult::Equal,
        };
        Compare { key, result, target }
    }

    /// Up to three operations that do not write a key twice.
    fn ops(&mut self, op: OpId, way: &str) -> Vec<TxnOp> {
        let mut ops: Vec<TxnOp> = Vec::new();
        for number in 0..self.chances.below(4) {
            let keys = self.keys();
            let next = match self.chances.below(5) {
                0 | 1 => TxnOp::Range { keys },
                2 => TxnOp::Delete { keys },
                _ => {
                    let value = format!("{}{way}{number}", op.0);
                    let lease = if self.chances.below(4) == 0 { self.lease } else { 0 };
                    TxnOp::Put { key: keys.key, value, lease }
                }
            };
            let twice = ops.iter().any(|other| match (other, &next) {
                (TxnOp::Put { key, .. }, TxnOp::Put { key: other, .. }) => key == other,
                (TxnOp::Put { key, .. }, TxnOp::Delete { keys })
                | (TxnOp::Delete { keys }, TxnOp::Put { key, .. }) => keys.contains(key),
                _ => false,
            });
            if !twice {
                ops.push(next);
            }
        }
        ops
    }
}

fn name(number: usize) -> String {
    format!("k{number:05}")
}
