//! Clients that watch: each has one stream at a time with some watches on it, by the shipped
//! `node::watch`, and resumes them elsewhere when it breaks.
//!
//! ```text
//!   apply ─► hub ─► wake ─► (the stream's task comes to run) poll ─► (the network) hear ─► journal
//! ```
//!
//! As in the face, a stream is polled when it is woken, and again when what it gave has left. A
//! slow one is behind for a while, and a compaction may overtake it. A client resumes a watch at
//! the revision behind the last that it was told of, as etcd's own clients do.

use std::hash::Hash as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use etcd_api::etcdserverpb::WatchResponse as WireResponse;
use etcd_api::mvccpb;
use lab_protocol::{
    ClientNo, Event, KeyRange, WatchFilter, WatchId, WatchRequest, WatchResponse, WatchTold,
};
use node::watch::WatchStream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

use super::{CLIENTS, draw};
use crate::member::TICK_MICROS;
use crate::world::{Broken, Due, World, caught, no};

/// Clients that watch in a lifetime.
const WATCHERS: usize = 2;

/// Responses longer than this are split, where the watch allows it.
const MAX_RESPONSE_BYTES: usize = 400;

/// The watch id of a response that is for every watch of its stream.
const EVERY_WATCH: i64 = -1;

/// Something that is due for a client that watches.
pub(in crate::world) enum Watching {
    /// It opens a stream.
    Open,
    /// Its stream's task comes to run.
    Poll { stream: u64 },
    /// Responses arrive.
    Hear { stream: u64, responses: Vec<WireResponse> },
    /// It, or the member, wants to know how far its watches have come.
    Progress { stream: u64 },
    /// Its stream breaks.
    Break { stream: u64 },
}

/// A client that watches.
pub(super) struct Watcher {
    stream: Option<Stream>,
    /// Counts streams, so that what was meant for an earlier one is void.
    streams: u64,
    watches: Vec<Watch>,
    /// How late its streams' tasks come to run at most.
    late_micros: u64,
}

/// An open stream.
struct Stream {
    member: usize,
    end: WatchStream,
    wake: Arc<Notify>,
    poll_due: bool,
    /// When its last response arrives; later ones come no earlier.
    arrives_at: u64,
}

/// A watch.
struct Watch {
    id: WatchId,
    request: WatchRequest,
    /// What its stream calls it.
    number: i64,
    /// The client knows that its stream has it: only then is a word to every watch also for it.
    is_open: bool,
    /// The first revision that it was not told of; `None` until that is known.
    next: Option<i64>,
    /// Events of a response whose rest is to come.
    pieces: Vec<mvccpb::Event>,
}

impl Watcher {
    pub(super) fn draw(random: &mut ChaCha8Rng) -> Self {
        let late_micros = [2_000, 50_000, 600_000][random.random_range(0..3)];
        Self { stream: None, streams: 0, watches: Vec::new(), late_micros }
    }

    pub(super) fn draw_all(random: &mut ChaCha8Rng) -> Vec<Self> {
        (0..WATCHERS).map(|_| Self::draw(random)).collect()
    }

    /// Its stream, if it is still this one.
    fn stream(&mut self, number: u64) -> Option<&mut Stream> {
        self.stream.as_mut().filter(|_| self.streams == number)
    }
}

/// What a client wants to be told: from now on, from a revision of the past, or of the future.
fn draw(random: &mut ChaCha8Rng, revision: i64) -> WatchRequest {
    let keys = match random.random_range(0..4) {
        0 => KeyRange { key: "k".into(), end: Some("l".into()) },
        _ => draw::range(random),
    };
    let start_revision = match random.random_range(0..10) {
        0..5 => 0,
        5..9 => (revision - random.random_range(0..40)).max(1),
        _ => revision + random.random_range(1..20),
    };
    let filters = match random.random_range(0..8) {
        0 => vec![WatchFilter::NoPut],
        1 => vec![WatchFilter::NoDelete],
        _ => vec![],
    };
    let (prev_kv, progress_notify) = (random.random_bool(0.3), random.random_bool(0.5));
    WatchRequest { keys, start_revision, filters, prev_kv, progress_notify }
}

/// Whether a stream was woken since the last time it was asked.
fn is_woken(wake: &Notify) -> bool {
    pin!(wake.notified()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

impl World {
    pub(super) fn let_watchers_open(&mut self) {
        for watcher in 0..WATCHERS {
            self.open_later(watcher, 400_000);
        }
    }

    fn watcher_due(&mut self, at: u64, watcher: usize, what: Watching) {
        self.due(at, Due::Watching { watcher, what });
    }

    fn open_later(&mut self, watcher: usize, within_micros: u64) {
        let at = self.now() + self.random.random_range(1_000..within_micros);
        self.watcher_due(at, watcher, Watching::Open);
    }

    pub(in crate::world) fn watching(
        &mut self,
        watcher: usize,
        what: Watching,
    ) -> Result<(), Broken> {
        match what {
            Watching::Open => self.open_stream(watcher),
            Watching::Poll { stream } => return self.poll(watcher, stream),
            Watching::Hear { stream, responses } => self.hear(watcher, stream, responses),
            Watching::Progress { stream } => self.want_progress(watcher, stream),
            Watching::Break { stream } => {
                let is_open = self.clients.watchers[watcher].stream(stream).is_some();
                if is_open && !self.clients.are_ending {
                    self.close(watcher, "connection lost");
                }
            }
        }
        Ok(())
    }

    /// Opens a stream to a member that answers, resumes what was watched, and begins to watch more.
    fn open_stream(&mut self, watcher: usize) {
        let place = self.seat();
        let member = &self.members[place];
        let (Some(running), false) = (&member.running, member.paused) else {
            return self.open_later(watcher, 100_000);
        };
        let planted = self.common.planted;
        let end = WatchStream::new(running.hub.clone(), MAX_RESPONSE_BYTES, planted);
        let now = self.now();
        let one = &mut self.clients.watchers[watcher];
        if one.stream.is_some() {
            return;
        }
        let wake = end.wake();
        one.stream = Some(Stream { member: place, end, wake, poll_due: false, arrives_at: now });
        one.streams += 1;
        let stream = one.streams;
        for watch in 0..self.clients.watchers[watcher].watches.len() {
            self.begin_watch(watcher, watch, true);
        }
        let wanted = self.random.random_range(1..=3);
        while self.clients.watchers[watcher].watches.len() < wanted {
            self.add_watch(watcher);
        }
        let breaks_at = now + self.random.random_range(200_000..5_000_000);
        self.watcher_due(breaks_at, watcher, Watching::Break { stream });
        self.progress_later(watcher, stream);
    }

    fn progress_later(&mut self, watcher: usize, stream: u64) {
        let latest = if self.clients.are_ending { 20_000 } else { 1_000_000 };
        let at = self.now() + self.random.random_range(10_000..latest);
        self.watcher_due(at, watcher, Watching::Progress { stream });
    }

    /// Begins to watch something else on the open stream.
    fn add_watch(&mut self, watcher: usize) {
        let request = draw(&mut self.random, self.clients.told.revision);
        self.clients.next_watch += 1;
        let id = WatchId(self.clients.next_watch);
        let next = (request.start_revision > 0).then_some(request.start_revision);
        let watches = &mut self.clients.watchers[watcher].watches;
        watches.push(Watch { id, request, number: 0, is_open: false, next, pieces: Vec::new() });
        let watch = watches.len() - 1;
        self.begin_watch(watcher, watch, false);
    }

    fn begin_watch(&mut self, watcher: usize, watch: usize, resumes: bool) {
        let fragment = self.random.random_bool(0.5);
        let Watcher { stream: Some(stream), watches, .. } = &mut self.clients.watchers[watcher]
        else {
            return;
        };
        let Some(running) = &self.members[stream.member].running else { return };
        let Watch { id, request, number, is_open, next, .. } = &mut watches[watch];
        let start_revision = next.unwrap_or(0);
        let asked = lab_wire::watch(request, start_revision, fragment);
        let responses = stream.end.request(asked, &running.store.read());
        *is_open = false;
        *number = responses.first().map_or(EVERY_WATCH, |response| response.watch_id);
        let (watch, member) = (*id, no(stream.member));
        let event = if resumes {
            self.tally.resumed += 1;
            Event::WatchResumed { watch, member, start_revision }
        } else {
            let client = ClientNo(CLIENTS + 1 + u32::try_from(watcher).expect("a few clients"));
            Event::WatchOpened { watch, client, member, request: request.clone() }
        };
        self.tell(event);
        self.send(watcher, responses);
        self.poll_later(watcher);
    }

    /// Polls every stream of a member that was woken.
    pub(super) fn wake_streams(&mut self, place: usize) {
        for watcher in 0..WATCHERS {
            if let Some(stream) = &self.clients.watchers[watcher].stream
                && stream.member == place
                && !stream.poll_due
                && is_woken(&stream.wake)
            {
                self.poll_later(watcher);
            }
        }
    }

    /// Has a stream's task come to run, not before what it gave has left.
    fn poll_later(&mut self, watcher: usize) {
        let now = self.now();
        let late = match self.clients.are_ending {
            true => TICK_MICROS,
            false => self.clients.watchers[watcher].late_micros,
        };
        let late = self.random.random_range(5..late);
        let Watcher { stream: Some(stream), streams, .. } = &mut self.clients.watchers[watcher]
        else {
            return;
        };
        if !std::mem::replace(&mut stream.poll_due, true) {
            let number = *streams;
            self.watcher_due(now + late, watcher, Watching::Poll { stream: number });
        }
    }

    fn poll(&mut self, watcher: usize, number: u64) -> Result<(), Broken> {
        let Some(stream) = self.clients.watchers[watcher].stream(number) else { return Ok(()) };
        stream.poll_due = false;
        let place = stream.member;
        if self.members[place].paused {
            self.poll_later(watcher);
            return Ok(());
        }
        let Some(running) = &self.members[place].running else { return Ok(()) };
        // Whatever it was woken for is seen now.
        is_woken(&stream.wake);
        let polled =
            caught(|| stream.end.poll(&running.store.read()).map_err(|error| error.to_string()));
        match polled {
            Ok(polled) => {
                let more = polled.more;
                self.send(watcher, polled.responses);
                if more {
                    self.poll_later(watcher);
                }
                Ok(())
            }
            Err(why) => self.ended(place, &why),
        }
    }

    /// Puts responses on their way to the client.
    fn send(&mut self, watcher: usize, responses: Vec<WireResponse>) {
        if responses.is_empty() {
            return;
        }
        let at = self.arrival(0);
        let Watcher { stream: Some(stream), streams, .. } = &mut self.clients.watchers[watcher]
        else {
            return;
        };
        stream.arrives_at = stream.arrives_at.max(at);
        let (at, stream) = (stream.arrives_at, *streams);
        self.watcher_due(at, watcher, Watching::Hear { stream, responses });
    }

    fn hear(&mut self, watcher: usize, stream: u64, responses: Vec<WireResponse>) {
        let mut lost = 0;
        for response in responses {
            if self.clients.watchers[watcher].stream(stream).is_none() {
                return;
            }
            let watches = &mut self.clients.watchers[watcher].watches;
            let of = response.watch_id;
            let mut heard = Vec::new();
            watches.retain_mut(|watch| {
                if of != watch.number && (of != EVERY_WATCH || !watch.is_open) {
                    return true;
                }
                let Some(response) = watch.hear(&response) else { return true };
                let goes_on = watch.follow(&response);
                heard.push((watch.id, response));
                goes_on
            });
            for (watch, response) in heard {
                (watch.0, &response).hash(&mut self.trace);
                lost += usize::from(matches!(
                    response.told,
                    WatchTold::Compacted { .. } | WatchTold::Canceled { .. }
                ));
                match &response.told {
                    WatchTold::Events(events) => self.tally.watched += events.len() as u64,
                    WatchTold::Compacted { .. } => self.tally.overtaken += 1,
                    WatchTold::Created | WatchTold::Progress | WatchTold::Canceled { .. } => {}
                }
                self.tell(Event::WatchHeard { watch, response: Box::new(response) });
            }
        }
        // Whoever has lost a watch wants another.
        for _ in 0..lost {
            self.add_watch(watcher);
        }
    }

    fn want_progress(&mut self, watcher: usize, number: u64) {
        let asks = self.clients.are_ending || self.random.random_bool(0.5);
        let Some(stream) = self.clients.watchers[watcher].stream(number) else { return };
        let Some(running) = &self.members[stream.member].running else { return };
        if asks {
            stream.end.request(lab_wire::progress(), &running.store.read());
        } else {
            stream.end.notify_progress();
        }
        self.poll_later(watcher);
        self.progress_later(watcher, number);
    }

    /// Loses a stream; what was on its way is lost with it.
    fn close(&mut self, watcher: usize, why: &str) {
        let one = &mut self.clients.watchers[watcher];
        if one.stream.take().is_none() {
            return;
        }
        let mut closed = Vec::new();
        one.watches.retain_mut(|watch| {
            closed.push(watch.id);
            watch.pieces.clear();
            // Of one that was not open yet nobody knows where it would go on.
            watch.next.is_some()
        });
        for watch in closed {
            self.tell(Event::WatchClosed { watch, why: why.to_owned() });
        }
        self.open_later(watcher, 400_000);
    }

    pub(super) fn lose_streams(&mut self, place: usize) {
        for watcher in 0..WATCHERS {
            let stream = &self.clients.watchers[watcher].stream;
            if stream.as_ref().is_some_and(|stream| stream.member == place) {
                self.close(watcher, "connection lost");
            }
        }
    }

    /// Lets every watch come to its end: no stream breaks any more, and each is asked how far it
    /// has come.
    pub(in crate::world) fn end_watches(&mut self) {
        self.clients.are_ending = true;
        for watcher in 0..WATCHERS {
            let stream = self.clients.watchers[watcher].streams;
            self.want_progress(watcher, stream);
        }
    }

    /// The watches that have not heard of all up to a revision.
    pub(in crate::world) fn unheard(&self, revision: i64) -> impl Iterator<Item = WatchId> {
        let watches = self.clients.watchers.iter().flat_map(|watcher| &watcher.watches);
        let behind = move |watch: &&Watch| watch.next.is_none_or(|next| next <= revision);
        watches.filter(behind).map(|watch| watch.id)
    }
}

impl Watch {
    /// What a response says to this watch; `None` while it is not complete.
    fn hear(&mut self, response: &WireResponse) -> Option<WatchResponse> {
        self.pieces.extend_from_slice(&response.events);
        if response.fragment {
            return None;
        }
        Some(lab_wire::watched(response, std::mem::take(&mut self.pieces)))
    }

    /// Notes from where the watch would go on; whether it does.
    fn follow(&mut self, response: &WatchResponse) -> bool {
        self.is_open = true;
        let goes_on_at = response.goes_on_at(self.next);
        self.next = goes_on_at.or(self.next);
        goes_on_at.is_some()
    }
}
