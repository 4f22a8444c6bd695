//! Events of past revisions, as watches pull them: from RAM while they are young, else from rows.

use etcd_api::mvccpb::{Event, KeyValue, event::EventType};
use node_protocol::Revision;

use super::error::{KvError, ReadError, RowsError};
use super::history::event_bytes;
use super::keys::KeyRange;
use super::row::{RowKey, RowKind, decode_row};
use super::rows::Gapless;
use super::store::Store;

/// Rows read at a time.
const PAGE_ROWS: usize = 256;

/// Which events a watch wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Of these keys.
    pub range: KeyRange,
    /// Writes.
    pub puts: bool,
    /// Deletions.
    pub deletes: bool,
    /// With the version before, where it is not compacted.
    pub prev_kv: bool,
}

impl Interest {
    /// Whether an event is wanted.
    pub fn wants(&self, event: &Event) -> bool {
        let kind = match event.r#type() {
            EventType::Put => self.puts,
            EventType::Delete => self.deletes,
        };
        kind && event.kv.as_ref().is_some_and(|kv| self.range.contains(&kv.key))
    }
}

/// How much to pull at once. A revision is never split, so the bytes may be exceeded by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullLimits {
    /// Most revisions to look at.
    pub revisions: i64,
    /// Bytes of events after which to stop.
    pub bytes: usize,
}

/// What was pulled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pulled {
    /// The events wanted, of whole revisions, in order.
    pub events: Vec<Event>,
    /// The first revision not looked at; beyond the current one when all is pulled.
    pub next: Revision,
}

/// Collects events until the limit is reached at the end of a revision.
struct Batch {
    events: Vec<Event>,
    bytes: usize,
    limit: usize,
}

impl Batch {
    fn push(&mut self, event: Event) {
        self.bytes += event_bytes(&event);
        self.events.push(event);
    }

    /// Whether the next event, of revision `main`, has to wait for another pull.
    fn is_full_before(&self, main: i64) -> bool {
        let last = self.events.last().and_then(|event| event.kv.as_ref());
        self.bytes >= self.limit && last.is_some_and(|kv| kv.mod_revision != main)
    }
}

impl Store {
    /// The events of `interest` from revision `from` on, oldest first. Refused as compacted when
    /// `from` is before the compact revision.
    pub fn events_since(
        &self,
        interest: &Interest,
        from: Revision,
        limits: PullLimits,
    ) -> Result<Pulled, ReadError> {
        let from = from.0;
        if from < self.compacted {
            return Err(KvError::Compacted.into());
        }
        if from > self.revision {
            return Ok(Pulled { events: Vec::new(), next: Revision(from) });
        }
        let mut batch = Batch { events: Vec::new(), bytes: 0, limit: limits.bytes };
        let end = self.revision.min(from.saturating_add(limits.revisions.max(1) - 1));
        let next = match (&interest.range, self.history.since(from)) {
            (_, Some(revisions)) => {
                let revisions = revisions.take_while(|revised| revised.revision.0 <= end);
                let events = revisions
                    .flat_map(|revised| revised.events.iter().map(|e| (revised.revision.0, e)));
                let mut stop = None;
                for (main, event) in events {
                    if batch.is_full_before(main) {
                        stop = Some(main);
                        break;
                    }
                    if interest.wants(event) {
                        batch.push(self.with_previous(interest, event.clone())?);
                    }
                }
                stop.unwrap_or(end + 1)
            }
            (KeyRange::Key(key), None) => self.key_events(key, interest, from, &mut batch)?,
            (_, None) => self.row_events(interest, from, end, &mut batch)?,
        };
        Ok(Pulled { events: batch.events, next: Revision(next) })
    }

    /// The events of one key, found by the index. Returns the first revision not looked at.
    fn key_events(
        &self,
        key: &[u8],
        interest: &Interest,
        from: i64,
        batch: &mut Batch,
    ) -> Result<i64, RowsError> {
        for row in self.index.rows_since(key, from) {
            if batch.is_full_before(row.main) {
                return Ok(row.main);
            }
            let (kind, kv) = self.rows.get(row)?;
            let event = event(row, kind, kv);
            if interest.wants(&event) {
                batch.push(self.with_previous(interest, event)?);
            }
        }
        Ok(self.revision + 1)
    }

    /// The events of many keys, found by reading all rows from `from` to `end`. Returns the first
    /// revision not looked at.
    fn row_events(
        &self,
        interest: &Interest,
        from: i64,
        end: i64,
        batch: &mut Batch,
    ) -> Result<i64, RowsError> {
        let (mut at, to) = (RowKey::first_of(from), RowKey::first_of(end + 1));
        let mut gapless = Gapless::new(from, self.compacted);
        loop {
            let page = self.rows.page(at, to, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { break };
            at = RowKey { main: last.main, sub: last.sub + 1 };
            for (key, row) in page {
                gapless.see(key).map_err(|key| self.rows.missing(key))?;
                if batch.is_full_before(key.main) {
                    return Ok(key.main);
                }
                let (kind, kv) =
                    decode_row(&row).map_err(|source| RowsError::Damaged { key, source })?;
                let event = event(key, kind, kv);
                if interest.wants(&event) {
                    batch.push(self.with_previous(interest, event)?);
                }
            }
        }
        gapless.end(end).map_err(|key| self.rows.missing(key))?;
        Ok(end + 1)
    }

    /// Adds the version before, if it is wanted, existed, and is not compacted.
    fn with_previous(&self, interest: &Interest, mut event: Event) -> Result<Event, RowsError> {
        if let Some(kv) = event.kv.as_ref().filter(|_| interest.prev_kv)
            && let before = kv.mod_revision - 1
            && before >= self.compacted
            && let Some(version) = self.index.get(&kv.key, before)
        {
            event.prev_kv = Some(self.rows.get(version.row)?.1);
        }
        Ok(event)
    }
}

fn event(row: RowKey, kind: RowKind, mut kv: KeyValue) -> Event {
    kv.mod_revision = row.main;
    let r#type = match kind {
        RowKind::Put => EventType::Put,
        RowKind::Tombstone => EventType::Delete,
    };
    Event { r#type: r#type.into(), kv: Some(kv), prev_kv: None }
}
