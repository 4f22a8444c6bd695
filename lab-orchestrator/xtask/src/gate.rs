//! `cargo gate`: the acceptance gates, each a thin call of the program that decides.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use crate::command::{Plain, say};
use crate::running::{Running, is_running, processor_time, send};
use crate::{breaks, catalogue, crashes, lab, namespaces, page, places, proofs, test, verdict};

/// One gate: its name, what it shows, and how it is run.
struct Gate {
    name: &'static str,
    shows: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const GATES: [Gate; 23] = [
    Gate {
        name: "clean-clone",
        shows: "a fresh clone builds the lab and shows a leader (network; about eight minutes)",
        run: clean_clone,
    },
    Gate {
        name: "warm-lab",
        shows: "a second `cargo lab` shows a leader within five seconds",
        run: warm_lab,
    },
    Gate {
        name: "page-size",
        shows: "wasm and JavaScript are within 250 KB under brotli",
        run: |_| {
            let sizes = page::build()?;
            sizes.print();
            sizes.within_budget()
        },
    },
    Gate {
        name: "frames",
        shows: "frame intervals and script time in Chromium under the default workload",
        run: |_| test::browser_gate(&["frames", "accounting"]),
    },
    Gate {
        name: "security",
        shows: "a second origin, a rebound Host and a socket without token get nothing",
        run: |_| test::browser_gate(&["security"]),
    },
    Gate {
        name: "restore",
        shows: "a million keys saved, restored and served again, each within 512 MiB above rest",
        run: restore,
    },
    Gate {
        name: "crash-all",
        shows: "kill -9 of all members under load, 50 rounds: no acknowledged write is lost",
        run: |arguments| raft_lab("crash-all", &[], arguments),
    },
    Gate {
        name: "crash",
        shows: "1,000 crashes at every failpoint and 200 power losses, under load, judged",
        run: crash,
    },
    Gate {
        name: "membership",
        shows: "200 changes of the members, one of whom ends on the way: one configuration, judged",
        run: membership,
    },
    Gate {
        name: "soak",
        shows: "every fault a cluster gets over, 30 minutes on 3 and on 5 members, judged, bounded",
        run: soak,
    },
    Gate {
        name: "drills",
        shows: "every drill is won by its solution, and lost without it and with each wrong one",
        run: every_drill,
    },
    Gate {
        name: "catalogue",
        shows: "every scenario, as every variant; with --without-faults none is valid",
        run: catalogue::gate,
    },
    Gate {
        name: "etcd",
        shows: "every scenario on real etcd: valid, or its file says why not (Debian's etcd-server)",
        run: catalogue::gate_on_etcd,
    },
    Gate {
        name: "kubernetes",
        shows: "a Kubernetes storage workload, ten minutes under leader kills, judged",
        run: |arguments| proof("kubernetes", arguments),
    },
    Gate {
        name: "leases",
        shows: "200 leases over 10 forced leader changes: none ends early, all end when quiet",
        run: |arguments| proof("leases", arguments),
    },
    Gate {
        name: "watchers",
        shows: "10,000 watchers on one member beside stalled ones: no event lost or late",
        run: |arguments| proof("watchers", arguments),
    },
    Gate {
        name: "check",
        shows: "a million operations, some unknown, are judged in two seconds; a violation is named",
        run: check,
    },
    Gate {
        name: "bench",
        shows: "puts and first puts against real etcd in turn (Debian's etcd-server)",
        run: |arguments| raft_lab("bench", &["--against", "etcd"], arguments),
    },
    Gate {
        name: "first-put",
        shows: "the first put after starting empty members, against real etcd",
        run: |arguments| {
            let few = ["--against", "etcd", "--rounds", "1", "--seconds", "1", "--starts", "20"];
            raft_lab("bench", &few, arguments)
        },
    },
    Gate {
        name: "training",
        shows: "a bug planted in a member turns a verdict red (arguments: BUG DRILL)",
        run: training,
    },
    Gate {
        name: "idle-cpu",
        shows: "lab and three members use at most 10 % of one core without workload, over 60 s",
        run: idle_cpu,
    },
    Gate {
        name: "no-orphans",
        shows: "after kill -9 of the lab, one member being paused, no member remains",
        run: no_orphans,
    },
    Gate {
        name: "bootstrap-netns",
        shows: "three members by the README's lines in namespaces of their own (Linux, root)",
        run: |_| {
            lab::build_programs()?;
            let count = namespaces::run()?;
            ensure!(count.failed == 0, "pass {} checks", count.failed);
            Ok(())
        },
    },
];

/// Runs the named gate, or lists all.
pub(crate) fn run(name: Option<&str>, arguments: &[String]) -> Result<()> {
    let Some(name) = name else {
        println!("cargo gate NAME, where NAME is one of:\n");
        for Gate { name, shows, .. } in &GATES {
            println!("  {name:<16} {shows}");
        }
        return Ok(());
    };
    let gate = GATES
        .iter()
        .find(|gate| gate.name == name)
        .with_context(|| format!("find the gate `{name}`: `cargo gate` lists all"))?;
    (gate.run)(arguments)?;
    say(&format!("gate {name}: holds"));
    Ok(())
}

/// Runs one command of the lab's program; a person's arguments replace the usual ones.
fn raft_lab(command: &str, usual: &[&str], arguments: &[String]) -> Result<()> {
    lab::build_programs()?;
    let plain = Plain::new(places::release("raft-lab").display().to_string(), [command]);
    if arguments.is_empty() {
        plain.with(usual.iter().copied()).run()
    } else {
        plain.with(arguments.iter().cloned()).run()
    }
}

/// Crashes members of the training program at every failpoint; arguments go to `raft-lab crash`.
fn crash(arguments: &[String]) -> Result<()> {
    breaks::build()?;
    crashes::plain().with(arguments.iter().cloned()).run()
}

/// Changes the members of training clusters while one of them ends; arguments as for `crash`.
fn membership(arguments: &[String]) -> Result<()> {
    /// What the issue asks for.
    const ROUNDS: &str = "200";
    breaks::build()?;
    let own = arguments.iter().any(|argument| argument == "--changes");
    let rounds = if own { vec![] } else { vec!["--changes", ROUNDS] };
    crashes::plain().with(rounds).with(arguments.iter().cloned()).run()
}

/// Plays every drill in every way; arguments are drills, such as `DR-02`.
fn every_drill(arguments: &[String]) -> Result<()> {
    lab::build_programs()?;
    let mut files = places::drills()?;
    let id = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !arguments.is_empty() {
        files.retain(|file| arguments.iter().any(|wanted| id(file).starts_with(wanted.as_str())));
    }
    ensure!(!files.is_empty(), "find a drill that is called {}", arguments.join(" or "));
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    verdict::perform(&["--every-way"], &files)
}

/// Deals every fault for half an hour on three members, then on five; arguments, such as
/// `--minutes 4`, go to `raft-lab soak`.
fn soak(arguments: &[String]) -> Result<()> {
    lab::build_programs()?;
    let runs = places::target().join("runs").join("soak").display().to_string();
    for members in ["3", "5"] {
        let program = places::release("raft-lab").display().to_string();
        Plain::new(program, ["soak", "--members", members, "--runs", &runs])
            .with(arguments.iter().cloned())
            .run()?;
    }
    Ok(())
}

/// Proves something of a cluster; arguments go to `raft-lab prove NAME`.
fn proof(name: &str, arguments: &[String]) -> Result<()> {
    lab::build_programs()?;
    proofs::plain(name).with(arguments.iter().cloned()).run()
}

/// Judges a made history against the clock; arguments go to the example `million` of `lab-check`.
fn check(arguments: &[String]) -> Result<()> {
    let million = Plain::cargo("run --release --package lab-check --example million --");
    million.with(arguments.iter().cloned()).run()
}

/// Saves, restores and serves many keys; arguments go to the example `million_keys` of
/// `node-restore`.
fn restore(arguments: &[String]) -> Result<()> {
    Plain::cargo("build --release -p node -p node-ctl --bin raft-node --bin raft-ctl").run()?;
    let programs =
        ["raft-node", "raft-ctl"].map(|name| places::release(name).display().to_string());
    let example = Plain::cargo("run --release --package node-restore --example million_keys --");
    example.with(programs).with(arguments.iter().cloned()).run()
}

/// Performs a scenario on members with a bug planted in them: its verdict has to be red.
fn training(arguments: &[String]) -> Result<()> {
    let [bug, drill] = arguments else {
        bail!("know what to break: cargo gate training BUG DRILL, such as network-partition");
    };
    breaks::build()?;
    breaks::turns_red(bug, drill)
}

fn idle_cpu(_: &[String]) -> Result<()> {
    /// What the issue asks for.
    const ALLOWED_PERCENT: f64 = 10.0;
    const SETTLE: Duration = Duration::from_secs(10);
    const WATCHED: Duration = Duration::from_secs(60);
    lab::build()?;
    let lab = Running::start(raft_lab_up().with(["--no-workload"]))?;
    let mut processes = lab.wait_for_members(3)?;
    processes.push(lab.process());
    sleep(SETTLE);
    let used = |processes: &[u32]| -> Result<Duration> {
        let each = processes.iter().map(|&process| {
            processor_time(process).with_context(|| format!("see process {process} running"))
        });
        each.sum()
    };
    let (before, began) = (used(&processes)?, Instant::now());
    sleep(WATCHED);
    let spent = used(&processes)?.saturating_sub(before);
    let percent = 100.0 * spent.as_secs_f64() / began.elapsed().as_secs_f64();
    say(&format!("idle-cpu: {percent:.1} % of one core over {} s", WATCHED.as_secs()));
    ensure!(percent <= ALLOWED_PERCENT, "stay within {ALLOWED_PERCENT} %: it is {percent:.1} %");
    Ok(())
}

fn no_orphans(_: &[String]) -> Result<()> {
    const ALLOWED: Duration = Duration::from_secs(2);
    lab::build()?;
    let mut lab = Running::start(raft_lab_up())?;
    lab.wait_for_leader(Duration::from_secs(30))?;
    let members = lab.wait_for_members(3)?;
    send(members[0], Signal::STOP)?;
    say(&format!("no-orphans: member process {} is paused; kill -9 of the lab", members[0]));
    lab.signal(Signal::KILL)?;
    let killed = Instant::now();
    lab.wait()?;
    loop {
        let left: Vec<_> = members.iter().filter(|&&process| is_running(process)).collect();
        if left.is_empty() {
            say(&format!("no-orphans: all gone after {} ms", killed.elapsed().as_millis()));
            return Ok(());
        }
        if killed.elapsed() > ALLOWED {
            for &&process in &left {
                send(process, Signal::KILL).ok();
            }
            bail!("see all members end with the lab: {left:?} ran after {} s", ALLOWED.as_secs());
        }
        sleep(Duration::from_millis(20));
    }
}

fn clean_clone(arguments: &[String]) -> Result<()> {
    /// What the issue allows on two cores.
    const ALLOWED: Duration = Duration::from_secs(8 * 60);
    let folder = tempfile::tempdir().context("make a folder for the clone")?;
    let clone = folder.path().join("raftlab");
    let root = places::root().display().to_string();
    Plain::new("git", ["clone", "--quiet", "--no-hardlinks", &root, &clone.display().to_string()])
        .run()
        .context("clone this repository (only what is committed is in the clone)")?;
    let cargo = || Plain::cargo("lab --").within(&clone);
    let shown = until_leader(cargo(), ALLOWED)?;
    say(&format!("clean-clone: cold, {:.0} s from `cargo lab` to a leader", shown.as_secs_f64()));
    within(shown, ALLOWED, "cold `cargo lab`")?;
    let warm = until_leader(cargo(), ALLOWED)?;
    say(&format!("clean-clone: warm, {:.1} s", warm.as_secs_f64()));
    if arguments.iter().any(|argument| argument == "--plain") {
        for plain in ["build", "test", "clippy"] {
            Plain::cargo(plain).within(&clone).run()?;
        }
    }
    within(warm, Duration::from_secs(5), "warm `cargo lab`")
}

fn raft_lab_up() -> Plain {
    Plain::new(places::release("raft-lab").display().to_string(), ["up"])
}

/// Runs a lab until it has a leader, ends it, and says how long that took from the start.
fn until_leader(lab: Plain, allowed: Duration) -> Result<Duration> {
    let began = Instant::now();
    let mut lab = Running::start(lab)?;
    lab.wait_for_leader(allowed)?;
    Ok(began.elapsed())
}

fn warm_lab(_: &[String]) -> Result<()> {
    until_leader(Plain::cargo("lab --"), Duration::from_secs(900))?;
    let warm = until_leader(Plain::cargo("lab --"), Duration::from_secs(60))?;
    say(&format!("warm-lab: {:.1} s from `cargo lab` to a leader", warm.as_secs_f64()));
    within(warm, Duration::from_secs(5), "warm `cargo lab`")
}

fn within(taken: Duration, allowed: Duration, what: &str) -> Result<()> {
    ensure!(
        taken <= allowed,
        "keep {what} within {} s: it took {:.1} s",
        allowed.as_secs(),
        taken.as_secs_f64()
    );
    Ok(())
}
