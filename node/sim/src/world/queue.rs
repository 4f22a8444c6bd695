//! What is due, in the order of its time; of equal times, what was put in first comes first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things that are due. They lie still; what is put in order are their times and places.
pub(super) struct Queue<T> {
    /// (due, number, place) of each.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    things: Vec<Option<T>>,
    free: Vec<usize>,
    numbers: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { order: BinaryHeap::new(), things: Vec::new(), free: Vec::new(), numbers: 0 }
    }

    pub(super) fn push(&mut self, at: u64, thing: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.things.push(None);
            self.things.len() - 1
        });
        self.things[place] = Some(thing);
        self.numbers += 1;
        self.order.push(Reverse((at, self.numbers, place)));
    }

    /// Takes the first, with its time, unless that is after `end`.
    pub(super) fn pop_until(&mut self, end: u64) -> Option<(u64, T)> {
        let Reverse((at, _, place)) = *self.order.peek()?;
        if at > end {
            return None;
        }
        self.order.pop();
        self.free.push(place);
        self.things[place].take().map(|thing| (at, thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_first_and_equals_keep_their_order() {
        let mut queue = Queue::new();
        for (at, thing) in [(5, "d"), (3, "a"), (3, "b"), (9, "e"), (3, "c")] {
            queue.push(at, thing);
        }
        assert_eq!(queue.pop_until(2), None);
        assert_eq!(queue.pop_until(3), Some((3, "a")));
        queue.push(4, "in between");
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop_until(5)).collect();
        assert_eq!(rest, [(3, "b"), (3, "c"), (4, "in between"), (5, "d")]);
        assert_eq!(queue.pop_until(u64::MAX), Some((9, "e")));
        assert_eq!(queue.pop_until(u64::MAX), None);
    }
}
