//! What programs of public clients hear from three of our members, beside three of etcd.
//!
//! Each program plays its calls on a fresh cluster of each kind, on the same ports and with the
//! same token, so that even the ids are equal; most calls ask one member, so that it is known who
//! answers. Its recording, a line for each call with the whole answer, must be the same to the
//! byte, once `plain` has taken out what is chance.
//!
//! ```text
//!  RAFTLAB_NODE     our member's program; beside this test by default
//!  RAFTLAB_PYTHON   a Python that has the client of python/requirements.txt
//!  RAFTLAB_ETCD     the folder of etcd and etcdctl; by default they are on the PATH
//! ```
//!
//! `cargo lab-test clients` sees to the first two.

mod plain;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use node_oracle::{Cluster, Kind, PLACES, Programs};
use plain::{Heard, Plain};

/// How often members tell idle watches of progress, where these ask for it: as often as can be.
const FLAGS: [&str; 1] = ["--experimental-watch-progress-notify-interval=1s"];

/// After so many seconds a program is ended: it hangs.
const LONGEST_SECONDS: &str = "240";

/// Plays a program on a cluster; returns what it heard, without what is chance.
fn play(program: &[&Path], cluster: &mut Cluster<'_>) -> Vec<Heard> {
    let mut process = Command::new("timeout")
        .arg(LONGEST_SECONDS)
        .args(program)
        .args(&cluster.client_urls)
        .args(&cluster.peer_urls)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut answers = process.stdin.take().expect("piped");
    let output = BufReader::new(process.stdout.take().expect("piped"));
    let mut plain = Plain::new(cluster.programs.is_since("3.5"));
    let mut heard = Vec::new();
    for line in output.lines() {
        let line = line.expect("a recording is text");
        if let Some(asked) = line.strip_prefix("! ") {
            match asked.split(' ').collect::<Vec<_>>()[..] {
                ["start", place] => cluster.run(place.parse().expect("a place")),
                ["name", id, name] => plain.name(id, name),
                _ => panic!("the program asks {asked:?}"),
            }
            writeln!(answers, "done").expect("the program waits");
        } else {
            heard.extend(plain.line(&line));
        }
    }
    let ended = process.wait().expect("it was started");
    let last = heard.last().map_or("nothing", |heard| heard.call.as_str());
    assert!(ended.success(), "the program ended with {ended}, having heard {last}");
    heard
}

/// Plays a program on both kinds of cluster and compares; returns how many calls were.
fn compare(program: &[&Path]) -> Option<usize> {
    let programs = Programs::find()?;
    let raft_node = node_oracle::raft_node();
    let ports = node_oracle::ports(2 * PLACES);
    let flags = FLAGS.map(str::to_owned);
    let [theirs, ours] = [Kind::Etcd, Kind::RaftNode(&raft_node)].map(|kind| {
        let mut cluster = Cluster::start(&programs, kind, &ports, &flags);
        play(program, &mut cluster)
    });
    let mut differing = String::new();
    for (ours, theirs) in ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs) {
        let Heard { about, call, answer } = theirs;
        writeln!(differing, "({about}) {call}\n--- etcd\n{answer}").expect("a string takes all");
        if ours.call != *call {
            writeln!(differing, "--- ours, of another call: {}", ours.call)
                .expect("a string takes all");
        }
        writeln!(differing, "--- ours\n{}\n", ours.answer).expect("a string takes all");
    }
    let calls = theirs.len();
    assert!(differing.is_empty(), "of {calls} answers some differ:\n{differing}");
    assert_eq!(ours.len(), calls, "both heard all of it");
    println!("{calls} answers are equal to those of etcd {}", programs.version);
    Some(calls)
}

#[test]
fn the_rust_client_hears_what_it_hears_from_etcd() {
    let program = Path::new(env!("CARGO_BIN_EXE_record-etcd-client"));
    if let Some(calls) = compare(&[program]) {
        assert!(calls >= 400, "only {calls} answers were compared");
    }
}

#[test]
fn the_python_client_hears_what_it_hears_from_etcd() {
    let Some(python) = std::env::var_os("RAFTLAB_PYTHON") else {
        assert!(std::env::var_os("CI").is_none(), "CI must have the client: RAFTLAB_PYTHON");
        eprintln!("NOT RUN: `cargo lab-test clients` installs the Python client first");
        return;
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/record.py");
    // Without files of byte code among the sources.
    if let Some(calls) = compare(&[Path::new(&python), Path::new("-B"), &program]) {
        assert!(calls >= 200, "only {calls} answers were compared");
    }
}
