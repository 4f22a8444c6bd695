//! The file in which etcd looks for its members: its old key space, of which only they are left.
//!
//! Source: `etcd-io/etcd server/etcdserver/api/v2store/store.go` (the JSON),
//! `server/etcdserver/api/snap/snapshotter.go` (the file); compared with what stock tools wrote.

use std::collections::BTreeMap;

use node_identity::FirstMember;
use prost::Message as _;
use serde::Serialize;

use super::FIRST_TERM;
use super::wire::{ConfState, Snapshot, SnapshotFile, SnapshotMetadata};

/// Events that the old key space remembers.
const REMEMBERED: usize = 1000;

/// The only version there is.
const STORE_VERSION: u32 = 2;

/// Time without meaning, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The name of the file for a snapshot that ends with entry `index` of the first term.
#[must_use]
pub fn file_name(index: u64) -> String {
    format!("{FIRST_TERM:016x}-{index:016x}.snap")
}

/// The bytes of the file: a cluster of these members, each added by an entry of its own.
#[must_use]
pub fn encode(members: &[FirstMember]) -> Vec<u8> {
    let metadata = SnapshotMetadata {
        conf_state: conf_state(members),
        index: members.len() as u64,
        term: FIRST_TERM,
    };
    let data = Some(old_key_space(members));
    let data = Snapshot { data, metadata }.encode_to_vec();
    SnapshotFile { crc: crc32c::crc32c(&data), data: Some(data) }.encode_to_vec()
}

/// All of these with a vote.
#[must_use]
pub(super) fn conf_state(members: &[FirstMember]) -> ConfState {
    ConfState { voters: members.iter().map(|member| member.id.0).collect(), ..Default::default() }
}

/// A folder or a value of the old key space.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    path: String,
    created_index: usize,
    modified_index: usize,
    expire_time: &'static str,
    value: String,
    /// None for a value.
    children: Option<BTreeMap<String, Node>>,
}

impl Node {
    fn folder(path: impl Into<String>, index: usize, children: Vec<(String, Self)>) -> Self {
        Self {
            path: path.into(),
            created_index: index,
            modified_index: index,
            expire_time: NEVER,
            value: String::new(),
            children: Some(children.into_iter().collect()),
        }
    }

    fn value(path: String, index: usize, value: String) -> Self {
        let folder = Self::folder(path, index, Vec::new());
        Self { value, children: None, ..folder }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct OldStore {
    root: Node,
    watcher_hub: Hub,
    current_index: usize,
    stats: BTreeMap<&'static str, u64>,
    current_version: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Hub {
    event_history: History,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct History {
    queue: Queue,
    start_index: usize,
    last_index: usize,
}

/// A ring of events; nobody watches the old key space any more, so it is empty.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Queue {
    events: Vec<Option<()>>,
    size: usize,
    front: usize,
    back: usize,
    capacity: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RaftAttributes<'a> {
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
}

fn old_key_space(members: &[FirstMember]) -> Vec<u8> {
    let listed = members.iter().zip(1..).map(|(member, index)| {
        let path = format!("/0/members/{}", member.id);
        let attributes = RaftAttributes { peer_urls: &member.peer_urls };
        let attributes = serde_json::to_string(&attributes).expect("texts are always JSON");
        let value = Node::value(format!("{path}/raftAttributes"), index, attributes);
        let folder = Node::folder(path, index, vec![("raftAttributes".to_owned(), value)]);
        (member.id.to_string(), folder)
    });
    let folder = Node::folder("/0/members", 1, listed.collect());
    let cluster = Node::folder("/0", 0, vec![("members".to_owned(), folder)]);
    let keys = Node::folder("/1", 0, Vec::new());
    let store = OldStore {
        root: Node::folder("/", 0, vec![("0".to_owned(), cluster), ("1".to_owned(), keys)]),
        watcher_hub: Hub {
            event_history: History {
                queue: Queue {
                    events: vec![None; REMEMBERED],
                    size: 0,
                    front: 0,
                    back: 0,
                    capacity: REMEMBERED,
                },
                start_index: 0,
                last_index: members.len(),
            },
        },
        current_index: members.len(),
        stats: BTreeMap::new(),
        current_version: STORE_VERSION,
    };
    serde_json::to_vec(&store).expect("texts and numbers are always JSON")
}
