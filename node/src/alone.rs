//! `--force-new-cluster`: a survivor goes on as the only member.
//!
//! ```text
//!   log:  … committed … │ tail, fate unknown │ remove m1 │ remove m3 │   all counted as committed
//!                                              └── written here ─────┘
//!   data directory: member/cut-off, the ids that were removed so
//! ```
//!
//! The cluster keeps its id, so a member that was cut off and runs on could be taken for one of it:
//! two histories under one name. So nothing is done while one of them answers; and whoever was cut
//! off and calls later ends this member, by its name, before anything of the two is mixed. That is
//! why a restore, which begins a cluster of another id, is the better cure.
//!
//! etcd discards the tail. Here it is kept: it may hold writes that were acknowledged, and a leader
//! that was elected would commit it as well.
//!
//! Source: `etcd-io/etcd server/etcdserver/raft.go` (`restartAsStandaloneNode`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use node_protocol::MemberId;
use protobuf::Message as _;
use raft::eraftpb::{Entry, EntryType, HardState};

use crate::apply::as_raft;
use crate::cluster::{Member, MemberChange, Membership};
use crate::consensus::driver::conf_change;
use crate::kv::{Command, CommandId, Op};
use crate::recover::Opened;
use crate::storage::wal::{Batch, WalError};

/// The file with the ids that were cut off, inside `member`.
const CUT_OFF: &str = "cut-off";

/// No member has this id, so the names of the commands written here are nobody else's.
const NOBODY: MemberId = MemberId(0);

/// Why a member cannot go on alone.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// Its own id was removed, and no id returns.
    #[error(
        "this member {0} was removed from its cluster, --force-new-cluster cannot bring it back: \
         restore a snapshot, or a copy of its member/snap/db, into a new directory"
    )]
    Removed(MemberId),
    /// The log holds what nobody writes.
    #[error("the log holds a change of members at entry {0} that cannot be read")]
    Change(u64),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The list of those cut off cannot be read or written.
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

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AloneError {
    move |source| AloneError::Io { operation, path: path.to_path_buf(), source }
}

/// The members that were cut off, and what is known of each, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOff(BTreeMap<MemberId, String>);

impl CutOff {
    /// Reads the list; empty if nobody was ever cut off.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(member_dir: &Path) -> Result<Self, AloneError> {
        let path = member_dir.join(CUT_OFF);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(io_error("read", &path))?,
        };
        let lines = text.lines().filter_map(|line| {
            let (id, known) = line.split_once(' ')?;
            Some((MemberId(u64::from_str_radix(id, 16).ok()?), known.to_owned()))
        });
        Ok(Self(lines.collect()))
    }

    /// What is known of a member, if it was cut off.
    pub fn get(&self, member: MemberId) -> Option<&str> {
        self.0.get(&member).map(String::as_str)
    }

    /// Those of them that are no members (any more).
    #[must_use]
    pub fn but(mut self, membership: &Membership) -> Self {
        self.0.retain(|id, _| membership.get(*id).is_none());
        self
    }

    fn write(&self, member_dir: &Path) -> Result<(), AloneError> {
        let (path, beside) = (member_dir.join(CUT_OFF), member_dir.join("cut-off.tmp"));
        let mut file = File::create(&beside).map_err(io_error("create", &beside))?;
        for (id, known) in &self.0 {
            writeln!(file, "{id} {known}").map_err(io_error("write", &beside))?;
        }
        file.sync_all().map_err(io_error("sync", &beside))?;
        fs::rename(&beside, &path).map_err(io_error("rename", &beside))?;
        let dir = File::open(member_dir).and_then(|dir| dir.sync_all());
        dir.map_err(io_error("sync", member_dir))
    }
}

/// The members as they are after the last entry of the log, whatever of it is committed.
///
/// # Errors
/// [`AloneError::Change`], and [`AloneError::Removed`] if this member is none of them.
pub fn members(opened: &Opened) -> Result<Membership, AloneError> {
    let mut members = opened.recovered.membership.clone();
    for entry in opened.log.entries.iter().filter(|e| e.index > opened.recovered.applied.0) {
        let damaged = || AloneError::Change(entry.index);
        let change = conf_change(entry).map_err(|_| damaged())?;
        let Some(context) = change.map(|change| change.context).filter(|c| !c.is_empty()) else {
            continue;
        };
        let Command { op, .. } = Command::decode(&context).map_err(|_| damaged())?;
        let Op::ChangeMembers(change) = op else { return Err(damaged()) };
        let change = MemberChange::decode(&change).map_err(|_| damaged())?;
        if members.check(&change).is_ok() {
            members.apply(&change);
        }
    }
    let own = opened.metadata.member_id;
    match members.get(own) {
        Some(_) => Ok(members),
        None => Err(AloneError::Removed(own)),
    }
}

/// Makes this member the only one, durably: its next leader is itself. Returns who was cut off.
///
/// # Errors
/// As [`members`], and those of the disk; called again it does what is missing.
pub fn cut_others_off(opened: &mut Opened, member_dir: &Path) -> Result<CutOff, AloneError> {
    let members = members(opened)?;
    let own = opened.metadata.member_id;
    let others: Vec<&Member> = members.members().filter(|member| member.id != own).collect();
    let mut cut_off = CutOff::read(member_dir)?;
    let known = |member: &Member| format!("{} {}", member.name, member.peer_urls.join(","));
    cut_off.0.extend(others.iter().map(|member| (member.id, known(member))));
    // First, so that whoever is removed below is known as cut off from then on.
    cut_off.write(member_dir)?;

    let promote = members.get(own).is_some_and(|own| own.learner);
    let promote = promote.then_some(MemberChange::Promote(own));
    let changes = promote.into_iter().chain(others.iter().map(|m| MemberChange::Remove(m.id)));
    let mut hard_state = opened.log.hard_state.clone().unwrap_or_default();
    let last = opened.log.entries.last();
    let mark = opened.log.mark;
    let last_index = last.map_or_else(|| mark.map_or(0, |mark| mark.index.0), |entry| entry.index);
    let last_term = last.map_or_else(|| mark.map_or(0, |mark| mark.term.0), |entry| entry.term);
    hard_state.term = hard_state.term.max(last_term);
    let entries: Vec<Entry> = changes
        .zip(1..)
        .map(|(change, seq)| {
            let id = CommandId { origin: NOBODY, boot: opened.metadata.boot, seq };
            let op = Op::ChangeMembers(change.encode().into());
            let mut raft = as_raft(&change);
            raft.set_context(Command { id, low: 1, op }.encode());
            let mut entry = Entry::default();
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.term = hard_state.term;
            entry.index = last_index + seq;
            entry.data = raft.write_to_bytes().expect("it fits into memory").into();
            entry
        })
        .collect();
    hard_state.commit = last_index + entries.len() as u64;
    let HardState { term, commit, .. } = hard_state;
    tracing::warn!(member = %own, term, commit, entries = opened.log.entries.len(),
        cut_off = ?cut_off.0, "goes on as the only member");
    opened.wal.write_and_sync(Batch {
        entries: &entries,
        hard_state: Some(&hard_state),
        mark: None,
    })?;
    opened.log.entries.extend(entries);
    opened.log.hard_state = Some(hard_state);
    Ok(cut_off)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use node_protocol::{ClusterId, Index};

    use super::*;
    use crate::recover::{self, Beginning, Options};
    use crate::storage::{DataDirectory, Disk, Identity, RealDisk};

    fn member(id: u64, learner: bool) -> Member {
        let peer_urls = vec![format!("http://m{id}.test:2380")];
        let name = format!("m{id}");
        Member { id: MemberId(id), name, peer_urls, client_urls: Vec::new(), learner }
    }

    /// Member 1 of three, just begun, opened again.
    fn opened(folder: &Path, learner: bool) -> (Opened, PathBuf) {
        let disk: Arc<dyn Disk> = RealDisk::shared();
        let directory = DataDirectory::unlocked(&*disk, folder).expect("a directory");
        let members = [member(1, learner), member(2, false), member(3, false)];
        let identity = Identity { cluster_id: ClusterId(7), member_id: MemberId(1) };
        let options = Options::default();
        if !recover::is_used(&disk, &directory, options).expect("it can be read") {
            let beginning = Beginning::New { members: Membership::bootstrap(members) };
            recover::begin(&disk, &directory, identity, &beginning, options).expect("it begins");
        }
        let opened = recover::open(&disk, &directory, 1, options).expect("it opens");
        (opened, directory.member_dir().to_path_buf())
    }

    /// What the entries behind the state do.
    fn changes(opened: &Opened) -> Vec<MemberChange> {
        let entries = opened.log.entries.iter();
        let change = |entry: &Entry| {
            let change = conf_change(entry).expect("it is sound").expect("it is a change");
            let command = Command::decode(&change.context).expect("a command");
            let Op::ChangeMembers(change) = command.op else { panic!("{:?}", command.op) };
            MemberChange::decode(&change).expect("a change of members")
        };
        entries.map(change).collect()
    }

    #[test]
    fn all_others_are_removed_and_a_learner_is_given_its_vote_first() {
        for (learner, expected) in [(false, &[2, 3][..]), (true, &[1, 2, 3])] {
            let folder = tempfile::tempdir().expect("a folder");
            let (mut first, member_dir) = opened(folder.path(), learner);
            let cut_off = cut_others_off(&mut first, &member_dir).expect("it goes on alone");
            assert_eq!(cut_off.get(MemberId(2)), Some("m2 http://m2.test:2380"));
            assert_eq!(cut_off.get(MemberId(1)), None);
            drop(first);

            let (mut again, _) = opened(folder.path(), learner);
            let changes = changes(&again);
            let ids: Vec<u64> = changes.iter().map(|change| change.member().0).collect();
            assert_eq!(ids, expected, "{changes:?}");
            let hard_state = again.log.hard_state.as_ref().expect("it was written");
            assert_eq!(Index(hard_state.commit), again.wal.last_index(), "all of it is committed");
            assert_eq!(members(&again).expect("it is one").members().count(), 1);

            // Once more changes nothing, and forgets nobody.
            let again_cut_off = cut_others_off(&mut again, &member_dir).expect("it is alone");
            assert_eq!(again_cut_off, cut_off);
            assert_eq!(again.log.entries.len(), expected.len());
            let remaining = CutOff::read(&member_dir).expect("it is there");
            assert_eq!(remaining.but(&members(&again).expect("it is one")), cut_off);
        }
    }
}
