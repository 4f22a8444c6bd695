//! What is written to the state's database in one transaction, all or nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, WriteTransaction};

use crate::failpoint::{Failpoint, hit};
use crate::kv::{Change, Table};

use super::{
    damage::{OpenDatabase, failed},
    disk::{DiskFile, OpenMode},
    schema::{
        Applied, HEADER, HEADER_APPLIED, HEADER_IDENTITY, HEADER_SCHEMA, HEADER_TALLIES, Identity,
        SCHEMA_VERSION, checksum, definition,
    },
    state::{Place, StateError},
    tally::Tallies,
};

/// A database being filled by one transaction, beside the one in use.
pub(super) struct Built {
    pub(super) path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Ends before the database closes.
    transaction: WriteTransaction,
    database: Arc<OpenDatabase>,
    tallies: Tallies,
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Built").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Built {
    pub(super) fn begin(place: &Place, path: PathBuf) -> Result<Self, StateError> {
        let file = place.disk.open(&path, OpenMode::New).map_err(failed("create", &path))?;
        let database = place.database(&file, &path)?;
        let transaction = begin(&database).map_err(failed("write", &path))?;
        Ok(Self { path, file, transaction, database, tallies: Tallies::default() })
    }

    /// Does `changes` in their order, within each table.
    pub(super) fn change(&mut self, changes: &[Change]) -> Result<(), StateError> {
        change(&self.transaction, changes, &mut self.tallies)
            .map(drop)
            .map_err(failed("write", &self.path))
    }

    /// Adds rows that are not there, as stored: each value begins with its checksum.
    pub(super) fn add<'a>(
        &mut self,
        table: Table,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), StateError> {
        let Self { path, transaction, tallies, .. } = self;
        let add = || -> Result<(), redb::Error> {
            let mut place = transaction.open_table(definition(table))?;
            for (key, stored) in rows {
                place.insert(key, stored)?;
                tallies.add(table, key, stored);
            }
            Ok(())
        };
        add().map_err(failed("write", path))
    }

    /// Completes the database and makes it durable, but for its place.
    pub(super) fn finish(
        self,
        place: &Place,
        identity: Identity,
        applied: &Applied,
    ) -> Result<(), StateError> {
        let Self { path, file, transaction, database, tallies } = self;
        let committed = || -> Result<(), redb::Error> {
            for table in Table::ALL {
                transaction.open_table(definition(table))?;
            }
            commit(transaction, identity, applied, &tallies)
        };
        committed().map_err(failed("write", &path))?;
        if let Ok(database) = Arc::try_unwrap(database) {
            database.close().map_err(failed("close", &path))?;
        }
        file.sync().map_err(failed("sync", &path))?;
        place.disk.sync_dir(&place.dir).map_err(failed("sync", &place.dir))
    }
}

/// Makes `changes` durable, with what the database says of itself after them; `tallies` follows.
/// Returns by how many bytes the rows have grown.
pub(super) fn flush(
    database: &Database,
    path: &Path,
    changes: &[Change],
    identity: Identity,
    applied: &Applied,
    tallies: &mut Tallies,
) -> Result<i64, StateError> {
    let mut flushed = || -> Result<i64, redb::Error> {
        let transaction = begin(database)?;
        let grown = change(&transaction, changes, tallies)?;
        hit(Failpoint::FlushBeforeCommit);
        commit(transaction, identity, applied, tallies)?;
        hit(Failpoint::FlushCommitted);
        Ok(grown)
    };
    flushed().map_err(failed("write", path))
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    // A crash then leaves books of what is free; every commit must have it. It also makes a commit
    // durable before it counts, so that a damaged one is never taken for one that was cut short.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Writes what the database says of itself, all of it, and commits.
fn commit(
    transaction: WriteTransaction,
    identity: Identity,
    applied: &Applied,
    tallies: &Tallies,
) -> Result<(), redb::Error> {
    {
        let mut header = transaction.open_table(HEADER)?;
        header.insert(HEADER_SCHEMA, &SCHEMA_VERSION.to_le_bytes()[..])?;
        header.insert(HEADER_IDENTITY, &identity.encode()[..])?;
        header.insert(HEADER_APPLIED, &applied.encode()[..])?;
        header.insert(HEADER_TALLIES, &tallies.encode(identity, applied)[..])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Does `changes` in their order, within each table; returns by how many bytes the rows have grown.
fn change(
    transaction: &WriteTransaction,
    changes: &[Change],
    tallies: &mut Tallies,
) -> Result<i64, redb::Error> {
    let mut row = Vec::new();
    let mut grown = 0;
    let bytes = |key: &[u8], stored: &[u8]| (key.len() + stored.len()) as i64;
    for table in Table::ALL {
        let mut of_table = changes.iter().filter(|change| change.table == table).peekable();
        if of_table.peek().is_none() {
            continue;
        }
        let mut stored = transaction.open_table(definition(table))?;
        for Change { table: _, key, value } in of_table {
            let before = match value {
                Some(value) => {
                    row.clear();
                    row.extend_from_slice(&checksum(key, value));
                    row.extend_from_slice(value);
                    tallies.add(table, key, &row);
                    grown += bytes(key, &row);
                    stored.insert(&key[..], &row[..])?
                }
                None => stored.remove(&key[..])?,
            };
            if let Some(before) = before {
                tallies.remove(table, key, before.value());
                grown -= bytes(key, before.value());
            }
        }
    }
    Ok(grown)
}
