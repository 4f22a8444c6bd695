//! What watches were told: each watch with its streams, and all changes by revision.

use std::collections::BTreeMap;

use lab_protocol::{
    Event, MemberNo, Numbered, WatchEvent, WatchEventKind, WatchFilter, WatchId, WatchRequest,
    WatchResponse, WatchTold,
};

/// One watch: what was asked, and all that came of it.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) watch: WatchId,
    pub(super) request: WatchRequest,
    pub(super) member: MemberNo,
    /// The event that opened it.
    pub(super) opened: u64,
    /// What happened to it then, with the event that tells of it.
    pub(super) steps: Vec<(u64, Step)>,
}

/// Something that happened to a watch.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Heard(WatchResponse),
    Closed,
    Resumed { member: MemberNo, start_revision: i64 },
}

impl Watch {
    /// Whether a change of a key is among those that were asked for.
    pub(super) fn matches(&self, key: &str, kind: WatchEventKind) -> bool {
        let filter = match kind {
            WatchEventKind::Put => WatchFilter::NoPut,
            WatchEventKind::Delete => WatchFilter::NoDelete,
        };
        self.request.keys.contains(key) && !self.request.filters.contains(&filter)
    }
}

/// The watches of the present cluster, in the order in which they were opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    watches: Vec<Watch>,
    places: BTreeMap<WatchId, usize>,
}

impl Watches {
    pub(super) fn observe(&mut self, numbered: &Numbered) {
        let seq = numbered.seq;
        match &numbered.event {
            Event::RunStarted { .. } => *self = Self::default(),
            Event::WatchOpened { watch, member, request, .. } => {
                let (watch, member, request) = (*watch, *member, request.clone());
                self.places.insert(watch, self.watches.len());
                let steps = Vec::new();
                self.watches.push(Watch { watch, request, member, opened: seq, steps });
            }
            Event::WatchHeard { watch, response } => {
                self.add(*watch, seq, Step::Heard(response.as_ref().clone()));
            }
            Event::WatchClosed { watch, .. } => self.add(*watch, seq, Step::Closed),
            Event::WatchResumed { watch, member, start_revision } => {
                let (member, start_revision) = (*member, *start_revision);
                self.add(*watch, seq, Step::Resumed { member, start_revision });
            }
            _ => {}
        }
    }

    fn add(&mut self, watch: WatchId, seq: u64, step: Step) {
        if let Some(place) = self.places.get(&watch) {
            self.watches[*place].steps.push((seq, step));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Watch> {
        self.watches.iter()
    }
}

/// One change as a watch was told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) watch: WatchId,
    /// The event that tells of it.
    pub(super) seq: u64,
    pub(super) event: &'a WatchEvent,
}

impl<'a> Told<'a> {
    pub(super) fn is_put(&self) -> bool {
        self.event.kind == WatchEventKind::Put
    }

    /// The key and the value.
    pub(super) fn row(&self) -> (&'a str, &'a str) {
        (&self.event.row.key, &self.event.row.value)
    }
}

/// Of each revision, what any watch was told that it changed: of each key, what was told first.
pub(super) fn by_revision(watches: &Watches) -> BTreeMap<i64, Vec<Told<'_>>> {
    let mut by_revision: BTreeMap<i64, Vec<Told<'_>>> = BTreeMap::new();
    for watch in watches.iter() {
        for (seq, step) in &watch.steps {
            let Step::Heard(WatchResponse { told: WatchTold::Events(events), .. }) = step else {
                continue;
            };
            for event in events {
                let told = Told { watch: watch.watch, seq: *seq, event };
                by_revision.entry(event.row.mod_revision).or_default().push(told);
            }
        }
    }
    for told in by_revision.values_mut() {
        told.sort_by_key(|told| (&told.event.row.key, told.seq));
        told.dedup_by_key(|told| &told.event.row.key);
        told.sort_by_key(|told| told.seq);
    }
    by_revision
}
