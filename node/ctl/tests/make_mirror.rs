//! `make-mirror` between clusters of ours, each one member as a process: by `raft-ctl`, and by the
//! stock `etcdctl` where that is installed.
//!
//! ```text
//!  RAFTLAB_NODE     our member's program; beside this test by default
//!  RAFTLAB_ETCD     the folder of etcd and etcdctl; by default they are on the PATH
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_api::etcdserverpb as pb;
use node_oracle::{Programs, ports, raft_node};
use pb::kv_client::KvClient;
use pb::request_op::Request;
use tonic::transport::{Channel, Endpoint};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(50);

const RAFT_CTL: &str = env!("CARGO_BIN_EXE_raft-ctl");

/// A process that ends with its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A cluster of one.
struct Cluster {
    process: Option<Process>,
    /// For clients and for peers.
    ports: Vec<u16>,
    folder: tempfile::TempDir,
}

/// A key space without its history: values, and the revisions of their last change.
type Keys = BTreeMap<String, (String, i64)>;

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let mut cluster = Self { process: None, ports: ports(2), folder };
        cluster.run();
        cluster
    }

    fn run(&mut self) {
        let [client, peer] = [0, 1].map(|at| format!("http://127.0.0.1:{}", self.ports[at]));
        let process = Command::new(raft_node())
            .arg("--data-dir")
            .arg(self.folder.path())
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the member starts");
        self.process = Some(Process(process));
    }

    /// Ends the member at once and starts it again.
    fn crash(&mut self) {
        self.process = None;
        self.run();
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    async fn client(&self) -> KvClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address())).expect("a URL");
        let since = Instant::now();
        loop {
            match endpoint.connect().await {
                Ok(channel) => return KvClient::new(channel),
                Err(error) => assert!(since.elapsed() < PATIENCE, "nobody answers: {error}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Does some things at one revision, once somebody leads; returns that revision.
    async fn write(&self, operations: Vec<Request>) -> i64 {
        let mut client = self.client().await;
        let success =
            operations.into_iter().map(|request| pb::RequestOp { request: Some(request) });
        let request = pb::TxnRequest { success: success.collect(), ..Default::default() };
        let since = Instant::now();
        loop {
            match client.txn(request.clone()).await {
                Ok(answer) => return answer.into_inner().header.expect("a header").revision,
                Err(error) => assert!(since.elapsed() < PATIENCE, "not written: {error}"),
            }
        }
    }

    /// All keys with a prefix.
    async fn keys(&self, prefix: &str) -> Keys {
        let all = pb::RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            ..Default::default()
        };
        let answer = self.client().await.range(all).await.expect("it answers").into_inner();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is text");
        answer
            .kvs
            .iter()
            .map(|kv| (text(&kv.key), (text(&kv.value), kv.mod_revision)))
            .filter(|(key, _)| key.starts_with(prefix))
            .collect()
    }

    /// Waits until some keys have the values of some keys of another cluster; returns how they are
    /// at both, the other's first.
    async fn await_same(
        &self,
        prefix: &str,
        source: &Self,
        of: &str,
        name: impl Fn(&str) -> String,
    ) -> [Keys; 2] {
        let since = Instant::now();
        loop {
            let [theirs, ours] = [source.keys(of).await, self.keys(prefix).await];
            let expected = theirs.iter().map(|(key, (value, _))| (name(key), value));
            let seen = ours.iter().map(|(key, (value, _))| (key.clone(), value));
            if seen.eq(expected) {
                return [theirs, ours];
            }
            assert!(
                since.elapsed() < PATIENCE,
                "{prefix:?} is not {of:?} after {PATIENCE:?}: {} keys for {}, {:?} for {:?}",
                ours.len(),
                theirs.len(),
                ours.last_key_value(),
                theirs.last_key_value(),
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn put(key: impl Into<String>, value: impl Into<String>) -> Request {
    Request::RequestPut(pb::PutRequest {
        key: key.into().into(),
        value: value.into().into(),
        ..Default::default()
    })
}

fn delete(key: &str) -> Request {
    Request::RequestDeleteRange(pb::DeleteRangeRequest {
        key: key.to_owned().into(),
        ..Default::default()
    })
}

/// A client that mirrors, not yet started.
fn make_mirror(program: &Path, source: &Cluster, destination: &Cluster, more: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &source.address(), "make-mirror"])
        .args(more)
        .arg(destination.address())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// How many keys were last written at each revision.
fn sizes(keys: &Keys) -> BTreeMap<i64, usize> {
    let mut sizes = BTreeMap::new();
    for (_, revision) in keys.values() {
        *sizes.entry(*revision).or_default() += 1;
    }
    sizes
}

/// A whole key space: more keys than a page has, written while others are read, then all kinds of
/// changes, and a crash of the source.
async fn mirror_all(program: &Path) {
    let (mut source, destination) = (Cluster::start(), Cluster::start());
    for page in 0..25 {
        let keys = (0..100).map(|n| put(format!("k/{page:02}/{n:02}"), "first"));
        source.write(keys.collect()).await;
    }
    destination.write(vec![put("k/00/00", "what was there before")]).await;
    let mut mirror = Process(
        make_mirror(program, &source, &destination, &[]).spawn().expect("the program starts"),
    );
    for n in 0..100 {
        source.write(vec![put(format!("k/{:02}/00", n % 25), format!("{n}"))]).await;
    }
    let same = |key: &str| key.to_owned();
    destination.await_same("", &source, "", same).await;

    // What is written at one revision here is so there.
    source.write((0..100).map(|n| put(format!("together/{n:02}"), "1")).collect()).await;
    source.write((0..50).map(|n| delete(&format!("together/{n:02}"))).collect()).await;
    source.write(vec![put("other", "1"), delete("together/99"), put("together/50", "2")]).await;
    source.crash();
    source.write(vec![delete("other")]).await;
    source.write(vec![put("after", "the crash"), put("together/51", "3")]).await;
    let [theirs, ours] = destination.await_same("", &source, "", same).await;
    let together = |mut keys: Keys| {
        keys.retain(|key, _| key.starts_with("together/"));
        sizes(&keys).into_values().collect::<Vec<_>>()
    };
    assert_eq!(together(theirs), [47, 1, 1]);
    assert_eq!(together(ours), [47, 1, 1]);
    assert_eq!(mirror.0.try_wait().expect("it is our child"), None, "it goes on");
}

#[tokio::test]
async fn a_key_space_is_mirrored() {
    mirror_all(Path::new(RAFT_CTL)).await;
}

#[tokio::test]
async fn stock_etcdctl_mirrors_a_key_space() {
    let Some(Programs { etcdctl, .. }) = Programs::find() else { return };
    mirror_all(&etcdctl).await;
}

#[tokio::test]
async fn prefixes_take_the_place_of_others() {
    let (source, destination) = (Cluster::start(), Cluster::start());
    let program = Path::new(RAFT_CTL);
    for prefix in ["a/", "b/", "c/"] {
        source.write(vec![put(format!("{prefix}x"), prefix), put("outside", prefix)]).await;
    }
    let flags: [&[&str]; 3] = [
        &["--prefix", "a/", "--max-txn-ops=10"],
        &["--prefix=b/", "--dest-prefix=instead/"],
        &["--prefix=c/", "--no-dest-prefix"],
    ];
    let _mirrors = flags.map(|flags| {
        let mut command = make_mirror(program, &source, &destination, flags);
        Process(command.spawn().expect("the program starts"))
    });
    // Each is past what was there when a change arrives.
    destination.await_same("a/", &source, "a/", str::to_owned).await;
    let instead = |key: &str| key.replace("b/", "instead/");
    destination.await_same("instead/", &source, "b/", instead).await;
    let without = |key: &str| key.replace("c/", "");
    destination.await_same("x", &source, "c/", without).await;

    let many = (0..25).map(|n| put(format!("a/many/{n:02}"), "1"));
    let others = [put("b/b/y", "1"), delete("b/x"), put("c/x", "2"), put("outside", "1")];
    source.write(many.chain(others).collect()).await;
    let [_, ours] = destination.await_same("a/", &source, "a/", str::to_owned).await;
    let many = sizes(&ours.into_iter().filter(|(key, _)| key.contains("many")).collect());
    assert_eq!(many.into_values().collect::<Vec<_>>(), [10, 10, 5], "not more than it may");
    let instead = |key: &str| key.replacen("b/", "instead/", 1);
    destination.await_same("instead/", &source, "b/", instead).await;
    destination.await_same("x", &source, "c/", without).await;
    let all = destination.keys("").await;
    assert!(!all.contains_key("outside"), "{all:?}");
}

#[tokio::test]
async fn changes_alone_are_mirrored_from_a_revision_on_and_never_past_a_compaction() {
    let (source, destination) = (Cluster::start(), Cluster::start());
    source.write(vec![put("old", "1")]).await;
    let second = source.write(vec![put("a", "1")]).await;
    let third = source.write(vec![put("a", "2"), put("b", "1")]).await;
    let from = format!("--rev={second}");
    let mirror = make_mirror(Path::new(RAFT_CTL), &source, &destination, &[&from]).spawn();
    let mirror = Process(mirror.expect("the program starts"));
    destination.await_same("a", &source, "a", str::to_owned).await;
    destination.await_same("b", &source, "b", str::to_owned).await;
    assert_eq!(destination.keys("old").await, Keys::new(), "it is older");
    drop(mirror);

    let mut client = source.client().await;
    let compaction = pb::CompactionRequest { revision: third, physical: true };
    client.compact(compaction).await.expect("it compacts");
    let output = make_mirror(Path::new(RAFT_CTL), &source, &destination, &[&from])
        .output()
        .expect("the program ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let clear = format!("the source has compacted up to revision {third}");
    assert!(said.contains(&clear), "{said}");
    let last = "Error: etcdserver: mvcc: required revision has been compacted";
    assert_eq!(said.lines().last(), Some(last));
}
