//! One change at one place of what a watch was told, such that a promise is broken.

use lab_protocol::{
    Event, Numbered, WatchEvent, WatchEventKind, WatchId, WatchResponse, WatchTold,
};

use crate::made::Chances;

/// Each kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mutation {
    /// A change is left out, though a later one is told.
    LeftOut,
    /// A change is told twice.
    Twice,
    /// Two changes are told in the other order.
    Swapped,
    /// A revision is told in two responses.
    Split,
    /// A row written is another.
    Row,
    /// A put is told as a deletion, or the other way.
    Kind,
    /// A key is told that was not asked for.
    Key,
    /// A row before is another, left out, or not asked for.
    Prev,
    /// A bookmark is ahead of what is told behind it.
    Bookmark,
    /// A change is told in a response from before it.
    Header,
    /// A watch is compacted that would have to be told on.
    Compacted,
}

pub(crate) const ALL: [Mutation; 11] = [
    Mutation::LeftOut,
    Mutation::Twice,
    Mutation::Swapped,
    Mutation::Split,
    Mutation::Row,
    Mutation::Kind,
    Mutation::Key,
    Mutation::Prev,
    Mutation::Bookmark,
    Mutation::Header,
    Mutation::Compacted,
];

/// Breaks a promise at a place that chance picks; false if no place will do.
pub(crate) fn mutate(
    events: &mut Vec<Numbered>,
    mutation: Mutation,
    chances: &mut Chances,
) -> bool {
    let first = chances.below(events.len());
    let changed = (first..events.len()).chain(0..first).any(|place| {
        let later = next_told(events, place);
        let Event::WatchHeard { watch, response } = &mut events[place].event else { return false };
        let (watch, at) = (*watch, response.revision);
        match (&mut response.told, mutation, later) {
            (WatchTold::Events(told), Mutation::Split, _) => {
                let Some(behind) = told.iter().rposition(in_one_revision(told)) else {
                    return false;
                };
                let rest = WatchTold::Events(told.split_off(behind));
                let response = Box::new(WatchResponse { revision: at, told: rest });
                let at_micros = events[place].at_micros;
                let event = Event::WatchHeard { watch, response };
                events.insert(place + 1, Numbered { seq: 0, at_micros, event });
                true
            }
            (WatchTold::Events(_), Mutation::Bookmark, Some(later)) => {
                let told = WatchTold::Progress;
                let response = Box::new(WatchResponse { revision: later, told });
                let at_micros = events[place].at_micros;
                let event = Event::WatchHeard { watch, response };
                events.insert(place + 1, Numbered { seq: 0, at_micros, event });
                true
            }
            (WatchTold::Events(told), Mutation::Header, _) => {
                response.revision = told.last().map_or(0, |event| event.row.mod_revision) - 1;
                true
            }
            (told @ WatchTold::Events(_), Mutation::Compacted, _) => {
                // Nobody asks for the compaction of so far a revision.
                *told = WatchTold::Compacted { compact_revision: 1_000_000 };
                true
            }
            (WatchTold::Events(told), mutation, later) => {
                told_otherwise(told, mutation, later, chances)
            }
            _ => false,
        }
    });
    for (seq, numbered) in (1..).zip(events) {
        numbered.seq = seq;
    }
    changed
}

/// Whether the event at a place has the revision of the one before it.
fn in_one_revision(told: &[WatchEvent]) -> impl Fn(&WatchEvent) -> bool {
    let repeated: Vec<i64> = told
        .windows(2)
        .filter(|pair| pair[0].row.mod_revision == pair[1].row.mod_revision)
        .map(|pair| pair[0].row.mod_revision)
        .collect();
    move |event| repeated.contains(&event.row.mod_revision)
}

/// The revision that the next response of the same stream tells of.
fn next_told(events: &[Numbered], place: usize) -> Option<i64> {
    let id = |event: &Event| -> Option<WatchId> {
        match event {
            Event::WatchHeard { watch, .. }
            | Event::WatchClosed { watch, .. }
            | Event::WatchResumed { watch, .. } => Some(*watch),
            _ => None,
        }
    };
    let watch = id(&events[place].event)?;
    for Numbered { event, .. } in &events[place + 1..] {
        if id(event) != Some(watch) {
            continue;
        }
        match event {
            Event::WatchHeard { response, .. } => match &response.told {
                WatchTold::Events(told) => return told.first().map(|event| event.row.mod_revision),
                WatchTold::Created | WatchTold::Progress => {}
                WatchTold::Compacted { .. } | WatchTold::Canceled { .. } => return None,
            },
            _ => return None,
        }
    }
    None
}

fn told_otherwise(
    told: &mut Vec<WatchEvent>,
    mutation: Mutation,
    later: Option<i64>,
    chances: &mut Chances,
) -> bool {
    let place = chances.below(told.len());
    let last = told.last().map(|event| event.row.mod_revision);
    let event = &mut told[place];
    let revision = event.row.mod_revision;
    match mutation {
        Mutation::LeftOut => {
            let is_followed = later.is_some() || last.is_some_and(|last| last > revision);
            if is_followed {
                told.remove(place);
            }
            is_followed
        }
        Mutation::Twice => {
            let again = event.clone();
            told.insert(place + chances.below(2), again);
            true
        }
        Mutation::Swapped => {
            let other = told.iter().position(|event| event.row.mod_revision != revision);
            if let Some(other) = other {
                told.swap(place, other);
            }
            other.is_some()
        }
        Mutation::Row => {
            if event.kind == WatchEventKind::Delete {
                return false;
            }
            match chances.below(4) {
                0 => event.row.value.push('x'),
                1 => event.row.version += 1,
                2 => event.row.create_revision -= 1,
                _ => event.row.lease += 1000,
            }
            true
        }
        Mutation::Kind => {
            event.kind = match event.kind {
                WatchEventKind::Put => WatchEventKind::Delete,
                WatchEventKind::Delete => WatchEventKind::Put,
            };
            true
        }
        Mutation::Key => {
            event.row.key.push('x');
            true
        }
        Mutation::Prev => {
            match &mut event.prev {
                Some(prev) if chances.below(2) == 0 => prev.value.push('x'),
                Some(prev) if chances.below(2) == 0 => prev.version += 1,
                Some(prev) => prev.mod_revision -= 1,
                None => event.prev = Some(event.row.clone()),
            }
            true
        }
        Mutation::Split | Mutation::Bookmark | Mutation::Header | Mutation::Compacted => false,
    }
}
