//! What a member finds on its disk, or puts there at its first start.
//!
//! A new cluster begins at a synthetic point: as if each first member had been added by an entry
//! of term 1. So the log never begins at index 1, a member that joins later gets a snapshot first,
//! and the first leader has term 2, as in etcd.

use std::path::Path;
use std::sync::Arc;

use node_protocol::{Index, MemberId, Term};
use raft::eraftpb::{ConfState, HardState};

use crate::cluster::Membership;
use crate::control::Controls;
use crate::failpoint::{Failpoint, hit};
use crate::kv::{Loader, Store, Table};
use crate::storage::wal::{self, Wal, WalError, WalOptions};
use crate::storage::{
    Applied, DataDirectory, DirectoryError, Disk, Identity, Mark, Metadata, Put, RealDisk, State,
    StateError, StateOptions,
};

/// Why a member cannot start from its disk.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is a state, and no log.
    #[error(
        "{} has a state but no log: the votes and entries this member promised are lost. Remove \
         it from the cluster, empty its data directory and add it as a new member",
        dir.display()
    )]
    LogMissing {
        /// Where.
        dir: std::path::PathBuf,
    },
    /// There is a log that was used, and no state.
    #[error(
        "{} has a log but no state: what was applied is lost. Remove this member from the \
         cluster, empty its data directory and add it as a new member",
        dir.display()
    )]
    StateMissing {
        /// Where.
        dir: std::path::PathBuf,
    },
    /// Log and state are not of one member.
    #[error(
        "the log in {} is of member {log} and the state beside it of member {state}: files of two \
         members were mixed",
        dir.display()
    )]
    Mixed {
        /// Where.
        dir: std::path::PathBuf,
        /// The log's member.
        log: MemberId,
        /// The state's member.
        state: MemberId,
    },
}

/// What the state on disk holds.
pub struct Recovered {
    /// The key space.
    pub store: Store,
    /// The members.
    pub membership: Membership,
    /// Up to where both are complete.
    pub applied: Index,
    /// Term of that entry.
    pub applied_term: Term,
    /// The configuration at that entry.
    pub conf_state: ConfState,
}

impl std::fmt::Debug for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovered").field("applied", &self.applied).finish_non_exhaustive()
    }
}

/// Reads the state into RAM.
pub fn load(state: &Arc<State>) -> Result<Recovered, RecoverError> {
    let mut loader = Loader::new(state.clone());
    let mut members: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    state.load(|table, key, value| match table {
        Table::Members => {
            members.push((key.to_vec(), value.to_vec()));
            Ok::<_, RecoverError>(())
        }
        Table::Rows | Table::Leases | Table::Sessions | Table::Meta => {
            loader.push(table, key, value).map_err(|error| state.corrupt(&error).into())
        }
    })?;
    let rows = members.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    let membership = Membership::load(rows).map_err(|error| state.corrupt(&error))?;
    let Applied { index, term, conf_state } = state.applied();
    let store = loader.finish();
    Ok(Recovered { store, membership, applied: index, applied_term: term, conf_state })
}

/// Everything a member has on its disk, opened.
pub struct Opened {
    /// Whose it is, and this start's number.
    pub metadata: Metadata,
    /// The log on disk.
    pub wal: Wal,
    /// What the log held.
    pub log: wal::Recovered,
    /// The state.
    pub state: Arc<State>,
    /// What the state held.
    pub recovered: Recovered,
    /// Nobody has ever led in this cluster.
    pub fresh: bool,
}

/// Sizes and habits of what is on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Of the log.
    pub wal: WalOptions,
    /// Of the state.
    pub state: StateOptions,
}

/// What a node stands on: the disk, and how it is used.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Where everything lies.
    pub disk: Arc<dyn Disk>,
    /// Sizes and habits.
    pub options: Options,
    /// What the lab may do to it; nothing, unless it was started with a control socket.
    pub controls: Controls,
}

impl Default for Ground {
    /// What a member in production stands on.
    fn default() -> Self {
        let (options, controls) = (Options::default(), Controls::default());
        Self { disk: RealDisk::shared(), options, controls }
    }
}

/// How a member without data begins.
#[derive(Clone, Debug)]
pub enum Beginning {
    /// As one of the first members of a new cluster.
    New {
        /// All of them.
        members: Membership,
    },
    /// As a member that was added to a running cluster: it waits for a snapshot.
    Join {
        /// Those of the running cluster, itself among them.
        members: Membership,
    },
}

/// Whether there is a log in a data directory, whatever is in it.
pub fn has_log(disk: &Arc<dyn Disk>, directory: &DataDirectory) -> Result<bool, RecoverError> {
    Ok(Wal::exists(&**disk, directory.wal_dir())?)
}

/// Whether a data directory was used before. What a first start that was cut short left behind
/// is removed; nobody was promised anything yet.
pub fn is_used(
    disk: &Arc<dyn Disk>,
    directory: &DataDirectory,
    options: Options,
) -> Result<bool, RecoverError> {
    let log = Wal::exists(&**disk, directory.wal_dir())?;
    let state = State::exists(&**disk, directory.member_dir())?;
    let dir = directory.member_dir().to_path_buf();
    match (log, state) {
        (true, true) => Ok(true),
        (false, false) => Ok(false),
        (false, true) => Err(RecoverError::LogMissing { dir }),
        (true, false) => {
            let (wal, recovered) = Wal::open(disk, directory.wal_dir(), options.wal)?;
            drop(wal);
            let promised = recovered.hard_state.is_some_and(|hard_state| hard_state.vote != 0);
            if promised || !recovered.entries.is_empty() {
                return Err(RecoverError::StateMissing { dir });
            }
            for name in list(&**disk, directory.wal_dir())? {
                remove(&**disk, &directory.wal_dir().join(name))?;
                hit(Failpoint::FirstStartUndone);
            }
            Ok(false)
        }
    }
}

/// Writes what a member begins with.
pub fn begin(
    disk: &Arc<dyn Disk>,
    directory: &DataDirectory,
    identity: Identity,
    beginning: &Beginning,
    options: Options,
) -> Result<(), RecoverError> {
    let mut conf_state = ConfState::default();
    let (members, Mark { index, term }) = match beginning {
        Beginning::New { members } => {
            conf_state.set_voters(members.voters().iter().map(|id| id.0).collect());
            let count = members.members().count() as u64;
            (members, Mark { index: Index(count), term: Term(1) })
        }
        Beginning::Join { members } => (members, Mark { index: Index(0), term: Term(0) }),
    };
    let applied = Applied { index, term, conf_state };
    begin_from(disk, directory, identity, &applied, options, |put| Ok(put(&members.rows())?))
}

/// Writes a log that begins at `applied`, and a state of the changes that `fill` gives: the log
/// first, so that a state without a log always means that a log was lost.
pub fn begin_from<E: From<RecoverError>>(
    disk: &Arc<dyn Disk>,
    directory: &DataDirectory,
    identity: Identity,
    applied: &Applied,
    options: Options,
    fill: impl FnOnce(Put<'_>) -> Result<(), E>,
) -> Result<(), E> {
    begin_log(disk, directory, identity, applied.into(), options)?;
    let dir = directory.member_dir();
    let created = State::create_from(disk, dir, identity, applied, options.state, |put| {
        fill(put).map_err(Begun::Fill)
    });
    match created {
        Ok(state) => drop(state),
        Err(Begun::Fill(error)) => return Err(error),
        Err(Begun::State(error)) => return Err(RecoverError::from(error).into()),
    }
    hit(Failpoint::StateCreated);
    Ok(())
}

/// Why a state was not created.
enum Begun<E> {
    State(StateError),
    Fill(E),
}

impl<E> From<StateError> for Begun<E> {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

fn begin_log(
    disk: &Arc<dyn Disk>,
    directory: &DataDirectory,
    identity: Identity,
    point: Mark,
    options: Options,
) -> Result<(), RecoverError> {
    let Identity { cluster_id, member_id } = identity;
    let metadata = Metadata { cluster_id, member_id, boot: 0 };
    let mut wal = Wal::create(disk, directory.wal_dir(), metadata, options.wal)?;
    hit(Failpoint::LogCreated);
    if point.index > Index(0) {
        let hard_state =
            HardState { term: point.term.0, commit: point.index.0, ..HardState::default() };
        wal.write_and_sync(wal::Batch {
            hard_state: Some(&hard_state),
            mark: Some(point),
            ..wal::Batch::default()
        })?;
        hit(Failpoint::LogBegun);
    }
    wal.close()?;
    hit(Failpoint::LogClosed);
    Ok(())
}

fn list(disk: &dyn Disk, path: &Path) -> Result<Vec<String>, RecoverError> {
    disk.list(path).map_err(|source| {
        WalError::Io { operation: "list", path: path.to_path_buf(), source }.into()
    })
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), RecoverError> {
    disk.remove(path).map_err(|source| {
        WalError::Io { operation: "remove", path: path.to_path_buf(), source }.into()
    })
}

/// Opens what a member has. `wall_millis` makes the boot number greater than that of a former
/// life under the same id, even if its disk is gone.
pub fn open(
    disk: &Arc<dyn Disk>,
    directory: &DataDirectory,
    wall_millis: u64,
    options: Options,
) -> Result<Opened, RecoverError> {
    let (mut wal, mut log) = Wal::open(disk, directory.wal_dir(), options.wal)?;
    hit(Failpoint::LogOpened);
    let state = Arc::new(State::open(disk, directory.member_dir(), options.state)?);
    hit(Failpoint::StateOpened);
    if log.metadata.member_id != state.identity().member_id {
        return Err(RecoverError::Mixed {
            dir: directory.wal_dir().to_path_buf(),
            log: log.metadata.member_id,
            state: state.identity().member_id,
        });
    }
    let recovered = load(&state)?;
    wal.settle(&mut log, Mark { index: recovered.applied, term: recovered.applied_term })?;
    hit(Failpoint::Settled);
    let boot = wall_millis.max(log.metadata.boot + 1);
    wal.set_boot(boot)?;
    hit(Failpoint::BootNoted);
    let metadata = Metadata { boot, ..log.metadata };
    let fresh = log.entries.is_empty()
        && recovered.applied_term == Term(1)
        && log.hard_state.as_ref().is_none_or(|hard_state| hard_state.term == 1);
    if log.torn_bytes > 0 {
        tracing::info!(bytes = log.torn_bytes, "the log ended in an unsynced write, discarded");
    }
    Ok(Opened { metadata, wal, log, state, recovered, fresh })
}
