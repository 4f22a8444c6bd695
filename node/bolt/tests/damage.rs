//! A reader of damaged files: an error that says which page, never a panic, never without an end.

use std::io::Cursor;

use node_bolt::format::{MetaFault, PageSize};
use node_bolt::{Image, Pair, Plan, ReadError, Reader, WriteError};
use proptest::collection::vec;
use proptest::prelude::*;

const PAGE: usize = 1024;

fn fill(image: &mut Image<'_>) -> Result<(), WriteError> {
    for name in ["empty", "key", "meta"] {
        image.bucket(name.as_bytes())?;
        let count = match name {
            "key" => 300,
            "meta" => 3,
            _ => 0,
        };
        for number in 0..count {
            let value = vec![b'v'; if number % 50 == 7 { 3_000 } else { 20 }];
            image.pair(format!("{number:060}").as_bytes(), &value)?;
        }
    }
    Ok(())
}

/// An image with leaves, branches of two levels and overflow.
fn image() -> Vec<u8> {
    let plan = Plan::measure(PageSize::MIN, fill).unwrap();
    let mut out = Vec::new();
    plan.write(&mut out, fill).unwrap();
    out
}

/// Reads everything there is.
fn read(image: &[u8]) -> Result<Vec<Pair>, ReadError> {
    let mut reader = Reader::open(Cursor::new(image))?;
    let mut all = Vec::new();
    for name in reader.buckets()? {
        let pairs = reader.bucket(&name)?.expect("its name is there");
        for pair in pairs {
            all.push(pair?);
            assert!(all.len() <= image.len(), "more pairs than bytes");
        }
    }
    Ok(all)
}

fn said(image: &[u8]) -> String {
    match read(image) {
        Ok(pairs) => format!("{} pairs", pairs.len()),
        Err(error) => error.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn flipped_bytes_are_survived(flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..6)) {
        let mut image = image();
        for (at, flip) in flips {
            let at = at.index(image.len());
            image[at] ^= flip;
        }
        read(&image).ok();
    }

    #[test]
    fn flipped_heads_of_pages_are_survived(
        flips in vec((any::<prop::sample::Index>(), 0..80_usize, any::<u8>()), 1..4),
    ) {
        let mut image = image();
        for (page, at, byte) in flips {
            let page = page.index(image.len() / PAGE);
            image[page * PAGE + at] = byte;
        }
        read(&image).ok();
    }

    #[test]
    fn swapped_pages_are_survived(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let mut image = image();
        let pages = image.len() / PAGE;
        let (from, to) = (from.index(pages) * PAGE, to.index(pages) * PAGE);
        image.copy_within(from..from + PAGE, to);
        // As a page that was meant for another place and knows it.
        image[to..to + 8].copy_from_slice(&(to as u64 / PAGE as u64).to_le_bytes());
        read(&image).ok();
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..5_000)) {
        prop_assert!(read(&bytes).is_err());
    }
}

#[test]
fn every_truncation_is_said() {
    let image = image();
    for length in (0..image.len()).step_by(97).chain([0, 1, 79, 80, image.len() - 1]) {
        let error = read(&image[..length]).expect_err("a part is missing");
        assert!(matches!(error, ReadError::NoMeta { .. } | ReadError::Short { .. }), "{error}");
    }
}

#[test]
fn either_meta_page_is_enough() {
    let whole = image();
    let pairs = read(&whole).unwrap();
    for page in 0..2_u64 {
        let mut image = whole.clone();
        image[page as usize * PAGE + 40] ^= 1;
        let reader = Reader::open(Cursor::new(&image)).unwrap();
        assert_eq!(reader.damaged_meta(), Some((page, MetaFault::Checksum)));
        assert_eq!(reader.meta().transaction, 1 - page);
        assert_eq!(read(&image).unwrap(), pairs);
    }
    let mut image = whole;
    image[40] ^= 1;
    image[PAGE + 16] ^= 1;
    assert_eq!(
        said(&image),
        "this is no bbolt file: of meta page 0 its checksum is wrong; \
         of meta page 1 its magic number is 0xed0cdaec"
    );
}

/// The image with `bytes` at `at` of `page`, and what the reader says of it.
fn with(page: u64, at: usize, bytes: &[u8]) -> String {
    let mut image = image();
    let at = page as usize * PAGE + at;
    image[at..at + bytes.len()].copy_from_slice(bytes);
    said(&image)
}

/// Of the bucket `key`: its first leaf, and the branch above it, found as the reader finds them.
fn first_leaf_and_branch() -> (u64, u64) {
    let image = image();
    let kind = |page: &u64| image[*page as usize * PAGE + 8];
    let pages = image.len() as u64 / PAGE as u64;
    let leaf = (3..pages).find(|page| kind(page) == 2 && image[*page as usize * PAGE + 10] > 0);
    let branch = (3..pages).find(|page| kind(page) == 1);
    (leaf.expect("a leaf"), branch.expect("a branch"))
}

#[test]
fn what_is_wrong_with_a_page_is_said() {
    let (leaf, branch) = first_leaf_and_branch();
    for (found, expected) in [
        (with(leaf, 0, &[99]), format!("page {leaf}: it says that it is page 99")),
        (with(leaf, 8, &[7]), format!("page {leaf}: its kind 0x7 is none of a tree")),
        (with(leaf, 10, &[255, 255]), format!("page {leaf}: its 65535 elements do not fit")),
        (with(leaf, 10, &[0, 0]), format!("page {leaf}: it has no elements")),
        (
            with(leaf, 12, &[255, 255]),
            format!("page {leaf}: its overflow of 65535 pages is beyond the last page"),
        ),
        (with(leaf, 16, &[4]), format!("page {leaf}: element 0 has the flags 0x4")),
        (
            with(leaf, 20, &[0; 4]),
            format!("page {leaf}: element 0 begins at byte 16, within another"),
        ),
        (
            with(leaf, 28, &[255; 4]),
            format!("page {leaf}: element 0 ends at byte 4294967483, and the page has 1024"),
        ),
        (
            with(leaf, 16, &[1]),
            format!(
                "page {leaf}: \"{:0>40}\"… (60 bytes) is a bucket within a bucket, which etcd never has",
                ""
            ),
        ),
        (
            with(branch, 24, &u64::MAX.to_le_bytes()),
            format!("page {}: there is no such page of a tree, of", u64::MAX),
        ),
        (with(branch, 24, &branch.to_le_bytes()), format!("page {branch}: it is below itself")),
        (
            with(branch, 40, &leaf.to_le_bytes()),
            format!("page {leaf}: key \"{:0>40}\"… (60 bytes) comes after", ""),
        ),
    ] {
        assert!(found.starts_with(&expected), "expected {expected:?}, found {found:?}");
    }
}

#[test]
fn bytes_behind_the_image_do_not_matter() {
    let mut image = image();
    let pairs = read(&image).unwrap();
    image.extend([7; 32]);
    assert_eq!(read(&image).unwrap(), pairs);
}
