//! One watch stream: many watches, one client, requests in, responses out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::etcdserverpb::{
    ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse,
    watch_create_request::FilterType, watch_request::RequestUnion,
};
use etcd_api::mvccpb::Event;
use node_protocol::Revision;
use prost::Message;
use tokio::sync::Notify;

use super::hub::{StreamId, WatchHub};
use crate::kv::{Interest, KeyRange, KvError, PullLimits, ReadError, RowsError, Store};
use crate::training::{Break, Planted};

/// The watch id of a response that is for no watch.
const NO_WATCH: i64 = -1;
/// What one watch pulls at a time. Others of the stream have their turn in between.
const PULL: PullLimits = PullLimits { revisions: 1000, bytes: 1 << 20 };
/// Bytes of events after which a poll ends, so that what waits to be sent stays bounded.
const POLL_BYTES: usize = 4 << 20;
/// Pulls after which a poll ends, so that whoever waits for the store gets it in between: each may
/// read a thousand old revisions from the disk.
const POLL_PULLS: usize = 32;

/// One watch.
#[derive(Debug)]
struct Watch {
    interest: Interest,
    /// The first revision not sent yet.
    next: i64,
    /// Whether it waits in the stream's queue.
    queued: bool,
    /// Large responses may be split.
    fragment: bool,
    /// An empty response is wanted now and then.
    progress_notify: bool,
    /// Nothing was sent since the last such response.
    quiet: bool,
}

/// What a poll gives to send.
#[derive(Debug, Default, PartialEq)]
pub struct Polled {
    /// To be sent in this order. Headers hold only a revision; the face fills in the rest.
    pub responses: Vec<WatchResponse>,
    /// There is more already: poll again when these are sent.
    pub more: bool,
}

/// The server's side of one watch stream.
///
/// The face hands every request to [`request`](Self::request); after each, and whenever
/// [`wake`](Self::wake) fires, it sends what [`poll`](Self::poll) returns, until there is no more.
pub struct WatchStream {
    hub: Arc<WatchHub>,
    id: StreamId,
    wake: Arc<Notify>,
    watches: BTreeMap<i64, Watch>,
    /// Watches that a compaction ended: as in etcd their ids stay taken, and one cancel of each is
    /// answered. What they cost is paid by the client that asks, with a request for each.
    compacted: BTreeSet<i64>,
    /// The id to try next when the client leaves the choice to us.
    next_watch: i64,
    /// Watches that have something to pull, each once.
    queue: VecDeque<i64>,
    /// Progress requests not answered yet.
    progress_requests: usize,
    /// Watches that asked for it are to be told of the progress.
    notify_due: bool,
    /// Responses larger than this are split where the client allows it.
    max_response_bytes: usize,
    /// Planted bugs, in the training build.
    planted: Planted,
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        for (watch, Watch { interest, .. }) in &self.watches {
            self.hub.unregister(self.id, *watch, &interest.range);
        }
        self.hub.close(self.id);
    }
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

impl WatchStream {
    /// A stream without watches. `max_response_bytes` is `--max-request-bytes` and 512 KiB.
    pub fn new(hub: Arc<WatchHub>, max_response_bytes: usize, planted: Planted) -> Self {
        let wake = Arc::new(Notify::new());
        let id = hub.open(Arc::clone(&wake));
        Self {
            hub,
            id,
            wake,
            watches: BTreeMap::new(),
            compacted: BTreeSet::new(),
            next_watch: 0,
            queue: VecDeque::new(),
            progress_requests: 0,
            notify_due: false,
            max_response_bytes,
            planted,
        }
    }

    /// Fires when there is something to poll for. Holds one permit, so a wake-up while nobody
    /// waits is not lost.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Takes a request in; returns what is answered at once. Poll afterwards.
    pub fn request(&mut self, request: WatchRequest, store: &Store) -> Vec<WatchResponse> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => vec![self.create(create, store)],
            Some(RequestUnion::CancelRequest(cancel)) => {
                let watch_id = cancel.watch_id;
                if self.remove(watch_id).is_none() && !self.compacted.remove(&watch_id) {
                    return Vec::new();
                }
                vec![WatchResponse {
                    header: header(store.revision().0),
                    watch_id,
                    canceled: true,
                    ..WatchResponse::default()
                }]
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.progress_requests = self.progress_requests.saturating_add(1);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Watches that asked for it and were not told anything since the last call get an empty
    /// response with the next poll. Called at the interval of progress notifications.
    pub fn notify_progress(&mut self) {
        self.notify_due = true;
    }

    /// How many watches the stream has.
    pub fn watches(&self) -> usize {
        self.watches.len()
    }

    fn create(&mut self, create: WatchCreateRequest, store: &Store) -> WatchResponse {
        let revision = store.revision().0;
        let response = WatchResponse {
            header: header(revision),
            watch_id: NO_WATCH,
            created: true,
            ..WatchResponse::default()
        };
        let refused = |reason: &str| WatchResponse {
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..response.clone()
        };
        // An empty key means the smallest there is.
        let key = if create.key.is_empty() { Bytes::from_static(b"\0") } else { create.key };
        let range = KeyRange::new(&key, &create.range_end);
        if range.is_empty() {
            return refused("mvcc: watcher range is empty");
        }
        if create.start_revision < 0 {
            return refused(KvError::Compacted.client_error().1);
        }
        let watch_id = match create.watch_id {
            0 => self.free_id(),
            taken if self.is_taken(taken) => {
                return refused("mvcc: duplicate watch ID provided on the WatchStream");
            }
            wanted => wanted,
        };
        let wants = |kind: FilterType| !create.filters.contains(&i32::from(kind));
        let next = if create.start_revision == 0 { revision + 1 } else { create.start_revision };
        let behind = next <= revision;
        // From here on every later revision marks this watch: the caller holds the store, so the
        // next one is not applied yet.
        self.hub.register(self.id, watch_id, &range);
        let interest = Interest {
            range,
            puts: wants(FilterType::Noput),
            deletes: wants(FilterType::Nodelete),
            prev_kv: create.prev_kv,
        };
        let watch = Watch {
            interest,
            next,
            queued: behind,
            fragment: create.fragment,
            progress_notify: create.progress_notify,
            quiet: true,
        };
        self.watches.insert(watch_id, watch);
        if behind {
            self.queue.push_back(watch_id);
        }
        WatchResponse { watch_id, ..response }
    }

    fn is_taken(&self, watch_id: i64) -> bool {
        self.watches.contains_key(&watch_id) || self.compacted.contains(&watch_id)
    }

    fn free_id(&mut self) -> i64 {
        while self.is_taken(self.next_watch) {
            self.next_watch += 1;
        }
        let free = self.next_watch;
        self.next_watch += 1;
        free
    }

    fn remove(&mut self, watch_id: i64) -> Option<Watch> {
        let watch = self.watches.remove(&watch_id)?;
        self.hub.unregister(self.id, watch_id, &watch.interest.range);
        if watch.queued {
            self.queue.retain(|queued| *queued != watch_id);
        }
        Some(watch)
    }

    /// Pulls what there is for the stream's watches, a bounded amount at a time.
    pub fn poll(&mut self, store: &Store) -> Result<Polled, RowsError> {
        let marks = self.hub.take(self.id);
        for (watch_id, first) in marks.watches {
            let Some(watch) = self.watches.get_mut(&watch_id) else { continue };
            if !watch.queued {
                // Nothing before the first mark concerns a watch that had caught up.
                watch.next = watch.next.max(first);
                watch.queued = true;
                self.queue.push_back(watch_id);
            }
        }
        let mut responses = Vec::new();
        let mut bytes = 0;
        for _ in 0..POLL_PULLS {
            if bytes >= POLL_BYTES {
                break;
            }
            let Some(watch_id) = self.queue.pop_front() else { break };
            bytes += self.pull(watch_id, store, &mut responses)?;
        }
        if self.queue.is_empty() {
            self.tell_progress(marks.published, &mut responses);
        }
        Ok(Polled { responses, more: !self.queue.is_empty() })
    }

    /// Pulls for one watch; returns about how many bytes that gave.
    fn pull(
        &mut self,
        watch_id: i64,
        store: &Store,
        responses: &mut Vec<WatchResponse>,
    ) -> Result<usize, RowsError> {
        let Some(watch) = self.watches.get_mut(&watch_id) else { return Ok(0) };
        watch.queued = false;
        let revision = store.revision();
        let pulled = match store.events_since(&watch.interest, Revision(watch.next), PULL) {
            Ok(pulled) => pulled,
            Err(ReadError::Rows(failed)) => return Err(failed),
            Err(ReadError::Refused(_)) if self.planted.has(Break::WatchSkipsCompacted) => {
                watch.next = store.compact_revision().0;
                watch.queued = true;
                self.queue.push_back(watch_id);
                return Ok(0);
            }
            Err(ReadError::Refused(_)) => {
                // The only refusal there is: the watch begins before the compaction.
                self.remove(watch_id);
                self.compacted.insert(watch_id);
                responses.push(WatchResponse {
                    header: header(0),
                    watch_id,
                    canceled: true,
                    compact_revision: store.compact_revision().0,
                    ..WatchResponse::default()
                });
                return Ok(0);
            }
        };
        watch.next = pulled.next.0;
        if pulled.next <= revision {
            watch.queued = true;
            self.queue.push_back(watch_id);
        }
        if pulled.events.is_empty() {
            return Ok(0);
        }
        watch.quiet = false;
        let response = WatchResponse {
            header: header(revision.0),
            watch_id,
            events: pulled.events,
            ..WatchResponse::default()
        };
        let bytes = response.encoded_len();
        if watch.fragment && bytes > self.max_response_bytes {
            split(response, self.max_response_bytes, responses);
        } else {
            responses.push(response);
        }
        Ok(bytes)
    }

    /// Answers progress requests, when every watch has been sent all up to `published`.
    fn tell_progress(&mut self, published: i64, responses: &mut Vec<WatchResponse>) {
        let progress = |watch_id: i64| WatchResponse {
            header: header(published),
            watch_id,
            ..WatchResponse::default()
        };
        // One answer serves all requests made so far.
        if std::mem::take(&mut self.progress_requests) > 0 {
            responses.push(progress(NO_WATCH));
        }
        if std::mem::take(&mut self.notify_due) {
            for (watch_id, watch) in &mut self.watches {
                // A watch of the future has nothing to say of the present.
                let waiting = watch.next > published + 1;
                if std::mem::replace(&mut watch.quiet, true) && watch.progress_notify && !waiting {
                    responses.push(progress(*watch_id));
                }
            }
        }
    }
}

/// Splits a response into pieces of at most `max_bytes`, or of one event. All but the last say
/// that more follows.
fn split(whole: WatchResponse, max_bytes: usize, responses: &mut Vec<WatchResponse>) {
    let empty = WatchResponse { events: Vec::new(), fragment: true, ..whole };
    let overhead = empty.encoded_len();
    let mut piece = empty.clone();
    let mut bytes = overhead;
    for event in whole.events {
        let more = framed_len(&event);
        if bytes + more > max_bytes && !piece.events.is_empty() {
            responses.push(std::mem::replace(&mut piece, empty.clone()));
            bytes = overhead;
        }
        bytes += more;
        piece.events.push(event);
    }
    piece.fragment = false;
    responses.push(piece);
}

/// Bytes an event takes inside a response.
fn framed_len(event: &Event) -> usize {
    let length = event.encoded_len();
    1 + prost::length_delimiter_len(length) + length
}
