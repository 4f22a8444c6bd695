//! What a lesson asks about, measured in the run's own journal; and what predictions are worth.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lab_protocol::node_protocol::{ClusterId, Role, TraceEvent};
use lab_protocol::scenario::{Learn, Measure, Predict};
use lab_protocol::{
    By, Command, Event, Grade, Guess, Judgement, LabState, MemberNo, Numbered, OpId, Outcome,
    Prediction, Process, QuestionKind, Reveal, Revealed,
};

use crate::{AckedNotLost, Check, LostWrites};

/// Something that was seen: in which step (0 before the first), when, and in which event.
#[derive(Clone, Copy, Debug)]
struct Seen {
    step: u32,
    at_micros: u64,
    seq: u64,
}

/// How things stood when a step began.
#[derive(Clone, Copy, Debug)]
struct Stood {
    at_micros: u64,
    leader: Option<MemberNo>,
    term: u64,
}

/// A measured number or member, in which events, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Measured {
    /// `None` if the run does not tell.
    was: Option<Value>,
    because: String,
    evidence: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// A number in thousandths.
    Thousandths(i64),
    Member(Option<MemberNo>),
}

/// The fold of a lesson's run.
#[derive(Clone, Debug)]
pub struct Measures {
    state: LabState,
    step: u32,
    /// By the step's number.
    stood: BTreeMap<u32, Stood>,
    /// Members that run and know no leader, when a step ended.
    leaderless: BTreeMap<u32, usize>,
    ended_at_micros: Option<u64>,
    writes: BTreeSet<OpId>,
    acknowledged: Vec<Seen>,
    unknown: Vec<Seen>,
    elections: Vec<(Seen, MemberNo)>,
    /// By step: the most members that said they lead, and where that was seen.
    at_once: BTreeMap<u32, (usize, u64)>,
    first_cluster: Option<ClusterId>,
    kept: AckedNotLost,
    lost: LostWrites,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            state: LabState::default(),
            step: 0,
            stood: BTreeMap::new(),
            leaderless: BTreeMap::new(),
            ended_at_micros: None,
            writes: BTreeSet::new(),
            acknowledged: Vec::new(),
            unknown: Vec::new(),
            elections: Vec::new(),
            at_once: BTreeMap::new(),
            first_cluster: None,
            kept: AckedNotLost::new(0),
            lost: LostWrites::new(0),
        }
    }
}

impl Measures {
    /// Takes the next event of the journal.
    pub fn observe(&mut self, numbered: &Numbered) {
        self.kept.observe(numbered);
        self.lost.observe(numbered);
        let (seq, at_micros) = (numbered.seq, numbered.at_micros);
        if self.ends_steps(&numbered.event) {
            self.end_step(at_micros);
        }
        self.state.apply(numbered, false);
        let seen = Seen { step: self.step, at_micros, seq };
        match &numbered.event {
            Event::Step { number, .. } => {
                self.step = *number;
                let (leader, term) = (self.state.leader(), self.term());
                self.stood.insert(*number, Stood { at_micros, leader, term });
                self.count_leaders(seq);
            }
            Event::Identified { cluster, .. } => {
                self.first_cluster.get_or_insert(*cluster);
            }
            Event::Invoked { op, call, .. } if call.is_write() => {
                self.writes.insert(*op);
            }
            Event::Returned { op, outcome } if self.writes.remove(op) => match outcome {
                Outcome::Ok(_) | Outcome::Txn(_) => self.acknowledged.push(seen),
                Outcome::Info { .. } => self.unknown.push(seen),
                Outcome::Fail { .. } => {}
            },
            Event::Trace { member, traced }
                if matches!(traced.event, TraceEvent::Became { role: Role::Leader, .. }) =>
            {
                self.elections.push((seen, *member));
                self.count_leaders(seq);
            }
            Event::Status { .. } | Event::Process { .. } => self.count_leaders(seq),
            _ => {}
        }
    }

    /// Whether the step that runs is over: another begins, or the run is brought to its end.
    fn ends_steps(&self, event: &Event) -> bool {
        let quiet = |spec: &lab_protocol::WorkloadSpec| spec.is_idle();
        match event {
            Event::Step { .. } => true,
            Event::Asked { by: By::Drill, command, .. } => match command {
                Command::ReadBack => true,
                Command::SetWorkload { spec } => quiet(spec),
                _ => false,
            },
            _ => false,
        }
    }

    fn end_step(&mut self, at_micros: u64) {
        let without = self.state.taking_part().filter(|(_, member)| {
            matches!(member.process, Process::Up { .. })
                && member.status.as_ref().is_none_or(|status| status.leader.is_none())
        });
        let count = without.count();
        self.leaderless.entry(self.step).or_insert(count);
        self.ended_at_micros.get_or_insert(at_micros);
        if self.step > 0 && self.ended_at_micros.is_some_and(|ended| ended < at_micros) {
            self.ended_at_micros = Some(at_micros);
        }
    }

    fn term(&self) -> u64 {
        let terms = self.state.members.values().filter_map(|member| member.status.as_ref());
        terms.map(|status| status.term.0).max().unwrap_or(0)
    }

    fn count_leaders(&mut self, seq: u64) {
        let leads = self.state.members.values().filter(|member| {
            matches!(member.process, Process::Up { .. })
                && member.status.as_ref().is_some_and(|status| status.role == Role::Leader)
        });
        let count = leads.count();
        let most = self.at_once.entry(self.step).or_insert((count, seq));
        if count > most.0 {
            *most = (count, seq);
        }
    }

    /// What a question's run did.
    fn measure(&self, predict: &Predict, election_timeout: Duration) -> Measured {
        let last = self.stood.keys().last().copied().unwrap_or(0);
        let (from, to) = predict.steps.unwrap_or((1, last.max(1)));
        let inside = |seen: &Seen| (from..=to).contains(&seen.step);
        let count = |all: &[Seen], what: &str| {
            let within: Vec<_> = all.iter().filter(|seen| inside(seen)).collect();
            let evidence = within.iter().take(1).map(|seen| seen.seq).collect();
            number(within.len(), what, evidence)
        };
        let Some(before) = self.stood.get(&from) else {
            return unknown(&format!("step {from} did not begin"));
        };
        match predict.measure {
            Measure::LeaderAtEnd => {
                let leader = self.state.leader();
                let because = match leader {
                    Some(leader) => format!("{leader} leads at the end"),
                    None => "nobody leads at the end".to_owned(),
                };
                let won = self.elections.iter().rev().find(|(_, who)| Some(*who) == leader);
                let evidence = won.map(|(seen, _)| seen.seq).into_iter().collect();
                Measured { was: Some(Value::Member(leader)), because, evidence }
            }
            Measure::LeaderChanged => {
                let now = self.state.leader();
                let name =
                    |who: Option<MemberNo>| who.map_or("nobody".into(), |who| who.to_string());
                let because =
                    format!("{} led before, {} at the end", name(before.leader), name(now));
                let changed = i64::from(before.leader != now) * 1_000;
                Measured { was: Some(Value::Thousandths(changed)), because, evidence: Vec::new() }
            }
            Measure::TermsRisen => {
                let after =
                    self.stood.get(&(to + 1)).map_or_else(|| self.term(), |stood| stood.term);
                let risen = after.saturating_sub(before.term);
                let because = format!("the highest term was {}, then {after}", before.term);
                let was = Some(Value::Thousandths(thousands(risen)));
                Measured { was, because, evidence: Vec::new() }
            }
            Measure::Elections => {
                let won: Vec<_> = self.elections.iter().filter(|(seen, _)| inside(seen)).collect();
                let evidence = won.iter().map(|(seen, _)| seen.seq).collect();
                number(won.len(), "elections", evidence)
            }
            Measure::LeadersAtOnce => {
                let within = self.at_once.range(from..=to).map(|(_, most)| *most);
                match within.max_by_key(|(count, _)| *count) {
                    Some((count, seq)) => number(count, "leaders at once", vec![seq]),
                    None => unknown("no member told of itself"),
                }
            }
            Measure::WithoutLeader => match self.leaderless.get(&to) {
                Some(count) => number(*count, "members without a leader", Vec::new()),
                None => unknown(&format!("step {to} did not end")),
            },
            Measure::LongestGap => self.longest_gap(before.at_micros, to, election_timeout),
            Measure::WritesAcknowledged => count(&self.acknowledged, "writes acknowledged"),
            Measure::WritesUnknown => count(&self.unknown, "writes with an unknown outcome"),
            Measure::WritesLost => {
                let kept = self.kept.verdict();
                let missing = match kept.judgement {
                    Judgement::Valid => 0,
                    Judgement::Invalid => 1,
                    Judgement::Unknown => return unknown(&kept.because),
                };
                let mut lost =
                    number(self.lost.count() + missing, "acknowledged writes lost", kept.evidence);
                if missing > 0 {
                    lost.because = format!("{}: {}", lost.because, kept.because);
                }
                lost
            }
            Measure::OldIdentities => {
                let old = self.state.members.values().filter(|member| {
                    matches!(member.process, Process::Up { .. })
                        && member.id.is_some_and(|(_, own)| Some(own) == self.first_cluster)
                });
                number(old.count(), "members of the old cluster", Vec::new())
            }
        }
    }

    /// The longest time between two acknowledged writes, or from the last one to the steps' end.
    fn longest_gap(&self, from_micros: u64, to: u32, election_timeout: Duration) -> Measured {
        let next = self.stood.get(&(to + 1)).map(|stood| stood.at_micros);
        let until = next.or(self.ended_at_micros).unwrap_or(self.state.at_micros);
        let times = self.acknowledged.iter().map(|seen| (seen.at_micros, seen.seq));
        let ends = times.clone().skip(1).chain([(until.max(from_micros), 0)]);
        let pairs = times.zip(ends).filter(|((began, _), (ended, _))| {
            *ended >= from_micros && *began <= until && ended > began
        });
        let longest = pairs.max_by_key(|((began, _), (ended, _))| ended - began);
        let Some(((began, first), (ended, second))) = longest else {
            return unknown("no write was acknowledged");
        };
        let micros = ended - began;
        let timeout = u64::try_from(election_timeout.as_micros()).unwrap_or(u64::MAX).max(1);
        let was = i64::try_from(micros * 1_000 / timeout).unwrap_or(i64::MAX);
        Measured {
            was: Some(Value::Thousandths(was)),
            because: format!(
                "{} ms without an acknowledged write; an election timeout is {} ms",
                micros / 1_000,
                timeout / 1_000
            ),
            evidence: [first, second].into_iter().filter(|seq| *seq > 0).collect(),
        }
    }

    /// What was so of each question, and what the guesses were worth.
    pub fn reveal(&self, learn: &Learn, guesses: &[Guess], election_timeout: Duration) -> Reveal {
        let answers = learn.predict.iter().zip(guesses).map(|(predict, guess)| {
            let Measured { was, because, evidence } = self.measure(predict, election_timeout);
            let was = was.and_then(|was| answer(predict, was));
            let grade = grade(predict, guess.prediction, was);
            Revealed { id: predict.id.clone(), guess: *guess, was, because, evidence, grade }
        });
        Reveal {
            answers: answers.collect(),
            explain: learn.explain.clone(),
            misconception: learn.misconception.clone(),
        }
    }
}

fn thousands(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX / 1_000).saturating_mul(1_000)
}

fn number(count: usize, what: &str, evidence: Vec<u64>) -> Measured {
    let was = Some(Value::Thousandths(thousands(count)));
    Measured { was, because: format!("{count} {what}"), evidence }
}

fn unknown(why: &str) -> Measured {
    Measured { was: None, because: why.to_owned(), evidence: Vec::new() }
}

/// What was measured, as an answer to the question.
fn answer(predict: &Predict, was: Value) -> Option<Prediction> {
    match (predict.kind(), was) {
        (QuestionKind::Member, Value::Member(member)) => Some(Prediction::Member(member)),
        (QuestionKind::Number(_), Value::Thousandths(was)) => Some(Prediction::Thousandths(was)),
        (QuestionKind::Choice(_), Value::Thousandths(was)) => {
            let place = predict.choices.iter().position(|choice| choice.when.has(was / 1_000))?;
            Some(Prediction::Choice(u32::try_from(place).ok()?))
        }
        _ => None,
    }
}

/// How near a prediction was.
fn grade(predict: &Predict, predicted: Prediction, was: Option<Prediction>) -> Grade {
    let tolerance = predict.number.map_or(0, |number| number.tolerance.0);
    match (predicted, was) {
        (Prediction::Skipped, _) => Grade::Skipped,
        (_, None) => Grade::Unknown,
        (Prediction::Thousandths(predicted), Some(Prediction::Thousandths(was))) => {
            match predicted.abs_diff(was) {
                apart if apart <= tolerance.unsigned_abs() => Grade::Right,
                apart if apart <= 2 * tolerance.unsigned_abs() => Grade::Close,
                _ => Grade::Wrong,
            }
        }
        (predicted, Some(was)) if predicted == was => Grade::Right,
        _ => Grade::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::Call;
    use lab_protocol::scenario::{Choice, NumberWish, Range, Thousandths};

    use super::*;
    use crate::script::{Script, follows, whole};

    const ET: Duration = Duration::from_millis(100);

    fn predict(measure: Measure) -> Predict {
        let (id, ask) = (String::new(), String::new());
        Predict { id, ask, measure, steps: None, choices: Vec::new(), number: None }
    }

    fn within(measure: Measure, tolerance: i64) -> Predict {
        let number = Some(NumberWish { tolerance: Thousandths(tolerance) });
        Predict { number, ..predict(measure) }
    }

    fn choose(measure: Measure, when: &[&str]) -> Predict {
        let choice = |text: &&str| Choice {
            say: (*text).to_owned(),
            when: Range::try_from((*text).to_owned()).expect("a range"),
        };
        Predict { choices: when.iter().map(choice).collect(), ..predict(measure) }
    }

    fn measures(script: &Script) -> Measures {
        let mut measures = Measures::default();
        script.events.iter().for_each(|event| measures.observe(event));
        measures
    }

    /// What came of one question, and how the prediction is graded.
    fn asked(run: &Measures, predict: Predict, prediction: Prediction) -> (Revealed, Grade) {
        let learn = Learn {
            hook: String::new(),
            predict: vec![predict],
            explain: "e".into(),
            misconception: "m".into(),
        };
        let guess = Guess { prediction, confidence_percent: 50 };
        let answer = run.reveal(&learn, &[guess], ET).answers.remove(0);
        let grade = answer.grade;
        (answer, grade)
    }

    /// m1 leads and fails; `winner` leads on, and everything is read back.
    fn leader_fails(winner: u8) -> Measures {
        let put = |script: Script, op, revision| {
            script.put(op, 2, &format!("k{op}"), "v").ok(op, revision, None)
        };
        let script = whole(Script::new(3).up(&[1, 2, 3]).identified(1, 1, 9)).step(1);
        let script = put(put(script, 1, 2), 2, 3).step(2).down(1).wait(300);
        let script = script.became(winner, Role::Leader, 3);
        let script =
            [2, 3].into_iter().fold(script, |script, member| follows(script, member, winner, 3));
        let script = put(script.step(3), 3, 4).put(4, 2, "k4", "v").info(4);
        let rows = [("k1", "v", 2), ("k2", "v", 3), ("k3", "v", 4)];
        measures(
            &[1, 2, 3]
                .into_iter()
                .fold(script.up(&[1]), |script, member| script.read_back(member, 4, &rows)),
        )
    }

    #[test]
    fn who_leads_is_what_the_run_says_whoever_it_is() {
        for winner in [2, 3] {
            let run = leader_fails(winner);
            let who = Prediction::Member(Some(MemberNo(2)));
            let (answer, grade) = asked(&run, predict(Measure::LeaderAtEnd), who);
            assert_eq!(answer.was, Some(Prediction::Member(Some(MemberNo(winner)))));
            assert_eq!(grade == Grade::Right, winner == 2, "{answer:?}");
            assert!(!answer.evidence.is_empty());
            let changed = choose(Measure::LeaderChanged, &["no", "yes"]);
            assert_eq!(asked(&run, changed, Prediction::Choice(1)).1, Grade::Right);
        }
    }

    #[test]
    fn numbers_are_right_close_or_wrong() {
        let run = leader_fails(2);
        let gap = |thousandths| {
            let near = within(Measure::LongestGap, 1_000);
            asked(&run, near, Prediction::Thousandths(thousandths))
        };
        let (answer, _) = gap(0);
        let Some(Prediction::Thousandths(was)) = answer.was else { panic!("{answer:?}") };
        assert!((3_000..3_500).contains(&was), "{answer:?}");
        assert_eq!(gap(was + 900).1, Grade::Right);
        assert_eq!(gap(was + 1_900).1, Grade::Close);
        assert_eq!(gap(was + 2_100).1, Grade::Wrong);
        assert_eq!(
            asked(&run, within(Measure::Elections, 0), Prediction::Skipped).1,
            Grade::Skipped
        );
    }

    #[test]
    fn a_choice_is_true_of_what_was_counted() {
        let run = leader_fails(3);
        let counted = |measure, steps| {
            let kinds = ["0", "1", "2 or more"];
            let (answer, _) =
                asked(&run, Predict { steps, ..choose(measure, &kinds) }, Prediction::Choice(0));
            let Some(Prediction::Choice(place)) = answer.was else { panic!("{answer:?}") };
            kinds[place as usize]
        };
        assert_eq!(counted(Measure::WritesAcknowledged, None), "2 or more");
        assert_eq!(counted(Measure::WritesAcknowledged, Some((2, 2))), "0");
        assert_eq!(counted(Measure::WritesAcknowledged, Some((3, 3))), "1");
        assert_eq!(counted(Measure::WritesUnknown, None), "1");
        assert_eq!(counted(Measure::WritesLost, None), "0");
        assert_eq!(counted(Measure::Elections, None), "1");
    }

    #[test]
    fn what_is_lost_is_told_and_what_is_not_known_is_not_graded() {
        let run = Script::new(1).up(&[1]).step(1).put(1, 1, "k", "v").ok(1, 2, None);
        let lost = || choose(Measure::WritesLost, &["0", "1 or more"]);
        let gone = measures(&run.clone().read_back(1, 2, &[]));
        let (answer, grade) = asked(&gone, lost(), Prediction::Choice(1));
        assert_eq!(grade, Grade::Right, "{answer:?}");
        let nobody_read = measures(&run);
        assert_eq!(asked(&nobody_read, lost(), Prediction::Choice(1)).1, Grade::Unknown);
        let nothing = measures(&Script::new(1).invoke(1, 1, Call::Delete { key: "k".into() }));
        assert_eq!(asked(&nothing, lost(), Prediction::Choice(0)).1, Grade::Unknown);
    }
}
