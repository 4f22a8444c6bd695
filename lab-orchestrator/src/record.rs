//! A run on disk: written while it happens, read back for a replay or a check.
//!
//! ```text
//!  RUN/run.json            what ran, for people and programs
//!  RUN/journal.postcard    "raftlab1", then for each event its length (u32, little endian) and
//!                          its postcard encoding (lab_protocol::Numbered)
//!  RUN/m1.log …            what the members printed
//!  RUN/verdict.json        what the judges said, after a drill
//! ```

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lab_protocol::{Event, MemberNo, MemberPlan, Numbered, Verdict};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::handle::LabHandle;
use crate::journal::{FollowError, Journal};

/// First bytes of a journal on disk; the digit is the version.
const MAGIC: &[u8; 8] = b"raftlab1";

/// No event on disk is longer: a damaged length is noticed before memory is asked for.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// Events are written in batches this far apart.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// What `run.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of this record.
    pub schema: u32,
    /// Name of the run.
    pub run: String,
    /// Its seed.
    pub seed: u64,
    /// Version of the lab.
    pub version: String,
    /// The program the members ran.
    pub engine: String,
    /// When it began, milliseconds since 1970 (UTC).
    pub wall_millis: u64,
    /// Its members.
    pub members: Vec<MemberPlan>,
}

/// A recording, read back.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Every event, ascending, from the first.
    pub events: Vec<Numbered>,
    /// The end is missing: the lab was killed while it wrote.
    pub torn: bool,
}

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RecordError {
    #[error("cannot use {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not a recording: there is no journal.postcard in it", .0.display())]
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
        let path = dir.join("journal.postcard");
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
            if let Event::RunStarted { .. } = &event.event {
                self.about(&event.event)?;
            }
            let bytes = postcard::to_stdvec(&**event).expect("every event has an encoding");
            let length = u32::try_from(bytes.len()).expect("events are small");
            self.write(&length.to_le_bytes())?;
            self.write(&bytes)?;
        }
        self.flush()
    }

    /// Writes `run.json`; again after *start over*, for the cluster that runs now.
    fn about(&self, event: &Event) -> Result<(), RecordError> {
        let Event::RunStarted { run, seed, version, engine, token: _, wall_millis, members } =
            event
        else {
            return Ok(());
        };
        let about = About {
            schema: 1,
            run: run.clone(),
            seed: *seed,
            version: version.clone(),
            engine: engine.clone(),
            wall_millis: *wall_millis,
            members: members.clone(),
        };
        write_json(&self.dir.join("run.json"), &about)
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
    write_json(&dir.join("verdict.json"), verdict)
}

/// Reads a recording.
///
/// Errors: no recording there, another version, damage before its end. A torn end is no error:
/// everything before it is returned.
pub fn read(dir: &Path) -> Result<Recording, RecordError> {
    let path = dir.join("journal.postcard");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RecordError::NotARun(dir.to_owned()));
        }
        Err(source) => return Err(RecordError::Io { path, source }),
    };
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return Err(RecordError::OtherVersion(path));
    };
    let mut events: Vec<Numbered> = Vec::new();
    loop {
        let at = bytes.len() - rest.len();
        let damaged = |what| RecordError::Damaged { path: path.clone(), at, what };
        let Some((length, after)) = rest.split_first_chunk::<4>() else {
            return Ok(Recording { events, torn: !rest.is_empty() });
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_EVENT_BYTES {
            return Err(damaged("an impossible length"));
        }
        let Some((event, after)) = after.split_at_checked(length) else {
            return Ok(Recording { events, torn: true });
        };
        let event: Numbered =
            postcard::from_bytes(event).map_err(|_| damaged("not an event of this version"))?;
        if event.seq != events.last().map_or(1, |last| last.seq + 1) {
            return Err(damaged("an event is missing before it"));
        }
        events.push(event);
        rest = after;
    }
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
        let text = fs::read_to_string(dir.path().join("run.json")).expect("there");
        let about: About = serde_json::from_str(&text).expect("reads");
        assert_eq!((about.run.as_str(), about.seed), ("r", 5));
    }

    #[tokio::test]
    async fn damage_is_told_with_its_place_and_a_torn_end_is_forgiven() {
        let dir = recorded(3).await;
        let path = dir.path().join("journal.postcard");
        let whole = fs::read(&path).expect("there");

        fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        let torn = read(dir.path()).expect("reads");
        assert!(torn.torn);
        assert_eq!(torn.events.len(), 3);

        let mut wrong = whole.clone();
        wrong[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        fs::write(&path, &wrong).expect("written");
        let error = read(dir.path()).expect_err("damaged");
        assert!(error.to_string().contains("byte 8"), "{error}");

        fs::write(&path, b"something else").expect("written");
        assert!(matches!(read(dir.path()), Err(RecordError::OtherVersion(_))));
        fs::remove_file(&path).expect("removed");
        assert!(matches!(read(dir.path()), Err(RecordError::NotARun(_))));
    }
}
