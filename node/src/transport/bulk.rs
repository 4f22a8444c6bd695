//! Snapshots on their way to a peer; the member list for who is about to join, and a hash of the keys
//! for who compares.
//!
//! ```text
//!   sender                                         receiver
//!   Hello(snapshot) ─────────────────────────────►  Welcome
//!   SnapshotHead(the Raft message) ──────────────►  opens a file
//!   SnapshotChunk … SnapshotChunk ───────────────►  writes, verifies
//!   SnapshotEnd ─────────────────────────────────►  syncs, then Welcome: it arrived whole
//! ```
//!
//! A snapshot has a connection of its own so that no heartbeat waits behind it. Reading and
//! writing its body is disk work: it happens on blocking threads, a few chunks ahead.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use node_protocol::{ClusterId, FrameHeader, FrameKind, MemberId, Revision};
use raft::eraftpb::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::codec::{self, CodecError};
use super::handshake::{
    CallError, Dial, Hello, Identity, Purpose, read_answer, read_frame, write_frame,
};
use crate::cluster::{Membership, RecordError};
use crate::kv::HashKv;

/// Chunks read or received ahead of the slower side; the faster one then waits.
const CHUNKS_AHEAD: usize = 4;

/// How long either side waits for the other's next sign of life.
/// It is about a connection, so it is true time, whatever the member's clock does.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of a snapshot, read piece by piece on a blocking thread.
pub trait Body: Send + 'static {
    /// The next piece, at most a few MiB; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, String>;
}

/// A snapshot that arrives, written piece by piece on a blocking thread.
pub trait Incoming: Send + 'static {
    /// Takes the next piece.
    fn take(&mut self, chunk: &[u8]) -> Result<(), String>;
    /// All pieces are there: verifies, makes them durable, hands the snapshot on.
    fn finish(self: Box<Self>) -> Result<(), String>;
}

/// Opens a place for snapshots that arrive.
pub trait Receiver: Send + Sync {
    /// A snapshot of `message` is about to arrive.
    fn begin(&self, message: Message) -> Result<Box<dyn Incoming>, String>;
}

/// Answers a member that compares its keys with those of its peers.
pub trait Hasher: Send + Sync {
    /// Hashes the keys at a revision, which may take a while; the error is for the peer.
    fn hash(&self, revision: Revision) -> Result<HashKv, String>;
}

/// Why a snapshot did not arrive, or a question found no answer.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The connection.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The disk on this side.
    #[error("{0}")]
    Disk(String),
    /// The other side is silent.
    #[error("nothing was heard for {PATIENCE:?}")]
    Silent,
}

impl From<std::io::Error> for BulkError {
    fn from(error: std::io::Error) -> Self {
        Self::Call(error.into())
    }
}

/// Sends a snapshot; returns once the receiver has it durably.
pub async fn send(
    identity: &Identity,
    dial: &Dial,
    message: &Message,
    body: Box<dyn Body>,
) -> Result<(), BulkError> {
    let to = MemberId(message.to);
    let header = |kind| FrameHeader::new(kind, identity.member, to);
    let hello = Hello { cluster: identity.cluster, purpose: Purpose::Snapshot };
    let (mut stream, _) = dial.call(header(FrameKind::Hello), hello).await?;
    let mut out = Vec::new();
    codec::encode_message(message, 2, &mut out);
    stream.write_all(&out).await?;
    let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
    let reading = tokio::task::spawn_blocking(move || read_body(body, &sender));
    let mut seq = 3;
    while let Some(chunk) = chunks.recv().await {
        let chunk: Bytes = chunk.map_err(BulkError::Disk)?;
        out.clear();
        codec::frame(header(FrameKind::SnapshotChunk), seq, |out| out.put(chunk), &mut out);
        patiently(stream.write_all(&out)).await??;
        seq += 1;
    }
    reading.await.map_err(|error| BulkError::Disk(error.to_string()))?;
    out.clear();
    codec::frame(header(FrameKind::SnapshotEnd), seq, |_| {}, &mut out);
    stream.write_all(&out).await?;
    patiently(read_answer(&mut stream)).await??;
    Ok(())
}

fn read_body(mut body: Box<dyn Body>, chunks: &mpsc::Sender<Result<Bytes, String>>) {
    loop {
        let (chunk, ended) = match body.next() {
            Ok(Some(chunk)) => (Ok(chunk), false),
            Ok(None) => return,
            Err(why) => (Err(why), true),
        };
        if chunks.blocking_send(chunk).is_err() || ended {
            return;
        }
    }
}

/// Receives what follows a welcome for a snapshot; `answer` is the header of the final welcome.
pub async fn receive(
    mut stream: TcpStream,
    from: MemberId,
    answer: FrameHeader,
    place: &dyn Receiver,
) -> Result<(), CallError> {
    match receive_body(&mut stream, from, place).await {
        Ok(()) => Ok(write_frame(&mut stream, answer, &[]).await?),
        Err(BulkError::Call(error)) => Err(error),
        Err(error) => {
            let reject = FrameHeader { kind: FrameKind::Reject, ..answer };
            tracing::warn!(peer = %from, %error, "a snapshot was not received");
            Ok(write_frame(&mut stream, reject, error.to_string().as_bytes()).await?)
        }
    }
}

async fn receive_body(
    stream: &mut TcpStream,
    from: MemberId,
    place: &dyn Receiver,
) -> Result<(), BulkError> {
    let (header, payload) = patiently(read_frame(stream)).await??;
    if header.kind != FrameKind::SnapshotHead || header.from != from {
        return Err(CallError::from(CodecError::Unexpected(header.kind)).into());
    }
    let message = codec::decode_message(&header, payload).map_err(CallError::from)?;
    let incoming = place.begin(message).map_err(BulkError::Disk)?;
    let (sender, chunks) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
    // Whether the end was seen decides between finishing and throwing away.
    let (whole, is_whole) = std::sync::mpsc::sync_channel(1);
    let writing = tokio::task::spawn_blocking(move || write_body(incoming, chunks, &is_whole));
    let arrived = receive_chunks(stream, from, sender).await;
    if arrived.is_ok() {
        whole.send(()).ok();
    }
    drop(whole);
    let written = writing.await.map_err(|error| BulkError::Disk(error.to_string()))?;
    arrived?;
    written.map_err(BulkError::Disk)
}

async fn receive_chunks(
    stream: &mut TcpStream,
    from: MemberId,
    chunks: mpsc::Sender<Bytes>,
) -> Result<(), BulkError> {
    loop {
        let (header, payload) = patiently(read_frame(stream)).await??;
        match header.kind {
            FrameKind::SnapshotChunk if header.from == from => {
                if chunks.send(payload).await.is_err() {
                    // The writer has failed and says why itself.
                    return Ok(());
                }
            }
            FrameKind::SnapshotEnd => return Ok(()),
            kind => return Err(CallError::from(CodecError::Unexpected(kind)).into()),
        }
    }
}

fn write_body(
    mut incoming: Box<dyn Incoming>,
    mut chunks: mpsc::Receiver<Bytes>,
    is_whole: &std::sync::mpsc::Receiver<()>,
) -> Result<(), String> {
    while let Some(chunk) = chunks.blocking_recv() {
        incoming.take(&chunk)?;
    }
    match is_whole.recv() {
        Ok(()) => incoming.finish(),
        Err(_) => Err("the sender did not finish".into()),
    }
}

async fn patiently<T>(work: impl Future<Output = T>) -> Result<T, BulkError> {
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| BulkError::Silent)
}

/// The member list as a welcome's payload.
pub fn encode_members(cluster: ClusterId, membership: &Membership) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u64_le(cluster.0);
    for row in membership.rows() {
        let value = row.value.unwrap_or_default();
        for part in [row.key, value] {
            out.put_u32_le(u32::try_from(part.len()).expect("rows are short"));
            out.put(part);
        }
    }
    out
}

/// Reads the member list of a welcome.
pub fn decode_members(mut payload: Bytes) -> Result<(ClusterId, Membership), RecordError> {
    let mut part = |length: usize| {
        (payload.len() >= length).then(|| payload.split_to(length)).ok_or(RecordError::Damaged)
    };
    let cluster = ClusterId(part(8)?.get_u64_le());
    let mut rows = Vec::new();
    while let Ok(mut length) = part(4) {
        let key = part(length.get_u32_le() as usize)?;
        let value_bytes = part(4)?.get_u32_le();
        rows.push((key, part(value_bytes as usize)?));
    }
    let rows = rows.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
    Ok((cluster, Membership::load(rows)?))
}

/// Asks a running member who the members are.
pub async fn fetch_members(dial: &Dial) -> Result<(ClusterId, Membership), BulkError> {
    let hello = Hello { cluster: ClusterId(0), purpose: Purpose::Members };
    let header = FrameHeader::new(FrameKind::Hello, MemberId(0), MemberId(0));
    let (_, welcome) = dial.call(header, hello).await?;
    decode_members(welcome).map_err(|error| BulkError::Disk(error.to_string()))
}

/// Asks a peer for the hash of its keys at a revision.
pub async fn fetch_hash(
    identity: &Identity,
    to: MemberId,
    dial: &Dial,
    revision: Revision,
) -> Result<HashKv, BulkError> {
    let hello = Hello { cluster: identity.cluster, purpose: Purpose::Hash(revision) };
    let header = FrameHeader::new(FrameKind::Hello, identity.member, to);
    let (mut stream, _) = dial.call(header, hello).await?;
    let answer = patiently(read_answer(&mut stream)).await??;
    decode_hash(answer).ok_or(CallError::from(CodecError::Malformed(FrameKind::Welcome)).into())
}

/// Answers what follows a welcome for [`Purpose::Hash`]; `answer` is the header of the answer.
pub async fn answer_hash(
    mut stream: TcpStream,
    answer: FrameHeader,
    revision: Revision,
    hasher: Arc<dyn Hasher>,
) -> Result<(), CallError> {
    let hashing = tokio::task::spawn_blocking(move || hasher.hash(revision));
    let hashed = hashing.await.unwrap_or_else(|panic| Err(panic.to_string()));
    match hashed {
        Ok(hashed) => Ok(write_frame(&mut stream, answer, &encode_hash(hashed)).await?),
        Err(why) => {
            let reject = FrameHeader { kind: FrameKind::Reject, ..answer };
            Ok(write_frame(&mut stream, reject, why.as_bytes()).await?)
        }
    }
}

fn encode_hash(hashed: HashKv) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    out.put_u32_le(hashed.hash);
    out.put_i64_le(hashed.compact_revision.0);
    out.put_i64_le(hashed.hash_revision.0);
    out
}

fn decode_hash(mut payload: Bytes) -> Option<HashKv> {
    (payload.len() == 20).then(|| HashKv {
        hash: payload.get_u32_le(),
        compact_revision: Revision(payload.get_i64_le()),
        hash_revision: Revision(payload.get_i64_le()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Member;

    #[test]
    fn a_hash_reads_back() {
        let hashed =
            HashKv { hash: 7, compact_revision: Revision(-1), hash_revision: Revision(1 << 40) };
        let bytes = Bytes::from(encode_hash(hashed));
        assert_eq!(decode_hash(bytes.clone()), Some(hashed));
        assert_eq!(decode_hash(bytes.slice(1..)), None);
    }

    #[test]
    fn the_member_list_reads_back() {
        let member = Member {
            id: MemberId(7),
            name: "m1".into(),
            peer_urls: vec!["http://m1.test:2380".into()],
            client_urls: vec![],
            learner: false,
        };
        let membership = Membership::bootstrap([member]);
        let bytes = Bytes::from(encode_members(ClusterId(3), &membership));
        let read = decode_members(bytes.clone()).expect("decodes");
        assert_eq!(read, (ClusterId(3), membership));
        assert!(decode_members(bytes.slice(..bytes.len() - 1)).is_err());
        assert!(decode_members(Bytes::new()).is_err());
    }
}
