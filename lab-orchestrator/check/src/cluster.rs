//! The cluster as the checks see it: processes, links, who leads, and since when nobody does.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::node_protocol::{Role, Term, TraceEvent};
use lab_protocol::{
    Command, Event, LabState, Link, LinkCondition, MemberNo, MemberState, Numbered, Process,
    Standing,
};

use crate::convergence;
use crate::history::Moment;

/// A fold of the events that tell of members and links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// Every member with a place, and whether its process runs.
    members: BTreeMap<MemberNo, bool>,
    /// Those that the run began with.
    founders: BTreeSet<MemberNo>,
    /// The fold of what tells who takes part, and of nothing else.
    roster: LabState,
    cut: BTreeSet<Link>,
    /// Who says that it leads, and in which term; a process that ended says nothing.
    in_office: BTreeMap<MemberNo, Term>,
    /// Who was first seen to lead in a term, and when.
    elected: BTreeMap<Term, (MemberNo, Moment)>,
    /// The first fault: a process that ended or paused after everybody was up, or a cut.
    first_fault: Option<Moment>,
    /// When a fault was last undone by command: the end of the time of faults.
    undone: Option<Moment>,
    was_complete: bool,
}

impl Cluster {
    pub(crate) fn observe(&mut self, numbered: &Numbered) {
        let moment = Moment::of(numbered);
        if matches!(
            numbered.event,
            Event::RunStarted { .. }
                | Event::MemberAdded { .. }
                | Event::Seated { .. }
                | Event::Process { .. }
                | Event::Identified { .. }
                | Event::Status { .. }
        ) {
            self.roster.apply(numbered, false);
        }
        match &numbered.event {
            Event::RunStarted { members, .. } => {
                *self = Self { roster: std::mem::take(&mut self.roster), ..Self::default() };
                self.members = members.iter().map(|plan| (plan.member, false)).collect();
                self.founders = self.members.keys().copied().collect();
            }
            Event::MemberAdded { plan, .. } | Event::Seated { plan } => {
                self.members.insert(plan.member, false);
            }
            Event::Process { member, process } => {
                let up = matches!(process, Process::Up { .. });
                self.members.insert(*member, up);
                if matches!(process, Process::Down { .. } | Process::Planned) {
                    self.in_office.remove(member);
                }
                self.was_complete |= self.members.values().all(|up| *up);
                if !up && self.was_complete && self.standing(*member) != Standing::Removed {
                    self.first_fault.get_or_insert(moment);
                }
            }
            Event::LinkChanged { link, condition } => {
                let of_clients = link.from == MemberNo::CLIENTS || link.to == MemberNo::CLIENTS;
                if condition.blocks() && !of_clients {
                    self.cut.insert(*link);
                } else {
                    self.cut.remove(link);
                }
                if *condition != LinkCondition::Open {
                    self.first_fault.get_or_insert(moment);
                }
            }
            Event::FaultBegan { .. } => {
                self.first_fault.get_or_insert(moment);
            }
            Event::Asked { command: Command::UndoFaults, .. } => self.undone = Some(moment),
            Event::Trace { member, traced } => {
                if let TraceEvent::Became { role, term, .. } = &traced.event {
                    // The trace's own time is exact; the event's is when the lab heard of it.
                    let moment = Moment { seq: numbered.seq, at_micros: traced.at_micros };
                    self.role(*member, *role, *term, moment);
                }
            }
            Event::Status { member, status } => {
                self.role(*member, status.role, status.term, moment);
            }
            _ => {}
        }
    }

    fn role(&mut self, member: MemberNo, role: Role, term: Term, moment: Moment) {
        match role {
            Role::Leader => {
                // The last words of a process may be heard after its end.
                if self.is_up(member) {
                    self.in_office.insert(member, term);
                }
                self.elected.entry(term).or_insert((member, moment));
            }
            Role::Follower | Role::PreCandidate | Role::Candidate | Role::Learner => {
                self.in_office.remove(&member);
            }
        }
    }

    /// Every member that has a vote, ascending; those that the run began with count until a
    /// configuration says otherwise.
    pub(crate) fn members(&self) -> impl Iterator<Item = MemberNo> {
        self.members.keys().copied().filter(|&member| match self.standing(member) {
            Standing::Voter => true,
            Standing::Unknown => self.founders.contains(&member),
            Standing::Learner | Standing::Removed | Standing::Elsewhere => false,
        })
    }

    fn standing(&self, member: MemberNo) -> Standing {
        self.roster.members.get(&member).map_or(Standing::Unknown, |known| known.standing)
    }

    pub(crate) fn is_up(&self, member: MemberNo) -> bool {
        self.members.get(&member).copied().unwrap_or(false)
    }

    /// Whether more than half of all members are up.
    pub(crate) fn majority_is_up(&self) -> bool {
        let up = self.members().filter(|&member| self.is_up(member)).count();
        // Whom a restored cluster counts may not have begun yet.
        up > self.members().count().max(self.roster.configuration.voters.len()) / 2
    }

    /// How many voters more may fail before a quorum is missing; below 0, one is missing now.
    ///
    /// A voter counts while its process runs and has said something since it began. Of those that
    /// one of them hears and is heard by, the most count.
    pub(crate) fn tolerance(&self) -> i64 {
        let counts = self.roster.configuration.voters.len();
        let (counts, standing) = match counts {
            0 => (self.founders.len(), Standing::Unknown),
            _ => (counts, Standing::Voter),
        };
        let working: BTreeSet<_> = (self.roster.members.iter())
            .filter(|(_, member)| member.standing == standing && convergence::is_heard(member))
            .map(|(&no, _)| no)
            .collect();
        let circle = |no: &MemberNo| self.circle(*no).intersection(&working).count();
        let most = working.iter().map(circle).max().unwrap_or(0);
        let signed = |count: usize| i64::try_from(count).expect("members are few");
        signed(most) - signed(counts / 2 + 1)
    }

    /// How many have a vote, and those of them that have a place, with what is known of each.
    pub(crate) fn voters(&self) -> (usize, Vec<(MemberNo, &MemberState)>) {
        let seated = self.roster.members.iter().map(|(&no, member)| (no, member));
        let seated = seated.filter(|(_, member)| member.standing == Standing::Voter).collect();
        (self.roster.configuration.voters.len(), seated)
    }

    /// The one that says it leads in the highest term.
    pub(crate) fn leader(&self) -> Option<(MemberNo, Term)> {
        self.in_office.iter().max_by_key(|(_, term)| **term).map(|(who, term)| (*who, *term))
    }

    /// The term in which this member says that it leads.
    pub(crate) fn office(&self, member: MemberNo) -> Option<Term> {
        self.in_office.get(&member).copied()
    }

    /// The members that this one hears and is heard by, itself included.
    pub(crate) fn circle(&self, member: MemberNo) -> BTreeSet<MemberNo> {
        self.members()
            .filter(|&other| {
                other == member
                    || self.is_up(other)
                        && !self.cut.contains(&Link { from: member, to: other })
                        && !self.cut.contains(&Link { from: other, to: member })
            })
            .collect()
    }

    /// Whether a member can reach a quorum, itself included.
    pub(crate) fn reaches_quorum(&self, member: MemberNo) -> bool {
        self.is_up(member) && self.circle(member).len() > self.members().count() / 2
    }

    /// The first fault of the run, if there was one.
    pub(crate) fn first_fault(&self) -> Option<Moment> {
        self.first_fault
    }

    /// When everything was last asked to be undone.
    pub(crate) fn undone(&self) -> Option<Moment> {
        self.undone
    }

    /// Whether it is the time of faults: after the first, and before everything was undone.
    pub(crate) fn in_fault(&self) -> bool {
        self.first_fault.is_some() && self.undone.is_none()
    }

    /// Who was elected in which term and when, ascending by term.
    pub(crate) fn elected(&self) -> impl Iterator<Item = (Term, MemberNo, Moment)> {
        self.elected.iter().map(|(term, (member, moment))| (*term, *member, *moment))
    }
}
