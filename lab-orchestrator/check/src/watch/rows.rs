//! The rows of the store from revision to revision, as far as they are known.

/// What is known of each key.
pub(super) struct Rows<'a> {
    rows: Vec<Before<'a>>,
}

/// A key before a change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before<'a> {
    /// Something may have happened to it of which nobody knows.
    Unknown,
    /// Its row, or that it was not there.
    Known(Option<Held<'a>>),
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a> {
    pub(super) value: &'a str,
    pub(super) lease: i64,
    /// The revision that wrote it.
    pub(super) revision: i64,
    /// The revision that created it and the writes since, if nothing unknown had a part in it.
    pub(super) count: Option<(i64, i64)>,
}

impl<'a> Rows<'a> {
    /// An empty store.
    pub(super) fn new(keys: usize) -> Self {
        Self { rows: vec![Before::Known(None); keys] }
    }

    /// A row was there when the window began.
    pub(super) fn was_there(&mut self, key: usize, value: &'a str, revision: i64) {
        let held = Held { value, lease: 0, revision, count: None };
        self.rows[key] = Before::Known(Some(held));
    }

    pub(super) fn get(&self, key: usize) -> Before<'a> {
        self.rows[key]
    }

    /// Writes a row; what was there before, and the row.
    pub(super) fn put(
        &mut self,
        key: usize,
        revision: i64,
        value: &'a str,
        lease: i64,
    ) -> (Before<'a>, Held<'a>) {
        let before = self.rows[key];
        let count = match before {
            Before::Unknown => None,
            Before::Known(None) => Some((revision, 1)),
            Before::Known(Some(held)) => held.count.map(|(created, writes)| (created, writes + 1)),
        };
        let held = Held { value, lease, revision, count };
        self.rows[key] = Before::Known(Some(held));
        (before, held)
    }

    /// The key is not there from here on; what was there before.
    pub(super) fn remove(&mut self, key: usize) -> Before<'a> {
        std::mem::replace(&mut self.rows[key], Before::Known(None))
    }

    /// Nothing is known of the key any more.
    pub(super) fn doubt(&mut self, key: usize) {
        self.rows[key] = Before::Unknown;
    }

    /// The keys that are known to be attached to a lease.
    pub(super) fn of_lease(&self, lease: i64) -> impl Iterator<Item = usize> {
        let rows = self.rows.iter().enumerate();
        let attached = rows.filter(move |(_, row)| match row {
            Before::Known(Some(held)) => held.lease == lease,
            Before::Known(None) | Before::Unknown => false,
        });
        attached.map(|(key, _)| key)
    }

    /// Takes somebody's word for when a row was created and how often it has been written since.
    pub(super) fn learn(&mut self, key: usize, count: (i64, i64)) {
        if let Before::Known(Some(held)) = &mut self.rows[key] {
            held.count.get_or_insert(count);
        }
    }
}

/// Whether a row of this revision can have been created then and written so often since.
pub(super) fn is_plausible(revision: i64, (created, writes): (i64, i64)) -> bool {
    writes >= 1 && (writes == 1) == (created == revision) && (2..=revision).contains(&created)
}
