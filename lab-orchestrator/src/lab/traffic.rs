//! What the fabric reports and counts, as the journal tells it.
//!
//! The messages of a link are counted here, as they enter the journal, and not where they are put
//! on the link: so the journal's counts include every message before them and none behind them,
//! and a reader can account for each.

use std::collections::BTreeMap;

use lab_protocol::{Event, Link, LinkTraffic};
use tokio::sync::mpsc;

use crate::fabric::{Fabric, LinkCounts, WireEvent};

/// What the journal was told of every link since the run began.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    links: BTreeMap<Link, Told>,
}

#[derive(Debug)]
struct Told {
    /// Messages whose events the journal has.
    messages: u64,
    traffic: LinkTraffic,
}

impl Traffic {
    /// What a report of the fabric is in the journal.
    pub(super) fn hear(&mut self, event: WireEvent) -> Event {
        match event {
            WireEvent::Sent(message) => {
                self.link(message.link).messages += 1;
                Event::Message(message)
            }
            WireEvent::Lost { number, why } => Event::MessageLost { number, why },
            WireEvent::Changed { link, condition } => Event::LinkChanged { link, condition },
            WireEvent::Released { number, at_micros } => {
                Event::MessageReleased { number, at_micros }
            }
        }
    }

    /// All that the fabric has reported by now, and then the counts of the links that changed.
    ///
    /// The fabric's own counts are read first: nothing in them has landed that is not heard then.
    pub(super) fn settle(
        &mut self,
        fabric: &Fabric,
        wires: &mut mpsc::Receiver<WireEvent>,
    ) -> Vec<Event> {
        let counts = fabric.counts();
        let mut events = Vec::new();
        while let Ok(event) = wires.try_recv() {
            events.push(self.hear(event));
        }
        let links: Vec<_> = counts.into_iter().filter_map(|counts| self.tell(counts)).collect();
        if !links.is_empty() {
            events.push(Event::Traffic { links });
        }
        events
    }

    /// Whether a message is neither delivered nor lost, as far as was told.
    pub(super) fn is_under_way(&self) -> bool {
        self.links.values().any(|told| {
            let LinkTraffic { sent, landed, lost, .. } = told.traffic;
            sent != landed + lost
        })
    }

    /// What a link's counts are now, if that was not told.
    fn tell(&mut self, counts: LinkCounts) -> Option<LinkTraffic> {
        let LinkCounts { link, landed, lost, bytes, unreported } = counts;
        let told = self.link(link);
        let sent = told.messages + unreported;
        let traffic = LinkTraffic { link, sent, landed, lost, bytes };
        (std::mem::replace(&mut told.traffic, traffic) != traffic).then_some(traffic)
    }

    fn link(&mut self, link: Link) -> &mut Told {
        self.links.entry(link).or_insert_with(|| {
            let traffic = LinkTraffic { link, sent: 0, landed: 0, lost: 0, bytes: 0 };
            Told { messages: 0, traffic }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lab_protocol::{Fate, MemberNo, Message};
    use node_protocol::frame::HEADER_BYTES;
    use node_protocol::{FrameHeader, FrameKind, Index, MemberId, Term};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::clock::RunClock;
    use crate::fabric::{Endpoint, WIRE_EVENTS};

    const FORTH: Link = Link { from: MemberNo(1), to: MemberNo(2) };

    fn counts(landed: u64, unreported: u64) -> LinkCounts {
        LinkCounts { link: FORTH, landed, lost: 0, bytes: 0, unreported }
    }

    fn message(number: u64) -> WireEvent {
        WireEvent::Sent(Message {
            number,
            link: FORTH,
            kind: FrameKind::Heartbeat,
            reject: false,
            term: Term(1),
            index: Index(0),
            entries: 0,
            bytes: 72,
            fate: Fate::Lands { at_micros: 0 },
        })
    }

    /// Messages that were put on a link and reported, and whose reports wait, are in the journal
    /// before the count that has them: a count of the fabric's alone would come before them.
    #[tokio::test]
    async fn a_count_has_every_message_before_it_and_none_behind() {
        let m2 = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let peer_port = m2.local_addr().expect("an address").port();
        let endpoints = [
            Endpoint { member: FORTH.from, peer_port: 1, client_port: 1 },
            Endpoint { member: FORTH.to, peer_port, client_port: 1 },
        ];
        let (sender, mut wires) = mpsc::channel(WIRE_EVENTS);
        let fabric =
            Fabric::open(&endpoints, 7, RunClock::start(), sender).await.expect("it opens");
        let proxy = fabric.proxy_url(FORTH.from).expect("m1 has a proxy");
        let mut m1 =
            TcpStream::connect(proxy.trim_start_matches("socks5://")).await.expect("connects");
        m1.write_all(b"\x05\x01\x00\x05\x01\x00\x03\x07m2.test\x09\x4c").await.expect("written");
        m1.read_exact(&mut [0; 12]).await.expect("accepted");

        let (mut traffic, mut journal) = (Traffic::default(), Vec::new());
        for sent in [3, 7] {
            for _ in 0..sent {
                let mut header = [0; HEADER_BYTES];
                FrameHeader::new(FrameKind::Heartbeat, MemberId(1), MemberId(2))
                    .encode(0, &mut header);
                m1.write_all(&header).await.expect("written");
            }
            // All are counted, and none was looked at.
            let landed = async {
                while fabric.counts()[0].landed < sent + journal.len() as u64 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), landed).await.expect("they land");
            let mut events = traffic.settle(&fabric, &mut wires);
            let Some(Event::Traffic { links }) = events.pop() else { panic!("the count is last") };
            journal.extend(events);
            assert_eq!((links[0].sent, links[0].landed), (journal.len() as u64, links[0].sent));
            assert!(!traffic.is_under_way());
        }
        assert_eq!(journal.len(), 10);
        assert!(traffic.settle(&fabric, &mut wires).is_empty(), "nothing is told twice");
    }

    #[test]
    fn what_was_not_reported_is_counted_all_the_same() {
        let mut traffic = Traffic::default();
        traffic.hear(message(1));
        assert_eq!(traffic.tell(counts(1, 0)).map(|told| told.sent), Some(1));
        assert_eq!(traffic.tell(counts(1, 4)).map(|told| told.sent), Some(5));
        assert!(traffic.is_under_way());
        traffic.hear(message(6));
        assert_eq!(traffic.tell(counts(6, 4)).map(|told| told.sent), Some(6));
        assert!(!traffic.is_under_way());
        assert_eq!(traffic.tell(counts(6, 4)), None);
    }
}
