//! Snapshots for peers: the whole state as a stream of chunks, and a new state built from one.
//!
//! ```text
//!   State ─► SnapshotReader ─► chunks ≤ 1 MiB ─► SnapshotWriter ─► ReceivedSnapshot ─► State::install
//!            one view                            state-<index>-….redb.tmp             rename
//! ```
//!
//! The stream, little-endian, cut into chunks wherever it happens:
//!
//! | part | bytes |
//! |---|---|
//! | header | `RAFTSNP` and a line feed, stream version u32, schema u32, cluster id u64, length u32, [`Applied`] |
//! | row, any number | table u8, key length u32, value length u32, key, value as stored (its checksum first) |
//! | end | `0xff`, count of rows u64, crc32c u32 over everything before it |
//!
//! Rows come by table, then by key, each once. Neither side ever holds more than a chunk and one
//! row. A receiver trusts nothing before the end is verified: what was built until then is under a
//! name that nobody opens, and goes when it is dropped, or at the next start.

use std::{path::PathBuf, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use node_protocol::ClusterId;

use crate::failpoint::{Failpoint, hit};
use crate::kv::Table;

use super::{
    damage::{damaged_row, failed, guarded},
    schema::{Applied, Identity, SCHEMA_VERSION, take, take_u32, take_u64, verified},
    state::{Place, State, StateError, StoredRange, View},
    tally::Audit,
    transaction::Built,
};

/// Most bytes of a chunk.
pub const CHUNK_BYTES: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"RAFTSNP\n";
const STREAM_VERSION: u32 = 1;
/// Where a table's number stands otherwise.
const END: u8 = 0xff;
/// Longest header, key or value that is believed, far above what a client may store: a damaged
/// length must not make the receiver wait for gigabytes.
const MAX_PART_BYTES: usize = 64 << 20;

/// Why a snapshot cannot be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// This member's own state failed; see there what to do.
    #[error(transparent)]
    State(#[from] StateError),
    /// What arrived is not a whole snapshot of this cluster. Nothing of this member has changed;
    /// the sender may send another.
    #[error("a snapshot was refused after {received_bytes} bytes: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: String,
        /// How much of it had arrived.
        received_bytes: u64,
    },
}

/// Reads one snapshot out of a state, chunk by chunk.
///
/// It pins the moment it was made at: flushes go on beside it, but the pages it needs are not used
/// again before it is dropped.
#[derive(Debug)]
pub struct SnapshotReader {
    view: Arc<View>,
    /// For errors only.
    path: PathBuf,
    stage: Stage,
    buffer: BytesMut,
    checksum: u32,
    rows: u64,
}

#[derive(Debug)]
enum Stage {
    /// These tables are to be read.
    Tables(&'static [Table]),
    /// This range of a table is being read; the others are to be.
    Rows(Table, Box<Cursor>, Audit, &'static [Table]),
    /// All is in the buffer, or was taken from it.
    Ended,
}

struct Cursor(StoredRange);

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cursor")
    }
}

impl SnapshotReader {
    /// A snapshot of what is durable in `state` now.
    #[must_use]
    pub fn new(state: &State) -> Self {
        let view = state.view();
        let mut buffer = BytesMut::with_capacity(2 * CHUNK_BYTES);
        buffer.put_slice(MAGIC);
        buffer.put_u32_le(STREAM_VERSION);
        buffer.put_u32_le(SCHEMA_VERSION);
        buffer.put_u64_le(state.identity().cluster_id.0);
        put_len(&mut buffer, view.applied.encode().len());
        buffer.put_slice(&view.applied.encode());
        Self {
            view,
            path: state.place().state_path(),
            stage: Stage::Tables(&Table::ALL),
            checksum: crc32c::crc32c(&buffer),
            buffer,
            rows: 0,
        }
    }

    /// Up to where the snapshot is complete.
    #[must_use]
    pub fn applied(&self) -> &Applied {
        &self.view.applied
    }

    /// The next chunk, at most [`CHUNK_BYTES`] long and never empty; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::State`] if the state cannot be read; the snapshot is then of no use.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        let path = self.path.clone();
        guarded(
            || path,
            || {
                while self.buffer.len() < CHUNK_BYTES && self.fill()? {}
                Ok::<(), SnapshotError>(())
            },
        )?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        hit(Failpoint::SnapshotChunkRead);
        let len = self.buffer.len().min(CHUNK_BYTES);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }

    /// Adds one part of the stream to the buffer; `false` at the end.
    fn fill(&mut self) -> Result<bool, SnapshotError> {
        let before = self.buffer.len();
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Tables([]) => {
                self.buffer.put_u8(END);
                self.buffer.put_u64_le(self.rows);
                let checksum = crc32c::crc32c_append(self.checksum, &self.buffer[before..]);
                self.buffer.put_u32_le(checksum);
                return Ok(true);
            }
            Stage::Tables([table, rest @ ..]) => {
                let range = self.view.range_all(*table).map_err(failed("read", &self.path))?;
                let audit = Audit::new(*table);
                self.stage = Stage::Rows(*table, Box::new(Cursor(range)), audit, rest);
            }
            Stage::Rows(table, mut cursor, mut audit, rest) => match cursor.0.next() {
                Some(row) => {
                    let (key, stored) = row.map_err(failed("read", &self.path))?;
                    let (key, stored) = (key.value(), stored.value());
                    if verified(key, stored).is_none() {
                        return Err(damaged_row(&self.path, table, key).into());
                    }
                    audit.see(&self.path, key, stored)?;
                    self.buffer.put_u8(table as u8);
                    put_len(&mut self.buffer, key.len());
                    put_len(&mut self.buffer, stored.len());
                    self.buffer.put_slice(key);
                    self.buffer.put_slice(stored);
                    self.rows += 1;
                    self.stage = Stage::Rows(table, cursor, audit, rest);
                }
                None => {
                    audit.end(&self.path, self.view.tallies.of(table))?;
                    self.stage = Stage::Tables(rest);
                }
            },
            Stage::Ended => return Ok(false),
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &self.buffer[before..]);
        Ok(true)
    }
}

fn put_len(buffer: &mut BytesMut, len: usize) {
    buffer.put_u32_le(u32::try_from(len).expect("a row is far smaller than 4 GiB"));
}

/// Builds a new state from the chunks of a snapshot, beside the one in use.
#[derive(Debug)]
pub struct SnapshotWriter {
    place: Place,
    identity: Identity,
    count: u64,
    /// Bytes that are not a whole part of the stream yet.
    carry: BytesMut,
    checksum: u32,
    received_bytes: u64,
    rows: u64,
    /// Table and key of the last row.
    last: Option<(Table, Vec<u8>)>,
    building: Option<(Built, Applied, Unfinished)>,
    ended: bool,
}

/// Removes an unfinished database when it is dropped.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) place: Place,
    pub(super) path: PathBuf,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Best effort: what stays is removed at the next start.
        self.place.disk.remove(&self.path).ok();
    }
}

/// One whole part of the stream.
enum Part<'a> {
    Header { cluster_id: ClusterId, applied: Applied },
    Row(Row<'a>),
    End { rows: u64, checksum: u32 },
}

#[derive(Clone, Copy)]
struct Row<'a> {
    table: Table,
    key: &'a [u8],
    /// The value with its checksum before it.
    stored: &'a [u8],
}

impl SnapshotWriter {
    /// Makes ready to receive a snapshot for the member whose state is `state`.
    #[must_use]
    pub fn new(state: &State) -> Self {
        Self {
            place: state.place().clone(),
            identity: state.identity(),
            count: state.next_built(),
            carry: BytesMut::new(),
            checksum: crc32c::crc32c(&[]),
            received_bytes: 0,
            rows: 0,
            last: None,
            building: None,
            ended: false,
        }
    }

    /// Takes the next piece of the stream, cut anywhere.
    ///
    /// # Errors
    ///
    /// After any error the writer is of no use, and is to be dropped.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.received_bytes += chunk.len() as u64;
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(chunk);
        let mut rest = &carry[..];
        let mut rows = Vec::new();
        while !self.ended {
            let mut after = rest;
            let part = parse(&mut after, self.building.is_some())
                .map_err(|reason| self.refused(reason))?;
            let Some(part) = part else { break };
            let bytes = &rest[..rest.len() - after.len()];
            match part {
                Part::Header { cluster_id, applied } => self.begin(cluster_id, applied)?,
                Part::Row(row) => {
                    self.check(row)?;
                    rows.push(row);
                }
                Part::End { rows, checksum } => self.end(rows, checksum, bytes)?,
            }
            self.checksum = crc32c::crc32c_append(self.checksum, bytes);
            rest = after;
        }
        if self.ended && !rest.is_empty() {
            return Err(self.refused("there is more after its end"));
        }
        self.insert(&rows)?;
        let parsed = carry.len() - rest.len();
        drop(carry.split_to(parsed));
        self.carry = carry;
        Ok(())
    }

    /// Verifies that all arrived and makes the new state durable, but not yet this member's.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Refused`] if the end is missing or does not fit; [`SnapshotError::State`].
    pub fn finish(mut self) -> Result<ReceivedSnapshot, SnapshotError> {
        if !self.ended {
            return Err(self.refused("it ends before its end"));
        }
        let Some((built, applied, unfinished)) = self.building.take() else {
            return Err(self.refused("it has no header"));
        };
        built.finish(&self.place, self.identity, &applied)?;
        hit(Failpoint::SnapshotFinished);
        Ok(ReceivedSnapshot { applied, unfinished })
    }

    /// Up to where the snapshot is complete, once its header has arrived.
    #[must_use]
    pub fn applied(&self) -> Option<&Applied> {
        self.building.as_ref().map(|(_, applied, _)| applied)
    }

    fn begin(&mut self, cluster_id: ClusterId, applied: Applied) -> Result<(), SnapshotError> {
        if cluster_id != self.identity.cluster_id {
            return Err(self.refused(format!(
                "it is of cluster {cluster_id}, this member is of cluster {}",
                self.identity.cluster_id
            )));
        }
        let path = self.place.building_path(applied.index, self.count);
        let unfinished = Unfinished { place: self.place.clone(), path: path.clone() };
        let built = Built::begin(&self.place, path)?;
        hit(Failpoint::SnapshotBegun);
        self.building = Some((built, applied, unfinished));
        Ok(())
    }

    fn check(&mut self, row: Row<'_>) -> Result<(), SnapshotError> {
        let Row { table, key, stored } = row;
        if verified(key, stored).is_none() {
            return Err(self.refused(format!("the checksum of a row of {table:?} does not hold")));
        }
        if self.last.as_ref().is_some_and(|last| (last.0, &last.1[..]) >= (table, key)) {
            return Err(self.refused("its rows are out of order"));
        }
        let last = self.last.get_or_insert_with(|| (table, Vec::new()));
        last.0 = table;
        last.1.clear();
        last.1.extend_from_slice(key);
        self.rows += 1;
        Ok(())
    }

    fn end(&mut self, rows: u64, checksum: u32, bytes: &[u8]) -> Result<(), SnapshotError> {
        if rows != self.rows {
            return Err(self.refused(format!("{} rows arrived of {rows}", self.rows)));
        }
        let covered = &bytes[..bytes.len() - size_of::<u32>()];
        if checksum != crc32c::crc32c_append(self.checksum, covered) {
            return Err(self.refused("its checksum does not hold"));
        }
        self.ended = true;
        Ok(())
    }

    /// Rows come by table, so a table is opened once or twice for each chunk.
    fn insert(&mut self, rows: &[Row<'_>]) -> Result<(), SnapshotError> {
        let Some((built, _, _)) = &mut self.building else { return Ok(()) };
        for rows in rows.chunk_by(|a, b| a.table == b.table) {
            built.add(rows[0].table, rows.iter().map(|row| (row.key, row.stored)))?;
            hit(Failpoint::SnapshotRowsWritten);
        }
        Ok(())
    }

    fn refused(&self, reason: impl Into<String>) -> SnapshotError {
        SnapshotError::Refused { reason: reason.into(), received_bytes: self.received_bytes }
    }
}

/// Takes one part from the front of `bytes`; `None` if it is not all there yet.
fn parse<'a>(bytes: &mut &'a [u8], header_seen: bool) -> Result<Option<Part<'a>>, String> {
    if !header_seen {
        return parse_header(bytes);
    }
    let Some(kind) = take(bytes, 1) else { return Ok(None) };
    if kind[0] == END {
        let end = (|| Some(Part::End { rows: take_u64(bytes)?, checksum: take_u32(bytes)? }))();
        return Ok(end);
    }
    let table = Table::from_number(kind[0])
        .ok_or_else(|| format!("it has a table {}, which this version does not know", kind[0]))?;
    let (Some(key_len), Some(value_len)) = (take_u32(bytes), take_u32(bytes)) else {
        return Ok(None);
    };
    let (key_len, value_len) = (believable(key_len)?, believable(value_len)?);
    let (Some(key), Some(stored)) = (take(bytes, key_len), take(bytes, value_len)) else {
        return Ok(None);
    };
    Ok(Some(Part::Row(Row { table, key, stored })))
}

fn parse_header<'a>(bytes: &mut &'a [u8]) -> Result<Option<Part<'a>>, String> {
    let Some(magic) = take(bytes, MAGIC.len()) else { return Ok(None) };
    if magic != MAGIC {
        return Err("it does not begin as a snapshot does".to_owned());
    }
    let (Some(version), Some(schema)) = (take_u32(bytes), take_u32(bytes)) else {
        return Ok(None);
    };
    if version != STREAM_VERSION || schema > SCHEMA_VERSION {
        return Err(format!(
            "it is of stream version {version} and schema {schema}, this member knows \
             {STREAM_VERSION} and {SCHEMA_VERSION}: it needs a newer version of the program"
        ));
    }
    let (Some(cluster_id), Some(len)) = (take_u64(bytes), take_u32(bytes)) else {
        return Ok(None);
    };
    let Some(applied) = take(bytes, believable(len)?) else { return Ok(None) };
    let applied = Applied::decode(applied)
        .ok_or_else(|| "its header does not say up to where it is complete".to_owned())?;
    Ok(Some(Part::Header { cluster_id: ClusterId(cluster_id), applied }))
}

fn believable(len: u32) -> Result<usize, String> {
    usize::try_from(len)
        .ok()
        .filter(|len| *len <= MAX_PART_BYTES)
        .ok_or_else(|| format!("it has a part of {len} bytes"))
}

/// A verified snapshot on this member's disk, to be given to [`State::install`]. Dropped without
/// that, it is removed.
#[derive(Debug)]
pub struct ReceivedSnapshot {
    applied: Applied,
    unfinished: Unfinished,
}

impl ReceivedSnapshot {
    /// Up to where it is complete.
    #[must_use]
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.unfinished.path
    }
}
