//! Files of the log: their names, and how a file becomes a segment.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::failpoint::{Failpoint, hit};
use crate::storage::disk::{Disk, DiskFile, OpenMode, zero_fill};

use super::WalError;

/// Names of files that are not segments (yet, or any more) end so.
pub(super) const LEFTOVER_SUFFIX: &str = ".tmp";

const SEGMENT_SUFFIX: &str = ".wal";

/// A segment that belongs to the log.
#[derive(Debug)]
pub(super) struct Segment {
    /// Position among all segments, from 1.
    pub(super) seq: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    /// Size of the file.
    pub(super) bytes: u64,
    pub(super) salt: u64,
    /// Highest index of an entry in it that is still of the log; 0 if none.
    pub(super) max_index: u64,
}

/// A file filled with zeros or with stale frames, durable, to become a segment.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) bytes: u64,
}

/// The name of a segment that will begin with frame and entry as given.
pub(super) fn segment_name(seq: u64, next_index: u64) -> String {
    format!("{seq:016x}-{next_index:016x}{SEGMENT_SUFFIX}")
}

/// The sequence number in a segment's name; `None` if it is not one.
pub(super) fn parse_segment_name(name: &str) -> Option<u64> {
    let (seq, next_index) = name.strip_suffix(SEGMENT_SUFFIX)?.split_once('-')?;
    let hex = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?;
    hex(next_index)?;
    hex(seq)
}

/// Attaches what was tried, and on which file, to an I/O error.
pub(super) fn io_error<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> WalError + 'a {
    move |source| WalError::Io { operation, path: path.to_path_buf(), source }
}

/// Creates a file of `bytes` zeros, durable but for its name.
pub(super) fn prepare(disk: &dyn Disk, path: PathBuf, bytes: u64) -> Result<Spare, WalError> {
    let file = disk.open(&path, OpenMode::New).map_err(io_error("create", &path))?;
    hit(Failpoint::SpareCreated);
    zero_fill(&*file, bytes).map_err(io_error("fill with zeros", &path))?;
    Ok(Spare { path, file, bytes })
}

/// A segment's salt: distinct for each `seq`, unpredictable if `seed` is.
pub(super) fn salt(seed: u64, seq: u64) -> u64 {
    // SplitMix64's finalizer: a bijection, so distinct sequence numbers give distinct salts.
    let mut mixed = seed.wrapping_add(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
