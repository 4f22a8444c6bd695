//! The newest revisions with their events, in RAM, for watches to pull from.

use std::collections::VecDeque;
use std::sync::Arc;

use etcd_api::mvccpb::Event;
use node_protocol::Revision;

/// Most revisions kept.
const MAX_REVISIONS: usize = 8192;
/// Most bytes of keys and values kept; one revision is kept whatever its size.
const MAX_BYTES: usize = 16 << 20;
/// What an event takes besides its key and value, roughly.
const EVENT_OVERHEAD_BYTES: usize = 160;

/// Everything one revision changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Revised {
    /// Which revision.
    pub revision: Revision,
    /// Its events in the order of their sub-revisions; never empty, `prev_kv` never set.
    pub events: Vec<Event>,
}

impl Revised {
    fn bytes(&self) -> usize {
        self.events.iter().map(event_bytes).sum()
    }
}

/// About how much RAM an event takes.
pub(super) fn event_bytes(event: &Event) -> usize {
    let kvs = event.kv.iter().chain(&event.prev_kv);
    EVENT_OVERHEAD_BYTES + kvs.map(|kv| kv.key.len() + kv.value.len()).sum::<usize>()
}

/// A run of revisions without gaps that ends at the newest one.
#[derive(Debug, Default)]
pub(super) struct History {
    revisions: VecDeque<Arc<Revised>>,
    bytes: usize,
}

impl History {
    pub(super) fn push(&mut self, revised: Arc<Revised>) {
        self.bytes += revised.bytes();
        self.revisions.push_back(revised);
        while self.revisions.len() > MAX_REVISIONS
            || (self.bytes > MAX_BYTES && self.revisions.len() > 1)
        {
            let Some(oldest) = self.revisions.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// Every revision from `from` on, or `None` when some of them are no longer here.
    pub(super) fn since(&self, from: i64) -> Option<impl Iterator<Item = &Arc<Revised>>> {
        let oldest = self.revisions.front()?.revision.0;
        let skip = usize::try_from(from.checked_sub(oldest)?).ok()?;
        Some(self.revisions.iter().skip(skip))
    }
}
