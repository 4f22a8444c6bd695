//! Reading the log back when a member starts.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

use raft::eraftpb::{Entry, HardState};

use crate::failpoint::{Failpoint, hit};
use crate::storage::disk::{Disk, DiskFile, OpenMode};

use super::{
    Mark, Metadata, Recovered, WalError,
    frame::{
        FRAME_ALIGN, FrameHeader, HeaderFault, Item, SEGMENT_HEADER_BYTES, SegmentHeader,
        decode_items,
    },
    log::Contents,
    segment::{LEFTOVER_SUFFIX, Segment, io_error, parse_segment_name},
};

/// Removes files that were to become segments, or were ones, durably.
pub(super) fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<(), WalError> {
    let names = disk.list(dir).map_err(io_error("list", dir))?;
    for name in names.iter().filter(|name| name.ends_with(LEFTOVER_SUFFIX)) {
        let path = dir.join(name);
        disk.remove(&path).map_err(io_error("remove", &path))?;
    }
    hit(Failpoint::LeftoversRemoved);
    disk.sync_dir(dir).map_err(io_error("sync", dir))
}

/// Reads the log in `dir` and clears what did not arrive whole.
pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<(Contents, Recovered), WalError> {
    remove_leftovers(disk, dir)?;
    let names = disk.list(dir).map_err(io_error("list", dir))?;
    let files: Vec<(u64, PathBuf)> =
        names.iter().filter_map(|name| Some((parse_segment_name(name)?, dir.join(name)))).collect();
    if files.is_empty() {
        return Err(WalError::Missing { dir: dir.to_path_buf() });
    }

    let mut replay = Replay::default();
    let mut segments = VecDeque::<Segment>::new();
    let mut next_frame = None;
    let mut end = 0;
    let mut torn_bytes = 0;
    let count = files.len();
    for (at, (seq, path)) in files.into_iter().enumerate() {
        let image = Image::read(disk, seq, path)?;
        if segments.back().is_some_and(|previous| previous.seq + 1 != seq) {
            return Err(image.corrupt(0, "the segment before it is missing"));
        }
        if let (Some(reached), Some(previous)) = (next_frame, segments.back())
            && reached != image.header.first_frame
        {
            // The successor was begun only after all of its predecessor was durable.
            return Err(WalError::Corrupt {
                path: previous.path.clone(),
                offset: end,
                reason: "frames are missing at its end",
            });
        }
        let mut number = image.header.first_frame;
        let mut max_index = 0;
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut synced = 0;
        while let Some((header, items)) = image.frame(offset, number) {
            let items = decode_items(items)
                .ok_or_else(|| image.corrupt(offset, "a frame has items of an unknown kind"))?;
            for item in items {
                replay.apply(item, &mut segments, &mut max_index);
            }
            offset += header.frame_len();
            synced = header.synced;
            number += 1;
        }
        if number == image.header.first_frame {
            return Err(image.corrupt(offset, "its first frame is missing"));
        }
        if at + 1 == count {
            torn_bytes = image.clear_torn_tail(offset)?;
            hit(Failpoint::TailCleared);
            image.write_again(synced, offset)?;
        }
        end = offset as u64;
        next_frame = Some(number);
        let Image { path, file, bytes, header } = image;
        let bytes = bytes.len() as u64;
        segments.push_back(Segment { seq, path, file, bytes, salt: header.salt, max_index });
    }

    let recovered = replay.finish(torn_bytes, segments.back())?;
    let next_frame = next_frame.unwrap_or(1);
    Ok((Contents { segments, offset: end, next_frame }, recovered))
}

/// A segment's file, read whole.
struct Image {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    bytes: Vec<u8>,
    header: SegmentHeader,
}

impl Image {
    fn read(disk: &dyn Disk, seq: u64, path: PathBuf) -> Result<Self, WalError> {
        let read = || -> std::io::Result<_> {
            let file = disk.open(&path, OpenMode::Existing)?;
            let len = usize::try_from(file.len()?).map_err(std::io::Error::other)?;
            let mut bytes = vec![0; len];
            file.read_at(0, &mut bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = read().map_err(io_error("read", &path))?;
        match SegmentHeader::decode(&bytes) {
            Ok(header) if header.seq == seq => Ok(Self { path, file, bytes, header }),
            Ok(_) => Err(WalError::Corrupt { path, offset: 0, reason: "it is another segment" }),
            Err(HeaderFault::Damaged) => {
                Err(WalError::Corrupt { path, offset: 0, reason: "its header is damaged" })
            }
            Err(HeaderFault::NewerLayout(found)) => Err(WalError::NewerLayout { path, found }),
        }
    }

    fn corrupt(&self, offset: usize, reason: &'static str) -> WalError {
        WalError::Corrupt { path: self.path.clone(), offset: offset as u64, reason }
    }

    /// The frame at `offset` and its items, if it is there, whole, and has this number.
    fn frame(&self, offset: usize, number: u64) -> Option<(FrameHeader, &[u8])> {
        let bytes = self.bytes.get(offset..)?;
        let header = FrameHeader::decode(bytes, self.header.salt)?;
        let items = header.items(bytes, self.header.salt)?;
        (header.number == number).then_some((header, items))
    }

    /// Makes what was read up to `end` durable; everything before `synced` is.
    ///
    /// The process may have ended before it synced the last frames, or because a sync failed. They
    /// were read from the system's cache then, which after a failed sync holds them as clean though
    /// the disk does not: a sync alone would do nothing.
    fn write_again(&self, synced: u64, end: usize) -> Result<(), WalError> {
        let from = usize::try_from(synced).unwrap_or(end).min(end);
        let written = self.file.write_at(from as u64, &self.bytes[from..end]);
        written.and_then(|()| self.file.sync()).map_err(io_error("sync", &self.path))
    }

    /// Makes sure that what follows the last good frame, which ends at `end`, was never durable,
    /// and clears it. Returns how many bytes were cleared.
    ///
    /// Without clearing, a frame that arrived although one before it did not would be read after
    /// all once a new frame, of just the right length, has taken the lost one's place.
    fn clear_torn_tail(&self, end: usize) -> Result<u64, WalError> {
        let mut torn_end = end;
        for offset in (end..self.bytes.len()).step_by(FRAME_ALIGN) {
            let bytes = &self.bytes[offset..];
            if bytes.starts_with(&[0; 8]) {
                continue;
            }
            let Some(header) = FrameHeader::decode(bytes, self.header.salt) else { continue };
            if header.synced > end as u64 {
                return Err(self.corrupt(end, "a frame that was durable is damaged"));
            }
            torn_end = torn_end.max(offset + header.frame_len());
        }
        let torn_end = torn_end.min(self.bytes.len());
        if torn_end > end {
            let zeros = vec![0; torn_end - end];
            // Synced together with what comes before it, before anything else is written.
            let cleared = self.file.write_at(end as u64, &zeros);
            cleared.map_err(io_error("clear the torn tail of", &self.path))?;
        }
        Ok((torn_end - end) as u64)
    }
}

/// The log as it takes shape from item after item.
#[derive(Default)]
struct Replay {
    metadata: Option<Metadata>,
    hard_state: Option<HardState>,
    mark: Option<Mark>,
    /// Consecutive. They may begin beyond the mark until the mark that released the segments
    /// between is read.
    entries: VecDeque<Entry>,
}

impl Replay {
    /// `earlier` segments lose entries that `item` supersedes; `max_index` is this segment's.
    fn apply(&mut self, item: Item, earlier: &mut VecDeque<Segment>, max_index: &mut u64) {
        let mut truncate = |last: u64| {
            for segment in earlier.iter_mut() {
                segment.max_index = segment.max_index.min(last);
            }
            *max_index = (*max_index).min(last);
        };
        match item {
            Item::Metadata(metadata) => self.metadata = Some(metadata),
            Item::HardState(hard_state) => self.hard_state = Some(hard_state),
            Item::Mark { mark, keep_suffix } => {
                if keep_suffix {
                    while self.entries.front().is_some_and(|entry| entry.index <= mark.index.0) {
                        self.entries.pop_front();
                    }
                } else {
                    self.entries.clear();
                    truncate(mark.index.0);
                }
                self.mark = Some(mark);
            }
            Item::Entries(entries) => {
                let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
                truncate(first.index - 1);
                *max_index = last.index;
                let base = self.entries.front().map_or(first.index, |entry| entry.index);
                let keep =
                    first.index.checked_sub(base).and_then(|keep| usize::try_from(keep).ok());
                match keep {
                    Some(keep) if keep <= self.entries.len() => self.entries.truncate(keep),
                    Some(_) | None => self.entries.clear(),
                }
                self.entries.extend(entries);
            }
        }
    }

    fn finish(self, torn_bytes: u64, last: Option<&Segment>) -> Result<Recovered, WalError> {
        let Self { metadata, hard_state, mark, mut entries } = self;
        let corrupt = |reason| WalError::Corrupt {
            path: last.map(|segment| segment.path.clone()).unwrap_or_default(),
            offset: 0,
            reason,
        };
        let metadata = metadata.ok_or_else(|| corrupt("no frame says whose log it is"))?;
        let after = mark.map_or(0, |mark| mark.index.0);
        while entries.front().is_some_and(|entry| entry.index <= after) {
            entries.pop_front();
        }
        if entries.front().is_some_and(|entry| entry.index != after + 1) {
            return Err(corrupt("entries between its mark and its first entry are missing"));
        }
        Ok(Recovered { metadata, hard_state, mark, entries: entries.into(), torn_bytes })
    }
}
