//! The watches: many on one stream, one stream a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use etcd_api::etcdserverpb::watch_request::RequestUnion;
use etcd_api::etcdserverpb::{WatchCreateRequest, WatchRequest};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::book::{Ear, Part};
use crate::workload::Connection;

/// All keys that are written.
pub(super) const ALL: &str = "w/";

/// The group whose values are large.
pub(super) const LARGE: u32 = u32::MAX;

/// The prefix of a group's keys.
pub(super) fn prefix(group: u32) -> String {
    if group == LARGE { format!("{ALL}large/") } else { format!("{ALL}g{group:05}/") }
}

/// The group that a key belongs to.
pub(super) fn group_of(key: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(key).ok()?.strip_prefix(ALL)?.split('/').next()?;
    if name == "large" { Some(LARGE) } else { name.strip_prefix('g')?.parse().ok() }
}

/// What all watches share.
pub(super) struct Hall {
    pub(super) began: Instant,
    /// When each write was sent, microseconds since the beginning; by its number.
    pub(super) sent: Vec<AtomicU64>,
    /// Watches that were created.
    pub(super) created: AtomicU64,
    /// Watches that have heard the last event of their part, or were ended.
    pub(super) done: AtomicU64,
    /// Nobody listens any more.
    pub(super) end: CancellationToken,
}

/// The value of a write: its number, then as many bytes as are wanted.
pub(super) fn value(number: u64, bytes: usize) -> Bytes {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(bytes.max(8), b'.');
    value.into()
}

fn number_of(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.get(..8)?.try_into().ok()?))
}

/// What one stream heard.
pub(super) struct Heard {
    pub(super) ears: Vec<Ear>,
    /// The group of each event, if that was asked for.
    pub(super) groups: Vec<(i64, u32)>,
    /// Number and lateness in microseconds of each event.
    pub(super) lags: Vec<(u64, u64)>,
}

/// Listens on one stream with these watches until the hall is closed.
///
/// `is_last` tells by its key whether an event is the last one of a part.
pub(super) async fn listen(
    hall: Arc<Hall>,
    connection: Connection,
    ears: Vec<Ear>,
    remember_groups: bool,
    is_last: fn(Part, &[u8]) -> bool,
) -> Heard {
    let mut heard = Heard { ears, groups: Vec::new(), lags: Vec::new() };
    let end = hall.end.clone();
    let why = end
        .run_until_cancelled(follow(&hall, &connection, &mut heard, remember_groups, is_last))
        .await;
    if let Some(why) = why {
        heard.ears.iter_mut().for_each(|ear| ear.broke = Some(why.clone()));
    }
    heard
}

/// Why the stream ended. Every response is noted before the next is awaited.
async fn follow(
    hall: &Hall,
    connection: &Connection,
    heard: &mut Heard,
    remember_groups: bool,
    is_last: fn(Part, &[u8]) -> bool,
) -> String {
    let create = |ear: &Ear| {
        let key = match ear.part {
            Part::Group(group) => prefix(group),
            Part::All => ALL.to_owned(),
        };
        // The letter behind the slash.
        let range_end = format!("{}0", key.trim_end_matches('/'));
        let create = WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision: ear.from + 1,
            ..WatchCreateRequest::default()
        };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    };
    let creates: Vec<_> = heard.ears.iter().map(create).collect();
    let requests = stream::iter(creates).chain(stream::pending());
    let mut client = connection.watches();
    let mut responses = match client.watch(requests).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return status.message().to_owned(),
    };
    loop {
        let response = match responses.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return "the member ended the stream".into(),
            Err(status) => return status.message().to_owned(),
        };
        let now = u64::try_from(hall.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Watches are numbered in the order in which they were asked for.
        let place = usize::try_from(response.watch_id).ok();
        let Some(ear) = place.and_then(|place| heard.ears.get_mut(place)) else {
            return format!("a response for watch {}", response.watch_id);
        };
        if response.canceled {
            if response.compact_revision == 0 {
                return format!("a watch was ended: {}", response.cancel_reason);
            }
            ear.compacted = Some(response.compact_revision);
            hall.done.fetch_add(1, Ordering::Relaxed);
        } else if response.created {
            hall.created.fetch_add(1, Ordering::Relaxed);
        }
        for event in response.events {
            let Some(kv) = event.kv else { continue };
            ear.heard.push(kv.mod_revision);
            if remember_groups && let Some(group) = group_of(&kv.key) {
                heard.groups.push((kv.mod_revision, group));
            }
            if let Some(number) = number_of(&kv.value)
                && let Some(sent) = usize::try_from(number).ok().and_then(|at| hall.sent.get(at))
            {
                let sent = sent.load(Ordering::Relaxed);
                heard.lags.push((number, now.saturating_sub(sent)));
            }
            if is_last(ear.part, &kv.key) {
                hall.done.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_group() {
        for group in [0, 7, 12_345, LARGE] {
            assert_eq!(group_of(format!("{}k1", prefix(group)).as_bytes()), Some(group));
        }
        assert_eq!(group_of(b"elsewhere"), None);
        assert_eq!(number_of(&value(7, 64)), Some(7));
    }
}
