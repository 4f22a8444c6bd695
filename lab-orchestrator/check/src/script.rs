//! Histories for the tests, told as they happened.

use lab_protocol::node_protocol::telemetry::{TermRun, Traced};
use lab_protocol::node_protocol::{
    ClusterId, Index, MemberId, Revision, Role, Status, Term, TraceEvent,
};
use lab_protocol::{
    Answer, By, Call, ClientNo, Command, CommandId, Compare, Ended, Event, Judgement, Link,
    LinkCondition, MemberNo, MemberPlan, Numbered, OpId, Outcome, Process, ReadBack, TxnAnswer,
    TxnOp, TxnResult,
};

use crate::Check;

/// A journal in the making. Every event happens a millisecond after the one before.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) events: Vec<Numbered>,
    now_micros: u64,
}

/// Feeds a script to a check and looks at what it says.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "a test reads as a sentence without `&`")]
pub(crate) fn check(
    check: &mut dyn Check,
    script: Script,
    judgement: Judgement,
    because_has: &str,
) {
    for event in &script.events {
        check.observe(event);
    }
    let result = check.verdict();
    assert_eq!(result.judgement, judgement, "{}", result.because);
    assert!(result.because.contains(because_has), "{}", result.because);
}

impl Script {
    pub(crate) fn new(members: u8) -> Self {
        Self { events: Vec::new(), now_micros: 0 }.started_over(members)
    }

    pub(crate) fn started_over(self, members: u8) -> Self {
        self.started_with(members, "token")
    }

    pub(crate) fn started_with(self, members: u8, token: &str) -> Self {
        let members = (1..=members).map(|number| MemberPlan {
            member: MemberNo(number),
            client_url: String::new(),
            peer_url: String::new(),
        });
        self.then(Event::RunStarted {
            run: "test".into(),
            seed: 1,
            version: "0".into(),
            engine: "raft-node".into(),
            token: token.into(),
            wall_millis: 0,
            members: members.collect(),
        })
    }

    pub(crate) fn then(mut self, event: Event) -> Self {
        self.now_micros += 1000;
        let seq = self.events.len() as u64 + 1;
        self.events.push(Numbered { seq, at_micros: self.now_micros, event });
        self
    }

    /// Lets time pass.
    pub(crate) fn wait(mut self, millis: u64) -> Self {
        self.now_micros += millis * 1000;
        self
    }

    pub(crate) fn up(mut self, members: &[u8]) -> Self {
        for &member in members {
            let process = Process::Up { pid: 1 };
            self = self.then(Event::Process { member: MemberNo(member), process });
        }
        self
    }

    pub(crate) fn down(self, member: u8) -> Self {
        let ended = Ended::Signal { number: 9 };
        let process = Process::Down { ended, asked: true, wiped: false };
        self.then(Event::Process { member: MemberNo(member), process })
    }

    pub(crate) fn cut(self, from: u8, to: u8) -> Self {
        self.link(from, to, LinkCondition::Cut).link(to, from, LinkCondition::Cut)
    }

    pub(crate) fn heal(self, from: u8, to: u8) -> Self {
        self.link(from, to, LinkCondition::Open).link(to, from, LinkCondition::Open)
    }

    fn link(self, from: u8, to: u8, condition: LinkCondition) -> Self {
        let link = Link { from: MemberNo(from), to: MemberNo(to) };
        self.then(Event::LinkChanged { link, condition })
    }

    pub(crate) fn asked(self, command: Command) -> Self {
        let id = CommandId(self.events.len() as u64);
        self.then(Event::Asked { id, by: By::Drill, command })
    }

    pub(crate) fn trace(self, member: u8, event: TraceEvent) -> Self {
        let traced = Traced { seq: 1, at_micros: self.now_micros + 1000, event };
        self.then(Event::Trace { member: MemberNo(member), traced })
    }

    pub(crate) fn became(self, member: u8, role: Role, term: u64) -> Self {
        self.trace(member, TraceEvent::Became { role, term: Term(term), why: String::new() })
    }

    pub(crate) fn leads(self, member: u8, term: u64) -> Self {
        self.became(member, Role::Leader, term)
    }

    pub(crate) fn status(self, member: u8, status: Status) -> Self {
        self.then(Event::Status { member: MemberNo(member), status: Box::new(status) })
    }

    pub(crate) fn truncated(self, member: u8, from: u64, old_last: u64, old_term: u64) -> Self {
        let event = TraceEvent::Truncated {
            from: Index(from),
            old_last: Index(old_last),
            old_term: Term(old_term),
        };
        self.trace(member, event)
    }

    pub(crate) fn invoke(self, op: u64, member: u8, call: Call) -> Self {
        let client = ClientNo(u32::from(member));
        self.then(Event::Invoked { op: OpId(op), client, member: MemberNo(member), call })
    }

    pub(crate) fn put(self, op: u64, member: u8, key: &str, value: &str) -> Self {
        self.invoke(op, member, Call::Put { key: key.into(), value: value.into() })
    }

    pub(crate) fn get(self, op: u64, member: u8, key: &str, serializable: bool) -> Self {
        self.invoke(op, member, Call::Get { key: key.into(), serializable })
    }

    pub(crate) fn ok(self, op: u64, revision: i64, value: Option<(&str, i64)>) -> Self {
        self.answer(op, revision, 2, value, 1)
    }

    pub(crate) fn answer(
        self,
        op: u64,
        revision: i64,
        term: u64,
        value: Option<(&str, i64)>,
        number: i64,
    ) -> Self {
        let value = value.map(|(value, at)| (value.to_owned(), at));
        self.returned(op, Outcome::Ok(Answer { revision, term, value, number }))
    }

    pub(crate) fn txn(
        self,
        op: u64,
        member: u8,
        compare: Vec<Compare>,
        then: Vec<TxnOp>,
        otherwise: Vec<TxnOp>,
    ) -> Self {
        self.invoke(op, member, Call::Txn { compare, then, otherwise })
    }

    pub(crate) fn transacted(
        self,
        op: u64,
        revision: i64,
        succeeded: bool,
        results: Vec<TxnResult>,
    ) -> Self {
        let answer = TxnAnswer { revision, term: 2, succeeded, results };
        self.returned(op, Outcome::Txn(Box::new(answer)))
    }

    pub(crate) fn compact(self, op: u64, member: u8, revision: i64) -> Self {
        self.invoke(op, member, Call::Compact { revision })
    }

    pub(crate) fn info(self, op: u64) -> Self {
        self.returned(op, Outcome::Info { error: "no answer".into() })
    }

    pub(crate) fn fail(self, op: u64) -> Self {
        self.returned(op, Outcome::Fail { error: "refused".into() })
    }

    fn returned(self, op: u64, outcome: Outcome) -> Self {
        self.then(Event::Returned { op: OpId(op), outcome })
    }

    pub(crate) fn reconnected(self, client: u32, from: u8, to: u8) -> Self {
        let (from, to) = (MemberNo(from), MemberNo(to));
        self.then(Event::Reconnected { client: ClientNo(client), from, to })
    }

    pub(crate) fn read_back(self, member: u8, revision: i64, rows: &[(&str, &str, i64)]) -> Self {
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, value, at)| ((*key).to_owned(), (*value).to_owned(), *at))
            .collect();
        let hash = rows.iter().fold(7u32, |hash, (_, _, at)| {
            hash.wrapping_mul(31).wrapping_add(u32::try_from(*at).expect("small"))
        });
        self.then(Event::ReadBack(Box::new(ReadBack {
            member: MemberNo(member),
            revision,
            rows,
            hash: (revision, hash),
            failed: String::new(),
        })))
    }

    pub(crate) fn identified(self, member: u8, id: u64, cluster: u64) -> Self {
        let (id, cluster) = (MemberId(id), ClusterId(cluster));
        self.then(Event::Identified { member: MemberNo(member), id, cluster })
    }

    /// A member begins in a cluster that was restored.
    pub(crate) fn restored(self, member: u8, (id, cluster): (u64, u64), snapshot: i64) -> Self {
        let (of, began_at) = (ClusterId(cluster), snapshot);
        let member_no = MemberNo(member);
        let told = Event::Restored { member: member_no, cluster: of, revision: snapshot, began_at };
        self.then(told).identified(member, id, cluster)
    }

    pub(crate) fn answered_by(self, op: u64, cluster: u64) -> Self {
        self.then(Event::AnsweredBy { op: OpId(op), cluster: ClusterId(cluster) })
    }

    pub(crate) fn step(self, number: u32) -> Self {
        self.then(Event::Step { number, text: String::new() })
    }
}

/// A member in a role and term tells of its log: runs as first index and term, and its last,
/// committed and applied entry.
pub(crate) fn log_status(
    script: Script,
    member: u8,
    role: Role,
    term: u64,
    runs: &[(u64, u64)],
    (last, commit, applied): (u64, u64, u64),
) -> Script {
    let run = |&(first, term): &(u64, u64)| TermRun { first: Index(first), term: Term(term) };
    let status = Status {
        role,
        term: Term(term),
        last: Index(last),
        commit: Index(commit),
        applied: Index(applied),
        terms: runs.iter().map(run).collect(),
        ..Status::default_at(0)
    };
    script.status(member, status)
}

/// The member tells who it is and that it follows this leader in this term (or leads).
pub(crate) fn follows(script: Script, member: u8, leader: u8, term: u64) -> Script {
    let id = |member: u8| MemberId(u64::from(member));
    let (role, who) = match member == leader {
        true => (Role::Leader, member),
        false => (Role::Follower, leader),
    };
    let status = Status {
        at_micros: 0,
        role,
        term: Term(term),
        vote: None,
        leader: Some(id(who)),
        first: Index(1),
        last: Index(5),
        persisted: Index(5),
        commit: Index(5),
        applied: Index(5),
        terms: vec![],
        revision: Revision(1),
        tick_micros: 100_000,
        election_elapsed_ticks: 0,
        election_timeout_ticks: 10,
        promotable: true,
        voters: vec![],
        learners: vec![],
        progress: vec![],
        waiting_proposals: 0,
        waiting_reads: 0,
        leases: 0,
        fsync_last_micros: 0,
        state_bytes: 0,
    };
    let identified =
        Event::Identified { member: MemberNo(member), id: id(member), cluster: ClusterId(1) };
    script.then(identified).status(member, status)
}

/// Two members of which the first leads.
pub(crate) fn whole(script: Script) -> Script {
    follows(follows(script, 1, 1, 2), 2, 1, 2)
}
