//! Which keys a request means: one, a half-open range, or all from one on.

use std::ops::Bound;

use bytes::Bytes;

/// The keys a request means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRange {
    /// This key alone.
    Key(Bytes),
    /// From the first key up to, not including, the second; empty when they are not in order.
    Between(Bytes, Bytes),
    /// This key and every later one.
    From(Bytes),
}

impl KeyRange {
    /// Reads the pair of fields every request has. An empty `range_end` means the key alone, one
    /// zero byte means every key from `key` on.
    pub fn new(key: &Bytes, range_end: &Bytes) -> Self {
        match range_end.as_ref() {
            [] => Self::Key(key.clone()),
            [0] => Self::From(key.clone()),
            _ => Self::Between(key.clone(), range_end.clone()),
        }
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Key(_) | Self::From(_) => false,
            Self::Between(first, end) => first >= end,
        }
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(only) => only == key,
            Self::Between(first, end) => first <= key && key < end.as_ref(),
            Self::From(first) => first <= key,
        }
    }

    /// Whether some possible key is in both.
    pub fn intersects(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(key), range) | (range, Self::Key(key)) => range.contains(key),
            _ if self.is_empty() || other.is_empty() => false,
            _ => {
                self.end().is_none_or(|end| other.first() < end)
                    && other.end().is_none_or(|end| self.first() < end)
            }
        }
    }

    /// The first key that can be in it.
    pub fn first(&self) -> &Bytes {
        match self {
            Self::Key(first) | Self::Between(first, _) | Self::From(first) => first,
        }
    }

    /// The first key after a proper range; `None` for an open end and for a single key.
    fn end(&self) -> Option<&Bytes> {
        match self {
            Self::Between(_, end) => Some(end),
            Self::Key(_) | Self::From(_) => None,
        }
    }

    /// As bounds for a map; a range out of order becomes one that is empty but in order.
    pub(super) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            Self::Key(key) => (Bound::Included(key), Bound::Included(key)),
            Self::Between(first, end) if first < end => {
                (Bound::Included(first), Bound::Excluded(end))
            }
            Self::Between(first, _) => (Bound::Included(first), Bound::Excluded(first)),
            Self::From(first) => (Bound::Included(first), Bound::Unbounded),
        }
    }

    /// The prefix whose keys are exactly this range, when there is one: `[p, p + 1)`.
    pub fn as_prefix(&self) -> Option<&Bytes> {
        let Self::Between(first, end) = self else { return None };
        let (last, body) = end.split_last()?;
        // Trailing 0xff bytes of a prefix carry into the byte before, which shortens the end.
        let (head, tail) = first.split_at_checked(end.len())?;
        let carried = tail.iter().all(|byte| *byte == 0xff);
        let next = head
            .split_last()
            .is_some_and(|(byte, head)| head == body && byte.checked_add(1) == Some(*last));
        (carried && next).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static [u8], end: &'static [u8]) -> KeyRange {
        KeyRange::new(&Bytes::from_static(key), &Bytes::from_static(end))
    }

    #[test]
    fn membership() {
        for (key, end, inside, outside) in [
            (&b"a"[..], &b""[..], vec![&b"a"[..]], vec![&b"a\0"[..], b"b", b""]),
            (b"a", b"\0", vec![b"a", b"a\0", b"\xff\xff"], vec![b"", b"A"]),
            (b"\0", b"\0", vec![b"\0", b"\0\0", b"z"], vec![]),
            (b"a", b"c", vec![b"a", b"b", b"bzz"], vec![b"c", b"A"]),
            (b"c", b"a", vec![], vec![b"a", b"b", b"c"]),
            (b"a", b"a", vec![], vec![b"a"]),
        ] {
            let range = range(key, end);
            for key in inside {
                assert!(range.contains(key), "{range:?} {key:?}");
            }
            for key in outside {
                assert!(!range.contains(key), "{range:?} {key:?}");
            }
        }
    }

    #[test]
    fn prefixes_are_recognised() {
        for (key, end, prefix) in [
            (&b"a"[..], &b"b"[..], true),
            (b"abc", b"abd", true),
            (b"ab\xff", b"ac", true),
            (b"ab\xff\xff", b"ac", true),
            (b"ab", b"ac\0", false),
            (b"ab", b"ad", false),
            (b"abc", b"ac", false),
            (b"a", b"", false),
            (b"a", b"\0", false),
            (b"b", b"a", false),
        ] {
            let range = range(key, end);
            assert_eq!(range.as_prefix().is_some(), prefix, "{range:?}");
        }
    }

    #[test]
    fn intersections_are_symmetric() {
        for (one, other, meet) in [
            (range(b"a", b""), range(b"a", b""), true),
            (range(b"a", b""), range(b"b", b""), false),
            (range(b"a", b"c"), range(b"b", b""), true),
            (range(b"a", b"c"), range(b"c", b""), false),
            (range(b"a", b"c"), range(b"c", b"d"), false),
            (range(b"a", b"c"), range(b"b", b"\0"), true),
            (range(b"a", b"\0"), range(b"z", b"\0"), true),
            (range(b"c", b"a"), range(b"a", b"\0"), false),
        ] {
            assert_eq!(one.intersects(&other), meet, "{one:?} {other:?}");
            assert_eq!(other.intersects(&one), meet, "{other:?} {one:?}");
        }
    }
}
