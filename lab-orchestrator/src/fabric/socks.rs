//! The SOCKS5 front of the fabric (RFC 1928): no authentication, CONNECT only, and only to the
//! virtual names of the lab's own members.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lab_protocol::{Link, LinkCondition, LostWhy, MemberNo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fault::delay_micros;
use super::flow::{Flow, FlowEnd, pump, swallow};
use super::wire::Wires;

/// Who connects and does not say what it wants is sent away after this time.
const GREETING_DEADLINE: Duration = Duration::from_secs(10);

/// A dial over a cut link hangs so long, about as a system's own TCP does.
const DIAL_DEADLINE: Duration = Duration::from_secs(130);

/// Connections of one member at once; more are not accepted until one ends.
const MAX_CONNECTIONS: usize = 256;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;

/// The answers of RFC 1928 §6 that are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Reply {
    Succeeded = 0,
    NotAllowed = 2,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

/// Accepts the dials of one member until the fabric ends.
pub(super) async fn listen(
    listener: TcpListener,
    from: MemberNo,
    wires: Arc<Wires>,
    connections: TaskTracker,
    ended: CancellationToken,
) {
    let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("it is never closed"),
            () = ended.cancelled() => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (wires, ended) = (wires.clone(), ended.clone());
                connections.spawn(async move {
                    let _place = place;
                    tokio::select! {
                        () = connection(stream, from, wires) => {}
                        () = ended.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(member = %from, %error, "cannot accept a peer connection");
                // Out of descriptors, most likely: others must be given time to end.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(mut stream: TcpStream, from: MemberNo, wires: Arc<Wires>) {
    // Small frames must leave at once; a system that cannot do this is only slower.
    stream.set_nodelay(true).ok();
    let sender = wires.process(from);
    let connected = sender.run_until_cancelled(connected(&mut stream, from, &wires)).await;
    let Some(Some((to, target))) = connected else { return };
    let forth = wires.links[&Link { from, to }].clone();
    let back = wires.links[&Link { from: to, to: from }].clone();
    let receiver = wires.process(to);
    let mut forth = Flow::new(wires.clone(), forth);
    let mut back = Flow::new(wires, back);
    // Whatever ends this future, the counts are settled.
    let mut flows = Settled { forth: &mut forth, back: &mut back, why: LostWhy::SenderDown };
    carry(&mut flows, stream, target, (sender, receiver)).await;
}

/// Accepts the lab's own clients of one member until the fabric ends.
pub(super) async fn listen_to_clients(
    listener: TcpListener,
    to: MemberNo,
    address: SocketAddr,
    wires: Arc<Wires>,
    connections: TaskTracker,
    ended: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (wires, ended) = (wires.clone(), ended.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = of_client(stream, to, address, wires) => {}
                        () = ended.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(member = %to, %error, "cannot accept a client's connection");
                // Out of descriptors, most likely: others must be given time to end.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection of a client, dialled on as the links allow; a refused one is reset.
async fn of_client(stream: TcpStream, to: MemberNo, address: SocketAddr, wires: Arc<Wires>) {
    // As above.
    stream.set_nodelay(true).ok();
    let from = MemberNo::CLIENTS;
    let receiver = wires.process(to);
    let Ok(target) = dial(None, &wires, from, to, address).await else {
        stream.set_zero_linger().ok(); // Then it ends in order instead.
        return;
    };
    let forth = wires.links[&Link { from, to }].clone();
    let back = wires.links[&Link { from: to, to: from }].clone();
    let mut forth = Flow::opaque(wires.clone(), forth);
    let mut back = Flow::opaque(wires, back);
    let mut flows = Settled { forth: &mut forth, back: &mut back, why: LostWhy::SenderDown };
    carry(&mut flows, stream, target, (CancellationToken::new(), receiver)).await;
}

/// What a member asks for, and a connection to there; none if it cannot have one, which it is told.
async fn connected(
    stream: &mut TcpStream,
    from: MemberNo,
    wires: &Wires,
) -> Option<(MemberNo, TcpStream)> {
    let asked = match timeout(GREETING_DEADLINE, greeting(stream)).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(_)) | Err(_) => return None,
    };
    let refusal = match asked.map(|(host, port)| wires.resolve(&host, port)) {
        Ok(Some((to, address))) if to != from => {
            match dial(Some(stream), wires, from, to, address).await {
                Ok(target) => {
                    answer(stream, Reply::Succeeded).await.ok()?;
                    return Some((to, target));
                }
                Err(DialError::Refused) => Reply::ConnectionRefused,
                Err(DialError::Unreachable) => Reply::HostUnreachable,
                Err(DialError::CallerLeft) => return None,
            }
        }
        Ok(_) => Reply::NotAllowed,
        Err(reply) => reply,
    };
    answer(stream, refusal).await.ok(); // It hangs up in any case.
    None
}

/// Two flows whose messages are lost when the connection is dropped.
struct Settled<'a> {
    forth: &'a mut Flow,
    back: &'a mut Flow,
    /// What is said of the messages under way from the caller to the called.
    why: LostWhy,
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        let back = match self.why {
            LostWhy::SenderDown => LostWhy::ReceiverDown,
            LostWhy::ReceiverDown => LostWhy::SenderDown,
            why @ (LostWhy::Cut | LostWhy::Chance | LostWhy::Refused | LostWhy::Dropped) => why,
        };
        self.forth.end(self.why);
        self.back.end(back);
    }
}

async fn carry(
    flows: &mut Settled<'_>,
    stream: TcpStream,
    target: TcpStream,
    (sender, receiver): (CancellationToken, CancellationToken),
) {
    let (mut from_source, mut to_source) = stream.into_split();
    let (mut from_target, mut to_target) = target.into_split();
    let ended = tokio::select! {
        end = pump(flows.forth, &mut from_source, &mut to_target) => end,
        end = pump(flows.back, &mut from_target, &mut to_source) => match end {
            FlowEnd::Source => FlowEnd::Target,
            FlowEnd::Target => FlowEnd::Source,
            FlowEnd::BrokenOff => FlowEnd::BrokenOff,
        },
        () = sender.cancelled() => FlowEnd::Source,
        () = receiver.cancelled() => FlowEnd::Target,
    };
    flows.why = match ended {
        FlowEnd::Source => LostWhy::SenderDown,
        FlowEnd::Target => LostWhy::ReceiverDown,
        FlowEnd::BrokenOff => LostWhy::Refused,
    };
    match ended {
        // Who is left goes on speaking, and believes it is heard.
        FlowEnd::Target if flows.forth.is_half_open() => {
            drop((from_target, to_target));
            tokio::select! {
                () = swallow(flows.forth, &mut from_source) => {}
                () = sender.cancelled() => {}
            }
        }
        FlowEnd::Source if flows.back.is_half_open() => {
            drop((from_source, to_source));
            tokio::select! {
                () = swallow(flows.back, &mut from_target) => {}
                () = receiver.cancelled() => {}
            }
        }
        FlowEnd::BrokenOff => {
            // As a reset: whoever reads is told at once. Without it they end in order.
            to_source.as_ref().set_zero_linger().ok();
            to_target.as_ref().set_zero_linger().ok();
        }
        FlowEnd::Source | FlowEnd::Target => {}
    }
}

/// Reads what the caller wants: a host and port, or the reply that it cannot have it.
async fn greeting(stream: &mut TcpStream) -> io::Result<Result<(String, u16), Reply>> {
    let refuse = || Err(io::Error::from(io::ErrorKind::InvalidData));
    let [version, methods] = read(stream).await?;
    if version != VERSION {
        return refuse();
    }
    let mut offered = vec![0; usize::from(methods)];
    stream.read_exact(&mut offered).await?;
    if !offered.contains(&NO_AUTHENTICATION) {
        stream.write_all(&[VERSION, 0xff]).await?;
        return refuse();
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let [version, command, _, kind] = read(stream).await?;
    if version != VERSION {
        return refuse();
    }
    let host = match kind {
        1 => Ipv4Addr::from(read::<4>(stream).await?).to_string(),
        3 => {
            let [length] = read(stream).await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
        _ => return Ok(Err(Reply::AddressNotSupported)),
    };
    let port = u16::from_be_bytes(read(stream).await?);
    if command != CONNECT {
        return Ok(Err(Reply::CommandNotSupported));
    }
    Ok(Ok((host, port)))
}

async fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn answer(stream: &mut TcpStream, reply: Reply) -> io::Result<()> {
    stream.write_all(&[VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

enum DialError {
    Refused,
    Unreachable,
    CallerLeft,
}

/// Connects to a member as the links allow: it hangs while either direction is cut, because either
/// the question or the answer would be lost, and takes the delay of both.
async fn dial(
    caller: Option<&TcpStream>,
    wires: &Wires,
    from: MemberNo,
    to: MemberNo,
    address: SocketAddr,
) -> Result<TcpStream, DialError> {
    let forth = &wires.links[&Link { from, to }];
    let back = &wires.links[&Link { from: to, to: from }];
    let mut forth_condition = forth.condition.subscribe();
    let mut back_condition = back.condition.subscribe();
    let passable = async {
        let mut waited = 0;
        loop {
            let conditions =
                [*forth_condition.borrow_and_update(), *back_condition.borrow_and_update()];
            if conditions.contains(&LinkCondition::Refused) {
                return Err(DialError::Refused);
            }
            if !conditions.iter().any(|condition| condition.blocks()) {
                let delay = delay_micros(conditions[0], wires.seed, forth.link, 0)
                    + delay_micros(conditions[1], wires.seed, back.link, 0);
                if delay <= waited {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_micros(delay - waited)).await;
                waited = delay;
                continue;
            }
            tokio::select! {
                _ = forth_condition.changed() => {}
                _ = back_condition.changed() => {}
            }
        }
    };
    let left = async {
        match caller {
            Some(stream) => drop(stream.peek(&mut [0; 1]).await),
            // A client speaks at once.
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        passed = timeout(DIAL_DEADLINE, passable) => {
            passed.map_err(|_| DialError::Unreachable)??;
        }
        // Such a caller says nothing before it is connected, so this is its end.
        () = left => return Err(DialError::CallerLeft),
    }
    let target = TcpStream::connect(address).await.map_err(|_| DialError::Refused)?;
    // Small frames must leave at once; a system that cannot do this is only slower.
    target.set_nodelay(true).ok();
    Ok(target)
}
