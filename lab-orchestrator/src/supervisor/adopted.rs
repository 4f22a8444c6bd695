//! Processes that somebody started by hand: whether one is a member of this lab, and its tending.
//!
//! ```text
//!  telemetry says "m1, process 4711" ─► pidfd ─► /proc: listens there? ours? dials by our proxy?
//!                                         │              its files on our desk?
//!                                         └─ adopted: signals, end ─► ProcessEvent
//! ```
//!
//! The process descriptor is opened before anything is asked, so what was found true is true of the
//! process that is signalled later. How such a process ends is told to its parent, not to the lab:
//! but for a SIGKILL of the lab's own its end is *unseen*.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lab_protocol::{Ended, MemberNo};
use rustix::process::{Pid, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::child::{Do, Pulse, TERM_DEADLINE, Target, far_future, in_words};
use super::{MemberPorts, Output, ProcessEvent};

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// A process of a member that the lab takes over.
#[derive(Debug)]
pub struct Adoption {
    /// Which member.
    pub member: MemberNo,
    /// Where what the lab does to it is noted.
    pub output: Output,
    /// The directory it runs on.
    pub data_dir: PathBuf,
    pid: Pid,
    descriptor: OwnedFd,
}

impl Adoption {
    /// Sees whether the process which says that it is this member is one of this lab: it is this
    /// user's, listens at the member's telemetry port, dials its peers by the member's proxy, and
    /// has its files on the desk.
    ///
    /// # Errors
    /// For a person: what it is not. On another system than Linux nobody can tell.
    pub fn of(
        member: MemberNo,
        pid: u32,
        ports: MemberPorts,
        proxy_url: &str,
        desk: &Path,
        output: Output,
    ) -> Result<Self, String> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| format!("{pid} is no process"))?;
        let descriptor = open(raw)?;
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let links = links(&proc).map_err(|error| {
            format!("process {pid} is not this user's, or cannot be looked at: {error}")
        })?;
        let inode = listener(ports.telemetry)?;
        if !links.contains(&PathBuf::from(format!("socket:[{inode}]"))) {
            return Err(format!("port {} belongs to another process than {pid}", ports.telemetry));
        }
        let words = fs::read(proc.join("cmdline")).unwrap_or_default();
        let dials = words.split(|byte| *byte == 0).any(|word| {
            let word = String::from_utf8_lossy(word);
            word == proxy_url || word.ends_with(&format!("={proxy_url}"))
        });
        if !dials {
            return Err(format!(
                "it does not dial its peers by the lab's proxy, --peer-proxy {proxy_url}"
            ));
        }
        let desk = fs::canonicalize(desk).unwrap_or_else(|_| desk.to_owned());
        let data_dir = links.iter().find_map(|link| data_dir(link, &desk));
        let data_dir = data_dir
            .ok_or_else(|| format!("its data directory is not on the desk, {}", desk.display()))?;
        Ok(Self { member, output, data_dir, pid: raw, descriptor })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }
}

#[cfg(target_os = "linux")]
fn open(pid: Pid) -> Result<OwnedFd, String> {
    use rustix::process::{PidfdFlags, pidfd_open};
    pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| format!("process {} cannot be followed: {error}", pid.as_raw_nonzero()))
}

#[cfg(not(target_os = "linux"))]
fn open(_: Pid) -> Result<OwnedFd, String> {
    Err("members that were started by hand are adopted on Linux only".into())
}

/// What a process has open.
fn links(proc: &Path) -> io::Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    for entry in fs::read_dir(proc.join("fd"))? {
        // One that was closed meanwhile is not open.
        links.extend(entry.and_then(|entry| fs::read_link(entry.path())).ok());
    }
    Ok(links)
}

/// The socket that listens at a port, by its inode.
fn listener(port: u16) -> Result<u64, String> {
    let table = fs::read_to_string("/proc/net/tcp").map_err(|error| error.to_string())?;
    let found = table.lines().find_map(|line| inode(line, port));
    found.ok_or_else(|| format!("nobody listens at port {port} any more"))
}

/// The inode in a line of `/proc/net/tcp` about a socket that listens at this port.
fn inode(line: &str, port: u16) -> Option<u64> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let (_, found) = local.split_once(':')?;
    let is_it = u16::from_str_radix(found, 16) == Ok(port) && *state == LISTENS;
    is_it.then(|| inode.parse().ok()).flatten()
}

/// The data directory that an open file lies in, if it is a member's on the desk.
fn data_dir(file: &Path, desk: &Path) -> Option<PathBuf> {
    let inside = file.strip_prefix(desk).ok()?;
    let mut parts: Vec<_> = inside.components().collect();
    let member = parts.iter().position(|part| part.as_os_str() == "member")?;
    parts.truncate(member);
    (!parts.is_empty()).then(|| desk.join(parts.iter().collect::<PathBuf>()))
}

/// Watches a process descriptor, which is readable once its process has ended.
#[expect(unsafe_code, reason = "tokio wants to be told that a descriptor stays what it is")]
fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is a valid descriptor until it is dropped, and the `AsyncFd` owns it
    // and gives nobody a way to replace or close it.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE)? })
}

/// Tends an adopted process to its end.
pub(super) async fn tend(
    adoption: Adoption,
    mut orders: mpsc::Receiver<Do>,
    events: mpsc::Sender<ProcessEvent>,
) {
    let pid = adoption.pid();
    let Adoption { member, output, data_dir: _, pid: raw, descriptor } = adoption;
    let report = async |event| {
        events.send(event).await.ok(); // The lab is gone when nobody listens.
    };
    let watched = descriptor.try_clone().and_then(watch);
    let watched = match watched {
        Ok(watched) => watched,
        Err(error) => {
            let why = format!("cannot be watched: {error}");
            let ended = Ended::NotStarted { why };
            let last_lines = Vec::new();
            report(ProcessEvent::Ended { member, ended, asked: false, last_lines }).await;
            return;
        }
    };
    let target = Target {
        pid: Some(raw),
        #[cfg(target_os = "linux")]
        descriptor: Some(descriptor),
    };
    output.line(format!("--- {member} adopted, process {pid} ---").as_bytes());
    report(ProcessEvent::Up { member, pid }).await;

    let (mut asked, mut killed, mut paused) = (false, false, false);
    let mut kill_at: Option<Instant> = None;
    let mut pulse: Option<Pulse> = None;
    loop {
        let deadline = kill_at.unwrap_or_else(far_future);
        let pulse_at = pulse.as_ref().filter(|_| !paused).map(|pulse| pulse.at);
        tokio::select! {
            // A descriptor is readable once its process has ended.
            _ = watched.readable() => break,
            () = sleep_until(deadline), if kill_at.is_some() => {
                tracing::warn!(%member, pid, "did not end when asked, is killed");
                target.signal(Signal::KILL);
                (killed, kill_at) = (true, None);
            }
            () = sleep_until(pulse_at.unwrap_or(deadline)), if pulse_at.is_some() => {
                if let Some(pulse) = &mut pulse {
                    pulse.beat(&target);
                }
            }
            order = orders.recv() => match order {
                Some(Do::Starve(percent)) => {
                    if pulse.take().is_some() && !paused {
                        target.signal(Signal::CONT);
                    }
                    pulse = percent.map(Pulse::new);
                }
                Some(Do::Crash) => {
                    (asked, killed) = (true, true);
                    target.signal(Signal::KILL);
                }
                Some(Do::Stop) => {
                    asked = true;
                    target.signal(Signal::TERM);
                    if paused {
                        target.signal(Signal::CONT);
                    }
                    kill_at = Some(Instant::now() + TERM_DEADLINE);
                }
                Some(Do::Pause) => {
                    target.signal(Signal::STOP);
                    target.wait_until_stopped().await;
                    paused = true;
                    report(ProcessEvent::Paused { member, pid }).await;
                }
                Some(Do::Resume) => {
                    target.signal(Signal::CONT);
                    paused = false;
                    report(ProcessEvent::Resumed { member, pid }).await;
                }
                None => {
                    (asked, killed) = (true, true);
                    target.signal(Signal::KILL);
                    // It cannot refuse; its parent may leave it unreaped, which is not our matter.
                    timeout(TERM_DEADLINE, watched.readable()).await.ok();
                    break;
                }
            },
        }
    }
    let ended = if killed { Ended::Signal { number: 9 } } else { Ended::Unseen };
    output.line(format!("--- {member} ended: {} ---", in_words(&ended)).as_bytes());
    report(ProcessEvent::Ended { member, ended, asked, last_lines: Vec::new() }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_by_its_port() {
        let line = "   3: 0100007F:5D0F 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                    1000        0 771234 1 0000000000000000 100 0 0 10 0";
        assert_eq!(inode(line, 0x5D0F), Some(771_234));
        assert_eq!(inode(line, 1), None);
        assert_eq!(inode(&line.replace(" 0A ", " 01 "), 0x5D0F), None, "a connection");
        assert_eq!(inode("  sl  local_address rem_address   st tx_queue", 0x5D0F), None);
    }

    #[test]
    fn a_data_directory_is_where_open_files_are() {
        let desk = Path::new("/lab/desk");
        for (file, expected) in [
            ("/lab/desk/m1.etcd/member/wal/1.wal", Some("/lab/desk/m1.etcd")),
            ("/lab/desk/a/b/member/state", Some("/lab/desk/a/b")),
            ("/lab/desk/notes", None),
            ("/lab/desk/member/x", None),
            ("/other/m1.etcd/member/state", None),
        ] {
            let found = data_dir(Path::new(file), desk);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{file}");
        }
    }
}
