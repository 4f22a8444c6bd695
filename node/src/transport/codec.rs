//! What two peers say to each other, as frames.
//!
//! The header ([`node_protocol::FrameHeader`]) repeats what an onlooker wants to know; the payload
//! holds the rest. Little endian throughout; lengths are checked before anything is taken.

use bytes::{Buf, BufMut, Bytes};
use node_protocol::frame::{HEADER_BYTES, MAX_FRAME_BYTES};
use node_protocol::{FrameHeader, FrameKind, Index, MemberId, Term};
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType};

use crate::lease::{AskId, LeaseAnswer, LeaseAsk};

/// A client's command on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// It may have been sent before: the leader looks whether it is in the log already.
    pub again: bool,
    /// The command's bytes; they begin with its name.
    pub command: Bytes,
}

/// What a frame carries once it is parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// A Raft message.
    Raft(Box<Message>),
    /// A client's command.
    Forward(Forwarded),
    /// A question only the leader can answer.
    Ask {
        /// The asking member's name for it.
        id: AskId,
        /// The question.
        ask: LeaseAsk,
    },
    /// The answer to an `Ask`.
    Answer {
        /// The name of the question.
        id: AskId,
        /// The answer; `None` when the asked member does not lead.
        answer: Option<LeaseAnswer>,
    },
}

/// Bytes are not what their header says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The header is wrong.
    #[error(transparent)]
    Frame(#[from] node_protocol::frame::FrameError),
    /// The checksum does not fit the bytes.
    #[error("a frame's checksum is wrong")]
    Checksum,
    /// The payload does not fit its kind.
    #[error("a frame of kind {0:?} is malformed")]
    Malformed(FrameKind),
    /// The kind does not belong on this connection.
    #[error("a frame of kind {0:?} does not belong here")]
    Unexpected(FrameKind),
}

/// Appends a frame to `out`.
pub fn frame(
    mut header: FrameHeader,
    seq: u64,
    payload: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    header.seq = seq;
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    payload(out);
    let payload_bytes = out.len() - start - HEADER_BYTES;
    debug_assert!(payload_bytes + HEADER_BYTES <= MAX_FRAME_BYTES);
    let mut head = [0; HEADER_BYTES];
    header.encode(payload_bytes, &mut head);
    out[start..start + HEADER_BYTES].copy_from_slice(&head);
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Splits a whole frame into header and payload, the checksum verified.
pub fn open(mut frame: Bytes) -> Result<(FrameHeader, Bytes), CodecError> {
    let head: &[u8; HEADER_BYTES] =
        frame.first_chunk().ok_or(node_protocol::frame::FrameError::Length(frame.len()))?;
    let (header, crc) = FrameHeader::decode(head)?;
    if crc32c::crc32c(&frame[8..]) != crc {
        return Err(CodecError::Checksum);
    }
    Ok((header, frame.split_off(HEADER_BYTES)))
}

/// Appends a packet as a frame.
pub fn encode(packet: &Packet, from: MemberId, to: MemberId, seq: u64, out: &mut Vec<u8>) {
    match packet {
        Packet::Raft(message) => encode_message(message, seq, out),
        Packet::Forward(forwarded) => {
            let header = FrameHeader::new(FrameKind::Forward, from, to);
            let write = |out: &mut Vec<u8>| {
                out.put_u8(u8::from(forwarded.again));
                out.extend_from_slice(&forwarded.command);
            };
            frame(header, seq, write, out);
        }
        Packet::Ask { id, ask } => {
            let (kind, lease) = match ask {
                LeaseAsk::KeepAlive { lease } => (0, lease),
                LeaseAsk::TimeToLive { lease } => (1, lease),
            };
            let write = |out: &mut Vec<u8>| {
                put_ask_id(*id, out);
                out.put_u8(kind);
                out.put_i64_le(*lease);
            };
            frame(FrameHeader::new(FrameKind::Ask, from, to), seq, write, out);
        }
        Packet::Answer { id, answer } => {
            let (kind, ttl, granted) = match answer {
                None => (0, 0, 0),
                Some(LeaseAnswer::Unknown) => (1, 0, 0),
                Some(LeaseAnswer::Known { ttl_seconds, granted_seconds }) => {
                    (2, *ttl_seconds, *granted_seconds)
                }
            };
            let write = |out: &mut Vec<u8>| {
                put_ask_id(*id, out);
                out.put_u8(kind);
                out.put_i64_le(ttl);
                out.put_i64_le(granted);
            };
            frame(FrameHeader::new(FrameKind::Answer, from, to), seq, write, out);
        }
    }
}

fn put_ask_id(id: AskId, out: &mut Vec<u8>) {
    out.put_u64_le(id.boot);
    out.put_u64_le(id.number);
}

fn ask_id(rest: &mut Bytes) -> AskId {
    AskId { boot: rest.get_u64_le(), number: rest.get_u64_le() }
}

/// Reads what a frame carries.
pub fn decode(header: &FrameHeader, payload: Bytes) -> Result<Packet, CodecError> {
    let malformed = || CodecError::Malformed(header.kind);
    match header.kind {
        FrameKind::Forward => {
            let mut rest = payload;
            let again = take(&mut rest, 1).ok_or_else(malformed)?[0] != 0;
            Ok(Packet::Forward(Forwarded { again, command: rest }))
        }
        FrameKind::Ask => {
            let mut rest = take(&mut payload.clone(), 25).ok_or_else(malformed)?;
            let id = ask_id(&mut rest);
            let kind = rest.get_u8();
            let lease = rest.get_i64_le();
            let ask = match kind {
                0 => LeaseAsk::KeepAlive { lease },
                1 => LeaseAsk::TimeToLive { lease },
                _ => return Err(malformed()),
            };
            Ok(Packet::Ask { id, ask })
        }
        FrameKind::Answer => {
            let mut rest = take(&mut payload.clone(), 33).ok_or_else(malformed)?;
            let id = ask_id(&mut rest);
            let kind = rest.get_u8();
            let (ttl_seconds, granted_seconds) = (rest.get_i64_le(), rest.get_i64_le());
            let answer = match kind {
                0 => None,
                1 => Some(LeaseAnswer::Unknown),
                2 => Some(LeaseAnswer::Known { ttl_seconds, granted_seconds }),
                _ => return Err(malformed()),
            };
            Ok(Packet::Answer { id, answer })
        }
        FrameKind::SnapshotHead => Err(CodecError::Unexpected(header.kind)),
        _ => {
            let message = decode_message(header, payload)?;
            Ok(Packet::Raft(Box::new(message)))
        }
    }
}

/// The kind of a Raft message on the wire; `None` for those that never travel.
pub fn kind_of(kind: MessageType) -> Option<FrameKind> {
    use MessageType as T;
    Some(match kind {
        T::MsgAppend => FrameKind::Append,
        T::MsgAppendResponse => FrameKind::AppendResponse,
        T::MsgRequestVote => FrameKind::Vote,
        T::MsgRequestVoteResponse => FrameKind::VoteResponse,
        T::MsgRequestPreVote => FrameKind::PreVote,
        T::MsgRequestPreVoteResponse => FrameKind::PreVoteResponse,
        T::MsgHeartbeat => FrameKind::Heartbeat,
        T::MsgHeartbeatResponse => FrameKind::HeartbeatResponse,
        T::MsgReadIndex => FrameKind::ReadIndex,
        T::MsgReadIndexResp => FrameKind::ReadIndexResponse,
        T::MsgTimeoutNow => FrameKind::TimeoutNow,
        T::MsgTransferLeader => FrameKind::TransferLeader,
        T::MsgSnapshot => FrameKind::SnapshotHead,
        T::MsgHup
        | T::MsgBeat
        | T::MsgPropose
        | T::MsgUnreachable
        | T::MsgSnapStatus
        | T::MsgCheckQuorum => return None,
    })
}

fn type_of(kind: FrameKind) -> Option<MessageType> {
    use MessageType as T;
    Some(match kind {
        FrameKind::Append => T::MsgAppend,
        FrameKind::AppendResponse => T::MsgAppendResponse,
        FrameKind::Vote => T::MsgRequestVote,
        FrameKind::VoteResponse => T::MsgRequestVoteResponse,
        FrameKind::PreVote => T::MsgRequestPreVote,
        FrameKind::PreVoteResponse => T::MsgRequestPreVoteResponse,
        FrameKind::Heartbeat => T::MsgHeartbeat,
        FrameKind::HeartbeatResponse => T::MsgHeartbeatResponse,
        FrameKind::ReadIndex => T::MsgReadIndex,
        FrameKind::ReadIndexResponse => T::MsgReadIndexResp,
        FrameKind::TimeoutNow => T::MsgTimeoutNow,
        FrameKind::TransferLeader => T::MsgTransferLeader,
        FrameKind::SnapshotHead => T::MsgSnapshot,
        FrameKind::Hello
        | FrameKind::Welcome
        | FrameKind::Reject
        | FrameKind::Forward
        | FrameKind::Ask
        | FrameKind::Answer
        | FrameKind::SnapshotChunk
        | FrameKind::SnapshotEnd => return None,
    })
}

/// Appends a Raft message as a frame; one that never travels is left out.
pub fn encode_message(message: &Message, seq: u64, out: &mut Vec<u8>) {
    let Some(kind) = kind_of(message.get_msg_type()) else { return };
    let header = FrameHeader {
        kind,
        reject: message.reject,
        seq,
        entries: u32::try_from(message.entries.len()).expect("a message holds few entries"),
        from: MemberId(message.from),
        to: MemberId(message.to),
        term: Term(message.term),
        index: Index(message.index),
        log_term: Term(message.log_term),
        commit: Index(message.commit),
    };
    let write = |out: &mut Vec<u8>| {
        out.put_u64_le(message.commit_term);
        out.put_u64_le(message.request_snapshot);
        out.put_u64_le(message.reject_hint);
        out.put_i64_le(message.priority);
        put_bytes(out, &message.context);
        for entry in message.entries.iter() {
            put_entry(out, entry);
        }
        if kind == FrameKind::SnapshotHead {
            let metadata = message.get_snapshot().get_metadata();
            out.put_u64_le(metadata.index);
            out.put_u64_le(metadata.term);
            put_conf_state(out, metadata.get_conf_state());
        }
    };
    frame(header, seq, write, out);
}

/// Reads a Raft message, an announced snapshot included.
pub fn decode_message(header: &FrameHeader, payload: Bytes) -> Result<Message, CodecError> {
    let malformed = || CodecError::Malformed(header.kind);
    let kind = type_of(header.kind).ok_or(CodecError::Unexpected(header.kind))?;
    let mut rest = payload;
    let mut fixed = take(&mut rest, 32).ok_or_else(malformed)?;
    let mut message = Message::default();
    message.set_msg_type(kind);
    message.from = header.from.0;
    message.to = header.to.0;
    message.term = header.term.0;
    message.index = header.index.0;
    message.log_term = header.log_term.0;
    message.commit = header.commit.0;
    message.reject = header.reject;
    message.commit_term = fixed.get_u64_le();
    message.request_snapshot = fixed.get_u64_le();
    message.reject_hint = fixed.get_u64_le();
    message.priority = fixed.get_i64_le();
    message.context = take_bytes(&mut rest).ok_or_else(malformed)?;
    for _ in 0..header.entries {
        message.entries.push(take_entry(&mut rest).ok_or_else(malformed)?);
    }
    if header.kind == FrameKind::SnapshotHead {
        let mut fixed = take(&mut rest, 16).ok_or_else(malformed)?;
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = fixed.get_u64_le();
        metadata.term = fixed.get_u64_le();
        metadata.set_conf_state(take_conf_state(&mut rest).ok_or_else(malformed)?);
    }
    if rest.is_empty() { Ok(message) } else { Err(malformed()) }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("frames are below 16 MiB"));
    out.extend_from_slice(bytes);
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (rest.len() >= length).then(|| rest.split_to(length))
}

fn take_bytes(rest: &mut Bytes) -> Option<Bytes> {
    let length = take(rest, 4)?.get_u32_le();
    take(rest, usize::try_from(length).ok()?)
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.put_u64_le(entry.term);
    out.put_u64_le(entry.index);
    out.put_u8(match entry.get_entry_type() {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    });
    put_bytes(out, &entry.context);
    put_bytes(out, &entry.data);
}

fn take_entry(rest: &mut Bytes) -> Option<Entry> {
    let mut fixed = take(rest, 17)?;
    let mut entry =
        Entry { term: fixed.get_u64_le(), index: fixed.get_u64_le(), ..Entry::default() };
    entry.set_entry_type(match fixed.get_u8() {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return None,
    });
    entry.context = take_bytes(rest)?;
    entry.data = take_bytes(rest)?;
    Some(entry)
}

fn put_conf_state(out: &mut Vec<u8>, conf_state: &ConfState) {
    let lists = [
        conf_state.get_voters(),
        conf_state.get_learners(),
        conf_state.get_voters_outgoing(),
        conf_state.get_learners_next(),
    ];
    for list in lists {
        out.put_u32_le(u32::try_from(list.len()).expect("few members"));
        for id in list {
            out.put_u64_le(*id);
        }
    }
    out.put_u8(u8::from(conf_state.auto_leave));
}

fn take_conf_state(rest: &mut Bytes) -> Option<ConfState> {
    let mut list = || {
        let length = take(rest, 4)?.get_u32_le();
        let mut ids = take(rest, usize::try_from(length).ok()?.checked_mul(8)?)?;
        Some((0..length).map(|_| ids.get_u64_le()).collect::<Vec<_>>())
    };
    let (voters, learners, outgoing, next) = (list()?, list()?, list()?, list()?);
    let mut conf_state = ConfState::default();
    conf_state.set_voters(voters);
    conf_state.set_learners(learners);
    conf_state.set_voters_outgoing(outgoing);
    conf_state.set_learners_next(next);
    conf_state.auto_leave = take(rest, 1)?[0] != 0;
    Some(conf_state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(packet: &Packet) -> Bytes {
        let mut out = Vec::new();
        encode(packet, MemberId(1), MemberId(2), 9, &mut out);
        Bytes::from(out)
    }

    fn append() -> Message {
        let mut message = Message {
            from: 1,
            to: 2,
            term: 7,
            index: 10,
            log_term: 6,
            commit: 9,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgAppend);
        for index in 11..14 {
            let data = vec![index as u8; 20].into();
            message.entries.push(Entry { term: 7, index, data, ..Entry::default() });
        }
        message
    }

    fn snapshot() -> Message {
        let mut message = Message { from: 1, to: 2, term: 7, ..Message::default() };
        message.set_msg_type(MessageType::MsgSnapshot);
        let metadata = message.mut_snapshot().mut_metadata();
        (metadata.index, metadata.term) = (100, 6);
        metadata.mut_conf_state().set_voters(vec![1, 2, 3]);
        message
    }

    #[test]
    fn packets_read_back_as_they_were_written() {
        let id = AskId { boot: 3, number: 4 };
        let packets = [
            Packet::Raft(Box::new(append())),
            Packet::Forward(Forwarded { again: true, command: Bytes::from_static(b"abc") }),
            Packet::Ask { id, ask: LeaseAsk::TimeToLive { lease: -5 } },
            Packet::Answer {
                id,
                answer: Some(LeaseAnswer::Known { ttl_seconds: 3, granted_seconds: 5 }),
            },
            Packet::Answer { id, answer: None },
        ];
        for packet in packets {
            let (header, payload) = open(whole(&packet)).expect("opens");
            assert_eq!(header.seq, 9);
            assert_eq!(decode(&header, payload).expect("decodes"), packet);
        }
        let (header, payload) = open(whole(&Packet::Raft(Box::new(snapshot())))).expect("opens");
        assert_eq!(decode_message(&header, payload.clone()).expect("decodes"), snapshot());
        assert!(decode(&header, payload).is_err(), "a snapshot never comes as a packet");
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let frame = whole(&Packet::Raft(Box::new(append())));
        for place in 4..frame.len() {
            let mut damaged = frame.to_vec();
            damaged[place] ^= 0x10;
            assert!(open(damaged.into()).is_err(), "byte {place}");
        }
    }

    #[test]
    fn a_cut_payload_is_refused() {
        let (header, payload) = open(whole(&Packet::Raft(Box::new(append())))).expect("opens");
        for length in 0..payload.len() {
            assert!(decode(&header, payload.slice(..length)).is_err(), "{length} bytes");
        }
    }
}
