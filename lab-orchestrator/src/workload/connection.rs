//! One HTTP/2 connection to a member, with the one thing a careful client has to know: whether a
//! request that failed can have left.
//!
//! tonic's own channel reconnects by itself and hides when it does. The lab's clients count their
//! reconnections, and the bench wants as little as possible between the clock and the wire, so
//! both speak through hyper's connection directly.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, ResponseHeader,
    cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use futures_util::stream;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use lab_protocol::node_protocol::ClusterId;
use lab_protocol::{Answer, Call, Outcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::{Code, Status};

/// How long a connection attempt may take. Members are on this machine: a second is long.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Dials members and owns the tasks that drive their connections.
#[derive(Clone, Debug, Default)]
pub struct Dialler {
    tasks: TaskTracker,
    ending: CancellationToken,
}

/// A connection to a member. Cheap to clone; requests of all clones share it.
#[derive(Clone)]
pub struct Connection {
    sender: http2::SendRequest<Body>,
    origin: Uri,
    /// Which cluster answered last, by the header of its answer; 0 before the first.
    cluster: Arc<AtomicU64>,
}

/// A member could not be dialled; nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address is not one.
    #[error("`{0}` is not an address of the form http://host:port")]
    Address(String),
    /// The connection was refused or broke at once.
    #[error("cannot connect to {at}")]
    Connect {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// The other side does not speak HTTP/2.
    #[error("{at} does not speak HTTP/2")]
    Handshake {
        /// Where.
        at: String,
        /// Why.
        source: hyper::Error,
    },
}

/// A call that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The connection was gone before the request left.
    NotSent(String),
    /// The connection broke after the request may have left.
    Lost(String),
    /// The member answered with an error.
    Refused {
        /// gRPC's code.
        code: Code,
        /// The member's words.
        message: String,
    },
}

impl CallError {
    /// Tells a member's own answer from a broken connection.
    pub fn of(status: &Status) -> Self {
        classify(status)
    }

    /// Whether the member says that the call cannot have had an effect, now or later.
    ///
    /// Unavailable, deadline exceeded, unknown, cancelled and internal errors leave it open: the
    /// command may still be in somebody's log.
    pub fn is_certain_failure(&self) -> bool {
        match self {
            Self::NotSent(_) => true,
            Self::Lost(_) => false,
            Self::Refused { code, .. } => matches!(
                code,
                Code::InvalidArgument
                    | Code::NotFound
                    | Code::AlreadyExists
                    | Code::PermissionDenied
                    | Code::ResourceExhausted
                    | Code::FailedPrecondition
                    | Code::OutOfRange
                    | Code::Unimplemented
                    | Code::Unauthenticated
            ),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Refused { code, message } => write!(f, "{code:?}: {message}"),
        }
    }
}

impl Error for CallError {}

impl<F> Executor<F> for Dialler
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let ending = self.ending.clone();
        self.tasks.spawn(async move { ending.run_until_cancelled(task).await });
    }
}

impl Dialler {
    /// Connects to `http://host:port`.
    ///
    /// Cancel safe: a connection that nobody receives is closed.
    pub async fn dial(&self, origin: &Uri) -> Result<Connection, DialError> {
        let (Some(host), Some(port)) = (origin.host(), origin.port_u16()) else {
            return Err(DialError::Address(origin.to_string()));
        };
        let at = format!("{host}:{port}");
        let connect = |source| DialError::Connect { at: at.clone(), source };
        let stream = match tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(&at)).await {
            Ok(stream) => stream.map_err(connect)?,
            Err(_) => return Err(connect(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(connect)?;
        self.over(origin, stream).await
    }

    /// A connection to `origin` over bytes that somebody else carries there.
    ///
    /// Cancel safe, as [`dial`](Self::dial).
    pub async fn over<IO>(&self, origin: &Uri, carrier: IO) -> Result<Connection, DialError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(self.clone())
            .handshake(TokioIo::new(carrier))
            .await
            .map_err(|source| DialError::Handshake { at: origin.to_string(), source })?;
        // How a connection ends is told to each request on it; the task has nothing to add.
        self.execute(async move { connection.await.ok().unwrap_or(()) });
        Ok(Connection { sender, origin: origin.clone(), cluster: Arc::default() })
    }

    /// Closes every connection and waits until their tasks have ended.
    pub async fn shutdown(&self) {
        self.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// A client of the key-value service on this connection.
    pub fn kv(&self) -> KvClient<Self> {
        let client = KvClient::with_origin(self.clone(), self.origin.clone());
        // A list has no longest length, and Go's client takes any.
        client.max_decoding_message_size(usize::MAX)
    }

    /// A client of the lease service on this connection.
    pub fn leases(&self) -> LeaseClient<Self> {
        LeaseClient::with_origin(self.clone(), self.origin.clone())
    }

    /// A client of the watch service on this connection.
    pub fn watches(&self) -> WatchClient<Self> {
        let client = WatchClient::with_origin(self.clone(), self.origin.clone());
        client.max_decoding_message_size(usize::MAX)
    }

    /// A client of the maintenance service on this connection.
    pub fn maintenance(&self) -> MaintenanceClient<Self> {
        MaintenanceClient::with_origin(self.clone(), self.origin.clone())
    }

    /// A client of the service that changes members on this connection.
    pub fn cluster(&self) -> ClusterClient<Self> {
        ClusterClient::with_origin(self.clone(), self.origin.clone())
    }

    /// The cluster that answered the last call; `None` before the first answer.
    pub fn answered_by(&self) -> Option<ClusterId> {
        match self.cluster.load(Ordering::Relaxed) {
            0 => None,
            cluster => Some(ClusterId(cluster)),
        }
    }

    /// Makes one call and waits for its answer, without a deadline of its own; the outcome is one
    /// of an operation that happened.
    ///
    /// When dropped, the outcome of a write is unknown.
    pub async fn call(&self, call: &Call) -> Result<Outcome, CallError> {
        self.try_call(call).await.map_err(|status| classify(&status))
    }

    async fn try_call(&self, call: &Call) -> Result<Outcome, Status> {
        let answer = match call {
            Call::Put { key, value } => {
                let request = PutRequest {
                    key: Bytes::from(key.clone()),
                    value: Bytes::from(value.clone()),
                    ..PutRequest::default()
                };
                let answer = self.kv().put(request).await?.into_inner();
                self.headed(answer.header, None, 0)
            }
            Call::Get { key, serializable } => {
                let request = RangeRequest {
                    key: Bytes::from(key.clone()),
                    serializable: *serializable,
                    ..RangeRequest::default()
                };
                let answer = self.kv().range(request).await?.into_inner();
                let value = answer.kvs.into_iter().next().map(|row| {
                    (String::from_utf8_lossy(&row.value).into_owned(), row.mod_revision)
                });
                self.headed(answer.header, value, answer.count)
            }
            Call::Delete { key } => {
                let request = DeleteRangeRequest {
                    key: Bytes::from(key.clone()),
                    ..DeleteRangeRequest::default()
                };
                let answer = self.kv().delete_range(request).await?.into_inner();
                self.headed(answer.header, None, answer.deleted)
            }
            Call::LeaseGrant { ttl_seconds } => {
                let request = LeaseGrantRequest { ttl: i64::from(*ttl_seconds), id: 0 };
                let answer = self.leases().lease_grant(request).await?.into_inner();
                self.headed(answer.header, None, answer.id)
            }
            Call::LeaseTimeToLive { lease } => {
                let request = LeaseTimeToLiveRequest { id: *lease, keys: false };
                let answer = self.leases().lease_time_to_live(request).await?.into_inner();
                self.headed(answer.header, None, answer.ttl)
            }
            Call::LeaseKeepAlive { lease } => {
                let request = stream::iter([LeaseKeepAliveRequest { id: *lease }]);
                let mut answers = self.leases().lease_keep_alive(request).await?.into_inner();
                let answer = answers.message().await?;
                let answer = answer.ok_or_else(|| Status::unavailable("the stream ended"))?;
                self.headed(answer.header, None, answer.ttl)
            }
            Call::LeaseRevoke { lease } => {
                let request = LeaseRevokeRequest { id: *lease };
                let answer = self.leases().lease_revoke(request).await?.into_inner();
                self.headed(answer.header, None, 0)
            }
            Call::Txn { compare, then, otherwise } => {
                let request = lab_wire::transaction(compare, then, otherwise);
                let answer = self.kv().txn(request).await?.into_inner();
                self.note(answer.header.as_ref());
                return Ok(Outcome::Txn(Box::new(lab_wire::transacted(answer))));
            }
            Call::Compact { revision } => {
                let request = CompactionRequest { revision: *revision, physical: false };
                let answer = self.kv().compact(request).await?.into_inner();
                self.headed(answer.header, None, 0)
            }
        };
        Ok(Outcome::Ok(answer))
    }

    fn headed(
        &self,
        header: Option<ResponseHeader>,
        value: Option<(String, i64)>,
        number: i64,
    ) -> Answer {
        self.note(header.as_ref());
        let header = header.unwrap_or_default();
        Answer { revision: header.revision, term: header.raft_term, value, number }
    }

    fn note(&self, header: Option<&ResponseHeader>) {
        let cluster = header.map_or(0, |header| header.cluster_id);
        self.cluster.store(cluster, Ordering::Relaxed);
    }
}

/// Tells a member's own answer from a broken connection.
pub(crate) fn classify(status: &Status) -> CallError {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<SendFailure>() {
            let why = innermost(&failure.source);
            return if failure.sent { CallError::Lost(why) } else { CallError::NotSent(why) };
        }
        if error.is::<hyper::Error>() {
            return CallError::Lost(innermost(error));
        }
        cause = error.source();
    }
    CallError::Refused { code: status.code(), message: status.message().to_owned() }
}

fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("the request failed")]
pub struct SendFailure {
    /// Whether it may have left.
    sent: bool,
    source: hyper::Error,
}

impl tower::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = SendFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// Always ready: whether the connection still stands is told by the call, which knows better
    /// whether the request left.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.sender.try_send_request(request);
        Box::pin(async move {
            answer.await.map_err(|mut failure| SendFailure {
                sent: failure.take_message().is_none(),
                source: failure.into_error(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_s_final_words_are_certain_failures() {
        let refused = |code| CallError::Refused { code, message: String::new() };
        for (error, certain) in [
            (CallError::NotSent(String::new()), true),
            (CallError::Lost(String::new()), false),
            (refused(Code::InvalidArgument), true),
            (refused(Code::FailedPrecondition), true),
            (refused(Code::Unavailable), false),
            (refused(Code::DeadlineExceeded), false),
            (refused(Code::Unknown), false),
        ] {
            assert_eq!(error.is_certain_failure(), certain, "{error}");
        }
    }

    #[tokio::test]
    async fn a_member_that_is_down_is_told_apart_from_a_broken_call() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let origin: Uri = format!("http://{address}").parse().expect("an address");
        let dialler = Dialler::default();
        let mut dialling = tokio::task::JoinSet::new();
        dialling.spawn({
            let dialler = dialler.clone();
            let origin = origin.clone();
            async move { dialler.dial(&origin).await }
        });
        let (accepted, _) = listener.accept().await.expect("a connection");
        let dialled = dialling.join_next().await.expect("one task").expect("no panic");
        let connection = dialled.expect("dials");
        // The request leaves, then the other side is gone.
        let call = Call::Put { key: "k".into(), value: "v".into() };
        let asked = connection.call(&call);
        let gone = async {
            accepted.readable().await.expect("something was sent");
            drop(accepted);
        };
        let (outcome, ()) = tokio::join!(asked, gone);
        assert!(!outcome.expect_err("nobody answered").is_certain_failure());
        // Now the connection is known to be gone: the next request does not leave.
        while !connection.is_closed() {
            tokio::task::yield_now().await;
        }
        let outcome = connection.call(&call).await;
        assert!(matches!(outcome, Err(CallError::NotSent(_))), "{outcome:?}");
        drop(listener);
        assert!(matches!(dialler.dial(&origin).await, Err(DialError::Connect { .. })));
        dialler.shutdown().await;
    }
}
