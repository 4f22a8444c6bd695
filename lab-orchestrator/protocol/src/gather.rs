//! Sets and maps out of an iterator, one item after the other.
//!
//! `collect` sorts what it is given first, and brings a whole sort along for each type of item: five
//! thousand bytes of the page, for sets of at most a few dozen members and links.

use std::collections::{BTreeMap, BTreeSet};

/// The set of these items.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

/// The map of these pairs; of pairs with the same key the last one stays.
pub fn map<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(pairs);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_collect_would() {
        assert_eq!(set([3, 1, 2, 1]), BTreeSet::from([1, 2, 3]));
        assert_eq!(map([(1, 'a'), (1, 'b')]), BTreeMap::from([(1, 'b')]));
    }
}
