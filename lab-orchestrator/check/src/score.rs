//! The score of a drill: how the cluster was left, and what that cost. What was typed does not count.

use std::collections::{BTreeMap, BTreeSet};

use lab_protocol::node_protocol::ClusterId;
use lab_protocol::scenario::{CHECK_NAMES, Drill, Harm, Wrong};
use lab_protocol::{Event, Judgement, MemberNo, Numbered, Score, Verdict};

use crate::Check as _;
use crate::recovery::{IdentityKept, LostWrites};

/// A hundred points are there to be lost.
const ALL: u32 = 100;

/// Watches a drill for what costs points.
#[derive(Clone, Debug)]
pub struct Scorer {
    drill: Drill,
    lost: LostWrites,
    identity: IdentityKept,
    /// The voters that each cluster was last known to have.
    voters: BTreeMap<ClusterId, usize>,
    of_member: BTreeMap<MemberNo, ClusterId>,
    /// Who told that it alone is the cluster, where others had counted just before.
    forced: BTreeSet<MemberNo>,
    hints: u32,
}

impl Scorer {
    /// One for this drill, from its first event on.
    pub fn new(drill: &Drill) -> Self {
        Self {
            drill: drill.clone(),
            lost: LostWrites::new(0),
            identity: IdentityKept::default(),
            voters: BTreeMap::new(),
            of_member: BTreeMap::new(),
            forced: BTreeSet::new(),
            hints: 0,
        }
    }

    /// Takes the next event of the journal.
    pub fn observe(&mut self, numbered: &Numbered) {
        self.lost.observe(numbered);
        self.identity.observe(numbered);
        match &numbered.event {
            Event::Identified { member, cluster, .. } => {
                self.of_member.insert(*member, *cluster);
            }
            Event::Status { member, status } if !status.voters.is_empty() => {
                let Some(cluster) = self.of_member.get(member) else { return };
                let before = self.voters.insert(*cluster, status.voters.len());
                // One change removes one member; from three to one is none that a majority made.
                if status.voters.len() == 1 && before.is_some_and(|before| before > 2) {
                    self.forced.insert(*member);
                }
            }
            _ => {}
        }
    }

    /// Somebody asked for a hint.
    pub fn hinted(&mut self) {
        self.hints += 1;
    }

    /// What it comes to, by what the checks found.
    pub fn score(&self, verdict: &Verdict) -> Score {
        let won = verdict.judgement == Judgement::Valid;
        let harm = self.harm();
        let taken: u32 = harm.iter().map(|(_, points)| points).sum();
        let mut debrief: Vec<_> = self.recognised(verdict).into_iter().collect();
        debrief.push(self.drill.debrief.clone());
        Score { won, points: if won { ALL.saturating_sub(taken) } else { 0 }, harm, debrief }
    }

    fn harm(&self) -> Vec<(String, u32)> {
        let Harm { lost_write, hint, restored, forced } = self.drill.harm;
        let lost = u32::try_from(self.lost.count()).unwrap_or(u32::MAX);
        let of_writes = lost.saturating_mul(lost_write).min(Harm::MOST_FOR_WRITES);
        let was_restored = self.identity.verdict().judgement == Judgement::Invalid;
        let harm = [
            (counted(lost, "acknowledged write") + " lost", of_writes),
            (counted(self.hints, "hint"), self.hints.saturating_mul(hint)),
            ("another cluster than before".to_owned(), u32::from(was_restored) * restored),
            (
                "a member made itself the whole cluster".to_owned(),
                u32::from(!self.forced.is_empty()) * forced,
            ),
        ];
        harm.into_iter().filter(|(_, points)| *points > 0).collect()
    }

    /// Why the wrong solution is wrong of which just those checks are broken that are.
    fn recognised(&self, verdict: &Verdict) -> Option<String> {
        let is_check = |name: &&str| CHECK_NAMES.contains(name);
        let broken = verdict.checks.iter().filter(|check| check.is_broken());
        let broken: BTreeSet<_> = broken.map(|check| &*check.check).filter(is_check).collect();
        let fits = |wrong: &&Wrong| {
            wrong.breaks.iter().map(String::as_str).collect::<BTreeSet<_>>() == broken
        };
        self.drill.wrong.iter().find(fits).map(|wrong| wrong.why.clone())
    }
}

/// `1 hint`, `2 hints`.
fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
