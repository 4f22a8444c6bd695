//! Incoming connections: judge the caller, then hand on what it sends.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream as StdStream;
use std::sync::Arc;

use bytes::BytesMut;
use node_protocol::{FrameHeader, FrameKind, MemberId};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::bulk::{self, Hasher, Receiver};
use super::codec::{self, CodecError, Packet};
use super::handshake::{
    CallError, HANDSHAKE_TIMEOUT, Identity, Purpose, decode_hello, read_frame, write_frame,
};
use crate::metrics::Metrics;

/// Bytes taken from a socket at once.
const READ_BYTES: usize = 256 * 1024;

/// Refused callers that are remembered; nobody can fill the memory by making up more.
const REFUSED: usize = 64;

/// Where packets go. Waits while the inbox is full, so a flood ends at the sender's socket.
pub trait Inbox: Clone + Send + Sync + 'static {
    /// Hands a packet of `from` on; false when nobody takes any more.
    fn packet(&self, from: MemberId, packet: Packet) -> impl Future<Output = bool> + Send;
    /// A caller's connection for messages began or ended.
    fn caller(&self, from: MemberId, connected: bool) -> impl Future<Output = bool> + Send;
}

/// Who is nobody's peer any more and yet no stranger.
pub trait Outcasts: Send + Sync {
    /// A member of this cluster's id calls; true if it is one of them. It is told nothing then.
    fn called(&self, caller: MemberId) -> bool;
}

/// Serves one listening socket until stopped.
pub struct Listener<I> {
    /// Who this member is.
    pub identity: Identity,
    /// Where packets go.
    pub inbox: I,
    /// Where snapshots go.
    pub snapshots: Arc<dyn Receiver>,
    /// Who hashes for peers that compare.
    pub hasher: Arc<dyn Hasher>,
    /// Whom nobody answers.
    pub outcasts: Arc<dyn Outcasts>,
    /// Where messages are read: beside whom they go to.
    pub reads_on: Runtime,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Owner of the connections' tasks.
    pub tasks: TaskTracker,
    /// Ends everything.
    pub stop: CancellationToken,
    /// Who was refused last with which words, so that each refusal is told once.
    pub refused: Mutex<BTreeMap<MemberId, String>>,
}

impl<I: Inbox> Listener<I> {
    /// Accepts connections until stopped.
    pub async fn run(self, socket: TcpListener) {
        let this = Arc::new(self);
        while let Some(accepted) = this.stop.run_until_cancelled(socket.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    let connection = this.clone();
                    this.tasks.spawn(async move {
                        let stop = connection.stop.clone();
                        stop.run_until_cancelled(connection.serve(stream)).await;
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: let some go before trying again.
                    tracing::warn!(%error, "cannot accept a peer's connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(self: &Arc<Self>, mut stream: TcpStream) {
        // Without it each answer of the handshake would wait for the next.
        stream.set_nodelay(true).ok();
        let first = tokio::time::timeout(HANDSHAKE_TIMEOUT, read_frame(&mut stream)).await;
        let (header, payload) = match first {
            Ok(Ok(first)) => first,
            Ok(Err(error)) => return tracing::debug!(%error, "a caller did not introduce itself"),
            Err(_) => return tracing::debug!("a caller said nothing"),
        };
        if let Err(error) = self.introduced(stream, header, payload).await {
            tracing::debug!(peer = %header.from, %error, "a peer's connection ended");
        }
    }

    async fn introduced(
        self: &Arc<Self>,
        mut stream: TcpStream,
        header: FrameHeader,
        payload: bytes::Bytes,
    ) -> Result<(), CallError> {
        if header.kind != FrameKind::Hello {
            return Err(CodecError::Unexpected(header.kind).into());
        }
        let hello = decode_hello(payload)?;
        if hello.cluster == self.identity.cluster && self.outcasts.called(header.from) {
            return Ok(());
        }
        let back = |kind| FrameHeader::new(kind, self.identity.member, header.from);
        if let Err(rejection) = self.identity.judge(&header, hello) {
            let text = rejection.to_string();
            let told = {
                let mut refused = self.refused.lock();
                if refused.len() >= REFUSED {
                    refused.clear();
                }
                refused.insert(header.from, text.clone())
            };
            if told.as_ref() != Some(&text) {
                tracing::warn!(peer = %header.from, %rejection, "a peer was refused");
            }
            return Ok(write_frame(&mut stream, back(FrameKind::Reject), text.as_bytes()).await?);
        }
        let welcome = match hello.purpose {
            Purpose::Messages | Purpose::Snapshot | Purpose::Hash(_) => Vec::new(),
            Purpose::Members => {
                let membership = self.identity.membership.read();
                bulk::encode_members(self.identity.cluster, &membership)
            }
        };
        write_frame(&mut stream, back(FrameKind::Welcome), &welcome).await?;
        match hello.purpose {
            Purpose::Messages => {
                // A socket belongs to one runtime: this one gives it away.
                let (this, stream) = (self.clone(), stream.into_std()?);
                let reading = async move { this.called(stream, header.from).await };
                let reading = AbortOnDropHandle::new(self.tasks.spawn_on(reading, &self.reads_on));
                reading.await.unwrap_or_else(|ended| Err(io::Error::other(ended).into()))
            }
            Purpose::Snapshot => {
                bulk::receive(stream, header.from, back(FrameKind::Welcome), &*self.snapshots).await
            }
            Purpose::Members => Ok(()),
            Purpose::Hash(revision) => {
                let answer = back(FrameKind::Welcome);
                bulk::answer_hash(stream, answer, revision, self.hasher.clone()).await
            }
        }
    }

    async fn called(&self, stream: StdStream, from: MemberId) -> Result<(), CallError> {
        let stream = TcpStream::from_std(stream)?;
        if !self.inbox.caller(from, true).await {
            return Ok(());
        }
        let ended = self.messages(stream, from).await;
        self.inbox.caller(from, false).await;
        ended
    }

    async fn messages(&self, mut stream: TcpStream, from: MemberId) -> Result<(), CallError> {
        let received_bytes = self.metrics.peer_received_bytes(from);
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            while let Some(length) = FrameHeader::frame_bytes(&buffer).map_err(CodecError::from)? {
                if buffer.len() < length {
                    buffer.reserve(length - buffer.len());
                    break;
                }
                let (header, payload) = codec::open(buffer.split_to(length).freeze())?;
                if header.from != from || header.to != self.identity.member {
                    return Err(CodecError::Malformed(header.kind).into());
                }
                // It finds out why when it calls again.
                if self.identity.membership.read().removed(from) {
                    return Err(CallError::Removed);
                }
                let packet = codec::decode(&header, payload)?;
                if !self.inbox.packet(from, packet).await {
                    return Ok(());
                }
            }
            if buffer.capacity() - buffer.len() < READ_BYTES / 4 {
                buffer.reserve(READ_BYTES);
            }
            let read = stream.read_buf(&mut buffer).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            received_bytes.inc_by(read as u64);
        }
    }
}
