//! The bytes of a recording: a run's journal as it lies on a disk.
//!
//! ```text
//!  RUN/run.json            what ran, for people and programs (About)
//!  RUN/journal.postcard    "raftlab1", then for each event its length (u32, little endian) and
//!                          its postcard encoding (Numbered)
//!  RUN/verdict.json        what the judges said (Verdict)
//! ```
//!
//! Whoever writes recordings (the lab while it runs, the simulation afterwards) and whoever reads
//! them (a replay, a check) does it by this file; what more lies in the directory is their own.

use serde::{Deserialize, Serialize};

use crate::{Event, MemberPlan, Numbered};

/// Name of the file that says what ran.
pub const ABOUT_FILE: &str = "run.json";

/// Name of the file with the events.
pub const JOURNAL_FILE: &str = "journal.postcard";

/// Name of the file with the verdict.
pub const VERDICT_FILE: &str = "verdict.json";

/// First bytes of a journal on disk; the digit is the version.
pub const MAGIC: &[u8; 8] = b"raftlab1";

/// No event on disk is longer: a damaged length is noticed before memory is asked for.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// What [`ABOUT_FILE`] says.
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

impl About {
    /// What there is to say of a run, from the event that begins it; `None` for other events.
    pub fn of(event: &Event) -> Option<Self> {
        let Event::RunStarted { run, seed, version, engine, token: _, wall_millis, members } =
            event
        else {
            return None;
        };
        Some(Self {
            schema: 1,
            run: run.clone(),
            seed: *seed,
            version: version.clone(),
            engine: engine.clone(),
            wall_millis: *wall_millis,
            members: members.clone(),
        })
    }
}

/// A recording, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Every event, ascending, from the first.
    pub events: Vec<Numbered>,
    /// The end is missing: whoever wrote it was killed.
    pub torn: bool,
}

/// Bytes are no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// They do not begin as one of this version does.
    #[error("not a journal of this version")]
    OtherVersion,
    /// They begin as one, and are not.
    #[error("damaged at byte {at}: {what}")]
    Damaged {
        /// Where.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

/// The bytes of one event, as they follow [`MAGIC`] and the events before.
pub fn encode(event: &Numbered) -> Vec<u8> {
    let body = postcard::to_stdvec(event).expect("every event has an encoding");
    let length = u32::try_from(body.len()).expect("events are small");
    [&length.to_le_bytes()[..], &body].concat()
}

impl Recording {
    /// Reads a journal.
    ///
    /// Errors: another version, damage before the end. A torn end is no error: everything before
    /// it is returned.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordingError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(RecordingError::OtherVersion)?;
        let mut events: Vec<Numbered> = Vec::new();
        loop {
            let at = bytes.len() - rest.len();
            let damaged = |what| RecordingError::Damaged { at, what };
            let Some((length, after)) = rest.split_first_chunk::<4>() else {
                return Ok(Self { events, torn: !rest.is_empty() });
            };
            let length = u32::from_le_bytes(*length) as usize;
            if length > MAX_EVENT_BYTES {
                return Err(damaged("an impossible length"));
            }
            let Some((event, after)) = after.split_at_checked(length) else {
                return Ok(Self { events, torn: true });
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_with_its_place_and_a_torn_end_is_forgiven() {
        let events: Vec<_> = (1..=4)
            .map(|seq| Numbered { seq, at_micros: 9, event: Event::Note { text: "n".into() } })
            .collect();
        let mut whole = MAGIC.to_vec();
        whole.extend(events.iter().flat_map(encode));
        let read = Recording::decode(&whole).expect("reads");
        assert_eq!(read, Recording { events: events.clone(), torn: false });

        let torn = Recording::decode(&whole[..whole.len() - 1]).expect("reads");
        assert_eq!(torn, Recording { events: events[..3].to_vec(), torn: true });

        let mut wrong = whole.clone();
        wrong[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let damaged = |at, what| Err(RecordingError::Damaged { at, what });
        assert_eq!(Recording::decode(&wrong), damaged(8, "an impossible length"));
        let second = 8 + encode(&events[0]).len();
        let without = [&whole[..second], &whole[second + encode(&events[1]).len()..]].concat();
        assert_eq!(Recording::decode(&without), damaged(second, "an event is missing before it"));
        assert_eq!(Recording::decode(b"something else"), Err(RecordingError::OtherVersion));
    }
}
