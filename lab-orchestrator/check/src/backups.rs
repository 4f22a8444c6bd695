//! Backups: what is left when every disk is lost, and that it is what was told.

use std::collections::BTreeMap;

use lab_protocol::node_protocol::ClusterId;
use lab_protocol::{BackupVerdict, CheckResult, Event, LabState, Numbered};

use crate::{Check, Finding, seconds};

/// After a total loss the cluster begins anew with the last good backup: with all that is in it,
/// and without what the lab said would be lost.
///
/// The books are its own: which files are good, by what was said of each.
#[derive(Debug)]
pub struct BackupsBoundLoss {
    at_least: u32,
    state: LabState,
    /// Good files with their time and revision.
    good: BTreeMap<String, (u64, i64)>,
    verified: u32,
    damaged: u32,
    loss: Option<Loss>,
    /// The revision with which a new cluster began after the loss, and the event that says so.
    began: Option<(ClusterId, i64, u64)>,
}

/// All disks are gone.
#[derive(Debug)]
struct Loss {
    seq: u64,
    /// The newest good backup then: how old, and up to which revision.
    left: Option<(u64, i64)>,
    /// What the lab told: the same.
    told: Option<(u64, i64)>,
}

impl BackupsBoundLoss {
    /// With fewer backups that were restored for a test, or without one found damaged, a run proves
    /// nothing.
    pub fn new(at_least: u32) -> Self {
        Self {
            at_least,
            state: LabState::default(),
            good: BTreeMap::new(),
            verified: 0,
            damaged: 0,
            loss: None,
            began: None,
        }
    }
}

impl Check for BackupsBoundLoss {
    fn observe(&mut self, numbered: &Numbered) {
        let known = self.state.restored.clone();
        self.state.apply(numbered, false);
        match &numbered.event {
            Event::RunStarted { .. } => {
                *self = Self { state: self.state.clone(), ..Self::new(self.at_least) }
            }
            Event::Backup(backup) => match &backup.verdict {
                BackupVerdict::Verified => {
                    self.verified += 1;
                    self.good.insert(backup.file.clone(), (backup.at_micros, backup.revision));
                }
                BackupVerdict::Damaged { .. } => {
                    self.damaged += 1;
                    self.good.remove(&backup.file);
                }
                BackupVerdict::Taken | BackupVerdict::Failed { .. } => {}
            },
            Event::Process { .. } if self.loss.is_none() => {
                let Some(window) = self.state.loss_window() else { return };
                let now = numbered.at_micros;
                let left =
                    self.good.values().max().map(|(at, rev)| (now.saturating_sub(*at), *rev));
                let told = window.micros.zip(window.last_good.map(|last| last.revision));
                self.loss = Some(Loss { seq: numbered.seq, left, told });
            }
            Event::Restored { cluster, revision, .. }
                if self.loss.is_some() && self.began.is_none() && !known.contains_key(cluster) =>
            {
                self.began = Some((*cluster, *revision, numbered.seq));
            }
            _ => {}
        }
    }

    fn verdict(&self) -> CheckResult {
        let Self { at_least, verified, damaged, loss, began, .. } = self;
        let finding = match (loss, began) {
            _ if verified < at_least => {
                Finding::too_few(*verified as usize, *at_least, "backups were restored for a test")
            }
            _ if *damaged == 0 => Finding::unknown("no backup was found damaged in this run"),
            (None, _) => Finding::unknown("there was no total loss in this run"),
            (Some(loss), _) if loss.left != loss.told => Finding::invalid(
                format!(
                    "the lab told {:?} of age and revision, and {:?} is left",
                    loss.told, loss.left
                ),
                [loss.seq],
            ),
            (Some(Loss { left: None, seq, .. }), _) => {
                Finding::invalid("everything was lost, and there was no good backup", [*seq])
            }
            (Some(_), None) => Finding::unknown("no cluster was restored after the loss"),
            (Some(Loss { left: Some((_, left)), .. }), Some((_, began, seq))) if left != began => {
                Finding::invalid(
                    format!(
                        "the last good backup went up to revision {left}, the new cluster began with {began}"
                    ),
                    [*seq],
                )
            }
            (Some(Loss { left: Some((age, left)), .. }), Some(_)) => Finding::valid(format!(
                "{verified} backups, {damaged} damaged; all was lost {} after the last good one, \
                 and the new cluster began with its revision {left}",
                seconds(*age)
            )),
        };
        finding.of(
            "backups_bound_loss",
            "a total loss costs what was written since the last good backup",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_protocol::Judgement::{self, Invalid, Unknown, Valid};
    use lab_protocol::{Backup, Ended, MemberNo, MemberPlan, Process};

    const M1: MemberNo = MemberNo(1);

    fn check(events: &[Event], judgement: Judgement, needle: &str) {
        let plan = MemberPlan { member: M1, client_url: String::new(), peer_url: String::new() };
        let begin = Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: vec![plan],
        };
        let habit = Event::BackupsChanged { every_millis: 1_000, keep: 9, verify: true };
        let mut check = BackupsBoundLoss::new(2);
        let all = [begin, habit].into_iter().chain(events.iter().cloned());
        for (seq, event) in (1..).zip(all) {
            check.observe(&Numbered { seq, at_micros: seq * 1_000_000, event });
        }
        let found = check.verdict();
        assert_eq!(found.judgement, judgement, "{}", found.because);
        assert!(found.because.contains(needle), "{}", found.because);
    }

    #[test]
    fn a_new_cluster_begins_with_the_last_good_backup() {
        let backup = |file: &str, at_micros, revision, verdict| {
            Event::Backup(Backup { file: file.into(), revision, at_micros, verdict })
        };
        let good = |file, at, revision| backup(file, at, revision, BackupVerdict::Verified);
        let rots = backup("b", 2, 7, BackupVerdict::Damaged { why: "a byte".into() });
        let process = Process::Down { ended: Ended::Unseen, asked: true, wiped: true };
        let lost = Event::Process { member: M1, process };
        let begins = |revision| Event::Restored {
            member: M1,
            cluster: ClusterId(9),
            revision,
            began_at: revision,
        };
        let taken = [good("a", 1, 5), good("b", 2, 7)];
        let and = |more: &[Event]| [&taken[..], more].concat();
        check(&taken[..1], Unknown, "1 backups");
        check(&taken, Unknown, "no backup was found damaged");
        check(&and(std::slice::from_ref(&rots)), Unknown, "no total loss");
        check(&and(&[rots.clone(), lost.clone()]), Unknown, "no cluster was restored");
        check(&and(&[rots.clone(), lost.clone(), begins(7)]), Invalid, "began with 7");
        check(&and(&[rots.clone(), lost.clone(), begins(5)]), Valid, "revision 5");
        let also = backup("a", 1, 5, BackupVerdict::Damaged { why: "a byte".into() });
        check(&and(&[rots, also, lost]), Invalid, "no good backup");
    }
}
