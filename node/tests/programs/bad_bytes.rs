//! Bytes that nobody should send, on both ports of running members: nobody ends, nothing changes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use etcd_api::etcdserverpb::cluster_client::ClusterClient;
use etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_api::etcdserverpb::{HashKvRequest, MemberListRequest};
use node_protocol::frame::HEADER_BYTES;
use node_protocol::{ClusterId, FrameHeader, FrameKind, Index, MemberId, Term};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::member::{Member, Urls};

/// Connections to a peer port, and requests to a client port.
const ATTEMPTS: u64 = 1_500;

/// What begins every connection of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Methods that change something. What they are sent is no message in any case.
const CHANGING: [&str; 13] = [
    "KV/Put",
    "KV/DeleteRange",
    "KV/Txn",
    "KV/Compact",
    "Lease/LeaseGrant",
    "Lease/LeaseRevoke",
    "Cluster/MemberAdd",
    "Cluster/MemberRemove",
    "Cluster/MemberUpdate",
    "Cluster/MemberPromote",
    "Maintenance/Alarm",
    "Maintenance/MoveLeader",
    "Maintenance/Downgrade",
];

/// Methods that only look, which may be sent anything.
const LOOKING: [&str; 8] = [
    "KV/Range",
    "Watch/Watch",
    "Lease/LeaseTimeToLive",
    "Lease/LeaseLeases",
    "Lease/LeaseKeepAlive",
    "Cluster/MemberList",
    "Maintenance/Status",
    "Maintenance/HashKV",
];

/// Bytes as they are, for a message.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put(buffer, item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length)))
    }
}

fn random_bytes(random: &mut ChaCha8Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..=most)];
    random.fill(&mut bytes[..]);
    bytes
}

/// Says it, and hears what there is to hear; whoever listens may end the connection.
fn say(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_millis(2))).expect("a time");
    stream.write_all(bytes).ok();
    let mut heard = [0; 1024];
    // Whatever it is.
    let _heard = stream.read(&mut heard);
}

/// What a client port is told that is no gRPC at all.
fn no_request(random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = match random.random_range(0..5) {
        0 => Vec::new(),
        1 => b"GET /metrics HTTP/1.1\r\n".to_vec(),
        2 => b"POST /etcdserverpb.KV/Put HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n"
            .to_vec(),
        _ => {
            let mut bytes = PREFACE.to_vec();
            bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
            for _ in 0..random.random_range(0..6) {
                let length = random.random_range(0..64_u32);
                bytes.extend_from_slice(&length.to_be_bytes()[1..]);
                bytes.push(random.random_range(0..12));
                bytes.push(random.random());
                bytes.extend_from_slice(&random.random_range(0..8_u32).to_be_bytes());
                let payload: Vec<u8> = (0..length).map(|_| random.random()).collect();
                bytes.extend(payload);
            }
            bytes
        }
    };
    bytes.extend(random_bytes(random, 200));
    bytes
}

/// A frame as peers exchange them, checksum and all.
fn frame(header: FrameHeader, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    out.extend_from_slice(payload);
    let mut head = [0; HEADER_BYTES];
    header.encode(payload.len(), &mut head);
    out[..HEADER_BYTES].copy_from_slice(&head);
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Whom a peer port belongs to, and who could call it.
#[derive(Clone, Copy)]
struct Whom {
    cluster: ClusterId,
    member: MemberId,
    peer: MemberId,
}

/// An introduction that is taken, for one of the purposes.
fn hello(whom: Whom, purpose: u8) -> Vec<u8> {
    let mut payload = whom.cluster.0.to_le_bytes().to_vec();
    payload.push(purpose);
    if purpose == 3 {
        payload.extend_from_slice(&1_i64.to_le_bytes());
    }
    frame(FrameHeader::new(FrameKind::Hello, whom.peer, whom.member), &payload)
}

fn any_kind(random: &mut ChaCha8Rng) -> FrameKind {
    FrameKind::ALL[random.random_range(0..FrameKind::ALL.len())]
}

/// What a peer port is told.
fn no_peer(random: &mut ChaCha8Rng, whom: Whom) -> Vec<u8> {
    let header = |random: &mut ChaCha8Rng, kind| FrameHeader {
        entries: [0, 1, u32::MAX][random.random_range(0..3)],
        // Of a past: what somebody says in the name of a leader is for that leader to answer for.
        term: Term(random.random_range(0..2)),
        index: Index(random.random()),
        log_term: Term(random.random()),
        commit: Index(random.random()),
        ..FrameHeader::new(kind, whom.peer, whom.member)
    };
    match random.random_range(0..8) {
        0 => random_bytes(random, 300),
        // Introductions: of strangers, to strangers, for nothing.
        1 => hello(Whom { cluster: ClusterId(random.random()), ..whom }, random.random_range(0..5)),
        2 => hello(Whom { member: MemberId(random.random()), ..whom }, random.random_range(0..5)),
        3 => hello(whom, random.random_range(3..=255)),
        4 => {
            let mut bytes = hello(whom, random.random_range(0..4));
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
            bytes
        }
        // Somebody who belongs there, and then says anything.
        5 => [hello(whom, random.random_range(0..2)), random_bytes(random, 300)].concat(),
        6 => {
            let kind = any_kind(random);
            let header = header(random, kind);
            let payload = random_bytes(random, 200);
            [hello(whom, random.random_range(0..2)), frame(header, &payload)].concat()
        }
        _ => {
            let header = FrameHeader {
                from: MemberId(random.random()),
                ..FrameHeader::new(any_kind(random), whom.peer, whom.member)
            };
            [hello(whom, 0), frame(header, &random_bytes(random, 100))].concat()
        }
    }
}

/// Calls a method with bytes that need not be a message.
async fn call(channel: &Channel, method: &str, message: Vec<u8>) {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.expect("the member is there");
    let path = format!("/etcdserverpb.{method}").parse().expect("a path");
    let request = Request::new(Bytes::from(message));
    // Any answer will do, and some streams never end.
    let answer = grpc.unary(request, path, Plain);
    tokio::time::timeout(Duration::from_millis(50), answer).await.ok();
}

/// All there is to know of the data: the keys' hash and revision, the members, who answered.
async fn data(member: &Member) -> (u32, i64, Vec<u64>, u64, u64) {
    let channel = member.channel().await;
    let hash = MaintenanceClient::new(channel.clone()).hash_kv(HashKvRequest { revision: 0 }).await;
    let hash = hash.expect("a hash").into_inner();
    let list = ClusterClient::new(channel).member_list(MemberListRequest::default()).await;
    let header = hash.header.expect("a header");
    let members = list.expect("a list").into_inner().members;
    let members = members.iter().map(|member| member.id).collect();
    (hash.hash, header.revision, members, header.member_id, header.cluster_id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_on_either_port_end_a_member_or_change_its_data() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let urls = Urls::of(3);
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    // What it says of each caller would fill the pipe that nobody reads.
    let start = |n: usize| urls.start_with(n, folders[n].path(), &["--log-level", "error"]);
    let mut members: Vec<Member> = (0..3).map(start).collect();
    for key in ["a", "b", "c"] {
        members[0].put(key, key.into()).await;
    }
    for member in &members {
        member.get("c").await.expect("it has all of them");
    }
    let before = [data(&members[0]).await, data(&members[1]).await, data(&members[2]).await];
    let whom = Whom {
        cluster: ClusterId(before[0].4),
        member: MemberId(before[0].3),
        peer: MemberId(before[1].3),
    };
    let (client, peer) = (urls.client(0).to_owned(), urls.peer(0).to_owned());
    let (client_seed, peer_seed) = (random.random(), random.random());
    let babble = |seed, address: String, what: fn(&mut ChaCha8Rng, Whom) -> Vec<u8>| {
        tokio::task::spawn_blocking(move || {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            for _ in 0..ATTEMPTS {
                say(&address, &what(&mut random, whom));
            }
        })
    };
    let at_client = babble(client_seed, client, |random, _| no_request(random));
    let at_peer = babble(peer_seed, peer, no_peer);
    let channel = members[0].channel().await;
    for _ in 0..ATTEMPTS {
        let mut message = random_bytes(&mut random, 120);
        let method = match random.random_range(0..2) {
            0 => LOOKING[random.random_range(0..LOOKING.len())],
            _ => {
                // A field of a wire type that does not exist: never a message.
                message.push(0x0f);
                CHANGING[random.random_range(0..CHANGING.len())]
            }
        };
        call(&channel, method, message).await;
    }
    call(&channel, "KV/Put", vec![0; 9 << 20]).await;
    at_client.await.expect("it was said");
    at_peer.await.expect("it was said");
    for (n, member) in members.iter_mut().enumerate() {
        assert!(member.process.try_wait().expect("a child").is_none(), "m{n} has ended");
        assert_eq!(data(member).await, before[n], "the data of m{n}");
    }
    members[0].put("after", "all".into()).await;
    assert_eq!(members[2].get("after").await.expect("an answer"), b"all");
    for mut member in members {
        let (code, said) = member.ended();
        assert!(code == Some(0) && !said.contains("panicked"), "{said}");
    }
}
