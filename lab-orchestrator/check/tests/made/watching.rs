//! Watches of the model, told as etcd promises: by members that lag behind, in responses of any
//! length, with streams that break and are resumed, and starts that are compacted.

use std::collections::BTreeMap;

use lab_protocol::{
    ClientNo, Event, KeyRange, MemberNo, Row, WatchEvent, WatchEventKind, WatchFilter, WatchId,
    WatchRequest, WatchResponse, WatchTold,
};

use super::Chances;
use super::store::Store;

/// All watches, and what there is to tell.
pub(crate) struct Watching {
    /// What each revision changed, with the rows before.
    changes: BTreeMap<i64, Vec<WatchEvent>>,
    watches: Vec<Watch>,
}

struct Watch {
    request: WatchRequest,
    /// The first revision that was not told.
    next: i64,
    stands: Stands,
}

/// What a watch waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Asked,
    Open,
    Closed,
    Over,
}

impl Watching {
    pub(crate) fn new() -> Self {
        Self { changes: BTreeMap::new(), watches: Vec::new() }
    }

    /// Notes what was changed from one revision to the next.
    pub(crate) fn changed(&mut self, before: &Store, after: &Store) {
        if before.revision == after.revision {
            return;
        }
        let mut changes = Vec::new();
        for (key, row) in &after.rows {
            let prev = before.rows.get(key);
            if row.mod_revision == after.revision {
                let (row, prev) = (row.clone(), prev.cloned());
                changes.push(WatchEvent { kind: WatchEventKind::Put, row, prev });
            }
        }
        for (key, prev) in &before.rows {
            if !after.rows.contains_key(key) {
                let (key, prev) = (key.clone(), Some(prev.clone()));
                let row = Row { key, mod_revision: after.revision, ..Row::default() };
                changes.push(WatchEvent { kind: WatchEventKind::Delete, row, prev });
            }
        }
        self.changes.insert(after.revision, changes);
    }

    /// One thing happens to one watch; at most so many watches are opened.
    pub(crate) fn step(
        &mut self,
        store: &Store,
        most: usize,
        keys: KeyRange,
        chances: &mut Chances,
    ) -> Option<Event> {
        let number = chances.below(most);
        let watch = WatchId(number as u64 + 1);
        let member = MemberNo(u8::try_from(1 + chances.below(3)).expect("below four"));
        let Some(at) = self.watches.get_mut(number) else {
            let watch = WatchId(self.watches.len() as u64 + 1);
            let request = request(store, keys, chances);
            let (next, stands) = (request.start_revision, Stands::Asked);
            self.watches.push(Watch { request: request.clone(), next, stands });
            let client = ClientNo(u32::try_from(100 + self.watches.len()).expect("few"));
            return Some(Event::WatchOpened { watch, client, member, request });
        };
        match (at.stands, chances.below(10)) {
            (Stands::Over, _) => None,
            (Stands::Asked, _) => {
                at.stands = Stands::Open;
                if at.next == 0 {
                    at.next = store.revision + 1;
                }
                Some(heard(watch, store.revision, WatchTold::Created))
            }
            (Stands::Closed, _) => {
                let again = i64::try_from(chances.below(2)).expect("small");
                let start_revision = (at.next - again).max(1);
                (at.next, at.stands) = (start_revision, Stands::Asked);
                Some(Event::WatchResumed { watch, member, start_revision })
            }
            (Stands::Open, 0) => {
                at.stands = Stands::Closed;
                Some(Event::WatchClosed { watch, why: "the stream broke".into() })
            }
            (Stands::Open, 1..3) if at.next == store.revision + 1 => {
                Some(heard(watch, store.revision, WatchTold::Progress))
            }
            (Stands::Open, _) if at.next < store.compacted => {
                at.stands = Stands::Over;
                let compact_revision = store.compacted;
                Some(heard(watch, store.revision, WatchTold::Compacted { compact_revision }))
            }
            (Stands::Open, _) if at.next <= store.revision => {
                let ahead = usize::try_from(store.revision - at.next).expect("small");
                let upto = at.next + i64::try_from(chances.below(ahead + 1)).expect("small");
                let told = self.changes.range(at.next..=upto).flat_map(|(_, changes)| changes);
                let told: Vec<_> = told
                    .filter(|event| at.wants(event))
                    .map(|event| at.shown(event, store))
                    .collect();
                at.next = upto + 1;
                let is_news = !told.is_empty();
                is_news.then(|| heard(watch, store.revision, WatchTold::Events(told)))
            }
            (Stands::Open, _) => None,
        }
    }
}

impl Watch {
    fn wants(&self, event: &WatchEvent) -> bool {
        let filter = match event.kind {
            WatchEventKind::Put => WatchFilter::NoPut,
            WatchEventKind::Delete => WatchFilter::NoDelete,
        };
        self.request.keys.contains(&event.row.key) && !self.request.filters.contains(&filter)
    }

    /// With the row before if that was asked and it is still there.
    fn shown(&self, event: &WatchEvent, store: &Store) -> WatchEvent {
        let is_kept = self.request.prev_kv && event.row.mod_revision > store.compacted;
        let prev = event.prev.clone().filter(|_| is_kept);
        WatchEvent { kind: event.kind, row: event.row.clone(), prev }
    }
}

/// From the past, from now on, or from what is to come.
fn request(store: &Store, keys: KeyRange, chances: &mut Chances) -> WatchRequest {
    let past = usize::try_from(store.revision).expect("small");
    let start = match chances.below(4) {
        0 => 0,
        1 => past + 1 + chances.below(2),
        _ => 1 + chances.below(past),
    };
    let filters = match chances.below(6) {
        0 => vec![WatchFilter::NoPut],
        1 => vec![WatchFilter::NoDelete],
        _ => vec![],
    };
    let start_revision = i64::try_from(start).expect("small");
    let (prev_kv, progress_notify) = (chances.below(2) == 0, chances.below(2) == 0);
    WatchRequest { keys, start_revision, filters, prev_kv, progress_notify }
}

fn heard(watch: WatchId, revision: i64, told: WatchTold) -> Event {
    Event::WatchHeard { watch, response: Box::new(WatchResponse { revision, told }) }
}
