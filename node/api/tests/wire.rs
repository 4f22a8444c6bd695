//! Checks bytes worked out by hand from etcd's field numbers, and etcd's service names.
//!
//! A tag is `number << 3 | kind`; kind 0 is a varint, kind 2 has a length and then bytes.

use std::fmt::Debug;

use bytes::Bytes;
use etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use etcd_api::etcdserverpb::request_op::Request;
use etcd_api::etcdserverpb::watch_request::RequestUnion;
use etcd_api::etcdserverpb::{self as rpc, ResponseHeader};
use etcd_api::mvccpb::event::EventType;
use etcd_api::mvccpb::{Event, KeyValue};
use etcd_api::{authpb, health, v3electionpb, v3lockpb};
use prost::Message;

/// Checks that `message` encodes to `hex` (spaces aside) and `hex` decodes to `message`.
fn check<M: Message + Default + PartialEq + Debug>(message: &M, hex: &str) {
    let digits = hex.replace(char::is_whitespace, "");
    let expected: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("two hex digits"))
        .collect();
    assert_eq!(message.encode_to_vec(), expected, "encoding {message:?}");
    assert_eq!(&M::decode(expected.as_slice()).expect("decode"), message);
}

fn key_value() -> KeyValue {
    KeyValue {
        key: Bytes::from_static(b"k"),
        create_revision: 2,
        mod_revision: 300,
        version: 4,
        value: Bytes::from_static(b"v"),
        lease: 5,
    }
}

#[test]
fn put() {
    let request =
        rpc::PutRequest { key: "k".into(), value: "v".into(), lease: 5, ..Default::default() };
    check(&request, "0a 01 6b  12 01 76  18 05");
}

#[test]
fn key_value_is_in_field_order() {
    check(&key_value(), "0a 01 6b  10 02  18 ac 02  20 04  2a 01 76  30 05");
    // A tombstone is stored with its key alone.
    check(&KeyValue { key: "k".into(), ..Default::default() }, "0a 01 6b");
}

#[test]
fn range() {
    let request = rpc::RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 1,
        revision: 2,
        sort_order: rpc::range_request::SortOrder::Descend.into(),
        sort_target: rpc::range_request::SortTarget::Value.into(),
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
    };
    check(
        &request,
        "0a 01 61  12 01 62  18 01  20 02  28 02  30 04  38 01  40 01  48 01
         50 03  58 04  60 05  68 06",
    );
}

#[test]
fn compare_has_its_range_end_at_64() {
    let compare = rpc::Compare {
        result: CompareResult::NotEqual.into(),
        target: CompareTarget::Mod.into(),
        key: "a".into(),
        range_end: "b".into(),
        target_union: Some(TargetUnion::ModRevision(7)),
    };
    // 64 << 3 | 2 = 514 = 0x202, as a varint 82 04.
    check(&compare, "08 03  10 02  1a 01 61  30 07  82 04 01 62");
    // An operand of zero is still sent: it says which operand it is.
    let absent = rpc::Compare {
        target: CompareTarget::Create.into(),
        key: "a".into(),
        target_union: Some(TargetUnion::CreateRevision(0)),
        ..Default::default()
    };
    check(&absent, "10 01  1a 01 61  28 00");
}

#[test]
fn transaction() {
    let put = rpc::PutRequest { key: "k".into(), ..Default::default() };
    let delete = rpc::DeleteRangeRequest { key: "k".into(), prev_kv: true, ..Default::default() };
    let op = |request| rpc::RequestOp { request: Some(request) };
    let request = rpc::TxnRequest {
        compare: vec![],
        success: vec![op(Request::RequestPut(put))],
        failure: vec![
            op(Request::RequestDeleteRange(delete)),
            op(Request::RequestTxn(rpc::TxnRequest::default())),
        ],
    };
    check(&request, "12 05 12 03 0a 01 6b  1a 07 1a 05 0a 01 6b 18 01  1a 02 22 00");
}

#[test]
fn watch() {
    let create = rpc::WatchCreateRequest {
        key: "a".into(),
        range_end: Bytes::from_static(b"\0"),
        start_revision: 9,
        filters: vec![rpc::watch_create_request::FilterType::Nodelete.into()],
        prev_kv: true,
        watch_id: 3,
        fragment: true,
        ..Default::default()
    };
    let request = rpc::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    check(&request, "0a 11  0a 01 61  12 01 00  18 09  2a 01 01  30 01  38 03  40 01");

    let response = rpc::WatchResponse {
        header: Some(ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 }),
        watch_id: -1,
        events: vec![Event {
            r#type: EventType::Delete.into(),
            kv: Some(KeyValue { key: "k".into(), mod_revision: 3, ..Default::default() }),
            prev_kv: Some(key_value()),
        }],
        ..Default::default()
    };
    check(
        &response,
        "0a 08 08 01 10 02 18 03 20 04
         10 ff ff ff ff ff ff ff ff ff 01
         5a 1a  08 01  12 05 0a 01 6b 18 03
                1a 0f 0a 01 6b 10 02 18 ac 02 20 04 2a 01 76 30 05",
    );
}

#[test]
fn lease() {
    check(&rpc::LeaseGrantRequest { ttl: 60, id: 1 }, "08 3c  10 01");
    let left = rpc::LeaseTimeToLiveResponse {
        header: None,
        id: 1,
        ttl: 2,
        granted_ttl: 3,
        keys: vec!["k".into()],
    };
    check(&left, "10 01  18 02  20 03  2a 01 6b");
}

#[test]
fn member() {
    let member = rpc::Member {
        id: 1,
        name: "m".into(),
        peer_urls: vec!["p".into()],
        client_urls: vec!["c".into()],
        is_learner: true,
    };
    check(&member, "08 01  12 01 6d  1a 01 70  22 01 63  28 01");
}

#[test]
fn status() {
    let response = rpc::StatusResponse {
        header: None,
        version: "3".into(),
        db_size: 1,
        leader: 2,
        raft_index: 3,
        raft_term: 4,
        raft_applied_index: 5,
        errors: vec!["e".into()],
        db_size_in_use: 6,
        is_learner: true,
        storage_version: "s".into(),
        db_size_quota: 7,
        downgrade_info: Some(rpc::DowngradeInfo { enabled: true, target_version: "t".into() }),
    };
    check(
        &response,
        "12 01 33  18 01  20 02  28 03  30 04  38 05  42 01 65  48 06  50 01
         5a 01 73  60 07  6a 05 08 01 12 01 74",
    );
}

#[test]
fn auth() {
    let request = rpc::AuthRoleGrantPermissionRequest {
        name: "r".into(),
        perm: Some(authpb::Permission {
            perm_type: authpb::permission::Type::Readwrite.into(),
            key: "a".into(),
            range_end: "b".into(),
        }),
    };
    check(&request, "0a 01 72  12 08 08 02 12 01 61 1a 01 62");
    let request = rpc::AuthUserAddRequest {
        name: "u".into(),
        password: "p".into(),
        options: Some(authpb::UserAddOptions { no_password: true }),
        hashed_password: "h".into(),
    };
    check(&request, "0a 01 75  12 01 70  1a 02 08 01  22 01 68");
}

#[test]
fn lock_and_election() {
    check(&v3lockpb::LockRequest { name: "l".into(), lease: 1 }, "0a 01 6c  10 01");
    let leader = v3electionpb::LeaderKey { name: "e".into(), key: "k".into(), rev: 2, lease: 3 };
    check(
        &v3electionpb::ProclaimRequest { leader: Some(leader), value: "v".into() },
        "0a 0a 0a 01 65 12 01 6b 18 02 20 03  12 01 76",
    );
}

#[test]
fn services_have_the_names_clients_call() {
    let names = [
        rpc::kv_server::SERVICE_NAME,
        rpc::watch_server::SERVICE_NAME,
        rpc::lease_server::SERVICE_NAME,
        rpc::cluster_server::SERVICE_NAME,
        rpc::maintenance_server::SERVICE_NAME,
        rpc::auth_server::SERVICE_NAME,
        v3lockpb::lock_server::SERVICE_NAME,
        v3electionpb::election_server::SERVICE_NAME,
        health::health_server::SERVICE_NAME,
    ];
    let expected = [
        "etcdserverpb.KV",
        "etcdserverpb.Watch",
        "etcdserverpb.Lease",
        "etcdserverpb.Cluster",
        "etcdserverpb.Maintenance",
        "etcdserverpb.Auth",
        "v3lockpb.Lock",
        "v3electionpb.Election",
        "grpc.health.v1.Health",
    ];
    assert_eq!(names, expected);
}
