//! A snapshot's file, opened.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use node_bolt::schema::{KEY, RevisionError, RevisionKey};
use node_bolt::{HashError, Pair, ReadError, Reader, Split, split_hash};

/// Bytes read at once: a few pages.
const BUFFER_BYTES: usize = 64 << 10;

/// What the 32 bytes behind the image say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// They are the hash of the image.
    Verified,
    /// There are none, as behind a copy of `member/snap/db`.
    Missing,
    /// They are the hash of another image.
    Wrong {
        /// What stands there.
        expected: [u8; 32],
        /// What the bytes before have.
        found: [u8; 32],
    },
}

/// Opens a file and reads all of it once, for its hash.
pub(crate) fn open(path: &Path) -> io::Result<(BufReader<File>, Integrity)> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let integrity = match split_hash(&mut file) {
        Ok(Split { hash: Some(_), .. }) => Integrity::Verified,
        Ok(Split { hash: None, .. }) => Integrity::Missing,
        Err(HashError::Mismatch { expected, found }) => Integrity::Wrong { expected, found },
        Err(HashError::Io(error)) => return Err(error),
    };
    Ok((file, integrity))
}

/// Why the rows of an image are not etcd's.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The image is damaged, or is none.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row of the key space has no revision for a key.
    #[error("in bucket key: {0}")]
    Revision(#[from] RevisionError),
    /// There is no key space in it: the file is a database of another program.
    #[error("it has no bucket `key`: it is not etcd's database")]
    NoKeys,
}

/// An open image.
pub(crate) type Image = Reader<BufReader<File>>;

/// Shows all pairs of a bucket to `visit`, in their order; false if there is no such bucket.
pub(crate) fn pairs<E: From<ReadError>>(
    image: &mut Image,
    bucket: &[u8],
    mut visit: impl FnMut(Pair) -> Result<(), E>,
) -> Result<bool, E> {
    let Some(pairs) = image.bucket(bucket)? else { return Ok(false) };
    for pair in pairs {
        visit(pair?)?;
    }
    Ok(true)
}

/// As [`pairs`], of the key space, with each row's revision.
pub(crate) fn rows<E: From<RowsError>>(
    image: &mut Image,
    mut visit: impl FnMut(RevisionKey, Pair) -> Result<(), E>,
) -> Result<(), E> {
    let Some(pairs) = image.bucket(KEY).map_err(RowsError::from)? else {
        return Err(RowsError::NoKeys.into());
    };
    for pair in pairs {
        let pair = pair.map_err(RowsError::from)?;
        let revision = RevisionKey::from_bytes(&pair.key).map_err(RowsError::from)?;
        visit(revision, pair)?;
    }
    Ok(())
}
