//! What is written is what is read: any pairs, of any page size.

use std::collections::BTreeMap;
use std::io::Cursor;

use node_bolt::format::PageSize;
use node_bolt::{Image, Plan, ReadError, Reader, WriteError, split_hash};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

type Bucket = BTreeMap<Vec<u8>, Vec<u8>>;
type Buckets = BTreeMap<Vec<u8>, Bucket>;

/// A failed step of a test, shown by it.
type Failed = Box<dyn std::error::Error>;

fn fill(buckets: &Buckets) -> impl Fn(&mut Image<'_>) -> Result<(), WriteError> {
    move |image| {
        for (name, pairs) in buckets {
            image.bucket(name)?;
            for (key, value) in pairs {
                image.pair(key, value)?;
            }
        }
        Ok(())
    }
}

fn written(page_size: PageSize, buckets: &Buckets) -> Result<Vec<u8>, WriteError> {
    let plan = Plan::measure(page_size, fill(buckets))?;
    let mut out = Vec::new();
    plan.write(&mut out, fill(buckets))?;
    assert_eq!(out.len() as u64, plan.image_bytes());
    Ok(out)
}

fn read(image: &[u8]) -> Result<Buckets, ReadError> {
    let mut reader = Reader::open(Cursor::new(image))?;
    assert_eq!(reader.damaged_meta(), None);
    let mut buckets = Buckets::new();
    for name in reader.buckets()? {
        let pairs = reader.bucket(&name)?.expect("its name is there");
        let pairs = pairs.map(|pair| pair.map(|pair| (pair.key, pair.value)));
        let pairs = pairs.collect::<Result<_, _>>()?;
        buckets.insert(name, pairs);
    }
    Ok(buckets)
}

fn check(page_size: PageSize, buckets: &Buckets) -> Result<(), Failed> {
    assert_eq!(read(&written(page_size, buckets)?)?, *buckets);
    Ok(())
}

fn any_page_size() -> impl Strategy<Value = PageSize> {
    (10..=16_u32).prop_map(|bits| PageSize::new(1 << bits).expect("a power of two"))
}

/// Short and long, of few letters so that some begin alike.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 1..20),
        2 => vec(b'a'..=b'c', 1..400),
        1 => vec(Just(b'k'), 2_000..6_000),
    ]
}

/// Empty, short, and longer than pages.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(Vec::new()),
        8 => vec(any::<u8>(), 0..200),
        1 => (0..200_000_usize, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

fn any_buckets() -> impl Strategy<Value = Buckets> {
    btree_map(any_key(), btree_map(any_key(), any_value(), 0..300), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pairs_come_back(page_size in any_page_size(), buckets in any_buckets()) {
        check(page_size, &buckets).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}

/// `count` pairs whose keys have `key_bytes` bytes.
fn numbered(count: usize, key_bytes: usize, value: &[u8]) -> Bucket {
    let key = |number| format!("{number:0key_bytes$}").into_bytes();
    (0..count).map(|number| (key(number), value.to_vec())).collect()
}

#[test]
fn a_hundred_thousand_pairs_make_a_deep_tree() -> Result<(), Failed> {
    let buckets = Buckets::from([(b"key".to_vec(), numbered(100_000, 17, &[b'v'; 40]))]);
    check(PageSize::default(), &buckets)?;
    // Seven children a branch: six levels.
    check(PageSize::MIN, &Buckets::from([(b"key".to_vec(), numbered(100_000, 120, b""))]))
}

#[test]
fn branches_of_the_longest_keys_overflow() -> Result<(), Failed> {
    for count in 1..20 {
        let buckets = Buckets::from([(b"key".to_vec(), numbered(count, 32_768, b"v"))]);
        check(PageSize::default(), &buckets)?;
    }
    Ok(())
}

/// The number of children of every branch in an image, each page accounted for.
fn children(image: &[u8], page_size: PageSize) -> Vec<u16> {
    let size = page_size.bytes() as usize;
    let mut counts = Vec::new();
    let mut page = 3;
    while page * size < image.len() {
        let header = &image[page * size..page * size + 16];
        assert_eq!(header[..8], (page as u64).to_le_bytes());
        if header[8] == 1 {
            counts.push(u16::from_le_bytes([header[10], header[11]]));
        }
        let overflow = header[12..].try_into().expect("four bytes");
        page += 1 + u32::from_le_bytes(overflow) as usize;
    }
    assert_eq!(page * size, image.len());
    counts
}

#[test]
fn every_branch_has_two_children() -> Result<(), Failed> {
    // A leaf a pair; four children a branch, then two that overflow.
    for (key_bytes, most) in [(230, 4), (1_500, 3)] {
        for count in 0..90 {
            let pairs = numbered(count, key_bytes, &[0; 700]);
            let buckets = Buckets::from([(b"key".to_vec(), pairs)]);
            check(PageSize::MIN, &buckets)?;
            let children = children(&written(PageSize::MIN, &buckets)?, PageSize::MIN);
            assert!(children.iter().all(|count| (2..=most).contains(count)), "{children:?}");
            assert_eq!(children.is_empty(), count < 2);
        }
    }
    Ok(())
}

#[test]
fn buckets_may_be_many_or_none() -> Result<(), Failed> {
    let many = (0..2_000).map(|number| (format!("{number:09}").into_bytes(), numbered(3, 4, b"")));
    check(PageSize::default(), &many.collect())?;
    check(PageSize::default(), &Buckets::new())
}

#[test]
fn a_bucket_that_is_not_there_is_none() -> Result<(), Failed> {
    let image = written(PageSize::default(), &Buckets::from([(b"b".to_vec(), Bucket::new())]))?;
    let mut reader = Reader::open(Cursor::new(&image))?;
    assert!(reader.bucket(b"a")?.is_none() && reader.bucket(b"c")?.is_none());
    assert_eq!(reader.bucket(b"b")?.expect("it is there").count(), 0);
    Ok(())
}

#[test]
fn the_hash_is_behind_the_image() -> Result<(), Failed> {
    let buckets = Buckets::from([(b"key".to_vec(), numbered(500, 9, b"value"))]);
    let plan = Plan::measure(PageSize::default(), fill(&buckets))?;
    let mut file = Vec::new();
    plan.write_with_hash(&mut file, fill(&buckets))?;
    assert_eq!(file.len() as u64, plan.image_bytes() + 32);
    let split = split_hash(&mut Cursor::new(&file))?;
    assert_eq!(split.image_bytes, plan.image_bytes());
    assert!(split.hash.is_some());
    assert_eq!(read(&file)?, buckets);
    file[9_000] ^= 1;
    assert!(split_hash(&mut Cursor::new(&file)).is_err());
    Ok(())
}

/// What `Plan::measure` says of pairs that cannot be written.
fn refused(pairs: &[(&[u8], &[u8])]) -> String {
    let plan = Plan::measure(PageSize::default(), |image| {
        image.bucket(b"key")?;
        pairs.iter().try_for_each(|(key, value)| image.pair(key, value))
    });
    match plan {
        Err::<_, WriteError>(error) => error.to_string(),
        Ok(_) => "taken".to_owned(),
    }
}

#[test]
fn pairs_without_a_place_are_named() {
    let long = [b'k'; 32_769];
    for (pairs, said) in [
        (
            &[(&b"b"[..], &b""[..]), (b"a", b"")][..],
            r#"in bucket "key" the key "a" comes after "b""#,
        ),
        (&[(b"a", b""), (b"a", b"")], r#"in bucket "key" the key "a" comes after "a""#),
        (&[(b"", b"")], r#"in bucket "key" the key "" is empty"#),
        (&[(&long, b"")], "is longer than bbolt takes"),
        (&[(&long[1..], b"")], "taken"),
    ] {
        let found = refused(pairs);
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn buckets_without_sense_are_named() {
    let twice = Plan::measure(PageSize::default(), |image| {
        image.bucket(b"key")?;
        image.bucket(b"key")
    });
    assert!(matches!(twice, Err(WriteError::BucketTwice(name)) if name == b"key"));
    let none = Plan::measure(PageSize::default(), |image| image.pair(b"a", b"1"));
    assert!(matches!(none, Err(WriteError::NoBucket(key)) if key == b"a"));
}

#[test]
fn a_second_pass_of_other_pairs_is_noticed() -> Result<(), Failed> {
    let of = |count| Buckets::from([(b"key".to_vec(), numbered(count, 9, &[0; 100]))]);
    let plan = Plan::measure(PageSize::default(), fill(&of(1_000)))?;
    for count in [0, 10, 900, 1_100, 5_000] {
        let mut out = Vec::new();
        let error = plan.write(&mut out, fill(&of(count))).expect_err("the pairs are others");
        assert!(matches!(error, WriteError::Changed { .. }), "{count}: {error}");
        assert!(out.len() as u64 <= plan.image_bytes(), "{count}");
    }
    Ok(())
}

/// An output that fails after so many bytes.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_fails_ends_the_writing() -> Result<(), Failed> {
    let buckets = Buckets::from([(b"key".to_vec(), numbered(5_000, 9, &[0; 100]))]);
    let plan = Plan::measure(PageSize::default(), fill(&buckets))?;
    for room in [0, 100_000, plan.image_bytes() as usize - 1] {
        let error = plan.write(&mut Full(room), fill(&buckets)).expect_err("it is full");
        assert!(matches!(error, WriteError::Io(_)), "{error}");
    }
    Ok(plan.write(&mut Full(plan.image_bytes() as usize), fill(&buckets))?)
}
