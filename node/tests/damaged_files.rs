//! The shipped program with a damaged file: it ends with code 1, names the file and says what to do.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_api::etcdserverpb::kv_client::KvClient;
use etcd_api::etcdserverpb::{PutRequest, RangeRequest};
use tonic::transport::Channel;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is flipped is found by this.
const NEEDLE: &str = "a value that is easily found again";

/// A cluster of one, as a process.
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

impl Member {
    fn start(folder: &Path) -> Self {
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [client, peer] =
            held.map(|socket| format!("http://{}", socket.local_addr().expect("it is bound")));
        let process = Command::new(env!("CARGO_BIN_EXE_raft-node"))
            .args(["--name", "m1", "--exit-on-stdin-eof"])
            .arg("--data-dir")
            .arg(folder)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("m1={peer}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Self { process, client_url: client }
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

    async fn client(&self) -> KvClient<Channel> {
        let since = Instant::now();
        loop {
            match KvClient::connect(self.client_url.clone()).await {
                Ok(client) => return client,
                Err(error) => assert!(since.elapsed() < PATIENCE, "nobody answers: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Writes a key, once somebody leads.
    async fn put(&self, key: &str, value: Vec<u8>) {
        let mut client = self.client().await;
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
    let asked = RangeRequest { key: "key".into(), ..RangeRequest::default() };
    let answer = member.client().await.range(asked).await;
    let error = answer.expect_err("no answer has the damaged value in it");
    let (code, said) = member.fallen();
    assert_eq!(code, Some(1), "{error}: {said}");
    check_words(&said, &state_file(folder.path()));
}
