//! The shipped program with a damaged file: it ends with code 1, names the file and says what to do.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_api::etcdserverpb::kv_client::KvClient;
use etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_api::etcdserverpb::{PutRequest, RangeRequest, StatusRequest};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is flipped is found by this.
const NEEDLE: &str = "a value that is easily found again";

/// A member as a process.
struct Member {
    process: Child,
    client_url: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The URLs of a cluster's members: for clients, for peers.
struct Urls(Vec<[String; 2]>);

impl Urls {
    /// Free ports, each held until all are chosen.
    fn of(members: usize) -> Self {
        let socket = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let held: Vec<_> = (0..members).map(|_| [socket(), socket()]).collect();
        let url =
            |socket: &TcpListener| format!("http://{}", socket.local_addr().expect("it is bound"));
        Self(held.iter().map(|[client, peer]| [url(client), url(peer)]).collect())
    }

    /// Starts one of the members.
    fn start(&self, n: usize, data_dir: &Path) -> Member {
        let initial: Vec<String> =
            self.0.iter().enumerate().map(|(n, [_, peer])| format!("m{n}={peer}")).collect();
        let [client, peer] = &self.0[n];
        let process = Command::new(env!("CARGO_BIN_EXE_raft-node"))
            .args(["--name", &format!("m{n}"), "--exit-on-stdin-eof"])
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &initial.join(",")])
            // Few entries are kept for a member that was away: it gets a snapshot.
            .args(["--snapshot-count", "10", "--experimental-snapshot-catchup-entries", "5"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Member { process, client_url: client.clone() }
    }
}

impl Member {
    /// A cluster of one.
    fn start(data_dir: &Path) -> Self {
        Urls::of(1).start(0, data_dir)
    }

    /// Waits until the process ends by itself: its exit code, and all it said.
    fn ended(&mut self) -> (Option<i32>, String) {
        drop(self.process.stdin.take());
        self.fallen()
    }

    /// The same, with its standard input left open.
    fn fallen(&mut self) -> (Option<i32>, String) {
        let mut stderr = self.process.stderr.take().expect("nobody else reads it");
        // Read beside the wait, or a full pipe would hold the process up.
        let reading = std::thread::spawn(move || {
            let mut said = String::new();
            stderr.read_to_string(&mut said).expect("it is text");
            said
        });
        let since = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                return (status.code(), reading.join().expect("it ends with the process"));
            }
            assert!(since.elapsed() < PATIENCE, "the process is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.client_url.clone()).expect("a URL");
        let since = Instant::now();
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(error) => assert!(since.elapsed() < PATIENCE, "nobody answers: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it leads, by its own account.
    async fn leads(&self) -> bool {
        let mut client = MaintenanceClient::new(self.channel().await);
        let status = client.status(StatusRequest {}).await.expect("it answers").into_inner();
        status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader)
    }

    /// Reads a key.
    async fn get(&self, key: &str) -> Result<Vec<u8>, Status> {
        let mut client = KvClient::new(self.channel().await);
        let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        let answer = client.range(request).await?.into_inner();
        Ok(answer.kvs.first().map(|kv| kv.value.to_vec()).unwrap_or_default())
    }

    /// Writes a key, once somebody leads.
    async fn put(&self, key: &str, value: Vec<u8>) {
        let mut client = KvClient::new(self.channel().await);
        let since = Instant::now();
        loop {
            let (key, value) = (key.to_owned().into(), value.clone().into());
            match client.put(PutRequest { key, value, ..PutRequest::default() }).await {
                Ok(_) => return,
                Err(error) => assert!(since.elapsed() < PATIENCE, "not written: {error}"),
            }
        }
    }
}

/// Flips one bit of each copy of [`NEEDLE`] in a file; how many there were.
fn damage(path: &Path) -> usize {
    let bytes = fs::read(path).expect("the file is there");
    let file = fs::OpenOptions::new().write(true).open(path).expect("the file can be written");
    let needle = NEEDLE.as_bytes();
    let places: Vec<usize> = (0..bytes.len().saturating_sub(needle.len()))
        .filter(|at| bytes[*at] == needle[0] && bytes[*at..].starts_with(needle))
        .collect();
    for at in &places {
        file.write_at(&[bytes[*at] ^ 0x10], *at as u64).expect("it is written");
    }
    places.len()
}

fn state_file(folder: &Path) -> PathBuf {
    folder.join("member/state.redb")
}

fn check_words(said: &str, path: &Path) {
    let last = said.lines().rev().find(|line| line.starts_with("raft-node: ")).unwrap_or_default();
    for words in [&path.display().to_string(), "is damaged", "etcdctl member remove", "member add"]
    {
        assert!(last.contains(words), "no {words:?} in: {said}");
    }
}

/// A member with one key, stopped in order.
async fn stopped_member(folder: &Path) {
    let mut member = Member::start(folder);
    member.put("key", NEEDLE.into()).await;
    member.put("later", "x".into()).await;
    let (code, said) = member.ended();
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_damaged_log_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a directory");
    stopped_member(folder.path()).await;
    let wal = folder.path().join("member/wal");
    let files = fs::read_dir(&wal).expect("it is there").map(|entry| entry.expect("it is there"));
    let damaged: Vec<PathBuf> =
        files.map(|file| file.path()).filter(|path| damage(path) > 0).collect();
    let [damaged] = &damaged[..] else { panic!("{damaged:?} had the value") };
    let (code, said) = Member::start(folder.path()).fallen();
    assert_eq!(code, Some(1), "{said}");
    check_words(&said, damaged);
}

#[tokio::test]
async fn a_damaged_state_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a directory");
    stopped_member(folder.path()).await;
    assert!(damage(&state_file(folder.path())) > 0);
    let (code, said) = Member::start(folder.path()).fallen();
    assert_eq!(code, Some(1), "{said}");
    check_words(&said, &state_file(folder.path()));
}

#[tokio::test]
async fn a_state_that_rots_under_a_running_member_ends_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut member = Member::start(folder.path());
    member.put("key", NEEDLE.into()).await;
    // More than the member keeps in RAM of what it wrote and of what it read.
    for n in 0..130 {
        member.put(&format!("large-{n}"), vec![n; 1 << 20]).await;
    }
    assert!(damage(&state_file(folder.path())) > 0, "it was flushed long ago");
    let error = member.get("key").await.expect_err("no answer has the damaged value in it");
    let (code, said) = member.fallen();
    assert_eq!(code, Some(1), "{error}: {said}");
    check_words(&said, &state_file(folder.path()));
}

#[tokio::test]
async fn a_rotten_snapshot_ends_who_would_send_it_and_the_others_go_on() {
    let urls = Urls::of(3);
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let mut members: Vec<Member> = (0..3).map(|n| urls.start(n, folders[n].path())).collect();
    members[0].put("key", NEEDLE.into()).await;
    let mut leader = 0;
    while !members[leader].leads().await {
        leader = (leader + 1) % 3;
    }
    let (away, other) = ((leader + 1) % 3, (leader + 2) % 3);
    members[away].process.kill().expect("it runs");
    // More than the leader keeps in RAM of what it read or wrote.
    for n in 0..90 {
        members[leader].put(&format!("large-{n}"), vec![n; 1 << 20]).await;
    }
    assert!(members[leader].leads().await, "nothing has happened to it");
    assert!(damage(&state_file(folders[leader].path())) > 0, "it was flushed long ago");
    members[away].process.wait().expect("it was killed");
    members[away] = urls.start(away, folders[away].path());
    let (code, said) = members[leader].fallen();
    assert_eq!(code, Some(1), "{said}");
    check_words(&said, &state_file(folders[leader].path()));

    // Of the two that are left each has all that was written, the damaged value among it.
    members[other].put("after", "x".into()).await;
    let since = Instant::now();
    loop {
        match members[away].get("key").await {
            Ok(value) => return assert_eq!(value, NEEDLE.as_bytes()),
            Err(error) => assert!(since.elapsed() < PATIENCE, "it has not caught up: {error}"),
        }
    }
}
