//! The copy of the keys beside the state: `member/snap/db`, etcd's database file.
//!
//! An operator who can reach no member any more copies this file and restores it with
//! `--skip-hash-check`, as etcd's guide says. It is written when it is missing at a start, whenever
//! as many entries were applied as make the log shorter, and at a clean stop; each time beside its
//! place, synced, and renamed. (A large state is copied less often: see [`SHARE`].) So it lacks what was applied since, which is in the log, and has no
//! hash. The member itself never reads it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use node_bolt::Reader;
use node_bolt::schema::{self, MetaRows};
use node_restore::directory;
use parking_lot::Mutex;

use crate::causes::with_causes;
use crate::handle::Handle;
use crate::image::{ImageError, Measured};
use crate::storage::State;
use crate::threads::Alarm;

/// Why there is no new copy; the old one is still there.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    /// The state.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The file.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    move |source| CopyError::Io { operation, path: path.to_path_buf(), source }
}

/// Whoever writes the copy.
#[derive(Clone)]
pub(super) struct Copies {
    state: Arc<State>,
    path: PathBuf,
    /// Entries between two copies.
    every: u64,
    /// The last entry in the newest copy; 0 without one.
    copied: Arc<AtomicU64>,
    /// Held while one is written: a stop may come while another is under way.
    writing: Arc<Mutex<()>>,
    /// Raised if the state cannot be read.
    alarm: Alarm,
}

/// A copy of a large state takes long; no more than one part in so many of the time goes into
/// copies.
const SHARE: u32 = 20;

/// The last entry in a database; none if there is no sound one.
fn last_entry(path: &Path) -> Option<u64> {
    let mut image = Reader::open(BufReader::new(File::open(path).ok()?)).ok()?;
    let mut meta = MetaRows::default();
    for pair in image.bucket(schema::META).ok()?? {
        let pair = pair.ok()?;
        meta.take(&pair.key, &pair.value).ok()?;
    }
    meta.consistent_index
}

impl Copies {
    pub(super) fn new(state: Arc<State>, data_dir: &Path, every: u64, alarm: Alarm) -> Self {
        let path = directory::database(data_dir);
        let copied = Arc::new(AtomicU64::new(last_entry(&path).unwrap_or_default()));
        Self { state, path, every, copied, writing: Arc::default(), alarm }
    }

    /// Writes a copy if none is there, and then one each time that enough was applied.
    pub(super) async fn keep(self, handle: Handle) {
        if !self.path.exists() {
            self.write().await;
        }
        // True time: it is the disk that is given a rest.
        let mut not_before = Instant::now();
        loop {
            let measured = handle.glance().measured.notified();
            let copied = self.copied.load(Ordering::Relaxed);
            let begun = Instant::now();
            if begun >= not_before
                && self.state.applied().index.0 >= copied.saturating_add(self.every)
            {
                self.write().await;
                not_before = begun + SHARE * begun.elapsed();
            }
            measured.await;
        }
    }

    /// Writes a copy, unless the newest one has everything; if that fails it says so and leaves
    /// the old one.
    pub(super) async fn write(&self) {
        let this = self.clone();
        // If it is not joined, the runtime ends.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || this.replace()).await {
            if let CopyError::Image(ImageError::State(_) | ImageError::Row(_)) = &error {
                // What cannot be copied cannot be served either: the node stops.
                self.alarm.raise(with_causes(&error));
            }
            tracing::warn!(copy = %self.path.display(), error = with_causes(&error),
                "the copy of the keys was not renewed");
            // The next one is tried when as much was applied again.
            self.copied.store(self.state.applied().index.0, Ordering::Relaxed);
        }
    }

    fn replace(&self) -> Result<(), CopyError> {
        let _only = self.writing.lock();
        let pinned = self.state.pin();
        let index = pinned.applied().index.0;
        if self.copied.load(Ordering::Relaxed) == index && self.path.exists() {
            return Ok(());
        }
        let dir = self.path.parent().expect("it is in a folder of the data directory");
        if !dir.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(io_error("create", dir))?;
        }
        let image = Measured::new(pinned)?;
        let beside = self.path.with_extension("tmp");
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&beside);
        let mut file = opened.map_err(io_error("create", &beside))?;
        image.write(&mut file)?;
        file.sync_all().map_err(io_error("sync", &beside))?;
        fs::rename(&beside, &self.path).map_err(io_error("rename", &beside))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))?;
        self.copied.store(index, Ordering::Relaxed);
        Ok(())
    }
}
