//! What a client was told, as JSON: every field that the client shows, none left out.

use etcd_client as etcd;
use serde_json::{Map, Value, json};

/// Something a client returns.
pub(crate) trait Answer {
    fn json(&self) -> Value;
}

/// Longer texts are told by their length, their beginning and their sum.
const LONG_BYTES: usize = 80;

/// Bytes, readable where they are text.
pub(crate) fn text(bytes: &[u8]) -> String {
    if bytes.len() > LONG_BYTES {
        let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
        return format!("{}… {} bytes, sum {sum}", bytes[..8].escape_ascii(), bytes.len());
    }
    bytes.escape_ascii().to_string()
}

/// An error: a status as the server sent it, or what the client itself says.
pub(crate) fn error(error: &etcd::Error) -> Value {
    match error {
        etcd::Error::GRpcStatus(status) => {
            json!({"code": format!("{:?}", status.code()), "message": status.message()})
        }
        other => json!({"client": other.to_string()}),
    }
}

impl Answer for etcd::ResponseHeader {
    fn json(&self) -> Value {
        json!({
            "cluster_id": self.cluster_id(),
            "member_id": self.member_id(),
            "revision": self.revision(),
            "raft_term": self.raft_term(),
        })
    }
}

impl Answer for etcd::KeyValue {
    fn json(&self) -> Value {
        json!({
            "key": text(self.key()),
            "value": text(self.value()),
            "create_revision": self.create_revision(),
            "mod_revision": self.mod_revision(),
            "version": self.version(),
            "lease": self.lease(),
        })
    }
}

impl<T: Answer> Answer for [T] {
    fn json(&self) -> Value {
        self.iter().map(T::json).collect()
    }
}

impl<T: Answer> Answer for Option<&T> {
    fn json(&self) -> Value {
        self.map_or(Value::Null, T::json)
    }
}

/// An answer that has nothing but these fields.
macro_rules! answers {
    ($($kind:ident { $($field:ident),* };)*) => {
        $(impl Answer for etcd::$kind {
            fn json(&self) -> Value {
                let mut fields = Map::new();
                $(fields.insert(stringify!($field).to_owned(), self.$field().json());)*
                Value::Object(fields)
            }
        })*
    };
}

/// Values that JSON has as they are.
macro_rules! plain {
    ($($kind:ty),*) => {
        $(impl Answer for $kind {
            fn json(&self) -> Value {
                json!(self)
            }
        })*
    };
}

plain!(bool, i64, u64, u32, str, String);

answers! {
    GetResponse { header, kvs, more, count };
    PutResponse { header, prev_key };
    DeleteResponse { header, deleted, prev_kvs };
    CompactionResponse { header };
    TxnResponse { header, succeeded, op_responses };
    WatchResponse {
        header, watch_id, created, canceled, compact_revision, cancel_reason, events
    };
    LeaseGrantResponse { header, id, ttl, error };
    LeaseRevokeResponse { header };
    LeaseKeepAliveResponse { header, id, ttl };
    LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys };
    LeaseLeasesResponse { header, leases };
    LeaseStatus { id };
    Member { id, name, peer_urls, client_urls, is_learner };
    MemberAddResponse { header, member, member_list };
    MemberRemoveResponse { header, members };
    MemberUpdateResponse { header, members };
    MemberPromoteResponse { header, members };
    MemberListResponse { header, members };
    AlarmResponse { header, alarms };
    StatusResponse {
        header, version, db_size, leader, raft_index, raft_term, raft_applied_index, errors,
        raft_used_db_size, is_learner
    };
    DefragmentResponse { header };
    HashResponse { header, hash };
    HashKvResponse { header, hash, compact_version };
    MoveLeaderResponse { header };
}

impl Answer for Vec<etcd::TxnOpResponse> {
    fn json(&self) -> Value {
        let one = |answer: &etcd::TxnOpResponse| match answer {
            etcd::TxnOpResponse::Put(answer) => json!({"put": answer.json()}),
            etcd::TxnOpResponse::Get(answer) => json!({"get": answer.json()}),
            etcd::TxnOpResponse::Delete(answer) => json!({"delete": answer.json()}),
            etcd::TxnOpResponse::Txn(answer) => json!({"txn": answer.json()}),
        };
        self.iter().map(one).collect()
    }
}

impl Answer for etcd::Event {
    fn json(&self) -> Value {
        json!({
            "type": self.event_type().as_str_name(),
            "kv": self.kv().json(),
            "prev_kv": self.prev_kv().json(),
        })
    }
}

impl Answer for etcd::AlarmMember {
    fn json(&self) -> Value {
        json!({"member_id": self.member_id(), "alarm": self.alarm().as_str_name()})
    }
}

impl Answer for Vec<u8> {
    fn json(&self) -> Value {
        text(self).into()
    }
}

/// What is said in JSON already.
impl Answer for Value {
    fn json(&self) -> Value {
        self.clone()
    }
}
