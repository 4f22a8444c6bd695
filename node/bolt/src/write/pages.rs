//! Nodes made into pages, numbered and written in the order of the file.

use std::io::{self, Write};

use crate::format::{
    BUCKET_FLAG, ELEMENT_BYTES, FREELIST_KIND, HEADER_BYTES, Kind, Meta, PageSize, header,
};

use super::WriteError;

/// What an element says beside its key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// In a leaf: a pair's value.
    Value(&'a [u8]),
    /// In a leaf of the root bucket: a bucket's root page and sequence.
    Bucket(&'a [u8]),
    /// In a branch: the page below.
    Child(u64),
}

/// One page under way, with those that overflow from it.
#[derive(Debug)]
pub(super) struct Node {
    kind: Kind,
    elements: Vec<Element>,
    /// Keys and values, as they will stand behind the elements.
    body: Vec<u8>,
}

#[derive(Debug)]
struct Element {
    /// Where its key begins in the body.
    offset: usize,
    key_bytes: usize,
    value_bytes: usize,
    content: Mark,
}

#[derive(Debug)]
enum Mark {
    Value,
    Bucket,
    Child(u64),
}

impl Node {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, elements: Vec::new(), body: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Bytes it takes in the file, without the rest of its last page.
    pub(super) fn bytes(&self) -> usize {
        HEADER_BYTES + self.elements.len() * ELEMENT_BYTES + self.body.len()
    }

    pub(super) fn first_key(&self) -> Option<&[u8]> {
        let first = self.elements.first()?;
        Some(&self.body[first.offset..first.offset + first.key_bytes])
    }

    pub(super) fn push(&mut self, key: &[u8], content: Content<'_>) {
        let (content, value) = match content {
            Content::Value(value) => (Mark::Value, value),
            Content::Bucket(value) => (Mark::Bucket, value),
            Content::Child(page) => (Mark::Child(page), &[][..]),
        };
        self.elements.push(Element {
            offset: self.body.len(),
            key_bytes: key.len(),
            value_bytes: value.len(),
            content,
        });
        self.body.extend(key);
        self.body.extend(value);
    }

    pub(super) fn clear(&mut self) {
        self.elements.clear();
        self.body.clear();
    }

    /// Header and elements, as they stand before the body.
    fn head(&self, number: u64, overflow: u32) -> Vec<u8> {
        let count = u16::try_from(self.elements.len()).expect("64 KiB hold 4,095 elements");
        let mut head = header(number, self.kind as u16, count, overflow).to_vec();
        for (at, element) in self.elements.iter().enumerate() {
            let position = word((self.elements.len() - at) * ELEMENT_BYTES + element.offset);
            let (key, value) = (word(element.key_bytes), word(element.value_bytes));
            let words = match element.content {
                Mark::Value => [0, position, key, value],
                Mark::Bucket => [BUCKET_FLAG, position, key, value],
                Mark::Child(page) => [position, key, page as u32, (page >> 32) as u32],
            };
            head.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
        head
    }
}

/// An integer of an element.
fn word(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a node is one pair of bounded size or fits a page")
}

/// The pages of a file from the first on, counted and, in the second pass, written.
pub(super) struct Pages<'a> {
    size: PageSize,
    /// The number of the next page.
    next: u64,
    second: Option<Second<'a>>,
}

/// What only the second pass has.
struct Second<'a> {
    out: &'a mut dyn Write,
    planned: u64,
}

impl<'a> Pages<'a> {
    /// Those of a first pass.
    pub(super) fn count(size: PageSize) -> Self {
        // Two meta pages and the freelist.
        Self { size, next: 3, second: None }
    }

    /// Those of a second pass, with the pages before the first tree written to `out`.
    pub(super) fn write(meta: &Meta, out: &'a mut dyn Write) -> io::Result<Self> {
        for number in 0..2 {
            // The higher transaction counts; the next writer takes the place of the other.
            let page = Meta { transaction: meta.transaction + number, ..*meta }.encode(number);
            write_padded(out, &[&page], meta.page_size)?;
        }
        write_padded(out, &[&header(2, FREELIST_KIND, 0, 0)], meta.page_size)?;
        let second = Second { out, planned: meta.pages };
        Ok(Self { size: meta.page_size, next: 3, second: Some(second) })
    }

    pub(super) fn size(&self) -> PageSize {
        self.size
    }

    /// How many pages there are by now.
    pub(super) fn len(&self) -> u64 {
        self.next
    }

    /// Puts a node at the end of the file; returns its page.
    pub(super) fn put(&mut self, node: &Node) -> Result<u64, WriteError> {
        let number = self.next;
        let pages = node.bytes().div_ceil(self.size.len());
        self.next += pages as u64;
        if let Some(second) = &mut self.second {
            if self.next > second.planned {
                return Err(WriteError::Changed { planned: second.planned, page: number });
            }
            let head = node.head(number, word(pages - 1));
            write_padded(second.out, &[&head, &node.body], self.size)?;
        }
        Ok(number)
    }
}

/// Writes `parts`, then zeros to the end of the page.
fn write_padded(out: &mut dyn Write, parts: &[&[u8]], size: PageSize) -> io::Result<()> {
    const ZEROS: [u8; 1024] = [0; 1024];
    let mut length = 0;
    for part in parts {
        out.write_all(part)?;
        length += part.len();
    }
    let mut rest = length.next_multiple_of(size.len()) - length;
    while rest > 0 {
        let some = rest.min(ZEROS.len());
        out.write_all(&ZEROS[..some])?;
        rest -= some;
    }
    Ok(())
}
