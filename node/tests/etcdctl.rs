//! The stock `etcdctl` against three of our members and three of real etcd: the same answers.
//!
//! Real etcd is the oracle. What may differ is taken out of the text before it is compared: ids,
//! ports, sizes, log indexes, versions and times. Needs `etcd` and `etcdctl` (Debian:
//! `apt-get install etcd-server etcd-client`); without them the test says so, and fails in CI.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a cluster may take to answer its first write.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three members of one kind; they end with it.
struct Cluster {
    members: Vec<Child>,
    clients: Vec<String>,
    peers: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            // It may have ended already.
            member.kill().ok();
            member.wait().ok();
        }
    }
}

/// Free ports, each held until all are chosen.
fn ports(count: usize) -> Vec<u16> {
    let held: Vec<_> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|socket| socket.local_addr().expect("it is bound").port()).collect()
}

impl Cluster {
    fn start(program: &Path, ports: &[u16]) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let (clients, peers): (Vec<_>, Vec<_>) =
            (ports[..3].iter().map(url).collect(), ports[3..].iter().map(url).collect());
        let initial: Vec<_> =
            peers.iter().zip(1..).map(|(peer, n)| format!("m{n}={peer}")).collect();
        let members = (0..3)
            .map(|n| {
                let output = std::fs::File::create(folder.path().join(format!("m{n}.log")))
                    .expect("a file for its output");
                Command::new(program)
                    .args(["--name", &format!("m{}", n + 1)])
                    .arg("--data-dir")
                    .arg(folder.path().join(format!("m{}", n + 1)))
                    .args(["--listen-client-urls", &clients[n]])
                    .args(["--advertise-client-urls", &clients[n]])
                    .args(["--listen-peer-urls", &peers[n]])
                    .args(["--initial-advertise-peer-urls", &peers[n]])
                    .args(["--initial-cluster", &initial.join(",")])
                    .args(["--initial-cluster-token", "transcript"])
                    .args(["--initial-cluster-state", "new"])
                    .stdin(Stdio::null())
                    .stdout(output.try_clone().expect("a second handle"))
                    .stderr(output)
                    .spawn()
                    .expect("a member starts")
            })
            .collect();
        let cluster = Self { members, clients, peers, _folder: folder };
        let since = Instant::now();
        while !cluster.etcdctl(&["put", "first", "1"], "").ends_with("OK\n") {
            assert!(since.elapsed() < PATIENCE, "no leader in {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        // A member's name and URLs come a moment after the first write.
        while self_described(&cluster) < 3 {
            assert!(since.elapsed() < PATIENCE, "not all members published themselves");
            std::thread::sleep(Duration::from_millis(100));
        }
        cluster
    }

    /// Everything `etcdctl` says, in whichever stream.
    fn etcdctl(&self, arguments: &[&str], input: &str) -> String {
        let mut process = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.clients.join(",")])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl starts");
        let mut stdin = process.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("etcdctl reads its input");
        drop(stdin);
        let output = process.wait_with_output().expect("etcdctl ends");
        String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned()
    }

    /// What a watch says until it has said `lines` lines.
    fn watch(&self, arguments: &[&str], lines: usize) -> String {
        let mut process = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.clients.join(",")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("etcdctl starts");
        let mut output = process.stdout.take().expect("piped");
        let mut said = Vec::new();
        let mut byte = [0];
        while said.iter().filter(|byte| **byte == b'\n').count() < lines
            && output.read(&mut byte).is_ok_and(|read| read == 1)
        {
            said.push(byte[0]);
        }
        process.kill().expect("a watch runs until it is ended");
        process.wait().expect("it has ended");
        String::from_utf8(said).expect("keys and values here are text")
    }

    /// A text without what may differ between two clusters.
    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (kind, urls) in [("client", &self.clients), ("peer", &self.peers)] {
            for (n, url) in urls.iter().enumerate() {
                text = text.replace(url, &format!("<{kind} {}>", n + 1));
                let bare = url.trim_start_matches("http://");
                text = text.replace(bare, &format!("<{kind} {}>", n + 1));
            }
        }
        let mut ids = BTreeMap::new();
        let words: Vec<_> = text
            .lines()
            // The client's own log: retries name addresses and times.
            .filter(|line| !line.starts_with('{'))
            .map(|line| {
                line.split_inclusive([' ', ',', '|', '(', ')'])
                    .map(|word| plain_word(word, &mut ids))
                    .collect::<String>()
            })
            .collect();
        words.join("\n")
    }
}

fn self_described(cluster: &Cluster) -> usize {
    cluster.etcdctl(&["member", "list"], "").matches("started, m").count()
}

/// Ids are numbered as they come, durations are all alike.
fn plain_word(word: &str, ids: &mut BTreeMap<String, usize>) -> String {
    let bare = word.trim_end_matches([' ', ',', '|', '(', ')']);
    let rest = &word[bare.len()..];
    let is_id = bare.len() >= 15 && bare.chars().all(|letter| letter.is_ascii_hexdigit());
    if is_id {
        let next = ids.len() + 1;
        let number = *ids.entry(bare.to_owned()).or_insert(next);
        return format!("<id {number}>{rest}");
    }
    let is_duration = ["ms", "µs", "s"].iter().any(|unit| {
        bare.strip_suffix(unit)
            .is_some_and(|number| number.contains('.') && number.parse::<f64>().is_ok())
    });
    if is_duration { format!("<time>{rest}") } else { word.to_owned() }
}

/// The columns of `endpoint status -w table` that do not depend on the kind of server, sorted.
fn status_rows(table: &str) -> Vec<String> {
    let mut rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            // Without id, version and size, and without the log's indexes.
            [&cells[1..2], &cells[5..8], &cells[10..11]].concat().join(" | ")
        })
        .collect();
    // Who leads is chance; that one does is not.
    let leaders = rows.iter().filter(|row| row.contains("true | false")).count();
    rows.iter_mut().for_each(|row| *row = row.replace("true | false", "false | false"));
    rows.push(format!("{leaders} leads"));
    rows
}

fn transcript(cluster: &Cluster) -> Vec<(String, String)> {
    let mut said = Vec::new();
    let mut note = |what: &str, text: String| said.push((what.to_owned(), text));
    let run = |line: &str| cluster.plain(&cluster.etcdctl(&words(line), ""));
    for line in [
        "put greeting hello",
        "put greeting again --prev-kv",
        "put a/1 one",
        "put a/2 two",
        "put a/3 three",
        "get greeting",
        "get --prefix a/",
        "get --prefix a/ --limit=2 --sort-by=KEY --order=DESCEND",
        "get --prefix a/ --keys-only",
        "get greeting --rev=3",
        "get nobody",
        "get --prefix a/ -w fields --count-only",
        "del a/2",
        "del a/2",
        "del --prefix a/ --prev-kv",
        "del nobody",
        "put a/4 four",
        "put --ignore-value nobody",
        "put --lease=1234 leased x",
        "get greeting --consistency=s",
    ] {
        note(line, run(line));
    }
    let compare =
        "value(\"greeting\") = \"again\"\n\nput greeting third\nget a/4\n\nget greeting\n\n";
    for round in ["the comparison holds", "the comparison fails"] {
        note(&format!("txn: {round}"), cluster.plain(&cluster.etcdctl(&["txn"], compare)));
    }
    let watch = ["watch", "greeting", "--rev=2", "--prev-kv"];
    note("watch greeting --rev=2 --prev-kv", cluster.watch(&watch, 13));
    note("watch --prefix a/ --rev=2", cluster.watch(&["watch", "--prefix", "a/", "--rev=2"], 18));

    let granted = cluster.etcdctl(&["lease", "grant", "60"], "");
    let lease = granted.split_whitespace().nth(1).unwrap_or_default().to_owned();
    note("lease grant 60", cluster.plain(&granted));
    note("put --lease", run(&format!("put --lease={lease} leased x")));
    note("keep-alive", run(&format!("lease keep-alive --once {lease}")));
    let alive = run(&format!("lease timetolive --keys {lease}"));
    note("timetolive", alive.replace("remaining(59s)", "remaining(60s)"));
    note("lease list", run("lease list"));
    note("lease revoke", run(&format!("lease revoke {lease}")));
    note("after revoke", run("get leased"));
    note("revoke again", run(&format!("lease revoke {lease}")));
    note("lease grant 0", run("lease grant 0"));

    for line in ["compaction 5", "compaction 5", "compaction 100000", "get greeting --rev=4"] {
        note(line, run(line));
    }
    note("member list", run("member list"));
    note("member list -w table", run("member list -w table"));
    let mut health: Vec<_> = run("endpoint health --cluster").lines().map(str::to_owned).collect();
    health.sort();
    note("endpoint health --cluster", health.join("\n"));
    let table = cluster.etcdctl(&words("endpoint status -w table"), "");
    note("endpoint status -w table", status_rows(&cluster.plain(&table)).join("\n"));
    note("defrag", run("defrag"));
    note("alarm list", run("alarm list"));
    let moved = format!("get {}", "x".repeat(10));
    note(&moved, run(&moved));
    said
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn stock_etcdctl_hears_what_it_hears_from_etcd() {
    let installed = |program: &str| {
        Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    if installed("etcdctl").is_err() || installed("etcd").is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI must have etcd and etcdctl");
        eprintln!("NOT RUN: install etcd and etcdctl (Debian: etcd-server, etcd-client)");
        return;
    }
    // One after the other on the same ports: ids are made of them, and members listed by id.
    let ports = ports(6);
    let ours = transcript(&Cluster::start(Path::new(env!("CARGO_BIN_EXE_raft-node")), &ports));
    let theirs = transcript(&Cluster::start(Path::new("etcd"), &ports));
    let differing: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .map(|((what, ours), (_, theirs))| {
            format!("etcdctl {what}\n--- etcd says\n{theirs}\n--- we say\n{ours}\n")
        })
        .collect();
    assert!(ours.len() > 40, "{} answers were compared", ours.len());
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}
