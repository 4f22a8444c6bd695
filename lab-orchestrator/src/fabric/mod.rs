//! Every wire between two members: who speaks to whom, and what the link does to it.
//!
//! ```text
//!  m1 ── SOCKS5 "m2.test:2380" ──► listener of m1 ──► flow on link m1>m2 ──► 127.0.0.1:<m2>
//!     ◄──────────── Welcome ─────────── flow on link m2>m1 ◄────────────────
//! ```
//!
//! Each member is told a SOCKS5 proxy of its own, so the source of every byte is known; the target
//! is the virtual name it asks for. Names stand in a fixed table: the fabric never connects to
//! anything else. On our own plaintext frames it reads the header before each message, reports it,
//! and may lose or delay it whole; a stream that is not frames is carried as opaque bytes.
//!
//! | condition | a message | handshake, snapshot, opaque bytes | a dial |
//! |---|---|---|---|
//! | open | forwarded at once | forwarded at once | connects |
//! | cut | lost, one way | held until healed | hangs while either direction is cut |
//! | delayed | forwarded later, in order | forwarded later, in order | takes both delays |
//! | held | kept until healed, or until an order for it | held until healed | hangs |
//! | refused | lost: its connections are reset | the same | is refused |
//! | throttled | so many bytes a second | the same | connects |
//! | half open | forwarded; lost when nobody is there any more | the same | connects |
//! | mangled | some are lost, doubled or late | forwarded at once | connects |
//!
//! The lab's own clients reach each member by a listener of its own: their bytes are opaque, and
//! flow over the links between [`MemberNo::CLIENTS`] and the member.
//!
//! Invariants: connections stay established under every condition but refused; a link's condition belongs to
//! the link and survives its members' restarts; a message is reported, or counted as unreported,
//! before it is counted as landed or lost; a condition and the messages it decided are reported in
//! their true order.

mod fault;
mod flow;
mod socks;
mod wire;

pub use fault::delay_micros;
pub use wire::WireEvent;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lab_protocol::{HeldOrder, Link, LinkCondition, MemberNo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::RunClock;
use wire::Wires;

/// Capacity of the channel of [`WireEvent`]s. When it is nearly full, messages are no longer
/// reported one by one (the counts stay exact); changes of a link's condition always are.
pub const WIRE_EVENTS: usize = 8192;

/// The port in the members' virtual names.
const VIRTUAL_PORT: u16 = 2380;

/// One member, as the fabric knows it.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// The member.
    pub member: MemberNo,
    /// Where its process listens for peers, on loopback.
    pub peer_port: u16,
    /// Where its process listens for clients, on loopback.
    pub client_port: u16,
}

/// What came of the messages of one link. How many were put on it is known to whoever counts the
/// reports: they and [`unreported`](Self::unreported) together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkCounts {
    /// Which link.
    pub link: Link,
    /// Messages delivered.
    pub landed: u64,
    /// Messages lost.
    pub lost: u64,
    /// Bytes put on it, handshakes and snapshots included.
    pub bytes: u64,
    /// Messages put on it that were not reported one by one, because nobody took reports in time.
    pub unreported: u64,
}

/// The fabric. When it is dropped, every connection ends.
#[derive(Debug)]
pub struct Fabric {
    wires: Arc<Wires>,
    proxies: BTreeMap<MemberNo, SocketAddr>,
    for_clients: BTreeMap<MemberNo, SocketAddr>,
    listeners: TaskTracker,
    connections: TaskTracker,
    ended: CancellationToken,
}

impl Fabric {
    /// Opens one listener for each member. `events` must be read; see [`WIRE_EVENTS`].
    pub async fn open(
        endpoints: &[Endpoint],
        seed: u64,
        clock: RunClock,
        events: mpsc::Sender<WireEvent>,
    ) -> io::Result<Self> {
        let wires = Arc::new(Wires::new(endpoints, seed, clock, events));
        let (listeners, connections) = (TaskTracker::new(), TaskTracker::new());
        let ended = CancellationToken::new();
        let (mut proxies, mut for_clients) = (BTreeMap::new(), BTreeMap::new());
        for endpoint in endpoints {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            for_clients.insert(endpoint.member, listener.local_addr()?);
            listeners.spawn(socks::listen_to_clients(
                listener,
                endpoint.member,
                SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint.client_port)),
                wires.clone(),
                connections.clone(),
                ended.clone(),
            ));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            proxies.insert(endpoint.member, listener.local_addr()?);
            listeners.spawn(socks::listen(
                listener,
                endpoint.member,
                wires.clone(),
                connections.clone(),
                ended.clone(),
            ));
        }
        Ok(Self { wires, proxies, for_clients, listeners, connections, ended })
    }

    /// The name by which peers call a member.
    pub fn virtual_name(member: MemberNo) -> String {
        format!("{member}.test:{VIRTUAL_PORT}")
    }

    /// The same for programs that want numbers: an address that nobody has.
    pub fn virtual_address(member: MemberNo) -> String {
        format!("192.0.2.{}:{VIRTUAL_PORT}", member.0)
    }

    /// The proxy through which this member must dial its peers.
    pub fn proxy_url(&self, member: MemberNo) -> Option<String> {
        self.proxies.get(&member).map(|address| format!("socks5://{address}"))
    }

    /// Where the lab's own clients reach a member, over its links from and to clients.
    pub fn client_url(&self, member: MemberNo) -> Option<String> {
        self.for_clients.get(&member).map(|address| format!("http://{address}"))
    }

    /// Has something done to one message that a link holds; what comes of it is reported.
    pub fn order(&self, link: Link, number: u64, order: HeldOrder) {
        if let Some(wire) = self.wires.links.get(&link) {
            wire.order(number, order);
        }
    }

    /// Resets every connection that carries a link; how many there were.
    pub fn reset(&self, link: Link) -> u32 {
        self.wires.links.get(&link).map_or(0, |wire| wire.reset_connections())
    }

    /// Changes what a link does; true when that is reported as [`WireEvent::Changed`], false
    /// when nothing changed.
    pub fn set(&self, link: Link, condition: LinkCondition) -> bool {
        self.wires.links.get(&link).is_some_and(|wire| self.wires.set(wire, condition))
    }

    /// What came of the messages of each link between two members so far, ascending.
    pub fn counts(&self) -> Vec<LinkCounts> {
        let carries_messages =
            |link: &Link| link.from != MemberNo::CLIENTS && link.to != MemberNo::CLIENTS;
        let wires = self.wires.links.values().filter(|wire| carries_messages(&wire.link));
        wires.map(|wire| wire.counts()).collect()
    }

    /// Every link, those of clients among them.
    pub fn links(&self) -> Vec<Link> {
        self.wires.links.keys().copied().collect()
    }

    /// Ends every connection from and to a member whose process has ended; what was under way is
    /// lost.
    pub fn process_ended(&self, member: MemberNo) {
        self.wires.hang_up(member);
    }

    /// Ends every connection, and waits until all that came of it is reported and counted. Every
    /// process must have ended, so that nobody connects anew.
    pub async fn hang_up(&self) {
        for member in self.proxies.keys() {
            self.wires.hang_up(*member);
        }
        self.connections.close();
        self.connections.wait().await;
        self.connections.reopen();
    }

    /// Opens every link, unreported, and counts from zero. Nothing may be connected: see
    /// [`hang_up`](Self::hang_up).
    pub fn start_over(&self) {
        for wire in self.wires.links.values() {
            wire.reset();
        }
    }

    /// Ends every connection and listener.
    pub async fn close(self) {
        self.ended.cancel();
        for tasks in [&self.listeners, &self.connections] {
            tasks.close();
            tasks.wait().await;
        }
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests;
