//! Files for the segments to come: prepared ahead, or left by segments that were released.
//!
//! With a helper thread the log's own thread neither fills files with zeros nor waits for a
//! directory to be synced when segments are released; without one all happens at the call.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{Builder, JoinHandle},
};

use crate::failpoint::{Failpoint, hit};
use crate::storage::disk::Disk;

use super::{
    WalError, WalOptions,
    segment::{LEFTOVER_SUFFIX, Segment, Spare, io_error, prepare},
};

/// Spares kept; a released segment beyond that is removed.
const MAX_SPARES: usize = 2;

/// Requests waiting for the helper. When full, releasing waits (it must keep its order); asking for
/// a file ahead does not, and is asked again later.
const REQUEST_CAPACITY: usize = 64;

/// The supply of spare files.
#[derive(Debug)]
pub(super) struct Spares {
    shop: Shop,
    ready: Vec<Spare>,
    segment_bytes: u64,
    helper: Option<Helper>,
    /// Whether the helper was asked for a file it has not delivered.
    awaited: bool,
}

/// Where files are made; the helper has its own.
#[derive(Debug)]
struct Shop {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Distinguishes names of leftovers: who made them, and a count.
    maker: &'static str,
    made: u64,
}

#[derive(Debug)]
struct Helper {
    /// `None` once it was told to end.
    requests: Option<SyncSender<Request>>,
    spares: Receiver<Option<Spare>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Request {
    Prepare { bytes: u64 },
    Release { segments: Vec<Segment>, keep: bool },
}

impl Spares {
    pub(super) fn new(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        options: &WalOptions,
    ) -> Result<Self, WalError> {
        let shop = |maker| Shop { disk: Arc::clone(disk), dir: dir.to_path_buf(), maker, made: 0 };
        let helper = if options.background {
            Some(Helper::start(shop("ahead"), options.segment_bytes, dir)?)
        } else {
            None
        };
        Ok(Self {
            shop: shop("inline"),
            ready: Vec::new(),
            segment_bytes: options.segment_bytes,
            helper,
            awaited: false,
        })
    }

    /// A file of at least `min_bytes`: a spare if one is ready, else made at once, as large as
    /// `otherwise_bytes`.
    pub(super) fn take(&mut self, min_bytes: u64, otherwise_bytes: u64) -> Result<Spare, WalError> {
        self.receive();
        if let Some(at) = self.ready.iter().position(|spare| spare.bytes >= min_bytes) {
            return Ok(self.ready.swap_remove(at));
        }
        let path = self.shop.leftover_path();
        prepare(&*self.shop.disk, path, min_bytes.max(otherwise_bytes))
    }

    /// Lets the helper make a file ahead, unless there is one.
    pub(super) fn prepare_ahead(&mut self) {
        self.receive();
        if !self.ready.is_empty() || self.awaited {
            return;
        }
        let Some(requests) = self.helper.as_ref().and_then(|helper| helper.requests.as_ref())
        else {
            return;
        };
        match requests.try_send(Request::Prepare { bytes: self.segment_bytes }) {
            Ok(()) => self.awaited = true,
            // Asked again at the next append; without a helper files are made when needed.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Takes the files of segments that left the log, oldest first.
    pub(super) fn release(&mut self, segments: Vec<Segment>) -> Result<(), WalError> {
        self.receive();
        let room = MAX_SPARES.saturating_sub(self.ready.len() + usize::from(self.awaited));
        if let Some(helper) = &self.helper {
            if let Some(requests) = &helper.requests {
                // If the helper is gone the files stay, and are released at the next start.
                requests.send(Request::Release { segments, keep: room > 0 }).ok();
            }
            return Ok(());
        }
        let kept = self.shop.release(segments, self.segment_bytes, room)?;
        self.ready.extend(kept);
        Ok(())
    }

    fn receive(&mut self) {
        let Some(helper) = &self.helper else { return };
        loop {
            match helper.spares.try_recv() {
                Ok(Some(spare)) => {
                    self.awaited = false;
                    self.ready.push(spare);
                }
                Ok(None) => self.awaited = false,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
    }
}

impl Shop {
    fn leftover_path(&mut self) -> PathBuf {
        self.made += 1;
        self.dir.join(format!("{}-{:08}{LEFTOVER_SUFFIX}", self.maker, self.made))
    }

    /// Makes leftovers of `segments`, in order, and returns at most `room` of them as spares.
    fn release(
        &mut self,
        segments: Vec<Segment>,
        segment_bytes: u64,
        room: usize,
    ) -> Result<Vec<Spare>, WalError> {
        let mut kept = Vec::new();
        let mut removed = Vec::new();
        for segment in segments {
            let Segment { seq: _, path, file, bytes, salt: _, max_index: _ } = segment;
            let leftover = self.leftover_path();
            self.disk.rename(&path, &leftover).map_err(io_error("rename", &path))?;
            if kept.len() < room && (segment_bytes..=2 * segment_bytes).contains(&bytes) {
                kept.push(Spare { path: leftover, file, bytes });
            } else {
                removed.push(leftover);
            }
        }
        // Only once it is durable that a file is no segment any more may it be written again.
        hit(Failpoint::SegmentsRetired);
        self.disk.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        hit(Failpoint::SegmentsReleased);
        for path in removed {
            self.disk.remove(&path).map_err(io_error("remove", &path))?;
        }
        Ok(kept)
    }
}

impl Helper {
    fn start(mut shop: Shop, segment_bytes: u64, dir: &Path) -> Result<Self, WalError> {
        let (requests, inbox) = sync_channel::<Request>(REQUEST_CAPACITY);
        // A spare that does not fit is removed: there are more than are needed.
        let (outbox, spares) = sync_channel::<Option<Spare>>(2 * MAX_SPARES);
        let body = move || {
            let mut may_release = true;
            for request in inbox {
                let made = match request {
                    Request::Prepare { bytes } => {
                        let path = shop.leftover_path();
                        match prepare(&*shop.disk, path.clone(), bytes) {
                            Ok(spare) => vec![Some(spare)],
                            Err(error) => {
                                tracing::warn!(?error, "could not prepare a log segment");
                                // Best effort: what is left is removed at the next start.
                                shop.disk.remove(&path).ok();
                                vec![None]
                            }
                        }
                    }
                    Request::Release { segments, keep } if may_release => {
                        match shop.release(segments, segment_bytes, usize::from(keep)) {
                            Ok(kept) => kept.into_iter().map(Some).collect(),
                            Err(error) => {
                                // Releasing a later segment before an earlier one would leave a
                                // gap, so from now on nothing is released before a restart.
                                may_release = false;
                                tracing::warn!(?error, "could not release log segments");
                                Vec::new()
                            }
                        }
                    }
                    Request::Release { .. } => Vec::new(),
                };
                for spare in made {
                    if let Err(TrySendError::Full(Some(spare))) = outbox.try_send(spare) {
                        shop.disk.remove(&spare.path).ok();
                    }
                }
            }
        };
        let thread = Builder::new()
            .name("wal-spares".to_owned())
            .spawn(body)
            .map_err(io_error("start the thread that prepares segments in", dir))?;
        Ok(Self { requests: Some(requests), spares, thread: Some(thread) })
    }
}

impl Drop for Helper {
    /// Ends the helper after what it was asked.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook and cost only spares.
            thread.join().ok();
        }
    }
}
