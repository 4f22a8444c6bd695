//! Watches that come and go: each has a place of its own, is left for a while, and goes on behind
//! the last revision that it was told of.

use std::time::Duration;

use lab_protocol::{ClientNo, KeyRange};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::watcher::{Underway, Watcher};

/// The places of all watches of a mix.
#[derive(Debug)]
pub(super) struct Slots(Vec<Mutex<Slot>>);

#[derive(Debug)]
struct Slot {
    watcher: Watcher,
    underway: Option<Underway>,
    /// Which of the watcher's members comes next.
    turn: usize,
}

impl Slots {
    /// A place for each watcher.
    pub(super) fn new(watchers: impl IntoIterator<Item = Watcher>) -> Self {
        let slot = |watcher| Mutex::new(Slot { watcher, underway: None, turn: 0 });
        Self(watchers.into_iter().map(slot).collect())
    }

    /// Whose watch it is that a mix begins at this place, and what it watches: everything, or what
    /// one kind of errand writes.
    pub(super) fn watched(place: u32) -> (ClientNo, KeyRange) {
        use lab_protocol::mix::{GUARDED, LOCKS, REGISTERS, SETS};
        let under = |prefix: &str| {
            let (front, _) = prefix.split_at(prefix.len() - 1);
            // `0` is the character behind `/`.
            KeyRange { key: prefix.to_owned(), end: Some(format!("{front}0")) }
        };
        let keys = match place % 5 {
            0 => under(REGISTERS),
            1 => under(SETS),
            2 => under(LOCKS),
            3 => under(GUARDED),
            _ => under("w/"),
        };
        (ClientNo(ClientNo::FIRST_MIXED_WATCHING + place), keys)
    }

    /// Watches at one place for so long, unless somebody does already or is told to stop.
    pub(super) async fn watch(&self, place: u32, time: Duration, stopping: &CancellationToken) {
        let Some(slot) = self.0.get(place as usize) else { return };
        let Ok(mut slot) = slot.try_lock() else { return };
        if stopping.is_cancelled() {
            return;
        }
        let ending = stopping.child_token();
        let Slot { watcher, underway, turn } = &mut *slot;
        let (member, origin) = watcher.members[*turn % watcher.members.len()].clone();
        *turn += 1;
        let followed = watcher.follow(member, &origin, underway, &ending);
        let enough = async {
            tokio::time::sleep(time).await;
            ending.cancel();
            // The stream is left in order.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = followed => {}
            () = enough => {}
        }
    }
}
