//! Elections: at most one leader a term, and no election where none is needed.

use std::collections::BTreeMap;

use lab_protocol::node_protocol::{Role, Term, TraceEvent};
use lab_protocol::{CheckResult, Event, MemberNo, Numbered};

use crate::cluster::Cluster;
use crate::logs::ByCluster;
use crate::{Check, Finding};

/// At most one leader in each term (Raft paper figure 3, *election safety*).
#[derive(Clone, Debug, Default)]
pub struct ElectionSafety {
    /// Who led in which term, and the event that says so.
    leaders: ByCluster<BTreeMap<Term, (MemberNo, u64)>>,
    elections: usize,
    broken: Option<(Term, MemberNo, MemberNo, [u64; 2])>,
}

impl Check for ElectionSafety {
    fn observe(&mut self, numbered: &Numbered) {
        self.leaders.observe(numbered);
        let (member, term) = match &numbered.event {
            Event::Trace { member, traced } => match traced.event {
                TraceEvent::Became { role: Role::Leader, term, .. } => (*member, term),
                _ => return,
            },
            Event::Status { member, status } if status.role == Role::Leader => {
                (*member, status.term)
            }
            _ => return,
        };
        let leaders = self.leaders.of(member);
        match leaders.get(&term) {
            None => {
                self.elections += 1;
                leaders.insert(term, (member, numbered.seq));
            }
            Some((other, seq)) if *other != member => {
                self.broken.get_or_insert((term, *other, member, [*seq, numbered.seq]));
            }
            Some(_) => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match (&self.broken, self.elections) {
            (Some((term, one, other, seqs)), _) => Finding::invalid(
                format!("{one} and {other} both led in term {term}"),
                seqs.as_slice(),
            ),
            (None, 0) => Finding::unknown("nobody was seen to lead in this run"),
            (None, count) => Finding::valid(format!("{count} elections, one leader in each term")),
        };
        finding.of("election_safety", "at most one leader in each term")
    }
}

/// The term in which a leader leads when the first fault happens is still the last in which
/// anybody leads at the end.
#[derive(Clone, Debug, Default)]
pub struct NoTermChange {
    cluster: Cluster,
    /// The leader's term when the first fault happened.
    before: Option<(MemberNo, Term)>,
}

impl Check for NoTermChange {
    fn observe(&mut self, numbered: &Numbered) {
        let leader = self.cluster.leader();
        let quiet = self.cluster.first_fault().is_none();
        self.cluster.observe(numbered);
        if quiet && self.cluster.first_fault().is_some() {
            self.before = leader;
        }
    }

    fn verdict(&self) -> CheckResult {
        let last = self.cluster.elected().last();
        let finding = match (self.before, last) {
            (None, _) => Finding::unknown("no fault happened while somebody led"),
            (Some((leader, term)), Some((later, other, moment))) if later > term => {
                Finding::invalid(
                    format!("{leader} led in term {term}, then {other} in term {later}"),
                    [moment.seq],
                )
            }
            (Some((leader, term)), _) => {
                Finding::valid(format!("{leader} led in term {term} from the first fault on"))
            }
        };
        finding.of("no_term_change", "losing a minority of followers does not disturb the leader")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};

    #[test]
    fn two_leaders_in_one_term_are_named() {
        check(&mut ElectionSafety::default(), Script::new(3), Unknown, "nobody");
        let fine = Script::new(3).leads(1, 2).leads(2, 3).leads(2, 3);
        check(&mut ElectionSafety::default(), fine, Valid, "2 elections");
        let broken = Script::new(3).leads(1, 2).leads(2, 3).leads(3, 3);
        check(&mut ElectionSafety::default(), broken, Invalid, "m2 and m3 both led in term 3");
    }

    #[test]
    fn a_later_cluster_does_not_forgive_an_earlier_one() {
        let script = Script::new(3).leads(1, 2).leads(2, 2).started_over(3).leads(1, 2);
        check(&mut ElectionSafety::default(), script, Invalid, "term 2");
        let script = Script::new(3).leads(1, 2).started_over(3).leads(2, 2);
        check(&mut ElectionSafety::default(), script, Valid, "2 elections");
    }

    #[test]
    fn a_new_term_after_a_follower_is_lost_is_a_disturbance() {
        let quiet = Script::new(3).up(&[1, 2, 3]).leads(1, 2);
        check(&mut NoTermChange::default(), quiet.clone(), Unknown, "no fault");
        let calm = quiet.clone().down(3).up(&[3]);
        check(&mut NoTermChange::default(), calm, Valid, "term 2");
        let disturbed = quiet.down(3).leads(2, 3);
        check(&mut NoTermChange::default(), disturbed, Invalid, "then m2 in term 3");
    }
}
