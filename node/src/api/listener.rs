//! Listening: binding an address, and serving every connection that comes until told to stop.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::authority::SoundAuthority;
use crate::metrics::Metrics;
use node_identity::urls::Url;

/// Bytes of a request that may be on their way unread, per stream. A default of 64 KiB would cost
/// a round trip in the middle of every large value.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Longest frame a client may send.
pub(super) const MAX_FRAME_BYTES: u32 = 1024 * 1024;

/// Requests one connection may have open; etcd sets no limit, and clients rely on many watches.
const MAX_STREAMS: u32 = 1_000_000;

/// Time without a sign of the client after which it is pinged (etcd's).
const PING_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// Time a client has to answer a ping (etcd's).
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Time a client has to send the head of an HTTP/1.1 request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after the system refused to accept, most likely because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {url} (--{flag}): {advice}")]
pub struct ListenError {
    url: Url,
    flag: &'static str,
    advice: &'static str,
    #[source]
    source: io::Error,
}

/// Listens on a URL's host and port. An empty host means every address of the machine.
///
/// `flag` is the flag that named the URL; an error tells the operator what to change there.
pub fn bind(url: &Url, flag: &'static str) -> Result<StdListener, ListenError> {
    addresses(url)
        .and_then(|addresses| {
            let listener = StdListener::bind(&addresses[..])?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .map_err(|source| {
            let advice = match source.kind() {
                io::ErrorKind::AddrInUse => {
                    "another program has this port: end it, or choose another port"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine does not have the address: choose one of its own, or 0.0.0.0"
                }
                io::ErrorKind::PermissionDenied => {
                    "not permitted: ports below 1024 need privileges, choose a higher one"
                }
                _ => "the address cannot be used",
            };
            ListenError { url: url.clone(), flag, advice, source }
        })
}

/// The URL's addresses, IPv4 first, as Go prefers them.
fn addresses(url: &Url) -> io::Result<Vec<SocketAddr>> {
    let host = if url.host().is_empty() { "0.0.0.0" } else { url.host() };
    let mut addresses: Vec<SocketAddr> = (host, url.port()).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

/// Serves every connection until `stop`, then lets the requests that are open end, but not longer
/// than `drain`. Returns when no connection is left.
///
/// Connections are bounded by the files the process may open; when there are none left,
/// accepting pauses and clients wait in the listener's queue.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    drain: Duration,
) where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    set_options(&stream);
                    let stream = Metered { stream, metrics: metrics.clone() };
                    let service = service.clone();
                    let stop = stop.clone();
                    connections.spawn(async move {
                        if let Err(error) = serve_connection(stream, service, &stop, drain).await {
                            debug!(%from, %error, "client connection ended");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            // Takes finished connections out of the set.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection<S, B>(
    stream: Metered,
    service: S,
    stop: &CancellationToken,
    drain: Duration,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let stream = TokioIo::new(SoundAuthority::new(stream));
    let mut connection = pin!(builder.serve_connection_with_upgrades(stream, service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    // Whatever is still open after the deadline is cut by dropping it.
    timeout(drain, connection).await.unwrap_or(Ok(()))
}

/// A request is worth a packet of its own, and a client that vanished is noticed. Neither is worth
/// refusing a connection over.
fn set_options(stream: &TcpStream) {
    stream.set_nodelay(true).ok();
    sockopt::set_socket_keepalive(stream, true).ok();
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15)).ok();
}

/// A connection whose bytes are counted.
struct Metered {
    stream: TcpStream,
    metrics: Arc<Metrics>,
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.metrics.client_received_bytes.inc_by((buffer.filled().len() - before) as u64);
        polled
    }
}

impl Metered {
    fn sent(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.metrics.client_sent_bytes.inc_by(*bytes as u64);
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.sent(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.sent(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_told_with_the_flag_to_change() {
        let any = Url::parse("http://127.0.0.1:0").expect("well formed");
        let first = bind(&any, "listen-client-urls").expect("a free port");
        let port = first.local_addr().expect("is bound").port();
        let same = Url::parse(&format!("http://127.0.0.1:{port}")).expect("well formed");
        let error = bind(&same, "listen-client-urls").expect_err("the port is in use");
        assert_eq!(
            error.to_string(),
            format!(
                "cannot listen on http://127.0.0.1:{port} (--listen-client-urls): another program \
                 has this port: end it, or choose another port"
            )
        );
    }
}
