//! A window of a long run: checks that begin in the middle, with what was there.
//!
//! Checks keep every operation, so a run of hours is judged one window after the other. Each ends
//! quiet, converged and read back; the next one begins with that reading. [`Prologue`] keeps the
//! little of the past that a check has to know: who the members are and how they were last seen.
//!
//! Between two windows nothing may be under way: no operation whose outcome is unknown may still
//! happen, and no lease may have a key. Whoever cuts the run into windows sees to that.

use std::collections::BTreeMap;

use lab_protocol::node_protocol::Role;
use lab_protocol::{Event, MemberNo, Numbered, Process, ReadBack};

use crate::{
    AckedNotLost, AppendOrder, Check, Converged, ElectionSafety, LeaseNotEarly, Linearizable,
    LockFenced, MembersEqual, SetComplete, WatchGuarantees,
};

/// What a check that begins in the middle has to know of the past.
#[derive(Clone, Debug, Default)]
pub struct Prologue {
    /// The run's beginning, and everything that tells who the members are.
    lasting: Vec<Numbered>,
    /// Of each member, what was last told of its process and by itself.
    processes: BTreeMap<MemberNo, Numbered>,
    /// Of each member, the first start of its process: what one says that does not run is not heard.
    starts: BTreeMap<MemberNo, Numbered>,
    statuses: BTreeMap<MemberNo, Numbered>,
    /// The first account that each gave of who takes part, as a follower's: who led then is past.
    /// Without it nobody would know that a member which was removed had ever been there.
    rosters: BTreeMap<MemberNo, Numbered>,
    /// Of each member, when it was first told that it is who it is.
    identities: BTreeMap<MemberNo, Numbered>,
}

impl Prologue {
    /// Takes the next event of the journal.
    pub fn observe(&mut self, numbered: &Numbered) {
        match &numbered.event {
            Event::RunStarted { .. } => {
                *self = Self::default();
                self.lasting.push(numbered.clone());
            }
            Event::MemberAdded { .. } | Event::Seated { .. } | Event::Restored { .. } => {
                self.lasting.push(numbered.clone());
            }
            // Told again at each start; the first time is when it began to be so.
            Event::Identified { member, .. } => {
                let known = self.identities.get(member);
                if known.is_none_or(|known| known.event != numbered.event) {
                    self.identities.insert(*member, numbered.clone());
                }
            }
            Event::Process { member, process } => {
                if matches!(process, Process::Up { .. }) {
                    self.starts.entry(*member).or_insert_with(|| numbered.clone());
                }
                self.processes.insert(*member, numbered.clone());
            }
            Event::Status { member, status } => {
                if !status.voters.is_empty() && !self.rosters.contains_key(member) {
                    let mut roster = numbered.clone();
                    if let Event::Status { status, .. } = &mut roster.event {
                        status.role = Role::Follower;
                    }
                    self.rosters.insert(*member, roster);
                }
                self.statuses.insert(*member, numbered.clone());
            }
            _ => {}
        }
    }

    /// The events that tell it, in their order.
    fn events(&self) -> Vec<&Numbered> {
        let lasting = self.lasting.iter().chain(self.identities.values());
        let lasting = lasting.chain(self.starts.values());
        let last = self.processes.values().chain(self.rosters.values());
        let mut events: Vec<_> = lasting.chain(last).chain(self.statuses.values()).collect();
        events.sort_by_key(|numbered| numbered.seq);
        // A member's only account or start stands for both.
        events.dedup_by_key(|numbered| numbered.seq);
        events
    }
}

/// How many cases a window needs of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Enough {
    /// Operations, puts and changes that watches are told of.
    pub operations: u32,
    /// Elements, appends, writes under a lock, answers about leases.
    pub of_each_kind: u32,
}

/// The checks of a window that begins with this reading of all keys; of the first one without.
pub fn checks_of_window(
    prologue: &Prologue,
    beginning: Option<&ReadBack>,
    enough: Enough,
) -> Vec<Box<dyn Check>> {
    let Enough { operations, of_each_kind } = enough;
    let mut linearizable = Linearizable::new(operations);
    let mut watches = WatchGuarantees::new(of_each_kind);
    let mut checks: Vec<Box<dyn Check>> = vec![
        Box::new(ElectionSafety::default()),
        Box::new(AckedNotLost::new(operations)),
        Box::new(MembersEqual::default()),
        Box::new(Converged::default()),
        Box::new(LeaseNotEarly::new(of_each_kind)),
        Box::new(SetComplete::new(of_each_kind)),
        Box::new(AppendOrder::new(of_each_kind)),
        Box::new(LockFenced::new(of_each_kind)),
    ];
    for event in prologue.events() {
        checks.iter_mut().for_each(|check| check.observe(event));
        linearizable.observe(event);
        watches.observe(event);
    }
    if let Some(read) = beginning {
        linearizable.begin_with(read);
        watches.begin_with(read);
    }
    checks.push(Box::new(linearizable));
    checks.push(Box::new(watches));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;
    use lab_protocol::Judgement::{self, Invalid, Valid};
    use lab_protocol::node_protocol::{MemberId, Status};

    const FEW: Enough = Enough { operations: 1, of_each_kind: 1 };

    /// What `linearizable` says of a window behind a reading at revision 9: k of revision 8.
    fn window(script: impl Fn(Script) -> Script) -> (Judgement, String) {
        let past = Script::new(3).up(&[1, 2, 3]).put(1, 1, "k", "old").ok(1, 8, None);
        let past = past.read_back(1, 9, &[("k", "old", 8)]);
        let mut prologue = Prologue::default();
        past.events.iter().for_each(|event| prologue.observe(event));
        let Event::ReadBack(read) = &past.events.last().expect("there").event else {
            panic!("read back last")
        };
        let mut checks = checks_of_window(&prologue, Some(read), FEW);
        let now = script(past.clone());
        for event in now.events.iter().skip(past.events.len()) {
            checks.iter_mut().for_each(|check| check.observe(event));
        }
        let told = checks.iter().map(|check| check.verdict());
        let told = told.into_iter().find(|told| told.check == "linearizable").expect("asked");
        (told.judgement, told.because)
    }

    #[test]
    fn a_window_begins_with_what_was_there() {
        let read = |script: Script| {
            script
                .get(2, 2, "k", false)
                .ok(2, 9, Some(("old", 8)))
                .put(3, 1, "k", "new")
                .ok(3, 10, None)
        };
        let (judgement, because) = window(read);
        assert_eq!(judgement, Valid, "{because}");
        let wrong = |script: Script| read(script).get(4, 1, "k", false).ok(4, 10, Some(("old", 8)));
        assert_eq!(window(wrong).0, Invalid);
        let lost = |script: Script| read(script).get(4, 1, "q", false).ok(4, 10, Some(("q", 7)));
        let (judgement, because) = window(lost);
        assert_eq!((judgement, because.contains("nobody wrote it")), (Invalid, true), "{because}");
    }

    #[test]
    fn a_member_that_was_removed_before_is_not_missed() {
        let told = |script: Script, member: u8, voters: &[u64]| {
            let voters = voters.iter().copied().map(MemberId).collect();
            let status = Status { voters, ..Status::default_at(0) };
            script.status(member, status)
        };
        let mut past = Script::new(3).up(&[1, 2, 3]);
        for member in 1..=3 {
            past = told(past.identified(member, member.into(), 7), member, &[1, 2, 3]);
        }
        // All are started again, and tell who they are once more.
        past = past.down(1).down(2).down(3).up(&[1, 2, 3]);
        past = (1..=3).fold(past, |past, member| past.identified(member, member.into(), 7));
        past = told(told(past, 2, &[2, 3]), 3, &[2, 3]).down(1);
        let mut prologue = Prologue::default();
        past.events.iter().for_each(|event| prologue.observe(event));
        let mut checks = checks_of_window(&prologue, None, FEW);
        let now = past.clone().read_back(2, 9, &[("k", "v", 8)]).read_back(3, 9, &[("k", "v", 8)]);
        for event in now.events.iter().skip(past.events.len()) {
            checks.iter_mut().for_each(|check| check.observe(event));
        }
        let told = checks.iter().map(|check| check.verdict());
        let equal = told.into_iter().find(|told| told.check == "members_equal").expect("asked");
        assert_eq!(equal.judgement, Valid, "{}", equal.because);
    }

    #[test]
    fn time_does_not_run_back_behind_the_beginning() {
        let early =
            |script: Script| script.put(2, 1, "q", "v").ok(2, 9, None).get(3, 1, "k", false);
        let (judgement, because) = window(early);
        assert_eq!(judgement, Invalid, "{because}");
        let gap = |script: Script| script.put(2, 1, "q", "v").ok(2, 12, None);
        let (judgement, because) = window(gap);
        assert!(judgement == Invalid && because.contains("revision 10"), "{because}");
    }
}
