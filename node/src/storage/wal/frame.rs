//! The bytes of the log: segment header, frames, and the items in a frame. Stored for ever.
//!
//! ```text
//!   segment   = header (64 bytes), frame, frame, …, then zeros or an earlier use's stale bytes
//!   frame     = frame header (32 bytes), items, zeros up to a multiple of 32
//!   item      = kind (1 byte), body
//! ```
//!
//! All numbers are little-endian. One frame is one batch: it is written whole by one write, and one
//! checksum says whether all of it is there. Frames start at multiples of 32, so that a frame header
//! never lies across two sectors: it is on the disk, or it is not.
//!
//! Every frame's checksums begin with the segment's *salt*, a number no other segment has and that
//! clients cannot know: neither the stale bytes of a recycled file nor a value that looks like a
//! frame is ever taken for one.
//!
//! | segment header | bytes | |
//! |---|---|---|
//! | magic | 0..8 | `RAFTWAL` and a line feed |
//! | layout version | 8..12 | 1 |
//! | reserved | 12..16 | zero |
//! | sequence | 16..24 | position among all segments, from 1 |
//! | first frame | 24..32 | number of its first frame |
//! | salt | 32..40 | |
//! | reserved | 40..60 | zero |
//! | checksum | 60..64 | crc32c over bytes 0..60 |
//!
//! | frame header | bytes | |
//! |---|---|---|
//! | items length | 0..4 | bytes of all items, without the padding |
//! | items checksum | 4..8 | crc32c over salt, items |
//! | number | 8..16 | frames are numbered through all segments, without gaps |
//! | synced | 16..24 | offset in this segment before which all was durable when this was written |
//! | reserved | 24..28 | zero |
//! | header checksum | 28..32 | crc32c over salt, bytes 0..28 |

use bytes::Bytes;
use node_protocol::{ClusterId, Index, MemberId, Term};
use raft::eraftpb::{Entry, EntryType, HardState};

use super::{Mark, Metadata};

/// Frames start at multiples of this and their headers are this long, in bytes.
pub(super) const FRAME_ALIGN: usize = 32;
/// Length of a segment's header, in bytes.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
/// Version of this layout.
pub(super) const LAYOUT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"RAFTWAL\n";

const ITEM_METADATA: u8 = 1;
const ITEM_HARD_STATE: u8 = 2;
const ITEM_MARK: u8 = 3;
const ITEM_ENTRIES: u8 = 4;

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Position of this segment among all, from 1.
    pub(super) seq: u64,
    /// Number of its first frame: all frames below are in earlier segments.
    pub(super) first_frame: u64,
    /// What its frames' checksums begin with.
    pub(super) salt: u64,
}

/// Why the first bytes of a file are not a header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Damaged,
    NewerLayout(u32),
}

impl SegmentHeader {
    pub(super) fn encode(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&LAYOUT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_frame.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let mut read = Read(bytes.get(..SEGMENT_HEADER_BYTES).ok_or(HeaderFault::Damaged)?);
        let checksum = crc32c::crc32c(&read.0[..60]);
        let parsed = (|| {
            let magic = read.take(8)?;
            let version = read.u32()?;
            read.take(4)?;
            let (seq, first_frame, salt) = (read.u64()?, read.u64()?, read.u64()?);
            read.take(20)?;
            (magic == MAGIC && read.u32()? == checksum)
                .then_some((version, Self { seq, first_frame, salt }))
        })();
        match parsed {
            None => Err(HeaderFault::Damaged),
            Some((LAYOUT_VERSION, header)) => Ok(header),
            Some((version, _)) => Err(HeaderFault::NewerLayout(version)),
        }
    }
}

/// What the header of a frame says, once its checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) items_len: usize,
    pub(super) items_checksum: u32,
    pub(super) number: u64,
    pub(super) synced: u64,
}

fn salted(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`; `None` if there is none with this salt.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let header = bytes.get(..FRAME_ALIGN)?;
        let mut read = Read(header);
        let items_len = read.u32()?;
        let items_checksum = read.u32()?;
        let (number, synced) = (read.u64()?, read.u64()?);
        let reserved = read.u32()?;
        if read.u32()? != salted(salt, &header[..28]) || reserved != 0 {
            return None;
        }
        let items_len = usize::try_from(items_len).ok()?;
        Some(Self { items_len, items_checksum, number, synced })
    }

    /// Bytes from the start of this frame to the start of the next.
    pub(super) fn frame_len(&self) -> usize {
        FRAME_ALIGN + self.items_len.next_multiple_of(FRAME_ALIGN)
    }

    /// The items of the frame at the start of `bytes`, if all of them are there.
    pub(super) fn items<'a>(&self, bytes: &'a [u8], salt: u64) -> Option<&'a [u8]> {
        let items = bytes.get(FRAME_ALIGN..FRAME_ALIGN + self.items_len)?;
        (salted(salt, items) == self.items_checksum).then_some(items)
    }
}

/// Builds one frame after another in one buffer that keeps its memory.
#[derive(Debug, Default)]
pub(super) struct FrameBuilder {
    bytes: Vec<u8>,
}

/// A frame whose items are 4 GiB or more: the layout cannot hold it.
#[derive(Debug)]
pub(super) struct TooLarge;

impl FrameBuilder {
    /// Starts a frame; what was built before is gone.
    pub(super) fn start(&mut self) -> &mut Self {
        self.bytes.clear();
        self.bytes.resize(FRAME_ALIGN, 0);
        self
    }

    pub(super) fn metadata(&mut self, metadata: &Metadata) -> &mut Self {
        let Metadata { cluster_id, member_id, boot } = metadata;
        self.bytes.push(ITEM_METADATA);
        self.u64(cluster_id.0).u64(member_id.0).u64(*boot)
    }

    pub(super) fn hard_state(&mut self, hard_state: &HardState) -> &mut Self {
        self.bytes.push(ITEM_HARD_STATE);
        self.u64(hard_state.term).u64(hard_state.vote).u64(hard_state.commit)
    }

    /// `keep_suffix`: whether the entries after the mark are still of the log.
    pub(super) fn mark(&mut self, mark: Mark, keep_suffix: bool) -> &mut Self {
        self.bytes.push(ITEM_MARK);
        self.u64(mark.index.0).u64(mark.term.0);
        self.bytes.push(u8::from(keep_suffix));
        self
    }

    /// `entries` follow each other without gaps and are not empty.
    pub(super) fn entries(&mut self, entries: &[Entry]) -> &mut Self {
        let Some(first) = entries.first() else { return self };
        self.bytes.push(ITEM_ENTRIES);
        self.u64(first.index).len(entries.len());
        for entry in entries {
            let kind = match entry.get_entry_type() {
                EntryType::EntryNormal => 0_u8,
                EntryType::EntryConfChange => 1,
                EntryType::EntryConfChangeV2 => 2,
            };
            self.bytes.push(kind);
            self.u64(entry.term).len(entry.data.len()).len(entry.context.len());
            self.bytes.extend_from_slice(&entry.data);
            self.bytes.extend_from_slice(&entry.context);
        }
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A length. One too large for the layout makes the whole frame too large, which
    /// [`Self::finish`] refuses.
    fn len(&mut self, len: usize) -> &mut Self {
        self.bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        self
    }

    /// Length of the frame as built so far, in bytes.
    pub(super) fn frame_len(&self) -> usize {
        self.bytes.len().next_multiple_of(FRAME_ALIGN)
    }

    /// Completes the frame for its place and returns its bytes.
    pub(super) fn finish(
        &mut self,
        salt: u64,
        number: u64,
        synced: u64,
    ) -> Result<&[u8], TooLarge> {
        let items_len = u32::try_from(self.bytes.len() - FRAME_ALIGN).map_err(|_| TooLarge)?;
        let items_checksum = salted(salt, &self.bytes[FRAME_ALIGN..]);
        self.bytes[0..4].copy_from_slice(&items_len.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&items_checksum.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&number.to_le_bytes());
        self.bytes[16..24].copy_from_slice(&synced.to_le_bytes());
        self.bytes[24..28].fill(0);
        let header_checksum = salted(salt, &self.bytes[..28]);
        self.bytes[28..32].copy_from_slice(&header_checksum.to_le_bytes());
        self.bytes.resize(self.frame_len(), 0);
        Ok(&self.bytes)
    }
}

/// One item of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Metadata(Metadata),
    HardState(HardState),
    Mark { mark: Mark, keep_suffix: bool },
    Entries(Vec<Entry>),
}

/// Reads the items of a frame whose checksum holds; `None` if they do not make sense.
pub(super) fn decode_items(items: &[u8]) -> Option<Vec<Item>> {
    let mut read = Read(items);
    let mut decoded = Vec::new();
    while !read.0.is_empty() {
        decoded.push(match read.u8()? {
            ITEM_METADATA => Item::Metadata(Metadata {
                cluster_id: ClusterId(read.u64()?),
                member_id: MemberId(read.u64()?),
                boot: read.u64()?,
            }),
            ITEM_HARD_STATE => {
                let mut hard_state = HardState::default();
                hard_state.set_term(read.u64()?);
                hard_state.set_vote(read.u64()?);
                hard_state.set_commit(read.u64()?);
                Item::HardState(hard_state)
            }
            ITEM_MARK => {
                let mark = Mark { index: Index(read.u64()?), term: Term(read.u64()?) };
                Item::Mark { mark, keep_suffix: read.u8()? != 0 }
            }
            ITEM_ENTRIES => {
                let first = read.u64()?;
                let count = u64::from(read.u32()?);
                let mut entries = Vec::new();
                for index in first..first.checked_add(count)? {
                    entries.push(read.entry(index)?);
                }
                Item::Entries(entries)
            }
            _ => return None,
        });
    }
    Some(decoded)
}

/// Takes values from the front of a slice; `None` when it ends too early.
struct Read<'a>(&'a [u8]);

impl<'a> Read<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn entry(&mut self, index: u64) -> Option<Entry> {
        let kind = match self.u8()? {
            0 => EntryType::EntryNormal,
            1 => EntryType::EntryConfChange,
            2 => EntryType::EntryConfChangeV2,
            _ => return None,
        };
        let mut entry = Entry::default();
        entry.set_entry_type(kind);
        entry.index = index;
        entry.term = self.u64()?;
        let data_len = usize::try_from(self.u32()?).ok()?;
        let context_len = usize::try_from(self.u32()?).ok()?;
        entry.data = Bytes::copy_from_slice(self.take(data_len)?);
        entry.context = Bytes::copy_from_slice(self.take(context_len)?);
        Some(entry)
    }
}
