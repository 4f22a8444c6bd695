//! The calls that the storage layer of a Kubernetes API server makes, each noted in the book.

use std::time::Duration;

use bytes::Bytes;
use etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use etcd_api::etcdserverpb::request_op::Request;
use etcd_api::etcdserverpb::response_op::Response;
use etcd_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, Compare, DeleteRangeRequest, LeaseGrantRequest,
    PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::contact::Contact;
use super::book::{Book, Change, Guard, Lease, Outcome, Reach, Scope, View, Write};
use crate::workload::CallError;

/// How long a client waits for a write; then it is unknown.
const WRITE_WAIT: Duration = Duration::from_secs(4);

/// How long a client tries to read, at one member after the other.
const READ_WAIT: Duration = Duration::from_secs(15);

/// What all clients of the proof share.
pub(super) struct Desk {
    pub(super) book: Mutex<Book>,
    pub(super) began: Instant,
    /// Writers, listers and compactors end.
    pub(super) stop: CancellationToken,
    /// Informers end.
    pub(super) end: CancellationToken,
    /// The revision up to which informers have to come before the run is over.
    pub(super) goal: tokio::sync::watch::Sender<Option<i64>>,
}

impl Desk {
    /// Lets time pass; false when everybody is to stop.
    pub(super) async fn pause(&self, millis: u64) -> bool {
        let pause = tokio::time::sleep(Duration::from_millis(millis));
        self.stop.run_until_cancelled(pause).await.is_some()
    }
}

/// One client: its name in the book, and its contact.
pub(super) struct Caller<'a> {
    pub(super) desk: &'a Desk,
    pub(super) who: String,
    pub(super) contact: Contact,
}

/// Makes the txn by which the API server creates, updates and deletes: one guard, one change, and
/// a read of the key if the guard does not hold.
fn guarded(key: &Bytes, guard: Guard, change: &Change) -> TxnRequest {
    let (target, operand) = match guard {
        Guard::ModRevision(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(revision)),
        Guard::Version(version) => (CompareTarget::Version, TargetUnion::Version(version)),
    };
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(operand),
    };
    let then = match change {
        Change::Put { value, lease } => Request::RequestPut(PutRequest {
            key: key.clone(),
            value: value.clone(),
            lease: *lease,
            ..PutRequest::default()
        }),
        Change::Delete => Request::RequestDeleteRange(DeleteRangeRequest {
            key: key.clone(),
            ..DeleteRangeRequest::default()
        }),
    };
    let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
    let op = |request| vec![RequestOp { request: Some(request) }];
    TxnRequest {
        compare: vec![compare],
        success: op(then),
        failure: op(Request::RequestRange(read)),
    }
}

fn outcome(answer: Result<TxnResponse, CallError>) -> Outcome {
    match answer {
        Ok(answer) => {
            let revision = answer.header.unwrap_or_default().revision;
            if answer.succeeded {
                return Outcome::At(revision);
            }
            let read = answer.responses.into_iter().find_map(|op| match op.response? {
                Response::ResponseRange(range) => Some(range),
                Response::ResponsePut(_)
                | Response::ResponseDeleteRange(_)
                | Response::ResponseTxn(_) => None,
            });
            let found = read.unwrap_or_default().kvs.into_iter().next();
            Outcome::Conflict { revision, found }
        }
        Err(error) if error.is_certain_failure() => Outcome::Refused(error.to_string()),
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

/// Whether a read was refused because its revision is compacted.
fn is_compacted(error: &CallError) -> bool {
    matches!(error, CallError::Refused { message, .. } if message.contains("has been compacted"))
}

/// The key behind this one.
fn after(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

impl Caller<'_> {
    /// One guarded write.
    pub(super) async fn write(&mut self, key: Bytes, guard: Guard, change: Change) -> Outcome {
        let floor = self.desk.book.lock().told;
        let request = guarded(&key, guard, &change);
        let answer =
            self.contact.once(WRITE_WAIT, |member| async move { member.kv().txn(request).await });
        let outcome = outcome(answer.await);
        let mut book = self.desk.book.lock();
        if let Outcome::At(revision) | Outcome::Conflict { revision, .. } = &outcome {
            book.hear(*revision);
        }
        let (who, told) = (self.who.clone(), outcome.clone());
        book.writes.push(Write { who, key, guard, change, floor, outcome });
        told
    }

    /// Reads one key; the revision of its last change, 0 if it is not there.
    pub(super) async fn get(&mut self, key: Bytes) -> Option<i64> {
        let view = self.list(Scope::one(key), 0, 0).await?;
        Some(view.rows.first().map_or(0, |row| row.mod_revision))
    }

    async fn range(&mut self, request: RangeRequest) -> Result<RangeResponse, CallError> {
        let deadline = Instant::now() + READ_WAIT;
        let read = self.contact.read(deadline, |member| {
            let request = request.clone();
            async move { member.kv().range(request).await }
        });
        read.await
    }

    /// Lists a range in pages of `limit` keys (0: all at once), the later ones at the revision of
    /// the first, each after a pause. `None` when a page was not to be had.
    pub(super) async fn list(
        &mut self,
        scope: Scope,
        limit: i64,
        pause_millis: u64,
    ) -> Option<View> {
        let floor = self.desk.book.lock().told;
        let mut view = View {
            who: self.who.clone(),
            scope: scope.clone(),
            revision: 0,
            rows: Vec::new(),
            pages: 0,
            floor,
            wrong: None,
        };
        let mut key = scope.key.clone();
        let mut count = None;
        loop {
            let done = self.desk.book.lock().compacted;
            let request = RangeRequest {
                key: key.clone(),
                range_end: scope.end.clone(),
                limit,
                revision: view.revision,
                ..RangeRequest::default()
            };
            let answer = self.range(request).await;
            let reach = |refused, book: &Book| Reach {
                who: self.who.clone(),
                revision: view.revision,
                refused,
                asked: book.compacting,
                done,
            };
            let page = match answer {
                Ok(page) => page,
                Err(error) => {
                    let mut book = self.desk.book.lock();
                    if is_compacted(&error) {
                        let reach = reach(true, &book);
                        book.reaches.push(reach);
                    } else if error.is_certain_failure() && !matches!(error, CallError::NotSent(_))
                    {
                        view.wrong = Some(format!("refused: {error}"));
                        book.views.push(view);
                    }
                    return None;
                }
            };
            let revision = page.header.unwrap_or_default().revision;
            if view.pages == 0 {
                view.revision = revision;
            } else {
                let mut book = self.desk.book.lock();
                let reach = reach(false, &book);
                book.reaches.push(reach);
            }
            view.pages += 1;
            let shown = i64::try_from(page.kvs.len()).unwrap_or(i64::MAX);
            let expected = count.unwrap_or(page.count);
            if page.count != expected || page.more != (shown < page.count) {
                view.wrong.get_or_insert(format!(
                    "page {} shows {shown} keys of {} (more: {}), where {expected} are left",
                    view.pages, page.count, page.more
                ));
            }
            count = Some(page.count - shown);
            let more = page.more && !page.kvs.is_empty();
            view.rows.extend(page.kvs);
            if !more {
                break;
            }
            key = view.rows.last().map_or(key, |row| after(&row.key));
            if pause_millis > 0 && !self.desk.pause(pause_millis).await {
                return None;
            }
        }
        let mut book = self.desk.book.lock();
        book.hear(view.revision);
        book.views.push(view.clone());
        Some(view)
    }

    /// Asks for a lease.
    pub(super) async fn grant(&mut self, ttl_seconds: u32) -> Option<i64> {
        let sent = self.desk.began.elapsed();
        let request = LeaseGrantRequest { ttl: i64::from(ttl_seconds), id: 0 };
        let granted = self
            .contact
            .once(WRITE_WAIT, |member| async move { member.leases().lease_grant(request).await });
        let granted = granted.await.ok()?;
        let ttl = Duration::from_secs(u64::try_from(granted.ttl).unwrap_or(0));
        self.desk.book.lock().leases.insert(granted.id, Lease { sent, ttl });
        Some(granted.id)
    }

    /// Compacts, as whoever won the guard does; then looks whether what is older is refused.
    pub(super) async fn compact(&mut self, revision: i64) {
        let before = {
            let mut book = self.desk.book.lock();
            let before = book.compacting;
            book.compacting = before.max(revision);
            before
        };
        let request = CompactionRequest { revision, physical: false };
        let answer = self
            .contact
            .once(WRITE_WAIT, |member| async move { member.kv().compact(request).await });
        let answer = answer.await;
        if self.compacted(revision, before, answer) {
            self.reach_behind(revision - 1).await;
        }
    }

    /// Notes what came of a compaction; true when it was done.
    fn compacted(
        &self,
        revision: i64,
        before: i64,
        answer: Result<CompactionResponse, CallError>,
    ) -> bool {
        let mut book = self.desk.book.lock();
        let error = match answer {
            Ok(_) => {
                book.compacted = book.compacted.max(revision);
                book.compactions += 1;
                return true;
            }
            Err(error) => error,
        };
        // Another winner was further.
        let further = is_compacted(&error) && (before >= revision || book.compacting > revision);
        let sent = !matches!(error, CallError::NotSent(_));
        if error.is_certain_failure() && sent && !further {
            let why = format!("{}: compaction at {revision} was refused: {error}", self.who);
            book.bad_compactions.push(why);
        }
        false
    }

    /// Reads at one old revision that is compacted.
    async fn reach_behind(&mut self, revision: i64) {
        if revision < 1 {
            return;
        }
        let done = self.desk.book.lock().compacted;
        let key = Bytes::from_static(super::run::COMPACT_KEY.as_bytes());
        let answer = self.range(RangeRequest { key, revision, ..RangeRequest::default() }).await;
        let refused = match answer {
            Ok(_) => false,
            Err(error) if is_compacted(&error) => true,
            Err(_) => return,
        };
        let mut book = self.desk.book.lock();
        let (who, asked) = (self.who.clone(), book.compacting);
        book.reaches.push(Reach { who, revision, refused, asked, done });
    }
}
