//! The observer against a member that is played by the test, over real sockets.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lab_orchestrator::clock::{RunClock, machine_micros};
use lab_orchestrator::observer::{Expect, OBSERVATIONS, Observer};
use lab_protocol::{Event, Feed, MemberNo};
use node_protocol::telemetry::{TELEMETRY_VERSION, Traced};
use node_protocol::{ClusterId, MemberId, TelemetryFrame, TraceEvent};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const M1: MemberNo = MemberNo(1);

struct Played {
    listener: TcpListener,
    observer: Observer,
    events: mpsc::Receiver<Event>,
    clock: RunClock,
}

impl Played {
    async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let clock = RunClock::start();
        let (sender, events) = mpsc::channel(OBSERVATIONS);
        let observer = Observer::start(&[(M1, port)], clock, &sender);
        Self { listener, observer, events, clock }
    }

    async fn accept(&self) -> WebSocketStream<TcpStream> {
        let accepted = timeout(Duration::from_secs(5), self.listener.accept()).await;
        let (stream, _) = accepted.expect("it connects").expect("accepted");
        tokio_tungstenite::accept_async(stream).await.expect("a websocket")
    }

    async fn event(&mut self) -> Event {
        let event = timeout(Duration::from_secs(5), self.events.recv()).await;
        event.expect("something is observed").expect("the observer lives")
    }

    async fn feed(&mut self, expected: Feed) {
        assert_eq!(self.event().await, Event::Telemetry { member: M1, feed: expected });
    }
}

fn hello(name: &str, version: u32) -> TelemetryFrame {
    TelemetryFrame::Hello {
        version,
        member: MemberId(11),
        name: name.into(),
        cluster: ClusterId(22),
        etcd_version: String::new(),
        pid: 1,
        restored: None,
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, frame: TelemetryFrame) {
    socket.send(Message::Binary(frame.encode().into())).await.expect("sent");
}

#[tokio::test]
async fn a_member_is_followed_over_restarts() {
    let mut played = Played::new().await;
    let early = timeout(Duration::from_millis(200), played.listener.accept()).await;
    assert!(early.is_err(), "nobody is called before the process is up");

    played.observer.expect(M1, Expect::Speech);
    for _ in 0..2 {
        let mut socket = played.accept().await;
        say(&mut socket, hello("m1", TELEMETRY_VERSION)).await;
        assert_eq!(
            played.event().await,
            Event::Identified { member: M1, id: MemberId(11), cluster: ClusterId(22) }
        );
        played.feed(Feed::Live).await;
        let before = played.clock.now_micros();
        let at_micros = machine_micros();
        let traced = Traced { seq: 1, at_micros, event: TraceEvent::Stopping };
        say(&mut socket, TelemetryFrame::Trace(vec![traced])).await;
        let Event::Trace { traced, .. } = played.event().await else { panic!("a trace") };
        let now = played.clock.now_micros();
        assert!((before..=now).contains(&traced.at_micros), "in the run's time");
        say(&mut socket, TelemetryFrame::Dropped { count: 9 }).await;
        assert_eq!(played.event().await, Event::TraceLost { member: M1, count: 9 });
        drop(socket);
        played.feed(Feed::Lost).await;
    }
    played.observer.expect(M1, Expect::Nothing);
}

#[tokio::test]
async fn silence_is_noticed_unless_the_process_is_paused() {
    let mut played = Played::new().await;
    played.observer.expect(M1, Expect::Speech);
    let mut socket = played.accept().await;
    say(&mut socket, hello("m1", TELEMETRY_VERSION)).await;
    assert!(matches!(played.event().await, Event::Identified { .. }));
    played.feed(Feed::Live).await;
    played.feed(Feed::Quiet).await;
    say(&mut socket, TelemetryFrame::Dropped { count: 1 }).await;
    played.feed(Feed::Live).await;
    assert!(matches!(played.event().await, Event::TraceLost { .. }));
    played.observer.expect(M1, Expect::Silence);
    let quiet = timeout(Duration::from_millis(2_000), played.events.recv()).await;
    assert!(quiet.is_err(), "a paused process is silent because it was paused");
    played.observer.expect(M1, Expect::Nothing);
    played.feed(Feed::Lost).await;
    let end = timeout(Duration::from_secs(5), socket.next()).await.expect("hung up");
    assert!(!matches!(end, Some(Ok(Message::Binary(_)))));
}

#[tokio::test]
async fn a_stranger_is_told_apart_once() {
    for (frame, why) in [
        (hello("m2", TELEMETRY_VERSION), "is m2"),
        (hello("m1", TELEMETRY_VERSION + 1), "version"),
        (TelemetryFrame::Dropped { count: 1 }, "does not say who it is"),
    ] {
        let mut played = Played::new().await;
        played.observer.expect(M1, Expect::Speech);
        for _ in 0..2 {
            let mut socket = played.accept().await;
            say(&mut socket, frame.clone()).await;
            let end = timeout(Duration::from_secs(5), socket.next()).await.expect("hung up");
            assert!(!matches!(end, Some(Ok(Message::Binary(_)))));
        }
        let Event::Note { text } = played.event().await else { panic!("a note") };
        assert!(text.contains(why), "{text}");
        assert!(played.events.try_recv().is_err(), "said once");
    }
}
