//! What a page from elsewhere, a rebound name and a stranger's socket can do: nothing.
//!
//! The attacker's page is served from another port of the same machine. That is another origin,
//! but the same *site*: the browser sends the lab's cookie along, `SameSite` or not. So what is
//! tested here is the lab's own check of Origin and token, which is the one that counts.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Surroundings;
use crate::browser::Look;
use crate::stage::Stage;

/// How long an attack may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything a page can try: read, write with and without asking first, connect, embed.
const ATTACK: &str = r#"(async lab => {
  const found = {};
  const attempt = async (name, what) => {
    try { found[name] = String(await what()); } catch (error) { found[name] = 'blocked'; }
  };
  const crash = member => JSON.stringify({ Crash: { member } });
  for (const path of ['/api/state', '/api/events', '/api/events?after=0', '/']) {
    await attempt('read ' + path, async () => (await fetch(lab + path, { credentials: 'include' })).text());
  }
  for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
    await attempt('write as ' + type, async () => (await fetch(lab + '/api/command', {
      method: 'POST', mode: 'no-cors', credentials: 'include', headers: { 'Content-Type': type }, body: crash(1),
    })).type);
  }
  await attempt('write as json', async () => (await fetch(lab + '/api/command', {
    method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: crash(1),
  })).status);
  await attempt('form', () => new Promise(done => {
    const frame = document.createElement('iframe');
    frame.name = 'sink';
    const form = document.createElement('form');
    Object.assign(form, { method: 'POST', action: lab + '/api/command', target: 'sink', enctype: 'text/plain' });
    const field = document.createElement('input');
    Object.assign(field, { name: '{"Crash":{"member":1},"x":"', value: '"}' });
    form.append(field);
    document.body.append(frame, form);
    form.submit();
    setTimeout(() => done('sent'), 500);
  }));
  await attempt('socket', () => new Promise((done, failed) => {
    const socket = new WebSocket(lab.replace('http', 'ws') + '/api/socket');
    socket.binaryType = 'arraybuffer';
    socket.onmessage = event => done('read ' + event.data.byteLength + ' bytes');
    socket.onerror = () => failed(new Error('refused'));
    socket.onclose = () => failed(new Error('closed'));
    setTimeout(() => done('open and silent'), 2000);
  }));
  await attempt('embed', () => new Promise((done, failed) => {
    const frame = document.createElement('iframe');
    frame.src = lab + '/';
    frame.onload = () => { try { done(frame.contentDocument ? 'read' : 'opaque'); } catch { done('opaque'); } };
    document.body.append(frame);
    setTimeout(() => failed(new Error('not loaded')), 2000);
  }));
  return found;
})"#;

/// A second origin in the same browser, then raw requests no browser would send.
pub(super) async fn security(surroundings: &Surroundings) -> Result<()> {
    let mut stage = Stage::open(surroundings, &[]).await?;
    second_origin(&mut stage).await?;
    rebound_names(&stage).await?;
    strangers(&stage).await?;
    for member in ["m1", "m2", "m3"] {
        stage.process(member, "up").await.context("keep every member up through all attacks")?;
    }
    stage.roles(1, 2).await?;
    stage.end().await
}

async fn second_origin(stage: &mut Stage) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen")?;
    let elsewhere = format!("http://{}/", listener.local_addr().context("read the address")?);
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            // What is asked does not matter: every answer is the same empty page.
            if stream.read(&mut request).await.is_ok() {
                let page = "<!doctype html><title>elsewhere</title><body></body>";
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{page}",
                    page.len()
                );
                stream.write_all(answer.as_bytes()).await.ok();
            }
        }
    });
    let tab = stage.chromium.tab().await?;
    tab.look(Look::DESKTOP).await?;
    tab.go(&elsewhere).await?;
    let found = tab.value(&format!("{ATTACK}('{}')", stage.lab.origin)).await?;
    server.shutdown().await;
    let found = found.as_object().context("read what the attacker's page found")?;
    ensure!(found.len() >= 10, "run every attack: only {} ran", found.len());
    for (attack, result) in found {
        let result = result.as_str().unwrap_or_default();
        // What goes out blindly is seen below by the members; everything else is blocked.
        let blind = ["opaque", "sent", "not loaded"].contains(&result);
        ensure!(
            result == "blocked" || blind,
            "keep a second origin out: `{attack}` came to `{}`",
            result.chars().take(80).collect::<String>()
        );
    }
    Ok(())
}

/// Names under which a page from elsewhere could reach this port, and shapes of Host that a
/// careless comparison admits.
async fn rebound_names(stage: &Stage) -> Result<()> {
    let port = stage.lab.address().rsplit(':').next().unwrap_or_default().to_owned();
    let names = [
        format!("attacker.example:{port}"),
        format!("localhost.attacker.example:{port}"),
        format!("127.0.0.1.attacker.example:{port}"),
        format!("127.0.0.1.:{port}"),
        format!("user@127.0.0.1:{port}"),
        format!("0.0.0.0:{port}"),
        "127.0.0.1".to_owned(),
        "127.0.0.1:1".to_owned(),
        String::new(),
    ];
    for name in names {
        for path in ["/", "/index.html", "/api/state", "/api/events", "/book/"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
            let status = status(stage.lab.address(), &request).await?;
            ensure!(
                (400..500).contains(&status),
                "refuse `Host: {name}` for {path}: it was answered with {status}"
            );
        }
    }
    Ok(())
}

/// The right Host without a token, a wrong token, a wrong Origin: for reads, writes and sockets.
async fn strangers(stage: &Stage) -> Result<()> {
    let address = stage.lab.address();
    let own = format!("Origin: {}\r\n", stage.lab.origin);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let body = r#"{"Crash":{"member":1}}"#;
    let json = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let port = address.rsplit(':').next().unwrap_or_default();
    let zeros = "0".repeat(64);
    let wrong = format!("Authorization: Bearer {zeros}\r\nCookie: raftlab-{port}={zeros}\r\n");
    let requests = [
        (
            "a read without token",
            format!("GET /api/state HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
        ),
        (
            "a read with a wrong token",
            format!(
                "GET /api/state HTTP/1.1\r\nHost: {address}\r\n{wrong}Connection: close\r\n\r\n"
            ),
        ),
        (
            "a command without token",
            format!(
                "POST /api/command HTTP/1.1\r\nHost: {address}\r\n{own}{json}Connection: close\r\n\r\n{body}"
            ),
        ),
        (
            "a command with a wrong token",
            format!(
                "POST /api/command HTTP/1.1\r\nHost: {address}\r\n{own}{wrong}{json}Connection: close\r\n\r\n{body}"
            ),
        ),
        (
            "a socket without token",
            format!("GET /api/socket HTTP/1.1\r\nHost: {address}\r\n{own}{upgrade}\r\n"),
        ),
        (
            "a socket with a wrong token",
            format!("GET /api/socket HTTP/1.1\r\nHost: {address}\r\n{own}{wrong}{upgrade}\r\n"),
        ),
        (
            "a socket of another origin",
            format!(
                "GET /api/socket HTTP/1.1\r\nHost: {address}\r\nOrigin: http://127.0.0.1:1\r\n{upgrade}\r\n"
            ),
        ),
        (
            "a socket of no origin",
            format!("GET /api/socket HTTP/1.1\r\nHost: {address}\r\nOrigin: null\r\n{upgrade}\r\n"),
        ),
    ];
    for (what, request) in requests {
        let status = status(address, &request).await?;
        ensure!((400..500).contains(&status), "refuse {what}: it was answered with {status}");
    }
    Ok(())
}

/// The status of a raw HTTP request.
async fn status(address: &str, request: &str) -> Result<u16> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.context("connect to the lab")?;
        stream.write_all(request.as_bytes()).await.context("send a request")?;
        let mut answer = Vec::new();
        let mut part = [0; 512];
        while !answer.windows(2).any(|pair| pair == b"\r\n") {
            let read = stream.read(&mut part).await.context("read the answer")?;
            if read == 0 {
                break;
            }
            answer.extend_from_slice(&part[..read]);
        }
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.with_context(|| format!("read a status from `{line}`"))
    };
    timeout(PATIENCE, ask).await.context("get an answer in time")?
}
