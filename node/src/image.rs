//! The state as etcd's database file, for `etcdctl snapshot save` and for `member/snap/db`.
//!
//! ```text
//!   table     bucket
//!   Rows   ─► key       the revision, `t` behind it for a deletion → KeyValue
//!   Leases ─► lease     the same row
//!   Members ► members, members_removed, cluster
//!   Meta   ─► meta      index and term of the last entry, the compacted revision
//!             alarm     the active alarms
//!             auth…     users and roles, as a snapshot brought them
//! ```
//!
//! Which commands were applied ([`Table::Sessions`]) is not in it: who restores it begins a new
//! cluster, and nobody sends a command of the old one again.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use node_bolt::schema::{self, MetaRows, RevisionKey};
use node_bolt::{HASH_BYTES, Image, Plan, WriteError, format::PageSize};
use prost::Message;
use tokio::sync::mpsc;

use crate::carried::{CARRIED_BUCKETS, carried_key};
use crate::cluster::{Membership, RecordError};
use crate::config::ETCD_CLUSTER_VERSION;
use crate::kv::{LoadError, Loader, MemoryRows, RowKey, RowKind, Store, Table};
use crate::storage::{Pinned, StateError};

/// Bytes of one piece of the image, as etcd sends it.
const PIECE_BYTES: usize = 32 * 1024;

/// Bytes of the hash behind it.
const HASH: usize = HASH_BYTES as usize;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A row of the state is none.
    #[error(transparent)]
    Row(#[from] LoadError),
    /// A member's row is none.
    #[error(transparent)]
    Member(#[from] RecordError),
    /// The image cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The state at one moment, measured as an image.
pub struct Measured {
    pinned: Pinned,
    members: Membership,
    /// Of this only the single values are filled in.
    values: Store,
    plan: Plan,
}

impl Measured {
    /// Reads everything once.
    pub fn new(pinned: Pinned) -> Result<Self, ImageError> {
        let mut rows = Vec::new();
        pinned.rows(Table::Members, |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok::<_, ImageError>(())
        })?;
        let rows = rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let members = Membership::load(rows)?;
        let mut loader = Loader::new(Arc::new(MemoryRows::default()));
        pinned.rows(Table::Meta, |key, value| {
            Ok::<_, ImageError>(loader.push(Table::Meta, key, value)?)
        })?;
        let values = loader.finish();
        let fill = |image: &mut Image<'_>| fill(image, &pinned, &members, &values);
        let plan = Plan::measure(PageSize::default(), fill)?;
        Ok(Self { pinned, members, values, plan })
    }

    /// Length of the image, without the hash behind it.
    pub fn bytes(&self) -> u64 {
        self.plan.image_bytes()
    }

    /// Reads everything again and writes the image, without a hash behind it.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), ImageError> {
        let fill = |image: &mut Image<'_>| fill(image, &self.pinned, &self.members, &self.values);
        self.plan.write(out, fill)
    }

    /// Reads everything again and sends the image in pieces of 32 KiB, then the 32 bytes of its
    /// SHA-256. Ends early and well if nobody takes them any more.
    pub fn send(&self, to: &mpsc::Sender<Bytes>) -> Result<(), ImageError> {
        let mut pieces = Pieces { to, piece: Vec::with_capacity(PIECE_BYTES) };
        let fill = |image: &mut Image<'_>| fill(image, &self.pinned, &self.members, &self.values);
        match self.plan.write_with_hash(&mut pieces, fill) {
            Err(ImageError::Write(WriteError::Io(_))) => return Ok(()),
            written => written?,
        }
        // The hash goes alone. Nobody may be there any more.
        let hash = pieces.piece.split_off(pieces.piece.len() - HASH);
        for piece in [pieces.piece, hash].into_iter().filter(|piece| !piece.is_empty()) {
            if to.blocking_send(piece.into()).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn fill(
    image: &mut Image<'_>,
    pinned: &Pinned,
    members: &Membership,
    values: &Store,
) -> Result<(), ImageError> {
    image.bucket(schema::KEY)?;
    let damaged = |key: &[u8], reason| LoadError { table: Table::Rows, key: key.to_vec(), reason };
    pinned.rows(Table::Rows, |key, value| {
        let row = RowKey::decode(key).ok_or_else(|| damaged(key, "its key is not a revision"))?;
        let (kind, pair) = RowKind::split(value).ok_or_else(|| damaged(key, "it has no kind"))?;
        let tombstone = kind == RowKind::Tombstone;
        let key = RevisionKey { main: row.main, sub: row.sub, tombstone };
        Ok::<_, ImageError>(image.pair(&key.to_bytes(), pair)?)
    })?;
    image.bucket(schema::LEASE)?;
    pinned.rows(Table::Leases, |id, lease| Ok::<_, ImageError>(image.pair(id, lease)?))?;
    fill_members(image, members)?;

    image.bucket(schema::META)?;
    let compacted = Some(values.compact_revision().0).filter(|revision| *revision > 0);
    // Whoever restores it compacts again: here some of it may be left to do.
    let rows = MetaRows {
        consistent_index: Some(pinned.applied().index.0),
        term: Some(pinned.applied().term.0),
        scheduled_compact: compacted,
        finished_compact: None,
    };
    rows.rows().try_for_each(|(name, value)| image.pair(name, &value))?;
    image.bucket(schema::ALARM)?;
    let mut alarms: Vec<_> = values.alarms().map(|alarm| alarm.encode_to_vec()).collect();
    alarms.sort_unstable();
    alarms.iter().try_for_each(|alarm| image.pair(alarm, &[]))?;
    // Empty unless a snapshot brought them; stock tools take each for granted.
    for bucket in CARRIED_BUCKETS {
        image.bucket(bucket)?;
        let prefix = carried_key(bucket, b"");
        pinned.rows(Table::Meta, |key, value| match key.strip_prefix(&*prefix) {
            Some(key) => Ok::<_, ImageError>(image.pair(key, value)?),
            None => Ok(()),
        })?;
    }
    Ok(())
}

fn fill_members(image: &mut Image<'_>, members: &Membership) -> Result<(), ImageError> {
    let mut listed: Vec<_> = members
        .members()
        .map(|member| {
            let listed = schema::Member {
                id: member.id.0,
                peer_urls: member.peer_urls.clone(),
                is_learner: member.learner,
                name: member.name.clone(),
                client_urls: member.client_urls.clone(),
            };
            (schema::member_key(member.id.0), listed.value())
        })
        .collect();
    listed.sort_unstable();
    image.bucket(schema::MEMBERS)?;
    listed.iter().try_for_each(|(key, value)| image.pair(key, value))?;
    let mut removed: Vec<_> =
        members.removed_ids().map(|member| schema::member_key(member.0)).collect();
    removed.sort_unstable();
    image.bucket(schema::MEMBERS_REMOVED)?;
    removed.iter().try_for_each(|key| image.pair(key, schema::REMOVED))?;
    image.bucket(schema::CLUSTER)?;
    Ok(image.pair(schema::CLUSTER_VERSION, ETCD_CLUSTER_VERSION.as_bytes())?)
}

/// What is written, cut into pieces and sent.
struct Pieces<'a> {
    to: &'a mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    /// Keeps the last 32 bytes back: they may be the hash.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        while self.piece.len() >= PIECE_BYTES + HASH {
            let rest = self.piece.split_off(PIECE_BYTES);
            let piece = std::mem::replace(&mut self.piece, rest);
            self.to.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
