//! A mix of errands: what the lab's own clients do beside plain puts and reads, and under which keys.
//!
//! An *errand* is one to a dozen operations of one client with one purpose: read a list and append
//! to it, take a lock and write under its guard. An errand writes only under keys of its kind, so
//! that whoever judges knows by the key what was promised:
//!
//! ```text
//!  w/r/0007          register   any value that some client wrote
//!  w/t/0007          txn        several at once, compared and swapped
//!  w/s/0-3/m0.77.1   set        an element of the set 0-3
//!  w/a/0-2           append     a list, whose value only grows: `x,y,z`
//!  w/l/1  w/g/1      lock       who holds it, and what is written under its guard
//!  w/e/m0.77         lease      attached to a lease, and gone with it
//! ```
//!
//! Sets and lists are given up when they have so many elements, and deleted two later: a run may
//! last for hours.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{KeyRange, MemberNo};

/// Begins the keys of registers.
pub const REGISTERS: &str = "w/r/";
/// Begins the keys that are written several at once.
pub const ACCOUNTS: &str = "w/t/";
/// Begins the keys of elements of sets.
pub const SETS: &str = "w/s/";
/// Begins the keys of lists.
pub const LISTS: &str = "w/a/";
/// Begins the keys of locks.
pub const LOCKS: &str = "w/l/";
/// Begins the keys that are written under the guard of a lock.
pub const GUARDED: &str = "w/g/";
/// Begins the keys that are attached to a lease of their own.
pub const LEASED: &str = "w/e/";

/// Stands between the elements of a list.
pub const BETWEEN: char = ',';

/// All elements of one set.
pub fn set(name: &str) -> KeyRange {
    let key = format!("{SETS}{name}/");
    // `0` is the character behind `/`.
    let end = format!("{SETS}{name}0");
    KeyRange { key, end: Some(end) }
}

/// The set that a key is an element of: everything up to the last `/`.
pub fn set_of(key: &str) -> Option<&str> {
    let rest = key.strip_prefix(SETS)?;
    let (name, _) = rest.split_once('/')?;
    Some(&key[..SETS.len() + name.len() + 1])
}

/// The lock whose guard a key is written under.
pub fn lock_of(guarded: &str) -> Option<String> {
    Some(format!("{LOCKS}{}", guarded.strip_prefix(GUARDED)?))
}

/// What clients do, beside plain puts and reads: errands started on time, whether or not earlier
/// ones have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixSpec {
    /// Errands started a second, 0 to 2000; 0 ends the mix.
    pub rate: u32,
    /// How often each kind is drawn.
    pub shares: Shares,
    /// How many clients there are, 1 to 200.
    pub clients: u32,
    /// Registers, and as many keys of each other kind up to a handful.
    pub keys: u32,
    /// How long a client waits before it calls the outcome unknown.
    pub deadline_millis: u32,
    /// How often an operation that did not succeed is tried again, as a new operation.
    pub retries: u32,
    /// Whom they talk to.
    pub endpoints: Endpoints,
}

impl Default for MixSpec {
    fn default() -> Self {
        Self {
            rate: 50,
            shares: Shares::EVERYTHING,
            clients: 10,
            keys: 16,
            deadline_millis: 8_000,
            retries: 0,
            endpoints: Endpoints::All,
        }
    }
}

impl MixSpec {
    /// No errands at all.
    pub fn idle() -> Self {
        Self { rate: 0, ..Self::default() }
    }

    /// Whether any errand would ever start.
    pub fn is_idle(&self) -> bool {
        self.rate == 0 || self.shares.total() == 0
    }
}

/// How often each kind of errand is drawn: so many times in the sum of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// A put, a read, or a read and a transaction that writes if nobody wrote since.
    pub register: u32,
    /// A new element of a set, or the whole set read.
    pub set: u32,
    /// A list read, and one element appended if nobody wrote since.
    pub append: u32,
    /// Several keys read, then compared and swapped together.
    pub txn: u32,
    /// A register deleted.
    pub delete: u32,
    /// A watch opened, or resumed behind the last revision it was told of, and left after a while.
    pub watch: u32,
    /// A lease granted, a key attached, kept alive, asked about, and revoked or left to end.
    pub lease: u32,
    /// A lock taken by a key that must not be there, something written under its guard, and the lock
    /// released.
    pub lock: u32,
    /// The history compacted up to a revision that was told not long ago.
    pub compact: u32,
}

impl Shares {
    /// Some of everything, as a soak asks.
    pub const EVERYTHING: Self = Self {
        register: 8,
        set: 4,
        append: 3,
        txn: 4,
        delete: 1,
        watch: 1,
        lease: 1,
        lock: 2,
        compact: 0,
    };

    /// The sum of all.
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, share)| u64::from(*share)).sum()
    }

    /// Each with its name, in one order.
    pub fn named(&self) -> [(&'static str, u32); 9] {
        let Self { register, set, append, txn, delete, watch, lease, lock, compact } = *self;
        [
            ("register", register),
            ("set", set),
            ("append", append),
            ("txn", txn),
            ("delete", delete),
            ("watch", watch),
            ("lease", lease),
            ("lock", lock),
            ("compact", compact),
        ]
    }
}

/// Whom clients talk to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Endpoints {
    /// Each client knows every member, has a home among them, and turns when it must.
    #[default]
    All,
    /// Each client knows one member, the next one the next, and never turns.
    OneEach,
    /// Each client knows these members.
    These(BTreeSet<MemberNo>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_they_belong_to() {
        let range = set("3");
        assert!(range.contains("w/s/3/118") && range.contains("w/s/3/0"));
        assert!(!range.contains("w/s/30/1") && !range.contains("w/s/2/1"));
        assert_eq!(set_of("w/s/3/118"), Some("w/s/3/"));
        assert_eq!(set_of("w/r/3"), None);
        assert_eq!(lock_of("w/g/1").as_deref(), Some("w/l/1"));
    }

    #[test]
    fn a_mix_without_shares_is_idle() {
        assert!(MixSpec::idle().is_idle() && !MixSpec::default().is_idle());
        assert!(MixSpec { shares: Shares::default(), ..MixSpec::default() }.is_idle());
        assert_eq!(Shares::EVERYTHING.total(), 24);
    }
}
