//! Members of one kind, as processes, and `etcdctl` to ask them.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::plain::Names;

/// Members a cluster begins with.
pub(crate) const FIRST: usize = 3;

/// Places for members, with those that join.
pub(crate) const PLACES: usize = 5;

/// How long members may take for whatever is awaited.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at what is awaited.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Whose members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Etcd,
    RaftNode,
}

/// The programs everything is done with.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) etcd: PathBuf,
    pub(crate) etcdctl: PathBuf,
    /// Of etcd, such as `3.5.16`.
    pub(crate) version: String,
}

impl Programs {
    /// What is installed; `None`, and a word, if it is not.
    pub(crate) fn find() -> Option<Self> {
        let folder = std::env::var_os("RAFTLAB_ETCD").map(PathBuf::from).unwrap_or_default();
        let (etcd, etcdctl) = (folder.join("etcd"), folder.join("etcdctl"));
        let version = |program: &PathBuf, asked: &str| {
            let said = Command::new(program).env("ETCDCTL_API", "3").arg(asked).output().ok()?;
            let said = String::from_utf8(said.stdout).ok()?;
            said.lines().next()?.rsplit(' ').next().map(str::to_owned)
        };
        let found = version(&etcdctl, "version").and_then(|_| version(&etcd, "--version"));
        if found.is_none() {
            assert!(std::env::var_os("CI").is_none(), "CI must have etcd and etcdctl");
            eprintln!("NOT RUN: install etcd and etcdctl (Debian: etcd-server, etcd-client)");
        }
        found.map(|version| Self { etcd, etcdctl, version })
    }

    /// Whether the etcd at hand is of this version or a later one, such as `3.5`.
    pub(crate) fn is_since(&self, version: &str) -> bool {
        let minor = |version: &str| version.split('.').nth(1).and_then(|n| n.parse::<u32>().ok());
        minor(&self.version) >= minor(version)
    }
}

/// Free ports, never given twice, and none that the system gives to a connection: members keep
/// theirs while they are down.
pub(crate) fn ports(count: usize) -> Vec<u16> {
    const FIRST: u16 = 14_000;
    const LAST: u16 = 32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests of two programs begin at two places.
    let begin = u16::try_from(std::process::id() % u32::from(LAST - FIRST)).expect("it fits");
    let candidates = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + (begin + step) % (LAST - FIRST)
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.filter(is_free).take(count).collect()
}

/// Members of one kind; they end with it. Places count from 1.
pub(crate) struct Cluster<'a> {
    pub(crate) programs: &'a Programs,
    kind: Kind,
    flags: &'a [String],
    processes: [Option<Child>; PLACES],
    /// Started at least once.
    begun: [bool; PLACES],
    pub(crate) client_urls: Vec<String>,
    pub(crate) peer_urls: Vec<String>,
    pub(crate) names: Names,
    folder: tempfile::TempDir,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        (1..=PLACES).for_each(|place| self.crash(place));
    }
}

impl<'a> Cluster<'a> {
    /// Starts three members and waits until all of them have said who they are.
    pub(crate) fn start(
        programs: &'a Programs,
        kind: Kind,
        ports: &[u16],
        flags: &'a [String],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let urls = |ports: &[u16]| -> Vec<_> {
            ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect()
        };
        let mut cluster = Self {
            programs,
            kind,
            flags,
            processes: [const { None }; PLACES],
            begun: [false; PLACES],
            client_urls: urls(&ports[..PLACES]),
            peer_urls: urls(&ports[PLACES..]),
            names: Names::default(),
            folder,
        };
        for place in 1..=PLACES {
            for (kind, url) in [
                ("client", &cluster.client_urls[place - 1]),
                ("peer", &cluster.peer_urls[place - 1]),
            ] {
                cluster.names.text(url, format!("<{kind} {place}>"));
                let bare = url.trim_start_matches("http://");
                cluster.names.text(bare, format!("<{kind} {place}>"));
            }
        }
        (1..=FIRST).for_each(|place| cluster.run(place));
        cluster.await_answer("a leader", &["get", "first"]);
        let put = cluster.call(&[], &["put", "first", "1"], "");
        assert_eq!(put, "OK\n", "the first put, once there is a leader");
        for place in 1..=FIRST {
            let id = cluster.await_started(place);
            cluster.names.id(id, format!("<m{place}>"));
        }
        cluster
    }

    /// Starts a member: one of the first, one that was there before, or one that joins.
    pub(crate) fn run(&mut self, place: usize) {
        let program = match self.kind {
            Kind::Etcd => self.programs.etcd.clone(),
            Kind::RaftNode => env!("CARGO_BIN_EXE_raft-node").into(),
        };
        let at = place - 1;
        // Whoever joins names those that are there and itself.
        let listed = (1..=FIRST).chain((place > FIRST).then_some(place));
        let listed: Vec<_> =
            listed.map(|place| format!("m{place}={}", self.peer_urls[place - 1])).collect();
        let name = format!("m{place}");
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{name}.log")))
            .expect("a file for its output");
        let (client, peer) = (&self.client_urls[at], &self.peer_urls[at]);
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(self.folder.path().join(&name))
            .args(["--name", &name])
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &listed.join(",")])
            .args(["--initial-cluster-token", "transcript"])
            .args(["--initial-cluster-state", if place > FIRST { "existing" } else { "new" }])
            .args(self.flags)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("a member starts");
        self.processes[at] = Some(child);
        self.begun[at] = true;
    }

    /// Ends a member at once, if it runs.
    pub(crate) fn crash(&mut self, place: usize) {
        if let Some(mut child) = self.processes[place - 1].take() {
            // It may have ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Stops a member in its tracks, or lets it go on.
    pub(crate) fn signal(&self, place: usize, signal: rustix::process::Signal) {
        let child = self.processes[place - 1].as_ref().expect("it runs");
        let process = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(process, signal).expect("it is our child");
    }

    /// The client URLs of these places, or of all that were started.
    pub(crate) fn endpoints(&self, asked: &[usize]) -> String {
        let urls =
            (1..=PLACES)
                .filter(|place| {
                    if asked.is_empty() { self.begun[place - 1] } else { asked.contains(place) }
                })
                .map(|place| self.client_urls[place - 1].as_str());
        urls.collect::<Vec<_>>().join(",")
    }

    /// A call of `etcdctl`, not yet made.
    pub(crate) fn etcdctl(&self, asked: &[usize], words: &[impl AsRef<str>]) -> Command {
        // What never ends is ended, with 124, so that a transcript says where it hangs.
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string()).arg(&self.programs.etcdctl);
        command.env("ETCDCTL_API", "3");
        // What the call itself says of endpoints wins.
        if !words.iter().any(|word| word.as_ref().starts_with("--endpoints")) {
            command.args(["--endpoints", &self.endpoints(asked)]);
        }
        command.args(words.iter().map(AsRef::as_ref));
        command
    }

    /// Calls `etcdctl`: everything it says, errors first, and how it ended.
    pub(crate) fn call(&self, asked: &[usize], words: &[impl AsRef<str>], input: &str) -> String {
        let mut process = self
            .etcdctl(asked, words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl starts");
        let mut stdin = process.stdin.take().expect("piped");
        // It may end without having read.
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        let output = process.wait_with_output().expect("etcdctl ends");
        let mut said =
            String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        if let Some(code @ 1..) = output.status.code() {
            said.push_str(&format!("ended with {code}\n"));
        }
        said
    }

    /// Waits until a call is answered well.
    pub(crate) fn await_answer(&self, what: &str, words: &[&str]) {
        let since = Instant::now();
        loop {
            let said = self.call(&[], words, "");
            if !said.contains("ended with") {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{what}: no answer in {PATIENCE:?}: {said}");
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until a member has said who it is; returns its id.
    pub(crate) fn await_started(&self, place: usize) -> u64 {
        let since = Instant::now();
        loop {
            let list = self.call(&[], &["member", "list"], "");
            let found = list.lines().find_map(|line| {
                let columns: Vec<_> = line.split(", ").collect();
                let [id, "started", name, ..] = columns[..] else { return None };
                (name == format!("m{place}")).then(|| u64::from_str_radix(id, 16).ok())?
            });
            if let Some(id) = found {
                return id;
            }
            assert!(since.elapsed() < PATIENCE, "m{place} did not say who it is: {list}");
            std::thread::sleep(LOOK);
        }
    }
}
