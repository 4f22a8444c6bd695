//! The five numbers that must never be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// A member's identity, derived from its peer URLs and the cluster token; printed in hex.
    MemberId(u64)
}
number! {
    /// A cluster's identity, derived from its first members' ids; printed in hex.
    ClusterId(u64)
}
number! {
    /// Raft's clock (Raft paper §5.1).
    Term(u64)
}
number! {
    /// A position in the Raft log; the first entry is 1, 0 means "before the first".
    Index(u64)
}
number! {
    /// etcd's clock of the key space; a fresh store is at 1.
    Revision(i64)
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

macro_rules! decimal {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
decimal!(Term, Index, Revision);
