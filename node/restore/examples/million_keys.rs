//! A million keys saved, restored and served again, and how much memory each step takes at most.
//!
//! `million_keys NODE CTL [KEYS]`: the programs, and how many keys of 256 bytes. It ends with 1
//! when a program peaks at more than 512 MiB above what it takes at rest, or a key is missing.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

#[path = "../tests/member/mod.rs"]
#[expect(dead_code, reason = "leases and hashes are asked for by tests")]
mod member;

use etcd_api::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest, request_op};
use member::Member;
use tokio::task::JoinSet;

/// What a program may take above its rest, in MiB.
const ALLOWED_MIB: u64 = 512;

const VALUE_BYTES: usize = 256;
const AT_ONCE: usize = 100;
const WRITERS: usize = 8;

/// How long a member is left alone before what it takes counts as its rest.
const REST: Duration = Duration::from_secs(5);

/// A number of MiB in what the system says of a process.
fn memory(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// From here on the peak counts anew.
fn forget_peak(process: u32) {
    fs::write(format!("/proc/{process}/clear_refs"), "5").expect("the process is ours");
}

/// Runs a command; returns its peak in MiB and how long it took.
fn peak_of(command: &mut Command) -> (u64, Duration) {
    let since = Instant::now();
    let mut process: Child = command.stdin(Stdio::null()).spawn().expect("the program starts");
    let mut peak = 0;
    let status = loop {
        peak = peak.max(memory(process.id(), "VmHWM"));
        if let Some(status) = process.try_wait().expect("it is our child") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{command:?}: {status}");
    (peak, since.elapsed())
}

fn key(number: usize) -> Vec<u8> {
    format!("key/{number:08}").into_bytes()
}

async fn fill(member: &Member, keys: usize) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut kv = member.kv();
        writers.spawn(async move {
            let own: Vec<usize> = (0..keys).filter(|n| n / AT_ONCE % WRITERS == writer).collect();
            for numbers in own.chunks(AT_ONCE) {
                let put = |n: &usize| {
                    let value = format!("{n:08}").into_bytes().repeat(VALUE_BYTES / 8);
                    let put = PutRequest {
                        key: key(*n).into(),
                        value: value.into(),
                        ..PutRequest::default()
                    };
                    RequestOp { request: Some(request_op::Request::RequestPut(put)) }
                };
                let success = numbers.iter().map(put).collect();
                let txn = TxnRequest { success, ..TxnRequest::default() };
                kv.txn(txn).await.expect("a transaction");
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.expect("a writer ends");
    }
}

async fn count(member: &Member) -> i64 {
    let all = RangeRequest {
        key: b"key/".to_vec().into(),
        range_end: b"key0".to_vec().into(),
        count_only: true,
        ..RangeRequest::default()
    };
    member.kv().range(all).await.expect("a count").into_inner().count
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [node, ctl, rest @ ..] = arguments.as_slice() else {
        eprintln!("million_keys NODE CTL [KEYS]: say where raft-node and raft-ctl are");
        return ExitCode::FAILURE;
    };
    let keys = rest.first().map_or(1_000_000, |keys| keys.parse().expect("a number of keys"));
    let (node, ctl) = (Path::new(node), Path::new(ctl));
    let folder = tempfile::tempdir().expect("a folder");
    let mut holds = true;
    let mut judge = |what: &str, peak: u64, rest: u64, took: Duration| {
        let above = peak.saturating_sub(rest);
        let seconds = took.as_secs_f64();
        println!("{what}: {peak} MiB at most, {above} above {rest} at rest; {seconds:.1} s");
        holds &= above <= ALLOWED_MIB;
    };

    let member = Member::start(node, folder.path(), "first", None).await;
    let since = Instant::now();
    fill(&member, keys).await;
    println!("{keys} keys of {VALUE_BYTES} bytes put in {:.1} s", since.elapsed().as_secs_f64());
    tokio::time::sleep(REST).await;
    let rest = memory(member.process(), "VmRSS");
    forget_peak(member.process());
    let since = Instant::now();
    let saved = member.save(ctl, &folder.path().join("saved.db"));
    judge(
        "serving member, while it is saved",
        memory(member.process(), "VmHWM"),
        rest,
        since.elapsed(),
    );
    drop(member);

    let data = folder.path().join("timed.etcd");
    let mut restore = Command::new(ctl);
    restore.args(["snapshot", "restore"]).arg(&saved).arg("--data-dir").arg(&data);
    let (peak, took) = peak_of(&mut restore);
    judge("raft-ctl snapshot restore", peak, 0, took);
    fs::remove_dir_all(&data).expect("it was made");

    let since = Instant::now();
    let again = Member::start(node, folder.path(), "second", Some((ctl, &saved))).await;
    let took = since.elapsed();
    let found = count(&again).await;
    tokio::time::sleep(REST).await;
    let rest = memory(again.process(), "VmRSS");
    judge("first start of the restored member", memory(again.process(), "VmHWM"), rest, took);
    println!("{found} of {keys} keys are served");
    holds &= found == keys as i64;
    println!("{}", if holds { "holds" } else { "does not hold" });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
