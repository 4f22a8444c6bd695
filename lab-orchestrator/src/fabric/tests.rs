//! Tests of the fabric over real sockets: two members that speak frames to each other.

use std::collections::VecDeque;
use std::time::Duration;

use lab_protocol::{Fate, Link, LinkCondition, LostWhy, MemberNo};
use node_protocol::frame::HEADER_BYTES;
use node_protocol::{FrameHeader, FrameKind, MemberId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Endpoint, Fabric, LinkCounts, WIRE_EVENTS, WireEvent};
use crate::clock::RunClock;

const M1: MemberNo = MemberNo(1);
const M2: MemberNo = MemberNo(2);
const FORTH: Link = Link { from: M1, to: M2 };
const BACK: Link = Link { from: M2, to: M1 };

/// A fabric with m1, who dials, and m2, who listens.
struct Pair {
    fabric: Fabric,
    events: mpsc::Receiver<WireEvent>,
    /// Reported, not yet looked at.
    reported: VecDeque<WireEvent>,
    /// Messages over m1>m2 that were reported.
    sent: u64,
    proxy: String,
    m2: TcpListener,
}

impl Pair {
    async fn new() -> Self {
        let m2 = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let peer_port = m2.local_addr().expect("an address").port();
        let client_port = peer_port;
        let endpoints = [
            Endpoint { member: M1, peer_port: 1, client_port: 1 },
            Endpoint { member: M2, peer_port, client_port },
        ];
        let (sender, events) = mpsc::channel(WIRE_EVENTS);
        let fabric =
            Fabric::open(&endpoints, 7, RunClock::start(), sender).await.expect("it opens");
        let proxy = fabric.proxy_url(M1).expect("m1 has a proxy").replace("socks5://", "");
        Self { fabric, events, reported: VecDeque::new(), sent: 0, proxy, m2 }
    }

    /// Asks m1's proxy for a name; the reply's code and the connection.
    async fn ask(&self, host: &str, port: u16) -> (u8, TcpStream) {
        let mut stream = TcpStream::connect(&self.proxy).await.expect("the proxy is there");
        stream.write_all(&[5, 1, 0]).await.expect("written");
        let mut chosen = [0; 2];
        stream.read_exact(&mut chosen).await.expect("an answer");
        assert_eq!(chosen, [5, 0]);
        let mut request = vec![5, 1, 0, 3, u8::try_from(host.len()).expect("short")];
        request.extend_from_slice(host.as_bytes());
        request.extend_from_slice(&port.to_be_bytes());
        stream.write_all(&request).await.expect("written");
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).await.expect("a reply");
        (reply[1], stream)
    }

    /// A connection from m1 to m2, both ends.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let (code, dialled) = self.ask("m2.test", 2380).await;
        assert_eq!(code, 0);
        let (accepted, _) = self.m2.accept().await.expect("accepted");
        (dialled, accepted)
    }

    async fn event(&mut self) -> WireEvent {
        if self.reported.is_empty() {
            let event = timeout(Duration::from_secs(5), self.events.recv()).await;
            let event = event.expect("something is reported").expect("the fabric lives");
            self.hear(event);
        }
        self.reported.pop_front().expect("just heard")
    }

    fn hear(&mut self, event: WireEvent) {
        self.sent += u64::from(matches!(event, WireEvent::Sent(message) if message.link == FORTH));
        self.reported.push_back(event);
    }

    /// Waits until what went over m1>m2 is this: sent, landed, lost.
    async fn counts(&mut self, expected: (u64, u64, u64)) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let counts = self.fabric.counts()[0];
            while let Ok(event) = self.events.try_recv() {
                self.hear(event);
            }
            let seen = (self.sent, counts.landed, counts.lost);
            assert!(self.sent >= counts.landed + counts.lost, "{seen:?}");
            assert_eq!(counts.unreported, 0, "the channel has room");
            if seen == expected {
                return;
            }
            assert!(Instant::now() < deadline, "expected {expected:?}, seen {seen:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn frame(kind: FrameKind, seq: u64, payload: usize) -> Vec<u8> {
    let mut header = FrameHeader::new(kind, MemberId(11), MemberId(22));
    header.seq = seq;
    let mut bytes = [0; HEADER_BYTES];
    header.encode(payload, &mut bytes);
    let mut frame = bytes.to_vec();
    frame.resize(HEADER_BYTES + payload, 0x5a);
    frame
}

async fn read_frame(stream: &mut TcpStream) -> FrameHeader {
    let read = async {
        let mut bytes = [0; HEADER_BYTES];
        stream.read_exact(&mut bytes).await.expect("a frame");
        let length = FrameHeader::frame_bytes(&bytes).expect("a length").expect("four bytes");
        let mut payload = vec![0; length - HEADER_BYTES];
        stream.read_exact(&mut payload).await.expect("its payload");
        FrameHeader::decode(&bytes).expect("a header").0
    };
    timeout(Duration::from_secs(5), read).await.expect("a frame arrives")
}

async fn nothing_comes(stream: &mut TcpStream, during: Duration) {
    let mut byte = [0; 1];
    assert!(timeout(during, stream.read(&mut byte)).await.is_err(), "something came");
}

#[tokio::test]
async fn only_the_labs_own_names_are_reached() {
    let pair = Pair::new().await;
    let own_port = pair.m2.local_addr().expect("an address").port();
    for (host, port, code) in [
        ("m2.test", 2380, 0),
        ("192.0.2.2", 2380, 0),
        ("m2.test", own_port, 2),
        ("m1.test", 2380, 2),
        ("m3.test", 2380, 2),
        ("m2.test.", 2380, 2),
        ("localhost", own_port, 2),
        ("127.0.0.1", own_port, 2),
        ("127.0.0.1", 22, 2),
        ("169.254.169.254", 80, 2),
        ("example.org", 80, 2),
        ("", 2380, 2),
    ] {
        assert_eq!(pair.ask(host, port).await.0, code, "{host}:{port}");
    }
}

#[tokio::test]
async fn messages_pass_are_seen_and_are_counted() {
    let mut pair = Pair::new().await;
    let (mut m1, mut m2) = pair.connect().await;
    m1.write_all(&frame(FrameKind::Hello, 1, 40)).await.expect("written");
    assert_eq!(read_frame(&mut m2).await.kind, FrameKind::Hello);
    m2.write_all(&frame(FrameKind::Welcome, 1, 0)).await.expect("written");
    assert_eq!(read_frame(&mut m1).await.kind, FrameKind::Welcome);

    // Two frames in one write, the second in two pieces.
    let mut bytes = frame(FrameKind::Heartbeat, 2, 0);
    bytes.extend(frame(FrameKind::Append, 3, 5_000));
    let (first, second) = bytes.split_at(200);
    m1.write_all(first).await.expect("written");
    assert_eq!(read_frame(&mut m2).await.seq, 2);
    m1.write_all(second).await.expect("written");
    assert_eq!(read_frame(&mut m2).await.seq, 3);

    for kind in [FrameKind::Heartbeat, FrameKind::Append] {
        let WireEvent::Sent(message) = pair.event().await else { panic!("a message") };
        assert_eq!((message.kind, message.link), (kind, FORTH));
        assert!(matches!(message.fate, Fate::Lands { .. }));
    }
    pair.counts((2, 2, 0)).await;
    let [forth, back] = pair.fabric.counts()[..] else { panic!("two links") };
    assert_eq!(forth.bytes, 72 + 40 + 72 + 72 + 5_000, "handshake included");
    assert_eq!((back.landed, back.bytes), (0, 72), "a handshake is no message");
    assert!(pair.reported.is_empty(), "nothing else is a message");
}

#[tokio::test]
async fn a_cut_loses_messages_one_way_and_keeps_the_connection() {
    let mut pair = Pair::new().await;
    let (mut m1, mut m2) = pair.connect().await;
    assert!(pair.fabric.set(FORTH, LinkCondition::Cut));
    assert!(!pair.fabric.set(FORTH, LinkCondition::Cut), "nothing changes twice");
    for seq in 1..=3 {
        m1.write_all(&frame(FrameKind::Heartbeat, seq, 0)).await.expect("written");
    }
    pair.counts((3, 0, 3)).await;
    m2.write_all(&frame(FrameKind::Heartbeat, 9, 0)).await.expect("written");
    assert_eq!(read_frame(&mut m1).await.seq, 9, "the other direction works");
    pair.fabric.set(FORTH, LinkCondition::Open);
    m1.write_all(&frame(FrameKind::Heartbeat, 4, 0)).await.expect("written");
    assert_eq!(read_frame(&mut m2).await.seq, 4, "the same connection, what was lost is lost");
    pair.counts((4, 1, 3)).await;

    let cut = WireEvent::Changed { link: FORTH, condition: LinkCondition::Cut };
    assert_eq!(pair.event().await, cut, "first the cut, then what it did");
    for _ in 0..3 {
        let WireEvent::Sent(message) = pair.event().await else { panic!("a message") };
        assert_eq!(message.fate, Fate::Lost(LostWhy::Cut));
    }
}

#[tokio::test]
async fn handshakes_and_snapshots_wait_for_healing() {
    let mut pair = Pair::new().await;
    let (mut m1, mut m2) = pair.connect().await;
    pair.fabric.set(FORTH, LinkCondition::Cut);
    m1.write_all(&frame(FrameKind::SnapshotHead, 1, 10)).await.expect("written");
    m1.write_all(&frame(FrameKind::SnapshotChunk, 2, 100_000)).await.expect("written");
    nothing_comes(&mut m2, Duration::from_millis(100)).await;
    pair.fabric.set(FORTH, LinkCondition::Open);
    assert_eq!(read_frame(&mut m2).await.kind, FrameKind::SnapshotHead);
    assert_eq!(read_frame(&mut m2).await.kind, FrameKind::SnapshotChunk);
    pair.counts((0, 0, 0)).await;
}

#[tokio::test]
async fn what_is_not_frames_is_held_and_never_lost() {
    let pair = Pair::new().await;
    for text in
        [&b"GET /version HTTP/1.1\r\n"[..], b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\x01"]
    {
        let (mut m1, mut m2) = pair.connect().await;
        let mut heard = vec![0; text.len()];
        m1.write_all(text).await.expect("written");
        m2.read_exact(&mut heard).await.expect("heard");
        assert_eq!(heard, text);
        pair.fabric.set(FORTH, LinkCondition::Cut);
        m1.write_all(text).await.expect("written");
        nothing_comes(&mut m2, Duration::from_millis(100)).await;
        pair.fabric.set(FORTH, LinkCondition::Open);
        m2.read_exact(&mut heard).await.expect("heard");
        assert_eq!(heard, text);
    }
}

#[tokio::test]
async fn dials_hang_while_either_direction_is_cut() {
    let pair = Pair::new().await;
    for link in [FORTH, BACK] {
        pair.fabric.set(link, LinkCondition::Cut);
        let dial = pair.ask("m2.test", 2380);
        tokio::pin!(dial);
        assert!(timeout(Duration::from_millis(100), &mut dial).await.is_err(), "it hangs");
        pair.fabric.set(link, LinkCondition::Open);
        let (code, _) = timeout(Duration::from_secs(5), dial).await.expect("it is answered");
        assert_eq!(code, 0);
    }
}

#[tokio::test]
async fn a_delayed_link_delivers_later_in_order_and_a_cut_loses_what_flies() {
    let mut pair = Pair::new().await;
    let (mut m1, mut m2) = pair.connect().await;
    pair.fabric.set(FORTH, LinkCondition::Delayed { millis: 80, jitter_millis: 60 });
    let began = Instant::now();
    for seq in 1..=20 {
        m1.write_all(&frame(FrameKind::Append, seq, 10)).await.expect("written");
    }
    for seq in 1..=20 {
        assert_eq!(read_frame(&mut m2).await.seq, seq, "in order");
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(80), "{took:?}");
    pair.counts((20, 20, 0)).await;

    pair.fabric.set(FORTH, LinkCondition::Delayed { millis: 30_000, jitter_millis: 0 });
    for seq in 21..=25 {
        m1.write_all(&frame(FrameKind::Append, seq, 10)).await.expect("written");
    }
    pair.counts((25, 20, 0)).await;
    pair.fabric.set(FORTH, LinkCondition::Cut);
    pair.counts((25, 20, 5)).await;
    let mut lost = 0;
    for event in pair.reported {
        lost += u32::from(matches!(event, WireEvent::Lost { why: LostWhy::Cut, .. }));
    }
    assert_eq!(lost, 5);
}

#[tokio::test]
async fn when_a_process_ends_what_flew_is_lost_and_faults_stay() {
    let mut pair = Pair::new().await;
    let slow = LinkCondition::Delayed { millis: 30_000, jitter_millis: 0 };
    for (ended, why) in [(M1, LostWhy::SenderDown), (M2, LostWhy::ReceiverDown)] {
        pair.fabric.set(FORTH, LinkCondition::Open);
        let (mut m1, mut m2) = pair.connect().await;
        pair.fabric.set(FORTH, slow);
        m1.write_all(&frame(FrameKind::Append, 1, 10)).await.expect("written");
        loop {
            if let WireEvent::Sent(_) = pair.event().await {
                break;
            }
        }
        pair.fabric.process_ended(ended);
        let WireEvent::Lost { why: said, .. } = pair.event().await else { panic!("it is lost") };
        assert_eq!(said, why);
        let mut byte = [0; 1];
        for end in [&mut m1, &mut m2] {
            let read = timeout(Duration::from_secs(5), end.read(&mut byte)).await;
            assert!(matches!(read.expect("it ends"), Ok(0) | Err(_)), "both ends are closed");
        }
        assert!(!pair.fabric.set(FORTH, slow), "the link is as it was");
    }
}

#[tokio::test]
async fn a_member_that_is_down_refuses() {
    let mut pair = Pair::new().await;
    let elsewhere = TcpListener::bind(("127.0.0.1", 0)).await.expect("another port");
    drop(std::mem::replace(&mut pair.m2, elsewhere));
    assert_eq!(pair.ask("m2.test", 2380).await.0, 5);
}

#[tokio::test]
async fn passing_through_costs_next_to_nothing() {
    let pair = Pair::new().await;
    let (mut m1, mut m2) = pair.connect().await;
    let ping = frame(FrameKind::Heartbeat, 1, 0);
    let mut slowest = Vec::new();
    for _ in 0..300 {
        let began = Instant::now();
        m1.write_all(&ping).await.expect("written");
        read_frame(&mut m2).await;
        slowest.push(began.elapsed());
    }
    slowest.sort();
    // Both ends, the fabric and an unoptimised build share this one thread; it is far less where
    // it counts. What this guards is a timer or Nagle's algorithm creeping in.
    assert!(slowest[150] < Duration::from_millis(2), "{:?}", slowest[150]);
}

#[tokio::test]
async fn hanging_up_leaves_nothing_to_be_counted_later() {
    let mut pair = Pair::new().await;
    let (mut m1, _m2) = pair.connect().await;
    pair.fabric.set(FORTH, LinkCondition::Delayed { millis: 30_000, jitter_millis: 0 });
    for seq in 1..=5 {
        m1.write_all(&frame(FrameKind::Append, seq, 10)).await.expect("written");
    }
    pair.counts((5, 0, 0)).await;
    pair.fabric.hang_up().await;
    assert_eq!(pair.fabric.counts()[0].lost, 5, "what was under way is lost, and counted");
    pair.fabric.start_over();
    tokio::task::yield_now().await;
    let LinkCounts { landed, lost, bytes, unreported, .. } = pair.fabric.counts()[0];
    assert_eq!((landed, lost, bytes, unreported), (0, 0, 0, 0));
}
