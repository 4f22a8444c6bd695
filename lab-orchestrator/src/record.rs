//! A run on disk: written while it happens, read back for a replay or a check.
//!
//! The bytes are those of [`lab_protocol::recording`]; beside them lies `m1.log` and so on, what
//! the members printed.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lab_protocol::recording::{
    ABOUT_FILE, About, JOURNAL_FILE, MAGIC, Recording, RecordingError, VERDICT_FILE, encode,
};
use lab_protocol::{MemberNo, Numbered, Verdict};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::handle::LabHandle;
use crate::journal::{FollowError, Journal};

/// Events are written in batches this far apart.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RecordError {
    #[error("cannot use {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not a recording: there is no {JOURNAL_FILE} in it", .0.display())]
    NotARun(PathBuf),
    #[error("{} is not a journal of this version of raft-lab", .0.display())]
    OtherVersion(PathBuf),
    #[error("{} is damaged at byte {at}: {what}", .path.display())]
    Damaged { path: PathBuf, at: usize, what: &'static str },
    #[error("events {from} to {to} were overwritten before they could be written down")]
    TooSlow { from: u64, to: u64 },
}

/// Writes a run down while it happens.
#[derive(Debug)]
pub struct Recorder {
    writing: JoinSet<Result<(), RecordError>>,
}

impl Recorder {
    /// Records everything from the first event on, into a directory that is made if it is
    /// missing, until the journal ends or the journal's file has `max_bytes`.
    pub fn start(journal: &Journal, dir: &Path, max_bytes: u64) -> Result<Self, RecordError> {
        fs::create_dir_all(dir).map_err(io_at(dir))?;
        let path = dir.join(JOURNAL_FILE);
        let file = fs::File::create(&path).map_err(io_at(&path))?;
        let mut writer = Writer { dir: dir.to_owned(), path, file: BufWriter::new(file), bytes: 0 };
        writer.write(MAGIC)?;
        let mut follower = journal.follow(0);
        let mut writing = JoinSet::new();
        writing.spawn(async move {
            loop {
                let events = match follower.next(usize::MAX).await {
                    Ok(events) => events,
                    Err(FollowError::Ended) => return writer.flush(),
                    Err(FollowError::Overtaken { after, oldest }) => {
                        writer.flush()?;
                        return Err(RecordError::TooSlow { from: after + 1, to: oldest - 1 });
                    }
                };
                // Small appends to the page cache; they do not hold the runtime up.
                writer.events(&events)?;
                if writer.bytes > max_bytes {
                    tracing::warn!(dir = %writer.dir.display(), "the recording is full and ends");
                    return writer.flush();
                }
                tokio::time::sleep(WRITE_EVERY).await;
            }
        });
        Ok(Self { writing })
    }

    /// Waits until everything is written; the journal must have ended.
    pub async fn finish(mut self) -> Result<(), RecordError> {
        match self.writing.join_next().await {
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

struct Writer {
    dir: PathBuf,
    path: PathBuf,
    file: BufWriter<fs::File>,
    bytes: u64,
}

impl Writer {
    fn events(&mut self, events: &[Arc<Numbered>]) -> Result<(), RecordError> {
        for event in events {
            // Again after *start over*, for the cluster that runs now.
            if let Some(about) = About::of(&event.event) {
                write_json(&self.dir.join(ABOUT_FILE), &about)?;
            }
            self.write(&encode(event))?;
        }
        self.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.file.write_all(bytes).map_err(io_at(&self.path))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        self.file.flush().map_err(io_at(&self.path))
    }
}

/// Writes down what the members of a running lab have printed.
pub fn save_outputs(lab: &LabHandle, dir: &Path) -> Result<(), RecordError> {
    for number in 1..=9 {
        if let Some(text) = lab.output(MemberNo(number)) {
            let path = dir.join(format!("m{number}.log"));
            fs::write(&path, text).map_err(io_at(&path))?;
        }
    }
    Ok(())
}

/// Writes down what the judges said.
pub fn save_verdict(verdict: &Verdict, dir: &Path) -> Result<(), RecordError> {
    write_json(&dir.join(VERDICT_FILE), verdict)
}

/// Reads a recording.
///
/// Errors: no recording there, another version, damage before its end. A torn end is no error:
/// everything before it is returned.
pub fn read(dir: &Path) -> Result<Recording, RecordError> {
    let path = dir.join(JOURNAL_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RecordError::NotARun(dir.to_owned()));
        }
        Err(source) => return Err(RecordError::Io { path, source }),
    };
    Recording::decode(&bytes).map_err(|error| match error {
        RecordingError::OtherVersion => RecordError::OtherVersion(path),
        RecordingError::Damaged { at, what } => RecordError::Damaged { path, at, what },
    })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RecordError> {
    let text = serde_json::to_string_pretty(value).expect("records have an encoding");
    fs::write(path, text + "\n").map_err(io_at(path))
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use lab_protocol::Event;

    use super::*;
    use crate::clock::RunClock;
    use crate::journal::{RING_BYTES, open};

    async fn recorded(notes: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut writer, journal) = open(RunClock::start(), RING_BYTES);
        let recorder = Recorder::start(&journal, dir.path(), u64::MAX).expect("starts");
        writer.append(Event::RunStarted {
            run: "r".into(),
            seed: 5,
            version: "0".into(),
            engine: "e".into(),
            token: "t".into(),
            wall_millis: 1,
            members: vec![],
        });
        for number in 0..notes {
            writer.append(Event::Note { text: number.to_string() });
        }
        drop(writer);
        recorder.finish().await.expect("written");
        dir
    }

    #[tokio::test]
    async fn a_run_reads_back_as_it_was() {
        let dir = recorded(1_000).await;
        let recording = read(dir.path()).expect("reads");
        assert_eq!(recording.events.len(), 1_001);
        assert!(!recording.torn);
        let text = fs::read_to_string(dir.path().join(ABOUT_FILE)).expect("there");
        let about: About = serde_json::from_str(&text).expect("reads");
        assert_eq!((about.run.as_str(), about.seed), ("r", 5));
    }

    #[tokio::test]
    async fn what_is_no_recording_is_told_by_name() {
        let dir = recorded(3).await;
        let path = dir.path().join(JOURNAL_FILE);
        let mut wrong = fs::read(&path).expect("there");
        wrong[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        fs::write(&path, &wrong).expect("written");
        let error = read(dir.path()).expect_err("damaged").to_string();
        assert!(error.contains(JOURNAL_FILE) && error.contains("byte 8"), "{error}");

        fs::write(&path, b"something else").expect("written");
        assert!(matches!(read(dir.path()), Err(RecordError::OtherVersion(_))));
        fs::remove_file(&path).expect("removed");
        assert!(matches!(read(dir.path()), Err(RecordError::NotARun(_))));
    }
}
