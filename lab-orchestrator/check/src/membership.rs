//! Changes of the members: who has a vote at the end, what could still have failed on the way, and
//! whether leaders left their office before they left.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::node_protocol::Term;
use lab_protocol::scenario::{Target, VotersAtEnd};
use lab_protocol::{CheckResult, Event, MemberNo, Numbered, Process};

use crate::cluster::Cluster;
use crate::history::Moment;
use crate::{Check, Finding, convergence, seconds};

/// At the end so many members have a vote, and each of them runs.
///
/// Who has a vote is what a member told of the last configuration that it applied. A voter that was
/// added and never started has no place in the lab, and does not run.
#[derive(Clone, Debug)]
pub struct Voters {
    exactly: usize,
    without: BTreeSet<MemberNo>,
    cluster: Cluster,
}

impl Voters {
    /// By how many there are to be, and who not.
    pub fn new(wish: &VotersAtEnd) -> Self {
        let VotersAtEnd { exactly, without } = wish;
        let named = without.iter().filter_map(|target| match target {
            Target::Member(member) => Some(*member),
            // Refused when the file was read.
            _ => None,
        });
        Self { exactly: *exactly as usize, without: named.collect(), cluster: Cluster::default() }
    }
}

impl Check for Voters {
    fn observe(&mut self, numbered: &Numbered) {
        self.cluster.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let (count, seated) = self.cluster.voters();
        // Two that go by one identity are one.
        let heard = seated.iter().filter(|(_, member)| convergence::is_heard(member));
        let runs = heard.filter_map(|(_, member)| member.id).collect::<BTreeSet<_>>().len();
        let unwanted = seated.iter().find(|(no, _)| self.without.contains(no));
        let finding = if count == 0 {
            Finding::unknown("no member told who has a vote")
        } else if count != self.exactly {
            let exactly = self.exactly;
            Finding::invalid(format!("{count} members have a vote, {exactly} were asked for"), [])
        } else if let Some((no, _)) = unwanted {
            Finding::invalid(format!("{no} still has a vote"), [])
        } else if runs < count {
            Finding::invalid(format!("of {count} members with a vote {runs} run"), [])
        } else {
            Finding::valid(format!("{count} members have a vote, and all run"))
        };
        finding.of("voters", "who has a vote is there to give it")
    }
}

/// From the first time that it was so, so many voters more could have failed at any moment, and a
/// quorum would have been left.
///
/// With 0: a quorum was never missing. What counts is that voters run and reach each other, not
/// that nothing was asked meanwhile.
#[derive(Clone, Debug)]
pub struct ToleranceKept {
    at_least: i64,
    cluster: Cluster,
    /// The least since it was first reached.
    least: Option<i64>,
    /// When there was too little, and how much there was.
    broken: Option<(Moment, i64)>,
}

impl ToleranceKept {
    /// Invalid once fewer voters than these could fail.
    pub fn new(at_least: u32) -> Self {
        let at_least = i64::from(at_least);
        Self { at_least, cluster: Cluster::default(), least: None, broken: None }
    }
}

impl Check for ToleranceKept {
    fn observe(&mut self, numbered: &Numbered) {
        self.cluster.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => self.least = None,
            Event::Process { .. }
            | Event::LinkChanged { .. }
            | Event::Identified { .. }
            | Event::Status { .. } => {
                let now = self.cluster.tolerance();
                match self.least {
                    None if now >= self.at_least => self.least = Some(now),
                    None => {}
                    Some(least) => self.least = Some(least.min(now)),
                }
                if self.least.is_some() && now < self.at_least && self.broken.is_none() {
                    self.broken = Some((Moment::of(numbered), now));
                }
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match (self.broken, self.least) {
            (Some((Moment { seq, at_micros }, now)), _) => {
                let at = seconds(at_micros);
                let words = match now {
                    ..0 => format!("a quorum was missing at {at}"),
                    0 => format!("at {at} a quorum was left and nobody could fail"),
                    _ => format!("at {at} only {now} voters could fail"),
                };
                Finding::invalid(words, [seq])
            }
            (None, None) => Finding::unknown("there never were enough members that run"),
            (None, Some(0)) => Finding::valid("a quorum was never missing"),
            (None, Some(least)) => {
                Finding::valid(format!("{least} voters could have failed at any time"))
            }
        };
        finding.of("tolerance_kept", "a quorum is left, and what may still fail")
    }
}

/// Whoever led had a successor before its process ended or paused.
///
/// One that has handed over leaves nobody waiting; one that ends in office leaves the others to
/// find out, an election timeout long.
#[derive(Clone, Debug, Default)]
pub struct LeadershipHandedOver {
    cluster: Cluster,
    /// Who ended in office, in which term, and when.
    left: Vec<(MemberNo, Term, Moment)>,
}

impl Check for LeadershipHandedOver {
    fn observe(&mut self, numbered: &Numbered) {
        if let Event::Process { member, process } = &numbered.event
            && !matches!(process, Process::Up { .. })
            && let Some(term) = self.cluster.office(*member)
        {
            self.left.push((*member, term, Moment::of(numbered)));
        }
        self.cluster.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        // A successor may be heard of after the process ended, and still have been there before.
        let followed = |term: Term, left: Moment| {
            let mut elected = self.cluster.elected();
            elected.any(|(later, _, at)| later > term && at.at_micros <= left.at_micros)
        };
        let terms = self.cluster.elected().count();
        let gone = self.left.iter().find(|(_, term, moment)| !followed(*term, *moment));
        let finding = match gone {
            Some((member, term, moment)) => Finding::invalid(
                format!(
                    "{member} led in term {term} and ended at {} without a successor",
                    seconds(moment.at_micros)
                ),
                [moment.seq],
            ),
            None if terms == 0 => Finding::unknown("nobody ever led"),
            None => Finding::valid(format!("{terms} leaders, none ended in office")),
        };
        finding.of("leadership_handed_over", "who leads hands over before it leaves")
    }
}

/// Every voter runs a process that began after a step.
#[derive(Clone, Debug)]
pub struct Restarted {
    since_step: u32,
    cluster: Cluster,
    /// Whether the step has begun.
    reached: bool,
    /// Who runs, with which process, and whether that began after the step.
    processes: BTreeMap<MemberNo, (u32, bool)>,
}

impl Restarted {
    /// By the number of the step, from 1.
    pub fn new(since_step: u32) -> Self {
        let (cluster, processes) = (Cluster::default(), BTreeMap::new());
        Self { since_step, cluster, reached: false, processes }
    }
}

impl Check for Restarted {
    fn observe(&mut self, numbered: &Numbered) {
        self.cluster.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => self.processes.clear(),
            Event::Step { number, .. } => self.reached |= *number == self.since_step,
            // One that was paused goes on as the process that it was.
            Event::Process { member, process: Process::Up { pid } }
                if self.processes.get(member).is_none_or(|(known, _)| known != pid) =>
            {
                self.processes.insert(*member, (*pid, self.reached));
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let (count, seated) = self.cluster.voters();
        let began = |no: &MemberNo| self.processes.get(no).is_some_and(|(_, after)| *after);
        let old = seated.iter().find(|(no, _)| !began(no));
        let finding = match old {
            _ if !self.reached || count == 0 => Finding::unknown("the run did not come so far"),
            Some((no, _)) => Finding::invalid(format!("{no} was not restarted"), []),
            None => Finding::valid(format!("{} members were restarted", seated.len())),
        };
        finding.of("restarted", "every member runs what it was to be restarted for")
    }
}

#[cfg(test)]
mod tests {
    use lab_protocol::Judgement::{Invalid, Unknown, Valid};
    use lab_protocol::node_protocol::{MemberId, Role, Status};
    use lab_protocol::{Event, MemberPlan, Process};

    use super::*;
    use crate::script::{Script, check};

    /// A member that leads tells of these voters.
    fn tells(script: Script, member: u8, voters: &[u8]) -> Script {
        let voters = voters.iter().map(|no| MemberId(u64::from(*no))).collect();
        let status = Status { role: Role::Leader, voters, ..Status::default_at(0) };
        script.status(member, status)
    }

    fn heard(script: Script, member: u8) -> Script {
        script.identified(member, u64::from(member), 1).status(member, Status::default_at(0))
    }

    /// Three voters that run and were heard; m1 leads.
    fn three() -> Script {
        let script = (1..=3).fold(Script::new(3).up(&[1, 2, 3]), heard);
        tells(script, 1, &[1, 2, 3])
    }

    fn seated(script: Script, member: u8) -> Script {
        let (client_url, peer_url) = (String::new(), String::new());
        let plan = MemberPlan { member: MemberNo(member), client_url, peer_url };
        script.then(Event::Seated { plan })
    }

    fn voters(exactly: u32, without: &[u8]) -> Voters {
        let without = without.iter().map(|no| Target::Member(MemberNo(*no))).collect();
        Voters::new(&VotersAtEnd { exactly, without })
    }

    #[test]
    fn voters_are_counted_and_run() {
        check(&mut voters(3, &[]), three(), Valid, "3 members have a vote");
        check(&mut voters(3, &[3]), three(), Invalid, "m3 still has a vote");
        check(&mut voters(3, &[]), three().down(3), Invalid, "of 3 members with a vote 2 run");
        check(&mut voters(3, &[]), Script::new(3).up(&[1, 2, 3]), Unknown, "no member told");
        let added = tells(three(), 1, &[1, 2, 3, 4]);
        check(&mut voters(3, &[]), added.clone(), Invalid, "4 members have a vote, 3");
        check(&mut voters(4, &[]), added.clone(), Invalid, "of 4 members with a vote 3 run");
        let started = heard(seated(added, 4).up(&[4]), 4);
        check(&mut voters(4, &[]), started, Valid, "4 members");
        let twice = tells(three().identified(3, 2, 1), 1, &[1, 2, 3]);
        check(&mut voters(3, &[]), twice, Invalid, "of 3 members with a vote 2 run");
        let removed = tells(three(), 1, &[1, 2]).down(3);
        check(&mut voters(2, &[3]), removed, Valid, "2 members");
    }

    fn kept(at_least: u32, script: Script, judgement: lab_protocol::Judgement, has: &str) {
        check(&mut ToleranceKept::new(at_least), script, judgement, has);
    }

    #[test]
    fn what_could_still_fail_is_counted() {
        kept(1, three(), Valid, "1 voters could have failed at any time");
        kept(2, three(), Unknown, "never were enough");
        kept(1, three().down(3), Invalid, "nobody could fail");
        kept(0, three().down(3), Valid, "never missing");
        kept(0, three().down(3).down(2), Invalid, "a quorum was missing");
        // Back again it does not count before it has said something.
        let back = three().down(3).up(&[3]);
        kept(0, back.clone().down(2), Invalid, "a quorum was missing");
        kept(0, heard(back, 3).down(2), Valid, "never missing");
    }

    #[test]
    fn a_vote_that_nobody_can_give_costs_tolerance() {
        kept(1, tells(three(), 1, &[1, 2, 3, 4]), Invalid, "nobody could fail");
        kept(0, tells(three().down(3), 1, &[1, 2, 3, 4]), Invalid, "a quorum was missing");
        let learner = heard(seated(three(), 4).up(&[4]), 4);
        kept(1, tells(learner, 1, &[1, 2, 3, 4]), Valid, "1 voters");
        let shrunk = tells(three().down(3), 1, &[1, 2]);
        kept(0, shrunk, Valid, "never missing");
    }

    #[test]
    fn who_is_cut_off_does_not_count() {
        kept(0, three().cut(1, 2), Valid, "never missing");
        kept(0, three().cut(1, 2).cut(2, 3).cut(1, 3), Invalid, "a quorum was missing");
        // m3 still reaches both.
        kept(1, three().cut(1, 2), Valid, "1 voters");
        kept(1, three().cut(1, 2).cut(1, 3), Invalid, "nobody could fail");
    }

    #[test]
    fn a_leader_that_ends_in_office_is_named() {
        let mut handed = LeadershipHandedOver::default();
        check(&mut handed, Script::new(3).up(&[1, 2, 3]), Unknown, "nobody ever led");
        let led = three().leads(1, 2);
        check(&mut LeadershipHandedOver::default(), led.clone().down(2), Valid, "none ended");
        let crashed = led.clone().down(1).wait(300).leads(2, 3);
        check(&mut LeadershipHandedOver::default(), crashed, Invalid, "m1 led in term 2");
        let moved = led.leads(2, 3).became(1, Role::Follower, 3).down(1);
        check(&mut LeadershipHandedOver::default(), moved, Valid, "none ended");
    }

    #[test]
    fn every_voter_is_to_be_restarted() {
        let process = |pid| Event::Process { member: MemberNo(1), process: Process::Up { pid } };
        let again = |script: Script, member: u8| {
            let member = MemberNo(member);
            script.then(Event::Process { member, process: Process::Up { pid: 9 } })
        };
        let script = three().step(1);
        check(&mut Restarted::new(2), script.clone(), Unknown, "did not come so far");
        check(&mut Restarted::new(1), script.clone(), Invalid, "m1 was not restarted");
        let two = [1, 2].into_iter().fold(script, again);
        check(&mut Restarted::new(1), two.clone(), Invalid, "m3 was not restarted");
        // Resumed is not restarted.
        check(&mut Restarted::new(1), two.clone().then(process(9)).up(&[3]), Invalid, "m3");
        check(&mut Restarted::new(1), again(two, 3), Valid, "3 members were restarted");
    }
}
