//! A tree walked from its first key to its last.

use std::io::{Read, Seek};

use crate::format::Shown;

use super::ReadError;
use super::node::{Elements, Entry, Node};
use super::reader::Reader;

/// No tree of at least two children a branch is deeper.
const MAX_DEPTH: usize = 64;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Unique in its bucket.
    pub key: Vec<u8>,
    /// May be empty.
    pub value: Vec<u8>,
}

/// The pairs of one bucket, ascending by key. An error is the last item.
#[derive(Debug)]
pub struct Pairs<'a, R> {
    walk: Option<Walk<'a, R>>,
}

impl<'a, R> Pairs<'a, R> {
    pub(super) fn new(walk: Walk<'a, R>) -> Self {
        Self { walk: Some(walk) }
    }
}

impl<R: Read + Seek> Iterator for Pairs<'_, R> {
    type Item = Result<Pair, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = pair(self.walk.as_mut()?).transpose();
        if !matches!(item, Some(Ok(_))) {
            self.walk = None;
        }
        item
    }
}

fn pair<R: Read + Seek>(walk: &mut Walk<'_, R>) -> Result<Option<Pair>, ReadError> {
    let Some((leaf, entry)) = walk.next()? else { return Ok(None) };
    let key = leaf.bytes(&entry.key);
    if entry.bucket {
        let fault = format!("{} is a bucket within a bucket, which etcd never has", Shown(key));
        return Err(ReadError::damaged(leaf.page(), fault));
    }
    Ok(Some(Pair { key: key.to_vec(), value: leaf.bytes(&entry.value).to_vec() }))
}

/// A path from a root down to a leaf, and where it is on it.
#[derive(Debug)]
pub(super) struct Walk<'a, R> {
    reader: &'a mut Reader<R>,
    path: Vec<Step>,
    /// Pages seen, overflow included. Pages of a tree do not overlap.
    seen: u64,
    /// The last key of the leaf before.
    last_key: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Step {
    node: Node,
    /// The element that comes next.
    next: usize,
}

impl<'a, R: Read + Seek> Walk<'a, R> {
    /// From a root page on.
    pub(super) fn new(reader: &'a mut Reader<R>, root: u64) -> Result<Self, ReadError> {
        let mut walk = Self { reader, path: Vec::new(), seen: 0, last_key: None };
        walk.descend(root, None)?;
        Ok(walk)
    }

    /// Of a bucket that is one leaf without a page of its own.
    pub(super) fn inline(reader: &'a mut Reader<R>, leaf: Node) -> Result<Self, ReadError> {
        if matches!(leaf.elements, Elements::Branch(_)) {
            return Err(ReadError::damaged(leaf.page(), "an inline bucket is a branch"));
        }
        let path = vec![Step { node: leaf, next: 0 }];
        Ok(Self { reader, path, seen: 0, last_key: None })
    }

    /// The next element of a leaf, with its leaf.
    pub(super) fn next(&mut self) -> Result<Option<(&Node, &Entry)>, ReadError> {
        while let Some(step) = self.path.last_mut() {
            let at = step.next;
            if at == step.node.len() {
                self.path.pop();
                continue;
            }
            step.next += 1;
            match &step.node.elements {
                Elements::Leaf(_) => return Ok(self.entry(at)),
                Elements::Branch(below) => {
                    let least = step.node.bytes(&below[at].key).to_vec();
                    let page = below[at].page;
                    self.descend(page, Some(&least))?;
                }
            }
        }
        Ok(None)
    }

    /// The element at `at` of the leaf at the end of the path.
    fn entry(&self, at: usize) -> Option<(&Node, &Entry)> {
        let step = self.path.last()?;
        match &step.node.elements {
            Elements::Leaf(entries) => Some((&step.node, entries.get(at)?)),
            Elements::Branch(_) => None,
        }
    }

    /// Goes down to `page`, whose keys are `least` or greater; a root has no such bound.
    fn descend(&mut self, page: u64, least: Option<&[u8]>) -> Result<(), ReadError> {
        let fault = |fault: String| Err(ReadError::damaged(page, fault));
        if self.path.iter().any(|step| step.node.page() == page) {
            return fault("it is below itself".to_owned());
        }
        if self.path.len() == MAX_DEPTH {
            return fault(format!("it is more than {MAX_DEPTH} pages below the root"));
        }
        let (node, count) = self.reader.node(page)?;
        self.seen += count;
        if self.seen > self.reader.meta().pages {
            return fault(
                "the pages down to this one overlap: they are more than the file has".to_owned(),
            );
        }
        let leaf = matches!(node.elements, Elements::Leaf(_));
        let Some(first) = node.first_key() else {
            // Only a bucket without pairs is an empty leaf.
            return if leaf && self.path.is_empty() {
                Ok(())
            } else {
                fault("it has no elements".to_owned())
            };
        };
        let early = least.filter(|least| first < *least);
        let late = self.last_key.as_deref().filter(|last| first <= *last);
        if let Some(other) = early.or(late) {
            return fault(format!("key {} comes after {}", Shown(first), Shown(other)));
        }
        if leaf {
            self.last_key = node.last_key().map(<[u8]>::to_vec);
        }
        self.path.push(Step { node, next: 0 });
        Ok(())
    }
}
