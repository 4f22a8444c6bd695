//! The web face over real sockets: who may ask what, and the conversation with a browser.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lab_orchestrator::clock::RunClock;
use lab_orchestrator::http::{Face, Token, listen};
use lab_orchestrator::journal::{self, Journal, JournalWriter, RING_BYTES};
use lab_protocol::{
    Applied, ClientFrame, Command, Event, LabState, MemberNo, MemberPlan, ServerFrame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;

/// A web face with a journal of its own and no lab behind it.
struct Web {
    address: SocketAddr,
    token: Token,
    journal: Journal,
    writer: JournalWriter,
    ended: CancellationToken,
    serving: JoinSet<()>,
}

impl Web {
    async fn open() -> Self {
        let (mut writer, journal) = journal::open(RunClock::start(), RING_BYTES);
        writer.append(Event::RunStarted {
            run: "r".into(),
            seed: 1,
            version: "0".into(),
            engine: "e".into(),
            token: "t".into(),
            wall_millis: 0,
            members: [1, 2]
                .map(|no| MemberPlan {
                    member: MemberNo(no),
                    client_url: String::new(),
                    peer_url: String::new(),
                })
                .into(),
        });
        writer.publish();
        let listening = listen("127.0.0.1", 0).await.expect("a port");
        let address = listening.address();
        let token = Token::new();
        let ended = CancellationToken::new();
        let face = Face { journal: journal.clone(), lab: None };
        let mut serving = JoinSet::new();
        serving.spawn(listening.serve(face, token.clone(), ended.clone()));
        Self { address, token, journal, writer, ended, serving }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sends a request as it is written here; status and whole answer.
    async fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        // What is refused may be hung up on at once; what was answered before counts.
        timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        (status, answer)
    }

    async fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let host = format!("Host: localhost:{}", self.port());
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\n{host}\r\nConnection: close\r\n{headers}");
        self.raw(&format!("{head}Content-Length: {length}\r\n\r\n{body}")).await
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token.reveal())
    }

    fn origin(&self) -> String {
        format!("Origin: http://localhost:{}\r\n", self.port())
    }

    /// Signs in as a page does; the cookie's header.
    async fn sign_in(&self) -> String {
        let headers = format!("{}Content-Type: application/json\r\n", self.origin());
        let body = format!("{{\"token\":\"{}\"}}", self.token.reveal());
        let (status, answer) = self.ask("POST /api/session", &headers, &body).await;
        assert_eq!(status, 204, "{answer}");
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "))
            .expect("a cookie is given");
        assert!(line.contains("HttpOnly") && line.contains("SameSite=Strict"), "{line}");
        let pair = line.split(';').next().expect("a pair");
        assert!(pair.starts_with(&format!("raftlab-{}=", self.port())), "{pair}");
        assert!(!pair.contains(self.token.reveal()), "the cookie is not the token");
        format!("Cookie: {pair}\r\n")
    }

    async fn close(mut self) {
        self.ended.cancel();
        while self.serving.join_next().await.is_some() {}
    }
}

fn upgrade() -> &'static str {
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
}

#[tokio::test]
async fn every_route_answers_to_our_name_only() {
    let web = Web::open().await;
    let port = web.port();
    let bearer = web.bearer();
    let rows = [
        (format!("localhost:{port}"), true),
        (format!("127.0.0.1:{port}"), true),
        (format!("[::1]:{port}"), true),
        ("localhost".into(), false),
        ("127.0.0.1".into(), false),
        (format!("localhost:{}", port - 1), false),
        (format!("localhost:0{port}"), false),
        (format!("LOCALHOST:{port}"), false),
        (format!("localhost.:{port}"), false),
        (format!("localhost.evil.example:{port}"), false),
        (format!("evil.example:{port}"), false),
        ("evil.example".into(), false),
        (format!("127.0.0.1.nip.example:{port}"), false),
        (format!("127.0.0.2:{port}"), false),
        (format!("127.1:{port}"), false),
        (format!("2130706433:{port}"), false),
        (format!("0x7f000001:{port}"), false),
        (format!("0.0.0.0:{port}"), false),
        (format!("[::]:{port}"), false),
        (format!("[::ffff:127.0.0.1]:{port}"), false),
        (format!("user@localhost:{port}"), false),
        (format!("localhost:{port}@evil.example"), false),
        (format!("localhost:{port}/"), false),
        (format!("localhost:{port}\r\nHost: evil.example"), false),
        (format!("localhost:{port}\r\nHost: localhost:{port}"), false),
        (String::new(), false),
    ];
    for (host, ours) in rows {
        for (path, more) in [
            ("/", ""),
            ("/book/", ""),
            ("/healthz", ""),
            ("/nothing", ""),
            ("/api/state", ""),
            ("/api/nothing", ""),
            ("/api/socket", upgrade()),
        ] {
            let connection = if more.is_empty() { "close" } else { "Upgrade, close" };
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n{bearer}{more}\r\n"
            );
            if ours && !more.is_empty() {
                continue; // It would stay open; what follows asks the same of it.
            }
            let (status, _) = web.raw(&request).await;
            let refused = status == 421 || status == 400;
            assert_eq!(!refused, ours, "{host} {path}: {status}");
        }
    }
    let none = format!("GET /api/state HTTP/1.1\r\nConnection: close\r\n{bearer}\r\n");
    assert!(matches!(web.raw(&none).await.0, 400 | 421), "no host at all");
    let foreign = format!(
        "GET http://evil.example/ HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    );
    assert!(matches!(web.raw(&foreign).await.0, 400 | 421), "an absolute target elsewhere");
    web.close().await;
}

#[tokio::test]
async fn the_api_demands_token_origin_and_kind() {
    let web = Web::open().await;
    let cookie = web.sign_in().await;
    let (bearer, origin) = (web.bearer(), web.origin());
    let json = "Content-Type: application/json\r\n";
    let none = "";
    let foreign = "Origin: http://evil.example\r\n";
    let other_port = "Origin: http://localhost:1\r\n";
    let lan = format!("Origin: http://192.168.1.5:{}\r\n", web.port());
    let null = "Origin: null\r\n";
    let cross = "Sec-Fetch-Site: cross-site\r\n";
    let same_site = "Sec-Fetch-Site: same-site\r\n";
    let command = r#"{"Crash":{"member":1}}"#;
    let rows: Vec<(&str, Vec<&str>, &str, u16)> = vec![
        // Reading.
        ("GET /api/state", vec![none], "", 401),
        ("GET /api/state", vec![&bearer], "", 200),
        ("GET /api/state", vec![&cookie], "", 200),
        ("GET /api/state", vec![&cookie, &origin], "", 200),
        ("GET /api/state", vec![&cookie, foreign], "", 403),
        ("GET /api/state", vec![&cookie, null], "", 403),
        ("GET /api/state", vec![&cookie, cross], "", 403),
        ("GET /api/state", vec![&cookie, same_site], "", 403),
        ("GET /api/state", vec!["Authorization: Bearer 0000\r\n"], "", 401),
        ("GET /api/state", vec!["Cookie: raftlab=1\r\n"], "", 401),
        ("GET /api/events?after=0", vec![&bearer], "", 200),
        ("GET /api/events?after=x", vec![&bearer], "", 400),
        ("GET /api/session", vec![none], "", 401),
        ("GET /api/session", vec![&cookie], "", 204),
        ("GET /api/members/m1/output", vec![&bearer], "", 404),
        ("GET /api/members/..%2f..%2fetc/output", vec![&bearer], "", 404),
        ("GET /api/nothing", vec![&bearer], "", 404),
        ("GET /api/nothing", vec![none], "", 401),
        // Changing: there is no lab behind it, so what passes the guard ends in 409.
        ("POST /api/command", vec![&bearer, json], command, 409),
        ("POST /api/command", vec![&cookie, &origin, json], command, 409),
        ("POST /api/command", vec![&cookie, json], command, 403),
        ("POST /api/command", vec![&cookie, foreign, json], command, 403),
        ("POST /api/command", vec![&cookie, other_port, json], command, 403),
        ("POST /api/command", vec![&cookie, &lan, json], command, 403),
        ("POST /api/command", vec![&cookie, null, json], command, 403),
        ("POST /api/command", vec![&bearer, foreign, json], command, 403),
        ("POST /api/command", vec![&origin, json], command, 401),
        ("POST /api/command", vec![&cookie, &origin], command, 415),
        ("POST /api/command", vec![&cookie, &origin, "Content-Type: text/plain\r\n"], command, 415),
        ("POST /api/command", vec![&bearer, json], "{", 400),
        ("GET /api/command", vec![&bearer], "", 405),
        ("DELETE /api/state", vec![&bearer, json], "", 405),
        ("POST /", vec![&bearer, json], "", 405),
        // Signing in.
        ("POST /api/session", vec![&origin, json], r#"{"token":"wrong"}"#, 401),
        ("POST /api/session", vec![&origin, json], "[]", 400),
        ("POST /api/session", vec![json], r#"{"token":"wrong"}"#, 403),
        ("POST /api/session", vec![foreign, json], r#"{"token":"wrong"}"#, 403),
        // Static files need no token, they hold no secret.
        ("GET /", vec![none], "", 200),
        ("GET /healthz", vec![none], "", 200),
    ];
    for (line, headers, body, expected) in rows {
        let headers = headers.concat();
        let (status, answer) = web.ask(line, &headers, body).await;
        assert_eq!(status, expected, "{line} {headers:?}: {answer}");
        let lower = answer.to_lowercase();
        assert!(!lower.contains("access-control-"), "no CORS header ever");
        assert!(lower.contains("x-content-type-options: nosniff"), "{answer}");
        assert!(lower.contains("frame-ancestors 'self'"), "{answer}");
    }
    let big = format!("\"{}\"", "x".repeat(100_000));
    let headers = format!("{bearer}{json}");
    assert_eq!(web.ask("POST /api/command", &headers, &big).await.0, 413);
    web.close().await;
}

type Socket = WebSocketStream<TcpStream>;

/// Tries to open a websocket with these headers; the status when it is refused.
async fn socket(web: &Web, headers: &[(&str, String)]) -> Result<Socket, u16> {
    let url = format!("ws://localhost:{}/api/socket", web.port());
    let mut request = url.into_client_request().expect("a request");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a name");
        request.headers_mut().append(name, value.parse().expect("a value"));
    }
    let stream = TcpStream::connect(web.address).await.expect("connects");
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_websocket_needs_our_origin_and_the_token() {
    let web = Web::open().await;
    let cookie = web.sign_in().await.trim().trim_start_matches("Cookie: ").to_owned();
    let bearer = format!("Bearer {}", web.token.reveal());
    let port = web.port();
    let own = format!("http://127.0.0.1:{port}");
    let open = |origin: Option<&str>, cookie: Option<&str>, bearer: Option<&str>| {
        let mut headers = Vec::new();
        headers.extend(origin.map(|origin| ("origin", origin.to_owned())));
        headers.extend(cookie.map(|cookie| ("cookie", cookie.to_owned())));
        headers.extend(bearer.map(|bearer| ("authorization", bearer.to_owned())));
        headers
    };
    let (cookie, bearer) = (Some(cookie.as_str()), Some(bearer.as_str()));
    for (headers, expected) in [
        (open(Some(&own), cookie, None), None),
        (open(None, None, bearer), None),
        (open(Some(&own), None, bearer), None),
        (open(Some(&own), None, None), Some(401)),
        (open(None, None, None), Some(403)),
        (open(None, cookie, None), Some(403)),
        (open(Some("http://evil.example"), cookie, None), Some(403)),
        (open(Some("http://evil.example"), None, bearer), Some(403)),
        (open(Some(&format!("http://192.168.0.9:{port}")), cookie, None), Some(403)),
        (open(Some(&format!("http://127.0.0.1:{}", port - 1)), cookie, None), Some(403)),
        (open(Some(&format!("https://127.0.0.1:{port}")), cookie, None), Some(403)),
        (open(Some("null"), cookie, None), Some(403)),
        (open(Some(""), cookie, None), Some(403)),
        (open(Some("file://"), cookie, None), Some(403)),
    ] {
        let result = socket(&web, &headers).await;
        assert_eq!(result.err(), expected, "{headers:?}");
    }
    web.close().await;
}

async fn browser(web: &Web) -> Socket {
    let bearer = format!("Bearer {}", web.token.reveal());
    socket(web, &[("authorization", bearer)]).await.expect("it opens")
}

async fn hear(socket: &mut Socket) -> ServerFrame {
    loop {
        let message = timeout(Duration::from_secs(10), socket.next()).await;
        match message.expect("the lab speaks").expect("it is open").expect("a message") {
            Message::Binary(bytes) => return ServerFrame::decode(&bytes).expect("a frame"),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

async fn greeted(socket: &mut Socket) -> LabState {
    let ServerFrame::Hello { may_command: false, .. } = hear(socket).await else {
        panic!("hello first, and no commands without a lab")
    };
    let ServerFrame::State { state } = hear(socket).await else { panic!("then the state") };
    *state
}

async fn say(socket: &mut Socket, frame: &ClientFrame) {
    socket.send(Message::Binary(frame.encode().into())).await.expect("sent");
}

fn note(writer: &mut JournalWriter, count: usize) {
    for number in 0..count {
        writer.append(Event::Note { text: number.to_string() });
    }
    writer.publish();
}

#[tokio::test]
async fn a_browser_gets_the_state_and_then_all_events() {
    let mut web = Web::open().await;
    let mut socket = browser(&web).await;
    let mut state = greeted(&mut socket).await;
    assert_eq!(state.seq, 1);
    for _ in 0..20 {
        note(&mut web.writer, 50);
        let expected = web.journal.state().seq;
        while state.seq < expected {
            let ServerFrame::Events { events, unsent_messages: 0, .. } = hear(&mut socket).await
            else {
                panic!("events follow")
            };
            for event in &events {
                assert_eq!(state.apply(event, true), Applied::Yes);
            }
            say(&mut socket, &ClientFrame::Seen { seq: state.seq }).await;
        }
    }
    assert_eq!(state, web.journal.state());
    web.close().await;
}

#[tokio::test]
async fn a_browser_that_does_not_look_gets_two_batches_and_then_the_state() {
    let mut web = Web::open().await;
    let mut socket = browser(&web).await;
    greeted(&mut socket).await;
    let mut last = 0;
    for _ in 0..2 {
        note(&mut web.writer, 1);
        let ServerFrame::Events { events, .. } = hear(&mut socket).await else { panic!("a batch") };
        last = events.last().expect("not empty").seq;
    }
    note(&mut web.writer, 25_000);
    let silent = timeout(Duration::from_millis(300), socket.next()).await;
    assert!(silent.is_err(), "two batches are under way, no third is sent");
    say(&mut socket, &ClientFrame::Seen { seq: last }).await;
    let ServerFrame::State { state } = hear(&mut socket).await else { panic!("the state anew") };
    assert_eq!(state.seq, web.journal.state().seq);
    say(&mut socket, &ClientFrame::Resync).await;
    assert!(matches!(hear(&mut socket).await, ServerFrame::State { .. }), "and when asked");
    web.close().await;
}

#[tokio::test]
async fn what_is_not_ours_ends_that_conversation_only() {
    let web = Web::open().await;
    let mut bystander = browser(&web).await;
    greeted(&mut bystander).await;
    for message in [
        Message::Binary(vec![0xff; 40].into()),
        Message::Binary(Vec::new().into()),
        Message::Text("{\"Crash\":1}".into()),
        Message::Binary(vec![0; 100_000].into()),
    ] {
        let mut socket = browser(&web).await;
        greeted(&mut socket).await;
        socket.send(message).await.expect("sent");
        let end = timeout(Duration::from_secs(5), async {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(Some(frame)) = message {
                    return frame.reason.to_string();
                }
            }
            String::new()
        });
        let reason = end.await.expect("it is ended");
        assert!(reason.contains("protocol"), "{reason}");
    }
    let command = Command::Crash { member: MemberNo(1) };
    say(&mut bystander, &ClientFrame::Command { ticket: 7, command }).await;
    let ServerFrame::Answer { ticket: 7, refused } = hear(&mut bystander).await else {
        panic!("an answer")
    };
    assert!(refused.contains("recording"), "{refused}");
    web.close().await;
}

#[tokio::test]
async fn there_is_an_end_to_how_many_may_look() {
    let web = Web::open().await;
    let mut sockets = Vec::new();
    for _ in 0..64 {
        sockets.push(browser(&web).await);
    }
    let bearer = format!("Bearer {}", web.token.reveal());
    assert_eq!(socket(&web, &[("authorization", bearer)]).await.err(), Some(503));
    drop(sockets);
    web.close().await;
}
