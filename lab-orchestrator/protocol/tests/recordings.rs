//! Yesterday's recordings still read: the bytes of one event of each kind, written down once.
//!
//! Bytes name a variant by its place, so a new one goes to the end of its enum, and its line to
//! the end of `recordings.txt`. A line that is there is never changed.

use lab_protocol::node_protocol::telemetry::{
    EntryBrief, Fingerprint, Progress, ProgressState, TermRun, Traced,
};
use lab_protocol::node_protocol::{
    ClusterId, FrameKind, Index, MemberId, Revision, Role, Status, Term, TraceEvent,
};
use lab_protocol::*;

const RECORDED: &str = include_str!("recordings.txt");

const M1: MemberNo = MemberNo(1);
const M2: MemberNo = MemberNo(2);

/// One event of each kind, in the order in which the kinds came to be.
fn events() -> Vec<Event> {
    let link = Link { from: M1, to: M2 };
    let mut events = vec![
        Event::RunStarted {
            run: "r".into(),
            seed: 300,
            version: "0.1".into(),
            engine: "e".into(),
            token: "t".into(),
            wall_millis: 1,
            members: vec![MemberPlan { member: M1, client_url: "c".into(), peer_url: "p".into() }],
        },
        Event::Asked { id: CommandId(1), by: By::Drill, command: Command::UndoFaults },
        Event::Done { id: CommandId(1) },
        Event::Refused { id: CommandId(2), why: "w".into() },
        Event::Process { member: M1, process: Process::Up { pid: 7 } },
        Event::Process {
            member: M1,
            process: Process::Down {
                ended: Ended::Signal { number: 9 },
                asked: true,
                wiped: false,
            },
        },
        Event::Identified { member: M1, id: MemberId(9), cluster: ClusterId(8) },
        Event::Telemetry { member: M1, feed: Feed::Quiet },
        Event::Status { member: M1, status: Box::new(status()) },
        Event::TraceLost { member: M1, count: 3 },
        Event::LinkChanged {
            link,
            condition: LinkCondition::Delayed { millis: 5, jitter_millis: 6 },
        },
        Event::Message(Message {
            number: 1,
            link,
            kind: FrameKind::Append,
            reject: false,
            term: Term(2),
            index: Index(3),
            entries: 4,
            bytes: 500,
            fate: Fate::Lost(LostWhy::SenderDown),
        }),
        Event::MessageLost { number: 1, why: LostWhy::Cut },
        Event::Traffic {
            links: vec![LinkTraffic { link, sent: 3, landed: 2, lost: 1, bytes: 99 }],
        },
        Event::Reconnected { client: ClientNo(1), from: M1, to: M2 },
        Event::ReadBack(Box::new(ReadBack {
            member: M1,
            revision: 3,
            rows: vec![("k".into(), "v".into(), 2)],
            hash: (3, 77),
            failed: String::new(),
        })),
        Event::WorkloadChanged { spec: WorkloadSpec::default() },
        Event::Step { number: 1, text: "s".into() },
        Event::Note { text: "n".into() },
        Event::Judged(Box::new(Verdict::of("s", vec![]))),
        Event::RunEnded,
    ];
    events.extend(traces().map(|event| {
        let traced = Traced { seq: 1, at_micros: 2, event };
        Event::Trace { member: M1, traced }
    }));
    let client = ClientNo(1);
    events.extend(calls().map(|call| Event::Invoked { op: OpId(1), client, member: M1, call }));
    events.extend(outcomes().map(|outcome| Event::Returned { op: OpId(1), outcome }));
    events.extend(later());
    events
}

fn status() -> Status {
    Status {
        role: Role::Leader,
        vote: Some(MemberId(1)),
        terms: vec![TermRun { first: Index(1), term: Term(2) }],
        revision: Revision(5),
        voters: vec![MemberId(1)],
        progress: vec![Progress {
            member: MemberId(2),
            matched: Index(3),
            next: Index(4),
            state: ProgressState::Replicate,
            recent_active: true,
        }],
        ..Status::default_at(1)
    }
}

fn traces() -> impl Iterator<Item = TraceEvent> {
    let entries = vec![EntryBrief { index: Index(1), term: Term(2), text: "put k".into() }];
    let (term, why) = (Term(2), String::from("w"));
    [
        TraceEvent::Started { boot: 1, last: Index(2), applied: Index(3) },
        TraceEvent::Stopping,
        TraceEvent::Became { role: Role::Candidate, term, why: why.clone() },
        TraceEvent::LeaderSeen { term, leader: Some(MemberId(1)) },
        TraceEvent::VoteCast {
            candidate: MemberId(1),
            term,
            pre: false,
            granted: true,
            why: String::new(),
        },
        TraceEvent::VoteHeard { from: MemberId(1), term, pre: true, granted: false },
        TraceEvent::Appended { entries },
        TraceEvent::Truncated { from: Index(1), old_last: Index(2), old_term: Term(1) },
        TraceEvent::Compacted { first: Index(4) },
        TraceEvent::SnapshotSent { to: MemberId(2), index: Index(4), bytes: 5 },
        TraceEvent::SnapshotInstalled { index: Index(4), bytes: 5 },
        TraceEvent::Configured { voters: vec![MemberId(1)], learners: vec![MemberId(2)] },
        TraceEvent::LeasesExtended { count: 1 },
        TraceEvent::Peer { peer: MemberId(2), connected: false, why: why.clone() },
        TraceEvent::Fatal { why },
    ]
    .into_iter()
}

fn calls() -> impl Iterator<Item = Call> {
    let key = || String::from("k");
    [
        Call::Put { key: key(), value: "v".into() },
        Call::Get { key: key(), serializable: true },
        Call::Delete { key: key() },
        Call::LeaseGrant { ttl_seconds: 5 },
        Call::LeaseTimeToLive { lease: 77 },
    ]
    .into_iter()
}

fn outcomes() -> impl Iterator<Item = Outcome> {
    let value = Some((String::from("v"), 2));
    [
        Outcome::Ok(Answer { revision: 3, term: 2, value, number: 1 }),
        Outcome::Fail { error: "e".into() },
        Outcome::Info { error: "e".into() },
    ]
    .into_iter()
}

/// What came after version 0.1.
fn later() -> Vec<Event> {
    let (client, member, op, watch) = (ClientNo(1), M1, OpId(1), WatchId(1));
    let keys = KeyRange { key: "a".into(), end: Some("b".into()) };
    let row = Row {
        key: "a".into(),
        value: "v".into(),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        lease: 77,
    };
    let compare = |result, target| Compare { key: "a".into(), result, target };
    let compare = vec![
        compare(CompareResult::Equal, CompareTarget::Value("v".into())),
        compare(CompareResult::Greater, CompareTarget::Version(1)),
        compare(CompareResult::Less, CompareTarget::CreateRevision(4)),
        compare(CompareResult::NotEqual, CompareTarget::ModRevision(5)),
    ];
    let put = TxnOp::Put { key: "a".into(), value: "v".into(), lease: 77 };
    let call = Call::Txn {
        compare,
        then: vec![put],
        otherwise: vec![
            TxnOp::Range { keys: keys.clone() },
            TxnOp::Delete { keys: KeyRange::one("a") },
        ],
    };
    let results = vec![TxnResult::Put, TxnResult::Range(vec![row.clone()]), TxnResult::Deleted(1)];
    let answer = TxnAnswer { revision: 3, term: 2, succeeded: true, results };
    let heard = |told| {
        let response = Box::new(WatchResponse { revision: 3, told });
        Event::WatchHeard { watch, response }
    };
    let request = WatchRequest {
        keys,
        start_revision: 2,
        filters: vec![WatchFilter::NoPut, WatchFilter::NoDelete],
        prev_kv: true,
        progress_notify: true,
    };
    let asked = |command| Event::Asked { id: CommandId(1), by: By::Page, command };
    let changed = |kind, prev| WatchEvent { kind, row: row.clone(), prev };
    vec![
        Event::Invoked { op, client, member, call },
        Event::Invoked { op, client, member, call: Call::Compact { revision: 3 } },
        Event::Returned { op, outcome: Outcome::Txn(Box::new(answer)) },
        Event::WatchOpened { watch, client, member, request },
        heard(WatchTold::Created),
        heard(WatchTold::Events(vec![
            changed(WatchEventKind::Put, None),
            changed(WatchEventKind::Delete, Some(row.clone())),
        ])),
        heard(WatchTold::Progress),
        heard(WatchTold::Compacted { compact_revision: 3 }),
        heard(WatchTold::Canceled { why: "w".into() }),
        Event::WatchClosed { watch, why: "w".into() },
        Event::WatchResumed { watch, member: M2, start_revision: 4 },
        Event::Trace {
            member,
            traced: Traced {
                seq: 1,
                at_micros: 2,
                event: TraceEvent::Fingerprints {
                    first: Index(3),
                    entries: vec![Fingerprint { term: Term(2), crc: 300 }],
                },
            },
        },
        Event::MessageLost { number: 1, why: LostWhy::Chance },
        Event::Invoked { op, client, member, call: Call::LeaseKeepAlive { lease: 77 } },
        Event::Invoked { op, client, member, call: Call::LeaseRevoke { lease: 77 } },
        Event::MemberAdded {
            plan: MemberPlan { member, client_url: "c".into(), peer_url: "p".into() },
            id: MemberId(9),
            cluster: ClusterId(8),
            learner: true,
        },
        asked(Command::AddMember { learner: true }),
        asked(Command::PromoteMember { member }),
        asked(Command::RemoveMember { member }),
        asked(Command::TransferLeadership { to: M2 }),
        asked(Command::Type { line: "ls".into() }),
        Event::Said(Box::new(Said {
            id: CommandId(1),
            out: "o".into(),
            errors: "e".into(),
            code: -1,
        })),
        Event::Restored { member: M1, cluster: ClusterId(8), revision: 300, began_at: 400 },
        Event::AnsweredBy { op: OpId(300), cluster: ClusterId(8) },
        Event::Snapshots(vec![
            SnapshotFile {
                name: "a.db".into(),
                bytes: 300,
                integrity: Integrity::Verified,
                hash: 300,
                revision: 4,
                keys: 5,
            },
            SnapshotFile {
                name: "b".into(),
                bytes: 1,
                integrity: Integrity::Damaged("w".into()),
                hash: 0,
                revision: 0,
                keys: 0,
            },
        ]),
        Event::Scored(Box::new(Score {
            won: true,
            points: 90,
            harm: vec![("h".into(), 10)],
            debrief: vec!["d".into()],
        })),
        Event::Seated {
            plan: MemberPlan { member: M2, client_url: "c".into(), peer_url: "p".into() },
        },
        Event::Asked { id: CommandId(1), by: By::Page, command: Command::Hint },
        Event::Asked { id: CommandId(1), by: By::Page, command: Command::FinishDrill },
        Event::Drill(DrillEvent::Told(Box::new(DrillBrief {
            id: "i".into(),
            title: "t".into(),
            brief: "b".into(),
            fog: scenario::Fog::Operator,
            millis: 300,
            hints: 2,
            hint_points: 5,
        }))),
        Event::Drill(DrillEvent::Opened),
        Event::Drill(DrillEvent::Hinted { number: 1, text: "h".into() }),
        Event::Drill(DrillEvent::Goals(vec![Goal {
            check: "c".into(),
            guards: "g".into(),
            judgement: Judgement::Unknown,
            because: "b".into(),
        }])),
        Event::Process {
            member: M1,
            process: Process::Down { ended: Ended::Unseen, asked: false, wiped: true },
        },
        asked(Command::DamageSnapshot { name: "a.db".into() }),
        asked(Command::SetBackups { every_millis: 300, keep: 2, verify: true }),
        Event::BackupsChanged { every_millis: 300, keep: 2, verify: true },
        Event::Backup(backup(BackupVerdict::Taken)),
        Event::Backup(backup(BackupVerdict::Verified)),
        Event::Backup(backup(BackupVerdict::Damaged { why: "w".into() })),
        Event::Backup(backup(BackupVerdict::Failed { why: "w".into() })),
    ]
    .into_iter()
    .chain(faults())
    .chain(lessons())
    .collect()
}

fn backup(verdict: BackupVerdict) -> Backup {
    Backup { file: "b.db".into(), revision: 300, at_micros: 400, verdict }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// What came with faults that are injected.
fn faults() -> Vec<Event> {
    let (member, link) = (M1, Link { from: MemberNo::CLIENTS, to: M2 });
    let asked = |command| Event::Asked { id: CommandId(1), by: By::Page, command };
    let changed = |condition| Event::LinkChanged { link, condition };
    let mangled = |how| LinkCondition::Mangled { how, percent: 3, only: Kinds::Votes };
    let faults = [
        Fault::Starved { member, percent: 20 },
        Fault::Restarting { member, up_millis: 300, down_millis: 4 },
        Fault::Flapping { link, up_millis: 300, down_millis: 4 },
        Fault::SlowSync { member, millis: 300 },
        Fault::StuckSync { member },
        Fault::FailingSync { member },
        Fault::FullDisk { member },
        Fault::ReadOnlyDisk { member },
        Fault::DriftingClock { member, permille: 300 },
        Fault::FrozenClock { member },
    ];
    let began = faults.map(|fault| Event::FaultBegan { fault, until_micros: Some(5) });
    let fault = Fault::StuckSync { member };
    let (file, damage) = (MemberFile::Snapshot, Damage::Truncate);
    let rest = [
        changed(LinkCondition::Held),
        changed(LinkCondition::Refused),
        changed(LinkCondition::Throttled { bytes_per_second: 300 }),
        changed(LinkCondition::HalfOpen),
        changed(mangled(Mangling::Drop)),
        changed(mangled(Mangling::Duplicate)),
        changed(mangled(Mangling::Reorder)),
        Event::FaultEnded { fault },
        Event::MessageReleased { number: 300, at_micros: 4 },
        Event::MessageLost { number: 1, why: LostWhy::Refused },
        Event::MessageLost { number: 1, why: LostWhy::Dropped },
        Event::LinkReset { link, connections: 2 },
        Event::ClockMoved { member, how: ClockMove::Jumped { millis: -300 } },
        Event::ClockMoved { member, how: ClockMove::Ticked { ticks: 3 } },
        Event::TimersSet { member, ticks: 3 },
        Event::FileDamaged { member, file, damage, path: "p".into() },
        asked(Command::SetLink { link, condition: LinkCondition::Held }),
        asked(Command::ResetLink { link }),
        asked(Command::Held { number: 300, order: HeldOrder::Duplicate }),
        asked(Command::Inject { fault }),
        asked(Command::Lift { fault }),
        asked(Command::For { millis: 300, command: Box::new(Command::Pause { member }) }),
        asked(Command::JumpClock { member, millis: -300 }),
        asked(Command::GrantTicks { member, ticks: 3 }),
        asked(Command::SetTimers { ticks: 3, apart: 4 }),
        asked(Command::Campaign { member }),
        asked(Command::DamageMember { member, file, damage }),
        asked(Command::LosePower { member }),
        asked(Command::CrashAt { member, failpoint: "f".into() }),
        Event::Named { name: "n".into(), members: vec![member, member] },
    ];
    began.into_iter().chain(rest).chain(mixes()).collect()
}

/// What came with mixes of errands.
fn mixes() -> Vec<Event> {
    let mix = |endpoints| MixSpec { rate: 300, endpoints, ..MixSpec::default() };
    let asked =
        |mix| Event::Asked { id: CommandId(1), by: By::Page, command: Command::SetMix { mix } };
    vec![
        asked(mix(Endpoints::All)),
        Event::MixChanged { mix: mix(Endpoints::OneEach) },
        Event::MixChanged { mix: mix(Endpoints::These([M1, M2].into())) },
    ]
}

/// What came with the step mode and with lessons.
fn lessons() -> Vec<Event> {
    let asked = |command| Event::Asked { id: CommandId(1), by: By::Page, command };
    let lesson = Event::Lesson;
    let question = |kind| Question { id: "i".into(), ask: "a".into(), kind };
    let questions = vec![
        question(QuestionKind::Choice(vec!["c".into()])),
        question(QuestionKind::Number("u".into())),
        question(QuestionKind::Member),
    ];
    let guess = |prediction| Guess { prediction, confidence_percent: 50 };
    let guesses = vec![
        guess(Prediction::Choice(0)),
        guess(Prediction::Thousandths(1_500)),
        guess(Prediction::Member(Some(M1))),
        guess(Prediction::Skipped),
    ];
    let grades = [Grade::Right, Grade::Close, Grade::Wrong, Grade::Skipped, Grade::Unknown];
    let revealed = |grade| Revealed {
        id: "i".into(),
        guess: guesses[0],
        was: Some(Prediction::Choice(0)),
        because: "b".into(),
        evidence: vec![300],
        grade,
    };
    let answers = grades.map(revealed).to_vec();
    let reveal = Reveal { answers, explain: "e".into(), misconception: "m".into() };
    vec![
        asked(Command::StepMode { on: true }),
        asked(Command::Predict { guesses: guesses.clone() }),
        lesson(LessonEvent::Opened(Box::new(LessonBrief {
            title: "t".into(),
            hook: "h".into(),
            questions,
        }))),
        lesson(LessonEvent::Began),
        lesson(LessonEvent::Revealed(Box::new(reveal))),
    ]
}

#[test]
fn recordings_read_as_they_did() {
    let events = events();
    let lines: Vec<_> = RECORDED.lines().collect();
    for (event, line) in events.iter().zip(&lines) {
        let read: Event = postcard::from_bytes(&bytes(line)).expect("an event");
        assert_eq!(read, *event);
    }
    for event in events.iter().skip(lines.len()) {
        println!("{}", hex(&postcard::to_stdvec(event).expect("every event has an encoding")));
    }
    assert_eq!(events.len(), lines.len(), "append the lines above to recordings.txt");
}
