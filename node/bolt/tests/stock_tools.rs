//! etcd's own tools and etcd itself take our images, and we read theirs.
//!
//! `node-oracle` says where `etcd` and `etcdctl` are taken from. Where `etcdutl` is beside them it
//! does what was `etcdctl`'s up to 3.4.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use etcd_api::mvccpb::KeyValue;
use node_bolt::format::PageSize;
use node_bolt::schema::{
    self, Lease, Member, MetaRows, REMOVED, RevisionKey, member_id, member_key,
};
use node_bolt::{Image, Plan, Reader, WriteError, split_hash};
use node_oracle::Programs;
use prost::Message;

/// How long a member may take to answer its first read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keys of the first revisions; the first of all is 2.
const KEYS: i64 = 5_000;
const REWRITTEN: i64 = 1_000;
/// A transaction of two writes.
const TWO_AT_ONCE: i64 = 2 + KEYS + REWRITTEN;
const DELETED: i64 = TWO_AT_ONCE + 1;
const LEASED: i64 = DELETED + 1;
const LEASE: i64 = 0x1234;
/// Longer than any page.
const LARGE_BYTES: usize = 100_000;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type Buckets = BTreeMap<Vec<u8>, Rows>;

fn key(number: i64) -> Vec<u8> {
    format!("k/{number:05}").into_bytes()
}

/// A row of a put, as etcd has it.
fn put(main: i64, sub: i64, pair: &KeyValue) -> (Vec<u8>, Vec<u8>) {
    let key = RevisionKey { main, sub, tombstone: false };
    (key.to_bytes(), KeyValue { mod_revision: main, ..pair.clone() }.encode_to_vec())
}

/// A first version, written at `main`.
fn first(main: i64, key: Vec<u8>, value: Vec<u8>) -> KeyValue {
    let (key, value) = (key.into(), value.into());
    KeyValue { key, value, create_revision: main, version: 1, ..KeyValue::default() }
}

/// The history that every test has.
fn key_rows() -> Rows {
    let mut rows = Rows::new();
    for number in 0..KEYS {
        let main = 2 + number;
        rows.extend([put(main, 0, &first(main, key(number), format!("first {number}").into()))]);
    }
    for number in 0..REWRITTEN {
        let created = first(2 + number, key(number), format!("second {number}").into());
        rows.extend([put(2 + KEYS + number, 0, &KeyValue { version: 2, ..created })]);
    }
    for (sub, name) in [(0, "one"), (1, "two")] {
        let pair = first(TWO_AT_ONCE, name.into(), vec![b'x'; LARGE_BYTES]);
        rows.extend([put(TWO_AT_ONCE, sub, &pair)]);
    }
    let deleted = RevisionKey { main: DELETED, sub: 0, tombstone: true };
    let tombstone = KeyValue { key: key(0).into(), ..KeyValue::default() };
    rows.insert(deleted.to_bytes(), tombstone.encode_to_vec());
    let leased = first(LEASED, b"leased".to_vec(), b"value".to_vec());
    rows.extend([put(LEASED, 0, &KeyValue { lease: LEASE, ..leased })]);
    rows
}

fn buckets() -> Buckets {
    let mut buckets: Buckets =
        schema::BUCKETS.iter().map(|name| (name.to_vec(), Rows::new())).collect();
    let lease = Lease { id: LEASE, ttl_seconds: 3_600, remaining_ttl_seconds: 0 };
    // A member that does not outlive the restoring, and one that is gone already.
    let member = Member {
        id: 0xabc,
        peer_urls: vec!["http://127.0.0.1:1".to_owned()],
        name: "former".to_owned(),
        ..Member::default()
    };
    let meta = MetaRows { consistent_index: Some(7_000), term: Some(3), ..MetaRows::default() };
    let meta = meta.rows().map(|(key, value)| (key.to_vec(), value)).collect();
    for (name, rows) in [
        (schema::KEY, key_rows()),
        (schema::LEASE, Rows::from([(lease.key().to_vec(), lease.value())])),
        (schema::MEMBERS, Rows::from([(member_key(member.id), member.value())])),
        (schema::MEMBERS_REMOVED, Rows::from([(member_key(0xdef), REMOVED.to_vec())])),
        (schema::META, meta),
    ] {
        buckets.insert(name.to_vec(), rows);
    }
    buckets
}

fn write(buckets: &Buckets, path: &Path) -> u64 {
    let fill = |image: &mut Image<'_>| -> Result<(), WriteError> {
        for (name, rows) in buckets {
            image.bucket(name)?;
            rows.iter().try_for_each(|(key, value)| image.pair(key, value))?;
        }
        Ok(())
    };
    let plan = Plan::measure(PageSize::default(), fill).expect("the rows are right");
    let mut file = File::create(path).expect("a file");
    plan.write_with_hash(&mut file, fill).expect("it is written");
    plan.image_bytes()
}

fn read(file: impl Read + Seek) -> Buckets {
    let mut reader = Reader::open(file).expect("an image");
    assert_eq!(reader.damaged_meta(), None);
    let mut all = Buckets::new();
    for name in reader.buckets().expect("the root bucket is sound") {
        let pairs = reader.bucket(&name).expect("its root is sound").expect("it is there");
        let rows = pairs.map(|pair| pair.map(|pair| (pair.key, pair.value)));
        all.insert(name, rows.collect::<Result<_, _>>().expect("its pages are sound"));
    }
    all
}

/// The programs of one release.
struct Tools(Programs);

impl Tools {
    /// None if they are not here.
    fn find() -> Option<Self> {
        Programs::find().map(Self)
    }

    /// A program from where etcd is.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.etcd.with_file_name(name));
        command.env("ETCDCTL_API", "3").stdin(Stdio::null());
        command
    }

    fn has(&self, name: &str) -> bool {
        self.command(name).arg("version").output().is_ok_and(|output| output.status.success())
    }

    /// Runs the program that has `snapshot status` and `snapshot restore`.
    fn snapshot(&self, arguments: &[&str]) -> String {
        let name = if self.has("etcdutl") { "etcdutl" } else { "etcdctl" };
        let mut command = self.command(name);
        done(arguments, &command.arg("snapshot").args(arguments).output().expect("it starts"))
    }
}

/// What a program printed; it must have been content.
fn done(asked: &[&str], output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{asked:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An etcd of one member; it ends with this.
struct Etcd<'a> {
    tools: &'a Tools,
    child: Child,
    endpoint: String,
}

impl Drop for Etcd<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl<'a> Etcd<'a> {
    /// Serves what was restored from `snapshot` into `folder`.
    fn restored(tools: &'a Tools, snapshot: &Path, folder: &Path) -> Self {
        let held = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [endpoint, peer] = held
            .each_ref()
            .map(|socket| format!("http://{}", socket.local_addr().expect("it is bound")));
        let cluster = format!("m={peer}");
        let data = folder.join("data").display().to_string();
        let identity = [
            ["--name", "m"],
            ["--data-dir", &data],
            ["--initial-cluster", &cluster],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster-token", "restored"],
        ]
        .concat();
        let snapshot = snapshot.display().to_string();
        tools.snapshot(&[&["restore", &snapshot], identity.as_slice()].concat());
        drop(held);
        let log = File::create(folder.join("etcd.log")).expect("a file for its output");
        let child = tools
            .command("etcd")
            .args(identity)
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer])
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        let etcd = Self { tools, child, endpoint };
        let since = Instant::now();
        while !etcd.ask(&["get", "k/00001"]).status.success() {
            let log = || fs::read_to_string(folder.join("etcd.log")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "no answer in {PATIENCE:?}: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        etcd
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = self.tools.command("etcdctl");
        command.args(["--endpoints", &self.endpoint]).args(arguments).output().expect("it starts")
    }

    fn said(&self, arguments: &[&str]) -> String {
        done(arguments, &self.ask(arguments))
    }

    fn value(&self, arguments: &[&str]) -> String {
        self.said(&[&["get", "--print-value-only"], arguments].concat()).trim_end().to_owned()
    }

    /// How many keys begin with `prefix`.
    fn count(&self, prefix: &str) -> i64 {
        let answer = self.said(&["get", "--prefix", prefix, "--keys-only"]);
        answer.lines().map(|line| i64::from(!line.is_empty())).sum()
    }

    /// What it saves, with its hash looked at.
    fn saved(&self, path: &Path) -> Buckets {
        self.said(&["snapshot", "save", &path.display().to_string()]);
        let mut file = File::open(path).expect("it was saved");
        let split = split_hash(&mut file).expect("the hash is right");
        assert!(split.hash.is_some(), "the hash is there");
        read(file)
    }
}

fn rows<'a>(buckets: &'a Buckets, name: &[u8]) -> &'a Rows {
    buckets.get(name).expect("the bucket is there")
}

fn meta(buckets: &Buckets) -> MetaRows {
    let mut meta = MetaRows::default();
    for (key, value) in rows(buckets, schema::META) {
        meta.take(key, value).expect("a row of etcd");
    }
    meta
}

#[test]
fn the_stock_status_counts_what_we_wrote() {
    let Some(tools) = Tools::find() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("snapshot.db");
    let buckets = buckets();
    let bytes = write(&buckets, &path);
    let status = tools.snapshot(&["status", &path.display().to_string(), "-w", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["revision"], LEASED);
    assert_eq!(status["totalKey"], buckets.values().map(Rows::len).sum::<usize>());
    assert_eq!(status["totalSize"], bytes);
}

#[test]
fn etcd_serves_what_we_wrote_and_we_read_what_it_saves() {
    let Some(tools) = Tools::find() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("snapshot.db");
    let written = buckets();
    write(&written, &path);
    let etcd = Etcd::restored(&tools, &path, folder.path());

    reads(&etcd);
    let saved = etcd.saved(&folder.path().join("before.db"));
    for name in [schema::KEY, schema::LEASE] {
        assert!(rows(&saved, name) == rows(&written, name), "{} differs", name.escape_ascii());
    }
    // 3.4 does not look at these rows and leaves the former member's where it is.
    let members = rows(&saved, schema::MEMBERS).iter();
    let members = members.map(|(key, value)| Member::from_row(key, value).expect("etcd's row"));
    assert_eq!(members.filter(|member| member.name == "m" && !member.is_learner).count(), 1);
    for key in rows(&saved, schema::MEMBERS_REMOVED).keys() {
        member_id(key).expect("a row of etcd");
    }
    assert!(meta(&saved).consistent_index.is_some());

    shrinks_and_grows(&etcd);
    let saved = etcd.saved(&folder.path().join("after.db"));
    assert_eq!(meta(&saved).finished_compact, Some(LEASED + 1));
    assert_eq!(meta(&saved).scheduled_compact, Some(LEASED + 1));
    // Its file as a killed member leaves it.
    drop(etcd);
    let left = File::open(folder.path().join("data/member/snap/db")).expect("a database");
    assert!(rows(&read(left), schema::KEY) == rows(&saved, schema::KEY), "other rows were left");
}

/// The same reads as of a member that wrote it all itself.
fn reads(etcd: &Etcd<'_>) {
    assert_eq!(etcd.count("k/"), KEYS - 1);
    assert_eq!(etcd.value(&["k/00007"]), "second 7");
    assert_eq!(etcd.value(&["k/04999"]), "first 4999");
    assert_eq!(etcd.value(&["k/00000"]), "");
    assert_eq!(etcd.value(&["k/00000", "--rev", &(DELETED - 1).to_string()]), "second 0");
    assert_eq!(etcd.value(&["k/00007", "--rev", &(1 + KEYS).to_string()]), "first 7");
    assert_eq!(etcd.value(&["two"]).len(), LARGE_BYTES);
    let lease = etcd.said(&["lease", "timetolive", "1234", "--keys"]);
    assert!(lease.contains("granted with TTL(3600s)"), "{lease}");
    assert!(lease.contains("attached keys([leased])"), "{lease}");
}

/// Compacting away whole pages makes bbolt merge ours, writing makes it split them.
fn shrinks_and_grows(etcd: &Etcd<'_>) {
    assert_eq!(etcd.said(&["del", "k/00", "k/049"]).trim(), "4899");
    let compacted = (LEASED + 1).to_string();
    etcd.said(&["compaction", "--physical", &compacted]);
    let old = etcd.ask(&["get", "k/00007", "--rev", &LEASED.to_string()]);
    let error = String::from_utf8_lossy(&old.stderr).into_owned();
    assert!(error.contains("required revision has been compacted"), "{error}");
    for number in 0..20 {
        etcd.said(&["put", &format!("new/{number}"), &"y".repeat(5_000)]);
    }
    etcd.said(&["defrag"]);
    assert_eq!(etcd.count("k/"), 100);
    assert_eq!(etcd.count("new/"), 20);
    assert_eq!(etcd.value(&["k/04900"]), "first 4900");
    assert_eq!(etcd.value(&["leased"]), "value");
}
