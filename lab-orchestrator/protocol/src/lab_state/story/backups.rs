//! What the story tells of backups, and of what is lost without anything else.

use super::wording::seconds;
use super::{Kind, Story, Tone};
use crate::lab_state::backups::LossWindow;
use crate::{Backup, BackupVerdict, LabState, MemberNo, Process};

impl Story {
    /// What came of a backup.
    pub(super) fn backup(&mut self, backup: &Backup, at_micros: u64) {
        let Backup { file, revision, at_micros: _, verdict } = backup;
        match verdict {
            BackupVerdict::Taken | BackupVerdict::Verified => {
                let tested = match verdict {
                    BackupVerdict::Verified => ", and restored for a test",
                    _ => "",
                };
                self.join(Kind::BackedUp, None, at_micros, Tone::Holds, |merge| {
                    match merge.count {
                        1 => format!("A backup up to revision {revision} is taken{tested}."),
                        more => format!(
                            "{more} backups are taken, the last up to revision {revision}{tested}."
                        ),
                    }
                });
            }
            BackupVerdict::Damaged { why } => {
                let text = format!("The backup {file} is damaged and counts no more: {why}.");
                self.line(at_micros, Tone::Fault, text);
            }
            BackupVerdict::Failed { why } => {
                self.join(Kind::NoBackup, None, at_micros, Tone::Fault, |_| {
                    format!("No backup is taken: {why}.")
                });
            }
        }
    }
}

pub(super) fn habit(every_millis: u64, keep: u32, verify: bool) -> String {
    if every_millis == 0 {
        return "No more backups are taken.".to_owned();
    }
    let every = seconds(every_millis.saturating_mul(1_000));
    let test = if verify { "; each is restored for a test" } else { "" };
    format!("A backup is taken every {every}, and the last {keep} good ones are kept{test}.")
}

/// Whether a member that is down is the only one whose disk remembers anything.
pub(super) fn is_last_disk(state: &LabState, member: MemberNo) -> bool {
    let mut others = state.taking_part().filter(|(no, _)| *no != member);
    others.all(|(_, other)| matches!(other.process, Process::Down { wiped: true, .. }))
}

/// What is lost with everything but the backups.
pub(super) fn loss(window: &LossWindow<'_>) -> String {
    let LossWindow { last_good: Some(last), micros: Some(micros), changes } = window else {
        return "Everything is lost: no member has a disk that remembers anything, and there is no \
                good backup."
            .to_owned();
    };
    let changes = match changes {
        None | Some(0) => "nothing that a client was told of came after it".to_owned(),
        Some(1) => "1 change that clients were told of came after it and is lost".to_owned(),
        Some(more) => {
            format!("{more} changes that clients were told of came after it and are lost")
        }
    };
    format!(
        "No member has a disk that remembers anything. What is left is the last good backup, {}, \
         up to revision {}, from {} ago: {changes}.",
        last.file,
        last.revision,
        seconds(*micros)
    )
}
