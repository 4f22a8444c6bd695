//! State and snapshots at their boundary: through power loss, damage, and bad streams.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use node_protocol::{ClusterId, Index, MemberId, Term};
use proptest::prelude::*;
use raft::eraftpb::ConfState;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kv::{Change, RowKey, Rows, Table};

use super::{
    Applied, Batch, DataDirectory, DirectoryError, Disk, DiskFaults, FaultDisk, FlushBatch,
    Identity, MemoryDisk, Metadata, RealDisk, SnapshotError, SnapshotReader, SnapshotWriter, State,
    StateError, StateOptions, Wal, WalOptions, disk::OpenMode, schema::SCHEMA_VERSION,
    snapshot::CHUNK_BYTES,
};

const IDENTITY: Identity = Identity { cluster_id: ClusterId(0xc1), member_id: MemberId(0xa1) };
const OPTIONS: StateOptions = StateOptions { cache_bytes: 4 << 20 };

type Rowset = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn dir() -> &'static Path {
    Path::new("/member")
}

fn disk() -> (MemoryDisk, Arc<dyn Disk>) {
    let memory = MemoryDisk::new();
    memory.create_dir(dir()).unwrap();
    let shared = memory.shared();
    (memory, shared)
}

fn applied(index: u64, voters: &[u64]) -> Applied {
    let conf_state = ConfState::from((voters.to_vec(), vec![]));
    Applied { index: Index(index), term: Term(1), conf_state }
}

fn create(disk: &Arc<dyn Disk>, identity: Identity) -> State {
    State::create(disk, dir(), identity, &applied(1, &[1]), &[], OPTIONS).unwrap()
}

fn open(disk: &Arc<dyn Disk>) -> Result<State, StateError> {
    State::open(disk, dir(), OPTIONS)
}

fn flush(state: &State, index: u64, changes: &[Change]) -> Result<Duration, StateError> {
    state.flush(FlushBatch {
        changes,
        applied: Index(index),
        applied_term: Term(1),
        conf_state: None,
    })
}

fn rows(state: &State) -> Rowset {
    let mut rows = Rowset::new();
    let loaded = state.load(|table, key, value| {
        rows.insert((table, key.to_vec()), value.to_vec());
        Ok::<(), StateError>(())
    });
    loaded.unwrap();
    rows
}

fn row_key(main: i64) -> RowKey {
    RowKey { main, sub: 0 }
}

fn row(main: i64, value: &[u8]) -> Change {
    Change::set(Table::Rows, row_key(main).encode().to_vec(), value.to_vec())
}

fn leftovers(disk: &dyn Disk) -> Vec<String> {
    let names = disk.list(dir()).unwrap();
    names.into_iter().filter(|name| name != "state.redb").collect()
}

#[test]
fn a_flush_is_read_back_by_point_and_by_range() {
    let (_, disk) = disk();
    let state = create(&disk, IDENTITY);
    let changes: Vec<Change> = (2..8).map(|main| row(main, &[main as u8; 5])).collect();
    flush(&state, 9, &changes).unwrap();
    let removed = [Change::remove(Table::Rows, row_key(4).encode().to_vec()), row(5, b"again")];
    let conf_state = ConfState::from((vec![1, 2], vec![3]));
    let batch = FlushBatch {
        changes: &removed,
        applied: Index(11),
        applied_term: Term(2),
        conf_state: Some(&conf_state),
    };
    state.flush(batch).unwrap();

    for state in [state, open(&disk).unwrap()] {
        assert_eq!(state.identity(), IDENTITY);
        let expected = Applied { index: Index(11), term: Term(2), conf_state: conf_state.clone() };
        assert_eq!(state.applied(), expected);
        assert_eq!(state.row(row_key(3)).unwrap(), Some(Bytes::from_static(&[3; 5])));
        assert_eq!(state.row(row_key(4)).unwrap(), None);
        let page = state.rows(row_key(3), row_key(7), 2).unwrap();
        let page: Vec<(i64, &[u8])> =
            page.iter().map(|(key, value)| (key.main, &value[..])).collect();
        assert_eq!(page, [(3, &[3; 5][..]), (5, b"again")]);
        assert_eq!(state.rows(row_key(6), RowKey::MAX, 9).unwrap().len(), 2);
        assert!(state.rows(row_key(7), row_key(3), 9).unwrap().is_empty());
        assert!(state.bytes_on_disk().unwrap() > 0);
    }
}

#[test]
fn a_defragmented_state_is_the_same_in_less_room() {
    let (memory, disk) = disk();
    let state = create(&disk, IDENTITY);
    let many: Vec<Change> = (2..3_000).map(|main| row(main, &[main as u8; 300])).collect();
    flush(&state, 2, &many).unwrap();
    let gone: Vec<Change> = (2..2_900)
        .map(|main| Change::remove(Table::Rows, row_key(main).encode().to_vec()))
        .collect();
    flush(&state, 3, &gone).unwrap();
    let (before, rows_before) = (state.bytes_on_disk().unwrap(), rows(&state));
    assert_eq!(state.bytes_in_use(), 100 * (17 + 4 + 300), "keys, checksums and values");
    let pinned = SnapshotReader::new(&state);
    state.defragment().unwrap();
    assert!(state.bytes_on_disk().unwrap() < before / 4);
    assert_eq!((state.applied(), rows(&state)), (pinned.applied().clone(), rows_before.clone()));
    flush(&state, 4, &[row(4_000, b"goes on")]).unwrap();
    drop((pinned, state));
    memory.power_loss(|| false);
    let state = open(&disk).unwrap();
    assert_eq!(rows(&state).len(), rows_before.len() + 1);
    assert_eq!(leftovers(&*disk), Vec::<String>::new());
}

#[test]
fn a_defragmentation_that_finds_no_room_changes_nothing() {
    let (_, disk) = disk();
    let faults = DiskFaults::none();
    let disk = FaultDisk::shared(disk, faults.clone());
    let state = create(&disk, IDENTITY);
    flush(&state, 2, &[row(2, b"one")]).unwrap();
    faults.fill(true);
    assert!(matches!(state.defragment(), Err(StateError::Failed { .. })));
    faults.heal();
    flush(&state, 3, &[row(3, b"two")]).unwrap();
    assert_eq!(rows(&state).len(), 2);
    assert_eq!(leftovers(&*disk), Vec::<String>::new());
}

#[test]
fn what_is_not_a_state_is_refused() {
    let (memory, disk) = disk();
    assert!(!State::exists(&*disk, dir()).unwrap());
    assert!(matches!(open(&disk), Err(StateError::Missing { .. })));
    drop(create(&disk, IDENTITY));
    let again = State::create(&disk, dir(), IDENTITY, &applied(1, &[1]), &[], OPTIONS);
    assert!(matches!(again, Err(StateError::Exists { .. })));

    // Not a database at all.
    let path = dir().join("state.redb");
    let file = disk.open(&path, OpenMode::Existing).unwrap();
    let good = memory.bytes(&path).unwrap();
    file.write_at(0, &[0x55; 64]).unwrap();
    assert!(open(&disk).is_err());
    file.set_len(0).unwrap();
    assert!(matches!(open(&disk), Err(StateError::Corrupt { .. })));
    file.write_at(0, &good).unwrap();
    open(&disk).unwrap();
}

#[test]
fn a_newer_schema_is_refused_by_name() {
    let (_, disk) = disk();
    drop(create(&disk, IDENTITY));
    let file = disk.open(&dir().join("state.redb"), OpenMode::Existing).unwrap();
    let database =
        redb::Builder::new().create_with_backend(super::disk::StoreFile::new(file)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(super::schema::HEADER)
        .unwrap()
        .insert("schema", &(SCHEMA_VERSION + 1).to_le_bytes()[..])
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(&disk).expect_err("it is newer");
    assert!(matches!(error, StateError::NewerSchema { found, .. } if found == SCHEMA_VERSION + 1));
}

#[test]
fn a_failed_write_is_final() {
    let (memory, disk) = disk();
    let state = create(&disk, IDENTITY);
    flush(&state, 2, &[row(2, b"durable")]).unwrap();
    memory.fail_sync(0);
    assert!(matches!(flush(&state, 3, &[row(3, b"lost")]), Err(StateError::Failed { .. })));
    assert!(matches!(flush(&state, 4, &[]), Err(StateError::FailedBefore { .. })));
    drop(state);
    memory.power_loss(|| false);
    let state = open(&disk).unwrap();
    assert_eq!(state.applied().index, Index(2));
    assert_eq!(rows(&state).len(), 1);
}

#[test]
fn a_flipped_bit_in_a_row_is_never_served() {
    let (memory, disk) = disk();
    let path = dir().join("state.redb");
    let needle = b"a value that is easily found again";
    let flip = || {
        let bytes = memory.bytes(&path).unwrap();
        let places: Vec<usize> =
            (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
        assert!(!places.is_empty());
        for place in places {
            memory.flip(&path, place + 7, 4);
        }
    };
    let state = create(&disk, IDENTITY);
    // Enough rows that the one sought is not in the root page, which an open table keeps in RAM.
    let others = (3..60).map(|main| row(main, &[7; 300]));
    let changes: Vec<Change> = std::iter::once(row(2, needle)).chain(others).collect();
    flush(&state, 2, &changes).unwrap();
    drop(state);
    // While it runs, once the page is not in RAM any more.
    let uncached = StateOptions { cache_bytes: 0 };
    let state = State::open(&disk, dir(), uncached).unwrap();
    flip();
    let text = crate::causes::with_causes(&state.row(row_key(2)).unwrap_err());
    assert!(
        text.contains("/member/state.redb is damaged") && text.contains("member add"),
        "{text}"
    );
    assert!(state.rows(RowKey::MIN, RowKey::MAX, 9).is_err());
    assert!(state.load(|_, _, _| Ok::<(), StateError>(())).is_err());
    assert!(chunks(&state).is_err());
    drop(state);
    // And before anything is read.
    let error = open(&disk).expect_err("it is damaged");
    assert!(matches!(error, StateError::Corrupt { .. }), "{error:?}");
}

fn chunks(state: &State) -> Result<Vec<Bytes>, SnapshotError> {
    let mut reader = SnapshotReader::new(state);
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        assert!(!chunk.is_empty() && chunk.len() <= CHUNK_BYTES);
        chunks.push(chunk);
    }
    assert!(reader.next_chunk()?.is_none());
    Ok(chunks)
}

/// A state with a row in each table, some of them large.
fn sender(disk: &Arc<dyn Disk>) -> State {
    let state = create(disk, IDENTITY);
    let mut changes: Vec<Change> = (2..30).map(|main| row(main, &[main as u8; 300])).collect();
    changes.push(row(30, &vec![7; 3 << 20]));
    for table in [Table::Leases, Table::Sessions, Table::Members, Table::Meta] {
        changes.push(Change::set(table, vec![table as u8; 8], format!("{table:?}").into_bytes()));
    }
    let conf_state = ConfState::from((vec![1, 2, 3], vec![4]));
    let batch = FlushBatch {
        changes: &changes,
        applied: Index(40),
        applied_term: Term(3),
        conf_state: Some(&conf_state),
    };
    state.flush(batch).unwrap();
    state
}

#[test]
fn a_snapshot_arrives_whole_however_it_is_cut() {
    let (_, from) = disk();
    let sender = sender(&from);
    let mut reader = SnapshotReader::new(&sender);
    // What is flushed after the reader was made is not in the snapshot.
    flush(&sender, 50, &[row(50, b"later")]).unwrap();
    let mut stream = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        stream.extend_from_slice(&chunk);
    }

    for cut in [97, 4096, CHUNK_BYTES, stream.len()] {
        let (memory, to) = disk();
        let other = Identity { member_id: MemberId(0xb2), ..IDENTITY };
        let receiver = create(&to, other);
        flush(&receiver, 5, &[row(5, b"to be replaced")]).unwrap();
        let mut writer = SnapshotWriter::new(&receiver);
        for chunk in stream.chunks(cut) {
            writer.write(chunk).unwrap();
        }
        let received = writer.finish().unwrap();
        assert_eq!(received.applied(), reader.applied());
        assert_eq!(receiver.applied().index, Index(5), "nothing has changed yet");
        receiver.install(&received).unwrap();
        drop(received);
        assert_eq!(receiver.row(row_key(5)).unwrap(), Some(Bytes::from_static(&[5; 300])));
        flush(&receiver, 41, &[row(41, b"goes on")]).unwrap();

        drop(receiver);
        memory.power_loss(|| false);
        let receiver = open(&to).unwrap();
        assert_eq!(receiver.identity(), other);
        assert_eq!(receiver.applied().index, Index(41));
        assert_eq!(receiver.applied().conf_state, reader.applied().conf_state);
        let mut expected = rows(&sender);
        expected.remove(&(Table::Rows, row_key(50).encode().to_vec()));
        expected.insert((Table::Rows, row_key(41).encode().to_vec()), b"goes on".to_vec());
        assert_eq!(rows(&receiver), expected);
        assert_eq!(leftovers(&*to), Vec::<String>::new());
    }
}

#[test]
fn a_hundred_thousand_rows_go_over_in_chunks() {
    let (_, from) = disk();
    let state = create(&from, IDENTITY);
    for batch in 0..10_i64 {
        let changes: Vec<Change> =
            (0..10_000).map(|at| row(2 + batch * 10_000 + at, &[batch as u8; 100])).collect();
        flush(&state, 2 + batch as u64, &changes).unwrap();
    }
    let (_, to) = disk();
    let receiver = create(&to, IDENTITY);
    let mut writer = SnapshotWriter::new(&receiver);
    let mut reader = SnapshotReader::new(&state);
    let mut count = 0;
    while let Some(chunk) = reader.next_chunk().unwrap() {
        writer.write(&chunk).unwrap();
        count += 1;
    }
    assert!(count > 10);
    receiver.install(&writer.finish().unwrap()).unwrap();
    assert_eq!(rows(&receiver).len(), 100_000);
    assert_eq!(receiver.row(row_key(77_777)).unwrap(), Some(Bytes::from_static(&[7; 100])));
}

#[test]
fn a_snapshot_that_is_not_whole_is_refused_and_changes_nothing() {
    let (_, from) = disk();
    let state = create(&from, IDENTITY);
    flush(&state, 9, &[row(2, b"one"), row(3, b"two"), row(4, b"three")]).unwrap();
    let stream = chunks(&state).unwrap().concat();
    let (_, to) = disk();
    let receiver = create(&to, IDENTITY);
    let refused = |stream: &[u8], what: &str| {
        let mut writer = SnapshotWriter::new(&receiver);
        let result = writer.write(stream).and_then(|()| writer.finish());
        let Err(SnapshotError::Refused { reason, .. }) = result else {
            panic!("{what}: not refused: {result:?}");
        };
        assert_eq!(leftovers(&*to), Vec::<String>::new(), "{what}");
        reason
    };
    for cut in 0..stream.len() {
        refused(&stream[..cut], &format!("cut at {cut}"));
    }
    for offset in 0..stream.len() {
        let mut damaged = stream.clone();
        damaged[offset] ^= 0x04;
        refused(&damaged, &format!("bit flipped at {offset}"));
    }
    refused(&[&stream[..], b"x"].concat(), "more after the end");
    refused(&[&stream[..], &stream[..]].concat(), "twice");

    let (_, elsewhere) = disk();
    let other_cluster = Identity { cluster_id: ClusterId(0xee), ..IDENTITY };
    let stranger = create(&elsewhere, other_cluster);
    flush(&stranger, 9, &[]).unwrap();
    let reason = refused(&chunks(&stranger).unwrap().concat(), "another cluster");
    assert!(reason.contains("cluster ee") && reason.contains("cluster c1"), "{reason}");

    // An old one is whole, but of no use.
    flush(&receiver, 9, &[]).unwrap();
    let mut writer = SnapshotWriter::new(&receiver);
    writer.write(&stream).unwrap();
    let received = writer.finish().unwrap();
    let error = receiver.install(&received).expect_err("it is not newer");
    assert!(matches!(error, StateError::SnapshotOutdated { .. }));
    flush(&receiver, 10, &[]).unwrap();
    drop(received);
    assert_eq!(leftovers(&*to), Vec::<String>::new());
}

#[test]
fn an_interrupted_install_leaves_the_old_state_or_the_new_one() {
    let (_, from) = disk();
    let stream = chunks(&sender(&from)).unwrap().concat();
    let mut seen = BTreeMap::new();
    for after in 0..40 {
        for keep in [0.0, 0.5, 1.0] {
            let (memory, to) = disk();
            let receiver = create(&to, IDENTITY);
            flush(&receiver, 5, &[row(5, b"old")]).unwrap();
            memory.fail_sync(after);
            let mut writer = SnapshotWriter::new(&receiver);
            let installed = writer
                .write(&stream)
                .and_then(|()| writer.finish())
                .and_then(|received| Ok(receiver.install(&received)?));
            drop(receiver);
            let mut rng = ChaCha8Rng::seed_from_u64(after);
            memory.power_loss(|| rng.random_bool(keep));
            let found = open(&to).unwrap();
            let index = found.applied().index;
            assert!(index == Index(40) || (index == Index(5) && installed.is_err()));
            assert_eq!(rows(&found).len(), if index == Index(40) { 33 } else { 1 });
            assert_eq!(leftovers(&*to), Vec::<String>::new());
            *seen.entry((index, installed.is_ok())).or_insert(0) += 1;
        }
    }
    assert!(seen.len() >= 2, "both outcomes are reached: {seen:?}");
}

#[test]
fn a_switchable_disk_fills_fails_and_heals() {
    let (_, inner) = disk();
    let faults = DiskFaults::none();
    let disk = FaultDisk::shared(inner, faults.clone());
    let state = create(&disk, IDENTITY);
    faults.delay_syncs(Duration::from_millis(15));
    assert!(flush(&state, 2, &[row(2, b"slow")]).unwrap() >= Duration::from_millis(15));
    faults.heal();

    faults.fill(true);
    let error = flush(&state, 3, &[row(3, &vec![0; 8 << 20])]).expect_err("the disk is full");
    let StateError::Failed { source, .. } = &error else { panic!("{error:?}") };
    assert!(
        matches!(&**source, redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull)
    );
    faults.heal();
    drop(state);
    let state = open(&disk).unwrap();
    assert_eq!(state.applied().index, Index(2));

    faults.fail_syncs_after(Some(1));
    assert!(flush(&state, 3, &[]).is_err());
    faults.heal();
    drop(state);

    let state = open(&disk).unwrap();
    faults.hold_syncs(true);
    std::thread::scope(|scope| {
        let asked = faults.syncs();
        let held = scope.spawn(|| flush(&state, 4, &[]));
        while faults.syncs() == asked {
            std::thread::yield_now();
        }
        assert!(!held.is_finished());
        faults.heal();
        held.join().unwrap().unwrap();
    });
}

#[test]
fn a_data_directory_has_one_owner_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let data_dir = temp.path().join("m1");
    let directory = DataDirectory::lock(&RealDisk, &data_dir).unwrap();
    let error = DataDirectory::lock(&RealDisk, &data_dir).expect_err("it is in use");
    assert!(matches!(&error, DirectoryError::InUse { .. }));
    assert!(error.to_string().contains(&data_dir.display().to_string()));
    for path in [&data_dir, directory.member_dir(), directory.wal_dir()] as [&Path; 3] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", path.display());
    }
    drop(directory);
    DataDirectory::lock(&RealDisk, &data_dir).unwrap();
}

#[test]
fn a_member_on_the_real_disk() {
    let temp = tempfile::tempdir().unwrap();
    let disk = RealDisk::shared();
    let directory = DataDirectory::lock(&*disk, temp.path()).unwrap();
    let metadata =
        Metadata { cluster_id: IDENTITY.cluster_id, member_id: IDENTITY.member_id, boot: 1 };
    let options = WalOptions { segment_bytes: 1 << 20, ..WalOptions::default() };
    let mut wal = Wal::create(&disk, directory.wal_dir(), metadata, options).unwrap();
    let begin = applied(3, &[1, 2, 3]);
    let member_dir = directory.member_dir();
    let state = State::create(&disk, member_dir, IDENTITY, &begin, &[], OPTIONS).unwrap();
    wal.write_and_sync(Batch { mark: Some((&begin).into()), ..Batch::default() }).unwrap();
    flush(&state, 4, &[row(2, b"here")]).unwrap();
    let stream = chunks(&state).unwrap().concat();
    drop((wal, state));

    let (mut wal, mut recovered) = Wal::open(&disk, directory.wal_dir(), options).unwrap();
    let state = State::open(&disk, member_dir, OPTIONS).unwrap();
    assert_eq!(state.row(row_key(2)).unwrap(), Some(Bytes::from_static(b"here")));
    wal.settle(&mut recovered, (&state.applied()).into()).unwrap();
    assert_eq!(wal.last_index(), Index(4));
    wal.close().unwrap();

    let other = tempfile::tempdir().unwrap();
    let directory = DataDirectory::lock(&*disk, other.path()).unwrap();
    let member_dir: PathBuf = directory.member_dir().to_path_buf();
    let joined =
        State::create(&disk, &member_dir, IDENTITY, &applied(0, &[]), &[], OPTIONS).unwrap();
    let mut writer = SnapshotWriter::new(&joined);
    writer.write(&stream).unwrap();
    joined.install(&writer.finish().unwrap()).unwrap();
    assert_eq!(joined.applied().index, Index(4));
    assert_eq!(rows(&joined), rows(&state));
}

#[derive(Clone, Debug)]
enum Step {
    Flush { rows: u8, size: u16, remove: bool },
    FailSync { after: u8 },
    PowerLoss { percent: u8 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12_u8, 0..2000_u16, any::<bool>())
            .prop_map(|(rows, size, remove)| Step::Flush { rows, size, remove }),
        2 => (0..4_u8).prop_map(|after| Step::FailSync { after }),
        2 => (0..=100_u8).prop_map(|percent| Step::PowerLoss { percent }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// After any loss the state is that of the last flush, or of the one that was interrupted.
    #[test]
    fn a_flush_is_durable_whole_or_not_at_all(
        steps in proptest::collection::vec(step(), 1..30),
        seed: u64,
    ) {
        let (memory, disk) = disk();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut state = Some(create(&disk, IDENTITY));
        let mut durable = (1, Rowset::new());
        let mut next_row = 2_i64;
        for step in &steps {
            let mut lose = None;
            let mut interrupted = None;
            match step {
                Step::Flush { rows: count, size, remove } => {
                    let index = durable.0 + 1;
                    let mut after = durable.1.clone();
                    let mut changes = Vec::new();
                    if let Some((table, key)) =
                        after.keys().next().cloned().filter(|_| *remove)
                    {
                        changes.push(Change::remove(table, key.clone()));
                        after.remove(&(table, key));
                    }
                    for _ in 0..*count {
                        let value: Vec<u8> = (0..*size).map(|_| rng.random()).collect();
                        let change = row(next_row, &value);
                        next_row += 1;
                        after.insert((Table::Rows, change.key.to_vec()), value);
                        changes.push(change);
                    }
                    match flush(state.as_ref().unwrap(), index, &changes) {
                        Ok(_) => durable = (index, after),
                        Err(_) => {
                            interrupted = Some((index, after));
                            lose = Some(rng.random_range(0..=100));
                        }
                    }
                }
                Step::FailSync { after } => memory.fail_sync(u64::from(*after)),
                Step::PowerLoss { percent } => lose = Some(*percent),
                Step::Restart => {
                    memory.power_loss(|| true);
                    state = None;
                }
            }
            if let Some(percent) = lose {
                let chance = f64::from(percent) / 100.0;
                memory.power_loss(|| rng.random_bool(chance));
                state = None;
            }
            if state.is_none() {
                let opened = open(&disk).expect("a power loss is no damage");
                let found = (opened.applied().index.0, rows(&opened));
                if Some(&found) == interrupted.as_ref() {
                    durable = found;
                } else {
                    prop_assert_eq!(&found, &durable);
                }
                state = Some(opened);
            }
        }
    }
}
