//! The websocket between the lab and a browser.
//!
//! The server speaks first: `Hello`, `State` (the fold up to a sequence number), then `Events`
//! that follow it without a gap, batched about thirty times a second. A browser that falls too
//! far behind, or comes back after a sleep, gets a new `State` instead. Every message is binary,
//! postcard.

use serde::{Deserialize, Serialize};

use crate::{Command, LabState, Numbered};

/// The version of these types; another one makes the page reload itself.
pub const LAB_PROTOCOL_VERSION: u32 = 6;

/// What the lab sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// Always first.
    Hello {
        /// [`LAB_PROTOCOL_VERSION`].
        version: u32,
        /// Whether commands are accepted (false for a replay and for viewers).
        may_command: bool,
        /// The lab's present time, microseconds since the run began.
        now_micros: u64,
    },
    /// Everything up to here.
    State {
        /// The fold.
        state: Box<LabState>,
    },
    /// What happened since, in order, and the lab's present time.
    Events {
        /// Microseconds since the run began.
        now_micros: u64,
        /// Events, ascending, without gaps among those that the page is sent. Messages beyond
        /// the budget of a batch are left out and counted in `unsent_messages`.
        events: Vec<Numbered>,
        /// [`crate::Event::Message`]s left out of this batch.
        unsent_messages: u32,
    },
    /// What became of a command of this browser.
    Answer {
        /// The browser's own number for it.
        ticket: u64,
        /// Empty when it was carried out, else why not.
        refused: String,
    },
}

/// What a browser sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientFrame {
    /// Asks something of the lab.
    Command {
        /// The browser's own number for it.
        ticket: u64,
        /// What.
        command: Command,
    },
    /// Events up to this number have arrived; two batches may be under way.
    Seen {
        /// A sequence number.
        seq: u64,
    },
    /// Send the whole state again (after a sleep or a gap).
    Resync,
}

/// Bytes are not a frame of this version.
#[derive(Debug, thiserror::Error)]
#[error("not a frame of lab protocol {LAB_PROTOCOL_VERSION}")]
pub struct DecodeError(#[from] postcard::Error);

impl ServerFrame {
    /// The bytes of one websocket message.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("every value of this type has an encoding")
    }

    /// Reads one websocket message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(postcard::from_bytes(bytes)?)
    }
}

impl ClientFrame {
    /// The bytes of one websocket message.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("every value of this type has an encoding")
    }

    /// Reads one websocket message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(postcard::from_bytes(bytes)?)
    }
}
