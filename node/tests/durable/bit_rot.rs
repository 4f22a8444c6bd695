//! One bit flips, anywhere in a member's files: what is read is the truth, or the member refuses
//! to go on and says which file it is and what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::etcdserverpb::RangeRequest;
use node::causes::with_causes;
use node::kv::{Interest, KeyRange, PullLimits};
use node::storage::disk::OpenMode;
use node::storage::{Disk, MemoryDisk, SnapshotReader, SnapshotWriter};
use node_protocol::{Index, Revision};
use raft::eraftpb::{Entry, HardState};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::member::{BEGINNING, Failure, Member, Model, Rowset, entry, files, folder, random_op};

/// Lives of members whose files are damaged, one flip at a time.
const SEEDS: u64 = 12;
/// Flips in each of them.
const FLIPS: usize = 60;

/// Seeds by which a wrong answer was found, before it was made impossible.
const FOUND: [u64; 2] = [67, 70];

/// How a member's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In order: the log is sealed, the database closed.
    Stopped,
    /// By SIGKILL.
    Crashed,
}

/// A member's files when nobody runs it.
struct Image {
    files: Vec<(PathBuf, Vec<u8>)>,
    model: Model,
    rows: Rowset,
    hard_state: Option<HardState>,
    /// Last entry before the last batch of the log.
    before_last: u64,
}

impl Image {
    /// A life by a seed, and what it left.
    fn of(seed: u64, end: End) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let memory = MemoryDisk::new();
        let disk = memory.shared();
        Member::begin(&disk).expect("the disk is good");
        let mut member = Member::open(&disk, 1, 1 << 20).expect("the disk is good");
        let mut model = Model::new();
        let mut before_last = BEGINNING;
        for _ in 0..random.random_range(10..60) {
            before_last = member.applied;
            let first = member.applied + 1;
            let entries: Vec<Entry> = (first..first + random.random_range(1..12))
                .map(|index| entry(index, random_op(&mut random, model.revision())))
                .collect();
            member.log(&entries, 1).expect("the disk is good");
            member.wal.sync().expect("the disk is good");
            for entry in &entries {
                member.apply(entry).expect("the disk is good");
                model.apply(entry);
            }
            if random.random_bool(0.3) {
                member.flush().expect("the disk is good");
            }
            if random.random_bool(0.1) {
                member.wal.compact(Index(member.flushed)).expect("the disk is good");
            }
        }
        let read = |memory: &MemoryDisk| -> Vec<(PathBuf, Vec<u8>)> {
            let paths = files(memory).into_iter();
            paths.map(|path| (path.clone(), memory.bytes(&path).expect("it is there"))).collect()
        };
        let mut files = read(&memory);
        if end == End::Stopped {
            let Member { wal, state, .. } = member;
            wal.close().expect("the disk is good");
            drop(state);
            files = read(&memory);
        }
        let rows = model.rows().clone();
        let mut image = Self { files, model, rows, hard_state: None, before_last };
        let (_, disk) = image.restored();
        let mut member = Member::open(&disk, 2, 1 << 20).expect("nothing is damaged yet");
        assert_eq!(member.rows().expect("the disk is good"), image.rows);
        image.hard_state = member.hard_state;
        image
    }

    /// A disk with these files.
    fn restored(&self) -> (MemoryDisk, Arc<dyn Disk>) {
        let memory = MemoryDisk::new();
        for (path, bytes) in &self.files {
            let dir = path.parent().expect("it is in a directory");
            memory.create_dir(dir).expect("a disk in RAM");
            let file = memory.open(path, OpenMode::New).expect("a disk in RAM");
            file.write_at(0, bytes).and_then(|()| file.sync()).expect("a disk in RAM");
            memory.sync_dir(dir).expect("a disk in RAM");
        }
        let disk = memory.shared();
        (memory, disk)
    }

    /// A file and a place in it.
    fn place(&self, random: &mut ChaCha8Rng) -> (&Path, usize) {
        let (path, bytes) = &self.files[random.random_range(0..self.files.len())];
        // The database's own header: 64 bytes, and two commit slots of 128.
        let at = match random.random_range(0..4) {
            0 if is_state(path) => random.random_range(0..320),
            1 if is_state(path) => structure(bytes, random),
            2 => random.random_range(0..bytes.len()),
            _ => written(bytes, random),
        };
        (path, at)
    }
}

/// A place in a file where something was written.
fn written(bytes: &[u8], random: &mut ChaCha8Rng) -> usize {
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    written[random.random_range(0..written.len())]
}

/// Bytes of a page of redb.
const PAGE_BYTES: usize = 4096;
/// The first byte of a branch page.
const BRANCH: u8 = 2;

/// A place in a page of redb that says where rows are, or what is true of all of them: a branch, the list of tables, our header. A few of many pages, so they are sought.
fn structure(bytes: &[u8], random: &mut ChaCha8Rng) -> usize {
    let has = |page: &[u8], text: &[u8]| page.windows(text.len()).any(|at| at == text);
    let pages: Vec<usize> = (PAGE_BYTES..bytes.len())
        .step_by(PAGE_BYTES)
        .filter(|at| {
            let page = &bytes[*at..*at + PAGE_BYTES];
            page[0] == BRANCH || has(page, b"sessions") || has(page, b"identity")
        })
        .collect();
    let from = pages[random.random_range(0..pages.len())];
    from + written(&bytes[from..from + PAGE_BYTES], random)
}

fn is_state(path: &Path) -> bool {
    path.ends_with("state.redb")
}

/// A refusal names the file, or that the two do not fit, and says what to do.
fn check_refusal(failure: &Failure, path: &Path) {
    let text = with_causes(&**failure);
    let named = text.contains(&path.display().to_string())
        || (is_state(path) && text.contains("the state beside /m/member/wal"));
    assert!(named && text.contains("member remove") && text.contains("member add"), "{text}");
}

#[test]
fn a_flipped_bit_at_rest_is_seen_at_the_next_start_or_changes_nothing() {
    let (mut refused, mut harmless, mut torn) = (0, 0, 0);
    for (seed, end) in (0..SEEDS).flat_map(|seed| [(seed, End::Stopped), (seed, End::Crashed)]) {
        let image = Image::of(seed, end);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..FLIPS {
            let (path, at) = image.place(&mut random);
            let bit = random.random_range(0..8);
            let (memory, disk) = image.restored();
            memory.flip(path, at, 1 << bit);
            let what =
                format!("seed {seed}, {end:?}, bit {bit} of byte {at} of {}", path.display());
            let opened = Member::open(&disk, 3, 1 << 20)
                .and_then(|mut member| Ok((member.rows()?, member.applied, member.hard_state)));
            match opened {
                Err(failure) => {
                    check_refusal(&failure, path);
                    refused += 1;
                }
                Ok((rows, applied, hard_state)) if hard_state == image.hard_state => {
                    assert_eq!(applied, image.model.applied, "{what}");
                    assert_eq!(rows, image.rows, "{what}");
                    harmless += 1;
                }
                Ok((rows, applied, _)) => {
                    // The one thing no log can tell: the last batch, when nothing says that it
                    // was synced. The state may have it all the same.
                    assert!(end == End::Crashed && !is_state(path), "{what}: {applied}");
                    assert!([image.before_last, image.model.applied].contains(&applied), "{what}");
                    assert_eq!(&rows, image.model.back_to(applied).rows(), "{what}");
                    torn += 1;
                }
            }
        }
    }
    assert!(refused > 200 && harmless > 50 && torn > 0, "{refused}, {harmless}, {torn}");
}

#[test]
fn a_flipped_bit_in_how_far_the_state_is_complete_is_seen() {
    let image = Image::of(3, End::Stopped);
    let applied = Member::open(&image.restored().1, 2, 1 << 20).expect("a sound disk");
    let applied = applied.state.applied();
    let stored = [applied.index.0.to_le_bytes(), applied.term.0.to_le_bytes()].concat();
    let (path, bytes) = image.files.iter().find(|(path, _)| is_state(path)).expect("it is there");
    let places: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&stored)).collect();
    assert!(!places.is_empty());
    let bits = places.iter().flat_map(|at| (0..8 * stored.len()).map(move |bit| (at, bit)));
    let mut refused = 0;
    for (at, bit) in bits {
        let (memory, disk) = image.restored();
        memory.flip(path, at + bit / 8, 1 << (bit % 8));
        match Member::open(&disk, 3, 1 << 20).and_then(|mut member| member.rows()) {
            Ok(rows) => assert_eq!(rows, image.rows, "bit {bit} at {at}"),
            Err(failure) => {
                check_refusal(&failure, path);
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "one of {} places is in use", places.len());
}

/// A place in the number of a page in a branch page: it makes other rows out of one page of rows.
///
/// A branch of redb has, after 8 bytes with its count of keys, a checksum of 16 bytes and a number
/// of 8 for each child.
fn pointer(bytes: &[u8], random: &mut ChaCha8Rng) -> usize {
    let branches: Vec<usize> =
        (PAGE_BYTES..bytes.len()).step_by(PAGE_BYTES).filter(|at| bytes[*at] == BRANCH).collect();
    let page = branches[random.random_range(0..branches.len())];
    let children = usize::from(u16::from_le_bytes([bytes[page + 2], bytes[page + 3]])) + 1;
    let number = page + 8 + 16 * children + 8 * random.random_range(0..children);
    number + random.random_range(0..2)
}

/// Everything a client can ask of a member about the state.
#[derive(Debug, PartialEq)]
struct Answers {
    range: Vec<(Bytes, Bytes, i64, i64)>,
    hash: u32,
    events: Vec<(i64, Bytes, Bytes)>,
}

fn everything() -> RangeRequest {
    let all = Bytes::from_static(b"\0");
    RangeRequest { key: all.clone(), range_end: all, ..RangeRequest::default() }
}

/// Each question alone, so that one refused answer does not hide the others.
type Question = fn(&Member) -> Result<Answers, Failure>;

const NOTHING: Answers = Answers { range: Vec::new(), hash: 0, events: Vec::new() };

const QUESTIONS: [Question; 3] = [
    |member| {
        let found = member.store.range(&everything())?;
        let kvs = found.kvs.into_iter();
        let range = kvs.map(|kv| (kv.key, kv.value, kv.create_revision, kv.mod_revision)).collect();
        Ok(Answers { range, ..NOTHING })
    },
    |member| Ok(Answers { hash: member.store.hash_kv(Revision(0))?.hash, ..NOTHING }),
    |member| {
        let interest = Interest {
            range: KeyRange::new(&everything().key, &everything().range_end),
            puts: true,
            deletes: true,
            prev_kv: true,
        };
        let from = Revision(member.store.compact_revision().0.max(1));
        let limits = PullLimits { revisions: i64::MAX, bytes: usize::MAX };
        let pulled = member.store.events_since(&interest, from, limits)?;
        let events = pulled.events.into_iter().filter_map(|event| event.kv);
        let events = events.map(|kv| (kv.mod_revision, kv.key, kv.value)).collect();
        Ok(Answers { events, ..NOTHING })
    },
];

/// What a peer gets of this member as a snapshot; nothing is sent if something is wrong.
fn as_received(member: &Member) -> Result<Rowset, Failure> {
    let memory = MemoryDisk::new();
    let disk = memory.shared();
    Member::begin(&disk)?;
    let peer = Member::open(&disk, 1, 1 << 20)?;
    let mut reader = SnapshotReader::new(&member.state);
    let mut writer = SnapshotWriter::new(&peer.state);
    while let Some(chunk) = reader.next_chunk()? {
        writer.write(&chunk)?;
    }
    peer.state.install(&writer.finish()?)?;
    let mut rows = Rowset::new();
    peer.state.load(|table, key, value| {
        rows.insert((table, key.to_vec()), value.to_vec());
        Ok::<(), node::storage::StateError>(())
    })?;
    Ok(rows)
}

fn write_on(mut member: Member, next: &Entry) -> Result<Rowset, Failure> {
    member.log(std::slice::from_ref(next), 1)?;
    member.wal.sync()?;
    member.apply(next)?;
    member.rows()
}

fn reopened(disk: &Arc<dyn Disk>) -> Result<Rowset, Failure> {
    Member::open(disk, 4, 1 << 20)?.rows()
}

#[test]
fn a_bit_that_flips_under_a_running_member_is_never_in_an_answer() {
    let (mut refused, mut answered) = (0, 0);
    for seed in (0..SEEDS).chain(FOUND) {
        let image = Image::of(seed, End::Stopped);
        let whole = image.restored().1;
        let sound = Member::open(&whole, 2, 0).expect("nothing is damaged");
        let truth = QUESTIONS.map(|ask| ask(&sound).expect("nothing is damaged"));
        let sent = as_received(&sound).expect("nothing is damaged");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..FLIPS / 2 {
            let (memory, disk) = image.restored();
            // Without a cache every page is read when it is needed.
            let member = Member::open(&disk, 3, 0).expect("nothing is damaged yet");
            let path = folder().join("member/state.redb");
            let bytes = memory.bytes(&path).expect("it is there");
            let at = match random.random_range(0..3) {
                0 => structure(&bytes, &mut random),
                1 => pointer(&bytes, &mut random),
                _ => PAGE_BYTES + written(&bytes[PAGE_BYTES..], &mut random),
            };
            let bit = random.random_range(0..8);
            memory.flip(&path, at, 1 << bit);
            let what = format!("seed {seed}, bit {bit} of byte {at}");
            // The first refusal ends a real member; what comes after it may be said less well.
            let mut first = true;
            let mut refuse = |failure: Failure| {
                if std::mem::take(&mut first) {
                    check_refusal(&failure, &path);
                }
                refused += 1;
            };
            for (ask, truth) in QUESTIONS.iter().zip(&truth) {
                match ask(&member) {
                    Ok(answers) => {
                        assert_eq!(&answers, truth, "{what}");
                        answered += 1;
                    }
                    Err(failure) => refuse(failure),
                }
            }
            match as_received(&member) {
                Ok(rows) => assert_eq!(rows, sent, "{what}"),
                Err(failure) => refuse(failure),
            }
            // Writing on makes nothing of it look sound.
            let mut model = image.model.back_to(image.model.applied);
            let next = entry(model.applied + 1, random_op(&mut random, model.revision()));
            model.apply(&next);
            for result in [write_on(member, &next), reopened(&disk)] {
                match result {
                    Ok(rows) => assert_eq!(&rows, model.rows(), "{what}"),
                    Err(failure) => refuse(failure),
                }
            }
        }
    }
    assert!(refused > 50 && answered > 50, "{refused}, {answered}");
}

#[test]
fn a_received_snapshot_that_rots_is_not_installed() {
    let image = Image::of(1, End::Stopped);
    let sender = Member::open(&image.restored().1, 2, 1 << 20).expect("nothing is damaged");
    for seed in 0..40 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let memory = MemoryDisk::new();
        let disk = memory.shared();
        Member::begin(&disk).expect("the disk is good");
        let member = Member::open(&disk, 1, 1 << 20).expect("the disk is good");
        let mut reader = SnapshotReader::new(&sender.state);
        let mut writer = SnapshotWriter::new(&member.state);
        while let Some(chunk) = reader.next_chunk().expect("nothing is damaged") {
            writer.write(&chunk).expect("nothing is damaged");
        }
        let received = writer.finish().expect("nothing is damaged");
        let path = files(&memory).into_iter().find(|path| path.to_string_lossy().ends_with(".tmp"));
        let path = path.expect("it waits under a name of its own");
        let bytes = memory.bytes(&path).expect("it is there");
        let at = PAGE_BYTES + written(&bytes[PAGE_BYTES..], &mut random);
        memory.flip(&path, at, 1 << random.random_range(0..8));
        let before = member.state.applied();
        if let Err(error) = member.state.install(&received) {
            let text = with_causes(&error);
            assert!(text.contains(&path.display().to_string()), "{text}");
            assert!(text.contains("Start the member again"), "{text}");
            drop((member, received));
            let member = Member::open(&disk, 2, 1 << 20).expect("the state is what it was");
            assert_eq!(member.state.applied(), before);
        } else {
            // The bit was of no meaning.
            assert_eq!(member.state.applied(), sender.state.applied());
        }
    }
}
