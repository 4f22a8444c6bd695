//! Errors of the state's database, told apart: the disk failed, or what it holds is not what was
//! stored.
//!
//! redb verifies a page's checksum when it opens a database and never again (`State` has it verify
//! all of them, see there), so a page that rots later reaches code that trusts it. Each row carries
//! a checksum of its own, and everything asked of redb goes through [`guarded`]: what comes of a
//! rotten page is an error or a panic, and both are told as damage of that file.
//!
//! Left out: a branch page that becomes its own ancestor while the member runs overflows the stack,
//! which nothing catches. The process is gone then as well; the next start says which file it was.

use std::{
    any::Any,
    io,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::Database;

use crate::kv::Table;

use super::state::StateError;

/// What a person does with a member whose files are damaged; ends an error's text.
pub(super) const REPLACE_MEMBER: &str = "what is damaged was not served. Replace this member, for \
    what it promised cannot be known any more: run `etcdctl member remove` with its id on another member, \
    delete its data directory, and bring it back with `etcdctl member add`. If it is the only \
    member, restore a backup of the data directory. Have the disk looked at";

/// Runs `work`, which asks redb for something in the file `path` gives.
///
/// # Errors
///
/// Those of `work`; [`StateError::Corrupt`] if it panics, since redb panics where its pages
/// contradict each other. What `work` changed is then to be thrown away.
pub(super) fn guarded<T, E: From<StateError>>(
    path: impl FnOnce() -> PathBuf,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let reason = format!("its pages contradict each other ({})", said(&*panic));
        Err(StateError::Corrupt { path: path(), reason }.into())
    })
}

/// An open database that can be dropped whatever its pages hold: redb reads and writes when it
/// closes, and a panic there would hide why the member ends.
#[derive(Debug)]
pub(super) struct OpenDatabase(Option<Database>);

impl OpenDatabase {
    pub(super) fn new(database: Database) -> Self {
        Self(Some(database))
    }

    /// Closes it, and says if that fails.
    pub(super) fn close(mut self) -> Result<(), redb::DatabaseError> {
        self.0.take().map_or(Ok(()), Database::close)
    }
}

impl Deref for OpenDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("only dropping and closing take it")
    }
}

impl Drop for OpenDatabase {
    fn drop(&mut self) {
        let database = self.0.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(database))) {
            tracing::error!(
                why = said(&*panic),
                "the state's database could not be closed in order"
            );
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

/// Attaches what was tried, and on which file, to an error of redb or of the system.
pub(super) fn failed<'a, E: Into<redb::Error>>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(E) -> StateError + 'a {
    move |error| {
        let (path, error) = (path.to_path_buf(), error.into());
        if is_damage(&error) {
            StateError::Corrupt { path, reason: error.to_string() }
        } else {
            StateError::Failed { operation, path, source: Box::new(error) }
        }
    }
}

/// Whether redb says that the file is not what was stored, rather than that the disk or its user
/// failed. We are the only user, and open only tables we made.
fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_) => true,
        redb::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
        ),
        // The list is redb's, and may grow.
        _ => false,
    }
}

/// A row whose checksum does not hold.
pub(super) fn damaged_row(path: &Path, table: Table, key: &[u8]) -> StateError {
    StateError::Corrupt {
        path: path.to_path_buf(),
        reason: format!("the checksum of row {key:02x?} of table {table:?} does not hold"),
    }
}
