//! What can be asked of the lab.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Call, Damage, Fault, Guess, HeldOrder, Link, LinkCondition, MemberFile, MemberNo, MixSpec,
    gather,
};

/// One thing asked of the lab, by a click, a step of a scenario or a call.
///
/// Asking is not happening: the journal says what came of it.
#[expect(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Ends a member's process with SIGKILL: nothing is flushed.
    Crash { member: MemberNo },
    /// Ends a member's process with SIGTERM and lets it finish.
    Stop { member: MemberNo },
    /// Stops a member's process with SIGSTOP: it keeps its sockets and does nothing.
    Pause { member: MemberNo },
    /// Lets a paused process go on (SIGCONT).
    Resume { member: MemberNo },
    /// Starts a member whose process is down.
    Restart { member: MemberNo },
    /// Deletes the data directory of a member whose process is down.
    Wipe { member: MemberNo },
    /// Loses every message on one link from now on.
    Cut { link: Link },
    /// Takes every fault off one link.
    Heal { link: Link },
    /// Delivers every message on one link later, by `millis` plus up to `jitter_millis`.
    Delay { link: Link, millis: u32, jitter_millis: u32 },
    /// Replaces all cuts by those that the grudge implies.
    Partition { grudge: Grudge },
    /// Cuts every link from and to one member.
    Isolate { member: MemberNo },
    /// Heals every link, resumes every paused process, restarts every process that is down.
    UndoFaults,
    /// Ends every process, deletes every data directory, starts a new cluster.
    StartOver,
    /// Replaces the running workload; a spec with zero rates ends it.
    SetWorkload { spec: WorkloadSpec },
    /// Writes one key through one member, as a client would.
    Put { member: MemberNo, key: String, value: String },
    /// Reads one key through one member, as a client would.
    Get { member: MemberNo, key: String, serializable: bool },
    /// Makes any call through one member, as a client with this deadline would.
    Invoke { member: MemberNo, call: Call, deadline_millis: u32 },
    /// Reads the whole key space back at every member that is up, and asks each for the hash of
    /// its state; [`crate::Event::ReadBack`] tells what each said.
    ReadBack,
    /// The cluster token with which a member whose process is down is bootstrapped at its next
    /// start with an empty data directory; empty for the run's own.
    SetToken { member: MemberNo, token: String },
    /// Has so many clients watch all that the workload writes, instead of those that do so now.
    SetWatches { count: u32 },
    /// Has the cluster take in a new member, with a vote or as a learner, and starts its process.
    /// It gets the next number that was never used.
    AddMember { learner: bool },
    /// Has the cluster give a learner a vote.
    PromoteMember { member: MemberNo },
    /// Has the cluster put a member out. Its process ends by itself when a peer tells it so, and is
    /// stopped when it does not hear of it.
    RemoveMember { member: MemberNo },
    /// Asks the leader to hand over to this member.
    TransferLeadership { to: MemberNo },
    /// Carries out a line as the terminal takes it: a tool, a member's start, or a command for
    /// files; [`crate::Event::Said`] tells what it said.
    Type { line: String },
    /// Asks for the next hint of the drill that is played; it costs points.
    Hint,
    /// Says that the drill that is played is done: it is judged as it was left.
    FinishDrill,
    /// Flips one bit in the middle of a file on the desk, as a disk does that rots.
    DamageSnapshot { name: String },
    /// Takes a backup so often, restores each for a test with `verify`, and keeps the last good
    /// ones, instead of what was asked before; 0 ends it. [`crate::Event::Backup`] tells of each.
    SetBackups { every_millis: u64, keep: u32, verify: bool },
    /// Puts one link into a condition, whatever it was in before.
    SetLink { link: Link, condition: LinkCondition },
    /// Resets every connection that carries a link, once.
    ResetLink { link: Link },
    /// Does something to one message that a link holds.
    Held { number: u64, order: HeldOrder },
    /// Injects a fault, in the place of one of its kind at its target.
    Inject { fault: Fault },
    /// Takes a fault off again.
    Lift { fault: Fault },
    /// Carries out a command that brings a fault, and undoes it after so long.
    For { millis: u64, command: Box<Command> },
    /// Moves a member's wall clock, as a step of NTP does.
    JumpClock { member: MemberNo, millis: i64 },
    /// Lets a member's clocks, which stand still, go on by so many ticks.
    GrantTicks { member: MemberNo, ticks: u32 },
    /// Sets after how many ticks without a leader each member campaigns: this many at the first,
    /// and so many more at each next one.
    SetTimers { ticks: u32, apart: u32 },
    /// Has a member campaign at once.
    Campaign { member: MemberNo },
    /// Damages a file of a member whose process is down.
    DamageMember { member: MemberNo, file: MemberFile, damage: Damage },
    /// Ends a member's process and loses what its disk had not synced; the training program only.
    LosePower { member: MemberNo },
    /// Has a member's process end when it comes by a failpoint; the training program only.
    CrashAt { member: MemberNo, failpoint: String },
    /// Replaces the running mix of errands; one without errands ends it.
    SetMix { mix: MixSpec },
    /// Begins or ends the step mode. In it every clock stands still and every link holds its
    /// messages: the cluster does what it is granted, one tick and one message at a time. At its
    /// end the held messages are delivered and the clocks go on. Cut and refused links stay so.
    StepMode { on: bool },
    /// Predicts what a lesson's run will do, one guess a question; then it runs.
    Predict { guesses: Vec<Guess> },
}

/// Who refuses to hear whom: for each member the members whose messages do not reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grudge(pub BTreeMap<MemberNo, BTreeSet<MemberNo>>);

impl Grudge {
    /// Groups that hear only themselves. A member in no group hears nobody and is not heard.
    pub fn groups(all: &[MemberNo], groups: &[BTreeSet<MemberNo>]) -> Self {
        let together = |a: MemberNo, b: MemberNo| {
            a == b || groups.iter().any(|group| group.contains(&a) && group.contains(&b))
        };
        let mut grudge = BTreeMap::new();
        for &to in all {
            let refused = gather::set(all.iter().copied().filter(|&from| !together(from, to)));
            if !refused.is_empty() {
                grudge.insert(to, refused);
            }
        }
        Self(grudge)
    }

    /// Members of whom only those hear each other that are neighbours in this list.
    pub fn chain(order: &[MemberNo]) -> Self {
        let near = |a: usize, b: usize| a.abs_diff(b) <= 1;
        Self::where_heard(order, near)
    }

    /// Each hears a majority of its own, the next ones by number round the ring, and is heard by the
    /// same: no two see the same majority (Jepsen's majorities ring).
    pub fn ring(order: &[MemberNo]) -> Self {
        let members = order.len();
        // Itself and so many on either side are a majority.
        let reach = (members / 2).div_ceil(2);
        let near = |a: usize, b: usize| {
            let apart = a.abs_diff(b);
            apart.min(members - apart) <= reach
        };
        Self::where_heard(order, near)
    }

    /// Only this one hears the others and is heard by them.
    pub fn star(all: &[MemberNo], hub: MemberNo) -> Self {
        Self::where_heard(all, |a, b| a == b || all[a] == hub || all[b] == hub)
    }

    /// Two halves that do not hear each other, and one member that hears both.
    pub fn bridge(all: &[MemberNo], over: MemberNo) -> Self {
        let others: Vec<_> = all.iter().copied().filter(|member| *member != over).collect();
        let (left, right) = others.split_at(others.len() / 2);
        let side = |half: &[MemberNo]| gather::set(half.iter().copied().chain([over]));
        Self::groups(all, &[side(left), side(right)])
    }

    /// Nobody hears these.
    pub fn mute(all: &[MemberNo], these: &BTreeSet<MemberNo>) -> Self {
        let refused = |to: &MemberNo| -> BTreeSet<_> {
            gather::set(these.iter().copied().filter(|from| from != to))
        };
        Self(gather::map(all.iter().map(|to| (*to, refused(to)))))
    }

    /// These hear nobody.
    pub fn deafen(all: &[MemberNo], these: &BTreeSet<MemberNo>) -> Self {
        let everybody = |to: &MemberNo| gather::set(all.iter().copied().filter(|from| from != to));
        Self(gather::map(these.iter().map(|to| (*to, everybody(to)))))
    }

    fn where_heard(order: &[MemberNo], hears: impl Fn(usize, usize) -> bool) -> Self {
        let refused = |to: usize| -> BTreeSet<_> {
            gather::set((0..order.len()).filter(|from| !hears(*from, to)).map(|from| order[from]))
        };
        Self(gather::map((0..order.len()).map(|to| (order[to], refused(to)))))
    }

    /// The links that are cut, ascending.
    pub fn cuts(&self) -> Vec<Link> {
        let refused = self
            .0
            .iter()
            .flat_map(|(&to, refused)| refused.iter().map(move |&from| Link { from, to }));
        gather::set(refused.filter(|link| link.from != link.to)).into_iter().collect()
    }
}

/// What the lab's own clients ask of the cluster, as an open loop: operations start on time
/// whether or not earlier ones have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// Puts started a second, 0 to 2000.
    pub puts_per_second: u32,
    /// Reads started a second, 0 to 2000.
    pub reads_per_second: u32,
    /// Reads answered by the asked member alone, possibly stale.
    pub serializable_reads: bool,
    /// Size of the key space written to.
    pub keys: u32,
    /// Size of a value.
    pub value_bytes: u32,
    /// How long a client waits before it calls the outcome unknown.
    pub deadline_millis: u32,
    /// The members that clients talk to; empty means all.
    pub members: BTreeSet<MemberNo>,
}

impl Default for WorkloadSpec {
    fn default() -> Self {
        Self {
            puts_per_second: 50,
            reads_per_second: 50,
            serializable_reads: false,
            keys: 64,
            value_bytes: 64,
            deadline_millis: 8_000,
            members: BTreeSet::new(),
        }
    }
}

impl WorkloadSpec {
    /// No operations at all.
    pub fn idle() -> Self {
        Self { puts_per_second: 0, reads_per_second: 0, ..Self::default() }
    }

    /// Whether any operation would ever start.
    pub fn is_idle(&self) -> bool {
        self.puts_per_second == 0 && self.reads_per_second == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(members: u8, groups: &[&[u8]]) -> Vec<String> {
        let all: Vec<_> = (1..=members).map(MemberNo).collect();
        let groups: Vec<BTreeSet<_>> =
            groups.iter().map(|group| group.iter().copied().map(MemberNo).collect()).collect();
        Grudge::groups(&all, &groups).cuts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_grudge_cuts_both_directions_between_groups() {
        assert_eq!(cuts(3, &[&[1], &[2, 3]]), ["m1>m2", "m1>m3", "m2>m1", "m3>m1"]);
        assert_eq!(cuts(2, &[&[1, 2]]), Vec::<String>::new());
        assert_eq!(cuts(3, &[&[1, 2]]).len(), 4, "who is in no group is alone");
    }

    #[test]
    fn shapes_cut_what_they_say() {
        let all: Vec<_> = (1..=5).map(MemberNo).collect();
        let words =
            |grudge: Grudge| -> Vec<_> { grudge.cuts().iter().map(ToString::to_string).collect() };
        let three = &all[..3];
        assert_eq!(words(Grudge::chain(three)), ["m1>m3", "m3>m1"]);
        assert_eq!(words(Grudge::star(three, MemberNo(1))), ["m2>m3", "m3>m2"]);
        assert_eq!(words(Grudge::bridge(three, MemberNo(3))), ["m1>m2", "m2>m1"]);
        assert_eq!(words(Grudge::mute(three, &[MemberNo(1)].into())), ["m1>m2", "m1>m3"]);
        assert_eq!(words(Grudge::deafen(three, &[MemberNo(1)].into())), ["m2>m1", "m3>m1"]);
        // Of five each hears itself and its two neighbours: three, a majority.
        let ring = Grudge::ring(&all);
        assert!(all.iter().all(|member| ring.0[member].len() == 2), "{ring:?}");
        assert_eq!(ring.0[&MemberNo(1)], [MemberNo(3), MemberNo(4)].into());
    }

    #[test]
    fn groups_may_overlap_as_in_a_bridge() {
        assert_eq!(cuts(3, &[&[1, 3], &[2, 3]]), ["m1>m2", "m2>m1"]);
    }
}
