//! Leases live at least their time, end when they are revoked, and a new leader gives them their
//! time again.

use std::collections::BTreeMap;

use lab_protocol::node_protocol::Term;
use lab_protocol::{Call, CheckResult, Numbered};

use crate::cluster::Cluster;
use crate::history::{History, Moment, Operation};
use crate::{Check, Finding, seconds};

/// Seconds left are rounded down, and the answer travels.
const ROUNDING_SECONDS: i64 = 1;

/// How much older than the new leader a lease must be for its remaining time to tell whether it
/// was extended.
const TELLING_MICROS: u64 = 3_000_000;

/// A question about a lease that was granted in this run, or a keep-alive of one.
struct Asked<'a> {
    lease: i64,
    grant: &'a Operation,
    granted: Moment,
    granted_term: u64,
    ttl_seconds: u32,
    question: &'a Operation,
    answered: Moment,
    answered_term: u64,
    /// Seconds left; negative when there is no such lease.
    left_seconds: i64,
    /// Somebody may have revoked the lease before the answer.
    may_be_revoked: bool,
    /// The revoke that had happened when the question was asked.
    revoked: Option<&'a Operation>,
}

fn questions(history: &History) -> Vec<Asked<'_>> {
    let mut grants = BTreeMap::new();
    let mut revokes: BTreeMap<i64, Vec<&Operation>> = BTreeMap::new();
    for operation in history.iter() {
        if let (Call::LeaseGrant { ttl_seconds }, Some((granted, answer))) =
            (&operation.call, operation.acknowledged())
        {
            grants.insert(answer.number, (operation, granted, answer.term, *ttl_seconds));
        }
        if let Call::LeaseRevoke { lease } = operation.call
            && operation.may_have_happened()
        {
            revokes.entry(lease).or_default().push(operation);
        }
    }
    let asked = |question| {
        let operation: &Operation = question;
        let (answered, answer) = operation.acknowledged()?;
        let (lease, left_seconds) = match operation.call {
            Call::LeaseTimeToLive { lease } => (lease, answer.number),
            Call::LeaseKeepAlive { lease } if answer.number > 0 => (lease, answer.number),
            Call::LeaseKeepAlive { lease } => (lease, -1),
            _ => return None,
        };
        let (grant, granted, granted_term, ttl_seconds) = grants.get(&lease).copied()?;
        let revokes = revokes.get(&lease).map_or(&[][..], Vec::as_slice);
        let returned_before = |revoke: &Operation| {
            revoke.acknowledged().is_some_and(|(moment, _)| moment.seq < operation.invoked.seq)
        };
        Some(Asked {
            lease,
            grant,
            granted,
            granted_term,
            ttl_seconds,
            question: operation,
            answered,
            answered_term: answer.term,
            left_seconds,
            may_be_revoked: revokes.iter().any(|revoke| revoke.invoked.seq < answered.seq),
            revoked: revokes.iter().copied().find(|revoke| returned_before(revoke)),
        })
    };
    history.iter().filter_map(asked).collect()
}

/// No lease was gone before the time that it was granted for had passed, nor before the end of
/// what a leader said it had left or gave it anew, unless it was revoked; and none was there after
/// that.
#[derive(Clone, Debug)]
pub struct LeaseNotEarly {
    at_least: u32,
    history: History,
}

impl LeaseNotEarly {
    /// Unknown below so many answers about granted leases.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, history: History::default() }
    }
}

/// Two answers that contradict each other, and why.
type Broken = (String, Vec<u64>);

/// An answer that so many seconds were left, and one that found the lease gone before they had
/// passed. They count from the question at the earliest.
fn broken_promise(questions: &[Asked<'_>]) -> Option<Broken> {
    let end = |asked: &Asked<'_>| {
        let left = u64::try_from(asked.left_seconds).unwrap_or(0);
        asked.question.invoked.at_micros + left * 1_000_000
    };
    let mut latest: BTreeMap<i64, &Asked<'_>> = BTreeMap::new();
    let mut found = None;
    let mut in_order: Vec<_> = questions.iter().collect();
    in_order.sort_by_key(|asked| asked.answered.seq);
    for asked in in_order {
        let lease = asked.lease;
        if asked.left_seconds < 0 {
            let early = |promise: &&&Asked<'_>| asked.answered.at_micros < end(promise);
            let broken = latest.get(&lease).filter(early).filter(|_| !asked.may_be_revoked);
            found = found.or(broken.map(|promise| (*promise, asked)));
        } else if latest.get(&lease).is_none_or(|promise| end(promise) < end(asked)) {
            latest.insert(lease, asked);
        }
    }
    let (promise, asked) = found?;
    let mut evidence = promise.question.evidence();
    evidence.extend(asked.question.evidence());
    let why = format!(
        "{} was told that {} s were left, and {} found the lease gone {} later",
        promise.question.words(),
        promise.left_seconds,
        asked.question.words(),
        seconds(asked.answered.at_micros - promise.question.invoked.at_micros)
    );
    Some((why, evidence))
}

impl Asked<'_> {
    /// How old the lease is at most: it begins no earlier than it was asked for.
    fn age_micros(&self) -> u64 {
        self.answered.at_micros.saturating_sub(self.grant.invoked.at_micros)
    }

    /// The lease was gone before the time that it was granted for.
    fn is_early(&self) -> Option<Broken> {
        let full_micros = u64::from(self.ttl_seconds) * 1_000_000;
        if self.left_seconds >= 0 || self.may_be_revoked || self.age_micros() >= full_micros {
            return None;
        }
        let mut evidence = self.grant.evidence();
        evidence.extend(self.question.evidence());
        let (grant, age) = (self.grant.words(), seconds(self.age_micros()));
        Some((format!("the lease of {grant} was gone after {age}"), evidence))
    }

    /// The lease was there though it had been revoked.
    fn outlives_revoke(&self) -> Option<Broken> {
        let revoke = self.revoked.filter(|_| self.left_seconds >= 0)?;
        let mut evidence = revoke.evidence();
        evidence.extend(self.question.evidence());
        let (revoke, left) = (revoke.words(), self.left_seconds);
        let why = format!("{} was told that {left} s were left, behind {revoke}", {
            self.question.words()
        });
        Some((why, evidence))
    }
}

impl Check for LeaseNotEarly {
    fn observe(&mut self, numbered: &Numbered) {
        self.history.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let questions = questions(&self.history);
        let alive: Vec<_> = questions.iter().filter(|asked| asked.left_seconds >= 0).collect();
        let broken = broken_promise(&questions)
            .or_else(|| questions.iter().find_map(Asked::is_early))
            .or_else(|| questions.iter().find_map(Asked::outlives_revoke));
        let finding = if let Some((why, evidence)) = broken {
            Finding::invalid(why, evidence)
        } else if alive.len() < self.at_least as usize {
            Finding::too_few(alive.len(), self.at_least, "answers about leases that live")
        } else {
            let oldest = alive.iter().map(|asked| asked.age_micros()).max().unwrap_or(0);
            Finding::valid(format!(
                "{} answers, no lease gone early, the oldest seen alive at {}",
                questions.len(),
                seconds(oldest)
            ))
        };
        finding.of("lease_not_early", "a lease never ends before its time, and ends when revoked")
    }
}

/// A leader elected after a lease was granted gave it its full time again.
#[derive(Clone, Debug)]
pub struct LeaseExtended {
    at_least: u32,
    history: History,
    cluster: Cluster,
}

impl LeaseExtended {
    /// Unknown below so many answers that tell.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, history: History::default(), cluster: Cluster::default() }
    }
}

impl Check for LeaseExtended {
    fn observe(&mut self, numbered: &Numbered) {
        self.history.observe(numbered);
        self.cluster.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let elected: BTreeMap<Term, Moment> =
            self.cluster.elected().map(|(term, _, moment)| (term, moment)).collect();
        let mut telling = 0;
        let mut extended = String::new();
        let mut broken = None;
        for asked in questions(&self.history) {
            let Some(since) = elected.get(&Term(asked.answered_term)) else { continue };
            let old_enough = since.at_micros >= asked.granted.at_micros + TELLING_MICROS;
            let tells = asked.answered_term > asked.granted_term && !asked.may_be_revoked;
            if !tells || !old_enough {
                continue;
            }
            let in_office = asked.answered.at_micros.saturating_sub(since.at_micros);
            let passed = i64::try_from(in_office.div_ceil(1_000_000)).unwrap_or(i64::MAX);
            let owed = i64::from(asked.ttl_seconds) - passed - ROUNDING_SECONDS;
            if owed < 0 {
                continue;
            }
            let words = format!(
                "{} after the election of term {} a lease of {} s had {} s left, at least {owed} \
                 are owed",
                seconds(in_office),
                asked.answered_term,
                asked.ttl_seconds,
                asked.left_seconds
            );
            if asked.left_seconds < owed && broken.is_none() {
                let mut evidence = asked.grant.evidence();
                evidence.extend(asked.question.evidence());
                broken = Some((words.clone(), evidence));
            }
            telling += 1;
            extended = words;
        }
        let finding = match broken {
            Some((why, evidence)) => Finding::invalid(why, evidence),
            None if telling < self.at_least as usize => {
                let cases = "answers of a new leader about leases older than itself";
                Finding::too_few(telling, self.at_least, cases)
            }
            None => Finding::valid(extended),
        };
        finding.of("lease_extended", "a new leader gives every lease its full time again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    /// A lease of 10 s granted in term 2, and 4 s later a leader of term 3.
    fn granted() -> Script {
        Script::new(3)
            .up(&[1, 2, 3])
            .leads(1, 2)
            .invoke(1, 1, Call::LeaseGrant { ttl_seconds: 10 })
            .answer(1, 1, 2, None, 77)
            .wait(4000)
            .leads(2, 3)
    }

    fn asked(script: Script, left_seconds: i64) -> Script {
        script.invoke(2, 2, Call::LeaseTimeToLive { lease: 77 }).answer(2, 1, 3, None, left_seconds)
    }

    #[test]
    fn a_lease_gone_early_is_named() {
        check(&mut LeaseNotEarly::new(1), granted(), Unknown, "0 answers");
        check(&mut LeaseNotEarly::new(1), asked(granted(), 9), Valid, "no lease gone early");
        check(&mut LeaseNotEarly::new(1), asked(granted(), -1), Invalid, "was gone after 4.");
        let late = asked(asked(granted(), 9).wait(11_000), -1);
        check(&mut LeaseNotEarly::new(0), late, Valid, "no lease gone early");
    }

    fn kept_alive(script: Script, op: u64, left_seconds: i64) -> Script {
        let call = Call::LeaseKeepAlive { lease: 77 };
        script.invoke(op, 2, call).answer(op, 1, 3, None, left_seconds)
    }

    #[test]
    fn a_keep_alive_is_a_promise_too() {
        let late = || kept_alive(granted().wait(3000), 3, 10).wait(6000);
        check(&mut LeaseNotEarly::new(1), asked(late(), 3), Valid, "no lease gone early");
        check(&mut LeaseNotEarly::new(1), asked(late(), -1), Invalid, "told that 10 s were left");
        check(&mut LeaseNotEarly::new(1), kept_alive(late(), 2, 0), Invalid, "10 s were left");
        check(&mut LeaseNotEarly::new(1), asked(late().wait(5000), -1), Valid, "2 answers");
    }

    #[test]
    fn a_revoke_ends_a_lease_and_one_that_is_unknown_may_have() {
        let revoke = || granted().invoke(4, 1, Call::LeaseRevoke { lease: 77 });
        check(&mut LeaseNotEarly::new(0), asked(revoke().info(4), -1), Valid, "1 answers");
        check(&mut LeaseNotEarly::new(0), asked(revoke().info(4), 5), Valid, "1 answers");
        check(&mut LeaseNotEarly::new(0), asked(revoke().fail(4), -1), Invalid, "gone after 4.");
        let revoked = || revoke().answer(4, 1, 3, None, 0);
        check(&mut LeaseNotEarly::new(0), asked(revoked(), -1), Valid, "1 answers");
        check(
            &mut LeaseNotEarly::new(0),
            asked(revoked(), 5),
            Invalid,
            "behind operation 4 (revoke",
        );
        check(&mut LeaseExtended::new(1), asked(revoke().info(4), -1), Unknown, "0 answers");
        // Asked before it had returned.
        let question = Call::LeaseTimeToLive { lease: 77 };
        let beside = revoke().invoke(2, 2, question).answer(4, 1, 3, None, 0);
        check(&mut LeaseNotEarly::new(0), beside.answer(2, 1, 3, None, 5), Valid, "1 answers");
    }

    #[test]
    fn a_lease_that_was_not_extended_is_named() {
        check(&mut LeaseExtended::new(1), granted(), Unknown, "0 answers");
        check(&mut LeaseExtended::new(1), asked(granted(), 9), Valid, "9 s left");
        check(&mut LeaseExtended::new(1), asked(granted(), 5), Invalid, "5 s left");
        check(&mut LeaseExtended::new(1), asked(granted().wait(12_000), 0), Unknown, "0 answers");
    }
}
