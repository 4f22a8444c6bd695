//! Listens, accepts with limits, routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::Request;
use axum::middleware;
use axum::routing::{get, post};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Layer, ServiceExt};

use super::guard::{AllowedHosts, guard, loopback_only};
use super::session::{Session, Token};
use super::{api, assets, socket};
use crate::handle::LabHandle;
use crate::journal::Journal;

/// Bytes of a request's body.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// Browsers at once.
pub(super) const MAX_SOCKETS: usize = 64;

/// Who does not send its request's head in this time is hung up on.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// What is shown: a running lab, or a recording.
#[derive(Clone, Debug)]
pub struct Face {
    /// What is followed.
    pub journal: Journal,
    /// Who is asked; `None` for a recording, which takes no commands.
    pub lab: Option<LabHandle>,
}

/// Everything that a request may need.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) hosts: AllowedHosts,
    pub(super) session: Session,
    pub(super) face: Face,
    pub(super) sockets: Arc<Semaphore>,
    pub(super) ended: CancellationToken,
}

/// A bound port, not served yet.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why the web face does not open.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not a loopback address.
    #[error("{0}")]
    Host(String),
    /// Somebody else has the port.
    #[error("port {port} is in use; end what listens there or give another --port")]
    InUse {
        /// Which.
        port: u16,
    },
    /// Anything else.
    #[error("cannot listen at {address}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Binds a loopback port.
pub async fn listen(host: &str, port: u16) -> Result<Listening, ListenError> {
    let ip = loopback_only(host).map_err(ListenError::Host)?;
    let address = SocketAddr::from((ip, port));
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { port },
        _ => ListenError::Io { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listening { listener, address })
}

impl Listening {
    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until cancelled, then hangs up on everybody.
    pub async fn serve(self, face: Face, token: Token, ended: CancellationToken) {
        let port = self.address.port();
        let door = Arc::new(Door {
            hosts: AllowedHosts::loopback(port),
            session: Session::new(token, port),
            face,
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
            ended: ended.clone(),
        });
        // Around the router, not inside it: a request is judged before it is routed.
        let app = middleware::from_fn_with_state(door.clone(), guard).layer(routes(door));
        // Browsers speak nothing else without TLS.
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = ended.cancelled() => break,
                accepted = accept(&self.listener, &places) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of descriptors, most likely: others must be given time to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let app = app.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                app.clone().oneshot(request.map(Body::new))
            });
            let builder = builder.clone();
            connections.spawn(async move {
                let _place = place;
                let io = TokioIo::new(stream);
                // What a browser does wrong on the wire is its own trouble.
                builder.serve_connection_with_upgrades(io, service).await.ok();
            });
        }
        // Sockets say goodbye by themselves when `ended` is cancelled; they get a moment.
        let goodbye = async { while connections.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_millis(200), goodbye).await.ok();
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.expect("it is never closed");
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

fn routes(door: Arc<Door>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/api/session", get(api::session).post(api::sign_in))
        .route("/api/state", get(api::state))
        .route("/api/events", get(api::events))
        .route("/api/command", post(api::command))
        .route("/api/members/{member}/output", get(api::output))
        .route("/api/socket", get(socket::upgrade))
        .route("/api/{*rest}", get(api::unknown).post(api::unknown))
        .fallback(get(assets::asset))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(door)
}
