//! Cores, memory and room.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::statvfs;
use serde::Serialize;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Machine {
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// Memory of the machine, or what a container may take of it.
    pub(super) memory_bytes: u64,
    /// Of which programs do not use so much now.
    pub(super) available_bytes: u64,
    /// Room on the disk for somebody who is not root.
    pub(super) free_bytes: u64,
}

/// Looks at this machine, and at the disk of a directory.
///
/// # Errors
/// If the system does not say.
pub(super) fn examine(dir: &Path) -> io::Result<Machine> {
    let cores = std::thread::available_parallelism()?.get();
    let text = fs::read_to_string("/proc/meminfo")?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    };
    // A container's own limit, where control groups of the second kind are.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|limit| limit.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    let room = statvfs(dir)?;
    Ok(Machine {
        cores,
        memory_bytes: bytes("MemTotal").min(limit),
        available_bytes: bytes("MemAvailable").min(limit),
        free_bytes: room.f_bavail * room.f_frsize,
    })
}
