//! Members of one kind, as processes, and `etcdctl` to ask them.

use std::fs::File;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::programs::Programs;

/// Members a cluster begins with.
pub const FIRST: usize = 3;

/// Places for members, with those that join.
pub const PLACES: usize = 5;

/// How long members may take for whatever is awaited.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at what is awaited.
pub const LOOK: Duration = Duration::from_millis(100);

/// Whose members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Real etcd.
    Etcd,
    /// Ours: the path of `raft-node`.
    RaftNode(&'a str),
}

/// Members of one kind; they end with it. Places count from 1.
#[derive(Debug)]
pub struct Cluster<'a> {
    /// What it is made of.
    pub programs: &'a Programs,
    kind: Kind<'a>,
    flags: &'a [String],
    processes: [Option<Child>; PLACES],
    /// Started at least once.
    begun: [bool; PLACES],
    /// Where members are asked, by place.
    pub client_urls: Vec<String>,
    /// Where members are reached by one another, by place.
    pub peer_urls: Vec<String>,
    folder: tempfile::TempDir,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        (1..=PLACES).for_each(|place| self.crash(place));
    }
}

impl<'a> Cluster<'a> {
    /// Starts three members and waits until all of them have said who they are. The first write
    /// of a key, `first`, is done then: the key space is at revision 2.
    ///
    /// The same `ports`, twice [`PLACES`] of them, give members of another kind the same ids.
    pub fn start(
        programs: &'a Programs,
        kind: Kind<'a>,
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
            folder,
        };
        (1..=FIRST).for_each(|place| cluster.run(place));
        cluster.await_answer("a leader", &["get", "first"]);
        let put = cluster.call(&[], &["put", "first", "1"], "");
        assert_eq!(put, "OK\n", "the first put, once there is a leader");
        for place in 1..=FIRST {
            cluster.await_started(place);
        }
        cluster
    }

    /// Starts a member: one of the first, one that was there before, or one that joins.
    pub fn run(&mut self, place: usize) {
        let program = match self.kind {
            Kind::Etcd => self.programs.etcd.clone(),
            Kind::RaftNode(path) => path.into(),
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
            .args(["--initial-cluster-token", "same"])
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
    pub fn crash(&mut self, place: usize) {
        if let Some(mut child) = self.processes[place - 1].take() {
            // It may have ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Stops a member in its tracks, or lets it go on.
    pub fn signal(&self, place: usize, signal: rustix::process::Signal) {
        let child = self.processes[place - 1].as_ref().expect("it runs");
        let process = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(process, signal).expect("it is our child");
    }

    /// The client URLs of these places, or of all that were started.
    pub fn endpoints(&self, asked: &[usize]) -> String {
        let urls =
            (1..=PLACES)
                .filter(|place| {
                    if asked.is_empty() { self.begun[place - 1] } else { asked.contains(place) }
                })
                .map(|place| self.client_urls[place - 1].as_str());
        urls.collect::<Vec<_>>().join(",")
    }

    /// A call of `etcdctl`, not yet made.
    pub fn etcdctl(&self, asked: &[usize], words: &[impl AsRef<str>]) -> Command {
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
    pub fn call(&self, asked: &[usize], words: &[impl AsRef<str>], input: &str) -> String {
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
    pub fn await_answer(&self, what: &str, words: &[&str]) {
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
    pub fn await_started(&self, place: usize) -> u64 {
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
