//! A client that watches everything the workload writes, through one member at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_api::etcdserverpb::WatchRequest as WireRequest;
use futures_util::{StreamExt as _, stream};
use http::Uri;
use lab_protocol::{ClientNo, Event, KeyRange, MemberNo, WatchId, WatchRequest};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{Connection, Dialler};

/// How long a client waits before it turns to the next member.
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// How often it asks how far its watch has come.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// One client with one watch. When its stream ends it goes on at the next member, behind the last
/// change that it was told of; a watch that a member ended begins anew.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) client: ClientNo,
    /// Whom it may turn to, home first; never empty.
    pub(super) members: Vec<(MemberNo, Uri)>,
    /// Whether it asks for the rows before each change.
    pub(super) prev_kv: bool,
    /// What it wants to be told of.
    pub(super) keys: KeyRange,
    pub(super) dialler: Dialler,
    pub(super) events: mpsc::Sender<Event>,
    /// Watches of the run so far.
    pub(super) watches: Arc<AtomicU64>,
}

/// A watch of which the client knows where it goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Underway {
    watch: WatchId,
    next: i64,
}

impl Watcher {
    /// Watches until it is told to end. Every stream that was begun is reported as closed, unless
    /// the member has ended the watch.
    pub(super) async fn run(self, ending: CancellationToken) {
        let mut underway = None;
        for (member, origin) in self.members.iter().cycle() {
            let followed = self.follow(*member, origin, &mut underway, &ending);
            followed.await;
            if ending.run_until_cancelled(tokio::time::sleep(TURN_PAUSE)).await.is_none() {
                return;
            }
        }
    }

    /// Watches through one member until that ends.
    pub(super) async fn follow(
        &self,
        member: MemberNo,
        origin: &Uri,
        underway: &mut Option<Underway>,
        ending: &CancellationToken,
    ) {
        let Some(Ok(connection)) = ending.run_until_cancelled(self.dialler.dial(origin)).await
        else {
            return;
        };
        let request = self.request();
        let (watch, start_revision) = match *underway {
            Some(Underway { watch, next }) => (watch, next),
            None => (WatchId(self.watches.fetch_add(1, Ordering::Relaxed) + 1), 0),
        };
        let begun = match underway {
            Some(_) => Event::WatchResumed { watch, member, start_revision },
            None => {
                let request = request.clone();
                Event::WatchOpened { watch, client: self.client, member, request }
            }
        };
        // The lab that would listen is ending when these fail.
        self.events.send(begun).await.ok();
        let heard = self.hear(
            watch,
            &connection,
            lab_wire::watch(&request, start_revision, false),
            underway,
        );
        let why = match ending.run_until_cancelled(heard).await {
            Some(None) => return *underway = None,
            Some(Some(why)) => why,
            None => "the client has seen enough".into(),
        };
        self.events.send(Event::WatchClosed { watch, why }).await.ok();
    }

    /// Reports what the member tells; why the stream ended, `None` when the member has ended the
    /// watch itself.
    async fn hear(
        &self,
        watch: WatchId,
        connection: &Connection,
        create: WireRequest,
        underway: &mut Option<Underway>,
    ) -> Option<String> {
        let mut progress = interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let asks = stream::unfold(progress, |mut progress| async move {
            progress.tick().await;
            Some((lab_wire::progress(), progress))
        });
        // Requests that go on would keep the stream, and with it the connection, for good.
        let left = CancellationToken::new();
        let requests =
            stream::iter([create]).chain(asks).take_until(left.clone().cancelled_owned());
        let _left = left.drop_guard();
        let mut responses = match connection.watches().watch(requests).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Some(status.message().to_owned()),
        };
        loop {
            let response = match responses.message().await {
                Ok(Some(mut response)) => {
                    let events = std::mem::take(&mut response.events);
                    lab_wire::watched(&response, events)
                }
                Ok(None) => return Some("the member ended the stream".into()),
                Err(status) => return Some(status.message().to_owned()),
            };
            let next = response.goes_on_at(underway.map(|underway| underway.next));
            // Waits while the lab is behind; the member then sees a slow client.
            self.events.send(Event::WatchHeard { watch, response: Box::new(response) }).await.ok();
            *underway = Some(Underway { watch, next: next? });
        }
    }

    fn request(&self) -> WatchRequest {
        WatchRequest {
            keys: self.keys.clone(),
            start_revision: 0,
            filters: Vec::new(),
            prev_kv: self.prev_kv,
            progress_notify: true,
        }
    }
}
