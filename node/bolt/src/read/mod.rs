//! An image read back, page by page, believing nothing.
//!
//! ```text
//!   open: meta 0, meta 1 ─► the newer that is whole ─► root bucket ─► bucket(name)
//!                                                                       │
//!              pairs in order ◄── leaf ◄── branch ◄── … ◄── root page ◄─┘
//! ```
//!
//! A page is checked whole before anything of it is given out: its number, its kind, that its
//! elements lie inside it one behind the other, that keys ascend within it, against the page before
//! and against the branch above. Pages of a tree do not overlap, so a walk that has seen more pages
//! than the file has ends with an error: no circle is followed for ever.
//!
//! Not found here is a changed value: bbolt keeps no checksum of it. The hash behind a saved
//! snapshot tells ([`crate::split_hash`]).

mod node;
mod reader;
mod walk;

pub use reader::Reader;
pub use walk::{Pair, Pairs};

use std::io;

use crate::format::MetaFault;

/// Why an image cannot be read, or not on from here.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Neither of the two meta pages is whole. The file is no database, or has lost its beginning.
    #[error("this is no bbolt file: of meta page 0 {first}; of meta page 1 {second}")]
    NoMeta {
        /// What is wrong with page 0.
        first: MetaFault,
        /// What is wrong with page 1.
        second: MetaFault,
    },
    /// The file ends before its last page. Another copy may be whole.
    #[error("the file has {found} bytes, and its {pages} pages have {expected}")]
    Short {
        /// How many pages the meta page says.
        pages: u64,
        /// How many bytes they have.
        expected: u128,
        /// How many bytes there are.
        found: u64,
    },
    /// A page is not what it should be. What was given out before is sound as far as pages tell.
    #[error("page {page}: {fault}")]
    Damaged {
        /// The page; for an inline bucket the one it is in.
        page: u64,
        /// What is wrong with it.
        fault: String,
    },
    /// The file itself cannot be read.
    #[error("failed to read the image")]
    Io(#[from] io::Error),
}

impl ReadError {
    fn damaged(page: u64, fault: impl Into<String>) -> Self {
        Self::Damaged { page, fault: fault.into() }
    }
}
