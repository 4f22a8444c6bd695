//! Commands: what a log entry asks of the state machine, and how it is written down.
//!
//! ```text
//!   byte 0      version of this form, 1
//!   bytes 1..33 origin, boot, seq, low: u64, little endian
//!   byte 33     which operation
//!   from 34     the operation's protobuf
//! ```

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use etcd_api::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    Member, PutRequest, TxnRequest,
};
use node_protocol::MemberId;
use prost::Message;

/// The form's version; a reader refuses another one.
const COMMAND_VERSION: u8 = 1;
/// Bytes before the operation's own.
const HEADER_BYTES: usize = 34;
/// Longest text [`brief`] returns, in characters.
const BRIEF_CHARS: usize = 40;

/// Names one command for ever, however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId {
    /// The member that first proposed it.
    pub origin: MemberId,
    /// That member's count of its own starts.
    pub boot: u64,
    /// Its number within that boot, from 1.
    pub seq: u64,
}

/// One request to the state machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its name.
    pub id: CommandId,
    /// The lowest seq that its origin may still send (again), when this was first sent.
    pub low: u64,
    /// What to do.
    pub op: Op,
}

/// What the state machine can do.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Write a key.
    Put(PutRequest),
    /// Delete a range of keys.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then do one list of operations or the other.
    Txn(TxnRequest),
    /// Forget what is superseded at a revision.
    Compact(CompactionRequest),
    /// Make a lease. The id is chosen and the time to live raised to its minimum by the proposer.
    LeaseGrant {
        /// Not 0.
        id: i64,
        /// How long a renewal lasts.
        ttl_seconds: i64,
    },
    /// End a lease and delete its keys.
    LeaseRevoke {
        /// Which.
        id: i64,
    },
    /// A member says who it is.
    Publish {
        /// Which member.
        member: MemberId,
        /// Its name.
        name: String,
        /// Where clients reach it.
        client_urls: Vec<String>,
        /// Where peers reach it; empty leaves what is known.
        peer_urls: Vec<String>,
    },
    /// Change the members; the bytes are the membership's own, opaque here. The leader puts the
    /// whole command into the context of a configuration entry.
    ChangeMembers(Bytes),
    /// Raise an alarm, end one, or list them.
    Alarm(AlarmRequest),
}

/// The operations' stored numbers.
mod tag {
    pub(super) const PUT: u8 = 1;
    pub(super) const DELETE_RANGE: u8 = 2;
    pub(super) const TXN: u8 = 3;
    pub(super) const COMPACT: u8 = 4;
    pub(super) const LEASE_GRANT: u8 = 5;
    pub(super) const LEASE_REVOKE: u8 = 6;
    pub(super) const PUBLISH: u8 = 7;
    pub(super) const CHANGE_MEMBERS: u8 = 8;
    pub(super) const ALARM: u8 = 9;
}

/// Why bytes are not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Fewer bytes than every command has.
    #[error("a command has at least {HEADER_BYTES} bytes, this one has {0}")]
    Short(usize),
    /// Written in a form this program does not know.
    #[error("the command's form has version {0}, not {COMMAND_VERSION}")]
    Version(u8),
    /// An operation this program does not know.
    #[error("the command's operation {0} is unknown")]
    UnknownOp(u8),
    /// The operation's protobuf does not parse.
    #[error("the command's operation is malformed")]
    Malformed(#[source] prost::DecodeError),
}

impl Command {
    /// Writes the command down.
    pub fn encode(&self) -> Bytes {
        let Self { id: CommandId { origin, boot, seq }, low, op } = self;
        match op {
            Op::Put(request) => put(*origin, [*boot, *seq, *low], tag::PUT, request),
            Op::DeleteRange(request) => {
                put(*origin, [*boot, *seq, *low], tag::DELETE_RANGE, request)
            }
            Op::Txn(request) => put(*origin, [*boot, *seq, *low], tag::TXN, request),
            Op::Compact(request) => put(*origin, [*boot, *seq, *low], tag::COMPACT, request),
            Op::LeaseGrant { id, ttl_seconds } => {
                let request = LeaseGrantRequest { ttl: *ttl_seconds, id: *id };
                put(*origin, [*boot, *seq, *low], tag::LEASE_GRANT, &request)
            }
            Op::LeaseRevoke { id } => {
                let request = LeaseRevokeRequest { id: *id };
                put(*origin, [*boot, *seq, *low], tag::LEASE_REVOKE, &request)
            }
            Op::Publish { member, name, client_urls, peer_urls } => {
                let request = Member {
                    id: member.0,
                    name: name.clone(),
                    peer_urls: peer_urls.clone(),
                    client_urls: client_urls.clone(),
                    is_learner: false,
                };
                put(*origin, [*boot, *seq, *low], tag::PUBLISH, &request)
            }
            Op::ChangeMembers(change) => {
                let mut bytes = BytesMut::with_capacity(HEADER_BYTES + change.len());
                head(&mut bytes, *origin, [*boot, *seq, *low], tag::CHANGE_MEMBERS);
                bytes.extend_from_slice(change);
                bytes.freeze()
            }
            Op::Alarm(request) => put(*origin, [*boot, *seq, *low], tag::ALARM, request),
        }
    }

    /// The name of an encoded command, without reading the rest; `None` for other bytes.
    pub fn id_of(bytes: &[u8]) -> Option<CommandId> {
        let (1, numbers) = (*bytes.first()?, bytes.get(1..25)?) else { return None };
        let number = |at: usize| {
            u64::from_le_bytes(numbers[at * 8..][..8].try_into().expect("eight of 24 bytes"))
        };
        Some(CommandId { origin: MemberId(number(0)), boot: number(1), seq: number(2) })
    }

    /// What an encoded command wants of the members, if that is what it is about.
    pub fn member_change(bytes: &Bytes) -> Option<Bytes> {
        (bytes.get(HEADER_BYTES - 1) == Some(&tag::CHANGE_MEMBERS))
            .then(|| bytes.slice(HEADER_BYTES..))
    }

    /// Reads what [`encode`](Self::encode) wrote. Keys and values are slices of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        let short = CommandError::Short(bytes.len());
        let (version, rest) = bytes.split_first().ok_or_else(|| short.clone())?;
        if *version != COMMAND_VERSION {
            return Err(CommandError::Version(*version));
        }
        let (numbers, rest) = rest.split_first_chunk::<32>().ok_or_else(|| short.clone())?;
        let tag = *rest.first().ok_or(short)?;
        let number = |at: usize| {
            u64::from_le_bytes(numbers[at * 8..][..8].try_into().expect("eight of 32 bytes"))
        };
        let id = CommandId { origin: MemberId(number(0)), boot: number(1), seq: number(2) };
        let op = decode_op(tag, bytes.slice(HEADER_BYTES..))?;
        Ok(Self { id, low: number(3), op })
    }
}

fn put(origin: MemberId, numbers: [u64; 3], tag: u8, request: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + request.encoded_len());
    head(&mut bytes, origin, numbers, tag);
    request.encode(&mut bytes).expect("the buffer has room for the encoded length");
    bytes.freeze()
}

fn head(bytes: &mut BytesMut, origin: MemberId, numbers: [u64; 3], tag: u8) {
    bytes.put_u8(COMMAND_VERSION);
    bytes.put_u64_le(origin.0);
    numbers.into_iter().for_each(|number| bytes.put_u64_le(number));
    bytes.put_u8(tag);
}

fn decode_op(tag: u8, body: Bytes) -> Result<Op, CommandError> {
    fn read<M: Message + Default>(body: Bytes) -> Result<M, CommandError> {
        M::decode(body).map_err(CommandError::Malformed)
    }
    Ok(match tag {
        tag::PUT => Op::Put(read(body)?),
        tag::DELETE_RANGE => Op::DeleteRange(read(body)?),
        tag::TXN => Op::Txn(read(body)?),
        tag::COMPACT => Op::Compact(read(body)?),
        tag::LEASE_GRANT => {
            let LeaseGrantRequest { ttl, id } = read(body)?;
            Op::LeaseGrant { id, ttl_seconds: ttl }
        }
        tag::LEASE_REVOKE => {
            let LeaseRevokeRequest { id } = read(body)?;
            Op::LeaseRevoke { id }
        }
        tag::PUBLISH => {
            let Member { id, name, peer_urls, client_urls, is_learner: _ } = read(body)?;
            Op::Publish { member: MemberId(id), name, client_urls, peer_urls }
        }
        tag::CHANGE_MEMBERS => Op::ChangeMembers(body),
        tag::ALARM => Op::Alarm(read(body)?),
        unknown => return Err(CommandError::UnknownOp(unknown)),
    })
}

/// An encoded command in at most 40 characters, such as `put greeting`, for people to read.
/// Bytes that are no command say `unreadable`.
pub fn brief(bytes: &[u8]) -> String {
    let mut text = match Command::decode(&Bytes::copy_from_slice(bytes)) {
        Ok(command) => describe(&command.op),
        Err(_) => "unreadable".to_owned(),
    };
    if let Some((cut, _)) = text.char_indices().nth(BRIEF_CHARS) {
        let (keep, _) = text[..cut].char_indices().next_back().expect("40 characters are there");
        text.truncate(keep);
        text.push('…');
    }
    text
}

fn describe(op: &Op) -> String {
    match op {
        Op::Put(PutRequest { key, .. }) => format!("put {}", readable(key)),
        Op::DeleteRange(DeleteRangeRequest { key, range_end, .. }) => match range_end.as_ref() {
            [] => format!("delete {}", readable(key)),
            [0] => format!("delete {}..", readable(key)),
            end => format!("delete {}..{}", readable(key), readable(end)),
        },
        Op::Txn(TxnRequest { success, .. }) => match success.first() {
            Some(op) => format!("txn {}", describe_first(op)),
            None => "txn".to_owned(),
        },
        Op::Compact(CompactionRequest { revision, .. }) => format!("compact {revision}"),
        Op::LeaseGrant { id, .. } => format!("lease grant {id:x}"),
        Op::LeaseRevoke { id } => format!("lease revoke {id:x}"),
        Op::Publish { name, .. } => format!("publish {name}"),
        Op::ChangeMembers(_) => "change of members".to_owned(),
        Op::Alarm(request) => format!("alarm {}", request.action().as_str_name().to_lowercase()),
    }
}

fn describe_first(op: &etcd_api::etcdserverpb::RequestOp) -> String {
    use etcd_api::etcdserverpb::request_op::Request;
    match &op.request {
        Some(Request::RequestPut(put)) => format!("put {}", readable(&put.key)),
        Some(Request::RequestDeleteRange(delete)) => format!("delete {}", readable(&delete.key)),
        Some(Request::RequestRange(range)) => format!("get {}", readable(&range.key)),
        Some(Request::RequestTxn(_)) => "txn".to_owned(),
        None => String::new(),
    }
}

/// The first bytes of a key as text; what cannot be printed is escaped.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes[..bytes.len().min(4 * BRIEF_CHARS)].utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a string takes all");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd_api::etcdserverpb::{RequestOp, request_op::Request};

    fn put_request(key: &str) -> PutRequest {
        PutRequest { key: Bytes::from(key.to_owned()), value: "v".into(), ..Default::default() }
    }

    fn samples() -> Vec<(Op, &'static str)> {
        let delete = |key: &'static [u8], end: &'static [u8]| {
            Op::DeleteRange(DeleteRangeRequest {
                key: Bytes::from_static(key),
                range_end: Bytes::from_static(end),
                prev_kv: false,
            })
        };
        let success = RequestOp { request: Some(Request::RequestPut(put_request("a"))) };
        vec![
            (Op::Put(put_request("greeting")), "put greeting"),
            (
                Op::Put(put_request("a key that is far too long to be shown whole")),
                "put a key that is far too long to be sh…",
            ),
            (delete(b"a", b""), "delete a"),
            (delete(b"a", b"b"), "delete a..b"),
            (delete(b"\n\xff", b"\0"), "delete \\n\\xff.."),
            (Op::Txn(TxnRequest { success: vec![success], ..Default::default() }), "txn put a"),
            (Op::Txn(TxnRequest::default()), "txn"),
            (Op::Compact(CompactionRequest { revision: 7, physical: true }), "compact 7"),
            (Op::LeaseGrant { id: 5, ttl_seconds: 60 }, "lease grant 5"),
            (Op::LeaseRevoke { id: 0x1f }, "lease revoke 1f"),
            (
                Op::Publish {
                    member: MemberId(9),
                    name: "m1".into(),
                    client_urls: vec!["http://c".into()],
                    peer_urls: vec![],
                },
                "publish m1",
            ),
            (Op::ChangeMembers("x".into()), "change of members"),
            (Op::Alarm(AlarmRequest { action: 1, member_id: 7, alarm: 1 }), "alarm activate"),
        ]
    }

    #[test]
    fn commands_round_trip_and_say_what_they_are() {
        for (op, text) in samples() {
            let id = CommandId { origin: MemberId(u64::MAX), boot: 2, seq: 3 };
            let command = Command { id, low: 1, op };
            let bytes = command.encode();
            assert_eq!(Command::decode(&bytes).as_ref(), Ok(&command));
            assert_eq!(Command::id_of(&bytes), Some(id));
            assert_eq!(brief(&bytes), text);
            assert!(brief(&bytes).chars().count() <= BRIEF_CHARS);
        }
    }

    #[test]
    fn yesterdays_bytes_still_read() {
        let mut bytes = vec![1];
        for number in [8_u64, 2, 3, 1] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(b"\x01\x0a\x01k\x12\x01v");
        let command = Command::decode(&Bytes::from(bytes)).expect("a command");
        assert_eq!(command.id, CommandId { origin: MemberId(8), boot: 2, seq: 3 });
        assert_eq!(command.op, Op::Put(put_request("k")));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let id = CommandId { origin: MemberId(1), boot: 1, seq: 1 };
        let good = Command { id, low: 1, op: Op::Put(put_request("k")) }.encode();
        for cut in 0..HEADER_BYTES {
            assert_eq!(Command::decode(&good.slice(..cut)), Err(CommandError::Short(cut)));
        }
        let mut other = good.to_vec();
        other[33] = 99;
        assert_eq!(Command::decode(&other.clone().into()), Err(CommandError::UnknownOp(99)));
        other[0] = 2;
        assert_eq!(Command::decode(&other.into()), Err(CommandError::Version(2)));
        let cut = good.slice(..good.len() - 1);
        assert!(matches!(Command::decode(&cut), Err(CommandError::Malformed(_))));
        assert_eq!(brief(&cut), "unreadable");
    }
}
