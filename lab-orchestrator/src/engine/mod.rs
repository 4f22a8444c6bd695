//! How a member of each kind is started.
//!
//! The lab plans a [`MemberSeat`]: names, ports, proxy, token, all the same for every kind of
//! member. An [`Engine`] turns it into a [`Launch`]: program, flags, environment. [`RaftNode`] has
//! telemetry, a control socket and a flag for its proxy; [`Etcd`] takes the same seat, with its
//! proxy in the environment, and has neither of the others.
//!
//! | | `raft-node` | etcd |
//! |---|---|---|
//! | peers call it | `http://m1.test:2380` | `http://192.0.2.1:2380` |
//! | it dials its peers by | `--peer-proxy` | `HTTP_PROXY` |
//! | it ends with the lab | as its standard input does, and by the system | by the system, on Linux |
//! | what it tells | telemetry | answers of its API, lines of its log |
//! | its disk is touched | at its control socket | by [`strace`] |

pub mod control;
mod etcd;
mod files;
mod raft_node;
mod restored;
pub mod strace;

pub use etcd::Etcd;
pub use files::MemberFiles;
pub use raft_node::RaftNode;
pub use restored::{Restored, restored};

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lab_protocol::MemberNo;
use tokio::process::Command;

use crate::fabric::Fabric;
use crate::supervisor::{Launch, MemberPorts, Output};

/// A program that does not tell its version in this time has none.
const VERSION_DEADLINE: Duration = Duration::from_secs(2);

/// Which program the members are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// Our own node.
    #[default]
    RaftNode,
    /// Real etcd.
    Etcd,
}

/// A program for members, and what it is given beside its seat.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Engine {
    RaftNode(RaftNode),
    Etcd(Etcd),
}

/// The program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such file.
    #[error("there is no node program at {}; build it (cargo build -p node) or give --node", .0.display())]
    Missing(PathBuf),
    /// There is no etcd.
    #[error(
        "there is no etcd at {}; install it (Debian's package is etcd-server) or give --etcd",
        .0.display()
    )]
    NoEtcd(PathBuf),
    /// Nothing would end etcd with the lab.
    #[error("real etcd ends with the lab on Linux only; here members are raft-node")]
    NotHere,
}

impl Engine {
    /// The engine of this name, whose program is at this path, with flags that every member is
    /// given beside its own.
    ///
    /// # Errors
    /// There is no such program, or it cannot be used here.
    pub fn new(
        name: EngineName,
        program: &Path,
        extra_args: Vec<OsString>,
    ) -> Result<Self, EngineError> {
        Ok(match name {
            EngineName::RaftNode => Self::RaftNode(RaftNode::new(program, extra_args)?),
            EngineName::Etcd => Self::Etcd(Etcd::new(program, extra_args)?),
        })
    }

    /// The program.
    pub fn program(&self) -> &Path {
        match self {
            Self::RaftNode(node) => node.program(),
            Self::Etcd(etcd) => etcd.program(),
        }
    }

    /// What the program calls itself, such as `raft-node 0.1.0`.
    pub async fn version(&self) -> String {
        match self {
            Self::RaftNode(node) => node.version().await,
            Self::Etcd(etcd) => etcd.version().await,
        }
    }

    /// How to start the member in this seat.
    pub fn launch(&self, seat: &MemberSeat) -> Launch {
        match self {
            Self::RaftNode(node) => node.launch(seat),
            Self::Etcd(etcd) => etcd.launch(seat),
        }
    }

    /// Whether its members take orders of the lab, and speak by themselves.
    pub fn takes_orders(&self) -> bool {
        matches!(self, Self::RaftNode(_))
    }

    /// Where its members keep their files.
    pub fn files(&self) -> MemberFiles {
        match self {
            Self::RaftNode(node) => node.files(),
            Self::Etcd(etcd) => etcd.files(),
        }
    }

    /// The words by which somebody starts the member in this seat in a shell of their own.
    pub fn by_hand(&self, seat: &MemberSeat) -> Vec<String> {
        match self {
            Self::RaftNode(node) => node.by_hand(seat),
            Self::Etcd(etcd) => etcd.by_hand(seat),
        }
    }

    /// What peers call a member.
    pub fn peer_url(&self, member: MemberNo) -> String {
        match self {
            Self::RaftNode(_) => peer_url(member),
            Self::Etcd(_) => numbered_peer_url(member),
        }
    }
}

/// What a program answers to `--version`; empty if it says nothing in time.
async fn asked_version(program: &Path) -> String {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(VERSION_DEADLINE, command.output()).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    }
}

/// All that a member needs to know to take part.
#[derive(Clone, Debug)]
pub struct MemberSeat {
    /// Its number; `m1` is its name.
    pub member: MemberNo,
    /// The cluster it belongs to, for a start with an empty directory.
    pub cluster: Beginning,
    /// The cluster token.
    pub token: String,
    /// Its own directory.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub ports: MemberPorts,
    /// The proxy through which it dials its peers.
    pub proxy_url: String,
    /// Where it takes orders of the lab.
    pub control: PathBuf,
    /// Where the training program keeps what can be lost with its power; `None` for any other
    /// program.
    pub power: Option<PathBuf>,
    /// Where its output goes.
    pub output: Output,
    /// The flags that somebody typed, instead of those that say how it comes to its cluster.
    pub typed: Option<Vec<String>>,
}

/// How a member with an empty directory comes to its cluster.
#[derive(Clone, Debug)]
pub enum Beginning {
    /// It founds it, together with these; itself included, ascending.
    Founds(Vec<MemberNo>),
    /// It was added to it; the members by then, as `--initial-cluster` takes them.
    Joins(String),
}

/// Where clients reach a member.
pub fn client_url(ports: MemberPorts) -> String {
    format!("http://127.0.0.1:{}", ports.client)
}

/// What peers of our own node call a member.
pub fn peer_url(member: MemberNo) -> String {
    format!("http://{}", Fabric::virtual_name(member))
}

/// What peers call a member where a name must be a number: etcd looks names up before it dials.
/// Nobody has such an address (RFC 5737), so nothing can leave this machine.
fn numbered_peer_url(member: MemberNo) -> String {
    format!("http://{}", Fabric::virtual_address(member))
}

/// Members by name and peer URL, as `--initial-cluster` takes them.
pub fn initial_cluster<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let members: Vec<_> = members.into_iter().map(|(name, url)| format!("{name}={url}")).collect();
    members.join(",")
}
