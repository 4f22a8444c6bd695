//! How fast a disk makes small appends durable, and how fast it takes a large one.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::fdatasync;
use serde::Serialize;

/// An append of a log under moderate load; etcd's guide to disks tests with as much.
const APPEND_BYTES: usize = 2_300;

/// The file that is overwritten; like a log's segment it is written once before, so that a sync
/// is of data alone.
const FILE_BYTES: u64 = 22 << 20;

/// The large write is this long.
const LARGE_BYTES: usize = 64 << 20;

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Disk {
    /// Appends that were made durable.
    pub(super) syncs: usize,
    /// Half of them took no longer.
    pub(super) sync_p50_millis: f64,
    /// 99 of 100 took no longer.
    pub(super) sync_p99_millis: f64,
    /// The slowest.
    pub(super) sync_max_millis: f64,
    /// Appends a second, one after the other.
    pub(super) syncs_per_second: f64,
    /// A large write, synced in the end.
    pub(super) megabytes_per_second: f64,
}

/// Measures the disk of a directory for so long; tells `progress` how much of it has passed.
///
/// # Errors
/// If nothing can be written there.
pub(super) fn measure(
    dir: &Path,
    time: Duration,
    mut progress: impl FnMut(Duration),
) -> io::Result<Disk> {
    // It has no name, so nothing is left behind whatever happens.
    let mut file = tempfile::tempfile_in(dir)?;
    let large = vec![0x5a; LARGE_BYTES];
    let since = Instant::now();
    file.write_all(&large)?;
    fdatasync(&file)?;
    let megabytes_per_second = LARGE_BYTES as f64 / 1e6 / since.elapsed().as_secs_f64();
    let mut micros = appends(&file, time, &mut progress)?;
    micros.sort_unstable();
    let seconds = micros.iter().sum::<u64>() as f64 / 1e6;
    let at = |share: f64| {
        let place = (micros.len() as f64 * share).ceil() as usize;
        micros[place.clamp(1, micros.len()) - 1] as f64 / 1e3
    };
    Ok(Disk {
        syncs: micros.len(),
        sync_p50_millis: at(0.5),
        sync_p99_millis: at(0.99),
        sync_max_millis: at(1.0),
        syncs_per_second: micros.len() as f64 / seconds,
        megabytes_per_second,
    })
}

/// How long each append took, in microseconds; at least one.
fn appends(
    file: &File,
    time: Duration,
    progress: &mut impl FnMut(Duration),
) -> io::Result<Vec<u64>> {
    let append = vec![0xa5; APPEND_BYTES];
    let mut micros = Vec::new();
    let begun = Instant::now();
    let mut offset = 0;
    while micros.is_empty() || begun.elapsed() < time {
        progress(begun.elapsed());
        let since = Instant::now();
        file.write_all_at(&append, offset)?;
        fdatasync(file)?;
        micros.push(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        offset = (offset + APPEND_BYTES as u64) % (FILE_BYTES - APPEND_BYTES as u64);
    }
    Ok(micros)
}
