//! One bucket's tree, built from sorted pairs from the left to the right.
//!
//! ```text
//!   level 1                    [ a→3  m→4  t→7 …          under way
//!   level 0   [ a b … ] [ m … ] [ t ] [ x y …             leaves: 3, 4 and 7 are in the file
//! ```
//!
//! A leaf is closed when the next pair does not fit, a branch when two more children are there than
//! fit. So every branch has two children at least: bbolt, when it deletes and merges, takes that
//! for granted.

use crate::format::{ELEMENT_BYTES, HEADER_BYTES, Kind, MAX_KEY_BYTES, MAX_VALUE_BYTES, PageSize};

use super::WriteError;
use super::pages::{Content, Node, Pages};

/// The fewest children of a branch.
const MIN_CHILDREN: usize = 2;

#[derive(Debug)]
pub(super) struct Tree {
    /// The bucket's name, for errors.
    name: Vec<u8>,
    leaf: Node,
    /// The branches under way, lowest first.
    levels: Vec<Level>,
    last_key: Vec<u8>,
}

/// The children at one height that no branch in the file has yet.
#[derive(Debug, Default)]
struct Level {
    children: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    first_key: Vec<u8>,
    page: u64,
}

impl Tree {
    pub(super) fn new(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            leaf: Node::new(Kind::Leaf),
            levels: Vec::new(),
            last_key: Vec::new(),
        }
    }

    /// Adds a pair behind all others.
    pub(super) fn push(
        &mut self,
        pages: &mut Pages<'_>,
        key: &[u8],
        content: Content<'_>,
    ) -> Result<(), WriteError> {
        let value_bytes = match content {
            Content::Value(value) | Content::Bucket(value) => value.len(),
            Content::Child(_) => 0,
        };
        self.check(key, value_bytes)?;
        let grown = self.leaf.bytes() + ELEMENT_BYTES + key.len() + value_bytes;
        if !self.leaf.is_empty() && grown > pages.size().len() {
            self.close_leaf(pages)?;
        }
        self.leaf.push(key, content);
        self.last_key.clear();
        self.last_key.extend(key);
        Ok(())
    }

    /// Whether a pair may come next.
    fn check(&self, key: &[u8], value_bytes: usize) -> Result<(), WriteError> {
        let reason = if key.is_empty() {
            "is empty"
        } else if key.len() > MAX_KEY_BYTES {
            "is longer than bbolt takes"
        } else if value_bytes > MAX_VALUE_BYTES {
            "has a value longer than bbolt takes"
        } else if key <= self.last_key.as_slice() {
            return Err(WriteError::Unsorted {
                bucket: self.name.clone(),
                key: key.to_vec(),
                previous: self.last_key.clone(),
            });
        } else {
            return Ok(());
        };
        Err(WriteError::Unfit { bucket: self.name.clone(), key: key.to_vec(), reason })
    }

    fn close_leaf(&mut self, pages: &mut Pages<'_>) -> Result<(), WriteError> {
        let page = pages.put(&self.leaf)?;
        let first_key = self.leaf.first_key().unwrap_or_default().to_vec();
        self.leaf.clear();
        self.add_child(pages, 0, Child { first_key, page })
    }

    /// Puts a child below level `at`, and closes the branches that have enough.
    fn add_child(
        &mut self,
        pages: &mut Pages<'_>,
        mut at: usize,
        mut child: Child,
    ) -> Result<(), WriteError> {
        loop {
            if at == self.levels.len() {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[at];
            level.children.push(child);
            let fitting = level.fitting(pages.size());
            if level.children.len() < fitting + MIN_CHILDREN {
                return Ok(());
            }
            child = level.close(pages, fitting)?;
            at += 1;
        }
    }

    /// Writes what is under way, the root last; returns the root's page.
    pub(super) fn finish(mut self, pages: &mut Pages<'_>) -> Result<u64, WriteError> {
        if self.levels.is_empty() {
            return pages.put(&self.leaf);
        }
        self.close_leaf(pages)?;
        let mut at = 0;
        loop {
            let level = &mut self.levels[at];
            let count = level.children.len();
            let fitting = level.fitting(pages.size());
            // One child more than fits: the last two have a branch of their own, if two remain.
            let mut closed = if count > fitting && count >= 2 * MIN_CHILDREN {
                let first = level.close(pages, count - MIN_CHILDREN)?;
                self.add_child(pages, at + 1, first)?;
                self.levels[at].close(pages, MIN_CHILDREN)?
            } else {
                level.close(pages, count)?
            };
            at += 1;
            if at == self.levels.len() {
                return Ok(closed.page);
            }
            closed.first_key.shrink_to_fit();
            self.add_child(pages, at, closed)?;
        }
    }
}

impl Level {
    /// How many of the first children one page takes; two at least, with an overflow if need be.
    fn fitting(&self, size: PageSize) -> usize {
        let mut bytes = HEADER_BYTES;
        let fits = self.children.iter().take_while(|child| {
            bytes += ELEMENT_BYTES + child.first_key.len();
            bytes <= size.len()
        });
        fits.count().max(MIN_CHILDREN)
    }

    /// Writes the first `count` children as a branch.
    fn close(&mut self, pages: &mut Pages<'_>, count: usize) -> Result<Child, WriteError> {
        let mut branch = Node::new(Kind::Branch);
        for child in self.children.drain(..count) {
            branch.push(&child.first_key, Content::Child(child.page));
        }
        let page = pages.put(&branch)?;
        Ok(Child { first_key: branch.first_key().unwrap_or_default().to_vec(), page })
    }
}
