//! How a member of each kind is started.
//!
//! The lab plans a [`MemberSeat`]: names, ports, proxy, token, all the same for every kind of
//! member. An engine turns it into a [`Launch`](crate::supervisor::Launch): program, flags,
//! environment. Today there is one engine, [`RaftNode`]; real etcd takes the same seat, with its
//! proxy in the environment instead of a flag.

pub mod control;
mod files;
mod raft_node;

pub use files::MemberFiles;
pub use raft_node::{EngineError, RaftNode};

use std::path::PathBuf;

use lab_protocol::MemberNo;

use crate::supervisor::{MemberPorts, Output};

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

/// What peers call a member.
pub fn peer_url(member: MemberNo) -> String {
    format!("http://{}", crate::fabric::Fabric::virtual_name(member))
}

/// Members by name and peer URL, as `--initial-cluster` takes them.
pub fn initial_cluster<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let members: Vec<_> = members.into_iter().map(|(name, url)| format!("{name}={url}")).collect();
    members.join(",")
}
