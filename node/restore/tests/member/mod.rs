//! One member of either kind, as a process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_api::etcdserverpb::RangeRequest;
use etcd_api::etcdserverpb::kv_client::KvClient;
use etcd_api::etcdserverpb::lease_client::LeaseClient;
use etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use node_oracle::ports;
use tonic::transport::Channel;

/// How long a member may take to answer its first read.
const PATIENCE: Duration = Duration::from_secs(60);

/// A whole page of keys.
const LONGEST: usize = 256 << 20;

/// A member; it ends with this.
pub(crate) struct Member {
    process: Child,
    endpoint: String,
    channel: Channel,
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Member {
    /// Starts `server` in a folder of its own inside `folder`; if `restored` gives a tool and a
    /// snapshot, on what the tool restores of it. Returns once a read is answered.
    pub(crate) async fn start(
        server: &Path,
        folder: &Path,
        name: &str,
        restored: Option<(&Path, &Path)>,
    ) -> Self {
        Self::start_with(server, folder, name, restored, &[]).await
    }

    /// The same, with more flags for the restore.
    pub(crate) async fn start_with(
        server: &Path,
        folder: &Path,
        name: &str,
        restored: Option<(&Path, &Path)>,
        flags: &[&str],
    ) -> Self {
        let [client, peer] = *ports(2) else { panic!("two ports were asked for") };
        let (client, peer) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let data_dir = folder.join(name);
        let cluster = format!("{name}={peer}");
        if let Some((tool, snapshot)) = restored {
            let output = Command::new(tool)
                .env("ETCDCTL_API", "3")
                .args(["snapshot", "restore"])
                .arg(snapshot)
                .args(flags)
                .args(["--name", name, "--initial-cluster", &cluster])
                .args(["--initial-advertise-peer-urls", &peer, "--data-dir"])
                .arg(&data_dir)
                .output()
                .expect("the tool starts");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {errors}", tool.display());
        }
        let output = File::create(folder.join(format!("{name}.log"))).expect("a file");
        let process = Command::new(server)
            .args(["--name", name, "--data-dir"])
            .arg(&data_dir)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &cluster])
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the member starts");
        let channel = Channel::from_shared(client.clone()).expect("a URL").connect_lazy();
        let member = Self { process, endpoint: client.replace("http://", ""), channel };
        let since = Instant::now();
        loop {
            let asked = RangeRequest { key: b"a".to_vec().into(), ..RangeRequest::default() };
            match member.kv().range(asked).await {
                Ok(_) => return member,
                Err(error) => assert!(since.elapsed() < PATIENCE, "{name} answers: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Host and port for clients.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(LONGEST)
    }

    pub(crate) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }

    /// Saves a snapshot of it by a tool.
    pub(crate) fn save(&self, tool: &Path, to: &Path) -> PathBuf {
        let output = Command::new(tool)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint, "snapshot", "save"])
            .arg(to)
            .output()
            .expect("the tool starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", tool.display());
        to.to_path_buf()
    }
}
