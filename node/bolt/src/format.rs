//! The fields of a bbolt file: page header, meta page, elements of branches and leaves.
//!
//! All integers are little endian. A page is known by its number, its place in the file divided by
//! the page size. Each begins with a header:
//!
//! ```text
//!  0          8       10      12         16
//!  ┌──────────┬───────┬───────┬──────────┬─
//!  │ number   │ kind  │ count │ overflow │ …     overflow: pages that follow and belong to it
//!  └──────────┴───────┴───────┴──────────┴─
//! ```
//!
//! Behind it a meta page (kind 4) has, from byte 16 of the page on:
//!
//! ```text
//!  0       4         8       12      16     24         32         40      48      56         64
//!  ┌───────┬─────────┬───────┬───────┬──────┬──────────┬──────────┬───────┬───────┬──────────┐
//!  │ magic │ version │ page  │ flags │ root │ root's   │ page of  │ count │ trans-│ FNV-64a  │
//!  │       │ 2       │ size  │ 0     │ page │ sequence │ freelist │of pages│action │ of 0..56 │
//!  └───────┴─────────┴───────┴───────┴──────┴──────────┴──────────┴───────┴───────┴──────────┘
//! ```
//!
//! The meta page with the higher transaction counts. A leaf (kind 2) or branch (kind 1) has `count`
//! elements of 16 bytes and behind them keys and values, in the same order:
//!
//! ```text
//!   leaf    │ flags u32 │ position u32 │ key bytes u32 │ value bytes u32 │
//!   branch  │ position u32 │ key bytes u32 │ child page u64              │
//! ```
//!
//! A position counts from the beginning of its own element. A branch's key is at most the first key
//! below that child. Flag 1 of a leaf's element says that the value is a bucket: root page u64,
//! sequence u64. Where that root page is 0, the bucket is inline: a leaf without a page of its own
//! follows in the value.
//!
//! Source: `etcd-io/bbolt`, the structures of `page.go`, `bucket.go` and `db.go`.

use std::fmt;

/// Bytes of a page's header, and of each element.
pub(crate) const HEADER_BYTES: usize = 16;
/// Bytes of an element, in leaf and branch.
pub(crate) const ELEMENT_BYTES: usize = 16;
/// Bytes of a bucket's value: root page and sequence.
pub(crate) const BUCKET_BYTES: usize = 16;
/// Bytes of a meta page that count, its header included.
pub(crate) const META_BYTES: usize = HEADER_BYTES + 64;
/// The flag of an element whose value is a bucket.
pub(crate) const BUCKET_FLAG: u32 = 1;
/// The kind of a page that lists free pages.
pub(crate) const FREELIST_KIND: u16 = 0x10;
/// The page number that stands for "no list of free pages was written".
const NO_FREELIST: u64 = u64::MAX;
/// Longest key that bbolt takes.
pub(crate) const MAX_KEY_BYTES: usize = 32_768;
/// Longest value that bbolt takes.
pub(crate) const MAX_VALUE_BYTES: usize = (1 << 31) - 2;

const META_KIND: u16 = 4;
const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// What a page of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keys with the pages below them.
    Branch = 1,
    /// Keys with values.
    Leaf = 2,
}

/// Bytes of a page: a power of two from 1 KiB to 64 KiB.
///
/// etcd takes that of the machine it first ran on; a file keeps the size it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// The smallest that is known.
    pub const MIN: Self = Self(1 << 10);
    /// The largest that is known.
    pub const MAX: Self = Self(1 << 16);

    /// The size of `bytes`; none if it is not a page size.
    #[must_use]
    pub fn new(bytes: u32) -> Option<Self> {
        let fits = (Self::MIN.0..=Self::MAX.0).contains(&bytes) && bytes.is_power_of_two();
        fits.then_some(Self(bytes))
    }

    /// Every page size, smallest first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (Self::MIN.0.trailing_zeros()..=Self::MAX.0.trailing_zeros()).map(|bits| Self(1 << bits))
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// In bytes, to slice with.
    pub(crate) fn len(self) -> usize {
        self.0 as usize
    }
}

impl Default for PageSize {
    /// 4 KiB, that of most machines.
    fn default() -> Self {
        Self(4096)
    }
}

/// What a meta page says of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of a page.
    pub page_size: PageSize,
    /// The page of the root bucket.
    pub root: u64,
    /// The page that lists the free pages; none in a file that was written without.
    pub freelist: Option<u64>,
    /// How many pages there are; no number reaches it.
    pub pages: u64,
    /// The transaction that wrote this meta page.
    pub transaction: u64,
}

/// Why a meta page is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaFault {
    /// The file ends before it.
    Missing,
    /// It does not begin as one of bbolt's.
    Magic(u32),
    /// Of another version of the format.
    Version(u32),
    /// Not a page size, or not that of its place.
    PageSize(u32),
    /// Its checksum is another one.
    Checksum,
    /// The root bucket's page is none of a tree.
    Root(u64),
}

impl fmt::Display for MetaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "the file ends before it"),
            Self::Magic(found) => write!(f, "its magic number is {found:#010x}"),
            Self::Version(found) => write!(f, "its version is {found}, not {VERSION}"),
            Self::PageSize(found) => write!(f, "its page size is {found}"),
            Self::Checksum => write!(f, "its checksum is wrong"),
            Self::Root(page) => write!(f, "its root bucket is in page {page}"),
        }
    }
}

impl Meta {
    /// The page with number `number`, as far as it counts.
    pub(crate) fn encode(&self, number: u64) -> Vec<u8> {
        let Self { page_size, root, freelist, pages, transaction } = *self;
        let mut page = header(number, META_KIND, 0, 0).to_vec();
        for word in [MAGIC, VERSION, page_size.0, 0] {
            page.extend(word.to_le_bytes());
        }
        for word in [root, 0, freelist.unwrap_or(NO_FREELIST), pages, transaction] {
            page.extend(word.to_le_bytes());
        }
        page.extend(fnv64a(&page[HEADER_BYTES..]).to_le_bytes());
        page
    }

    /// Reads a meta page; what is behind the fields is not looked at.
    pub(crate) fn decode(page: &[u8]) -> Result<Self, MetaFault> {
        if page.len() < META_BYTES {
            return Err(MetaFault::Missing);
        }
        let meta = &page[HEADER_BYTES..META_BYTES];
        if u32_at(meta, 0) != MAGIC {
            return Err(MetaFault::Magic(u32_at(meta, 0)));
        }
        if u32_at(meta, 4) != VERSION {
            return Err(MetaFault::Version(u32_at(meta, 4)));
        }
        if fnv64a(&meta[..56]) != u64_at(meta, 56) {
            return Err(MetaFault::Checksum);
        }
        let bytes = u32_at(meta, 8);
        let page_size = PageSize::new(bytes).ok_or(MetaFault::PageSize(bytes))?;
        let (root, pages) = (u64_at(meta, 16), u64_at(meta, 40));
        if root < 2 || root >= pages {
            return Err(MetaFault::Root(root));
        }
        let freelist = Some(u64_at(meta, 32)).filter(|page| *page != NO_FREELIST);
        Ok(Self { page_size, root, freelist, pages, transaction: u64_at(meta, 48) })
    }
}

/// The beginning of a page.
pub(crate) fn header(number: u64, kind: u16, count: u16, overflow: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&number.to_le_bytes());
    header[8..10].copy_from_slice(&kind.to_le_bytes());
    header[10..12].copy_from_slice(&count.to_le_bytes());
    header[12..].copy_from_slice(&overflow.to_le_bytes());
    header
}

/// The integer at `at`, which is inside.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The integer at `at`, which is inside.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// The integer at `at`, which is inside.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// FNV-64a, the checksum of a meta page.
fn fnv64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The longest part of a key that an error shows.
const SHOWN_BYTES: usize = 40;

/// Bytes for a person: text where they are text, escapes where not, cut where they are long.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_64a() {
        // Test vectors of the authors, `draft-eastlake-fnv`.
        assert_eq!(fnv64a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv64a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv64a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_meta_page_reads_back() {
        for freelist in [Some(2), None] {
            let meta =
                Meta { page_size: PageSize::MAX, root: 9, freelist, pages: 10, transaction: 7 };
            assert_eq!(Meta::decode(&meta.encode(1)), Ok(meta));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_meta_page_is_found() {
        let meta = Meta {
            page_size: PageSize::default(),
            root: 9,
            freelist: Some(2),
            pages: 10,
            transaction: 7,
        };
        for bit in HEADER_BYTES * 8..META_BYTES * 8 {
            let mut page = meta.encode(0);
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::decode(&page).is_err(), "bit {bit}");
        }
        for length in 0..META_BYTES {
            assert_eq!(Meta::decode(&meta.encode(0)[..length]), Err(MetaFault::Missing));
        }
    }

    #[test]
    fn a_page_size_is_a_power_of_two_within_bounds() {
        for (bytes, right) in
            [(0, false), (512, false), (1024, true), (4097, false), (65536, true), (131_072, false)]
        {
            assert_eq!(PageSize::new(bytes).is_some(), right, "{bytes}");
        }
        assert_eq!(PageSize::all().count(), 7);
    }

    #[test]
    fn a_long_key_is_shown_cut() {
        assert_eq!(Shown(b"a\x00b").to_string(), r#""a\x00b""#);
        assert!(Shown(&[b'x'; 99]).to_string().ends_with("x\"… (99 bytes)"));
    }
}
