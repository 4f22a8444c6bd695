//! A lab that a gate runs and watches from outside, as any operator could.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::{Plain, say};

/// How long a lab may take until its processes run, once it has printed its address.
const START: Duration = Duration::from_secs(30);

/// How long a lab may take to end after it was asked to.
const END: Duration = Duration::from_secs(15);

/// Lines of output that may wait for the reader; more makes the lab's own printing wait.
const LINES: usize = 256;

/// Lines that `raft-lab up` always prints with an address in them.
const ADDRESS: &str = "http://127.0.0.1:";

/// A running `raft-lab up`; ended when dropped.
pub(crate) struct Running {
    child: Child,
    echo: Option<JoinHandle<()>>,
    lines: Receiver<String>,
    /// Every `host:port` printed so far, in order.
    addresses: Vec<String>,
}

impl Running {
    /// Starts a lab on a free port, without opening a browser.
    pub(crate) fn start(program: Plain) -> Result<Self> {
        let plain = program.with(["--port", "0", "--no-open"]);
        plain.announce();
        let mut child = plain
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start `{}`", plain.shown()))?;
        let output = child.stdout.take().expect("the line above asked for a pipe");
        // When nobody reads and it is full, further lines are only shown: the lab never waits.
        let (sender, lines) = sync_channel::<String>(LINES);
        let echo = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                println!("  | {line}");
                // Full, or nobody is left to read: the line has been shown.
                sender.try_send(line).ok();
            }
        });
        Ok(Self { child, echo: Some(echo), lines, addresses: Vec::new() })
    }

    /// Waits until a member says that it is healthy, which it does when it knows a leader.
    ///
    /// `allowed` counts from now; a lab that is still being built prints no address until later.
    pub(crate) fn wait_for_leader(&mut self, allowed: Duration) -> Result<()> {
        const POLL: Duration = Duration::from_millis(100);
        let deadline = Instant::now() + allowed;
        while Instant::now() < deadline {
            match self.lines.recv_timeout(POLL) {
                Ok(line) => self.addresses.extend(addresses_in(&line)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("see a leader: the lab ended"),
            }
            if self.addresses.iter().any(|address| is_healthy(address)) {
                return Ok(());
            }
        }
        bail!("see a leader within {} s: asked {:?}", allowed.as_secs(), self.addresses)
    }

    /// The lab's process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The processes below the lab's, whatever their depth, ascending.
    pub(crate) fn members(&self) -> Result<Vec<u32>> {
        descendants(self.child.id())
    }

    /// Waits until so many member processes run.
    pub(crate) fn wait_for_members(&self, wanted: usize) -> Result<Vec<u32>> {
        let deadline = Instant::now() + START;
        loop {
            let members = self.members()?;
            if members.len() >= wanted {
                return Ok(members);
            }
            if Instant::now() > deadline {
                bail!(
                    "see {wanted} member processes: {} after {} s",
                    members.len(),
                    START.as_secs()
                );
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal to the lab itself.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        send(self.child.id(), signal)
    }

    /// Waits for the lab to end.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + END;
        while self.child.try_wait().context("wait for the lab")?.is_none() {
            if Instant::now() > deadline {
                bail!("see the lab end within {} s", END.as_secs());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked politely first: the lab ends its members. Errors: it has ended already.
        self.signal(Signal::TERM).ok();
        if self.wait().is_err() {
            say("the lab did not end by itself: SIGKILL");
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if let Some(echo) = self.echo.take() {
            echo.join().ok();
        }
    }
}

fn addresses_in(line: &str) -> impl Iterator<Item = String> {
    line.split(ADDRESS).skip(1).filter_map(|rest| {
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (!port.is_empty()).then(|| format!("127.0.0.1:{port}"))
    })
}

/// Whether what listens there is a member that knows a leader.
fn is_healthy(address: &str) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| {
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"health\":\"true\"")
    })
}

/// Sends a signal to a process of ours.
pub(crate) fn send(process: u32, signal: Signal) -> Result<()> {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw).context("name a process")?;
    kill_process(id, signal).with_context(|| format!("signal process {process}"))
}

/// Whether a process is there and not a zombie.
pub(crate) fn is_running(process: u32) -> bool {
    stat(process).is_some_and(|stat| stat.state != 'Z')
}

/// Processor time a process has used so far.
pub(crate) fn processor_time(process: u32) -> Option<Duration> {
    /// `USER_HZ`: `/proc` counts in hundredths of a second on every Linux architecture we run on.
    const TICKS_PER_SECOND: u64 = 100;
    stat(process).map(|stat| Duration::from_millis(stat.ticks * 1000 / TICKS_PER_SECOND))
}

struct Stat {
    state: char,
    parent: u32,
    ticks: u64,
}

/// Reads `/proc/PID/stat`; the name in it may hold spaces and parentheses.
fn stat(process: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
    })
}

fn descendants(of: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("list /proc (these gates need Linux)")? {
        let Some(process) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok())
        else {
            continue;
        };
        if let Some(stat) = stat(process) {
            parents.push((process, stat.parent));
        }
    }
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        at += 1;
    }
    found.remove(0);
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_is_printed() {
        let line = "clients http://127.0.0.1:2379,http://127.0.0.1:2479 page http://127.0.0.1:/";
        let found: Vec<_> = addresses_in(line).collect();
        assert_eq!(found, ["127.0.0.1:2379", "127.0.0.1:2479"]);
    }

    #[test]
    fn our_own_process_is_seen() {
        let own = std::process::id();
        assert!(is_running(own));
        assert!(processor_time(own).is_some());
        let mut child = std::process::Command::new("sleep").arg("30").spawn().expect("sleep");
        assert!(descendants(own).expect("listed").contains(&child.id()));
        send(child.id(), Signal::KILL).expect("sent");
        child.wait().expect("ended");
        assert!(!is_running(child.id()));
    }
}
