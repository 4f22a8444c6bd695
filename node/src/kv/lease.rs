//! The replicated part of leases: which exist, and which keys hang on them. When they end is the
//! leader's [`Lessor`](crate::lease::Lessor)'s to say.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use etcd_api::etcdserverpb::LeaseGrantResponse;
use prost::bytes::Buf;
use prost::encoding::{self, DecodeContext};

use super::change::{Change, Table};
use super::check::check_lease_ttl;
use super::error::KvError;
use super::store::{Store, Writing, header};

/// One lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// How long a renewal lasts.
    pub ttl_seconds: i64,
    /// The keys that are deleted with it, in order.
    pub keys: BTreeSet<Bytes>,
}

/// All leases, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leases(pub(super) BTreeMap<i64, Lease>);

impl Leases {
    fn attach(&mut self, key: &Bytes, id: i64) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.insert(Bytes::copy_from_slice(key));
        }
    }

    /// Moves a key from one lease to another; 0 is none.
    pub(super) fn reattach(&mut self, key: &Bytes, from: i64, to: i64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.0.get_mut(&from) {
            lease.keys.remove(key);
        }
        self.attach(key, to);
    }

    /// Takes a stored row in; says what is wrong with it otherwise.
    pub(super) fn restore(&mut self, key: &[u8], row: &[u8]) -> Result<(), &'static str> {
        let id = i64::from_be_bytes(key.try_into().map_err(|_| "its key is not an id")?);
        let ttl_seconds = decode_ttl(row).map_err(|_| "its protobuf is malformed")?;
        self.0.insert(id, Lease { ttl_seconds, keys: BTreeSet::new() });
        Ok(())
    }

    /// Attaches a key found in storage. A lease that is gone counts as none.
    pub(super) fn restore_key(&mut self, key: &Bytes, id: i64) {
        self.attach(key, id);
    }
}

fn encode_lease(id: i64, ttl_seconds: i64) -> BytesMut {
    let mut row = BytesMut::new();
    encoding::int64::encode(1, &id, &mut row);
    encoding::int64::encode(2, &ttl_seconds, &mut row);
    row
}

fn decode_ttl(mut row: &[u8]) -> Result<i64, prost::DecodeError> {
    let mut ttl_seconds = 0;
    while row.has_remaining() {
        let (tag, wire_type) = encoding::decode_key(&mut row)?;
        if tag == 2 {
            let context = DecodeContext::default();
            encoding::int64::merge(wire_type, &mut ttl_seconds, &mut row, context)?;
        } else {
            encoding::skip_field(wire_type, tag, &mut row, DecodeContext::default())?;
        }
    }
    Ok(ttl_seconds)
}

impl Store {
    /// A lease and its keys.
    pub fn lease(&self, id: i64) -> Option<&Lease> {
        self.leases.0.get(&id)
    }

    /// Every lease as (id, granted seconds), as a lessor takes them.
    pub fn lease_terms(&self) -> impl Iterator<Item = (i64, i64)> {
        self.leases.0.iter().map(|(id, lease)| (*id, lease.ttl_seconds))
    }

    /// Every lease, by id.
    pub fn leases(&self) -> &BTreeMap<i64, Lease> {
        &self.leases.0
    }

    /// How many leases there are.
    pub fn lease_count(&self) -> usize {
        self.leases.0.len()
    }

    pub(super) fn grant(
        &mut self,
        id: i64,
        ttl_seconds: i64,
    ) -> Result<LeaseGrantResponse, KvError> {
        check_lease_ttl(ttl_seconds)?;
        if id == 0 {
            return Err(KvError::LeaseNotFound);
        }
        if self.leases.0.contains_key(&id) {
            return Err(KvError::LeaseExists);
        }
        self.leases.0.insert(id, Lease { ttl_seconds, keys: BTreeSet::new() });
        let key = Bytes::copy_from_slice(&id.to_be_bytes());
        self.record(Change::set(Table::Leases, key, encode_lease(id, ttl_seconds)));
        Ok(LeaseGrantResponse {
            header: header(self.revision),
            id,
            ttl: ttl_seconds,
            error: String::new(),
        })
    }

    pub(super) fn revoke(&mut self, writing: &mut Writing, id: i64) -> Result<(), KvError> {
        let lease = self.leases.0.remove(&id).ok_or(KvError::LeaseNotFound)?;
        for key in lease.keys {
            self.delete_key(writing, key);
        }
        let key = Bytes::copy_from_slice(&id.to_be_bytes());
        self.record(Change::remove(Table::Leases, key));
        Ok(())
    }
}
