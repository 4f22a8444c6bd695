//! A copy of one member's state, in a file that is whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use etcd_api::etcdserverpb as pb;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use tonic::Status;

use super::{Desk, restore};
use crate::args::{Global, Snapshot, Words};
use crate::client::{Client, Patience, maintenance};
use crate::duration;
use crate::failure::{Failure, code, say, words};

/// The length of the sum at the file's end.
const SUM: usize = 32;

/// The state comes in pages of this size or a multiple; what is over is the sum.
const PAGE: u64 = 512;

pub(crate) async fn run(desk: &Desk, asked: &Snapshot) -> Result<(), Failure> {
    match asked {
        Snapshot::Save(asked) => save_checked(desk, asked).await,
        Snapshot::Status(asked) => restore::status(desk, asked),
        Snapshot::Restore(asked) => restore::restore(asked),
    }
}

async fn save_checked(desk: &Desk, asked: &Words) -> Result<(), Failure> {
    let [path] = asked.words.as_slice() else {
        return Err(Failure::bad_args("snapshot save expects one argument"));
    };
    if desk.client.endpoints().len() != 1 {
        let all = desk.client.endpoints().join(" ");
        return Err(failed(format!(
            "snapshot must be requested to one selected node, not multiple [{all}]"
        )));
    }
    let part = format!("{path}.part");
    let saved = in_time(&desk.global, fetch(&desk.client, &part, None)).await;
    let saved = saved.and_then(|()| publish(&part, path));
    if saved.is_err() {
        // It may never have been made.
        fs::remove_file(&part).ok();
    }
    saved?;
    say(format!("Snapshot saved at {path}\n"))
}

fn failed(text: impl Into<String>) -> Failure {
    Failure::new(code::INTERRUPTED, text)
}

/// An error of the file system in Go's words, which say what failed where.
fn told(what: &str, path: &str, error: &io::Error) -> String {
    format!("{what} {path}: {}", restore::gos(error))
}

/// Saves for as long as it takes: its size is not known before, so it has a time only if one was
/// asked for.
pub(super) async fn in_time(
    global: &Global,
    saving: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    match global.command_timeout_is_set {
        true => timeout(global.command_timeout, saving)
            .await
            .unwrap_or_else(|_| Err(failed("context deadline exceeded"))),
        false => saving.await,
    }
}

/// Brings a member's state into the file `part`, checked and durable there.
///
/// A member that says nothing for as long as `silence` is given up. Whatever the outcome, and if
/// this is dropped, the file may be there; an unfinished one is the caller's to remove.
pub(super) async fn fetch(
    client: &Client,
    part: &str,
    silence: Option<Duration>,
) -> Result<(), Failure> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part).map_err(
            |error| failed(format!("could not open {part} ({})", told("open", part, &error))),
        )?;
    let stopped = |status| failed(words(&status));
    let wire = client.wire(Patience::Command).await.map_err(stopped)?;
    let mut asking = maintenance(wire);
    let answer = listen(silence, asking.snapshot(pb::SnapshotRequest {})).await?;
    let mut blobs = answer.into_inner();
    let mut sum = Sum::default();
    while let Some(answer) = listen(silence, blobs.message()).await? {
        sum.add(&answer.blob);
        file.write_all(&answer.blob).map_err(|error| failed(told("write", part, &error)))?;
    }
    sum.check().map_err(failed)?;
    file.sync_all().map_err(|error| failed(told("sync", part, &error)))
}

/// Waits for a member's next word.
async fn listen<T>(
    silence: Option<Duration>,
    word: impl Future<Output = Result<T, Status>>,
) -> Result<T, Failure> {
    let heard = match silence {
        None => word.await,
        Some(silence) => timeout(silence, word).await.map_err(|_| {
            failed(format!("the member said nothing for {}", duration::format(silence)))
        })?,
    };
    heard.map_err(|status| failed(words(&status)))
}

/// Gives a finished file its name, which outlives a power loss.
pub(super) fn publish(part: &str, path: &str) -> Result<(), Failure> {
    fs::rename(part, path).map_err(|error| {
        failed(format!("could not rename {part} to {path} ({})", told("rename", part, &error)))
    })?;
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failed(told("sync", path, &error)))
}

/// The sum over all bytes but the last 32, which are to be that sum.
#[derive(Debug, Default)]
struct Sum {
    hash: Sha256,
    /// The last bytes so far.
    tail: Vec<u8>,
    length: u64,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        let inner = self.tail.len().saturating_sub(SUM);
        self.hash.update(&self.tail[..inner]);
        self.tail.drain(..inner);
    }

    fn check(self) -> Result<(), String> {
        if self.length % PAGE != SUM as u64 {
            return Err(format!("sha256 checksum not found [bytes: {}]", self.length));
        }
        let found = self.hash.finalize();
        if found.as_slice() != self.tail {
            let list = |bytes: &[u8]| {
                let bytes: Vec<_> = bytes.iter().map(u8::to_string).collect();
                bytes.join(" ")
            };
            return Err(format!(
                "expected sha256 [{}], got [{}]",
                list(&self.tail),
                list(found.as_slice())
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_found_however_the_bytes_come() {
        let page = [7; 512];
        let sum = Sha256::digest(page);
        let whole = [&page[..], sum.as_slice()].concat();
        for size in [1, 31, 33, 512, 544] {
            let mut read = Sum::default();
            whole.chunks(size).for_each(|chunk| read.add(chunk));
            assert_eq!(read.check(), Ok(()), "in pieces of {size}");
        }
    }

    #[test]
    fn a_wrong_or_missing_sum_is_told() {
        let mut missing = Sum::default();
        missing.add(&[7; 512]);
        assert_eq!(missing.check(), Err("sha256 checksum not found [bytes: 512]".to_owned()));
        let mut wrong = Sum::default();
        wrong.add(&[7; 544]);
        assert!(wrong.check().expect_err("wrong").starts_with("expected sha256 [7 7 "));
    }
}
