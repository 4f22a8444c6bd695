//! Outgoing connections: one a peer, kept up for as long as the peer is a member.
//!
//! The replica thread encodes its packets and writes them straight into the sockets. What a socket
//! does not take at once waits in a bounded buffer that the link's own task empties. While a link
//! is down, what is sent on it is dropped and the replica told so; Raft sends again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use node_protocol::{FrameHeader, FrameKind, MemberId};
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::net::TcpStream;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::codec::{self, Packet};
use super::handshake::{CallError, Dial, Hello, Identity, Purpose};
use crate::metrics::Metrics;

/// Bytes a link may hold back while its socket takes none; more is dropped, newest first.
const BACKLOG_BYTES: usize = 32 << 20;

/// Pause before the second attempt to connect; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a link tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkNews {
    /// Which peer.
    pub peer: MemberId,
    /// Whether messages can be sent to it now.
    pub connected: bool,
    /// It refuses this member because it knows that it was removed.
    pub removed: bool,
    /// Why not, in a few words.
    pub why: String,
}

/// Sends packets to peers. The simulation has another one.
pub trait Links: Send {
    /// Sends packets in order; those that cannot be sent are dropped, and their receivers are
    /// added to `unreachable`.
    fn send(&mut self, packets: &mut Vec<(MemberId, Packet)>, unreachable: &mut Vec<MemberId>);

    /// The peers are these from now on, with their URLs; those that are new are dialled.
    fn set_peers(&mut self, peers: &BTreeMap<MemberId, Vec<String>>);
}

/// Links over TCP.
pub struct TcpLinks {
    identity: Identity,
    proxy: Option<String>,
    runtime: Runtime,
    tasks: TaskTracker,
    stop: CancellationToken,
    news: Arc<dyn Fn(LinkNews) + Send + Sync>,
    metrics: Arc<Metrics>,
    links: BTreeMap<MemberId, (Vec<String>, Arc<Link>)>,
}

struct Link {
    peer: MemberId,
    state: Mutex<LinkState>,
    /// Something waits in the backlog, or the link is to end.
    wake: Notify,
    ended: CancellationToken,
    sent_bytes: IntCounter,
    failures: IntCounter,
}

#[derive(Default)]
struct LinkState {
    stream: Option<Arc<TcpStream>>,
    seq: u64,
    backlog: Vec<u8>,
}

impl TcpLinks {
    /// No links yet. `news` is called from the links' tasks and must not block.
    pub fn new(
        identity: Identity,
        proxy: Option<String>,
        tasks: TaskTracker,
        stop: CancellationToken,
        news: Arc<dyn Fn(LinkNews) + Send + Sync>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let links = BTreeMap::new();
        Self { identity, proxy, runtime: Runtime::current(), tasks, stop, news, metrics, links }
    }
}

impl Links for TcpLinks {
    fn send(&mut self, packets: &mut Vec<(MemberId, Packet)>, unreachable: &mut Vec<MemberId>) {
        let from = self.identity.member;
        // One write a peer: packets of one round are few, so each peer's are picked in turn.
        for (&peer, (_, link)) in &self.links {
            let mut own = packets.iter().filter(|(to, _)| *to == peer).peekable();
            if own.peek().is_none() {
                continue;
            }
            let mut state = link.state.lock();
            let LinkState { stream: Some(stream), seq, backlog } = &mut *state else {
                link.failures.inc();
                unreachable.push(peer);
                continue;
            };
            if backlog.len() > BACKLOG_BYTES {
                link.failures.inc();
                unreachable.push(peer);
                continue;
            }
            let waited = !backlog.is_empty();
            let before = backlog.len();
            for (to, packet) in own {
                *seq += 1;
                codec::encode(packet, from, *to, *seq, backlog);
            }
            link.sent_bytes.inc_by((backlog.len() - before) as u64);
            if !waited {
                // An error shows itself to the link's task as well, which ends the connection.
                if let Ok(written) = stream.try_write(backlog) {
                    backlog.drain(..written);
                }
                if !backlog.is_empty() {
                    link.wake.notify_one();
                }
            }
        }
        unreachable
            .extend(packets.iter().map(|(to, _)| *to).filter(|to| !self.links.contains_key(to)));
        packets.clear();
    }

    fn set_peers(&mut self, peers: &BTreeMap<MemberId, Vec<String>>) {
        self.links.retain(|peer, (urls, link)| {
            let stays = peers.get(peer) == Some(urls);
            if !stays {
                link.ended.cancel();
            }
            stays
        });
        for (&peer, urls) in peers {
            if peer == self.identity.member || self.links.contains_key(&peer) {
                continue;
            }
            let link = Arc::new(Link {
                peer,
                state: Mutex::default(),
                wake: Notify::new(),
                ended: self.stop.child_token(),
                sent_bytes: self.metrics.peer_sent_bytes(peer),
                failures: self.metrics.peer_sent_failures(peer),
            });
            let parsed =
                urls.iter().filter_map(|url| node_identity::urls::Url::parse(url).ok()).collect();
            let dial = Dial { urls: parsed, proxy: self.proxy.clone() };
            let keep = keep_up(link.clone(), self.identity.clone(), dial, self.news.clone());
            self.tasks.spawn_on(keep, &self.runtime);
            self.links.insert(peer, (urls.clone(), link));
        }
    }
}

/// Connects, and connects again, until the link ends.
async fn keep_up(
    link: Arc<Link>,
    identity: Identity,
    dial: Dial,
    news: Arc<dyn Fn(LinkNews) + Send + Sync>,
) {
    let peer = link.peer;
    let hello = Hello { cluster: identity.cluster, purpose: Purpose::Messages };
    let header = FrameHeader::new(FrameKind::Hello, identity.member, peer);
    let mut pause = FIRST_PAUSE;
    let mut told = None;
    loop {
        let call = link.ended.run_until_cancelled(dial.call(header, hello)).await;
        let mut removed = false;
        let why = match call {
            None => return,
            Some(Ok((stream, _))) => {
                let stream = Arc::new(stream);
                *link.state.lock() =
                    LinkState { stream: Some(stream.clone()), seq: 1, backlog: Vec::new() };
                news(LinkNews { peer, connected: true, removed: false, why: String::new() });
                pause = FIRST_PAUSE;
                let ended = link.ended.run_until_cancelled(serve(&link, &stream)).await;
                *link.state.lock() = LinkState::default();
                match ended {
                    None => return,
                    Some(error) => format!("connection lost: {error}"),
                }
            }
            Some(Err(error)) => {
                removed = matches!(error, CallError::Removed);
                error.to_string()
            }
        };
        // That it was removed ends this member, so it is told until it is heard.
        if removed || told.as_ref() != Some(&why) {
            tracing::debug!(peer = %peer, why, "peer not reachable");
            news(LinkNews { peer, connected: false, removed, why: why.clone() });
            told = Some(why);
        }
        if link.ended.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Empties the backlog and waits for the connection's end, which it returns.
async fn serve(link: &Link, stream: &TcpStream) -> io::Error {
    let mut unexpected = [0; 64];
    loop {
        let waits = !link.state.lock().backlog.is_empty();
        tokio::select! {
            () = link.wake.notified(), if !waits => {}
            ready = stream.writable(), if waits => {
                if let Err(error) = ready {
                    return error;
                }
                let backlog = &mut link.state.lock().backlog;
                match stream.try_write(backlog) {
                    Ok(written) => drop(backlog.drain(..written)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return error,
                }
            }
            ready = stream.readable() => {
                if let Err(error) = ready {
                    return error;
                }
                match stream.try_read(&mut unexpected) {
                    Ok(0) => return io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the peer"),
                    Ok(_) => return io::Error::new(io::ErrorKind::InvalidData, "the peer spoke"),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return error,
                }
            }
        }
    }
}
