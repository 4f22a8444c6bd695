//! A member as a process of the shipped program.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_api::etcdserverpb::kv_client::KvClient;
use etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_api::etcdserverpb::{PutRequest, RangeRequest, StatusRequest};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A member as a process.
pub(crate) struct Member {
    pub(crate) process: Child,
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
pub(crate) struct Urls(Vec<[String; 2]>);

impl Urls {
    /// Free ports, each held until all are chosen.
    pub(crate) fn of(members: usize) -> Self {
        let socket = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let held: Vec<_> = (0..members).map(|_| [socket(), socket()]).collect();
        let url =
            |socket: &TcpListener| format!("http://{}", socket.local_addr().expect("it is bound"));
        Self(held.iter().map(|[client, peer]| [url(client), url(peer)]).collect())
    }

    /// The same URLs, but of fewer members.
    pub(crate) fn first(&self, members: usize) -> Self {
        Self(self.0[..members].to_vec())
    }

    /// Host and port of a member for clients.
    pub(crate) fn client(&self, n: usize) -> &str {
        self.0[n][0].trim_start_matches("http://")
    }

    /// Host and port of a member for peers.
    pub(crate) fn peer(&self, n: usize) -> &str {
        self.0[n][1].trim_start_matches("http://")
    }

    /// Starts one of the members.
    pub(crate) fn start(&self, n: usize, data_dir: &Path) -> Member {
        self.start_with(n, data_dir, &[])
    }

    /// The same, with more flags.
    pub(crate) fn start_with(&self, n: usize, data_dir: &Path, more: &[&str]) -> Member {
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
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Member { process, client_url: client.clone() }
    }
}

/// Asks for a change of the members, and again while not all of them have found one another.
pub(crate) async fn changed<T>(mut ask: impl AsyncFnMut() -> Result<Response<T>, Status>) -> T {
    let since = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer.into_inner(),
            Err(status) => {
                let again = status.message().contains("unhealthy") && since.elapsed() < PATIENCE;
                assert!(again, "the members are not changed: {status}");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Member {
    /// A cluster of one.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Urls::of(1).start(0, data_dir)
    }

    /// Ends the process at once.
    pub(crate) fn crash(&mut self) {
        self.process.kill().expect("it runs or has run");
        self.process.wait().expect("it is our child");
    }

    /// Waits until the process ends by itself: its exit code, and all it said.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        drop(self.process.stdin.take());
        self.fallen()
    }

    /// The same, with its standard input left open.
    pub(crate) fn fallen(&mut self) -> (Option<i32>, String) {
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

    pub(crate) async fn channel(&self) -> Channel {
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
    pub(crate) async fn leads(&self) -> bool {
        let mut client = MaintenanceClient::new(self.channel().await);
        let status = client.status(StatusRequest {}).await.expect("it answers").into_inner();
        status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader)
    }

    /// Reads a key.
    pub(crate) async fn get(&self, key: &str) -> Result<Vec<u8>, Status> {
        let mut client = KvClient::new(self.channel().await);
        let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        let answer = client.range(request).await?.into_inner();
        Ok(answer.kvs.first().map(|kv| kv.value.to_vec()).unwrap_or_default())
    }

    /// Writes a key, once somebody leads.
    pub(crate) async fn put(&self, key: &str, value: Vec<u8>) {
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
