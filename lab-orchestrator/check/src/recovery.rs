//! What a recovery came to: what was lost, whose the cluster is now, and whether it serves.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::node_protocol::{ClusterId, MemberId};
use lab_protocol::{
    Call, CheckResult, Event, MemberNo, Numbered, Outcome, Process, TxnResult, WatchTold,
};

use crate::cluster::Cluster;
use crate::history::{History, Operation};
use crate::lineage::Lineage;
use crate::{Check, Finding};

/// Lost writes that are named in a verdict.
const NAMED: usize = 3;

/// Of what was acknowledged before a recovery, no more is missing in what it made than so.
///
/// A restore begins a new cluster with what a snapshot had; whatever was acknowledged behind that is
/// gone. Where nothing was restored or begun anew, nothing can be lost so.
#[derive(Clone, Debug)]
pub struct LostWrites {
    at_most: u32,
    history: History,
    lineage: Lineage,
}

impl LostWrites {
    /// Invalid with more lost writes than these.
    pub fn new(at_most: u32) -> Self {
        Self { at_most, history: History::default(), lineage: Lineage::default() }
    }

    /// How many acknowledged writes are lost so far.
    pub fn count(&self) -> usize {
        self.lost().len()
    }

    /// What is lost, by revision.
    fn lost(&self) -> Vec<&Operation> {
        let Some(cluster) = self.lineage.present() else { return Vec::new() };
        let mut lost: Vec<_> =
            self.lineage.lost(cluster, &self.history).filter(|one| wrote(one)).collect();
        lost.sort_by_key(|operation| operation.revision());
        lost
    }
}

fn wrote(operation: &Operation) -> bool {
    match &operation.call {
        Call::Put { .. } => operation.happened(),
        Call::Delete { .. } => {
            operation.acknowledged().is_some_and(|(_, answer)| answer.number > 0)
        }
        _ => operation.transacted().is_some_and(|answer| {
            answer.results.iter().any(|result| !matches!(result, TxnResult::Range(_)))
        }),
    }
}

impl Check for LostWrites {
    fn observe(&mut self, numbered: &Numbered) {
        self.history.observe(numbered);
        self.lineage.observe(numbered, &self.history);
    }

    fn verdict(&self) -> CheckResult {
        let acknowledged = self.history.iter().filter(|operation| wrote(operation)).count();
        let lost = self.lost();
        let finding = if acknowledged == 0 {
            Finding::unknown("no write was acknowledged in this run")
        } else if lost.is_empty() {
            Finding::valid(format!("none of {acknowledged} acknowledged writes was lost"))
        } else {
            let named: Vec<_> = lost
                .iter()
                .take(NAMED)
                .map(|one| format!("{} at revision {}", one.words(), one.revision().unwrap_or(0)))
                .collect();
            let more = lost.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let words = format!(
                "{} of {acknowledged} acknowledged writes are lost: {}{more}",
                lost.len(),
                named.join(", ")
            );
            if lost.len() <= self.at_most as usize {
                Finding::valid(words)
            } else {
                let evidence: Vec<_> =
                    lost.iter().take(NAMED).flat_map(|one| one.evidence()).collect();
                Finding::invalid(words, evidence)
            }
        };
        finding.of("lost_writes", "a recovery loses no more than it must")
    }
}

/// What members told of themselves, and which of them run.
#[derive(Clone, Debug, Default)]
struct Identities {
    first: BTreeMap<MemberNo, (MemberId, ClusterId)>,
    now: BTreeMap<MemberNo, (MemberId, ClusterId)>,
    up: BTreeSet<MemberNo>,
    /// Who has told since its process began.
    told: BTreeSet<MemberNo>,
}

impl Identities {
    fn observe(&mut self, numbered: &Numbered) {
        match &numbered.event {
            Event::RunStarted { .. } => *self = Self::default(),
            Event::Process { member, process: Process::Up { .. } | Process::Paused { .. } } => {
                self.up.insert(*member);
            }
            Event::Process { member, process: Process::Down { .. } | Process::Planned } => {
                self.up.remove(member);
                self.told.remove(member);
            }
            Event::Identified { member, id, cluster } => {
                self.first.entry(*member).or_insert((*id, *cluster));
                self.now.insert(*member, (*id, *cluster));
                self.told.insert(*member);
            }
            _ => {}
        }
    }

    /// The members that run, each with what it told first and last.
    fn running(
        &self,
    ) -> impl Iterator<Item = (MemberNo, (MemberId, ClusterId), (MemberId, ClusterId))> {
        let running = self.up.iter().filter(|member| self.told.contains(member));
        running
            .filter_map(|member| Some((*member, *self.first.get(member)?, *self.now.get(member)?)))
    }

    /// The cluster that the run began with.
    fn old(&self) -> Option<ClusterId> {
        self.first.values().next().map(|(_, cluster)| *cluster)
    }
}

/// Every member that runs at the end has a new identity, and all are of one new cluster.
#[derive(Clone, Debug, Default)]
pub struct IdentityChanged {
    identities: Identities,
}

impl Check for IdentityChanged {
    fn observe(&mut self, numbered: &Numbered) {
        self.identities.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let running: Vec<_> = self.identities.running().collect();
        let clusters: BTreeSet<_> = running.iter().map(|(_, _, (_, cluster))| *cluster).collect();
        let old = self.identities.old();
        let same = running.iter().find(|(_, _, (_, cluster))| Some(*cluster) == old);
        let finding = match (same, clusters.len()) {
            _ if running.is_empty() => Finding::unknown("nobody runs at the end"),
            (Some((member, _, (id, cluster))), _) => {
                Finding::invalid(format!("{member} is still {id} of the cluster {cluster}"), [])
            }
            (None, 1) => {
                let now = clusters.first().expect("one");
                Finding::valid(format!(
                    "{} members, all new, of the new cluster {now}",
                    running.len()
                ))
            }
            (None, count) => {
                Finding::invalid(format!("the members belong to {count} clusters"), [])
            }
        };
        finding.of("identity_changed", "a restore begins a new logical cluster of new members")
    }
}

/// The members that run at the end belong to the cluster that the run began with.
#[derive(Clone, Debug, Default)]
pub struct IdentityKept {
    identities: Identities,
}

impl Check for IdentityKept {
    fn observe(&mut self, numbered: &Numbered) {
        self.identities.observe(numbered);
    }

    fn verdict(&self) -> CheckResult {
        let running: Vec<_> = self.identities.running().collect();
        let old = self.identities.old();
        let other = running.iter().find(|(_, _, (_, cluster))| Some(*cluster) != old);
        let finding = match (other, old) {
            (_, None) => Finding::unknown("nobody told who it is"),
            _ if running.is_empty() => Finding::unknown("nobody runs at the end"),
            (Some((member, _, (_, cluster))), _) => {
                Finding::invalid(format!("{member} belongs to the cluster {cluster}"), [])
            }
            (None, Some(old)) => {
                Finding::valid(format!("{} members of the same cluster {old}", running.len()))
            }
        };
        finding.of("identity_kept", "the cluster is still the one that it was")
    }
}

/// After the last time that a quorum was missing, or the last fault, so many writes were
/// acknowledged.
#[derive(Clone, Debug)]
pub struct WritesResumed {
    at_least: u32,
    history: History,
    cluster: Cluster,
    acknowledged: u32,
    /// Whether a quorum was ever missing, or somebody ever down.
    disturbed: bool,
}

impl WritesResumed {
    /// Invalid with fewer acknowledged writes than these.
    pub fn new(at_least: u32) -> Self {
        Self {
            at_least,
            history: History::default(),
            cluster: Cluster::default(),
            acknowledged: 0,
            disturbed: false,
        }
    }
}

impl Check for WritesResumed {
    fn observe(&mut self, numbered: &Numbered) {
        self.history.observe(numbered);
        self.cluster.observe(numbered);
        match &numbered.event {
            Event::RunStarted { .. } => *self = Self::new(self.at_least),
            // What was acknowledged before somebody fell says nothing of afterwards.
            Event::Process { .. } if self.cluster.first_fault().is_some() => {
                self.disturbed = true;
                if !self.cluster.majority_is_up() {
                    self.acknowledged = 0;
                }
            }
            Event::Returned { op, outcome: Outcome::Ok(_) | Outcome::Txn(_) }
                if self.history.get(*op).is_some_and(|one| one.call.is_write()) =>
            {
                self.acknowledged += 1;
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let Self { at_least, acknowledged, .. } = self;
        let finding = if !self.disturbed {
            Finding::unknown("nothing ever failed in this run")
        } else if acknowledged < at_least {
            Finding::invalid(
                format!(
                    "{acknowledged} writes were acknowledged after the last loss of the quorum, \
                     {at_least} would show that the cluster serves again"
                ),
                [],
            )
        } else {
            Finding::valid(format!(
                "{acknowledged} writes acknowledged after the last loss of the quorum"
            ))
        };
        finding.of("writes_resumed", "the cluster accepts writes again")
    }
}

/// No process ended that nobody asked to.
#[derive(Clone, Debug, Default)]
pub struct NobodyEndedByItself {
    seen: bool,
    ended: Option<(MemberNo, u64)>,
}

impl Check for NobodyEndedByItself {
    fn observe(&mut self, numbered: &Numbered) {
        match &numbered.event {
            Event::Process { member, process: Process::Down { asked: false, .. } } => {
                self.ended.get_or_insert((*member, numbered.seq));
            }
            Event::Process { process: Process::Up { .. }, .. } => self.seen = true,
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let finding = match self.ended {
            Some((member, seq)) => Finding::invalid(format!("{member} ended by itself"), [seq]),
            None if self.seen => Finding::valid("every process ended only when it was asked to"),
            None => Finding::unknown("no process ran"),
        };
        finding.of("nobody_ended_by_itself", "a member ends by itself only for a good reason")
    }
}

/// Watches that were open before a restore were told of so many changes behind it.
///
/// A restored cluster goes back to an earlier revision. A client that goes on behind the last change
/// that it saw then waits for a revision that will come much later, and is blind until then; unless
/// revisions were bumped and the old ones marked as compacted, so that it is told and lists anew.
#[derive(Clone, Debug)]
pub struct WatchesSee {
    at_least: u32,
    restored: Option<ClusterId>,
    /// Changes that watches were told of since.
    seen: u32,
    /// Watches that were told that their revision is compacted.
    relisted: u32,
}

impl WatchesSee {
    /// Invalid with fewer changes than these.
    pub fn new(at_least: u32) -> Self {
        Self { at_least, restored: None, seen: 0, relisted: 0 }
    }
}

impl Check for WatchesSee {
    fn observe(&mut self, numbered: &Numbered) {
        match &numbered.event {
            Event::RunStarted { .. } => *self = Self::new(self.at_least),
            Event::Restored { cluster, .. } if self.restored != Some(*cluster) => {
                *self = Self { restored: Some(*cluster), ..Self::new(self.at_least) };
            }
            Event::WatchHeard { response, .. } if self.restored.is_some() => match &response.told {
                WatchTold::Events(events) => {
                    self.seen += u32::try_from(events.len()).unwrap_or(u32::MAX);
                }
                WatchTold::Compacted { .. } => self.relisted += 1,
                WatchTold::Created | WatchTold::Progress | WatchTold::Canceled { .. } => {}
            },
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let Self { at_least, restored, seen, relisted } = self;
        let finding = if restored.is_none() {
            Finding::unknown("nothing was restored in this run")
        } else if seen < at_least {
            Finding::invalid(
                format!(
                    "watches were told of {seen} changes since the restore, {at_least} would show \
                     that they see: they wait for a revision that is still to come"
                ),
                [],
            )
        } else {
            Finding::valid(format!(
                "watches were told of {seen} changes since the restore; {relisted} were told that theirs \
                 are compacted, and began anew"
            ))
        };
        finding.of("watches_see", "no client waits for a revision that a restore took back")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, check};
    use crate::{AckedNotLost, ElectionSafety, Linearizable, MembersEqual};
    use lab_protocol::Judgement::{self, Invalid, Unknown, Valid};
    use lab_protocol::{Ended, Row, WatchEvent, WatchEventKind, WatchId, WatchResponse};

    /// Two members of cluster 1 that write k at 2, j at 3 and i at 4.
    fn before() -> Script {
        let script = Script::new(2).up(&[1, 2]).identified(1, 11, 1).identified(2, 12, 1);
        let script = script.put(1, 1, "k", "one").answered_by(1, 1).ok(1, 2, None);
        script.put(2, 2, "j", "two").ok(2, 3, None).put(3, 1, "i", "three").ok(3, 4, None)
    }

    /// Both are restored from a snapshot of revision 3, as cluster 2.
    fn restored() -> Script {
        let script = before().down(1).down(2).up(&[1, 2]);
        script.restored(1, (21, 2), 3).restored(2, (22, 2), 3)
    }

    const KEPT: [(&str, &str, i64); 2] = [("j", "two", 3), ("k", "one", 2)];

    fn lost(at_most: u32, script: Script, judgement: Judgement, has: &str) {
        check(&mut LostWrites::new(at_most), script, judgement, has);
    }

    #[test]
    fn what_a_restore_loses_is_counted_and_named() {
        lost(0, before(), Valid, "none of 3");
        let script = restored().read_back(1, 3, &KEPT).read_back(2, 3, &KEPT);
        lost(0, script.clone(), Invalid, "1 of 3 acknowledged writes are lost: operation 3 (put i");
        lost(1, script, Valid, "1 of 3");
        lost(0, Script::new(2), Unknown, "no write");
    }

    #[test]
    fn a_snapshot_is_of_the_cluster_that_wrote_its_newest_row() {
        // Restored wrongly from 2, then again from 3: j is back.
        let script = before().down(1).up(&[1]).restored(1, (21, 2), 2);
        let script = script.put(4, 1, "x", "y").answered_by(4, 2).ok(4, 3, None);
        let script = script.down(1).up(&[1]).restored(1, (31, 3), 3).read_back(1, 3, &KEPT);
        lost(9, script.clone(), Valid, "2 of 4 acknowledged writes are lost: operation 4 (put x");
        check(&mut Linearizable::new(1), script, Valid, "order");
    }

    #[test]
    fn what_was_there_before_the_snapshot_must_be_there_after_it() {
        let whole = restored().read_back(1, 3, &KEPT).read_back(2, 3, &KEPT);
        check(&mut AckedNotLost::new(1), whole, Valid, "2 members");
        let gone = restored().read_back(1, 3, &KEPT[..1]);
        check(&mut AckedNotLost::new(1), gone, Invalid, "put k through m1");
    }

    #[test]
    fn each_cluster_has_an_order_of_its_own() {
        let again = restored().put(4, 1, "k", "new").answered_by(4, 2).ok(4, 4, None);
        let seen = again.clone().get(5, 2, "i", false).answered_by(5, 2).ok(5, 4, None);
        check(&mut Linearizable::new(1), seen, Valid, "4 writes and 1 reads");
        let back = again.get(5, 2, "k", false).answered_by(5, 2).ok(5, 4, Some(("one", 2)));
        check(&mut Linearizable::new(1), back, Invalid, "operation 5");
        // Nothing of the old cluster can be behind the snapshot.
        let ghost = restored().get(4, 1, "i", false).answered_by(4, 2).ok(4, 4, Some(("three", 4)));
        check(&mut Linearizable::new(1), ghost, Invalid, "nobody");
    }

    #[test]
    fn what_a_new_cluster_answers_before_its_members_tell_of_it_is_not_lost() {
        let script = before().down(1).down(2).up(&[1, 2]);
        let script = script.put(4, 1, "k", "new").answered_by(4, 2).ok(4, 4, None);
        let script = script.restored(1, (21, 2), 3).restored(2, (22, 2), 3);
        lost(1, script, Valid, "1 of 4 acknowledged writes are lost: operation 3 (put i");
    }

    #[test]
    fn the_old_token_hides_nothing() {
        let script = before().down(1).down(2).up(&[1, 2]);
        let script = script.restored(1, (11, 1), 3).restored(2, (12, 1), 3);
        lost(0, script.clone(), Invalid, "put i");
        check(&mut IdentityChanged::default(), script.clone(), Invalid, "m1 is still");
        check(&mut IdentityKept::default(), script, Valid, "2 members of the same");
    }

    #[test]
    fn new_members_of_one_new_cluster_are_asked_for() {
        check(&mut IdentityChanged::default(), restored(), Valid, "2 members, all new");
        check(&mut IdentityKept::default(), restored(), Invalid, "m1 belongs");
        let half = before().down(1).up(&[1]).restored(1, (21, 2), 3);
        check(&mut IdentityChanged::default(), half, Invalid, "m2 is still");
        let two = restored().down(2).up(&[2]).restored(2, (32, 3), 3);
        check(&mut IdentityChanged::default(), two.clone(), Invalid, "2 clusters");
        let read = two.read_back(1, 3, &KEPT).read_back(2, 3, &KEPT);
        check(&mut MembersEqual::default(), read, Invalid, "m1 is a member of the cluster");
    }

    #[test]
    fn a_watch_that_waits_for_the_past_is_blind() {
        check(&mut WatchesSee::new(1), before(), Unknown, "nothing was restored");
        let told = |script: Script, told| {
            let response = Box::new(WatchResponse { revision: 9, told });
            script.then(Event::WatchHeard { watch: WatchId(1), response })
        };
        let blind = told(told(restored(), WatchTold::Created), WatchTold::Progress);
        check(&mut WatchesSee::new(1), blind.clone(), Invalid, "0 changes");
        let kind = WatchEventKind::Delete;
        let change = WatchEvent { kind, row: Row::default(), prev: None };
        let sees = told(blind, WatchTold::Events(vec![change]));
        check(&mut WatchesSee::new(1), sees, Valid, "1 changes");
    }

    #[test]
    fn who_ends_by_itself_is_named() {
        check(&mut NobodyEndedByItself::default(), Script::new(1), Unknown, "no process");
        check(&mut NobodyEndedByItself::default(), restored(), Valid, "only when");
        let ended = Ended::Exit { code: 1 };
        let process = Process::Down { ended, asked: false, wiped: false };
        let script = before().then(Event::Process { member: MemberNo(2), process });
        check(&mut NobodyEndedByItself::default(), script, Invalid, "m2 ended");
    }

    #[test]
    fn terms_begin_again_in_a_new_cluster() {
        let script = before().leads(1, 2).down(1).down(2).up(&[2]).restored(2, (22, 2), 3);
        check(&mut ElectionSafety::default(), script.leads(2, 2), Valid, "2 elections");
    }

    #[test]
    fn writes_before_the_last_loss_of_a_quorum_do_not_count() {
        check(&mut WritesResumed::new(1), before(), Unknown, "nothing ever failed");
        check(&mut WritesResumed::new(1), restored(), Invalid, "0 writes");
        let served = restored().put(4, 1, "k", "new").answered_by(4, 2).ok(4, 4, None);
        check(&mut WritesResumed::new(1), served, Valid, "1 writes");
    }
}
