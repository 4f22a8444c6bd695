//! What can be asked of the lab.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Call, Link, MemberNo};

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
            let refused: BTreeSet<_> =
                all.iter().copied().filter(|&from| !together(from, to)).collect();
            if !refused.is_empty() {
                grudge.insert(to, refused);
            }
        }
        Self(grudge)
    }

    /// The links that are cut, ascending.
    pub fn cuts(&self) -> Vec<Link> {
        let mut cuts: Vec<_> = self
            .0
            .iter()
            .flat_map(|(&to, refused)| refused.iter().map(move |&from| Link { from, to }))
            .filter(|link| link.from != link.to)
            .collect();
        cuts.sort();
        cuts
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
    fn groups_may_overlap_as_in_a_bridge() {
        assert_eq!(cuts(3, &[&[1, 3], &[2, 3]]), ["m1>m2", "m2>m1"]);
    }
}
