//! Three machines on one: the README's lines, run in network namespaces of their own.
//!
//! ```text
//!   raftlab-m1 10.77.0.1      raftlab-m2 10.77.0.2      raftlab-m3 10.77.0.3
//!         └───────────────────── bridge raftlab0 ──────────────┘   (in a fourth, raftlab-net)
//! ```
//!
//! The lines are read from `README.md` and run as they stand, so a README that has gone stale is
//! a failure here. Everything lives in namespaces with a name of ours: this machine's own network
//! is not touched, and removing the namespaces removes the rest. Linux and root only.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use crate::command::{Plain, is_root, provide, say};
use crate::places;
use crate::running::send;
use crate::tally::{Count, NotHere};

/// Members, and machines.
const MACHINES: u8 = 3;

/// The namespace that holds the bridge.
const SWITCH: &str = "raftlab-net";

/// How long the cluster may take to form, to elect, to catch up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one question of a client may take.
const QUESTION: &str = "--command-timeout=5s";

/// Runs the three machines through forming, losing one, and having it back.
pub(crate) fn run() -> Result<Count> {
    ensure_possible()?;
    let lines = readme_lines(&fs::read_to_string(places::root().join("README.md"))?)?;
    let network = Network::create()?;
    let folder = tempfile::tempdir().context("make a folder for the members")?;
    let mut machines = Machines { folder: folder.path().to_owned(), lines, children: Vec::new() };
    let mut passed = 0;
    let mut holds = |what: &str| {
        passed += 1;
        say(&format!("namespaces: holds: {what}"));
    };

    for machine in 1..=MACHINES {
        machines.start(machine)?;
    }
    wait_until("all three are healthy", || machines.healthy(&[1, 2, 3]))?;
    holds("three machines form a cluster");
    machines.put(1, "before", "three")?;
    ensure!(machines.get(3, "before")? == "three", "read on machine 3 what machine 1 wrote");
    holds("what one machine wrote, another reads");

    let warning = fs::read_to_string(machines.output(1)).context("read machine 1's output")?;
    ensure!(
        warning.contains("trusted network"),
        "find a warning about plaintext in what machine 1 printed"
    );
    holds("plaintext beyond loopback is warned of");

    let lost = machines.leader()?;
    machines.crash(lost)?;
    let left: Vec<u8> = (1..=MACHINES).filter(|&machine| machine != lost).collect();
    wait_until("the two left are healthy", || machines.healthy(&left))?;
    machines.put(left[0], "during", "two")?;
    ensure!(machines.get(left[1], "during")? == "two", "read what was written by two of three");
    holds("the loss of the leader's machine is survived");

    machines.start(lost)?;
    wait_until("the machine that was lost is back", || machines.healthy(&[lost]))?;
    ensure!(machines.get_own(lost, "before")? == "three", "find the old write on machine {lost}");
    wait_until("it has caught up", || Ok(machines.get_own(lost, "during")? == "two"))?;
    holds("the machine that was lost comes back and catches up");

    replace(&mut machines, &mut holds)?;

    machines.end_all()?;
    network.remove()?;
    holds("all processes ended, all namespaces are gone");
    Ok(Count { passed, failed: 0 })
}

/// Replaces a machine for good, as an operator does: out with the old member, in with a new one
/// on an empty disk.
fn replace(machines: &mut Machines, holds: &mut impl FnMut(&str)) -> Result<()> {
    const GONE: u8 = 3;
    let asked = 1;
    machines.crash(GONE)?;
    wait_until("the two left are healthy", || machines.healthy(&[1, 2]))?;
    let id = machines.member_id(GONE)?;
    let new_peer = format!("--peer-urls=http://{}:2380", address(GONE));
    machines.etcdctl(asked, &["member", "remove", &id])?;
    // Right after a member came back etcd refuses to change members for some seconds, so that
    // nobody loses a quorum by haste.
    wait_until("a new member is admitted", || {
        machines.etcdctl(asked, &["member", "add", "m4", &new_peer]).map(|_| true)
    })?;
    let old = machines.lines[usize::from(GONE) - 1].clone();
    let new = old
        .replace("--name m3", "--name m4")
        .replace("m3=", "m4=")
        .replace("m3.raft", "m4.raft")
        .replace("--initial-cluster-state new", "--initial-cluster-state existing");
    ensure!(new != old, "make the new member's line out of the README's");
    machines.lines[usize::from(GONE) - 1] = new;
    machines.start(GONE)?;
    wait_until("the new member is healthy", || machines.healthy(&[1, 2, GONE]))?;
    wait_until("the new member has caught up", || {
        Ok(machines.get_own(GONE, "before")? == "three"
            && machines.get_own(GONE, "during")? == "two")
    })?;
    holds("a machine that is gone for good is replaced, and the new one catches up");
    Ok(())
}

fn ensure_possible() -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Err(NotHere("make network namespaces: that needs Linux".into()).into());
    }
    if !is_root() {
        let why = "make network namespaces: that needs root (sudo env PATH=\"$PATH\" cargo \
                   gate bootstrap-netns)";
        return Err(NotHere(why.into()).into());
    }
    for (program, package) in [("ip", "iproute2"), ("etcdctl", "etcd-client")] {
        if !provide(program, package) {
            return Err(NotHere(format!("find `{program}` (Debian's {package})")).into());
        }
    }
    let probe = "raftlab-probe";
    let made = Plain::new("ip", ["netns", "add", probe]).quietly();
    if !made.succeeds() {
        let why = "make a network namespace: the kernel refused; a container needs CAP_SYS_ADMIN \
                   and CAP_NET_ADMIN for it";
        return Err(NotHere(why.into()).into());
    }
    ip(&["netns", "del", probe])
}

/// The three commands under `<!-- three machines -->` in the README, lines joined.
fn readme_lines(readme: &str) -> Result<Vec<String>> {
    let (_, rest) = readme
        .split_once("<!-- three machines -->")
        .context("find `<!-- three machines -->` in README.md")?;
    let block = rest.split("```").nth(1).context("find the fenced lines after the mark")?;
    let (_, block) = block.split_once('\n').context("find lines inside the fence")?;
    let lines: Vec<String> = block
        .replace("\\\n", " ")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| line.starts_with("raft-node "))
        .collect();
    ensure!(
        lines.len() == usize::from(MACHINES),
        "find {MACHINES} lines that start raft-node in the README: there are {}",
        lines.len()
    );
    Ok(lines)
}

fn address(machine: u8) -> String {
    format!("10.77.0.{machine}")
}

fn namespace(machine: u8) -> String {
    format!("raftlab-m{machine}")
}

fn ip(arguments: &[&str]) -> Result<()> {
    Plain::new("ip", arguments.iter().copied()).run()
}

/// Waits for a condition; an error on the way counts as "not yet" and is told at the end.
fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = match holds() {
            Ok(true) => return Ok(()),
            Ok(false) => "it does not hold".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!("see within {} s that {what}: {seen}", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(200));
    }
}

/// The namespaces and the bridge between them; removed when dropped.
struct Network;

impl Network {
    fn create() -> Result<Self> {
        // An earlier run that was killed may have left its namespaces.
        let network = Self;
        network.remove()?;
        ip(&["netns", "add", SWITCH])?;
        let inside = |arguments: &str| {
            let words: Vec<&str> = arguments.split(' ').collect();
            ip(&words)
        };
        inside(&format!("-n {SWITCH} link add raftlab0 type bridge"))?;
        inside(&format!("-n {SWITCH} address add {}/24 dev raftlab0", address(254)))?;
        inside(&format!("-n {SWITCH} link set raftlab0 up"))?;
        for machine in 1..=MACHINES {
            let name = namespace(machine);
            inside(&format!("netns add {name}"))?;
            inside(&format!("-n {name} link set lo up"))?;
            inside(&format!(
                "-n {name} link add eth0 type veth peer name port{machine} netns {SWITCH}"
            ))?;
            inside(&format!("-n {name} address add {}/24 dev eth0", address(machine)))?;
            inside(&format!("-n {name} link set eth0 up"))?;
            inside(&format!("-n {SWITCH} link set port{machine} master raftlab0 up"))?;
        }
        Ok(network)
    }

    fn remove(&self) -> Result<()> {
        let there = Plain::new("ip", ["netns", "list"]).quietly().read()?;
        let there: Vec<&str> =
            there.lines().filter_map(|line| line.split_whitespace().next()).collect();
        for name in (1..=MACHINES).map(namespace).chain([SWITCH.to_owned()]) {
            if there.contains(&name.as_str()) {
                ip(&["netns", "del", &name])?;
            }
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            say(&format!("failed to {error:#}; remove them with `ip netns del`"));
        }
    }
}

/// The members, each in its namespace and folder; ended when dropped.
struct Machines {
    folder: PathBuf,
    lines: Vec<String>,
    children: Vec<(u8, Child)>,
}

impl Machines {
    /// Starts a machine's README line in its namespace and folder.
    fn start(&mut self, machine: u8) -> Result<()> {
        let line = &self.lines[usize::from(machine) - 1];
        say(&format!("namespaces: machine {machine}$ {line}"));
        let folder = self.folder.join(format!("machine{machine}"));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let output = fs::File::options()
            .create(true)
            .append(true)
            .open(self.output(machine))
            .context("open the member's output")?;
        let programs = places::target().join("release");
        let path = std::env::var("PATH").unwrap_or_default();
        // `ip netns exec` and the shell both become the member: the child is the member itself.
        let child = Plain::new("ip", ["netns", "exec", &namespace(machine), "sh", "-c"])
            .with([format!("exec {line}")])
            .env("PATH", &format!("{}:{path}", programs.display()))
            .within(&folder)
            .command()
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the member's output")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start machine {machine}"))?;
        self.children.push((machine, child));
        Ok(())
    }

    fn output(&self, machine: u8) -> PathBuf {
        self.folder.join(format!("machine{machine}.output"))
    }

    /// Ends a member as a power cut would.
    fn crash(&mut self, machine: u8) -> Result<()> {
        say(&format!("namespaces: machine {machine}: kill -9"));
        let at = self.children.iter().position(|(of, _)| *of == machine);
        let (_, mut child) = self.children.remove(at.context("find the machine's process")?);
        child.kill().context("kill the member")?;
        child.wait().context("wait for the member")?;
        Ok(())
    }

    /// Ends all members by SIGTERM and waits for them.
    fn end_all(&mut self) -> Result<()> {
        const ALLOWED: Duration = Duration::from_secs(10);
        for (_, child) in &self.children {
            send(child.id(), Signal::TERM)?;
        }
        for (machine, mut child) in self.children.drain(..) {
            let deadline = Instant::now() + ALLOWED;
            while child.try_wait().context("wait for a member")?.is_none() {
                if Instant::now() > deadline {
                    child.kill().context("kill a member")?;
                    child.wait().context("wait for a member")?;
                    bail!("see machine {machine} end within {} s of SIGTERM", ALLOWED.as_secs());
                }
                sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Asks one machine, from outside all of them.
    fn etcdctl(&self, machine: u8, arguments: &[&str]) -> Result<String> {
        let endpoint = format!("--endpoints=http://{}:2379", address(machine));
        let command = Plain::new("ip", ["netns", "exec", SWITCH, "etcdctl", &endpoint, QUESTION])
            .with(arguments.iter().copied())
            .env("ETCDCTL_API", "3")
            .quietly();
        let output = command.command().output().context("start etcdctl")?;
        if !output.status.success() {
            bail!(
                "`{}`: {}",
                command.shown(),
                String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn healthy(&self, machines: &[u8]) -> Result<bool> {
        for &machine in machines {
            self.etcdctl(machine, &["endpoint", "health"])
                .with_context(|| self.last_words(machine))?;
        }
        Ok(true)
    }

    fn put(&self, machine: u8, key: &str, value: &str) -> Result<()> {
        self.etcdctl(machine, &["put", key, value]).map(drop)
    }

    fn get(&self, machine: u8, key: &str) -> Result<String> {
        let value = self.etcdctl(machine, &["get", "--print-value-only", key])?;
        Ok(value.trim().to_owned())
    }

    /// What this machine has by itself, whatever the others have.
    fn get_own(&self, machine: u8, key: &str) -> Result<String> {
        let own = ["get", "--consistency=s", "--print-value-only", key];
        Ok(self.etcdctl(machine, &own)?.trim().to_owned())
    }

    fn status(&self, machine: u8) -> Result<(u64, u64)> {
        let text = self.etcdctl(machine, &["endpoint", "status", "--write-out=json"])?;
        let status: serde_json::Value =
            serde_json::from_str(&text).context("read the endpoint's status as JSON")?;
        let status = &status[0]["Status"];
        let id = status["header"]["member_id"].as_u64().context("find member_id")?;
        Ok((id, status["leader"].as_u64().unwrap_or(0)))
    }

    fn leader(&self) -> Result<u8> {
        for machine in 1..=MACHINES {
            let (id, leader) = self.status(machine)?;
            if id == leader {
                return Ok(machine);
            }
        }
        bail!("find the leader among three machines")
    }

    /// The id of the member that listens for peers on this machine, as etcdctl prints it.
    fn member_id(&self, machine: u8) -> Result<String> {
        let peer = format!("http://{}:2380", address(machine));
        let asked = if machine == 1 { 2 } else { 1 };
        let list = self.etcdctl(asked, &["member", "list"])?;
        let line = list.lines().find(|line| line.contains(&peer)).context("find the member")?;
        Ok(line.split(',').next().unwrap_or_default().trim().to_owned())
    }

    /// The end of what a member printed, for a message about it.
    fn last_words(&self, machine: u8) -> String {
        let text = fs::read_to_string(self.output(machine)).unwrap_or_default();
        let from = text.lines().count().saturating_sub(4);
        let last: Vec<&str> = text.lines().skip(from).collect();
        format!("see machine {machine} healthy (it last printed: {})", last.join(" / "))
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // Errors: it has ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_three_lines_that_name_three_addresses() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let readme = fs::read_to_string(root.join("README.md")).expect("the README is there");
        let lines = readme_lines(&readme).expect("three lines");
        for (machine, line) in (1..).zip(&lines) {
            assert!(line.contains(&format!("--name m{machine} ")), "{line}");
            let listen = format!("--listen-peer-urls http://{}:2380 ", address(machine));
            assert!(line.contains(&listen), "{line}");
        }
    }
}
