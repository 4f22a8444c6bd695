//! Watches: one stream a client, many watches on it.
//!
//! The stream is polled by its connection; between two answers it waits for a request, a mark of
//! the hub or the clock, so a slow client holds up nobody and costs nothing while it is slow.

use std::{collections::VecDeque, sync::Arc};

use etcd_api::etcdserverpb::{WatchRequest, WatchResponse, watch_server::Watch};
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::error::status;
use super::face::{Answers, Face};
use super::lease::until;
use crate::clock::Every;
use crate::handle::Refusal;
use crate::kv::ReadError;
use crate::watch::WatchStream;

/// What a response may have beyond `--max-request-bytes` before it is split (etcd's).
const OVERHEAD_BYTES: usize = 512 * 1024;

/// The service needs the face to outlive the call that opens a stream.
#[derive(Clone, Debug)]
pub(super) struct Watches(pub(super) Arc<Face>);

#[async_trait]
impl Watch for Watches {
    type WatchStream = Answers<WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let face = self.0.clone();
        let requires_leader = Face::requires_leader(request.metadata());
        let ended = {
            let face = face.clone();
            async move {
                tokio::select! {
                    () = face.stop.cancelled() => status(Refusal::Stopped),
                    () = face.leader_lost(), if requires_leader => status(Refusal::NoLeader),
                }
            }
        };
        let following = Following::new(face, request.into_inner());
        let answers = stream::unfold(Some(following), |following| async move {
            let mut following = following?;
            let answer = following.next().await?;
            let following = answer.is_ok().then_some(following);
            Some((answer, following))
        });
        Ok(Response::new(until(answers.boxed(), ended)))
    }
}

/// One open watch stream.
struct Following {
    face: Arc<Face>,
    requests: Streaming<WatchRequest>,
    /// The client may still send requests.
    open: bool,
    watches: WatchStream,
    wake: Arc<Notify>,
    /// When the watches that asked for it are told of the progress.
    notify: Every,
    /// There may be something to pull.
    due: bool,
    /// Pulled and not sent. Bounded by what one poll gives; polled again only when it is empty.
    ready: VecDeque<WatchResponse>,
}

impl Following {
    fn new(face: Arc<Face>, requests: Streaming<WatchRequest>) -> Self {
        let longest = face.limits.max_request_bytes.saturating_add(OVERHEAD_BYTES);
        let watches = WatchStream::new(face.watches.clone(), longest, face.handle.planted);
        let wake = watches.wake();
        let every = face.limits.watch_progress_interval;
        let notify = Every::new(face.handle.clock.clone(), every);
        let ready = VecDeque::new();
        Self { face, requests, open: true, watches, wake, notify, due: false, ready }
    }

    /// The next response; `None` when the client's end failed.
    async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        loop {
            if let Some(mut response) = self.ready.pop_front() {
                self.face.complete(&mut response.header);
                return Some(Ok(response));
            }
            tokio::select! {
                // In this order, so that a cancel is heard in the middle of a long history.
                biased;
                request = self.requests.next(), if self.open => match request {
                    Some(Ok(request)) => {
                        let store = self.face.handle.store();
                        self.ready.extend(self.watches.request(request, &store));
                        self.due = true;
                    }
                    Some(Err(_)) => return None,
                    // It has nothing more to ask, and still listens.
                    None => self.open = false,
                },
                () = std::future::ready(()), if self.due => {
                    let watches = &mut self.watches;
                    let polled =
                        self.face.read(|store| watches.poll(store).map_err(ReadError::Rows));
                    match polled {
                        Ok(polled) => {
                            self.ready.extend(polled.responses);
                            self.due = polled.more;
                        }
                        Err(error) => return Some(Err(error.into())),
                    }
                }
                () = self.wake.notified() => self.due = true,
                () = self.notify.tick() => {
                    self.watches.notify_progress();
                    self.due = true;
                }
            }
        }
    }
}
