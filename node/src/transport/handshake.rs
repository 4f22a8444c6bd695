//! The first frame of a connection: who calls whom, for which cluster, and what for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use node_protocol::frame::HEADER_BYTES;
use node_protocol::{ClusterId, FrameHeader, FrameKind, MemberId, Revision};
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::codec::{self, CodecError};
use crate::cluster::Membership;
use node_identity::urls::Url;

/// How long a handshake may take, from dialling to the answer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Messages, for as long as both live.
    Messages,
    /// One snapshot.
    Snapshot,
    /// One question by somebody who is about to join: who are the members?
    Members,
    /// One question by a member that compares: what do the keys at this revision hash to?
    Hash(Revision),
}

/// The payload of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The caller's cluster; 0 for somebody who does not know it yet ([`Purpose::Members`]).
    pub cluster: ClusterId,
    /// What the connection is for.
    pub purpose: Purpose,
}

/// Why a call is refused; the text goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Another cluster: other first members or another token.
    #[error(
        "cluster ID mismatch: the caller is of cluster {theirs}, this member of cluster {ours}; \
         a member with another --initial-cluster or --initial-cluster-token never joins, start it \
         with the right flags on an empty data directory"
    )]
    Cluster {
        /// The caller's cluster.
        theirs: ClusterId,
        /// Ours.
        ours: ClusterId,
    },
    /// The caller was removed from the cluster.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    /// The call is meant for somebody else.
    #[error("the call is for member {wanted}, this is member {this}")]
    Misdialled {
        /// Who was meant.
        wanted: MemberId,
        /// Who answered.
        this: MemberId,
    },
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answered at the address, or the connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The proxy refused.
    #[error("{0}")]
    Proxy(#[from] tokio_socks::Error),
    /// No answer in time.
    #[error("no answer within {HANDSHAKE_TIMEOUT:?}")]
    TimedOut,
    /// The called member says that this one was removed from the cluster.
    #[error("refused: {}", Rejection::Removed)]
    Removed,
    /// The called member refuses; the text is its own.
    #[error("refused: {0}")]
    Rejected(String),
    /// The answer is not of this protocol.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Whom this member is and serves, for both sides of a handshake.
#[derive(Clone)]
pub struct Identity {
    /// This member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Who is and who was a member.
    pub membership: Arc<RwLock<Membership>>,
}

impl Identity {
    /// Judges a hello that came in.
    pub fn judge(&self, header: &FrameHeader, hello: Hello) -> Result<(), Rejection> {
        if hello.purpose == Purpose::Members {
            return Ok(());
        }
        if hello.cluster != self.cluster {
            return Err(Rejection::Cluster { theirs: hello.cluster, ours: self.cluster });
        }
        if header.to != self.member {
            return Err(Rejection::Misdialled { wanted: header.to, this: self.member });
        }
        if self.membership.read().removed(header.from) {
            return Err(Rejection::Removed);
        }
        Ok(())
    }
}

/// Writes the payload of a hello: cluster, purpose, and what the purpose needs.
pub fn encode_hello(hello: Hello, out: &mut Vec<u8>) {
    out.put_u64_le(hello.cluster.0);
    match hello.purpose {
        Purpose::Messages => out.put_u8(0),
        Purpose::Snapshot => out.put_u8(1),
        Purpose::Members => out.put_u8(2),
        Purpose::Hash(revision) => {
            out.put_u8(3);
            out.put_i64_le(revision.0);
        }
    }
}

/// Reads the payload of a hello.
pub fn decode_hello(mut payload: Bytes) -> Result<Hello, CodecError> {
    let malformed = CodecError::Malformed(FrameKind::Hello);
    let (Ok(cluster), Ok(purpose)) = (payload.try_get_u64_le(), payload.try_get_u8()) else {
        return Err(malformed);
    };
    let purpose = match (purpose, payload.len()) {
        (0, 0) => Purpose::Messages,
        (1, 0) => Purpose::Snapshot,
        (2, 0) => Purpose::Members,
        (3, 8) => Purpose::Hash(Revision(payload.get_i64_le())),
        _ => return Err(malformed),
    };
    Ok(Hello { cluster: ClusterId(cluster), purpose })
}

/// Where and how a peer is dialled.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The peer's URLs, tried in order.
    pub urls: Vec<Url>,
    /// `host:port` of a SOCKS5 proxy, if calls go through one.
    pub proxy: Option<String>,
}

impl Dial {
    async fn connect(&self) -> Result<TcpStream, CallError> {
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no peer URL").into();
        for url in &self.urls {
            let attempt = match &self.proxy {
                None => TcpStream::connect((url.host(), url.port())).await.map_err(Into::into),
                Some(proxy) => {
                    let to = (url.host().to_owned(), url.port());
                    tokio_socks::tcp::Socks5Stream::connect(proxy.as_str(), to)
                        .await
                        .map(tokio_socks::tcp::Socks5Stream::into_inner)
                        .map_err(Into::into)
                }
            };
            match attempt {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Dials and introduces itself; returns the stream and the payload of the welcome.
    pub async fn call(
        &self,
        header: FrameHeader,
        hello: Hello,
    ) -> Result<(TcpStream, Bytes), CallError> {
        let call = async {
            let mut stream = self.connect().await?;
            let mut out = Vec::with_capacity(HEADER_BYTES + 17);
            codec::frame(header, 1, |out| encode_hello(hello, out), &mut out);
            stream.write_all(&out).await?;
            let welcome = read_answer(&mut stream).await?;
            Ok((stream, welcome))
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, call).await.map_err(|_| CallError::TimedOut)?
    }
}

/// Reads a welcome's payload, or why there is none.
pub async fn read_answer(stream: &mut TcpStream) -> Result<Bytes, CallError> {
    let (header, payload) = read_frame(stream).await?;
    match header.kind {
        FrameKind::Welcome => Ok(payload),
        FrameKind::Reject => {
            let text = String::from_utf8_lossy(&payload);
            let removed = text == Rejection::Removed.to_string();
            Err(if removed { CallError::Removed } else { CallError::Rejected(text.into()) })
        }
        kind => Err(CodecError::Unexpected(kind).into()),
    }
}

/// Reads one whole frame. Not cancel safe: bytes read so far are lost.
pub async fn read_frame(stream: &mut TcpStream) -> Result<(FrameHeader, Bytes), CallError> {
    let mut frame = BytesMut::zeroed(HEADER_BYTES);
    stream.read_exact(&mut frame).await?;
    let length = FrameHeader::frame_bytes(&frame).map_err(CodecError::from)?;
    let length = length.expect("a header holds a length");
    frame.resize(length, 0);
    stream.read_exact(&mut frame[HEADER_BYTES..]).await?;
    Ok(codec::open(frame.freeze())?)
}

/// Writes a frame of one of the handshake's kinds.
pub async fn write_frame(
    stream: &mut TcpStream,
    header: FrameHeader,
    payload: &[u8],
) -> io::Result<()> {
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    codec::frame(header, 1, |out| out.extend_from_slice(payload), &mut out);
    stream.write_all(&out).await
}
