//! The lab's backups: which were taken, which of them are good, and what would be lost without
//! anything else.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::LabState;
use crate::{Backup, BackupVerdict, Event, Outcome, Process};

/// Backups that are remembered.
const KEPT: usize = 100;

/// What the lab knows of its backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backups {
    /// The time between two; 0 while none are taken.
    pub every_millis: u64,
    /// How many good ones are kept.
    pub keep: u32,
    /// Whether each is restored for a test.
    pub verify: bool,
    /// The last ones, oldest first, each with the newest verdict on it.
    pub taken: VecDeque<Backup>,
    /// The last one that was found damaged.
    pub alert: Option<Backup>,
    /// Backups that were restored for a test and are sound, since the drill's step began.
    pub verified: u32,
    /// Backups that were found damaged since then.
    pub damaged: u32,
    /// The newest revision that a client was told; all up to it was committed.
    pub told_revision: i64,
    /// When the last disk of a member was lost, as long as none has another.
    pub lost_at_micros: Option<u64>,
}

/// What is lost when there is nothing left but the backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossWindow<'a> {
    /// From where everything can begin anew; `None` if there is no good backup.
    pub last_good: Option<&'a Backup>,
    /// How old that is, microseconds: what was written since is lost.
    pub micros: Option<u64>,
    /// How many changes that clients were told of are not in it.
    pub changes: Option<u64>,
}

impl Backups {
    /// The newest one that can be restored, as far as anybody knows.
    pub fn last_good(&self) -> Option<&Backup> {
        let is_good = |backup: &&Backup| match backup.verdict {
            BackupVerdict::Verified => true,
            BackupVerdict::Taken => !self.verify,
            BackupVerdict::Damaged { .. } | BackupVerdict::Failed { .. } => false,
        };
        self.taken.iter().filter(is_good).max_by_key(|backup| (backup.at_micros, backup.revision))
    }

    /// What would be lost at this time of the run if all else were lost.
    pub fn loss_window(&self, now_micros: u64) -> LossWindow<'_> {
        let last_good = self.last_good();
        LossWindow {
            last_good,
            micros: last_good.map(|last| now_micros.saturating_sub(last.at_micros)),
            changes: last_good
                .map(|last| self.told_revision.saturating_sub(last.revision))
                .map(|changes| u64::try_from(changes).unwrap_or(0)),
        }
    }

    fn note(&mut self, backup: &Backup) {
        match backup.verdict {
            BackupVerdict::Taken => {}
            BackupVerdict::Verified => self.verified += 1,
            BackupVerdict::Damaged { .. } => {
                self.damaged += 1;
                self.alert = Some(backup.clone());
            }
            BackupVerdict::Failed { .. } => return,
        }
        match self.taken.iter_mut().find(|known| known.file == backup.file) {
            Some(known) => known.clone_from(backup),
            None => self.taken.push_back(backup.clone()),
        }
        if self.taken.len() > KEPT {
            self.taken.pop_front();
        }
    }
}

impl LabState {
    /// What is lost, when no member has a disk that remembers anything: now minus the last good
    /// backup.
    pub fn loss_window(&self) -> Option<LossWindow<'_>> {
        self.backups.lost_at_micros.map(|_| self.backups.loss_window(self.at_micros))
    }

    /// Whether every member that takes part is down, and its disk wiped.
    pub(super) fn is_lost(&self) -> bool {
        let mut members = self.taking_part().peekable();
        let is_wiped = |process: &Process| matches!(process, Process::Down { wiped: true, .. });
        members.peek().is_some() && members.all(|(_, member)| is_wiped(&member.process))
    }

    /// Folds an event in; what it says of members is in the state already.
    pub(super) fn fold_backups(&mut self, at_micros: u64, event: &Event) {
        match event {
            Event::BackupsChanged { every_millis, keep, verify } => {
                self.backups.every_millis = *every_millis;
                self.backups.keep = *keep;
                self.backups.verify = *verify;
            }
            Event::Backup(backup) => self.backups.note(backup),
            Event::Step { .. } => (self.backups.verified, self.backups.damaged) = (0, 0),
            Event::Returned { outcome: Outcome::Ok(answer), .. } => {
                self.backups.told_revision = self.backups.told_revision.max(answer.revision);
            }
            Event::Process { .. } => {
                self.backups.lost_at_micros = match self.is_lost() {
                    true => self.backups.lost_at_micros.or(Some(at_micros)),
                    false => None,
                };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Ended, MemberNo, MemberPlan, Numbered, OpId};

    fn tell(state: &mut LabState, event: Event) {
        let (seq, at_micros) = (state.seq + 1, state.at_micros + 1_000);
        state.apply(&Numbered { seq, at_micros, event }, true);
    }

    fn backup(file: &str, at_micros: u64, revision: i64, verdict: BackupVerdict) -> Event {
        Event::Backup(Backup { file: file.to_owned(), revision, at_micros, verdict })
    }

    #[test]
    fn the_loss_window_is_told_when_all_is_lost() {
        let mut state = LabState::default();
        let plan = |no| MemberPlan {
            member: MemberNo(no),
            client_url: String::new(),
            peer_url: String::new(),
        };
        let begin = Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: String::new(),
            engine: String::new(),
            token: String::new(),
            wall_millis: 0,
            members: vec![plan(1), plan(2)],
        };
        tell(&mut state, begin);
        tell(&mut state, Event::BackupsChanged { every_millis: 1_000, keep: 9, verify: true });
        assert_eq!(state.backups.last_good(), None);
        tell(&mut state, backup("a", 100, 5, BackupVerdict::Verified));
        tell(&mut state, backup("b", 200, 7, BackupVerdict::Verified));
        tell(&mut state, backup("c", 300, 8, BackupVerdict::Taken));
        let answer = Answer { revision: 12, term: 2, value: None, number: 0 };
        tell(&mut state, Event::Returned { op: OpId(1), outcome: Outcome::Ok(answer) });
        let file = |state: &LabState| state.backups.last_good().map(|last| last.file.clone());
        assert_eq!(file(&state).as_deref(), Some("b"), "c was to be tested and was not");
        let why = || "a byte".to_owned();
        tell(&mut state, backup("b", 200, 7, BackupVerdict::Damaged { why: why() }));
        tell(&mut state, backup("", 0, 0, BackupVerdict::Failed { why: why() }));
        assert_eq!(file(&state).as_deref(), Some("a"));
        assert_eq!((state.backups.verified, state.backups.damaged), (2, 1));
        assert!(state.backups.alert.is_some());

        let process = |no, wiped| Event::Process {
            member: MemberNo(no),
            process: Process::Down { ended: Ended::Unseen, asked: true, wiped },
        };
        for event in [process(1, false), process(1, true), process(2, false)] {
            tell(&mut state, event);
            assert_eq!(state.loss_window(), None);
        }
        tell(&mut state, process(2, true));
        let at = state.at_micros;
        let window = state.loss_window().expect("all is lost");
        assert_eq!((window.micros, window.changes), (Some(at - 100), Some(7)));
        let told = |state: &LabState| state.story.lines.back().expect("a line").text.clone();
        assert!(told(&state).contains("revision 5"), "{}", told(&state));

        let up = Event::Process { member: MemberNo(1), process: Process::Up { pid: 1 } };
        tell(&mut state, up);
        assert_eq!(state.loss_window(), None);
        tell(&mut state, Event::Step { number: 1, text: "s".into() });
        assert_eq!((state.backups.verified, state.backups.damaged), (0, 0));
    }
}
