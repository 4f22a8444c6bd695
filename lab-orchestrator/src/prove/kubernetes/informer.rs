//! An informer: lists, watches from the list's revision on, and goes on elsewhere when a stream
//! ends, behind the last change or bookmark that it was told of.

use std::time::Duration;

use etcd_api::etcdserverpb::watch_request::RequestUnion;
use etcd_api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;

use super::book::{Overtaken, Reel, Scope, Told, View, Why};
use super::calls::Caller;
use crate::workload::CallError;

/// How often it asks how far its watch has come.
const PROGRESS_EVERY: Duration = Duration::from_millis(400);

/// A stream that says nothing for so long, though it is asked, is left.
const SILENCE: Duration = Duration::from_secs(5);

/// A member that for so long has not come to where the watch begins is left.
const BEHIND: Duration = Duration::from_secs(10);

/// Keys a page of its lists.
const PAGE: i64 = 100;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It broke, or said nothing; the watch goes on elsewhere.
    Resume(Why),
    /// What the informer wants is compacted, or it wants to begin anew.
    Relist,
    /// The run is over.
    End,
}

/// One informer.
pub(super) struct Informer<'a> {
    pub(super) caller: Caller<'a>,
    pub(super) scope: Scope,
    pub(super) audits: bool,
    /// Its lives are so long, about; auditors live for ever.
    pub(super) life: Option<Duration>,
    pub(super) draws: ChaCha8Rng,
}

impl Informer<'_> {
    /// Informs itself until the run is over. `first` is its first list if it has one already.
    pub(super) async fn run(mut self, mut first: Option<View>) {
        loop {
            let listed = match first.take() {
                Some(view) => Some(view),
                None => self.caller.list(self.scope.clone(), PAGE, 0).await,
            };
            let Some(view) = listed else {
                if self.caller.desk.end.is_cancelled() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut reel = Reel {
                who: self.caller.who.clone(),
                scope: self.scope.clone(),
                listed: view.revision,
                rows: view.rows,
                told: Vec::new(),
                ended: String::new(),
                audits: self.audits,
                to_the_end: false,
            };
            let ends = self
                .life
                .map(|life| Instant::now() + life.mul_f64(self.draws.random_range(0.5..1.5)));
            let next = self.live(&mut reel, ends).await;
            reel.to_the_end = next == Next::End;
            self.caller.desk.book.lock().reels.push(reel);
            if next == Next::End {
                return;
            }
        }
    }

    /// One life: from the list on, over as many streams as it takes.
    async fn live(&mut self, reel: &mut Reel, ends: Option<Instant>) -> Next {
        // The last revision it knows everything of, and whether a bookmark said so.
        let mut known = (reel.listed, false);
        loop {
            let end = self.caller.desk.end.clone();
            let over = async {
                match ends {
                    Some(ends) => tokio::time::sleep_until(ends).await,
                    None => std::future::pending().await,
                }
            };
            let next = tokio::select! {
                next = follow(&mut self.caller, reel, &mut known) => next,
                () = end.cancelled() => Next::End,
                () = over => Next::Relist,
            };
            let Next::Resume(why) = next else { return next };
            self.caller.contact.turn();
            tokio::time::sleep(Duration::from_millis(20)).await;
            reel.told.push(Told::Resumed { by_bookmark: known.1, why });
        }
    }
}

/// One stream. What was heard is in the reel before anything is awaited: it may be dropped.
async fn follow(caller: &mut Caller<'_>, reel: &mut Reel, known: &mut (i64, bool)) -> Next {
    let mut goal = caller.desk.goal.subscribe();
    let from = known.0 + 1;
    let member = caller.contact.attached().await;
    let create = WatchCreateRequest {
        key: reel.scope.key.clone(),
        range_end: reel.scope.end.clone(),
        start_revision: from,
        progress_notify: true,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let mut progress = interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asks = stream::unfold(progress, |mut progress| async move {
        progress.tick().await;
        Some((lab_wire::progress(), progress))
    });
    // Requests that go on would keep the stream for good.
    let left = CancellationToken::new();
    let requests = stream::iter([create]).chain(asks).take_until(left.clone().cancelled_owned());
    let _left = left.drop_guard();
    let mut request = tonic::Request::new(requests);
    // As the API server asks: a member without a leader ends the stream.
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    let mut client = member.watches();
    let mut responses = match timeout(SILENCE, client.watch(request)).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return ended(caller, reel, CallError::of(&status).to_string()),
        Err(_) => return Next::Resume(Why::Silent),
    };
    let mut behind_until = Instant::now() + BEHIND;
    loop {
        if goal.borrow_and_update().is_some_and(|goal| known.0 >= goal) {
            return Next::End;
        }
        let response = tokio::select! {
            response = timeout(SILENCE, responses.message()) => match response {
                Ok(Ok(Some(response))) => response,
                Ok(Ok(None)) => return ended(caller, reel, "the member ended it".into()),
                Ok(Err(status)) => return ended(caller, reel, CallError::of(&status).to_string()),
                Err(_) => return Next::Resume(Why::Silent),
            },
            Ok(()) = goal.changed() => continue,
        };
        // A member that is behind the beginning of this watch has no news for it.
        let header = response.header.unwrap_or_default().revision;
        if response.events.is_empty() && !response.canceled && header < from - 1 {
            if Instant::now() > behind_until {
                return Next::Resume(Why::Behind);
            }
            continue;
        }
        behind_until = Instant::now() + BEHIND;
        if let Some(next) = hear(caller, reel, known, response) {
            return next;
        }
    }
}

/// Notes how a stream ended.
fn ended(caller: &Caller<'_>, reel: &mut Reel, how: String) -> Next {
    *caller.desk.book.lock().ends.entry(how.clone()).or_default() += 1;
    reel.ended = how;
    Next::Resume(Why::Ended)
}

/// Notes one response.
fn hear(
    caller: &Caller<'_>,
    reel: &mut Reel,
    known: &mut (i64, bool),
    response: WatchResponse,
) -> Option<Next> {
    let header = response.header.unwrap_or_default().revision;
    let mut book = caller.desk.book.lock();
    if response.canceled {
        if response.compact_revision == 0 {
            drop(book);
            return Some(ended(caller, reel, response.cancel_reason));
        }
        let asked = book.compacting;
        let (who, compacted) = (caller.who.clone(), response.compact_revision);
        let audits = reel.audits;
        book.overtaken.push(Overtaken { who, audits, from: known.0 + 1, compacted, asked });
        return Some(Next::Relist);
    }
    if response.created {
        return None;
    }
    if response.events.is_empty() {
        book.hear(header);
        reel.told.push(Told::Bookmark(header));
        if header >= known.0 {
            *known = (header, true);
        }
        return None;
    }
    let newest = response.events.iter().filter_map(|event| event.kv.as_ref());
    let newest = newest.map(|kv| kv.mod_revision).max().unwrap_or(known.0);
    book.hear(newest);
    *known = (newest.max(known.0), false);
    let (at, compacting) = (caller.desk.began.elapsed(), book.compacting);
    reel.told.push(Told::Events { header, events: response.events, at, compacting });
    None
}
