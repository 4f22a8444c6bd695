//! What comes in a peer's name and is not what a peer would send.

use bytes::Bytes;
use etcd_api::etcdserverpb::request_op::Request;
use etcd_api::etcdserverpb::{
    AlarmRequest, CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest,
};
use node::kv::{Command, CommandId, Op};
use node::transport::{Forwarded, Packet};
use node_protocol::MemberId;
use raft::eraftpb::{Entry, Message, MessageType};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cluster::Cluster;

/// Messages of each kind.
const MESSAGES: u64 = 4_000;

fn op(random: &mut ChaCha8Rng) -> Op {
    let key = Bytes::from(format!("k{}", random.random_range(0..4)));
    let put = PutRequest { key: key.clone(), value: key.clone(), ..PutRequest::default() };
    let range = RangeRequest { key: key.clone(), ..RangeRequest::default() };
    let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
    let (id, ttl_seconds) = (random.random_range(0..4), 5);
    match random.random_range(0..9) {
        0 => Op::Put(put),
        1 => Op::DeleteRange(delete),
        2 => Op::Compact(CompactionRequest { revision: 2, physical: false }),
        3 => Op::LeaseGrant { id, ttl_seconds },
        4 => Op::LeaseRevoke { id },
        5 => Op::Alarm(AlarmRequest { action: 1, member_id: 3, alarm: 1 }),
        6 => Op::ChangeMembers(key),
        7 => Op::Publish {
            member: MemberId(7),
            name: "m".into(),
            client_urls: vec!["http://m.test:1".into()],
            peer_urls: vec![],
        },
        _ => {
            let all = [
                Request::RequestPut(put),
                Request::RequestRange(range),
                Request::RequestDeleteRange(delete),
                Request::RequestTxn(TxnRequest::default()),
            ];
            let ops = |random: &mut ChaCha8Rng| -> Vec<RequestOp> {
                let chosen = all.iter().filter(|_| random.random_bool(0.3)).cloned();
                chosen.map(|request| RequestOp { request: Some(request) }).collect()
            };
            let compare = vec![Compare { key, ..Compare::default() }];
            Op::Txn(TxnRequest { compare, success: ops(random), failure: ops(random) })
        }
    }
}

/// Bytes that were a command, with some of them changed, cut off or put in.
fn mutilated(command: &Command, random: &mut ChaCha8Rng) -> Bytes {
    let mut bytes = command.encode().to_vec();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at, random.random()),
            2 => bytes[at] = random.random(),
            _ => bytes[at] ^= 1 << random.random_range(0..8),
        }
    }
    bytes.into()
}

/// A command that no member could apply would end all of them, at every start again.
#[test]
fn a_forwarded_command_that_is_none_ends_nobody() {
    let mut random = ChaCha8Rng::seed_from_u64(31);
    let mut cluster = Cluster::new(31, 3);
    let leader = cluster.await_leader();
    let peer = (leader + 1) % 3;
    cluster.put(leader, "before", "1");
    let forward = |command| Packet::Forward(Forwarded { again: false, command });
    for bytes in [&b""[..], b"x", &[1; 25], &[1; 33], &[1; 34], &[0xff; 100]] {
        cluster.whisper(peer, leader, forward(Bytes::from_static(bytes)));
    }
    for seq in 1..=MESSAGES {
        let id = CommandId { origin: MemberId(99), boot: 1, seq };
        let command = Command { id, low: 1, op: op(&mut random) };
        let command = mutilated(&command, &mut random);
        cluster.whisper(peer, leader, forward(command));
        cluster.run_millis(1);
    }
    cluster.converge();
    assert_eq!(cluster.hashes(), 1, "whatever was applied, all have applied it");
    for member in 0..3 {
        cluster.crash(member);
        cluster.restart(member);
    }
    cluster.converge();
    assert_eq!(cluster.hashes(), 1, "the log can be applied again");
}

/// Nobody minds a message of a term that is past, whatever else it says.
#[test]
fn old_messages_that_say_anything_change_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(32);
    let mut cluster = Cluster::new(32, 3);
    let first = cluster.await_leader();
    cluster.put(first, "before", "1");
    cluster.isolate(first);
    let leader = cluster.await_leader_but(first);
    cluster.heal();
    cluster.put(leader, "after", "2");
    cluster.converge();
    let term = cluster.term(leader);
    for _ in 0..MESSAGES {
        let (from, to) = (random.random_range(0..3), random.random_range(0..3));
        let mut message = Message::default();
        let kind = random.random_range(0..=i32::from(u8::MAX) % 20);
        let Some(kind) = [
            MessageType::MsgHup,
            MessageType::MsgBeat,
            MessageType::MsgPropose,
            MessageType::MsgAppend,
            MessageType::MsgAppendResponse,
            MessageType::MsgRequestVote,
            MessageType::MsgRequestVoteResponse,
            MessageType::MsgHeartbeat,
            MessageType::MsgHeartbeatResponse,
            MessageType::MsgUnreachable,
            MessageType::MsgSnapStatus,
            MessageType::MsgCheckQuorum,
            MessageType::MsgTransferLeader,
            MessageType::MsgTimeoutNow,
            MessageType::MsgReadIndex,
            MessageType::MsgReadIndexResp,
        ]
        .get(usize::try_from(kind).expect("not negative")) else {
            continue;
        };
        message.set_msg_type(*kind);
        message.from = [cluster.id(from).0, 0, 77][random.random_range(0..3)];
        message.to = [cluster.id(to).0, 0, 77][random.random_range(0..3)];
        message.term = random.random_range(1..term);
        let number = |random: &mut ChaCha8Rng| match random.random_range(0..4) {
            0 => 0,
            1 => random.random_range(0..20),
            2 => u64::MAX - random.random_range(0..3),
            _ => random.random(),
        };
        message.index = number(&mut random);
        message.log_term = number(&mut random);
        message.commit = number(&mut random);
        message.commit_term = number(&mut random);
        message.reject_hint = number(&mut random);
        message.request_snapshot = number(&mut random);
        message.reject = random.random();
        for _ in 0..random.random_range(0..3) {
            let (index, term) = (number(&mut random), number(&mut random));
            let data = Bytes::from(vec![random.random(); 5]);
            message.entries.push(Entry { index, term, data, ..Entry::default() });
        }
        cluster.whisper(from, to, Packet::Raft(Box::new(message)));
        cluster.run_millis(1);
    }
    assert_eq!(cluster.term(leader), term, "nobody has left office for that");
    assert_eq!(cluster.get(leader, "before").0, "1");
    assert_eq!(cluster.get(leader, "after").0, "2");
    cluster.converge();
    assert_eq!(cluster.hashes(), 1);
}
