//! etcd's log, of a cluster that has just begun: written, and read back.
//!
//! ```text
//!  ┌──────────────────────────────┬─────────────────────┬───────┐
//!  │ length u64, little endian;   │ record: kind, crc,  │ zeros │   and so on; a length of 0 ends it
//!  │ its top byte 0x80 | zeros    │ data                │ to 8  │
//!  └──────────────────────────────┴─────────────────────┴───────┘
//!   crc 0 · metadata · snapshot 0 · an entry for each member · hard state · snapshot at the last
//! ```
//!
//! The crc of a record is that of all data before it and its own, so that records cannot change
//! their order.
//!
//! Source: `etcd-io/etcd server/storage/wal/{encoder,decoder,wal}.go`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use node_bolt::schema;
use node_identity::FirstMember;
use node_protocol::{ClusterId, MemberId};
use prost::Message;

use super::wire::{CONF_CHANGE, ConfChange, Entry, HardState, LogSnapshot, Metadata, Record, kind};
use super::{FIRST_TERM, snap};

/// The name of the first file.
pub const FIRST_FILE: &str = "0000000000000000-0000000000000000.wal";

/// How names of such files end.
pub const EXTENSION: &str = "wal";

/// How long etcd makes each file, in bytes; what is not written yet is zero.
pub const FILE_BYTES: u64 = 64 * 1000 * 1000;

/// Longest record that is believed. Entries of a new cluster have some hundred bytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// Bits of a length; above them it says how many zeros follow.
const LENGTH_BITS: u64 = 56;

/// How every file begins, behind the first length: a record of the kind [`kind::CRC`], and its crc.
const FIRST_BYTES: [u8; 3] = [0x08, kind::CRC as u8, 0x10];

/// Whether a file whose name is that of a log is one of etcd's.
///
/// # Errors
/// If it cannot be read.
pub fn is_etcds(path: &Path) -> io::Result<bool> {
    let mut first = [0; 8 + FIRST_BYTES.len()];
    match File::open(path)?.read_exact(&mut first) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| first[8..] == FIRST_BYTES),
    }
}

/// Why a log is not that of a cluster that has just begun.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Bytes are not what was written.
    #[error("it is damaged after {records} records: {reason}")]
    Damaged {
        /// Sound records before.
        records: usize,
        /// What is wrong.
        reason: String,
    },
    /// It was used: there is more in it than the first members.
    #[error("it was used: {0}")]
    Used(String),
    /// The file cannot be read.
    #[error("failed to read it")]
    Io(#[from] io::Error),
}

/// What the log of a cluster that has just begun says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Whose log it is.
    pub member: MemberId,
    /// Of which cluster.
    pub cluster: ClusterId,
    /// All members, in the order of the entries; the last entry's index is their count.
    pub members: Vec<FirstMember>,
}

impl Beginning {
    /// Writes the whole log but for the zeros behind it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { member, cluster, members } = self;
        let mut log = Writer { out, crc: 0 };
        log.record(kind::CRC, None)?;
        log.message(kind::METADATA, &Metadata { member: member.0, cluster: cluster.0 })?;
        let mut snapshot = LogSnapshot::default();
        log.message(kind::SNAPSHOT, &snapshot)?;
        for (first, index) in members.iter().zip(1..) {
            let row = schema::Member {
                id: first.id.0,
                peer_urls: first.peer_urls.clone(),
                name: first.name.clone(),
                ..schema::Member::default()
            };
            let change =
                ConfChange { member: first.id.0, context: Some(row.value()), ..Default::default() };
            let data = Some(change.encode_to_vec());
            log.message(kind::ENTRY, &Entry { kind: CONF_CHANGE, term: FIRST_TERM, index, data })?;
        }
        let commit = members.len() as u64;
        let vote = members.first().map_or(0, |first| first.id.0);
        log.message(kind::STATE, &HardState { term: FIRST_TERM, vote, commit })?;
        snapshot.index = commit;
        snapshot.term = FIRST_TERM;
        snapshot.conf_state = Some(snap::conf_state(members));
        log.message(kind::SNAPSHOT, &snapshot)
    }

    /// Reads a log's first file.
    ///
    /// # Errors
    /// Bytes that are damaged, and a log in which more stands than how the cluster began.
    pub fn read(from: &mut dyn Read) -> Result<Self, LogError> {
        let mut log = Reader { from, crc: 0, records: 0 };
        let mut whose = None;
        let mut members = Vec::new();
        let mut last_snapshot = 0;
        while let Some((kind, data)) = log.record()? {
            match kind {
                kind::CRC => {}
                kind::METADATA => whose = Some(log.message::<Metadata>(&data)?),
                kind::ENTRY => {
                    let entry: Entry = log.message(&data)?;
                    members.push(log.first_member(entry, members.len() as u64 + 1)?);
                }
                kind::STATE => {
                    let HardState { term, .. } = log.message(&data)?;
                    if term != FIRST_TERM {
                        return Err(LogError::Used(format!("it has seen term {term}")));
                    }
                }
                kind::SNAPSHOT => last_snapshot = log.message::<LogSnapshot>(&data)?.index,
                other => return Err(log.damaged(format!("a record is of the kind {other}"))),
            }
        }
        let whose = whose.ok_or_else(|| log.damaged("it does not say whose it is"))?;
        if members.is_empty() || last_snapshot != members.len() as u64 {
            let reason = format!(
                "{} members, and a snapshot up to entry {last_snapshot}: not as a restore leaves it",
                members.len()
            );
            return Err(LogError::Used(reason));
        }
        let (member, cluster) = (MemberId(whose.member), ClusterId(whose.cluster));
        if members.iter().all(|listed: &FirstMember| listed.id != member) {
            return Err(log.damaged(format!("its own member {member} is not among its members")));
        }
        Ok(Self { member, cluster, members })
    }
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    crc: u32,
}

impl Writer<'_> {
    fn message(&mut self, kind: i64, message: &impl Message) -> io::Result<()> {
        self.record(kind, Some(message.encode_to_vec()))
    }

    fn record(&mut self, kind: i64, data: Option<Vec<u8>>) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, data.as_deref().unwrap_or_default());
        let record = Record { kind, crc: self.crc, data }.encode_to_vec();
        let length = record.len() as u64;
        let zeros = length.wrapping_neg() % 8;
        let mark = if zeros == 0 { 0 } else { (0x80 | zeros) << LENGTH_BITS };
        self.out.write_all(&(length | mark).to_le_bytes())?;
        self.out.write_all(&record)?;
        self.out.write_all(&[0; 8][..zeros as usize])
    }
}

struct Reader<'a> {
    from: &'a mut dyn Read,
    crc: u32,
    records: usize,
}

impl Reader<'_> {
    fn damaged(&self, reason: impl Into<String>) -> LogError {
        LogError::Damaged { records: self.records, reason: reason.into() }
    }

    /// The next record's kind and data; none at the end.
    fn record(&mut self) -> Result<Option<(i64, Vec<u8>)>, LogError> {
        let mut length = [0; 8];
        match self.from.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = u64::from_le_bytes(length);
        if length == 0 {
            return Ok(None);
        }
        let zeros = if length >> 63 == 1 { (length >> LENGTH_BITS) & 7 } else { 0 };
        let length = length & ((1 << LENGTH_BITS) - 1);
        if length > MAX_RECORD_BYTES {
            return Err(self.damaged(format!("a record of {length} bytes")));
        }
        let mut bytes = vec![0; (length + zeros) as usize];
        self.from.read_exact(&mut bytes)?;
        bytes.truncate(length as usize);
        let Record { kind, crc, data } =
            Record::decode(&*bytes).map_err(|error| self.damaged(error.to_string()))?;
        let data = data.unwrap_or_default();
        if kind != kind::CRC {
            self.crc = crc32c::crc32c_append(self.crc, &data);
        }
        if crc != self.crc {
            return Err(self.damaged("the sum of a record does not hold"));
        }
        self.records += 1;
        Ok(Some((kind, data)))
    }

    fn message<M: Message + Default>(&self, data: &[u8]) -> Result<M, LogError> {
        M::decode(data).map_err(|error| self.damaged(error.to_string()))
    }

    /// The member that an entry adds; any other entry means that the cluster has run.
    fn first_member(&self, entry: Entry, expected: u64) -> Result<FirstMember, LogError> {
        let Entry { kind, term, index, data } = entry;
        if kind != CONF_CHANGE || term != FIRST_TERM || index != expected {
            let reason = format!("entry {index} of term {term} does not add a first member");
            return Err(LogError::Used(reason));
        }
        let change: ConfChange = self.message(&data.unwrap_or_default())?;
        if change.kind != 0 {
            return Err(LogError::Used(format!("entry {index} changes a member")));
        }
        let (key, context) = (schema::member_key(change.member), change.context);
        let member = schema::Member::from_row(&key, &context.unwrap_or_default())
            .map_err(|error| self.damaged(error.to_string()))?;
        let schema::Member { id, peer_urls, name, is_learner, client_urls: _ } = member;
        if is_learner {
            return Err(LogError::Used(format!("entry {index} adds a learner")));
        }
        Ok(FirstMember { id: MemberId(id), name, peer_urls })
    }
}

#[cfg(test)]
mod tests {
    use node_identity::{InitialCluster, cluster_id};

    use super::*;

    fn beginning() -> Beginning {
        let line = "m1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380,m3=http://127.0.0.3:2380";
        let members = InitialCluster::parse(line).unwrap().members("etcd-cluster-1");
        let member = members.iter().find(|member| member.name == "m1").unwrap().id;
        let cluster = cluster_id(members.iter().map(|member| member.id));
        Beginning { member, cluster, members }
    }

    fn bytes(beginning: &Beginning) -> Vec<u8> {
        let mut bytes = Vec::new();
        beginning.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_reads_back_with_and_without_zeros_behind() {
        let mut written = bytes(&beginning());
        // As long as what etcdutl 3.5.30 wrote for the same three members.
        assert_eq!(written.len(), 544);
        assert_eq!(Beginning::read(&mut &*written).unwrap(), beginning());
        written.resize(4096, 0);
        assert_eq!(Beginning::read(&mut &*written).unwrap(), beginning());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let written = bytes(&beginning());
        for at in 0..written.len() * 8 {
            let mut flipped = written.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let read = Beginning::read(&mut &*flipped);
            // Zeros behind a record are no part of it.
            assert!(read.as_ref().map_or(true, |read| *read == beginning()), "bit {at}: {read:?}");
        }
    }

    #[test]
    fn a_log_that_was_used_is_told() {
        for (kind, message, expected) in [
            (
                kind::ENTRY,
                Entry { kind: 0, term: 2, index: 4, data: None }.encode_to_vec(),
                "it was used: entry 4 of term 2 does not add a first member",
            ),
            (
                kind::STATE,
                HardState { term: 7, vote: 1, commit: 3 }.encode_to_vec(),
                "it was used: it has seen term 7",
            ),
        ] {
            let mut written = bytes(&beginning());
            let crc = {
                let mut log = Reader { from: &mut &*written, crc: 0, records: 0 };
                while log.record().unwrap().is_some() {}
                log.crc
            };
            Writer { out: &mut written, crc }.record(kind, Some(message)).unwrap();
            let error = Beginning::read(&mut &*written).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
