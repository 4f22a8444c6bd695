//! The log: appended to, synced, released from the front.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use node_protocol::{Index, Term};
use raft::eraftpb::HardState;

use crate::failpoint::{Failpoint, hit};
use crate::storage::disk::Disk;

use super::{
    Batch, Mark, Metadata, Recovered, WalError, WalOptions,
    frame::{FrameBuilder, SEGMENT_HEADER_BYTES, SegmentHeader, TooLarge},
    recovery,
    segment::{Segment, Spare, io_error, salt, segment_name},
    spare::Spares,
};

/// The log of one member, open for appending. One thread owns it.
#[derive(Debug)]
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: WalOptions,
    /// Oldest first; the last one is appended to. Empty only while the log is being created.
    segments: VecDeque<Segment>,
    /// Where in the last segment the next frame goes.
    offset: u64,
    /// Everything before this offset of the last segment, and all earlier segments, are durable.
    synced: u64,
    next_frame: u64,
    metadata: Metadata,
    hard_state: Option<HardState>,
    mark: Option<Mark>,
    terms: TermRuns,
    builder: FrameBuilder,
    spares: Spares,
    /// Set by the first error of a write or a sync.
    failed: bool,
}

/// What the log still is when its files are read; [`recovery`] makes it.
pub(super) struct Contents {
    pub(super) segments: VecDeque<Segment>,
    pub(super) offset: u64,
    pub(super) next_frame: u64,
}

impl Wal {
    /// Whether there is a log in `dir`.
    ///
    /// # Errors
    ///
    /// If the directory cannot be listed.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, WalError> {
        let names = disk.list(dir).map_err(io_error("list", dir))?;
        Ok(names.iter().any(|name| super::segment::parse_segment_name(name).is_some()))
    }

    /// Creates an empty log in `dir`, which exists; it is durable on return.
    ///
    /// # Errors
    ///
    /// [`WalError::Exists`] if there is one already; [`WalError::Io`].
    pub fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        metadata: Metadata,
        options: WalOptions,
    ) -> Result<Self, WalError> {
        if Self::exists(&**disk, dir)? {
            return Err(WalError::Exists { dir: dir.to_path_buf() });
        }
        recovery::remove_leftovers(&**disk, dir)?;
        let mut wal = Self {
            disk: Arc::clone(disk),
            dir: dir.to_path_buf(),
            options,
            segments: VecDeque::new(),
            offset: 0,
            synced: 0,
            next_frame: 1,
            metadata,
            hard_state: None,
            mark: None,
            terms: TermRuns::default(),
            builder: FrameBuilder::default(),
            spares: Spares::new(disk, dir, &options)?,
            failed: false,
        };
        wal.begin_segment(0)?;
        Ok(wal)
    }

    /// Opens the log in `dir` and reads all of it.
    ///
    /// Batches that were not synced and did not arrive whole are discarded, and their bytes
    /// cleared durably before this returns.
    ///
    /// # Errors
    ///
    /// [`WalError::Missing`], [`WalError::Corrupt`], [`WalError::NewerLayout`], [`WalError::Io`].
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        options: WalOptions,
    ) -> Result<(Self, Recovered), WalError> {
        let (contents, recovered) = recovery::recover(&**disk, dir)?;
        let Contents { segments, offset, next_frame } = contents;
        let mut terms = TermRuns::default();
        terms.reset(recovered.mark);
        for entry in &recovered.entries {
            terms.set(entry.index, entry.term);
        }
        let wal = Self {
            disk: Arc::clone(disk),
            dir: dir.to_path_buf(),
            options,
            segments,
            offset,
            synced: offset,
            next_frame,
            metadata: recovered.metadata,
            hard_state: recovered.hard_state.clone(),
            mark: recovered.mark,
            terms,
            builder: FrameBuilder::default(),
            spares: Spares::new(disk, dir, &options)?,
            failed: false,
        };
        Ok((wal, recovered))
    }

    /// Brings log and state together after both were opened; `applied` is the state's last entry.
    ///
    /// A snapshot from a peer is installed in the state first and in the log second. If the
    /// process ended in between, the log is brought up to the snapshot here, durably, and
    /// `recovered` with it.
    ///
    /// # Errors
    ///
    /// [`WalError::StateBehindLog`] if entries between the two are nowhere; [`WalError::Io`].
    pub fn settle(&mut self, recovered: &mut Recovered, applied: Mark) -> Result<(), WalError> {
        if let Some(mark) = self.mark.filter(|mark| mark.index > applied.index) {
            let (dir, applied) = (self.dir.clone(), applied.index);
            return Err(WalError::StateBehindLog { dir, applied, mark });
        }
        if applied.index == Index(0) || self.term(applied.index) == Some(applied.term) {
            return Ok(());
        }
        self.append(Batch { mark: Some(applied), ..Batch::default() })?;
        self.sync()?;
        recovered.mark = self.mark;
        recovered.entries.clear();
        Ok(())
    }

    /// Writes a batch to the active segment, without waiting for it to be durable.
    ///
    /// # Errors
    ///
    /// [`WalError::BatchTooLarge`] leaves the log as it was; all others are final.
    ///
    /// # Panics
    ///
    /// If `batch` breaks the log: entries with gaps, entries at or before the mark, or a mark
    /// before the last one.
    pub fn append(&mut self, batch: Batch<'_>) -> Result<(), WalError> {
        let Batch { entries, hard_state, mark } = batch;
        self.check_alive()?;
        if entries.is_empty() && hard_state.is_none() && mark.is_none() {
            return Ok(());
        }
        if let (Some(new), Some(old)) = (mark, self.mark) {
            assert!(new.index >= old.index, "a mark at {} after one at {}", new.index, old.index);
        }
        let keep_suffix = mark.is_some_and(|mark| self.term(mark.index) == Some(mark.term));
        let last = match mark {
            Some(mark) if !keep_suffix => mark.index.0,
            Some(_) | None => self.terms.last,
        };
        if let Some(first) = entries.first() {
            let after = mark.or(self.mark).map_or(0, |mark| mark.index.0);
            assert!(
                after < first.index && first.index <= last + 1,
                "an entry at {} in a log of ({after}, {last}]",
                first.index
            );
            assert!(
                entries.windows(2).all(|pair| pair[0].index + 1 == pair[1].index),
                "entries with gaps after index {}",
                first.index
            );
        }

        self.builder.start();
        if let Some(hard_state) = hard_state {
            self.builder.hard_state(hard_state);
        }
        if let Some(mark) = mark {
            self.builder.mark(mark, keep_suffix);
        }
        self.builder.entries(entries);
        self.write_frame()?;

        if let Some(hard_state) = hard_state {
            self.hard_state = Some(hard_state.clone());
        }
        if let Some(mark) = mark {
            self.mark = Some(mark);
            if keep_suffix {
                self.terms.forget_before(mark.index.0);
            } else {
                self.terms.reset(Some(mark));
                self.truncate_segments(mark.index.0);
            }
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            if first.index <= self.terms.last {
                self.truncate_segments(first.index - 1);
                hit(Failpoint::LogOverwritten);
            }
            for entry in entries {
                self.terms.set(entry.index, entry.term);
            }
            self.active_mut().max_index = last.index;
        }
        if self.offset > self.active().bytes / 2 {
            self.spares.prepare_ahead();
        }
        Ok(())
    }

    /// Makes all that was appended durable. Returns how long that took; zero if all was.
    ///
    /// # Errors
    ///
    /// All are final: what was appended since the last success may be durable or not.
    pub fn sync(&mut self) -> Result<Duration, WalError> {
        self.check_alive()?;
        if self.synced == self.offset {
            return Ok(Duration::ZERO);
        }
        // A measurement for people; nothing is decided by it.
        let start = Instant::now();
        let active = self.active();
        let result = active.file.sync().map_err(io_error("sync", &active.path));
        self.latch(result)?;
        hit(Failpoint::LogSynced);
        self.synced = self.offset;
        Ok(start.elapsed())
    }

    /// [`Self::append`], then [`Self::sync`].
    ///
    /// # Errors
    ///
    /// As those two.
    pub fn write_and_sync(&mut self, batch: Batch<'_>) -> Result<Duration, WalError> {
        self.append(batch)?;
        self.sync()
    }

    /// Notes durably how many times the member was started.
    ///
    /// # Errors
    ///
    /// As [`Self::sync`].
    pub fn set_boot(&mut self, boot: u64) -> Result<(), WalError> {
        self.check_alive()?;
        let metadata = Metadata { boot, ..self.metadata };
        self.builder.start().metadata(&metadata);
        self.write_frame()?;
        hit(Failpoint::BootWritten);
        self.metadata = metadata;
        self.sync().map(drop)
    }

    /// Forgets the entries up to and including `up_to` and releases the segments that held only
    /// such; the new mark is durable before anything is released.
    ///
    /// Call it only with an index whose effects are durable in the state. Nothing happens if the
    /// mark is there already or beyond, but for releasing.
    ///
    /// # Errors
    ///
    /// As [`Self::sync`].
    ///
    /// # Panics
    ///
    /// If `up_to` is beyond the last entry.
    pub fn compact(&mut self, up_to: Index) -> Result<(), WalError> {
        self.check_alive()?;
        if self.mark.map_or(0, |mark| mark.index.0) < up_to.0 {
            let term = self.term(up_to).expect("only entries of the log are compacted");
            self.append(Batch { mark: Some(Mark { index: up_to, term }), ..Batch::default() })?;
        }
        self.sync()?;
        let Some(mark) = self.mark else { return Ok(()) };
        let mut released = Vec::new();
        while self.segments.len() > 1 && self.segments[0].max_index <= mark.index.0 {
            released.extend(self.segments.pop_front());
        }
        if released.is_empty() {
            return Ok(());
        }
        hit(Failpoint::CompactionMarked);
        let result = self.spares.release(released);
        self.latch(result)
    }

    /// Syncs, seals and closes the log, and ends its helper thread.
    ///
    /// # Errors
    ///
    /// As [`Self::sync`].
    pub fn close(mut self) -> Result<(), WalError> {
        self.sync()?;
        // An empty frame, which says that everything before it was durable.
        self.builder.start();
        self.write_frame()?;
        hit(Failpoint::SealWritten);
        self.sync().map(drop)
    }

    /// Whose log this is.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// The point before the first entry; `None` if the log begins at index 1.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// The last entry appended, or the mark's if there is none after it; 0 in an empty log.
    #[must_use]
    pub fn last_index(&self) -> Index {
        Index(self.terms.last)
    }

    /// The term of an entry of the log, or of its mark; `None` for any other index.
    #[must_use]
    pub fn term(&self, index: Index) -> Option<Term> {
        self.terms.get(index.0).map(Term)
    }

    /// Size of all segments, in bytes; spare files not counted.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn active(&self) -> &Segment {
        self.segments.back().expect("a log that was created has a segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log that was created has a segment")
    }

    fn check_alive(&self) -> Result<(), WalError> {
        if self.failed { Err(WalError::Failed { dir: self.dir.clone() }) } else { Ok(()) }
    }

    fn latch<T>(&mut self, result: Result<T, WalError>) -> Result<T, WalError> {
        self.failed |= result.is_err();
        result
    }

    /// Entries after `last` are superseded, in whichever segment they are.
    fn truncate_segments(&mut self, last: u64) {
        for segment in &mut self.segments {
            segment.max_index = segment.max_index.min(last);
        }
    }

    /// Writes the frame in the builder, in a new segment if need be.
    fn write_frame(&mut self) -> Result<(), WalError> {
        let frame_len = self.builder.frame_len();
        if u32::try_from(frame_len).is_err() {
            return Err(WalError::BatchTooLarge { bytes: frame_len });
        }
        if self.offset + frame_len as u64 > self.active().bytes {
            self.sync()?;
            let begun = self.begin_segment(frame_len);
            self.latch(begun)?;
        }
        let Self { segments, builder, next_frame, offset, synced, .. } = self;
        let active = segments.back().expect("a log that was created has a segment");
        let bytes = builder
            .finish(active.salt, *next_frame, *synced)
            .map_err(|TooLarge| WalError::BatchTooLarge { bytes: frame_len })?;
        hit(Failpoint::LogBeforeWrite);
        let result = active.file.write_at(*offset, bytes).map_err(io_error("write", &active.path));
        self.latch(result)?;
        hit(Failpoint::LogWritten);
        self.offset += frame_len as u64;
        self.next_frame += 1;
        Ok(())
    }

    /// Begins a segment with room for a frame of `frame_len`. All before it is durable already;
    /// the segment is too, on return.
    fn begin_segment(&mut self, frame_len: usize) -> Result<(), WalError> {
        let previous = self.segments.back();
        let seq = previous.map_or(1, |segment| segment.seq + 1);
        let header = SegmentHeader {
            seq,
            first_frame: self.next_frame,
            salt: salt(self.options.salt_seed, seq),
        };
        let mut opening = FrameBuilder::default();
        opening.start().metadata(&self.metadata);
        if let Some(hard_state) = &self.hard_state {
            opening.hard_state(hard_state);
        }
        if let Some(mark) = self.mark {
            opening.mark(mark, true);
        }
        let opening = opening
            .finish(header.salt, header.first_frame, 0)
            .map_err(|TooLarge| WalError::BatchTooLarge { bytes: usize::MAX })?;
        let mut beginning = header.encode().to_vec();
        beginning.extend_from_slice(opening);

        // With no spare ready a smaller file keeps the wait short; each is twice the one before.
        let otherwise_bytes = previous.map_or(self.options.first_segment_bytes, |segment| {
            (segment.bytes * 2).min(self.options.segment_bytes)
        });
        let Spare { path: spare_path, file, bytes } =
            self.spares.take((beginning.len() + frame_len) as u64, otherwise_bytes)?;
        file.write_at(0, &beginning).map_err(io_error("write", &spare_path))?;
        file.sync().map_err(io_error("sync", &spare_path))?;
        hit(Failpoint::SegmentPrepared);
        let path = self.dir.join(segment_name(seq, self.terms.last + 1));
        self.disk.rename(&spare_path, &path).map_err(io_error("rename", &spare_path))?;
        hit(Failpoint::SegmentRenamed);
        self.disk.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        hit(Failpoint::SegmentBegun);

        debug_assert!(beginning.len() >= SEGMENT_HEADER_BYTES);
        self.offset = beginning.len() as u64;
        self.synced = self.offset;
        self.next_frame += 1;
        self.segments.push_back(Segment {
            seq,
            path,
            file,
            bytes,
            salt: header.salt,
            max_index: 0,
        });
        Ok(())
    }
}

/// The term of every index from the mark on: terms change seldom, so runs of them are few.
#[derive(Debug, Default)]
struct TermRuns {
    /// First index of each run and its term, both rising. The first run begins at the mark.
    runs: VecDeque<(u64, u64)>,
    /// Last index with a term; 0 in an empty log.
    last: u64,
}

impl TermRuns {
    fn reset(&mut self, mark: Option<Mark>) {
        self.runs.clear();
        self.last = 0;
        if let Some(Mark { index, term }) = mark {
            self.set(index.0, term.0);
        }
    }

    /// Gives `index` a term, and forgets those after it.
    fn set(&mut self, index: u64, term: u64) {
        while self.runs.back().is_some_and(|(first, _)| *first >= index) {
            self.runs.pop_back();
        }
        if self.runs.back().is_none_or(|(_, last)| *last != term) {
            self.runs.push_back((index, term));
        }
        self.last = index;
    }

    fn get(&self, index: u64) -> Option<u64> {
        let after = self.runs.partition_point(|(first, _)| *first <= index);
        if index > self.last { None } else { Some(self.runs.get(after.checked_sub(1)?)?.1) }
    }

    /// Forgets the terms before `index`, which has one.
    fn forget_before(&mut self, index: u64) {
        while self.runs.get(1).is_some_and(|(second, _)| *second <= index) {
            self.runs.pop_front();
        }
        if let Some((first, _)) = self.runs.front_mut() {
            *first = (*first).max(index);
        }
    }
}
