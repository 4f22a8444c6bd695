//! The two passes, and what a caller puts into an image.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use crate::format::{BUCKET_BYTES, Meta, PageSize};
use crate::hash::Hashing;

use super::WriteError;
use super::pages::{Content, Pages};
use super::tree::Tree;

/// An image as a caller sees it that fills it: one bucket after the other.
pub struct Image<'a> {
    pages: Pages<'a>,
    /// The bucket under way.
    open: Option<(Vec<u8>, Tree)>,
    /// The root pages of those before it.
    closed: BTreeMap<Vec<u8>, u64>,
}

impl Image<'_> {
    /// Begins a bucket; the pairs that follow are in it. Buckets may come in any order, each once,
    /// and may stay empty.
    ///
    /// # Errors
    /// [`WriteError::BucketTwice`], and those of the output.
    pub fn bucket(&mut self, name: &[u8]) -> Result<(), WriteError> {
        self.close()?;
        if self.closed.contains_key(name) {
            return Err(WriteError::BucketTwice(name.to_vec()));
        }
        self.open = Some((name.to_vec(), Tree::new(name)));
        Ok(())
    }

    /// Puts a pair into the bucket under way, behind the pairs before.
    ///
    /// `key` has 1 to 32,768 bytes and is greater than all before, `value` less than 2 GiB.
    ///
    /// # Errors
    /// What is wrong with the pair, and those of the output.
    pub fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        let Some((_, tree)) = &mut self.open else {
            return Err(WriteError::NoBucket(key.to_vec()));
        };
        tree.push(&mut self.pages, key, Content::Value(value))
    }

    fn close(&mut self) -> Result<(), WriteError> {
        if let Some((name, tree)) = self.open.take() {
            let root = tree.finish(&mut self.pages)?;
            self.closed.insert(name, root);
        }
        Ok(())
    }

    /// Writes the root bucket; returns its page and how many pages there are.
    fn finish(mut self) -> Result<(u64, u64), WriteError> {
        self.close()?;
        let mut tree = Tree::new(b"");
        for (name, root) in &self.closed {
            let mut value = [0; BUCKET_BYTES];
            value[..8].copy_from_slice(&root.to_le_bytes());
            tree.push(&mut self.pages, name, Content::Bucket(&value))?;
        }
        let root = tree.finish(&mut self.pages)?;
        Ok((root, self.pages.len()))
    }
}

/// An image that was measured and can be written.
///
/// ```
/// use node_bolt::{Image, Plan, WriteError};
///
/// fn fill(image: &mut Image<'_>) -> Result<(), WriteError> {
///     image.bucket(b"key")?;
///     image.pair(b"a", b"1")
/// }
///
/// let plan = Plan::measure(Default::default(), fill)?;
/// let mut out = Vec::new();
/// plan.write(&mut out, fill)?;
/// assert_eq!(out.len() as u64, plan.image_bytes());
/// # Ok::<(), WriteError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    meta: Meta,
}

impl Plan {
    /// The first pass: `fill` gives everything, and only its size is kept.
    ///
    /// # Errors
    /// Those of `fill`, its own and the image's.
    pub fn measure<E: From<WriteError>>(
        page_size: PageSize,
        fill: impl FnOnce(&mut Image<'_>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let (root, pages) = run(Pages::count(page_size), fill)?;
        Ok(Self { meta: Meta { page_size, root, freelist: Some(2), pages, transaction: 0 } })
    }

    /// How long the image is, the hash behind it not counted.
    #[must_use]
    pub fn image_bytes(&self) -> u64 {
        self.meta.pages * self.meta.page_size.bytes()
    }

    /// The second pass: `fill` gives the same pairs again, and `out` receives exactly
    /// [`Self::image_bytes`], from the first page to the last, in pieces of about 64 KiB.
    ///
    /// # Errors
    /// Those of `fill`, [`WriteError::Changed`] where it gives other pairs than before, and those
    /// of `out`.
    pub fn write<E: From<WriteError>>(
        &self,
        out: &mut dyn Write,
        fill: impl FnOnce(&mut Image<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut out = BufWriter::with_capacity(64 << 10, out);
        let pages = Pages::write(&self.meta, &mut out).map_err(WriteError::Io)?;
        let (root, pages) = run(pages, fill)?;
        if (root, pages) != (self.meta.root, self.meta.pages) {
            return Err(WriteError::Changed { planned: self.meta.pages, page: root }.into());
        }
        Ok(out.flush().map_err(WriteError::Io)?)
    }

    /// As [`Self::write`], and behind the image the 32 bytes of its SHA-256: what a saved snapshot
    /// ends with.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_with_hash<E: From<WriteError>>(
        &self,
        out: &mut dyn Write,
        fill: impl FnOnce(&mut Image<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut hashing = Hashing::new(out);
        self.write(&mut hashing, fill)?;
        Ok(hashing.finish().map_err(WriteError::Io)?)
    }
}

fn run<E: From<WriteError>>(
    pages: Pages<'_>,
    fill: impl FnOnce(&mut Image<'_>) -> Result<(), E>,
) -> Result<(u64, u64), E> {
    let mut image = Image { pages, open: None, closed: BTreeMap::new() };
    fill(&mut image)?;
    Ok(image.finish()?)
}
