//! From a request's path to the service that answers it, counted on the way.
//!
//! This stands in for a router on the hot path: a gRPC method is found by one search among 26
//! known paths, and its counters with it. What is no gRPC method goes to the HTTP pages.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use etcd_api::{
    etcdserverpb::{
        cluster_server::ClusterServer, kv_server::KvServer, lease_server::LeaseServer,
        maintenance_server::MaintenanceServer, watch_server::WatchServer,
    },
    health::health_server::HealthServer,
};
use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::error::{ClientError, status};
use super::face::Face;
use super::lease::Leases;
use super::watch::Watches;
use crate::handle::Refusal;
use crate::metrics::{Method, MethodKind, Metrics};

/// What a message may have beyond `--max-request-bytes` before it is refused unread (etcd's).
const OVERHEAD_BYTES: usize = 512 * 1024;

/// Answers all requests of a connection. Cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    face: Arc<Face>,
    kv: KvServer<Face>,
    watch: WatchServer<Watches>,
    lease: LeaseServer<Leases>,
    cluster: ClusterServer<Face>,
    maintenance: MaintenanceServer<Face>,
    health: HealthServer<Face>,
    pages: axum::Router,
}

type Answered = Result<Response<Body>, Infallible>;

impl Dispatch {
    /// All services of a member, and `pages` for what is no gRPC method.
    pub fn new(face: &Arc<Face>, pages: axum::Router) -> Self {
        let longest = face.limits.max_request_bytes.saturating_add(OVERHEAD_BYTES);
        Self {
            face: face.clone(),
            kv: KvServer::from_arc(face.clone()).max_decoding_message_size(longest),
            watch: WatchServer::new(Watches(face.clone())).max_decoding_message_size(longest),
            lease: LeaseServer::new(Leases(face.clone())).max_decoding_message_size(longest),
            cluster: ClusterServer::from_arc(face.clone()).max_decoding_message_size(longest),
            maintenance: MaintenanceServer::from_arc(face.clone())
                .max_decoding_message_size(longest),
            health: HealthServer::from_arc(face.clone()).max_decoding_message_size(longest),
            // Makes the router's own clones cheap.
            pages: pages.with_state(()),
        }
    }

    /// Refuses a request by what its head says.
    fn refuse(&self, method: Method, headers: &HeaderMap) -> Option<Status> {
        let glance = self.face.handle.glance();
        if glance.learner.load(Ordering::Relaxed) && !method.learner_answers() {
            return Some(status(ClientError::Learner));
        }
        let requires_leader = headers.get("hasleader").is_some_and(|value| value == "true");
        if requires_leader && glance.leader().is_none() {
            return Some(status(Refusal::NoLeader));
        }
        None
    }

    fn call_service(
        &self,
        method: Method,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Answered> {
        match method.service() {
            "etcdserverpb.KV" => self.kv.clone().call(request),
            "etcdserverpb.Watch" => self.watch.clone().call(request),
            "etcdserverpb.Lease" => self.lease.clone().call(request),
            "etcdserverpb.Cluster" => self.cluster.clone().call(request),
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request),
            "grpc.health.v1.Health" => self.health.clone().call(request),
            other => unreachable!("the table of methods names the service {other}"),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        if let Some(method) = Method::of(request.uri().path()) {
            let guard = Counted::start(&self.face.metrics, method);
            if let Some(refused) = self.refuse(method, request.headers()) {
                guard.finish(refused.code());
                return Answering::At(ready(Ok(refused.into_http())));
            }
            let answer = self.call_service(method, request);
            return Answering::Grpc { answer, guard: Some(guard) };
        }
        let grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if grpc {
            let path = request.uri().path();
            let (service, method) =
                path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
            let known = Method::has_service(service);
            let what = if known {
                format!("unknown method {method} for service {service}")
            } else {
                format!("unknown service {service}")
            };
            return Answering::At(ready(Ok(Status::unimplemented(what).into_http())));
        }
        let page = self.pages.clone().call(request).map_ok(|page| page.map(Body::new));
        Answering::Page(page.boxed())
    }
}

/// An answer on its way.
pub enum Answering {
    /// By a gRPC service.
    Grpc {
        /// The service's own.
        answer: BoxFuture<'static, Answered>,
        /// Counts how it ended; taken when it has.
        guard: Option<Counted>,
    },
    /// By a page.
    Page(BoxFuture<'static, Answered>),
    /// At once.
    At(Ready<Answered>),
}

impl Future for Answering {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered> {
        match self.get_mut() {
            Self::Grpc { answer, guard } => {
                let Poll::Ready(answered) = answer.as_mut().poll(context) else {
                    return Poll::Pending;
                };
                let response = match answered {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                let response = told_like_go(response);
                let Some(guard) = guard.take() else { return Poll::Ready(Ok(response)) };
                Poll::Ready(Ok(counted(response, guard)))
            }
            Self::Page(answer) => answer.as_mut().poll(context),
            Self::At(answer) => Pin::new(answer).poll(context),
        }
    }
}

/// What Go's library says when a request is longer than may be; tonic says it in other words and by
/// another code.
fn told_like_go(response: Response<Body>) -> Response<Body> {
    let longer = || {
        let status = Status::from_header_map(response.headers())?;
        let sizes =
            status.message().strip_prefix("Error, decoded message length too large: found ")?;
        let (found, limit) = sizes.strip_suffix(" bytes")?.split_once(" bytes, the limit is: ")?;
        Some(format!("grpc: received message larger than max ({found} vs. {limit})"))
    };
    match (code_of(response.headers()) == Some(Code::OutOfRange)).then(longer).flatten() {
        Some(text) => Status::resource_exhausted(text).into_http(),
        None => response,
    }
}

/// Counts an answer that is complete, or has it counted when its stream ends.
fn counted(response: Response<Body>, guard: Counted) -> Response<Body> {
    match code_of(response.headers()) {
        // An error has no body: its status stands in the head.
        Some(code) => {
            guard.finish(code);
            response
        }
        None if guard.method.kind() == MethodKind::Unary => {
            guard.finish(Code::Ok);
            response
        }
        None => response.map(|stream| Body::new(CountedStream { stream, guard: Some(guard) })),
    }
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// A call that has started. Dropped before it is finished it counts as cancelled by the client.
pub struct Counted {
    metrics: Arc<Metrics>,
    method: Method,
    finished: bool,
}

impl Counted {
    fn start(metrics: &Arc<Metrics>, method: Method) -> Self {
        metrics.started(method);
        Self { metrics: metrics.clone(), method, finished: false }
    }

    fn finish(mut self, code: Code) {
        self.finished = true;
        self.metrics.handled(self.method, code);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.finished {
            self.metrics.handled(self.method, Code::Cancelled);
        }
    }
}

/// A stream of answers, counted when it ends.
struct CountedStream {
    stream: Body,
    guard: Option<Counted>,
}

impl HttpBody for CountedStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.stream).poll_frame(context);
        let ended = match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                frame.trailers_ref().map(|trailers| code_of(trailers).unwrap_or(Code::Ok))
            }
            Poll::Ready(Some(Err(status))) => Some(status.code()),
            Poll::Ready(None) => Some(Code::Ok),
            Poll::Pending => None,
        };
        if let Some(code) = ended
            && let Some(guard) = this.guard.take()
        {
            guard.finish(code);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}
