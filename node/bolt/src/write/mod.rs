//! An image written as a stream, page after page, in memory of a few pages.
//!
//! ```text
//!   fill ──pairs──► Tree ──nodes──► Pages ──► counted        first pass:  Plan
//!   fill ──pairs──► Tree ──nodes──► Pages ──► out, in order  second pass: Plan::write
//! ```
//!
//! The first page already says where the root is and how many pages there are, and who sends an
//! image says beforehand how long it is. So the caller's `fill` runs twice and gives the same pairs
//! both times: once to be measured, once to be written. A leaf is written as soon as it is full; a
//! branch as soon as it has enough children; the root of each bucket's tree comes last, and the
//! root bucket's at the very end. Kept are the leaf under way and one branch a level, so the
//! longest pair sets the memory.
//!
//! Source of the layout: see [`crate::format`].

mod image;
mod pages;
mod tree;

pub use image::{Image, Plan};

use std::io;

use crate::format::Shown;

/// Why no image was written. What left already is not one.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Keys of a bucket come in ascending order, each once.
    #[error("in bucket {} the key {} comes after {}", Shown(bucket), Shown(key), Shown(previous))]
    Unsorted {
        /// The bucket's name.
        bucket: Vec<u8>,
        /// The key that is too late, or there twice.
        key: Vec<u8>,
        /// The one before it.
        previous: Vec<u8>,
    },
    /// The format has no place for a pair.
    #[error("in bucket {} the key {} {reason}", Shown(bucket), Shown(key))]
    Unfit {
        /// The bucket's name.
        bucket: Vec<u8>,
        /// The pair's key.
        key: Vec<u8>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A bucket was begun a second time.
    #[error("bucket {} is there twice", Shown(.0))]
    BucketTwice(Vec<u8>),
    /// A pair came before any bucket.
    #[error("the key {} is in no bucket", Shown(.0))]
    NoBucket(Vec<u8>),
    /// The second pass did not give what the first did. The pairs must come from one moment.
    #[error("{planned} pages were planned, and the pairs now differ at page {page}")]
    Changed {
        /// Pages of the first pass.
        planned: u64,
        /// The page at which the second pass differs.
        page: u64,
    },
    /// Whoever receives the image failed.
    #[error("failed to write the image")]
    Io(#[from] io::Error),
}
