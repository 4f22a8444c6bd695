//! Stories as they are told, from events.

use node_protocol::{ClusterId, Index, MemberId, telemetry::Traced};

use super::*;
use crate::{CheckResult, Judgement, MemberPlan, Numbered, Verdict};

struct Teller {
    state: LabState,
    at_millis: u64,
}

impl Teller {
    fn new() -> Self {
        let mut teller = Self { state: LabState::default(), at_millis: 0 };
        let members = (1..=3)
            .map(|n| MemberPlan {
                member: MemberNo(n),
                client_url: String::new(),
                peer_url: String::new(),
            })
            .collect();
        teller.event(Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: String::new(),
            engine: "raft-node".into(),
            token: String::new(),
            wall_millis: 0,
            members,
        });
        for n in 1..=3u8 {
            let member = MemberNo(n);
            teller.event(Event::Process { member, process: Process::Up { pid: 40 } });
            let id = MemberId(u64::from(n));
            teller.event(Event::Identified { member, id, cluster: ClusterId(9) });
        }
        teller
    }

    fn event(&mut self, event: Event) {
        self.at_millis += 10;
        let seq = self.state.seq + 1;
        let numbered = Numbered { seq, at_micros: self.at_millis * 1_000, event };
        self.state.apply(&numbered, true);
    }

    fn trace(&mut self, member: u8, event: TraceEvent) {
        let traced = Traced { seq: 0, at_micros: (self.at_millis + 10) * 1_000, event };
        self.event(Event::Trace { member: MemberNo(member), traced });
    }

    fn became(&mut self, member: u8, role: Role, term: u64) {
        self.trace(member, TraceEvent::Became { role, term: Term(term), why: String::new() });
    }

    fn status(&mut self, member: u8, role: Role, term: u64) {
        let status = Status {
            at_micros: 0,
            role,
            term: Term(term),
            vote: None,
            leader: None,
            first: Index(1),
            last: Index(3),
            persisted: Index(3),
            commit: Index(3),
            applied: Index(3),
            terms: Vec::new(),
            revision: node_protocol::Revision(1),
            tick_micros: 100_000,
            election_elapsed_ticks: 0,
            election_timeout_ticks: 13,
            promotable: true,
            voters: (1..=3).map(MemberId).collect(),
            learners: Vec::new(),
            progress: Vec::new(),
            waiting_proposals: 0,
            waiting_reads: 0,
            leases: 0,
            fsync_last_micros: 0,
            state_bytes: 0,
        };
        let status = Box::new(status);
        self.event(Event::Status { member: MemberNo(member), status });
    }

    fn ask(&mut self, command: Command) {
        self.event(Event::Asked { id: CommandId(self.at_millis), by: By::Page, command });
    }

    fn tail(&self, lines: usize) -> Vec<&str> {
        let story = &self.state.story.lines;
        story.iter().skip(story.len() - lines).map(|line| line.text.as_str()).collect()
    }
}

#[test]
fn an_election_reads_as_a_story() {
    let mut lab = Teller::new();
    assert_eq!(
        lab.tail(2),
        [
            "A new cluster: m1, m2 and m3. Each is a real process of raft-node.",
            "m1, m2 and m3 start."
        ]
    );
    lab.became(3, Role::Leader, 7);
    lab.status(3, Role::Leader, 7);
    lab.status(1, Role::Follower, 7);
    lab.ask(Command::Crash { member: MemberNo(3) });
    let process = Process::Down { ended: Ended::Signal { number: 9 }, asked: true, wiped: false };
    lab.event(Event::Process { member: MemberNo(3), process });
    lab.at_millis += 1_290;
    lab.became(1, Role::PreCandidate, 7);
    let heard =
        |pre| TraceEvent::VoteHeard { from: MemberId(2), term: Term(8), pre, granted: true };
    lab.trace(1, heard(true));
    lab.became(1, Role::Candidate, 8);
    let voted = TraceEvent::VoteCast {
        candidate: MemberId(1),
        term: Term(8),
        pre: false,
        granted: true,
        why: String::new(),
    };
    lab.trace(2, voted);
    lab.trace(1, heard(false));
    assert_eq!(lab.state.story.ballots[&MemberNo(1)].granted.len(), 2);
    lab.became(1, Role::Leader, 8);
    assert!(lab.state.story.ballots.is_empty());
    assert_eq!(
        lab.tail(5),
        [
            "You crashed m3, the leader of term 7. Nothing was flushed. Its heartbeats stop; \
             writes wait for a new leader.",
            "m1 has heard nothing for a whole election timeout (1.30 s). It asks the others \
             whether it could win.",
            "m2 would say yes. m1 starts term 8 and votes for itself.",
            "m2 gives m1 its vote for term 8.",
            "m1 has 2 of 3 votes, a majority: it leads in term 8. The cluster had no leader \
             for 1.35 s.",
        ]
    );
}

#[test]
fn a_partition_is_one_line_and_single_cuts_join() {
    let mut lab = Teller::new();
    let groups = [BTreeSet::from([MemberNo(1)]), BTreeSet::from([MemberNo(2), MemberNo(3)])];
    let all = [MemberNo(1), MemberNo(2), MemberNo(3)];
    let grudge = crate::Grudge::groups(&all, &groups);
    let cuts = grudge.cuts();
    lab.ask(Command::Partition { grudge });
    let id = CommandId(lab.at_millis - 10);
    for link in cuts {
        lab.event(Event::LinkChanged { link, condition: LinkCondition::Cut });
    }
    lab.event(Event::Done { id });
    assert_eq!(lab.tail(1), ["You split the network: m1 | m2 and m3."]);
    for (from, to) in [(2, 3), (3, 2)] {
        let link = Link { from: MemberNo(from), to: MemberNo(to) };
        lab.ask(Command::Cut { link });
        lab.event(Event::LinkChanged { link, condition: LinkCondition::Cut });
    }
    assert_eq!(
        lab.tail(2),
        ["You split the network: m1 | m2 and m3.", "You cut both links between m2 and m3."]
    );
}

#[test]
fn one_directional_cuts_have_no_sides() {
    let all = [MemberNo(1), MemberNo(2), MemberNo(3)];
    let link = |from, to| Link { from: MemberNo(from), to: MemberNo(to) };
    assert_eq!(sides(&all, &[link(1, 2)]), None);
    assert_eq!(sides(&all, &[link(1, 2), link(2, 1)]), None, "a chain has no sides");
    assert_eq!(sides(&all, &[]).map(|sides| sides.len()), Some(1));
}

#[test]
fn what_members_saw_is_told_in_the_order_of_time() {
    let mut lab = Teller::new();
    lab.event(Event::Note { text: "later".into() });
    let at_micros = (lab.at_millis - 5) * 1_000;
    let event = TraceEvent::Fatal { why: "its disk is gone".into() };
    let before = lab.state.story.revision();
    lab.event(Event::Trace { member: MemberNo(1), traced: Traced { seq: 1, at_micros, event } });
    assert_eq!(lab.tail(2), ["m1 must not go on: its disk is gone.", "later"]);
    assert!(lab.state.story.revision() > before);
}

#[test]
fn a_successor_may_be_heard_before_whom_it_follows() {
    let mut lab = Teller::new();
    lab.became(1, Role::Leader, 2);
    lab.status(1, Role::Leader, 2);
    let elected = (lab.at_millis - 5) * 1_000;
    lab.became(1, Role::Follower, 3);
    let event = TraceEvent::Became { role: Role::Leader, term: Term(3), why: String::new() };
    let traced = Traced { seq: 1, at_micros: elected, event };
    lab.event(Event::Trace { member: MemberNo(2), traced });
    assert!(lab.tail(3).contains(&"m2 leads in term 3."), "{:?}", lab.tail(3));
}

#[test]
fn durations_are_said_as_people_say_them() {
    for (micros, said) in
        [(340_900, "340 ms"), (1_020_000, "1.02 s"), (59_999_999, "59.99 s"), (75_000_000, "75 s")]
    {
        assert_eq!(seconds(micros), said);
    }
}

#[test]
fn the_story_is_bounded() {
    let mut lab = Teller::new();
    for n in 0..2 * LINES {
        lab.event(Event::Note { text: n.to_string() });
    }
    assert_eq!(lab.state.story.lines.len(), LINES);
    assert_eq!(lab.tail(1), [(2 * LINES - 1).to_string()]);
}

#[test]
fn a_simulation_says_that_it_is_one_and_its_verdict_names_the_broken_rule() {
    let mut lab = Teller::new();
    let plan =
        |n| MemberPlan { member: MemberNo(n), client_url: String::new(), peer_url: String::new() };
    lab.event(Event::RunStarted {
        run: "sim-7".into(),
        seed: 7,
        version: String::new(),
        engine: SIMULATION.into(),
        token: String::new(),
        wall_millis: 0,
        members: vec![plan(1), plan(2)],
    });
    lab.event(Event::Process { member: MemberNo(1), process: Process::Up { pid: 0 } });
    let check = |check: &str, judgement| CheckResult {
        check: check.into(),
        guards: String::new(),
        judgement,
        because: "it is so".into(),
        evidence: vec![],
    };
    let checks = vec![check("one", Judgement::Valid), check("two", Judgement::Invalid)];
    lab.event(Event::Judged(Box::new(Verdict::of("sim-7", checks))));
    assert_eq!(
        lab.tail(4),
        [
            "A new cluster: m1 and m2. It is simulated, by seed 7: the members are the real \
             ones, their time, network and disks are made up.",
            "m1 starts.",
            "The run is judged: invalid.",
            "Broken: two. It is so",
        ]
    );
}
