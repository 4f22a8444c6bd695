//! The table of links and virtual names, and the counts and reports of each link.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use lab_protocol::{HeldOrder, Link, LinkCondition, LostWhy, MemberNo, Message};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Endpoint, Fabric, LinkCounts};
use crate::clock::RunClock;

/// Places in the channel that messages leave for changes of a condition: enough for every link of
/// nine members, three times over.
const ROOM_FOR_CHANGES: usize = 256;

/// What the fabric reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireEvent {
    /// A message was put on a link.
    Sent(Message),
    /// A message that was under way is lost after all.
    Lost {
        /// The message.
        number: u64,
        /// Why.
        why: LostWhy,
    },
    /// A link is in another condition from here on.
    Changed {
        /// The link.
        link: Link,
        /// What it does now.
        condition: LinkCondition,
    },
    /// A message that was held lands at this time.
    Released {
        /// The message.
        number: u64,
        /// When.
        at_micros: u64,
    },
}

/// All links and names of a lab.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) links: BTreeMap<Link, Arc<LinkWire>>,
    pub(super) clock: RunClock,
    pub(super) seed: u64,
    targets: BTreeMap<MemberNo, SocketAddr>,
    /// Cancelled when the member's process ends, and then replaced.
    processes: Mutex<BTreeMap<MemberNo, CancellationToken>>,
    events: mpsc::Sender<WireEvent>,
    next_number: AtomicU64,
}

/// One link: its condition and its counts.
#[derive(Debug)]
pub(super) struct LinkWire {
    pub(super) link: Link,
    /// Whoever decides about a message holds this borrowed until the message is reported.
    pub(super) condition: watch::Sender<LinkCondition>,
    /// Messages put on the link without a report of each.
    pub(super) unreported: AtomicU64,
    pub(super) landed: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Until when all that was put on a link that is throttled has passed.
    pub(super) busy_until: AtomicU64,
    /// What is to become of messages that are held, by number.
    pub(super) orders: Mutex<BTreeMap<u64, HeldOrder>>,
    /// Connections that carry it.
    pub(super) connections: AtomicU32,
    /// How often its connections were reset.
    pub(super) resets: AtomicU64,
}

impl Wires {
    pub(super) fn new(
        endpoints: &[Endpoint],
        seed: u64,
        clock: RunClock,
        events: mpsc::Sender<WireEvent>,
    ) -> Self {
        let mut links = BTreeMap::new();
        let members = || endpoints.iter().map(|endpoint| endpoint.member);
        for from in members().chain([MemberNo::CLIENTS]) {
            for to in members().chain([MemberNo::CLIENTS]).filter(|to| *to != from) {
                let link = Link { from, to };
                links.insert(link, Arc::new(LinkWire::new(link)));
            }
        }
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            links,
            clock,
            seed,
            targets: endpoints.iter().map(|e| (e.member, address(e.peer_port))).collect(),
            processes: Mutex::new(
                endpoints.iter().map(|e| (e.member, CancellationToken::new())).collect(),
            ),
            events,
            next_number: AtomicU64::new(1),
        }
    }

    /// The member behind a virtual name or a virtual address (`192.0.2.<number>`, for programs
    /// that want numbers), and where it really listens.
    pub(super) fn resolve(&self, host: &str, port: u16) -> Option<(MemberNo, SocketAddr)> {
        let target = format!("{host}:{port}");
        let named = |member: MemberNo| {
            target == Fabric::virtual_name(member) || target == Fabric::virtual_address(member)
        };
        self.targets.iter().find(|(member, _)| named(**member)).map(|(m, address)| (*m, *address))
    }

    /// Ends with the member's present process.
    pub(super) fn process(&self, member: MemberNo) -> CancellationToken {
        self.processes.lock().get(&member).cloned().unwrap_or_default()
    }

    pub(super) fn hang_up(&self, member: MemberNo) {
        if let Some(token) = self.processes.lock().get_mut(&member) {
            std::mem::take(token).cancel();
        }
    }

    pub(super) fn set(&self, wire: &LinkWire, condition: LinkCondition) -> bool {
        wire.condition.send_if_modified(|present| {
            if *present == condition {
                return false;
            }
            *present = condition;
            // Messages leave room for this one; the lab's loop empties the channel between two
            // commands.
            let changed = WireEvent::Changed { link: wire.link, condition };
            if self.events.try_send(changed).is_err() {
                tracing::error!(link = %wire.link, "a change of a link was not reported");
            }
            true
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Reports what became of a message that was held; the same room is kept for it as for changes.
    pub(super) fn report_always(&self, event: WireEvent) {
        if self.events.try_send(event).is_err() {
            tracing::error!(?event, "what became of a held message was not reported");
        }
    }

    /// Reports what happened to a message, if there is room to.
    pub(super) fn report(&self, event: WireEvent) -> bool {
        self.events.capacity() > ROOM_FOR_CHANGES && self.events.try_send(event).is_ok()
    }
}

impl LinkWire {
    fn new(link: Link) -> Self {
        Self {
            link,
            condition: watch::Sender::new(LinkCondition::Open),
            unreported: AtomicU64::new(0),
            landed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            busy_until: AtomicU64::new(0),
            orders: Mutex::default(),
            connections: AtomicU32::new(0),
            resets: AtomicU64::new(0),
        }
    }

    /// When so many bytes have passed that are put on it now, if it lets so many pass a second.
    pub(super) fn passed_at(&self, now: u64, bytes: usize, bytes_per_second: u32) -> u64 {
        let takes = bytes as u64 * 1_000_000 / u64::from(bytes_per_second.max(1));
        let after = |busy: u64| busy.max(now) + takes;
        let before = self
            .busy_until
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |busy| Some(after(busy)))
            .unwrap_or_else(|busy| busy);
        after(before)
    }

    /// Has the message with this number, if a flow holds it, released, dropped or doubled.
    pub(super) fn order(&self, number: u64, order: HeldOrder) {
        self.orders.lock().insert(number, order);
        self.wake();
    }

    /// Ends every connection that carries it; how many.
    pub(super) fn reset_connections(&self) -> u32 {
        self.resets.fetch_add(1, Ordering::AcqRel);
        self.wake();
        self.connections.load(Ordering::Acquire)
    }

    /// Has every flow look again.
    fn wake(&self) {
        self.condition.send_modify(|_| {});
    }

    /// The counts. What is read later can only be larger: `unreported` is read last, so that
    /// nothing has landed or is lost that was neither reported nor is in it.
    pub(super) fn counts(&self) -> LinkCounts {
        let landed = self.landed.load(Ordering::Acquire);
        let lost = self.lost.load(Ordering::Acquire);
        let bytes = self.bytes.load(Ordering::Acquire);
        let unreported = self.unreported.load(Ordering::Acquire);
        LinkCounts { link: self.link, landed, lost, bytes, unreported }
    }

    pub(super) fn reset(&self) {
        for count in [&self.unreported, &self.landed, &self.lost, &self.bytes] {
            count.store(0, Ordering::Release);
        }
        self.busy_until.store(0, Ordering::Release);
        self.orders.lock().clear();
        self.condition.send_replace(LinkCondition::Open);
    }
}
