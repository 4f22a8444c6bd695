//! The header before every byte string that two peers exchange.
//!
//! ```text
//!  0        4        8     9     10    11    12       16      24     32     40
//!  ┌────────┬────────┬─────┬─────┬─────┬─────┬────────┬───────┬──────┬──────┬─
//!  │ length │ crc32c │ ver │kind │flags│  0  │entries │ seq   │ from │  to  │ …
//!  └────────┴────────┴─────┴─────┴─────┴─────┴────────┴───────┴──────┴──────┴─
//!     … 40 term   48 index   56 log_term   64 commit   72 payload …
//! ```
//!
//! All integers are little endian. `length` counts header and payload; the checksum covers
//! everything behind itself. The header is readable by whoever stands on a plaintext wire (the
//! lab's fabric does); the payload belongs to the node.
//!
//! A connection carries frames in one direction only: the member that dialled sends, the member
//! that was dialled answers the first frame ([`FrameKind::Hello`]) with one
//! [`FrameKind::Welcome`] or [`FrameKind::Reject`] and then stays silent. So each directed link
//! has its own connection, and cutting one direction cuts exactly what flows that way.

use serde::{Deserialize, Serialize};

use crate::{Index, MemberId, Term};

/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 72;

/// No frame may be longer, header included. A snapshot travels in many frames.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// The version of this header. A different one is refused at the handshake.
pub const FRAME_VERSION: u8 = 1;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum FrameKind {
    /// First frame of a connection: who calls, for which cluster.
    Hello = 1,
    /// The called member accepts the connection.
    Welcome = 2,
    /// The called member refuses; the payload is the reason as UTF-8 text.
    Reject = 3,
    /// Raft: entries, or a probe without any (`MsgAppend`).
    Append = 10,
    /// Raft: the answer to [`FrameKind::Append`].
    AppendResponse = 11,
    /// Raft: the leader is alive (`MsgHeartbeat`).
    Heartbeat = 12,
    /// Raft: the answer to [`FrameKind::Heartbeat`].
    HeartbeatResponse = 13,
    /// Raft: a candidate asks for a vote.
    Vote = 14,
    /// Raft: a vote given or refused.
    VoteResponse = 15,
    /// Raft: would I get your vote? (Raft thesis §9.6.)
    PreVote = 16,
    /// Raft: the answer to [`FrameKind::PreVote`].
    PreVoteResponse = 17,
    /// Raft: a follower asks the leader how far it must have applied to serve a read.
    ReadIndex = 18,
    /// Raft: the answer to [`FrameKind::ReadIndex`].
    ReadIndexResponse = 19,
    /// Raft: the leader tells its chosen successor to campaign at once.
    TimeoutNow = 20,
    /// Raft: a follower asks the leader to hand leadership over.
    TransferLeader = 21,
    /// A client's command, sent by the member it reached to the leader.
    Forward = 30,
    /// A question only the leader can answer (lease keep-alive, time to live).
    Ask = 31,
    /// The answer to [`FrameKind::Ask`].
    Answer = 32,
    /// First frame of a snapshot: the Raft message that announces it.
    SnapshotHead = 40,
    /// A piece of a snapshot's body.
    SnapshotChunk = 41,
    /// Last frame of a snapshot: its checksum.
    SnapshotEnd = 42,
}

impl FrameKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 21] = [
        Self::Hello,
        Self::Welcome,
        Self::Reject,
        Self::Append,
        Self::AppendResponse,
        Self::Heartbeat,
        Self::HeartbeatResponse,
        Self::Vote,
        Self::VoteResponse,
        Self::PreVote,
        Self::PreVoteResponse,
        Self::ReadIndex,
        Self::ReadIndexResponse,
        Self::TimeoutNow,
        Self::TransferLeader,
        Self::Forward,
        Self::Ask,
        Self::Answer,
        Self::SnapshotHead,
        Self::SnapshotChunk,
        Self::SnapshotEnd,
    ];

    /// The kind with this number, or `None` for a number this version does not know.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Whether losing or repeating the frame is part of what the protocol above tolerates.
    /// False for the handshake and for snapshot bodies, which a wire may only hold or end.
    pub fn is_message(self) -> bool {
        (10..40).contains(&(self as u8))
    }
}

/// What stands before every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the payload is.
    pub kind: FrameKind,
    /// A vote or append was refused (responses only).
    pub reject: bool,
    /// The sender's own number for the frame, from 1, counted per connection.
    pub seq: u64,
    /// Number of log entries inside.
    pub entries: u32,
    /// The sending member.
    pub from: MemberId,
    /// The receiving member.
    pub to: MemberId,
    /// The sender's term; 0 where the kind has none.
    pub term: Term,
    /// As in Raft's message: the entry before the first one sent, or the last one matched.
    pub index: Index,
    /// Term of the entry at `index`.
    pub log_term: Term,
    /// The sender's commit index.
    pub commit: Index,
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field is impossible; the stream cannot be read any further.
    #[error("frame length {0} is outside {HEADER_BYTES}..={MAX_FRAME_BYTES}")]
    Length(usize),
    /// Another version of the header.
    #[error("frame version {0}, this program speaks {FRAME_VERSION}")]
    Version(u8),
    /// A kind this version does not know.
    #[error("unknown frame kind {0}")]
    Kind(u8),
}

impl FrameHeader {
    /// A header with every optional number zero.
    pub fn new(kind: FrameKind, from: MemberId, to: MemberId) -> Self {
        Self {
            kind,
            reject: false,
            seq: 0,
            entries: 0,
            from,
            to,
            term: Term(0),
            index: Index(0),
            log_term: Term(0),
            commit: Index(0),
        }
    }

    /// Writes the header with `crc = 0`; whoever owns the payload fills the checksum in at
    /// bytes 4..8 (crc32c of bytes 8.. of the frame).
    pub fn encode(&self, payload_bytes: usize, out: &mut [u8; HEADER_BYTES]) {
        let length = u32::try_from(HEADER_BYTES + payload_bytes).expect("frames are below 16 MiB");
        out[0..4].copy_from_slice(&length.to_le_bytes());
        out[4..8].fill(0);
        out[8] = FRAME_VERSION;
        out[9] = self.kind as u8;
        out[10] = u8::from(self.reject);
        out[11] = 0;
        out[12..16].copy_from_slice(&self.entries.to_le_bytes());
        let numbers = [
            self.seq,
            self.from.0,
            self.to.0,
            self.term.0,
            self.index.0,
            self.log_term.0,
            self.commit.0,
        ];
        for (place, number) in out[16..72].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }

    /// The length of the frame that starts with these bytes, header included.
    ///
    /// `None` until four bytes are there. Errors: an impossible length.
    pub fn frame_bytes(start: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(field) = start.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*field) as usize;
        if (HEADER_BYTES..=MAX_FRAME_BYTES).contains(&length) {
            Ok(Some(length))
        } else {
            Err(FrameError::Length(length))
        }
    }

    /// Reads a header; returns it with the checksum the sender wrote.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<(Self, u32), FrameError> {
        if bytes[8] != FRAME_VERSION {
            return Err(FrameError::Version(bytes[8]));
        }
        let kind = FrameKind::from_number(bytes[9]).ok_or(FrameError::Kind(bytes[9]))?;
        let mut numbers = [0u64; 7];
        for (number, place) in numbers.iter_mut().zip(bytes[16..72].chunks_exact(8)) {
            *number = u64::from_le_bytes(place.try_into().expect("chunks of eight"));
        }
        let [seq, from, to, term, index, log_term, commit] = numbers;
        let header = Self {
            kind,
            reject: bytes[10] & 1 == 1,
            seq,
            entries: u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")),
            from: MemberId(from),
            to: MemberId(to),
            term: Term(term),
            index: Index(index),
            log_term: Term(log_term),
            commit: Index(commit),
        };
        let crc = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
        Ok((header, crc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let header = FrameHeader {
            kind: FrameKind::VoteResponse,
            reject: true,
            seq: 7,
            entries: 3,
            from: MemberId(0x8e9e_05c5_2164_694d),
            to: MemberId(2),
            term: Term(9),
            index: Index(125),
            log_term: Term(8),
            commit: Index(124),
        };
        let mut bytes = [0; HEADER_BYTES];
        header.encode(100, &mut bytes);
        assert_eq!(FrameHeader::frame_bytes(&bytes), Ok(Some(172)));
        assert_eq!(FrameHeader::decode(&bytes), Ok((header, 0)));
    }

    #[test]
    fn what_is_not_a_header_is_refused() {
        let mut bytes = [0; HEADER_BYTES];
        FrameHeader::new(FrameKind::Vote, MemberId(1), MemberId(2)).encode(0, &mut bytes);
        for (place, value, expected) in [
            (8, 9, FrameError::Version(9)),
            (9, 0, FrameError::Kind(0)),
            (9, 99, FrameError::Kind(99)),
        ] {
            let mut wrong = bytes;
            wrong[place] = value;
            assert_eq!(FrameHeader::decode(&wrong), Err(expected));
        }
        assert_eq!(FrameHeader::frame_bytes(&[0, 0]), Ok(None));
        assert_eq!(FrameHeader::frame_bytes(&[71, 0, 0, 0]), Err(FrameError::Length(71)));
        assert!(FrameHeader::frame_bytes(&[0xff; 4]).is_err());
    }

    #[test]
    fn every_kind_has_its_number() {
        for kind in FrameKind::ALL {
            assert_eq!(FrameKind::from_number(kind as u8), Some(kind));
        }
    }
}
