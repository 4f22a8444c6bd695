//! A file opened, and the buckets in it.

use std::io::{self, Read, Seek, SeekFrom};

use crate::format::{
    BUCKET_BYTES, HEADER_BYTES, META_BYTES, Meta, MetaFault, PageSize, Shown, u32_at, u64_at,
};

use super::ReadError;
use super::node::Node;
use super::walk::{Pairs, Walk};

/// An open image, in any file or, by [`io::Cursor`], in memory.
///
/// Reads pages as they are needed; holds those of one path from a root to a leaf. Bytes behind the
/// last page, such as a snapshot's hash, are not looked at.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    meta: Meta,
    damaged_meta: Option<(u64, MetaFault)>,
}

impl<R: Read + Seek> Reader<R> {
    /// Finds the meta page that counts: of those that are whole, the newer one.
    ///
    /// # Errors
    /// A file that is none of bbolt's or shorter than it says, and those of the file.
    pub fn open(mut source: R) -> Result<Self, ReadError> {
        let found = source.seek(SeekFrom::End(0))?;
        let first = meta_at(&mut source, 0)?;
        let second = match &first {
            Ok(meta) => meta_at(&mut source, meta.page_size.bytes())?
                .and_then(|second| of_size(second, meta.page_size)),
            Err(_) => second_meta(&mut source)?,
        };
        let (meta, damaged_meta) = match (first, second) {
            (Ok(first), Ok(second)) if second.transaction > first.transaction => (second, None),
            (Ok(first), Ok(_)) => (first, None),
            (Ok(first), Err(fault)) => (first, Some((1, fault))),
            (Err(fault), Ok(second)) => (second, Some((0, fault))),
            (Err(first), Err(second)) => return Err(ReadError::NoMeta { first, second }),
        };
        let expected = u128::from(meta.pages) * u128::from(meta.page_size.bytes());
        if expected > u128::from(found) {
            return Err(ReadError::Short { pages: meta.pages, expected, found });
        }
        Ok(Self { source, meta, damaged_meta })
    }

    /// What the file says of itself.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The meta page that is damaged, if one is. The other one counts then; if the damaged one was
    /// newer, the last transaction is missing from what is read.
    #[must_use]
    pub fn damaged_meta(&self) -> Option<(u64, MetaFault)> {
        self.damaged_meta
    }

    /// The names of all buckets, ascending.
    ///
    /// # Errors
    /// Damage of the root bucket, and those of the file.
    pub fn buckets(&mut self) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut names = Vec::new();
        self.visit_buckets(|name, _, _| {
            names.push(name.to_vec());
            None::<()>
        })?;
        Ok(names)
    }

    /// Walks a bucket's pairs, ascending by key; none if there is no such bucket.
    ///
    /// # Errors
    /// Damage up to the bucket's root, and those of the file.
    pub fn bucket(&mut self, name: &[u8]) -> Result<Option<Pairs<'_, R>>, ReadError> {
        let found =
            self.visit_buckets(|this, page, value| (this == name).then(|| (page, value.to_vec())))?;
        let Some((page, value)) = found else { return Ok(None) };
        if value.len() < BUCKET_BYTES {
            let fault = format!("bucket {} has {} bytes", Shown(name), value.len());
            return Err(ReadError::damaged(page, fault));
        }
        let walk = match u64_at(&value, 0) {
            0 => Walk::inline(self, Node::parse(page, value[BUCKET_BYTES..].to_vec())?)?,
            root => Walk::new(self, root)?,
        };
        Ok(Some(Pairs::new(walk)))
    }

    /// Shows `visit` each bucket's name, the page that says so and its value, until it has found
    /// something.
    fn visit_buckets<T>(
        &mut self,
        mut visit: impl FnMut(&[u8], u64, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        let root = self.meta.root;
        let mut walk = Walk::new(self, root)?;
        while let Some((leaf, entry)) = walk.next()? {
            let name = leaf.bytes(&entry.key);
            if !entry.bucket {
                let fault = format!("the root bucket has a pair {}", Shown(name));
                return Err(ReadError::damaged(leaf.page(), fault));
            }
            if let Some(found) = visit(name, leaf.page(), leaf.bytes(&entry.value)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Reads a page of a tree and those that overflow from it; returns how many they are, too.
    pub(super) fn node(&mut self, page: u64) -> Result<(Node, u64), ReadError> {
        let size = self.meta.page_size.bytes();
        if !(2..self.meta.pages).contains(&page) {
            let fault = format!("there is no such page of a tree, of {} pages", self.meta.pages);
            return Err(ReadError::damaged(page, fault));
        }
        // Pages below the count of pages lie within the file: `open` has looked.
        self.source.seek(SeekFrom::Start(page * size))?;
        let mut bytes = vec![0; self.meta.page_size.len()];
        self.source.read_exact(&mut bytes)?;
        let (number, overflow) = (u64_at(&bytes, 0), u32_at(&bytes, HEADER_BYTES - 4));
        if number != page {
            return Err(ReadError::damaged(page, format!("it says that it is page {number}")));
        }
        let count = 1 + u64::from(overflow);
        if count > self.meta.pages - page {
            let fault = format!("its overflow of {overflow} pages is beyond the last page");
            return Err(ReadError::damaged(page, fault));
        }
        let rest = u64::from(overflow) * size;
        (&mut self.source).take(rest).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != rest + size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok((Node::parse(page, bytes)?, count))
    }
}

/// The meta page that begins at byte `start`.
fn meta_at(
    source: &mut (impl Read + Seek),
    start: u64,
) -> Result<Result<Meta, MetaFault>, io::Error> {
    source.seek(SeekFrom::Start(start))?;
    let mut page = Vec::with_capacity(META_BYTES);
    source.take(META_BYTES as u64).read_to_end(&mut page)?;
    Ok(Meta::decode(&page))
}

/// The second meta page of a file whose first does not say how long a page is.
fn second_meta(source: &mut (impl Read + Seek)) -> Result<Result<Meta, MetaFault>, io::Error> {
    let mut fault = None;
    for size in PageSize::all() {
        match meta_at(source, size.bytes())?.and_then(|meta| of_size(meta, size)) {
            Ok(meta) => return Ok(Ok(meta)),
            // One that is there and wrong says more than a place where none is.
            Err(found @ (MetaFault::Missing | MetaFault::Magic(_))) => {
                fault = fault.or(Some(found));
            }
            Err(found) => fault = Some(found),
        }
    }
    Ok(Err(fault.unwrap_or(MetaFault::Missing)))
}

/// A meta page belongs where its own page size puts it.
fn of_size(meta: Meta, size: PageSize) -> Result<Meta, MetaFault> {
    if meta.page_size == size {
        Ok(meta)
    } else {
        Err(MetaFault::PageSize(u32::try_from(meta.page_size.bytes()).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use crate::format::{BUCKET_FLAG, Kind, header};
    use crate::{Pair, Plan, WriteError};

    use super::*;

    /// An element of a leaf, the only one.
    fn element(flags: u32, key: &[u8], value: &[u8]) -> Vec<u8> {
        let words = [flags, 16, key.len() as u32, value.len() as u32];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend([key, value].concat());
        bytes
    }

    /// An image of one bucket `b`, whose value is `value`.
    fn image(value: &[u8]) -> Vec<u8> {
        let fill = |image: &mut crate::Image<'_>| image.bucket(b"b");
        let plan = Plan::measure::<WriteError>(PageSize::MIN, fill).unwrap();
        let mut image = Vec::new();
        plan.write::<WriteError>(&mut image, fill).unwrap();
        // Page 3 is the bucket's, page 4 the root bucket's.
        let mut root = header(4, Kind::Leaf as u16, 1, 0).to_vec();
        root.extend(element(BUCKET_FLAG, b"b", value));
        image[4 * 1024..4 * 1024 + root.len()].copy_from_slice(&root);
        image
    }

    /// The pairs of bucket `b`, or what is wrong with it.
    fn pairs(image: &[u8]) -> Result<Vec<Pair>, String> {
        read(image).map_err(|error| error.to_string())
    }

    fn read(image: &[u8]) -> Result<Vec<Pair>, ReadError> {
        let mut reader = Reader::open(Cursor::new(image))?;
        reader.bucket(b"b")?.unwrap().collect()
    }

    #[test]
    fn an_inline_bucket_is_read() {
        let inline = |kind, count| {
            let head = [[0; BUCKET_BYTES], header(0, kind, count, 0)].concat();
            [head, element(0, b"k", b"v")].concat()
        };
        let one = Ok(vec![Pair { key: b"k".to_vec(), value: b"v".to_vec() }]);
        assert_eq!(pairs(&image(&inline(2, 1))), one);
        assert_eq!(pairs(&image(&inline(2, 0))), Ok(Vec::new()));
        for (value, said) in [
            (inline(1, 0), "page 4: an inline bucket is a branch"),
            (inline(4, 1), "page 4: its kind 0x4 is none of a tree"),
            (inline(2, 9), "page 4: its 9 elements do not fit"),
            (inline(2, 1)[..20].to_vec(), "page 4: it ends within its header"),
            (vec![0; 15], "page 4: bucket \"b\" has 15 bytes"),
        ] {
            assert_eq!(pairs(&image(&value)), Err(said.to_owned()));
        }
    }

    #[test]
    fn a_file_without_a_freelist_is_read() {
        let mut image = image(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let meta = *Reader::open(Cursor::new(&image)).unwrap().meta();
        let newer = Meta { freelist: None, transaction: 8, ..meta }.encode(0);
        image[..newer.len()].copy_from_slice(&newer);
        let reader = Reader::open(Cursor::new(&image)).unwrap();
        assert_eq!((reader.meta().freelist, reader.meta().transaction), (None, 8));
        assert_eq!(pairs(&image), Ok(Vec::new()));
    }

    #[test]
    fn the_second_meta_page_is_found_at_any_page_size() {
        for size in PageSize::all() {
            let fill = |image: &mut crate::Image<'_>| image.bucket(b"b");
            let plan = Plan::measure::<WriteError>(size, fill).unwrap();
            let mut image = Vec::new();
            plan.write::<WriteError>(&mut image, fill).unwrap();
            image[..META_BYTES].fill(0);
            let reader = Reader::open(Cursor::new(&image)).unwrap();
            assert_eq!(reader.meta().page_size, size);
            assert_eq!(reader.damaged_meta(), Some((0, MetaFault::Magic(0))));
        }
    }
}
