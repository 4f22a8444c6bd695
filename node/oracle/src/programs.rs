//! The programs on this machine: etcd's, and our member.

use std::path::PathBuf;
use std::process::Command;

use crate::own::own;

/// Our member's program, for tests of packages that do not build it: `RAFTLAB_NODE`, or what lies
/// beside the test.
///
/// # Panics
/// If it is not built.
#[must_use]
pub fn raft_node() -> String {
    if let Ok(program) = std::env::var("RAFTLAB_NODE") {
        return program;
    }
    own("raft-node").display().to_string()
}

/// The programs of etcd everything is done with.
#[derive(Debug)]
pub struct Programs {
    /// Real etcd.
    pub etcd: PathBuf,
    /// Its command line client.
    pub etcdctl: PathBuf,
    /// Of etcd, such as `3.5.16`.
    pub version: String,
}

impl Programs {
    /// What is installed; `None`, and a word, if it is not.
    ///
    /// # Panics
    /// In CI, if it is not installed.
    pub fn find() -> Option<Self> {
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
    pub fn is_since(&self, version: &str) -> bool {
        let minor = |version: &str| version.split('.').nth(1).and_then(|n| n.parse::<u32>().ok());
        minor(&self.version) >= minor(version)
    }
}
