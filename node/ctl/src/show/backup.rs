//! What came of one period of backups, on one line.

use std::time::Duration;

use jiff::Timestamp;
use node_restore::Status;

use super::json::{Object, array, string};
use super::{Show, Style, line};
use crate::duration;
use crate::quote::human_bytes;

/// One period.
#[derive(Debug)]
pub(crate) struct BackupPeriod {
    /// When it began.
    pub(crate) began: Timestamp,
    /// How long saving and testing took.
    pub(crate) took: Duration,
    /// The new backup, if there is one.
    pub(crate) saved: Option<SavedBackup>,
    /// The older file that was tried, if it is sound.
    pub(crate) tried: Option<String>,
    /// Files that were set apart.
    pub(crate) damaged: Vec<String>,
    /// What else went wrong.
    pub(crate) errors: Vec<String>,
    /// How many backups there are now that count.
    pub(crate) kept: usize,
    /// When the newest good backup was taken.
    pub(crate) last_good: Option<Timestamp>,
    /// How long ago that is at the period's end.
    pub(crate) lost: Option<Duration>,
}

/// A new backup.
#[derive(Debug)]
pub(crate) struct SavedBackup {
    /// Whose it is.
    pub(crate) endpoint: String,
    /// Where it is.
    pub(crate) file: String,
    /// What is in it.
    pub(crate) status: Status,
    /// Whether it was restored for a test.
    pub(crate) verified: bool,
}

impl BackupPeriod {
    /// What would be lost if all else were lost now.
    pub(crate) fn loss(&self) -> String {
        match self.lost {
            Some(age) => format!("no backup newer than {} ago", duration::spoken(age)),
            None => "there is no backup at all".to_owned(),
        }
    }
}

impl Show for BackupPeriod {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        // What went wrong is for standard error.
        let Some(SavedBackup { endpoint, file, status, verified }) = &self.saved else { return };
        let Status { revision, total_keys, total_bytes, hash: _, integrity: _ } = status;
        let (size, took) = (human_bytes(*total_bytes), duration::format(whole(self.took)));
        let mut text = format!(
            "{}, {file}, revision {revision}, {total_keys} keys, {size}, from {endpoint}, in {took}, {}",
            self.began,
            if *verified { "verified" } else { "not verified" }
        );
        if let Some(older) = &self.tried {
            text.push_str(&format!(", {older} verified again"));
        }
        line(out, text);
    }

    fn json(&self) -> String {
        let Self { began, took, saved, tried, damaged, errors, kept, last_good, lost } = self;
        // Nothing is left out when it is zero or false: this is no message of the API.
        let mut object = Object::new().text("time", &began.to_string());
        if let Some(SavedBackup { endpoint, file, status, verified }) = saved {
            let Status { hash, revision, total_keys, total_bytes, integrity: _ } = status;
            object = object
                .text("file", file)
                .text("endpoint", endpoint)
                .raw("hash", hash)
                .raw("revision", revision)
                .raw("totalKey", total_keys)
                .raw("totalSize", total_bytes)
                .raw("verified", verified);
        }
        object = object.raw("tookSeconds", whole(*took).as_secs_f64());
        object = object.text("verifiedAgain", tried.as_deref().unwrap_or_default());
        object = object.list("damaged", damaged, |file| string(file));
        object = object.raw("errors", array(errors, |error| string(error))).raw("kept", kept);
        object = object.maybe("lastGood", last_good.as_ref(), |at| string(&at.to_string()));
        object.maybe("lossWindowSeconds", lost.as_ref(), |lost| lost.as_secs().to_string()).end()
    }
}

/// In whole milliseconds: nobody reads more of it.
fn whole(took: Duration) -> Duration {
    Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::Format;
    use node_restore::Integrity;

    fn period() -> BackupPeriod {
        let time = |text: &str| text.parse().expect("a time");
        BackupPeriod {
            began: time("2026-11-28T18:30:00Z"),
            took: Duration::from_micros(312_999),
            saved: Some(SavedBackup {
                endpoint: "127.0.0.1:2379".to_owned(),
                file: "backups/new.db".to_owned(),
                status: Status {
                    hash: 7,
                    revision: 1234,
                    total_keys: 57,
                    total_bytes: 20_480,
                    integrity: Integrity::Verified,
                },
                verified: true,
            }),
            tried: Some("backups/old.db".to_owned()),
            damaged: Vec::new(),
            errors: Vec::new(),
            kept: 48,
            last_good: Some(time("2026-11-28T18:30:00Z")),
            lost: Some(Duration::from_millis(400)),
        }
    }

    fn said(period: &BackupPeriod, format: Format) -> String {
        let style = Style { format, hex: false, value_only: false };
        String::from_utf8(style.text(period).expect("it can be said")).expect("text")
    }

    #[test]
    fn a_good_one_is_told() {
        assert_eq!(
            said(&period(), Format::Simple),
            "2026-11-28T18:30:00Z, backups/new.db, revision 1234, 57 keys, 20 kB, from \
             127.0.0.1:2379, in 312ms, verified, backups/old.db verified again\n"
        );
        assert_eq!(
            said(&period(), Format::Json),
            "{\"time\":\"2026-11-28T18:30:00Z\",\"file\":\"backups/new.db\",\"endpoint\":\
             \"127.0.0.1:2379\",\"hash\":7,\"revision\":1234,\"totalKey\":57,\"totalSize\":20480,\
             \"verified\":true,\"tookSeconds\":0.312,\"verifiedAgain\":\"backups/old.db\",\
             \"errors\":[],\"kept\":48,\"lastGood\":\"2026-11-28T18:30:00Z\",\"lossWindowSeconds\":0}\n"
        );
    }

    #[test]
    fn a_failure_tells_the_loss_window() {
        let mut failed = period();
        failed.saved = None;
        failed.tried = None;
        failed.errors = vec!["127.0.0.1:2379: context deadline exceeded".to_owned()];
        failed.damaged = vec!["backups/old.db.damaged".to_owned()];
        failed.lost = Some(Duration::from_secs(2110));
        assert_eq!(failed.loss(), "no backup newer than 35 m 10 s ago");
        assert_eq!(said(&failed, Format::Simple), "");
        assert_eq!(
            said(&failed, Format::Json),
            "{\"time\":\"2026-11-28T18:30:00Z\",\"tookSeconds\":0.312,\"damaged\":\
             [\"backups/old.db.damaged\"],\"errors\":[\"127.0.0.1:2379: context deadline \
             exceeded\"],\"kept\":48,\"lastGood\":\"2026-11-28T18:30:00Z\",\"lossWindowSeconds\":2110}\n"
        );
    }
}
