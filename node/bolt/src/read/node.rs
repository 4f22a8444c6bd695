//! The bytes of one page, checked.

use std::ops::Range;

use crate::format::{
    BUCKET_FLAG, ELEMENT_BYTES, HEADER_BYTES, Kind, Shown, u16_at, u32_at, u64_at,
};

use super::ReadError;

/// A leaf or a branch whose elements are known to lie inside it, keys ascending.
#[derive(Debug)]
pub(super) struct Node {
    page: u64,
    bytes: Vec<u8>,
    pub(super) elements: Elements,
}

#[derive(Debug)]
pub(super) enum Elements {
    Branch(Vec<Below>),
    Leaf(Vec<Entry>),
}

/// A branch's element.
#[derive(Debug)]
pub(super) struct Below {
    pub(super) key: Range<usize>,
    pub(super) page: u64,
}

/// A leaf's element.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
    pub(super) bucket: bool,
}

impl Node {
    /// Reads the node of page `page`; `bytes` begin with its header and end with its last page.
    pub(super) fn parse(page: u64, bytes: Vec<u8>) -> Result<Self, ReadError> {
        let fault = |fault: String| ReadError::Damaged { page, fault };
        if bytes.len() < HEADER_BYTES {
            return Err(fault("it ends within its header".to_owned()));
        }
        let kind = match u16_at(&bytes, 8) {
            1 => Kind::Branch,
            2 => Kind::Leaf,
            other => return Err(fault(format!("its kind {other:#x} is none of a tree"))),
        };
        let count = usize::from(u16_at(&bytes, 10));
        let mut places = Places { bytes: &bytes, free: HEADER_BYTES + count * ELEMENT_BYTES };
        if places.free > bytes.len() {
            return Err(fault(format!("its {count} elements do not fit")));
        }
        let elements = match kind {
            Kind::Branch => (0..count)
                .map(|at| places.below(at))
                .collect::<Result<_, _>>()
                .map(Elements::Branch),
            Kind::Leaf => {
                (0..count).map(|at| places.entry(at)).collect::<Result<_, _>>().map(Elements::Leaf)
            }
        }
        .map_err(fault)?;
        let node = Self { page, bytes, elements };
        node.check_order()?;
        Ok(node)
    }

    /// The page it is in.
    pub(super) fn page(&self) -> u64 {
        self.page
    }

    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    pub(super) fn len(&self) -> usize {
        match &self.elements {
            Elements::Branch(below) => below.len(),
            Elements::Leaf(entries) => entries.len(),
        }
    }

    /// The key of the element at `at`, which is there.
    fn key(&self, at: usize) -> &[u8] {
        match &self.elements {
            Elements::Branch(below) => self.bytes(&below[at].key),
            Elements::Leaf(entries) => self.bytes(&entries[at].key),
        }
    }

    pub(super) fn first_key(&self) -> Option<&[u8]> {
        (self.len() > 0).then(|| self.key(0))
    }

    pub(super) fn last_key(&self) -> Option<&[u8]> {
        self.len().checked_sub(1).map(|last| self.key(last))
    }

    fn check_order(&self) -> Result<(), ReadError> {
        for at in 1..self.len() {
            let (before, key) = (self.key(at - 1), self.key(at));
            if before >= key {
                let fault = format!("key {} comes after {}", Shown(key), Shown(before));
                return Err(ReadError::damaged(self.page, fault));
            }
        }
        Ok(())
    }
}

/// Finds the keys and values of one element after the other.
struct Places<'a> {
    bytes: &'a [u8],
    /// Where the last one ended; none begins before.
    free: usize,
}

impl Places<'_> {
    fn below(&mut self, at: usize) -> Result<Below, String> {
        let start = HEADER_BYTES + at * ELEMENT_BYTES;
        let (position, key) = (u32_at(self.bytes, start), u32_at(self.bytes, start + 4));
        let (key, _) = self.take(at, start, [position, key, 0])?;
        Ok(Below { key, page: u64_at(self.bytes, start + 8) })
    }

    fn entry(&mut self, at: usize) -> Result<Entry, String> {
        let start = HEADER_BYTES + at * ELEMENT_BYTES;
        let [flags, position, key, value] =
            [0, 4, 8, 12].map(|field| u32_at(self.bytes, start + field));
        if flags & !BUCKET_FLAG != 0 {
            return Err(format!("element {at} has the flags {flags:#x}"));
        }
        let (key, value) = self.take(at, start, [position, key, value])?;
        Ok(Entry { key, value, bucket: flags == BUCKET_FLAG })
    }

    /// The ranges of key and value of the element that begins at `start`.
    fn take(
        &mut self,
        at: usize,
        start: usize,
        [position, key, value]: [u32; 3],
    ) -> Result<(Range<usize>, Range<usize>), String> {
        let begin = start as u64 + u64::from(position);
        let middle = begin + u64::from(key);
        let end = middle + u64::from(value);
        if begin < self.free as u64 {
            return Err(format!("element {at} begins at byte {begin}, within another"));
        }
        if end > self.bytes.len() as u64 {
            return Err(format!(
                "element {at} ends at byte {end}, and the page has {}",
                self.bytes.len()
            ));
        }
        // All three are within the bytes.
        let [begin, middle, end] = [begin, middle, end].map(|place| place as usize);
        self.free = end;
        Ok((begin..middle, middle..end))
    }
}
