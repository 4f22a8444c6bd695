//! The log's layout, its answers to damage, and the log against a model through crashes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use node_protocol::{ClusterId, Index, MemberId, Term};
use proptest::prelude::*;
use raft::eraftpb::{Entry, EntryType, HardState};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::storage::{
    disk::{Disk, OpenMode, RealDisk},
    memory::MemoryDisk,
};

use super::{
    Batch, Mark, Metadata, Recovered, Wal, WalError, WalOptions,
    frame::{FRAME_ALIGN, SEGMENT_HEADER_BYTES},
};

const METADATA: Metadata =
    Metadata { cluster_id: ClusterId(0xc1), member_id: MemberId(0xa1), boot: 1 };

fn dir() -> &'static Path {
    Path::new("/wal")
}

fn options() -> WalOptions {
    WalOptions::deterministic(1024, 7)
}

fn disk() -> (MemoryDisk, Arc<dyn Disk>) {
    let memory = MemoryDisk::new();
    memory.create_dir(dir()).unwrap();
    let shared = memory.shared();
    (memory, shared)
}

fn create(disk: &Arc<dyn Disk>) -> Wal {
    Wal::create(disk, dir(), METADATA, options()).unwrap()
}

fn open(disk: &Arc<dyn Disk>) -> Result<(Wal, Recovered), WalError> {
    Wal::open(disk, dir(), options())
}

fn entry(index: u64, term: u64, data: &[u8]) -> Entry {
    Entry { index, term, data: Bytes::copy_from_slice(data), ..Entry::default() }
}

fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit, ..HardState::default() }
}

fn mark(index: u64, term: u64) -> Mark {
    Mark { index: Index(index), term: Term(term) }
}

fn entries(entries: &[Entry]) -> Batch<'_> {
    Batch { entries, ..Batch::default() }
}

fn segments(disk: &dyn Disk) -> Vec<PathBuf> {
    let names = disk.list(dir()).unwrap();
    names.iter().filter(|name| name.ends_with(".wal")).map(|name| dir().join(name)).collect()
}

fn indexes(recovered: &Recovered) -> Vec<(u64, u64)> {
    recovered.entries.iter().map(|entry| (entry.index, entry.term)).collect()
}

fn hex(bytes: &[u8]) -> Vec<String> {
    bytes
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        .collect()
}

#[test]
fn the_layout_is_what_it_was_yesterday() {
    let (memory, disk) = disk();
    let mut wal = create(&disk);
    let mut conf_change = entry(6, 2, b"conf");
    conf_change.set_entry_type(EntryType::EntryConfChangeV2);
    conf_change.context = Bytes::from_static(b"ctx");
    wal.write_and_sync(Batch {
        entries: &[conf_change.clone(), entry(7, 2, b"put")],
        hard_state: Some(&hard_state(2, 3, 5)),
        mark: Some(mark(5, 1)),
    })
    .unwrap();

    let path = dir().join("0000000000000001-0000000000000001.wal");
    assert_eq!(segments(&*disk), std::slice::from_ref(&path));
    let bytes = memory.bytes(&path).unwrap();
    assert_eq!(bytes.len(), 1024);
    let (used, rest) = bytes.split_at(320);
    assert_eq!(
        hex(used),
        [
            // Segment header: magic, version, sequence 1, first frame 1; salt, checksum.
            "5241465457414c0a010000000000000001000000000000000100000000000000",
            "d70d3259e4e1cb6300000000000000000000000000000000000000000b477105",
            // Frame 1: 25 bytes of items; metadata: cluster c1, member a1, boot 1.
            "190000003f135ee50100000000000000000000000000000000000000ec1d51f5",
            "01c100000000000000a100000000000000010000000000000000000000000000",
            // Frame 2, synced up to 0x80: hard state, mark (no suffix kept), two entries from 6.
            "640000000eb5f8e802000000000000008000000000000000000000007cf0474b",
            "0202000000000000000300000000000000050000000000000003050000000000",
            "0000010000000000000000040600000000000000020000000202000000000000",
            "000400000003000000636f6e6663747800020000000000000003000000000000",
            "0070757400000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ]
    );
    assert!(rest.iter().all(|byte| *byte == 0));
    assert_eq!(used.len() % FRAME_ALIGN, 0);

    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(
        recovered,
        Recovered {
            metadata: METADATA,
            hard_state: Some(hard_state(2, 3, 5)),
            mark: Some(mark(5, 1)),
            entries: vec![conf_change, entry(7, 2, b"put")],
            torn_bytes: 0,
        }
    );
}

#[test]
fn a_later_entry_at_an_index_wins_and_takes_what_came_after() {
    let (_, disk) = disk();
    let mut wal = create(&disk);
    let first: Vec<Entry> = (1..=6).map(|index| entry(index, 1, b"old")).collect();
    wal.append(entries(&first)).unwrap();
    wal.append(entries(&[entry(4, 2, b"new")])).unwrap();
    assert_eq!(wal.last_index(), Index(4));
    assert_eq!(wal.term(Index(3)), Some(Term(1)));
    assert_eq!(wal.term(Index(4)), Some(Term(2)));
    assert_eq!(wal.term(Index(5)), None);
    wal.close().unwrap();
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(indexes(&recovered), [(1, 1), (2, 1), (3, 1), (4, 2)]);
    assert_eq!(wal.last_index(), Index(4));
}

#[test]
fn a_mark_keeps_the_suffix_only_of_a_log_that_has_its_entry() {
    let rows: &[(Mark, &[(u64, u64)])] = &[
        // The entry is there with that term: what follows stays.
        (mark(3, 1), &[(4, 1), (5, 1)]),
        (mark(5, 1), &[]),
        // Another term at that index, or beyond the end: the log was another one.
        (mark(3, 2), &[]),
        (mark(9, 1), &[]),
    ];
    for (at, expected) in rows {
        let (_, disk) = disk();
        let mut wal = create(&disk);
        let log: Vec<Entry> = (1..=5).map(|index| entry(index, 1, b"x")).collect();
        wal.append(entries(&log)).unwrap();
        wal.append(Batch { mark: Some(*at), ..Batch::default() }).unwrap();
        let last = expected.last().map_or(at.index, |(index, _)| Index(*index));
        assert_eq!(wal.last_index(), last, "{at:?}");
        assert_eq!(wal.term(at.index), Some(at.term), "{at:?}");
        wal.close().unwrap();
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.mark, Some(*at));
        assert_eq!(indexes(&recovered), *expected, "{at:?}");
    }
}

#[test]
fn compaction_releases_segments_and_recycled_bytes_are_never_read() {
    let (memory, disk) = disk();
    let mut wal = create(&disk);
    for round in 0..40_u64 {
        let batch: Vec<Entry> =
            (round * 10 + 1..=round * 10 + 10).map(|at| entry(at, 1, &[round as u8; 20])).collect();
        wal.write_and_sync(entries(&batch)).unwrap();
        wal.compact(Index(round * 10 + 5)).unwrap();
        assert!(wal.bytes_on_disk() <= 3 * 1024, "round {round}: {}", wal.bytes_on_disk());
        // However the process ends now, exactly what was appended is read.
        let copy = MemoryDisk::new();
        copy.create_dir(dir()).unwrap();
        for path in segments(&*disk) {
            let file = copy.open(&path, OpenMode::New).unwrap();
            file.write_at(0, &memory.bytes(&path).unwrap()).unwrap();
        }
        let (_, recovered) = open(&copy.shared()).unwrap();
        assert_eq!(recovered.mark, Some(mark(round * 10 + 5, 1)));
        assert_eq!(recovered.entries, &batch[5..]);
        assert_eq!(recovered.torn_bytes, 0);
    }
    let last = segments(&*disk).pop().unwrap();
    let stale = memory.bytes(&last).unwrap().iter().rev().take(64).any(|byte| *byte != 0);
    assert!(stale, "the test means something only if files are recycled");
}

#[test]
fn a_flipped_bit_before_the_last_batch_is_damage_and_in_it_a_torn_tail() {
    for flipped in 0..5_u64 {
        let (memory, disk) = disk();
        let mut wal = create(&disk);
        let mut places = Vec::new();
        for index in 1..=5 {
            let before = memory.bytes(&segments(&*disk)[0]).unwrap();
            wal.write_and_sync(entries(&[entry(index, 1, b"some data")])).unwrap();
            let after = memory.bytes(&segments(&*disk)[0]).unwrap();
            places.push(before.iter().zip(&after).position(|(old, new)| old != new).unwrap());
        }
        drop(wal);
        let place = places[usize::try_from(flipped).unwrap()] / FRAME_ALIGN * FRAME_ALIGN;
        // In the items, and in the header.
        for offset in [place + FRAME_ALIGN + 20, place + 9] {
            let path = &segments(&*disk)[0];
            memory.flip(path, offset, 0x10);
            if flipped < 4 {
                let error = open(&disk).expect_err("damage is reported");
                assert!(
                    matches!(&error, WalError::Corrupt { path: found, offset, .. }
                        if found == path && *offset == place as u64),
                    "{error}"
                );
                let text = error.to_string();
                assert!(text.contains("0000000000000001-") && text.contains("member add"));
                memory.flip(path, offset, 0x10);
            } else {
                let (_, recovered) = open(&disk).unwrap();
                assert_eq!(indexes(&recovered), [(1, 1), (2, 1), (3, 1), (4, 1)]);
            }
        }
    }
}

#[test]
fn after_an_orderly_stop_damage_in_the_last_batch_is_seen_too() {
    let (memory, disk) = disk();
    let mut wal = create(&disk);
    wal.append(entries(&[entry(1, 1, b"kept")])).unwrap();
    let used = memory.bytes(&segments(&*disk)[0]).unwrap();
    let last = used.iter().rposition(|byte| *byte != 0).unwrap();
    wal.close().unwrap();
    memory.flip(&segments(&*disk)[0], last, 1);
    assert!(matches!(open(&disk), Err(WalError::Corrupt { .. })));
}

#[test]
fn damage_anywhere_in_an_earlier_segment_is_seen() {
    let (memory, disk) = disk();
    let mut wal = create(&disk);
    for index in 1..=40 {
        wal.write_and_sync(entries(&[entry(index, 1, &[3; 30])])).unwrap();
    }
    let first = segments(&*disk)[0].clone();
    let used = memory.bytes(&first).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    for offset in 0..used {
        memory.flip(&first, offset, 0x80);
        let opened = open(&disk);
        // Padding between frames carries nothing.
        if let Ok((_, recovered)) = &opened {
            assert_eq!(recovered.entries.len(), 40, "offset {offset}");
            assert!(offset >= SEGMENT_HEADER_BYTES);
        }
        memory.flip(&first, offset, 0x80);
    }
    // A missing segment is damage as well.
    disk.remove(&segments(&*disk)[1]).unwrap();
    assert!(matches!(open(&disk), Err(WalError::Corrupt { .. })));
}

#[test]
fn a_failed_sync_is_final_and_what_was_read_again_is_durable() {
    let (memory, disk) = disk();
    let mut wal = create(&disk);
    wal.write_and_sync(entries(&[entry(1, 1, b"a")])).unwrap();
    wal.append(entries(&[entry(2, 1, b"b")])).unwrap();
    memory.fail_sync(0);
    assert!(matches!(wal.sync(), Err(WalError::Io { .. })));
    assert!(matches!(wal.sync(), Err(WalError::Failed { .. })));
    assert!(matches!(wal.append(entries(&[entry(3, 1, b"c")])), Err(WalError::Failed { .. })));
    // The process ends with the power on, so the next one still sees what was not synced; once it
    // has, no power loss may take it away.
    memory.crash();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(indexes(&recovered), [(1, 1), (2, 1)]);
    memory.power_loss(|| false);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(indexes(&recovered), [(1, 1), (2, 1)]);
}

#[test]
fn what_is_not_a_log_is_refused() {
    let (memory, disk) = disk();
    assert!(!Wal::exists(&*disk, dir()).unwrap());
    assert!(matches!(open(&disk), Err(WalError::Missing { .. })));
    drop(create(&disk));
    assert!(Wal::exists(&*disk, dir()).unwrap());
    let again = Wal::create(&disk, dir(), METADATA, options());
    assert!(matches!(again, Err(WalError::Exists { .. })));
    // A newer layout: its version and its checksum differ.
    let path = &segments(&*disk)[0];
    let mut header = memory.bytes(path).unwrap()[..SEGMENT_HEADER_BYTES].to_vec();
    header[8] = 2;
    let checksum = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&checksum.to_le_bytes());
    disk.open(path, OpenMode::Existing).unwrap().write_at(0, &header).unwrap();
    assert!(matches!(open(&disk), Err(WalError::NewerLayout { found: 2, .. })));
}

#[test]
fn log_and_state_are_settled_when_a_snapshot_was_cut_in_half() {
    let rows: &[(Mark, Option<Mark>, usize)] = &[
        // The state is somewhere in the log: nothing to do.
        (mark(3, 1), None, 5),
        // The state is a snapshot beyond the log, or of another one: the log begins there.
        (mark(9, 2), Some(mark(9, 2)), 0),
        (mark(4, 2), Some(mark(4, 2)), 0),
    ];
    for (applied, expected, kept) in rows {
        let (_, disk) = disk();
        let mut wal = create(&disk);
        let log: Vec<Entry> = (1..=5).map(|index| entry(index, 1, b"x")).collect();
        wal.write_and_sync(entries(&log)).unwrap();
        drop(wal);
        for _ in 0..2 {
            let (mut wal, mut recovered) = open(&disk).unwrap();
            wal.settle(&mut recovered, *applied).unwrap();
            assert_eq!(recovered.mark, *expected);
            assert_eq!(recovered.entries.len(), *kept);
        }
    }
    let (_, disk) = disk();
    let mut wal = create(&disk);
    wal.write_and_sync(Batch { mark: Some(mark(9, 2)), ..Batch::default() }).unwrap();
    let (mut wal, mut recovered) = {
        drop(wal);
        open(&disk).unwrap()
    };
    let error = wal.settle(&mut recovered, mark(5, 1)).expect_err("entries 6 to 9 are nowhere");
    assert!(matches!(error, WalError::StateBehindLog { .. }));
}

#[test]
fn a_new_log_is_pristine_until_something_is_promised() {
    let (_, disk) = disk();
    create(&disk).close().unwrap();
    let (mut wal, recovered) = open(&disk).unwrap();
    assert!(recovered.is_pristine());
    wal.set_boot(2).unwrap();
    wal.write_and_sync(Batch { hard_state: Some(&hard_state(1, 0, 0)), ..Batch::default() })
        .unwrap();
    drop(wal);
    let (wal, recovered) = open(&disk).unwrap();
    assert!(!recovered.is_pristine());
    assert_eq!(wal.metadata(), Metadata { boot: 2, ..METADATA });
}

#[test]
fn the_real_disk_with_its_helper_thread() {
    let temp = tempfile::tempdir().unwrap();
    let disk = RealDisk::shared();
    let options = WalOptions {
        first_segment_bytes: 4 << 10,
        segment_bytes: 64 << 10,
        ..WalOptions::default()
    };
    let mut wal = Wal::create(&disk, temp.path(), METADATA, options).unwrap();
    let mut last = 0;
    for boot in 2..5 {
        for _ in 0..200 {
            let batch: Vec<Entry> =
                (last + 1..=last + 10).map(|at| entry(at, boot, &[9; 100])).collect();
            wal.write_and_sync(entries(&batch)).unwrap();
            last += 10;
            if last % 500 == 0 {
                wal.compact(Index(last - 300)).unwrap();
            }
        }
        wal.set_boot(boot).unwrap();
        wal.close().unwrap();
        let recovered;
        (wal, recovered) = Wal::open(&disk, temp.path(), options).unwrap();
        assert_eq!(recovered.metadata.boot, boot);
        assert_eq!(recovered.mark.unwrap().index, Index(last - 300));
        assert_eq!(recovered.entries.len(), 300);
        assert_eq!(recovered.torn_bytes, 0);
    }
    assert!(wal.bytes_on_disk() < 300 << 10, "{}", wal.bytes_on_disk());
}

// ---- the log against a model ------------------------------------------------------------------

/// What a log holds, told from the calls made.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    boot: u64,
    hard_state: Option<HardState>,
    mark: Option<Mark>,
    entries: Vec<Entry>,
}

impl Model {
    fn of(recovered: &Recovered) -> Self {
        Self {
            boot: recovered.metadata.boot,
            hard_state: recovered.hard_state.clone(),
            mark: recovered.mark,
            entries: recovered.entries.clone(),
        }
    }

    fn base(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.index.0)
    }

    fn last(&self) -> u64 {
        self.base() + self.entries.len() as u64
    }

    fn move_mark(&mut self, mark: Mark) {
        let matches = self.mark == Some(mark)
            || self
                .entries
                .iter()
                .any(|entry| (entry.index, entry.term) == (mark.index.0, mark.term.0));
        self.entries.retain(|entry| matches && entry.index > mark.index.0);
        self.mark = Some(mark);
    }

    fn append(&mut self, batch: Batch<'_>) {
        if let Some(hard_state) = batch.hard_state {
            self.hard_state = Some(hard_state.clone());
        }
        if let Some(mark) = batch.mark {
            self.move_mark(mark);
        }
        if let Some(first) = batch.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend_from_slice(batch.entries);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Entries from this far back on, so many, so large each; perhaps a hard state.
    Append {
        back: u8,
        count: u8,
        size: u16,
        hard_state: bool,
    },
    /// A snapshot so far beyond the last entry (or, if negative, before it), of this or a new term.
    Install {
        beyond: i8,
        new_term: bool,
    },
    Sync,
    Compact {
        keep: u8,
    },
    Boot,
    /// After so many more syncs one fails, and with it the process.
    FailSync {
        after: u8,
    },
    /// An orderly stop and a start.
    Restart,
    /// The process dies and starts again; with the power, if `percent` is given: so much of what
    /// was not synced is kept.
    Crash {
        percent: Option<u8>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0..60_u16, 3 => 60..400_u16, 1 => 900..3000_u16];
    prop_oneof![
        8 => (prop_oneof![4 => Just(0), 1 => 0..6_u8], 1..6_u8, size, any::<bool>())
            .prop_map(|(back, count, size, hard_state)| Step::Append { back, count, size, hard_state }),
        1 => (-6..12_i8, any::<bool>())
            .prop_map(|(beyond, new_term)| Step::Install { beyond, new_term }),
        6 => Just(Step::Sync),
        3 => (0..12_u8).prop_map(|keep| Step::Compact { keep }),
        1 => Just(Step::Boot),
        2 => (0..12_u8).prop_map(|after| Step::FailSync { after }),
        1 => Just(Step::Restart),
        3 => proptest::option::of(0..=100_u8).prop_map(|percent| Step::Crash { percent }),
    ]
}

/// A log and what may be on its disk: the last durable state and those after it, in order.
struct Checked {
    memory: MemoryDisk,
    disk: Arc<dyn Disk>,
    wal: Wal,
    durable: Model,
    pending: Vec<Model>,
    term: u64,
    rng: ChaCha8Rng,
}

impl Checked {
    fn now(&self) -> &Model {
        self.pending.last().unwrap_or(&self.durable)
    }

    fn all_durable(&mut self) {
        self.durable = self.now().clone();
        self.pending.clear();
    }

    /// Does one step; an error is the injected one.
    fn perform(&mut self, step: &Step) -> Result<(), WalError> {
        let mut next = self.now().clone();
        match step {
            Step::Append { back, count, size, hard_state: with_hard_state } => {
                let back = u64::from(*back).min(next.entries.len() as u64);
                self.term += u64::from(back > 0);
                let first = next.last() + 1 - back;
                let data: Vec<u8> = (0..*size).map(|_| self.rng.random()).collect();
                let log: Vec<Entry> = (first..first + u64::from(*count))
                    .map(|index| entry(index, self.term, &data))
                    .collect();
                let hard_state = hard_state(self.term, 1, next.base());
                let batch = Batch {
                    entries: &log,
                    hard_state: with_hard_state.then_some(&hard_state),
                    mark: None,
                };
                next.append(batch);
                self.pending.push(next);
                self.wal.append(batch)?;
            }
            Step::Install { beyond, new_term } => {
                self.term += u64::from(*new_term);
                let index = next.last().saturating_add_signed(i64::from(*beyond)).max(next.base());
                let index = index.max(1);
                // A snapshot at the mark itself is the same snapshot.
                let term = next
                    .mark
                    .filter(|mark| mark.index.0 == index)
                    .map_or(self.term, |mark| mark.term.0);
                let batch = Batch { mark: Some(mark(index, term)), ..Batch::default() };
                next.append(batch);
                self.pending.push(next);
                self.wal.append(batch)?;
            }
            Step::Sync => {
                self.wal.sync()?;
                self.all_durable();
            }
            Step::Compact { keep } => {
                let up_to = next.last().saturating_sub(u64::from(*keep));
                if up_to > next.base() {
                    let term = next.entries[usize::try_from(up_to - next.base() - 1).unwrap()].term;
                    next.move_mark(mark(up_to, term));
                    self.pending.push(next);
                }
                self.wal.compact(Index(up_to))?;
                self.all_durable();
            }
            Step::Boot => {
                next.boot += 1;
                let boot = next.boot;
                self.pending.push(next);
                self.wal.set_boot(boot)?;
                self.all_durable();
            }
            Step::FailSync { after } => self.memory.fail_sync(u64::from(*after)),
            Step::Restart => {
                let other = MemoryDisk::new();
                other.create_dir(dir()).unwrap();
                let idle = Wal::create(&other.shared(), dir(), METADATA, options()).unwrap();
                std::mem::replace(&mut self.wal, idle).close()?;
                self.all_durable();
                let (wal, recovered) = open(&self.disk)?;
                assert_eq!(Model::of(&recovered), self.durable);
                self.wal = wal;
            }
            Step::Crash { percent } => self.crash(*percent),
        }
        assert_eq!(self.wal.last_index().0, self.now().last());
        Ok(())
    }

    fn crash(&mut self, percent: Option<u8>) {
        self.lose(percent);
        // Now and then the start is interrupted as well.
        if self.rng.random_bool(0.2) {
            self.memory.fail_sync(self.rng.random_range(0..3));
            if let Ok((mut wal, _)) = open(&self.disk) {
                wal.append(entries(&[])).unwrap();
            }
            self.lose(percent);
        }
        let (wal, recovered) = open(&self.disk).expect("a crash is no damage");
        let found = Model::of(&recovered);
        let allowed: Vec<&Model> = std::iter::once(&self.durable).chain(&self.pending).collect();
        assert!(
            allowed.contains(&&found),
            "recovered {found:#?}\nof durable {:#?}\nand {:#?}",
            self.durable,
            self.pending
        );
        self.wal = wal;
        self.durable = found;
        self.pending.clear();
    }

    fn lose(&mut self, percent: Option<u8>) {
        match percent {
            None => self.memory.crash(),
            Some(percent) => {
                let chance = f64::from(percent) / 100.0;
                self.memory.power_loss(|| self.rng.random_bool(chance));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_synced_batch_survives_and_nothing_else_is_made_up(
        steps in proptest::collection::vec(step(), 1..80),
        seed: u64,
    ) {
        let (memory, disk) = disk();
        let wal = create(&disk);
        let durable = Model { boot: 1, hard_state: None, mark: None, entries: Vec::new() };
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut checked = Checked { memory, disk, wal, durable, pending: vec![], term: 1, rng };
        for step in &steps {
            if checked.perform(step).is_err() {
                // Only the injected failure ends a log, and it ends it for good.
                let lost = checked.rng.random_bool(0.7).then(|| checked.rng.random_range(0..=100));
                checked.crash(lost);
            }
        }
        checked.crash(Some(0));
    }
}
